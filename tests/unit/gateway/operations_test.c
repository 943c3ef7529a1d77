/* operations_test.c - who may do what, what they then see, and what a change takes with it, on a real PostgreSQL:
 * the operations as the transports call them. */
#include <check.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/receipt.h"
#include "commands/accept.h"
#include "commands/cancel.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/operations/changes.h"
#include "gateway/operations/notices.h"
#include "gateway/operations/revocation.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "state/shadow.h"
#include "tests/links.h"
#include "tests/servers.h"

#define WAIT_NS 8000000000ull
/* A batch's id has the fleet's name in it, so that the other fleet's and one that is not there are named as they are. */
#define WEBHOOK "019a0000-0000-7000-8000-00000000aaaa"
#define DELIVERY "019a0000-0000-7000-8000-00000000bbbb"
#define BATCH_OF_F1 "019a0000-0000-7000-8000-0000000000F1"
#define SPREAD_NS 30000000000ull /* many transactions, one after the other */
#define FIRST_COMMAND "019a0000-0000-7000-8000-000000000001"
#define SCOPES_USER (SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE)

static struct test_postgres postgres;
static struct test_links links;

static struct worker {
	struct loop *loop;
	struct config config;
	struct db *writer, *reader;
	struct command_ports ports;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct cancel_flow *cancel;
	struct changes *changes;
	struct notices *notices;
	struct shadow *shadow;
	struct revocation *revocation;
	struct hub *hub;
	struct batch *batch;
	struct batch_stage meanwhile;
	void (*on_meanwhile)(void); /* what happens once, behind a commit that nobody here has heard of yet */
	struct api api;
} w;

/* The call that was made last, with its reply. */
static struct api_call *call;
static json_t *reply;
static size_t open_calls;

/* A worker's part of this, without vehicles and brokers. */

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
}

static bool both_up(void)
{
	return test_links_are_up(&links);
}

static bool both_down(void)
{
	return !db_is_up(w.writer) && !db_is_up(w.reader);
}

static bool is_idle(void)
{
	return batch_is_idle(w.batch) && test_links_are_idle(&links) && open_calls == 0 &&
	       revocation_is_quiet(w.revocation) && notices_is_quiet(w.notices) && hub_is_quiet(w.hub);
}

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

/* What was sent to another worker's inbox last. */
static char forwarded_to[64], forwarded[1024];

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
static const char seed[] =
	"delete from retained; delete from notices; delete from notice_spreads; delete from revocations; delete from "
	"erasures; delete from idempotency; delete from actors; delete from webhooks; delete from "
	"interest; delete from events; delete from commands; delete from "
	"vehicle_heads; delete from grants; delete from "
	"vehicles; "
	"delete from fleets;"
	"insert into fleets (fleet_id) values ('F1'), ('F2');"
	"insert into vehicles (vehicle_id, fleet_id, msisdn) values ('CAR1', 'F1', '+4915559990001'), ('CAR2', null, "
	"null), "
	"('CAR3', 'F2', null);"
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

static void forget_call(void)
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

/* Calling. */

static void on_done(struct api_call *c)
{
	(void)c;
	open_calls--;
}

static bool is_answered(void)
{
	return open_calls == 0;
}

static struct api_call *start(
	const struct api_operation *operation, const char *subject, unsigned scopes, const char *json)
{
	struct caller caller = { .scopes = scopes };
	json_t *params = json_loads(json, 0, NULL);

	ck_assert_msg(params != NULL, "the test's own JSON is broken: %s", json);
	snprintf(caller.subject, sizeof(caller.subject), "%s", subject);
	struct api_call *c = api_call_new(&w.api, operation, &caller, params, NULL, NULL, on_done);
	open_calls++;
	api_call_start(c);
	return c;
}

static unsigned scopes_of(const char *subject)
{
	return strcmp(subject, "admin") == 0 ? SCOPE_ADMIN : SCOPES_USER;
}

/* "ok", or the problem's name. */
static const char *verdict_of(const struct api_call *c)
{
	return c->fault ? c->fault->name : "ok";
}

static const char *call_with(
	const struct api_operation *operation, const char *subject, unsigned scopes, const char *json)
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

static const char *try_as(const char *subject, const struct api_operation *operation, const char *json)
{
	return call_with(operation, subject, scopes_of(subject), json);
}

#define assert_ok(subject, operation, json) ck_assert_str_eq(try_as(subject, &(operation), json), "ok")
#define assert_refused(subject, operation, json, name) ck_assert_str_eq(try_as(subject, &(operation), json), name)

static size_t items(void)
{
	return json_array_size(json_object_get(reply, "items"));
}

/* A member of every item, joined by spaces; valid until the next call. */
static const char *each(const char *member)
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

static const char *at(const char *member)
{
	return json_text_at(reply, member);
}

/* Who may do what: every operation, by every kind of caller, with every set of scopes, on what is theirs and on what is not. */

/* A column each in the table of rights. */
static const char *const callers[] = {
	"olga", /* owner of CAR1 */
	"max",	/* manager of F1, which it is in */
	"otto", /* operator there */
	"vic",	/* viewer there */
	"dan",	/* driver of CAR1 */
	"vera", /* viewer of it */
	"ed",	/* whose time as its driver is over */
	"evan", /* likewise as a manager of F1 */
	"rita", /* whose ownership was ended */
	"sam",	/* a stranger */
	"mia",	/* manager of F2 alone, which CAR3 is in */
};
#define CALLERS (sizeof(callers) / sizeof(callers[0]))
enum { MANAGER = 1, STRANGER = 9, FOREIGN_MANAGER = 10 }; /* indices */

/* What the matrix needs besides: the rest of the cast, somebody to speak of, and a command of CAR3. */
static const char cast[] =
	"insert into grants (object_kind, object_id, subject, role, expires_at, granted_by, created_at)"
	" select k, o, s, r, e, 'test', now() - interval '1 hour' from (values"
	" ('fleet', 'F1', 'vic', 'viewer', null), ('fleet', 'F1', 'evan', 'manager', now() - interval '1 minute'),"
	" ('vehicle', 'CAR1', 'rita', 'owner', null), ('vehicle', 'CAR3', 'ole', 'owner', null),"
	" ('vehicle', 'CAR1', 'pia', 'driver', null), ('vehicle', 'CAR3', 'pia', 'driver', null),"
	" ('fleet', 'F1', 'pia', 'operator', null), ('fleet', 'F2', 'pia', 'operator', null)) as v(k, o, s, r, e);"
	"delete from grants where subject = 'rita';"
	"insert into notices (object_kind, object_id, name, payload, published_by) select k, o, 'recall', 'stop', "
	"'test'"
	" from (values ('vehicle', 'CAR1'), ('vehicle', 'CAR3'), ('fleet', 'F1'), ('fleet', 'F2'), ('fleet', '*')) as "
	"v(k, o);"
	"insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	"timeout_seconds, "
	"created_at, expires_at, updated_at, due_at) select 'CAR3', id, name, 'ole', wake, redelivery, catalog, 1, 20, "
	"created_at, expires_at, updated_at, due_at from commands;"
	"delete from leases where name like 'batch/%'; delete from batch_targets; delete from batches;"
	"insert into batches (id, fleet_id, name, ttl_seconds, timeout_seconds, wake, redelivery, supersedes, catalog, "
	"issued_by, admin, needs, "
	"rate, total) select ('019a0000-0000-7000-8000-0000000000' || fleet_id)::uuid, fleet_id, 'doors.unlock', 60, "
	"20, true, 'on_reconnect', '', "
	"'{}', 'max', false, 2, 1, 1 from fleets;"
	"insert into batch_targets (batch_id, vehicle_id) select b.id, v.vehicle_id from batches b join vehicles v "
	"using (fleet_id);"
	"delete from webhooks; delete from webhook_deliveries; delete from webhook_lines;"
	"insert into webhooks (id, subject, is_admin, url, secret) values ('" WEBHOOK
	"', 'root', true, 'https://x.example', 'whsec_AA==');"
	"insert into webhook_deliveries (id, webhook_id, vehicle_id, seq, at, type) values ('" DELIVERY "', '" WEBHOOK
	"', 'CAR1', 1, now(), 'state.desired')";

