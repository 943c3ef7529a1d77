/* config.h - everything that an operator can set: one snapshot, read at start, never changed.
 *
 * The rows of config.tbl.h say what there is; the struct below has a member for each of them, at the
 * same path. Units: _ms are milliseconds, sizes are bytes, rates are per second and 0 means no limit.
 * A text that may be absent is NULL then. Files and folders are absolute or relative to the process,
 * ready to open. SIGHUP reads a second snapshot beside the first (docs/configuration.md says what it
 * changes); whoever made a snapshot frees it when nobody borrows from it any more. */
#ifndef KEYFOB_GATEWAY_CONFIG_H
#define KEYFOB_GATEWAY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "gateway/config_error.h"
#include "gateway/config_lists.h"

enum wake_provider { WAKE_PROVIDER_SMPP, WAKE_PROVIDER_HTTP, WAKE_PROVIDER_SNS };
enum wake_http_method { WAKE_HTTP_GET, WAKE_HTTP_POST, WAKE_HTTP_PUT };

/* Whose tokens count; at most one of jwks_file and jwks_url is set. */
struct issuer {
	const char *issuer;
	const char *audience;
	const char *jwks_file;
	const char *jwks_url;
	const char *subject_prefix; /* "" for none, never NULL */
	struct texts scopes;	    /* of "vehicles:read", "commands:write", "keyfob:admin" */
};

struct issuers {
	const struct issuer *items;
	size_t count;
};

struct config {
	const char *file;
	struct texts warnings; /* sentences for the log: unknown KEYFOB_ variables and the like */

	const char *namespace;
	struct {
		const char *id; /* NULL: the node makes one */
		int workers;	/* 0: one for each core */
	} node;
	struct {
		struct addresses listen;
		struct {
			const char *certificate, *key; /* both or none */
		} tls;
		const char *web_root;
		struct texts cors_origins;
		struct texts trusted_proxies;
		int max_connections;
		int per_address;
	} http;
	struct {
		const char *issuer; /* NULL: nobody signs in by OpenID Connect; else one of auth.issuers */
		const char *client_id;
		const char *scope;
		struct pairs parameters;
		struct texts connect_origins;
		bool development;
	} console;
	struct {
		struct addresses listen;
		size_t max_message;
		int64_t ping_interval_ms;
		size_t max_queue;
	} websocket;
	struct {
		struct addresses listen;
	} admin;
	struct {
		const char *url;
		bool synchronous;
	} database;
	struct {
		const char *url;
		const char *username;
		const char *password;
		struct {
			const char *ca, *certificate, *key; /* the last two: both or none */
		} tls;
	} mqtt;
	struct {
		int source;	    /* enum lifecycle_broker */
		const char *prefix; /* without a slash at the end */
		int64_t verify_delay_ms, return_delay_ms;
	} lifecycle;
	struct {
		struct issuers issuers;
	} auth;
	struct {
		int queue_per_vehicle;
		double per_subject, per_vehicle, per_address, per_socket;
	} limits;
	struct {
		int64_t window_ms;
		int refusals, forged_answers, commands, subject_commands, refused_connects; /* 0: never */
	} detection;
	struct {
		const char *catalog;
	} commands;
	struct {
		bool enabled;
		struct numbers providers; /* enum wake_provider, in order, none twice */
		int64_t receipt_timeout_ms;
		int64_t min_interval_ms;
		int max_attempts;
		int daily_budget;
		int64_t validity_ms;
		const char *text;
		struct {
			const char *url; /* not NULL when providers has it; likewise below */
			const char *password;
			const char *ca;
			const char *source;
			bool single_bind;
			bool registered_delivery;
			const char *price; /* of an SMS, a decimal; NULL: not known; likewise below */
		} smpp;
		struct {
			const char *url;
			enum wake_http_method method;
			struct pairs headers;
			const char *body;
			struct numbers ok_status;
			const char *message_id;	 /* NULL: it calls back with {wakeup_id} */
			const char *hook_secret; /* NULL: it does not call back */
			struct {
				const char *id, *status;
				struct texts delivered, failed;
			} callback;
			const char *price;
		} http;
		struct {
			const char *region;
			const char *endpoint; /* NULL: AWS's own for the region */
			const char *access_key_id;
			const char *secret_access_key;
			const char *session_token; /* NULL: none */
			const char *price;
		} sns;
		const char *currency; /* of the prices */
	} wake;
	struct {
		bool anywhere;
		int per_subject;
		int64_t timeout_ms;
		int64_t retry_first_ms, retry_max_ms, retry_for_ms;
		int64_t secret_overlap_ms;
		const char *key, *old_key; /* NULL: none */
	} webhooks;
	struct {
		int64_t commands_ms, events_ms, deliveries_ms;
	} retention;
	struct {
		const char *endpoint; /* NULL: nothing is traced */
		struct pairs headers;
		int64_t timeout_ms, delay_ms;
		const char *service_name; /* NULL: none of its own */
		struct pairs resource;
		int sampler;  /* enum trace_sampler_kind */
		double ratio; /* 0 to 1 */
	} tracing;
	struct {
		enum log_level level;
		enum log_format format;
	} log;
};

/* making */

/* Reads `file` and what `environment` overrides (NULL: nothing). NULL when it is not fit to start with: then
 * ret->line says why, and the exit code is 78. The caller owns the result. */
const struct config *config_read(const char *file, char *const *environment, struct config_error *ret);
/* Likewise at SIGHUP, when only what is reloadable counts. Files are named and not looked at, so that each can be refused by
 * whoever reads it; secrets that stand in files are NULL. */
const struct config *config_read_again(const char *file, char *const *environment, struct config_error *ret);
/* NULL is fine. */
void config_free(const struct config *);

/* asking */

/* The line for an issuer's jwks_file that whoever read it found no use for; `why` is a sentence without a full stop. */
void config_refuse_keys(const struct config *, size_t issuer, const char *why, struct config_error *ret);
/* How many workers a node has: node.workers, or one for each core. */
size_t config_workers(const struct config *);
/* How many descriptors http.max_connections may take (docs/operations.md counts them). */
size_t config_descriptors(const struct config *);
/* Calls `each` for every file that nobody else is to read: secrets, private keys, and the configuration itself where a secret stands in
 * it. `key` is the setting that names it; "": the configuration. */
void config_each_secret_file(
	const struct config *, void (*each)(void *owner, const char *key, const char *file), void *owner);
/* docs/configuration.md: every setting with its type, limits, default and sentence. */
void config_write_manual(FILE *);
/* keyfob.yaml(5): the same. */
void config_write_man(FILE *);

#endif
