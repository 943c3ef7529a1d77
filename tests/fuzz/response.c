/* response.c - a vehicle's response: the topic, Correlation Data ("-": none), then the payload. The database is away, so
 * the receipt hears so; whatever is not taken is told to the vehicle on its own topic and nowhere else. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "commands/answer.h"
#include "commands/codec.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "commands/topic.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/fuzz/input.h"

static char of[65]; /* whose response it is */

static int publish(void *owner, const struct mqtt_publish *p)
{
	char own[TOPIC_SIZE], execution[TOPIC_SIZE];

	(void)owner;
	int own_len = snprintf(own, sizeof(own), "vehicles/%s/commands/", of);
	int execution_len = snprintf(execution, sizeof(execution), "$aws/commands/things/%s/executions/", of);
	assert(of[0]);
	if (strncmp(p->topic, own, (size_t)own_len) == 0)
		assert(strcmp(p->topic + own_len, "accepted") == 0 || strcmp(p->topic + own_len, "rejected") == 0);
	else
		assert(strncmp(p->topic, execution, (size_t)execution_len) == 0);
	return 1;
}

static void prove(void *owner, const struct batch_fence *fence, const char *vehicle_id, struct receipt *receipt)
{
	(void)owner;
	(void)fence;
	(void)receipt;
	assert(strcmp(vehicle_id, of) == 0 && topic_level_is_safe(of));
}

static void report_state(
	void *owner, const struct batch_fence *fence, const struct codec_response *response, struct receipt *receipt)
{
	(void)owner, (void)fence, (void)receipt;
	assert(strcmp(response->vehicle_id, of) == 0 && json_is_object(response->state));
}

static bool can_publish(void *owner)
{
	(void)owner;
	return false;
}

static const struct command_ports ports = {
	.can_publish = can_publish, .publish = publish, .prove = prove, .report_state = report_state
};

static struct answer_flow *flow_get(void)
{
	static struct answer_flow *flow;

	if (flow)
		return flow;
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	struct loop *loop = loop_new();
	struct db *db = db_new(loop, &(struct db_options){ .url = "postgresql://127.0.0.1:1/none", .queue_max = 1 });
	flow = answer_new(loop, db, &ports,
		dispatch_new(loop, &(struct dispatch_options){ .db = db, .worker = "w", .ports = &ports }));
	struct batch_stage *stage = answer_stage(flow);
	answer_attach(flow, batch_new(loop, db, &(struct batch_options){ .items_max = 1, .holder = "w" }, &stage, 1));
	return flow;
}

static void on_settled(struct receipt *receipt)
{
	(void)receipt;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { (const char *)bytes, len };
	char *topic = input_line(&in), *correlation = input_line(&in), *payload = input_copy(in.at, in.left);
	size_t correlation_len = strlen(correlation);
	bool has_correlation = strcmp(correlation, "-") != 0;
	char *data = input_copy(correlation, correlation_len);
	struct receipt receipt;

	struct codec_response response = { 0 };
	snprintf(of, sizeof(of), "%s", codec_read_topic(topic, &response) ? response.vehicle_id : "");
	codec_response_done(&response);
	receipt_init(&receipt, on_settled);
	answer_receive(flow_get(), NULL,
		&(struct mqtt_message){ .topic = topic,
			.payload = payload,
			.len = in.left,
			.correlation = has_correlation ? data : NULL,
			.correlation_len = has_correlation ? correlation_len : 0 },
		&receipt);
	assert(receipt.open == 1);
	free(topic);
	free(correlation);
	free(data);
	free(payload);
	return 0;
}
