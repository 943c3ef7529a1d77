/* node.c - starts the workers, each on a thread of its own, carries signals to them, and tells the service manager.
 *
 *   check the ports ─ read keys, catalogue ─ start workers ─ ready ─┬─ SIGHUP: read again, hand over
 *                                                                   ├─ SIGUSR2: debug lines, or none any more
 *                                                                   ├─ now and then: does every loop turn?
 *                                                                   └─ SIGTERM: drain all, join, exit */
#include "gateway/node.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/ids.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "gateway/access/token.h"
#include "gateway/catalog.h"
#include "gateway/certificate.h"
#include "gateway/config.h"
#include "gateway/network.h"
#include "gateway/service.h"
#include "gateway/siblings.h"
#include "gateway/worker.h"

#define ISSUERS_MS 5000	 /* how long they may take to show their keys before the node listens */
#define DRAIN_S 9	 /* then the process ends as it is: contract §1 says 10 s */
#define LOOK_MS_MAX 5000 /* how often it is seen whether the workers' loops turn: at least so */

struct node {
	const struct config *config;
	const struct config *latest; /* the last that could be read: SIGHUP reads the files that it names */
	struct token_trust *trust;
	const struct catalog *catalog;
	struct certificate *certificate; /* NULL: plain HTTP */
	struct mqtt_broker broker;
	struct service_sockets sockets;
	int64_t look_ms;
	char status[128]; /* as the service manager was told last */
	char id[64];
	struct readiness readiness;
	struct siblings *siblings;
	atomic_bool wake_enabled;
	struct worker **workers;
	size_t worker_count;
};

static bool prepare(struct node *node);
static bool ports_are_free(const struct addresses *addresses, const struct numbers *sockets);
static bool start_workers(struct node *node);
/* To debug, and back to what the configuration says; SIGHUP goes back, too. */
static void switch_debug(const struct node *node)
{
	bool is_on = log_is_on(LOG_LEVEL_DEBUG);

	log_configure(is_on ? node->latest->log.level : LOG_LEVEL_DEBUG, node->latest->log.format);
	log_info("node", "debug lines are switched", LOG_TEXT("to", is_on ? "what is configured" : "on"));
}

static int wait_for_end(struct node *node, const sigset_t *signals);
static void look_after_workers(struct node *node);
static void reload(struct node *node);
static void stop_workers(struct node *node, int code);
static _Noreturn void end(int code);

void node_run(const struct config *config)
{
	static struct node node; /* the workers look at it until the process ends */
	sigset_t signals;
	int code = 1;

	node.config = node.latest = config;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1); /* a worker asks the node to stop */
	sigaddset(&signals, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	log_never_wait();
	if (prepare(&node) && start_workers(&node))
		code = wait_for_end(&node, &signals);
	service_say_stopping();
	stop_workers(&node, code);
	end(code);
}

/* As many descriptors as the system allows, and a word when they will not do for as many connections as are let in. */
static void raise_descriptor_limit(const struct config *config)
{
	rlim_t needed = config_descriptors(config);
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < needed)
		log_warn("node", "there are too few descriptors for http.max_connections",
			LOG_INT("descriptors", limit.rlim_max), LOG_INT("needed", needed));
}

static unsigned scopes_of(const struct texts *names)
{
	unsigned scopes = 0;
	for (size_t i = 0; i < names->count; i++)
		scopes |= token_scope_read(names->items[i], strlen(names->items[i]));
	return scopes;
}

static struct token_trust *make_trust(const struct config *config)
{
	const struct issuers *from = &config->auth.issuers;
	struct token_issuer *issuers = memory_new((from->count + 1) * sizeof(*issuers));
	char why[512];

	for (size_t i = 0; i < from->count; i++)
		issuers[i] = (struct token_issuer){
			.issuer = from->items[i].issuer,
			.audience = from->items[i].audience,
			.jwks_file = from->items[i].jwks_file,
			.jwks_url = from->items[i].jwks_url,
			.subject_prefix = from->items[i].subject_prefix,
			.scopes = scopes_of(&from->items[i].scopes),
		};
	struct token_trust *trust = token_trust_new(issuers, from->count, why, sizeof(why));
	if (!trust)
		log_error("node", "the issuers' keys cannot be used", LOG_TEXT("why", why));
	free(issuers);
	return trust;
}

/* A setting that is not there is fine. */
static bool make_certificate(struct node *node)
{
	const char *chain = node->config->http.tls.certificate, *key = node->config->http.tls.key;
	char why[512];

	if (!chain)
		return true;
	node->certificate = certificate_new(chain, key, why, sizeof(why));
	if (!node->certificate)
		log_error("node", "the certificate cannot be used", LOG_TEXT("why", why));
	return node->certificate;
}

