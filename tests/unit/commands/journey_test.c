/* journey_test.c - one command's journey through accept, claim, PUBACK, answer, cancel and time, on a real PostgreSQL;
 * the broker is scripted. */
#include <check.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "commands/accept.h"
#include "commands/answer.h"
#include "commands/cancel.h"
#include "commands/deadline.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "commands/topic.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "tests/links.h"
#include "tests/servers.h"

#define VEHICLE "WKF00000000000001"

static struct test_postgres postgres;
static struct test_links links;

/* One worker: its flows, and a broker that only writes down. */
struct worker {
	struct loop *loop;
	struct db *writer, *reader;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct cancel_flow *cancel;
	struct answer_flow *answer;
	struct deadline *deadline;
	struct batch *batch;
	struct command_ports ports;
	bool broker_is_up, link_is_full;
	size_t turned_away;
	int mid;
	struct {
		char topic[128], payload[1024];
		int mid;
	} published[64];
	size_t published_count, disproved;
};

static struct worker w;
static bool done;
static const struct fault *got;

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + 8000000000ull;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
}

static bool can_publish(void *owner)
{
	return ((struct worker *)owner)->broker_is_up;
}

static int publish(void *owner, const struct mqtt_publish *m)
{
	struct worker *self = owner;
	if (!self->broker_is_up)
		return -1;
	if (self->link_is_full) {
		self->turned_away++;
		return -1;
	}
	size_t i = self->published_count++;
	ck_assert_uint_lt(i, sizeof(self->published) / sizeof(self->published[0]));
	snprintf(self->published[i].topic, sizeof(self->published[i].topic), "%s", m->topic);
	snprintf(self->published[i].payload, sizeof(self->published[i].payload), "%.*s", (int)m->len,
		(const char *)m->payload);
	return self->published[i].mid = ++self->mid;
}

static void disprove(void *owner, const char *vehicle_id, const char *session)
{
	(void)vehicle_id;
	(void)session;
	((struct worker *)owner)->disproved++;
}

static void prove(void *owner, const struct batch_fence *fence, const char *vehicle_id, struct receipt *receipt)
{
	(void)owner;
	(void)fence;
	(void)vehicle_id;
	(void)receipt;
}

static void report_state(
	void *owner, const struct batch_fence *fence, const struct codec_response *response, struct receipt *receipt)
{
	(void)owner;
	(void)fence;
	(void)response;
	(void)receipt;
}

static int patience_ms; /* 0: as always */

static void worker_setup(void)
{
	memset(&w, 0, sizeof(w));
	w.loop = links.loop;
	w.broker_is_up = true;
	w.writer = links.of[0].writer;
	w.reader = links.of[0].reader;
	w.ports = (struct command_ports){ .owner = &w,
		.can_publish = can_publish,
		.publish = publish,
		.disprove = disprove,
		.prove = prove,
		.report_state = report_state };
	w.dispatch = dispatch_new(
		w.loop, &(struct dispatch_options){
				.db = w.writer, .worker = "w1", .ports = &w.ports, .patience_ms = patience_ms });
	w.accept = accept_new(w.loop, w.writer, w.dispatch, 5);
	w.cancel = cancel_new();
	w.answer = answer_new(w.loop, w.writer, &w.ports, w.dispatch);
	w.deadline = deadline_new(w.loop, w.reader, "w1", w.dispatch);
	struct batch_stage *stages[] = { dispatch_puback_stage(w.dispatch), answer_stage(w.answer),
		dispatch_failure_stage(w.dispatch), cancel_stage(w.cancel), accept_stage(w.accept),
		deadline_stage(w.deadline), offer_stage(w.deadline), dispatch_settle_stage(w.dispatch) };
	struct batch_options batch = { .items_max = 1000, .holder = "w1" };
	w.batch = batch_new(w.loop, w.writer, &batch, stages, sizeof(stages) / sizeof(stages[0]));
	dispatch_attach(w.dispatch, w.batch);
	accept_attach(w.accept, w.batch);
	cancel_attach(w.cancel, w.batch);
	answer_attach(w.answer, w.batch);
	deadline_attach(w.deadline, w.batch);
	test_postgres_ask(&postgres,
		"truncate commands, events, vehicle_heads, idempotency, timers; delete from grants; delete from "
		"vehicles;"
		"insert into vehicles (vehicle_id) values ('" VEHICLE "');"
		"insert into vehicle_heads (vehicle_id, reachable, session, since) values ('" VEHICLE
		"', true, 's1', now());"
		"insert into grants (object_kind, object_id, subject, role, granted_by) values"
		" ('vehicle', '" VEHICLE "', 'alice', 'owner', 'test'), ('vehicle', '" VEHICLE
		"', 'vera', 'viewer', 'test');"
		"update leases set subscribed = true; delete from leases where name like 'worker/%';"
		"insert into leases (name, holder, epoch, expires_at) values ('worker/w1', 'w1', 1, now() + interval "
		"'1 hour')");
}

static void patient_setup(void)
{
	patience_ms = 10000;
	worker_setup();
	patience_ms = 0;
}

static bool is_idle(void)
{
	return batch_is_idle(w.batch) && test_links_are_idle(&links);
}

static void worker_teardown(void)
{
	deadline_stop(w.deadline);
	pump_until(is_idle);
	batch_free(w.batch);
	deadline_free(w.deadline);
	answer_free(w.answer);
	cancel_free(w.cancel);
	accept_free(w.accept);
	dispatch_free(w.dispatch);
	ck_assert_str_eq(test_postgres_ask(&postgres, "select coalesce(sum(deadlocks), 0) from pg_stat_database"), "0");
}

static bool is_done(void)
{
	return done;
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	(void)accept;
	got = fault;
	done = true;
}

static struct accept draft(void)
{
	return (struct accept){ .vehicle_id = VEHICLE,
		.subject = "alice",
		.name = "doors.unlock",
		.needs = 2,
		.params = "{\"door\":\"all\"}",
		.ttl_s = 30,
		.timeout_s = 20,
		.wake = true,
		.redelivery = "on_reconnect",
		.supersedes = "",
		.catalog = "{}",
		.on_done = on_accepted };
}

