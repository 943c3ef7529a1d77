/* catalog.h - the commands that vehicles know, as the operator's catalogue file describes them.
 *
 * A catalogue is immutable; SIGHUP reads another. Whoever read it frees it when no request borrows
 * from it any more. Safe to read from every thread. */
#ifndef KEYFOB_GATEWAY_CATALOG_H
#define KEYFOB_GATEWAY_CATALOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "gateway/config_error.h"
#include "gateway/config_lists.h"

struct catalog;
struct catalog_param;
struct fault;

/* The least role that may send it; a greater one may too. On a fleet, manager, operator and viewer
 * stand for owner, driver and viewer. */
enum catalog_role { CATALOG_ROLE_VIEWER, CATALOG_ROLE_DRIVER, CATALOG_ROLE_OWNER };
/* ON_RECONNECT: offered again when the vehicle subscribes anew; NEVER: published at most once, ever. */
enum catalog_redelivery { CATALOG_REDELIVERY_ON_RECONNECT, CATALOG_REDELIVERY_NEVER };

struct catalog_command {
	const char *name;
	const char *title;
	enum catalog_role role;
	int ttl_seconds;     /* when the caller names none */
	int max_ttl_seconds; /* the most that a caller may ask for */
	int timeout_seconds; /* when the caller names none */
	bool wake;	     /* likewise */
	enum catalog_redelivery redelivery;
	struct texts supersedes; /* names of the commands that it takes back while they wait */
	char *supersedes_list;	 /* the same, comma-separated */
	char *said;		 /* JSON: what is stored of it with each command */
	int step_up_seconds;	 /* the oldest login that may send it; 0: any */
	const struct catalog_param *params;
	size_t param_count;
};

/* making */

/* NULL when the file is no catalogue: ret->line says why. The caller owns the result. */
const struct catalog *catalog_read(const char *file, struct config_error *ret);
void catalog_free(const struct catalog *);

/* asking */

/* NULL: the catalogue has no such command. Borrowed from the catalogue. */
const struct catalog_command *catalog_find(const struct catalog *, const char *name);
size_t catalog_count(const struct catalog *);
/* In the order of the names. */
const struct catalog_command *catalog_at(const struct catalog *, size_t index);
/* Checks what a caller gave (NULL: nothing) against the command's params. NULL: it fits, and
 * *ret_params is a new object, the caller's, with the defaults filled in. Else FAULT_INVALID_PARAMS,
 * and `detail` (of `size` bytes) says which param and what is allowed. `params` is not changed. */
const struct fault *catalog_check_params(
	const struct catalog_command *, const json_t *params, json_t **ret_params, char *detail, size_t size);
/* The body of GET /v1/catalog, with params as JSON Schema 2020-12. Borrowed from the catalogue. */
const char *catalog_json(const struct catalog *);
/* "viewer", "driver", "owner" and "on_reconnect", "never": as in the file. */
const char *catalog_role_name(enum catalog_role);
const char *catalog_redelivery_name(enum catalog_redelivery);
/* [A-Za-z0-9._-]{1,64} */
bool catalog_is_name(const char *);

#endif
