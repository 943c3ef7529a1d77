/* ground.c - a worker whose broker and providers are scripted. */
#include "tests/unit/notifier/wake/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/mqtt/link.h"
#include "commands/accept.h"
#include "sql/statements.h"
#include "tests/links.h"

#define FROZEN_MS 5200

struct test_postgres postgres;
struct worker w;

static struct test_links links;
static bool done;
static const struct fault *got;

void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + 8000000000ull;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
}

const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

/* The broker. */

static bool can_publish(void *owner)
{
	(void)owner;
	return w.broker_is_up;
}

static bool hears_nobody(void *owner)
{
	(void)owner;
	return w.hears_nobody;
}

static bool was_lost(void *owner, int64_t *lost_ms, int64_t *back_ms)
{
	(void)owner;
	*lost_ms = w.lost_ms;
	*back_ms = w.back_ms;
	return w.lost_ms > 0;
}

static void on_answer(struct loop_soon *soon)
{
	(void)soon;
	dispatch_on_puback(w.dispatch, w.mid, w.puback);
}

static int publish(void *owner, const struct mqtt_publish *m)
{
	(void)owner;
	w.published++;
	snprintf(w.last_published, sizeof(w.last_published), "%s", m->correlation);
	if (w.puback != NOT_PUBACKED)
		loop_soon_call(w.loop, &w.answer);
	return ++w.mid;
}

static void on_disproved(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
}

/* As state/ does it, in the transaction that records the PUBACK. */
static void disprove(void *owner, const char *vehicle_id, const char *session)
{
	(void)owner;
	ck_assert_str_eq(vehicle_id, VEHICLE);
	if (!w.disproves)
		return;
	ck_assert_str_eq(session, "s1");
	w.disproof = (struct batch_item){ .stage = &w.touch, .vehicle_id = VEHICLE, .on_done = on_disproved };
	list_init(&w.disproof.node);
	ck_assert_ptr_null(batch_submit(w.batch, &w.disproof));
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

/* The providers. */

static void submit(void *self, const struct sms *sms, struct sms_submission *submission)
{
	struct scripted *p = self;
	size_t i = p->count++;

	ck_assert_uint_lt(i, SMS_MAX);
	p->submissions[i] = submission;
	snprintf(p->sms[i].msisdn, sizeof(p->sms[i].msisdn), "%s", sms->msisdn);
	snprintf(p->sms[i].text, sizeof(p->sms[i].text), "%s", sms->text);
	snprintf(p->sms[i].id, sizeof(p->sms[i].id), "%s", sms->id);
	p->sms[i].validity_s = sms->validity_s;
	ck_assert_str_eq(sms->vehicle_id, VEHICLE);
}

void tell(struct scripted *p, enum sms_verdict verdict, const char *message_id, const char *reason)
{
	struct sms_submission *submission = p->submissions[p->count - 1];

	ck_assert_ptr_nonnull(submission);
	p->submissions[p->count - 1] = NULL;
	submission->on_done(
		submission, &(struct sms_outcome){ .verdict = verdict, .message_id = message_id, .reason = reason });
}

static void on_closing(struct loop_soon *soon)
{
	struct scripted *p = container_of(soon, struct scripted, closing);

	if (p->count > 0 && p->submissions[p->count - 1])
		tell(p, SMS_UNKNOWN, NULL, "CLOSED");
	p->closed_after = w.closed_providers++;
	p->on_closed(p->owner);
}

static void provider_close(void *self, void (*on_closed)(void *owner), void *owner)
{
	struct scripted *p = self;

	p->on_closed = on_closed;
	p->owner = owner;
	loop_soon_call(w.loop, &p->closing);
}

static void script(struct scripted *p, const char *name, bool gives_receipts)
{
	p->table = (struct sms_provider){
		.name = name, .gives_receipts = gives_receipts, .self = p, .submit = submit, .close = provider_close
	};
	loop_soon_init(&p->closing, on_closing);
}

/* A worker. */

static void write_touch(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, sessions = { 0 };

	(void)stage;
	(void)cut;
	(void)count;
	if (items[0] != &w.disproof)
		return;
	db_array_text(&vehicles, VEHICLE);
	db_array_text(&sessions, "s1");
	db_unit_add(unit, &SQL_disproof_apply);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &sessions);
}

