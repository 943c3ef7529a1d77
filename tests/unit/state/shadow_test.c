/* shadow_test.c - several reports of a vehicle that go together, one of which the database refuses: on a real PostgreSQL. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "state/shadow.h"
#include "tests/links.h"
#include "tests/servers.h"
#include "tests/suite.h"

#define VEHICLE "WKF00000000000001"
#define TOPIC "vehicles/" VEHICLE "/state"

static struct test_postgres postgres;
static struct test_links links;
static struct shadow *shadow;
static struct batch *batch;
static struct receipt receipt;
static size_t settled;
static int64_t malformed;

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

static void setup(void)
{
	shadow = shadow_new();
	struct batch_stage *stages[] = { shadow_stage(shadow) };
	batch = batch_new(
		links.loop, links.of[0].writer, &(struct batch_options){ .items_max = 100, .holder = "w1" }, stages, 1);
	shadow_attach(shadow, batch);
	ask("truncate events, vehicle_heads; delete from vehicles;"
	    "insert into vehicles (vehicle_id) values ('" VEHICLE "');"
	    "insert into vehicle_heads (vehicle_id) values ('" VEHICLE "');"
	    "alter table events add constraint poison check (data->'patch'->'poison' is null) not valid");
	settled = 0;
	malformed = metric_value(METRIC_STATE_MALFORMED);
}

static void teardown(void)
{
	ask("alter table events drop constraint poison");
	batch_free(batch);
	shadow_free(shadow);
}

static void on_settled(struct receipt *r)
{
	ck_assert_ptr_null(r->fault);
	settled++;
}

static void begin(void)
{
	receipt_init(&receipt, on_settled);
}

static void report(const char *body)
{
	char vehicle_id[65];

	shadow_receive(shadow, NULL, &(struct mqtt_message){ .topic = TOPIC, .payload = body, .len = strlen(body) },
		&receipt, vehicle_id);
}

static void report_number(int n)
{
	char body[80];

	snprintf(body, sizeof(body), "{\"version\":%d,\"state\":{\"n%d\":%d,\"last\":%d}}", n, n, n, n);
	report(body);
}

/* All that was said is acknowledged. */
static void end(void)
{
	receipt_close(&receipt, NULL);
	while (settled == 0)
		uv_run(loop_uv(links.loop), UV_RUN_ONCE);
	ck_assert_uint_eq(settled, 1);
}

static int64_t counted_malformed(void)
{
	return metric_value(METRIC_STATE_MALFORMED) - malformed;
}

static const char *told(void)
{
	return ask("select string_agg(seq || ':' || (data->>'version'), ' ' order by seq) from events");
}

/* Wherever among them it stands, its neighbours are taken in their order, and what came after all of them comes last. */
START_TEST(a_bad_report_takes_no_other_with_it)
{
	begin();
	for (int n = 1; n <= 10; n++) {
		if (n == _i)
			report("{\"poison\":1}");
		report_number(n);
	}
	ck_assert(!batch_is_idle(batch));
	end();
	ck_assert_str_eq(told(), "1:1 2:2 3:3 4:4 5:5 6:6 7:7 8:8 9:9 10:10");
	ck_assert_str_eq(ask("select reported->>'last' || ' ' || reported_version from vehicles"), "10 10");
	ck_assert_int_eq(counted_malformed(), 1);
}
END_TEST

START_TEST(of_nothing_but_bad_reports_each_is_refused)
{
	begin();
	for (int n = 0; n < 5; n++)
		report("{\"poison\":1}");
	end();
	ck_assert_str_eq(ask("select count(*) from events"), "0");
	ck_assert_int_eq(counted_malformed(), 5);
}
END_TEST

START_TEST(good_reports_go_together)
{
	begin();
	for (int n = 1; n <= 8; n++)
		report_number(n);
	end();
	ck_assert_str_eq(told(), "1:1 2:2 3:3 4:4 5:5 6:6 7:7 8:8");
	ck_assert_str_eq(ask("select count(distinct xmin::text) from events"), "1");
	ck_assert_int_eq(counted_malformed(), 0);
}
END_TEST

static void start_server(void)
{
	test_links_open(&links, &postgres, 1, 0);
}

static void end_server(void)
{
	test_links_close(&links, &postgres);
}

int main(void)
{
	Suite *suite = suite_create("shadow");
	TCase *tc = tcase_create("shadow");

	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_bad_report_takes_no_other_with_it, 1, 11);
	tcase_add_test(tc, of_nothing_but_bad_reports_each_is_refused);
	tcase_add_test(tc, good_reports_go_together);
	suite_add_tcase(suite, tc);
	return suite_run_here(suite);
}
