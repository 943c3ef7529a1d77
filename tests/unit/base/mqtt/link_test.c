/* link_test.c - send links and feed links against a real broker, when nothing goes wrong. */
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "tests/suite.h"

#define FEED                                                                                                           \
	(struct mqtt_link_options)                                                                                     \
	{                                                                                                              \
		.feed = true                                                                                           \
	}
#define SEND                                                                                                           \
	(struct mqtt_link_options)                                                                                     \
	{                                                                                                              \
		0                                                                                                      \
	}

static struct peer sender, inbox, feed;

static void set_up_peers(void)
{
	set_up();
	memset(&sender, 0, sizeof sender);
	memset(&inbox, 0, sizeof inbox);
	memset(&feed, 0, sizeof feed);
}

static void start_sender(void)
{
	peer_start(&sender, "sender", SEND);
	run_until(sender.ups);
}

static void start_feed(const char *filter, struct mqtt_link_options options)
{
	feed.filter = filter;
	options.feed = true;
	peer_start(&feed, "feed", options);
	run_until(feed.subscribed);
}

static void publish_numbers(int from, int to)
{
	int sent = 0;
	for (int i = from; i < to; i++)
		sent += peer_publish(&sender, "numbers", i) > 0;
	ck_assert_int_eq(sent, to - from);
	run_until(link_unacknowledged(sender.link) == 0);
}

static void check_numbers(const struct peer *p, size_t at, int from, int to)
{
	for (int i = from; i < to; i++)
		ck_assert_int_eq(p->numbers[at + (size_t)(i - from)], i);
}

/* send links */

START_TEST(test_nobody_subscribes)
{
	start_sender();
	ck_assert(!sender.session_present);
	int mid = peer_publish(&sender, "numbers", 1);
	ck_assert_int_gt(mid, 0);
	ck_assert_int_eq(sender.pubacks, 0);
	ck_assert_uint_eq(link_unacknowledged(sender.link), 1);
	run_until(sender.pubacks);
	ck_assert_int_eq(sender.last_mid, mid);
	ck_assert_int_eq(sender.last_reason, 0x10);
	ck_assert_uint_eq(link_unacknowledged(sender.link), 0);
	peer_close(&sender);
}
END_TEST

START_TEST(test_properties_arrive)
{
	inbox.filter = "a/b";
	peer_start(&inbox, "inbox", SEND);
	start_sender();
	run_until(inbox.subscribed);
	link_publish(sender.link, &(struct mqtt_publish){ .topic = "a/b",
					  .payload = "17",
					  .len = 2,
					  .qos = 1,
					  .correlation = "a command",
					  .response_topic = "x/y",
					  .content_type = "application/json",
					  .expiry_seconds = 60,
					  .user = { { "name", "doors.unlock" }, { "attempt", "1" } } });
	run_until(sender.pubacks && inbox.heard);
	ck_assert_int_eq(sender.last_reason, 0);
	ck_assert_int_eq(inbox.numbers[0], 17);
	ck_assert_str_eq(inbox.last_correlation, "a command");
	ck_assert_uint_ge(inbox.last_expiry, 59);
	ck_assert(!inbox.last_retained);
	peer_close(&inbox);
	peer_close(&sender);
}
END_TEST

START_TEST(test_retained_and_empty)
{
	start_sender();
	link_publish(sender.link,
		&(struct mqtt_publish){ .topic = "r", .payload = "5", .len = 1, .qos = 1, .retain = true });
	run_until(sender.pubacks);
	inbox.filter = "r";
	peer_start(&inbox, "inbox", SEND);
	run_until(inbox.heard);
	ck_assert(inbox.last_retained);
	link_publish(sender.link, &(struct mqtt_publish){ .topic = "r", .qos = 1, .retain = true });
	run_until(inbox.heard == 2);
	ck_assert_uint_eq(inbox.last_len, 0);
	ck_assert_str_eq(inbox.last_correlation, "");
	peer_close(&inbox);
	peer_close(&sender);
}
END_TEST

