/* matrix.c - who may do what: every operation, by every kind of caller, with every set of scopes, on what is theirs and on what is not. */
#include "tests/unit/gateway/operations/ground.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A batch's id has the fleet's name in it, so that the other fleet's and one that is not there are named as they are. */
#define BATCH_OF_F1 "019a0000-0000-7000-8000-0000000000F1"
#define WEBHOOK "019a0000-0000-7000-8000-00000000aaaa"
#define DELIVERY "019a0000-0000-7000-8000-00000000bbbb"

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
	"owen", /* as an owner of CAR1 */
	"opal", /* as an operator of F1 */
	"viv",	/* as a viewer there */
	"vito", /* as a viewer of CAR1 */
	"rita", /* whose ownership was ended */
	"sam",	/* a stranger */
	"mia",	/* manager of F2 alone, which CAR3 is in */
};
#define CALLERS (sizeof(callers) / sizeof(callers[0]))
enum { MANAGER = 1, STRANGER = 13, FOREIGN_MANAGER = 14 }; /* indices */

/* What the matrix needs besides: the rest of the cast, somebody to speak of, and a command of CAR3. */
static const char cast[] =
	"insert into grants (object_kind, object_id, subject, role, expires_at, granted_by, created_at)"
	" select k, o, s, r, e, 'test', now() - interval '1 hour' from (values"
	" ('fleet', 'F1', 'vic', 'viewer', null), ('fleet', 'F1', 'evan', 'manager', now() - interval '1 minute'),"
	" ('vehicle', 'CAR1', 'owen', 'owner', now() - interval '1 minute'),"
	" ('fleet', 'F1', 'opal', 'operator', now() - interval '1 minute'),"
	" ('fleet', 'F1', 'viv', 'viewer', now() - interval '1 minute'),"
	" ('vehicle', 'CAR1', 'vito', 'viewer', now() - interval '1 minute'),"
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
	{ &API_ME, "{}", "", ". ...... ....... .." },
	{ &API_CATALOG_GET, "{}", "", ". ...... ....... .." },
	{ &API_VEHICLE_LIST, "{}", "r", ". ...... ....... .." },
	{ &API_VEHICLE_GET, "{'vehicle_id':'CAR1'}", "r", ". ...... VVVVVVV VV" },
	{ &API_COMMAND_SEND, "{'vehicle_id':'CAR1','name':'doors.unlock'}", "w", ". ...F.F VVVVVVV VV" },
	{ &API_COMMAND_GET, "{'vehicle_id':'CAR1','id':'@'}", "rw", ". ...... VVVVVVV VV" },
	{ &API_COMMAND_LIST, "{'vehicle_id':'CAR1'}", "rw", ". ...... VVVVVVV VV" },
	{ &API_COMMAND_CANCEL, "{'vehicle_id':'CAR1','id':'@'}", "w", ". ...F.F VVVVVVV VV" },
	{ &API_EVENT_LIST, "{'vehicle_id':'CAR1'}", "r", ". ...... VVVVVVV VV" },
	{ &API_GRANT_LIST, "{'vehicle_id':'CAR1'}", "r", ". ..FFFF VVVVVVV VV" },
	{ &API_GRANT_GET, "{'vehicle_id':'CAR1','subject':'pia'}", "r", ". ..FFFF VVVVVVV VV" },
	{ &API_GRANT_PUT, "{'vehicle_id':'CAR1','subject':'eve','role':'viewer'}", "w", ". ..FFFF VVVVVVV VV" },
	{ &API_GRANT_PUT, "{'vehicle_id':'CAR1','subject':'eve','role':'owner'}", "w", ". .FFFFF VVVVVVV VV" },
	{ &API_GRANT_DELETE, "{'vehicle_id':'CAR1','subject':'pia'}", "w", ". ..FFFF VVVVVVV VV" },
	{ &API_WAKEUP_LIST, "{'vehicle_id':'CAR1'}", "r", ". ...... VVVVVVV VV" },
	{ &API_AUDIT_LIST, "{'vehicle_id':'CAR1'}", "r", ". .FFFFF VVVVVVV VV" },
	{ &API_VEHICLE_TRANSFER, "{'vehicle_id':'CAR1','subject':'eve'}", "w", ". .FFFFF VVVVVVV VV" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'CAR1','fleet_id':'F1'}", "w", ". F.FFFF fffffff ff" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'CAR1'}", "w", ". FFFFFF FFFFFFF FF" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'NEW1','fleet_id':'F1'}", "w", ". f.ffff fffffff ff" },
	{ &API_VEHICLE_PUT, "{'vehicle_id':'NEW1'}", "w", ". FFFFFF FFFFFFF FF" },
	{ &API_VEHICLE_DELETE, "{'vehicle_id':'CAR1'}", "w", ". F.FFFF VVVVVVV VV" },
	{ &API_VEHICLE_BLOCK, "{'vehicle_id':'CAR1'}", "w", ". F.FFFF VVVVVVV VV" },
	{ &API_VEHICLE_UNBLOCK, "{'vehicle_id':'CAR1'}", "w", ". F.FFFF VVVVVVV VV" },
	{ &API_SUBJECT_GET, "{'subject':'zoe'}", "a", ". FFFFFF FFFFFFF FF" },
	{ &API_SUBJECT_ERASE, "{'subject':'zoe'}", "a", ". FFFFFF FFFFFFF FF" },
	{ &API_STATE_PATCH, "{'vehicle_id':'CAR1','patch':{'lights':1}}", "w", ". ...F.F VVVVVVV VV" },
	{ &API_NOTICE_LIST, "{'vehicle_id':'CAR1'}", "r", ". ...... VVVVVVV VV" },
	{ &API_NOTICE_PUT, "{'vehicle_id':'CAR1','name':'storm','payload':'x'}", "w", ". ..FFFF VVVVVVV VV" },
	{ &API_NOTICE_DELETE, "{'vehicle_id':'CAR1','name':'recall'}", "w", ". ..FFFF VVVVVVV VV" },
	{ &API_FLEET_NOTICE_LIST, "{'fleet_id':'F1'}", "r", ". f...ff fffffff ff" },
	{ &API_FLEET_NOTICE_PUT, "{'fleet_id':'F1','name':'storm','payload':'x'}", "w", ". f.FFff fffffff ff" },
	{ &API_FLEET_NOTICE_DELETE, "{'fleet_id':'F1','name':'recall'}", "w", ". f.FFff fffffff ff" },
	{ &API_ALL_NOTICE_LIST, "{}", "r", ". FFFFFF FFFFFFF FF" },
	{ &API_ALL_NOTICE_PUT, "{'name':'storm','payload':'x'}", "w", ". FFFFFF FFFFFFF FF" },
	{ &API_ALL_NOTICE_DELETE, "{'name':'recall'}", "w", ". FFFFFF FFFFFFF FF" },
	{ &API_FLEET_ALERT_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fffffff ff" },
	{ &API_FLEET_BLOCK_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fffffff ff" },
	{ &API_FLEET_WAKEUP_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fffffff ff" },
	{ &API_FLEET_STATS_GET, "{'fleet_id':'F1'}", "r", ". f.FFff fffffff ff" },
	{ &API_ALERT_LIST, "{}", "r", ". FFFFFF FFFFFFF FF" },
	{ &API_BLOCK_LIST, "{}", "r", ". FFFFFF FFFFFFF FF" },
	{ &API_ALL_WAKEUP_LIST, "{}", "r", ". FFFFFF FFFFFFF FF" },
	{ &API_STATS_GET, "{}", "r", ". FFFFFF FFFFFFF FF" },
	{ &API_NODE_LIST, "{}", "a", ". FFFFFF FFFFFFF FF" },
	{ &API_WEBHOOK_LIST, "{}", "r", ". ...... ....... .." },
	{ &API_WEBHOOK_CREATE, "{'url':'https://x.example/','vehicle_ids':['CAR1']}", "r", ". ...... VVVVVVV VV" },
	{ &API_WEBHOOK_CREATE, "{'url':'https://x.example/','fleet_ids':['F1']}", "r", ". f...ff fffffff ff" },
	{ &API_WEBHOOK_CREATE, "{'url':'https://x.example/','fleet_ids':['*']}", "r", ". FFFFFF FFFFFFF FF" },
	{ &API_WEBHOOK_GET, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhhhhhh hh" },
	{ &API_WEBHOOK_PUT, "{'id':'" WEBHOOK "','url':'https://x.example/','vehicle_ids':['CAR1']}", "r",
		". hhhhhh hhhhhhh hh" },
	{ &API_WEBHOOK_DELETE, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhhhhhh hh" },
	{ &API_WEBHOOK_ROTATE, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhhhhhh hh" },
	{ &API_WEBHOOK_DELIVERIES, "{'id':'" WEBHOOK "'}", "r", ". hhhhhh hhhhhhh hh" },
	{ &API_WEBHOOK_DELIVERY_GET, "{'id':'" WEBHOOK "','delivery_id':'" DELIVERY "'}", "r", ". hhhhhh hhhhhhh hh" },
	{ &API_WEBHOOK_REDELIVER, "{'id':'" WEBHOOK "','delivery_id':'" DELIVERY "'}", "r", ". hhhhhh hhhhhhh hh" },
	{ &API_FLEET_LIST, "{}", "r", ". ...... ....... .." },
	{ &API_FLEET_GET, "{'fleet_id':'F1'}", "r", ". f...ff fffffff ff" },
	{ &API_FLEET_PUT, "{'fleet_id':'F1','title':'Vans'}", "w", ". fFFFff fffffff ff" },
	{ &API_FLEET_PUT, "{'fleet_id':'F9','title':'Vans'}", "w", ". ffffff fffffff ff" },
	{ &API_FLEET_DELETE, "{'fleet_id':'F1'}", "w", "N fFFFff fffffff ff" },
	{ &API_BATCH_CREATE, "{'fleet_id':'F1','name':'doors.unlock'}", "w", ". f..Fff fffffff ff" },
	{ &API_BATCH_CREATE, "{'fleet_id':'F1','name':'doors.unlock','vehicles':['CAR1']}", "w",
		". f..Fff fffffff ff" },
	{ &API_BATCH_LIST, "{'fleet_id':'F1'}", "rw", ". f...ff fffffff ff" },
	{ &API_BATCH_GET, "{'id':'" BATCH_OF_F1 "'}", "rw", ". b...bb bbbbbbb bb" },
	{ &API_BATCH_COMMANDS, "{'id':'" BATCH_OF_F1 "'}", "rw", ". b...bb bbbbbbb bb" },
	{ &API_BATCH_CANCEL, "{'id':'" BATCH_OF_F1 "'}", "w", ". b..Fbb bbbbbbb bb" },
	{ &API_FLEET_GRANT_LIST, "{'fleet_id':'F1'}", "r", ". f.FFff fffffff ff" },
	{ &API_FLEET_GRANT_GET, "{'fleet_id':'F1','subject':'pia'}", "r", ". f.FFff fffffff ff" },
	{ &API_FLEET_GRANT_PUT, "{'fleet_id':'F1','subject':'eve','role':'viewer'}", "w", ". f.FFff fffffff ff" },
	{ &API_FLEET_GRANT_DELETE, "{'fleet_id':'F1','subject':'pia'}", "w", ". f.FFff fffffff ff" },
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
	static char *all;
	if (!all && asprintf(&all, "%s;%s;select id from commands limit 1", seed, cast) < 0)
		ck_abort();
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

static char *problem_of_stranger(const struct right *right, const char *params)
{
	call_with(right->operation, "sam", SCOPES_USER, params);
	return problem_text();
}

/* Everything that is there, in place of which something is named that is not: the letter at `at` is a 9. */
static const struct {
	const char *name;
	size_t at;
} hidden[] = { { "CAR1", 3 }, { "F1", 1 }, { WEBHOOK, sizeof(WEBHOOK) - 2 }, { DELIVERY, sizeof(DELIVERY) - 2 } };

static void name_absent(char *params)
{
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		for (char *at = params; (at = strstr(at, hidden[i].name)) != NULL;)
			at[hidden[i].at] = '9';
	}
}

static void assert_hidden(const struct right *right)
{
	char absent[512];

	snprintf(absent, sizeof(absent), "%s", params_of(right->params));
	name_absent(absent);
	if (strcmp(absent, params_of(right->params)) == 0)
		return; /* it names nothing that could be hidden */
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

void add_matrix(Suite *suite)
{
	TCase *tc = case_new(suite, "matrix");

	tcase_set_timeout(tc, 150); /* some thousand calls */
	tcase_add_checked_fixture(tc, matrix_setup, matrix_teardown);
	tcase_add_test(tc, everybody_may_do_what_their_role_and_scopes_say);
	tcase_add_test(tc, nobody_may_do_it_to_what_is_anothers);
	tcase_add_test(tc, no_operation_is_left_out);
	tcase_add_test(tc, hidden_is_as_absent);
}