static bool prepare(struct node *node)
{
	const struct config *config = node->config;
	struct config_error error;

	raise_descriptor_limit(config);
	if (config->node.id)
		snprintf(node->id, sizeof(node->id), "%s", config->node.id);
	else
		random_hex(6, node->id);
	if (!service_take_sockets(&node->sockets) || !ports_are_free(&config->http.listen, &node->sockets.http) ||
		!ports_are_free(&config->websocket.listen, &node->sockets.websocket) ||
		!ports_are_free(&config->admin.listen, &node->sockets.admin))
		return false;
	if (!mqtt_url_parse(config->mqtt.url, &node->broker))
		return false; /* the configuration was checked: not reached */
	node->broker.username = config->mqtt.username;
	node->broker.password = config->mqtt.password;
	node->broker.ca = config->mqtt.tls.ca;
	node->broker.certificate = config->mqtt.tls.certificate;
	node->broker.key = config->mqtt.tls.key;
	node->catalog = catalog_read(config->commands.catalog, &error);
	node->trust = make_trust(config);
	return node->catalog && node->trust && make_certificate(node);
}

/* Workers share their ports with SO_REUSEPORT; so that two nodes do not, each port is bound once without it, but where sockets were
 * handed over. */
static bool ports_are_free(const struct addresses *addresses, const struct numbers *sockets)
{
	for (size_t i = 0; i < addresses->count && sockets->count == 0; i++) {
		const struct address *address = &addresses->items[i];
		int error = address_try(address);
		if (error == 0)
			continue;
		log_error(
			"node", "cannot listen", LOG_TEXT("address", address->text), LOG_TEXT("why", strerror(error)));
		return false;
	}
	return true;
}

/* No token is to be refused only because the node has just begun. An issuer that is away holds up its own tokens alone,
 * and the node says so in /readyz. */
static void wait_for_issuers(const struct node *node)
{
	if (!token_trust_wait(node->trust, ISSUERS_MS))
		log_warn("node", "starting without the keys of every issuer");
}

/* Three times in a watchdog's interval. */
static int64_t look_interval_ms(void)
{
	int64_t third = service_watchdog_ms() / 3;

	return third > 0 && third < LOOK_MS_MAX ? third : LOOK_MS_MAX;
}

static bool start_workers(struct node *node)
{
	wait_for_issuers(node);
	node->look_ms = look_interval_ms();
	node->worker_count = config_workers(node->config);
	node->siblings = siblings_new();
	atomic_store(&node->wake_enabled, node->config->wake.enabled);
	node->workers = memory_new(node->worker_count * sizeof(struct worker *));
	for (size_t i = 0; i < node->worker_count; i++) {
		struct worker_options options = {
			.config = node->config,
			.catalog = node->catalog,
			.trust = node->trust,
			.certificate = node->certificate,
			.broker = &node->broker,
			.sockets = &node->sockets,
			.node = node->id,
			.readiness = &node->readiness,
			.siblings = node->siblings,
			.wake_enabled = &node->wake_enabled,
			.pulse_ms = node->look_ms / 2,
			.workers = node->worker_count,
			.index = i,
		};
		node->workers[i] = worker_start(&options);
		if (!node->workers[i])
			return false;
	}
	log_info("node", "started", LOG_TEXT("node", node->id), LOG_INT("workers", node->worker_count),
		LOG_TEXT("version", KEYFOB_VERSION));
	return true;
}

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -1: none came. */
static int wait_for_signal(const sigset_t *signals, int64_t until_ms)
{
	int64_t left_ms = until_ms - monotonic_ms();
	struct timespec left = { 0 };

	if (left_ms > 0)
		left = (struct timespec){ .tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000 };
	return sigtimedwait(signals, NULL, &left);
}

/* It is ready when it listens, be the database or the broker there or not: it answers (503, with Retry-After), keeps its sockets and
 * goes on by itself when they come back. Were it not ready then, a database that is late at boot would have the manager end the node
 * and hold up what waits for it. Whether it can do its work, /readyz tells the load balancer, and the status people. */
static int wait_for_end(struct node *node, const sigset_t *signals)
{
	int64_t look_at_ms = monotonic_ms() + node->look_ms;

	service_say_ready();
	for (;;) {
		int got = wait_for_signal(signals, look_at_ms);
		if (got == SIGHUP)
			reload(node);
		else if (got == SIGUSR2)
			switch_debug(node);
		else if (got > 0)
			return got == SIGUSR1 ? 1 : 0;
		if (monotonic_ms() < look_at_ms)
			continue;
		look_after_workers(node);
		look_at_ms = monotonic_ms() + node->look_ms;
	}
}

