/* trouble.c - what cannot be done, and whom it harms: a lost lease, what the database refuses, and its own trouble. */
#include "tests/unit/sql/workers.h"

#include <stdio.h>

#include "base/metrics.h"

/* A lost lease undoes what leans on it, and nothing else. */

static struct batch_item fenced[4];
static const struct fault *verdicts[4];
static size_t told;

static void on_told(struct batch_item *item, const struct fault *fault)
{
	size_t n = (size_t)(item - fenced);

	verdicts[n] = fault;
	told++;
	if (n == 0) /* goes into the cut in which the others go again */
		ck_assert_ptr_null(batch_submit(workers[0].batch, &fenced[3]));
}

static bool all_told(void)
{
	return told == 4;
}

START_TEST(a_lost_lease_undoes_its_own_alone)
{
	static const struct batch_fence lost = { "feed/02", 4 }, held = { "feed/01", 5 };
	static const struct {
		const char *vehicle_id;
		const struct batch_fence *fence;
	} rows[] = { { "CAR1", &lost }, { "CAR2", &held }, { "CAR3", NULL }, { "CAR1", &lost } };

	told = 0;
	ask("update leases set holder = 'w0', epoch = 5, expires_at = now() + interval '1 hour' where name in"
	    " ('feed/01', 'feed/02')");
	for (size_t i = 0; i < 4; i++)
		fenced[i] = (struct batch_item){ .stage = &workers[0].raise,
			.vehicle_id = rows[i].vehicle_id,
			.fence = rows[i].fence,
			.on_done = on_told };
	for (size_t i = 0; i < 3; i++)
		ck_assert_ptr_null(batch_submit(workers[0].batch, &fenced[i]));
	pump_until(all_told);
	ck_assert_ptr_eq(verdicts[0], &FAULT_FENCED);
	ck_assert_ptr_null(verdicts[1]);
	ck_assert_ptr_null(verdicts[2]);
	ck_assert_ptr_eq(verdicts[3], &FAULT_FENCED);
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by vehicle_id) from vehicle_heads"), "0 1 1");
}
END_TEST

/* A crowd. */

#define CROWD 448 /* as many as fit into one transaction behind a small one (sql/batch.c: 512, less an eighth) */

static struct batch_item crowd[CROWD + 1];
static char crowd_ids[CROWD + 1][8];
static const struct fault *crowd_heard[CROWD + 1];
static size_t crowded, crowd_awaited;

static void on_crowd_heard(struct batch_item *item, const struct fault *fault)
{
	crowd_heard[item - crowd] = fault;
	crowded++;
}

static bool are_all_heard(void)
{
	return crowded == crowd_awaited;
}

/* Says one thing of a vehicle. */
static void say_of(size_t i, const char *vehicle_id)
{
	snprintf(crowd_ids[i], sizeof(crowd_ids[i]), "%s", vehicle_id);
	crowd[i] = (struct batch_item){
		.stage = &workers[0].raise, .vehicle_id = crowd_ids[i], .on_done = on_crowd_heard
	};
	ck_assert_ptr_null(batch_submit(workers[0].batch, &crowd[i]));
}

/* One that cannot be done is found among many, and is the only one that hears so. */
START_TEST(what_cannot_be_done_harms_no_other)
{
	static const char *const vehicles[] = { "CAR1", "CAR2", "CAR3" };

	crowded = 0;
	crowd_awaited = 21;
	ask("alter table vehicle_heads add constraint poison check (vehicle_id <> 'CAR2' or seq < 3) not valid");
	for (size_t i = 0; i < crowd_awaited; i++)
		say_of(i, vehicles[i % 3]);
	pump_until(are_all_heard);
	ask("alter table vehicle_heads drop constraint poison");
	for (size_t i = 0; i < crowd_awaited; i++) {
		bool can_be_done = i % 3 != 1 || i / 3 < 2;
		ck_assert_msg(crowd_heard[i] == (can_be_done ? NULL : &FAULT_INTERNAL), "%zu of %s: %s", i / 3,
			crowd_ids[i], crowd_heard[i] ? crowd_heard[i]->name : "done");
	}
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by vehicle_id) from vehicle_heads"), "7 2 7");
}
END_TEST

/* The server's trouble is nobody's fault: whoever is refused says it again. */

/* Of so many vehicles at once; how many transactions failed over it. */
static size_t say_all(size_t count)
{
	int64_t before = metric_value(METRIC_BATCH_FAILED);
	char id[8];

	crowded = 0;
	crowd_awaited = count;
	for (size_t i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "X%03zu", i);
		say_of(i, id);
	}
	pump_until(are_all_heard);
	return (size_t)(metric_value(METRIC_BATCH_FAILED) - before);
}

