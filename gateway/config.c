/* config.c - reads the configuration: the file, the environment over it, then what concerns several settings. */
#include "gateway/config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/memory.h"
#include "gateway/certificate.h"
#include "gateway/config_environment.h"
#include "gateway/config_otel.h"
#include "gateway/config_syntax.h"
#include "gateway/config_table.h"
#include "gateway/document.h"

/* The snapshot and the document that owns its texts. */
struct snapshot {
	struct config config;
	struct document *doc;
	const struct value *root;
};

/* What the checks below look at. */
struct check {
	const struct config *config;
	const struct value *root;
	struct settings_reading reading;
};

static const struct config *read_anew(
	const char *file, char *const *environment, bool names_only, struct config_error *ret);
static bool read_into(
	struct snapshot *s, const char *file, char *const *environment, bool names_only, struct config_error *error);
static const char *folder_of(struct document *doc, const char *file);
static bool check_listen(struct check *c);
static bool check_tls(struct check *c);
static bool check_issuers(struct check *c);
static bool check_console(struct check *c);
static bool check_providers(struct check *c);

static bool (*const checks[])(
	struct check *) = { check_listen, check_tls, check_issuers, check_console, check_providers };

const struct config *config_read(const char *file, char *const *environment, struct config_error *ret)
{
	return read_anew(file, environment, false, ret);
}

const struct config *config_read_again(const char *file, char *const *environment, struct config_error *ret)
{
	return read_anew(file, environment, true, ret);
}

static const struct config *read_anew(
	const char *file, char *const *environment, bool names_only, struct config_error *ret)
{
	struct snapshot *s = memory_new(sizeof(*s));

	s->doc = document_new();
	if (read_into(s, file, environment, names_only, ret))
		return &s->config;
	config_free(&s->config);
	return NULL;
}

void config_free(const struct config *config)
{
	if (!config)
		return;
	struct snapshot *s = container_of((struct config *)(uintptr_t)config, struct snapshot, config);
	document_free(s->doc);
	free(s);
}

static bool read_into(
	struct snapshot *s, const char *file, char *const *environment, bool names_only, struct config_error *error)
{
	struct value *root = document_read_file(s->doc, file, error);
	struct check check = { &s->config, root, { s->doc, folder_of(s->doc, file), error, names_only } };

	s->root = root;
	if (!root || !config_lay_otel(s->doc, root, environment, &s->config.warnings, error) ||
		!config_lay_environment(s->doc, root, environment, &s->config.warnings, error))
		return false;
	if (!settings_read(&check.reading, &CONFIG_TABLE, root, "", &s->config))
		return false;
	s->config.file = document_keep_text(s->doc, file, strlen(file));
	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++)
		if (!checks[i](&check))
			return false;
	return true;
}

static const char *folder_of(struct document *doc, const char *file)
{
	const char *slash = strrchr(file, '/');

	if (!slash)
		return ".";
	return document_keep_text(doc, file, slash == file ? 1 : (size_t)(slash - file));
}

/* Where to point when a setting does not fit to another: its own line if the file has it. */
static const struct value *place_of(const struct check *c, const char *path)
{
	const struct value *v = value_at(c->root, path);

	return v ? v : c->root;
}

/* A setting that says where to listen. */
struct listened {
	const char *path;
	const struct addresses *addresses;
};

/* Whether who comes to `host` comes to `any` as well. */
static bool covers(const char *any, const char *host)
{
	return strcmp(any, host) == 0 || strcmp(any, "::") == 0 || (strcmp(any, "0.0.0.0") == 0 && !strchr(host, ':'));
}

/* In one setting "[::]" may stand beside "0.0.0.0": who comes by either is served the same. */
static bool meet(const struct address *a, const struct address *b, bool serve_the_same)
{
	if (!a->port || a->port != b->port)
		return false;
	return serve_the_same ? strcmp(a->host, b->host) == 0 : covers(a->host, b->host) || covers(b->host, a->host);
}

static bool is_taken(const struct listened *all, const struct listened *of, size_t n)
{
	for (const struct listened *l = all; l <= of; l++) {
		size_t count = l == of ? n : l->addresses->count;
		for (size_t i = 0; i < count; i++)
			if (meet(&l->addresses->items[i], &of->addresses->items[n], l == of))
				return true;
	}
	return false;
}

