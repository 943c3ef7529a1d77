/* log_test.c - the lines as they leave: standard error is one end of a socket that keeps writes apart. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/rfc3339.h"
#include "tests/suite.h"

static int reader, real_stderr;
static char line[2 * PIPE_BUF];

static void set_up(void)
{
	int ends[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	real_stderr = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	reader = ends[0];
}

static void tear_down(void)
{
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(reader);
}

/* One write is one packet. NULL when nothing was written. */
static const char *next_write(void)
{
	ssize_t len = recv(reader, line, sizeof line - 1, 0);
	if (len < 0)
		return NULL;
	line[len] = '\0';
	return line;
}

/* The next line without its time, which is checked. */
static const char *next_logfmt(void)
{
	const char *text = next_write();
	int64_t unix_us;
	char time[RFC3339_SIZE];
	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(strncmp(text, "time=", 5), 0);
	memcpy(time, text + 5, RFC3339_SIZE - 1);
	time[RFC3339_SIZE - 1] = '\0';
	ck_assert(rfc3339_read(time, &unix_us));
	return text + 5 + RFC3339_SIZE;
}

START_TEST(writes_logfmt)
{
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	log_info("mqtt", "connected to the broker", LOG_TEXT("host", "127.0.0.1"), LOG_INT("port", 1883));
	ck_assert_str_eq(
		next_logfmt(), "level=info area=mqtt message=\"connected to the broker\" host=127.0.0.1 port=1883\n");
	log_error("door", "closed");
	ck_assert_str_eq(next_logfmt(), "level=error area=door message=closed\n");
}
END_TEST

START_TEST(quotes_what_logfmt_cannot_say_bare)
{
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	log_warn("a", "b", LOG_TEXT("empty", ""), LOG_TEXT("quote", "a\"b"), LOG_TEXT("equals", "a=b"),
		LOG_TEXT("line", "a\nlevel=error"), LOG_TEXT("backslash", "a\\b"), LOG_TEXT("none", NULL),
		LOG_TEXT("utf8", "\xc3\xa4"), LOG_TEXT("wrong", "\xff"));
	ck_assert_str_eq(next_logfmt(),
		"level=warn area=a message=b empty=\"\" quote=\"a\\\"b\" equals=\"a=b\" line=\"a\\nlevel=error\" "
		"backslash=\"a\\\\b\" none=null utf8=\"\xc3\xa4\" wrong=\"\\ufffd\"\n");
}
END_TEST

START_TEST(writes_json)
{
	log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
	log_debug("db", "lost", LOG_TEXT("why", "a\"b\n\xff"), LOG_INT("after_ms", INT64_MIN), LOG_TEXT("none", NULL));
	const char *text = next_write();
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	json_auto_t *object = json_read(text, strlen(text));
	ck_assert_ptr_nonnull(object);
	int64_t unix_us;
	ck_assert(rfc3339_read(json_text_at(object, "time"), &unix_us));
	ck_assert_str_eq(json_text_at(object, "level"), "debug");
	ck_assert_str_eq(json_text_at(object, "area"), "db");
	ck_assert_str_eq(json_text_at(object, "message"), "lost");
	ck_assert_str_eq(json_text_at(object, "why"), "a\"b\n\xef\xbf\xbd");
	ck_assert_int_eq(json_integer_value(json_object_get(object, "after_ms")), INT64_MIN);
	ck_assert(json_is_null(json_object_get(object, "none")));
}
END_TEST

static int asked;

static const char *ask(void)
{
	asked++;
	return "x";
}

START_TEST(is_silent_below_its_level_and_computes_nothing)
{
	log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
	log_info("a", "b", LOG_TEXT("c", ask()));
	ck_assert_ptr_null(next_write());
	ck_assert_int_eq(asked, 0);
	log_warn("a", "b", LOG_TEXT("c", ask()));
	ck_assert_ptr_nonnull(next_write());
	ck_assert_int_eq(asked, 1);
}
END_TEST