START_TEST(test_qos_0_has_no_puback)
{
	inbox.filter = "q";
	peer_start(&inbox, "inbox", SEND);
	start_sender();
	run_until(inbox.subscribed);
	ck_assert_int_ge(
		link_publish(sender.link, &(struct mqtt_publish){ .topic = "q", .payload = "1", .len = 1 }), 0);
	ck_assert_uint_eq(link_unacknowledged(sender.link), 0);
	run_until(inbox.heard);
	ck_assert_int_eq(sender.pubacks, 0);
	peer_close(&inbox);
	peer_close(&sender);
}
END_TEST

START_TEST(test_many_publishes)
{
	inbox.filter = "numbers";
	peer_start(&inbox, "inbox", SEND);
	start_sender();
	run_until(inbox.subscribed);
	publish_numbers(0, 3000);
	run_until(inbox.heard == 3000);
	check_numbers(&inbox, 0, 0, 3000);
	ck_assert_int_eq(sender.pubacks, 3000);
	peer_close(&inbox);
	peer_close(&sender);
}
END_TEST

START_TEST(test_refused_publishes)
{
	ck_assert_ptr_null(sender.link);
	peer_start(&sender, "sender", SEND);
	ck_assert_int_eq(peer_publish(&sender, "numbers", 1), -1);
	run_until(sender.ups);
	ck_assert_int_eq(peer_publish(&sender, "not/#/a/topic", 1), -1);
	ck_assert_int_eq(peer_publish(&sender,
				 "bad\xff"
				 "utf8",
				 1),
		-1);
	ck_assert_uint_eq(link_unacknowledged(sender.link), 0);
	ck_assert_int_gt(peer_publish(&sender, "numbers", 1), 0);
	run_until(sender.pubacks);
	peer_close(&sender);
}
END_TEST

START_TEST(test_too_many_publishes)
{
	int sent = 0;
	start_sender();
	while (peer_publish(&sender, "numbers", sent) > 0)
		sent++;
	ck_assert_int_ge(sent, 10000);
	run_until(sender.pubacks == sent);
	ck_assert_int_gt(peer_publish(&sender, "numbers", sent), 0);
	peer_close(&sender);
}
END_TEST

START_TEST(test_asked_before_it_connects)
{
	sender.refuse_once = true;
	peer_start(&sender, "sender", SEND);
	run_until(sender.ups);
	ck_assert_int_eq(sender.asked, 2);
	ck_assert_int_eq(sender.downs, 0);
	peer_close(&sender);
}
END_TEST

START_TEST(test_will)
{
	struct mqtt_link_options options = { .will_topic = "will", .will_payload = "9" };
	inbox.filter = "will";
	peer_start(&inbox, "inbox", SEND);
	run_until(inbox.subscribed);
	peer_start(&sender, "sender", options);
	run_until(sender.ups);
	link_set_will(sender.link, "10"); /* the next connection's */
	link_reconnect(sender.link);
	run_until(inbox.heard && sender.ups == 2);
	ck_assert_int_eq(inbox.numbers[0], 9);
	link_reconnect(sender.link);
	run_until(inbox.heard == 2 && sender.ups == 3);
	ck_assert_int_eq(inbox.numbers[1], 10);
	peer_close(&sender);
	/* What a later publish tells: the DISCONNECT came first, and brought no will. */
	memset(&sender, 0, sizeof sender);
	start_sender();
	peer_publish(&sender, "will", 11);
	run_until(inbox.heard == 3);
	ck_assert_int_eq(inbox.numbers[2], 11);
	peer_close(&sender);
	peer_close(&inbox);
}
END_TEST

/* feed links */

START_TEST(test_batch)
{
	feed.acknowledge = true;
	start_sender();
	start_feed("numbers", FEED);
	ck_assert(!feed.session_present);
	publish_numbers(0, 100);
	run_until(feed.heard == 100);
	check_numbers(&feed, 0, 0, 100);
	link_reconnect(feed.link);
	run_until(feed.ups == 2);
	ck_assert(feed.session_present);
	publish_numbers(100, 101);
	run_until(feed.heard == 101);
	check_numbers(&feed, 100, 100, 101);
	peer_close(&feed);
	peer_close(&sender);
}
END_TEST

