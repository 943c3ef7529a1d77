/* links.c - opens the links of a suite, and closes them when its last check is over. */
#include "tests/links.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "sql/db.h"
#include "sql/migrate.h"
#include "tests/servers.h"

#define PATIENCE_MS 20000
#define QUEUE_MAX 1000

static void pump_until(struct test_links *links, bool (*reached)(const struct test_links *), const char *what)
{
	int64_t end_ms = loop_monotonic_ms(links->loop) + PATIENCE_MS;
	while (!reached(links)) {
		if (loop_monotonic_ms(links->loop) > end_ms) {
			fprintf(stderr, "database links: not %s in %d ms\n", what, PATIENCE_MS);
			exit(1);
		}
		uv_run(loop_uv(links->loop), UV_RUN_ONCE);
	}
}

void test_links_open(struct test_links *links, struct test_postgres *server, size_t count, int commit_timeout_ms)
{
	assert(count <= TEST_LINKS_MAX);
	test_postgres_start(server);
	if (migrate_run(server->url))
		exit(1); /* it has said why */
	struct db_options options = {
		.url = server->url, .queue_max = QUEUE_MAX, .commit_timeout_ms = commit_timeout_ms, .owner = links
	};

	*links = (struct test_links){ .loop = loop_new(), .count = count, .open = 2 * count };
	for (size_t i = 0; i < count; i++) {
		struct test_link *link = &links->of[i];
		link->writer = db_new(links->loop, &options);
		link->reader = db_new(links->loop, &options);
		db_start(link->writer);
		db_start(link->reader);
	}
	pump_until(links, test_links_are_up, "up");
}

bool test_links_are_up(const struct test_links *links)
{
	for (size_t i = 0; i < links->count; i++)
		if (!db_is_up(links->of[i].writer) || !db_is_up(links->of[i].reader))
			return false;
	return true;
}

bool test_links_are_idle(const struct test_links *links)
{
	for (size_t i = 0; i < links->count; i++)
		if (db_in_flight(links->of[i].writer) || db_in_flight(links->of[i].reader))
			return false;
	return true;
}

static void on_closed(void *owner)
{
	((struct test_links *)owner)->open--;
}

static bool are_closed(const struct test_links *links)
{
	return links->open == 0;
}

void test_links_close(struct test_links *links, struct test_postgres *server)
{
	for (size_t i = 0; i < links->count; i++) {
		db_close(links->of[i].writer, on_closed);
		db_close(links->of[i].reader, on_closed);
	}
	pump_until(links, are_closed, "closed");
	loop_stop(links->loop);
	loop_run(links->loop);
	loop_free(links->loop);
	test_postgres_end(server);
}
