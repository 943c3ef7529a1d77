/* alone.c - bench-alone: one command after the other over REST, each waited for: the whole journey, with nothing beside it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/clock.h"
#include "tests/bench/http.h"
#include "tests/bench/samples.h"

#define WARM_UP 20

static struct {
	char *token;
	const char *vehicle_id;
	unsigned left, number;
	int64_t sent_us;
	struct samples samples;
} run;

static void send_next(struct connection *c)
{
	http_add_send(&c->out, run.token, run.vehicle_id, "wait=10");
	run.sent_us = clock_us();
}

static size_t on_bytes(struct connection *c)
{
	int status;
	const char *body;
	size_t taken = http_answer(&c->in, &status, &body);

	if (taken == 0)
		return 0;
	if (status != 200 || !strstr(body, "\"succeeded\""))
		give_up("a command did not succeed: %d %s", status, body);
	if (run.number++ >= WARM_UP)
		samples_add(&run.samples, clock_us() - run.sent_us);
	if (--run.left > 0)
		send_next(c);
	else
		tcp_close(c);
	return taken;
}

int main(int argc, char **argv)
{
	static struct connection c = { .on_open = send_next, .on_bytes = on_bytes };

	arguments_check(argc, argv, 4, "PORT TOKEN-FILE VEHICLE COUNT");
	run.token = token_read(argv[2]);
	run.vehicle_id = argv[3];
	run.left = (unsigned)argument_number(argv[4]) + WARM_UP;
	tcp_open(&c, uv_default_loop(), tcp_port(argv[1]));
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	report_latency("alone", &run.samples);
	samples_free(&run.samples);
	free(run.token);
	return 0;
}
