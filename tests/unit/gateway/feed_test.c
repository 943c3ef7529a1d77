/* feed_test.c - when a feed acknowledges and when it connects anew, on a link and a database that do what the test says. */
#include "gateway/feed.h"

#include <check.h>
#include <stdlib.h>

#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "state/lifecycle_event.h"
#include "tests/suite.h"

/* The link: as real ones are, up or down, and still from a batch to its acknowledgement. */

struct mqtt_link {
	struct mqtt_link_options options;
	int acknowledged, reconnected;
	void (*on_closed)(void *owner); /* from the loop */
};

static struct loop *clock_loop; /* its time passes when the test says so */
static struct mqtt_link line;

struct mqtt_link *link_new(struct loop *loop, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	(void)loop, (void)broker;
	line = (struct mqtt_link){ .options = *options };
	return &line;
}

void link_start(struct mqtt_link *l)
{
	l->options.may_connect(l->options.owner, l);
}

void link_may_connect(struct mqtt_link *l, bool yes)
{
	ck_assert(yes);
	l->options.on_up(l->options.owner, l, true);
}

void link_subscribe(struct mqtt_link *l, const char *const *filters, size_t count, int qos)
{
	(void)filters, (void)count, (void)qos;
	l->options.on_subscribed(l->options.owner, l);
}

void link_acknowledge(struct mqtt_link *l)
{
	l->acknowledged++;
}

void link_reconnect(struct mqtt_link *l)
{
	l->reconnected++;
	l->options.on_down(l->options.owner, l, "the test says so");
}

void link_close(struct mqtt_link *l, void (*on_closed)(void *owner))
{
	l->on_closed = on_closed;
}

/* The database: one unit at a time, answered by answer(). */

struct db_unit {
	db_done *on_done;
	void *context;
};

static struct db_unit *asked;

struct db_unit *db_unit_new(struct db *db, db_done *on_done, void *context)
{
	struct db_unit *unit = memory_new(sizeof(*unit));

	(void)db;
	*unit = (struct db_unit){ on_done, context };
	return unit;
}

size_t db_unit_add(struct db_unit *unit, const struct db_statement *statement)
{
	(void)unit, (void)statement;
	return 0;
}

void db_param_text(struct db_unit *unit, const char *text)
{
	(void)unit, (void)text;
}

void db_param_int(struct db_unit *unit, int64_t number)
{
	(void)unit, (void)number;
}

bool db_bool(const struct db_unit *unit, size_t statement, size_t row, int column)
{
	(void)unit, (void)statement, (void)row, (void)column;
	return true;
}

void db_unit_submit(struct db_unit *unit)
{
	ck_assert_ptr_null(asked);
	asked = unit;
}

static void answer(const struct fault *fault)
{
	struct db_unit *unit = asked;

	ck_assert_ptr_nonnull(unit);
	asked = NULL;
	unit->on_done(unit, unit->context, fault);
	free(unit);
}

/* The flows: what they are handed stays with them until the test decides. */

static struct feed *feed;
static struct receipt *in_hand;
static bool is_reading, is_closed, was_behind;

static void on_message(
	void *owner, const struct batch_fence *fence, const struct mqtt_message *message, struct receipt *r)
{
	(void)owner, (void)message;
	was_behind = feed_is_behind(fence);
	receipt_open(r);
	in_hand = r;
}

static void on_subscribed(void *owner, const struct batch_fence *fence, bool session_present)
{
	(void)owner, (void)fence, (void)session_present;
}

static void on_reading(void *owner, const struct feed *f, bool yes)
{
	(void)owner, (void)f;
	is_reading = yes;
}

static size_t times_unheard;

static void on_unheard(void *owner, const struct feed *f)
{
	(void)owner, (void)f;
	times_unheard++;
}

static void on_fenced(void *owner, struct feed *f)
{
	(void)owner, (void)f;
	ck_abort_msg("the lease is ours");
}

static void on_closed(void *owner)
{
	(void)owner;
	is_closed = true;
}

static void set_up(void)
{
	static const struct lifecycle_source lifecycle = { LIFECYCLE_AWS, "$aws/events", "keyfob" };
	static const struct feed_options options = { .namespace = "keyfob",
		.worker = "w",
		.lifecycle = &lifecycle,
		.on_message = on_message,
		.on_subscribed = on_subscribed,
		.on_reading = on_reading,
		.on_unheard = on_unheard,
		.on_fenced = on_fenced };

	clock_loop = loop_new_virtual(0);
	loop_advance(clock_loop, 1000);
	is_reading = is_closed = false;
	times_unheard = 0;
	feed = feed_new(clock_loop, &options, "feed/07", 1);
	feed_start(feed);
	answer(NULL); /* the lease is held */
}

static void tear_down(void)
{
	feed_close(feed, on_closed);
	line.on_closed(feed);
	ck_assert(is_closed);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 0);
	loop_free(clock_loop);
}

static void deliver(void)
{
	static const struct mqtt_message message = {
		.topic = "vehicles/v/commands/response/07", .payload = "{}", .len = 2
	};

	line.options.on_batch(feed, &line, &message, 1);
}

