/* catalog_test.c - what a catalogue may say, how its mistakes are told, and how params are checked against it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "gateway/catalog.h"
#include "tests/suite.h"

static char file[64];

static void set_up(void)
{
	strcpy(file, "/tmp/keyfob-catalog-XXXXXX");
	int fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	close(fd);
}

static void tear_down(void)
{
	unlink(file);
}

static const struct catalog *read_text(const char *text, struct config_error *error)
{
	FILE *f = fopen(file, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	return catalog_read(file, error);
}

START_TEST(the_example_is_a_catalogue)
{
	struct config_error error = { "" };
	const struct catalog *c = catalog_read(SOURCE_FOLDER "/gateway/catalog.example.yaml", &error);

	ck_assert_msg(c != NULL, "%s", error.line);
	ck_assert_uint_eq(catalog_count(c), 12);
	for (size_t i = 1; i < catalog_count(c); i++)
		ck_assert_int_lt(strcmp(catalog_at(c, i - 1)->name, catalog_at(c, i)->name), 0);
	const struct catalog_command *lock = catalog_find(c, "doors.lock");
	ck_assert_uint_eq(lock->supersedes.count, 1);
	ck_assert_str_eq(lock->supersedes.items[0], "doors.unlock");
	const struct catalog_command *start = catalog_find(c, "engine.start");
	ck_assert_int_eq(start->redelivery, CATALOG_REDELIVERY_NEVER);
	ck_assert_int_eq(start->step_up_seconds, 0);
	ck_assert_ptr_null(catalog_find(c, "doors"));
	catalog_free(c);
}
END_TEST

START_TEST(a_bare_command_has_the_defaults)
{
	struct config_error error = { "" };
	const struct catalog *c =
		read_text("commands:\n  b:\n  a: { role: owner, ttl: 1h, wake: false, step_up: 5m }\n", &error);

	ck_assert_msg(c != NULL, "%s", error.line);
	const struct catalog_command *b = catalog_find(c, "b");
	ck_assert_str_eq(b->title, "b");
	ck_assert_int_eq(b->role, CATALOG_ROLE_DRIVER);
	ck_assert_int_eq(b->ttl_seconds, 120);
	ck_assert_int_eq(b->max_ttl_seconds, 86400);
	ck_assert_int_eq(b->timeout_seconds, 20);
	ck_assert(b->wake);
	ck_assert_int_eq(b->redelivery, CATALOG_REDELIVERY_ON_RECONNECT);
	ck_assert_uint_eq(b->param_count, 0);
	const struct catalog_command *a = catalog_find(c, "a");
	ck_assert_int_eq(a->role, CATALOG_ROLE_OWNER);
	ck_assert_int_eq(a->ttl_seconds, 3600);
	ck_assert(!a->wake);
	ck_assert_int_eq(a->step_up_seconds, 300);
	catalog_free(c);
}
END_TEST

static const struct mistake {
	const char *text, *line; /* what follows the file's name */
} mistakes[] = {
	{ "", ":1: commands: must be given" },
	{ "commands: []\n", ":1: commands: must be a map of commands, not a list" },
	{ "commands:\n", ":1: commands: must be a map of commands, not null" },
	{ "comands: {}\n", ":1: comands: is not a known key; is commands meant?" },
	{ "commands:\n  a b: {}\n", ":2: commands.a b: is no name of a command" },
	{ "commands:\n  a: { tll: 5s }\n", ":2: commands.a.tll: is not a known key; is ttl meant?" },
	{ "commands:\n  a: { ttl: 5 }\n", ":2: commands.a.ttl: must be a duration of whole seconds" },
	{ "commands:\n  a: { ttl: 1500ms }\n", ":2: commands.a.ttl: must be a duration of whole seconds" },
	{ "commands:\n  a: { ttl: 8d, max_ttl: 8d }\n",
		":2: commands.a.ttl: must be a duration of whole seconds such as 30s or 5m, from 1s to 7d" },
	{ "commands:\n  a: { ttl: 2h, max_ttl: 1h }\n", ":2: commands.a: ttl must not be greater than max_ttl" },
	{ "commands:\n  a: { role: king }\n",
		":2: commands.a.role: must be one of viewer, driver or owner, not \"king\"" },
	{ "commands:\n  a: { redelivery: sometimes }\n",
		":2: commands.a.redelivery: must be one of on_reconnect or never" },
	{ "commands:\n  a: { supersedes: [b] }\n", ":2: commands.a: supersedes b, which the catalogue does not have" },
	{ "commands:\n  a:\n    params: { p: {} }\n", ":3: commands.a.params.p.type: must be given" },
	{ "commands:\n  a:\n    params: [p]\n", ":3: commands.a.params: must be a map of params, not a list" },
	{ "commands:\n  a:\n    params: { p: { type: text } }\n",
		":3: commands.a.params.p.type: must be one of string, integer, number or boolean" },
	{ "commands:\n  a:\n    params: { p: { type: string, min: 1 } }\n",
		":3: commands.a.params.p: min and max are for" },
	{ "commands:\n  a:\n    params: { p: { type: boolean, enum: [a] } }\n",
		":3: commands.a.params.p: enum, max_length and pattern are for a string" },
	{ "commands:\n  a:\n    params: { p: { type: integer, min: 5, max: 4 } }\n",
		":3: commands.a.params.p: min must not be greater" },
	{ "commands:\n  a:\n    params: { p: { type: integer, min: 1.5 } }\n",
		":3: commands.a.params.p: min and max must be whole numbers" },
	{ "commands:\n  a:\n    params: { p: { type: string, pattern: \"[\" } }\n",
		":3: commands.a.params.p: pattern cannot be used: a bracket is not closed" },
	{ "commands:\n  a:\n    params: { p: { type: string, pattern: 'a{40000}' } }\n",
		":3: commands.a.params.p: pattern cannot be used: " },
	{ "commands:\n  a:\n    params: { p: { type: string, enum: [x], default: y } }\n",
		":3: commands.a.params.p: default must be one of x" },
	{ "commands:\n  a:\n    params: { p: { type: integer, default: \"1\" } }\n",
		":3: commands.a.params.p: default must be a whole number" },
	{ "commands:\n  a:\n    params: { p: { type: string, enum: [1] } }\n",
		":3: commands.a.params.p.enum: must be a list of texts, not the bare 1" },
};

