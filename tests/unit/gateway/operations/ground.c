/* ground.c - a worker's part of the operations, without vehicles and brokers; made anew for each check, on links that last. */
#include "tests/unit/gateway/operations/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "commands/accept.h"
#include "commands/cancel.h"
#include "commands/dispatch.h"
#include "gateway/operations/changes.h"
#include "gateway/operations/notices.h"
#include "gateway/operations/revocation.h"
#include "state/shadow.h"

struct test_postgres postgres;
struct worker w;
struct api_call *call;
json_t *reply;
size_t open_calls;
char forwarded_to[64], forwarded[1024];

static struct test_links links;

void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
}

bool both_up(void)
{
	return test_links_are_up(&links);
}

bool both_down(void)
{
	return !db_is_up(w.writer) && !db_is_up(w.reader);
}

bool is_idle(void)
{
	return batch_is_idle(w.batch) && test_links_are_idle(&links) && open_calls == 0 &&
	       revocation_is_quiet(w.revocation) && notices_is_quiet(w.notices) && hub_is_quiet(w.hub);
}

const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

static bool forward(void *owner, const char *worker, const char *text, size_t len)
{
	(void)owner;
	snprintf(forwarded_to, sizeof(forwarded_to), "%s", worker);
	snprintf(forwarded, sizeof(forwarded), "%.*s", (int)len, text);
	return true;
}

static void read_meanwhile(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first)
{
	void (*happens)(void) = w.on_meanwhile;

	(void)stage, (void)cut, (void)unit, (void)first;
	w.on_meanwhile = NULL;
	if (happens)
		happens();
}

static void make_batch(void)
{
	struct batch_stage *stages[CHANGES_STAGES + REVOCATION_STAGES + 7];
	size_t n = 0;

	stages[n++] = hub_interest_stage(w.hub);
	changes_stages(w.changes, &stages[n]);
	n += CHANGES_STAGES;
	stages[n++] = notices_stage(w.notices);
	stages[n++] = shadow_stage(w.shadow);
	revocation_stages(w.revocation, &stages[n]);
	n += REVOCATION_STAGES;
	stages[n++] = cancel_stage(w.cancel);
	stages[n++] = accept_stage(w.accept);
	stages[n++] = hub_tell_stage(w.hub);
	w.meanwhile = (struct batch_stage){ .name = "meanwhile", .read_finish = read_meanwhile };
	stages[n++] = &w.meanwhile;
	w.batch = batch_new(w.loop, w.writer, &(struct batch_options){ .items_max = 1000, .holder = "w1" }, stages, n);
	changes_attach(w.changes, w.batch);
	notices_attach(w.notices, w.batch);
	shadow_attach(w.shadow, w.batch);
	revocation_attach(w.revocation, w.batch);
	cancel_attach(w.cancel, w.batch);
	accept_attach(w.accept, w.batch);
	hub_attach(w.hub, w.batch);
}

/* CAR1 is in fleet F1 and has an owner, a driver, a viewer, and somebody whose time is over; CAR2 is in no fleet, CAR3 in F2.
 * All began an hour ago; half an hour ago the driver sent a command that waits. */
