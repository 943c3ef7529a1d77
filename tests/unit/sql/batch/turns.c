/* turns.c - whose turn it is: who says much waits for its own, who says little passes it, and a command does not wait for ever. */
#include "tests/unit/sql/workers.h"

#include <stdio.h>
#include <stdlib.h>

/* Who sends much waits for its own; who sends little passes it. Its items keep their order all the same. */

#define FLOOD 600

static struct batch_item floods[FLOOD], single;
static size_t flooded, before_single;

static void on_flooded(struct batch_item *item, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	ck_assert_ptr_eq(item, &floods[flooded]);
	flooded++;
}

static void on_single(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
	before_single = flooded;
}

static bool all_flooded(void)
{
	return flooded == FLOOD && all_quiet();
}

START_TEST(one_vehicle_holds_up_no_other)
{
	struct batch *batch = workers[0].batch;

	flooded = 0;
	before_single = FLOOD;
	ask("insert into vehicle_heads (vehicle_id) values ('LOUD'), ('QUIET')");
	for (size_t i = 0; i < FLOOD; i++) {
		floods[i] =
			(struct batch_item){ .stage = &workers[0].raise, .vehicle_id = "LOUD", .on_done = on_flooded };
		ck_assert_ptr_null(batch_submit(batch, &floods[i]));
	}
	single = (struct batch_item){ .stage = &workers[0].raise, .vehicle_id = "QUIET", .on_done = on_single };
	ck_assert_ptr_null(batch_submit(batch, &single));
	pump_until(all_flooded);
	ck_assert_uint_le(before_single, 8);
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by vehicle_id) from vehicle_heads where "
			     "vehicle_id in ('LOUD', 'QUIET')"),
		"600 1");
}
END_TEST

/* Behind what waits for two seconds commands are not taken in, and one that has waited for five hears that it was not done.
 * What vehicles say waits for as long as it takes. */

static struct batch_item slow, patient;
static struct accept late[2];
static const struct fault *slow_fault, *patient_fault;

static void on_waited(struct batch_item *item, const struct fault *fault)
{
	*(item == &slow ? &slow_fault : &patient_fault) = fault;
}

START_TEST(a_command_that_waits_for_long_is_refused)
{
	struct batch *batch = workers[0].batch;

	slow_fault = patient_fault = &FAULT_INTERNAL;
	hold("select from vehicle_heads where vehicle_id = '" CAR "' for update");
	slow = (struct batch_item){ .stage = &workers[0].raise, .vehicle_id = CAR, .on_done = on_waited };
	ck_assert_ptr_null(batch_submit(batch, &slow));
	wait_for_a_lock();
	patient = slow;
	ck_assert_ptr_null(batch_submit(batch, &patient));
	submit(0, &late[0], CAR, NULL);
	int64_t since_ms = loop_monotonic_ms(loop);
	ck_assert(!batch_is_late(batch));
	let_pass(since_ms, 5100);
	ck_assert(batch_is_late(batch));
	late[1] = late[0];
	ck_assert_ptr_eq(accept_submit(workers[0].accept, &late[1]), &FAULT_OVERLOADED);
	stopper_run("commit");
	wait_for_done(1);
	ck_assert_ptr_eq(faults[0], &FAULT_OVERLOADED);
	pump_until(all_quiet);
	ck_assert_ptr_null(slow_fault);
	ck_assert_ptr_null(patient_fault);
	ck_assert_str_eq(ask("select count(*) from commands"), "0");
	ck_assert(!batch_is_late(batch));
}
END_TEST

/* A vehicle whose own flood waits for two seconds is no reason to refuse anybody's command; what did not fit into a cut is. */

#define CUT 512

static struct batch_item throng[CUT + 1];
static char throng_ids[CUT + 1][8];
static size_t many_through;

static void on_through(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
	many_through++;
}

static bool are_all_through(void)
{
	return flooded == 2 * 8 && many_through == CUT + 1 && done == 1 && all_quiet();
}

START_TEST(one_vehicles_flood_makes_nobody_late)
{
	struct batch *loud = workers[0].batch, *full = workers[1].batch;
	struct accept a;

	flooded = many_through = 0;
	ask("insert into vehicle_heads (vehicle_id) values ('LOUD')");
	hold("select from vehicle_heads where vehicle_id in ('LOUD', '" CAR "') for update");
	int64_t since_ms = loop_monotonic_ms(loop);
	for (size_t i = 0; i < 2 * 8; i++) {
		floods[i] =
			(struct batch_item){ .stage = &workers[0].raise, .vehicle_id = "LOUD", .on_done = on_flooded };
		ck_assert_ptr_null(batch_submit(loud, &floods[i]));
	}
	for (size_t i = 0; i < CUT + 1; i++) {
		snprintf(throng_ids[i], sizeof(throng_ids[i]), "Y%03zu", i);
		throng[i] = (struct batch_item){
			.stage = &workers[1].raise, .vehicle_id = i == 0 ? CAR : throng_ids[i], .on_done = on_through
		};
		ck_assert_ptr_null(batch_submit(full, &throng[i]));
	}
	let_pass(since_ms, 2100);
	ck_assert(!batch_is_late(loud));
	ck_assert(batch_is_late(full));
	submit(0, &a, "CAR2", NULL);
	stopper_run("commit");
	pump_until(are_all_through);
	ck_assert_ptr_null(faults[0]);
	ck_assert(!batch_is_late(full));
	free(a.command);
}
END_TEST

void add_turns(Suite *suite)
{
	TCase *tc = case_new(suite, "turns");

	tcase_add_test(tc, one_vehicle_holds_up_no_other);
	tcase_add_test(tc, a_command_that_waits_for_long_is_refused);
	tcase_add_test(tc, one_vehicles_flood_makes_nobody_late);
}
