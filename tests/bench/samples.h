/* samples.h - latencies, and how a program of the benchmark says what it found and why it gave up. */
#ifndef KEYFOB_BENCH_SAMPLES_H
#define KEYFOB_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise; samples_free() when done. */
struct samples {
	int64_t *us;
	size_t count, size;
};

void samples_add(struct samples *, int64_t us);
/* Sorts. `part` from 0 to 1; there must be one. */
int64_t samples_percentile(struct samples *, double part);
void samples_free(struct samples *);

/* {"name":NAME,"value":VALUE}, a line of its own on standard output. */
void report_number(const char *name, double value);
/* NAME_p50_us and NAME_p99_us. */
void report_latency(const char *name, struct samples *);

/* The arguments of the command line as numbers and texts; on a wrong count the usage, and exit 2. */
void arguments_check(int argc, char **argv, int wanted, const char *usage);
double argument_number(const char *text);

/* What was to be measured did not happen: one line on standard error, exit 1. */
_Noreturn void give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