START_TEST(a_mistake_is_told_with_file_line_and_key)
{
	const struct mistake *m = &mistakes[_i];
	struct config_error error = { "" };

	ck_assert_ptr_null(read_text(m->text, &error));
	ck_assert(strncmp(error.line, file, strlen(file)) == 0);
	const char *line = error.line + strlen(file);
	ck_assert_msg(strncmp(line, m->line, strlen(m->line)) == 0, "expected: %s\n     got: %s", m->line, line);
}
END_TEST

static const char params_catalog[] = "commands:\n"
				     "  c:\n"
				     "    params:\n"
				     "      door: { type: string, enum: [all, driver], default: all }\n"
				     "      code: { type: string, pattern: \"^[0-9]+$\", max_length: 4 }\n"
				     "      name: { type: string, max_length: 3 }\n"
				     "      temp: { type: number, min: 16, max: 28.5, default: 21 }\n"
				     "      minutes: { type: integer, min: 1, max: 60 }\n"
				     "      big: { type: integer }\n"
				     "      loud: { type: boolean, default: false }\n"
				     "  r:\n"
				     "    params:\n"
				     "      must: { type: string, required: true }\n"
				     "  none: {}\n";

/* What a caller gives, and either what the vehicle gets or, beginning with "params", what is told. */
static const struct given {
	const char *command, *params, *expected;
} givens[] = {
	{ "c", "{}", "{\"door\":\"all\",\"temp\":21,\"loud\":false}" },
	{ "c", "{\"door\":\"driver\",\"temp\":16.5,\"loud\":true}",
		"{\"door\":\"driver\",\"temp\":16.5,\"loud\":true}" },
	{ "c", "{\"code\":\"0042\",\"minutes\":60,\"temp\":28.5}",
		"{\"code\":\"0042\",\"minutes\":60,\"temp\":28.5,\"door\":\"all\",\"loud\":false}" },
	{ "c", "{\"minutes\":21.0}", "{\"minutes\":21,\"door\":\"all\",\"temp\":21,\"loud\":false}" },
	{ "c", "{\"name\":\"äöü\"}", "{\"name\":\"äöü\",\"door\":\"all\",\"temp\":21,\"loud\":false}" },
	{ "c", "{\"big\":9223372036854775807}",
		"{\"big\":9223372036854775807,\"door\":\"all\",\"temp\":21,\"loud\":false}" },
	{ "c", "{\"door\":\"roof\"}", "params.door: must be one of all, driver" },
	{ "c", "{\"door\":null}", "params.door: must be one of all, driver" },
	{ "c", "{\"code\":\"12a\"}", "params.code: must be a string, of at most 4 characters, that matches ^[0-9]+$" },
	{ "c", "{\"code\":\"12345\"}", "params.code: must be a string" },
	{ "c", "{\"code\":\"1\\u0000\"}", "params.code: must be a string" },
	{ "c", "{\"name\":\"äöüß\"}", "params.name: must be a string, of at most 3 characters" },
	{ "c", "{\"temp\":\"21\"}", "params.temp: must be a number, at least 16, at most 28.5" },
	{ "c", "{\"temp\":28.6}", "params.temp: must be a number" },
	{ "c", "{\"minutes\":0}", "params.minutes: must be a whole number, at least 1, at most 60" },
	{ "c", "{\"minutes\":1.5}", "params.minutes: must be a whole number" },
	{ "c", "{\"minutes\":true}", "params.minutes: must be a whole number" },
	{ "c", "{\"big\":1e300}", "params.big: must be a whole number" },
	{ "c", "{\"loud\":1}", "params.loud: must be true or false" },
	{ "c", "{\"windows\":1}", "params.windows: c has no such param" },
	{ "c", "{\"\\u00e4 b\":1}", "params: c has no param of such a name" },
	{ "c", "[]", "params: must be an object" },
	{ "r", "{}", "params.must: must be given" },
	{ "r", "{\"must\":\"\"}", "{\"must\":\"\"}" },
	{ "none", "{}", "{}" },
	{ "none", "{\"a\":1}", "params.a: none has no such param" },
};

