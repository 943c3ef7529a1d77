/* flows.c - builds the flows in order, connects them by their ports, and takes them down in the opposite order.
 *
 *   database up ─ installation read ─ send link, leases ─ feeds … running … drain: SMS providers, leases and feeds ─ what
 *   is in hand ─ send link ─ database */
#include "gateway/flows.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "base/trace.h"
#include "commands/accept.h"
#include "commands/answer.h"
#include "commands/cancel.h"
#include "commands/codec.h"
#include "commands/deadline.h"
#include "commands/dispatch.h"
#include "commands/fleet_batch.h"
#include "commands/ports.h"
#include "commands/topic.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "gateway/detection.h"
#include "gateway/feed.h"
#include "gateway/house.h"
#include "gateway/lease.h"
#include "gateway/operations/alert.h"
#include "gateway/operations/changes.h"
#include "gateway/operations/notices.h"
#include "gateway/operations/refused.h"
#include "gateway/operations/revocation.h"
#include "gateway/probe.h"
#include "gateway/resync.h"
#include "gateway/retained.h"
#include "gateway/sender.h"
#include "gateway/siblings.h"
#include "gateway/tracing/traces.h"
#include "gateway/waking.h"
#include "notifier/hub.h"
#include "notifier/wake/wake.h"
#include "notifier/webhook/webhooks.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/migrate.h"
#include "sql/statements.h"
#include "state/lifecycle_event.h"
#include "state/reachability.h"
#include "state/shadow.h"

#define FEEDS_MAX 64
#define UNITS_MAX 20000 /* reads and writes waiting for a connection; past it callers get 503 */
#define ITEMS_MAX 20000 /* units of work waiting for a transaction */
#define DRAIN_LOOK_MS 10

enum drain { RUNNING, HANDING_OVER, RECORDING, CLOSING_LINK, CLOSING_DATABASE, DRAINED };

struct flows {
	struct loop *loop;
	struct flows_options options;
	struct api *api;
	char worker[40], installation[40];

	struct lifecycle_source source;
	struct db *writer, *reader;
	size_t databases;     /* open */
	bool has_lost_reader; /* ever */
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct cancel_flow *cancel;
	struct answer_flow *answer;
	struct deadline *deadline;
	struct reachability *reachability;
	struct shadow *shadow;
	struct changes *changes;
	struct revocation *revocation;
	struct alerts *alerts;
	struct refused *refused;
	struct notices *notices;
	struct retained *retained;
	struct resync *resync;
	struct fleet_batches *batches; /* NULL: another worker of the node feeds them */
	struct house *house;	       /* NULL: another worker of the node keeps it */
	struct webhooks *webhooks;     /* NULL: another worker of the node sends them */
	struct hub *hub;
	struct traces *traces; /* NULL: nothing is traced */
	struct trace_sampler sampler;
	struct waking *waking;
	struct batch *batch;
	struct probe *probe;
	struct command_ports ports;
	struct wake_ports wake_ports;

	struct sibling *sibling;
	struct sender *sender;
	struct leases *leases;
	struct feed *feeds[FEEDS_MAX];
	size_t feed_count, feeds_closing;
	bool is_up;
	int64_t lost_ms, up_ms; /* when the send link was lost (0: it never was), and when it came up */

	struct loop_timer look;
	unsigned units;
	enum drain drain;
	void (*on_drained)(void *owner);
};

static void make_databases(struct flows *f);
static void make_flows(struct flows *f);
static void on_trouble(void *owner);

/* What is heard of vehicles comes first, then what answers and people change; interest stands before everything that writes
 * events, settling and telling after it. Absences are settled before commands are claimed: so a probe is. */
