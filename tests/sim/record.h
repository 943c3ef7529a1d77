/* record.h - what was seen outside the nodes, and what of it must not be.
 *
 * Whoever sees something tells it here as it happens; what can be judged at once is. record_judge() reads the database in
 * the end and judges the rest. The rules' names are those of docs/simulator.md. */
#ifndef KEYFOB_TESTS_SIM_RECORD_H
#define KEYFOB_TESTS_SIM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* How often a vehicle says of one command that it is still at it: part 1, 2, 3 … */
#define PARTS_MAX 15

/* `slow_ms`: how long news of a vehicle may take from the broker's mouth to the database, without any fault. */
void record_begin(int64_t slow_ms);

/* the broker */
/* `held_ms`: by a line that carried nothing for a while. */
void record_published(const char *topic, const char *payload, size_t len, bool disproved, int64_t held_ms);
void record_presence(const char *vehicle_id, bool is_there);
/* The nodes have been told that it is there and subscribed, or know it all the same. */
void record_return(const char *vehicle_id);
/* Whoever reads it has acknowledged it. */
void record_acknowledged(const char *topic, const char *payload, size_t len);
/* vehicles */
void record_received(const char *vehicle_id, const char *id, int64_t expires_us, bool is_qos0);
void record_executed(const char *vehicle_id, const char *id);
/* The vehicle was told that its last word on this command is on record. */
void record_accepted(const char *vehicle_id, const char *id);
void record_rejected(const char *vehicle_id, const char *id, const char *code);
void record_report(const char *vehicle_id, int64_t version);
void record_sms(const char *vehicle_id, bool is_taken);
/* apps */
/* A command was promised to whoever used `key`; "": none. */
void record_promise(const char *key, const char *vehicle_id, const char *id);
void record_canceled(const char *id);
/* An event reached an app; `before`: the seq of the one before it, -1: it is the first. */
void record_event(const char *app, const char *vehicle_id, int64_t before, int64_t seq, const char *type,
	const char *data, size_t len);
/* It happened while the app watched, and reaches it now. */
void record_told(const char *app, const char *vehicle_id, int64_t seq, int64_t at_us);

/* faults, so that what is late by them is excused */
void record_fault(bool begins);
/* How much of the time between was under a fault, or in the recovery from one; since the beginning. */
int64_t record_excused_ms(int64_t from_ms, int64_t to_ms);

/* What holds at any time holds now; `in_the_end`: and what must once everything is calm. */
void record_look(bool in_the_end);
/* The run is over and everything is calm. */
void record_judge(void);
/* The seq of a vehicle's last event. */
int64_t record_head(const char *vehicle_id);
/* What happened, in numbers; without a line's end. */
void record_write(FILE *);

#endif
