/* state.c - a vehicle's report: the topic, then the payload; and RFC 7396 on what the payload holds. */
#include "state/shadow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/fuzz/input.h"

static struct shadow *shadow_get(void)
{
	static struct shadow *shadow;

	if (shadow)
		return shadow;
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	struct loop *loop = loop_new();
	shadow = shadow_new();
	struct db *db = db_new(loop, &(struct db_options){ .url = "postgresql://127.0.0.1:1/none", .queue_max = 1 });
	struct batch_stage *stage = shadow_stage(shadow);
	shadow_attach(shadow, batch_new(loop, db, &(struct batch_options){ .items_max = 1, .holder = "w" }, &stage, 1));
	return shadow;
}

static void on_settled(struct receipt *receipt)
{
	(void)receipt;
}

static void receive(const char *topic, const char *payload, size_t len)
{
	char vehicle_id[65] = "";
	struct receipt receipt;

	receipt_init(&receipt, on_settled);
	if (shadow_receive(shadow_get(), NULL, &(struct mqtt_message){ .topic = topic, .payload = payload, .len = len },
		    &receipt, vehicle_id))
		assert(topic_level_is_safe(vehicle_id));
	assert(receipt.open == 1);
}

/* The diff of two values, laid on the first, gives the second. Both went through a patch, so no member is null. */
static void diff_and_merge(const json_t *one, const json_t *other)
{
	json_auto_t *from = json_merge_patch(NULL, one), *to = json_merge_patch(from, other);
	json_auto_t *diff = json_merge_diff(from, to);
	json_auto_t *merged = diff ? json_merge_patch(from, diff) : json_incref(from);

	assert(json_equal(merged, to));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { (const char *)bytes, len };
	char *topic = input_line(&in), *payload = input_copy(in.at, in.left);

	receive(topic, payload, in.left);
	json_auto_t *body = json_read(payload, in.left);
	if (json_is_object(body) && json_is_object(json_object_get(body, "state")))
		diff_and_merge(json_object_get(body, "state"), body);
	free(topic);
	free(payload);
	return 0;
}
