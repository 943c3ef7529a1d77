/* traces.h - what a worker does for tracing: finds the journeys that are over, and hands their spans and those of its own fan-out to
 * the exporter.
 *
 * A journey may have been carried by several nodes; it is told whole by whoever finds it first, since all of it is in the
 * database. Nothing of this is in the way of a command. */
#ifndef KEYFOB_GATEWAY_TRACING_TRACES_H
#define KEYFOB_GATEWAY_TRACING_TRACES_H

#include <stdbool.h>

struct config;
struct db;
struct hub_event;
struct loop;
struct traces;

/* making */
/* NULL: the configuration names no collector. `finds`: this worker looks for journeys; one of a node is enough. */
struct traces *traces_new(struct loop *, const struct config *, const char *node, struct db *, bool finds);
void traces_start(struct traces *);
/* What was found goes out once more, or not at all; then traces_is_quiet(). */
void traces_stop(struct traces *);

/* asking; NULL is fine */
bool traces_is_quiet(const struct traces *);

/* changing */
/* An event was handed to those who watch here. */
void traces_note_fan_out(struct traces *, const struct hub_event *);

#endif
