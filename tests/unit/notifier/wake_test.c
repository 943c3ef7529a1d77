/* wake_test.c - the policy of waking, on a real PostgreSQL: accepts, probes, slots, outcomes and receipts of one worker; the
 * broker and the SMS providers are scripted. Time is the database's: where a rule waits, the test moves the row. */
#include <check.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "commands/accept.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "notifier/wake/wake.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "tests/links.h"
#include "tests/servers.h"

#define VEHICLE "WKF00000000000001"
#define MSISDN "+4915550000001"
#define SMS_MAX 32
#define NOT_PUBACKED (-1)
#define FROZEN_MS 5200

static struct test_postgres postgres;
static struct test_links links;

/* A provider that writes down what it is given, and answers when and as the test says. */
struct scripted {
	struct sms_provider table;
	struct sms_submission *submissions[SMS_MAX];
	struct {
		char msisdn[20], text[64], id[40];
		int validity_s;
	} sms[SMS_MAX];
	size_t count;
	struct loop_soon closing;
	void (*on_closed)(void *owner);
	void *owner;
	size_t closed_after; /* how many others were closed before it */
};

/* One worker: its flows, and a broker that only writes down. */
struct worker {
	struct loop *loop;
	struct db *writer, *reader;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct wake *wake;
	struct batch *batch;
	struct batch_stage touch; /* brings a vehicle into a transaction, as any event does */
	struct command_ports ports;
	struct wake_ports wake_ports;
	struct wake_options options;
	atomic_bool enabled;
	struct batch_item disproof;
	bool broker_is_up, hears_nobody, disproves, freezes;
	int puback; /* what the broker answers to a publish at once; NOT_PUBACKED: nothing */
	int mid;
	int64_t lost_ms, back_ms; /* lost_ms 0: never */
	unsigned rests;
	size_t published, closed_providers;
	char last_published[40];
	struct scripted first, second;
	struct loop_soon answer;
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

static const char *ask(const char *sql)
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

static void tell(struct scripted *p, enum sms_verdict verdict, const char *message_id, const char *reason)
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

static void worker_setup(void)
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

static void start(void)
{
	struct sms_provider *providers[] = { &w.first.table, &w.second.table };

	script(&w.first, "first", true);
	script(&w.second, "second", false);
	wake_start(w.wake, providers);
}

/* The flow begins with what the test has made of w.options. */
static void begin(void)
{
	w.wake = wake_new(w.loop, &w.options);
	make_batch();
	start();
}

static bool is_quiet(void)
{
	return wake_is_quiet(w.wake) && dispatch_in_hand(w.dispatch) == 0 && batch_is_idle(w.batch) &&
	       test_links_are_idle(&links);
}

static void worker_teardown(void)
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

static void send_as(int ttl_s, bool wake, const char *redelivery)
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

static void send_command(void)
{
	send_as(120, true, "on_reconnect");
}

static void on_touched(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	got = fault;
	done = true;
}

/* A transaction that concerns the vehicle, as after a change of its reachability. */
static void touch(void)
{
	static struct batch_item item;

	item = (struct batch_item){ .stage = &w.touch, .vehicle_id = VEHICLE, .on_done = on_touched };
	list_init(&item.node);
	done = false;
	ck_assert_ptr_null(batch_submit(w.batch, &item));
	pump_until(is_done);
	ck_assert_ptr_null(got);
}

static void comes(void)
{
	ask("update vehicle_heads set reachable = true, session = 's2', since = now()");
	touch();
}

static void goes(void)
{
	ask("update vehicle_heads set reachable = false, since = now()");
	touch();
}

static size_t wanted_first, wanted_second;

static bool has_submitted(void)
{
	return w.first.count >= wanted_first && w.second.count >= wanted_second;
}

static void until_submitted(size_t first, size_t second)
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

static void until_answer(const char *sql, const char *answer)
{
	wanted_sql = sql;
	wanted_answer = answer;
	pump_until(has_answer);
}

static const char *phase(void)
{
	return ask("select phase || coalesce(' ' || refused, '') || case when due_at is null then ' idle' else '' end "
		   "from absences");
}

static const char *statuses(void)
{
	return ask("select string_agg(concat_ws(':', provider, status, attempt, reason), ' ' order by created_at) from "
		   "wakeups");
}

/* The rule's wait is over. */
static void pass(const char *interval)
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

static const struct fault *receive(const char *message_id, bool delivered, const char *reason)
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

/* ── one SMS ── */

START_TEST(one_sms_for_all_that_waits)
{
	begin();
	send_command();
	send_as(300, true, "on_reconnect");
	until_submitted(1, 0);
	for (int i = 0; i < 10; i++)
		send_command();
	ck_assert_str_eq(w.first.sms[0].msisdn, MSISDN);
	ck_assert_str_eq(w.first.sms[0].text, "WAKE " VEHICLE);
	ck_assert_int_ge(w.first.sms[0].validity_s, 290); /* the longest of those that waited */
	ck_assert_int_le(w.first.sms[0].validity_s, 300);
	ck_assert_str_eq(ask("select id from wakeups"), w.first.sms[0].id);
	ck_assert_str_eq(phase(), "submitting");
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select status from wakeups", "submitted");
	ck_assert_str_eq(phase(), "receipt");
	ck_assert_uint_eq(w.first.count, 1);
	ck_assert_str_eq(ask("select count(*) from commands where timeline @> "
			     "'[{\"step\":\"wakeup\",\"detail\":{\"status\":\"submitted\"}}]'"),
		"12");
	ck_assert_str_eq(ask("select string_agg(concat_ws(' ', data->>'status', data->>'provider', data->>'attempt', "
			     "data->>'reason', "
			     "(data->>'id' = (select id::text from wakeups))::text), ',') from events where type = "
			     "'wakeup.updated'"),
		"submitted first 1 true");
}
END_TEST

START_TEST(joins_read_what_was_decided)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select status from wakeups", "submitted");
	send_command();
	ck_assert_str_eq(ask("select s->'detail'->>'status' from commands, jsonb_array_elements(timeline) s "
			     "where s->>'step' = 'wakeup' order by accepted_seq desc limit 1"),
		"submitted");
	ck_assert_uint_eq(w.first.count, 1);
}
END_TEST

