/* unheard.h - what a socket was sent beside its messages: pings, pongs without a payload, half frames.
 *
 * libwebsockets reads and answers them without a word to us, so they are counted by what the kernel has received and we
 * were not told of: of a connection over TCP. What comes through a tunnel is counted there, frame by frame (door/frames.h). */
#ifndef KEYFOB_GATEWAY_UNHEARD_H
#define KEYFOB_GATEWAY_UNHEARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unheard {
	uint64_t bytes, segments;	    /* received before the first frame */
	uint64_t told_bytes, told_segments; /* what the pieces that we were told of may have taken, with their heads */
	uint64_t least_bytes; /* what messages and pongs that came whole cannot have taken less than, with masks */
	double counted;
	bool unknown; /* the kernel does not say */
};

/* `fd` is at its first frame: the upgrade's head was read. */
void unheard_begin(struct unheard *, int fd);
/* A piece of a message, or a pong, of `len` bytes was told, with which a frame ended or which is amid one. */
void unheard_told(struct unheard *, size_t len, bool ends_frame);
/* A message of `len` bytes was told whole, or a pong (0). */
void unheard_whole(struct unheard *, size_t len);
/* How many frames have come unheard since the last look, at least, and whether less has come than frames with masks would take: some had none;
 * a system call. */
double unheard_look(struct unheard *, int fd, bool *ret_unmasked);

#endif
