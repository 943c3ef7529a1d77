/* retained.c - from a row to the broker's retained message.
 *
 *   lease held, link up ─ a second for the mark ─ what was lost is due again ─┬─ look ─ publish ─ PUBACK ─ noted ─┐
 *                                                                            └─ ten times a second, or at once ──┘
 * Now and then a new mark follows what was noted: a broker that still has it has all of that, too. */
#include "gateway/retained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LISTEN_MS 1000 /* how long the broker has to show its mark; the last publisher's messages are through by then */
#define LOOK_MS 100
#define REFUSED_MS 5000 /* after a refusal: asking faster changes no mind */
#define MARK_MS 2000	/* between two marks */
#define LOOK_MAX 128	/* messages on their way at once */
#define FEED_COUNT 32
#define TOPIC_MAX 256
#define REASON_ERROR 128 /* MQTT 5 §2.4: from here on it was refused */

enum retained_state { RESTING, LISTENING, RENEWING, WORKING };
enum { VEHICLE, KIND, NAME, PAYLOAD, CONTENT_TYPE, VERSION, EXPIRY }; /* columns of retained_due.sql */

/* One message that the broker has not acknowledged yet, or that is not noted yet. */
struct sent {
	struct list node;
	int mid;
	char vehicle_id[65], kind[16], name[65];
	int64_t version;
};

struct retained {
	struct loop *loop;
	struct retained_options options;
	enum retained_state state;
	struct loop_timer timer;
	bool has_lease, has_link;
	int64_t broker_mark; /* 0: none seen on this link */
	struct list sent, acknowledged;
	size_t units; /* with the database */
	bool again;   /* the last look did not find all */
	bool refused;
	bool unmarked; /* something was noted since the last mark */
	int64_t marked_ms;
	char mark_topic[TOPIC_MAX];
};

static void on_timer(struct loop_timer *timer);
static void on_renewed(struct db_unit *unit, void *context, const struct fault *fault);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void note(struct retained *r);
static void on_noted(struct db_unit *unit, void *context, const struct fault *fault);
static void on_marked(struct db_unit *unit, void *context, const struct fault *fault);

struct retained *retained_new(struct loop *loop, const struct retained_options *options)
{
	struct retained *r = memory_new(sizeof(*r));

	r->loop = loop;
	r->options = *options;
	list_init(&r->sent);
	list_init(&r->acknowledged);
	snprintf(r->mark_topic, sizeof(r->mark_topic), "%s/retained", options->namespace);
	loop_timer_init(loop, &r->timer, on_timer);
	return r;
}

static void forget(struct list *messages)
{
	list_for_each_safe (node, messages)
		free(container_of(node, struct sent, node));
	list_init(messages);
}

void retained_free(struct retained *r)
{
	if (r) {
		loop_timer_stop(&r->timer);
		forget(&r->sent);
		forget(&r->acknowledged);
	}
	free(r);
}

bool retained_is_quiet(const struct retained *r)
{
	return r->units == 0;
}

static struct db_unit *unit_new(struct retained *r, db_done *on_done)
{
	r->units++;
	return db_unit_new(r->options.db, on_done, r);
}

/* What came meanwhile is noted now. */
static void unit_over(struct retained *r)
{
	r->units--;
	note(r);
}

/* Working, or not. */

static void begin_or_end(struct retained *r)
{
	bool may = r->has_lease && r->has_link;

	if (may && r->state == RESTING) {
		r->state = LISTENING;
		loop_timer_start(&r->timer, LISTEN_MS);
	} else if (!may) {
		r->state = RESTING;
		loop_timer_stop(&r->timer);
	}
}

void retained_on_lease(struct retained *r, bool held)
{
	r->has_lease = held;
	begin_or_end(r);
}

void retained_on_link_up(struct retained *r)
{
	r->has_link = true;
	begin_or_end(r);
}

/* What was not acknowledged is found again. */
void retained_on_link_down(struct retained *r)
{
	r->has_link = false;
	r->broker_mark = 0;
	forget(&r->sent);
	begin_or_end(r);
}

void retained_on_mark(struct retained *r, const char *text, size_t len)
{
	int64_t mark = 0;

	for (size_t i = 0; i < len && i < 18 && text[i] >= '0' && text[i] <= '9'; i++)
		mark = mark * 10 + (text[i] - '0');
	r->broker_mark = mark;
}

static void renew(struct retained *r)
{
	struct db_unit *unit = unit_new(r, on_renewed);

	r->state = RENEWING;
	db_unit_add(unit, &SQL_retained_renew);
	db_param_int(unit, r->broker_mark);
	db_unit_submit(unit);
}

static void on_renewed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct retained *r = context;

	unit_over(r);
	if (r->state != RENEWING)
		return; /* ended meanwhile, and perhaps begun anew */
	bool is_whole = !fault && !db_bool(unit, 0, 0, 1);
	if (!fault && db_int(unit, 0, 0, 0) > 0)
		log_info("retained", "the broker is told anew what it may have lost",
			LOG_INT("messages", db_int(unit, 0, 0, 0)), LOG_INT("mark", r->broker_mark));
	r->state = is_whole ? WORKING : LISTENING;
	loop_timer_start(&r->timer, is_whole ? 0 : fault ? LISTEN_MS : LOOK_MS);
}

static void look(struct retained *r)
{
	struct db_unit *unit = unit_new(r, on_found);

	db_unit_add(unit, &SQL_retained_due);
	db_param_int(unit, LOOK_MAX);
	db_unit_submit(unit);
}

static void mark(struct retained *r)
{
	struct db_unit *unit = unit_new(r, on_marked);

	r->unmarked = false;
	r->marked_ms = loop_monotonic_ms(r->loop);
	db_unit_add(unit, &SQL_retained_mark);
	db_unit_submit(unit);
}

