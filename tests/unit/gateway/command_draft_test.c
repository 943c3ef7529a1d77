/* command_draft_test.c - how recent a login has to be for what demands one, to the microsecond; and whose clock is in which id. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/ids.h"
#include "base/loop.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/operations/command_draft.h"
#include "tests/suite.h"

#define NOW_US (INT64_C(1800000000) * 1000000)
#define SECOND_US INT64_C(1000000)

static struct loop *loop;
static struct api api;
static const struct catalog *catalog;
static char refused_for[32];

static void note_refused(struct refused *refused, const struct api_call *call, const char *why)
{
	(void)refused, (void)call;
	snprintf(refused_for, sizeof(refused_for), "%s", why);
}

static void setup(void)
{
	static const char text[] = "commands:\n"
				   "  immobiliser.release: { role: owner, ttl: 1m, step_up: 5m }\n"
				   "  doors.unlock: { role: driver, ttl: 1m }\n";
	char file[] = "/tmp/keyfob-draft-XXXXXX";
	struct config_error error = { "" };
	int fd = mkstemp(file);

	ck_assert_int_eq(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	catalog = catalog_read(file, &error);
	ck_assert_msg(catalog != NULL, "%s", error.line);
	close(fd);
	unlink(file);
	loop = loop_new_virtual(NOW_US);
	api = (struct api){ .loop = loop, .catalog = catalog, .note_refused = note_refused };
	refused_for[0] = '\0';
}

static void teardown(void)
{
	loop_free(loop);
	catalog_free(catalog);
}

static void run(struct api_call *call)
{
	struct command_draft draft = { 0 };

	if (command_draft_read(call, &draft))
		api_call_reply(call, strdup("{}"), 2);
	command_draft_done(&draft);
}

static const char *const params[] = { "name", NULL };
static const struct api_operation operation = {
	.name = "draft", .scope = SCOPE_COMMANDS_WRITE, .params = params, .run = run
};

static bool has_ended;

static void on_done(struct api_call *call)
{
	(void)call;
	has_ended = true;
}

/* NULL: it may be sent. */
static const struct fault *verdict_of(const char *name, int64_t auth_time_us, char detail[256])
{
	struct caller caller = { .subject = "alice", .scopes = SCOPE_COMMANDS_WRITE, .auth_time_us = auth_time_us };
	struct api_call *call =
		api_call_new(&api, &operation, &caller, json_pack("{s:s}", "name", name), "r1", NULL, on_done);

	has_ended = false;
	api_call_start(call);
	loop_advance(loop, 0);
	ck_assert(has_ended);
	const struct fault *fault = call->fault;
	snprintf(detail, 256, "%s", fault ? call->detail : "");
	api_call_free(call);
	return fault;
}

static const struct {
	int64_t auth_time_us; /* 0: the token does not say */
	bool is_recent;
} logins[] = {
	{ NOW_US, true }, { NOW_US - 299 * SECOND_US, true }, { NOW_US - 300 * SECOND_US, true },
	{ NOW_US - 300 * SECOND_US - 1, false }, { NOW_US - 301 * SECOND_US, false }, { 1, false }, { 0, false },
	{ NOW_US + 30 * SECOND_US, true }, /* two clocks may differ by so much */
	{ NOW_US + 30 * SECOND_US + 1, false },
	{ NOW_US * 1000, false }, /* of an issuer that counts in milliseconds: it would never be old */
};

START_TEST(a_login_is_recent_to_the_last_moment)
{
	char detail[256];
	const struct fault *fault = verdict_of("immobiliser.release", logins[_i].auth_time_us, detail);

	ck_assert_ptr_eq(fault, logins[_i].is_recent ? NULL : &FAULT_STEP_UP_REQUIRED);
	ck_assert_str_eq(detail, fault ? "max_age=300" : "");
	ck_assert_str_eq(refused_for, fault ? "step-up" : "");
	ck_assert_ptr_null(verdict_of("doors.unlock", logins[_i].auth_time_us, detail));
}
END_TEST

/* The same call, while time goes by. */
START_TEST(a_login_grows_old)
{
	char detail[256];

	ck_assert_ptr_null(verdict_of("immobiliser.release", NOW_US, detail));
	loop_advance(loop, 300000);
	ck_assert_ptr_null(verdict_of("immobiliser.release", NOW_US, detail));
	loop_advance(loop, 1);
	ck_assert_ptr_eq(verdict_of("immobiliser.release", NOW_US, detail), &FAULT_STEP_UP_REQUIRED);
}
END_TEST

/* The id of a request is by the node's clock, which may be wrong; that of a command by the database's, whatever was asked before. */
START_TEST(a_wrong_clock_is_in_the_ids_of_requests_alone)
{
	char id[UUID_TEXT_SIZE], next[UUID_TEXT_SIZE];
	struct caller caller = { .subject = "olga", .scopes = SCOPES_ALL };

	loop_jump_wall_clock(loop, 3600 * SECOND_US);
	api_call_free(api_call_new(&api, &operation, &caller, json_object(), NULL, NULL, on_done));
	uuid7_make(NOW_US, id);
	uuid7_floor(NOW_US + SECOND_US, next);
	ck_assert_str_lt(id, next);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command_draft");
	TCase *ids = tcase_create("ids"), *tc = tcase_create("step_up");

	tcase_add_checked_fixture(ids, setup, teardown);
	tcase_add_test(ids, a_wrong_clock_is_in_the_ids_of_requests_alone);
	suite_add_tcase(suite, ids);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_login_is_recent_to_the_last_moment, 0, sizeof(logins) / sizeof(logins[0]));
	tcase_add_test(tc, a_login_grows_old);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
