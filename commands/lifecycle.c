/* lifecycle.c - asks the table of lifecycle.tbl.h, and writes it out for SQL and for people. */
#include "commands/lifecycle.h"

#include <string.h>

const struct lifecycle_edge lifecycle_edges[] = {
#define EDGE(event, from, from_flight, to, to_flight, tells, why)                                                      \
	{ #event, STATUS_##from, FLIGHT_##from_flight, STATUS_##to, FLIGHT_##to_flight, tells, why },
#include "commands/lifecycle.tbl.h"
#undef EDGE
};
const size_t lifecycle_edge_count = sizeof(lifecycle_edges) / sizeof(lifecycle_edges[0]);

static const char *const status_names[STATUS_COUNT] = {
	[STATUS_ACCEPTED] = "accepted",
	[STATUS_WAITING] = "waiting",
	[STATUS_SENT] = "sent",
	[STATUS_IN_PROGRESS] = "in_progress",
	[STATUS_TIMED_OUT] = "timed_out",
	[STATUS_SUCCEEDED] = "succeeded",
	[STATUS_FAILED] = "failed",
	[STATUS_REJECTED] = "rejected",
	[STATUS_EXPIRED] = "expired",
	[STATUS_CANCELED] = "canceled",
};

static const char *const flight_names[FLIGHT_COUNT] = {
	[FLIGHT_NONE] = "none",
	[FLIGHT_CLAIMED] = "claimed",
	[FLIGHT_OUT] = "out",
	[FLIGHT_CLAIMED_OUT] = "claimed_out",
};

const char *status_name(enum command_status status)
{
	return status_names[status];
}

const char *flight_name(enum command_flight flight)
{
	return flight_names[flight];
}

enum command_status status_of(const char *name)
{
	size_t i = 0;
	while (i < STATUS_COUNT && strcmp(status_names[i], name) != 0)
		i++;
	return (enum command_status)i;
}

bool status_is_final(enum command_status status)
{
	return status >= STATUS_SUCCEEDED && status < STATUS_COUNT;
}

const struct lifecycle_edge *lifecycle_find(const char *event, enum command_status from, enum command_flight flight)
{
	for (size_t i = 0; i < lifecycle_edge_count; i++) {
		const struct lifecycle_edge *e = &lifecycle_edges[i];
		if (e->from == from && e->from_flight == flight && strcmp(e->event, event) == 0)
			return e;
	}
	return NULL;
}

void lifecycle_write_sql(FILE *out)
{
	fputs("insert into lifecycle (event, from_status, from_flight, to_status, to_flight, tells) values\n", out);
	for (size_t i = 0; i < lifecycle_edge_count; i++) {
		const struct lifecycle_edge *e = &lifecycle_edges[i];
		fprintf(out, "\t('%s', '%s', '%s', '%s', '%s', %s)%s\n", e->event, status_name(e->from),
			flight_name(e->from_flight), status_name(e->to), flight_name(e->to_flight),
			e->tells ? "true" : "false", i + 1 < lifecycle_edge_count ? "," : ";");
	}
}

/* The picture shows the public statuses only, each pair once, with the events that lead along it. */
static void write_picture(FILE *out)
{
	fputs("```mermaid\nstateDiagram-v2\n    [*] --> accepted\n", out);
	for (int from = 0; from < STATUS_COUNT; from++) {
		for (int to = 0; to < STATUS_COUNT; to++) {
			const char *last = NULL;
			for (size_t i = 0; i < lifecycle_edge_count; i++) {
				const struct lifecycle_edge *e = &lifecycle_edges[i];
				if ((int)e->from != from || (int)e->to != to || !e->tells ||
					(last && strcmp(last, e->event) == 0))
					continue;
				if (last)
					fprintf(out, ", %s", e->event);
				else
					fprintf(out, "    %s --> %s: %s", status_names[from], status_names[to],
						e->event);
				last = e->event;
			}
			if (last)
				fputc('\n', out);
		}
	}
	fputs("```\n\n", out);
}

void lifecycle_write_manual(FILE *out)
{
	fputs("# The life of a command\n\n"
	      "Generated from `commands/lifecycle.tbl.h` by `keyfob-manual`; do not edit.\n\n"
	      "A command has a *status*, which apps see, and a *flight*, which says what is known of its publishes:\n"
	      "`none` is possible or undisproved; one is `claimed` by a worker; one is `out` (published and not "
	      "disproved,\n"
	      "or nobody knows whether it left); `claimed_out` is both. Only a command whose flight is `none` may "
	      "expire or\n"
	      "be canceled. The table is enforced by the database (trigger `commands_guard`).\n\n",
		out);
	write_picture(out);
	fputs("| event | from | flight | to | flight | apps are told | because |\n"
	      "| --- | --- | --- | --- | --- | --- | --- |\n",
		out);
	for (size_t i = 0; i < lifecycle_edge_count; i++) {
		const struct lifecycle_edge *e = &lifecycle_edges[i];
		fprintf(out, "| `%s` | %s | %s | %s | %s | %s | %s |\n", e->event, status_name(e->from),
			flight_name(e->from_flight), status_name(e->to), flight_name(e->to_flight),
			e->tells ? "yes" : "", e->why);
	}
}