/* What each hears: . fine, F forbidden, V vehicle-not-found, f fleet-not-found, b batch-not-found, h webhook-not-found, N fleet-not-empty. */
static const struct right {
	const struct api_operation *operation;
	const char *params;
	const char *scopes;   /* that suffice: r vehicles:read, w commands:write, a admin alone; none: any token */
	const char *verdicts; /* with admin's scope; then the callers, as they stand above */
} rights[] = {
	{ &API_ME, "{}", "", ". ...... ... .." },
	{ &API_CATALOG_GET, "{}", "", ". ...... ... .." },
	{ &API_VEHICLE_LIST, "{}", "r", ". ...... ... .." },
	{ &API_VEHICLE_GET, "{'vehicle_id':'CAR1'}", "r", ". ...... VVV VV" },
	{ &API_COMMAND_SEND, "{'vehicle_id':'CAR1','name':'doors.unlock'}", "w", ". ...F.F VVV VV" },
	{ &API_COMMAND_GET, "{'vehicle_id':'CAR1','id':'@'}", "rw", ". ...... VVV VV" },
	{ &API_COMMAND_LIST, "{'vehicle_id':'CAR1'}", "rw", ". ...... VVV VV" },
	{ &API_COMMAND_CANCEL, "{'vehicle_id':'CAR1','id':'@'}", "w", ". ...F.F VVV VV" },
	{ &API_EVENT_LIST, "{'vehicle_id':'CAR1'}", "r", ". ...... VVV VV" },
	{ &API_GRANT_LIST, "{'vehicle_id':'CAR1'}", "r", ". ..FFFF VVV VV" },
	{ &API_GRANT_GET, "{'vehicle_id':'CAR1','subject':'pia'}", "r", ". ..FFFF VVV VV" },
	{ &API_GRANT_PUT, "{'vehicle_id':'CAR1','subject':'eve','role':'viewer'}", "w", ". ..FFFF VVV VV" },
	{ &API_GRANT_DELETE, "{'vehicle_id':'CAR1','subject':'pia'}", "w", ". ..FFFF VVV VV" },
	{ &API_WAKEUP_LIST, "{'vehicle_id':'CAR1'}", "r", ". ...... VVV VV" },
	{ &API_AUDIT_LIST, "{'vehicle_id':'CAR1'}", "r", ". .FFFFF VVV VV" },
	{ &API_VEHICLE_TRANSFER, "{'vehicle_id':'CAR1','subject':'eve'}", "w", ". .FFFFF VVV VV" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'CAR1','fleet_id':'F1'}", "w", ". F.FFFF fff ff" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'CAR1'}", "w", ". FFFFFF FFF FF" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'NEW1','fleet_id':'F1'}", "w", ". f.ffff fff ff" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'NEW1'}", "w", ". FFFFFF FFF FF" },
	{ &API_VEHICLE_DELETE, "{'vehicle_id':'CAR1'}", "w", ". F.FFFF VVV VV" },
	{ &API_VEHICLE_BLOCK, "{'vehicle_id':'CAR1'}", "w", ". F.FFFF VVV VV" },
	{ &API_VEHICLE_UNBLOCK, "{'vehicle_id':'CAR1'}", "w", ". F.FFFF VVV VV" },
	{ &API_SUBJECT_GET, "{'subject':'zoe'}", "a", ". FFFFFF FFF FF" },
	{ &API_SUBJECT_ERASE, "{'subject':'zoe'}", "a", ". FFFFFF FFF FF" },
	{ &API_STATE_PATCH, "{'vehicle_id':'CAR1','patch':{'lights':1}}", "w", ". ...F.F VVV VV" },
	{ &API_NOTICE_LIST, "{'vehicle_id':'CAR1'}", "r", ". ...... VVV VV" },
	{ &API_NOTICE_PUT, "{'vehicle_id':'CAR1','name':'storm','payload':'x'}", "w", ". ..FFFF VVV VV" },
	{ &API_NOTICE_DELETE, "{'vehicle_id':'CAR1','name':'recall'}", "w", ". ..FFFF VVV VV" },
	{ &API_FLEET_NOTICE_LIST, "{'fleet_id':'F1'}", "r", ". f...ff fff ff" },
	{ &API_FLEET_NOTICE_PUT, "{'fleet_id':'F1','name':'storm','payload':'x'}", "w", ". f.FFff fff ff" },
	{ &API_FLEET_NOTICE_DELETE, "{'fleet_id':'F1','name':'recall'}", "w", ". f.FFff fff ff" },
	{ &API_ALL_NOTICE_LIST, "{}", "r", ". FFFFFF FFF FF" },
	{ &API_ALL_NOTICE_PUT, "{'name':'storm','payload':'x'}", "w", ". FFFFFF FFF FF" },
	{ &API_ALL_NOTICE_DELETE, "{'name':'recall'}", "w", ". FFFFFF FFF FF" },
	{ &API_FLEET_ALERT_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fff ff" },
	{ &API_FLEET_BLOCK_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fff ff" },
	{ &API_FLEET_WAKEUP_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fff ff" },
	{ &API_FLEET_STATS_GET, "{'fleet_id':'F1'}", "r", ". f.FFff fff ff" },
	{ &API_ALERT_LIST, "{}", "r", ". FFFFFF FFF FF" },
	{ &API_BLOCK_LIST, "{}", "r", ". FFFFFF FFF FF" },
	{ &API_ALL_WAKEUP_LIST, "{}", "r", ". FFFFFF FFF FF" },
	{ &API_STATS_GET, "{}", "r", ". FFFFFF FFF FF" },
	{ &API_NODE_LIST, "{}", "a", ". FFFFFF FFF FF" },
	{ &API_WEBHOOK_LIST, "{}", "r", ". ...... ... .." },
	{ &API_WEBHOOK_CREATE, "{'url':'https://x.example/','vehicle_ids':['CAR1']}", "r", ". ...... VVV VV" },
	{ &API_WEBHOOK_CREATE, "{'url':'https://x.example/','fleet_ids':['F1']}", "r", ". f...ff fff ff" },
	{ &API_WEBHOOK_CREATE, "{'url':'https://x.example/','fleet_ids':['*']}", "r", ". FFFFFF FFF FF" },
	{ &API_WEBHOOK_GET, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhh hh" },
	{ &API_WEBHOOK_PUT, "{'id':'" WEBHOOK "','url':'https://x.example/','vehicle_ids':['CAR1']}", "r",
		". hhhhhh hhh hh" },
	{ &API_WEBHOOK_DELETE, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhh hh" },
	{ &API_WEBHOOK_ROTATE, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhh hh" },
	{ &API_WEBHOOK_DELIVERIES, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhh hh" },
	{ &API_WEBHOOK_DELIVERY_GET, "{'id':'" WEBHOOK "','delivery_id':'" DELIVERY "'}", "r", ". hhhhhh hhh hh" },
	{ &API_WEBHOOK_REDELIVER, "{'id':'" WEBHOOK "','delivery_id':'" DELIVERY "'}", "r", ". hhhhhh hhh hh" },
	{ &API_FLEET_LIST, "{}", "r", ". ...... ... .." },
	{ &API_FLEET_GET, "{'fleet_id':'F1'}", "r", ". f...ff fff ff" },
	{ &API_FLEET_PUT, "{'fleet_id':'F1','title':'Vans'}", "w", ". fFFFff fff ff" },
	{ &API_FLEET_PUT, "{'fleet_id':'F9','title':'Vans'}", "w", ". ffffff fff ff" },
	{ &API_FLEET_DELETE, "{'fleet_id':'F1'}", "w", "N fFFFff fff ff" },
	{ &API_BATCH_CREATE, "{'fleet_id':'F1','name':'doors.unlock'}", "w", ". f..Fff fff ff" },
	{ &API_BATCH_CREATE, "{'fleet_id':'F1','name':'doors.unlock','vehicles':['CAR1']}", "w", ". f..Fff fff ff" },
	{ &API_BATCH_LIST, "{'fleet_id':'F1'}", "rw", ". f...ff fff ff" },
	{ &API_BATCH_GET, "{'id':'" BATCH_OF_F1 "'}", "rw", ". b...bb bbb bb" },
	{ &API_BATCH_COMMANDS, "{'id':'" BATCH_OF_F1 "'}", "rw", ". b...bb bbb bb" },
	{ &API_BATCH_CANCEL, "{'id':'" BATCH_OF_F1 "'}", "w", ". b..Fbb bbb bb" },
	{ &API_FLEET_GRANT_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fff ff" },
	{ &API_FLEET_GRANT_GET, "{'fleet_id':'F1','subject':'pia'}", "r", ". f.FFff fff ff" },
	{ &API_FLEET_GRANT_PUT, "{'fleet_id':'F1','subject':'eve','role':'viewer'}", "w", ". f.FFff fff ff" },
	{ &API_FLEET_GRANT_DELETE, "{'fleet_id':'F1','subject':'pia'}", "w", ". f.FFff fff ff" },
};

#define RIGHTS (sizeof(rights) / sizeof(rights[0]))

static char letter_of(const struct api_call *c)
{
	static const struct {
		const struct fault *fault;
		char letter;
	} letters[] = { { NULL, '.' }, { &FAULT_FORBIDDEN, 'F' }, { &FAULT_VEHICLE_NOT_FOUND, 'V' },
		{ &FAULT_FLEET_NOT_FOUND, 'f' }, { &FAULT_BATCH_NOT_FOUND, 'b' }, { &FAULT_WEBHOOK_NOT_FOUND, 'h' },
		{ &FAULT_FLEET_NOT_EMPTY, 'N' } };

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
		if (letters[i].fault == c->fault)
			return letters[i].letter;
	}
	return '?';
}

/* Single quotes for double ones, and the seeded command's id for @. */
static const char *params_of(const char *pattern)
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

/* Seeds often, so on one connection. */
static PGconn *seeder;
static char command_id[40];

static void run_sql(const char *sql)
{
	PGresult *result = PQexec(seeder, sql);
	ck_assert_msg(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK, "%s",
		PQerrorMessage(seeder));
	if (PQntuples(result) == 1)
		snprintf(command_id, sizeof(command_id), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
}

static void seed_anew(void)
{
	static char all[sizeof(seed) + sizeof(cast) + 64];
	if (!all[0])
		snprintf(all, sizeof(all), "%s;%s;select id from commands limit 1", seed, cast);
	run_sql(all);
}

/* On the callers' own vehicle and fleet, or on the other ones. */
static const char *params_for(const struct right *right, bool own)
{
	static char out[512];
	char *to = out;

	for (const char *at = right->params; *at; at++) {
		if (*at == '@')
			to += sprintf(to, "%s", command_id);
		else
			*to++ = *at == '\'' ? '"' : *at;
	}
	*to = '\0';
	for (char *at = out; !own && (at = strstr(at, "CAR1")) != NULL;)
		at[3] = '3';
	for (char *at = out; !own && (at = strstr(at, "F1")) != NULL;)
		at[1] = '2';
	return out;
}

static char verdict_at(const struct right *right, size_t column)
{
	const char *at = right->verdicts;
	for (;; at++) {
		if (*at != ' ' && column-- == 0)
			return *at;
	}
}

static bool suffices(const struct right *right, unsigned scopes)
{
	return !right->scopes[0] || (strchr(right->scopes, 'r') && (scopes & SCOPE_VEHICLES_READ)) ||
	       (strchr(right->scopes, 'w') && (scopes & SCOPE_COMMANDS_WRITE));
}

/* What a caller should hear; `column` is of the callers. */
static char expected(const struct right *right, size_t column, unsigned scopes)
{
	if (scopes & SCOPE_ADMIN)
		return verdict_at(right, 0);
	return suffices(right, scopes) ? verdict_at(right, 1 + column) : 'F';
}

/* Webhooks are made by who reads. */
static bool changes(const struct api_operation *operation)
{
	return operation->scope == SCOPE_COMMANDS_WRITE || operation == &API_WEBHOOK_CREATE ||
	       operation == &API_WEBHOOK_DELETE;
}

static void assert_heard(const struct right *right, bool own, size_t caller, unsigned scopes)
{
	size_t column = own ? caller : caller == FOREIGN_MANAGER ? MANAGER : STRANGER;
	char should = expected(right, column, scopes);
	const char *params = params_for(right, own);

	call_with(right->operation, callers[caller], scopes, params);
	ck_assert_msg(letter_of(call) == should, "%s %s by %s with scopes %u: %c (%s), not %c", right->operation->name,
		params, callers[caller], scopes, letter_of(call), verdict_of(call), should);
	if (!call->fault && changes(right->operation))
		seed_anew();
}

static const unsigned scope_sets[] = { 0, SCOPE_VEHICLES_READ, SCOPE_COMMANDS_WRITE, SCOPES_USER, SCOPE_ADMIN,
	SCOPES_ALL };
#define SCOPE_SETS (sizeof(scope_sets) / sizeof(scope_sets[0]))

static void matrix_setup(void)
{
	struct config_error error = { 0 };
	w.api.catalog = catalog_read(SOURCE_FOLDER "/gateway/catalog.example.yaml", &error);
	ck_assert_ptr_nonnull(w.api.catalog);
	seeder = PQconnectdb(postgres.url);
	ck_assert_int_eq(PQstatus(seeder), CONNECTION_OK);
	run_sql("set synchronous_commit = off");
	seed_anew();
}

static void matrix_teardown(void)
{
	if (call)
		forget_call();
	catalog_free(w.api.catalog);
	PQfinish(seeder);
}

static void assert_all_heard(const struct right *right, bool own)
{
	for (size_t i = 0; i < CALLERS; i++) {
		for (size_t k = 0; k < SCOPE_SETS; k++)
			assert_heard(right, own, i, scope_sets[k]);
	}
}

START_TEST(everybody_may_do_what_their_role_and_scopes_say)
{
	for (size_t i = 0; i < RIGHTS; i++)
		assert_all_heard(&rights[i], true);
}
END_TEST

/* The same on another's vehicle and fleet: all are strangers there, but for its manager. */
START_TEST(nobody_may_do_it_to_what_is_anothers)
{
	for (size_t i = 0; i < RIGHTS; i++) {
		if (strstr(rights[i].params, "CAR1") || strstr(rights[i].params, "F1"))
			assert_all_heard(&rights[i], false); /* the others are about nothing in particular */
	}
}
END_TEST

/* Every operation that a route leads to has its row. */
START_TEST(no_operation_is_left_out)
{
	static const struct api_operation *const all[] = {
#define ROUTE(method, path, operation, ...) &operation,
#include "gateway/http/routes.tbl.h"
#undef ROUTE
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		size_t k = 0;
		while (k < RIGHTS && rights[k].operation != all[i])
			k++;
		ck_assert_msg(k < RIGHTS, "%s has no row", all[i]->name);
	}
}
END_TEST

static char *problem_text(void)
{
	if (!call->fault)
		return strdup("fine");
	json_auto_t *problem = api_problem(call->fault, call->detail, "request", call->retriable_by_key);
	return json_canonical(problem);
}

static char *problem_of_stranger(const struct right *right, const char *params)
{
	call_with(right->operation, "sam", SCOPES_USER, params);
	return problem_text();
}

static void assert_hidden(const struct right *right)
{
	char absent[512];

	snprintf(absent, sizeof(absent), "%s", params_of(right->params));
	for (char *at = absent; (at = strstr(at, "CAR1")) != NULL;)
		at[3] = '9';
	for (char *at = absent; (at = strstr(at, "F1")) != NULL;)
		at[1] = '9';
	char *of_hidden = problem_of_stranger(right, params_of(right->params));
	char *of_absent = problem_of_stranger(right, absent);
	ck_assert_str_eq(of_hidden, of_absent);
	free(of_hidden);
	free(of_absent);
}

/* Nobody learns from an answer whether a vehicle or a fleet exists that is not theirs to see. */
START_TEST(hidden_is_as_absent)
{
	for (size_t i = 0; i < RIGHTS; i++)
		assert_hidden(&rights[i]);
}
END_TEST

START_TEST(malformed_ids)
{
	assert_refused("admin", API_VEHICLE_GET, "{\"vehicle_id\":\"a b\"}", "vehicle-not-found");
	assert_refused("admin", API_VEHICLE_GET, "{\"vehicle_id\":7}", "vehicle-not-found");
	assert_refused("admin", API_GRANT_LIST, "{\"vehicle_id\":\"a/b\"}", "vehicle-not-found");
	assert_refused("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"a b\"}", "invalid-vehicle");
	assert_refused("olga", API_COMMAND_GET, "{\"vehicle_id\":\"CAR1\",\"id\":\"seven\"}", "command-not-found");
	assert_refused(
		"olga", API_COMMAND_GET, "{\"vehicle_id\":\"CAR1\",\"id\":\"" FIRST_COMMAND "\"}", "command-not-found");
	assert_refused("sam", API_COMMAND_GET, "{\"vehicle_id\":\"CAR1\",\"id\":\"seven\"}", "vehicle-not-found");
	assert_refused("olga", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\",\"colour\":1}", "unknown-field");
}
END_TEST

/* What they see. */

START_TEST(command_comes_with_its_timeline)
{
	assert_ok("dan", API_COMMAND_GET, params_of("{'vehicle_id':'CAR1','id':'@'}"));
	ck_assert_str_eq(at("status"), "accepted");
	ck_assert_str_eq(at("issued_by"), "dan");
	const json_t *timeline = json_object_get(reply, "timeline");
	ck_assert_uint_eq(json_array_size(timeline), 1);
	const json_t *first = json_array_get(timeline, 0);
	ck_assert_str_eq(json_text_at(first, "step"), "accepted");
	ck_assert_ptr_nonnull(json_text_at(first, "time"));
	ck_assert(json_is_object(json_object_get(first, "detail")));
}
END_TEST

START_TEST(vehicle_has_the_shape_of_the_contract)
{
	static const char *const members[] = { "vehicle_id", "display_name", "msisdn", "iccid", "fleet_id", "tags",
		"vehicle_protocol", "connectivity", "state", "seq", "epoch", "created_at", "updated_at", NULL };

	assert_ok("max", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	for (size_t i = 0; members[i]; i++)
		ck_assert_msg(json_object_get(reply, members[i]) != NULL, "%s is missing", members[i]);
	ck_assert_ptr_null(json_unknown_key(reply, members));
	ck_assert_str_eq(at("msisdn"), "+4915559990001");
	ck_assert_str_ne(at("epoch"), "");
	const json_t *connectivity = json_object_get(reply, "connectivity");
	ck_assert_str_eq(json_text_at(connectivity, "state"), "disconnected");
	ck_assert(json_is_null(json_object_get(connectivity, "since")));

	assert_ok("olga", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert(json_is_null(json_object_get(reply, "msisdn")));
}
END_TEST

START_TEST(lists_hold_what_the_caller_may_see)
{
	static const struct {
		const char *subject, *vehicles;
	} rows[] = { { "admin", "CAR1 CAR2 CAR3" }, { "olga", "CAR1" }, { "max", "CAR1" }, { "mia", "CAR3" },
		{ "ed", "" }, { "sam", "" } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_ok(rows[i].subject, API_VEHICLE_LIST, "{}");
		ck_assert_str_eq(each("vehicle_id"), rows[i].vehicles);
	}
	/* by two grants, once */
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('vehicle', 'CAR1', 'max', "
	    "'viewer', 't'),"
	    " ('vehicle', 'CAR3', 'max', 'viewer', 't')");
	assert_ok("max", API_VEHICLE_LIST, "{}");
	ck_assert_str_eq(each("vehicle_id"), "CAR1 CAR3");
	ck_assert_str_eq(json_text_at(json_array_get(json_object_get(reply, "items"), 0), "msisdn"), "+4915559990001");
}
END_TEST

START_TEST(me_names_scopes_and_living_grants)
{
	ask("update grants set expires_at = '2099-01-01 00:00:00Z' where subject = 'max'");
	assert_ok("max", API_ME, "{}");
	json_auto_t *expected = json_loads(
		"{\"subject\":\"max\",\"scopes\":[\"vehicles:read\",\"commands:write\"],\"grants\":"
		"[{\"fleet_id\":\"F1\",\"role\":\"manager\",\"expires_at\":\"2099-01-01T00:00:00.000000Z\"}]}",
		0, NULL);
	ck_assert(json_equal(reply, expected));
	assert_ok("ed", API_ME, "{}");
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "grants")), 0);
	assert_ok("admin", API_ME, "{}");
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(reply, "scopes"), 0)), "keyfob:admin");
}
END_TEST

/* A grant shows what happened since it was made; managers and admin see all. */
START_TEST(newcomers_do_not_see_the_past)
{
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"driver\"}");
	assert_refused("nina", API_COMMAND_GET, params_of("{'vehicle_id':'CAR1','id':'@'}"), "command-not-found");
	assert_ok("nina", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("nina", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");

	ask("update grants set created_at = now() where subject in ('max', 'vera')");
	assert_ok("max", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "command.updated access.changed");
	assert_ok("max", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 1);
	assert_ok("vera", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
}
END_TEST

START_TEST(access_of_others_is_skipped)
{
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\",\"role\":\"driver\"}");
	assert_ok("dan", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "command.updated skipped");
	ck_assert_ptr_null(strstr(call->body, "vera"));
	assert_ok("vera", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "command.updated access.changed");
	ck_assert_str_eq(each("seq"), "1 2");
}
END_TEST

/* Pages. */

/* Asks page by page, two items each, until there is no more; all of `member`, and how many pages. */
static size_t read_pages(
	const char *subject, const struct api_operation *operation, const char *fields, const char *member, char *out)
{
	char cursor[512] = "null", params[1024];
	size_t pages = 0;

	out[0] = '\0';
	do {
		snprintf(params, sizeof(params), "{%s,\"limit\":2,\"cursor\":%s}", fields, cursor);
		ck_assert_str_eq(try_as(subject, operation, params), "ok");
		ck_assert_uint_le(items(), 2);
		strcat(strcat(out, pages ? " " : ""), each(member));
		const char *next = at("next_cursor");
		ck_assert_str_eq(next ? next : "", call->next_cursor);
		snprintf(cursor, sizeof(cursor), "\"%s\"", next ? next : "");
		ck_assert_uint_lt(++pages, 10);
	} while (call->next_cursor[0]);
	return pages;
}

static const char more_commands[] =
	"insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	"timeout_seconds, "
	"created_at, expires_at, updated_at, due_at) select 'CAR1', uuid7_floor(t), 'c' || n, 'olga', true, "
	"'on_reconnect', '{}', "
	"n, 20, t, now() + interval '1 hour', t, now() + interval '1 hour'"
	" from generate_series(2, 5) n cross join lateral (select now() - make_interval(mins => 30 - n)) as x(t)";

START_TEST(commands_newest_first_in_pages)
{
	char all[4096];

	ask(more_commands);
	ck_assert_uint_eq(read_pages("olga", &API_COMMAND_LIST, "\"vehicle_id\":\"CAR1\"", "name", all), 3);
	ck_assert_str_eq(all, "c5 c4 c3 c2 doors.unlock");
	ask("update commands set status = 'canceled', finished_at = now(), due_at = null where name in ('c2', 'c3', "
	    "'c5')");
	ck_assert_uint_eq(
		read_pages("olga", &API_COMMAND_LIST, "\"vehicle_id\":\"CAR1\",\"status\":\"canceled\"", "name", all),
		2);
	ck_assert_str_eq(all, "c5 c3 c2");
}
END_TEST

START_TEST(a_full_last_page_has_no_next)
{
	ask(more_commands);
	assert_ok("olga", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":5}");
	ck_assert_uint_eq(items(), 5);
	ck_assert(json_is_null(json_object_get(reply, "next_cursor")));
}
END_TEST

START_TEST(vehicles_grants_and_events_in_pages)
{
	char all[4096];

	ck_assert_uint_eq(read_pages("admin", &API_VEHICLE_LIST, "\"limit\":2", "vehicle_id", all), 2);
	ck_assert_str_eq(all, "CAR1 CAR2 CAR3");
	ask("update vehicles set fleet_id = 'F1'");
	ck_assert_uint_eq(read_pages("otto", &API_VEHICLE_LIST, "\"limit\":2", "vehicle_id", all), 2);
	ck_assert_str_eq(all, "CAR1 CAR2 CAR3");
	ask("select event_add('CAR1', 'state.reported', '{}') from generate_series(1, 4)");
	ck_assert_uint_eq(read_pages("olga", &API_EVENT_LIST, "\"vehicle_id\":\"CAR1\"", "seq", all), 3);
	ck_assert_str_eq(all, "1 2 3 4 5");
	/* the longest subjects, also as a cursor */
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) select 'vehicle', 'CAR2', n || "
	    "repeat('x', 254), "
	    "'viewer', 't' from generate_series(1, 3) n");
	ck_assert_uint_eq(read_pages("admin", &API_GRANT_LIST, "\"vehicle_id\":\"CAR2\"", "role", all), 2);
	ck_assert_str_eq(all, "viewer viewer viewer");
}
END_TEST

START_TEST(events_after)
{
	ask("select event_add('CAR1', 'state.reported', '{}') from generate_series(1, 4)");
	assert_ok("olga", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"after\":3}");
	ck_assert_str_eq(each("seq"), "4 5");
	assert_ok("olga", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"after\":99}");
	ck_assert_uint_eq(items(), 0);
}
END_TEST

START_TEST(impossible_queries)
{
	static const struct {
		const struct api_operation *operation;
		const char *params, *name;
	} rows[] = {
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":201}", "invalid-params" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":0}", "invalid-params" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":\"2\"}", "invalid-params" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"status\":\"lost\"}", "invalid-query" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"cursor\":\"x\"}", "invalid-query" },
		{ &API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"cursor\":\"x\"}", "invalid-query" },
		{ &API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"cursor\":\"99999999999999999999\"}", "invalid-query" },
		{ &API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"after\":-1}", "invalid-params" },
		{ &API_GRANT_GET, "{\"vehicle_id\":\"CAR1\"}", "invalid-params" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *heard = try_as("olga", rows[i].operation, rows[i].params);
		ck_assert_msg(strcmp(heard, rows[i].name) == 0, "%s: %s", rows[i].params, heard);
	}
}
END_TEST

/* What callers wrote is told to them cut, perhaps amid a character; the problem is JSON all the same. */
START_TEST(a_detail_is_text_wherever_it_was_cut)
{
	static const struct {
		const struct api_operation *operation;
		const char *params, *name;
	} rows[] = {
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"status\":\"%sé\"}", "invalid-query" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"%sé\":1}", "unknown-field" },
		{ &API_VEHICLE_LIST, "{\"filter\":\"%sé:1\"}", "invalid-query" },
	};
	char lead[80] = "", params[256];

	for (size_t i = 0; i < 3 * 70; i++) {
		if (i % 70 == 0)
			lead[0] = '\0';
		strcat(lead, "x");
		snprintf(params, sizeof(params), rows[i / 70].params, lead);
		ck_assert_str_eq(try_as("olga", rows[i / 70].operation, params), rows[i / 70].name);
		free(problem_text());
	}
}
END_TEST

/* Grants. */

START_TEST(grant_is_made_changed_and_ended)
{
	assert_ok("olga", API_GRANT_PUT,
		"{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"2099-01-01T00:00:"
		"00Z\"}");
	ck_assert(call->created);
	ck_assert_str_eq(at("subject"), "nina");
	ck_assert_str_eq(at("role"), "viewer");
	ck_assert_str_eq(at("expires_at"), "2099-01-01T00:00:00.000000Z");
	ck_assert_str_eq(at("granted_by"), "olga");
	ck_assert_ptr_nonnull(at("created_at"));

	assert_ok("max", API_GRANT_PUT,
		"{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"driver\",\"expires_at\":null}");
	ck_assert(!call->created);
	assert_ok("olga", API_GRANT_GET, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}");
	ck_assert_str_eq(at("role"), "driver");
	ck_assert_str_eq(at("granted_by"), "max");
	ck_assert(json_is_null(json_object_get(reply, "expires_at")));

	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}");
	assert_refused("olga", API_GRANT_GET, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}", "grant-not-found");
	assert_refused("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}", "grant-not-found");
	assert_refused("nina", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");

	ck_assert_str_eq(ask("select string_agg(seq || ' ' || (data->>'subject') || ' ' || coalesce(data->>'role', "
			     "'null') || ' ' || "
			     "coalesce(data->>'expires_at', 'null'), ', ' order by seq) from events where type = "
			     "'access.changed'"),
		"2 nina viewer 2099-01-01T00:00:00.000000Z, 3 nina driver null, 4 nina null null");
	ck_assert_str_eq(ask("select seq from vehicle_heads where vehicle_id = 'CAR1'"), "4");
}
END_TEST

START_TEST(changes_are_audited)
{
	ck_assert_str_eq(ask("select count(*) from audit where object = 'AUD1'"), "0");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"AUD1\"}");
	assert_ok("admin", API_GRANT_PUT, "{\"vehicle_id\":\"AUD1\",\"subject\":\"nina\",\"role\":\"driver\"}");
	assert_refused("nina", API_GRANT_PUT, "{\"vehicle_id\":\"AUD1\",\"subject\":\"nina\",\"role\":\"owner\"}",
		"forbidden");
	assert_ok("admin", API_GRANT_DELETE, "{\"vehicle_id\":\"AUD1\",\"subject\":\"nina\"}");
	assert_ok("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"AUD1\"}");
	ck_assert_str_eq(ask("select string_agg(w.subject || ' ' || action || ' ' || allowed, ', ' order by a.id) from "
			     "audit a join actors w on w.id = a.who where object "
			     "= 'AUD1'"),
		"admin vehicle.put true, admin grant.put true, nina grant.put false, admin grant.end true, admin "
		"vehicle.retire true");
}
END_TEST

