/* suspicion_test.c - once in a window, for each alone, however many there are. */
#include "gateway/access/suspicion.h"
#include "tests/suite.h"

#include <check.h>
#include <stdio.h>

#define WINDOW_MS 1000

/* How often it was full in so many times. */
static int full(enum suspicion what, const char *key, int limit, int times, int64_t now_ms)
{
	int count = 0;

	for (int i = 0; i < times; i++)
		count += suspicion_note(what, key, limit, WINDOW_MS, now_ms);
	return count;
}

START_TEST(it_is_full_once_in_a_window)
{
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "a", 3, 2, 100), 0);
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "a", 3, 1, 1099), 1);
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "a", 3, 100, 1099), 0);
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "a", 3, 2, 1100), 0);
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "a", 3, 9, 1200), 1);
}
END_TEST

START_TEST(everybody_is_counted_alone)
{
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "b", 2, 1, 0), 0);
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "c", 2, 1, 0), 0);
	ck_assert_int_eq(full(SUSPICION_ADDRESS, "b", 2, 1, 0), 0);
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "b", 2, 1, 0), 1);
	ck_assert_int_eq(full(SUSPICION_ADDRESS, "b", 1, 1, 5000), 1);
	ck_assert_int_eq(full(SUSPICION_SUBJECT, "d", 0, 1000, 0), 0);
}
END_TEST

/* Strangers by the thousand, once each, do not push out who is counted often. */
START_TEST(a_crowd_hides_nobody)
{
	char key[32];

	ck_assert_int_eq(full(SUSPICION_FORGERY, "e", 5, 4, 9000), 0);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "stranger-%d", i);
		full(SUSPICION_FORGERY, key, 5, 1, 9000);
	}
	ck_assert_int_eq(full(SUSPICION_FORGERY, "e", 5, 1, 9000), 1);
}
END_TEST

/* Nor do those who are counted as often. */
START_TEST(hundreds_are_counted_at_once)
{
	char key[32];

	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < 512; i++) {
			snprintf(key, sizeof(key), "many-%d", i);
			ck_assert_int_eq(full(SUSPICION_RATE, key, 3, 1, 15000), round == 3);
		}
	}
}
END_TEST

/* Each vehicle once, of this window alone; the oldest make room. */
START_TEST(what_was_tried_is_remembered)
{
	struct suspicion_trail trail = { .count = 0 };
	char id[32];

#define TRY(key, vehicle, limit, now_ms)                                                                               \
	suspicion_note_object(SUSPICION_SUBJECT, key, vehicle, limit, WINDOW_MS, now_ms, &trail)
	ck_assert(!TRY("f", "OLD", 3, 20000));
	ck_assert(!TRY("f", "V1", 3, 21000));
	ck_assert(!TRY("f", NULL, 3, 21000));
	ck_assert_uint_eq(trail.count, 0);
	ck_assert(TRY("f", "V1", 3, 21000));
	ck_assert_uint_eq(trail.count, 1);
	ck_assert_str_eq(trail.ids[0], "V1");
	for (int i = 0; i < SUSPICION_TRAIL + 2; i++) {
		snprintf(id, sizeof(id), "W%d", i);
		ck_assert(TRY("g", id, SUSPICION_TRAIL + 2, 22000) == (i == SUSPICION_TRAIL + 1));
	}
	ck_assert_uint_eq(trail.count, SUSPICION_TRAIL);
	ck_assert_str_eq(trail.ids[0], "W2");
	ck_assert_str_eq(trail.ids[SUSPICION_TRAIL - 1], id);
#undef TRY
}
END_TEST

/* Once for each object, for no more than there is room, and in the next window anew. */
START_TEST(what_is_new_is_so_once)
{
	char id[32];

#define IS_NEW(key, object, now_ms) suspicion_is_new(SUSPICION_READ, key, object, WINDOW_MS, now_ms)
	ck_assert(IS_NEW("h", "V1", 30000));
	ck_assert(!IS_NEW("h", "V1", 30000 + WINDOW_MS - 1));
	ck_assert(IS_NEW("h", "fleet/V1", 30001));
	ck_assert(IS_NEW("i", "V1", 30001));
	for (int i = 0; i < 3 * SUSPICION_TRAIL; i++) {
		snprintf(id, sizeof(id), "W%d", i);
		ck_assert(IS_NEW("j", id, 30002) == (i < SUSPICION_TRAIL));
	}
	ck_assert(!IS_NEW("j", "W0", 30003));
	ck_assert(!full(SUSPICION_SUBJECT, "j", 2, 1, 30003)); /* it is counted apart */
	ck_assert(IS_NEW("j", "W0", 30002 + WINDOW_MS));
	ck_assert(IS_NEW("h", "V1", 30000 + WINDOW_MS));
#undef IS_NEW
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("suspicion");
	TCase *tc = tcase_create("counts");

	tcase_add_test(tc, it_is_full_once_in_a_window);
	tcase_add_test(tc, everybody_is_counted_alone);
	tcase_add_test(tc, a_crowd_hides_nobody);
	tcase_add_test(tc, hundreds_are_counted_at_once);
	tcase_add_test(tc, what_was_tried_is_remembered);
	tcase_add_test(tc, what_is_new_is_so_once);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
