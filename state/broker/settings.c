/* settings.c - reads the plugin's options by a table: a row an option, with its default and its test. */
#include "state/broker/settings.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static bool is_prefix(const char *);
static bool is_namespace(const char *);
static bool is_given(const char *);

static const struct option {
	const char *key;
	const char *preset;
	size_t field;
	bool (*is_usable)(const char *);
	const char *must;
} options[] = {
	{ "prefix", "$aws/events", offsetof(struct settings, prefix), is_prefix,
		"must be a topic of at most 128 characters outside vehicles/ and $aws/commands/, without wildcards or "
		"an outer slash" },
	{ "namespace", "keyfob", offsetof(struct settings, name_space), is_namespace,
		"must be 1 to 32 letters, digits, '.', '_' or '-'" },
	{ "gateway", "keyfob", offsetof(struct settings, gateway), is_given, "must not be empty" },
	{ "state_file", NULL, offsetof(struct settings, state_file), is_given, "must not be empty" },
};

#define OPTION_COUNT (sizeof options / sizeof *options)

static bool options_are_known(const struct mosquitto_opt *given, int count);
static const char *value_of(const struct option *, const struct mosquitto_opt *given, int count);

bool settings_read(struct settings *s, const struct mosquitto_opt *given, int count)
{
	*s = (struct settings){ 0 };
	if (!options_are_known(given, count))
		return false;
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const char *value = value_of(&options[i], given, count);
		if (!value)
			continue;
		if (!options[i].is_usable(value)) {
			mosquitto_log_printf(MOSQ_LOG_ERR, "keyfob: plugin_opt_%s %s", options[i].key, options[i].must);
			return false;
		}
		char *copy = strdup(value);
		if (!copy)
			abort();
		*(char **)(void *)((char *)s + options[i].field) = copy;
	}
	return true;
}

void settings_done(struct settings *s)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		free(*(char **)(void *)((char *)s + options[i].field));
	*s = (struct settings){ 0 };
}

/* A misspelt option would silently leave its default in force, and with it other people's client ids: refuse it. */
static bool options_are_known(const struct mosquitto_opt *given, int count)
{
	for (int i = 0; i < count; i++) {
		size_t row = 0;
		while (row < OPTION_COUNT && strcmp(options[row].key, given[i].key) != 0)
			row++;
		if (row == OPTION_COUNT) {
			mosquitto_log_printf(MOSQ_LOG_ERR, "keyfob: there is no plugin_opt_%s", given[i].key);
			return false;
		}
	}
	return true;
}

static const char *value_of(const struct option *option, const struct mosquitto_opt *given, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(option->key, given[i].key) == 0)
			return given[i].value ? given[i].value : "";
	return option->preset;
}

static bool is_at_or_below(const char *topic, const char *root)
{
	size_t len = strlen(root);
	return strncmp(topic, root, len) == 0 && (topic[len] == '\0' || topic[len] == '/');
}

/* Where vehicles may write a prefix would let them forge events, and above that keep the gateway from its requests. */
static bool is_prefix(const char *text)
{
	size_t len = strlen(text);
	return len > 0 && len <= PREFIX_MAX && !strpbrk(text, "+#") && text[0] != '/' && text[len - 1] != '/' &&
	       !is_at_or_below(text, "vehicles") && !is_at_or_below(text, "$aws/commands") && strcmp(text, "$aws") != 0;
}

static bool is_namespace(const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(text);
	return len > 0 && len <= NAMESPACE_MAX && strspn(text, letters) == len;
}

static bool is_given(const char *text)
{
	return *text != '\0';
}