START_TEST(impossible_grants)
{
	static const char *const bad[] = {
		"\"subject\":\"nina\"",
		"\"subject\":\"nina\",\"role\":\"manager\"",
		"\"subject\":\"nina\",\"role\":7",
		"\"subject\":\"\",\"role\":\"viewer\"",
		"\"subject\":\"two\\nlines\",\"role\":\"viewer\"",
		"\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"tomorrow\"",
		"\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"2020-01-01T00:00:00Z\"",
		"\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":4070908800",
	};
	char params[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(params, sizeof(params), "{\"vehicle_id\":\"CAR1\",%s}", bad[i]);
		const char *heard = try_as("olga", &API_GRANT_PUT, params);
		ck_assert_msg(strcmp(heard, "invalid-params") == 0, "%s: %s", bad[i], heard);
	}
	char *subject = calloc(1, 257);
	memset(subject, 'x', 256);
	snprintf(params, sizeof(params), "{\"vehicle_id\":\"CAR1\",\"subject\":\"%s\",\"role\":\"viewer\"}", subject);
	assert_refused("olga", API_GRANT_PUT, params, "invalid-params");
	free(subject);
}
END_TEST

/* RFC 3339 knows times that PostgreSQL does not read; one of them must not undo everybody's transaction. */
START_TEST(strange_but_valid_times)
{
	static const char *const times[][2] = {
		{ "2099-01-01T00:00:00+23:59", "2098-12-31T00:01:00.000000Z" },
		{ "2098-12-31T23:59:60Z", "2099-01-01T00:00:00.000000Z" },
		{ "2099-01-01t00:00:00.123456789z", "2099-01-01T00:00:00.123456Z" },
	};
	char params[256];

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		snprintf(params, sizeof(params),
			"{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"%s\"}",
			times[i][0]);
		struct api_call *beside =
			start(&API_GRANT_DELETE, "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"CAR3\",\"subject\":\"x\"}");
		assert_ok("olga", API_GRANT_PUT, params);
		ck_assert_str_eq(at("expires_at"), times[i][1]);
		ck_assert_str_eq(verdict_of(beside), "grant-not-found");
		api_call_free(beside);
	}
}
END_TEST

