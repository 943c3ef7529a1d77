/* fault.c - the rows of fault.tbl.h, once for the whole program. */
#include "base/fault.h"

#include <stddef.h>

#define FAULT(id, name_, http_, executed_, retry_, title_, user_message_)                                              \
	const struct fault FAULT_##id = {                                                                              \
		.name = name_,                                                                                         \
		.http = http_,                                                                                         \
		.executed = executed_,                                                                                 \
		.retry = retry_,                                                                                       \
		.title = title_,                                                                                       \
		.user_message = user_message_,                                                                         \
	};
#include "base/fault.tbl.h"
#undef FAULT
