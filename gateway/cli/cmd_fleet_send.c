/* cmd_fleet_send.c - keyfob fleet send: sends a command to a fleet's vehicles, and with --wait follows it until it is over.
 *
 *   POST (with an idempotency key) ─ the batch ─ (--wait) ─ GET, GET, … ─ over, or the time is up ─ counts */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/json.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/command_body.h"
#include "gateway/cli/print.h"
#include "gateway/cli/show_batch.h"

#define POLL_MS_MIN 200
#define POLL_MS_MAX 2000
#define WAITING_PATIENCE_MS (60 * 1000)

/* A percentage goes as it is; what is neither is the node's to refuse. */
static json_t *failures_of(const char *text)
{
	char *end;
	long long number = strtoll(text, &end, 10);
	return end > text && !*end ? json_integer(number) : json_string(text);
}

static json_t *body_read(struct cli *cli, const struct invocation *inv, int64_t until_ms, char *why, size_t why_size)
{
	json_t *body = command_body_read(cli, inv, until_ms, why, why_size);
	const char *filter = option_text(inv, "--filter", NULL), *failures = option_text(inv, "--max-failures", NULL);

	if (body && filter)
		json_object_set_new(body, "filter", json_string(filter));
	if (body && failures)
		json_object_set_new(body, "max_failures", failures_of(failures));
	if (body && option_is_given(inv, "--rate"))
		json_object_set_new(body, "rate", json_integer(option_number(inv, "--rate", 0)));
	return body;
}

static int post(struct cli *cli, const struct invocation *inv, const json_t *body, int64_t until_ms, json_t **ret_batch)
{
	char made[UUID_TEXT_SIZE], *path = node_path("fleets", inv->words[0], "commands", NULL);
	const char *key = option_text(inv, "--idempotency-key", made);
	struct reply r;

	uuid7_make((int64_t)time(NULL) * 1000000, made);
	call_make(cli,
		&(struct call){
			.method = "POST",
			.path = path,
			.body = body,
			.idempotency_key = key,
			.patience_ms = CALL_PATIENCE_MS,
			.until_ms = until_ms,
		},
		&r);
	free(path);
	int code = reply_is_fine(&r) ? CLI_FINE : reply_report_keyed(&r, key);
	if (code == CLI_FINE && !json_text_at(r.body, "id")) {
		fprintf(stderr, "keyfob: the answer names no batch: is this a Keyfob node?\n");
		code = CLI_FAILED;
	}
	if (code == CLI_FINE)
		*ret_batch = json_incref(r.body);
	reply_done(&r);
	return code;
}

static void tell_lost(const json_t *batch)
{
	fputs("keyfob: the batch goes on, and how it ends is not known: `keyfob batch ", stderr);
	print_plain(stderr, json_text_at(batch, "id"));
	fputs("` tells\n", stderr);
}

/* Eats the batch; as it was last seen, also when the node is lost: it goes on without us. */
static json_t *follow(struct cli *cli, json_t *batch, int64_t until_ms)
{
	char *path = node_path("batches", json_text_at(batch, "id"), NULL);
	bool shows = isatty(STDERR_FILENO); /* scripts have the exit code */
	int64_t pause_ms = POLL_MS_MIN;
	json_t *seen = batch;

	while (seen && !batch_is_over(batch) && monotonic_ms() < until_ms) {
		if (shows)
			show_batch_progress(stderr, batch);
		sleep_ms(smaller(pause_ms, until_ms - monotonic_ms()));
		pause_ms = smaller(pause_ms * 2, POLL_MS_MAX);
		seen = node_ask(cli, &(struct call){
					     .method = "GET",
					     .path = path,
					     .patience_ms = WAITING_PATIENCE_MS,
					     .until_ms = until_ms,
				     });
		if (!seen)
			continue;
		json_decref(batch);
		batch = seen;
	}
	if (shows)
		fputs("\r\x1b[K", stderr);
	if (!seen)
		tell_lost(batch);
	free(path);
	return batch;
}

static int run(struct cli *cli, const struct invocation *inv)
{
	char why[160] = "";
	int64_t wait_s = option_number(inv, "--wait", 0);
	json_auto_t *body = body_read(cli, inv, monotonic_ms_after(wait_s), why, sizeof(why));
	int64_t until_ms = monotonic_ms_after(wait_s); /* the catalogue took nothing of it */
	bool waits = option_is_given(inv, "--wait");

	if (!body) {
		fprintf(stderr, "keyfob: %s\n", why);
		return CLI_USAGE;
	}
	json_auto_t *batch = NULL;
	int code = post(cli, inv, body, until_ms, &batch);
	if (code != CLI_FINE)
		return code;
	if (waits)
		batch = follow(cli, batch, until_ms);
	if (cli->json)
		print_json(batch);
	else
		show_batch(batch);
	return waits ? batch_exit(batch) : CLI_FINE;
}

static const struct option options[] = {
	{ "--wait", OPTION_MAYBE_DURATION, "[=TIME]", "follow it until it is over, or for TIME" },
	{ "--filter", OPTION_TEXT, "FILTER",
		"only to those of the fleet that it finds: tag:vip AND reachability:connected" },
	{ "--rate", OPTION_NUMBER, "N", "commands in a second (100)" },
	{ "--max-failures", OPTION_TEXT, "N", "stop when more than so many fail; 5% of the vehicles" },
	COMMAND_BODY_OPTIONS,
	{ "--idempotency-key", OPTION_TEXT, "KEY", "the same key begins it only once" },
	{ 0 },
};

const struct cli_command CMD_FLEET_SEND = {
	.name = "fleet send",
	.arguments = "FLEET NAME [key=value…]",
	.summary = "send a command to the vehicles of a fleet",
	.help = "Parameters and times are as for `keyfob send`:\n"
		"  keyfob fleet send VANS climate.start temperature=21 --filter 'tag:winter' --rate 50 --max-failures "
		"2% --wait\n"
		"\n"
		"With --wait the exit code is 0 when it succeeded everywhere, 1 when it did not, was stopped or "
		"canceled, and\n"
		"3 when TIME passed, or the node was lost on the way. To leave it does not end it: `keyfob batch "
		"cancel` does.\n",
	.options = options,
	.words_min = 2,
	.words_max = 64,
	.run = run,
};
