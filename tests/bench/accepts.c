/* accepts.c - bench-accepts: how many commands a second are made durable. So many keep-alive connections, each sending its
 * next command as soon as the last one's 202 is there; to vehicles that are away, so that accepting is all there is to do. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/clock.h"
#include "tests/bench/http.h"
#include "tests/bench/samples.h"

#define CONNECTIONS_MAX 1024
#define WARM_UP_PART 10

static struct {
	struct connection connections[CONNECTIONS_MAX];
	char *token;
	const char *prefix;
	unsigned vehicles, next_vehicle;
	uint64_t accepted, total;
	int64_t begin_us, end_us; /* what is accepted between them counts */
} run;

static void send_next(struct connection *c)
{
	char id[72];
	snprintf(id, sizeof(id), "%s%05u", run.prefix, run.next_vehicle + 1);
	run.next_vehicle = (run.next_vehicle + 1) % run.vehicles;
	http_add_send(&c->out, run.token, id, NULL);
}

static size_t on_bytes(struct connection *c)
{
	int status;
	const char *body;
	size_t taken = http_answer(&c->in, &status, &body);
	int64_t now = clock_us();

	if (taken == 0)
		return 0;
	if (status != 202)
		give_up("a command was not accepted: %d %s", status, body);
	run.total++;
	run.accepted += now >= run.begin_us && now < run.end_us;
	if (now < run.end_us)
		send_next(c);
	else
		tcp_close(c);
	return taken;
}

int main(int argc, char **argv)
{
	arguments_check(argc, argv, 6, "PORT TOKEN-FILE PREFIX VEHICLES CONNECTIONS SECONDS");
	run.token = token_read(argv[2]);
	run.prefix = argv[3];
	run.vehicles = (unsigned)argument_number(argv[4]);
	unsigned connections = (unsigned)argument_number(argv[5]);
	double seconds = argument_number(argv[6]);
	if (connections > CONNECTIONS_MAX || run.vehicles == 0)
		give_up("at most %d connections, at least one vehicle", CONNECTIONS_MAX);

	int port = tcp_port(argv[1]);
	run.begin_us = clock_us() + (int64_t)(seconds * 1e6) / WARM_UP_PART;
	run.end_us = run.begin_us + (int64_t)(seconds * 1e6);
	for (unsigned i = 0; i < connections; i++) {
		run.connections[i].on_open = send_next;
		run.connections[i].on_bytes = on_bytes;
		tcp_open(&run.connections[i], uv_default_loop(), port);
	}
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	report_number("accepts", (double)run.total);
	report_number("accepts_per_s", (double)run.accepted / seconds);
	free(run.token);
	return 0;
}