static void make_batch(struct flows *f)
{
	struct batch_stage *stages[40];
	size_t n = 0;

	stages[n++] = hub_interest_stage(f->hub);
	reachability_stages(f->reachability, &stages[n]);
	n += REACHABILITY_STAGES;
	changes_stages(f->changes, &stages[n]);
	n += CHANGES_STAGES;
	stages[n++] = notices_stage(f->notices);
	revocation_stages(f->revocation, &stages[n]);
	n += REVOCATION_STAGES;
	stages[n++] = alerts_stage(f->alerts);
	stages[n++] = refused_stage(f->refused);
	stages[n++] = dispatch_puback_stage(f->dispatch);
	stages[n++] =
		shadow_stage(f->shadow); /* what an answer reports, before the answer changes what may be answered */
	stages[n++] = answer_stage(f->answer);
	stages[n++] = dispatch_failure_stage(f->dispatch);
	stages[n++] = cancel_stage(f->cancel);
	stages[n++] = accept_stage(f->accept);
	stages[n++] = deadline_stage(f->deadline);
	stages[n++] = offer_stage(f->deadline);
	wake_stages(waking_flow(f->waking), &stages[n]);
	n += WAKE_STAGES;
	stages[n++] = dispatch_settle_stage(f->dispatch);
	stages[n++] = hub_tell_stage(f->hub);
	f->batch = batch_new(f->loop, f->writer,
		&(struct batch_options){
			.items_max = ITEMS_MAX, .holder = f->worker, .owner = f, .on_trouble = on_trouble },
		stages, n);
	reachability_attach(f->reachability, f->batch);
	shadow_attach(f->shadow, f->batch);
	changes_attach(f->changes, f->batch);
	notices_attach(f->notices, f->batch);
	revocation_attach(f->revocation, f->batch);
	alerts_attach(f->alerts, f->batch);
	refused_attach(f->refused, f->batch);
	answer_attach(f->answer, f->batch);
	dispatch_attach(f->dispatch, f->batch);
	cancel_attach(f->cancel, f->batch);
	accept_attach(f->accept, f->batch);
	deadline_attach(f->deadline, f->batch);
	hub_attach(f->hub, f->batch);
	wake_attach(waking_flow(f->waking), f->batch);
	f->probe = probe_new(f->loop, f->reader, f->batch);
}

static void fill_api(struct flows *f);
static void on_claim(void *owner, const struct claim *claim);
static void on_inbox(void *owner, const char *text, size_t len);
static void on_events(void *owner, const char *text, size_t len);
static void on_database_up(void *owner, struct db *db);
static void on_database_down(void *owner, struct db *db);
static void on_database_silence(void *owner, struct db *db);
static void on_installation(struct db_unit *unit, void *context, const struct fault *fault);
static void connect_broker(struct flows *f);
static void on_look(struct loop_timer *timer);

/* Building. */

struct flows *flows_new(struct loop *loop, const struct flows_options *options, struct api *api)
{
	struct flows *f = memory_new(sizeof(*f));
	const struct config *config = options->config;

	f->loop = loop;
	f->options = *options;
	f->api = api;
	random_hex(8, f->worker);
	f->source = (struct lifecycle_source){ (enum lifecycle_broker)config->lifecycle.source,
		config->lifecycle.prefix, config->namespace };
	loop_timer_init(loop, &f->look, on_look);
	f->sibling = sibling_join(options->siblings, loop, f->worker,
		&(struct sibling_ears){ .owner = f, .on_claim = on_claim, .on_events = on_events });
	make_databases(f);
	make_flows(f);
	make_batch(f);
	fill_api(f);
	return f;
}

static void make_databases(struct flows *f)
{
	struct db_options options = {
		.url = f->options.config->database.url,
		.queue_max = UNITS_MAX,
		.schema = migrate_version(),
		.owner = f,
		.on_up = on_database_up,
		.on_down = on_database_down,
		.on_silence = on_database_silence,
	};
	f->writer = db_new(f->loop, &options);
	f->reader = db_new(f->loop, &options);
	f->databases = 2;
}

/* What commands need of their neighbours. */

static bool is_link_up(void *owner)
{
	const struct flows *f = owner;
	return f->sender && sender_is_up(f->sender);
}

static bool can_publish(void *owner)
{
	const struct flows *f = owner;
	return f->drain == RUNNING && is_link_up(owner) && lease_is_alive(f->leases);
}

static int publish(void *owner, const struct mqtt_publish *message)
{
	const struct flows *f = owner;
	return f->sender ? sender_publish(f->sender, message) : -1;
}

static const char *publisher(void *owner, const char *vehicle_id)
{
	const struct flows *f = owner;
	return siblings_reader(f->options.siblings, topic_feed(vehicle_id));
}

static bool hand_over(void *owner, const struct claim *claim)
{
	const struct flows *f = owner;
	return siblings_hand_over(f->options.siblings, claim->worker, claim);
}

