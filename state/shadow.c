/* shadow.c - reads state reports and brings them into the batch.
 *
 * What a vehicle says while its last report still waits for a transaction goes with it: however fast one reports, it takes no more of the
 * database's time than the merging, and those who share its feed wait for no more. Where the database refuses it, it goes by halves. */
#include "state/shadow.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define PAYLOAD_MAX (128 * 1024) /* contract §10 */
#define FEED_COUNT 32
#define LINES_MAX                                                                                                      \
	8 /* in one item: each is merged into all that its vehicle reports, 256 KiB at most, some milliseconds then */
#define LAST_COUNT 1024 /* a power of two */

struct shadow {
	struct batch *batch;
	struct batch_stage stage;
	/* By hash of the vehicle: its last one that is not done; another's may have taken the place. */
	struct report *last[LAST_COUNT];
};

struct line {
	char *patch;
	int64_t version;
};

struct report {
	struct batch_item item;
	struct receipt *receipt;
	char vehicle_id[65];
	struct line *lines; /* in their order */
	size_t count;
	char command_id[UUID_TEXT_SIZE]; /* "": it came by itself */
	const char *answer;
};

static bool read_topic(const char *topic, char ret_vehicle_id[65]);
static void add_line(struct report *r, struct line line);
static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static struct batch_item *halve(struct batch_item *item);
static void on_item_done(struct batch_item *item, const struct fault *fault);

struct shadow *shadow_new(void)
{
	struct shadow *s = memory_new(sizeof(*s));
	s->stage = (struct batch_stage){
		.name = "shadow", .owner = s, .write = write_round, .read = read_round, .halve = halve
	};
	return s;
}

void shadow_free(struct shadow *s)
{
	free(s);
}

struct batch_stage *shadow_stage(struct shadow *s)
{
	return &s->stage;
}

void shadow_attach(struct shadow *s, struct batch *batch)
{
	s->batch = batch;
}

/* vehicles/{id}/state, or with the vehicle's own feed behind it. */
static bool read_topic(const char *topic, char ret_vehicle_id[65])
{
	char plain[128], fed[160], id[65];

	if (strncmp(topic, "vehicles/", strlen("vehicles/")) != 0)
		return false;
	const char *begin = topic + strlen("vehicles/");
	size_t len = strcspn(begin, "/");
	if (len >= sizeof(id))
		return false;
	memcpy(id, begin, len);
	id[len] = '\0';
	if (!topic_level_is_safe(id))
		return false;
	snprintf(plain, sizeof(plain), "vehicles/%s/state", id);
	snprintf(fed, sizeof(fed), "%s/%02u", plain, crc32_of(id, len) % FEED_COUNT);
	memcpy(ret_vehicle_id, id, len + 1);
	return strcmp(topic, plain) == 0 || strcmp(topic, fed) == 0;
}

/* {"version":N,"state":{patch}}, also without the version, or the bare patch. What has both and is not that was meant to be: to take it
 * for a patch would put a member `state` beside what the vehicle reports. */
static bool read_report(const json_t *body, const json_t **ret_patch, int64_t *ret_version)
{
	const json_t *state = json_object_get(body, "state"), *version = json_object_get(body, "version");
	int64_t whole = -1;
	bool wrapped = json_is_object(state) && (!version || json_whole(version, &whole));

	*ret_patch = wrapped ? state : body;
	*ret_version = wrapped ? whole : -1;
	return json_is_object(body) && (wrapped || !state || !version);
}

static struct report **last_of(struct shadow *s, const char *vehicle_id)
{
	return &s->last[crc32_of(vehicle_id, strlen(vehicle_id)) / FEED_COUNT & (LAST_COUNT - 1)];
}

/* Of the same batch of the feed, which is acknowledged when this report is done. */
static bool may_go_along(const struct report *last, const char *vehicle_id, const struct receipt *receipt)
{
	return last && last->item.is_waiting && last->receipt == receipt && !last->answer && last->count < LINES_MAX &&
	       strcmp(last->vehicle_id, vehicle_id) == 0;
}

static struct line line_of(const json_t *patch, int64_t version)
{
	return (struct line){ json_canonical(patch), version };
}

bool shadow_receive(struct shadow *s, const struct batch_fence *fence, const struct mqtt_message *m,
	struct receipt *receipt, char ret_vehicle_id[65])
{
	json_auto_t *body = NULL;
	const json_t *patch;
	int64_t version;
	bool known = read_topic(m->topic, ret_vehicle_id);