static void on_timer(struct loop_timer *timer)
{
	struct retained *r = container_of(timer, struct retained, timer);

	if (r->state == LISTENING) {
		renew(r);
		return;
	}
	loop_timer_start(timer, r->refused ? REFUSED_MS : LOOK_MS);
	if (!list_is_empty(&r->sent) || r->units > 0 || !r->options.can_publish(r->options.owner))
		return;
	r->again = false;
	r->refused = false;
	if (r->unmarked && loop_monotonic_ms(r->loop) - r->marked_ms >= MARK_MS)
		mark(r);
	look(r);
}

/* To the broker. */

static void write_topic(const struct retained *r, const struct sent *s, char topic[TOPIC_MAX])
{
	if (strcmp(s->kind, "blocked") == 0)
		snprintf(topic, TOPIC_MAX, "%s/blocked/%s", r->options.namespace, s->vehicle_id);
	else if (strcmp(s->kind, "desired") == 0)
		snprintf(topic, TOPIC_MAX, "vehicles/%s/state/desired", s->vehicle_id);
	else
		snprintf(topic, TOPIC_MAX, "vehicles/%s/notices/%s", s->vehicle_id, s->name);
}

/* Contract §6. The others are their payload, as an empty one is. */
static void write_payload(const struct sent *s, const char *payload, struct text *out)
{
	text_add(out, "");
	if (strcmp(s->kind, "desired") == 0 && *payload)
		text_addf(out, "{\"version\":%lld,\"feed\":\"%02u\",\"state\":%s}", (long long)s->version,
			crc32_of(s->vehicle_id, strlen(s->vehicle_id)) % FEED_COUNT, payload);
	else
		text_add(out, payload);
}

static void publish(struct retained *r, const struct db_unit *unit, size_t row)
{
	struct sent *s = memory_new(sizeof(*s));
	struct text payload = { 0 };
	char topic[TOPIC_MAX];

	s->version = db_int(unit, 0, row, VERSION);
	snprintf(s->vehicle_id, sizeof(s->vehicle_id), "%s", db_text(unit, 0, row, VEHICLE));
	snprintf(s->kind, sizeof(s->kind), "%s", db_text(unit, 0, row, KIND));
	snprintf(s->name, sizeof(s->name), "%s", db_text(unit, 0, row, NAME));
	write_topic(r, s, topic);
	write_payload(s, db_text(unit, 0, row, PAYLOAD), &payload);
	bool stays = payload.len > 0;
	s->mid = r->options.publish(r->options.owner,
		&(struct mqtt_publish){
			.topic = topic,
			.payload = payload.data,
			.len = payload.len,
			.qos = 1,
			.retain = true,
			.content_type = !stays				  ? NULL
					: strcmp(s->kind, "desired") == 0 ? "application/json"
									  : db_text(unit, 0, row, CONTENT_TYPE),
			.expiry_seconds = stays ? (uint32_t)db_int(unit, 0, row, EXPIRY) : 0,
		});
	text_free(&payload);
	if (s->mid < 0)
		free(s);
	else
		list_append(&r->sent, &s->node);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct retained *r = context;

	unit_over(r);
	if (fault || r->state != WORKING || !r->options.can_publish(r->options.owner))
		return;
	r->again = db_rows(unit, 0) == LOOK_MAX;
	for (size_t row = 0; row < db_rows(unit, 0); row++)
		publish(r, unit, row);
}

void retained_on_puback(struct retained *r, int mid, int reason)
{
	list_for_each_safe (node, &r->sent) {
		struct sent *s = container_of(node, struct sent, node);
		if (s->mid != mid)
			continue;
		list_remove(&s->node);
		if (reason < REASON_ERROR) {
			list_append(&r->acknowledged, &s->node);
			note(r);
			return;
		}
		log_warn("retained", "the broker refused a message", LOG_TEXT("vehicle", s->vehicle_id),
			LOG_TEXT("kind", s->kind), LOG_TEXT("name", s->name), LOG_INT("reason_code", reason));
		r->refused = true;
		free(s);
	}
}

/* All that was acknowledged while the last was noted; what fails here is due again. */
static void note(struct retained *r)
{
	struct db_array vehicles = { 0 }, kinds = { 0 }, names = { 0 }, versions = { 0 };

	if (r->units > 0 || list_is_empty(&r->acknowledged))
		return;
	list_for_each (node, &r->acknowledged) {
		const struct sent *s = container_of(node, struct sent, node);
		db_array_text(&vehicles, s->vehicle_id);
		db_array_text(&kinds, s->kind);
		db_array_text(&names, s->name);
		db_array_int(&versions, s->version);
	}
	forget(&r->acknowledged);
	r->unmarked = true;
	struct db_unit *unit = unit_new(r, on_noted);
	db_unit_add(unit, &SQL_retained_published);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &kinds);
	db_param_array(unit, &names);
	db_param_array(unit, &versions);
	db_unit_submit(unit);
}

static void on_noted(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct retained *r = context;

	(void)unit;
	(void)fault;
	unit_over(r);
	if (r->state == WORKING && r->again && r->units == 0 && list_is_empty(&r->sent))
		loop_timer_start(&r->timer, 0);
}

/* Behind all that was acknowledged before the mark rose. One that gets lost costs that it is all published again. */
static void on_marked(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct retained *r = context;

	unit_over(r);
	if (fault || r->state != WORKING) {
		r->unmarked = true;
		return;
	}
	const char *text = db_text(unit, 0, 0, 0);
	r->options.publish(r->options.owner,
		&(struct mqtt_publish){
			.topic = r->mark_topic, .payload = text, .len = strlen(text), .qos = 1, .retain = true });
}
