/* handle_test.c - a feed's handle for whose properties libmosquitto has no memory ends the process by its line, not by an assertion. */
#include "base/mqtt/handle.h"

#include <check.h>
#include <mosquitto.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mqtt/link.h"
#include "tests/suite.h"

/* In the place of the library's, which copies the properties first. */
int mosquitto_connect_bind_v5(struct mosquitto *handle, const char *host, int port, int keepalive, const char *address,
	const mosquitto_property *properties)
{
	(void)handle, (void)host, (void)port, (void)keepalive, (void)address;
	ck_assert_ptr_nonnull(properties);
	return MOSQ_ERR_NOMEM;
}

static void make_one(void)
{
	const struct mqtt_broker broker = { .host = "127.0.0.1", .port = 1883 };
	const struct mqtt_link_options options = { .client_id = "feed", .feed = true, .session_expiry_seconds = 60 };
	const char *reason;

	handle_new(&broker, &options, &reason);
}

START_TEST(without_memory_it_says_so)
{
	char said[256] = "";
	int pipe_ends[2], status;

	ck_assert_int_eq(pipe(pipe_ends), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		dup2(pipe_ends[1], STDERR_FILENO);
		make_one();
		_exit(0);
	}
	close(pipe_ends[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_gt(read(pipe_ends[0], said, sizeof(said) - 1), 0);
	close(pipe_ends[0]);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert_str_eq(said, "keyfob: out of memory\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("handle");
	TCase *tests = tcase_create("handle");
	mosquitto_lib_init();
	tcase_add_test(tests, without_memory_it_says_so);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
