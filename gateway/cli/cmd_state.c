/* cmd_state.c - keyfob state: what a vehicle reports, and what is desired of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"
#include "gateway/cli/show_state.h"
#include "gateway/cli/table.h"

#define LOOK_MS 250
#define WAIT_S 60

/* The object that `key` names inside `*patch`, by dots; what is on the way and no object is none yet. Ends at the last part. */
static json_t *descend(json_t *patch, char **key)
{
	for (char *dot; (dot = strchr(*key, '.')) != NULL; *key = dot + 1) {
		*dot = '\0';
		json_t *inner = json_object_get(patch, *key);
		if (!json_is_object(inner))
			json_object_set_new(patch, *key, inner = json_object());
		patch = inner;
	}
	return patch;
}

/* Any JSON, null too, which removes the member; what is none is a string. */
static const char *member_add(json_t *patch, const char *word)
{
	const char *equals = strchr(word, '=');
	if (!equals || equals == word)
		return "a member is written key=value, not `%.100s`";
	char *name = memory_need(strndup(word, (size_t)(equals - word))), *key = name;
	json_t *value = json_loads(equals + 1, JSON_DECODE_ANY, NULL), *into = descend(patch, &key);
	int failed = json_object_set_new(into, key, value ? value : json_string(equals + 1));
	free(name);
	return failed ? "`%.100s` is not UTF-8" : NULL;
}

/* NULL: it is reported already. */
static json_t *patch_read(const char *const *words)
{
	json_t *patch = json_object();
	for (; *words; words++) {
		const char *why = member_add(patch, *words);
		if (!why)
			continue;
		fputs("keyfob: ", stderr);
		fprintf(stderr, why, *words);
		fputc('\n', stderr);
		json_decref(patch);
		return NULL;
	}
	return patch;
}

/* A patch that must match a version is not repeated: the second would not match what the first has made. */
static int change(struct cli *cli, const struct invocation *inv, int64_t until_ms, json_t **ret_state)
{
	json_auto_t *patch = patch_read(inv->words + 1);
	if (!patch)
		return CLI_USAGE;
	const char *version = option_text(inv, "--if-version", NULL);
	char *path = node_path("vehicles", inv->words[0], "state", NULL);
	struct reply r;
	call_make(cli,
		&(struct call){ .method = "PATCH",
			.path = path,
			.body = patch,
			.if_version = version,
			.patience_ms = version ? 0 : CALL_PATIENCE_MS,
			.until_ms = until_ms },
		&r);
	free(path);
	int code = reply_is_fine(&r) ? CLI_FINE : reply_report(&r);
	if (code == CLI_FINE)
		*ret_state = json_incref(r.body);
	reply_done(&r);
	return code;
}

/* Asked again it would say the same; a node that is away or busy would not. */
static bool is_refused(const struct reply *r)
{
	return r->status >= 400 && r->status < 500 && r->status != 429;
}

/* `if_lost` is the exit code for a node that gave no answer. */
static int look(struct cli *cli, const struct invocation *inv, int64_t until_ms, int if_lost, json_t **ret_state)
{
	char *path = node_path("vehicles", inv->words[0], NULL);
	struct reply r;
	call_make(cli,
		&(struct call){ .method = "GET", .path = path, .patience_ms = CALL_PATIENCE_MS, .until_ms = until_ms },
		&r);
	free(path);
	int code = CLI_FINE;
	if (!reply_is_fine(&r)) {
		code = is_refused(&r) ? CLI_FAILED : if_lost;
		reply_report(&r);
	} else {
		json_decref(*ret_state);
		*ret_state = json_incref(json_object_get(r.body, "state"));
	}
	reply_done(&r);
	return code;
}

static bool is_reached(const json_t *state)
{
	return json_object_size(json_object_get(state, "delta")) == 0;
}

/* Until the vehicle has reported what is desired. */
static int wait(struct cli *cli, const struct invocation *inv, int64_t until_ms, json_t **state)
{
	while (!is_reached(*state)) {
		int64_t left_ms = until_ms - monotonic_ms();
		sleep_ms(smaller(LOOK_MS, left_ms));
		if (left_ms <= 0)
			return CLI_TIMED_OUT;
		int code = look(cli, inv, until_ms, CLI_TIMED_OUT, state);
		if (code != CLI_FINE)
			return code;
	}
	return CLI_FINE;
}

static void print_state(const json_t *state)
{
	if (json_object_size(json_object_get(state, "reported")) +
			json_object_size(json_object_get(state, "desired")) ==
		0) {
		puts("nothing is reported, and nothing desired");
		return;
	}
	struct table *t = table_new(2, 0);
	state_add(t, state);
	table_print(t);
	table_free(t);
}

/* What it was when the waiting ended is shown, however that was: the wish stays. */
static int run(struct cli *cli, const struct invocation *inv)
{
	json_auto_t *state = NULL;
	bool waits = option_is_given(inv, "--wait");
	int64_t wait_s = option_number(inv, "--wait", 0);
	int64_t until_ms = waits ? monotonic_ms() + (wait_s ? wait_s : WAIT_S) * 1000 : 0;
	int code =
		inv->word_count > 1 ? change(cli, inv, until_ms, &state) : look(cli, inv, until_ms, CLI_FAILED, &state);
	if (code != CLI_FINE)
		return code;
	if (waits)
		code = wait(cli, inv, until_ms, &state);
	if (cli->json)
		print_json(state);
	else
		print_state(state);
	return code;
}

static const struct option options[] = {
	{ "--if-version", OPTION_TEXT, "N", "only if the desired state still has this version (desired_version)" },
	{ "--wait", OPTION_MAYBE_DURATION, "[=TIME]", "until the vehicle has reported all that is desired (60s)" },
	{ 0 },
};

const struct cli_command CMD_STATE = {
	.name = "state",
	.arguments = "VEHICLE [key=value…]",
	.summary = "show a vehicle's state, or change what is desired of it",
	.help = "Values are as in JSON; what is none is a text. A dot goes into an object, null removes a member:\n"
		"  keyfob state CAR1 climate.on=true climate.temperature_c=21 --wait\n"
		"  keyfob state CAR1 climate=null\n"
		"The vehicle is told what it does not report yet: at once, or when it comes. With --wait the exit code "
		"is 3\n"
		"when it was not reported in time or the node was lost, 1 when the node refused to tell.\n",
	.options = options,
	.words_min = 1,
	.words_max = 64,
	.run = run,
};
