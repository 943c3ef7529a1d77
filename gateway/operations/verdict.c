/* verdict.c - looks a verdict up, and fails calls by it. */
#include "gateway/operations/verdict.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "gateway/api_internal.h"
#include "sql/db.h"

const struct verdict *verdict_in(const struct verdict *table, const char *outcome)
{
	while (table->outcome && strcmp(table->outcome, outcome) != 0)
		table++;
	assert(table->outcome);
	return table;
}

bool verdict_let_pass(const struct verdict *verdict, struct api_call *call)
{
	if (!verdict->fault)
		return true;
	api_call_fail(call, verdict->fault, "%s", verdict->detail);
	return false;
}

void unit_fail_call(const struct db_unit *unit, struct api_call *call, const struct fault *fault)
{
	if (fault == &FAULT_STATEMENT) {
		log_warn("api", "a change failed", LOG_TEXT("operation", call->operation->name),
			LOG_TEXT("request_id", call->request_id), LOG_TEXT("sqlstate", db_unit_sqlstate(unit)),
			LOG_TEXT("detail", db_unit_message(unit)));
		fault = &FAULT_INTERNAL;
	}
	api_call_fail(call, fault, "%s", "");
}
