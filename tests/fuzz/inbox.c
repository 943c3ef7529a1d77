/* inbox.c - what comes into a worker's inbox. */
#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/fuzz/input.h"

static struct hub *hub_get(void)
{
	static struct hub *hub;

	if (hub)
		return hub;
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	struct loop *loop = loop_new();
	struct db *db = db_new(loop, &(struct db_options){ .url = "postgresql://127.0.0.1:1/none", .queue_max = 1 });
	hub = hub_new(loop, &(struct hub_options){ .worker = "w", .writer = db, .reader = db });
	struct batch_stage *stage = hub_interest_stage(hub);
	hub_attach(hub, batch_new(loop, db, &(struct batch_options){ .items_max = 1, .holder = "w" }, &stage, 1));
	return hub;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = input_copy((const char *)bytes, len);

	hub_receive(hub_get(), text, len);
	free(text);
	return 0;
}
