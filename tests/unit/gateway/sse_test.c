/* sse_test.c - server-sent events, cut into pieces at every place. */
#include "gateway/cli/sse.h"

#include <check.h>
#include <string.h>

#include "base/json.h"
#include "tests/suite.h"

static struct text seen;

static void on_event(struct sse *s, const struct sse_event *e)
{
	(void)s;
	text_addf(&seen, "%s|%s|%s\n", e->type, e->id, e->data);
}

static const char stream[] = ": hello\n\n"
			     "event: snapshot\nid: e1:7\ndata: {\"seq\":7}\n\n"
			     "data: a\r\ndata:b\r\n\r\n"
			     "id: e1:8\r\r"
			     "event: none\n\n"
			     "data\nunknown: x\n\n"
			     "event: last\rdata:  two spaces\rid\r\r"
			     "id: e1:9\ndata: half";

static const char events[] = "snapshot|e1:7|{\"seq\":7}\n"
			     "message|e1:7|a\nb\n"
			     "message|e1:8|\n"
			     "last|| two spaces\n";

START_TEST(an_event_is_the_same_however_it_is_cut)
{
	const size_t len = sizeof(stream) - 1;
	for (size_t cut = 0; cut <= len; cut++) {
		struct sse s = { .on_event = on_event };
		text_free(&seen);
		ck_assert(sse_feed(&s, stream, cut));
		ck_assert(sse_feed(&s, stream + cut, len - cut));
		ck_assert_str_eq(seen.data, events);
		sse_done(&s);
	}
	text_free(&seen);
}
END_TEST

START_TEST(half_an_event_leaves_no_trace)
{
	struct sse s = { .on_event = on_event };
	const char *const pieces[] = { "id: 1\ndata: a\n\nid: 2\ndata: b\n", "data: c\n\n" };
	ck_assert(sse_feed(&s, pieces[0], strlen(pieces[0])));
	sse_restart(&s);
	ck_assert_str_eq(s.last_id.data, "1");
	ck_assert(sse_feed(&s, pieces[1], strlen(pieces[1])));
	ck_assert_str_eq(seen.data, "message|1|a\nmessage|1|c\n");
	sse_done(&s);
	text_free(&seen);
}
END_TEST

START_TEST(an_event_without_end_is_refused)
{
	struct sse s = { .on_event = on_event };
	char piece[1024];
	size_t fed = 0;
	memset(piece, 'x', sizeof(piece));
	while (sse_feed(&s, piece, sizeof(piece)))
		fed += sizeof(piece);
	ck_assert_uint_eq(fed, SSE_EVENT_BYTES_MAX);
	sse_done(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gateway/cli/sse");
	TCase *cases = tcase_create("sse");
	tcase_add_test(cases, an_event_is_the_same_however_it_is_cut);
	tcase_add_test(cases, half_an_event_leaves_no_trace);
	tcase_add_test(cases, an_event_without_end_is_refused);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