static const struct fault *accept_now(struct accept *a)
{
	done = false;
	got = accept_submit(w.accept, a);
	if (!got)
		pump_until(is_done);
	return got;
}

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

static const char *statuses(void)
{
	return ask("select string_agg(status || '/' || flight, ' ' order by accepted_seq) from commands");
}

static bool one_published(void)
{
	return w.published_count == 1;
}

static bool nothing_in_hand(void)
{
	return dispatch_in_hand(w.dispatch) == 0 && batch_is_idle(w.batch);
}

static void puback(int reason)
{
	dispatch_on_puback(w.dispatch, w.published[w.published_count - 1].mid, reason);
	pump_until(nothing_in_hand);
}

static void receive_answer(const char *id, struct receipt *receipt);

static void on_settled(struct receipt *r)
{
	got = r->fault;
	done = true;
}

/* A response of the vehicle; waits until it is settled. */
static void answer_on(const char *topic, const char *payload)
{
	struct receipt receipt;

	done = false;
	receipt_init(&receipt, on_settled);
	answer_receive(w.answer, NULL,
		&(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) }, &receipt);
	receipt_close(&receipt, NULL);
	pump_until(is_done);
	ck_assert_ptr_null(got);
}

static void answer(const char *id, const char *rest)
{
	char topic[TOPIC_SIZE], payload[512];

	topic_response(VEHICLE, topic);
	snprintf(payload, sizeof(payload), "{\"request_id\":\"%s\",%s}", id, rest);
	answer_on(topic, payload);
}

/* The same, and what becomes of it. */
static const struct fault *fault_of_answer(const char *id)
{
	struct receipt receipt;

	done = false;
	receive_answer(id, &receipt);
	pump_until(is_done);
	return got;
}

/* The last thing that the vehicle was told. */
static void assert_told(const char *topic_end, const char *part)
{
	ck_assert_uint_gt(w.published_count, 0);
	const char *topic = w.published[w.published_count - 1].topic,
		   *payload = w.published[w.published_count - 1].payload;
	ck_assert_msg(strstr(topic, topic_end) != NULL, "%s is not on …%s", topic, topic_end);
	ck_assert_msg(strstr(payload, part) != NULL, "%s lacks %s", payload, part);
}

START_TEST(goes_out_and_comes_back)
{
	struct accept a = draft();
	ck_assert_ptr_null(accept_now(&a));
	ck_assert_ptr_nonnull(strstr(a.command, "\"status\" : \"accepted\""));
	free(a.command);
	pump_until(one_published);
	ck_assert_str_eq(w.published[0].topic, "vehicles/" VEHICLE "/commands/request");
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":1}"));
	ck_assert_str_eq(statuses(), "accepted/claimed");
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	answer(a.id, "\"status\":\"succeeded\",\"result\":{\"doors\":\"open\"}");
	ck_assert_str_eq(statuses(), "succeeded/out");
	assert_told("commands/accepted", a.id);
	ck_assert_str_eq(
		ask("select string_agg(data->>'status', ' ' order by seq) from events"), "accepted sent succeeded");
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by seq) from events"), "1 2 3");
	ck_assert_str_eq(ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s"),
		"accepted reachability claimed published puback answer");
	ck_assert_str_eq(ask("select count(claim_id) from vehicle_heads"), "0");
}
END_TEST

/* The same journey by the other protocol. */
START_TEST(aws_vehicle_hears_and_says_what_it_knows)
{
	char response[TOPIC_SIZE], request[TOPIC_SIZE];
	ask("update vehicles set protocol = 'aws-commands'");
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	topic_execution(VEHICLE, a.id, "request/json", request);
	topic_execution(VEHICLE, a.id, "response/json", response);
	ck_assert_str_eq(w.published[0].topic, request);
	ck_assert_str_eq(w.published[0].payload, "{\"door\":\"all\"}");
	puback(0);
	answer_on(response, "{\"status\":\"IN_PROGRESS\",\"statusReason\":{\"reasonCode\":\"A\"}}");
	ck_assert_str_eq(statuses(), "in_progress/out");
	assert_told("response/accepted/json", a.id);
	answer_on(response, "{\"status\":\"SUCCEEDED\",\"result\":{\"doors\":{\"s\":\"open\"}}}");
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(ask("select result::text from commands"), "{\"doors\":\"open\"}");
	answer_on(response, "{\"status\":\"FAILED\"}");
	assert_told("response/rejected/json", "\"error\":\"TerminalStateReached\"");
}
END_TEST

/* Else the answer could come before anybody hears it. */
START_TEST(aws_vehicle_waits_for_its_own_feed)
{
	ask("update vehicles set protocol = 'aws-commands'");
	ask("update leases set subscribed = name <> 'feed/aws-commands' where name like 'feed/%'");
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(is_idle);
	ck_assert_str_eq(ask("select string_agg(kind, ' ') from timers"), "offer");
	ck_assert_uint_eq(w.published_count, 0);
	ask("update leases set subscribed = name = 'feed/aws-commands' where name like 'feed/%'");
	deadline_start(w.deadline);
	pump_until(one_published);
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
}
END_TEST

START_TEST(answer_overtakes_the_puback)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	int mid = w.published[0].mid;
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(
		ask("select string_agg(data->>'status', ' ' order by seq) from events"), "accepted sent succeeded");
	dispatch_on_puback(w.dispatch, mid, 0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(ask("select count(*) from events"), "3");
	ck_assert_str_eq(ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s"),
		"accepted reachability claimed answer published puback");
}
END_TEST

static bool turned;

static void on_turn(struct loop_soon *soon)
{
	(void)soon;
	turned = true;
}

static bool is_turned(void)
{
	return turned;
}

START_TEST(answer_takes_the_puback_along)
{
	struct accept a = draft();
	struct loop_soon turn;
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	loop_soon_init(&turn, on_turn);
	loop_soon_call(w.loop, &turn);
	pump_until(is_turned);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(
		ask("select string_agg(data->>'status', ' ' order by seq) from events"), "accepted sent succeeded");
	ck_assert_str_eq(ask("select count(distinct xid) from events"), "2");
	ck_assert_str_eq(ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s"),
		"accepted reachability claimed published puback answer");
}
END_TEST

static void on_pause_over(struct loop_timer *timer)
{
	(void)timer;
	turned = true;
}