START_TEST(renewed_after_its_end_a_grant_is_new)
{
	assert_refused("olga", API_GRANT_GET, "{\"vehicle_id\":\"CAR1\",\"subject\":\"ed\"}", "grant-not-found");
	assert_refused("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"ed\"}", "grant-not-found");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"ed\",\"role\":\"driver\"}");
	ck_assert(call->created);
	assert_ok("ed", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
}
END_TEST

START_TEST(last_owner_stays)
{
	static const char end[] = "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\"}";
	static const char sink[] = "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\",\"role\":\"driver\"}";

	assert_refused("olga", API_GRANT_DELETE, end, "forbidden");
	ck_assert_str_ne(call->detail, "");
	assert_refused("olga", API_GRANT_PUT, sink, "forbidden");
	assert_refused("max", API_GRANT_DELETE, end, "forbidden");
	/* one whose time is over does not count */
	ask("insert into grants (object_kind, object_id, subject, role, expires_at, granted_by) values ('vehicle', "
	    "'CAR1', 'oscar', "
	    "'owner', now() - interval '1 minute', 't')");
	assert_refused("olga", API_GRANT_DELETE, end, "forbidden");
	assert_refused("olga", API_GRANT_PUT, sink, "forbidden");
	assert_ok("admin", API_GRANT_PUT, sink);
	assert_ok("admin", API_GRANT_DELETE, end);
}
END_TEST

