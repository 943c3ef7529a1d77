/* siblings_test.c - who reads which feed, and claims that go from thread to thread. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "commands/dispatch.h"
#include "gateway/siblings.h"
#include "tests/suite.h"

static struct {
	struct loop *loop;
	struct siblings *all;
	struct sibling *one, *two;
	size_t came, claims;
	char ids[8][40], traceparent[64];
	bool has_params;
	char events[64];
	size_t bytes;
} t;

static void on_claim(void *owner, const struct claim *claim)
{
	ck_assert_ptr_eq(owner, &t);
	t.came++;
	snprintf(t.ids[t.claims++], sizeof(t.ids[0]), "%s", claim->id);
	snprintf(t.traceparent, sizeof(t.traceparent), "%s", claim->traceparent ? claim->traceparent : "none");
	t.has_params = claim->params != NULL;
}

static void on_events(void *owner, const char *text, size_t len)
{
	ck_assert_ptr_eq(owner, &t);
	t.came++;
	t.bytes += len;
	snprintf(t.events, sizeof(t.events), "%.*s", (int)len, text);
}

static void setup(void)
{
	const struct sibling_ears ears = { .owner = &t, .on_claim = on_claim, .on_events = on_events };

	memset(&t, 0, sizeof(t));
	t.loop = loop_new();
	t.all = siblings_new();
	t.one = sibling_join(t.all, t.loop, "one", &ears);
	t.two = sibling_join(t.all, t.loop, "two", &ears);
}

static struct claim claim(const char *id)
{
	return (struct claim){ .vehicle_id = "V",
		.id = id,
		.name = "n",
		.params = "{}",
		.issued_at = "a",
		.expires_at = "b",
		.session = "s",
		.worker = "two",
		.protocol = "keyfob",
		.attempt = 1 };
}

START_TEST(a_feed_has_the_reader_who_said_so_last)
{
	ck_assert_ptr_null(siblings_reader(t.all, 7));
	sibling_reads(t.one, 7, true);
	ck_assert_str_eq(siblings_reader(t.all, 7), "one");
	ck_assert_ptr_null(siblings_reader(t.all, 8));
	sibling_reads(t.two, 7, true); /* the lease went over; the old reader's word comes late */
	sibling_reads(t.one, 7, false);
	ck_assert_str_eq(siblings_reader(t.all, 7), "two");
	sibling_leave(t.two);
	ck_assert_ptr_null(siblings_reader(t.all, 7));
	sibling_reads(t.two, 7, true);
	ck_assert_ptr_null(siblings_reader(t.all, 7));
}
END_TEST

static void *hand_over_three(void *unused)
{
	char id[] = "c1";
	(void)unused;
	for (; id[1] <= '3'; id[1]++) {
		struct claim c = claim(id);
		ck_assert(siblings_hand_over(t.all, "two", &c));
	}
	memset(id, 'x', sizeof(id)); /* it was a copy */
	return NULL;
}

START_TEST(claims_arrive_in_order_on_the_readers_loop)
{
	pthread_t other;

	ck_assert_int_eq(pthread_create(&other, NULL, hand_over_three, NULL), 0);
	pthread_join(other, NULL);
	ck_assert_uint_eq(t.came, 0);
	while (t.came < 3)
		uv_run(loop_uv(t.loop), UV_RUN_ONCE);
	ck_assert_str_eq(t.ids[0], "c1");
	ck_assert_str_eq(t.ids[1], "c2");
	ck_assert_str_eq(t.ids[2], "c3");
	ck_assert_str_eq(t.traceparent, "none");
	ck_assert(t.has_params);
}
END_TEST

START_TEST(who_leaves_gets_what_came_and_nothing_more)
{
	struct claim first = claim("c1"), second = claim("c2");

	ck_assert(siblings_hand_over(t.all, "two", &first));
	sibling_leave(t.two);
	ck_assert_uint_eq(t.came, 1);
	ck_assert(!siblings_hand_over(t.all, "two", &second));
	ck_assert(!siblings_hand_over(t.all, "three", &second));
	ck_assert_uint_eq(t.came, 1);
}
END_TEST

static void *tell_two(void *unused)
{
	char text[] = "an event\n";
	struct claim c = claim("c1");
	(void)unused;
	ck_assert(siblings_hand_over(t.all, "two", &c));
	ck_assert(siblings_tell(t.all, "two", text, strlen(text), false));
	memset(text, 'x', sizeof(text)); /* it was a copy */
	return NULL;
}

START_TEST(events_arrive_on_the_loop_of_whom_they_are_for)
{
	pthread_t other;

	ck_assert_int_eq(pthread_create(&other, NULL, tell_two, NULL), 0);
	pthread_join(other, NULL);
	ck_assert_uint_eq(t.came, 0);
	while (t.came < 2)
		uv_run(loop_uv(t.loop), UV_RUN_ONCE);
	ck_assert_str_eq(t.ids[0], "c1");
	ck_assert_str_eq(t.events, "an event\n");
	ck_assert(!siblings_tell(t.all, "another node's", "e", 1, false));
	sibling_leave(t.two);
	ck_assert(!siblings_tell(t.all, "two", "e", 1, false));
}
END_TEST

START_TEST(who_does_not_come_to_its_events_is_told_no_more_of_them)
{
	const size_t len = 1 << 20;
	char *text = calloc(1, len);
	struct claim c = claim("c1");

	for (int i = 0; i < 16; i++)
		ck_assert(siblings_tell(t.all, "two", text, len, false));
	ck_assert(!siblings_tell(t.all, "two", text, 1, false));
	ck_assert(siblings_tell(t.all, "one", text, 1, false));
	ck_assert(siblings_hand_over(t.all, "two", &c)); /* these have a bound of their own */
	ck_assert(siblings_tell(t.all, "two", "last", 4, true));
	while (t.came < 19)
		uv_run(loop_uv(t.loop), UV_RUN_ONCE);
	ck_assert_uint_eq(t.bytes, 16 * len + 1 + 4);
	ck_assert_str_eq(t.events, "last");
	ck_assert(siblings_tell(t.all, "two", text, len, false));
	free(text);
}
END_TEST

/* As before a message that came by the broker. */
START_TEST(what_was_handed_over_is_heard_at_once_when_asked)
{
	ck_assert(siblings_tell(t.all, "two", "first", 5, false));
	ck_assert(siblings_tell(t.all, "two", "then", 4, true));
	sibling_hear(t.one);
	ck_assert_uint_eq(t.came, 0);
	sibling_hear(t.two);
	ck_assert_uint_eq(t.came, 2);
	ck_assert_str_eq(t.events, "then");
	uv_run(loop_uv(t.loop), UV_RUN_NOWAIT);
	ck_assert_uint_eq(t.came, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("siblings");
	TCase *tc = tcase_create("siblings");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_feed_has_the_reader_who_said_so_last);
	tcase_add_test(tc, claims_arrive_in_order_on_the_readers_loop);
	tcase_add_test(tc, events_arrive_on_the_loop_of_whom_they_are_for);
	tcase_add_test(tc, who_does_not_come_to_its_events_is_told_no_more_of_them);
	tcase_add_test(tc, what_was_handed_over_is_heard_at_once_when_asked);
	tcase_add_test(tc, who_leaves_gets_what_came_and_nothing_more);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