const char seed[] =
	"delete from retained; delete from notices; delete from notice_spreads; delete from revocations; delete from "
	"erasures; delete from idempotency; delete from actors; delete from webhooks; delete from "
	"interest; delete from events; delete from commands; delete from "
	"vehicle_heads; delete from grants; delete from "
	"vehicles; "
	"delete from fleets;"
	"insert into fleets (fleet_id) values ('F1'), ('F2');"
	"insert into vehicles (vehicle_id, fleet_id, msisdn, created_at) select v, f, m, now() - interval '1 hour' "
	"from "
	"(values ('CAR1', 'F1', '+4915559990001'), ('CAR2', null, null), ('CAR3', 'F2', null)) as n(v, f, m);"
	"insert into vehicle_heads (vehicle_id, seq) values ('CAR1', 1), ('CAR2', 0), ('CAR3', 0);"
	"insert into grants (object_kind, object_id, subject, role, expires_at, granted_by, created_at)"
	" select k, o, s, r, e, 'test', now() - interval '1 hour' from (values"
	" ('vehicle', 'CAR1', 'olga', 'owner', null), ('vehicle', 'CAR1', 'dan', 'driver', null),"
	" ('vehicle', 'CAR1', 'vera', 'viewer', null), ('vehicle', 'CAR1', 'ed', 'driver', now() - interval '1 "
	"minute'),"
	" ('fleet', 'F1', 'max', 'manager', null), ('fleet', 'F1', 'otto', 'operator', null),"
	" ('fleet', 'F2', 'mia', 'manager', null)) as v(k, o, s, r, e);"
	"insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	"timeout_seconds, timeline, "
	"created_at, expires_at, updated_at, due_at) select 'CAR1', uuid7_floor(t), 'doors.unlock', 'dan', true, "
	"'on_reconnect', "
	"'{\"role\":\"driver\"}', 1, 20, step('accepted'), t, now() + interval '1 hour', t, now() + interval '1 hour'"
	" from (select now() - interval '30 minutes') as n(t);"
	"insert into events (vehicle_id, seq, at, type, data, fleet_id)"
	" select vehicle_id, 1, created_at, 'command.updated', command_json(commands), 'F1' from commands";

static bool can_publish(void *owner)
{
	(void)owner;
	return false;
}

static void worker_setup(void)
{
	memset(&w, 0, sizeof(w));
	w.loop = links.loop;
	w.config.namespace = "acme";
	w.config.webhooks.per_subject = 1000;
	w.writer = links.of[0].writer;
	w.reader = links.of[0].reader;
	w.ports = (struct command_ports){ .can_publish = can_publish };
	w.dispatch =
		dispatch_new(w.loop, &(struct dispatch_options){ .db = w.writer, .worker = "w1", .ports = &w.ports });
	w.accept = accept_new(w.loop, w.writer, w.dispatch, 100);
	w.cancel = cancel_new();
	w.changes = changes_new(false);
	w.notices = notices_new(w.loop, w.reader);
	w.shadow = shadow_new();
	w.hub = hub_new(w.loop,
		&(struct hub_options){ .worker = "w1", .writer = w.writer, .reader = w.reader, .forward = forward });
	w.revocation = revocation_new(w.loop, w.writer, w.reader, w.hub);
	make_batch();
	w.api = (struct api){ .loop = w.loop,
		.config = &w.config,
		.batch = w.batch,
		.hub = w.hub,
		.writer = w.writer,
		.reader = w.reader,
		.accept = w.accept,
		.cancel = w.cancel,
		.changes = w.changes,
		.revocation = w.revocation };
	list_init(&w.api.waiting);
	ask(seed);
}

void forget_call(void)
{
	json_decref(reply);
	reply = NULL;
	api_call_free(call);
	call = NULL;
}

static void worker_teardown(void)
{
	if (call)
		forget_call();
	hub_stop(w.hub);
	notices_stop(w.notices);
	revocation_stop(w.revocation);
	pump_until(is_idle);
	batch_free(w.batch);
	hub_free(w.hub);
	revocation_free(w.revocation);
	changes_free(w.changes);
	notices_free(w.notices);
	shadow_free(w.shadow);
	cancel_free(w.cancel);
	accept_free(w.accept);
	dispatch_free(w.dispatch);
}

static void on_done(struct api_call *c)
{
	(void)c;
	open_calls--;
}

bool is_answered(void)
{
	return open_calls == 0;
}

struct api_call *start_with(const struct api_operation *operation, const char *subject, unsigned scopes, json_t *params)
{
	struct caller caller = { .scopes = scopes };

	snprintf(caller.subject, sizeof(caller.subject), "%s", subject);
	struct api_call *c = api_call_new(&w.api, operation, &caller, params, NULL, NULL, on_done);
	open_calls++;
	api_call_start(c);
	return c;
}

struct api_call *start(const struct api_operation *operation, const char *subject, unsigned scopes, const char *json)
{
	json_t *params = json_loads(json, 0, NULL);
	ck_assert_msg(params != NULL, "the test's own JSON is broken: %s", json);
	return start_with(operation, subject, scopes, params);
}

