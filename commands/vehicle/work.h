/* work.h - the requests of one vehicle, from receipt to the answer that was accepted.
 *
 * One at a time is done, in the order of arrival. What is done is remembered with its answer: the newest 256, and
 * every one that could still come again. The work owns its requests; it belongs to its vehicle. */
#ifndef KEYFOB_COMMANDS_VEHICLE_WORK_H
#define KEYFOB_COMMANDS_VEHICLE_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"

struct car;
struct journal;
struct mqtt_message;
struct mqtt_publish;
struct request;

#define WORK_REMEMBERED_MIN 256
/* A vehicle that knows so many takes no more until some have expired: dropped, recorded, unanswered. To forget one
 * that may come again would be to do it twice. */
#define WORK_REQUESTS_MAX 16384
#define WORK_RESEND_MS 2000

/* How a vehicle behaves; borrowed, all vehicles of a fleet share one. */
struct work_manner {
	int64_t latency_ms;  /* from doing it to the answer */
	double fail_rate;    /* 0 to 1 */
	bool is_silent;	     /* does, and never answers */
	bool tells_progress; /* says in_progress first */
};

/* What the work needs of its vehicle; borrowed. */
struct work_port {
	const char *vehicle_id;
	const char *own_feed_topic; /* for a request that names no response topic */
	struct loop *loop;
	struct car *car;
	struct journal *journal; /* may be NULL */
	/* false: the vehicle is offline and the message will never be sent */
	bool (*publish)(void *owner, const struct mqtt_publish *);
	void *owner;
};

struct work {
	const struct work_port *port;
	const struct work_manner *manner;
	struct list waiting, told, settled;
	struct request *acting;
	struct loop_timer act;
	void *by_id; /* tsearch(3) over the requests of all lists */
	size_t count;
};

/* making */
void work_init(struct work *, const struct work_port *, const struct work_manner *);
void work_done(struct work *);

/* asking */
/* Nothing is to be done, and every answer was accepted. */
bool work_is_idle(const struct work *);

/* changing */
void work_receive(struct work *, const struct mqtt_message *);
/* A message on commands/accepted or commands/rejected: the answer that it names need not be sent again. */
void work_settle(struct work *, const struct mqtt_message *, bool is_accepted);
/* The vehicle is back online: what nobody accepted yet is sent again now. */
void work_resume(struct work *);

#endif