static void on_claim(void *owner, const struct claim *claim)
{
	struct flows *f = owner;
	dispatch_publish(f->dispatch, claim);
}

static void disprove(void *owner, const char *vehicle_id, const char *session)
{
	const struct flows *f = owner;
	reachability_disprove(f->reachability, vehicle_id, session);
}

static void prove(void *owner, const struct batch_fence *fence, const char *vehicle_id, struct receipt *receipt)
{
	const struct flows *f = owner;
	reachability_prove(f->reachability, fence, vehicle_id, feed_is_behind(fence), receipt);
}

static void report_state(
	void *owner, const struct batch_fence *fence, const struct codec_response *response, struct receipt *receipt)
{
	const struct flows *f = owner;
	shadow_report(f->shadow, fence,
		&(struct state_report){ .vehicle_id = response->vehicle_id,
			.patch = response->state,
			.version = response->state_version,
			.command_id = response->id,
			.answer = response->event },
		receipt);
}

static bool forward(void *owner, const char *worker, const char *text, size_t len)
{
	const struct flows *f = owner;
	if (siblings_tell(f->options.siblings, worker, text, len, hub_is_access(text, len))) {
		metric_add(METRIC_EVENTS_FORWARDED, 1);
		return true;
	}
	return f->sender && sender_forward(f->sender, worker, text, len);
}

static void forged(void *owner, const char *vehicle_id)
{
	struct flows *f = owner;
	detection_forged(f->api, vehicle_id);
}

static void given(void *owner, const struct hub_event *event)
{
	struct flows *f = owner;
	traces_note_fan_out(f->traces, event);
}

static bool hears_nobody(void *owner)
{
	const struct flows *f = owner;
	return f->sender && sender_hears_nobody(f->sender);
}

/* Whether it was restarted or the line alone was lost cannot be told. */
static bool was_lost(void *owner, int64_t *lost_ms, int64_t *back_ms)
{
	const struct flows *f = owner;
	int64_t now_ms = loop_monotonic_ms(f->loop);

	*lost_ms = now_ms - f->lost_ms;
	*back_ms = f->is_up ? now_ms - f->up_ms : 0;
	return f->lost_ms > 0;
}

static void on_webhook_disabled(void *owner, const char *vehicle_id, const char *data)
{
	const struct flows *f = owner;
	alerts_tell_disabled(f->alerts, vehicle_id, data);
}

static void make_webhooks(struct flows *f)
{
	const struct config *config = f->options.config;

	if (!f->options.keeps_house)
		return;
	f->webhooks = webhooks_new(f->loop, &(struct webhooks_options){
						    .database_url = config->database.url,
						    .synchronous = config->database.synchronous,
						    .anywhere = config->webhooks.anywhere,
						    .timeout_ms = config->webhooks.timeout_ms,
						    .retry_first_ms = config->webhooks.retry_first_ms,
						    .retry_max_ms = config->webhooks.retry_max_ms,
						    .retry_for_ms = config->webhooks.retry_for_ms,
						    .kept_ms = config->retention.deliveries_ms,
						    .key = config->webhooks.key,
						    .old_key = config->webhooks.old_key,
						    .owner = f,
						    .on_disabled = on_webhook_disabled,
					    });
}

/* What a command goes through, from the app to the vehicle and back. */
static void make_command_flows(struct flows *f)
{
	const struct config *config = f->options.config;

	f->ports = (struct command_ports){
		.owner = f,
		.can_publish = can_publish,
		.publisher = publisher,
		.hand_over = hand_over,
		.publish = publish,
		.disprove = disprove,
		.prove = prove,
		.forged = forged,
		.report_state = report_state,
	};
	f->traces = traces_new(f->loop, config, f->options.node, f->reader, f->options.keeps_house);
	f->dispatch = dispatch_new(f->loop,
		&(struct dispatch_options){
			.db = f->writer, .worker = f->worker, .ports = &f->ports, .records = f->traces != NULL });
	f->accept = accept_new(f->loop, f->writer, f->dispatch, config->limits.queue_per_vehicle);
	f->sampler = (struct trace_sampler){ (enum trace_sampler_kind)config->tracing.sampler, config->tracing.ratio };
	if (f->traces)
		accept_sample(f->accept, &f->sampler);
	f->cancel = cancel_new();
	f->answer = answer_new(f->loop, f->writer, &f->ports, f->dispatch);
	f->deadline = deadline_new(f->loop, f->reader, f->worker, f->dispatch);
}