/* More than libmosquitto's own wake-up pipe and the receive maximum hold. */
START_TEST(test_long_batches)
{
	feed.acknowledge = true;
	start_sender();
	start_feed("numbers", FEED);
	link_reconnect(feed.link);
	run_until(feed.downs);
	publish_numbers(0, 3000);
	run_until(feed.heard == 3000);
	check_numbers(&feed, 0, 0, 3000);
	peer_close(&feed);
	peer_close(&sender);
}
END_TEST

/* Were a PUBACK on its way before link_acknowledge(), the broker would go on, and would not send again. What was
 * acknowledged just before the connection is dropped may come again too: the broker need not have read it. */
START_TEST(test_acknowledgement_is_held)
{
	start_sender();
	start_feed("numbers", (struct mqtt_link_options){ .receive_maximum = 10 });
	publish_numbers(0, 25);
	run_until(feed.heard);
	while (feed.heard < 10) {
		size_t before = feed.heard;
		link_acknowledge(feed.link);
		run_until(feed.heard > before);
	}
	size_t held = feed.last_batch, first = feed.heard - held;
	int number = feed.numbers[first];
	link_subscribe(feed.link, (const char *const[]){ "more" }, 1, 1); /* must not take the PUBACKs along */
	link_reconnect(feed.link);
	run_until(feed.ups == 2 && feed.heard > first + held);
	ck_assert(feed.session_present);
	int again = feed.numbers[first + held];
	ck_assert_int_le(again, number);
	ck_assert_str_eq(feed.reason, "the connection was dropped on request");
	feed.acknowledge = true;
	link_acknowledge(feed.link);
	run_until(feed.numbers[feed.heard - 1] == 24);
	check_numbers(&feed, first + held, again, 25);
	peer_close(&feed);
	peer_close(&sender);
}
END_TEST

/* Who refuses a batch at once refuses the next one, too: each comes later than the one before, until one is acknowledged. */
START_TEST(test_what_is_refused_comes_ever_later)
{
	start_sender();
	start_feed("numbers", FEED);
	publish_numbers(0, 1);
	int64_t refused_ms[6], last_ms = 0;
	for (int i = 0; i < 6; i++) {
		run_until(feed.batches == i + 1);
		int64_t now_ms = loop_monotonic_ms(loop);
		refused_ms[i] = now_ms - last_ms;
		last_ms = now_ms;
		if (i < 5)
			link_reconnect(feed.link);
	}
	for (int i = 1; i < 6; i++) /* half of what the wait may be at most, and that doubles */
		ck_assert_msg(refused_ms[i] >= 50 << (i - 1), "the %dth came again after %d ms", i, (int)refused_ms[i]);
	link_acknowledge(feed.link);
	publish_numbers(1, 2);
	run_until(feed.batches == 7);
	last_ms = loop_monotonic_ms(loop);
	link_reconnect(feed.link);
	run_until(feed.batches == 8);
	ck_assert_int_lt(loop_monotonic_ms(loop) - last_ms, 800); /* the sixth wait would be at least 1600 */
	feed.acknowledge = true;
	link_acknowledge(feed.link);
	peer_close(&feed);
	peer_close(&sender);
}
END_TEST

START_TEST(test_batch_is_bounded)
{
	start_sender();
	start_feed("numbers", (struct mqtt_link_options){ .receive_maximum = 7 });
	publish_numbers(0, 50);
	for (int next = 0; next < 50; next += (int)feed.last_batch) {
		run_until(feed.heard > (size_t)next);
		ck_assert_uint_le(feed.last_batch, 7);
		link_acknowledge(feed.link);
	}
	check_numbers(&feed, 0, 0, 50);
	peer_close(&feed);
	peer_close(&sender);
}
END_TEST

START_TEST(test_closed_with_a_batch)
{
	feed.closes_in = 'b';
	start_sender();
	start_feed("numbers", FEED);
	publish_numbers(0, 1);
	run_until(feed.closed);
	memset(&feed, 0, sizeof feed);
	peer_start(&feed, "feed", FEED);
	run_until(feed.heard);
	ck_assert(feed.session_present);
	ck_assert_int_eq(feed.numbers[0], 0);
	peer_close(&feed);
	peer_close(&sender);
}
END_TEST

