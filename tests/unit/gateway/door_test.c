/* door_test.c - what a door says whose node is full, and what that leaves behind. */
#include "gateway/door/door.h"

#include <arpa/inet.h>
#include <check.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/ids.h"
#include "base/loop.h"
#include "gateway/config_lists.h"
#include "tests/suite.h"

#define HOUR_US INT64_C(3600000000)

static int dial(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Of a node that has room for nobody. */

static struct loop *loop;
static struct door *door;
static int fd;

static void set_up(void)
{
	static const struct address here = { .text = "127.0.0.1:0", .host = "127.0.0.1" };

	loop = loop_new();
	door = door_new(loop, &(struct door_options){ .counts = true });
	ck_assert(door_listen(door, &here));
	fd = dial(door_port(door));
}

static void tear_down(void)
{
	close(fd);
	door_close(door);
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
}

static void assert_refused(void)
{
	char answer[1024] = "";

	uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert_int_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
	ck_assert_ptr_nonnull(strstr(answer, "urn:keyfob:problem:overloaded"));
	ck_assert_int_eq(recv(fd, answer, sizeof(answer), 0), 0); /* and no reset, that takes an answer away */
}

START_TEST(who_has_asked_already_hears_the_refusal)
{
	static const char request[] = "GET /v1/me HTTP/1.1\r\nHost: h\r\n\r\n";

	ck_assert_int_eq(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
	assert_refused();
}
END_TEST

/* The id that it gives its refusal is by the node's clock, which may be wrong; that of a command by the database's, whoever was refused. */
START_TEST(who_is_refused_moves_no_other_id)
{
	char id[UUID_TEXT_SIZE], next[UUID_TEXT_SIZE];
	int64_t earlier_us = loop_unix_us(loop) - HOUR_US;

	assert_refused();
	uuid7_make(earlier_us, id);
	uuid7_floor(earlier_us + HOUR_US / 2, next);
	ck_assert_str_lt(id, next);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("door");
	TCase *tests = tcase_create("door");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, who_has_asked_already_hears_the_refusal);
	tcase_add_test(tests, who_is_refused_moves_no_other_id);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
