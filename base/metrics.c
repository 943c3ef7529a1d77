/* metrics.c - the counts of the process, and how they are written (OpenMetrics 1.0). */
#include "base/metrics.h"

#include <assert.h>
#include <stdatomic.h>

/* Upper bounds of the buckets, and how a reader of OpenMetrics writes them in seconds. */
static const struct bound {
	int64_t us;
	const char *seconds;
} bounds[] = {
	{ 100, "0.0001" },
	{ 250, "0.00025" },
	{ 500, "0.0005" },
	{ 1000, "0.001" },
	{ 2500, "0.0025" },
	{ 5000, "0.005" },
	{ 10000, "0.01" },
	{ 25000, "0.025" },
	{ 50000, "0.05" },
	{ 100000, "0.1" },
	{ 250000, "0.25" },
	{ 500000, "0.5" },
	{ 1000000, "1.0" },
	{ 2500000, "2.5" },
	{ 5000000, "5.0" },
	{ 10000000, "10.0" },
	{ 30000000, "30.0" },
	{ 60000000, "60.0" },
	{ 300000000, "300.0" },
};
enum { BOUND_COUNT = sizeof bounds / sizeof *bounds };

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM, KIND_COUNT };

/* Names without the keyfob_ prefix. */
static const struct row {
	enum kind kind;
	const char *name, *help;
} rows[METRIC_COUNT] = {
#define COUNTER(id, name, help) [METRIC_##id] = { KIND_COUNTER, name, help },
#define GAUGE(id, name, help) [METRIC_##id] = { KIND_GAUGE, name, help },
#define HISTOGRAM(id, name, help) [METRIC_##id] = { KIND_HISTOGRAM, name, help },
#include "base/metrics.tbl.h"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

/* A cache line for each: workers that count different things do not take it from each other. */
static struct cell {
	_Alignas(64) _Atomic int64_t value;	  /* a histogram's sum, in microseconds */
	_Atomic int64_t buckets[BOUND_COUNT + 1]; /* histograms: not cumulative, the last is above all bounds */
} cells[METRIC_COUNT];

static void write_value(FILE *, enum metric);
static void write_histogram(FILE *, enum metric);

static int64_t load(const _Atomic int64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

/* counting */

void metric_add(enum metric metric, int64_t by)
{
	assert(rows[metric].kind == KIND_GAUGE || (rows[metric].kind == KIND_COUNTER && by >= 0));
	atomic_fetch_add_explicit(&cells[metric].value, by, memory_order_relaxed);
}

void metric_set(enum metric metric, int64_t value)
{
	assert(rows[metric].kind == KIND_GAUGE);
	atomic_store_explicit(&cells[metric].value, value, memory_order_relaxed);
}

static int bucket_of(int64_t us)
{
	int i = 0;
	while (i < BOUND_COUNT && us > bounds[i].us)
		i++;
	return i;
}

/* A clock that was set back between begin and end gives less than nothing: that counts as nothing. */
void metric_observe(enum metric metric, int64_t us)
{
	assert(rows[metric].kind == KIND_HISTOGRAM);
	us = us > 0 ? us : 0;
	atomic_fetch_add_explicit(&cells[metric].value, us, memory_order_relaxed);
	atomic_fetch_add_explicit(&cells[metric].buckets[bucket_of(us)], 1, memory_order_relaxed);
}

int64_t metric_value(enum metric metric)
{
	if (rows[metric].kind != KIND_HISTOGRAM)
		return load(&cells[metric].value);
	int64_t count = 0;
	for (int i = 0; i <= BOUND_COUNT; i++)
		count += load(&cells[metric].buckets[i]);
	return count;
}

/* writing */

/* OpenMetrics 1.0: a counter's sample ends with _total, its family does not. */
static const struct shape {
	const char *type, *sample_suffix;
	void (*write)(FILE *, enum metric);
} shapes[KIND_COUNT] = {
	[KIND_COUNTER] = { "counter", "_total", write_value },
	[KIND_GAUGE] = { "gauge", "", write_value },
	[KIND_HISTOGRAM] = { "histogram", "", write_histogram },
};

void metrics_write(FILE *out)
{
	for (enum metric m = 0; m < METRIC_COUNT; m++) {
		const struct shape *shape = &shapes[rows[m].kind];
		fprintf(out, "# TYPE keyfob_%s %s\n", rows[m].name, shape->type);
		if (rows[m].kind == KIND_HISTOGRAM)
			fprintf(out, "# UNIT keyfob_%s seconds\n", rows[m].name);
		fprintf(out, "# HELP keyfob_%s %s\n", rows[m].name, rows[m].help);
		shape->write(out, m);
	}
	fputs("# EOF\n", out);
}

static void write_value(FILE *out, enum metric m)
{
	const char *suffix = shapes[rows[m].kind].sample_suffix;
	fprintf(out, "keyfob_%s%s %lld\n", rows[m].name, suffix, (long long)load(&cells[m].value));
}

/* The count is the sum of the buckets as they were read, so that it always equals the last of them. */
static void write_histogram(FILE *out, enum metric m)
{
	const char *name = rows[m].name;
	int64_t sum_us = load(&cells[m].value), count = 0;
	for (int i = 0; i <= BOUND_COUNT; i++) {
		const char *bound = i < BOUND_COUNT ? bounds[i].seconds : "+Inf";
		count += load(&cells[m].buckets[i]);
		fprintf(out, "keyfob_%s_bucket{le=\"%s\"} %lld\n", name, bound, (long long)count);
	}
	fprintf(out, "keyfob_%s_count %lld\n", name, (long long)count);
	fprintf(out, "keyfob_%s_sum %lld.%06lld\n", name, (long long)(sum_us / 1000000), (long long)(sum_us % 1000000));
}

void metrics_write_manual(FILE *out)
{
	fputs("| metric | type | what it tells |\n| --- | --- | --- |\n", out);
	for (enum metric m = 0; m < METRIC_COUNT; m++) {
		const struct shape *shape = &shapes[rows[m].kind];
		fprintf(out, "| `keyfob_%s%s` | %s | %s |\n", rows[m].name, shape->sample_suffix, shape->type,
			rows[m].help);
	}
}