START_TEST(one_of_two_owners_may_go)
{
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"owner\"}");
	struct api_call *other =
		start(&API_GRANT_DELETE, "oscar", SCOPES_USER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}");
	try_as("olga", &API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\"}");
	/* both at once: one of them stays */
	ck_assert_str_eq(verdict_of(other), "ok");
	ck_assert_str_eq(verdict_of(call), "forbidden");
	api_call_free(other);
}
END_TEST

/* What a change takes with it. */

static const char *statuses(void)
{
	return ask("select string_agg(name || ' ' || status || coalesce(' ' || (reason->>'code'), ''), ', ' order by "
		   "name) from commands");
}

static const char three_needs[] =
	"delete from commands; insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, "
	"accepted_seq, "
	"timeout_seconds, created_at, expires_at, updated_at, due_at) select 'CAR1', uuid7_floor(now() - "
	"make_interval(mins => n)), role, "
	"who, true, 'on_reconnect', json_build_object('role', role), n, 20, now(), now() + interval '1 hour', now(), "
	"now() + interval "
	"'1 hour' from (values (1, 'driver', '%s'), (2, 'owner', '%s'), (3, 'viewer', '%s')) as v(n, role, who)";

static void three_commands_of(const char *who)
{
	char sql[1024];
	snprintf(sql, sizeof(sql), three_needs, who, who, who);
	ask(sql);
}

START_TEST(ended_grant_takes_back_what_is_unsent)
{
	ask(more_commands);
	ask("insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	    "timeout_seconds, "
	    "created_at, expires_at, updated_at, due_at) select vehicle_id, uuid7_floor(now()), 'left', issued_by, "
	    "wake, redelivery, "
	    "catalog, 9, 20, now(), expires_at, now(), due_at from commands where issued_by = 'dan';"
	    "update commands set flight = 'claimed' where name = 'left'");
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"dan\"}");
	ck_assert_str_eq(statuses(), "c2 accepted, c3 accepted, c4 accepted, c5 accepted, doors.unlock canceled "
				     "ACCESS_REVOKED, left accepted");
	ck_assert_str_eq(ask("select string_agg(type, ' ' order by seq) from events where seq > 1"),
		"command.updated access.changed");
	ck_assert_str_eq(ask("select timeline->-1->>'step' from commands where name = 'doors.unlock'"), "canceled");
}
END_TEST

START_TEST(weaker_role_takes_back_what_it_may_not_send)
{
	three_commands_of("oscar");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"owner\"}");
	ck_assert_str_eq(statuses(), "driver accepted, owner accepted, viewer accepted");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"driver\"}");
	ck_assert_str_eq(statuses(), "driver accepted, owner canceled ACCESS_REVOKED, viewer accepted");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"viewer\"}");
	ck_assert_str_eq(statuses(), "driver canceled ACCESS_REVOKED, owner canceled ACCESS_REVOKED, viewer accepted");
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}");
	ck_assert_str_eq(statuses(),
		"driver canceled ACCESS_REVOKED, owner canceled ACCESS_REVOKED, viewer canceled ACCESS_REVOKED");
}
END_TEST

START_TEST(what_the_fleet_still_allows_stays)
{
	three_commands_of("otto");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"otto\",\"role\":\"owner\"}");
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"otto\"}");
	ck_assert_str_eq(statuses(), "driver accepted, owner canceled ACCESS_REVOKED, viewer accepted");
}
END_TEST

/* Fleets, and what their grants had allowed. */

static const char *statuses_of(const char *who)
{
	char sql[256];
	snprintf(sql, sizeof(sql),
		"select string_agg(name || ' ' || status || coalesce(' ' || (reason->>'code'), ''), ', ' order by "
		"name) "
		"from commands where issued_by = '%s'",
		who);
	return ask(sql);
}

static bool otto_has_nothing_left(void)
{
	return strcmp(statuses_of("otto"),
		       "driver canceled ACCESS_REVOKED, owner canceled ACCESS_REVOKED, viewer canceled "
		       "ACCESS_REVOKED") == 0;
}

static bool no_revocation_is_open(void)
{
	return strcmp(ask("select count(*) from revocations"), "0") == 0;
}

START_TEST(fleet_is_made_changed_and_removed)
{
	assert_ok("admin", API_FLEET_PUT, "{\"fleet_id\":\"F9\",\"title\":\"Vans\"}");
	ck_assert(call->created);
	ck_assert_str_eq(at("title"), "Vans");
	assert_ok("admin", API_FLEET_PUT, "{\"fleet_id\":\"F9\"}");
	ck_assert(!call->created);
	ck_assert_str_eq(at("title"), "");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR2\",\"fleet_id\":\"F9\"}");
	assert_refused("admin", API_FLEET_DELETE, "{\"fleet_id\":\"F9\"}", "fleet-not-empty");
	assert_ok("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR2\"}");
	assert_ok("admin", API_FLEET_DELETE, "{\"fleet_id\":\"F9\"}");
	assert_refused("admin", API_FLEET_GET, "{\"fleet_id\":\"F9\"}", "fleet-not-found");
}
END_TEST

START_TEST(impossible_fleets)
{
	static const char *const bad[] = { "\"fleet_id\":\"a b\"", "\"fleet_id\":\"*\"", "\"fleet_id\":7",
		"\"title\":\"x\"", "\"fleet_id\":\"F9\",\"title\":7" };
	char params[128];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(params, sizeof(params), "{%s}", bad[i]);
		assert_refused("admin", API_FLEET_PUT, params, "invalid-params");
	}
	assert_refused("admin", API_FLEET_GRANT_PUT, "{\"fleet_id\":\"F1\",\"subject\":\"eve\",\"role\":\"owner\"}",
		"invalid-params");
	assert_refused("admin", API_FLEET_GET, "{\"fleet_id\":\"*\"}", "fleet-not-found");
	assert_refused("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"eve\"}", "grant-not-found");
}
END_TEST

/* Whoever has subscribers for the fleet or for a vehicle of it is told of its grants. */
START_TEST(fleets_grant_is_told_to_other_workers)
{
	ask("insert into interest (kind, key, worker) values ('vehicle', 'CAR1', 'w2')");
	assert_ok("max", API_FLEET_GRANT_PUT, "{\"fleet_id\":\"F1\",\"subject\":\"vic\",\"role\":\"viewer\"}");
	ck_assert(call->created);
	ck_assert_str_eq(forwarded_to, "w2");
	ck_assert_ptr_eq(strstr(forwarded, "\t1\tF1\t\taccess.changed\t"), forwarded);
	ck_assert_ptr_nonnull(strstr(forwarded, "\"vic\""));
	ck_assert_str_eq(ask("select access_version from fleets where fleet_id = 'F1'"), "1");
	assert_ok("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"vic\"}");
	ck_assert_ptr_eq(strstr(forwarded, "\t2\tF1\t\taccess.changed\t"), forwarded);
}
END_TEST

START_TEST(ended_fleet_grant_takes_back_what_is_unsent)
{
	revocation_start(w.revocation);
	three_commands_of("otto");
	assert_ok("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"otto\"}");
	pump_until(otto_has_nothing_left);
	pump_until(no_revocation_is_open);
}
END_TEST

/* Whoever accepts may have read the grant before it ended, and commits after what was unsent was taken back. */
START_TEST(what_was_being_accepted_is_taken_back_too)
{
	PGconn *conn = PQconnectdb(postgres.url);
	char sql[1024];

	ask("delete from commands");
	snprintf(sql, sizeof(sql), three_needs, "otto", "otto", "otto");
	PQclear(PQexec(conn, "begin"));
	PQclear(PQexec(conn, sql));
	revocation_start(w.revocation);
	assert_ok("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"otto\"}");
	for (int looks = 0; looks < 3; looks++) {
		revocation_look(w.revocation);
		pump_until(is_idle);
	}
	ck_assert(!no_revocation_is_open());
	PQclear(PQexec(conn, "commit"));
	PQfinish(conn);
	pump_until(otto_has_nothing_left);
	pump_until(no_revocation_is_open);
}
END_TEST

/* What is claimed when the right ends may still not have left. */
START_TEST(what_comes_back_from_a_claim_is_taken_back)
{
	ask("update vehicle_heads set claim_id = (select id from commands), claim_worker = 'w1', claim_attempt = 1 "
	    "where "
	    "vehicle_id = 'CAR1'; update commands set flight = 'claimed'");
	revocation_start(w.revocation);
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"dan\"}");
	revocation_look(w.revocation);
	pump_until(is_idle);
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock accepted");
	ask("update vehicle_heads set claim_id = null, claim_worker = null, claim_attempt = null; update commands set "
	    "flight = "
	    "'none'");
	pump_until(no_revocation_is_open);
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock canceled ACCESS_REVOKED");
}
END_TEST

static bool nobody_is_expired(void)
{
	return strcmp(ask("select count(*) from grants where expires_at <= now()"), "0") == 0;
}

START_TEST(grants_whose_time_is_over_end)
{
	ask("update grants set expires_at = now() - interval '1 second' where subject in ('dan', 'otto')");
	revocation_start(w.revocation);
	pump_until(nobody_is_expired);
	pump_until(no_revocation_is_open);
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock canceled ACCESS_REVOKED");
	ck_assert_str_eq(
		ask("select string_agg(data->>'subject', ' ' order by data->>'subject') from events where type = "
		    "'access.changed' and data->>'role' is null"),
		"dan ed");
	ck_assert_str_eq(ask("select access_version from fleets where fleet_id = 'F1'"), "1");
}
END_TEST

/* Erasing somebody. */

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

/* Where the name still stands, of those who are called dan. */
static const char *where_dan_is_named(void)
{
	return ask(
		"select string_agg(distinct t, ' ' order by t) from ("
		"select 'commands' as t, c::text as x from commands c union all select 'events', e::text from events e "
		"union all select 'grants', g::text from grants g union all select 'actors', a::text from actors a "
		"union all select 'keys', k::text from idempotency k union all select 'webhooks', h::text from "
		"webhooks h "
		"union all select 'batches', b::text from batches b union all select 'erasures', r::text from erasures "
		"r"
		") as all_rows where x ~ '\\mdan\\M'");
}

START_TEST(who_is_erased_is_named_nowhere)
{
	three_commands_of("dan");
	ask("update grants set granted_by = 'dan' where subject = 'vera'");
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
	three_commands_of("dan");
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

START_TEST(moved_vehicle_leaves_its_fleets_people)
{
	three_commands_of("otto");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}");
	ck_assert(otto_has_nothing_left());
	ck_assert_str_eq(
		ask("select fleet_id || ' ' || left_fleet || ' ' || (data->>'fleet_id') from events where type = "
		    "'vehicle.moved'"),
		"F2 F1 F2");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\",\"display_name\":\"Van\"}");
	ck_assert_str_eq(ask("select count(*) from events where type = 'vehicle.moved'"), "1");
}
END_TEST

