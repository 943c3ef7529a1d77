/* cmd_webhooks.c - keyfob webhooks, webhook add, webhook remove, webhook log: events that are sent to a server of one's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/print.h"
#include "gateway/cli/table.h"

/* Items of a list, joined by spaces; the caller frees it. */
static char *joined(const json_t *list, const char *none)
{
	struct text out = { 0 };
	size_t i;
	const json_t *item;
	json_array_foreach (list, i, item)
		text_addf(&out, "%s%s", i ? " " : "", json_string_value(item));
	if (json_array_size(list) == 0)
		text_add(&out, none);
	return text_take(&out);
}

static void add_joined(struct table *t, const json_t *list, const char *none)
{
	char *text = joined(list, none);
	table_add(t, COLOUR_NONE, text);
	free(text);
}

static void add_state(struct table *t, const json_t *webhook)
{
	const char *reason = json_text_at(webhook, "disabled_reason");
	table_add(t, reason ? COLOUR_RED : COLOUR_GREEN, reason ? reason : "enabled");
}

static void print_webhooks(const json_t *items)
{
	static const char *const heads[] = { "ID", "STATE", "URL", "VEHICLES", "FLEETS", "TYPES" };
	struct table *t = table_new(6, 0);
	size_t i;
	const json_t *webhook;
	for (i = 0; i < 6; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	json_array_foreach (items, i, webhook) {
		table_add(t, COLOUR_NONE, json_text_at(webhook, "id"));
		add_state(t, webhook);
		table_add(t, COLOUR_NONE, json_text_at(webhook, "url"));
		add_joined(t, json_object_get(webhook, "vehicle_ids"), "-");
		add_joined(t, json_object_get(webhook, "fleet_ids"), "-");
		add_joined(t, json_object_get(webhook, "types"), "all");
	}
	table_print(t);
	table_free(t);
}

static int run_webhooks(struct cli *cli, const struct invocation *inv)
{
	return listing_show(cli, "/v1/webhooks", NULL, option_number(inv, "--limit", 1000), print_webhooks);
}

/* "a,b" as a list; nothing for what is not given. */
static void set_list(json_t *body, const char *key, const char *text)
{
	json_t *list = json_array();
	char *copy = strdup(text), *rest = copy, *part;
	while ((part = strsep(&rest, ",")) != NULL)
		if (*part)
			json_array_append_new(list, json_string(part));
	free(copy);
	json_object_set_new(body, key, list);
}

static json_t *body_of(const struct invocation *inv)
{
	static const struct {
		const char *option, *key;
	} lists[] = { { "--vehicles", "vehicle_ids" }, { "--fleets", "fleet_ids" }, { "--types", "types" } };
	json_t *body = json_pack("{s:s}", "url", inv->words[0]);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (option_is_given(inv, lists[i].option))
			set_list(body, lists[i].key, option_text(inv, lists[i].option, ""));
	if (option_is_given(inv, "--description"))
		json_object_set_new(body, "description", json_string(option_text(inv, "--description", "")));
	return body;
}

static void print_made(const json_t *webhook)
{
	json_auto_t *list = json_pack("[O]", webhook);
	print_webhooks(list);
	fputs("\nits secret, which is not shown again: ", stdout);
	print_plain(stdout, json_text_at(webhook, "secret"));
	fputc('\n', stdout);
}

/* Asked once: repeated, it could make a second one. */
static int run_add(struct cli *cli, const struct invocation *inv)
{
	json_auto_t *body = body_of(inv);
	struct reply r;
	call_make(cli, &(struct call){ .method = "POST", .path = "/v1/webhooks", .body = body }, &r);
	int code = reply_is_fine(&r) ? CLI_FINE : reply_report(&r);
	if (code == CLI_FINE && cli->json)
		print_json(r.body);
	else if (code == CLI_FINE)
		print_made(r.body);
	reply_done(&r);
	return code;
}

static int run_remove(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("webhooks", inv->words[0], NULL);
	struct reply r;
	call_make(cli, &(struct call){ .method = "DELETE", .path = path, .patience_ms = CALL_PATIENCE_MS }, &r);
	free(path);
	int code = r.status == 204 ? CLI_FINE : reply_report(&r);
	reply_done(&r);
	return code;
}

static void print_deliveries(const json_t *items)
{
	static const char *const heads[] = { "TIME", "VEHICLE", "SEQ", "TYPE", "STATUS", "ATTEMPTS", "ANSWER",
		"ERROR" };
	struct table *t = table_new(8, 0);
	char local[LOCAL_TIME_SIZE];
	size_t i;
	const json_t *d;
	for (i = 0; i < 8; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	json_array_foreach (items, i, d) {
		const json_t *code = json_object_get(d, "response_status");
		const char *status = json_text_at(d, "status");
		table_add(t, COLOUR_NONE, local_time(json_text_at(d, "event_time"), local));
		table_add(t, COLOUR_NONE, json_text_at(d, "vehicle_id"));
		table_addf(t, COLOUR_NONE, "%lld", json_integer_value(json_object_get(d, "seq")));
		table_add(t, COLOUR_NONE, json_text_at(d, "type"));
		table_add(t,
			strcmp(status, "delivered") == 0 ? COLOUR_GREEN
			: strcmp(status, "pending") == 0 ? COLOUR_YELLOW
							 : COLOUR_RED,
			status);
		table_addf(t, COLOUR_NONE, "%lld", json_integer_value(json_object_get(d, "attempts")));
		table_addf(t, COLOUR_NONE, json_is_integer(code) ? "%lld" : "-", json_integer_value(code));
		table_add(t, COLOUR_NONE, json_text_at(d, "error"));
	}
	table_align_right(t, 2);
	table_align_right(t, 5);
	table_print(t);
	table_free(t);
}

static int run_deliveries(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("webhooks", inv->words[0], "deliveries", NULL);
	char *filter = listing_filter("status", option_text(inv, "--status", NULL));
	int code = listing_show(cli, path, filter, option_number(inv, "--limit", 50), print_deliveries);
	free(filter);
	free(path);
	return code;
}

static const struct option options_webhooks[] = {
	{ "--limit", OPTION_NUMBER, "N", "at most so many (1000)" },
	{ 0 },
};

static const struct option options_add[] = {
	{ "--vehicles", OPTION_TEXT, "IDS", "whose events, separated by commas" },
	{ "--fleets", OPTION_TEXT, "IDS", "the events of their vehicles" },
	{ "--types", OPTION_TEXT, "TYPES", "those alone, such as command.updated,connectivity.changed" },
	{ "--description", OPTION_TEXT, "TEXT", "for people" },
	{ 0 },
};

static const struct option options_deliveries[] = {
	{ "--status", OPTION_TEXT, "STATUS", "pending, delivered, failed or dropped alone" },
	{ "--limit", OPTION_NUMBER, "N", "at most so many (50)" },
	{ 0 },
};

const struct cli_command CMD_WEBHOOKS = {
	.name = "webhooks",
	.arguments = "",
	.summary = "list your webhooks: servers that events are sent to",
	.options = options_webhooks,
	.run = run_webhooks,
};

const struct cli_command CMD_WEBHOOK_ADD = {
	.name = "webhook add",
	.arguments = "URL",
	.summary = "have events of vehicles or fleets sent to a server",
	.help = "The secret that its deliveries are signed with is printed once. What is sent is as docs/webhooks.md "
		"says.\n",
	.options = options_add,
	.words_min = 1,
	.words_max = 1,
	.run = run_add,
};

const struct cli_command CMD_WEBHOOK_REMOVE = {
	.name = "webhook remove",
	.arguments = "ID",
	.summary = "send no more events there",
	.words_min = 1,
	.words_max = 1,
	.run = run_remove,
};

const struct cli_command CMD_WEBHOOK_DELIVERIES = {
	.name = "webhook log",
	.arguments = "ID",
	.summary = "show what a webhook sent, and is to send",
	.options = options_deliveries,
	.words_min = 1,
	.words_max = 1,
	.run = run_deliveries,
};