START_TEST(acknowledges_what_is_committed)
{
	answer(NULL);
	ck_assert(is_reading);
	deliver();
	ck_assert_int_eq(line.acknowledged, 0);
	receipt_close(in_hand, NULL);
	ck_assert_int_eq(line.acknowledged, 1);
	ck_assert_int_eq(line.reconnected, 0);
}
END_TEST

START_TEST(what_is_not_committed_comes_again)
{
	answer(NULL);
	deliver();
	receipt_close(in_hand, &FAULT_STORAGE_UNKNOWN);
	ck_assert_int_eq(line.acknowledged, 0);
	ck_assert_int_eq(line.reconnected, 1);
	ck_assert(!is_reading);
}
END_TEST

START_TEST(a_row_that_is_not_marked_connects_anew)
{
	answer(&FAULT_STORAGE_UNAVAILABLE);
	ck_assert_int_eq(line.reconnected, 1);
	ck_assert(!is_reading);
}
END_TEST

/* The next connection's first batch would find the receipt open. */
START_TEST(it_connects_anew_when_its_batch_is_settled)
{
	deliver();
	answer(&FAULT_STORAGE_UNAVAILABLE);
	ck_assert_int_eq(line.reconnected, 0);
	receipt_close(in_hand, NULL);
	ck_assert_int_eq(line.acknowledged, 0);
	ck_assert_int_eq(line.reconnected, 1);
	ck_assert(!is_reading);
}
END_TEST

static void on_tick(struct loop_timer *timer)
{
	loop_timer_start(timer, 500); /* a worker always has something to do soon */
}

static bool is_read_behind(void)
{
	deliver();
	receipt_close(in_hand, NULL);
	return was_behind;
}

/* What the broker kept, and what came while the process was stopped: both are read before the first pause. */
START_TEST(what_has_waited_is_known_to_be_late)
{
	struct loop_timer tick;

	answer(NULL);
	loop_timer_init(clock_loop, &tick, on_tick);
	on_tick(&tick);
	ck_assert(is_read_behind());
	loop_advance(clock_loop, 999);
	ck_assert(is_read_behind());
	loop_advance(clock_loop, 1000);
	ck_assert(!is_read_behind());
	loop_stall(clock_loop, 900);
	ck_assert(!is_read_behind());
	loop_advance(clock_loop, 500);
	loop_stall(clock_loop, 1500);
	ck_assert(is_read_behind()); /* the socket is read before any timer rings */
	loop_advance(clock_loop, 999);
	ck_assert(is_read_behind());
	loop_advance(clock_loop, 1000);
	ck_assert(!is_read_behind());
	loop_stall(clock_loop, 1500);
	loop_advance(clock_loop, 999); /* or after it */
	ck_assert(is_read_behind());
	for (int i = 0; i < 11; i++) {
		ck_assert(is_read_behind());
		loop_advance(clock_loop, 900);
	}
	ck_assert(!is_read_behind()); /* ten seconds are enough */
	loop_stall(clock_loop, 1500);
	loop_advance(clock_loop, 1000); /* and nothing was there */
	ck_assert(!is_read_behind());
	loop_timer_stop(&tick);
}
END_TEST

/* Attempts that fail meanwhile do not begin the wait anew. */
START_TEST(it_is_unheard_after_five_seconds_without_a_connection)
{
	answer(NULL);
	loop_advance(clock_loop, 60000);
	line.options.on_down(feed, &line, "the test says so");
	loop_advance(clock_loop, 4000);
	line.options.on_down(feed, &line, "again");
	loop_advance(clock_loop, 999);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 0);
	loop_advance(clock_loop, 1);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 1);
	line.options.on_up(feed, &line, true);
	loop_advance(clock_loop, 60000);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 1);
	ck_assert_uint_eq(times_unheard, 1);
	answer(NULL);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 0);
}
END_TEST

/* That the row is marked says nothing of a connection that is lost meanwhile. */
START_TEST(it_reads_no_more_when_its_connection_is_lost_before_its_row_is_marked)
{
	line.options.on_down(feed, &line, "the test says so");
	answer(NULL);
	ck_assert(!is_reading);
	loop_advance(clock_loop, 5000);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 1);
	line.options.on_up(feed, &line, true);
	answer(NULL);
	ck_assert(is_reading);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 0);
}
END_TEST

/* Whoever has it now says so. */
START_TEST(a_feed_that_is_given_back_is_not_unheard)
{
	answer(&FAULT_STORAGE_UNAVAILABLE);
	loop_advance(clock_loop, 5000);
	ck_assert_int_eq(metric_value(METRIC_FEEDS_UNHEARD), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("feed");
	TCase *tests = tcase_create("feed");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, acknowledges_what_is_committed);
	tcase_add_test(tests, what_is_not_committed_comes_again);
	tcase_add_test(tests, a_row_that_is_not_marked_connects_anew);
	tcase_add_test(tests, it_connects_anew_when_its_batch_is_settled);
	tcase_add_test(tests, what_has_waited_is_known_to_be_late);
	tcase_add_test(tests, it_is_unheard_after_five_seconds_without_a_connection);
	tcase_add_test(tests, it_reads_no_more_when_its_connection_is_lost_before_its_row_is_marked);
	tcase_add_test(tests, a_feed_that_is_given_back_is_not_unheard);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
