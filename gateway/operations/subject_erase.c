/* subject_erase.c - the operation subject.erase: what is kept of somebody goes (docs/access.md says what, and what stays). */
#include <string.h>

#include "base/memory.h"
#include "gateway/api_internal.h"
#include "gateway/operations/grant_params.h"
#include "gateway/operations/revocation.h"
#include "gateway/operations/verdict.h"
#include "sql/db.h"
#include "sql/statements.h"

static void run(struct api_call *call);

static const char *const params[] = { "subject", NULL };
const struct api_operation API_SUBJECT_ERASE = { "subject.erase", SCOPE_ADMIN, params, run };

/* Its grants have run out: they are ended, and told of, at once. */
static void on_erased(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct api_call *call = context;

	if (fault) {
		unit_fail_call(unit, call, fault);
		return;
	}
	revocation_look(call->api->revocation);
	api_call_reply(call, memory_need(strdup("{}")), 2);
}

static void run(struct api_call *call)
{
	const char *subject;

	if (!grant_check_subject(call) || !api_param_text(call, "subject", &subject))
		return;
	struct db_unit *unit = db_unit_new(call->api->writer, on_erased, call);
	db_unit_add(unit, &SQL_subject_erase);
	db_param_text(unit, subject);
	db_param_text(unit, call->caller.subject);
	db_param_text(unit, call->caller.address);
	db_unit_submit(unit);
}
