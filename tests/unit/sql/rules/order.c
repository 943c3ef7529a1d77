/* order.c - lock in one order: whatever order a batch comes in, and who comes at the same time is passed over, not waited for. */
#include "tests/unit/sql/workers.h"

#include <stdio.h>
#include <string.h>

#include "sql/statements.h"

#define CROSSING 128  /* vehicles of a transaction */
#define CARS 192      /* of whom they are */
#define CROSSINGS 150 /* transactions of each worker */

static const struct db_statement SQL_test_setting = { "test_setting",
	"select current_setting('synchronous_commit') || ' ' || current_setting('enable_hashjoin') || ' ' || "
	"current_setting('enable_mergejoin') || ' ' || current_setting('plan_cache_mode')" };
static const struct db_statement SQL_test_plan = { "test_plan",
	"explain (costs off) execute lock_heads('{CAR2,CAR1}')" };

static const char PLAN[] = "LockRows\n"
			   "  ->  Sort\n"
			   "        Sort Key: h.vehicle_id COLLATE \"C\"\n"
			   "        ->  Nested Loop\n"
			   "              ->  Function Scan on unnest i\n"
			   "              ->  Index Scan using vehicle_heads_pkey on vehicle_heads h\n"
			   "                    Index Cond: (vehicle_id = (i.vehicle_id)::text)\n";

/* Of a table that was never looked at, and of a big one that was. */
START_TEST(heads_are_locked_by_a_sorted_nested_loop)
{
	struct db_array ids = { 0 };
	struct db *link = workers[0].writer;
	struct db_unit *unit = question_new(link, 1);

	db_array_text(&ids, "CAR1");
	db_unit_add(unit, &SQL_lock_heads);
	db_param_array(unit, &ids);
	ck_assert_str_eq(answer_to(unit), "CAR1\n"); /* and now it is prepared */
	ck_assert_str_eq(ask_link(link, &SQL_test_setting), "on off off force_generic_plan\n");
	ck_assert_str_eq(ask_link(link, &SQL_test_plan), PLAN);
	ask("insert into vehicle_heads (vehicle_id) select 'X' || n from generate_series(1, 20000) n; analyze "
	    "vehicle_heads");
	ck_assert_str_eq(ask_link(link, &SQL_test_plan), PLAN);
}
END_TEST

static void run_locked(struct db_unit *unit)
{
	submit_question(unit);
	wait_for_a_lock();
}

/* The middle one is another's. Who comes for all three, named backwards, has the first and not the last. */
START_TEST(heads_are_locked_in_ascending_order)
{
	struct db_array ids = { 0 };
	struct db_unit *unit = question_new(workers[0].writer, 1);

	hold("select from vehicle_heads where vehicle_id = 'CAR2' for update");
	db_array_text(&ids, "CAR3");
	db_array_text(&ids, "CAR2");
	db_array_text(&ids, "CAR1");
	db_unit_add(unit, &SQL_lock_heads);
	db_param_array(unit, &ids);
	run_locked(unit);
	ck_assert_str_eq(ask("select string_agg(vehicle_id, ' ') from"
			     " (select vehicle_id from vehicle_heads for update skip locked) h"),
		"CAR3");
	stopper_run("rollback");
	pump_until(is_answered);
	ck_assert_str_eq(answer(), "CAR1\nCAR2\nCAR3\n");
}
END_TEST

static size_t raised;

static void on_one_raised(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
	raised++;
}

static bool is_raised(void)
{
	return raised == 1;
}

/* A head that is made comes before any that is locked: it is locked with them, and who waits for another to make it holds none. */
START_TEST(heads_are_made_before_any_is_locked)
{
	struct batch_item item = { .stage = &workers[0].raise, .vehicle_id = CAR, .on_done = on_one_raised };
	struct receipt receipt;

	raised = 0;
	hold("insert into vehicle_heads (vehicle_id, seq) values ('NEW', 4)");
	ck_assert_ptr_null(batch_submit(workers[0].batch, &item));
	hear_subscribed(0, "NEW", &receipt);
	wait_for_a_lock();
	ck_assert_str_eq(ask("select string_agg(vehicle_id, ' ') from"
			     " (select vehicle_id from vehicle_heads order by 1 for update skip locked) h"),
		"CAR1 CAR2 CAR3");
	stopper_run("commit");
	pump_until(is_settled);
	pump_until(is_raised);
	ck_assert_str_eq(ask("select reachable from vehicle_heads where vehicle_id = 'NEW'"), "t");
}
END_TEST

