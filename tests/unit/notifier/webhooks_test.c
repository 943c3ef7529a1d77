/* webhooks_test.c - what webhooks rest on: the signature, and in a real PostgreSQL the log that is followed without a loss, lines
 * that one at a time takes, and the schedule of attempts. The whole of it is tests/system/webhooks.test.mjs. */
#include <check.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "notifier/webhook/seal.h"
#include "notifier/webhook/signature.h"
#include "sql/migrate.h"
#include "sql/statements.h"
#include "tests/servers.h"
#include "tests/suite.h"

#define HOOK "019a0000-0000-7000-8000-00000000aaaa"

static struct test_postgres postgres;

static void start_server(void)
{
	test_postgres_start(&postgres);
	ck_assert_int_eq(migrate_run(postgres.url), 0);
}

static void end_server(void)
{
	test_postgres_end(&postgres);
}

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

static void seed(void)
{
	ask("delete from webhooks; delete from webhook_deliveries; delete from webhook_lines; delete from events; "
	    "delete from "
	    "vehicle_heads; delete from grants; delete from vehicles; delete from fleets;"
	    "insert into fleets (fleet_id) values ('F1');"
	    "insert into vehicles (vehicle_id, fleet_id) values ('CAR1', 'F1'), ('CAR2', null);"
	    "insert into vehicle_heads (vehicle_id) values ('CAR1'), ('CAR2');"
	    "insert into grants (object_kind, object_id, subject, role, granted_by) values ('vehicle', 'CAR1', 'pia', "
	    "'viewer', 'test'),"
	    " ('vehicle', 'CAR2', 'pia', 'viewer', 'test');"
	    "insert into webhooks (id, subject, is_admin, url, secret) values ('" HOOK
	    "', 'pia', false, 'https://x.example', 'whsec_AA==');"
	    "insert into webhook_targets (webhook_id, kind, key) values ('" HOOK "', 'vehicle', 'CAR1'), ('" HOOK
	    "', 'vehicle', 'CAR2')");
}

static void nothing(void)
{
}

static void happen(const char *vehicle)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "select event_add('%s', 'state.reported', '{}')", vehicle);
	ask(sql);
}

static const char *follow(void)
{
	ask("select webhooks_follow(1000)");
	return ask("select string_agg(vehicle_id || ':' || seq, ' ' order by vehicle_id, seq) from webhook_deliveries");
}

/* What is taken now, as "CAR1:seq:attempt:verdict". */
static const char *take(const char *hold)
{
	char sql[512];
	snprintf(sql, sizeof(sql),
		"select coalesce(string_agg(t.vehicle_id || ':' || (t.body::json->>'seq') || ':' || t.attempt || ':' "
		"|| t.verdict, ' ' order by t.vehicle_id), '') "
		"from webhooks_take(10, 10, '{}', '%s', false) t",
		hold);
	return ask(sql);
}

/* What became of the first that waits of a vehicle, as of a claim (0: the one that there is). The reason why the webhook was disabled. */
static const char *settle(const char *vehicle, const char *what, const char *code, int wait_ms, int claim)
{
	char sql[1024];
	snprintf(sql, sizeof(sql),
		"select coalesce(max(s.reason), '') from (select l.claim, d.id from webhook_lines l join "
		"webhook_deliveries d using (webhook_id, vehicle_id)"
		" where l.vehicle_id = '%s' and d.status = 'pending' order by d.seq limit 1) n cross join lateral "
		"webhooks_conclude('{" HOOK
		"}', '{%s}', array[case when %d > 0 then %d else n.claim end], array[n.id], "
		"'{%s}', '{%s}', '{null}', '{%d}', '5s', '12h', '3d') s",
		vehicle, vehicle, claim, claim, what, code, wait_ms);
	return ask(sql);
}

