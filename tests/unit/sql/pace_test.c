/* pace_test.c - how much a transaction has in it, where the database is slow: by the item, or whatever is in it. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/links.h"
#include "tests/servers.h"
#include "tests/suite.h"

#define THRONG 2000
#define FULL 512

static struct test_postgres postgres;
static struct test_links links;
static struct batch *batch;
static struct batch_stage nap;
static struct batch_item items[THRONG];
static char ids[THRONG][8];

/* What a transaction takes, what it takes for each item besides, and what its commit takes. */
static int64_t nap_ms, nap_item_us, nap_commit_ms;
static size_t done, refused, transactions, most;

static const struct db_statement SQL_test_nap = { "test_nap",
	"select pg_sleep($1::bigint / 1e3 + $2::bigint * $3::bigint / 1e6)" };
static const struct db_statement SQL_test_late_nap = { "test_late_nap", "insert into naps values ($1::bigint)" };

static void write_nap(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **round, size_t count)
{
	(void)stage, (void)cut, (void)round;
	transactions++;
	if (count > most)
		most = count;
	db_unit_add(unit, &SQL_test_nap);
	db_param_int(unit, nap_ms);
	db_param_int(unit, nap_item_us);
	db_param_int(unit, (int64_t)count);
	if (nap_commit_ms == 0)
		return;
	db_unit_add(unit, &SQL_test_late_nap);
	db_param_int(unit, nap_commit_ms);
}

static void setup(void)
{
	struct batch_stage *stages[] = { &nap };

	nap_ms = nap_item_us = nap_commit_ms = 0;
	nap = (struct batch_stage){ .name = "nap", .write = write_nap };
	batch = batch_new(links.loop, links.of[0].writer,
		&(struct batch_options){ .items_max = THRONG, .holder = "w1" }, stages, 1);
}

static void teardown(void)
{
	batch_free(batch);
}

static void on_done(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	done++;
	refused += fault != NULL;
}

/* One alone, by which it is seen how slow the database is, and then all the others at once. */
static void submit(size_t count)
{
	done = refused = transactions = most = 0;
	for (size_t i = 0; i < count; i++) {
		snprintf(ids[i], sizeof(ids[i]), "P%04zu", i);
		items[i] = (struct batch_item){ .stage = &nap, .vehicle_id = ids[i], .on_done = on_done };
		ck_assert_ptr_null(batch_submit(batch, &items[i]));
		while (i == 0 && done == 0)
			uv_run(loop_uv(links.loop), UV_RUN_ONCE);
	}
	while (done < count)
		uv_run(loop_uv(links.loop), UV_RUN_ONCE);
	ck_assert_uint_eq(refused, 0);
}

/* A full cut would take ten seconds, which is twice as long as anybody waits for a transaction. */
START_TEST(where_each_item_costs_much_a_transaction_has_few)
{
	nap_ms = 0;
	nap_item_us = 20000;
	submit(300);
	ck_assert_uint_le(most, 64);
	ck_assert_uint_le(transactions, 15);
}
END_TEST

START_TEST(where_a_transaction_costs_much_it_has_many)
{
	nap_ms = 100;
	nap_item_us = 0;
	submit(THRONG);
	ck_assert_uint_ge(most, 256);
	ck_assert_uint_le(transactions, 12);
}
END_TEST

/* A commit that takes longer than the batch goes for is no reason to have ever less in it. */
START_TEST(a_transaction_that_is_slow_with_anything_in_it_has_some)
{
	nap_ms = 700;
	nap_item_us = 0;
	submit(100);
	ck_assert_uint_ge(most, 32);
	ck_assert_uint_le(transactions, 5);
}
END_TEST

/* As with a standby that is far away: the slower it is, the more has to go along. */
START_TEST(a_slow_commit_is_shared_by_many)
{
	nap_commit_ms = 700;
	submit(THRONG);
	ck_assert_uint_ge(most, 256);
	ck_assert_uint_le(transactions, 10);
}
END_TEST

/* It would have 35 without a word about the commit, or 1400 ms if the commit counted for nothing. */
START_TEST(a_slow_commit_leaves_time_to_items_that_cost)
{
	nap_commit_ms = 700;
	nap_item_us = 5000;
	submit(300);
	ck_assert_uint_le(most, 64);
	ck_assert_uint_le(transactions, 8);
}
END_TEST

START_TEST(what_was_slow_once_is_forgotten)
{
	nap_ms = 1000;
	nap_item_us = 0;
	submit(33);
	nap_ms = 0;
	for (size_t i = 0; i < 5; i++)
		submit(THRONG);
	ck_assert_uint_eq(most, FULL);
}
END_TEST

/* While they come one by one it is not seen what many would take. */
START_TEST(what_was_quick_once_is_forgotten)
{
	nap_ms = nap_item_us = 0;
	for (size_t i = 0; i < 5; i++)
		submit(THRONG);
	ck_assert_uint_eq(most, FULL);
	nap_item_us = 20000;
	for (size_t i = 0; i < 30; i++)
		submit(1);
	submit(300);
	ck_assert_uint_le(most, 64);
}
END_TEST

/* Of those that cost nothing there may be any number: who cost much come next. */
START_TEST(what_costs_much_is_remembered_past_what_costs_nothing)
{
	nap_ms = 0;
	nap_item_us = 20000;
	submit(100);
	nap_item_us = 0;
	submit(100);
	nap_item_us = 20000;
	submit(300);
	ck_assert_uint_le(most, 100);
}
END_TEST

static void start_server(void)
{
	test_links_open(&links, &postgres, 1, 0);
	test_postgres_ask(&postgres,
		"create table naps (ms bigint);"
		"create function nap() returns trigger language plpgsql as $$ begin perform pg_sleep(new.ms / 1e3); "
		"return null; end $$;"
		"create constraint trigger nap after insert on naps deferrable initially deferred for each row "
		"execute function nap()");
}

static void end_server(void)
{
	test_links_close(&links, &postgres);
}

int main(void)
{
	Suite *suite = suite_create("pace");
	TCase *tc = tcase_create("pace");

	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, where_each_item_costs_much_a_transaction_has_few);
	tcase_add_test(tc, where_a_transaction_costs_much_it_has_many);
	tcase_add_test(tc, a_transaction_that_is_slow_with_anything_in_it_has_some);
	tcase_add_test(tc, a_slow_commit_is_shared_by_many);
	tcase_add_test(tc, a_slow_commit_leaves_time_to_items_that_cost);
	tcase_add_test(tc, what_was_slow_once_is_forgotten);
	tcase_add_test(tc, what_was_quick_once_is_forgotten);
	tcase_add_test(tc, what_costs_much_is_remembered_past_what_costs_nothing);
	suite_add_tcase(suite, tc);
	return suite_run_here(suite);
}
