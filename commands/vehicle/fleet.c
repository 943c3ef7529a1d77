/* fleet.c - makes the vehicles, wakes them and puts them to rest, and says how the fleet as a whole is doing. */
#include "commands/vehicle/fleet.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "commands/vehicle/car.h"
#include "commands/vehicle/gate.h"
#include "commands/vehicle/journal.h"
#include "commands/vehicle/smsc.h"
#include "commands/vehicle/vehicle.h"

#define COMPLAINT_MS_MIN 5000

struct fleet {
	struct loop *loop;
	struct fleet_options options;
	struct gate gate;
	json_t *factory_state;
	struct vehicle **vehicles;

	/* that all were online is worth a line; so is trouble, but not one for each of thousands */
	size_t ready;
	int64_t woken_at_ms;
	int64_t complained_at_ms;
	size_t lost;

	struct loop_soon closing;
	void (*on_closed)(void *owner);
	void *owner;
};

static struct vehicle *make_vehicle(struct fleet *, size_t index);
static char *username_of(const char *pattern, const char *id);
static void on_ready(void *owner, struct vehicle *);
static void on_lost(void *owner, struct vehicle *, const char *reason);
static bool wake_named(struct fleet *, const char *word, size_t len, const struct smsc_sms *);
static void on_resting(void *owner, struct vehicle *);
static void close_when_all_rest(struct loop_soon *);

struct fleet *fleet_new(struct loop *loop, const struct fleet_options *options)
{
	assert(options->count >= 1 && options->count <= FLEET_SIZE_MAX);
	struct fleet *fleet = memory_new(sizeof(*fleet));
	fleet->loop = loop;
	fleet->options = *options;
	fleet->factory_state = car_factory_state();
	fleet->complained_at_ms = loop_monotonic_ms(loop) - COMPLAINT_MS_MIN;
	gate_init(&fleet->gate, FLEET_CONNECTS_AT_ONCE);
	loop_soon_init(&fleet->closing, close_when_all_rest);

	fleet->vehicles = memory_new(options->count * sizeof(*fleet->vehicles));
	for (size_t i = 0; i < options->count; i++)
		fleet->vehicles[i] = make_vehicle(fleet, i);
	return fleet;
}

static struct vehicle *make_vehicle(struct fleet *fleet, size_t index)
{
	const struct fleet_options *options = &fleet->options;
	struct text id = { 0 };
	if (options->id != NULL)
		text_add(&id, options->id);
	else
		text_addf(&id, "%s%05zu", options->prefix, index + 1);

	struct mqtt_broker broker = options->broker;
	char *username = username_of(options->username, id.data);
	broker.username = username;
	struct vehicle *vehicle = vehicle_new(&(struct vehicle_options){
		.loop = fleet->loop,
		.id = id.data,
		.broker = broker,
		.gate = &fleet->gate,
		.manner = &fleet->options.manner,
		.journal = options->journal,
		.factory_state = fleet->factory_state,
		.flap_ms = options->flap_ms,
		.awake_for_ms = options->awake_for_ms,
		.tells_itself = options->tells_itself,
		.flap_phase_ms = options->flap_ms * (int64_t)index / (int64_t)options->count,
		.owner = fleet,
		.on_ready = on_ready,
		.on_lost = on_lost,
		.on_resting = on_resting,
	});
	free(username);
	text_free(&id);
	return vehicle;
}

static char *username_of(const char *pattern, const char *id)
{
	struct text name = { 0 };
	const char *rest = pattern != NULL ? pattern : "{id}";
	for (const char *hit; (hit = strstr(rest, "{id}")) != NULL; rest = hit + strlen("{id}")) {
		text_add_bytes(&name, rest, (size_t)(hit - rest));
		text_add(&name, id);
	}
	text_add(&name, rest);
	return text_take(&name);
}

void fleet_wake(struct fleet *fleet)
{
	if (fleet->on_closed != NULL)
		return;
	fleet->woken_at_ms = loop_monotonic_ms(fleet->loop);
	for (size_t i = 0; i < fleet->options.count; i++)
		vehicle_wake(fleet->vehicles[i]);
}