START_TEST(what_waited_before_there_were_providers_is_found)
{
	ask("insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	    "timeout_seconds, "
	    "created_at, expires_at, updated_at, due_at) select '" VEHICLE
	    "', uuid7_floor(now()), 'doors.unlock', 'alice', true, "
	    "'on_reconnect', '{}', 1, 20, now(), now() + interval '1 hour', now(), now() + interval '1 hour';"
	    "update commands set status = 'waiting'");
	begin();
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
}
END_TEST

START_TEST(validity_is_bounded_by_the_setting)
{
	w.options.validity_ms = 45000;
	begin();
	send_command();
	until_submitted(1, 0);
	ck_assert_int_eq(w.first.sms[0].validity_s, 45);
}
END_TEST

START_TEST(only_what_wants_waking_wakes)
{
	begin();
	send_as(120, false, "on_reconnect");
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(ask("select status from commands"), "waiting");
	ck_assert_uint_eq(w.published, 0);
}
END_TEST

START_TEST(without_providers_it_waits)
{
	w.options.provider_count = 0;
	begin();
	w.closed_providers = 2;
	send_command();
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(ask("select status from commands"), "waiting");
}
END_TEST

/* ── the probe ── */

START_TEST(probe_goes_first_and_counts_nowhere)
{
	begin();
	send_as(120, true, "never");
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
	ck_assert_str_eq(ask("select status || '/' || flight || ' ' || attempts from commands"), "waiting/none 0");
	ck_assert_str_eq(ask("select string_agg(s->>'step' || coalesce(' ' || (s->'detail'->>'probe'), ''), ',') from "
			     "commands, jsonb_array_elements(timeline) s"),
		"accepted,reachability,reachability,claimed true,published,puback");
}
END_TEST