/* github.com/standard-webhooks/standard-webhooks, the libraries' own example. */
START_TEST(signs_as_the_standard_does)
{
	struct text text = { 0 };

	ck_assert(webhook_sign(&text, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
		1614265330, "{\"test\": 2432232314}"));
	ck_assert_str_eq(text.data, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
	text_free(&text);
}
END_TEST

START_TEST(makes_secrets_that_it_can_sign_with)
{
	static const char *const none[] = { "", "whsec_", "whsec_A", "whsec_AB!=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" };
	char one[WEBHOOK_SECRET_SIZE], other[WEBHOOK_SECRET_SIZE];
	struct text text = { 0 };

	webhook_secret_make(one);
	webhook_secret_make(other);
	ck_assert_uint_eq(strlen(one), strlen("whsec_") + 44);
	ck_assert_str_ne(one, other);
	ck_assert(webhook_sign(&text, one, "id", 1, "{}"));
	text_free(&text);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(!webhook_sign(&text, none[i], "id", 1, "{}") && text.len == 0, "%s", none[i]);
}
END_TEST

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="

static void check_opens(const struct seals *seals, const char *id, const char *stored, const char *expected)
{
	char *opened = seals_open(seals, id, stored);

	if (expected)
		ck_assert_str_eq(opened, expected);
	else
		ck_assert_ptr_null(opened);
	free(opened);
}

START_TEST(a_secret_is_sealed_for_its_webhook_and_opened_by_its_key_alone)
{
	struct seals clear, a, b_after_a, b;
	const char *stale[3];

	seals_init(&clear, NULL, NULL);
	seals_init(&a, KEY_A, NULL);
	seals_init(&b_after_a, KEY_B, KEY_A);
	seals_init(&b, KEY_B, NULL);
	char *sealed = seals_close(&a, HOOK, "whsec_AA=="), *again = seals_close(&a, HOOK, "whsec_AA==");
	ck_assert_ptr_null(strstr(sealed, "whsec"));
	ck_assert_str_ne(sealed, again);
	check_opens(&a, HOOK, sealed, "whsec_AA==");
	check_opens(&a, "019A0000-0000-7000-8000-00000000AAAA", sealed, "whsec_AA==");
	check_opens(&b_after_a, HOOK, sealed, "whsec_AA==");
	check_opens(&b, HOOK, sealed, NULL);
	check_opens(&clear, HOOK, sealed, NULL);
	check_opens(&a, "019a0000-0000-7000-8000-00000000bbbb", sealed, NULL);
	check_opens(&a, HOOK, "whsec_AA==", "whsec_AA==");
	for (size_t i = strlen("sealed:00000000:"); sealed[i]; i++) {
		char kept = sealed[i];
		sealed[i] = kept == 'A' ? 'w' : 'A'; /* not 'B': of the last letter not all bits count */
		check_opens(&a, HOOK, sealed, NULL);
		sealed[i] = '\0';
		check_opens(&a, HOOK, sealed, NULL);
		sealed[i] = kept;
	}
	free(sealed);
	free(again);
	char *plain = seals_close(&clear, HOOK, "whsec_AA==");
	ck_assert_str_eq(plain, "whsec_AA==");
	free(plain);
	seals_stale(&clear, stale);
	ck_assert_ptr_null(stale[0]);
	seals_stale(&a, stale);
	ck_assert_str_eq(stale[0], "whsec_");
	ck_assert_ptr_null(stale[1]);
	seals_stale(&b_after_a, stale);
	ck_assert_str_eq(stale[1], a.now.prefix);
	ck_assert_ptr_null(stale[2]);
}
END_TEST

START_TEST(a_key_is_32_bytes_in_base64)
{
	static const char *const none[] = { "",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=A", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd!h8=" };

	ck_assert(seal_key_is_text(KEY_A));
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(!seal_key_is_text(none[i]), "%s", none[i]);
}
END_TEST

START_TEST(ids_of_a_moment_are_in_its_order)
{
	ck_assert_str_eq(
		ask("select bool_and(a.id < b.id and a.id::text ~ '^.{14}7.{4}[89ab]') from generate_series(0, 5000, "
		    "7) n, "
		    "lateral (select uuid7(timestamptz '2026-03-01' + n * interval '1 microsecond') as id) a, "
		    "lateral (select uuid7(timestamptz '2026-03-01' + (n + 1) * interval '1 microsecond') as id) b"),
		"t");
}
END_TEST

/* Who holds a line and wants another one of the same look: neither waits for the other. */
START_TEST(a_long_look_locks_in_one_order)
{
	PGconn *settler = PQconnectdb(postgres.url);

	ask("update webhooks set enabled_at = now() - interval '1 hour'; update grants set created_at = now() - "
	    "interval '1 hour';"
	    "update vehicles set created_at = now() - interval '1 hour';"
	    "update webhook_position set since = now() - interval '1 hour';"
	    "insert into webhook_lines (webhook_id, vehicle_id) values ('" HOOK "', 'CAR1'), ('" HOOK "', 'CAR2')");
	happen("CAR2");
	ask("update events set at = at - interval '5 minutes'");
	happen("CAR1");
	PQclear(PQexec(settler, "begin"));
	PQclear(PQexec(settler, "select from webhook_lines where vehicle_id = 'CAR1' for update"));
	PGconn *follower = PQconnectdb(postgres.url);
	ck_assert(PQsendQuery(follower, "select webhooks_follow(1000)"));
	while (strcmp(ask("select exists (select from pg_locks where not granted)"), "t") != 0)
		;
	PGresult *r = PQexec(settler, "select from webhook_lines where vehicle_id = 'CAR2' for update nowait");
	ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK, "%s", PQerrorMessage(settler));
	PQclear(r);
	PQclear(PQexec(settler, "commit"));
	PQfinish(settler);
	while ((r = PQgetResult(follower)))
		PQclear(r);
	PQfinish(follower);
	ck_assert_str_eq(ask("select count(*) from webhook_lines where due_at is not null"), "2");
}
END_TEST

