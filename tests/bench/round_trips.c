/* round_trips.c - bench-round-trips: what the broker and two clients cost by themselves, QoS 1 there and back.
 *
 * One outstanding gives the time of one, 256 the most that can be had. */
#include <inttypes.h>
#include <stdint.h>

#include "tests/bench/broker.h"
#include "tests/bench/clock.h"
#include "tests/bench/samples.h"

#define LOST_US 5000000 /* an answer that takes so long will not come */
#define WARM_UP_PART 10 /* the first tenth does not count */

static void ask_again(void *owner, struct asker *a)
{
	if (clock_us() < *(const int64_t *)owner)
		asker_ask(a);
}

static void measure_alone(const char *url, int64_t length_us)
{
	struct asker *a = asker_new(url, NULL, NULL);
	struct samples samples = { 0 };
	int64_t began_us = clock_us();

	for (int64_t now = began_us; now < began_us + length_us; now = clock_us()) {
		uint64_t wanted = asker_answers(a) + 1;
		asker_ask(a);
		asker_wait(a, wanted, now + LOST_US);
		if (asker_answers(a) < wanted)
			give_up("an answer was lost");
		if (now > began_us + length_us / WARM_UP_PART)
			samples_add(&samples, clock_us() - now);
	}
	report_latency("round_trip", &samples);
	samples_free(&samples);
	asker_free(a);
}

static void measure_many(const char *url, int64_t length_us, unsigned outstanding)
{
	int64_t end_us = INT64_MAX;
	struct asker *a = asker_new(url, ask_again, &end_us);

	for (unsigned i = 0; i < outstanding; i++)
		asker_ask(a);
	asker_wait(a, UINT64_MAX, clock_us() + length_us / WARM_UP_PART);
	uint64_t before = asker_answers(a);
	int64_t began_us = clock_us();
	asker_wait(a, UINT64_MAX, began_us + length_us);
	uint64_t done = asker_answers(a) - before;
	report_number("round_trips_per_s", (double)done * 1e6 / (double)(clock_us() - began_us));

	end_us = 0;
	asker_wait(a, asker_answers(a) + outstanding, clock_us() + LOST_US / 10);
	asker_free(a);
}

int main(int argc, char **argv)
{
	arguments_check(argc, argv, 3, "mqtt://HOST:PORT SECONDS OUTSTANDING");
	int64_t length_us = (int64_t)(argument_number(argv[2]) * 1e6);
	measure_alone(argv[1], length_us);
	measure_many(argv[1], length_us, (unsigned)argument_number(argv[3]));
	return 0;
}