START_TEST(who_was_there_all_along_gets_it)
{
	w.puback = 0;
	begin();
	send_command();
	send_command();
	until_answer("select phase from absences", "ready");
	ck_assert_str_eq(ask("select string_agg(status || '/' || flight, ' ' order by accepted_seq) from commands"),
		"waiting/out waiting/none");
	ck_assert_uint_eq(w.published, 1);
	comes(); /* its answer proves that it is there */
	until_answer("select count(*) from commands where status = 'sent'", "2");
	ck_assert_uint_eq(w.first.count, 0);
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
}
END_TEST

START_TEST(a_probe_that_nobody_answers_is_followed_by_the_sms)
{
	w.puback = 0;
	begin();
	send_command();
	until_answer("select phase from absences", "ready");
	ck_assert_uint_eq(w.first.count, 0);
	pass("2 seconds");
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
}
END_TEST

START_TEST(no_probe_where_the_broker_does_not_say_it)
{
	w.hears_nobody = false;
	begin();
	send_command();
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 0);
}
END_TEST

START_TEST(no_second_probe_after_a_publish_that_found_nobody)
{
	begin();
	ask("update vehicle_heads set reachable = true, linked = true, subscribed = true, session = 's1'");
	w.puback = NOT_PUBACKED;
	send_command();
	until_answer("select flight from commands", "claimed");
	w.disproves = true;
	dispatch_on_puback(w.dispatch, w.mid, 0x10);
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
	w.puback = 0x10;
}
END_TEST

/* A broker that was restarted knows nobody yet. */
START_TEST(who_may_be_returning_is_not_woken_yet)
{
	begin();
	w.lost_ms = w.back_ms = 5000;
	ask("update vehicle_heads set reachable = true, linked = true, subscribed = true, session = 's1'");
	w.puback = NOT_PUBACKED;
	send_command();
	until_answer("select flight from commands", "claimed");
	w.disproves = true;
	dispatch_on_puback(w.dispatch, w.mid, 0x10);
	until_answer("select status from commands", "waiting");
	ck_assert_str_eq(phase(), "ready");
	ck_assert_str_eq(ask("select round(extract(epoch from due_at - began_at)) from absences"), "55");
	touch();
	ck_assert_uint_eq(w.first.count, 0);
	ask("update absences set due_at = now()"); /* its time is over */
	until_submitted(1, 0);
	w.puback = 0x10;
}
END_TEST

/* The transaction that takes note of it may run long after the broker's return was looked up. */
START_TEST(who_is_not_there_in_the_moment_of_the_return_is_not_woken_yet)
{
	begin();
	w.lost_ms = 1;
	ask("update vehicle_heads set reachable = true, linked = true, subscribed = true, session = 's1'");
	w.puback = NOT_PUBACKED;
	send_command();
	until_answer("select flight from commands", "claimed");
	w.disproves = true;
	dispatch_on_puback(w.dispatch, w.mid, 0x10);
	until_answer("select status from commands", "waiting");
	ck_assert_str_eq(ask("select due_at - began_at > interval '50 seconds' from absences"), "t");
	w.puback = 0x10;
}
END_TEST

START_TEST(who_went_after_the_broker_was_lost_is_probed_and_not_woken_yet)
{
	begin();
	w.lost_ms = 40000;
	w.back_ms = 30000;
	ask("update vehicle_heads set since = now() - interval '35 seconds'");
	send_command();
	until_answer("select phase from absences", "ready");
	ck_assert_uint_eq(w.published, 1);
	ck_assert_str_eq(ask("select due_at - began_at > interval '25 seconds' from absences"), "t");
	touch();
	ck_assert_uint_eq(w.first.count, 0);
}
END_TEST

START_TEST(who_slept_before_the_broker_was_lost_is_woken)
{
	begin();
	w.lost_ms = 6000;
	w.back_ms = 5000;
	ask("update vehicle_heads set since = now() - interval '7 seconds'");
	send_command();
	until_submitted(1, 0);
}
END_TEST

