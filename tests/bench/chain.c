/* chain.c - bench-chain: what one would write first, one thread after the other: insert and commit, ask by MQTT, wait,
 * update and commit. At a rate of its own or, at rate 0, one after the other; and the commit alone beside it. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/broker.h"
#include "tests/bench/clock.h"
#include "tests/bench/samples.h"

#define LOST_US 5000000
#define WARM_UP 3

static const char *const preparations[][2] = {
	{ "insert", "insert into chain (id, vehicle_id, status, body) values (gen_random_uuid(), $1, 'accepted', $2) "
		    "returning id" },
	{ "update", "update chain set status = 'succeeded', finished_at = clock_timestamp() where id = $1" },
};

static PGresult *check(PGconn *conn, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		give_up("the database refused: %s", PQerrorMessage(conn));
	return result;
}

static PGconn *connect_database(const char *url)
{
	PGconn *conn = PQconnectdb(url);
	if (PQstatus(conn) != CONNECTION_OK)
		give_up("no database: %s", PQerrorMessage(conn));
	for (size_t i = 0; i < sizeof(preparations) / sizeof(preparations[0]); i++)
		PQclear(check(conn, PQprepare(conn, preparations[i][0], preparations[i][1], 0, NULL)));
	return conn;
}

static void insert(PGconn *conn, char id[64])
{
	static const char body[] =
		"{\"name\":\"trunk.open\",\"params\":{},\"issued_by\":\"bench\",\"timeout_seconds\":20}";
	const char *params[] = { "BNCH00001", body };
	PGresult *row = check(conn, PQexecPrepared(conn, "insert", 2, params, NULL, NULL, 0));
	snprintf(id, 64, "%s", PQgetvalue(row, 0, 0));
	PQclear(row);
}

static void update(PGconn *conn, const char *id)
{
	PQclear(check(conn, PQexecPrepared(conn, "update", 1, &id, NULL, NULL, 0)));
}

static void ask(struct asker *a)
{
	uint64_t wanted = asker_answers(a) + 1;
	asker_ask(a);
	asker_wait(a, wanted, clock_us() + LOST_US);
	if (asker_answers(a) < wanted)
		give_up("an answer was lost");
}

static void measure(PGconn *conn, struct asker *a, double rate, int64_t length_us)
{
	struct samples chain = { 0 }, commit = { 0 };
	char id[64], name[32];
	int64_t begun_us = clock_us(), due_us = begun_us;

	for (unsigned n = 0; due_us < begun_us + length_us || n <= WARM_UP; n++) {
		int64_t from_us = clock_us();
		insert(conn, id);
		int64_t inserted_us = clock_us();
		ask(a);
		update(conn, id);
		if (n >= WARM_UP) {
			samples_add(&commit, inserted_us - from_us);
			samples_add(&chain, clock_us() - from_us);
		}
		due_us = rate > 0 ? due_us + (int64_t)(1e6 / rate) : clock_us();
		clock_wait_until(due_us);
	}
	snprintf(name, sizeof(name), "chain_%.0f", rate);
	report_latency(name, &chain);
	snprintf(name, sizeof(name), "commit_%.0f", rate);
	report_latency(name, &commit);
	samples_free(&chain);
	samples_free(&commit);
}

int main(int argc, char **argv)
{
	arguments_check(argc, argv, 4, "postgresql://… mqtt://HOST:PORT RATE SECONDS");
	PGconn *conn = connect_database(argv[1]);
	struct asker *a = asker_new(argv[2], NULL, NULL);
	measure(conn, a, argument_number(argv[3]), (int64_t)(argument_number(argv[4]) * 1e6));
	asker_free(a);
	PQfinish(conn);
	return 0;
}