START_TEST(params_are_checked)
{
	const struct given *g = &givens[_i];
	struct config_error error = { "" };
	const struct catalog *c = read_text(params_catalog, &error);
	json_auto_t *params = json_loads(g->params, JSON_ALLOW_NUL, NULL), *whole = NULL;
	char detail[256] = "";

	ck_assert_msg(c != NULL, "%s", error.line);
	const struct fault *f =
		catalog_check_params(catalog_find(c, g->command), params, &whole, detail, sizeof(detail));
	if (*g->expected == 'p') {
		ck_assert_ptr_eq(f, &FAULT_INVALID_PARAMS);
		ck_assert_ptr_null(whole);
		ck_assert_msg(strncmp(detail, g->expected, strlen(g->expected)) == 0, "expected: %s\n     got: %s",
			g->expected, detail);
	} else {
		json_auto_t *expected = json_loads(g->expected, 0, NULL);
		ck_assert_msg(f == NULL, "%s", detail);
		ck_assert_msg(json_equal(whole, expected), "%s", json_dumps(whole, 0));
	}
	catalog_free(c);
}
END_TEST

/* As an app reads them that has the schema: ECMA-262. */
static const struct matching {
	const char *pattern;
	const char *matched[5], *unmatched[5];
} matchings[] = {
	{ "^[0-9]+$", { "1", "0042" }, { "", "1a", "d" } },
	{ "^\\d{2,3}$", { "12", "123" }, { "dd", "1", "1234" } },
	{ "^\\D\\W\\S$", { "a-b", "ä b" }, { "1-b", "aab", "a- " } },
	{ "^[\\d-]+$", { "1-2", "-" }, { "d", "a", "" } },
	{ "^[-\\w.]+@\\w+$", { "a.b-c_1@d" }, { "a b@d", "@d" } },
	{ "^[^\\s\\d]$", { "a", "ä", "-" }, { "1", " ", "\t" } },
	{ "^[\\s\\S]$", { "a", "ä", "\n" }, { "", "ab" } },
	{ "^[!-~]+$", { "]^-[\\aZ09~!" }, { " ", "ä" } },
	{ "^[\\]^[-]+$", { "]", "^", "[", "-" }, { "\\", "a" } },
	{ "^[+--]+$", { "+", ",", "-" }, { ".", "*" } },
	{ "^[[-a]+$", { "[", "]", "^", "a" }, { "b", "Z", "-" } },
	{ "^[A-\\]]+$", { "A", "[", "]", "\\" }, { "^", "@", "a" } },
	{ "^[\\^]+$", { "^" }, { "\\", "a" } },
	{ "^.{3}$", { "abc", "äöü", "a€😀" }, { "ab", "a\nb", "äöüß" } },
	{ "^ä+$", { "ä", "ää" }, { "ö", "" } },
	{ "^(?:ab|c)+?$", { "ab", "cab" }, { "", "a" } },
	{ "^a(b(c)?)*$", { "a", "abbc" }, { "ac" } },
	{ "^\\$\\{x\\}\\.\\/$", { "${x}./" }, { "${x}a/" } },
	{ "^x]}$", { "x]}" }, { "x" } },
	{ "b", { "abc" }, { "ac" } },
	{ "^(a+)+$", { "aaaa" }, { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab" } },
};

static bool is_matched(const struct catalog *c, const char *text)
{
	json_auto_t *params = json_pack("{s:s}", "p", text), *whole = NULL;
	char detail[256];
	return !catalog_check_params(catalog_find(c, "c"), params, &whole, detail, sizeof(detail));
}

START_TEST(patterns_are_those_of_ecma_262)
{
	const struct matching *m = &matchings[_i];
	struct config_error error = { "" };
	char text[256];

	snprintf(text, sizeof(text), "commands: { c: { params: { p: { type: string, pattern: '%s' } } } }\n",
		m->pattern);
	const struct catalog *c = read_text(text, &error);
	ck_assert_msg(c != NULL, "%s", error.line);
	ck_assert_ptr_nonnull(strstr(catalog_json(c), "\"pattern\""));
	for (size_t i = 0; i < 5 && m->matched[i]; i++)
		ck_assert_msg(is_matched(c, m->matched[i]), "%s does not match \"%s\"", m->pattern, m->matched[i]);
	for (size_t i = 0; i < 5 && m->unmatched[i]; i++)
		ck_assert_msg(!is_matched(c, m->unmatched[i]), "%s matches \"%s\"", m->pattern, m->unmatched[i]);
	catalog_free(c);
}
END_TEST

static const char *const no_patterns[] = { "(?=a)", "(?!a)", "(?<=a)b", "(?<n>a)", "(?i)a", "\\bfoo\\b", "(a)\\1",
	"\\p{L}", "\\u00e4", "\\x41", "\\cA", "\\k<n>", "\\0", "a\\", "[\\b]", "[a\\", "[]", "[]a]", "[^\\s\\S]",
	"[z-a]", "[a-\\d]", "[[:alpha:]]", "[äö]", "[", "[a", "(a", "a)", "*a", "a**", "a{2}{3}", "(*a)", "|*", "^*",
	"a{,3}", "a{x}", "a{3,2}", "{" };

START_TEST(a_pattern_that_would_be_read_otherwise_is_refused)
{
	struct config_error error = { "" };
	char text[256];

	snprintf(text, sizeof(text), "commands: { c: { params: { p: { type: string, pattern: '%s' } } } }\n",
		no_patterns[_i]);
	ck_assert_msg(!read_text(text, &error), "%s", no_patterns[_i]);
	ck_assert_msg(strstr(error.line, "c.params.p: pattern cannot be used: ") != NULL, "%s", error.line);
}
END_TEST

START_TEST(absent_params_are_the_defaults)
{
	struct config_error error = { "" };
	const struct catalog *c = read_text(params_catalog, &error);
	json_auto_t *whole = NULL;
	char detail[16];

	ck_assert_ptr_null(catalog_check_params(catalog_find(c, "c"), NULL, &whole, detail, sizeof(detail)));
	ck_assert_uint_eq(json_object_size(whole), 3);
	/* what one request does to its params another never sees */
	json_object_clear(whole);
	json_auto_t *again = NULL;
	ck_assert_ptr_null(catalog_check_params(catalog_find(c, "c"), NULL, &again, detail, sizeof(detail)));
	ck_assert_uint_eq(json_object_size(again), 3);
	catalog_free(c);
}
END_TEST

START_TEST(a_detail_is_cut_between_characters)
{
	struct config_error error = { "" };
	const struct catalog *c =
		read_text("commands: { c: { params: { p: { type: string, enum: [ää] } } } }\n", &error);
	json_auto_t *params = json_pack("{s:s}", "p", "b"), *whole = NULL;
	char detail[64];

	for (size_t size = 1; size < sizeof(detail); size++) {
		ck_assert_ptr_nonnull(catalog_check_params(catalog_find(c, "c"), params, &whole, detail, size));
		json_auto_t *text = json_string(detail);
		ck_assert_msg(text != NULL, "not UTF-8 at %zu", size);
	}
	ck_assert_str_eq(detail, "params.p: must be one of ää");
	catalog_free(c);
}
END_TEST

START_TEST(the_catalogue_is_told_as_json_schema)
{
	struct config_error error = { "" };
	const struct catalog *c =
		read_text("commands:\n"
			  "  c:\n"
			  "    title: C\n"
			  "    step_up: 5m\n"
			  "    params:\n"
			  "      door: { type: string, enum: [all], default: all, max_length: 9, pattern: a }\n"
			  "      n: { type: integer, min: 1, max: 2, required: true }\n"
			  "  d:\n",
			&error);
	static const char expected_text[] =
		"{\"commands\":{\"c\":{\"title\":\"C\",\"role\":\"driver\",\"ttl_seconds\":120,\"max_ttl_seconds\":"
		"86400,"
		"\"timeout_seconds\":20,\"wake\":true,\"redelivery\":\"on_reconnect\",\"supersedes\":[],\"step_up_"
		"seconds\":300,"
		"\"params\":{\"$schema\":\"https://json-schema.org/draft/2020-12/"
		"schema\",\"type\":\"object\",\"properties\":{"
		"\"door\":{\"type\":\"string\",\"enum\":[\"all\"],\"default\":\"all\",\"maxLength\":9,\"pattern\":"
		"\"a\"},"
		"\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":2}},\"required\":[\"n\"],"
		"\"additionalProperties\":false}},"
		"\"d\":{\"title\":\"d\",\"role\":\"driver\",\"ttl_seconds\":120,\"max_ttl_seconds\":86400,"
		"\"timeout_seconds\":20,\"wake\":true,\"redelivery\":\"on_reconnect\",\"supersedes\":[],\"step_up_"
		"seconds\":null,"
		"\"params\":{\"$schema\":\"https://json-schema.org/draft/2020-12/"
		"schema\",\"type\":\"object\",\"properties\":{},"
		"\"required\":[],\"additionalProperties\":false}}}}";

	ck_assert_msg(c != NULL, "%s", error.line);
	json_auto_t *told = json_loads(catalog_json(c), 0, NULL), *expected = json_loads(expected_text, 0, NULL);
	ck_assert_ptr_nonnull(expected);
	ck_assert_msg(json_equal(told, expected), "%s", json_dumps(told, 0));
	catalog_free(c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("catalog");
	TCase *tests = tcase_create("catalog");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, the_example_is_a_catalogue);
	tcase_add_test(tests, a_bare_command_has_the_defaults);
	tcase_add_loop_test(tests, a_mistake_is_told_with_file_line_and_key, 0, sizeof(mistakes) / sizeof(*mistakes));
	tcase_add_loop_test(tests, params_are_checked, 0, sizeof(givens) / sizeof(*givens));
	tcase_add_loop_test(tests, patterns_are_those_of_ecma_262, 0, sizeof(matchings) / sizeof(*matchings));
	tcase_add_loop_test(tests, a_pattern_that_would_be_read_otherwise_is_refused, 0,
		sizeof(no_patterns) / sizeof(*no_patterns));
	tcase_add_test(tests, absent_params_are_the_defaults);
	tcase_add_test(tests, a_detail_is_cut_between_characters);
	tcase_add_test(tests, the_catalogue_is_told_as_json_schema);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