/* Longer than a PUBACK waits for an answer. */
static void let_patience_end(void)
{
	struct loop_timer pause;

	turned = false;
	loop_timer_init(w.loop, &pause, on_pause_over);
	loop_timer_start(&pause, 50);
	pump_until(is_turned);
}

static void receive_answer(const char *id, struct receipt *receipt)
{
	char topic[TOPIC_SIZE], payload[128];

	topic_response(VEHICLE, topic);
	snprintf(payload, sizeof(payload), "{\"request_id\":\"%s\",\"status\":\"succeeded\"}", id);
	receipt_init(receipt, on_settled);
	answer_receive(w.answer, NULL,
		&(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) }, receipt);
	receipt_close(receipt, NULL);
}

/* Both come while another transaction is under way, and then leave together, as one change: told with one time. */
static void assert_taken_along(bool puback_first)
{
	struct accept first = draft(), second = draft();
	struct receipt receipt;

	accept_now(&first);
	free(first.command);
	pump_until(one_published);
	ask("begin; select from vehicle_heads for update");
	done = false;
	ck_assert_ptr_null(accept_submit(w.accept, &second));
	let_patience_end();
	ck_assert(!done);
	if (!puback_first)
		receive_answer(first.id, &receipt);
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	let_patience_end();
	if (puback_first)
		receive_answer(first.id, &receipt);
	ask("commit");
	pump_until(is_done);
	free(second.command);
	done = false;
	pump_until(is_done);
	char sql[256];
	snprintf(sql, sizeof(sql),
		"select string_agg(data->>'status', ' ' order by seq) || count(distinct at) from events where "
		"data->>'id' = '%s'",
		first.id);
	ck_assert_str_eq(ask(sql), "accepted sent succeeded2");
	snprintf(sql, sizeof(sql),
		"select string_agg(s->>'step', ' ') from commands c, jsonb_array_elements(timeline) s where c.id = "
		"'%s'",
		first.id);
	ck_assert_str_eq(ask(sql), "accepted reachability claimed published puback answer");
}

START_TEST(answer_takes_along_a_puback_that_waits_for_a_transaction)
{
	assert_taken_along(true);
}
END_TEST

START_TEST(puback_waits_for_an_answer_that_waits_for_a_transaction)
{
	assert_taken_along(false);
}
END_TEST

/* The reader of the vehicle's answers. */
static struct {
	bool has_left;
	size_t handed_over;
	char id[40];
} sibling;

static const char *publisher(void *owner, const char *vehicle_id)
{
	(void)owner;
	ck_assert_str_eq(vehicle_id, VEHICLE);
	return "w2";
}

static bool hand_over(void *owner, const struct claim *claim)
{
	(void)owner;
	ck_assert_str_eq(claim->worker, "w2");
	ck_assert_str_eq(claim->name, "doors.unlock");
	sibling.handed_over++;
	snprintf(sibling.id, sizeof(sibling.id), "%s", claim->id);
	return !sibling.has_left;
}

static void have_sibling(bool has_left)
{
	memset(&sibling, 0, sizeof(sibling));
	sibling.has_left = has_left;
	w.ports.publisher = publisher;
	w.ports.hand_over = hand_over;
}

START_TEST(claim_goes_to_who_hears_the_answer)
{
	struct accept a = draft();

	have_sibling(false);
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	ck_assert_uint_eq(sibling.handed_over, 1);
	ck_assert_str_eq(sibling.id, a.id);
	ck_assert_uint_eq(w.published_count, 0);
	ck_assert_uint_eq(dispatch_in_hand(w.dispatch), 0);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	ck_assert_str_eq(ask("select claim_worker from vehicle_heads"), "w2");
}
END_TEST

START_TEST(who_claimed_publishes_when_the_reader_has_left)
{
	struct accept a = draft();

	have_sibling(true);
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	ck_assert_uint_eq(sibling.handed_over, 1);
	ck_assert_uint_eq(w.published_count, 1);
	puback(0); /* counts for the claim as it was made */
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select claim_worker from vehicle_heads"), "");
}
END_TEST

/* What may go out first keeps its turn. */
START_TEST(a_new_command_is_claimed_at_once_only_when_nothing_is_before_it)
{
	struct accept first = draft(), second = draft(), third = draft();

	w.broker_is_up = false;
	accept_now(&first);
	accept_now(&second);
	w.broker_is_up = true;
	accept_now(&third);
	free(first.command);
	free(second.command);
	free(third.command);
	pump_until(one_published);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, first.id));
	ck_assert_str_eq(statuses(), "accepted/claimed accepted/none accepted/none");
}
END_TEST

START_TEST(repeated_and_late_answers)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	answer(a.id, "\"status\":\"failed\",\"reason\":{\"code\":\"DOOR_OPEN\"}");
	answer(a.id, "\"status\":\"failed\",\"reason\":{\"code\":\"DOOR_OPEN\"}");
	assert_told("commands/accepted", a.id);
	answer(a.id, "\"status\":\"succeeded\"");
	assert_told("commands/rejected", "TERMINAL_STATE");
	ck_assert_str_eq(ask("select count(*) from events"), "3");
	answer("0192f3c8-0000-7000-8000-000000000000", "\"status\":\"succeeded\"");
	assert_told("commands/rejected", "UNKNOWN_REQUEST");
	answer(a.id, "\"status\":\"done\"");
	assert_told("commands/rejected", "MALFORMED");
}
END_TEST

START_TEST(progress_starts_the_timeout_anew)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	ask("select pg_sleep(0.05)");
	const char *before = strdup(ask("select due_at from commands"));
	answer(a.id, "\"status\":\"in_progress\"");
	ck_assert_str_eq(statuses(), "in_progress/out");
	ck_assert_str_ne(ask("select due_at from commands"), before);
	free((char *)(uintptr_t)before);
	answer(a.id, "\"status\":\"in_progress\"");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

