/* units.c - what goes to the server comes there, and what it says comes back, in order, however much it is. */
#include "tests/unit/sql/db/ground.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct db_statement VALUES = { "values", "select $1::text, $2::bigint, $3::bool" };
static const struct db_statement ELEMENTS = { "elements",
	"select t, n, b from unnest($1::text[], $2::bigint[], $3::bool[]) as e (t, n, b)" };
static const struct db_statement LENGTH = { "length", "select length($1::text)" };
static const struct db_statement WIDE = { "wide", "select repeat('x', 1000) from generate_series(1, $1::bigint)" };

static void on_echo(struct db_unit *unit, void *context, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	ck_assert_uint_eq(db_rows(unit, 0), 1);
	ck_assert_str_eq(db_text(unit, 0, 0, 0), "it's \"so\" \\ ü");
	ck_assert(db_int(unit, 0, 0, 1) == INT64_MIN);
	ck_assert(db_bool(unit, 0, 0, 2));
	ck_assert_ptr_null(db_text(unit, 1, 0, 0));
	ck_assert(db_int(unit, 1, 0, 1) == 0);
	ck_assert(!db_bool(unit, 1, 0, 2));
	*(bool *)context = true;
}

START_TEST(rows_and_parameters)
{
	bool is_done = false;
	connect_to(pg.url, 0);
	struct db_unit *unit = db_unit_new(db, on_echo, &is_done);
	ck_assert_uint_eq(db_unit_add(unit, &VALUES), 0);
	db_param_text(unit, "it's \"so\" \\ ü");
	db_param_int(unit, INT64_MIN);
	db_param_bool(unit, true);
	ck_assert_uint_eq(db_unit_add(unit, &VALUES), 1);
	for (int i = 0; i < 3; i++)
		db_param_text(unit, NULL);
	db_unit_submit(unit);
	ck_assert(!is_done);
	ck_assert_uint_eq(db_in_flight(db), 1);
	await(is_done);
	ck_assert_uint_eq(db_in_flight(db), 0);
}
END_TEST

static const char *const NASTY[] = { "", "NULL", "null", "{}", "{a,b}", "a,b", "\"", "\\", "\\\\\"\"", " spaced ",
	"line\nfeed\ttab", "ünï©ødé 🔑", "'; drop table things; --", "$1", NULL };
#define NASTY_COUNT (sizeof NASTY / sizeof *NASTY)

static void on_elements(struct db_unit *unit, void *context, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	ck_assert_uint_eq(db_rows(unit, 0), NASTY_COUNT);
	for (size_t i = 0; i < NASTY_COUNT; i++) {
		const char *text = db_text(unit, 0, i, 0);
		ck_assert(NASTY[i] ? text && !strcmp(text, NASTY[i]) : !text);
		ck_assert(db_int(unit, 0, i, 1) == (int64_t)i - 3);
		ck_assert(db_bool(unit, 0, i, 2) == (i % 2 == 0));
	}
	ck_assert_uint_eq(db_rows(unit, 1), 0);
	*(bool *)context = true;
}

static void add_empty_arrays(struct db_unit *unit)
{
	db_unit_add(unit, &ELEMENTS);
	for (int i = 0; i < 3; i++)
		db_param_array(unit, &(struct db_array){ 0 });
}

START_TEST(arrays_of_nasty_texts)
{
	bool is_done = false;
	struct db_array texts = { 0 }, numbers = { 0 }, bools = { 0 };
	connect_to(pg.url, 0);
	for (size_t i = 0; i < NASTY_COUNT; i++) {
		db_array_text(&texts, NASTY[i]);
		db_array_int(&numbers, (int64_t)i - 3);
		db_array_bool(&bools, i % 2 == 0);
	}
	struct db_unit *unit = db_unit_new(db, on_elements, &is_done);
	db_unit_add(unit, &ELEMENTS);
	db_param_array(unit, &texts);
	db_param_array(unit, &numbers);
	db_param_array(unit, &bools);
	ck_assert_ptr_null(texts.data);
	add_empty_arrays(unit);
	db_unit_submit(unit);
	await(is_done);
}
END_TEST

START_TEST(units_in_order)
{
	enum { COUNT_OF_UNITS = 90 };
	static struct heard heard[COUNT_OF_UNITS];
	char name[16];
	connect_to(pg.url, 0);
	for (int i = 0; i < COUNT_OF_UNITS; i++) {
		snprintf(name, sizeof name, "order %d", i);
		submit(&heard[i], i % 2 ? &COUNT : &ADD, i % 2 ? "order %" : name);
	}
	ck_assert_uint_eq(db_in_flight(db), COUNT_OF_UNITS);
	await(heard[COUNT_OF_UNITS - 1].times);
	for (int i = 0; i < COUNT_OF_UNITS; i++) {
		ck_assert_ptr_null(heard[i].fault);
		ck_assert_int_eq(heard[i].order, i + 1);
		ck_assert_int_eq(heard[i].times, 1);
		ck_assert(i % 2 ? atoi(heard[i].value) == (i + 1) / 2 : heard[i].affected == 1);
	}
}
END_TEST

START_TEST(more_than_the_socket_takes)
{
	enum { MEGABYTES = 24 };
	char url[sizeof pg.url +
		 32]; /* on a slow machine so much takes longer than a commit may, and than a server may read nothing */
	snprintf(url, sizeof url, "%s?tcp_user_timeout=60000", pg.url);
	connect_to(url, 60000);
	char *text = malloc(MEGABYTES * 1048576 + 1);
	memset(text, 'x', MEGABYTES * 1048576);
	text[MEGABYTES * 1048576] = 0;
	struct heard first, second, third, *const all[] = { &first, &second, &third };
	submit(&first, &LENGTH, text);
	submit(&second, &WIDE, "20000");
	submit(&third, &LENGTH, text);
	free(text);
	await(third.times);
	for (size_t i = 0; i < 3; i++)
		ck_assert_msg(!all[i]->fault, "unit %zu: %s", i, all[i]->fault->name);
	ck_assert_int_eq(atoi(first.value), MEGABYTES * 1048576);
	ck_assert_uint_eq(second.rows, 20000);
	ck_assert_int_eq(atoi(third.value), MEGABYTES * 1048576);
}
END_TEST

START_TEST(session_is_set_up)
{
	static const char *const EXPECTED[][2] = { { "plan_cache_mode", "force_generic_plan" },
		{ "enable_hashjoin", "off" }, { "enable_mergejoin", "off" }, { "enable_seqscan", "off" },
		{ "jit", "off" }, { "statement_timeout", "30s" }, { "synchronous_commit", "on" }, { "timezone", "UTC" },
		{ "application_name", "keyfobd" }, { "client_encoding", "UTF8" } };
	connect_to(pg.url, 0);
	for (size_t i = 0; i < sizeof EXPECTED / sizeof *EXPECTED; i++)
		ck_assert_str_eq(ask(&SETTING, EXPECTED[i][0]).value, EXPECTED[i][1]);
	ck_assert_int_lt(llabs(db_now_us(db) - loop_unix_us(loop)), 100000);
}
END_TEST

void add_units(Suite *suite)
{
	TCase *tc = case_new(suite, "units");

	tcase_add_test(tc, rows_and_parameters);
	tcase_add_test(tc, arrays_of_nasty_texts);
	tcase_add_test(tc, units_in_order);
	tcase_add_test(tc, more_than_the_socket_takes);
	tcase_add_test(tc, session_is_set_up);
}
