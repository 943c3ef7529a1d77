/* position.h - how far an event stream had come, as its reader names it when it comes back: "EPOCH:SEQ" (contract §5). */
#ifndef KEYFOB_GATEWAY_POSITION_H
#define KEYFOB_GATEWAY_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POSITION_EPOCH_SIZE 64

/* False: it is no position, and nothing was written. `ret_seq` is at least 0. */
bool position_read(const char *text, size_t len, char ret_epoch[POSITION_EPOCH_SIZE], int64_t *ret_seq);

#endif