static void make_waking(struct flows *f)
{
	f->wake_ports = (struct wake_ports){
		.owner = f,
		.can_publish = can_publish,
		.hears_nobody = hears_nobody,
		.was_lost = was_lost,
	};
	f->waking = waking_new(f->loop, &(struct waking_options){
						.config = f->options.config,
						.writer = f->writer,
						.reader = f->reader,
						.ports = &f->wake_ports,
						.enabled = f->options.wake_enabled,
						.worker = f->worker,
						.node = f->options.node,
					});
}

static void make_flows(struct flows *f)
{
	const struct config *config = f->options.config;

	make_command_flows(f);
	f->reachability = reachability_new(f->loop, &(struct reachability_options){
							    .writer = f->writer,
							    .reader = f->reader,
							    .source = &f->source,
							    .worker = f->worker,
							    .verify_delay_ms = config->lifecycle.verify_delay_ms,
							    .return_delay_ms = config->lifecycle.return_delay_ms,
						    });
	f->shadow = shadow_new();
	f->changes = changes_new(config->database.synchronous);
	f->hub = hub_new(f->loop, &(struct hub_options){
					  .worker = f->worker,
					  .writer = f->writer,
					  .reader = f->reader,
					  .synchronous = config->database.synchronous,
					  .owner = f,
					  .forward = forward,
					  .given = f->traces ? given : NULL,
				  });
	make_waking(f);
	if (f->options.keeps_house) {
		f->batches = fleet_batches_new(f->loop, &(struct fleet_batch_options){ .db = f->reader,
								.accept = f->accept,
								.cancel = f->cancel,
								.worker = f->worker,
								.node = f->options.node });
		f->house = house_new(f->loop, f->reader, config);
	}
	f->alerts = alerts_new();
	f->refused = refused_new();
	make_webhooks(f);
	f->notices = notices_new(f->loop, f->reader);
	f->retained = retained_new(f->loop, &(struct retained_options){ .db = f->reader,
						    .namespace = config->namespace,
						    .owner = f,
						    .can_publish = can_publish,
						    .publish = publish });
	f->resync = resync_new(f->loop, &(struct resync_options){
						.prefix = config->lifecycle.prefix,
						.namespace = config->namespace,
						.reachability = f->reachability,
						.owner = f,
						.is_link_up = is_link_up,
						.publish = publish,
					});
	f->revocation = revocation_new(f->loop, f->writer, f->reader, f->hub);
}

static void fill_api(struct flows *f)
{
	f->api->hub = f->hub;
	f->api->batch = f->batch;
	f->api->writer = f->writer;
	f->api->reader = f->reader;
	f->api->accept = f->accept;
	f->api->cancel = f->cancel;
	f->api->changes = f->changes;
	f->api->wake = waking_flow(f->waking);
	f->api->revocation = f->revocation;
	f->api->alerts = f->alerts;
	f->api->raise = alerts_raise;
	f->api->raise_fleet = hub_tell_alert;
	f->api->refused = f->refused;
	f->api->note_refused = refused_note;
	f->api->note_refused_read = refused_note_read;
}

void flows_start(struct flows *f)
{
	db_start(f->writer);
	db_start(f->reader);
	if (f->webhooks)
		webhooks_start(f->webhooks);
}

/* The database. */

static bool is_connected(const struct flows *f)
{
	return db_is_up(f->writer) && db_is_up(f->reader);
}

bool flows_has_database(const struct flows *f)
{
	return is_connected(f) && !db_is_silent(f->writer) && !db_is_silent(f->reader) &&
	       !batch_is_in_trouble(f->batch) && !(f->leases && lease_is_refused(f->leases));
}

static void on_trouble(void *owner)
{
	struct flows *f = owner;

	if (batch_is_in_trouble(f->batch))
		probe_start(f->probe);
	f->options.on_neighbour(f->options.owner);
}