START_TEST(no_sms_without_a_broker)
{
	w.broker_is_up = false;
	begin();
	send_command();
	until_answer("select count(*) from timers where kind = 'offer'", "1");
	ck_assert_str_eq(phase(), "probe");
	ask("update absences set due_at = now()");
	touch();
	touch();
	ck_assert_uint_eq(w.first.count, 0);
	w.broker_is_up = true;
	touch(); /* the offer's timer does this */
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
}
END_TEST

/* ── intervals, attempts, budget ── */

static void take_and_pass(size_t n, const char *interval)
{
	until_submitted(n, 0);
	tell(&w.first, SMS_TAKEN, NULL, NULL); /* without a name no receipt is awaited */
	until_answer("select phase from absences", "ready");
	pass(interval);
}

START_TEST(gaps_grow_and_attempts_end)
{
	begin();
	send_as(3600, true, "on_reconnect");
	take_and_pass(1, "0 seconds");
	ck_assert_str_eq(ask("select due_at - spent_at from absences"), "00:00:30");
	pass("30 seconds");
	take_and_pass(2, "30 seconds");
	ck_assert_str_eq(ask("select due_at - spent_at from absences"), "00:01:00");
	pass("30 seconds");
	take_and_pass(3, "120 seconds");
	until_answer("select phase || coalesce(due_at::text, ' idle') from absences", "ready idle");
	send_command(); /* the same absence */
	until_answer("select phase || coalesce(due_at::text, ' idle') from absences", "ready idle");
	ck_assert_uint_eq(w.first.count, 3);
	ck_assert_str_eq(statuses(), "first:submitted:1 first:submitted:2 first:submitted:3");
	ck_assert_uint_eq(w.published, 1); /* one probe an absence */
}
END_TEST

START_TEST(another_absence_is_another_count_but_not_another_interval)
{
	w.options.max_attempts = 1;
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, NULL, NULL);
	until_answer("select status from wakeups", "submitted");
	comes();
	until_answer("select status from wakeups", "answered");
	ask("update commands set status = 'succeeded', finished_at = now(), due_at = null where status = 'sent'");
	goes();
	send_command();
	until_answer("select phase || (due_at > now() + interval '20 seconds') from absences", "readytrue");
	ck_assert_uint_eq(w.first.count, 1);
	pass("30 seconds");
	until_submitted(2, 0);
}
END_TEST

START_TEST(the_budget_refuses_and_frees)
{
	w.options.daily_budget = 2;
	begin();
	ask("insert into wakeups (vehicle_id, id, status, provider, attempt, created_at) select '" VEHICLE
	    "', gen_random_uuid(), 'answered', 'first', 1, now() - i from unnest(array[interval '1 hour', interval '23 "
	    "hours']) i");
	send_as(604800, true, "on_reconnect");
	until_answer("select refused from absences", "BUDGET");
	ck_assert_uint_eq(w.first.count, 0);
	ck_assert_str_eq(ask("select due_at between now() + interval '50 minutes' and now() + interval '61 minutes' "
			     "from absences"),
		"t");
	ck_assert_str_eq(ask("select concat(data->>'status', data->>'reason', data->>'provider' is null) from events "
			     "where type = 'wakeup.updated'"),
		"refusedBUDGETt");
	ck_assert_str_eq(ask("select s->'detail'->>'reason' from commands, jsonb_array_elements(timeline) s where "
			     "s->>'step' = 'wakeup'"),
		"BUDGET");
	send_command();
	ck_assert_str_eq(ask("select count(*) from wakeups where status = 'refused'"), "1");
	ck_assert_str_eq(ask("select count(*) from commands where timeline @> '[{\"step\":\"wakeup\"}]'"), "2");
	pass("1 hour");
	until_submitted(1, 0);
	ck_assert_str_eq(ask("select coalesce(refused, '') from absences"), "");
}
END_TEST