/* Frozen (SIGSTOP, a machine that is moved) when a slot was committed and before anybody heard of it. */
static void freeze(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first)
{
	(void)stage;
	(void)cut;
	(void)unit;
	(void)first;
	if (!w.freezes || strcmp(ask("select count(*) from wakeups where status = 'spent'"), "1") != 0)
		return;
	w.freezes = false;
	uv_sleep(FROZEN_MS);
}

static void make_batch(void)
{
	struct batch_stage *stages[5 + WAKE_STAGES];
	size_t n = 0;

	w.touch = (struct batch_stage){ .name = "touch", .write = write_touch, .read_finish = freeze };
	stages[n++] = &w.touch;
	stages[n++] = dispatch_puback_stage(w.dispatch);
	stages[n++] = dispatch_failure_stage(w.dispatch);
	stages[n++] = accept_stage(w.accept);
	wake_stages(w.wake, &stages[n]);
	n += WAKE_STAGES;
	stages[n++] = dispatch_settle_stage(w.dispatch);
	w.batch = batch_new(w.loop, w.writer, &(struct batch_options){ .items_max = 1000, .holder = "w1" }, stages, n);
	dispatch_attach(w.dispatch, w.batch);
	accept_attach(w.accept, w.batch);
	wake_attach(w.wake, w.batch);
}

static const char seed[] =
	"truncate commands, events, vehicle_heads, idempotency, timers, wakeups, absences; delete from grants; delete "
	"from "
	"vehicles;"
	"insert into vehicles (vehicle_id, msisdn) values ('" VEHICLE "', '" MSISDN "');"
	"insert into vehicle_heads (vehicle_id, reachable, since) values ('" VEHICLE
	"', false, now() - interval '1 hour');"
	"insert into grants (object_kind, object_id, subject, role, granted_by) values"
	" ('vehicle', '" VEHICLE "', 'alice', 'owner', 'test');"
	"update leases set subscribed = true; delete from leases where name like 'worker/%';"
	"insert into leases (name, holder, epoch, expires_at) values ('worker/w1', 'w1', 1, now() + interval '1 hour')";

static void set_up(void)
{
	static const char *const names[] = { "first", "second" };

	memset(&w, 0, sizeof(w));
	w.loop = links.loop;
	w.broker_is_up = w.hears_nobody = true;
	w.puback = 0x10;
	atomic_store(&w.enabled, true);
	loop_soon_init(&w.answer, on_answer);
	w.writer = links.of[0].writer;
	w.reader = links.of[0].reader;
	w.ports = (struct command_ports){ .can_publish = can_publish,
		.publish = publish,
		.disprove = disprove,
		.prove = prove,
		.report_state = report_state };
	w.wake_ports =
		(struct wake_ports){ .can_publish = can_publish, .hears_nobody = hears_nobody, .was_lost = was_lost };
	w.options = (struct wake_options){ .writer = w.writer,
		.reader = w.reader,
		.ports = &w.wake_ports,
		.enabled = &w.enabled,
		.text = "WAKE {vehicle_id}",
		.receipt_timeout_ms = 20000,
		.min_interval_ms = 30000,
		.validity_ms = 600000,
		.return_delay_ms = 60000,
		.max_attempts = 3,
		.daily_budget = 20,
		.provider_names = names,
		.provider_count = 2 };
	w.dispatch =
		dispatch_new(w.loop, &(struct dispatch_options){ .db = w.writer, .worker = "w1", .ports = &w.ports });
	w.accept = accept_new(w.loop, w.writer, w.dispatch, 100);
	ask(seed);
}

void start(void)
{
	struct sms_provider *providers[] = { &w.first.table, &w.second.table };

	script(&w.first, "first", true);
	script(&w.second, "second", false);
	wake_start(w.wake, providers);
}

void begin(void)
{
	w.wake = wake_new(w.loop, &w.options);
	make_batch();
	start();
}

