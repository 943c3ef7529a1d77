/* cmd_watch.c - keyfob watch: follows vehicles, one event a line, and takes up the thread after a lost connection.
 *
 * A stream a vehicle. While it lasts its last event id is kept; when it ends, for whatever passing reason, it
 * rests (200 ms, doubling to 5 s) and asks again from there. Only the node's own no ends it for good. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/curl_setup.h"
#include "base/json.h"
#include "base/list.h"
#include "base/memory.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/event_line.h"
#include "gateway/cli/sse.h"

#define VEHICLES_MAX 100
#define PROBLEM_BYTES_MAX (64 * 1024)
#define SILENCE_S_MAX 45 /* the node sends a comment every 15 s */
#define POLL_MS 1000

enum stream_state { STREAM_OPEN, STREAM_RESTING, STREAM_ENDED };

struct stream {
	struct watch *watch;
	const char *vehicle;
	enum stream_state state;
	struct curl_setup transfer; /* none while it rests */
	struct curl_slist *headers;
	struct sse sse;
	struct text problem;			 /* the body of an answer that is no stream */
	int64_t rest_until_ms, failing_since_ms; /* monotonic */
	int failures;				 /* in a row */
	bool was_live;
};

struct watch {
	struct cli *cli;
	CURLM *multi;
	size_t count;
	int64_t events_left;
	int exit;
	struct stream streams[];
};

static void on_event(struct sse *, const struct sse_event *);
static void stream_open(struct stream *);
static void stream_rest(struct stream *, const char *why);
static void stream_end(struct stream *);

/* ---- the stream's life ---- */

static long status_of(const struct stream *s)
{
	long status = 0;
	curl_easy_getinfo(s->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *data)
{
	struct stream *s = data;
	size_t len = size * count;
	if (status_of(s) == 200)
		return sse_feed(&s->sse, bytes, len) ? len : 0;
	if (s->problem.len + len > PROBLEM_BYTES_MAX)
		return 0;
	text_add_bytes(&s->problem, bytes, len);
	return len;
}

static void stream_headers(struct stream *s)
{
	s->headers = call_headers(s->watch->cli);
	s->headers = header_add(s->headers, "Accept", "text/event-stream");
	if (s->sse.last_id.len > 0)
		s->headers = header_add(s->headers, "Last-Event-ID", s->sse.last_id.data);
}

static void stream_begin(struct stream *s)
{
	CURLcode refused = s->transfer.refused;
	if (refused == CURLE_OK && curl_multi_add_handle(s->watch->multi, s->transfer.easy) != CURLM_OK)
		refused = CURLE_FAILED_INIT;
	s->state = STREAM_OPEN;
	if (refused != CURLE_OK)
		stream_rest(s, curl_easy_strerror(refused));
}

static void stream_open(struct stream *s)
{
	struct text url = { 0 };
	char *path = node_path("vehicles", s->vehicle, "events", NULL);
	text_addf(&url, "%s%s", s->watch->cli->url, path);
	stream_headers(s);
	s->transfer = (struct curl_setup){ .easy = memory_need(curl_easy_init()) };
	call_prepare(&s->transfer, url.data, s->headers);
	CURL_SET(&s->transfer, CURLOPT_WRITEFUNCTION, on_bytes);
	CURL_SET(&s->transfer, CURLOPT_WRITEDATA, s);
	CURL_SET(&s->transfer, CURLOPT_PRIVATE, s);
	CURL_SET(&s->transfer, CURLOPT_LOW_SPEED_LIMIT, 1L);
	CURL_SET(&s->transfer, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S_MAX);
	free(path);
	text_free(&url);
	stream_begin(s);
}

static void stream_close(struct stream *s)
{
	if (s->transfer.easy) {
		curl_multi_remove_handle(s->watch->multi, s->transfer.easy);
		curl_easy_cleanup(s->transfer.easy);
	}
	curl_slist_free_all(s->headers);
	text_free(&s->problem);
	sse_restart(&s->sse);
	s->transfer.easy = NULL;
	s->headers = NULL;
}

static void stream_end(struct stream *s)
{
	stream_close(s);
	s->state = STREAM_ENDED;
	s->watch->exit = CLI_FAILED;
}

static bool is_hopeless(const struct stream *s, int64_t now_ms)
{
	return !s->was_live && s->failures > 0 && now_ms - s->failing_since_ms > CALL_PATIENCE_MS;
}

static void stream_rest(struct stream *s, const char *why)
{
	int64_t now_ms = monotonic_ms();
	if (is_hopeless(s, now_ms)) {
		fprintf(stderr, "keyfob: %s: %s\n", s->vehicle, why);
		stream_end(s);
		return;
	}
	if (s->failures == 0) {
		s->failing_since_ms = now_ms;
		fprintf(stderr, "keyfob: %s: %s; trying again\n", s->vehicle, why);
	}
	s->rest_until_ms = now_ms + backoff_ms(s->failures++);
	stream_close(s);
	s->state = STREAM_RESTING;
}

/* The node said no. What it may take back later (busy, restarting) is asked again. */
static void on_refused(struct stream *s, long status)
{
	bool is_passing = status == 429 || status >= 500;
	struct reply r = { .status = status };
	if (is_passing) {
		char why[64];
		snprintf(why, sizeof(why), "the node is not available (%ld)", status);
		stream_rest(s, why);
		return;
	}
	r.body = s->problem.len ? json_read(s->problem.data, s->problem.len) : NULL;
	fprintf(stderr, "keyfob: %s cannot be watched\n", s->vehicle);
	reply_report(&r);
	reply_done(&r);
	stream_end(s);
}

static void on_done(struct stream *s, CURLcode code)
{
	long status = status_of(s);
	if (status != 0 && status != 200)
		on_refused(s, status);
	else if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
		 code == CURLE_PEER_FAILED_VERIFICATION) {
		char why[TRANSFER_ERROR_SIZE];
		transfer_error_write(s->watch->cli, (int)code, why);
		fprintf(stderr, "keyfob: %s\n", why);
		stream_end(s);
	} else
		stream_rest(s, code == CURLE_OK ? "the node closed the stream" : curl_easy_strerror(code));
}