/* Interest is unlogged: it may be gone after any reconnect, and what came meanwhile was not told. */
static void on_database_up(void *owner, struct db *db)
{
	struct flows *f = owner;

	f->options.on_neighbour(f->options.owner);
	if (db == f->reader && f->leases)
		lease_on_connection(f->leases, true);
	if (!is_connected(f) || f->drain != RUNNING)
		return;
	if (f->sender) {
		hub_resync(f->hub);
		return;
	}
	struct db_unit *unit = db_unit_new(f->reader, on_installation, f);
	db_unit_add(unit, &SQL_installation);
	f->units++;
	db_unit_submit(unit);
}

static void on_database_down(void *owner, struct db *db)
{
	struct flows *f = owner;

	f->has_lost_reader = f->has_lost_reader || db == f->reader;
	if (db == f->reader && f->leases)
		lease_on_connection(f->leases, false);
	f->options.on_neighbour(f->options.owner);
}

static void on_database_silence(void *owner, struct db *db)
{
	struct flows *f = owner;

	(void)db;
	f->options.on_neighbour(f->options.owner);
}

static void on_installation(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct flows *f = context;

	f->units--;
	if (fault || f->sender || f->drain != RUNNING)
		return; /* the next connection asks again */
	snprintf(f->installation, sizeof(f->installation), "%s", db_text(unit, 0, 0, 0));
	connect_broker(f);
	deadline_start(f->deadline);
	reachability_start(f->reachability);
	revocation_start(f->revocation);
	if (f->traces)
		traces_start(f->traces);
	if (f->options.keeps_house) {
		waking_start(f->waking);
		fleet_batches_start(f->batches);
		house_start(f->house);
	}
}

/* The broker: the send link. */

bool flows_has_broker(const struct flows *f)
{
	return f->sender && sender_is_up(f->sender) && !sender_is_silent(f->sender);
}

static void on_silence(void *owner)
{
	struct flows *f = owner;
	f->options.on_neighbour(f->options.owner);
}

/* What was accepted meanwhile is claimed by nobody, and what dead workers had claimed may be due. */
static void on_return(void *owner)
{
	struct flows *f = owner;
	if (can_publish(f))
		deadline_on_return(f->deadline);
}

static void on_sender_up(void *owner)
{
	struct flows *f = owner;
	f->is_up = true;
	f->up_ms = loop_monotonic_ms(f->loop);
	f->options.on_neighbour(f->options.owner);
	hub_resync(f->hub);
	retained_on_link_up(f->retained);
	on_return(f);
	resync_on_link_up(f->resync);
}

static void on_sender_down(void *owner)
{
	struct flows *f = owner;
	if (f->is_up)
		f->lost_ms = loop_monotonic_ms(f->loop);
	f->is_up = false;
	f->options.on_neighbour(f->options.owner);
	dispatch_on_link_down(f->dispatch);
	retained_on_link_down(f->retained);
}

static void on_puback(void *owner, int mid, int reason)
{
	struct flows *f = owner;
	dispatch_on_puback(f->dispatch, mid, reason);
	retained_on_puback(f->retained, mid, reason);
}

static void on_mark(void *owner, const char *text, size_t len)
{
	struct flows *f = owner;
	retained_on_mark(f->retained, text, len);
}

static void on_inbox(void *owner, const char *text, size_t len)
{
	struct flows *f = owner;
	sibling_hear(f->sibling); /* an access.changed among it ends what this may go to */
	hub_receive(f->hub, text, len);
}

static void on_events(void *owner, const char *text, size_t len)
{
	struct flows *f = owner;
	hub_receive(f->hub, text, len);
}

/* What it had not yet forwarded is in the table. */
static void on_worker_gone(void *owner, const char *worker)
{
	struct flows *f = owner;
	hub_resync(f->hub);
	lease_on_will(f->leases, worker);
}

static void on_foreign(void *owner)
{
	struct flows *f = owner;
	f->options.on_fatal(f->options.owner);
}

/* The broker: feeds. */

static bool is_lifecycle(const char *feed)
{
	return strcmp(feed, "feed/lifecycle") == 0;
}

/* A state report proves that its vehicle is there. */
static void receive_state(
	struct flows *f, const struct batch_fence *fence, const struct mqtt_message *m, struct receipt *receipt)
{
	char vehicle_id[65];
	if (shadow_receive(f->shadow, fence, m, receipt, vehicle_id))
		prove(f, fence, vehicle_id, receipt);
}

