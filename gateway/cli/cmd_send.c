/* cmd_send.c - keyfob send: sends a command, and with --wait follows it until there is nothing more to wait for.
 *
 *   POST (with an idempotency key, Prefer: wait) ─┬─ settled ──────────────┬─ GET with the timeline ─ verdict
 *                                                 └─ GET, GET, … ─ settled ┘
 *
 * The command gets all of --wait's time; the catalogue before it, where that is asked for, may take as long again.
 * The key is made before the first attempt, so a lost answer is asked for again and never a second command sent. A command
 * that was accepted is shown, however the following ends: a script that was told nothing would send it again. */
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
#include "gateway/cli/show_command.h"
#include "gateway/cli/verdict.h"

#define PREFER_WAIT_S_MAX 60
#define WAITING_PATIENCE_MS (60 * 1000)
#define POLL_MS_MIN 100
#define POLL_MS_MAX 1000

/* One `send` on its way. */
struct sending {
	struct cli *cli;
	const struct invocation *inv;
	bool waits;
	int64_t until_ms;	    /* monotonic: how long --wait waits for the command */
	json_t *command;	    /* as the node last showed it */
	char *path;		    /* of the command */
	const struct verdict *told; /* what was last said on standard error */
};

static int send_begin(struct sending *);
static void send_follow(struct sending *);
static int send_finish(struct sending *);

static int64_t left_ms(const struct sending *s)
{
	return s->until_ms - monotonic_ms();
}

static bool is_settled(const struct sending *s)
{
	return verdict_of(json_text_at(s->command, "status"))->is_settled;
}

static int run(struct cli *cli, const struct invocation *inv)
{
	struct sending s = { .cli = cli, .inv = inv, .waits = option_is_given(inv, "--wait") };
	int code = send_begin(&s);
	if (code == CLI_FINE && s.waits)
		send_follow(&s);
	if (code == CLI_FINE)
		code = send_finish(&s);
	json_decref(s.command);
	free(s.path);
	return code;
}

static int post(struct sending *s, const json_t *body)
{
	char made[UUID_TEXT_SIZE];
	uuid7_make((int64_t)time(NULL) * 1000000, made);
	const char *key = option_text(s->inv, "--idempotency-key", made);
	char *path = node_path("vehicles", s->inv->words[0], "commands", NULL);
	struct reply r;
	call_make(s->cli,
		&(struct call){
			.method = "POST",
			.path = path,
			.body = body,
			.idempotency_key = key,
			.wait_s = s->waits ? PREFER_WAIT_S_MAX : 0,
			.patience_ms = s->waits ? WAITING_PATIENCE_MS : CALL_PATIENCE_MS,
			.until_ms = s->until_ms,
		},
		&r);
	free(path);
	int code = reply_is_fine(&r) ? CLI_FINE : reply_report_keyed(&r, key);
	s->command = code == CLI_FINE ? json_incref(r.body) : NULL;
	reply_done(&r);
	return code;
}

static int send_begin(struct sending *s)
{
	int64_t wait_s = option_number(s->inv, "--wait", 0);
	char why[160] = "";
	json_auto_t *body = command_body_read(s->cli, s->inv, monotonic_ms_after(wait_s), why, sizeof(why));
	if (!body) {
		fprintf(stderr, "keyfob: %s\n", why);
		return CLI_USAGE;
	}
	s->until_ms = monotonic_ms_after(wait_s);
	int code = post(s, body);
	const char *id = json_text_at(s->command, "id");
	s->path = id ? node_path("vehicles", s->inv->words[0], "commands", id, NULL) : NULL;
	if (code == CLI_FINE && !id) {
		fprintf(stderr, "keyfob: the answer names no command: is this a Keyfob node?\n");
		return CLI_FAILED;
	}
	return code;
}

static bool command_renew(struct sending *s)
{
	json_t *command = node_ask(s->cli, &(struct call){
						   .method = "GET",
						   .path = s->path,
						   .patience_ms = WAITING_PATIENCE_MS,
						   .until_ms = s->until_ms,
					   });
	if (!command)
		return false;
	json_decref(s->command);
	s->command = command;
	return true;
}

/* Only for someone who looks at a terminal; scripts have the exit code. */
static void tell_progress(struct sending *s)
{
	const struct verdict *v = verdict_of(json_text_at(s->command, "status"));
	if (v != s->told && v->meanwhile && isatty(STDERR_FILENO))
		fprintf(stderr, "keyfob: %s …\n", v->meanwhile);
	s->told = v;
}

static void tell_lost(const struct sending *s)
{
	fputs("keyfob: the command was accepted, and how it ends is not known: `keyfob command ", stderr);
	print_plain(stderr, s->inv->words[0]);
	fputc(' ', stderr);
	print_plain(stderr, json_text_at(s->command, "id"));
	fputs("` tells\n", stderr);
}

static void send_follow(struct sending *s)
{
	int64_t pause_ms = POLL_MS_MIN;
	bool fine = true;
	while (fine && !is_settled(s) && left_ms(s) > 0) {
		tell_progress(s);
		sleep_ms(smaller(pause_ms, left_ms(s)));
		pause_ms = smaller(pause_ms * 2, POLL_MS_MAX);
		fine = command_renew(s);
	}
	if (fine && !json_object_get(s->command, "timeline"))
		fine = command_renew(s);
	if (!fine && !is_settled(s))
		tell_lost(s);
}

static int send_finish(struct sending *s)
{
	if (s->cli->json)
		print_json(s->command);
	else
		show_command(s->command);
	return s->waits ? (int)verdict_of(json_text_at(s->command, "status"))->exit : CLI_FINE;
}

static const struct option options[] = {
	{ "--wait", OPTION_MAYBE_DURATION, "[=TIME]", "follow it until it is settled, or for TIME" },
	COMMAND_BODY_OPTIONS,
	{ "--idempotency-key", OPTION_TEXT, "KEY", "the same key sends the same command only once" },
	{ 0 },
};

const struct cli_command CMD_SEND = {
	.name = "send",
	.arguments = "VEHICLE NAME [key=value…]",
	.summary = "send a command to a vehicle",
	.help = "Parameters are read as JSON where they are true, false, a number or a quoted string "
		"('pin=\"1234\"'), else as text.\nWhat the catalogue calls a string is one without quotes, too:\n"
		"  keyfob send WKF00000000000001 doors.unlock door=driver --wait\n"
		"  keyfob send WKF00000000000001 climate.start temperature=21.5 minutes=10\n"
		"  keyfob send WKF00000000000001 lights.flash times=5 --ttl 10s --no-wake\n"
		"\n"
		"Times are seconds, or have a unit: 30s, 5m, 24h.\n"
		"With --wait the exit code is 0 when the command succeeded, 1 when it failed, was rejected, expired "
		"or\n"
		"was canceled, and 3 when no answer came in time. Without it, 0 means that the node took the "
		"command.\n"
		"\n"
		"3 is also for a node that was lost on the way: the command may be done yet. Standard error has its "
		"id,\n"
		"or the idempotency key by which it is asked for again.\n",
	.options = options,
	.words_min = 2,
	.words_max = 64,
	.run = run,
};