/* It may say so without end. */
START_TEST(a_timeline_has_an_end)
{
	char payload[2048], topic[TOPIC_SIZE], code[1200];
	struct accept a = draft();

	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	ask("update commands set timeline = (select jsonb_agg(step('answer') -> 0) from generate_series(1, 199))");
	memset(code, 'x', sizeof(code) - 1);
	code[sizeof(code) - 1] = '\0';
	topic_response(VEHICLE, topic);
	snprintf(payload, sizeof(payload),
		"{\"request_id\":\"%s\",\"status\":\"in_progress\",\"reason\":{\"code\":\"%s\"}}", a.id, code);
	answer_on(topic, payload);
	ck_assert_str_eq(ask("select jsonb_array_length(timeline) || coalesce(timeline -> -1 #>> '{detail,reason}', ' "
			     "none ') || "
			     "length(reason ->> 'code') from commands"),
		"200 none 1199");
	answer(a.id, "\"status\":\"in_progress\"");
	ck_assert_str_eq(ask("select jsonb_array_length(timeline) from commands"), "200");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(ask("select timeline -> 200 #>> '{detail,status}' from commands"), "succeeded");
}
END_TEST

/* The last word says nothing of a result: it keeps what was said on the way. */
/* What the server cannot do just now it can do later: the answer is not acknowledged, and the vehicle is told nothing. */

static const char *const TROUBLES[] = { "57014", "53100", "XX000", "0A000", "40001", "42501", "P0001" };

static void break_commands(const char *sqlstate)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		"create function trouble() returns trigger language plpgsql as $$ begin raise 'trouble' using errcode "
		"= '%s'; "
		"end $$; create trigger trouble before update on commands for each row execute function trouble()",
		sqlstate);
	ask(sql);
}

static void mend_commands(void)
{
	ask("drop trigger trouble on commands; drop function trouble");
}

START_TEST(an_answer_outlives_the_servers_trouble)
{
	struct accept a = draft();

	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	break_commands(TROUBLES[_i]);
	const struct fault *fault = fault_of_answer(a.id);
	mend_commands();
	ck_assert_msg(
		fault == &FAULT_STORAGE_UNAVAILABLE, "%s: %s", TROUBLES[_i], fault ? fault->name : "acknowledged");
	ck_assert_uint_eq(w.published_count, 1);
	ck_assert_str_eq(statuses(), "sent/out");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
	assert_told("commands/accepted", a.id);
}
END_TEST

/* The partitions that are missing will be made. */
START_TEST(an_answer_outlives_the_want_of_a_partition)
{
	struct accept a = draft();

	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	ask("do $$ declare part regclass; begin for part in select inhrelid::regclass from pg_inherits where inhparent "
	    "= "
	    "'events'::regclass loop execute format('drop table %s', part); end loop; end $$");
	const struct fault *fault = fault_of_answer(a.id);
	ask("select partitions_make()");
	ck_assert_msg(fault == &FAULT_STORAGE_UNAVAILABLE, "%s", fault ? fault->name : "acknowledged");
	ck_assert_uint_eq(w.published_count, 1);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

/* What cannot be in the database, in whatever state it is, is the answer's own mistake: told, and acknowledged. */
START_TEST(an_answers_own_mistake_is_told)
{
	static const char *const mistakes[] = { "22P05", "23514" };
	struct accept a = draft();

	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	break_commands(mistakes[_i]);
	const struct fault *fault = fault_of_answer(a.id);
	mend_commands();
	ck_assert_ptr_null(fault);
	assert_told("commands/rejected", "MALFORMED");
}
END_TEST

START_TEST(an_answer_after_progress_with_a_result_may_be_repeated)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	answer(a.id, "\"status\":\"in_progress\",\"result\":{\"percent\":50}");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(ask("select result from commands"), "{\"percent\":50}");
	answer(a.id, "\"status\":\"succeeded\"");
	assert_told("commands/accepted", a.id);
	answer(a.id, "\"status\":\"succeeded\",\"result\":{\"percent\":100}");
	assert_told("commands/rejected", "TERMINAL_STATE");
}
END_TEST

START_TEST(only_who_may_send)
{
	struct accept a = draft();
	a.subject = "vera";
	ck_assert_ptr_eq(accept_now(&a), &FAULT_FORBIDDEN);
	a.subject = "mallory";
	ck_assert_ptr_eq(accept_now(&a), &FAULT_VEHICLE_NOT_FOUND);
	a.vehicle_id = "NOBODY";
	ck_assert_ptr_eq(accept_now(&a), &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_uint_eq(w.published_count, 0);
	a = draft();
	a.subject = "root";
	a.admin = true;
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	ask("update grants set expires_at = now() where subject = 'alice'");
	a = draft();
	ck_assert_ptr_eq(accept_now(&a), &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_str_eq(ask("select count(*) from audit where not allowed and action = 'command.send'"), "4");
}
END_TEST

START_TEST(one_command_a_key)
{
	struct accept a = draft(), b, c;
	a.key = "k1";
	a.fingerprint = "f1";
	b = c = a;
	ck_assert_ptr_null(accept_now(&a));
	ck_assert_ptr_null(accept_now(&b));
	ck_assert(b.replayed);
	ck_assert_ptr_nonnull(strstr(b.command, a.id));
	c.fingerprint = "f2";
	ck_assert_ptr_eq(accept_now(&c), &FAULT_IDEMPOTENCY_KEY_REUSED);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	free(a.command);
	free(b.command);
}
END_TEST

static size_t told_count;

static void on_one_of_many(struct accept *accept, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	(void)accept;
	told_count++;
}

static bool all_told(void)
{
	return told_count == 20;
}

START_TEST(twenty_at_once_with_one_key)
{
	struct accept many[20];
	size_t replayed = 0;

	told_count = 0;
	for (size_t i = 0; i < 20; i++) {
		many[i] = draft();
		many[i].key = "same";
		many[i].fingerprint = "f";
		many[i].on_done = on_one_of_many;
		ck_assert_ptr_null(accept_submit(w.accept, &many[i]));
	}
	pump_until(all_told);
	for (size_t i = 0; i < 20; i++) {
		replayed += many[i].replayed;
		free(many[i].command);
	}
	ck_assert_uint_eq(replayed, 19);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
}
END_TEST

START_TEST(waits_for_a_vehicle_that_is_away)
{
	struct accept a = draft(), b = draft();
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	accept_now(&b);
	ck_assert_str_eq(statuses(), "waiting/none waiting/none");
	ck_assert_uint_eq(w.published_count, 0);
	/* It comes back: the oldest is claimed with the next transaction that concerns it, then the next one. */
	ask("update vehicle_heads set reachable = true, session = 's2';"
	    "insert into timers (kind, vehicle_id, due_at) values ('offer', '" VEHICLE "', now())");
	deadline_start(w.deadline);
	pump_until(one_published);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, a.id));
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	while (w.published_count < 2)
		uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, b.id));
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out sent/out");
	free(a.command);
	free(b.command);
}
END_TEST

