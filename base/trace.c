/* trace.c - reads and writes traceparent, makes span ids, and samples. */
#include "base/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"

/* version "-" trace-id "-" parent-id "-" flags */
#define TRACE_ID_AT 3
#define SPAN_ID_AT 36
#define FLAGS_AT 53

#define FLAG_SAMPLED 1u
#define FLAG_RANDOM 2u	 /* Trace Context 2 §3.2.2.5.2: the trace id's last seven bytes are random */
#define RANDOM_DIGITS 14 /* … as digits */
#define RANDOM_BITS 56

static bool is_hex(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") >= len;
}

static bool is_id(const char *text, size_t len)
{
	return is_hex(text, len) && strspn(text, "0") < len;
}

static unsigned flags_of(const char *traceparent)
{
	return (unsigned)strtoul(traceparent + FLAGS_AT, NULL, 16);
}

/* A version that is not known is read as far as this one goes (§3.2.2.1). */
bool traceparent_read(const char *text, size_t len, char ret[TRACEPARENT_SIZE])
{
	const size_t whole = TRACEPARENT_SIZE - 1;
	char t[TRACEPARENT_SIZE];

	if (len < whole || memchr(text, '\0', whole))
		return false;
	memcpy(t, text, whole);
	t[whole] = '\0';
	bool is_whole = len == whole || (memcmp(t, "00", 2) != 0 && text[whole] == '-');
	if (!is_whole || !is_hex(t, 2) || memcmp(t, "ff", 2) == 0 || t[2] != '-' || t[SPAN_ID_AT - 1] != '-' ||
		t[FLAGS_AT - 1] != '-' || !is_id(t + TRACE_ID_AT, TRACE_ID_SIZE - 1) ||
		!is_id(t + SPAN_ID_AT, SPAN_ID_SIZE - 1) || !is_hex(t + FLAGS_AT, 2))
		return false;
	snprintf(ret, TRACEPARENT_SIZE, "00-%.32s-%.16s-%02x", t + TRACE_ID_AT, t + SPAN_ID_AT,
		flags_of(t) & (FLAG_SAMPLED | FLAG_RANDOM));
	return true;
}

bool tracestate_is_fine(const char *text)
{
	size_t len = strlen(text);

	for (const char *c = text; *c; c++) {
		if (*c < ' ' || *c > '~')
			return false;
	}
	return len > 0 && len <= TRACESTATE_MAX;
}

bool traceparent_is_sampled(const char *traceparent)
{
	return flags_of(traceparent) & FLAG_SAMPLED;
}

void traceparent_trace_id(const char *traceparent, char ret[TRACE_ID_SIZE])
{
	snprintf(ret, TRACE_ID_SIZE, "%.32s", traceparent + TRACE_ID_AT);
}

void traceparent_span_id(const char *traceparent, char ret[SPAN_ID_SIZE])
{
	snprintf(ret, SPAN_ID_SIZE, "%.16s", traceparent + SPAN_ID_AT);
}

void traceparent_continue(const char *traceparent, const char *span_id, char ret[TRACEPARENT_SIZE])
{
	snprintf(ret, TRACEPARENT_SIZE, "00-%.32s-%.16s-%.2s", traceparent + TRACE_ID_AT, span_id,
		traceparent + FLAGS_AT);
}

/* FNV-1a, 64 bits. */
static uint64_t mix(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* Its bits hardly spread over a few last letters: they are stirred once more (the finalizer of MurmurHash3). */
static uint64_t stir(uint64_t hash)
{
	hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
	hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return hash ^ hash >> 33;
}

void trace_span_id(const char *command_id, const char *step, int number, char ret[SPAN_ID_SIZE])
{
	char which[16];

	snprintf(which, sizeof(which), "/%d", number);
	uint64_t id = stir(mix(mix(mix(UINT64_C(0xcbf29ce484222325), command_id), step), which));
	snprintf(ret, SPAN_ID_SIZE, "%016llx", (unsigned long long)(id ? id : 1)); /* zero is no id */
}

/* By the trace id alone, so that everybody who samples by it comes to the same. */
static bool is_within(const struct trace_sampler *s, const char *traceparent)
{
	char digits[RANDOM_DIGITS + 1];

	snprintf(digits, sizeof(digits), "%.14s", traceparent + SPAN_ID_AT - 1 - RANDOM_DIGITS);
	double least = (1 - s->ratio) * (double)(UINT64_C(1) << RANDOM_BITS);
	return strtoull(digits, NULL, 16) >= (uint64_t)least;
}

static bool is_to_be_recorded(const struct trace_sampler *s, bool is_given, const char *traceparent)
{
	if (is_given && s->kind >= TRACE_PARENT_ALWAYS_ON)
		return traceparent_is_sampled(traceparent);
	if (s->kind == TRACE_RATIO || s->kind == TRACE_PARENT_RATIO)
		return is_within(s, traceparent);
	return s->kind == TRACE_ALWAYS_ON || s->kind == TRACE_PARENT_ALWAYS_ON;
}

void trace_of_command(const char *command_id, char ret_traceparent[TRACEPARENT_SIZE])
{
	char span_id[SPAN_ID_SIZE];

	trace_span_id(command_id, TRACE_STEP_COMMAND, 0, span_id);
	snprintf(ret_traceparent, TRACEPARENT_SIZE, "00-%.8s%.4s%.4s%.4s%.12s-%s-%02x", command_id, command_id + 9,
		command_id + 14, command_id + 19, command_id + 24, span_id, FLAG_RANDOM);
}

void trace_begin(const struct trace_sampler *s, const char *given, const char *command_id,
	char ret_traceparent[TRACEPARENT_SIZE])
{
	char trace_id[TRACE_ID_SIZE], span_id[SPAN_ID_SIZE], traceparent[TRACEPARENT_SIZE];
	bool is_given = given && traceparent_read(given, strlen(given), traceparent);
	unsigned flags = is_given ? flags_of(traceparent) & ~FLAG_SAMPLED : FLAG_RANDOM;

	if (!is_given) {
		random_hex((TRACE_ID_SIZE - 1) / 2, trace_id);
		trace_span_id(command_id, TRACE_STEP_COMMAND, 0, span_id);
		snprintf(traceparent, sizeof(traceparent), "00-%s-%s-%02x", trace_id, span_id, flags);
	}
	flags |= is_to_be_recorded(s, is_given, traceparent) ? FLAG_SAMPLED : 0;
	snprintf(ret_traceparent, TRACEPARENT_SIZE, "%.53s%02x", traceparent, flags);
}