/* As is_ready() of each worker sees it; without what only /readyz tells. */
static void write_status(const struct node *node, size_t still, char *status, size_t size)
{
	bool database = atomic_load(&node->readiness.databases) == node->worker_count;
	bool broker = atomic_load(&node->readiness.brokers) == node->worker_count;

	if (still > 0)
		snprintf(status, size, "%zu of %zu workers stand still", still, node->worker_count);
	else if (database && broker)
		snprintf(status, size, "serving");
	else
		snprintf(status, size, "serving without %s%s%s", database ? "" : "the database",
			database || broker ? "" : " and ", broker ? "" : "the broker");
}

/* The watchdog hears of us only when every worker's loop has turned: one that stands still holds up its vehicles. */
static void look_after_workers(struct node *node)
{
	char status[sizeof(node->status)];
	size_t still = 0;

	for (size_t i = 0; i < node->worker_count; i++)
		still += !worker_has_turned(node->workers[i]);
	if (still == 0)
		service_say_alive();
	else
		log_warn("node", "workers stand still", LOG_INT("workers", still), LOG_INT("for_ms", node->look_ms));
	write_status(node, still, status, sizeof(status));
	if (strcmp(status, node->status) == 0)
		return;
	snprintf(node->status, sizeof(node->status), "%s", status);
	service_say_status(status);
}

/* What counts at once. */
static void take_over(struct node *node, const struct config *fresh)
{
	log_configure(fresh->log.level, fresh->log.format);
	if (atomic_exchange(&node->wake_enabled, fresh->wake.enabled) != fresh->wake.enabled)
		log_info("node", "waking vehicles by SMS is switched",
			LOG_TEXT("to", fresh->wake.enabled ? "on" : "off"));
}

/* The next connection gets the new one; those that are open keep theirs. */
static void renew_certificate(struct node *node)
{
	const struct config *config = node->latest;
	char why[512];

	if (!node->certificate != !config->http.tls.certificate)
		log_warn("node", "http.tls was added or taken away: that needs a restart");
	else if (node->certificate && !certificate_renew(node->certificate, config->http.tls.certificate,
					      config->http.tls.key, why, sizeof(why)))
		log_error("node", "the certificate is refused, the old one stays", LOG_TEXT("why", why));
}

static void renew_catalog(struct node *node)
{
	struct config_error error = { 0 };
	const struct catalog *catalog = catalog_read(node->latest->commands.catalog, &error);

	if (!catalog) {
		log_error("node", "the catalogue is refused, the old one stays", LOG_TEXT("why", error.line));
		return;
	}
	for (size_t i = 0; i < node->worker_count; i++)
		worker_set_catalog(node->workers[i], catalog);
	catalog_free(node->catalog); /* every worker has let go of it */
	node->catalog = catalog;
}

static void renew_config(struct node *node)
{
	struct config_error error = { 0 };
	const struct config *fresh = config_read_again(node->config->file, environ, &error);

	if (!fresh) {
		log_error("node", "the configuration is refused, the old one stays", LOG_TEXT("why", error.line));
		return;
	}
	take_over(node, fresh);
	if (node->latest != node->config)
		config_free(node->latest);
	node->latest = fresh;
}

/* A bad file is refused with a log line, and the old one stays; the others are taken all the same. */
static void reload(struct node *node)
{
	log_info("node", "reloading");
	service_say_reloading();
	renew_config(node);
	token_trust_reload(node->trust);
	renew_certificate(node);
	renew_catalog(node);
	service_say_ready();
}

static void stop_workers(struct node *node, int code)
{
	struct timespec until;

	for (size_t i = 0; i < node->worker_count && node->workers[i]; i++)
		worker_drain(node->workers[i]);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DRAIN_S;
	for (size_t i = 0; i < node->worker_count && node->workers[i]; i++) {
		if (worker_join(node->workers[i], &until))
			continue;
		log_error("node", "a worker did not drain in time");
		_exit(1);
	}
	if (code == 0)
		log_info("node", "stopped", LOG_TEXT("node", node->id));
}

/* Threads are still there: the loops, which stand still, and whoever fetches keys, looks up a name or connects, which can take
 * long. No library's clean-up may run beside them, nor wait for them. */
static _Noreturn void end(int code)
{
#ifdef __SANITIZE_ADDRESS__
	__lsan_do_leak_check();
#endif
	_exit(code);
}
