/* fleets.c - the operations that change fleets, their grants and their notices: a row each in a table, a statement each.
 *
 * Notices for all vehicles are those of the fleet '*', which is admin's and in no list. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/memory.h"
#include "gateway/api_internal.h"
#include "gateway/operations/fleet_change.h"
#include "gateway/operations/grant_params.h"
#include "gateway/operations/notice_params.h"
#include "gateway/operations/revocation.h"
#include "gateway/operations/verdict.h"
#include "sql/db.h"
#include "sql/statements.h"

#define TITLE_MAX 256

static void run(struct api_call *call);
static bool check_fleet(struct api_call *call);
static bool check_nothing(struct api_call *call);
static bool check_grant(struct api_call *call);
static bool check_subject(struct api_call *call);
static bool check_notice(struct api_call *call);
static bool check_notice_name(struct api_call *call);
static bool check_notice_for_all(struct api_call *call);
static bool check_notice_name_for_all(struct api_call *call);

#define OPERATION(id, name, ...)                                                                                       \
	static const char *const params_##id[] = { __VA_ARGS__, NULL };                                                \
	const struct api_operation API_##id = { name, SCOPE_COMMANDS_WRITE, params_##id, run };
OPERATION(FLEET_PUT, "fleet.put", "fleet_id", "title")
OPERATION(FLEET_DELETE, "fleet.delete", "fleet_id")
OPERATION(FLEET_GRANT_PUT, "fleet.grant.put", "fleet_id", "subject", "role", "expires_at")
OPERATION(FLEET_GRANT_DELETE, "fleet.grant.delete", "fleet_id", "subject")
OPERATION(FLEET_NOTICE_PUT, "fleet.notice.put", "fleet_id", "name", "payload", "content_type", "expires_in_seconds")
OPERATION(FLEET_NOTICE_DELETE, "fleet.notice.delete", "fleet_id", "name")
OPERATION(ALL_NOTICE_PUT, "all.notice.put", "name", "payload", "content_type", "expires_in_seconds")
OPERATION(ALL_NOTICE_DELETE, "all.notice.delete", "name")

static const struct kind {
	const struct api_operation *operation;
	const struct db_statement *statement;
	bool (*check)(struct api_call *);
} kinds[] = {
	{ &API_FLEET_PUT, &SQL_fleet_put, check_fleet },
	{ &API_FLEET_DELETE, &SQL_fleet_delete, check_nothing },
	{ &API_FLEET_GRANT_PUT, &SQL_fleet_grant_put, check_grant },
	{ &API_FLEET_GRANT_DELETE, &SQL_fleet_grant_end, check_subject },
	{ &API_FLEET_NOTICE_PUT, &SQL_fleet_notice_put, check_notice },
	{ &API_FLEET_NOTICE_DELETE, &SQL_fleet_notice_delete, check_notice_name },
	{ &API_ALL_NOTICE_PUT, &SQL_fleet_notice_put, check_notice_for_all },
	{ &API_ALL_NOTICE_DELETE, &SQL_fleet_notice_delete, check_notice_name_for_all },
};

static const struct verdict verdicts[] = {
	{ "done", NULL, "" },
	{ "no_fleet", &FAULT_FLEET_NOT_FOUND, "" },
	{ "forbidden", &FAULT_FORBIDDEN, "your role does not allow this" },
	{ "no_grant", &FAULT_GRANT_NOT_FOUND, "" },
	{ "not_empty", &FAULT_FLEET_NOT_EMPTY, "" },
	{ "no_notice", &FAULT_NOTICE_NOT_FOUND, "" },
	{ "too_many", &FAULT_INVALID_PARAMS, "there are 64 notices already" },
	{ 0 },
};

/* One change under way; the call's state. */
struct fleet_call {
	struct api_call *call;
	struct fleet_change change;
	char *body;
};

static void on_changed(struct fleet_change *change, const struct fault *fault);

static void fleet_call_free(void *state)
{
	struct fleet_call *f = state;
	free(f->body);
	free(f);
}

static const struct kind *kind_of(const struct api_operation *operation)
{
	size_t i = 0;
	while (kinds[i].operation != operation)
		i++;
	return &kinds[i];
}

static void run(struct api_call *call)
{
	const struct kind *kind = kind_of(call->operation);
	struct fleet_call *f = memory_new(sizeof(*f));

	f->call = call;
	call->state = f;
	call->free_state = fleet_call_free;
	if (!kind->check(call))
		return;
	f->body = json_canonical(call->params);
	f->change = (struct fleet_change){
		.writer = call->api->writer,
		.hub = call->api->hub,
		.statement = kind->statement,
		.fleet_id = json_text_at(call->params, "fleet_id"),
		.request_id = call->request_id,
		.on_done = on_changed,
	};
	fleet_change_run(&f->change, call->caller.subject, call->caller.address, api_caller_is_admin(call), f->body);
}

/* What a caller may write. */

static bool refuse(struct api_call *call, const char *why)
{
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s", why);
	return false;
}

static bool check_fleet(struct api_call *call)
{
	const char *id, *title;

	if (!api_param_text(call, "fleet_id", &id) || !api_param_text(call, "title", &title))
		return false;
	if (!id || !api_may_name(call, id))
		return refuse(call, "fleet_id has 1 to 64 of A-Z a-z 0-9 . _ : - and is not the gateway's");
	return title && strlen(title) > TITLE_MAX ? refuse(call, "title has at most 256 bytes") : true;
}

static bool check_nothing(struct api_call *call)
{
	const char *fleet_id;
	return api_param_fleet(call, &fleet_id);
}

static bool check_subject(struct api_call *call)
{
	return check_nothing(call) && grant_check_subject(call);
}

static bool check_grant(struct api_call *call)
{
	return check_nothing(call) && grant_check(call, GRANT_ON_FLEET);
}

static bool check_notice(struct api_call *call)
{
	return check_nothing(call) && notice_check(call);
}

static bool check_notice_name(struct api_call *call)
{
	return check_nothing(call) && notice_check_name(call);
}

static void mean_all(struct api_call *call)
{
	json_object_set_new(call->params, "fleet_id", memory_need(json_string("*")));
}

static bool check_notice_for_all(struct api_call *call)
{
	mean_all(call);
	return notice_check(call);
}

static bool check_notice_name_for_all(struct api_call *call)
{
	mean_all(call);
	return notice_check_name(call);
}

/* Committed, or not. */

static void on_changed(struct fleet_change *change, const struct fault *fault)
{
	struct fleet_call *f = container_of(change, struct fleet_call, change);
	struct api_call *call = f->call;

	if (fault) {
		api_call_fail(call, fault, "%s", "");
		return;
	}
	if (!verdict_let_pass(verdict_in(verdicts, change->outcome), call))
		return;
	if (change->has_ended_rights)
		revocation_look(call->api->revocation);
	call->created = change->is_new;
	char *reply = memory_need(strdup(change->reply ? change->reply : "{}"));
	api_call_reply(call, reply, strlen(reply));
}