/* A line of ten long values: each is cut, and what does not fit into one write of a pipe is left out. */
static const char *write_long(enum log_format format, const char *unit)
{
	char value[3000];
	struct text t = { 0 };
	while (t.len < sizeof value - 8)
		text_add(&t, unit);
	memcpy(value, t.data, t.len + 1);
	text_free(&t);
	log_configure(LOG_LEVEL_INFO, format);
	log_info("a", "b", LOG_TEXT("f0", value), LOG_TEXT("f1", value), LOG_TEXT("f2", value), LOG_TEXT("f3", value),
		LOG_TEXT("f4", value), LOG_TEXT("f5", value), LOG_TEXT("f6", value), LOG_TEXT("f7", value),
		LOG_TEXT("f8", value), LOG_TEXT("f9", value));
	const char *text = next_write();
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_le(strlen(text), PIPE_BUF);
	ck_assert_ptr_null(strstr(text, "f9"));
	return text;
}

START_TEST(keeps_a_line_short_enough_for_one_write)
{
	static const char *const units[] = { "x", "\xff", "\xe2\x82\xac", "\n", "\"" };
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		const char *text = write_long(LOG_FORMAT_LOGFMT, units[i]);
		ck_assert_str_eq(strstr(text, " cut=true"), " cut=true\n");
		text = write_long(LOG_FORMAT_JSON, units[i]);
		json_auto_t *object = json_read(text, strlen(text));
		ck_assert(json_is_true(json_object_get(object, "cut")));
	}
}
END_TEST

static size_t fill(void)
{
	size_t lines = 0;

	/* 64 KiB are in a pipe's way, and none may stop us */
	for (; lines < 2000; lines++)
		log_info("test", "a line of some length that nobody reads for a long time");
	return lines;
}

static void assert_lost(int from, size_t written)
{
	static char all[1 << 18];
	size_t len = 0, taken = 0;
	ssize_t n;
	long long lost;

	while ((n = read(from, all + len, sizeof(all) - 1 - len)) > 0)
		len += (size_t)n;
	all[len] = '\0';
	for (const char *at = all; (at = strchr(at, '\n')) != NULL; at++)
		taken++;
	ck_assert(len > 0 && all[len - 1] == '\n');
	ck_assert_uint_lt(taken, written);
	log_info("test", "somebody reads again");
	n = read(from, all, sizeof(all) - 1);
	ck_assert_int_gt(n, 0);
	all[n] = '\0';
	if (!strstr(all, "lines=")) /* a socket brings one at a time */
		n = read(from, all, sizeof(all) - 1);
	const char *told = strstr(all, "lines=");
	ck_assert_ptr_nonnull(told);
	ck_assert_int_eq(sscanf(told, "lines=%lld", &lost), 1);
	ck_assert_uint_eq(taken + (size_t)lost, written);
}

START_TEST(never_waits_for_the_reader_of_a_pipe)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, 0), 0);
	dup2(ends[1], STDERR_FILENO);
	log_never_wait();
	ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0); /* others share it */
	size_t written = fill();
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	assert_lost(ends[0], written);
}
END_TEST

START_TEST(never_waits_for_the_reader_of_a_socket)
{
	fcntl(STDERR_FILENO, F_SETFL, 0);
	log_never_wait();
	assert_lost(reader, fill());
}
END_TEST

START_TEST(leaves_errno_alone_and_survives_a_closed_reader)
{
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	dup2(open("/dev/full", O_WRONLY), STDERR_FILENO);
	errno = ENOENT;
	log_info("a", "b");
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tests = tcase_create("log");
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, writes_logfmt);
	tcase_add_test(tests, quotes_what_logfmt_cannot_say_bare);
	tcase_add_test(tests, writes_json);
	tcase_add_test(tests, is_silent_below_its_level_and_computes_nothing);
	tcase_add_test(tests, keeps_a_line_short_enough_for_one_write);
	tcase_add_test(tests, leaves_errno_alone_and_survives_a_closed_reader);
	tcase_add_test(tests, never_waits_for_the_reader_of_a_pipe);
	tcase_add_test(tests, never_waits_for_the_reader_of_a_socket);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