START_TEST(a_failover_counts_in_the_budget_alone)
{
	w.options.daily_budget = 1;
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_FAILED, NULL, "DOWN");
	until_answer("select refused from absences", "BUDGET");
	ck_assert_uint_eq(w.second.count, 0);
	ck_assert_str_eq(statuses(), "first:failed:1:DOWN refused:1:BUDGET");
}
END_TEST

/* ── providers ── */

START_TEST(the_next_provider_when_one_fails)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_submitted(1, 1);
	tell(&w.second, SMS_TAKEN, "s1", NULL); /* it gives no receipts: none is awaited */
	until_answer("select phase || attempt || (due_at > now() + interval '20 seconds') from absences", "ready1true");
	ck_assert_str_eq(statuses(), "first:failed:1:INVALID_ADDRESS second:submitted:1");
}
END_TEST

START_TEST(the_next_provider_when_no_receipt_comes)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select phase || (due_at > now() + interval '15 seconds') from absences", "receipttrue");
	pass("20 seconds");
	until_submitted(1, 1);
	ck_assert_str_eq(statuses(), "first:submitted:1 second:spent:1");
	/* it comes late: told, and nothing else */
	ck_assert_ptr_null(receive("m1", true, NULL));
	ck_assert_str_eq(statuses(), "first:delivered:1 second:spent:1");
	ck_assert_str_eq(phase(), "submitting");
}
END_TEST

START_TEST(the_next_provider_when_it_was_not_delivered)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select phase from absences", "receipt");
	ck_assert_ptr_null(receive("m1", false, "UNDELIVERABLE"));
	until_submitted(1, 1);
	ck_assert_str_eq(statuses(), "first:failed:1:UNDELIVERABLE second:spent:1");
}
END_TEST

START_TEST(delivered_ends_the_attempt)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	ck_assert_ptr_null(receive("m1", true, NULL)); /* perhaps before the outcome is recorded */
	ck_assert_ptr_null(receive("m1", true, NULL)); /* twice */
	ck_assert_ptr_null(receive("m1", false, "EXPIRED"));
	ck_assert_str_eq(statuses(), "first:delivered:1");
	ck_assert_str_eq(ask("select phase || attempt from absences"), "ready1");
	ck_assert_str_eq(
		ask("select string_agg(data->>'status', ' ' order by seq) from events where type = 'wakeup.updated'"),
		"submitted delivered");
	ck_assert_ptr_eq(receive("m2", true, NULL), &FAULT_NOT_FOUND);
}
END_TEST

START_TEST(all_fail_and_it_is_tried_again_later_as_the_same_attempt)
{
	w.options.max_attempts = 1;
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_FAILED, NULL, "THROTTLED");
	until_submitted(1, 1);
	tell(&w.second, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_answer("select phase || attempt || rounds || provider from absences", "ready010");
	pass("30 seconds");
	until_submitted(2, 1);
	ck_assert_str_eq(ask("select string_agg(attempt::text, '' order by created_at) from wakeups"), "111");
	tell(&w.first, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_submitted(2, 2);
	tell(&w.second, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_answer("select phase || attempt || rounds from absences", "ready12"); /* nobody will ever take it */
	pass("60 seconds");
	until_answer("select due_at is null from absences", "t");
	ck_assert_uint_eq(w.first.count, 2);
}
END_TEST

/* ── the slot ── */

START_TEST(unknown_counts_as_sent)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_UNKNOWN, NULL, "NO_ANSWER");
	until_answer("select phase || attempt from absences", "ready1");
	ck_assert_str_eq(statuses(), "first:submitted:1:NO_ANSWER");
	ck_assert_uint_eq(w.second.count, 0);
}
END_TEST