START_TEST(without_a_webhook_nothing_is_looked_at)
{
	ask("delete from webhooks");
	happen("CAR1");
	const char *seen = ask("select seen from webhook_position");
	char before[200];
	snprintf(before, sizeof(before), "%s", seen);
	ck_assert_str_eq(ask("select webhooks_follow(1000) is null"), "t");
	ck_assert_str_eq(ask("select seen from webhook_position"), before);
}
END_TEST

START_TEST(every_event_once)
{
	happen("CAR1");
	ck_assert_str_eq(follow(), "CAR1:1");
	happen("CAR2");
	happen("CAR1");
	ck_assert_str_eq(follow(), "CAR1:1 CAR1:2 CAR2:1");
	ck_assert_str_eq(follow(), "CAR1:1 CAR1:2 CAR2:1");
}
END_TEST

/* It began before others, and commits after they were looked at, and after several looks. */
START_TEST(what_commits_late_is_not_lost)
{
	PGconn *late = PQconnectdb(postgres.url);

	PQclear(PQexec(late, "begin"));
	PQclear(PQexec(late, "select event_add('CAR1', 'state.reported', '{}')"));
	for (int i = 0; i < 3; i++) {
		happen("CAR2");
		follow();
		ask("update webhook_position set mark_at = mark_at - interval '1 minute'");
	}
	ck_assert_str_eq(follow(), "CAR2:1 CAR2:2 CAR2:3");
	PQclear(PQexec(late, "commit"));
	PQfinish(late);
	ck_assert_str_eq(follow(), "CAR1:1 CAR2:1 CAR2:2 CAR2:3");
	ck_assert_str_eq(follow(), "CAR1:1 CAR2:1 CAR2:2 CAR2:3");
}
END_TEST

