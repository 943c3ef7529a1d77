/* world.c - moves the loops, writes the trace. */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "tests/sim/node.h"

static struct {
	struct loop *loop;
	FILE *trace;
	int64_t slowness;
	uint64_t digest;
	unsigned failures;
} world;

void world_begin(FILE *trace, int64_t slowness)
{
	world.loop = loop_new_virtual(WORLD_BEGIN_US);
	world.trace = trace;
	world.slowness = slowness;
	world.digest = 0xcbf29ce484222325u;
}

int64_t world_slow(int64_t ms)
{
	return ms * world.slowness;
}

struct loop *world_loop(void)
{
	return world.loop;
}

int64_t world_ms(void)
{
	return loop_monotonic_ms(world.loop);
}

int64_t world_us(void)
{
	return loop_unix_us(world.loop);
}

/* A millisecond is passed at least: what one loop leaves for another to do at once is done in the next one. */
void world_run(int64_t ms)
{
	int64_t end_ms = world_ms() + ms;

	while (world_ms() < end_ms) {
		int64_t step_ms = loop_next_ms(world.loop), node_ms = nodes_next_ms();
		if (node_ms < step_ms)
			step_ms = node_ms;
		if (step_ms > end_ms - world_ms())
			step_ms = end_ms - world_ms();
		if (step_ms < 1)
			step_ms = 1;
		loop_advance(world.loop, step_ms);
		nodes_advance(step_ms);
	}
}

/* FNV-1a. */
static void add_to_digest(const char *text)
{
	for (; *text; text++)
		world.digest = (world.digest ^ (unsigned char)*text) * 0x100000001b3u;
}

static void write_line(const char *format, va_list args)
{
	char line[1024];
	int len = snprintf(line, sizeof(line), "%9.3f ", (double)world_ms() / 1000);

	vsnprintf(line + len, sizeof(line) - (size_t)len, format, args);
	add_to_digest(line);
	if (world.trace)
		fprintf(world.trace, "%s\n", line);
}

void world_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	write_line(format, args);
	va_end(args);
}

void world_fail(const char *rule, const char *format, ...)
{
	va_list args;
	char text[900];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	world_note("BROKEN %s: %s", rule, text);
	if (world.failures++ < 10)
		fprintf(stderr, "  broken at %.3f s: %s: %s\n", (double)world_ms() / 1000, rule, text);
	if (world.trace)
		fflush(world.trace);
}

unsigned world_failures(void)
{
	return world.failures;
}

uint64_t world_digest(void)
{
	return world.digest;
}
