/* waits.c - waiting for the outcome of a command, under an idempotency key that has one already. */
#include "tests/unit/gateway/operations/ground.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"

#define UNLOCK "\"vehicle_id\":\"CAR1\",\"name\":\"doors.unlock\""
#define SEND_K1 "{" UNLOCK ",\"idempotency_key\":\"k1\"}"
#define SEND_K1_AND_WAIT "{" UNLOCK ",\"idempotency_key\":\"k1\",\"wait\":60}"

static struct hub_watch onlooker;

static void on_seen(struct hub_watch *watch, const char *command)
{
	(void)watch, (void)command;
}

static bool is_watched(void)
{
	return is_idle() && strcmp(ask("select count(*) from interest where key = 'CAR1'"), "1") == 0;
}

/* Somebody here watches CAR1 already, so that its events need no reading of the table; dan has sent the command of k1. */
static void wait_setup(void)
{
	struct config_error error = { 0 };

	w.api.catalog = catalog_read(SOURCE_FOLDER "/gateway/catalog.example.yaml", &error);
	ck_assert_ptr_nonnull(w.api.catalog);
	onlooker = (struct hub_watch){ .on_command = on_seen };
	hub_watch(w.hub, &onlooker, "CAR1");
	pump_until(is_watched);
	ask("delete from idempotency");
	assert_ok("dan", API_COMMAND_SEND, SEND_K1);
}

static void wait_teardown(void)
{
	hub_unwatch(w.hub, &onlooker);
	catalog_free(w.api.catalog);
}

/* Another worker's: it changes the command, commits, and tells us. */
static void another_sets(const char *what)
{
	char sql[1024];

	snprintf(sql, sizeof(sql),
		"begin; update vehicle_heads set seq = seq + 1 where vehicle_id = 'CAR1';"
		"update commands set %s where id = (select command_id from idempotency where key = 'k1');"
		"insert into events (vehicle_id, seq, at, type, data, fleet_id) select 'CAR1', h.seq, now(), "
		"'command.updated', "
		"command_json(c), 'F1' from vehicle_heads h, commands c where h.vehicle_id = 'CAR1' and c.id = (select "
		"command_id from idempotency where key = 'k1'); commit",
		what);
	ask(sql);
	const char *line = ask(
		"select format(E'CAR1\\t%s\\tF1\\t\\tcommand.updated\\t%s\\t%s', seq, rfc3339(at), data) from events "
		"where vehicle_id = 'CAR1' order by seq desc limit 1");
	hub_receive(w.hub, line, strlen(line));
}

static void another_cancels(void)
{
	another_sets("status = 'canceled', finished_at = now(), updated_at = now(), due_at = null");
}

static void assert_canceled(void)
{
	ck_assert_str_eq(at("status"), "canceled");
	ck_assert(call->replayed);
	ck_assert(call->settled);
	ck_assert_str_eq(call->resource_id, at("id"));
}

START_TEST(replay_hears_what_settled_while_it_was_looked_up)
{
	w.on_meanwhile = another_cancels;
	assert_ok("dan", API_COMMAND_SEND, SEND_K1_AND_WAIT);
	assert_canceled();
}
END_TEST

static bool somebody_waits(void)
{
	return !list_is_empty(&w.api.waiting);
}

/* Leaves the call open. */
static void start_waiting(const char *json)
{
	forget_call();
	call = start(&API_COMMAND_SEND, "dan", SCOPES_USER, json);
}

static void read_reply(void)
{
	pump_until(is_answered);
	ck_assert_str_eq(verdict_of(call), "ok");
	reply = json_loadb(call->body, call->body_len, 0, NULL);
}

START_TEST(replay_hears_what_settles_later)
{
	start_waiting(SEND_K1_AND_WAIT);
	pump_until(somebody_waits);
	another_cancels();
	read_reply();
	assert_canceled();
}
END_TEST

/* The lock takes the unlock back in the transaction in which both are accepted: it is heard of before the unlock is. */
START_TEST(what_another_supersedes_at_once_is_not_waited_for)
{
	struct api_call *lock;

	start_waiting("{" UNLOCK ",\"wait\":60}");
	lock = start(&API_COMMAND_SEND, "dan", SCOPES_USER, "{\"vehicle_id\":\"CAR1\",\"name\":\"doors.lock\"}");
	read_reply();
	ck_assert_str_eq(verdict_of(lock), "ok");
	ck_assert_str_eq(at("status"), "canceled");
	ck_assert(call->settled);
	api_call_free(lock);
}
END_TEST

static bool is_reading(void)
{
	return batch_is_idle(w.batch) && (db_in_flight(w.reader) > 0 || somebody_waits());
}

START_TEST(replay_is_answered_when_the_node_drains)
{
	start_waiting(SEND_K1_AND_WAIT);
	pump_until(is_reading);
	w.api.draining = true;
	command_send_drain(&w.api);
	read_reply();
	ck_assert_str_eq(at("status"), "waiting"); /* its vehicle is away */
	ck_assert(!call->settled);
}
END_TEST

/* What the 202 of who does not wait would say, however much was heard since. */
static void assert_tells_no_more_than_the_accept(void)
{
	read_reply();
	ck_assert_str_eq(at("status"), "waiting"); /* its vehicle is away */
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "attempts")), 0);
	ck_assert(!call->settled);
	ck_assert_str_eq(call->resource_id, at("id"));
}

/* A key finds its command again as GET would, and makes no second one of it. */
START_TEST(a_key_shows_nothing_from_before_the_grant)
{
	assert_ok("dan", API_COMMAND_SEND, SEND_K1);
	ck_assert(call->replayed);
	ask("update grants set created_at = clock_timestamp() where subject = 'dan'");
	assert_refused("dan", API_COMMAND_SEND, SEND_K1, "idempotency-key-reused");
	ck_assert_str_eq(ask("select count(*) from commands where issued_by = 'dan'"), "2"); /* with the seed's */
}
END_TEST

START_TEST(a_wait_does_not_outlive_the_right)
{
	start_waiting(SEND_K1_AND_WAIT);
	pump_until(somebody_waits);
	ask("delete from grants where subject = 'dan'");
	another_cancels();
	assert_tells_no_more_than_the_accept();
}
END_TEST

START_TEST(nor_does_what_was_heard_until_it_was_over)
{
	start_waiting(SEND_K1_AND_WAIT);
	pump_until(somebody_waits);
	/* anew, so that it shows nothing from before */
	ask("update grants set created_at = clock_timestamp() where subject = 'dan'");
	another_sets("attempts = 3");
	w.api.draining = true;
	command_send_drain(&w.api);
	assert_tells_no_more_than_the_accept();
}
END_TEST

void add_waits(Suite *suite)
{
	TCase *tc = case_new(suite, "waits");

	tcase_add_checked_fixture(tc, wait_setup, wait_teardown);
	tcase_add_test(tc, replay_hears_what_settled_while_it_was_looked_up);
	tcase_add_test(tc, replay_hears_what_settles_later);
	tcase_add_test(tc, what_another_supersedes_at_once_is_not_waited_for);
	tcase_add_test(tc, replay_is_answered_when_the_node_drains);
	tcase_add_test(tc, a_key_shows_nothing_from_before_the_grant);
	tcase_add_test(tc, a_wait_does_not_outlive_the_right);
	tcase_add_test(tc, nor_does_what_was_heard_until_it_was_over);
}
