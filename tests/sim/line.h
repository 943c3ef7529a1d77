/* line.h - a client's line to the scripted broker: parcels there and back, and base/mqtt/link.h, which nodes and vehicles use.
 *
 * A line has two directions, each a list of parcels with a due time that never overtake each other. Those to the broker are read
 * by the world's loop, those to the client by the client's own: what is on its way to a frozen node waits there. The broker reads what
 * has come by broker_read(), and writes by line_post(). */
#ifndef KEYFOB_TESTS_SIM_LINE_H
#define KEYFOB_TESTS_SIM_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/mqtt/link.h"

struct letter;
struct node;
struct session;

enum parcel_kind {
	/* to the broker */
	CONNECT,
	SUBSCRIBE,
	PUBLISH,
	ACK,
	DISCONNECT,
	/* to the client */
	CONNACK,
	SUBACK,
	PUBACK,
	MESSAGE,
	LOST
};

struct parcel {
	struct list node;
	enum parcel_kind kind;
	int64_t due_ms; /* the world's */
	int number; /* PUBLISH, PUBACK: the message id; MESSAGE, ACK: the delivery's; CONNACK: whether the session was there */
	int reason, qos;
	unsigned line; /* of which connection: what is left of one that is lost says nothing to the next */
	bool retain;
	char *text; /* SUBSCRIBE: the filter; LOST: why */
	struct letter *letter;
};

enum link_state { IDLE, WAITING, ASKING, OPENING, UP, FALLING, CLOSING };

struct mqtt_link {
	struct list node_of_all;
	struct loop *loop;
	struct node *node; /* NULL: a vehicle's */
	struct mqtt_link_options options;
	char client_id[128], will_topic[256], will_payload[64];
	enum link_state state;
	bool is_open;		  /* it has a line */
	unsigned line, read_line; /* which, as the client counts; the last whose CONNECT the broker has read */
	bool is_held, is_dead;
	struct session *session;	  /* the broker's, once CONNECT has come */
	struct list to_broker, to_client; /* of struct parcel */
	struct loop_timer reading;	  /* the world's: to_broker */
	struct loop_timer hearing, again; /* the client's: to_client; the next attempt */
	struct loop_soon soon;
	unsigned failures, subscribes;
	size_t unacknowledged;
	int next_mid;
	int64_t up_since_ms;
	struct mqtt_message *batch;
	struct letter **batch_letters;
	int *batch_numbers;
	size_t batch_count;
	void (*on_closed)(void *owner);
};

/* Every line that a client has, or that the broker has not seen the end of. */
struct list *lines_all(void);
/* To the client; it arrives after what was sent before it. */
struct parcel *line_post(struct mqtt_link *, enum parcel_kind);
/* The broker ends it in order: whoever stands still reads what has come to him, and then the end. */
void line_close(struct mqtt_link *, const char *reason);
/* It breaks: each end hears of it in its own time, and a feed not before it has done with what it holds. */
void line_drop(struct mqtt_link *, const char *reason);
/* Nothing of what is on its way to the broker arrives. */
void line_empty(struct mqtt_link *);

/* What a line asks of the broker. */
bool broker_is_away(void);
unsigned broker_receive_maximum(void);
void broker_read(struct mqtt_link *, struct parcel *); /* borrows it */

#endif