START_TEST(queue_is_bounded)
{
	struct accept a;
	ask("update vehicle_heads set reachable = false");
	for (int i = 0; i < 5; i++) {
		a = draft();
		ck_assert_ptr_null(accept_now(&a));
		free(a.command);
	}
	a = draft();
	ck_assert_ptr_eq(accept_now(&a), &FAULT_QUEUE_FULL);
}
END_TEST

/* Of a vehicle that takes all and answers nothing: each accept looks at these, too. */
START_TEST(what_was_sent_and_not_answered_is_bounded)
{
	struct accept a = draft();
	ask("insert into commands (vehicle_id, id, status, flight, attempts, publish_session, name, issued_by, wake, "
	    "redelivery, catalog,"
	    " accepted_seq, timeout_seconds, created_at, expires_at, updated_at, sent_at, due_at)"
	    " select '" VEHICLE
	    "', (left(uuid7_floor(now())::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, 'accepted', 'claimed', 1, "
	    "'s1?', 'horn.honk', 'alice', true, 'on_reconnect', '{}', n, 86400, now(),"
	    " now() + interval '1 day', now(), now(), now() + interval '1 day' from generate_series(1, 1004) n;"
	    "update commands set status = 'sent', flight = 'out'");
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	a = draft();
	ck_assert_ptr_eq(accept_now(&a), &FAULT_QUEUE_FULL);
}
END_TEST

START_TEST(newer_supersedes_what_has_not_left)
{
	struct accept a = draft(), b = draft();
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	b.name = "doors.lock";
	b.supersedes = "doors.unlock";
	accept_now(&b);
	ck_assert_str_eq(statuses(), "canceled/none waiting/none");
	ck_assert_str_eq(ask("select reason->>'by' from commands where status = 'canceled'"), b.id);
	free(a.command);
	free(b.command);
}
END_TEST

/* Also what is claimed at that moment, if it comes back. */
START_TEST(newer_supersedes_what_comes_back_unsent)
{
	struct accept a = draft(), b = draft();
	accept_now(&a);
	pump_until(one_published);
	b.name = "doors.lock";
	b.supersedes = "doors.unlock";
	b.catalog = "{\"supersedes\":[\"doors.unlock\"]}";
	accept_now(&b);
	ck_assert_str_eq(statuses(), "accepted/claimed accepted/none");
	ask("update vehicle_heads set reachable = false");
	puback(0x10);
	ck_assert_str_eq(statuses(), "canceled/none waiting/none");
	ck_assert_str_eq(ask("select reason->>'by' from commands where status = 'canceled'"), b.id);
	free(a.command);
	free(b.command);
}
END_TEST

static void on_cancelled(struct cancel *c, const struct fault *fault)
{
	free(c->command);
	got = fault;
	done = true;
}

static const struct fault *cancel_now(const char *id, const char *subject)
{
	struct cancel c = { .vehicle_id = VEHICLE, .id = id, .subject = subject, .on_done = on_cancelled };
	done = false;
	ck_assert_ptr_null(cancel_submit(w.cancel, &c));
	pump_until(is_done);
	return got;
}

START_TEST(cancel_before_it_leaves)
{
	struct accept a = draft();
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	free(a.command);
	ck_assert_ptr_eq(cancel_now(a.id, "mallory"), &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_ptr_eq(cancel_now(a.id, "vera"), &FAULT_FORBIDDEN);
	ck_assert_ptr_eq(cancel_now("0192f3c8-0000-7000-8000-000000000000", "alice"), &FAULT_COMMAND_NOT_FOUND);
	ck_assert_ptr_null(cancel_now(a.id, "alice"));
	ck_assert_ptr_null(cancel_now(a.id, "alice"));
	ck_assert_str_eq(statuses(), "canceled/none");
}
END_TEST

START_TEST(no_cancel_once_it_may_have_left)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	ck_assert_ptr_eq(cancel_now(a.id, "alice"), &FAULT_COMMAND_ALREADY_SENT);
	puback(0);
	ck_assert_ptr_eq(cancel_now(a.id, "alice"), &FAULT_COMMAND_ALREADY_SENT);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_ptr_eq(cancel_now(a.id, "alice"), &FAULT_COMMAND_ALREADY_FINAL);
}
END_TEST

static bool is_over(void)
{
	return strcmp(ask("select count(*) from commands where status in ('expired', 'timed_out')"), "1") == 0;
}

START_TEST(expires_undelivered)
{
	struct accept a = draft();
	a.ttl_s = 1;
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	free(a.command);
	deadline_start(w.deadline);
	pump_until(is_over);
	ck_assert_str_eq(statuses(), "expired/none");
	ck_assert_str_eq(ask("select reason->>'code' from commands"), "EXPIRED");
}
END_TEST

START_TEST(times_out_and_keeps_a_late_answer)
{
	struct accept a = draft();
	a.timeout_s = 1;
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	deadline_start(w.deadline);
	pump_until(is_over);
	ck_assert_str_eq(statuses(), "timed_out/out");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(ask("select late from commands"), "t");
}
END_TEST

/* What is dated after the expiry, where nothing of the vehicle's is dated before, may have been done after it. */

static bool has_expired(void)
{
	return strcmp(ask("select expires_at < clock_timestamp() from commands"), "t") == 0;
}

static const struct {
	const char *in_time, *late; /* what it says before the expiry and after it; NULL: nothing */
	const char *flags;	    /* of its answers in the timeline */
} DATES[] = {
	{ NULL, "\"status\":\"succeeded\"", "true" },
	{ NULL, "\"status\":\"failed\",\"reason\":{\"code\":\"DOOR_OPEN\"}", "true" },
	{ NULL, "\"status\":\"rejected\",\"reason\":{\"code\":\"EXPIRED\"}", "null" },
	{ "\"status\":\"in_progress\"", "\"status\":\"succeeded\"", "null null" },
	{ "\"status\":\"succeeded\"", "\"status\":\"succeeded\"", "null" }, /* said again */
};