static void add_fence(struct db_unit *unit)
{
	static const char *const backwards[] = { "feed/03", "feed/02", "feed/01" };
	struct db_array names = { 0 }, epochs = { 0 };

	for (size_t i = 0; i < 3; i++) {
		db_array_text(&names, backwards[i]);
		db_array_int(&epochs, 5);
	}
	db_unit_add(unit, &SQL_fence);
	db_param_array(unit, &names);
	db_param_array(unit, &epochs);
	db_param_text(unit, "w0");
}

static void add_renewal(struct db_unit *unit)
{
	db_unit_add(unit, &SQL_lease_renew);
	db_param_text(unit, "w0");
	db_param_text(unit, "n");
	db_param_int(unit, 5000);
}

static void assert_leases_ascend(void (*add)(struct db_unit *))
{
	struct db_unit *unit = question_new(workers[0].writer, 1);

	ask("update leases set holder = 'w0', epoch = 5, expires_at = now() + interval '1 hour' where name in"
	    " ('feed/01', 'feed/02', 'feed/03')");
	hold("select from leases where name = 'feed/02' for update");
	add(unit);
	run_locked(unit);
	ck_assert_str_eq(ask("select string_agg(name, ' ') from (select name from leases where holder = 'w0' and"
			     " name like 'feed/%' for update skip locked) l"),
		"feed/03");
	stopper_run("rollback");
	pump_until(is_answered);
}

START_TEST(leases_are_locked_in_ascending_order)
{
	assert_leases_ascend(add_fence);
	assert_leases_ascend(add_renewal);
}
END_TEST

/* A lease that somebody is about to lose is passed over, not waited for. */
START_TEST(leases_in_hand_are_not_waited_for)
{
	struct db_unit *unit = question_new(workers[0].writer, 1);

	hold("select from leases where name = 'feed/00' for update");
	db_unit_add(unit, &SQL_lease_take);
	db_param_text(unit, "w0");
	db_param_text(unit, "n");
	db_param_int(unit, 5000);
	db_param_int(unit, 2);
	answer_to(unit);
	ck_assert_str_eq(ask("select string_agg(name, ' ' order by name) from leases where holder = 'w0' and name like "
			     "'feed/%'"),
		"feed/01 feed/02");
	stopper_run("rollback");
}
END_TEST

static const char *renew_retained(void)
{
	struct db_unit *unit = question_new(workers[0].reader, 2);

	db_unit_add(unit, &SQL_retained_renew);
	db_param_int(unit, 0);
	return answer_to(unit);
}

/* A batch has one of them, and may want the other next: it is not waited for, and not forgotten. */
START_TEST(what_the_broker_lost_is_renewed_beside_a_batch)
{
	ask("delete from retained; insert into retained (vehicle_id, kind, payload, version, published, mark)"
	    " values ('CAR1', 'desired', '{}', 1, 1, 1), ('CAR2', 'desired', '{}', 1, 1, 1)");
	hold("select from retained where vehicle_id = 'CAR2' for update");
	ck_assert_str_eq(renew_retained(), "1 t\n");
	stopper_run("select from retained for update");
	stopper_run("rollback");
	ck_assert_str_eq(renew_retained(), "1 f\n");
	ck_assert_str_eq(renew_retained(), "0 f\n");
	ask("delete from retained");
}
END_TEST

/* A node stands still with half a unit on the wire. */
static void send_half_a_unit(PGconn *conn)
{
	ck_assert(PQenterPipelineMode(conn));
	ck_assert(PQsendQueryParams(conn, "select from vehicle_heads where vehicle_id = '" CAR "' for update", 0, NULL,
		NULL, NULL, NULL, 0));
	PQsendFlushRequest(conn);
	PQflush(conn);
	PQclear(PQgetResult(conn)); /* it has the lock, before anybody else comes */
}

