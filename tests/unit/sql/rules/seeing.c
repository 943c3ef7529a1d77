/* seeing.c - see after you lock: who waited for a head, a key or a lease goes on from what it is, not from what it was. */
#include "tests/unit/sql/workers.h"

#include <stdlib.h>
#include <string.h>

#include "sql/statements.h"

START_TEST(subscribed_sees_the_command_it_waited_for)
{
	struct accept a;
	struct receipt receipt;

	stop_commits();
	submit(0, &a, CAR, NULL);
	wait_for_a_commit();
	hear_subscribed(1, CAR, &receipt);
	wait_for_a_lock();
	let_commit();
	wait_for_done(1);
	pump_until(is_settled);
	pump_until(one_published);
	ck_assert_ptr_null(faults[0]);
	ck_assert_uint_eq(workers[1].published, 1);
	ck_assert_str_eq(statuses(), "waiting/claimed");
	free(a.command);
}
END_TEST

START_TEST(accept_sees_the_vehicle_it_waited_for)
{
	struct accept a;
	struct receipt receipt;

	stop_commits();
	hear_subscribed(1, CAR, &receipt);
	wait_for_a_commit();
	submit(0, &a, CAR, NULL);
	wait_for_a_lock();
	ck_assert(!is_settled()); /* the broker's message is not acknowledged */
	let_commit();
	wait_for_done(1);
	pump_until(is_settled);
	pump_until(one_published);
	ck_assert_ptr_null(faults[0]);
	ck_assert_uint_eq(workers[0].published, 1);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	ck_assert_str_eq(ask("select s->'detail'->>'state' from commands, jsonb_array_elements(timeline) s"
			     " where s->>'step' = 'reachability'"),
		"connected");
	free(a.command);
}
END_TEST

/* dan drives CAR1, and sends to it while another holds its head. */
static void submit_as_driver(struct accept *a)
{
	submit(0, a, CAR, NULL);
	a->subject = "dan";
	a->admin = false;
}

static void assert_nothing_accepted(void)
{
	wait_for_done(1);
	ck_assert_ptr_eq(faults[0], &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_str_eq(ask("select count(*) from commands"), "0");
}

static void let_dan_drive(void)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('vehicle', '" CAR
	    "', 'dan', 'driver', 'test')");
}

START_TEST(accept_sees_the_end_of_the_grant_that_it_waited_for)
{
	const char *const end[] = { "{" CAR "}", "{root}", "{true}", "{\"{\\\"subject\\\":\\\"dan\\\"}\"}", "false",
		"{NULL}" };
	struct accept a;

	let_dan_drive();
	hold("select from vehicle_heads where vehicle_id = '" CAR "' for update");
	PGresult *r = PQexecParams(stopper, SQL_grant_end.text, 6, NULL, end, NULL, NULL, 0);
	ck_assert_msg(PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 1), "done") == 0, "%s", PQerrorMessage(stopper));
	PQclear(r);
	submit_as_driver(&a);
	wait_for_a_lock();
	stopper_run("commit");
	assert_nothing_accepted();
}
END_TEST

/* Its time was not over yet when the transaction began. */
START_TEST(accept_sees_the_time_that_passed_while_it_waited)
{
	struct accept a;

	let_dan_drive();
	hold("select from vehicle_heads where vehicle_id = '" CAR "' for update");
	submit_as_driver(&a);
	wait_for_a_lock();
	stopper_run("update grants set expires_at = clock_timestamp() where subject = 'dan'");
	stopper_run("commit");
	assert_nothing_accepted();
}
END_TEST

START_TEST(interest_misses_no_event_that_it_waited_for)
{
	struct accept a;

	stop_commits();
	submit(1, &a, CAR, NULL);
	wait_for_a_commit();
	watch(0);
	wait_for_a_lock();
	ck_assert(!app.ready);
	let_commit();
	wait_for_done(1);
	wait_for_the_head();
	free(a.command);
}
END_TEST

START_TEST(event_sees_the_interest_that_it_waited_for)
{
	struct accept a;

	stop_commits();
	watch(0);
	wait_for_a_commit();
	submit(1, &a, CAR, NULL);
	wait_for_a_lock();
	let_commit();
	wait_for_done(1);
	wait_for_the_head();
	ck_assert_uint_gt(workers[1].forwarded, 0);
	free(a.command);
}
END_TEST

START_TEST(one_key_makes_one_command)
{
	struct accept a, b;

	stop_commits();
	submit(0, &a, CAR, "k");
	wait_for_a_commit();
	submit(1, &b, CAR, "k");
	wait_for_a_lock();
	let_commit();
	wait_for_done(2);
	ck_assert_ptr_null(faults[0]);
	ck_assert_ptr_null(faults[1]);
	ck_assert(!a.replayed && b.replayed);
	ck_assert_ptr_nonnull(strstr(b.command, a.id));
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	free(a.command);
	free(b.command);
}
END_TEST

/* Another head: they meet at the key alone. */
START_TEST(one_key_belongs_to_one_vehicle)
{
	struct accept a, b;

	stop_commits();
	submit(0, &a, CAR, "k");
	wait_for_a_commit();
	submit(1, &b, "CAR2", "k");
	wait_for_a_lock();
	let_commit();
	wait_for_done(2); /* in any order: one commits, and the other need not */
	ck_assert((faults[0] == &FAULT_IDEMPOTENCY_KEY_REUSED) != (faults[1] == &FAULT_IDEMPOTENCY_KEY_REUSED));
	ck_assert_ptr_nonnull(a.command);
	ck_assert_ptr_null(b.command);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	free(a.command);
	free(b.command);
}
END_TEST

