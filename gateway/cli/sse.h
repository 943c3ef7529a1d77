/* sse.h - reads a stream of server-sent events (WHATWG HTML §9.2.6), however the bytes are cut. */
#ifndef KEYFOB_GATEWAY_CLI_SSE_H
#define KEYFOB_GATEWAY_CLI_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

#define SSE_EVENT_BYTES_MAX (1024 * 1024)

struct sse_event {
	const char *type; /* "message" when the stream names none */
	const char *id;	  /* the last id seen; "" when none was */
	const char *data;
};

/* Zero-initialise, set on_event; sse_done() at the end. */
struct sse {
	void (*on_event)(struct sse *, const struct sse_event *);
	struct text line, type, id, data; /* of the event that is being read */
	struct text last_id;		  /* of the last whole event: what Last-Event-ID says */
	bool after_cr;			  /* a LF that follows belongs to the CR */
};

/* False: an event is larger than SSE_EVENT_BYTES_MAX; the stream is of no more use. */
bool sse_feed(struct sse *, const char *bytes, size_t len);
/* The connection was lost: half an event is dropped with its id, the last whole one's is kept. */
void sse_restart(struct sse *);
void sse_done(struct sse *);

#endif
