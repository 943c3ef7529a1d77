/* front.h - a worker's face: the door with the HTTP and WebSocket rooms behind it, and the admin listener. */
#ifndef KEYFOB_GATEWAY_FRONT_H
#define KEYFOB_GATEWAY_FRONT_H

#include <jansson.h>
#include <stdbool.h>

struct api;
struct certificate;
struct config;
struct front;
struct loop;
struct service_sockets;

struct front_options { /* borrowed for life */
	const struct config *config;
	struct certificate *certificate;       /* NULL: http.listen is plain */
	const struct service_sockets *sockets; /* each stands in the place of its setting */
	bool answers_admin;		       /* one worker of a node */
	void *owner;
	/* Whether the node can do its work; `ret_details` gets an object that says what it lacks, the caller's. */
	bool (*is_ready)(void *owner, json_t **ret_details);
};

/* NULL: it cannot listen; the log says why. */
struct front *front_new(struct loop *, const struct front_options *, struct api *);
/* Nobody new comes in; WebSockets are closed with 1012, requests under way are answered, later ones refused. */
void front_drain(struct front *);
/* Afterwards, before the loop stops: nobody is left who would wait for an answer. */
void front_close(struct front *);
/* No request is under way, and what was answered is out. */
bool front_is_empty(const struct front *);

#endif
