/* vehicle_filter_test.c - the language in which vehicles are looked for: what it means, and what is wrong with what is none. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/operations/vehicle_filter.h"
#include "tests/suite.h"

#define ANY(is, value) "{\"is\":\"" is "\",\"value\":" value "}"
#define TEXT(value) ANY("=", "\"" value "\"")
#define BEGINS(value) ANY("begins", "\"" value "\"")
#define TERM(key, no, any) "{\"any\":[" any "],\"key\":\"" key "\",\"not\":" no "}"
#define PLAIN(key, value) TERM(key, "false", TEXT(value))
#define STATE(path, any) "{\"any\":[" any "],\"key\":\"state\",\"not\":false,\"path\":[" path "]}"

static const struct {
	const char *filter, *terms;
} good[] = {
	{ "reachability:connected", PLAIN("reachability", "connected") },
	{ "reachability:disconnected", PLAIN("reachability", "disconnected") },
	{ "unstable:true", PLAIN("unstable", "true") },
	{ "fleet:F1", PLAIN("fleet", "F1") },
	{ "fleet:EU-*", TERM("fleet", "false", BEGINS("EU-")) },
	{ "fleet:*", TERM("fleet", "false", BEGINS("")) },
	{ "NOT fleet:*", TERM("fleet", "true", BEGINS("")) },
	{ "vehicle:WKF*", TERM("vehicle", "false", BEGINS("WKF")) },
	{ "name:Van", PLAIN("name", "Van") },
	{ "name:\"Van 7\"", PLAIN("name", "Van 7") },
	{ "name:\"a \\\"b\\\" \\\\ *\"", PLAIN("name", "a \\\"b\\\" \\\\ *") },
	{ "tag:vip", PLAIN("tag", "vip") },
	{ "tag:7", PLAIN("tag", "7") },
	{ "tag:<7", PLAIN("tag", "<7") },
	{ "tag:\"50*\"", PLAIN("tag", "50*") },
	{ "tag:a:b", PLAIN("tag", "a:b") },
	{ "tag:AND", PLAIN("tag", "AND") },
	{ "tag:a,b,\"c, d\"", TERM("tag", "false", TEXT("a") "," TEXT("b") "," TEXT("c, d")) },
	{ "NOT fleet:F1,EU-*", TERM("fleet", "true", TEXT("F1") "," BEGINS("EU-")) },
	{ "reachability:connected,disconnected",
		TERM("reachability", "false", TEXT("connected") "," TEXT("disconnected")) },
	{ "  tag:a  AND   NOT  tag:b ", PLAIN("tag", "a") "," TERM("tag", "true", TEXT("b")) },
	{ "reachability:connected AND tag:vip AND fleet:F1",
		PLAIN("reachability", "connected") "," PLAIN("tag", "vip") "," PLAIN("fleet", "F1") },
	{ "state.ignition:true", STATE("\"ignition\"", ANY("=", "true")) },
	{ "state.doors.driver.locked:false", STATE("\"doors\",\"driver\",\"locked\"", ANY("=", "false")) },
	{ "state.speed:0", STATE("\"speed\"", ANY("=", "0")) },
	{ "state.outside:-21.7", STATE("\"outside\"", ANY("=", "-21.7")) },
	{ "state.battery.level:<20", STATE("\"battery\",\"level\"", ANY("<", "20")) },
	{ "state.a:<=-1.5", STATE("\"a\"", ANY("<=", "-1.5")) },
	{ "state.a:<-1,>1e3", STATE("\"a\"", ANY("<", "-1") "," ANY(">", "1000.0")) },
	{ "state.a:>=0", STATE("\"a\"", ANY(">=", "0")) },
	{ "state.a:\"20\"", STATE("\"a\"", TEXT("20")) },
	{ "state.a:\"<20\"", STATE("\"a\"", TEXT("<20")) },
	{ "state.a:\"true\",null,tru", STATE("\"a\"", TEXT("true") "," TEXT("null") "," TEXT("tru")) },
	{ "state.a:[1],{}", STATE("\"a\"", TEXT("[1]") "," TEXT("{}")) },
	{ "state.tcu:4.3.1,5.*", STATE("\"tcu\"", TEXT("4.3.1") "," BEGINS("5.")) },
	{ "state.warnings:*", STATE("\"warnings\"", BEGINS("")) },
	{ "state.\"odd key.:\".\"\".é:1", STATE("\"odd key.:\",\"\",\"é\"", ANY("=", "1")) },
	{ "state.a:state.b:1", STATE("\"a\"", TEXT("state.b:1")) },
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

#define NO_KEY                                                                                                         \
	": a term is key:value, and a key is one of reachability, unstable, fleet, tag, vehicle, name, "               \
	"state.PATH"

#define NO_PATH ": a path is the names of members with dots between them, and a colon"

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
	{ "reachability:connected,away",
		"filter: \"reachability:connected,away\": the value is one of connected,disconnected" },
	{ "reachability:con*", "filter: \"reachability:con*\": here * stands for itself, in quotes" },
	{ "unstable:yes", "filter: \"unstable:yes\": the value is one of true,false" },
	{ "tag:", "filter: \"tag:\": a value is missing" },
	{ "name:\"\"", "filter: \"name:\"\"\": a value is missing" },
	{ "tag:vip*", "filter: \"tag:vip*\": here * stands for itself, in quotes" },
	{ "name:\"Van", "filter: \"name:\"Van\": the quotes do not end" },
	{ "name:\"Van\"x", "filter: \"name:\"Van\"x\": nothing may follow the quotes at once" },
	{ "tag:a,", "filter: \"tag:a,\": a value is missing" },
	{ "tag:,a", "filter: \"tag:,a\": a value is missing" },
	{ "tag:a, b", "filter: \"tag:a,\": a value is missing" },
	{ "state:on", "filter: \"state:on\"" NO_KEY },
	{ "state", "filter: \"state\"" NO_KEY },
	{ "tag.a:b", "filter: \"tag.a:b\"" NO_KEY },
	{ "stated.a:b", "filter: \"stated.a:b\"" NO_KEY },
	{ "state.:1", "filter: \"state.:1\"" NO_PATH },
	{ "state.a..b:1", "filter: \"state.a..b:1\"" NO_PATH },
	{ "state.a.:1", "filter: \"state.a.:1\"" NO_PATH },
	{ "state.a", "filter: \"state.a\"" NO_PATH },
	{ "state.a :1", "filter: \"state.a\"" NO_PATH },
	{ "state.\"a:1", "filter: \"state.\"a:1\": the quotes do not end" },
	{ "state.\"a\"b:1", "filter: \"state.\"a\"b:1\": nothing may follow the quotes at once" },
	{ "state.a:", "filter: \"state.a:\": a value is missing" },
	{ "state.a:<", "filter: \"state.a:<\": a value is missing" },
	{ "state.a:<x", "filter: \"state.a:<x\": only a number can be compared" },
	{ "state.a:>\"5\"", "filter: \"state.a:>\"5\"\": only a number can be compared" },
	{ "state.a:<=true", "filter: \"state.a:<=true\": only a number can be compared" },
	{ "state.a:<5*", "filter: \"state.a:<5*\": only a number can be compared" },
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
	snprintf(many, sizeof(many), "state.a:<1");
	for (int i = 1; i < FILTER_COMPARISONS_MAX; i++)
		strcat(many, i % 2 ? ",<1" : ",x*");
	terms = vehicle_filter_read(many, why, sizeof(why));
	ck_assert_ptr_nonnull(terms);
	free(terms);
	strcat(many, ",7 AND state.b:*");
	ck_assert_ptr_null(vehicle_filter_read(many, why, sizeof(why)));
	ck_assert_str_eq(why, "filter: \"state.b:*\": there are too many comparisons");
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
	return suite_run(suite);
}