static void assert_all_heard(size_t count, const struct fault *fault)
{
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(crowd_heard[i] == fault, "%s: %s", crowd_ids[i],
			crowd_heard[i] ? crowd_heard[i]->name : "done");
}

static void break_heads(const char *where, const char *sqlstate)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		"create function trouble() returns trigger language plpgsql as $$ begin raise 'trouble' using errcode "
		"= '%s'; end $$; create trigger trouble before update on vehicle_heads for each row when (%s) execute "
		"function trouble()",
		sqlstate, where);
	change_tables(sql);
}

static void mend_heads(void)
{
	change_tables("drop trigger trouble on vehicle_heads; drop function trouble");
}

/* A batch that has seen, and not only once, how little they cost, so that all of them fit into one transaction. */
static void make_crowd(void)
{
	ask("insert into vehicle_heads (vehicle_id) select 'X' || lpad(n::text, 3, '0') from generate_series(0, 511) "
	    "n");
	for (size_t whole = 0; whole < 2;) {
		int64_t before = metric_value(METRIC_BATCHES);
		say_all(CROWD);
		whole = metric_value(METRIC_BATCHES) - before == 1 ? whole + 1 : 0;
	}
	workers[0].troubles = 0;
}

/* It is noticed, told, and over with the first that is done; but the want of room, of which that says nothing. */
static void assert_trouble_is_everybodys(const char *sqlstate, size_t failures_max, bool ends_by_itself)
{
	struct batch *batch = workers[0].batch;

	make_crowd();
	break_heads("true", sqlstate);
	ck_assert_uint_le(say_all(CROWD), failures_max);
	assert_all_heard(CROWD, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert(batch_is_in_trouble(batch));
	ck_assert_uint_eq(workers[0].troubles, 1);
	ck_assert_uint_le(say_all(CROWD), 3); /* who went alone before goes alone */
	assert_all_heard(CROWD, &FAULT_STORAGE_UNAVAILABLE);
	mend_heads();
	ck_assert_uint_eq(say_all(CROWD), 0);
	assert_all_heard(CROWD, NULL);
	ck_assert(batch_is_in_trouble(batch) != ends_by_itself);
	batch_note_writable(batch);
	ck_assert(!batch_is_in_trouble(batch));
	ck_assert_uint_eq(workers[0].troubles, 2);
}

START_TEST(trouble_over_all_is_found_by_few)
{
	assert_trouble_is_everybodys("XX000", 12, true);
}
END_TEST

/* One item may want more of it than there is. */
START_TEST(want_of_memory_is_looked_for)
{
	assert_trouble_is_everybodys("53200", 12, true);
}
END_TEST

/* Another's try writes what nobody's item does: the trouble does not end by it while somebody is refused, and later each time. */
START_TEST(trouble_does_not_come_and_go_with_anothers_try)
{
	struct batch *batch = workers[0].batch;

	make_crowd();
	break_heads("true", "XX000");
	say_all(64);
	ck_assert(batch_is_in_trouble(batch));
	for (size_t i = 0; i < 6; i++) {
		batch_note_writable(batch);
		ck_assert(batch_is_in_trouble(batch));
		let_pass(loop_monotonic_ms(loop), 50);
		say_all(64);
	}
	let_pass(loop_monotonic_ms(loop), 200);
	batch_note_writable(batch);
	ck_assert(!batch_is_in_trouble(batch));
	say_all(64);
	ck_assert(batch_is_in_trouble(batch));
	let_pass(loop_monotonic_ms(loop), 200);
	batch_note_writable(batch);
	ck_assert(batch_is_in_trouble(batch));
	let_pass(loop_monotonic_ms(loop), 200);
	batch_note_writable(batch);
	ck_assert(!batch_is_in_trouble(batch));
	ck_assert_uint_eq(workers[0].troubles, 4);
	mend_heads();
	say_all(64);
	assert_all_heard(64, NULL);
}
END_TEST

START_TEST(a_full_disk_is_everybodys)
{
	assert_trouble_is_everybodys("53100", 1, false);
}
END_TEST

/* It comes again and again, and others with it, who are done each time. In the end it is set aside; and once it can be done, it is. */
START_TEST(trouble_over_one_vehicle_holds_up_nobody_for_long)
{
	int64_t before = metric_value(METRIC_BATCH_SET_ASIDE);
	size_t tries = 0, failures = 0;

	make_crowd();
	break_heads("old.vehicle_id = 'X007'", _i == 0 ? "XX000" : "53200");
	int64_t since_ms = loop_monotonic_ms(loop);
	do {
		failures = say_all(64);
		for (size_t i = 0; i < 64; i++)
			ck_assert(i == 7 || !crowd_heard[i]);
		ck_assert_uint_le(failures, tries++ == 0 ? 8 : 1); /* it is known then, and goes alone */
	} while (crowd_heard[7] == &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_eq(crowd_heard[7], &FAULT_SET_ASIDE);
	ck_assert(batch_has_given_up(crowd_heard[7]));
	ck_assert_uint_ge(tries, 4);
	ck_assert_int_ge(loop_monotonic_ms(loop) - since_ms, 300);
	ck_assert_int_eq(metric_value(METRIC_BATCH_SET_ASIDE) - before, 1);
	ck_assert_uint_eq(workers[0].troubles, 0);
	say_all(64);
	ck_assert_ptr_eq(crowd_heard[7], &FAULT_STORAGE_UNAVAILABLE); /* another word of it, tried for as long */
	mend_heads();
	ck_assert_uint_eq(say_all(64), 0);
	assert_all_heard(64, NULL);
}
END_TEST

/* More of them than a few do not push each other out: each has its turn. */
START_TEST(trouble_over_many_vehicles_holds_up_nobody_for_long)
{
	bool is_set_aside[80] = { false };
	size_t set_aside = 0;

	make_crowd();
	break_heads("old.vehicle_id ~ '^X0[0-7][13579]$'", "XX000");
	int64_t since_ms = loop_monotonic_ms(loop);
	do {
		say_all(80);
		for (size_t i = 0; i < 80; i++) {
			ck_assert(i % 2 == 1 ? crowd_heard[i] != NULL : crowd_heard[i] == NULL);
			if (crowd_heard[i] == &FAULT_SET_ASIDE && !is_set_aside[i]) {
				is_set_aside[i] = true;
				set_aside++;
			}
		}
	} while (set_aside < 40 && loop_monotonic_ms(loop) - since_ms < 10000);
	mend_heads();
	ck_assert_uint_eq(set_aside, 40);
	ck_assert_uint_eq(workers[0].troubles, 0);
}
END_TEST

/* Of one vehicle, again and again, and nobody else speaks: the first word is refused, the second is done. */
START_TEST(a_bad_word_is_set_aside_beside_its_vehicles_good_ones)
{
	make_crowd();
	break_heads("current_setting('kf.bad', true) = 'true'", "XX000");
	int64_t since_ms = loop_monotonic_ms(loop);
	do {
		crowded = 0;
		crowd_awaited = 2;
		bad_word = &crowd[0];
		say_of(0, "X000");
		say_of(1, "X000");
		pump_until(are_all_heard);
		ck_assert_ptr_null(crowd_heard[1]);
	} while (crowd_heard[0] == &FAULT_STORAGE_UNAVAILABLE && loop_monotonic_ms(loop) - since_ms < 5000);
	bad_word = NULL;
	mend_heads();
	ck_assert_ptr_eq(crowd_heard[0], &FAULT_SET_ASIDE);
	ck_assert_int_ge(loop_monotonic_ms(loop) - since_ms, 300);
	ck_assert_uint_eq(workers[0].troubles, 0);
	ck_assert_uint_eq(say_all(64), 0);
	assert_all_heard(64, NULL);
}
END_TEST

/* Where nothing else is done it is not known whose fault it is, and nothing waits for it either. */
START_TEST(trouble_over_the_only_vehicle_that_speaks_is_borne)
{
	make_crowd();
	break_heads("old.vehicle_id = 'X000'", "XX000");
	int64_t since_ms = loop_monotonic_ms(loop);
	do
		say_all(1);
	while (loop_monotonic_ms(loop) - since_ms < 600 && crowd_heard[0] == &FAULT_STORAGE_UNAVAILABLE);
	mend_heads();
	ck_assert_ptr_eq(crowd_heard[0], &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_uint_eq(say_all(1), 0);
	ck_assert_ptr_null(crowd_heard[0]);
}
END_TEST

void add_trouble(Suite *suite)
{
	TCase *tc = case_new(suite, "trouble");

	tcase_add_test(tc, a_lost_lease_undoes_its_own_alone);
	tcase_add_test(tc, what_cannot_be_done_harms_no_other);
	tcase_add_test(tc, trouble_over_all_is_found_by_few);
	tcase_add_test(tc, want_of_memory_is_looked_for);
	tcase_add_test(tc, trouble_does_not_come_and_go_with_anothers_try);
	tcase_add_test(tc, a_full_disk_is_everybodys);
	tcase_add_loop_test(tc, trouble_over_one_vehicle_holds_up_nobody_for_long, 0, 2);
	tcase_add_test(tc, trouble_over_many_vehicles_holds_up_nobody_for_long);
	tcase_add_test(tc, a_bad_word_is_set_aside_beside_its_vehicles_good_ones);
	tcase_add_test(tc, trouble_over_the_only_vehicle_that_speaks_is_borne);
}
