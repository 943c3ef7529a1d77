/* census.h - what a node says of itself to all, every few seconds, and the statistics that the nodes keep together.
 *
 * On a connection of its own, so that whatever it takes to count a busy minute holds up nobody's reads. */
#ifndef KEYFOB_GATEWAY_CENSUS_H
#define KEYFOB_GATEWAY_CENSUS_H

#include <jansson.h>
#include <stdbool.h>

struct census;
struct loop;

struct census_options { /* borrowed for life */
	const char *database_url, *node;
	void *owner;
	/* As /readyz has it; the caller owns the details. */
	bool (*is_ready)(void *owner, json_t **ret_details);
};

struct census *census_new(struct loop *, const struct census_options *);
void census_start(struct census *);
/* The node drains: that is the last that it says. Never freed: it lives as long as the process. */
void census_leave(struct census *);

#endif