START_TEST(the_slot_is_spent_before_the_submit_and_a_crash_counts_as_sent)
{
	begin();
	send_command();
	until_submitted(1, 0); /* the row was committed before the provider saw it; its worker is dead from here on */
	ck_assert_str_eq(statuses(), "first:spent:1");
	ck_assert_str_eq(ask("select due_at between now() + interval '20 seconds' and now() + interval '30 seconds' "
			     "from absences"),
		"t");
	ask("update absences set due_at = now()");
	until_answer("select phase || attempt from absences", "ready1");
	ck_assert_str_eq(statuses(), "first:submitted:1:UNKNOWN");
	ck_assert_str_eq(ask("select due_at > now() + interval '20 seconds' from absences"),
		"t"); /* no second SMS in that window */
	ck_assert_uint_eq(w.second.count, 0);
	/* it was not dead after all: what it says changes nothing, but receipts are found by it */
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select message_id from wakeups", "m1");
	ck_assert_str_eq(ask("select phase || attempt from absences"), "ready1");
	ck_assert_ptr_null(receive("m1", true, NULL));
	ck_assert_str_eq(ask("select status from wakeups"), "delivered");
}
END_TEST

static bool is_lost(void)
{
	return !db_is_up(w.writer) && !db_is_up(w.reader);
}

static bool is_back(void)
{
	return db_is_up(w.writer) && db_is_up(w.reader);
}

START_TEST(what_the_provider_said_outlives_a_crash_of_the_database)
{
	begin();
	send_command();
	until_submitted(1, 0);
	test_postgres_halt(&postgres, SIGQUIT);
	pump_until(is_lost);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	test_postgres_resume(&postgres);
	pump_until(is_back);
	until_answer("select status || message_id from wakeups", "submittedm1");
	ck_assert_str_eq(phase(), "receipt");
	ck_assert_uint_eq(w.first.count, 1);
	ck_assert_uint_eq(w.second.count, 0);
}
END_TEST

START_TEST(a_worker_that_was_frozen_does_not_submit)
{
	begin();
	w.freezes = true;
	send_command();
	until_submitted(0, 1);
	ck_assert_str_eq(statuses(), "first:failed:1:LATE second:spent:1");
}
END_TEST

START_TEST(nothing_goes_out_after_the_last_expiry)
{
	w.broker_is_up = false;
	begin();
	send_command();
	send_as(120, false, "on_reconnect"); /* has longer to live, but does not want it woken */
	ask("update commands set expires_at = now() + interval '900 milliseconds' where wake; update absences set "
	    "phase = 'ready', due_at = now()");
	w.broker_is_up = true;
	until_answer("select phase || coalesce(due_at::text, ' idle') from absences", "ready idle");
	ck_assert_uint_eq(w.first.count, 0);
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
}
END_TEST

START_TEST(what_is_cancelled_wakes_nobody)
{
	begin();
	w.broker_is_up = false;
	send_command();
	ask("update commands set status = 'canceled', finished_at = now(), due_at = null");
	w.broker_is_up = true;
	ask("update absences set phase = 'ready', due_at = now()");
	until_answer("select due_at is null from absences", "t");
	ck_assert_uint_eq(w.first.count, 0);
}
END_TEST

/* ── answered ── */

START_TEST(the_vehicle_answers)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select status from wakeups", "submitted");
	w.puback = 0;
	comes();
	until_answer("select status from commands", "sent");
	ck_assert_str_eq(statuses(), "first:answered:1");
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(ask("select string_agg(data->>'status', ' ' order by seq) from events"),
		"accepted waiting submitted answered sent");
	ck_assert_str_eq(ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s"),
		"accepted reachability reachability claimed published puback wakeup wakeup claimed published puback");
	ck_assert_ptr_null(receive("m1", true, NULL));
	ck_assert_str_eq(statuses(), "first:answered:1");
}
END_TEST

START_TEST(what_may_have_reached_it_is_answered)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select phase from absences", "receipt");
	ask("update absences set due_at = now()"); /* no receipt */
	until_submitted(1, 1);
	tell(&w.second, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_answer("select phase from absences", "ready");
	w.puback = 0;
	comes();
	ck_assert_str_eq(statuses(), "first:answered:1 second:failed:1:INVALID_ADDRESS");
}
END_TEST