START_TEST(transfer_begins_anew)
{
	ask("update vehicles set desired = '{\"climate\":{\"on\":true},\"lights\":1}', desired_version = 3 where "
	    "vehicle_id = "
	    "'CAR1'");
	assert_ok("olga", API_VEHICLE_TRANSFER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\"}");
	ck_assert_str_eq(at("role"), "owner");
	ck_assert_str_eq(
		ask("select string_agg(subject || ' ' || role, ', ' order by subject) from grants where object_id = "
		    "'CAR1'"),
		"vera owner");
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock canceled ACCESS_REVOKED");
	ck_assert_str_eq(
		ask("select string_agg(type || ' ' || coalesce(data->>'subject', data->>'status', ''), ', ' order by "
		    "seq) from events where seq > 1"),
		"command.updated canceled, access.changed dan, access.changed olga, state.desired , access.changed "
		"vera");
	ck_assert_str_eq(ask("select data::jsonb from events where type = 'state.desired'"),
		"{\"patch\": {\"lights\": null, \"climate\": null}, \"version\": 4}");
	ck_assert_str_eq(ask("select desired from vehicles where vehicle_id = 'CAR1'"), "{}");
	assert_ok("vera", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");
	assert_refused("olga", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
}
END_TEST

/* Desired state. */

static json_t *state_at(const char *member)
{
	return json_object_get(reply, member);
}

static const char *compact(const json_t *value)
{
	static char out[4096];
	char *text = json_canonical(value);
	snprintf(out, sizeof(out), "%s", text);
	free(text);
	return out;
}

static const char *retained_of(const char *vehicle, const char *kind)
{
	char sql[256];
	snprintf(sql, sizeof(sql),
		"select string_agg(concat_ws(' ', nullif(name, ''), version, payload), ', ' order by name) from "
		"retained where "
		"vehicle_id = '%s' and kind = '%s'",
		vehicle, kind);
	return ask(sql);
}

static bool reported;

static void on_reported(struct receipt *receipt)
{
	ck_assert_ptr_null(receipt->fault);
	reported = true;
}

static bool is_reported(void)
{
	return reported;
}

/* As a vehicle does by MQTT. */
static void report(const char *vehicle, const char *patch, int64_t version)
{
	struct receipt receipt;
	json_auto_t *state = json_loads(patch, 0, NULL);

	reported = false;
	receipt_init(&receipt, on_reported);
	shadow_report(w.shadow, NULL, vehicle, state, version, &receipt);
	receipt_close(&receipt, NULL);
	pump_until(is_reported);
}

#define PATCH_CAR1(patch) "{\"vehicle_id\":\"CAR1\",\"patch\":" patch "}"

START_TEST(desired_state_until_it_is_reported)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"climate\":{\"on\":true,\"c\":21},\"lights\":1}"));
	ck_assert_int_eq(call->desired_version, 1);
	ck_assert_str_eq(compact(state_at("desired")), "{\"climate\":{\"c\":21,\"on\":true},\"lights\":1}");
	ck_assert_str_eq(compact(state_at("delta")), "{\"climate\":{\"c\":21,\"on\":true},\"lights\":1}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "1 {\"lights\": 1, \"climate\": {\"c\": 21, \"on\": true}}");
	/* what the vehicle says makes the rest smaller, and the version higher; what somebody may have read is as it was */
	report("CAR1", "{\"climate\":{\"on\":true,\"c\":20},\"odometer\":7}", 1);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "2 {\"lights\": 1, \"climate\": {\"c\": 21}}");
	assert_ok("vera", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_int_eq(call->desired_version, 1);
	ck_assert_str_eq(compact(json_object_get(json_object_get(reply, "state"), "delta")),
		"{\"climate\":{\"c\":21},\"lights\":1}");
	/* what does not concern it changes nothing */
	report("CAR1", "{\"odometer\":8}", 2);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "2 {\"lights\": 1, \"climate\": {\"c\": 21}}");
	report("CAR1", "{\"climate\":{\"c\":21.0},\"lights\":1}", 3);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "3 ");
	/* the next is above whatever the vehicle has seen */
	assert_ok("olga", API_STATE_PATCH, PATCH_CAR1("{\"lights\":null,\"climate\":{\"c\":18}}"));
	ck_assert_int_eq(call->desired_version, 4);
	ck_assert_str_eq(compact(state_at("desired")), "{\"climate\":{\"c\":18,\"on\":true}}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "4 {\"climate\": {\"c\": 18}}");
	/* and it may go back by itself: then it is told again */
	report("CAR1", "{\"climate\":{\"c\":18}}", 4);
	report("CAR1", "{\"climate\":{\"c\":22}}", 5);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "6 {\"climate\": {\"c\": 18}}");
	ck_assert_str_eq(
		ask("select string_agg(data::jsonb::text, ' ' order by seq) from events where type = 'state.desired'"),
		"{\"patch\": {\"lights\": 1, \"climate\": {\"c\": 21, \"on\": true}}, \"version\": 1} {\"patch\": "
		"{\"lights\": "
		"null, \"climate\": {\"c\": 18}}, \"version\": 4}");
}
END_TEST

START_TEST(a_patch_that_changes_nothing_is_no_event)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"doors\":null}"));
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{}"));
	ck_assert_int_eq(call->desired_version, 1);
	ck_assert_str_eq(ask("select count(*) from events where type = 'state.desired'"), "1");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "1 {\"lights\": 1}");
}
END_TEST

START_TEST(patch_of_what_somebody_else_changed_is_refused)
{
	static const char two[] = "{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":2},\"if_match\":[\"0\"]}";

	assert_ok("dan", API_STATE_PATCH, two);
	assert_refused("olga", API_STATE_PATCH, two, "precondition-failed");
	ck_assert_int_eq(call->fault->http, 412);
	assert_refused("sam", API_STATE_PATCH, two, "vehicle-not-found");
	assert_refused("vera", API_STATE_PATCH, two, "forbidden");
	assert_refused("dan", API_STATE_PATCH, "{\"vehicle_id\":\"CAR1\",\"patch\":{},\"if_match\":[]}",
		"precondition-failed");
	assert_ok("olga", API_STATE_PATCH,
		"{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":3},\"if_match\":[\"7\",\"1\"]}");
	ck_assert_str_eq(compact(state_at("desired")), "{\"lights\":3}");
}
END_TEST

/* Two in one transaction: the second sees the first. */
START_TEST(two_patches_at_once)
{
	struct api_call *other = start(&API_STATE_PATCH, "dan", SCOPES_USER,
		"{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":1},\"if_match\":[\"0\"]}");
	assert_refused("olga", API_STATE_PATCH,
		"{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":2},\"if_match\":[\"0\"]}", "precondition-failed");
	ck_assert_str_eq(verdict_of(other), "ok");
	api_call_free(other);
	other = start(&API_STATE_PATCH, "dan", SCOPES_USER, PATCH_CAR1("{\"a\":1}"));
	assert_ok("olga", API_STATE_PATCH, PATCH_CAR1("{\"b\":2}"));
	ck_assert_str_eq(compact(state_at("desired")), "{\"a\":1,\"b\":2,\"lights\":1}");
	api_call_free(other);
}
END_TEST

START_TEST(impossible_patches)
{
	static char big[70000];

	assert_refused("dan", API_STATE_PATCH, "{\"vehicle_id\":\"CAR1\"}", "malformed-request");
	assert_refused("dan", API_STATE_PATCH, PATCH_CAR1("7"), "malformed-request");
	for (int i = 0; i < 2; i++) {
		int begun = snprintf(big, sizeof(big), "{\"vehicle_id\":\"CAR1\",\"patch\":{\"%d\":\"", i);
		memset(big + begun, 'x', 40000);
		strcpy(big + begun + 40000, "\"}}");
		ck_assert_str_eq(try_as("dan", &API_STATE_PATCH, big), i ? "too-large" : "ok");
	}
}
END_TEST

/* Nested as deep as may be, on both sides: each level is looked at once, not twice. */
START_TEST(deep_states_are_compared_in_no_time)
{
	static char deep[1024];
	struct text patch = { 0 };

	for (int i = 0; i < 28; i++)
		text_add(&patch, "{\"a\":");
	text_add(&patch, "1");
	for (int i = 0; i < 28; i++)
		text_add(&patch, "}");
	snprintf(deep, sizeof(deep), "{\"vehicle_id\":\"CAR1\",\"patch\":%s}", patch.data);
	report("CAR1", patch.data, 1);
	*strrchr(deep, '1') = '2';
	assert_ok("dan", API_STATE_PATCH, deep);
	assert_ok("dan", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	text_free(&patch);
}
END_TEST

/* Notices. */

/* As the worker that reads the lifecycle feed does it. A question is a connection of its own: between two of them the loop
 * has its time. */
static void look_until(const char *question, const char *answer)
{
	uint64_t until = uv_hrtime() + SPREAD_NS;

	notices_start(w.notices);
	while (strcmp(ask(question), answer) != 0) {
		uint64_t next = uv_hrtime() + 100000000;
		ck_assert_msg(next < until, "%s is not %s in 30 s", question, answer);
		while (uv_hrtime() < next)
			uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
	notices_stop(w.notices);
	pump_until(is_idle);
}

static void spread(void)
{
	look_until("select count(*) from notice_spreads", "0");
}

#define NOTICE(object, name, payload) "{" object "\"name\":\"" name "\",\"payload\":\"" payload "\"}"
#define NAME(object, name) "{" object "\"name\":\"" name "\"}"
#define CAR1 "\"vehicle_id\":\"CAR1\","
#define F1 "\"fleet_id\":\"F1\","

START_TEST(notice_is_published_changed_and_withdrawn)
{
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "recall", "stop"));
	ck_assert(call->created);
	ck_assert_str_eq(at("payload"), "stop");
	ck_assert_str_eq(at("scope"), "vehicle");
	assert_ok("max", API_NOTICE_PUT, "{" CAR1 "\"name\":\"recall\",\"payload\":\"go\",\"expires_in_seconds\":60}");
	ck_assert(!call->created);
	ck_assert_str_eq(at("published_by"), "max");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 go");
	assert_ok("vera", API_NOTICE_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("payload"), "go");
	assert_refused("olga", API_NOTICE_DELETE, NAME(CAR1, "other"), "notice-not-found");
	assert_ok("olga", API_NOTICE_DELETE, NAME(CAR1, "recall"));
	assert_refused("olga", API_NOTICE_DELETE, NAME(CAR1, "recall"), "notice-not-found");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 3 ");
	ck_assert_str_eq(ask("select string_agg(type || ' ' || (data->>'name') || ' ' || (data->>'expires_at' is "
			     "null), ', ' order "
			     "by seq) from events where seq > 1"),
		"notice.published recall true, notice.published recall false, notice.withdrawn recall true");
}
END_TEST

