/* ids.h - identifiers: UUIDv7 (RFC 9562 §5.7), random tokens, and the CRC-32 that spreads vehicles over feeds. */
#ifndef KEYFOB_BASE_IDS_H
#define KEYFOB_BASE_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37

/* Time-ordered: milliseconds of `unix_us`, then a counter within the millisecond, then randomness.
 * Ids made by one thread rise strictly, also when `unix_us` does not. */
void uuid7_make(int64_t unix_us, char out[UUID_TEXT_SIZE]);
/* Of that millisecond, and random within it: by a clock that may be wrong, for what need not rise. Those of uuid7_make() stay as they are. */
void uuid7_draw(int64_t unix_us, char out[UUID_TEXT_SIZE]);
/* The smallest of those of that millisecond. */
void uuid7_floor(int64_t unix_us, char out[UUID_TEXT_SIZE]);
/* 8-4-4-4-12 hexadecimal digits, either case. */
bool uuid_is_text(const char *);
/* [A-Za-z0-9._:-]{1,64}: safe as one level of an MQTT topic and as a client id (contract: vehicle and fleet ids). */
bool topic_level_is_safe(const char *);
/* `n` random bytes as 2n hexadecimal digits and a NUL. */
void random_hex(size_t n, char *out);
/* ISO 3309, as zlib's crc32(). */
uint32_t crc32_of(const void *data, size_t len);

#endif
