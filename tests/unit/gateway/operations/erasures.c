/* erasures.c - erasing somebody. */
#include "tests/unit/gateway/operations/ground.h"

#include <libpq-fe.h>
#include <string.h>
#include <uv.h>

#include "gateway/operations/revocation.h"

/* One look after the other, until none is open. */
static void erase_to_the_end(void)
{
	uint64_t until = uv_hrtime() + SPREAD_NS;

	while (strcmp(ask("select count(*) from erasures"), "0") != 0) {
		ck_assert_msg(uv_hrtime() < until, "an erasure does not end");
		revocation_look(w.revocation);
		uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
}

/* It knows for whom it has to wait. */
static bool erasure_was_looked_at(void)
{
	return strcmp(ask("select count(until) from erasures"), "1") == 0;
}

/* Where the name still stands, of those who are called dan: of all tables that there are, in any column. */
static const char *where_dan_is_named(void)
{
	return ask("select string_agg(c.relname, ' ' order by c.relname) from pg_class c "
		   "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition "
		   "and (xpath('//n/text()', query_to_xml(format($f$select count(*) as n from %I x "
		   "where x::text ~ '\\mdan\\M'$f$, c.relname), false, false, '')))[1]::text <> '0'");
}

START_TEST(who_is_erased_is_named_nowhere)
{
	ask(three_commands("dan"));
	ask("update grants set granted_by = 'dan' where subject = 'vera';"
	    "insert into notices (object_kind, object_id, name, payload, published_by) values "
	    "('vehicle', 'CAR1', 'recall', 'stop', 'dan'), ('fleet', 'F1', 'recall', 'stop', 'dan'), "
	    "('fleet', '*', 'recall', 'stop', 'dan')");
	/* of whoever needs no grant, the last one is claimed at this moment */
	ask("insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	    "timeout_seconds, "
	    "timeline, created_at, expires_at, updated_at, due_at) select 'CAR' || n, uuid7_floor(now()), 'as admin ' "
	    "|| n, 'dan', "
	    "true, 'on_reconnect', '{}', 9, 20, step('accepted', '{\"by\": \"dan\"}'), now(), now() + interval '1 "
	    "hour', now(), "
	    "now() + interval '1 hour' from generate_series(2, 3) n;"
	    "update commands set flight = 'claimed' where vehicle_id = 'CAR3'");
	assert_ok("admin", API_SUBJECT_ERASE, "{\"subject\":\"dan\"}");
	revocation_start(w.revocation);
	erase_to_the_end();
	ck_assert_str_eq(where_dan_is_named(), "");
	ck_assert_str_eq(statuses_of("erased"), "as admin 2 accepted, as admin 3 accepted, driver canceled "
						"ACCESS_REVOKED, owner canceled ACCESS_REVOKED, "
						"viewer canceled ACCESS_REVOKED");
	ck_assert_str_eq(ask("select granted_by from grants where subject = 'vera'"), "erased");
	ck_assert_str_eq(ask("select count(*) from notices where published_by = 'erased'"), "3");
}
END_TEST

/* What had begun when the erasure came writes a name that nobody is asked for any more. */
START_TEST(what_was_under_way_is_erased_too)
{
	PGconn *conn = PQconnectdb(postgres.url);

	PQclear(PQexec(conn, "begin"));
	PQclear(PQexec(conn, "insert into actors (subject, address) values ('dan', '192.0.2.7');"
			     "insert into idempotency (subject, key, fingerprint, vehicle_id, command_id) values "
			     "('dan', 'k', 'f', 'CAR1', gen_random_uuid());"
			     "insert into webhooks (id, subject, is_admin, url, secret) values (gen_random_uuid(), "
			     "'dan', true, 'https://dan.example', 's');"
			     "insert into grants (object_kind, object_id, subject, role, granted_by) values ('fleet', "
			     "'F2', 'dan', 'viewer', 'test')"));
	assert_ok("admin", API_SUBJECT_ERASE, "{\"subject\":\"dan\"}");
	revocation_start(w.revocation);
	pump_until(erasure_was_looked_at);
	PQclear(PQexec(conn, "insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, "
			     "accepted_seq, timeout_seconds, created_at, "
			     "expires_at, updated_at, due_at) select 'CAR2', uuid7_floor(t), 'late', 'dan', true, "
			     "'on_reconnect', '{\"role\":\"driver\"}', "
			     "1, 20, t, t + interval '1 hour', t, t + interval '1 hour' from (values "
			     "(clock_timestamp())) as v(t); commit"));
	ck_assert_int_eq(PQtransactionStatus(conn), PQTRANS_IDLE);
	PQfinish(conn);
	erase_to_the_end();
	ck_assert_str_eq(where_dan_is_named(), "");
	ck_assert_str_eq(ask("select issued_by from commands where name = 'late'"), "erased");
}
END_TEST

/* Whoever comes again under the name afterwards is somebody else, and stays. */
START_TEST(who_comes_after_an_erasure_is_somebody_else)
{
	assert_ok("admin", API_SUBJECT_ERASE, "{\"subject\":\"dan\"}");
	revocation_start(w.revocation);
	erase_to_the_end();
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"dan\",\"role\":\"driver\"}");
	ask(three_commands("dan"));
	assert_ok("admin", API_SUBJECT_ERASE, "{\"subject\":\"dave\"}");
	erase_to_the_end();
	ck_assert_str_eq(where_dan_is_named(), "actors commands events grants");
}
END_TEST