/* A look that is too much for one transaction goes on where it stopped, also past what has come meanwhile. */
START_TEST(a_long_look_goes_on)
{
	ask("update webhooks set enabled_at = now() - interval '1 hour'; update grants set created_at = now() - "
	    "interval '1 hour';"
	    "update vehicles set created_at = now() - interval '1 hour';"
	    "update webhook_position set since = now() - interval '1 hour'");
	for (int i = 0; i < 3; i++)
		happen("CAR1");
	ask("update events set at = at - interval '5 minutes' where seq = 1; update events set at = at - interval '2 "
	    "minutes' where seq = 2");
	/* a machine that is busy may stop before, where a second is over */
	while (strcmp(ask("select webhooks_follow(1) > 0"), "t") != 0)
		;
	ck_assert_str_eq(ask("select count(*) || ' ' || (select until is not null from webhook_position) from "
			     "webhook_deliveries"),
		"1 true");
	happen("CAR2");
	while (strcmp(ask("select until is not null from webhook_position"), "t") == 0)
		ask("select webhooks_follow(1)");
	ck_assert_str_eq(follow(), "CAR1:1 CAR1:2 CAR1:3 CAR2:1");
	ck_assert_str_eq(ask("select until is null from webhook_position"), "t");
}
END_TEST

START_TEST(another_clusters_position_begins_anew)
{
	happen("CAR1");
	ask("update webhook_position set system = 1");
	follow();
	happen("CAR1");
	ck_assert_str_eq(follow(), "CAR1:2");
}
END_TEST

START_TEST(a_line_is_sent_one_at_a_time)
{
	happen("CAR1");
	happen("CAR1");
	follow();
	ck_assert_str_eq(take("1 hour"), "CAR1:1:1:send");
	ck_assert_str_eq(take("1 hour"), "");
	settle("CAR1", "delivered", "200", 0, 0);
	ck_assert_str_eq(take("1 hour"), "CAR1:2:1:send");
	settle("CAR1", "released", "null", 0, 0);
	ck_assert_str_eq(take("1 hour"), "CAR1:2:1:send"); /* no attempt */
	settle("CAR1", "delivered", "204", 0, 0);
	ck_assert_str_eq(ask("select count(*) from webhook_lines where due_at is not null"), "0");
	happen("CAR1");
	follow();
	ck_assert_str_eq(take("1 hour"), "CAR1:3:1:send");
}
END_TEST

/* Its taker was frozen: another has gone on meanwhile. */
START_TEST(an_outcome_of_another_claim_has_no_effect)
{
	happen("CAR1");
	follow();
	ck_assert_str_eq(take("0 s"), "CAR1:1:1:send");
	ck_assert_str_eq(take("1 hour"), "CAR1:1:1:send");
	settle("CAR1", "delivered", "200", 0, 1);
	ck_assert_str_eq(ask("select status from webhook_deliveries"), "pending");
	settle("CAR1", "delivered", "200", 0, 2);
	ck_assert_str_eq(ask("select status from webhook_deliveries"), "delivered");
}
END_TEST

START_TEST(pauses_treble_up_to_the_longest)
{
	ck_assert_str_eq(
		ask("select bool_and(p between e * 0.79 and e * 1.21) and max(p) > '9 hours' from (select "
		    "webhook_pause(n, '5s', '12h') as p, "
		    "least(5 * power(3, n - 1), 43200) * interval '1 second' as e from generate_series(1, 30) n) t"),
		"t");
	happen("CAR1");
	follow();
	take("1 hour");
	ck_assert_str_eq(settle("CAR1", "failed", "500", 0, 0), "");
	ck_assert_str_eq(ask("select next_attempt_at - last_attempt_at between '4s' and '6s' and attempts = 1 from "
			     "webhook_deliveries"),
		"t");
	ck_assert_str_eq(take("1 hour"), "");
	ask("update webhook_lines set due_at = now()");
	ck_assert_str_eq(take("1 hour"), "CAR1:1:2:send");
	settle("CAR1", "failed", "500", 100000, 0);
	ck_assert_str_eq(
		ask("select next_attempt_at - last_attempt_at >= '100s' and attempts = 2 from webhook_deliveries"),
		"t");
	ck_assert_str_eq(ask("select held_until is null from webhooks"), "t"); /* 500 speaks of the one request */
}
END_TEST

