/* broker.h - a scripted MQTT 5 broker behind base/mqtt/link.h: sessions, QoS 1 with redelivery, expiry, retained messages, wills, and
 * the plugin's lifecycle events, over lines that are slow and break.
 *
 * A vehicle is a client like a node; its links are made with the world's loop. */
#ifndef KEYFOB_TESTS_SIM_BROKER_H
#define KEYFOB_TESTS_SIM_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mqtt_link;
struct node;

struct broker_habits {
	bool says_nobody;	   /* PUBACK 0x10 */
	unsigned receive_maximum;  /* what it tells a send link */
	bool retells;		   /* it names who is there when asked, as the mosquitto plugin does */
	unsigned doubled_permille; /* lifecycle events that come twice */
	int64_t late_ms;	   /* how long a lifecycle event may take, seldom; 0: they come in order */
	/* A session that goes on keeps its name, and nothing is told of its subscriptions, as at AWS IoT Core; else each connection has a name of
	 * its own, and what it is subscribed to is told. */
	bool keeps_names;
};

void broker_begin(const struct broker_habits *);

/* What it keeps on a topic; NULL: nothing. */
const char *broker_keeps(const char *topic);
/* When it last lost something of that; 0: never. */
int64_t broker_lost_kept_ms(void);

/* A resync whose end got lost is asked for again. */
void broker_look(void);

/* faults */
/* So many of a thousand lifecycle events get lost from now on, and of the ends of resyncs. */
void broker_lose_events(unsigned permille);
void broker_leave(bool forgets); /* every line breaks; `forgets`: sessions and retained messages, too */
/* While it is away: of the retained messages it has lost what came in the last so many milliseconds, as one that was killed. */
void broker_lose_last(int64_t ms);
void broker_return(void);
/* The lines of a node break: it hears of it, unless it is dead. */
void broker_lose(struct node *, bool is_dead);
/* One line breaks, without a DISCONNECT. */
void broker_break(struct mqtt_link *);

#endif