/* Between the statements of a unit no time-out of the server runs, and what it has locked stays so. */
START_TEST(a_frozen_unit_is_ended)
{
	char url[512];
	struct batch_item item = { .stage = &workers[0].raise, .vehicle_id = CAR, .on_done = on_one_raised };

	raised = 0;
	snprintf(url, sizeof(url), "%s%capplication_name=keyfobd", postgres.url, strchr(postgres.url, '?') ? '&' : '?');
	PGconn *frozen = PQconnectdb(url);
	ck_assert_int_eq(PQstatus(frozen), CONNECTION_OK);
	PQclear(PQexec(frozen, "set idle_in_transaction_session_timeout = '1s'; set statement_timeout = '1s'"));
	send_half_a_unit(frozen);
	ck_assert_ptr_null(batch_submit(workers[0].batch, &item));
	wait_for_a_lock();
	int64_t since_ms = loop_monotonic_ms(loop);
	let_pass(since_ms, 4000);
	ck_assert_str_eq(ask_link(workers[1].reader, &SQL_frozen_end), "0\n");
	let_pass(since_ms, 6100);
	ck_assert_uint_eq(raised, 0);
	ck_assert_str_eq(ask_link(workers[1].reader, &SQL_frozen_end), "1\n");
	pump_until(is_raised);
	PQfinish(frozen);
}
END_TEST

/* Transactions of each worker, of vehicles that are the other's, too. */

static struct crossing {
	struct batch_item items[CROSSING];
	size_t raising, count;
} crossings[WORKERS];
static char cars[CARS][8];
static unsigned seed = 20;

static void cross(struct worker *w);

static void on_raised(struct batch_item *item, const struct fault *fault)
{
	struct worker *w = item->stage->owner;
	struct crossing *c = &crossings[w - workers];

	ck_assert_msg(!fault, "%s", fault ? fault->name : "");
	ck_assert(!item->retried);
	if (--c->raising == 0 && ++c->count < CROSSINGS)
		cross(w);
}

/* 128 of 192 vehicles, in an order of their own. */
static void cross(struct worker *w)
{
	struct crossing *c = &crossings[w - workers];
	const char *order[CARS];

	for (size_t i = 0; i < CARS; i++)
		order[i] = cars[i];
	for (size_t i = 0; i < CROSSING; i++) {
		seed = seed * 1103515245u + 12345u;
		size_t k = i + (seed >> 16) % (CARS - i);
		const char *car = order[k];
		order[k] = order[i];
		order[i] = car;
	}
	c->raising = CROSSING;
	for (size_t i = 0; i < CROSSING; i++) {
		c->items[i] = (struct batch_item){ .stage = &w->raise, .vehicle_id = order[i], .on_done = on_raised };
		ck_assert_ptr_null(batch_submit(w->batch, &c->items[i]));
	}
}

static bool all_crossed(void)
{
	return crossings[0].count == CROSSINGS && crossings[1].count == CROSSINGS && all_quiet();
}

START_TEST(crossing_batches_do_not_deadlock)
{
	char wanted[32];

	for (size_t i = 0; i < CARS; i++)
		snprintf(cars[i], sizeof(cars[i]), "X%03zu", i);
	ask("insert into vehicle_heads (vehicle_id) select 'X' || lpad(n::text, 3, '0') from generate_series(0, 191) "
	    "n");
	cross(&workers[0]);
	cross(&workers[1]);
	pump_until(all_crossed);
	snprintf(wanted, sizeof(wanted), "%d", 2 * CROSSINGS * CROSSING);
	ck_assert_str_eq(ask("select sum(seq) from vehicle_heads"), wanted);
	ck_assert_str_eq(ask("select sum(deadlocks) from pg_stat_database"), "0");
}
END_TEST

void add_order(Suite *suite)
{
	TCase *tc = case_new(suite, "lock order");

	tcase_add_test(tc, heads_are_locked_by_a_sorted_nested_loop);
	tcase_add_test(tc, heads_are_locked_in_ascending_order);
	tcase_add_test(tc, heads_are_made_before_any_is_locked);
	tcase_add_test(tc, leases_are_locked_in_ascending_order);
	tcase_add_test(tc, leases_in_hand_are_not_waited_for);
	tcase_add_test(tc, what_the_broker_lost_is_renewed_beside_a_batch);
	tcase_add_test(tc, a_frozen_unit_is_ended);
	tcase_add_test(tc, crossing_batches_do_not_deadlock);
}
