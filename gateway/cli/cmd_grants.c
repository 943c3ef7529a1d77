/* cmd_grants.c - keyfob grants, grant, revoke: who may do what with a vehicle, or with a fleet (--fleet). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/rfc3339.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/table.h"

static const char *kind_of(const struct invocation *inv)
{
	return option_is_given(inv, "--fleet") ? "fleets" : "vehicles";
}

/* Of one subject. */
static char *grant_path(const struct invocation *inv)
{
	return node_path(kind_of(inv), inv->words[0], "grants", inv->words[1], NULL);
}

static void row_add(struct table *t, const json_t *grant)
{
	const char *expires = json_text_at(grant, "expires_at");
	char local[LOCAL_TIME_SIZE];
	table_add(t, COLOUR_NONE, json_text_at(grant, "subject"));
	table_add(t, COLOUR_NONE, json_text_at(grant, "role"));
	table_add(t, expires ? COLOUR_YELLOW : COLOUR_DIM, expires ? local_time(expires, local) : "for good");
	table_add(t, COLOUR_NONE, json_text_at(grant, "granted_by"));
}

static void print_grants(const json_t *items)
{
	static const char *const heads[] = { "SUBJECT", "ROLE", "UNTIL", "GRANTED BY" };
	struct table *t = table_new(4, 0);
	size_t i;
	const json_t *grant;
	for (i = 0; i < 4; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	json_array_foreach (items, i, grant)
		row_add(t, grant);
	table_print(t);
	table_free(t);
}

static int run_grants(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path(kind_of(inv), inv->words[0], "grants", NULL);
	int code = listing_show(cli, path, NULL, option_number(inv, "--limit", 1000), print_grants);
	free(path);
	return code;
}

static json_t *body_of(const struct invocation *inv)
{
	json_t *body = json_pack("{s:s}", "role", inv->words[2]);
	char until[RFC3339_SIZE];
	if (option_is_given(inv, "--for")) {
		rfc3339_write(((int64_t)time(NULL) + option_number(inv, "--for", 0)) * 1000000, until);
		json_object_set_new(body, "expires_at", json_string(until));
	}
	return body;
}

static int run_grant(struct cli *cli, const struct invocation *inv)
{
	char *path = grant_path(inv);
	json_auto_t *body = body_of(inv), *list = NULL;
	struct reply r;
	call_make(cli, &(struct call){ .method = "PUT", .path = path, .body = body, .patience_ms = CALL_PATIENCE_MS },
		&r);
	free(path);
	int code = reply_is_fine(&r) ? CLI_FINE : reply_report(&r);
	if (code == CLI_FINE && cli->json)
		print_json(r.body);
	else if (code == CLI_FINE)
		print_grants(list = json_pack("[O]", r.body));
	reply_done(&r);
	return code;
}

static int run_revoke(struct cli *cli, const struct invocation *inv)
{
	char *path = grant_path(inv);
	struct reply r;
	call_make(cli, &(struct call){ .method = "DELETE", .path = path, .patience_ms = CALL_PATIENCE_MS }, &r);
	free(path);
	int code = r.status == 204 ? CLI_FINE : reply_report(&r);
	reply_done(&r);
	return code;
}

#define ON_FLEET                                                                                                       \
	{                                                                                                              \
		"--fleet", OPTION_FLAG, NULL, "the first argument is a fleet"                                          \
	}

static const struct option options_grants[] = {
	ON_FLEET,
	{ "--limit", OPTION_NUMBER, "N", "at most so many (1000)" },
	{ 0 },
};

static const struct option options_grant[] = {
	ON_FLEET,
	{ "--for", OPTION_DURATION, "TIME", "how long it lasts, such as 12h; without it, for good" },
	{ 0 },
};

static const struct option options_revoke[] = {
	ON_FLEET,
	{ 0 },
};

const struct cli_command CMD_GRANTS = {
	.name = "grants",
	.arguments = "VEHICLE",
	.summary = "list who may do what with a vehicle or fleet",
	.options = options_grants,
	.words_min = 1,
	.words_max = 1,
	.run = run_grants,
};

const struct cli_command CMD_GRANT = {
	.name = "grant",
	.arguments = "VEHICLE SUBJECT ROLE",
	.summary = "give somebody a role on a vehicle or fleet",
	.help = "Roles on a vehicle: owner, driver, viewer; on a fleet: manager, operator, viewer. There is one for "
		"each subject:\n"
		"a second takes the place of the first.\n",
	.options = options_grant,
	.words_min = 3,
	.words_max = 3,
	.run = run_grant,
};

const struct cli_command CMD_REVOKE = {
	.name = "revoke",
	.arguments = "VEHICLE SUBJECT",
	.summary = "end somebody's role on a vehicle or fleet",
	.help = "What they have sent and what has not left yet is taken back.\n",
	.options = options_revoke,
	.words_min = 2,
	.words_max = 2,
	.run = run_revoke,
};
