/* ids.c - UUIDv7 that rise within a thread, random tokens, CRC-32. */
#include "base/ids.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>

#define COUNTER_MAX 0xfffu
#define COUNTER_START_MASK 0x7ffu /* the upper half is room to count in (RFC 9562 §6.2) */

static const char hex_digits[] = "0123456789abcdef";

/* The last id of this thread. */
static _Thread_local struct {
	int64_t unix_ms;
	uint32_t counter;
} last = { .unix_ms = -1 };

/* One system call for many ids. Not for secrets: those are read from the system directly. */
static _Thread_local struct {
	unsigned char bytes[1024];
	size_t left;
} pool;

static void advance_last(int64_t unix_ms);
static void write_time(int64_t unix_ms, unsigned char bytes[6]);
static void write_uuid(const unsigned char bytes[16], char out[UUID_TEXT_SIZE]);

static void fill_random(void *out, size_t len)
{
	for (unsigned char *at = out; len > 0;) {
		ssize_t got = getrandom(at, len, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			perror("keyfob: no random numbers from the system");
			abort();
		}
		at += got;
		len -= (size_t)got;
	}
}

static void take_random(void *out, size_t len)
{
	if (pool.left < len) {
		fill_random(pool.bytes, sizeof pool.bytes);
		pool.left = sizeof pool.bytes;
	}
	pool.left -= len;
	memcpy(out, pool.bytes + pool.left, len);
}

void uuid7_make(int64_t unix_us, char out[UUID_TEXT_SIZE])
{
	unsigned char bytes[16];
	advance_last(unix_us > 0 ? unix_us / 1000 : 0);
	write_time(last.unix_ms, bytes);
	take_random(bytes + 8, 8);
	bytes[6] = (unsigned char)(0x70 | last.counter >> 8);
	bytes[7] = (unsigned char)last.counter;
	bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));
	write_uuid(bytes, out);
}

void uuid7_draw(int64_t unix_us, char out[UUID_TEXT_SIZE])
{
	unsigned char bytes[16];
	take_random(bytes, sizeof bytes);
	write_time(unix_us > 0 ? unix_us / 1000 : 0, bytes);
	bytes[6] = (unsigned char)(0x70 | (bytes[6] & 0x0f));
	bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));
	write_uuid(bytes, out);
}

void uuid7_floor(int64_t unix_us, char out[UUID_TEXT_SIZE])
{
	unsigned char bytes[16] = { [6] = 0x70, [8] = 0x80 };
	write_time(unix_us > 0 ? unix_us / 1000 : 0, bytes);
	write_uuid(bytes, out);
}

static void write_time(int64_t unix_ms, unsigned char bytes[6])
{
	for (int i = 0; i < 6; i++)
		bytes[i] = (unsigned char)(unix_ms >> (40 - 8 * i));
}

/* A clock that stands still or runs back only counts on; a full counter borrows the next millisecond. */
static void advance_last(int64_t unix_ms)
{
	if (unix_ms <= last.unix_ms && ++last.counter <= COUNTER_MAX)
		return;
	last.unix_ms = unix_ms > last.unix_ms ? unix_ms : last.unix_ms + 1;
	take_random(&last.counter, sizeof last.counter);
	last.counter &= COUNTER_START_MASK;
}

static bool is_dash(int position)
{
	return position == 8 || position == 13 || position == 18 || position == 23;
}

static void write_uuid(const unsigned char bytes[16], char out[UUID_TEXT_SIZE])
{
	for (int at = 0, nibble = 0; at < UUID_TEXT_SIZE - 1; at++) {
		if (is_dash(at)) {
			out[at] = '-';
			continue;
		}
		out[at] = hex_digits[nibble % 2 ? bytes[nibble / 2] & 15 : bytes[nibble / 2] >> 4];
		nibble++;
	}
	out[UUID_TEXT_SIZE - 1] = '\0';
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool uuid_is_text(const char *text)
{
	for (int at = 0; at < UUID_TEXT_SIZE - 1; at++)
		if (is_dash(at) ? text[at] != '-' : !is_hex(text[at]))
			return false;
	return text[UUID_TEXT_SIZE - 1] == '\0';
}

/* The bytes lie in the second half of `out`; each is read before the digits reach it. */
void random_hex(size_t n, char *out)
{
	fill_random(out + n, n);
	for (size_t i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)out[n + i];
		out[2 * i] = hex_digits[byte >> 4];
		out[2 * i + 1] = hex_digits[byte & 15];
	}
	out[2 * n] = '\0';
}

uint32_t crc32_of(const void *data, size_t len)
{
	return (uint32_t)crc32_z(0, data, len);
}

static bool is_safe(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '-' && c <= ':' && c != '/') || c == '_';
}

bool topic_level_is_safe(const char *level)
{
	size_t len = 0;
	while (len <= 64 && is_safe(level[len]))
		len++;
	return len >= 1 && len <= 64 && level[len] == '\0';
}