START_TEST(it_answers_before_the_provider_does)
{
	begin();
	send_command();
	until_submitted(1, 0);
	w.puback = 0;
	comes();
	until_answer("select status from commands", "sent");
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select message_id from wakeups", "m1");
	ck_assert_str_eq(statuses(), "first:answered:1");
	ck_assert_str_eq(
		ask("select string_agg(data->>'status', ' ' order by seq) from events where type = 'wakeup.updated'"),
		"submitted answered");
}
END_TEST

/* ── refusals ── */

START_TEST(switched_off_and_on_again)
{
	atomic_store(&w.enabled, false);
	begin();
	send_command();
	until_answer("select phase || coalesce(refused, '') || coalesce(due_at::text, ' idle') from absences",
		"readyDISABLED idle");
	ck_assert_str_eq(statuses(), "refused:1:DISABLED");
	ck_assert_uint_eq(w.first.count, 0);
	atomic_store(&w.enabled, true);
	until_submitted(1, 0);
}
END_TEST

/* Somebody has it in hand at that moment: it is looked at again. */
START_TEST(switched_on_again_while_it_is_locked)
{
	atomic_store(&w.enabled, false);
	begin();
	send_command();
	until_answer("select phase || coalesce(refused, '') || coalesce(due_at::text, ' idle') from absences",
		"readyDISABLED idle");
	PGconn *other = PQconnectdb(postgres.url);
	PQclear(PQexec(other, "begin; select from absences for update"));
	atomic_store(&w.enabled, true);
	until_answer("select exists (select from pg_stat_activity where query like '%absences x where x.refused%' and "
		     "pid <> pg_backend_pid() and state = 'idle')",
		"t");
	ck_assert_uint_eq(w.first.count, 0);
	PQclear(PQexec(other, "commit"));
	PQfinish(other);
	until_submitted(1, 0);
}
END_TEST

START_TEST(no_number_no_sms)
{
	ask("update vehicles set msisdn = null");
	begin();
	send_command();
	until_answer("select phase || coalesce(refused, '') || coalesce(due_at::text, ' idle') from absences",
		"readyNO_MSISDN idle");
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
	ck_assert_str_eq(ask("select s->'detail'->>'reason' from commands, jsonb_array_elements(timeline) s where "
			     "s->>'step' = 'wakeup'"),
		"NO_MSISDN");
	ask("update vehicles set msisdn = '" MSISDN "'");
	touch(); /* vehicle.put does this */
	until_submitted(1, 0);
}
END_TEST

START_TEST(unstable_vehicles_are_left_alone)
{
	ask("create or replace function is_unstable(h vehicle_heads) returns boolean language sql stable as $$ select "
	    "true $$");
	begin();
	send_command();
	until_answer("select refused from absences", "UNSTABLE");
	ck_assert_str_eq(statuses(), "refused:1:UNSTABLE");
	ask("create or replace function is_unstable(h vehicle_heads) returns boolean language sql stable as $$ select "
	    "false $$");
	pass("15 seconds");
	until_submitted(1, 0);
}
END_TEST

START_TEST(a_retired_vehicle_is_forgotten)
{
	begin();
	send_command();
	until_submitted(1, 0);
	ask("update vehicles set retired_at = now()");
	touch();
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(statuses(), "first:spent:1");
}
END_TEST

/* ── the end ── */

static bool both_providers_closed(void)
{
	return w.closed_providers == 2;
}

static void on_rested(void *owner)
{
	(void)owner;
	w.rests++;
}

static bool has_rested(void)
{
	return w.rests == 1;
}

/* Another node may have the one session that an account allows. */
START_TEST(who_rests_leaves_what_is_due_until_it_starts_again)
{
	w.options.on_rested = on_rested;
	begin();
	wake_rest(w.wake);
	pump_until(has_rested);
	ck_assert_uint_eq(w.closed_providers, 2);
	send_command();
	until_answer("select phase from absences", "ready");
	touch();
	ck_assert_str_eq(ask("select due_at <= now() from absences"), "t");
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
	w.closed_providers = 0;
	start();
	until_submitted(1, 0);
}
END_TEST

