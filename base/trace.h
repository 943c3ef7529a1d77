/* trace.h - W3C Trace Context: which trace something belongs to, whether it is recorded, and the ids of its spans.
 *
 * The id of a span is made from the id of its command and its place in the journey. So whoever knows the command knows its
 * spans, and no node has to ask another. */
#ifndef KEYFOB_BASE_TRACE_H
#define KEYFOB_BASE_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#define TRACE_ID_SIZE 33
#define SPAN_ID_SIZE 17
#define TRACEPARENT_SIZE 56
#define TRACESTATE_MAX 512 /* bytes that are carried (Trace Context §3.3.1.5) */

/* In the order of the configuration's names, which are those of OTEL_TRACES_SAMPLER. */
enum trace_sampler_kind {
	TRACE_ALWAYS_ON,
	TRACE_ALWAYS_OFF,
	TRACE_RATIO,
	TRACE_PARENT_ALWAYS_ON,
	TRACE_PARENT_ALWAYS_OFF,
	TRACE_PARENT_RATIO,
};

struct trace_sampler {
	enum trace_sampler_kind kind;
	double ratio; /* 0 to 1 */
};

/* A stranger's traceparent (Trace Context §3.2), as version 00 with the flags that are known. False: it is none. */
bool traceparent_read(const char *text, size_t len, char ret[TRACEPARENT_SIZE]);
/* Whether a tracestate may be carried on: printable, and not too long. */
bool tracestate_is_fine(const char *text);

/* Of a traceparent that was read. */
bool traceparent_is_sampled(const char *traceparent);
void traceparent_trace_id(const char *traceparent, char ret[TRACE_ID_SIZE]);
void traceparent_span_id(const char *traceparent, char ret[SPAN_ID_SIZE]);
/* The same trace and flags, seen from another span. */
void traceparent_continue(const char *traceparent, const char *span_id, char ret[TRACEPARENT_SIZE]);

/* The span of a command's step: `step` is its name, `number` which of several (attempts), else 0. */
void trace_span_id(const char *command_id, const char *step, int number, char ret[SPAN_ID_SIZE]);
#define TRACE_STEP_COMMAND "command" /* the whole journey: the root of the others */
#define TRACE_STEP_EXECUTE "execute" /* one attempt, at the vehicle: what its own spans are children of */

/* The trace of a command that nobody traces: its id is the command's, and it is not recorded. */
void trace_of_command(const char *command_id, char ret_traceparent[TRACEPARENT_SIZE]);
/* What a new command is stored with: the trace that the caller gave (NULL, or none that can be read: one that begins here, whose
 * parent is the command's own span), recorded or not as the sampler says. */
void trace_begin(const struct trace_sampler *, const char *given, const char *command_id,
	char ret_traceparent[TRACEPARENT_SIZE]);

#endif