	metric_add(METRIC_STATE_REPORTS, 1);
	if (known && m->len <= PAYLOAD_MAX)
		body = json_read(m->payload, m->len);
	if (!read_report(body, &patch, &version)) {
		metric_add(METRIC_STATE_MALFORMED, 1);
		log_debug("state", "a state report that cannot be read", LOG_TEXT("topic", m->topic));
		return known;
	}
	struct report *last = *last_of(s, ret_vehicle_id);
	if (may_go_along(last, ret_vehicle_id, receipt)) {
		add_line(last, line_of(patch, version));
		return false;
	}
	shadow_report(s, fence,
		&(struct state_report){ .vehicle_id = ret_vehicle_id, .patch = patch, .version = version }, receipt);
	return true;
}

static void add_line(struct report *r, struct line line)
{
	if ((r->count & (r->count - 1)) == 0) /* a power of two: full */
		r->lines = memory_resize(r->lines, r->count ? 2 * r->count : 1, sizeof(*r->lines));
	r->lines[r->count++] = line;
}

static struct report *report_new(
	struct shadow *s, const char *vehicle_id, const struct batch_fence *fence, struct receipt *receipt)
{
	struct report *r = memory_new(sizeof(*r));

	snprintf(r->vehicle_id, sizeof(r->vehicle_id), "%s", vehicle_id);
	r->receipt = receipt;
	r->item = (struct batch_item){
		.stage = &s->stage, .vehicle_id = r->vehicle_id, .fence = fence, .on_done = on_item_done
	};
	list_init(&r->item.node);
	receipt_open(receipt);
	return r;
}

void shadow_report(
	struct shadow *s, const struct batch_fence *fence, const struct state_report *report, struct receipt *receipt)
{
	struct report *r = report_new(s, report->vehicle_id, fence, receipt);

	add_line(r, line_of(report->patch, report->version));
	if (report->command_id) {
		snprintf(r->command_id, sizeof(r->command_id), "%s", report->command_id);
		r->answer = report->answer;
	}
	const struct fault *fault = batch_submit(s->batch, &r->item);
	if (fault)
		on_item_done(&r->item, fault);
	else
		*last_of(s, r->vehicle_id) = r;
}

static struct report *report_of(struct batch_item *item)
{
	return container_of(item, struct report, item);
}

/* Nothing goes along with it any more. */
static void close_report(struct report *r)
{
	struct report **last = last_of(r->item.stage->owner, r->vehicle_id);

	if (*last == r)
		*last = NULL;
}

/* What came with an answer is one line. */
static struct batch_item *halve(struct batch_item *item)
{
	struct report *r = report_of(item);
	size_t kept = (r->count + 1) / 2;

	if (kept == r->count)
		return NULL;
	struct report *rest = report_new(item->stage->owner, r->vehicle_id, item->fence, r->receipt);
	for (size_t i = kept; i < r->count; i++)
		add_line(rest, r->lines[i]);
	r->count = kept;
	close_report(r); /* what comes next comes after the rest */
	return &rest->item;
}

static void note_given_up(const struct report *r)
{
	metric_add(METRIC_STATE_MALFORMED, (int64_t)r->count);
	log_warn("state", "state reports were not taken: the database cannot do it",
		LOG_TEXT("vehicle_id", r->vehicle_id), LOG_INT("count", r->count));
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct report *r = report_of(item);
	bool is_over = !fault || batch_has_given_up(fault);

	close_report(r);
	if (fault && is_over)
		note_given_up(r);
	receipt_close(r->receipt, is_over ? NULL : fault);
	for (size_t i = 0; i < r->count; i++)
		free(r->lines[i].patch);
	free(r->lines);
	free(r);
}

static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, patches = { 0 }, versions = { 0 }, commands = { 0 }, answers = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct report *r = report_of(items[i]);
		for (size_t k = 0; k < r->count; k++) {
			db_array_text(&vehicles, r->vehicle_id);
			db_array_text(&patches, r->lines[k].patch);
			db_array_int(&versions, r->lines[k].version);
			db_array_text(&commands, r->answer ? r->command_id : NULL);
			db_array_text(&answers, r->answer);
		}
	}
	db_unit_add(unit, &SQL_shadow_apply);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &patches);
	db_param_array(unit, &versions);
	db_param_array(unit, &commands);
	db_param_array(unit, &answers);
}

static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first)
{
	(void)stage, (void)cut, (void)items, (void)count;
	for (size_t row = 0; row < db_rows(unit, first); row++) {
		metric_add(METRIC_STATE_MALFORMED, db_int(unit, first, row, 1));
		log_warn("state", "state reports were not taken: too much is reported already",
			LOG_TEXT("vehicle_id", db_text(unit, first, row, 0)),
			LOG_INT("count", db_int(unit, first, row, 1)));
	}
}