START_TEST(draining_closes_the_providers_in_order_and_keeps_what_they_say)
{
	begin();
	send_command();
	until_submitted(1, 0);
	wake_stop(w.wake);
	pump_until(both_providers_closed);
	pump_until(is_quiet);
	ck_assert_uint_eq(w.second.closed_after, 0);
	ck_assert_uint_eq(w.first.closed_after, 1);
	ck_assert_str_eq(statuses(), "first:submitted:1:CLOSED");
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
	Suite *suite = suite_create("wake");
	TCase *tc = tcase_create("policy");

	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, one_sms_for_all_that_waits);
	tcase_add_test(tc, joins_read_what_was_decided);
	tcase_add_test(tc, what_waited_before_there_were_providers_is_found);
	tcase_add_test(tc, validity_is_bounded_by_the_setting);
	tcase_add_test(tc, only_what_wants_waking_wakes);
	tcase_add_test(tc, without_providers_it_waits);
	tcase_add_test(tc, probe_goes_first_and_counts_nowhere);
	tcase_add_test(tc, who_was_there_all_along_gets_it);
	tcase_add_test(tc, a_probe_that_nobody_answers_is_followed_by_the_sms);
	tcase_add_test(tc, no_probe_where_the_broker_does_not_say_it);
	tcase_add_test(tc, no_second_probe_after_a_publish_that_found_nobody);
	tcase_add_test(tc, who_may_be_returning_is_not_woken_yet);
	tcase_add_test(tc, who_is_not_there_in_the_moment_of_the_return_is_not_woken_yet);
	tcase_add_test(tc, who_went_after_the_broker_was_lost_is_probed_and_not_woken_yet);
	tcase_add_test(tc, who_slept_before_the_broker_was_lost_is_woken);
	tcase_add_test(tc, no_sms_without_a_broker);
	tcase_add_test(tc, gaps_grow_and_attempts_end);
	tcase_add_test(tc, another_absence_is_another_count_but_not_another_interval);
	tcase_add_test(tc, the_budget_refuses_and_frees);
	tcase_add_test(tc, a_failover_counts_in_the_budget_alone);
	tcase_add_test(tc, the_next_provider_when_one_fails);
	tcase_add_test(tc, the_next_provider_when_no_receipt_comes);
	tcase_add_test(tc, the_next_provider_when_it_was_not_delivered);
	tcase_add_test(tc, delivered_ends_the_attempt);
	tcase_add_test(tc, all_fail_and_it_is_tried_again_later_as_the_same_attempt);
	tcase_add_test(tc, unknown_counts_as_sent);
	tcase_add_test(tc, the_slot_is_spent_before_the_submit_and_a_crash_counts_as_sent);
	tcase_add_test(tc, a_worker_that_was_frozen_does_not_submit);
	tcase_add_test(tc, nothing_goes_out_after_the_last_expiry);
	tcase_add_test(tc, what_is_cancelled_wakes_nobody);
	tcase_add_test(tc, the_vehicle_answers);
	tcase_add_test(tc, what_may_have_reached_it_is_answered);
	tcase_add_test(tc, it_answers_before_the_provider_does);
	tcase_add_test(tc, switched_off_and_on_again);
	tcase_add_test(tc, switched_on_again_while_it_is_locked);
	tcase_add_test(tc, no_number_no_sms);
	tcase_add_test(tc, unstable_vehicles_are_left_alone);
	tcase_add_test(tc, a_retired_vehicle_is_forgotten);
	tcase_add_test(tc, who_rests_leaves_what_is_due_until_it_starts_again);
	tcase_add_test(tc, draining_closes_the_providers_in_order_and_keeps_what_they_say);
	suite_add_tcase(suite, tc);
	tc = tcase_create("crash"); /* its server is the test's own: who starts it again ends with the test */
	tcase_add_checked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_the_provider_said_outlives_a_crash_of_the_database);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
