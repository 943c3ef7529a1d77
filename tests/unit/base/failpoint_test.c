/* failpoint_test.c - a place that is armed by a file; and nothing else does anything. */
#include "base/failpoint.h"
#include "tests/suite.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/keyfob-failpoint-XXXXXX";

static void arm(const char *name, const char *action)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(action, file);
	fclose(file);
}

static bool was_hit(const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s.hit", folder, name);
	return unlink(path) == 0;
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	failpoint_folder = folder;
}

static void tear_down(void)
{
	ck_assert_int_eq(rmdir(folder), 0); /* every file was taken */
}

START_TEST(nothing_happens_where_nothing_is_armed)
{
	ck_assert(!FAILPOINT("one"));
	ck_assert(!FAILPOINT_IS_ARMED("one"));
	ck_assert(!was_hit("one"));
	failpoint_folder = NULL;
	arm("one", "fail");
	ck_assert(!FAILPOINT("one"));
	failpoint_folder = folder;
	ck_assert(FAILPOINT("one"));
	ck_assert(was_hit("one"));
}
END_TEST

START_TEST(an_armed_place_fails_once)
{
	arm("one", "fail\n");
	ck_assert(FAILPOINT_IS_ARMED("one"));
	ck_assert(!FAILPOINT("two"));
	ck_assert(FAILPOINT("one"));
	ck_assert(!FAILPOINT("one"));
	ck_assert(!FAILPOINT_IS_ARMED("one"));
	ck_assert(was_hit("one"));
}
END_TEST

START_TEST(a_pause_stands_still_and_goes_on)
{
	int64_t begun = now_ms();
	arm("one", "pause 60");
	ck_assert(!FAILPOINT("one"));
	ck_assert_int_ge(now_ms() - begun, 60);
	ck_assert(was_hit("one"));
}
END_TEST

START_TEST(a_kill_leaves_no_time_for_anything)
{
	int status;
	arm("one", "kill");
	pid_t child = fork();
	if (child == 0) {
		FAILPOINT("one");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	ck_assert(was_hit("one"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("failpoint");
	TCase *tests = tcase_create("failpoint");
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, nothing_happens_where_nothing_is_armed);
	tcase_add_test(tests, an_armed_place_fails_once);
	tcase_add_test(tests, a_pause_stands_still_and_goes_on);
	tcase_add_test(tests, a_kill_leaves_no_time_for_anything);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
