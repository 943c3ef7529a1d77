/* json_test.c - what is read and refused, merge patches there and back, and text. */
#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/suite.h"

static json_t *read_text(const char *text)
{
	json_t *value = json_read(text, strlen(text));
	ck_assert_msg(value != NULL, "%s", text);
	return value;
}

static void check_equal(const json_t *value, const char *expected_text)
{
	json_auto_t *expected = read_text(expected_text);
	char *text = json_canonical(value);
	ck_assert_msg(json_equal(value, expected), "%s is not %s", text, expected_text);
	free(text);
}

/* reading */

static const struct bytes {
	const char *text;
	size_t len;
} refused[] = {
#define BYTES(literal)                                                                                                 \
	{                                                                                                              \
		literal, sizeof literal - 1                                                                            \
	}
	BYTES(""),
	BYTES(" "),
	BYTES("{"),
	BYTES("{} {}"),
	BYTES("{}\0"),
	BYTES("\0{}"),
	BYTES("{\"a\":1,\"a\":2}"),
	BYTES("{\"a\":{\"b\":1,\"\\u0062\":2}}"),
	BYTES("\"a\\u0000b\""),
	BYTES("\"a\0b\""),
	BYTES("{\"a\\u0000\":1}"),
	BYTES("\"\xff\""),
	BYTES("\"\xc0\x80\""),
	BYTES("\"\xed\xa0\x80\""),
	BYTES("\"\\ud800\""),
	BYTES("\"a\nb\""),
	BYTES("\"unfinished\\"),
	BYTES("\xef\xbb\xbf{}"),
	BYTES("{'a':1}"),
	BYTES("[1,]"),
	BYTES("01"),
	BYTES("1e999"),
	BYTES("NaN"),
#undef BYTES
};

START_TEST(refuses)
{
	ck_assert_msg(json_read(refused[_i].text, refused[_i].len) == NULL, "%s", refused[_i].text);
}
END_TEST

START_TEST(reads_any_value)
{
	static const char *const texts[] = { "{}", "[]", "\"\xc3\xa4\"", "1", "-1.5e3", "true", "null",
		" {\"a\":[1]}\n" };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		json_decref(read_text(texts[i]));
}
END_TEST

/* jansson knows 64 bits. */
START_TEST(reads_a_number_that_is_too_large_as_a_real)
{
	json_auto_t *value = read_text("{\"a\":18446744073709551616,\"b\":[7,{\"c\":-1.5}]}");
	const json_t *rest = json_object_get(value, "b");
	ck_assert(json_real_value(json_object_get(value, "a")) == 18446744073709551616.0);
	ck_assert_int_eq(json_integer_value(json_array_get(rest, 0)), 7);
	ck_assert(json_real_value(json_object_get(json_array_get(rest, 1), "c")) == -1.5);
}
END_TEST

static char *nested(size_t depth)
{
	struct text t = { 0 };
	for (size_t i = 0; i < depth; i++)
		text_add(&t, i % 2 ? "{\"a\":" : "[");
	text_add(&t, "1");
	for (size_t i = depth; i-- > 0;)
		text_add(&t, i % 2 ? "}" : "]");
	return text_take(&t);
}

START_TEST(reads_32_levels_and_no_more)
{
	char *fits = nested(32), *deep = nested(33);
	json_decref(read_text(fits));
	ck_assert_ptr_null(json_read(deep, strlen(deep)));
	free(fits);
	free(deep);
}
END_TEST

START_TEST(counts_no_brackets_in_strings)
{
	json_auto_t *value =
		read_text("{\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\\\":\"{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{\"}");
	ck_assert_uint_eq(json_object_size(value), 1);
}
END_TEST

/* merge patches: RFC 7396, appendix A */

