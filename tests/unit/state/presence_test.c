/* presence_test.c - what is heard of a vehicle's sessions, and what leaves for it in between: lifecycle events, claims
 * and PUBACKs in the orders in which they race, on a real PostgreSQL; the broker is scripted. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/loop.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "commands/accept.h"
#include "commands/deadline.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "state/lifecycle_event.h"
#include "state/reachability.h"
#include "tests/links.h"
#include "tests/servers.h"
#include "tests/suite.h"

#define VEHICLE "WKF00000000000001"

static struct test_postgres postgres;
static struct test_links links;
static const struct lifecycle_source source = { LIFECYCLE_AWS, "$aws/events", "keyfob" };

/* One worker: its flows, and a broker that only writes down. */
static struct {
	struct loop *loop;
	struct db *writer, *reader;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct deadline *deadline;
	struct reachability *reachability;
	struct batch *batch;
	struct command_ports ports;
	int mid;
	size_t published;
	char payload[1024]; /* of the last publish */
} w;

static bool done;

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + 8000000000ull;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
}

/* What commands need of others. */

static bool can_publish(void *owner)
{
	(void)owner;
	return true;
}

static int publish(void *owner, const struct mqtt_publish *m)
{
	(void)owner;
	snprintf(w.payload, sizeof(w.payload), "%.*s", (int)m->len, (const char *)m->payload);
	w.published++;
	return ++w.mid;
}

static void disprove(void *owner, const char *vehicle_id, const char *session)
{
	(void)owner;
	reachability_disprove(w.reachability, vehicle_id, session);
}

static void prove(void *owner, const struct batch_fence *fence, const char *vehicle_id, struct receipt *receipt)
{
	(void)owner;
	reachability_prove(w.reachability, fence, vehicle_id, false, receipt);
}

/* Setting up. */

static void worker_setup(void)
{
	memset(&w, 0, sizeof(w));
	w.loop = links.loop;
	w.writer = links.of[0].writer;
	w.reader = links.of[0].reader;
	w.ports = (struct command_ports){
		.can_publish = can_publish, .publish = publish, .disprove = disprove, .prove = prove
	};
	w.dispatch =
		dispatch_new(w.loop, &(struct dispatch_options){ .db = w.writer, .worker = "w1", .ports = &w.ports });
	w.accept = accept_new(w.loop, w.writer, w.dispatch, 100);
	w.deadline = deadline_new(w.loop, w.reader, "w1", w.dispatch);
	w.reachability = reachability_new(w.loop, &(struct reachability_options){ .writer = w.writer,
							  .reader = w.reader,
							  .source = &source,
							  .worker = "w1",
							  .verify_delay_ms = 60000 });
	struct batch_stage *stages[REACHABILITY_STAGES + 6];
	reachability_stages(w.reachability, stages);
	stages[REACHABILITY_STAGES] = dispatch_puback_stage(w.dispatch);
	stages[REACHABILITY_STAGES + 1] = dispatch_failure_stage(w.dispatch);
	stages[REACHABILITY_STAGES + 2] = accept_stage(w.accept);
	stages[REACHABILITY_STAGES + 3] = deadline_stage(w.deadline);
	stages[REACHABILITY_STAGES + 4] = offer_stage(w.deadline);
	stages[REACHABILITY_STAGES + 5] = dispatch_settle_stage(w.dispatch);
	w.batch = batch_new(w.loop, w.writer,
		&(struct batch_options){ .items_max = 2000, .cut_max = 1000, .holder = "w1" }, stages,
		REACHABILITY_STAGES + 6);
	reachability_attach(w.reachability, w.batch);
	dispatch_attach(w.dispatch, w.batch);
	accept_attach(w.accept, w.batch);
	deadline_attach(w.deadline, w.batch);
	test_postgres_ask(&postgres,
		"truncate commands, events, vehicle_heads, timers; delete from vehicles;"
		"insert into vehicles (vehicle_id) values ('" VEHICLE "');"
		"insert into vehicle_heads (vehicle_id) values ('" VEHICLE "');"
		"update leases set subscribed = true; delete from leases where name like 'worker/%';"
		"insert into leases (name, holder, epoch, expires_at) values ('worker/w1', 'w1', 1, now() + interval "
		"'1 hour')");
}