START_TEST(a_result_dated_after_expiry_is_flagged_and_counted)
{
	int64_t counted = metric_value(METRIC_ANSWERS_AFTER_EXPIRY);
	struct accept a = draft();

	a.ttl_s = 1;
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	if (DATES[_i].in_time)
		answer(a.id, DATES[_i].in_time);
	pump_until(has_expired);
	answer(a.id, DATES[_i].late);
	assert_told("commands/accepted", a.id);
	ck_assert_str_eq(ask("select string_agg(coalesce(s #>> '{detail,after_expiry}', 'null'), ' ') "
			     "from commands, jsonb_array_elements(timeline) s where s ->> 'step' = 'answer'"),
		DATES[_i].flags);
	ck_assert_int_eq(
		metric_value(METRIC_ANSWERS_AFTER_EXPIRY) - counted, strcmp(DATES[_i].flags, "true") == 0 ? 1 : 0);
}
END_TEST

/* The first word comes after the expiry: so does the last. */
START_TEST(progress_after_expiry_excuses_nothing)
{
	int64_t counted = metric_value(METRIC_ANSWERS_AFTER_EXPIRY);
	struct accept a = draft();

	a.ttl_s = 1;
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	pump_until(has_expired);
	answer(a.id, "\"status\":\"in_progress\"");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(ask("select timeline -> -1 #>> '{detail,after_expiry}' from commands"), "true");
	ck_assert_int_eq(metric_value(METRIC_ANSWERS_AFTER_EXPIRY) - counted, 1);
}
END_TEST

START_TEST(nobody_there)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	/* the port says that the vehicle is away, as state/ does in the same transaction */
	ask("update vehicle_heads set reachable = false");
	puback(0x10);
	ck_assert_uint_eq(w.disproved, 1);
	ck_assert_str_eq(statuses(), "waiting/none");
	ck_assert_str_eq(ask("select attempts from commands"), "0");
}
END_TEST

static bool two_published(void)
{
	return w.published_count == 2;
}

/* Else it would go round as fast as broker and database can, for as long as the command lives. */
START_TEST(what_the_broker_refuses_is_offered_again_a_second_later)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	int64_t refused_ms = loop_monotonic_ms(w.loop);
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0x97); /* quota exceeded */
	pump_until(two_published);
	ck_assert_int_ge(loop_monotonic_ms(w.loop) - refused_ms, 1000);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":1}"));
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select attempts from commands"), "1");
}
END_TEST

START_TEST(what_the_link_does_not_take_is_offered_again_a_second_later)
{
	struct accept a = draft();
	int64_t refused_ms = loop_monotonic_ms(w.loop);
	w.link_is_full = true;
	accept_now(&a);
	free(a.command);
	ck_assert_uint_eq(w.turned_away, 1);
	w.link_is_full = false;
	pump_until(one_published);
	ck_assert_int_ge(loop_monotonic_ms(w.loop) - refused_ms, 1000);
	ck_assert_uint_eq(w.turned_away, 1);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":1}"));
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s"),
		"accepted reachability claimed claimed published puback");
}
END_TEST

/* The vehicle is away, and back: what was disproved is claimed again, and is attempt 1 again. */
static void offer_again(void)
{
	ask("update vehicle_heads set reachable = true, since = now(), session = 's2';"
	    "insert into timers (kind, vehicle_id, due_at) values ('offer', '" VEHICLE "', now())");
	deadline_start(w.deadline);
	pump_until(two_published);
	pump_until(is_idle);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":1}"));
	ck_assert_str_eq(statuses(), "waiting/claimed");
}

static bool unit_done;

static void on_unit(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)unit;
	(void)context;
	ck_assert_ptr_null(fault);
	unit_done = true;
}

static bool is_unit_done(void)
{
	return unit_done;
}

static void add_one(struct db_unit *unit, const char *text)
{
	struct db_array array = { 0 };
	db_array_text(&array, text);
	db_param_array(unit, &array);
}

/* Records what became of a publish, as its worker does that did not hear whether it was recorded. */
static void record(const char *id, int number, const char *verdict, const char *steps)
{
	struct db_array attempts = { 0 }, numbers = { 0 };
	struct db_unit *unit = db_unit_new(w.writer, on_unit, NULL);

	db_unit_add(unit, &SQL_puback);
	add_one(unit, VEHICLE);
	add_one(unit, id);
	db_array_int(&attempts, 1);
	db_param_array(unit, &attempts);
	add_one(unit, verdict);
	add_one(unit, steps);
	add_one(unit, "w1");
	db_array_int(&numbers, number);
	db_param_array(unit, &numbers);
	unit_done = false;
	db_unit_submit(unit);
	pump_until(is_unit_done);
}

START_TEST(a_verdict_that_is_recorded_twice_does_not_end_the_next_claim)
{
	struct accept a = draft();
	char steps[512];

	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	ask("update vehicle_heads set reachable = false");
	puback(0x10);
	snprintf(steps, sizeof(steps), "%s", ask("select jsonb_build_array(timeline->-2, timeline->-1) from commands"));
	ck_assert_ptr_nonnull(strstr(steps, "published"));
	offer_again();
	record(a.id, 0, "nobody", steps);
	ck_assert_str_eq(statuses(), "waiting/claimed");
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	record(a.id, 1, "puback", ask("select jsonb_build_array(timeline->-2, timeline->-1) from commands"));
	ck_assert_str_eq(ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s"),
		"accepted reachability claimed published puback claimed published puback");
}
END_TEST

/* It was never handed over, so its attempt is no attempt, and the next claim has the same number of it. */
START_TEST(a_release_that_is_recorded_twice_does_not_end_the_next_claim)
{
	struct accept a = draft();

	accept_now(&a);
	free(a.command);
	record(a.id, 0, "release", "[]");
	ck_assert_str_eq(statuses(), "accepted/none");
	ask("select command_apply('w1', array['" VEHICLE "'], (select array_agg(id) from commands), array['claim'],"
	    " array[null::json], array[null::json], array[null::text], array['[]'::jsonb])");
	ck_assert_str_eq(ask("select claim_worker || ' ' || claim_attempt from vehicle_heads"), "w1 1");
	record(a.id, 0, "release", "[]");
	ck_assert_str_eq(statuses(), "accepted/claimed");
	record(a.id, 1, "release", "[]");
	ck_assert_str_eq(statuses(), "accepted/none");
}
END_TEST