START_TEST(impossible_notices)
{
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "a/b", "x"), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "a:b", "x"), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "a", ""), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, NAME(CAR1, "a"), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, "{" CAR1 "\"name\":\"a\",\"payload\":\"x\",\"content_type\":\"a\\nb\"}",
		"invalid-params");
	ask("insert into notices (object_kind, object_id, name, payload, published_by) select 'vehicle', 'CAR1', 'n' "
	    "|| i, "
	    "'x', 't' from generate_series(1, 64) i");
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "n65", "x"), "invalid-params");
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "n64", "y"));
}
END_TEST

/* A vehicle is shown its own, else its fleet's, else the one for all. */
START_TEST(the_nearest_notice_is_shown)
{
	assert_ok("admin", API_ALL_NOTICE_PUT, NOTICE("", "storm", "all"));
	spread();
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 1 all");
	ck_assert_str_eq(retained_of("CAR2", "notice"), "storm 1 all");
	assert_ok("max", API_FLEET_NOTICE_PUT, NOTICE(F1, "storm", "fleet"));
	spread();
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "storm", "own"));
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 3 own");
	ck_assert_str_eq(retained_of("CAR3", "notice"), "storm 1 all");
	assert_ok("olga", API_NOTICE_DELETE, NAME(CAR1, "storm"));
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 4 fleet");
	/* and loses its fleet's when it leaves */
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 5 all");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F1\"}");
	ck_assert_str_eq(retained_of("NEW1", "notice"), "storm 1 fleet");
	assert_ok("max", API_FLEET_NOTICE_DELETE, NAME(F1, "storm"));
	assert_ok("admin", API_ALL_NOTICE_DELETE, NAME("", "storm"));
	spread();
	ck_assert_str_eq(retained_of("NEW1", "notice"), "storm 2 ");
	ck_assert_str_eq(retained_of("CAR3", "notice"), "storm 2 ");
}
END_TEST

/* More vehicles than one look takes, and one that is being registered while the notice is published. */
START_TEST(a_notice_for_all_reaches_all)
{
	PGconn *other = PQconnectdb(postgres.url);

	ask("insert into vehicle_heads (vehicle_id) select 'VAN' || i from generate_series(1000, 1149) i");
	ask("insert into vehicles (vehicle_id, fleet_id) select 'VAN' || i, 'F1' from generate_series(1000, 1148) i");
	PQclear(PQexec(other, "begin; insert into vehicles (vehicle_id, fleet_id) values ('VAN1149', 'F1')"));
	assert_ok("admin", API_ALL_NOTICE_PUT, NOTICE("", "storm", "x"));
	notices_start(w.notices);
	PQclear(PQexec(other, "commit"));
	PQfinish(other);
	spread();
	ck_assert_str_eq(ask("select count(*) from retained where kind = 'notice' and payload = 'x'"), "153");
	ck_assert_str_eq(ask("select count(*) from events where type = 'notice.published'"), "153");
}
END_TEST

START_TEST(notices_whose_time_is_over_are_withdrawn)
{
	assert_ok("admin", API_FLEET_NOTICE_PUT,
		"{" F1 "\"name\":\"storm\",\"payload\":\"x\",\"expires_in_seconds\":60}");
	spread();
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 1 x");
	ask("update notices set expires_at = now()");
	ask("update retained set expires_at = now()");
	look_until("select count(*) from retained where payload <> ''", "0");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 2 ");
	ck_assert_str_eq(ask("select count(*) from notices"), "0");
	ck_assert_str_eq(ask("select type from events where seq > 1 order by seq desc limit 1"), "notice.withdrawn");
}
END_TEST

START_TEST(what_ends_with_an_owner_or_with_the_vehicle)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "recall", "own"));
	assert_ok("max", API_FLEET_NOTICE_PUT, NOTICE(F1, "storm", "fleet"));
	spread();
	assert_ok("olga", API_VEHICLE_TRANSFER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\"}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "2 ");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 , storm 1 fleet");
	assert_ok("vera", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");
	assert_ok("vera", API_STATE_PATCH, PATCH_CAR1("{\"lights\":2}"));
	ck_assert_int_eq(call->desired_version, 3);
	assert_ok("max", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "4 ");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 , storm 2 ");
	ck_assert_str_eq(retained_of("CAR1", "blocked"), "1 1");
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F1\"}");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 , storm 3 fleet");
	ck_assert_str_eq(retained_of("CAR1", "blocked"), "2 ");
	assert_ok("max", API_STATE_PATCH, PATCH_CAR1("{\"lights\":3}"));
	ck_assert_int_gt(call->desired_version, 4);
}
END_TEST

/* After a restore the vehicle may have seen higher versions than the database knows of. */
START_TEST(a_new_epoch_leaps_over_the_versions_that_were_seen)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	ask("update retained set published = version");
	ask("update meta set epoch = epoch + 1");
	ck_assert_str_eq(
		ask("select version || ' ' || published from retained where vehicle_id = 'CAR1'"), "1000001 0");
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":2}"));
	ck_assert_int_eq(call->desired_version, 1000002);
}
END_TEST

/* Vehicles. */

START_TEST(vehicle_is_registered_and_changed)
{
	assert_ok("admin", API_VEHICLE_PUT,
		"{\"vehicle_id\":\"NEW1\",\"display_name\":\"Van\",\"msisdn\":\"+4915559990002\",\"iccid\":"
		"\"894900000000000001\","
		"\"fleet_id\":\"F1\",\"tags\":[\"a\",\"b\"]}");
	ck_assert(call->created);
	ck_assert_str_eq(at("display_name"), "Van");
	ck_assert_str_eq(at("msisdn"), "+4915559990002");
	assert_ok("max", API_VEHICLE_GET, "{\"vehicle_id\":\"NEW1\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "tags")), 2);
	ck_assert_str_eq(at("vehicle_protocol"), "keyfob");
	assert_ok("max", API_VEHICLE_PUT,
		"{\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F1\",\"vehicle_protocol\":\"aws-commands\"}");
	ck_assert_str_eq(at("vehicle_protocol"), "aws-commands");
	/* a PUT replaces all */
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F1\"}");
	ck_assert(!call->created);
	ck_assert(json_is_null(json_object_get(reply, "display_name")));
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "tags")), 0);
	ck_assert_str_eq(at("vehicle_protocol"), "keyfob");
}
END_TEST

START_TEST(two_register_at_once)
{
	struct api_call *other =
		start(&API_VEHICLE_PUT, "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"NEW1\",\"display_name\":\"A\"}");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\",\"display_name\":\"B\"}");
	ck_assert_str_eq(verdict_of(other), "ok");
	ck_assert_int_eq(other->created + call->created, 1);
	api_call_free(other);
}
END_TEST

START_TEST(impossible_vehicles)
{
	static const char *const bad[] = {
		"\"vehicle_id\":\"acme-1\"",
		"\"vehicle_id\":\"NEW1\",\"msisdn\":\"015559990001\"",
		"\"vehicle_id\":\"NEW1\",\"msisdn\":\"+1234\"",
		"\"vehicle_id\":\"NEW1\",\"iccid\":\"12345678901234567\"",
		"\"vehicle_id\":\"NEW1\",\"tags\":\"a\"",
		"\"vehicle_id\":\"NEW1\",\"tags\":[7]",
		"\"vehicle_id\":\"NEW1\",\"tags\":[\"a\\u0000b\"]",
		"\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F9\"",
		"\"vehicle_id\":\"NEW1\",\"vehicle_protocol\":\"aws\"",
		"\"vehicle_id\":\"NEW1\",\"vehicle_protocol\":\"\"",
	};
	char params[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_error_t error;
		snprintf(params, sizeof(params), "{%s}", bad[i]);
		json_t *parsed = json_loads(params, JSON_ALLOW_NUL, &error);
		struct caller caller = { .subject = "admin", .scopes = SCOPE_ADMIN };
		struct api_call *c = api_call_new(&w.api, &API_VEHICLE_PUT, &caller, parsed, NULL, NULL, on_done);
		open_calls++;
		api_call_start(c);
		pump_until(is_answered);
		ck_assert_msg(c->fault == &FAULT_INVALID_VEHICLE, "%s: %s", bad[i], verdict_of(c));
		api_call_free(c);
	}
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"keyfob-1\"}"); /* another installation's name is free */
}
END_TEST

/* Refused registrations leave no row behind: else strangers could fill the table. */
START_TEST(strangers_leave_nothing)
{
	assert_refused("sam", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\"}", "forbidden");
	assert_refused("olga", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW2\",\"fleet_id\":\"F1\"}", "fleet-not-found");
	ck_assert_str_eq(ask("select count(*) from vehicle_heads where vehicle_id like 'NEW%'"), "0");
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW2\",\"fleet_id\":\"F1\"}");
	ck_assert_str_eq(ask("select count(*) from vehicle_heads where vehicle_id like 'NEW%'"), "1");
}
END_TEST

