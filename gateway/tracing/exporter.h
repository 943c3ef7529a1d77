/* exporter.h - spans to a collector by OTLP/HTTP in JSON: gathered, sent in batches, sent again where the collector asks for it.
 *
 * Nothing waits for it. What does not fit into its queue is dropped and counted (keyfob_spans_dropped). */
#ifndef KEYFOB_GATEWAY_TRACING_EXPORTER_H
#define KEYFOB_GATEWAY_TRACING_EXPORTER_H

#include <stdbool.h>
#include <stdint.h>

struct exporter;
struct loop;
struct pairs;

struct exporter_options { /* borrowed for life */
	const char *url;  /* of the traces: …/v1/traces */
	const struct pairs *headers;
	int64_t timeout_ms;	  /* of a call */
	int64_t delay_ms;	  /* how long spans gather */
	const char *service_name; /* NULL: that of the resource, or "keyfob" */
	const char *node;
	const struct pairs *resource; /* attributes besides */
};

/* making */
struct exporter *exporter_new(struct loop *, const struct exporter_options *);
/* What is in the queue goes out once more, or not at all; then exporter_is_quiet(). */
void exporter_stop(struct exporter *);

/* asking */
bool exporter_is_quiet(const struct exporter *);

/* changing */
/* JSON text of a span; eaten. */
void exporter_add(struct exporter *, char *span);

#endif