/* The last attempt is at the schedule's end, not a pause later. */
START_TEST(the_schedule_ends)
{
	happen("CAR1");
	follow();
	take("1 hour");
	settle("CAR1", "failed", "500", 0, 0);
	ask("update webhook_deliveries set first_attempt_at = now() - interval '71 hours', attempts = 12; update "
	    "webhook_lines set due_at = now()");
	take("1 hour");
	ck_assert_str_eq(settle("CAR1", "failed", "500", 0, 0), "");
	ck_assert_str_eq(ask("select next_attempt_at - first_attempt_at = '72 hours' from webhook_deliveries"), "t");
	ask("update webhook_deliveries set first_attempt_at = now() - interval '72 hours'; update webhook_lines set "
	    "due_at = now()");
	take("1 hour");
	ck_assert_str_eq(settle("CAR1", "failed", "500", 0, 0), "exhausted");
	ck_assert_str_eq(ask("select status || ' ' || (select disabled_reason from webhooks) from webhook_deliveries"),
		"failed exhausted");
	ck_assert_str_eq(ask("select untold_vehicle || ' ' || untold_reason from webhooks"), "CAR1 exhausted");
	happen("CAR1");
	ck_assert_str_eq(follow(), "CAR1:1");
}
END_TEST

START_TEST(what_may_not_be_seen_any_more_is_dropped)
{
	happen("CAR1");
	happen("CAR2");
	follow();
	ask("delete from grants where object_id = 'CAR1'; delete from events where vehicle_id = 'CAR2'");
	ck_assert_str_eq(ask("select string_agg(t.vehicle_id || ':' || t.verdict, ' ' order by t.vehicle_id) from "
			     "webhooks_take(10, 10, '{}', '1 hour', false) t"),
		"CAR1:access CAR2:expired");
	settle("CAR1", "dropped", "null", 0, 0);
	ck_assert_str_eq(
		ask("select status || attempts from webhook_deliveries where vehicle_id = 'CAR1'"), "dropped0");
}
END_TEST

START_TEST(retention_takes_old_deliveries_and_what_was_removed)
{
	happen("CAR1");
	happen("CAR2");
	follow();
	ask("update webhook_deliveries set id = uuid7(now() - interval '31 days') where vehicle_id = 'CAR1'");
	ask("select webhooks_sweep('30 days')");
	ck_assert_str_eq(ask("select string_agg(vehicle_id, ' ') from webhook_deliveries"), "CAR2");
	ck_assert_str_eq(take("1 hour"), "CAR2:1:1:send"); /* and the line of the other is at rest */
	ck_assert_str_eq(ask("select count(*) from webhook_lines where due_at is null"), "1");
	ask("delete from webhooks; select webhooks_sweep('30 days'); select webhooks_sweep('30 days')");
	ck_assert_str_eq(
		ask("select (select count(*) from webhook_deliveries) + (select count(*) from webhook_lines)"), "0");
}
END_TEST

