/* sender.h - this worker's send link: requests and verdicts to vehicles, its inbox, and the word of workers that died. */
#ifndef KEYFOB_GATEWAY_SENDER_H
#define KEYFOB_GATEWAY_SENDER_H

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct mqtt_broker;
struct mqtt_publish;
struct sender;

struct sender_options {
	const struct mqtt_broker *broker; /* all borrowed for life */
	const char *namespace, *worker, *installation;
	void *owner;
	void (*on_up)(void *owner); /* connected and subscribed to the inbox */
	void (*on_down)(void *owner);
	void (*on_silence)(void *owner); /* sender_is_silent() has changed */
	void (*on_puback)(void *owner, int mid, int reason);
	void (*on_inbox)(void *owner, const char *text, size_t len);
	void (*on_mark)(
		void *owner, const char *text, size_t len);	 /* {namespace}/retained, what the broker keeps there */
	void (*on_worker_gone)(void *owner, const char *worker); /* another worker's last will */
	/* The broker's namespace belongs to another installation (another database): this node must stop. */
	void (*on_foreign)(void *owner);
};

struct sender *sender_new(struct loop *, const struct sender_options *);
void sender_start(struct sender *);
/* Disconnects in order (no will), then frees it; `on_closed` is the last call. */
void sender_close(struct sender *, void (*on_closed)(void *owner));

bool sender_is_up(const struct sender *);
/* Connected, and nothing was confirmed for almost two seconds, although that was asked for (L5): frozen, cut off, or far behind. */
bool sender_is_silent(const struct sender *);
/* The broker says when nobody is subscribed (MQTT 5 §3.4.2.1 leaves it to the broker); false until it has said so once. */
bool sender_hears_nobody(const struct sender *);
/* The message id, or -1 while the link is down: not sent, and never will be. */
int sender_publish(struct sender *, const struct mqtt_publish *);
/* One inbox message for another worker; false when it was not sent. */
bool sender_forward(struct sender *, const char *worker, const char *text, size_t len);

#endif
