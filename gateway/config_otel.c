/* config_otel.c - a row a variable (OpenTelemetry, "Environment Variable Specification", "OpenTelemetry Protocol Exporter"). Where
 * several rows are about one setting, the last that is set counts. */
#include "gateway/config_otel.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "gateway/config_environment.h"
#include "gateway/config_error.h"
#include "gateway/config_lists.h"
#include "gateway/document.h"

struct laying {
	struct document *doc;
	struct texts *warnings;
	struct config_error *error;
};

/* The setting's value; NULL: none, and where that is an error, it is set. */
typedef struct value *read_variable(const struct laying *, const char *name, const char *text);

static read_variable as_it_is, as_base_url, as_milliseconds, as_pairs, as_sampler, as_exporter, as_off, as_protocol;

static const struct row {
	const char *name, *path;
	read_variable *read;
} rows[] = {
	{ "OTEL_EXPORTER_OTLP_ENDPOINT", "tracing.endpoint", as_base_url },
	{ "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tracing.endpoint", as_it_is },
	{ "OTEL_TRACES_EXPORTER", "tracing.endpoint", as_exporter },
	{ "OTEL_SDK_DISABLED", "tracing.endpoint", as_off },
	{ "OTEL_EXPORTER_OTLP_HEADERS", "tracing.headers", as_pairs },
	{ "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "tracing.headers", as_pairs },
	{ "OTEL_EXPORTER_OTLP_TIMEOUT", "tracing.timeout", as_milliseconds },
	{ "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "tracing.timeout", as_milliseconds },
	{ "OTEL_EXPORTER_OTLP_PROTOCOL", "", as_protocol },
	{ "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "", as_protocol },
	{ "OTEL_BSP_SCHEDULE_DELAY", "tracing.delay", as_milliseconds },
	{ "OTEL_SERVICE_NAME", "tracing.service_name", as_it_is },
	{ "OTEL_RESOURCE_ATTRIBUTES", "tracing.resource", as_pairs },
	{ "OTEL_TRACES_SAMPLER", "tracing.sampler", as_sampler },
	{ "OTEL_TRACES_SAMPLER_ARG", "tracing.ratio", as_it_is },
};

static const char *text_of(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (char *const *variable = environment; variable && *variable; variable++) {
		if (strncmp(*variable, name, len) == 0 && (*variable)[len] == '=')
			return *variable + len + 1;
	}
	return "";
}

bool config_lay_otel(struct document *doc, struct value *root, char *const *environment, struct texts *warnings,
	struct config_error *error)
{
	const struct laying laying = { doc, warnings, error };

	error->line[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *text = text_of(environment, rows[i].name);
		struct value *v = *text ? rows[i].read(&laying, rows[i].name, text) : NULL;
		if (error->line[0])
			return false;
		if (v && !value_put(doc, root, rows[i].path, v)) {
			config_error_set(error, rows[i].name, 0, rows[i].path,
				"the file has something else than a map of keys above it");
			return false;
		}
	}
	return true;
}

static void warn(const struct laying *l, const char *name, const char *why)
{
	char sentence[160];

	snprintf(sentence, sizeof(sentence), "%s %s", name, why);
	config_warn(l->doc, l->warnings, sentence);
}

static struct value *as_it_is(const struct laying *l, const char *name, const char *text)
{
	return document_bare(l->doc, name, document_keep_text(l->doc, text, strlen(text)));
}

static struct value *with_suffix(
	const struct laying *l, const char *name, const char *text, size_t len, const char *suffix)
{
	struct text whole = { 0 };

	text_add_bytes(&whole, text, len);
	text_add(&whole, suffix);
	struct value *v = as_it_is(l, name, whole.data);
	text_free(&whole);
	return v;
}

/* The path of the traces is relative to it. */
static struct value *as_base_url(const struct laying *l, const char *name, const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '/')
		len--;
	return with_suffix(l, name, text, len, "/v1/traces");
}

static struct value *as_milliseconds(const struct laying *l, const char *name, const char *text)
{
	return with_suffix(l, name, text, strlen(text), "ms");
}

static int digit_of(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return !at ? -1 : at - digits < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
}

/* Percent-encoded, as in a W3C Baggage header; blanks around do not count. */
static json_t *decoded(const char *text, size_t len)
{
	struct text out = { 0 };

	while (len > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		len--;
	}
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	for (size_t i = 0; i < len; i++) {
		bool is_encoded =
			text[i] == '%' && i + 2 < len && digit_of(text[i + 1]) >= 0 && digit_of(text[i + 2]) >= 0;
		char c = is_encoded ? (char)(digit_of(text[i + 1]) * 16 + digit_of(text[i + 2])) : text[i];
		text_add_bytes(&out, &c, 1);
		i += is_encoded ? 2 : 0;
	}
	json_t *decoded = json_stringn(out.data ? out.data : "", out.len);
	text_free(&out);
	return decoded;
}

/* key=value,key=value. The value may be a secret, and is not quoted. */
static struct value *as_pairs(const struct laying *l, const char *name, const char *text)
{
	json_auto_t *map = memory_need(json_object());

	for (const char *at = text; *at;) {
		size_t len = strcspn(at, ","), key_len = strcspn(at, "=,");
		json_auto_t *key = decoded(at, key_len);
		json_auto_t *value = key_len < len ? decoded(at + key_len + 1, len - key_len - 1) : NULL;
		bool is_pair = key && value && json_string_length(key) > 0;
		if (is_pair)
			json_object_set(map, json_string_value(key), value);
		if (len > 0 && !is_pair) {
			config_error_set(l->error, name, 0, "", "must be key=value, with commas between");
			return NULL;
		}
		at += len + (at[len] == ',');
	}
	char *json = memory_need(json_dumps(map, JSON_COMPACT));
	struct value *v = document_read_json(l->doc, name, json, l->error);
	free(json);
	return v;
}

/* A name that another kind of exporter knows is no reason not to start. */
static struct value *as_sampler(const struct laying *l, const char *name, const char *text)
{
	static const char *const known[] = { "always_on", "always_off", "traceidratio", "parentbased_always_on",
		"parentbased_always_off", "parentbased_traceidratio" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(text, known[i]) == 0)
			return as_it_is(l, name, text);
	}
	warn(l, name, "names a sampler that is not known here and is ignored");
	return NULL;
}

static struct value *nothing(const struct laying *l, const char *name)
{
	return as_it_is(l, name, "null");
}

static struct value *as_exporter(const struct laying *l, const char *name, const char *text)
{
	if (strcmp(text, "none") == 0)
		return nothing(l, name);
	if (strcmp(text, "otlp") != 0)
		warn(l, name, "names an exporter that is not known here and is ignored");
	return NULL;
}

static struct value *as_off(const struct laying *l, const char *name, const char *text)
{
	return strcmp(text, "true") == 0 ? nothing(l, name) : NULL;
}

static struct value *as_protocol(const struct laying *l, const char *name, const char *text)
{
	if (strcmp(text, "http/json") != 0)
		warn(l, name, "is not http/json, which is all that is spoken here");
	return NULL;
}
