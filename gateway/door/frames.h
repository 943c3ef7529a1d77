/* frames.h - which frames of a WebSocket a stream of bytes has in it (RFC 6455 §5.2), for a tunnel, through which they come to
 * libwebsockets, which does not tell of control frames, nor of those without a mask. Nothing is judged here: what is no frame is
 * the room's to refuse. */
#ifndef KEYFOB_GATEWAY_FRAMES_H
#define KEYFOB_GATEWAY_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise: the next byte begins a frame. */
struct frames {
	unsigned char head[14];
	unsigned have; /* of the head */
	uint64_t left; /* of the payload */
};

/* Of the heads that end in some bytes. */
struct frames_seen {
	size_t control; /* how many are of control frames */
	bool unmasked;	/* one has no mask, … */
	ptrdiff_t at;	/* … and the first such begins here: negative where that was before these bytes */
};
struct frames_seen frames_see(struct frames *, const char *data, size_t len);

#endif