/* Nor do two commands, in one transaction. */
START_TEST(one_key_at_once_belongs_to_one_vehicle)
{
	struct accept before, a, b;

	stop_commits();
	submit(0, &before, CAR, NULL);
	wait_for_a_commit();
	submit(0, &a, CAR, "k");
	submit(0, &b, "CAR2", "k");
	let_commit();
	wait_for_done(3);
	ck_assert_ptr_null(faults[0]);
	ck_assert((faults[1] == &FAULT_IDEMPOTENCY_KEY_REUSED) != (faults[2] == &FAULT_IDEMPOTENCY_KEY_REUSED));
	ck_assert_str_eq(ask("select count(*) from commands where name = 'doors.unlock'"), "2");
	free(before.command);
	free(a.command);
	free(b.command);
}
END_TEST

static bool is_waiting_for_events(void)
{
	return strcmp(ask("select exists (select from pg_locks where relation = 'events'::regclass and not granted)"),
		       "t") == 0;
}

/* Its day is over, and the sweep comes between the statement that found it and the one that reads it. */
START_TEST(a_key_that_was_found_stays)
{
	struct accept a;

	ask("insert into idempotency (subject, key, fingerprint, vehicle_id, command_id, created_at)"
	    " values ('root', 'k', 'old', 'CAR2', '019a0000-0000-7000-8000-00000000aaaa', now() - interval '25 "
	    "hours')");
	hold("lock table events in access exclusive mode");
	submit(0, &a, CAR, "k");
	pump_until(is_waiting_for_events);
	struct db_unit *unit = question_new(workers[1].reader, 1);
	db_unit_add(unit, &SQL_sweep);
	db_param_int(unit, 0);
	db_param_int(unit, 100);
	answer_to(unit);
	stopper_run("commit");
	wait_for_done(1);
	ck_assert_ptr_null(faults[0]);
	ck_assert_str_eq(
		ask("select count(*) from idempotency k join commands c on c.id = k.command_id where k.key = 'k'"),
		"1");
	free(a.command);
}
END_TEST

/* A target of a batch whose commit is not known by the time it is fed again. */
START_TEST(a_batchs_target_has_one_turn)
{
	static const char batch[] = "019a0000-0000-7000-8000-00000000bbbb";
	struct accept a, b;

	ask("delete from batch_targets; insert into batch_targets (batch_id, vehicle_id) values "
	    "('019a0000-0000-7000-8000-00000000bbbb', '" CAR "')");
	stop_commits();
	submit(0, &a, CAR, NULL);
	a.batch_id = batch;
	wait_for_a_commit();
	submit(1, &b, CAR, NULL);
	b.batch_id = batch;
	wait_for_a_lock();
	let_commit();
	wait_for_done(2);
	ck_assert_ptr_null(faults[0]);
	ck_assert_ptr_null(faults[1]);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	ck_assert_str_eq(ask("select t.command_id = c.id from batch_targets t, commands c"), "t");
	free(a.command);
	free(b.command);
}
END_TEST

/* Who takes a batch waits between its snapshot and the end; meanwhile somebody ends the batch. */
START_TEST(a_batch_is_taken_as_it_is)
{
	struct db_unit *unit = question_new(workers[0].reader, 3);

	ask("insert into batches (id, fleet_id, name, ttl_seconds, timeout_seconds, wake, redelivery, supersedes, "
	    "catalog, "
	    "issued_by, admin, needs, rate, total)"
	    " values ('019a0000-0000-7000-8000-00000000aaaa', 'F1', 'horn.honk', 60, 20, false, 'never', '', '{}', "
	    "'root', "
	    "true, 2, 10, 1);"
	    "insert into leases (name, epoch) values ('batch/019a0000-0000-7000-8000-00000000aaaa', 1);"
	    "create function stop_lease() returns trigger language plpgsql as"
	    " $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$;"
	    "create trigger stop_lease before update on leases for each row execute function stop_lease()");
	stop_commits();
	db_unit_add(unit, &SQL_batch_take);
	db_param_text(unit, "w0");
	db_param_text(unit, "n");
	db_param_int(unit, 5000);
	db_param_int(unit, 8);
	submit_question(unit);
	wait_for_a_commit();
	ask("update batches set state = 'canceled', finished_at = clock_timestamp()");
	let_commit();
	pump_until(is_answered);
	ck_assert_str_eq(answer(), "019a0000-0000-7000-8000-00000000aaaa 2 canceled\n");
	ask("drop trigger stop_lease on leases; drop function stop_lease; delete from batches; delete from leases "
	    "where name "
	    "like 'batch/%'");
}
END_TEST

void add_seeing(Suite *suite)
{
	TCase *tc = case_new(suite, "see after you lock");

	tcase_add_test(tc, subscribed_sees_the_command_it_waited_for);
	tcase_add_test(tc, accept_sees_the_vehicle_it_waited_for);
	tcase_add_test(tc, accept_sees_the_end_of_the_grant_that_it_waited_for);
	tcase_add_test(tc, accept_sees_the_time_that_passed_while_it_waited);
	tcase_add_test(tc, interest_misses_no_event_that_it_waited_for);
	tcase_add_test(tc, event_sees_the_interest_that_it_waited_for);
	tcase_add_test(tc, one_key_makes_one_command);
	tcase_add_test(tc, one_key_belongs_to_one_vehicle);
	tcase_add_test(tc, a_key_that_was_found_stays);
	tcase_add_test(tc, a_batchs_target_has_one_turn);
	tcase_add_test(tc, one_key_at_once_belongs_to_one_vehicle);
	tcase_add_test(tc, a_batch_is_taken_as_it_is);
}
