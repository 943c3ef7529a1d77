/* lifecycle_test.c - the life of a command, exhaustively: every status, flight and event in C; every pair of them as a
 * change of a real row; and both against what apps were promised. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "commands/lifecycle.h"
#include "sql/migrate.h"
#include "tests/servers.h"
#include "tests/suite.h"

#define PAIRS (STATUS_COUNT * FLIGHT_COUNT)

static struct test_postgres postgres;

/* The table once more, as words, so that what the code makes of it can be held against it. */
static const struct row {
	const char *event, *from, *from_flight, *to, *to_flight;
	bool tells;
} rows[] = {
#define EDGE(event, from, from_flight, to, to_flight, tells, why)                                                      \
	{ #event, "STATUS_" #from, "FLIGHT_" #from_flight, "STATUS_" #to, "FLIGHT_" #to_flight, tells },
#include "commands/lifecycle.tbl.h"
#undef EDGE
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static const char *const EVENTS[] = { "claim", "release", "disprove", "puback", "lose", "absent", "arrive",
	"in_progress", "succeeded", "failed", "rejected", "expire", "time_out", "cancel" };
#define EVENT_COUNT (sizeof(EVENTS) / sizeof(EVENTS[0]))

static const char *const STATUSES[STATUS_COUNT] = { "STATUS_ACCEPTED", "STATUS_WAITING", "STATUS_SENT",
	"STATUS_IN_PROGRESS", "STATUS_TIMED_OUT", "STATUS_SUCCEEDED", "STATUS_FAILED", "STATUS_REJECTED",
	"STATUS_EXPIRED", "STATUS_CANCELED" };
static const char *const FLIGHTS[FLIGHT_COUNT] = { "FLIGHT_NONE", "FLIGHT_CLAIMED", "FLIGHT_OUT",
	"FLIGHT_CLAIMED_OUT" };

/* What a status may become, as apps were promised. Staying in a status is no change, but for in_progress: each such
 * answer is told. */
static const struct promise {
	enum command_status from;
	const char *may_become;
} PROMISES[] = {
	{ STATUS_ACCEPTED, " sent waiting expired canceled timed_out " },
	{ STATUS_WAITING, " sent expired canceled timed_out " },
	{ STATUS_SENT, " in_progress succeeded failed rejected timed_out waiting " },
	{ STATUS_IN_PROGRESS, " in_progress succeeded failed rejected timed_out " },
	{ STATUS_TIMED_OUT, " succeeded failed rejected " },
	{ STATUS_SUCCEEDED, "" },
	{ STATUS_FAILED, "" },
	{ STATUS_REJECTED, "" },
	{ STATUS_EXPIRED, "" },
	{ STATUS_CANCELED, "" },
};

/* What can be known of a status' publishes, and nothing else. */
static const bool POSSIBLE[STATUS_COUNT][FLIGHT_COUNT] = {
	[STATUS_ACCEPTED] = { true, true, true, true },
	[STATUS_WAITING] = { true, true, true, true },
	[STATUS_SENT] = { [FLIGHT_OUT] = true, [FLIGHT_CLAIMED_OUT] = true },
	[STATUS_IN_PROGRESS] = { [FLIGHT_OUT] = true },
	[STATUS_TIMED_OUT] = { [FLIGHT_OUT] = true },
	[STATUS_SUCCEEDED] = { [FLIGHT_OUT] = true },
	[STATUS_FAILED] = { [FLIGHT_OUT] = true },
	[STATUS_REJECTED] = { [FLIGHT_OUT] = true },
	[STATUS_EXPIRED] = { [FLIGHT_NONE] = true },
	[STATUS_CANCELED] = { [FLIGHT_NONE] = true },
};

static enum command_status status_at(size_t pair)
{
	return (enum command_status)(pair / FLIGHT_COUNT);
}

static enum command_flight flight_at(size_t pair)
{
	return (enum command_flight)(pair % FLIGHT_COUNT);
}

static bool may_have_left(enum command_flight flight)
{
	return flight == FLIGHT_OUT || flight == FLIGHT_CLAIMED_OUT;
}

static bool leads(size_t from, size_t to)
{
	for (size_t i = 0; i < lifecycle_edge_count; i++) {
		const struct lifecycle_edge *e = &lifecycle_edges[i];
		if (e->from == status_at(from) && e->from_flight == flight_at(from) && e->to == status_at(to) &&
			e->to_flight == flight_at(to))
			return true;
	}
	return false;
}

/* In one update: what was claimed, and is answered, passes through `sent`. */
static bool leads_by_answer(size_t from, size_t to)
{
	static const char *const answers[] = { "in_progress", "succeeded", "failed", "rejected" };
	const struct lifecycle_edge *arrive = lifecycle_find("arrive", status_at(from), flight_at(from));

	for (size_t a = 0; arrive && a < 4; a++) {
		const struct lifecycle_edge *e = lifecycle_find(answers[a], arrive->to, arrive->to_flight);
		if (e && e->to == status_at(to) && e->to_flight == flight_at(to))
			return true;
	}
	return false;
}

static const struct row *row_of(const char *event, size_t pair)
{
	const struct row *found = NULL;
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *r = &rows[i];
		if (strcmp(r->event, event) != 0 || strcmp(r->from, STATUSES[status_at(pair)]) != 0 ||
			strcmp(r->from_flight, FLIGHTS[flight_at(pair)]) != 0)
			continue;
		ck_assert_msg(!found, "%s from %s (%s) stands twice in the table", event, r->from, r->from_flight);
		found = r;
	}
	return found;
}

START_TEST(events_are_those_of_the_table)
{
	for (size_t i = 0; i < ROWS; i++) {
		size_t k = 0;
		while (k < EVENT_COUNT && strcmp(EVENTS[k], rows[i].event) != 0)
			k++;
		ck_assert_msg(k < EVENT_COUNT, "this test does not know the event %s", rows[i].event);
	}
}
END_TEST

START_TEST(every_status_flight_and_event)
{
	size_t found = 0;

	for (size_t e = 0; e < EVENT_COUNT; e++) {
		for (size_t pair = 0; pair < PAIRS; pair++) {
			const struct row *row = row_of(EVENTS[e], pair);
			const struct lifecycle_edge *edge = lifecycle_find(EVENTS[e], status_at(pair), flight_at(pair));
			ck_assert_msg(!row == !edge, "%s from %s (%s): the table %s, lifecycle_find() %s", EVENTS[e],
				status_name(status_at(pair)), flight_name(flight_at(pair)), row ? "has it" : "lacks it",
				edge ? "has it" : "lacks it");
			if (!row)
				continue;
			found++;
			ck_assert_str_eq(STATUSES[edge->to], row->to);
			ck_assert_str_eq(FLIGHTS[edge->to_flight], row->to_flight);
			ck_assert_int_eq(edge->tells, row->tells);
		}
	}
	ck_assert_uint_eq(found, ROWS);
	ck_assert_uint_eq(lifecycle_edge_count, ROWS);
}
END_TEST

START_TEST(nothing_follows_from_an_unknown_event)
{
	static const char *const strangers[] = { "", "Claim", "claim ", "accepted", "sent", "timed_out" };
	for (size_t s = 0; s < sizeof(strangers) / sizeof(strangers[0]); s++) {
		for (size_t pair = 0; pair < PAIRS; pair++)
			ck_assert_ptr_null(lifecycle_find(strangers[s], status_at(pair), flight_at(pair)));
	}
}
END_TEST

START_TEST(names_go_both_ways)
{
	for (int s = 0; s < STATUS_COUNT; s++)
		ck_assert_int_eq(status_of(status_name((enum command_status)s)), s);
	ck_assert_int_eq(status_of("claimed"), STATUS_COUNT);
	ck_assert_int_eq(status_of(""), STATUS_COUNT);
}
END_TEST

static bool is_promised(enum command_status from, enum command_status to)
{
	char word[32];
	snprintf(word, sizeof(word), " %s ", status_name(to));
	return strstr(PROMISES[from].may_become, word) != NULL;
}

static bool becomes(enum command_status from, enum command_status to)
{
	for (size_t i = 0; i < lifecycle_edge_count; i++) {
		const struct lifecycle_edge *e = &lifecycle_edges[i];
		if (e->from == from && e->to == to && (from != to || e->tells))
			return true;
	}
	return false;
}

START_TEST(statuses_become_what_was_promised)
{
	for (size_t from = 0; from < STATUS_COUNT; from++) {
		ck_assert_uint_eq(PROMISES[from].from, from);
		for (size_t to = 0; to < STATUS_COUNT; to++) {
			enum command_status a = (enum command_status)from, b = (enum command_status)to;
			ck_assert_msg(becomes(a, b) == is_promised(a, b), "%s to %s: %s", status_name(a),
				status_name(b),
				is_promised(a, b) ? "promised, and missing" : "there, and not promised");
		}
		ck_assert_int_eq(status_is_final((enum command_status)from), PROMISES[from].may_become[0] == '\0');
	}
}
END_TEST

/* Apps hear of every change of the status, of each in_progress, and of nothing else. */
START_TEST(tells_what_apps_can_see)
{
	for (size_t i = 0; i < lifecycle_edge_count; i++) {
		const struct lifecycle_edge *e = &lifecycle_edges[i];
		ck_assert_msg(e->tells == (e->from != e->to || strcmp(e->event, "in_progress") == 0), "%s from %s (%s)",
			e->event, status_name(e->from), flight_name(e->from_flight));
	}
}
END_TEST

START_TEST(only_what_never_left_ends_undelivered)
{
	for (size_t i = 0; i < lifecycle_edge_count; i++) {
		const struct lifecycle_edge *e = &lifecycle_edges[i];
		const char *from = status_name(e->from), *flight = flight_name(e->from_flight);
		if (e->to == STATUS_EXPIRED || e->to == STATUS_CANCELED)
			ck_assert_msg(e->from_flight == FLIGHT_NONE, "%s from %s (%s)", e->event, from, flight);
		if (e->to == STATUS_TIMED_OUT && e->from != STATUS_TIMED_OUT)
			ck_assert_msg(e->from_flight != FLIGHT_NONE, "%s from %s (%s)", e->event, from, flight);
		/* What may have left once may have left for ever. */
		if (may_have_left(e->from_flight))
			ck_assert_msg(may_have_left(e->to_flight), "%s from %s (%s)", e->event, from, flight);
	}
}
END_TEST

/* An answer counts whatever is known of the PUBACK, but only for what was claimed once. */
START_TEST(answers_count_for_what_was_claimed)
{
	static const enum command_status unsent[] = { STATUS_ACCEPTED, STATUS_WAITING };
	static const char *const answers[] = { "in_progress", "succeeded", "failed", "rejected" };
	for (size_t s = 0; s < 2; s++) {
		for (int f = 0; f < FLIGHT_COUNT; f++) {
			const struct lifecycle_edge *arrive =
				lifecycle_find("arrive", unsent[s], (enum command_flight)f);
			ck_assert_int_eq(arrive != NULL, f != FLIGHT_NONE);
			for (size_t a = 0; a < 4; a++) {
				ck_assert_ptr_null(lifecycle_find(answers[a], unsent[s], (enum command_flight)f));
				if (arrive)
					ck_assert_ptr_nonnull(
						lifecycle_find(answers[a], arrive->to, arrive->to_flight));
			}
		}
	}
}
END_TEST

START_TEST(reaches_what_is_possible)
{
	bool reached[PAIRS] = { [STATUS_ACCEPTED * FLIGHT_COUNT + FLIGHT_NONE] = true };

	for (bool more = true; more;) {
		more = false;
		for (size_t from = 0; from < PAIRS; from++) {
			for (size_t to = 0; to < PAIRS; to++) {
				if (!reached[from] || reached[to] || !leads(from, to))
					continue;
				reached[to] = more = true;
			}
		}
	}
	for (size_t pair = 0; pair < PAIRS; pair++)
		ck_assert_msg(reached[pair] == POSSIBLE[status_at(pair)][flight_at(pair)], "%s (%s)",
			status_name(status_at(pair)), flight_name(flight_at(pair)));
}
END_TEST

/* Nothing starts where nothing can be, and whatever is not final can still end. */
START_TEST(no_edge_from_the_impossible_and_no_dead_end)
{
	for (size_t from = 0; from < PAIRS; from++) {
		bool ends = false;
		for (size_t to = 0; to < PAIRS; to++) {
			if (!leads(from, to))
				continue;
			ck_assert(POSSIBLE[status_at(from)][flight_at(from)]);
			ends = ends || (status_at(to) != status_at(from) &&
					       (status_is_final(status_at(to)) || status_at(to) == STATUS_TIMED_OUT));
		}
		if (POSSIBLE[status_at(from)][flight_at(from)])
			ck_assert_msg(ends == !status_is_final(status_at(from)), "%s (%s)",
				status_name(status_at(from)), flight_name(flight_at(from)));
	}
}
END_TEST

/* The same in the database. */

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

START_TEST(database_has_the_same_rows)
{
	char *insert = NULL, *sql = NULL;
	size_t len;
	FILE *out = open_memstream(&insert, &len);
	lifecycle_write_sql(out);
	fclose(out);
	out = open_memstream(&sql, &len);
	fprintf(out,
		"create temporary table lifecycle (like public.lifecycle); %s "
		"select count(*) || ' ' || (select count(*) from public.lifecycle) || ' ' || (select count(*) from"
		" (select * from public.lifecycle except select * from pg_temp.lifecycle) d) from pg_temp.lifecycle",
		insert);
	fclose(out);
	char wanted[64];
	snprintf(wanted, sizeof(wanted), "%zu %zu 0", lifecycle_edge_count, lifecycle_edge_count);
	ck_assert_str_eq(ask(sql), wanted);
	free(sql);
	free(insert);
}
END_TEST

/* A row is put where the test wants it with the triggers off, and is changed with them on: `t` taken, `f` refused by the
 * trigger, `i` no row can be there, `?` something else. All pairs with all pairs, in the order of the enums. */
static const char TRY_ALL[] =
	"insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	"timeout_seconds,"
	" created_at, expires_at, updated_at, due_at) values ('V', uuid7_floor(now()), 'n', 's', true, 'on_reconnect', "
	"'{}',"
	" 1, 20, now(), now(), now(), now());"
	"create function pg_temp.put(s command_status, f command_flight) returns void language sql as $$"
	" update commands set status = s, flight = f,"
	"  finished_at = case when s in ('succeeded', 'failed', 'rejected', 'expired', 'canceled') then now() end,"
	"  due_at = case when s in ('accepted', 'waiting', 'sent', 'in_progress') then now() end $$;"
	"create function pg_temp.try(s command_status, f command_flight, t command_status, g command_flight) returns "
	"text"
	" language plpgsql as $$ begin"
	" begin"
	"  perform set_config('session_replication_role', 'replica', true); perform pg_temp.put(s, f);"
	" exception when check_violation then return 'i'; end;"
	" perform set_config('session_replication_role', 'origin', true);"
	" begin"
	"  perform pg_temp.put(t, g);"
	"  return case when (select status = t and flight = g from commands) then 't' else '?' end;"
	" exception when check_violation then"
	"  return case when sqlerrm like '%cannot become%' then 'f' else '?' end; end;"
	"end $$;"
	"select string_agg(pg_temp.try(s, f, t, g), '' order by s, f, t, g)"
	" from unnest(enum_range(null::command_status)) s, unnest(enum_range(null::command_flight)) f,"
	"  unnest(enum_range(null::command_status)) t, unnest(enum_range(null::command_flight)) g";

static char verdict(size_t from, size_t to)
{
	bool is_undelivered = status_at(from) == STATUS_EXPIRED || status_at(from) == STATUS_CANCELED;
	if (is_undelivered && flight_at(from) != FLIGHT_NONE)
		return 'i';
	return from == to || leads(from, to) || leads_by_answer(from, to) ? 't' : 'f';
}

START_TEST(database_takes_the_edges_and_nothing_else)
{
	const char *said = ask(TRY_ALL);
	ck_assert_uint_eq(strlen(said), PAIRS * PAIRS);
	for (size_t from = 0; from < PAIRS; from++) {
		for (size_t to = 0; to < PAIRS; to++) {
			char got = said[from * PAIRS + to];
			ck_assert_msg(got == verdict(from, to),
				"%s (%s) to %s (%s): the database says %c, the table %c", status_name(status_at(from)),
				flight_name(flight_at(from)), status_name(status_at(to)), flight_name(flight_at(to)),
				got, verdict(from, to));
		}
	}
}
END_TEST

static const char INSERT_ALL[] =
	"create function pg_temp.begin_as(s command_status, f command_flight) returns text language plpgsql as $$ begin"
	" delete from commands;"
	" insert into commands (vehicle_id, id, status, flight, name, issued_by, wake, redelivery, catalog, "
	"accepted_seq,"
	"  timeout_seconds, created_at, expires_at, updated_at, finished_at, due_at)"
	" values ('V', uuid7_floor(now()), s, f, 'n', 's', true, 'on_reconnect', '{}', 1, 20, now(), now(), now(),"
	"  case when s in ('succeeded', 'failed', 'rejected', 'expired', 'canceled') then now() end,"
	"  case when s in ('accepted', 'waiting', 'sent', 'in_progress') then now() end);"
	" return 't';"
	"exception when check_violation then"
	" return case when sqlerrm like '%begins as accepted%' then 'f' else '?' end; end $$;"
	"select string_agg(pg_temp.begin_as(s, f), '' order by s, f)"
	" from unnest(enum_range(null::command_status)) s, unnest(enum_range(null::command_flight)) f";

/* Or as waiting, which it becomes in the same breath where its vehicle is away. */
static bool may_begin_as(size_t pair)
{
	return (status_at(pair) == STATUS_ACCEPTED && flight_at(pair) <= FLIGHT_CLAIMED) ||
	       (status_at(pair) == STATUS_WAITING && flight_at(pair) == FLIGHT_NONE);
}

START_TEST(database_begins_as_accepted)
{
	const char *said = ask(INSERT_ALL);
	ck_assert_uint_eq(strlen(said), PAIRS);
	for (size_t pair = 0; pair < PAIRS; pair++)
		ck_assert_msg(said[pair] == (may_begin_as(pair) ? 't' : 'f'), "as %s (%s): %c",
			status_name(status_at(pair)), flight_name(flight_at(pair)), said[pair]);
}
END_TEST

/* The enums count alike on both sides: what was compared above by place was compared by name. */
START_TEST(database_has_the_same_names)
{
	char names[256] = "";
	for (int s = 0; s < STATUS_COUNT; s++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s ",
			status_name((enum command_status)s));
	for (int f = 0; f < FLIGHT_COUNT; f++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s ",
			flight_name((enum command_flight)f));
	ck_assert_str_eq(ask("select array_to_string(enum_range(null::command_status), ' ') || ' '"
			     " || array_to_string(enum_range(null::command_flight), ' ') || ' '"),
		names);
}
END_TEST

static void start_server(void)
{
	test_postgres_start(&postgres);
	ck_assert_int_eq(migrate_run(postgres.url), 0);
}

static void end_server(void)
{
	test_postgres_end(&postgres);
}

static void empty(void)
{
	ask("truncate commands");
}

int main(void)
{
	Suite *suite = suite_create("lifecycle");
	TCase *table = tcase_create("table");
	tcase_add_test(table, events_are_those_of_the_table);
	tcase_add_test(table, every_status_flight_and_event);
	tcase_add_test(table, nothing_follows_from_an_unknown_event);
	tcase_add_test(table, names_go_both_ways);
	tcase_add_test(table, statuses_become_what_was_promised);
	tcase_add_test(table, tells_what_apps_can_see);
	tcase_add_test(table, only_what_never_left_ends_undelivered);
	tcase_add_test(table, answers_count_for_what_was_claimed);
	tcase_add_test(table, reaches_what_is_possible);
	tcase_add_test(table, no_edge_from_the_impossible_and_no_dead_end);
	suite_add_tcase(suite, table);
	TCase *database = tcase_create("database");
	tcase_add_unchecked_fixture(database, start_server, end_server);
	tcase_add_checked_fixture(database, empty, NULL);
	tcase_set_timeout(database, 60);
	tcase_add_test(database, database_has_the_same_names);
	tcase_add_test(database, database_has_the_same_rows);
	tcase_add_test(database, database_takes_the_edges_and_nothing_else);
	tcase_add_test(database, database_begins_as_accepted);
	suite_add_tcase(suite, database);
	return suite_run(suite);
}
