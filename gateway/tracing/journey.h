/* journey.h - a command's journey as spans of one trace, made of what is kept of it (docs/observability.md has the picture).
 *
 * Whoever makes them makes the same: their ids come from the command's. */
#ifndef KEYFOB_GATEWAY_TRACING_JOURNEY_H
#define KEYFOB_GATEWAY_TRACING_JOURNEY_H

#include <jansson.h>
#include <stdint.h>

/* Takes a span: JSON text of an OTLP Span (opentelemetry.proto.trace.v1), which is the taker's from then on. */
typedef void span_take(void *owner, char *span);

/* All spans of a command that is over or has timed out: `command` as its last event told it, with the traceparent, and its timeline.
 * Of one that was answered late, when the others were told already, the answer's alone. */
void journey_tell(const json_t *command, const json_t *timeline, span_take *, void *owner);
/* That an event about a command was handed to those who watch here; times are microseconds since 1970. */
void journey_tell_fan_out(
	const json_t *command, int64_t seq, int64_t made_us, int64_t given_us, span_take *, void *owner);

#endif
