/* sends.c - bench-sends: the floor of a fan-out. One thread sends the same bytes to loopback sockets, by one non-blocking send() each and
 * nothing else; a child reads them, as the apps of bench-fanout do.
 *
 * A round goes to as many sockets as there are apps of the vehicles that have an event under way at a time, in turns; the next begins when
 * all of the one before were read. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/bench/clock.h"
#include "tests/bench/samples.h"

#define READY_MAX 256

static struct {
	unsigned sockets, round;
	size_t bytes;
	int *near, *far, control[2];
} run;

static void open_sockets(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (bind(listener, (struct sockaddr *)&at, size) != 0 || listen(listener, SOMAXCONN) != 0 ||
		getsockname(listener, (struct sockaddr *)&at, &size) != 0)
		give_up("no listener: %s", strerror(errno));
	run.near = memory_new(run.sockets * sizeof(*run.near));
	run.far = memory_new(run.sockets * sizeof(*run.far));
	for (unsigned i = 0; i < run.sockets; i++) {
		run.far[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(run.far[i], (struct sockaddr *)&at, sizeof(at)) != 0 && errno != EINPROGRESS)
			give_up("no connection: %s", strerror(errno));
		run.near[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (run.near[i] < 0)
			give_up("no connection: %s", strerror(errno));
		setsockopt(run.near[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	close(listener);
}

/* The child: says so when a round has come as a whole. */
static _Noreturn void read_all(void)
{
	static char room[256 * 1024];
	struct epoll_event ready[READY_MAX];
	size_t awaited = run.round * run.bytes, got = 0;
	int poll = epoll_create1(EPOLL_CLOEXEC);

	for (unsigned i = 0; i < run.sockets; i++)
		epoll_ctl(poll, EPOLL_CTL_ADD, run.far[i],
			&(struct epoll_event){ .events = EPOLLIN, .data.fd = run.far[i] });
	for (;;) {
		int count = epoll_wait(poll, ready, READY_MAX, -1);
		for (int i = 0; i < count; i++) {
			ssize_t len = read(ready[i].data.fd, room, sizeof(room));
			got += len > 0 ? (size_t)len : 0;
		}
		if (got < awaited)
			continue;
		if (got > awaited || write(run.control[1], "", 1) != 1)
			_exit(1);
		got = 0;
	}
}

static void send_round(const char *frame, unsigned *next)
{
	char done;

	for (unsigned i = 0; i < run.round; i++) {
		if (send(run.near[*next], frame, run.bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)run.bytes)
			give_up("a send was not taken: %s", strerror(errno));
		*next = (*next + 1) % run.sockets;
	}
	if (read(run.control[0], &done, 1) != 1)
		give_up("the reader has ended");
}

static int64_t own_cpu_us(void)
{
	struct timespec cpu;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	return (int64_t)cpu.tv_sec * 1000000 + cpu.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	unsigned next = 0;
	uint64_t sent = 0;
	char name[96];

	arguments_check(argc, argv, 5, "LABEL SOCKETS SOCKETS-A-ROUND BYTES SECONDS");
	run.sockets = (unsigned)argument_number(argv[2]);
	run.round = (unsigned)argument_number(argv[3]);
	run.bytes = (size_t)argument_number(argv[4]);
	int64_t length_us = (int64_t)(argument_number(argv[5]) * 1e6);
	if (run.round == 0 || run.round > run.sockets)
		give_up("there are not enough sockets");
	open_sockets();
	char *frame = memory_new(run.bytes);
	pid_t parent = getpid();
	pid_t reader = pipe(run.control) == 0 ? fork() : -1;
	if (reader < 0)
		give_up("no reader: %s", strerror(errno));
	if (reader == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		read_all();
	}
	send_round(frame, &next);
	int64_t begun_cpu_us = own_cpu_us(), end_us = clock_us() + length_us;
	for (; clock_us() < end_us; sent += run.round)
		send_round(frame, &next);
	snprintf(name, sizeof(name), "%s_us_send", argv[1]);
	report_number(name, (double)(own_cpu_us() - begun_cpu_us) / (double)sent);
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	free(frame);
	return 0;
}
