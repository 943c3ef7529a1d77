/* broker.c - starts and kills a mosquitto. */
#include "broker.h"

#include <arpa/inet.h>
#include <check.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOSQUITTO "/usr/sbin/mosquitto"

static void run_mosquitto(const struct test_broker *, int log, pid_t parent) __attribute__((noreturn));
static void wait_until_it_listens(int log);

int free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

/* As root mosquitto becomes another user, who cannot read the folder, unless it is told not to. */
void test_broker_make(struct test_broker *b, const char *config)
{
	char path[128];
	*b = (struct test_broker){ .folder = "/tmp/keyfob-mqtt-XXXXXX", .port = free_port() };
	ck_assert_ptr_nonnull(mkdtemp(b->folder));
	snprintf(path, sizeof path, "%s/mosquitto.conf", b->folder);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fprintf(file, "user root\nlistener %d 127.0.0.1\nlog_dest stderr\nset_tcp_nodelay true\n", b->port);
	fprintf(file, "max_inflight_messages 1000\nmax_queued_messages 1000000\n%s\n",
		config ? config : "allow_anonymous true");
	fclose(file);
}

void test_broker_start(struct test_broker *b)
{
	int ends[2];
	pid_t parent = getpid();
	ck_assert_int_eq(pipe(ends), 0);
	b->pid = fork();
	ck_assert_int_ge(b->pid, 0);
	if (b->pid == 0)
		run_mosquitto(b, ends[1], parent);
	close(ends[1]);
	b->log = ends[0];
	wait_until_it_listens(b->log);
}

static void run_mosquitto(const struct test_broker *b, int log, pid_t parent)
{
	char path[128];
	snprintf(path, sizeof path, "%s/mosquitto.conf", b->folder);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	dup2(log, STDERR_FILENO);
	execl(MOSQUITTO, "mosquitto", "-c", path, (char *)NULL);
	_exit(127);
}

static void wait_until_it_listens(int log)
{
	char text[4096] = "";
	size_t len = 0;
	while (!strstr(text, " running")) {
		ssize_t got = read(log, text + len, sizeof text - 1 - len);
		if (got <= 0)
			ck_abort_msg("mosquitto did not start: %s", text);
		len += (size_t)got;
		text[len] = '\0';
	}
}

void test_broker_kill(struct test_broker *b)
{
	if (!b->pid)
		return;
	kill(b->pid, SIGKILL);
	waitpid(b->pid, NULL, 0);
	close(b->log);
	b->pid = 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status, (void)kind, (void)place;
	return remove(path);
}

void test_broker_done(struct test_broker *b)
{
	test_broker_kill(b);
	nftw(b->folder, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}
