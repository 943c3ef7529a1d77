/* ground.c - a worker, its vehicle, and what they say. */
#include "tests/unit/commands/journey/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/mqtt/link.h"
#include "commands/answer.h"
#include "commands/cancel.h"
#include "commands/topic.h"
#include "tests/links.h"

struct test_postgres postgres;
struct worker w;
bool done;
const struct fault *got;

static struct test_links links;

const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

void pump_until(bool (*reached)(void))
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

static void begin_with(int patience_ms)
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
	ask("truncate commands, events, vehicle_heads, idempotency, timers; delete from grants; delete from "
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

void begin(void)
{
	begin_with(0);
}

void begin_patient(void)
{
	begin_with(10000);
}

bool is_idle(void)
{
	return batch_is_idle(w.batch) && test_links_are_idle(&links);
}

static void end(void)
{
	deadline_stop(w.deadline);
	pump_until(is_idle);
	batch_free(w.batch);
	deadline_free(w.deadline);
	answer_free(w.answer);
	cancel_free(w.cancel);
	accept_free(w.accept);
	dispatch_free(w.dispatch);
	ck_assert_str_eq(ask("select coalesce(sum(deadlocks), 0) from pg_stat_database"), "0");
}

TCase *case_new(Suite *suite, const char *name, void (*set_up)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, set_up, end);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return tc;
}

void ground_open(void)
{
	test_links_open(&links, &postgres, 1, 0);
}

void ground_close(void)
{
	test_links_close(&links, &postgres);
}

bool is_done(void)
{
	return done;
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	(void)accept;
	got = fault;
	done = true;
}

struct accept draft(void)
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

const struct fault *accept_now(struct accept *a)
{
	done = false;
	got = accept_submit(w.accept, a);
	if (!got)
		pump_until(is_done);
	return got;
}

const char *statuses(void)
{
	return ask("select string_agg(status || '/' || flight, ' ' order by accepted_seq) from commands");
}

const char *steps(void)
{
	return ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s");
}

const char *events(void)
{
	return ask("select string_agg(data->>'status', ' ' order by seq) from events");
}

void come_back_in_another_session(void)
{
	ask("update vehicle_heads set reachable = true, since = now(), session = 's2';"
	    "insert into timers (kind, vehicle_id, due_at) values ('offer', '" VEHICLE "', now())");
	deadline_start(w.deadline);
}

bool one_published(void)
{
	return w.published_count == 1;
}

bool two_published(void)
{
	return w.published_count == 2;
}

bool three_published(void)
{
	return w.published_count == 3;
}

bool one_is_over(void)
{
	return strcmp(ask("select count(*) from commands where status in ('expired', 'timed_out')"), "1") == 0;
}

bool nothing_in_hand(void)
{
	return dispatch_in_hand(w.dispatch) == 0 && batch_is_idle(w.batch);
}

void send_out(struct accept *a)
{
	ck_assert_ptr_null(accept_now(a));
	free(a->command);
	pump_until(one_published);
}

void puback(int reason)
{
	dispatch_on_puback(w.dispatch, w.published[w.published_count - 1].mid, reason);
	pump_until(nothing_in_hand);
}

static void on_settled(struct receipt *r)
{
	got = r->fault;
	done = true;
}

static void hear(const char *topic, const char *payload, struct receipt *receipt)
{
	receipt_init(receipt, on_settled);
	answer_receive(w.answer, NULL,
		&(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) }, receipt);
	receipt_close(receipt, NULL);
}

void receive_answer(const char *id, struct receipt *receipt)
{
	char topic[TOPIC_SIZE], payload[128];

	topic_response(VEHICLE, topic);
	snprintf(payload, sizeof(payload), "{\"request_id\":\"%s\",\"status\":\"succeeded\"}", id);
	hear(topic, payload, receipt);
}

void answer_on(const char *topic, const char *payload)
{
	struct receipt receipt;

	done = false;
	hear(topic, payload, &receipt);
	pump_until(is_done);
	ck_assert_ptr_null(got);
}

void answer(const char *id, const char *rest)
{
	char topic[TOPIC_SIZE], payload[512];

	topic_response(VEHICLE, topic);
	snprintf(payload, sizeof(payload), "{\"request_id\":\"%s\",%s}", id, rest);
	answer_on(topic, payload);
}

void assert_told(const char *topic_end, const char *part)
{
	ck_assert_uint_gt(w.published_count, 0);
	const char *topic = w.published[w.published_count - 1].topic,
		   *payload = w.published[w.published_count - 1].payload;
	ck_assert_msg(strstr(topic, topic_end) != NULL, "%s is not on …%s", topic, topic_end);
	ck_assert_msg(strstr(payload, part) != NULL, "%s lacks %s", payload, part);
}

static bool is_pause_over;

static void on_pause_over(struct loop_timer *timer)
{
	(void)timer;
	is_pause_over = true;
}

static bool has_paused(void)
{
	return is_pause_over;
}

void let_patience_end(void)
{
	struct loop_timer pause;

	is_pause_over = false;
	loop_timer_init(w.loop, &pause, on_pause_over);
	loop_timer_start(&pause, 50);
	pump_until(has_paused);
}
