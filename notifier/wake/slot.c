/* slot.c - from an absence that is due to an SMS, and what the provider said of it.
 *
 *   look ─ an item for each ─ step (committed) ─┬─ slot spent ─ submit ─ outcome ─ recorded
 *                                               └─ nothing to send now
 *
 * An outcome that could not be recorded is submitted again until it is; should the worker die over it, the next look at
 * the absence finds a spent slot that nobody speaks for, and counts it as sent. */
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/wake/template.h"
#include "notifier/wake/wake_internal.h"
#include "sql/batch.h"
#include "sql/statements.h"

#define LOOK_MS 500
#define SLOTS_MAX 128
#define MISSED_MAX 64 /* of those that nobody took note of, in one look */
#define STALE_MS                                                                                                       \
	5000 /* a worker that was frozen for so long since its look no longer submits: others may have gone on */
#define RECORD_RETRY_MS 200

/* One absence that is due, and the SMS that its step may have spent a slot for. */
struct slot {
	struct wake *wake;
	struct list node;
	struct batch_item item; /* of the step, then of the outcome */
	char vehicle_id[65], id[37];
	int64_t looked_ms;
	bool spent;
	size_t provider;
	int64_t expires_us; /* of the longest waiting command, database clock */
	char *msisdn, *iccid, *text;
	struct sms sms;
	struct sms_submission submission;
	const char *verdict;
	char *message_id, *reason;
};

