/* life.c - sessions, versions, and the text of birth and will. */
#include "commands/vehicle/life.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/ids.h"
#include "base/loop.h"

void life_begin(struct life *life, const struct loop *loop)
{
	int64_t now_ms = loop_unix_us(loop) / 1000;
	life->version = now_ms > life->version ? now_ms : life->version + 1;
	random_hex(LIFE_SESSION_BYTES, life->session);
}

void life_write(const struct life *life, const char *type, char out[LIFE_TEXT_SIZE])
{
	snprintf(out, LIFE_TEXT_SIZE, "{\"type\":\"%s\",\"session\":\"%s\",\"version\":%" PRId64 "}", type,
		life->session, life->version);
}