/* Words are made of what ids are made of; a sentence may end behind one. */
bool fleet_take_sms(struct fleet *fleet, const struct smsc_sms *sms)
{
	static const char of_ids[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
	bool is_ours = false;
	const char *word = sms->text + strcspn(sms->text, of_ids);
	for (size_t len; (len = strspn(word, of_ids)) > 0; word += strcspn(word, of_ids)) {
		is_ours |= wake_named(fleet, word, len, sms) ||
			   (strchr(".:-", word[len - 1]) != NULL && wake_named(fleet, word, len - 1, sms));
		word += len;
	}
	if (!is_ours)
		journal_line(fleet->options.journal, NULL, "sms", NULL, LOG_TEXT("source", sms->source),
			LOG_TEXT("text", sms->text), LOG_TEXT("outcome", "undeliverable"));
	return is_ours;
}

static bool wake_named(struct fleet *fleet, const char *word, size_t len, const struct smsc_sms *sms)
{
	for (size_t i = 0; i < fleet->options.count; i++) {
		struct vehicle *vehicle = fleet->vehicles[i];
		if (strlen(vehicle_id(vehicle)) != len || memcmp(vehicle_id(vehicle), word, len) != 0)
			continue;
		journal_line(fleet->options.journal, vehicle_id(vehicle), "sms", NULL, LOG_TEXT("source", sms->source),
			LOG_TEXT("text", sms->text),
			LOG_TEXT("outcome", vehicle_is_resting(vehicle) ? "woken" : "awake"));
		if (fleet->on_closed == NULL)
			vehicle_wake(vehicle);
		return true;
	}
	return false;
}

static void on_ready(void *owner, struct vehicle *vehicle)
{
	(void)vehicle;
	struct fleet *fleet = owner;
	if (++fleet->ready != fleet->options.count)
		return;
	printf("%zu %s online after %" PRId64 " ms\n", fleet->options.count,
		fleet->options.count == 1 ? "vehicle" : "vehicles",
		loop_monotonic_ms(fleet->loop) - fleet->woken_at_ms);
	fflush(stdout); /* a script may be waiting for it */
}

static void on_lost(void *owner, struct vehicle *vehicle, const char *reason)
{
	(void)vehicle;
	struct fleet *fleet = owner;
	fleet->lost++;
	if (loop_monotonic_ms(fleet->loop) - fleet->complained_at_ms < COMPLAINT_MS_MIN)
		return;
	log_error(
		"fleet", "connections were lost or refused", LOG_INT("times", fleet->lost), LOG_TEXT("reason", reason));
	fleet->complained_at_ms = loop_monotonic_ms(fleet->loop);
	fleet->lost = 0;
}

void fleet_rest(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->options.count; i++)
		vehicle_rest(fleet->vehicles[i]);
}

void fleet_close(struct fleet *fleet, void (*on_closed)(void *owner), void *owner)
{
	assert(on_closed != NULL);
	if (fleet->on_closed != NULL)
		return;
	fleet->on_closed = on_closed;
	fleet->owner = owner;
	fleet_rest(fleet);
	loop_soon_call(fleet->loop, &fleet->closing);
}

static void on_resting(void *owner, struct vehicle *vehicle)
{
	(void)vehicle;
	struct fleet *fleet = owner;
	if (fleet->on_closed != NULL)
		loop_soon_call(fleet->loop, &fleet->closing);
}

/* Asked once a turn of the loop however many came to rest in it. */
static void close_when_all_rest(struct loop_soon *soon)
{
	struct fleet *fleet = container_of(soon, struct fleet, closing);
	for (size_t i = 0; i < fleet->options.count; i++)
		if (!vehicle_is_resting(fleet->vehicles[i]))
			return;
	fleet->on_closed(fleet->owner);
}

void fleet_free(struct fleet *fleet)
{
	if (fleet == NULL)
		return;
	loop_soon_cancel(&fleet->closing);
	for (size_t i = 0; i < fleet->options.count; i++)
		vehicle_free(fleet->vehicles[i]);
	free(fleet->vehicles);
	json_decref(fleet->factory_state);
	free(fleet);
}