static bool dan_has_failed(void)
{
	return strcmp(ask("select count(*) from erasures where subject = 'dan' and failures > 0"), "1") == 0;
}

static bool only_dan_is_left(void)
{
	return strcmp(ask("select string_agg(subject, ' ') from erasures"), "dan") == 0;
}

/* Dan's cannot be done for now, and was due before the other: that one does not wait for it. Once it can be done, it is. */
START_TEST(an_erasure_that_fails_rests_while_others_go_on)
{
	ask("create function stumble() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;"
	    "create trigger stumble before update on commands for each row "
	    "when (old.issued_by = 'dan' and new.issued_by <> 'dan') execute function stumble()");
	assert_ok("admin", API_SUBJECT_ERASE, "{\"subject\":\"dan\"}");
	revocation_start(w.revocation);
	pump_until(dan_has_failed);
	ck_assert_str_eq(ask("select due_at between now() and now() + interval '8 seconds' from erasures"), "t");
	ask("update erasures set due_at = '2000-01-01', failures = 20");
	assert_ok("admin", API_SUBJECT_ERASE, "{\"subject\":\"vera\"}");
	pump_until(only_dan_is_left);
	ck_assert_str_eq(ask("select failures > 20 and due_at > now() + interval '59 minutes' from erasures"), "t");
	ck_assert_str_eq(ask("select count(*) from commands where issued_by = 'dan'"), "1");
	ask("drop function stumble cascade; update erasures set due_at = now()");
	erase_to_the_end();
	ck_assert_str_eq(where_dan_is_named(), "");
}
END_TEST

/* Or else they would be whoever was erased: their commands, and what their rights took back. */
START_TEST(nobody_is_called_erased)
{
	static const char *const subject = "{\"vehicle_id\":\"CAR1\",\"subject\":\"erased\"}";

	assert_refused("admin", API_SUBJECT_ERASE, "{\"subject\":\"erased\"}", "invalid-params");
	assert_refused("olga", API_VEHICLE_TRANSFER, subject, "invalid-params");
	assert_refused("olga", API_GRANT_DELETE, subject, "invalid-params");
	assert_refused("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"erased\",\"role\":\"owner\"}",
		"invalid-params");
	assert_refused("max", API_FLEET_GRANT_PUT, "{\"fleet_id\":\"F1\",\"subject\":\"erased\",\"role\":\"viewer\"}",
		"invalid-params");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"b:erased\",\"role\":\"viewer\"}");
}
END_TEST

/* Of what there may be millions a part goes at once, and the rest in steps, between which others go on. */
START_TEST(what_a_platform_left_goes_in_parts)
{
	static const char left[] =
		"select concat_ws(' ', (select count(*) from idempotency where subject = 'dan'), (select count(*) from "
		"grants where granted_by = 'dan'), (select count(*) from notices where published_by = 'dan'))";

	ask("insert into idempotency (subject, key, fingerprint, vehicle_id, command_id) select 'dan', n::text, '', "
	    "'CAR1', "
	    "gen_random_uuid() from generate_series(1, 5000) n;"
	    "insert into grants (object_kind, object_id, subject, role, granted_by) select 'vehicle', 'CAR1', n::text, "
	    "'driver', 'dan' from generate_series(1, 2500) n;"
	    "insert into notices (object_kind, object_id, name, payload, published_by) select 'vehicle', 'CAR1', "
	    "n::text, 'x', "
	    "'dan' from generate_series(1, 2001) n;");
	assert_ok("admin", API_SUBJECT_ERASE, "{\"subject\":\"dan\"}");
	ck_assert_str_eq(ask(left), "3000 500 1");
	ck_assert_str_eq(
		ask("select count(*) from grants where subject = 'dan' and (expires_at is null or expires_at > now())"),
		"0");
	revocation_start(w.revocation);
	erase_to_the_end();
	ck_assert_str_eq(ask(left), "0 0 0");
	ck_assert_str_eq(where_dan_is_named(), "");
	ask("delete from grants where granted_by = 'erased'; delete from notices");
}
END_TEST

void add_erasures(Suite *suite)
{
	TCase *tc = case_new(suite, "erasures");

	tcase_add_test(tc, who_is_erased_is_named_nowhere);
	tcase_add_test(tc, what_was_under_way_is_erased_too);
	tcase_add_test(tc, who_comes_after_an_erasure_is_somebody_else);
	tcase_add_test(tc, an_erasure_that_fails_rests_while_others_go_on);
	tcase_add_test(tc, nobody_is_called_erased);
	tcase_add_test(tc, what_a_platform_left_goes_in_parts);
}