static void receive_end(
	struct flows *f, const struct batch_fence *fence, const struct mqtt_message *m, struct receipt *receipt)
{
	if (reachability_resync_end(f->reachability, fence, m, receipt))
		resync_on_answer(f->resync);
}

static void on_message(
	void *owner, const struct batch_fence *fence, const struct mqtt_message *m, struct receipt *receipt)
{
	struct flows *f = owner;
	struct lifecycle_refusal refusal;

	if (resync_is_end(f->resync, m))
		receive_end(f, fence, m, receipt);
	else if (is_lifecycle(fence->lease) && lifecycle_refusal_read(&f->source, m, &refusal))
		detection_connect(f->api, &refusal);
	else if (is_lifecycle(fence->lease))
		reachability_receive(f->reachability, fence, m, receipt);
	else if (strstr(m->topic, "/commands/response/") || strcmp(fence->lease, "feed/aws-commands") == 0)
		answer_receive(f->answer, fence, m, receipt);
	else
		receive_state(f, fence, m, receipt);
}

static void on_feed_subscribed(void *owner, const struct batch_fence *fence, bool session_present)
{
	struct flows *f = owner;

	if (is_lifecycle(fence->lease) && f->source.broker != LIFECYCLE_VEHICLES)
		resync_on_subscribed(f->resync, session_present);
}

static struct feed *find_feed(const struct flows *f, const char *name)
{
	for (size_t i = 0; i < f->feed_count; i++) {
		if (strcmp(feed_name(f->feeds[i]), name) == 0)
			return f->feeds[i];
	}
	return NULL;
}

/* The lifecycle and the plain state topics have no number: no answer comes there. */
static void on_feed_reading(void *owner, const struct feed *feed, bool is_reading)
{
	struct flows *f = owner;
	unsigned number;

	if (sscanf(feed_name(feed), "feed/%u", &number) == 1 && number < FEED_COUNT)
		sibling_reads(f->sibling, number, is_reading);
}

/* Where it is not the feed's alone, it is said already what the node lacks. */
static void on_feed_unheard(void *owner, const struct feed *feed)
{
	const struct flows *f = owner;

	if (flows_has_broker(f) && flows_has_database(f))
		log_warn("feed", "it is held and not heard", LOG_TEXT("feed", feed_name(feed)));
}

static void on_feed_closed(void *owner)
{
	struct flows *f = owner;
	f->feeds_closing--;
}

/* What one worker does for all nodes is done by the reader of the lifecycle feed. */
static void keep_for_all(struct flows *f, const char *feed, bool held)
{
	if (!is_lifecycle(feed))
		return;
	retained_on_lease(f->retained, held);
	resync_on_lease(f->resync, held);
	if (held)
		notices_start(f->notices);
	else
		notices_stop(f->notices);
}

static void close_feed(struct flows *f, struct feed *feed)
{
	keep_for_all(f, feed_name(feed), false);
	for (size_t i = 0; i < f->feed_count; i++) {
		if (f->feeds[i] != feed)
			continue;
		f->feeds[i] = f->feeds[--f->feed_count];
		f->feeds_closing++;
		feed_close(feed, on_feed_closed);
		return;
	}
}

static void on_fenced(void *owner, struct feed *feed)
{
	struct flows *f = owner;
	log_warn("feed", "another worker holds it by now", LOG_TEXT("feed", feed_name(feed)));
	lease_forget(f->leases, feed_name(feed));
	close_feed(f, feed);
}

static void on_taken(void *owner, const char *name, int64_t epoch)
{
	struct flows *f = owner;
	struct feed_options options = {
		.broker = f->options.broker,
		.namespace = f->options.config->namespace,
		.lifecycle = &f->source,
		.worker = f->worker,
		.reader = f->reader,
		.owner = f,
		.on_message = on_message,
		.on_subscribed = on_feed_subscribed,
		.on_reading = on_feed_reading,
		.on_unheard = on_feed_unheard,
		.on_fenced = on_fenced,
	};

	if (f->feed_count == FEEDS_MAX)
		return; /* there are 35 in all */
	struct feed *feed = f->feeds[f->feed_count++] = feed_new(f->loop, &options, name, epoch);
	feed_start(feed);
	keep_for_all(f, name, true);
}

static void on_dropped(void *owner, const char *name)
{
	struct flows *f = owner;
	struct feed *feed = find_feed(f, name);

	if (feed)
		close_feed(f, feed);
}

