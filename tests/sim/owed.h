/* owed.h - what the broker owes each client of the messages of QoS 1 that it has taken for it, told by whoever sees it at the broker's mouth.
 *
 * The broker's own queues are not asked: they may be wrong. Of a session that goes on all comes again, in order, but for what its client has
 * acknowledged and what has expired meanwhile (MQTT 5 §4.4, §4.6, §3.3.2.3.3). */
#ifndef KEYFOB_TESTS_SIM_OWED_H
#define KEYFOB_TESTS_SIM_OWED_H

#include <stdbool.h>
#include <stdio.h>

struct letter;

/* A line of the client has been accepted; `goes_on`: and told that its session was there. */
void owed_begin_line(const char *client_id, bool goes_on);
void owed_end_line(const char *client_id);
/* One was taken for it, by QoS 1. */
void owed_take(const char *client_id, struct letter *);
/* One is written to its line. */
void owed_write(const char *client_id, const struct letter *);
/* The broker has read that the client has it. */
void owed_acknowledge(const char *client_id, const struct letter *);

/* Whoever has a line has been sent what is owed to him. */
void owed_look(void);
/* How many came again, and out of a kept session, in numbers; without a line's end. */
void owed_report(FILE *);

#endif