/* The workers share their ports (SO_REUSEPORT): of two that are one it would be chance who hears a newcomer. */
static bool check_listen(struct check *c)
{
	const struct config *config = c->config;
	const struct listened all[] = { { "http.listen", &config->http.listen },
		{ "websocket.listen", &config->websocket.listen }, { "admin.listen", &config->admin.listen } };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (size_t n = 0; n < all[i].addresses->count; n++)
			if (is_taken(all, &all[i], n))
				return setting_refuse(&c->reading, place_of(c, all[i].path), all[i].path,
					"has %s, where the node listens already", all[i].addresses->items[n].text);
	return true;
}

static bool check_pair(struct check *c, const char *certificate, const char *key, const char *section)
{
	if (!certificate == !key)
		return true;
	return setting_refuse(&c->reading, place_of(c, section), section,
		"certificate and key belong together: %s is missing", key ? "certificate" : "key");
}

/* Whether TLS can be begun with them is known only when it is tried. */
static bool check_certificate(struct check *c, const char *certificate, const char *key, const char *section)
{
	char why[512];

	if (!check_pair(c, certificate, key, section))
		return false;
	if (!certificate || c->reading.names_only || !certificate_check(certificate, key, why, sizeof(why)))
		return true;
	return setting_refuse(&c->reading, place_of(c, section), section, "cannot be used: %s", why);
}

static bool check_authorities(struct check *c, const char *file, const char *path)
{
	char why[512];

	if (!file || c->reading.names_only || !certificate_check_authorities(file, why, sizeof(why)))
		return true;
	return setting_refuse(&c->reading, place_of(c, path), path, "cannot be used: %s", why);
}

static bool check_tls(struct check *c)
{
	const struct config *config = c->config;

	return check_certificate(c, config->http.tls.certificate, config->http.tls.key, "http.tls") &&
	       check_certificate(c, config->mqtt.tls.certificate, config->mqtt.tls.key, "mqtt.tls") &&
	       check_authorities(c, config->mqtt.tls.ca, "mqtt.tls.ca");
}

static bool check_issuer(struct check *c, const struct value *v, size_t i)
{
	const struct issuer *issuers = c->config->auth.issuers.items;
	char name[64];

	snprintf(name, sizeof(name), "auth.issuers[%zu]", i);
	if (issuers[i].jwks_file && issuers[i].jwks_url)
		return setting_refuse(&c->reading, v, name, "must have at most one of jwks_file and jwks_url");
	if (!issuers[i].jwks_file && !issuers[i].jwks_url && !RULE_KEYS_URL.is(issuers[i].issuer))
		return setting_refuse(&c->reading, v, name,
			"needs jwks_file or jwks_url: its issuer is not %s, whose OpenID configuration could be read",
			RULE_KEYS_URL.what);
	for (size_t k = 0; k < i; k++) {
		if (strcmp(issuers[k].issuer, issuers[i].issuer) == 0)
			return setting_refuse(&c->reading, v, name, "has the same issuer as auth.issuers[%zu]", k);
		if (strcmp(issuers[k].subject_prefix, issuers[i].subject_prefix) == 0)
			return setting_refuse(&c->reading, v, name,
				"has the same subject_prefix as auth.issuers[%zu]; they must differ, else two people "
				"could share a subject",
				k);
	}
	return true;
}

void config_refuse_keys(const struct config *config, size_t issuer, const char *why, struct config_error *ret)
{
	const struct snapshot *s = container_of((struct config *)(uintptr_t)config, struct snapshot, config);
	const struct value *v = value_at(s->root, "auth.issuers")->first, *file;
	struct settings_reading reading = { .doc = s->doc, .error = ret };
	char name[64];

	for (size_t i = 0; i < issuer; i++)
		v = v->next;
	file = value_at(v, "jwks_file");
	snprintf(name, sizeof(name), "auth.issuers[%zu].jwks_file", issuer);
	setting_refuse(&reading, file, name, "names %s, which cannot be used: %s",
		config->auth.issuers.items[issuer].jwks_file, why);
}