/* However much waits, and whoever has a line of it locked: the change is one of the webhook's row, and lines begin anew after it. */
START_TEST(a_change_leaves_what_waits_to_the_next_looks)
{
	const char *const params[] = { "pia", "f", HOOK, "f",
		"{\"url\":\"https://y.example\",\"vehicle_ids\":[\"CAR1\"]}", NULL, "20", "" };
	PGconn *holder = PQconnectdb(postgres.url), *writer = PQconnectdb(postgres.url);

	ask("insert into webhook_lines (webhook_id, vehicle_id, due_at) select '" HOOK
	    "', 'L' || lpad(n::text, 3, '0'), now() + '1h' "
	    "from generate_series(1, 500) n;"
	    "insert into webhook_deliveries (id, webhook_id, vehicle_id, seq, at, type, attempts) "
	    "select gen_random_uuid(), webhook_id, vehicle_id, 1, now(), 'state.reported', 7 from webhook_lines;"
	    "update webhook_lines set due_at = null where vehicle_id = 'L007'");
	PQclear(PQexec(holder, "begin; select from webhook_lines where vehicle_id = 'L001' for update"));
	PQclear(PQexec(writer, "set lock_timeout = '1s'"));
	PGresult *put = PQexecParams(writer, SQL_webhook_put.text, 8, NULL, params, NULL, NULL, 0);
	ck_assert_msg(PQresultStatus(put) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(put));
	ck_assert_str_eq(PQgetvalue(put, 0, 0), "done");
	PQclear(put);
	PQfinish(holder);
	PQfinish(writer);
	ck_assert_str_eq(ask("select count(*) from webhook_lines where due_at <= now()"), "0");
	ck_assert_str_eq(ask("select webhooks_resume(200)"), "t");
	ck_assert_str_eq(ask("select count(*) from webhook_lines where due_at <= now()"), "200");
	ck_assert_str_eq(ask("select count(*) from webhook_deliveries where attempts = 0"), "200");
	ask("select webhooks_resume(200)");
	ask("select webhooks_resume(200)");
	ck_assert_str_eq(ask("select count(*) from webhook_lines where due_at <= now()"), "499");
	ck_assert_str_eq(ask("select webhooks_resume(200)"), "f");
	ck_assert_str_eq(ask("select attempts from webhook_deliveries where vehicle_id = 'L007'"), "7");
	/* One who begins anew, and anew, is behind one who waits. */
	ask("update webhooks set resume_after = '', resume_at = clock_timestamp()");
	ask("insert into webhooks (id, subject, is_admin, url, secret, resume_after, resume_at)"
	    " values ('0192f3c8-0000-7000-8000-0000000000aa', 'bert', false, 'https://bert.example/', 'x', 'L400', "
	    "clock_timestamp() - interval '1 second')");
	ask("select webhooks_resume(200)");
	ck_assert_str_eq(ask("select count(*) from webhooks where resume_after is null and subject = 'bert'"), "1");
	ask("delete from webhooks where subject = 'bert'; update webhooks set resume_after = null");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("notifier/webhooks");
	TCase *tc = tcase_create("webhooks");

	tcase_set_timeout(tc, 30);
	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, seed, nothing);
	tcase_add_test(tc, signs_as_the_standard_does);
	tcase_add_test(tc, makes_secrets_that_it_can_sign_with);
	tcase_add_test(tc, a_secret_is_sealed_for_its_webhook_and_opened_by_its_key_alone);
	tcase_add_test(tc, a_key_is_32_bytes_in_base64);
	tcase_add_test(tc, ids_of_a_moment_are_in_its_order);
	tcase_add_test(tc, without_a_webhook_nothing_is_looked_at);
	tcase_add_test(tc, every_event_once);
	tcase_add_test(tc, what_commits_late_is_not_lost);
	tcase_add_test(tc, a_long_look_goes_on);
	tcase_add_test(tc, a_long_look_locks_in_one_order);
	tcase_add_test(tc, another_clusters_position_begins_anew);
	tcase_add_test(tc, a_line_is_sent_one_at_a_time);
	tcase_add_test(tc, an_outcome_of_another_claim_has_no_effect);
	tcase_add_test(tc, pauses_treble_up_to_the_longest);
	tcase_add_test(tc, the_schedule_ends);
	tcase_add_test(tc, what_may_not_be_seen_any_more_is_dropped);
	tcase_add_test(tc, retention_takes_old_deliveries_and_what_was_removed);
	tcase_add_test(tc, a_change_leaves_what_waits_to_the_next_looks);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