static void on_lapsed(void *owner)
{
	struct flows *f = owner;
	log_warn("lease", "this worker's own lease had lapsed", LOG_TEXT("worker", f->worker));
	hub_resync(f->hub);
}

static void on_death(void *owner)
{
	struct flows *f = owner;
	deadline_on_death(f->deadline);
}

static void on_lease_refused(void *owner)
{
	struct flows *f = owner;
	f->options.on_neighbour(f->options.owner);
}

static void connect_broker(struct flows *f)
{
	f->sender = sender_new(f->loop, &(struct sender_options){
						.broker = f->options.broker,
						.namespace = f->options.config->namespace,
						.worker = f->worker,
						.installation = f->installation,
						.owner = f,
						.on_up = on_sender_up,
						.on_down = on_sender_down,
						.on_silence = on_silence,
						.on_puback = on_puback,
						.on_inbox = on_inbox,
						.on_mark = on_mark,
						.on_worker_gone = on_worker_gone,
						.on_foreign = on_foreign,
					});
	f->leases = lease_new(f->loop, f->reader,
		&(struct lease_options){
			.worker = f->worker,
			.node = f->options.node,
			.node_workers = f->options.node_workers,
			.has_lost = f->has_lost_reader,
			.owner = f,
			.on_taken = on_taken,
			.on_dropped = on_dropped,
			.on_lapsed = on_lapsed,
			.on_alive = on_return,
			.on_death = on_death,
			.on_refused = on_lease_refused,
		});
	sender_start(f->sender);
	lease_start(f->leases);
}

/* Draining: a step at a time, looked at every few milliseconds. */

static void on_leases_ended(void *owner)
{
	struct flows *f = owner;
	f->drain = RECORDING;
}

static void on_database_closed(void *owner)
{
	struct flows *f = owner;
	if (--f->databases == 0)
		f->drain = DRAINED;
}

static void on_sender_closed(void *owner)
{
	struct flows *f = owner;
	f->sender = NULL;
	f->drain = CLOSING_DATABASE;
	db_close(f->writer, on_database_closed);
	db_close(f->reader, on_database_closed);
}

void flows_drain(struct flows *f, void (*on_drained)(void *owner))
{
	f->on_drained = on_drained;
	f->drain = HANDING_OVER;
	sibling_leave(f->sibling);
	resync_stop(f->resync);
	probe_stop(f->probe);
	deadline_stop(f->deadline);
	reachability_stop(f->reachability);
	waking_stop(f->waking);
	revocation_stop(f->revocation);
	if (f->traces)
		traces_stop(f->traces);
	if (f->batches)
		fleet_batches_stop(f->batches);
	if (f->house)
		house_stop(f->house);
	if (f->webhooks)
		webhooks_stop(f->webhooks);
	if (f->leases)
		lease_end(f->leases, on_leases_ended);
	else
		f->drain = RECORDING;
	loop_timer_start(&f->look, 0);
}

static bool is_quiet(const struct flows *f)
{
	return f->feeds_closing == 0 && f->feed_count == 0 && waking_is_quiet(f->waking) && f->units == 0 &&
	       probe_is_quiet(f->probe) && batch_is_idle(f->batch) && dispatch_in_hand(f->dispatch) == 0 &&
	       hub_is_quiet(f->hub) && revocation_is_quiet(f->revocation) &&
	       (!f->batches || fleet_batches_is_quiet(f->batches)) && (!f->house || house_is_quiet(f->house)) &&
	       (!f->webhooks || webhooks_is_quiet(f->webhooks)) && notices_is_quiet(f->notices) &&
	       retained_is_quiet(f->retained) && traces_is_quiet(f->traces) && db_in_flight(f->reader) == 0 &&
	       db_in_flight(f->writer) == 0;
}

static void on_look(struct loop_timer *timer)
{
	struct flows *f = container_of(timer, struct flows, look);

	if (f->drain == RECORDING && is_quiet(f)) {
		f->drain = CLOSING_LINK;
		hub_stop(f->hub);
		if (f->sender)
			sender_close(f->sender, on_sender_closed);
		else
			on_sender_closed(f);
	}
	if (f->drain == DRAINED)
		f->on_drained(f->options.owner);
	else
		loop_timer_start(timer, DRAIN_LOOK_MS);
}