static bool is_idle(void)
{
	return batch_is_idle(w.batch) && test_links_are_idle(&links);
}

static void worker_teardown(void)
{
	deadline_stop(w.deadline);
	reachability_stop(w.reachability);
	pump_until(is_idle);
	batch_free(w.batch);
	reachability_free(w.reachability);
	deadline_free(w.deadline);
	accept_free(w.accept);
	dispatch_free(w.dispatch);
}

/* What happens. */

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

static void pump_for_ms(int ms)
{
	uint64_t until = uv_hrtime() + (uint64_t)ms * 1000000;
	while (uv_hrtime() < until) {
		uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
		usleep(1000);
	}
}

static bool is_done(void)
{
	return done;
}

static void on_settled(struct receipt *r)
{
	ck_assert_ptr_null(r->fault);
	done = true;
}

/* A lifecycle event, applied and committed; `more` is what presence and subscribe events have each of their own. */
static void event(const char *kind, const char *session, const char *more)
{
	struct receipt receipt;
	char topic[128], payload[512];

	snprintf(topic, sizeof(topic), "$aws/events/%s/%s/" VEHICLE,
		strstr(kind, "connected") ? "presence" : "subscriptions", kind);
	snprintf(payload, sizeof(payload),
		"{\"clientId\":\"" VEHICLE "\",\"timestamp\":%lld,\"sessionIdentifier\":\"%s\",%s}",
		(long long)(loop_unix_us(w.loop) / 1000), session, more);
	done = false;
	receipt_init(&receipt, on_settled);
	reachability_receive(w.reachability, NULL,
		&(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) }, &receipt);
	receipt_close(&receipt, NULL);
	pump_until(is_done);
}

static void connected(const char *session, int version)
{
	char more[40];
	snprintf(more, sizeof(more), "\"versionNumber\":%d", version);
	event("connected", session, more);
}

static void subscribed(const char *session)
{
	event("subscribed", session, "\"topics\":[\"vehicles/" VEHICLE "/commands/request\"]");
}

static void unsubscribed(const char *session)
{
	event("unsubscribed", session, "\"topics\":[\"vehicles/" VEHICLE "/commands/request\"]");
}

static void disconnected(const char *session, int version)
{
	char more[80];
	snprintf(more, sizeof(more), "\"versionNumber\":%d,\"disconnectReason\":\"UNKNOWN\"", version);
	event("disconnected", session, more);
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	(void)accept;
	ck_assert_ptr_null(fault);
	done = true;
}

static void send_command(void)
{
	struct accept a = { .vehicle_id = VEHICLE,
		.subject = "root",
		.admin = true,
		.name = "doors.unlock",
		.needs = 2,
		.params = "{}",
		.ttl_s = 30,
		.timeout_s = 20,
		.redelivery = "on_reconnect",
		.supersedes = "",
		.catalog = "{}",
		.on_done = on_accepted };
	done = false;
	ck_assert_ptr_null(accept_submit(w.accept, &a));
	pump_until(is_done);
	free(a.command);
}

static bool nothing_in_hand(void)
{
	return dispatch_in_hand(w.dispatch) == 0 && batch_is_idle(w.batch);
}

static void puback(int reason)
{
	dispatch_on_puback(w.dispatch, w.mid, reason);
}

static bool one_published(void)
{
	return w.published == 1;
}

static bool two_published(void)
{
	return w.published == 2;
}

static bool three_published(void)
{
	return w.published == 3;
}

/* A vehicle that is there, and a command that was published to its session s1 and acknowledged. */
static void begin_with_one_sent(void)
{
	connected("s1", 1);
	subscribed("s1");
	send_command();
	pump_until(one_published);
	puback(0);
	pump_until(nothing_in_hand);
}

