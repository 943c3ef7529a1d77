/* smpp_driver.c - lets a script submit SMS by the provider `smpp`: smpp_driver URL PASSWORD SOURCE [CA]
 *
 * Lines of its input: `submit MSISDN VALIDITY_SECONDS TEXT`, `keep` (receipts are not on
 * record until …), `record`, `close`. Each thing that happens is a JSON object a line of
 * its output: done (of the n-th submission), receipt, closed. Only for tests: a password on the command line is no secret. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "notifier/wake/smpp/smpp.h"

struct ask {
	struct sms_submission submission;
	struct sms sms;
	int number;
	char text[]; /* the line, cut up */
};

static struct loop *loop;
static struct sms_provider *provider;
static uv_pipe_t input;
static char line[4096];
static size_t line_len;
static int asked;
static bool keeps; /* receipts, undecided */
static struct list kept;
static struct loop_soon deciding;

static void say(const char *what, int number, const char *verdict, const char *message_id, const char *reason)
{
	struct text t = { 0 };
	text_addf(&t, "{\"what\":\"%s\",\"n\":%d,\"verdict\":\"%s\",\"message_id\":", what, number, verdict);
	text_add_json_string(&t, message_id);
	text_add(&t, ",\"reason\":");
	text_add_json_string(&t, reason);
	text_add(&t, "}");
	puts(t.data);
	fflush(stdout);
	text_free(&t);
}

static void on_done(struct sms_submission *submission, const struct sms_outcome *o)
{
	static const char *const verdicts[] = {
		[SMS_TAKEN] = "taken", [SMS_REFUSED] = "refused", [SMS_FAILED] = "failed", [SMS_UNKNOWN] = "unknown"
	};
	struct ask *a = container_of(submission, struct ask, submission);
	say("done", a->number, verdicts[o->verdict], o->message_id, o->reason);
	free(a);
}

/* What becomes of a receipt, when the script has not said `keep`: it is on record. */

struct kept {
	struct list node;
	struct sms_news *news;
};

static void on_deciding(struct loop_soon *soon)
{
	struct list *node;
	(void)soon;
	while ((node = list_take_first(&kept))) {
		struct kept *k = container_of(node, struct kept, node);
		k->news->on_done(k->news, NULL);
		free(k);
	}
}

static void on_receipt(void *owner, struct sms_news *news)
{
	struct kept *k = memory_new(sizeof *k);
	const struct sms_receipt *r = &news->receipt;
	(void)owner;
	say("receipt", 0, r->delivered ? "delivered" : "failed", r->message_id, r->reason);
	k->news = news;
	list_append(&kept, &k->node);
	if (!keeps)
		loop_soon_call(loop, &deciding);
}

static void keep(bool does)
{
	keeps = does;
	if (!keeps)
		loop_soon_call(loop, &deciding);
}

static void on_closed(void *owner)
{
	(void)owner;
	say("closed", 0, "", NULL, NULL);
	uv_close((uv_handle_t *)&input, NULL);
	loop_stop(loop);
}

static void end(void)
{
	keep(false);
	if (provider)
		provider->close(provider->self, on_closed, NULL);
	provider = NULL;
}

static void submit(const char *words)
{
	struct ask *a = memory_new(sizeof *a + strlen(words) + 1);
	char *rest = strcpy(a->text, words);
	a->sms.msisdn = strsep(&rest, " ");
	a->sms.validity_s = rest ? atoi(strsep(&rest, " ")) : 1;
	a->sms.text = rest ? rest : "";
	a->sms.vehicle_id = "WKF00000000000001";
	a->number = ++asked;
	a->submission.on_done = on_done;
	provider->submit(provider->self, &a->sms, &a->submission);
}

static void obey(const char *command)
{
	if (strncmp(command, "submit ", 7) == 0 && provider)
		submit(command + 7);
	else if (strcmp(command, "keep") == 0 || strcmp(command, "record") == 0)
		keep(*command == 'k');
	else if (strcmp(command, "close") == 0)
		end();
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
	(void)handle, (void)suggested;
	*room = uv_buf_init(line + line_len, (unsigned)(sizeof line - line_len - 1));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
	(void)room;
	if (len < 0) {
		uv_read_stop(stream);
		end();
		return;
	}
	line_len += (size_t)len;
	for (char *stop; (stop = memchr(line, '\n', line_len));) {
		*stop = '\0';
		obey(line);
		line_len -= (size_t)(stop + 1 - line);
		memmove(line, stop + 1, line_len);
	}
}

int main(int argc, char **argv)
{
	static const struct sms_receipts receipts = { NULL, on_receipt };
	if (argc < 4 || !smpp_url_is_valid(argv[1]))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	loop = loop_new();
	list_init(&kept);
	loop_soon_init(&deciding, on_deciding);
	uv_pipe_init(loop_uv(loop), &input, 0);
	uv_pipe_open(&input, 0);
	uv_read_start((uv_stream_t *)&input, give_room, on_read);
	provider = smpp_new(loop,
		&(struct smpp_options){
			.url = argv[1],
			.password = argv[2],
			.source = argv[3],
			.ca = argc > 4 ? argv[4] : NULL,
			.registered_delivery = true,
		},
		&receipts);
	loop_run(loop);
	loop_free(loop);
	return 0;
}