/* ---- what comes over it ---- */

static void stream_lives(struct stream *s)
{
	if (s->was_live && s->failures > 0)
		fprintf(stderr, "keyfob: %s: connected again\n", s->vehicle);
	s->was_live = true;
	s->failures = 0;
}

/* The snapshot has no envelope of its own; it gets one, so that every line has the same members. */
static json_t *snapshot_event(const struct stream *s, json_t *data)
{
	return json_pack("{ss sO? ss sO? sO}", "vehicle_id", s->vehicle, "seq", json_object_get(data, "seq"), "type",
		"snapshot", "time", json_object_get(json_object_get(data, "vehicle"), "updated_at"), "data", data);
}

/* After a resume that was whole there is nothing new in the snapshot. */
static bool is_worth_showing(const struct stream *s, const char *type, const json_t *event)
{
	bool is_snapshot = strcmp(type, "snapshot") == 0;
	if (is_snapshot && s->was_live && json_is_true(json_object_get(event, "recovered")))
		return false;
	if (is_snapshot && s->was_live)
		fprintf(stderr, "keyfob: %s: events may be missing before this\n", s->vehicle);
	return strcmp(type, "skipped") != 0;
}

static void on_event(struct sse *sse, const struct sse_event *e)
{
	struct stream *s = container_of(sse, struct stream, sse);
	json_auto_t *data = json_read(e->data, strlen(e->data));
	bool shows = data && s->watch->events_left > 0 && is_worth_showing(s, e->type, data);
	stream_lives(s);
	if (!shows)
		return;
	bool is_snapshot = strcmp(e->type, "snapshot") == 0;
	json_auto_t *event = is_snapshot ? snapshot_event(s, data) : json_incref(data);
	event_line_print(event, s->watch->cli->json);
	s->watch->events_left -= !is_snapshot;
}

/* ---- all of them ---- */

static bool wake_rested(struct watch *w)
{
	bool any = false;
	int64_t now_ms = monotonic_ms();
	for (size_t i = 0; i < w->count; i++) {
		struct stream *s = &w->streams[i];
		if (s->state == STREAM_RESTING && now_ms >= s->rest_until_ms)
			stream_open(s);
		any |= s->state != STREAM_ENDED;
	}
	return any;
}

static int poll_ms(const struct watch *w)
{
	int64_t now_ms = monotonic_ms(), ms = POLL_MS;
	for (size_t i = 0; i < w->count; i++) {
		const struct stream *s = &w->streams[i];
		int64_t left_ms = s->rest_until_ms - now_ms;
		if (s->state == STREAM_RESTING && left_ms < ms)
			ms = left_ms > 0 ? left_ms : 0;
	}
	return (int)ms;
}

static void take_ended(struct watch *w)
{
	int left;
	for (CURLMsg *m; (m = curl_multi_info_read(w->multi, &left));) {
		struct stream *s = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s);
		on_done(s, m->data.result);
	}
}

static void watch_run(struct watch *w)
{
	int running;
	while (w->events_left > 0 && wake_rested(w)) {
		curl_multi_perform(w->multi, &running);
		take_ended(w);
		if (w->events_left > 0)
			curl_multi_poll(w->multi, NULL, 0, poll_ms(w), NULL);
	}
}

static struct watch *watch_new(struct cli *cli, const struct invocation *inv)
{
	struct watch *w = memory_new(sizeof(*w) + inv->word_count * sizeof(w->streams[0]));
	w->cli = cli;
	w->multi = memory_need(curl_multi_init());
	w->count = inv->word_count;
	w->events_left = option_number(inv, "--count", INT64_MAX);
	for (size_t i = 0; i < w->count; i++) {
		w->streams[i] = (struct stream){ .watch = w, .vehicle = inv->words[i], .sse.on_event = on_event };
		stream_open(&w->streams[i]);
	}
	return w;
}

static int watch_finish(struct watch *w)
{
	int code = w->events_left > 0 ? w->exit : CLI_FINE;
	for (size_t i = 0; i < w->count; i++) {
		stream_close(&w->streams[i]);
		sse_done(&w->streams[i].sse);
	}
	curl_multi_cleanup(w->multi);
	free(w);
	return code;
}

static int run(struct cli *cli, const struct invocation *inv)
{
	struct watch *w = watch_new(cli, inv);
	watch_run(w);
	return watch_finish(w);
}

static const struct option options[] = {
	{ "--count", OPTION_NUMBER, "N", "end after N events" },
	{ 0 },
};

const struct cli_command CMD_WATCH = {
	.name = "watch",
	.arguments = "VEHICLE…",
	.summary = "follow vehicles, one event a line",
	.help = "Begins with a line that says how each vehicle is now. After a lost connection nothing is missing and\n"
		"nothing comes twice. With -o json every line is one JSON object. Ctrl-C ends it.\n",
	.options = options,
	.words_min = 1,
	.words_max = VEHICLES_MAX,
	.run = run,
};