static const struct merge {
	const char *target, *patch, *result;
} merges[] = {
	{ "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
	{ "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
	{ "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
	{ "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
	{ "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
	{ "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
	{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
	{ "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
	{ "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
	{ "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
	{ "{\"a\":\"foo\"}", "null", "null" },
	{ "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
	{ "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
	{ "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
	{ "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
};

START_TEST(merges_as_the_rfc_has_it)
{
	const struct merge *m = &merges[_i];
	json_auto_t *target = read_text(m->target), *patch = read_text(m->patch);
	json_auto_t *result = json_merge_patch(target, patch);
	check_equal(result, m->result);
	check_equal(target, m->target);
	check_equal(patch, m->patch);
}
END_TEST

START_TEST(merges_into_nothing)
{
	json_auto_t *patch = read_text("{\"a\":{\"b\":null,\"c\":1},\"d\":null}");
	json_auto_t *result = json_merge_patch(NULL, patch);
	check_equal(result, "{\"a\":{\"c\":1}}");
}
END_TEST

START_TEST(shares_nothing_with_what_it_was_made_of)
{
	json_auto_t *target = read_text("{\"a\":{\"b\":1}}"), *patch = read_text("{\"c\":{\"d\":1}}");
	json_auto_t *result = json_merge_patch(target, patch);
	json_object_clear(json_object_get(result, "a"));
	json_object_clear(json_object_get(result, "c"));
	check_equal(target, "{\"a\":{\"b\":1}}");
	check_equal(patch, "{\"c\":{\"d\":1}}");
}
END_TEST

/* differences */

static const struct diff {
	const char *from, *to, *patch; /* patch NULL: equal */
} diffs[] = {
	{ "{}", "{}", NULL },
	{ "{\"a\":1,\"b\":[1]}", "{\"b\":[1],\"a\":1}", NULL },
	{ "{\"a\":1}", "{\"a\":2}", "{\"a\":2}" },
	{ "{\"a\":1}", "{}", "{\"a\":null}" },
	{ "{}", "{\"a\":{}}", "{\"a\":{}}" },
	{ "{\"a\":1}", "{\"a\":{}}", "{\"a\":{}}" },
	{ "{\"a\":{\"b\":1,\"c\":2,\"d\":3}}", "{\"a\":{\"b\":1,\"c\":5}}", "{\"a\":{\"c\":5,\"d\":null}}" },
	{ "{\"a\":{\"b\":1}}", "{\"a\":[]}", "{\"a\":[]}" },
	{ "{\"a\":[1,2]}", "{\"a\":[1,3]}", "{\"a\":[1,3]}" },
	{ "{\"a\":null}", "{}", NULL },
	{ "{}", "{\"a\":null}", NULL },
	{ "{\"a\":1}", "{\"a\":null}", "{\"a\":null}" },
	{ "1", "1", NULL },
	{ "1", "{\"a\":{\"b\":null}}", "{\"a\":{}}" },
	{ "{\"a\":1}", "7", "7" },
};

START_TEST(tells_the_difference)
{
	const struct diff *d = &diffs[_i];
	json_auto_t *from = read_text(d->from), *to = read_text(d->to);
	json_auto_t *patch = json_merge_diff(from, to);
	if (!d->patch) {
		ck_assert_ptr_null(patch);
		return;
	}
	check_equal(patch, d->patch);
	json_auto_t *result = json_merge_patch(from, patch);
	ck_assert_ptr_null(json_merge_diff(result, to));
}
END_TEST

/* A small random value without null members: those a merge patch cannot say. */
static json_t *random_value(int depth)
{
	if (depth == 0 || rand() % 3 == 0)
		return json_integer(rand() % 3);
	json_t *object = json_object();
	for (int i = rand() % 4; i > 0; i--)
		json_object_set_new(object, (const char[]){ (char)('a' + rand() % 4), '\0' }, random_value(depth - 1));
	return object;
}

START_TEST(brings_any_value_to_any_other)
{
	srand(7396); /* the seed */
	for (int i = 0; i < 5000; i++) {
		json_auto_t *from = random_value(4), *to = random_value(4);
		json_auto_t *patch = json_merge_diff(from, to);
		ck_assert_int_eq(patch == NULL, json_equal(from, to));
		json_auto_t *result = patch ? json_merge_patch(from, patch) : json_incref(from);
		ck_assert(json_equal(result, to));
	}
}
END_TEST

/* asking */

START_TEST(writes_equal_values_equally)
{
	json_auto_t *a = read_text("{ \"b\": [1, {\"d\": 1, \"c\": 2}], \"a\": \"x\" }");
	json_auto_t *b = read_text("{\"a\":\"x\",\"b\":[1,{\"c\":2,\"d\":1}]}");
	char *text_a = json_canonical(a), *text_b = json_canonical(b);
	ck_assert_str_eq(text_a, "{\"a\":\"x\",\"b\":[1,{\"c\":2,\"d\":1}]}");
	ck_assert_str_eq(text_a, text_b);
	free(text_a);
	free(text_b);
}
END_TEST

/* As short as they read back equal, each for itself. */
START_TEST(writes_numbers_as_they_were_meant)
{
	static const char meant[] =
		"[21.7,-0.1,0.3,48.137154,1e-7,1e22,5e-324,1.7976931348623157e308,0.30000000000000004,"
		"9007199254740993,-0.0,2.0,123456789012.5,11.57538211345679]";
	json_auto_t *value = read_text(meant);
	char *text = json_canonical(value);
	json_auto_t *again = read_text(text);

	ck_assert(json_equal(again, value));
	ck_assert_str_eq(text,
		"[21.7,-0.1,0.3,48.137154,1e-7,1e22,4.94065645841247e-324,1.7976931348623157e308,0.30000000000000004,"
		"9007199254740993,-0.0,2.0,123456789012.5,11.57538211345679]");
	free(text);
}
END_TEST

START_TEST(writes_any_number_so_that_it_reads_back_equal)
{
	srand(754); /* the seed */
	for (int i = 0; i < 20000; i++) {
		json_auto_t *number = json_real(ldexp((double)rand() / RAND_MAX + (double)rand(), rand() % 200 - 100));
		char *text = json_canonical(number);
		json_auto_t *again = read_text(text);
		ck_assert_msg(json_equal(number, again), "%.17g became %s", json_real_value(number), text);
		free(text);
	}
}
END_TEST

START_TEST(takes_a_number_for_what_it_is)
{
	json_auto_t *value = read_text("{\"a\":[1.0,2e1,-0.0,1.5,1e300,9007199254740993,true,null],\"b\":{\"c\":3.0}}");
	json_auto_t *whole = json_as_whole(value);
	char *text = json_canonical(whole);

	ck_assert_str_eq(text, "{\"a\":[1,20,0,1.5,1e300,9007199254740993,true,null],\"b\":{\"c\":3}}");
	ck_assert(json_is_real(json_array_get(json_object_get(value, "a"), 0)));
	free(text);
}
END_TEST

START_TEST(finds_unknown_keys_and_texts)
{
	static const char *const known[] = { "name", "params", NULL };
	json_auto_t *object = read_text("{\"name\":\"doors.lock\",\"parms\":{}}");
	ck_assert_str_eq(json_unknown_key(object, known), "parms");
	json_object_del(object, "parms");
	ck_assert_ptr_null(json_unknown_key(object, known));
	ck_assert_str_eq(json_text_at(object, "name"), "doors.lock");
	json_object_set_new(object, "name", json_integer(1));
	ck_assert_ptr_null(json_text_at(object, "name"));
	ck_assert_ptr_null(json_text_at(object, "params"));
}
END_TEST

/* text */

static const struct quoted {
	const char *text, *quoted;
} quoted[] = {
	{ "", "\"\"" },
	{ NULL, "null" },
	{ "doors.unlock", "\"doors.unlock\"" },
	{ "\"\\/\b\f\n\r\t", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
	{ "\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\"" },
	{ "\xc2\x9b"
	  "31m",
		"\"\\u009b31m\"" },
	{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91\"" },
	{ "a\xff"
	  "b",
		"\"a\\ufffdb\"" },
	{ "\xc3", "\"\\ufffd\"" },
	{ "\xf0\x9f\x94", "\"\\ufffd\\ufffd\\ufffd\"" },
	{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
	{ "\xc0\xaf", "\"\\ufffd\\ufffd\"" },
	{ "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
};

START_TEST(quotes)
{
	struct text t = { 0 };
	text_add_json_string(&t, quoted[_i].text);
	ck_assert_str_eq(t.data, quoted[_i].quoted);
	json_decref(read_text(t.data));
	text_free(&t);
}
END_TEST

START_TEST(quotes_every_byte_so_that_it_can_be_read)
{
	for (int first = 1; first < 256; first++)
		for (int second = 1; second < 256; second++) {
			struct text t = { 0 };
			text_add_json_string(&t, (const char[]){ (char)first, (char)second, '\0' });
			json_decref(read_text(t.data));
			text_free(&t);
		}
}
END_TEST

START_TEST(grows)
{
	struct text t = { 0 };
	for (int i = 0; i < 1000; i++)
		text_addf(&t, "%d:%0*d,", i, i, i);
	text_add_bytes(&t, NULL, 0);
	ck_assert_uint_eq(strlen(t.data), t.len);
	ck_assert_str_eq(t.data + t.len - 4, "999,");
	char *taken = text_take(&t);
	ck_assert_ptr_null(t.data);
	free(taken);
	taken = text_take(&t);
	ck_assert_str_eq(taken, "");
	free(taken);
}
END_TEST

/* peeking */

static const struct {
	const char *object, *key, *expected; /* NULL: not found */
} peeked[] = {
	{ "{\"id\" : \"a\", \"status\" : \"sent\"}", "status", "sent" },
	{ "{\"id\":\"a\",\"status\":\"sent\"}", "id", "a" },
	{ " { \"a\" : { \"status\" : \"inner\" } , \"status\" : \"outer\" } ", "status", "outer" },
	{ "{\"a\":[{\"status\":\"inner\"},[\"status\",{}]],\"status\":\"outer\"}", "status", "outer" },
	{ "{\"a\":\"\\\",\\\"status\\\":\\\"inner\\\"\",\"status\":\"outer\"}", "status", "outer" },
	{ "{\"a\":\"}]\\\\\",\"b\":-1.5e3,\"c\":null,\"d\":true,\"status\":\"outer\"}", "status", "outer" },
	{ "{\"a\":\"status\",\"status\":\"\"}", "status", "" },
	{ "{\"stat\":\"a\",\"status_\":\"b\"}", "status", NULL },
	{ "{\"status\":null}", "status", NULL },
	{ "{\"status\":1}", "status", NULL },
	{ "{\"status\":[\"sent\"]}", "status", NULL },
	{ "{\"status\":\"a\\u0062\"}", "status", NULL },
	{ "{\"status\":\"0123456\"}", "status", "0123456" },
	{ "{\"status\":\"01234567\"}", "status", NULL }, /* it does not fit */
	{ "{}", "status", NULL },
	{ "[\"status\",\"sent\"]", "status", NULL },
	{ "", "status", NULL },
	{ "{\"status", "status", NULL },
	{ "{\"status\":\"sent", "status", NULL },
	{ "{\"a\":{\"b\":[", "status", NULL },
	{ "{\"a\":\"\\", "status", NULL },
};

START_TEST(peeks_at_a_text_of_an_object)
{
	char out[8] = "before";
	bool found = json_peek(peeked[_i].object, peeked[_i].key, out, sizeof out);
	ck_assert_int_eq(found, peeked[_i].expected != NULL);
	ck_assert_str_eq(out, found ? peeked[_i].expected : "before");
}
END_TEST

static const struct {
	const char *text;
	bool is_whole;
	int64_t expected;
} wholes[] = { { "0", true, 0 }, { "-7", true, -7 }, { "30.0", true, 30 }, { "-1e3", true, -1000 }, { "-0.0", true, 0 },
	{ "9223372036854775807", true, INT64_MAX }, { "9007199254740991.0", true, 9007199254740991 },
	{ "9007199254740992.0", false, 0 }, { "30.5", false, 0 }, { "1e300", false, 0 },
	{ "18446744073709551615", false, 0 }, { "\"30\"", false, 0 }, { "true", false, 0 }, { "null", false, 0 },
	{ "[30]", false, 0 } };

START_TEST(tells_whole_numbers)
{
	json_auto_t *value = read_text(wholes[_i].text);
	int64_t whole = 5;
	ck_assert_int_eq(json_whole(value, &whole), wholes[_i].is_whole);
	ck_assert_int_eq(whole, wholes[_i].is_whole ? wholes[_i].expected : 5);
	ck_assert(!json_whole(NULL, &whole));
}
END_TEST

START_TEST(writes_whole_numbers)
{
	static const int64_t numbers[] = { 0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN };
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		char expected[32], out[INT_TEXT_SIZE];
		snprintf(expected, sizeof expected, "%" PRId64, numbers[i]);
		ck_assert_uint_eq(text_of_int(numbers[i], out), strlen(expected));
		ck_assert_str_eq(out, expected);
	}
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
	Suite *suite = suite_create("json");
	TCase *tests = tcase_create("json");
	tcase_add_loop_test(tests, refuses, 0, COUNT(refused));
	tcase_add_test(tests, reads_any_value);
	tcase_add_test(tests, reads_a_number_that_is_too_large_as_a_real);
	tcase_add_test(tests, reads_32_levels_and_no_more);
	tcase_add_test(tests, counts_no_brackets_in_strings);
	tcase_add_loop_test(tests, merges_as_the_rfc_has_it, 0, COUNT(merges));
	tcase_add_test(tests, merges_into_nothing);
	tcase_add_test(tests, shares_nothing_with_what_it_was_made_of);
	tcase_add_loop_test(tests, tells_the_difference, 0, COUNT(diffs));
	tcase_add_test(tests, brings_any_value_to_any_other);
	tcase_add_test(tests, writes_equal_values_equally);
	tcase_add_test(tests, writes_numbers_as_they_were_meant);
	tcase_add_test(tests, writes_any_number_so_that_it_reads_back_equal);
	tcase_add_test(tests, takes_a_number_for_what_it_is);
	tcase_add_test(tests, finds_unknown_keys_and_texts);
	tcase_add_loop_test(tests, peeks_at_a_text_of_an_object, 0, COUNT(peeked));
	tcase_add_loop_test(tests, quotes, 0, COUNT(quoted));
	tcase_add_test(tests, quotes_every_byte_so_that_it_can_be_read);
	tcase_add_test(tests, grows);
	tcase_add_loop_test(tests, tells_whole_numbers, 0, COUNT(wholes));
	tcase_add_test(tests, writes_whole_numbers);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