static bool check_issuers(struct check *c)
{
	const struct value *list = value_at(c->root, "auth.issuers");
	size_t i = 0;

	for (const struct value *v = list ? list->first : NULL; v; v = v->next, i++)
		if (!check_issuer(c, v, i))
			return false;
	return true;
}

/* A token of any other would let nobody in. */
static bool check_console(struct check *c)
{
	const struct config *config = c->config;
	const char *issuer = config->console.issuer;

	for (size_t i = 0; issuer && i < config->auth.issuers.count; i++) {
		if (strcmp(issuer, config->auth.issuers.items[i].issuer) == 0)
			return true;
	}
	return !issuer || setting_refuse(&c->reading, place_of(c, "console.issuer"), "console.issuer",
				  "must be one of auth.issuers");
}

/* A provider that is named must have what it needs. */
static bool check_providers(struct check *c)
{
	const struct config *config = c->config;
	const struct {
		enum wake_provider provider;
		const char *value, *path, *name;
	} needs[] = {
		{ WAKE_PROVIDER_SMPP, config->wake.smpp.url, "wake.smpp.url", "smpp" },
		{ WAKE_PROVIDER_HTTP, config->wake.http.url, "wake.http.url", "http" },
		{ WAKE_PROVIDER_SNS, config->wake.sns.region, "wake.sns.region", "sns" },
		{ WAKE_PROVIDER_SNS, config->wake.sns.access_key_id, "wake.sns.access_key_id", "sns" },
		{ WAKE_PROVIDER_SNS, config->wake.sns.secret_access_key, "wake.sns.secret_access_key", "sns" },
	};

	if (c->reading.names_only) /* secrets are missing, and providers need a restart */
		return true;
	for (size_t i = 0; i < config->wake.providers.count; i++)
		for (size_t k = 0; k < sizeof(needs) / sizeof(*needs); k++)
			if (needs[k].provider == (enum wake_provider)config->wake.providers.items[i] && !needs[k].value)
				return setting_refuse(&c->reading, place_of(c, "wake.providers"), needs[k].path,
					"must be given, since wake.providers names %s", needs[k].name);
	return true;
}

/* asking */

size_t config_workers(const struct config *config)
{
	if (config->node.workers > 0)
		return (size_t)config->node.workers;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	return cores > 0 ? (size_t)cores : 1;
}

size_t config_descriptors(const struct config *config)
{
	return (size_t)config->http.max_connections * (config->http.tls.certificate ? 3 : 1);
}

/* What the setting says itself is a secret: of the database's URL only a password is. */
static bool is_secret(const struct setting *s, const struct value *v)
{
	if (!v || !v->text || v->kind == VALUE_NULL)
		return false;
	if (strcmp(s->path, "database.url") != 0)
		return true;
	const char *at = strchr(v->text, '@'), *user = strstr(v->text, "://"),
		   *colon = user ? strchr(user + 3, ':') : NULL;
	return (at && colon && colon < at) || strstr(v->text, "password=");
}

void config_each_secret_file(
	const struct config *config, void (*each)(void *owner, const char *key, const char *file), void *owner)
{
	const struct snapshot *s = container_of((struct config *)(uintptr_t)config, struct snapshot, config);
	struct settings_reading reading = { .doc = s->doc, .folder = folder_of(s->doc, config->file) };
	bool has_secret = false;
	char key[256];

	for (size_t i = 0; i < CONFIG_TABLE.count; i++) {
		const struct setting *row = &CONFIG_TABLE.rows[i];
		if (row->type != SETTING_SECRET)
			continue;
		snprintf(key, sizeof(key), "%s_file", row->path);
		const struct value *v = value_at(s->root, row->path), *file = value_at(s->root, key);
		has_secret |= is_secret(row, v) && strcmp(v->source, config->file) == 0;
		if (file && file->text && *file->text && file->kind != VALUE_NULL)
			each(owner, key, settings_resolve(&reading, file->text));
	}
	if (config->http.tls.key)
		each(owner, "http.tls.key", config->http.tls.key);
	if (config->mqtt.tls.key)
		each(owner, "mqtt.tls.key", config->mqtt.tls.key);
	if (has_secret)
		each(owner, "", config->file);
}