static const char *head(void)
{
	return ask("select concat_ws(' ', case when reachable then 'reachable' else 'away' end, session) from "
		   "vehicle_heads");
}

static const char *statuses(void)
{
	return ask("select string_agg(status || '/' || flight, ' ' order by accepted_seq) from commands");
}

static bool is_away(void)
{
	return strcmp(ask("select reachable from vehicle_heads"), "f") == 0 && batch_is_idle(w.batch);
}

/* The connection is cut, and the vehicle is back at once. Between its CONNECT and its SUBSCRIBE nobody hears a request:
 * brokers that say 0x10 would disprove a vehicle that is just coming, others would swallow the request. */
START_TEST(nothing_leaves_between_connect_and_subscribe)
{
	begin_with_one_sent();
	disconnected("s1", 1);
	connected("s2", 2);
	pump_until(nothing_in_hand);
	ck_assert_uint_eq(w.published, 1);
	subscribed("s2");
	pump_until(two_published);
	ck_assert_ptr_nonnull(strstr(w.payload, "\"attempt\":2"));
	puback(0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(head(), "reachable s2");
}
END_TEST

/* A session that is resumed is not told as subscribed by every broker: after a second the vehicle is believed. When
 * nobody was there nevertheless, its subscription is still to come, and counts. */
START_TEST(who_does_not_subscribe_is_tried_and_may_still_come)
{
	begin_with_one_sent();
	connected("s2", 2);
	deadline_start(w.deadline);
	pump_until(two_published);
	puback(0x10);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(head(), "away s2");
	ck_assert_str_eq(statuses(), "waiting/out");
	subscribed("s2");
	ck_assert_str_eq(head(), "reachable s2");
	pump_until(three_published);
}
END_TEST

/* The 0x10 of a publish from before the subscription comes after it. */
START_TEST(a_subscription_is_not_disproved_by_what_came_before_it)
{
	begin_with_one_sent();
	connected("s2", 2);
	deadline_start(w.deadline);
	pump_until(two_published);
	subscribed("s2");
	puback(0x10);
	pump_until(three_published);
	ck_assert_str_eq(head(), "reachable s2");
	puback(0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select count(*) from events where data->>'state' = 'disconnected'"), "0");
}
END_TEST

/* What was published to a session that had not subscribed goes out again when it has: brokers without 0x10 acknowledge
 * what nobody hears. */
START_TEST(what_nobody_heard_is_offered_again)
{
	begin_with_one_sent();
	connected("s2", 2);
	deadline_start(w.deadline);
	pump_until(two_published);
	puback(0);
	pump_until(nothing_in_hand);
	subscribed("s2");
	pump_until(three_published);
	puback(0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(statuses(), "sent/out");
}
END_TEST

/* Nor is it offered to a session that has heard it, and has unsubscribed since: its absence is waited out. */
START_TEST(what_a_session_has_heard_is_not_offered_to_it_again)
{
	begin_with_one_sent();
	ask("update vehicle_heads set taken_at = now() - interval '1 minute'");
	event("unsubscribed", "s1", "\"topics\":[\"vehicles/" VEHICLE "/commands/request\"]");
	pump_until(nothing_in_hand);
	ck_assert_uint_eq(w.published, 1);
	ck_assert_str_eq(ask("select reachable and verifying from vehicle_heads"), "t");
	send_command(); /* what it has not heard is tried */
	pump_until(two_published);
	ck_assert_ptr_nonnull(strstr(w.payload, "\"attempt\":1"));
	puback(0);
	pump_until(nothing_in_hand);
	subscribed("s1");
	pump_until(three_published); /* that one alone may not have been heard */
	puback(0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(ask("select string_agg(attempts::text, ' ' order by accepted_seq) from commands"), "1 2");
}
END_TEST

/* As AWS IoT Core goes on with a persistent session: its name stays, its version rises, and it need not subscribe again. */
START_TEST(a_session_that_the_broker_kept_goes_on)
{
	connected("s1", 1);
	subscribed("s1");
	disconnected("s1", 1);
	ask("update timers set due_at = now() where kind = 'verify'");
	reachability_start(w.reachability);
	pump_until(is_away);
	connected("s1", 1); /* come twice */
	ck_assert_str_eq(head(), "away s1");
	connected("s1", 2);
	ck_assert_str_eq(head(), "reachable s1");
	send_command();
	pump_until(one_published);
	puback(0);
	pump_until(nothing_in_hand);
	disconnected("s1", 1); /* come twice */
	ck_assert_str_eq(ask("select verifying from vehicle_heads"), "f");
	connected("s1", 3); /* before the end of what it goes on with */
	disconnected("s1", 2);
	ck_assert_str_eq(ask("select verifying from vehicle_heads"), "f");
	disconnected("s1", 3);
	ck_assert_str_eq(ask("select verifying from vehicle_heads"), "t");
	ask("update timers set due_at = now() where kind = 'verify'");
	pump_until(is_away);
	disconnected("s1", 4); /* overtakes its connect */
	connected("s1", 4);
	ck_assert_str_eq(head(), "away s1");
}
END_TEST

/* It goes on with what it is told to have subscribed to, also where that comes late, or early. */
START_TEST(what_comes_of_a_session_that_counts_as_over_is_remembered)
{
	reachability_start(w.reachability);
	connected("s1", 1);
	disconnected("s1", 1);
	subscribed("s1");
	ck_assert_str_eq(head(), "away s1");
	connected("s1", 2);
	ck_assert_str_eq(head(), "reachable s1");
	unsubscribed("s1");
	ask("update timers set due_at = now() where kind = 'verify'");
	pump_until(is_away);
	disconnected("s1", 2);
	subscribed("s1"); /* before the connect with which it goes on */
	unsubscribed("s1");
	connected("s1", 3);
	ck_assert_str_eq(head(), "away s1");
}
END_TEST

static bool none_verifying(void)
{
	return strcmp(ask("select count(*) from vehicle_heads where verifying"), "0") == 0 && batch_is_idle(w.batch);
}

/* Verifications are rows: a node that died began these, and whoever looks ends them, a thousand in a few transactions, each twice the last. */
START_TEST(a_thousand_absences_are_verified_at_once_by_another)
{
	ask("insert into vehicles (vehicle_id) select 'A' || n from generate_series(1, 1000) n;"
	    "insert into vehicle_heads (vehicle_id, reachable, session, version, verifying, leaving)"
	    " select 'A' || n, true, 's', 1, true, 'UNKNOWN' from generate_series(1, 1000) n;"
	    "insert into timers (kind, vehicle_id, due_at) select 'verify', 'A' || n, now() from generate_series(1, "
	    "1000) n;"
	    "update vehicle_heads set verifying = false where vehicle_id = 'A7'"); /* it was back in time */
	int64_t before = metric_value(METRIC_BATCHES);
	reachability_start(w.reachability);
	pump_until(none_verifying);
	ck_assert_int_le(metric_value(METRIC_BATCHES) - before, 8);
	ck_assert_str_eq(ask("select count(*) from events where data->>'state' = 'disconnected'"), "999");
	ck_assert_str_eq(ask("select reachable from vehicle_heads where vehicle_id = 'A7'"), "t");
	ck_assert_str_eq(ask("select count(*) from timers"), "0");
}
END_TEST

static const struct fault *proof_fault;

static void on_proved(struct receipt *r)
{
	proof_fault = r->fault;
	done = true;
}

static void message(const struct batch_fence *fence, bool is_late)
{
	struct receipt receipt;

	done = false;
	receipt_init(&receipt, on_proved);
	reachability_prove(w.reachability, fence, VEHICLE, is_late, &receipt);
	receipt_close(&receipt, NULL);
	pump_until(is_done);
}

/* A message proves life: at once who is stored as away; who is being verified is waited for anew. */
START_TEST(a_message_proves_life)
{
	message(NULL, false);
	ck_assert_str_eq(ask("select reason from vehicle_heads where reachable"), "MESSAGE");
	ck_assert_str_eq(ask("select data->>'reason' from events where data->>'state' = 'connected'"), "MESSAGE");
	connected("s1", 1);
	subscribed("s1");
	disconnected("s1", 1);
	ask("update timers set due_at = now() where kind = 'verify'");
	message(NULL, false);
	ck_assert_str_eq(ask("select due_at > now() + interval '50 seconds' from timers where kind = 'verify'"), "t");
	ck_assert_str_eq(ask("select count(*) from events"), "1");
}
END_TEST

/* What is not known to have gone on ends, too. */
START_TEST(who_is_there_by_a_message_goes_with_the_end_of_the_session)
{
	connected("s1", 1);
	subscribed("s1");
	disconnected("s1", 1);
	ask("update timers set due_at = now() where kind = 'verify'");
	reachability_start(w.reachability);
	pump_until(is_away);
	message(NULL, false);
	disconnected("s1", 1); /* come twice */
	ck_assert_str_eq(ask("select reachable and not verifying from vehicle_heads"), "t");
	disconnected("s1", 2); /* the connect was lost, or is overtaken */
	ck_assert_str_eq(ask("select reachable and verifying from vehicle_heads"), "t");
	connected("s1", 2);
	ask("update timers set due_at = now() where kind = 'verify'");
	pump_until(is_away);
	ck_assert_str_eq(ask("select data->>'reason' from events order by seq desc limit 1"), "UNKNOWN");
	connected("s1", 3);
	ck_assert_str_eq(head(), "reachable s1");
}
END_TEST

/* One that lay at the broker while nobody read may be older than the departure. */
START_TEST(a_late_message_brings_nobody_back)
{
	message(NULL, true);
	ck_assert_str_eq(ask("select reachable from vehicle_heads"), "f");
	connected("s1", 1);
	subscribed("s1");
	disconnected("s1", 1);
	ask("update timers set due_at = now() where kind = 'verify'");
	message(NULL, true);
	ck_assert_str_eq(ask("select due_at > now() + interval '50 seconds' from timers where kind = 'verify'"), "t");
}
END_TEST

/* Nor does one that somebody has in hand whose lease is over. */
START_TEST(a_zombies_message_brings_nobody_back)
{
	static const struct batch_fence lost = { "feed/01", 4 };

	ask("update leases set holder = 'w2', epoch = 5, expires_at = now() + interval '1 hour' where name = "
	    "'feed/01'");
	message(&lost, false);
	ck_assert_ptr_eq(proof_fault, &FAULT_FENCED);
	ck_assert_str_eq(ask("select reachable from vehicle_heads"), "f");
}
END_TEST

/* 0x10 disproves the session that it was claimed under, in the database and for apps, and no other. */
START_TEST(nobody_subscribed_disproves_that_session_alone)
{
	begin_with_one_sent();
	send_command();
	pump_until(two_published);
	connected("s2", 2);
	subscribed("s2");
	puback(0x10);
	pump_until(three_published); /* again at once, to the new session */
	ck_assert_str_eq(head(), "reachable s2");
	ck_assert_str_eq(ask("select count(*) from events where data->>'state' = 'disconnected'"), "0");
	puback(0x10);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(head(), "away s2");
	ck_assert_str_eq(
		ask("select data->>'reason' from events where data->>'state' = 'disconnected'"), "NO_SUBSCRIBER");
}
END_TEST

/* The broker has named everybody, and the database refuses what follows from it. */

static char question[128];
static const struct fault *resync_fault;

static void on_question(void *owner, const char *text)
{
	(void)owner;
	ck_assert_ptr_nonnull(text);
	snprintf(question, sizeof(question), "%s", text);
	done = true;
}

static void on_resync_settled(struct receipt *r)
{
	resync_fault = r->fault;
	done = true;
}

static void begin_resync(void)
{
	done = false;
	reachability_resync_begin(w.reachability, on_question, NULL);
	pump_until(is_done);
}

/* Until it is done. */
static void end_resync(void)
{
	static const struct batch_fence fence = { "feed/lifecycle", 1 };
	static struct receipt receipt;

	done = false;
	receipt_init(&receipt, on_resync_settled);
	reachability_resync_end(w.reachability, &fence,
		&(struct mqtt_message){ .topic = "resynced", .payload = question, .len = strlen(question) }, &receipt);
	receipt_close(&receipt, NULL);
}

static const struct fault *resync(void)
{
	begin_resync();
	end_resync();
	pump_until(is_done);
	return resync_fault;
}

static bool are_all_verifying(void)
{
	return strcmp(ask("select count(*) from vehicle_heads where reachable and not verifying"), "0") == 0;
}

static void insert_unnamed(int count)
{
	char heads[160];
	snprintf(heads, sizeof(heads),
		"insert into vehicle_heads (vehicle_id, reachable) select 'V' || n, true from generate_series(1, %d) n",
		count);
	ask("update leases set holder = 'w1', epoch = 1 where name = 'feed/lifecycle'");
	ask(heads);
}

static void let_lease_go(void)
{
	ask("update leases set holder = null, epoch = 0 where name = 'feed/lifecycle'");
}

/* Whoever comes next, to the connection or by the feed, waits for a part of the fleet, not for all of it. */
START_TEST(a_fleet_that_was_not_named_is_looked_at_in_parts)
{
	insert_unnamed(4500);
	ask("create table gate (is_open boolean not null); grant select on gate to public; insert into gate values "
	    "(false);"
	    "create function wait_for_gate() returns trigger language plpgsql as $$ begin "
	    "while not (select is_open from gate) loop perform pg_sleep(0.01); end loop; return new; end $$;"
	    "create trigger gate before update on vehicle_heads for each row when (new.vehicle_id = 'V999') execute "
	    "function wait_for_gate()");
	ck_assert_ptr_null(resync());
	ck_assert_str_eq(ask("select count(*) from vehicle_heads where verifying"), "2000");
	ask("update gate set is_open = true");
	pump_until(are_all_verifying);
	ask("drop trigger gate on vehicle_heads; drop function wait_for_gate; drop table gate");
	ck_assert_str_eq(ask("select count(*) from timers where kind = 'verify'"), "4500");
	ck_assert_str_eq(ask("select string_agg(n::text, ' ' order by n) from"
			     " (select count(*) as n from timers group by xmin) as of_a_transaction"),
		"500 2000 2000");
	let_lease_go();
}
END_TEST

/* The later answer is the newer one, and is taken from its beginning. */
START_TEST(an_end_that_comes_amid_the_parts_of_another_counts)
{
	insert_unnamed(9000);
	ck_assert_ptr_null(resync());
	begin_resync();
	ask("update vehicle_heads set verifying = false where vehicle_id < 'V2'");
	end_resync();
	pump_until(is_done);
	ck_assert_ptr_null(resync_fault);
	pump_until(are_all_verifying);
	let_lease_go();
}
END_TEST

/* The feed is not held up for it for ever. */
START_TEST(a_resync_that_is_refused_again_and_again_is_let_go)
{
	ask("update leases set holder = 'w1', epoch = 1 where name = 'feed/lifecycle';"
	    "update vehicle_heads set reachable = true;"
	    "create function trouble() returns trigger language plpgsql as $$ begin raise 'trouble' using errcode = "
	    "'57014'; end $$;"
	    "create trigger trouble before update on vehicle_heads for each row execute function trouble()");
	const struct fault *first = resync(), *second = resync(), *third = resync(), *fourth = resync();
	ask("drop trigger trouble on vehicle_heads; drop function trouble");
	ck_assert_ptr_eq(first, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_eq(second, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_null(third);
	ck_assert_ptr_null(fourth);
	ck_assert_ptr_null(resync());
	ck_assert_str_eq(ask("select count(*) from timers where kind = 'verify'"), "1");
	let_lease_go();
}
END_TEST

static bool was_tried_thrice(void)
{
	return strcmp(ask("select last_value from tries"), "3") == 0;
}

/* It is tried again by itself, the feed goes on. */
START_TEST(a_later_part_that_is_refused_again_and_again_is_let_go)
{
	insert_unnamed(2100);
	ask("create sequence tries; grant usage on sequence tries to public;"
	    "create function trouble() returns trigger language plpgsql as $$ begin perform nextval('tries'); raise "
	    "'trouble' using errcode = "
	    "'57014'; end $$;"
	    "create trigger trouble before update on vehicle_heads for each row when (new.vehicle_id > 'Y') execute "
	    "function trouble();"
	    "insert into vehicle_heads (vehicle_id, reachable) values ('Z', true)");
	ck_assert_ptr_null(resync());
	pump_until(was_tried_thrice);
	pump_for_ms(1500);
	ck_assert_str_eq(ask("select last_value from tries"), "3");
	ck_assert_str_eq(
		ask("select string_agg(vehicle_id, ' ') from vehicle_heads where verifying and vehicle_id > 'Y'"), "");
	ck_assert_str_eq(ask("select count(*) from vehicle_heads where verifying"), "2000");
	ask("drop trigger trouble on vehicle_heads; drop function trouble; drop sequence tries");
	let_lease_go();
}
END_TEST

/* The server's trouble is over before that: what is left is looked at. */
START_TEST(a_later_part_that_failed_is_tried_again)
{
	insert_unnamed(2100);
	ask("create function trouble() returns trigger language plpgsql as $$ begin raise 'trouble' using errcode = "
	    "'57014'; end $$;"
	    "create trigger trouble before update on vehicle_heads for each row when (new.vehicle_id = 'V999') execute "
	    "function trouble()");
	ck_assert_ptr_null(resync());
	pump_for_ms(200);
	ask("drop trigger trouble on vehicle_heads; drop function trouble");
	ck_assert_str_ne(ask("select count(*) from vehicle_heads where reachable and not verifying"), "0");
	pump_until(are_all_verifying);
	let_lease_go();
}
END_TEST

/* Who reads the feed next asks for itself. */
START_TEST(a_worker_that_ends_begins_no_other_part)
{
	insert_unnamed(4500);
	begin_resync();
	end_resync();
	reachability_stop(w.reachability);
	pump_until(is_done);
	ck_assert_str_eq(ask("select count(*) from vehicle_heads where verifying"), "2000");
	let_lease_go();
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
	Suite *suite = suite_create("presence");
	TCase *tc = tcase_create("presence");

	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, nothing_leaves_between_connect_and_subscribe);
	tcase_add_test(tc, who_does_not_subscribe_is_tried_and_may_still_come);
	tcase_add_test(tc, a_subscription_is_not_disproved_by_what_came_before_it);
	tcase_add_test(tc, what_nobody_heard_is_offered_again);
	tcase_add_test(tc, what_a_session_has_heard_is_not_offered_to_it_again);
	tcase_add_test(tc, a_session_that_the_broker_kept_goes_on);
	tcase_add_test(tc, what_comes_of_a_session_that_counts_as_over_is_remembered);
	tcase_add_test(tc, a_thousand_absences_are_verified_at_once_by_another);
	tcase_add_test(tc, a_message_proves_life);
	tcase_add_test(tc, who_is_there_by_a_message_goes_with_the_end_of_the_session);
	tcase_add_test(tc, a_late_message_brings_nobody_back);
	tcase_add_test(tc, a_zombies_message_brings_nobody_back);
	tcase_add_test(tc, nobody_subscribed_disproves_that_session_alone);
	tcase_add_test(tc, a_fleet_that_was_not_named_is_looked_at_in_parts);
	tcase_add_test(tc, an_end_that_comes_amid_the_parts_of_another_counts);
	tcase_add_test(tc, a_resync_that_is_refused_again_and_again_is_let_go);
	tcase_add_test(tc, a_later_part_that_is_refused_again_and_again_is_let_go);
	tcase_add_test(tc, a_later_part_that_failed_is_tried_again);
	tcase_add_test(tc, a_worker_that_ends_begins_no_other_part);
	suite_add_tcase(suite, tc);
	return suite_run_here(suite);
}