START_TEST(manager_moves_between_own_fleets)
{
	assert_refused("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}", "fleet-not-found");
	assert_refused("mia", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}", "forbidden");
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('fleet', 'F2', 'max', "
	    "'manager', 't')");
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}");
	assert_ok("mia", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	assert_refused("otto", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
}
END_TEST

START_TEST(retired_vehicle_is_gone)
{
	assert_ok("max", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(statuses(), "doors.unlock canceled CANCELED");
	ck_assert_str_eq(ask("select count(*) from grants where object_kind = 'vehicle' and object_id = 'CAR1'"), "0");
	ck_assert_str_eq(ask("select count(*) from events where type = 'access.changed' and data->>'role' is null and "
			     "data->>'subject' in ('olga', 'dan', 'vera')"),
		"3");
	assert_refused("admin", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
	assert_refused("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
	assert_ok("max", API_VEHICLE_LIST, "{}");
	ck_assert_uint_eq(items(), 0);
}
END_TEST

START_TEST(registered_anew_it_begins_anew)
{
	assert_ok("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}");
	long long seq = atoll(ask("select seq from vehicle_heads where vehicle_id = 'CAR1'"));
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert(call->created);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "seq")), seq);
	assert_ok("admin", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\",\"role\":\"owner\"}");
	assert_ok("olga", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("olga", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");
}
END_TEST

/* Waiting for a command's outcome under an idempotency key that has one already. */

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

/* Another worker's: it takes the command back, commits, and tells us. */
static void another_cancels(void)
{
	ask("begin; update vehicle_heads set seq = seq + 1 where vehicle_id = 'CAR1';"
	    "update commands set status = 'canceled', finished_at = now(), updated_at = now(), due_at = null "
	    "where id = (select command_id from idempotency where key = 'k1');"
	    "insert into events (vehicle_id, seq, at, type, data, fleet_id) select 'CAR1', h.seq, now(), "
	    "'command.updated', "
	    "command_json(c), 'F1' from vehicle_heads h, commands c where h.vehicle_id = 'CAR1' and c.id = (select "
	    "command_id from idempotency where key = 'k1'); commit");
	const char *line = ask(
		"select format(E'CAR1\\t%s\\tF1\\t\\tcommand.updated\\t%s\\t%s', seq, rfc3339(at), data) from events "
		"where vehicle_id = 'CAR1' order by seq desc limit 1");
	hub_receive(w.hub, line, strlen(line));
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

/* The rest. */

START_TEST(catalogue_is_for_everybody)
{
	struct config_error error = { 0 };
	w.api.catalog = catalog_read(SOURCE_FOLDER "/gateway/catalog.example.yaml", &error);
	ck_assert_ptr_nonnull(w.api.catalog);
	assert_ok("sam", API_CATALOG_GET, "{}");
	ck_assert_ptr_nonnull(json_object_get(json_object_get(reply, "commands"), "doors.unlock"));
	catalog_free(w.api.catalog);
}
END_TEST

START_TEST(asker_who_left_hears_nothing)
{
	static const struct api_operation *const operations[] = { &API_VEHICLE_GET, &API_VEHICLE_DELETE };
	for (size_t i = 0; i < 2; i++) {
		struct api_call *c = start(operations[i], "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"CAR1\"}");
		api_call_cancel(c);
		open_calls--;
	}
	pump_until(is_idle);
	ck_assert_str_eq(
		ask("select count(*) from vehicles where vehicle_id = 'CAR1' and retired_at is not null"), "1");
}
END_TEST

START_TEST(draining_node_takes_nothing)
{
	w.api.draining = true;
	assert_refused("admin", API_VEHICLE_LIST, "{}", "draining");
}
END_TEST

START_TEST(without_database)
{
	static const struct {
		const struct api_operation *operation;
		const char *params;
	} rows[] = { { &API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}" }, { &API_ME, "{}" },
		{ &API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"dan\"}" } };

	test_postgres_halt(&postgres, SIGQUIT);
	pump_until(both_down);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_str_eq(try_as("admin", rows[i].operation, rows[i].params), "storage-unavailable");
		ck_assert_int_eq(call->fault->executed, EXECUTED_NO);
		ck_assert_int_gt(call->retry_after_s, 0);
	}
	test_postgres_resume(&postgres);
	pump_until(both_up);
	assert_ok("admin", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
}
END_TEST

/* Whoever holds this lock keeps every reader of vehicles waiting. */
static PGconn *lock_vehicles(void)
{
	PGconn *conn = PQconnectdb(postgres.url);
	ck_assert_int_eq(PQstatus(conn), CONNECTION_OK);
	PQclear(PQexec(conn, "begin"));
	PQclear(PQexec(conn, "lock table vehicles in access exclusive mode"));
	return conn;
}

static bool is_held_up(void)
{
	return strcmp(ask("select count(*) from pg_locks where not granted"), "1") == 0;
}

/* A read that was lost under way has changed nothing, whatever became of it. */
START_TEST(read_lost_under_way)
{
	PGconn *lock = lock_vehicles();

	call = start(&API_VEHICLE_GET, "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"CAR1\"}");
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!is_held_up()) {
		ck_assert_uint_lt(uv_hrtime(), until);
		uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
		uv_sleep(1);
	}
	test_postgres_halt(&postgres, SIGQUIT);
	pump_until(is_answered);
	ck_assert_str_eq(verdict_of(call), "storage-unavailable");
	ck_assert_int_eq(call->fault->executed, EXECUTED_NO);
	PQfinish(lock);
	test_postgres_resume(&postgres);
	pump_until(both_up);
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

static TCase *case_new(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return tc;
}

static void add_access(Suite *suite)
{
	TCase *tc = case_new(suite, "access");
	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_add_test(tc, malformed_ids);
	tcase_add_test(tc, newcomers_do_not_see_the_past);
	tcase_add_test(tc, access_of_others_is_skipped);
	tcase_add_test(tc, strangers_leave_nothing);
}

static void add_matrix(Suite *suite)
{
	TCase *tc = case_new(suite, "matrix");

	tcase_set_timeout(tc, 150); /* some thousand calls */
	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_add_checked_fixture(tc, matrix_setup, matrix_teardown);
	tcase_add_test(tc, everybody_may_do_what_their_role_and_scopes_say);
	tcase_add_test(tc, nobody_may_do_it_to_what_is_anothers);
	tcase_add_test(tc, hidden_is_as_absent);
	tcase_add_test(tc, no_operation_is_left_out);
}

static void add_reads(Suite *suite)
{
	TCase *tc = case_new(suite, "reads");

	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_add_test(tc, command_comes_with_its_timeline);
	tcase_add_test(tc, vehicle_has_the_shape_of_the_contract);
	tcase_add_test(tc, lists_hold_what_the_caller_may_see);
	tcase_add_test(tc, me_names_scopes_and_living_grants);
	tcase_add_test(tc, commands_newest_first_in_pages);
	tcase_add_test(tc, a_full_last_page_has_no_next);
	tcase_add_test(tc, vehicles_grants_and_events_in_pages);
	tcase_add_test(tc, events_after);
	tcase_add_test(tc, impossible_queries);
	tcase_add_test(tc, a_detail_is_text_wherever_it_was_cut);
	tcase_add_test(tc, catalogue_is_for_everybody);
	tcase_add_test(tc, draining_node_takes_nothing);
}

static void add_changes(Suite *suite)
{
	TCase *tc = case_new(suite, "changes");

	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_add_test(tc, grant_is_made_changed_and_ended);
	tcase_add_test(tc, changes_are_audited);
	tcase_add_test(tc, impossible_grants);
	tcase_add_test(tc, strange_but_valid_times);
	tcase_add_test(tc, renewed_after_its_end_a_grant_is_new);
	tcase_add_test(tc, last_owner_stays);
	tcase_add_test(tc, one_of_two_owners_may_go);
	tcase_add_test(tc, ended_grant_takes_back_what_is_unsent);
	tcase_add_test(tc, weaker_role_takes_back_what_it_may_not_send);
	tcase_add_test(tc, what_the_fleet_still_allows_stays);
	tcase_add_test(tc, fleet_is_made_changed_and_removed);
	tcase_add_test(tc, impossible_fleets);
	tcase_add_test(tc, fleets_grant_is_told_to_other_workers);
	tcase_add_test(tc, ended_fleet_grant_takes_back_what_is_unsent);
	tcase_add_test(tc, what_was_being_accepted_is_taken_back_too);
	tcase_add_test(tc, what_comes_back_from_a_claim_is_taken_back);
	tcase_add_test(tc, grants_whose_time_is_over_end);
	tcase_add_test(tc, who_is_erased_is_named_nowhere);
	tcase_add_test(tc, what_was_under_way_is_erased_too);
	tcase_add_test(tc, who_comes_after_an_erasure_is_somebody_else);
	tcase_add_test(tc, an_erasure_that_fails_rests_while_others_go_on);
	tcase_add_test(tc, nobody_is_called_erased);
	tcase_add_test(tc, moved_vehicle_leaves_its_fleets_people);
	tcase_add_test(tc, transfer_begins_anew);
	tcase_add_test(tc, vehicle_is_registered_and_changed);
	tcase_add_test(tc, two_register_at_once);
	tcase_add_test(tc, impossible_vehicles);
	tcase_add_test(tc, manager_moves_between_own_fleets);
	tcase_add_test(tc, retired_vehicle_is_gone);
	tcase_add_test(tc, registered_anew_it_begins_anew);
	tcase_add_test(tc, asker_who_left_hears_nothing);
}

static void add_twin(Suite *suite)
{
	TCase *tc = case_new(suite, "twin");

	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_add_test(tc, desired_state_until_it_is_reported);
	tcase_add_test(tc, a_patch_that_changes_nothing_is_no_event);
	tcase_add_test(tc, patch_of_what_somebody_else_changed_is_refused);
	tcase_add_test(tc, two_patches_at_once);
	tcase_add_test(tc, impossible_patches);
	tcase_add_test(tc, deep_states_are_compared_in_no_time);
	tcase_add_test(tc, notice_is_published_changed_and_withdrawn);
	tcase_add_test(tc, impossible_notices);
	tcase_add_test(tc, the_nearest_notice_is_shown);
	tcase_add_test(tc, a_notice_for_all_reaches_all);
	tcase_add_test(tc, notices_whose_time_is_over_are_withdrawn);
	tcase_add_test(tc, what_ends_with_an_owner_or_with_the_vehicle);
	tcase_add_test(tc, a_new_epoch_leaps_over_the_versions_that_were_seen);
}

static void add_waits(Suite *suite)
{
	TCase *tc = case_new(suite, "waits");

	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_add_checked_fixture(tc, wait_setup, wait_teardown);
	tcase_add_test(tc, replay_hears_what_settled_while_it_was_looked_up);
	tcase_add_test(tc, replay_hears_what_settles_later);
	tcase_add_test(tc, what_another_supersedes_at_once_is_not_waited_for);
	tcase_add_test(tc, replay_is_answered_when_the_node_drains);
}

static void add_failures(Suite *suite)
{
	TCase *tc = case_new(suite, "failures");

	tcase_add_checked_fixture(tc, worker_setup, worker_teardown);
	tcase_add_test(tc, without_database);
	tcase_add_test(tc, read_lost_under_way);
}

int main(void)
{
	Suite *suite = suite_create("gateway/operations");

	start_server();
	add_matrix(suite);
	add_access(suite);
	add_reads(suite);
	add_changes(suite);
	add_waits(suite);
	add_twin(suite);
	add_failures(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	end_server();
	return failed ? 1 : 0;
}
