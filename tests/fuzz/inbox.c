/* inbox.c - what comes into a worker's inbox, where somebody watches a vehicle, its fleet, and a command of it. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "tests/fuzz/input.h"

#define SEQ 6 /* the last event that came of the vehicle: the corpus goes on with 7 */
#define VERSION 2

static void on_event(struct hub_subscriber *s, const struct hub_event *event)
{
	(void)s;
	free(memory_need(strndup(event->frame, event->frame_len)));
	free(memory_need(strndup(event->data, event->data_len)));
}

static void on_end(struct hub_subscriber *s, const struct fault *fault)
{
	(void)s;
	(void)fault;
}

static void on_command(struct hub_watch *w, const char *command)
{
	(void)w;
	free(memory_need(strdup(command)));
}

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

/* As if the database had said that it may. */
static void begin(struct hub_subscriber *s, struct hub *hub, bool admin, struct hub_channel *ch, struct hub_fleet *f)
{
	*s = (struct hub_subscriber){ .subject = "a",
		.admin = admin,
		.on_event = on_event,
		.on_end = on_end,
		.hub = hub,
		.channel = ch,
		.fleet = f,
		.ready = true,
		.rank = 1,
		.next_seq = SEQ + 1 };
	loop_timer_init(hub->loop, &s->expiry, NULL);
	list_append(ch ? &ch->subscribers : &f->subscribers, &s->node);
	hub->subscribers++;
}

/* Holes and doubts stay, as the database is away; then nothing is left. */
static void forget(struct hub *hub)
{
	struct hub_channel *ch, *next_channel;
	struct hub_fleet *f, *next_fleet;

	while (!hub_is_quiet(hub))
		uv_run(loop_uv(hub->loop), UV_RUN_NOWAIT);
	HASH_ITER (hh, hub->channels, ch, next_channel)
		channel_free(ch);
	HASH_ITER (hh, hub->fleets, f, next_fleet)
		hub_fleet_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hub *hub = hub_get();
	struct hub_subscriber subscribers[4];
	struct hub_watch watch = { .on_command = on_command, .command_id = "0192f3c8-0000-7000-8000-000000000001" };
	char *text = input_copy((const char *)bytes, len);

	channel_adopt(hub, "WKF1", "F1", SEQ);
	channel_adopt(hub, "WKF2", "F1", SEQ);
	struct hub_channel *ch = channel_find(hub, "WKF1");
	struct hub_fleet *f = fleet_get(hub, "F1");
	f->registered = f->live = true;
	f->version = VERSION;
	for (int i = 0; i < 4; i++)
		begin(&subscribers[i], hub, i & 1, i & 2 ? ch : NULL, i & 2 ? NULL : f);
	list_append(&ch->watches, &watch.node);
	hub_receive(hub, text, len);
	for (int i = 0; i < 4; i++)
		hub_unsubscribe(hub, &subscribers[i]);
	forget(hub);
	free(text);
	return 0;
}
