/* car.c - a table of what each command changes in the simulated car. */
#include "commands/vehicle/car.h"

#include <string.h>

#include "base/json.h"
#include "base/memory.h"

struct effect {
	const char *command;
	const char *section, *key; /* what of the state it sets … */
	bool value;		   /* … to this */
	bool keeps_params; /* the request's parameters become part of the section: climate.start {temperature_c} */
};

static const struct effect effects[] = {
	{ "doors.lock", "doors", "locked", true, false },
	{ "doors.unlock", "doors", "locked", false, false },
	{ "trunk.open", "trunk", "open", true, false },
	{ "trunk.close", "trunk", "open", false, false },
	{ "windows.open", "windows", "open", true, false },
	{ "windows.close", "windows", "open", false, false },
	{ "climate.start", "climate", "on", true, true },
	{ "climate.stop", "climate", "on", false, false },
	{ "engine.start", "engine", "running", true, false },
	{ "engine.stop", "engine", "running", false, false },
	{ "lights.on", "lights", "on", true, false },
	{ "lights.off", "lights", "on", false, false },
	{ "charging.start", "charging", "active", true, true },
	{ "charging.stop", "charging", "active", false, false },
};

static const struct effect *effect_find(const char *command);
static json_t *effect_patch(const struct effect *, const json_t *params);
static bool is_newer(const struct car *, const json_t *desired);
static char *report_with(const struct car *, json_t *state);
static bool fits(const json_t *state);

json_t *car_factory_state(void)
{
	json_t *state = json_pack("{s{sb}s{sb}s{sb}s{sb}s{sb}s{sb}s{sb}}", "doors", "locked", 1, "trunk", "open", 0,
		"windows", "open", 0, "climate", "on", 0, "engine", "running", 0, "lights", "on", 0, "charging",
		"active", 0);
	return memory_need(state);
}

void car_init(struct car *car, json_t *factory_state, int64_t unix_us)
{
	*car = (struct car){ .reported = json_incref(factory_state), .version = unix_us / 1000, .desired_version = -1 };
}

void car_done(struct car *car)
{
	json_decref(car->reported);
	car->reported = NULL;
}

char *car_report(const struct car *car)
{
	return report_with(car, car->reported);
}

json_t *car_execute(struct car *car, const char *name, const json_t *params)
{
	const struct effect *effect = effect_find(name);
	if (effect == NULL)
		return NULL;

	json_auto_t *intended = effect_patch(effect, params);
	json_t *after = json_merge_patch(car->reported, intended);
	json_t *changed = fits(after) ? json_merge_diff(car->reported, after) : NULL;
	if (changed == NULL) {
		json_decref(after);
		return NULL;
	}
	json_decref(car->reported);
	car->reported = after;
	car->version++;
	return changed;
}

/* The report holds the whole state, so that it also carries what an overtaken answer said, and beside it the nulls of
 * the desired state: they tell which members are gone. */
char *car_adopt(struct car *car, const json_t *desired)
{
	json_t *wanted = json_object_get(desired, "state");
	if (!json_is_object(wanted) || !is_newer(car, desired))
		return NULL;
	json_t *after = json_merge_patch(car->reported, wanted);
	if (!fits(after)) {
		json_decref(after);
		return NULL;
	}
	json_decref(car->reported);
	car->reported = after;
	car->desired_version = (int64_t)json_integer_value(json_object_get(desired, "version"));
	car->version++;

	json_auto_t *told = json_deep_copy(after);
	json_object_update_recursive(told, wanted);
	return report_with(car, told);
}

void car_raise_version(struct car *car)
{
	car->version++;
}

static const struct effect *effect_find(const char *command)
{
	for (size_t i = 0; i < sizeof(effects) / sizeof(effects[0]); i++)
		if (strcmp(effects[i].command, command) == 0)
			return &effects[i];
	return NULL;
}

static json_t *effect_patch(const struct effect *effect, const json_t *params)
{
	json_t *section = effect->keeps_params && json_is_object(params) ? json_deep_copy(params) : json_object();
	json_object_set_new(section, effect->key, json_boolean(effect->value));
	return json_pack("{so}", effect->section, section);
}

/* An equal version is adopted again: the broker repeats the retained message at each subscribe, and the report that
 * answered the last one may have been lost. */
static bool is_newer(const struct car *car, const json_t *desired)
{
	const json_t *version = json_object_get(desired, "version");
	return json_is_integer(version) && json_integer_value(version) >= car->desired_version;
}

static char *report_with(const struct car *car, json_t *state)
{
	json_auto_t *report = json_pack("{sIsO}", "version", (json_int_t)car->version, "state", state);
	return json_canonical(report);
}

static bool fits(const json_t *state)
{
	return json_dumpb(state, NULL, 0, JSON_COMPACT) <= CAR_STATE_MAX;
}