static bool is_connected(void)
{
	return db_is_up(w.writer);
}

static bool is_disconnected(void)
{
	return !is_connected();
}

/* A claim that another worker's transaction made for this one. */
static void take_over(const struct accept *a, int attempt, int number)
{
	dispatch_publish(w.dispatch, &(struct claim){ .worker = "w1",
					     .vehicle_id = VEHICLE,
					     .id = a->id,
					     .name = a->name,
					     .params = a->params,
					     .issued_at = "2026-01-01T00:00:00.000000Z",
					     .expires_at = "2026-01-01T00:00:30.000000Z",
					     .expires_us = loop_unix_us(w.loop) + 30000000,
					     .attempt = attempt,
					     .number = number,
					     .session = "s1",
					     .protocol = "keyfob" });
}

static void run_on(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	ck_assert_msg(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK, "%s: %s",
		sql, PQerrorMessage(conn));
	PQclear(result);
}

/* It was recorded, and nobody heard of it: that the command is claimed again says so. */
START_TEST(a_verdict_that_waits_is_moot_when_the_command_is_claimed_again)
{
	struct accept a = draft();

	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	PGconn *other = PQconnectdb(postgres.url);
	run_on(other, "begin; select from vehicle_heads for update");
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0x10);
	let_patience_end();
	ask("select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'");
	pump_until(is_disconnected);
	run_on(other,
		"select command_apply(case e when 'claim' then 'w1' end, array['" VEHICLE
		"'], (select array_agg(id) from "
		"commands), array[e], array[null::json], array[null::json], array[null::text], array['[]'::jsonb])"
		" from unnest(array['release', 'claim']) e; commit");
	PQfinish(other);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	take_over(&a, 1, 1);
	ck_assert_uint_eq(w.published_count, 2);
	pump_until(is_connected);
	for (int i = 0; i < 10; i++) /* longer than a verdict waits to be recorded once more */
		let_patience_end();
	pump_until(is_idle);
	ck_assert_uint_eq(dispatch_in_hand(w.dispatch), 1);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_uint_eq(w.published_count, 2);
}
END_TEST

/* The PUBACK is with the answer's transaction. */
START_TEST(a_claim_that_comes_amid_the_answer_is_another)
{
	struct accept a = draft();
	struct receipt receipt;

	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	ask("begin; select from vehicle_heads for update");
	done = false;
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	receive_answer(a.id, &receipt);
	let_patience_end();
	take_over(&a, 2, 1);
	ask("commit");
	pump_until(is_done);
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_uint_eq(dispatch_in_hand(w.dispatch), 1);
	dispatch_on_puback(w.dispatch, w.published[1].mid, 0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

START_TEST(nobody_there_in_an_older_session)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	ask("update vehicle_heads set session = 's2'");
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0x10);
	pump_until(two_published);
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select attempts from commands"), "1");
}
END_TEST

START_TEST(link_lost_before_the_puback)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	dispatch_on_link_down(w.dispatch);
	pump_until(two_published); /* offered again at once, by the same transaction */
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":2"));
	puback(0);
	ck_assert_str_eq(ask("select attempts from commands"), "2");
}
END_TEST

START_TEST(never_is_published_at_most_once)
{
	struct accept a = draft(), b = draft();
	a.redelivery = "never";
	a.ttl_s = 2;
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	dispatch_on_link_down(w.dispatch);
	pump_until(nothing_in_hand);
	accept_now(&b); /* not held up */
	free(b.command);
	pump_until(two_published);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, b.id));
	puback(0);
	deadline_start(w.deadline);
	pump_until(is_over);
	ck_assert_str_eq(statuses(), "timed_out/out sent/out");
	ck_assert_uint_eq(w.published_count, 2);
}
END_TEST

/* Two seconds before it is due, as soon as the death is known. */
START_TEST(dead_workers_claim_is_taken_up_at_once)
{
	struct accept a = draft();
	char due_at[64], question[128];

	w.broker_is_up = false;
	accept_now(&a);
	free(a.command);
	ask("insert into leases (name, holder, epoch, expires_at) values ('worker/w2', 'w2', 1, now() + interval '1 "
	    "hour');"
	    "select command_apply('w2', array['" VEHICLE
	    "'], (select array_agg(id) from commands), array['claim'], array[null::json],"
	    " array[null::json], array[null::text], array[null::jsonb])");
	snprintf(due_at, sizeof(due_at), "%s", ask("select due_at from commands"));
	w.broker_is_up = true;
	deadline_start(w.deadline);
	deadline_on_death(w.deadline); /* of somebody else */
	for (int i = 0; i < 10; i++)
		let_patience_end();
	ck_assert_str_eq(statuses(), "accepted/claimed");
	ask("update leases set expires_at = clock_timestamp() where name = 'worker/w2'");
	deadline_on_death(w.deadline);
	pump_until(one_published);
	snprintf(question, sizeof(question), "select clock_timestamp() < '%s'", due_at);
	ck_assert_str_eq(ask(question), "t");
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":2"));
	puback(0);
}
END_TEST

START_TEST(dead_workers_claim_is_taken_up)
{
	struct accept a = draft();
	w.broker_is_up = false;
	accept_now(&a);
	free(a.command);
	ask("update leases set expires_at = now() - interval '1 second' where name = 'worker/w2';"
	    "select command_apply('w2', array['" VEHICLE
	    "'], (select array_agg(id) from commands), array['claim'], array[null::json],"
	    " array[null::json], array[null::text], array[null::jsonb])");
	ck_assert_str_eq(statuses(), "accepted/claimed");
	w.broker_is_up = true;
	deadline_start(w.deadline);
	pump_until(one_published);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":2"));
	puback(0);
}
END_TEST

START_TEST(offered_again_in_another_session)
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	ask("update vehicle_heads set session = 's2';"
	    "insert into timers (kind, vehicle_id, due_at) values ('offer', '" VEHICLE "', now())");
	deadline_start(w.deadline);
	pump_until(two_published);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":2"));
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

