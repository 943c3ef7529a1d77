/* frames.h - how many control frames of a WebSocket a stream of bytes has in it (RFC 6455 §5.2), for a tunnel, through which
 * they come to libwebsockets, which does not tell of them. Nothing is judged here: what is no frame is the room's to refuse. */
#ifndef KEYFOB_GATEWAY_FRAMES_H
#define KEYFOB_GATEWAY_FRAMES_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise: the next byte begins a frame. */
struct frames {
	unsigned char head[14];
	unsigned have; /* of the head */
	uint64_t left; /* of the payload */
};

/* The control frames whose heads end in these bytes. */
size_t frames_count_control(struct frames *, const char *data, size_t len);

#endif
