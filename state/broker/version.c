/* version.c - a clock that never goes back, and the small file that says how far it may have come. */
#include "state/broker/version.h"

#include <errno.h>
#include <inttypes.h>
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RESERVE_US 1000000
#define RETRY_US 1000000

static int64_t give(struct version *, int64_t number);
static void reserve(struct version *, int64_t to);
static int64_t now_us(clockid_t);
static bool file_read(const char *path, int64_t *ret_last);
static bool file_replace(const char *path, int64_t last);

void version_init(struct version *v, const char *file)
{
	*v = (struct version){ .file = file };
	if (!file)
		return;
	if (file_read(file, &v->last))
		v->reserved = v->last;
	else if (errno != ENOENT)
		mosquitto_log_printf(MOSQ_LOG_WARNING, "keyfob: cannot read %s: %s; versions follow the clock", file,
			strerror(errno));
}

void version_done(struct version *v)
{
	if (v->file && v->reserved != v->last)
		reserve(v, v->last);
}

int64_t version_next(struct version *v)
{
	int64_t now = now_us(CLOCK_REALTIME);
	return give(v, now > v->last ? now : v->last + 1);
}

int64_t version_now(struct version *v)
{
	int64_t now = now_us(CLOCK_REALTIME);
	return give(v, now > v->last ? now : v->last);
}

static int64_t give(struct version *v, int64_t number)
{
	v->last = number;
	if (v->file && number > v->reserved && (!v->is_failing || now_us(CLOCK_MONOTONIC) - v->tried_at >= RETRY_US))
		reserve(v, number + RESERVE_US);
	return number;
}

static void reserve(struct version *v, int64_t to)
{
	v->tried_at = now_us(CLOCK_MONOTONIC);
	if (file_replace(v->file, to)) {
		v->reserved = to;
		v->is_failing = false;
		return;
	}
	if (!v->is_failing)
		mosquitto_log_printf(MOSQ_LOG_ERR, "keyfob: cannot write %s: %s", v->file, strerror(errno));
	v->is_failing = true;
}

static int64_t now_us(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool file_read(const char *path, int64_t *ret_last)
{
	FILE *in = fopen(path, "re");
	if (!in)
		return false;
	int64_t last = 0;
	bool is_number = fscanf(in, "%" SCNd64, &last) == 1 && last > 0 && last < INT64_MAX / 2;
	fclose(in);
	if (is_number)
		*ret_last = last;
	else
		errno = EINVAL;
	return is_number;
}

/* Not synced: a power cut loses at most what the clock makes up for, and the broker's only thread would wait here. */
static bool file_replace(const char *path, int64_t last)
{
	char *draft = NULL;
	if (asprintf(&draft, "%s.new", path) < 0)
		abort();
	FILE *out = fopen(draft, "we");
	bool is_done = out && fprintf(out, "%" PRId64 "\n", last) > 0;
	if (out && fclose(out) != 0)
		is_done = false;
	is_done = is_done && rename(draft, path) == 0;
	free(draft);
	return is_done;
}