static void on_look(struct loop_timer *timer);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void on_look_over(struct receipt *looking);
static void take(struct wake *w, const char *vehicle_id);
static void on_stepped(struct batch_item *item, const struct fault *fault);
static void submit(struct slot *s);
static void on_submitted(struct sms_submission *submission, const struct sms_outcome *outcome);
static void conclude(struct slot *s, enum sms_verdict verdict, const char *message_id, const char *reason);
static void record(struct slot *s);
static void on_recorded(struct batch_item *item, const struct fault *fault);
static void on_record(struct loop_timer *timer);
static void write_steps(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void read_steps(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static void write_outcomes(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void slot_free(struct slot *s);

void slots_init(struct wake *w)
{
	w->stages[WAKE_STEP] =
		(struct batch_stage){ .name = "wake step", .owner = w, .write = write_steps, .read = read_steps };
	w->stages[WAKE_OUTCOME] = (struct batch_stage){
		.name = "wake outcome", .owner = w, .write = write_outcomes, .read = wake_read_told
	};
	list_init(&w->slots);
	list_init(&w->unrecorded);
	loop_timer_init(w->loop, &w->look, on_look);
	loop_timer_init(w->loop, &w->record, on_record);
}

static struct slot *slot_of(struct batch_item *item)
{
	return container_of(item, struct slot, item);
}

/* Looking. */

void slots_look(struct wake *w)
{
	w->again = true;
	if (w->submits && w->looking.open == 0)
		loop_timer_start(&w->look, 0);
}

void slots_stop(struct wake *w)
{
	loop_timer_stop(&w->look);
}

static void on_look(struct loop_timer *timer)
{
	struct wake *w = container_of(timer, struct wake, look);
	bool enabled = atomic_load(w->options.enabled);

	w->again = w->more = false;
	if (w->slot_count >= SLOTS_MAX || !w->options.ports->can_publish(w->options.ports->owner)) {
		loop_timer_start(timer, LOOK_MS); /* without a broker nobody could be woken */
		return;
	}
	struct db_unit *unit = db_unit_new(w->options.reader, on_found, w);
	receipt_init(&w->looking, on_look_over);
	db_unit_add(unit, &SQL_due_absences);
	db_param_int(unit, (int64_t)(SLOTS_MAX - w->slot_count));
	if (!w->missed_none) {
		db_unit_add(unit, &SQL_absences_missing);
		db_param_int(unit, MISSED_MAX);
	}
	w->resuming = enabled && !w->was_enabled;
	if (w->resuming) {
		db_unit_add(unit, &SQL_wake_resume);
		w->again = true;
	}
	w->was_enabled = enabled;
	db_unit_submit(unit);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct wake *w = context;
	size_t room = SLOTS_MAX - w->slot_count;

	if (fault || (w->resuming && db_bool(unit, db_unit_size(unit) - 1, 0, 0)))
		w->was_enabled = false; /* what was refused is resumed by the next look */
	if (!fault)
		w->more = db_rows(unit, 0) >= room;
	for (size_t row = 0; !fault && row < db_rows(unit, 0) && w->submits; row++)
		take(w, db_text(unit, 0, row, 0));
	for (size_t row = 0; !fault && !w->missed_none && row < db_rows(unit, 1) && w->submits; row++)
		take(w, db_text(unit, 1, row, 0)); /* that it is in a transaction makes its absence begin */
	if (!fault)
		w->missed_none = w->missed_none || db_rows(unit, 1) < MISSED_MAX;
	receipt_close(&w->looking, fault);
}

static void on_look_over(struct receipt *looking)
{
	struct wake *w = container_of(looking, struct wake, looking);

	if (w->submits)
		loop_timer_start(&w->look, (w->more || w->again) && !looking->fault ? 0 : LOOK_MS);
}

/* The step. */

static void take(struct wake *w, const char *vehicle_id)
{
	struct slot *s = memory_new(sizeof(*s));

	s->wake = w;
	snprintf(s->vehicle_id, sizeof(s->vehicle_id), "%s", vehicle_id);
	uuid7_make(db_now_us(w->options.writer), s->id);
	s->looked_ms = loop_monotonic_ms(w->loop);
	s->item = (struct batch_item){
		.stage = &w->stages[WAKE_STEP], .vehicle_id = s->vehicle_id, .on_done = on_stepped
	};
	list_init(&s->item.node);
	list_init(&s->node);
	list_append(&w->slots, &s->node);
	w->slot_count++;
	receipt_open(&w->looking);
	const struct fault *refused = batch_submit(w->batch, &s->item);
	if (refused)
		on_stepped(&s->item, refused);
}

static void write_steps(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, ids = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++) {
		db_array_text(&vehicles, items[i]->vehicle_id);
		db_array_text(&ids, slot_of(items[i])->id);
	}
	db_unit_add(unit, &SQL_wake_step);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	wake_add_policy(stage->owner, unit);
}

static char *copy(const char *text)
{
	return text ? memory_need(strdup(text)) : NULL;
}

static void read_spent(struct slot *s, const struct db_unit *unit, size_t statement, size_t row)
{
	struct text text = { 0 };

	s->spent = true;
	s->provider = (size_t)db_int(unit, statement, row, 2);
	s->msisdn = copy(db_text(unit, statement, row, 4));
	s->iccid = copy(db_text(unit, statement, row, 5));
	s->expires_us = db_int(unit, statement, row, 7);
	s->sms = (struct sms){ .msisdn = s->msisdn,
		.iccid = s->iccid,
		.vehicle_id = s->vehicle_id,
		.validity_s = (int)db_int(unit, statement, row, 6),
		.id = s->id };
	template_fill(s->wake->options.text, TEMPLATE_PLAIN, &(struct sms){ .vehicle_id = s->vehicle_id }, &text);
	s->text = text_take(&text);
	s->sms.text = s->text;
}

static void read_steps(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first)
{
	(void)stage;
	(void)cut;
	for (size_t row = 0; row < db_rows(unit, first); row++) {
		if (db_text(unit, first, row, 1)) {
			metric_add(METRIC_WAKEUPS_REFUSED, 1);
			continue;
		}
		for (size_t i = 0; i < count; i++)
			if (strcmp(slot_of(items[i])->id, db_text(unit, first, row, 0)) == 0)
				read_spent(slot_of(items[i]), unit, first, row);
	}
}

static void on_stepped(struct batch_item *item, const struct fault *fault)
{
	struct slot *s = slot_of(item);
	struct wake *w = s->wake;

	if (!fault && s->spent)
		submit(s);
	else
		slot_free(s);
	receipt_close(&w->looking, fault);
}

/* The SMS. */

/* The last look before it leaves: the worker may have stood still since the commit. */
static void submit(struct slot *s)
{
	struct wake *w = s->wake;

	FAILPOINT("wake.spent");
	int64_t left_us = s->expires_us - db_now_us(w->options.writer);
	if (!w->submits) {
		conclude(s, SMS_FAILED, NULL, "DRAINING");
	} else if (loop_monotonic_ms(w->loop) - s->looked_ms > STALE_MS) {
		conclude(s, SMS_FAILED, NULL, "LATE");
	} else if (left_us < 1000000) {
		conclude(s, SMS_FAILED, NULL, "EXPIRED");
	} else {
		const struct sms_provider *provider = w->providers[s->provider];
		s->submission.on_done = on_submitted;
		provider->submit(provider->self, &s->sms, &s->submission);
	}
}

static void on_submitted(struct sms_submission *submission, const struct sms_outcome *outcome)
{
	struct slot *s = container_of(submission, struct slot, submission);
	FAILPOINT("wake.submitted");
	conclude(s, outcome->verdict, outcome->message_id, outcome->reason);
}

static void conclude(struct slot *s, enum sms_verdict verdict, const char *message_id, const char *reason)
{
	static const char *const words[] = {
		[SMS_TAKEN] = "taken", [SMS_REFUSED] = "refused", [SMS_FAILED] = "failed", [SMS_UNKNOWN] = "unknown"
	};

	s->verdict = words[verdict];
	s->message_id = copy(message_id);
	s->reason = copy(verdict == SMS_TAKEN ? NULL : reason ? reason : "FAILED");
	log_info("wake", "what became of an SMS", LOG_TEXT("vehicle_id", s->vehicle_id), LOG_TEXT("wakeup", s->id),
		LOG_TEXT("provider", s->wake->options.provider_names[s->provider]), LOG_TEXT("outcome", s->verdict),
		LOG_TEXT("reason", s->reason));
	record(s);
}

/* The outcome. */

static void wait_for_database(struct slot *s)
{
	struct wake *w = s->wake;

	list_remove(&s->node);
	list_append(&w->unrecorded, &s->node);
	if (!loop_timer_is_started(&w->record))
		loop_timer_start(&w->record, RECORD_RETRY_MS);
}

static void record(struct slot *s)
{
	struct wake *w = s->wake;

	s->item = (struct batch_item){
		.stage = &w->stages[WAKE_OUTCOME], .vehicle_id = s->vehicle_id, .on_done = on_recorded
	};
	list_init(&s->item.node);
	if (batch_submit(w->batch, &s->item))
		wait_for_database(s);
}

static void on_record(struct loop_timer *timer)
{
	struct wake *w = container_of(timer, struct wake, record);
	struct list again;

	list_init(&again);
	list_append_all(&again, &w->unrecorded);
	while (!list_is_empty(&again)) {
		struct slot *s = container_of(list_take_first(&again), struct slot, node);
		list_append(&w->slots, &s->node);
		record(s);
	}
}

static void write_outcomes(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, ids = { 0 }, verdicts = { 0 }, messages = { 0 }, reasons = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct slot *s = slot_of(items[i]);
		db_array_text(&vehicles, s->vehicle_id);
		db_array_text(&ids, s->id);
		db_array_text(&verdicts, s->verdict);
		db_array_text(&messages, s->message_id);
		db_array_text(&reasons, s->reason);
	}
	db_unit_add(unit, &SQL_wake_outcome);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	db_param_array(unit, &verdicts);
	db_param_array(unit, &messages);
	db_param_array(unit, &reasons);
	wake_add_policy(stage->owner, unit);
}

static void on_recorded(struct batch_item *item, const struct fault *fault)
{
	struct slot *s = slot_of(item);

	if (fault && !batch_has_given_up(fault))
		wait_for_database(s);
	else
		slot_free(s);
}

static void slot_free(struct slot *s)
{
	list_remove(&s->node);
	s->wake->slot_count--;
	free(s->msisdn);
	free(s->iccid);
	free(s->text);
	free(s->message_id);
	free(s->reason);
	free(s);
}
