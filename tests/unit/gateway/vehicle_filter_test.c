/* vehicle_filter_test.c - the language in which vehicles are looked for: what it means, and what is wrong with what is none. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/operations/vehicle_filter.h"

#define TERM(key, value, begins, not )                                                                                 \
	"{\"begins\":" begins ",\"key\":\"" key "\",\"not\":" not ",\"value\":\"" value "\"}"
#define PLAIN(key, value) TERM(key, value, "false", "false")

static const struct {
	const char *filter, *terms;
} good[] = {
	{ "reachability:connected", PLAIN("reachability", "connected") },
	{ "reachability:disconnected", PLAIN("reachability", "disconnected") },
	{ "unstable:true", PLAIN("unstable", "true") },
	{ "fleet:F1", PLAIN("fleet", "F1") },
	{ "fleet:EU-*", TERM("fleet", "EU-", "true", "false") },
	{ "fleet:*", TERM("fleet", "", "true", "false") },
	{ "NOT fleet:*", TERM("fleet", "", "true", "true") },
	{ "vehicle:WKF*", TERM("vehicle", "WKF", "true", "false") },
	{ "name:Van", PLAIN("name", "Van") },
	{ "name:\"Van 7\"", PLAIN("name", "Van 7") },
	{ "name:\"a \\\"b\\\" \\\\ *\"", PLAIN("name", "a \\\"b\\\" \\\\ *") },
	{ "tag:vip", PLAIN("tag", "vip") },
	{ "tag:\"50*\"", PLAIN("tag", "50*") },
	{ "tag:a:b", PLAIN("tag", "a:b") },
	{ "tag:AND", PLAIN("tag", "AND") },
	{ "  tag:a  AND   NOT  tag:b ", PLAIN("tag", "a") "," TERM("tag", "b", "false", "true") },
	{ "reachability:connected AND tag:vip AND fleet:F1",
		PLAIN("reachability", "connected") "," PLAIN("tag", "vip") "," PLAIN("fleet", "F1") },
};

START_TEST(a_filter_is_its_terms)
{
	char why[200] = "", expected[1024];
	char *terms = vehicle_filter_read(good[_i].filter, why, sizeof(why));

	snprintf(expected, sizeof(expected), "[%s]", good[_i].terms);
	ck_assert_msg(terms != NULL, "%s: %s", good[_i].filter, why);
	ck_assert_str_eq(terms, expected);
	free(terms);
}
END_TEST

#define NO_KEY ": a term is key:value, and a key is one of reachability, unstable, fleet, tag, vehicle, name"

static const struct {
	const char *filter, *why;
} bad[] = {
	{ "", "filter: \"\"" NO_KEY },
	{ "   ", "filter: \"\"" NO_KEY },
	{ "vip", "filter: \"vip\"" NO_KEY },
	{ "colour:red", "filter: \"colour:red\"" NO_KEY },
	{ "tag :vip", "filter: \"tag\"" NO_KEY },
	{ "Tag:vip", "filter: \"Tag:vip\"" NO_KEY },
	{ "reachability:online", "filter: \"reachability:online\": the value is one of connected,disconnected" },
	{ "reachability:connected,disconnected",
		"filter: \"reachability:connected,disconnected\": the value is one of connected,disconnected" },
	{ "reachability:con*", "filter: \"reachability:con*\": here * stands for itself, in quotes" },
	{ "unstable:yes", "filter: \"unstable:yes\": the value is one of true,false" },
	{ "tag:", "filter: \"tag:\": a value is missing" },
	{ "name:\"\"", "filter: \"name:\"\"\": a value is missing" },
	{ "tag:vip*", "filter: \"tag:vip*\": here * stands for itself, in quotes" },
	{ "name:\"Van", "filter: \"name:\"Van\": the quotes do not end" },
	{ "name:\"Van\"x", "filter: \"name:\"Van\"x\": a space must follow the quotes" },
	{ "tag:a tag:b", "filter: \"tag:b\": AND must stand between two terms" },
	{ "tag:a OR tag:b", "filter: \"OR\": AND must stand between two terms" },
	{ "tag:a AND", "filter: \"\"" NO_KEY },
	{ "AND tag:a", "filter: \"AND\"" NO_KEY },
	{ "NOT", "filter: \"\"" NO_KEY },
	{ "NOT NOT tag:a", "filter: \"NOT\"" NO_KEY },
	{ "tag:a AND colour:red AND tag:b", "filter: \"colour:red\"" NO_KEY },
};

START_TEST(what_is_no_filter_is_told_by_its_term)
{
	char why[200] = "";

	ck_assert_ptr_null(vehicle_filter_read(bad[_i].filter, why, sizeof(why)));
	ck_assert_str_eq(why, bad[_i].why);
}
END_TEST

START_TEST(a_filter_has_an_end)
{
	char long_one[FILTER_MAX + 2], many[512] = "tag:a", why[200];

	memset(long_one, 'x', FILTER_MAX + 1);
	memcpy(long_one, "tag:", 4);
	long_one[FILTER_MAX + 1] = '\0';
	ck_assert_ptr_null(vehicle_filter_read(long_one, why, sizeof(why)));
	ck_assert_str_eq(why, "filter has at most 1024 bytes");
	for (int i = 1; i < FILTER_TERMS_MAX; i++)
		strcat(many, " AND tag:a");
	char *terms = vehicle_filter_read(many, why, sizeof(why));
	ck_assert_ptr_nonnull(terms);
	free(terms);
	strcat(many, " AND tag:b");
	ck_assert_ptr_null(vehicle_filter_read(many, why, sizeof(why)));
	ck_assert_str_eq(why, "filter: \"tag:b\": there are too many terms");
}
END_TEST

/* What is told is text, wherever the term had to be cut. */
START_TEST(a_long_term_is_cut_between_characters)
{
	char filter[256], why[200];

	for (size_t lead = 0; lead < 4; lead++) {
		memset(filter, 'x', sizeof(filter));
		for (size_t at = lead; at + 2 < sizeof(filter); at += 2)
			memcpy(filter + at, "é", 2);
		filter[200 + lead] = '\0';
		ck_assert_ptr_null(vehicle_filter_read(filter, why, sizeof(why)));
		json_t *text = json_string(why);
		ck_assert_msg(text != NULL, "no UTF-8: %s", why);
		json_decref(text);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gateway/vehicle_filter");
	TCase *tests = tcase_create("filter");

	tcase_add_loop_test(tests, a_filter_is_its_terms, 0, (int)(sizeof(good) / sizeof(good[0])));
	tcase_add_loop_test(tests, what_is_no_filter_is_told_by_its_term, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tests, a_filter_has_an_end);
	tcase_add_test(tests, a_long_term_is_cut_between_characters);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