START_TEST(test_large_payload)
{
	size_t len = 1000000, too_large = 1 << 20;
	char *payload = calloc(too_large, 1);
	feed.acknowledge = true;
	start_sender();
	start_feed("numbers", FEED);
	payload[0] = '8';
	struct mqtt_publish large = { .topic = "numbers", .payload = payload, .len = len, .qos = 1 };
	for (int i = 0; i < 15; i++) {
		large.len = i == 7 ? too_large : len;
		ck_assert_int_gt(link_publish(sender.link, &large), 0);
	}
	run_until(feed.heard == 14);
	ck_assert_int_eq(feed.numbers[13], 8);
	ck_assert_uint_eq(feed.last_len, len);
	free(payload);
	publish_numbers(0, 1);
	run_until(feed.heard == 15);
	peer_close(&feed);
	peer_close(&sender);
}
END_TEST

/* closing, everywhere */

static const char places[] = "audsmbp";

START_TEST(test_close_in_callback)
{
	struct peer *p = places[_i] == 'b' ? &feed : &inbox;
	p->closes_in = places[_i];
	p->filter = "numbers";
	start_sender();
	peer_start(p, "closing", p == &feed ? FEED : SEND);
	if (strchr("smbp", places[_i]))
		run_until(p->ups);
	if (strchr("mb", places[_i])) {
		run_until(p->subscribed);
		publish_numbers(0, 3);
	}
	if (places[_i] == 'p')
		peer_publish(p, "numbers", 1);
	if (places[_i] == 'd') {
		run_until(p->ups);
		link_reconnect(p->link);
	}
	run_until(p->closed);
	ck_assert_int_eq(p->closed, 1);
	peer_close(&sender);
}
END_TEST

/* After so many turns of the loop, whatever the link is doing then. */
START_TEST(test_close_at_any_time)
{
	sender.filter = "numbers";
	peer_start(&sender, "sender", SEND);
	for (int i = 0; i < _i; i++)
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	peer_close(&sender);
	feed.filter = "numbers";
	peer_start(&feed, "feed", FEED);
	for (int i = 0; i < _i; i++)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	peer_close(&feed);
}
END_TEST

START_TEST(test_close_before_start)
{
	struct mqtt_link *link = link_new(loop, &broker, &(struct mqtt_link_options){ .client_id = "idle" });
	link_close(link, NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mqtt link");
	TCase *sends = tcase_create("send links"), *feeds = tcase_create("feed links"),
	      *closes = tcase_create("closing");
	TCase *cases[] = { sends, feeds, closes };
	for (size_t i = 0; i < 3; i++) {
		tcase_add_checked_fixture(cases[i], set_up_peers, tear_down);
		tcase_set_timeout(cases[i], 60);
		suite_add_tcase(suite, cases[i]);
	}
	tcase_add_test(sends, test_nobody_subscribes);
	tcase_add_test(sends, test_properties_arrive);
	tcase_add_test(sends, test_retained_and_empty);
	tcase_add_test(sends, test_qos_0_has_no_puback);
	tcase_add_test(sends, test_many_publishes);
	tcase_add_test(sends, test_refused_publishes);
	tcase_add_test(sends, test_too_many_publishes);
	tcase_add_test(sends, test_asked_before_it_connects);
	tcase_add_test(sends, test_will);
	tcase_add_test(feeds, test_batch);
	tcase_add_test(feeds, test_long_batches);
	tcase_add_test(feeds, test_acknowledgement_is_held);
	tcase_add_test(feeds, test_what_is_refused_comes_ever_later);
	tcase_add_test(feeds, test_batch_is_bounded);
	tcase_add_test(feeds, test_closed_with_a_batch);
	tcase_add_test(feeds, test_large_payload);
	tcase_add_loop_test(closes, test_close_in_callback, 0, sizeof places - 1);
	tcase_add_loop_test(closes, test_close_at_any_time, 0, 12);
	tcase_add_test(closes, test_close_before_start);
	return suite_run(suite);
}
