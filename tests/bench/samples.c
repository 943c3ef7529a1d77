/* samples.c - collects, sorts, prints. */
#include "tests/bench/samples.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

void samples_add(struct samples *s, int64_t us)
{
	if (s->count == s->size) {
		s->size = s->size ? 2 * s->size : 1024;
		s->us = memory_resize(s->us, s->size, sizeof(*s->us));
	}
	s->us[s->count++] = us;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int64_t samples_percentile(struct samples *s, double part)
{
	assert(s->count > 0);
	qsort(s->us, s->count, sizeof(*s->us), compare);
	size_t at = (size_t)(part * (double)s->count);
	return s->us[at < s->count ? at : s->count - 1];
}

void samples_free(struct samples *s)
{
	free(s->us);
	*s = (struct samples){ 0 };
}

void report_number(const char *name, double value)
{
	printf("{\"name\":\"%s\",\"value\":%.3f}\n", name, value);
	fflush(stdout);
}

void report_latency(const char *name, struct samples *s)
{
	char full[64];
	if (s->count == 0)
		give_up("%s: nothing was measured", name);
	snprintf(full, sizeof(full), "%s_p50_us", name);
	report_number(full, (double)samples_percentile(s, 0.50));
	snprintf(full, sizeof(full), "%s_p99_us", name);
	report_number(full, (double)samples_percentile(s, 0.99));
}

void arguments_check(int argc, char **argv, int wanted, const char *usage)
{
	if (argc == wanted + 1)
		return;
	fprintf(stderr, "%s %s\n", argv[0], usage);
	exit(2);
}

double argument_number(const char *text)
{
	char *end;
	double number = strtod(text, &end);
	if (end == text || *end != '\0' || number < 0)
		give_up("%s is no number", text);
	return number;
}

void give_up(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}