static bool three_published(void)
{
	return w.published_count == 3;
}

/* What a retired vehicle was sent is for nobody: not for who registers it anew. */
START_TEST(nothing_outlives_a_retirement)
{
	struct accept sent = draft(), claimed = draft(), mine = draft();
	accept_now(&sent);
	pump_until(one_published);
	puback(0);
	accept_now(&claimed);
	pump_until(two_published);
	ask("update vehicles set retired_at = now(); update vehicle_heads set reachable = false");
	puback(0x10);
	ck_assert_str_eq(ask("select reason->>'code' from commands where status = 'canceled'"), "ACCESS_REVOKED");
	ask("update vehicles set retired_at = null, created_at = clock_timestamp();"
	    "update vehicle_heads set reachable = true, session = 's2'");
	accept_now(&mine);
	pump_until(three_published);
	ck_assert_ptr_nonnull(strstr(w.published[2].payload, mine.id));
	puback(0);
	ck_assert_uint_eq(w.published_count, 3);
	free(sent.command);
	free(claimed.command);
	free(mine.command);
}
END_TEST

/* Sent, and offered again in a session whose publish nobody vouches for: that session is offered it once more. */
static void lose_in_another_session(void (*lose)(void))
{
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(one_published);
	puback(0);
	ask("update vehicle_heads set session = 's2';"
	    "insert into timers (kind, vehicle_id, due_at) values ('offer', '" VEHICLE "', now())");
	deadline_start(w.deadline);
	pump_until(two_published);
	lose();
	pump_until(three_published);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}

static void lose_link(void)
{
	dispatch_on_link_down(w.dispatch);
}

static void refuse(void)
{
	dispatch_on_puback(w.dispatch, w.published[1].mid, 0x97);
}

START_TEST(link_lost_in_another_session)
{
	lose_in_another_session(lose_link);
}
END_TEST

START_TEST(refused_in_another_session)
{
	lose_in_another_session(refuse);
}
END_TEST

static void start_server(void)
{
	test_links_open(&links, &postgres, 1, 0);
}

static void end_server(void)
{
	test_links_close(&links, &postgres);
}

int main(void)
{
	Suite *suite = suite_create("journey");
	TCase *tc = tcase_create("journey");

	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, goes_out_and_comes_back);
	tcase_add_test(tc, aws_vehicle_hears_and_says_what_it_knows);
	tcase_add_test(tc, aws_vehicle_waits_for_its_own_feed);
	tcase_add_test(tc, answer_overtakes_the_puback);
	tcase_add_test(tc, answer_takes_along_a_puback_that_waits_for_a_transaction);
	tcase_add_test(tc, puback_waits_for_an_answer_that_waits_for_a_transaction);
	tcase_add_test(tc, claim_goes_to_who_hears_the_answer);
	tcase_add_test(tc, who_claimed_publishes_when_the_reader_has_left);
	tcase_add_test(tc, a_new_command_is_claimed_at_once_only_when_nothing_is_before_it);
	tcase_add_test(tc, repeated_and_late_answers);
	tcase_add_test(tc, progress_starts_the_timeout_anew);
	tcase_add_test(tc, a_timeline_has_an_end);
	tcase_add_loop_test(tc, an_answer_outlives_the_servers_trouble, 0, sizeof(TROUBLES) / sizeof(TROUBLES[0]));
	tcase_add_test(tc, an_answer_outlives_the_want_of_a_partition);
	tcase_add_loop_test(tc, an_answers_own_mistake_is_told, 0, 2);
	tcase_add_test(tc, an_answer_after_progress_with_a_result_may_be_repeated);
	tcase_add_test(tc, only_who_may_send);
	tcase_add_test(tc, one_command_a_key);
	tcase_add_test(tc, twenty_at_once_with_one_key);
	tcase_add_test(tc, waits_for_a_vehicle_that_is_away);
	tcase_add_test(tc, queue_is_bounded);
	tcase_add_test(tc, what_was_sent_and_not_answered_is_bounded);
	tcase_add_test(tc, newer_supersedes_what_has_not_left);
	tcase_add_test(tc, newer_supersedes_what_comes_back_unsent);
	tcase_add_test(tc, nothing_outlives_a_retirement);
	tcase_add_test(tc, cancel_before_it_leaves);
	tcase_add_test(tc, no_cancel_once_it_may_have_left);
	tcase_add_test(tc, expires_undelivered);
	tcase_add_test(tc, times_out_and_keeps_a_late_answer);
	tcase_add_loop_test(
		tc, a_result_dated_after_expiry_is_flagged_and_counted, 0, sizeof(DATES) / sizeof(DATES[0]));
	tcase_add_test(tc, progress_after_expiry_excuses_nothing);
	tcase_add_test(tc, nobody_there);
	tcase_add_test(tc, what_the_broker_refuses_is_offered_again_a_second_later);
	tcase_add_test(tc, what_the_link_does_not_take_is_offered_again_a_second_later);
	tcase_add_test(tc, a_verdict_that_is_recorded_twice_does_not_end_the_next_claim);
	tcase_add_test(tc, a_release_that_is_recorded_twice_does_not_end_the_next_claim);
	tcase_add_test(tc, a_verdict_that_waits_is_moot_when_the_command_is_claimed_again);
	tcase_add_test(tc, a_claim_that_comes_amid_the_answer_is_another);
	tcase_add_test(tc, nobody_there_in_an_older_session);
	tcase_add_test(tc, link_lost_before_the_puback);
	tcase_add_test(tc, never_is_published_at_most_once);
	tcase_add_test(tc, dead_workers_claim_is_taken_up);
	tcase_add_test(tc, dead_workers_claim_is_taken_up_at_once);
	tcase_add_test(tc, offered_again_in_another_session);
	tcase_add_test(tc, link_lost_in_another_session);
	tcase_add_test(tc, refused_in_another_session);
	suite_add_tcase(suite, tc);
	TCase *patient = tcase_create("patient");
	tcase_add_unchecked_fixture(patient, start_server, end_server);
	tcase_add_checked_fixture(patient, patient_setup, worker_teardown);
	tcase_set_timeout(patient, 60);
	tcase_add_test(patient, answer_takes_the_puback_along);
	suite_add_tcase(suite, patient);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