bool is_quiet(void)
{
	return wake_is_quiet(w.wake) && dispatch_in_hand(w.dispatch) == 0 && batch_is_idle(w.batch) &&
	       test_links_are_idle(&links);
}

static void tear_down(void)
{
	if (w.puback == NOT_PUBACKED)
		dispatch_on_link_down(w.dispatch);
	wake_stop(w.wake);
	pump_until(is_quiet);
	ck_assert_uint_eq(w.closed_providers, 2);
	batch_free(w.batch);
	wake_free(w.wake);
	accept_free(w.accept);
	dispatch_free(w.dispatch);
	ck_assert_str_eq(ask("select coalesce(sum(deadlocks), 0) from pg_stat_database"), "0");
}

TCase *case_new(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, set_up, tear_down);
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

/* What happens. */

static bool is_done(void)
{
	return done;
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	free(accept->command);
	got = fault;
	done = true;
}

void send_as(int ttl_s, bool wake, const char *redelivery)
{
	static struct accept a;

	a = (struct accept){ .vehicle_id = VEHICLE,
		.subject = "alice",
		.name = "doors.unlock",
		.needs = 2,
		.params = "{}",
		.ttl_s = ttl_s,
		.timeout_s = 20,
		.wake = wake,
		.redelivery = redelivery,
		.supersedes = "",
		.catalog = "{}",
		.on_done = on_accepted };
	done = false;
	ck_assert_ptr_null(accept_submit(w.accept, &a));
	pump_until(is_done);
	ck_assert_ptr_null(got);
}

void send_command(void)
{
	send_as(120, true, "on_reconnect");
}

static void on_touched(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	got = fault;
	done = true;
}

void touch(void)
{
	static struct batch_item item;

	item = (struct batch_item){ .stage = &w.touch, .vehicle_id = VEHICLE, .on_done = on_touched };
	list_init(&item.node);
	done = false;
	ck_assert_ptr_null(batch_submit(w.batch, &item));
	pump_until(is_done);
	ck_assert_ptr_null(got);
}

void comes(void)
{
	ask("update vehicle_heads set reachable = true, session = 's2', since = now()");
	touch();
}

void goes(void)
{
	ask("update vehicle_heads set reachable = false, since = now()");
	touch();
}

static size_t wanted_first, wanted_second;

static bool has_submitted(void)
{
	return w.first.count >= wanted_first && w.second.count >= wanted_second;
}

void until_submitted(size_t first, size_t second)
{
	wanted_first = first;
	wanted_second = second;
	pump_until(has_submitted);
	ck_assert_uint_eq(w.first.count, first);
	ck_assert_uint_eq(w.second.count, second);
}

static const char *wanted_sql, *wanted_answer;

static bool has_answer(void)
{
	return strcmp(ask(wanted_sql), wanted_answer) == 0;
}

void until_answer(const char *sql, const char *answer)
{
	wanted_sql = sql;
	wanted_answer = answer;
	pump_until(has_answer);
}

const char *phase(void)
{
	return ask("select phase || coalesce(' ' || refused, '') || case when due_at is null then ' idle' else '' end "
		   "from absences");
}

const char *statuses(void)
{
	return ask("select string_agg(concat_ws(':', provider, status, attempt, reason), ' ' order by created_at) from "
		   "wakeups");
}

void pass(const char *interval)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		"update wakeups set created_at = created_at - interval '%s';"
		"update absences set due_at = due_at - interval '%s', spent_at = spent_at - interval '%s'",
		interval, interval, interval);
	ask(sql);
}

static void on_received(struct wake_receipt *receipt, const struct fault *fault)
{
	(void)receipt;
	got = fault;
	done = true;
}

const struct fault *receive(const char *message_id, bool delivered, const char *reason)
{
	static struct wake_receipt r;

	r = (struct wake_receipt){
		.receipt = { .provider = "first", .message_id = message_id, .delivered = delivered, .reason = reason },
		.on_done = on_received
	};
	done = false;
	wake_receive(w.wake, &r);
	pump_until(is_done);
	return got;
}
