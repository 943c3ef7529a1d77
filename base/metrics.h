/* metrics.h - what the node counts, one row each in metrics.tbl.h; written out as OpenMetrics 1.0.
 *
 * Relaxed atomics of the whole process: any thread adds, one reads. No ids in labels. */
#ifndef KEYFOB_BASE_METRICS_H
#define KEYFOB_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum metric {
#define COUNTER(id, name, help) METRIC_##id,
#define GAUGE(id, name, help) METRIC_##id,
#define HISTOGRAM(id, name, help) METRIC_##id,
#include "base/metrics.tbl.h"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
	METRIC_COUNT
};

void metric_add(enum metric, int64_t by);     /* counters and gauges */
void metric_set(enum metric, int64_t value);  /* gauges */
void metric_observe(enum metric, int64_t us); /* histograms; microseconds in, seconds out */
int64_t metric_value(enum metric);	      /* for tests; a histogram's count */
/* The whole exposition, ending with "# EOF". */
void metrics_write(FILE *);
/* docs/metrics.md: a line a row. */
void metrics_write_manual(FILE *);

#endif
