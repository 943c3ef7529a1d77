/* server_clock_test.c - which of the server's answers about its time is believed. */
#include <check.h>

#include "sql/server_clock.h"
#include "tests/suite.h"

#define AHEAD 1700000000000000 /* the server's clock, of ours */

static struct server_clock begun(void)
{
	struct server_clock c = { 0 };

	server_clock_begin(&c, 0, 900, AHEAD + 100);	  /* 350 too little */
	server_clock_begin(&c, 1000, 1200, AHEAD + 1100); /* the quickest, and right */
	server_clock_begin(&c, 2000, 2400, AHEAD + 2000); /* 200 too little */
	return c;
}

START_TEST(a_new_connection_believes_the_quickest_answer)
{
	struct server_clock c = begun();
	ck_assert_int_eq(c.offset_us, AHEAD);
	ck_assert_int_eq(c.trip_us, 200);
	ck_assert_uint_eq(c.answers, 3);
}
END_TEST

START_TEST(a_new_connection_believes_nothing_of_the_one_before)
{
	struct server_clock c = begun();

	c.answers = 0;
	server_clock_begin(&c, 0, 5000, 2500);
	ck_assert_int_eq(c.offset_us, 0);
}
END_TEST

START_TEST(a_slow_answer_that_the_older_one_agrees_with_says_less)
{
	struct server_clock c = begun();

	server_clock_hear(&c, 0, 50000, AHEAD + 1000); /* given at once, and held up on its way back */
	ck_assert_int_eq(c.offset_us, AHEAD);
	server_clock_hear(&c, 0, 50000, AHEAD + 49000); /* held up on its way there */
	ck_assert_int_eq(c.offset_us, AHEAD);
}
END_TEST

/* Both may be as wrong as their trips were long: they agree as long as one moment was in both. */
START_TEST(a_slow_answer_does_not_disprove_one_that_was_slow_itself)
{
	struct server_clock c = { 0 };

	server_clock_begin(&c, 0, 6000, AHEAD + 5900); /* at the end of its trip: 2900 too much */
	ck_assert_int_eq(c.offset_us, AHEAD + 2900);
	server_clock_hear(&c, 10000, 4010000, AHEAD + 10000); /* at once, and four seconds on its way back */
	ck_assert_int_eq(c.offset_us, AHEAD + 2900);
}
END_TEST

START_TEST(a_quick_answer_is_believed)
{
	struct server_clock c = begun();

	server_clock_hear(&c, 0, 1000, AHEAD + 520);
	ck_assert_int_eq(c.offset_us, AHEAD + 20);
}
END_TEST

/* Every answer of a busy server is slow; still it cannot have been given before the question, or after it was heard. */
START_TEST(a_slow_answer_disproves_what_cannot_be)
{
	struct server_clock c = begun();

	server_clock_hear(&c, 0, 50000, AHEAD + 80000); /* our machine was suspended, the server's clock ran on */
	ck_assert_int_eq(c.offset_us, AHEAD + 55000);
	server_clock_hear(&c, 100000, 101000, AHEAD + 100500 + 30000); /* a better one comes */
	ck_assert_int_eq(c.offset_us, AHEAD + 30000);
	server_clock_hear(&c, 200000, 250000, AHEAD + 225000 - 3600000000); /* the server's was set back by an hour */
	ck_assert_int_eq(c.offset_us, AHEAD - 3600000000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("server_clock");
	TCase *tc = tcase_create("server_clock");

	tcase_add_test(tc, a_new_connection_believes_the_quickest_answer);
	tcase_add_test(tc, a_new_connection_believes_nothing_of_the_one_before);
	tcase_add_test(tc, a_slow_answer_that_the_older_one_agrees_with_says_less);
	tcase_add_test(tc, a_slow_answer_does_not_disprove_one_that_was_slow_itself);
	tcase_add_test(tc, a_quick_answer_is_believed);
	tcase_add_test(tc, a_slow_answer_disproves_what_cannot_be);
	suite_add_tcase(suite, tc);
	return suite_run_here(suite);
}
