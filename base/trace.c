/* trace.c - reads and writes traceparent, makes span ids, and samples. */
#include "base/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"

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
	size_t i = 0;
	while (i < len && ((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
		i++;
	return i == len;
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
	unsigned flags = flags_of(t) & (FLAG_SAMPLED | FLAG_RANDOM);
	memcpy(ret, t, whole + 1);
	memcpy(ret, "00", 2);
	ret[FLAGS_AT] = '0';
	ret[FLAGS_AT + 1] = (char)('0' + flags);
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
	memcpy(ret, traceparent + TRACE_ID_AT, TRACE_ID_SIZE - 1);
	ret[TRACE_ID_SIZE - 1] = '\0';
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
	char which[1 + INT_TEXT_SIZE] = "/";

	text_of_int(number, which + 1);
	uint64_t id = stir(mix(mix(mix(UINT64_C(0xcbf29ce484222325), command_id), step), which));
	if (id == 0)
		id = 1; /* zero is no id */
	for (int i = SPAN_ID_SIZE - 2; i >= 0; i--, id >>= 4)
		ret[i] = "0123456789abcdef"[id & 15];
	ret[SPAN_ID_SIZE - 1] = '\0';
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
	static const struct {
		size_t at, len;
	} groups[] = { { 0, 8 }, { 9, 4 }, { 14, 4 }, { 19, 4 }, { 24, 12 } }; /* of a UUID's digits */
	char span_id[SPAN_ID_SIZE];

	trace_span_id(command_id, TRACE_STEP_COMMAND, 0, span_id);
	char *at = stpcpy(ret_traceparent, "00-");
	for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
		at = mempcpy(at, command_id + groups[group].at, groups[group].len);
	*at++ = '-';
	at = stpcpy(at, span_id);
	stpcpy(at, "-02"); /* FLAG_RANDOM */
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