static unsigned scopes_of(const char *subject)
{
	return strcmp(subject, "admin") == 0 ? SCOPE_ADMIN : SCOPES_USER;
}

/* "ok", or the problem's name. */
const char *verdict_of(const struct api_call *c)
{
	return c->fault ? c->fault->name : "ok";
}

const char *call_with(const struct api_operation *operation, const char *subject, unsigned scopes, const char *json)
{
	if (call)
		forget_call();
	call = start(operation, subject, scopes, json);
	pump_until(is_answered);
	if (!call->fault) {
		reply = json_loadb(call->body, call->body_len, 0, NULL);
		ck_assert_msg(reply != NULL, "%s answered with what is no JSON: %s", operation->name, call->body);
	}
	return verdict_of(call);
}

const char *try_as(const char *subject, const struct api_operation *operation, const char *json)
{
	return call_with(operation, subject, scopes_of(subject), json);
}

char *problem_text(void)
{
	if (!call->fault)
		return strdup("fine");
	json_auto_t *problem = api_problem(call->fault, call->detail, "request", call->retriable_by_key);
	return json_canonical(problem);
}

size_t items(void)
{
	return json_array_size(json_object_get(reply, "items"));
}

/* A member of every item, joined by spaces; valid until the next call. */
const char *each(const char *member)
{
	static char out[2048];
	size_t i;
	json_t *item;

	out[0] = '\0';
	json_array_foreach (json_object_get(reply, "items"), i, item) {
		const json_t *value = json_object_get(item, member);
		char number[32];
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		strcat(out, i ? " " : "");
		strcat(out, json_is_integer(value) ? number : json_string_value(value));
	}
	return out;
}

const char *at(const char *member)
{
	return json_text_at(reply, member);
}

const char *params_of(const char *pattern)
{
	static char out[512];
	char *to = out;
	const char *id = ask("select id from commands");

	for (; *pattern; pattern++) {
		if (*pattern == '@')
			to += sprintf(to, "%s", id);
		else
			*to++ = *pattern == '\'' ? '"' : *pattern;
	}
	*to = '\0';
	return out;
}

const char more_commands[] =
	"insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	"timeout_seconds, "
	"created_at, expires_at, updated_at, due_at) select 'CAR1', uuid7_floor(t), 'c' || n, 'olga', true, "
	"'on_reconnect', '{}', "
	"n, 20, t, now() + interval '1 hour', t, now() + interval '1 hour'"
	" from generate_series(2, 5) n cross join lateral (select now() - make_interval(mins => 30 - n)) as x(t)";

static const char three_needs[] =
	"delete from commands; insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, "
	"accepted_seq, "
	"timeout_seconds, created_at, expires_at, updated_at, due_at) select 'CAR1', uuid7_floor(now() - "
	"make_interval(mins => n)), role, "
	"who, true, 'on_reconnect', json_build_object('role', role), n, 20, now(), now() + interval '1 hour', now(), "
	"now() + interval "
	"'1 hour' from (values (1, 'driver', '%s'), (2, 'owner', '%s'), (3, 'viewer', '%s')) as v(n, role, who)";

const char *three_commands(const char *who)
{
	static char sql[1024];
	snprintf(sql, sizeof(sql), three_needs, who, who, who);
	return sql;
}

const char *statuses_of(const char *who)
{
	char sql[256];
	snprintf(sql, sizeof(sql),
		"select string_agg(name || ' ' || status || coalesce(' ' || (reason->>'code'), ''), ', ' order by "
		"name) from commands "
		"where issued_by = coalesce(nullif('%s', ''), issued_by)",
		who ? who : "");
	return ask(sql);
}

bool otto_has_nothing_left(void)
{
	return strcmp(statuses_of("otto"),
		       "driver canceled ACCESS_REVOKED, owner canceled ACCESS_REVOKED, viewer canceled "
		       "ACCESS_REVOKED") == 0;
}

void ground_open(void)
{
	test_links_open(&links, &postgres, 1, 0);
}

void ground_close(void)
{
	test_links_close(&links, &postgres);
}

TCase *case_new(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	suite_add_tcase(suite, tc);
	return tc;
}
