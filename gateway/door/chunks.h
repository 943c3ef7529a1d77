/* chunks.h - a chunked body as it comes, read strictly (RFC 9112 §7.1).
 *
 * Where a chunk ends, and so where the next request begins, every reader must find at the same byte: what another could read
 * differently is refused here, before h2o meets it, which takes a bare LF for the end of a line and "0x2" for 0. */
#ifndef KEYFOB_GATEWAY_CHUNKS_H
#define KEYFOB_GATEWAY_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

enum chunk_part { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNKS_OVER };

/* One body; zeroed it is at its beginning. */
struct chunks {
	enum chunk_part part; /* that comes next */
	uint32_t left;	      /* of the chunk's data */
};

/* How many of the `len` bytes at `text`, which go on where those that were passed ended, may be passed on now: lines go whole.
 * `*ret_wrong` is set to a sentence when what follows them is wrong, else to NULL. */
size_t chunks_pass(struct chunks *, const char *text, size_t len, const char **ret_wrong);

#endif
