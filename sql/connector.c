/* connector.c - finds the server of a database URL that takes writes, without ever blocking the loop.
 *
 *  start ─ host ─ look up ─ address ─ shake hands ─ on_connected
 *           ^        │ no      ^ │ no, or 5 s
 *           │        │         └─┤
 *           └────────┴───────────┘ none left: on_failed
 *
 * libpq would look names up itself, and block; given `hostaddr` beside `host` it does not, and still checks
 * the certificate against the name. It sees one address at a time, since its own list has no time-out here. */
#include "sql/connector.h"

#include <assert.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"

#define SAID_MS 5000 /* the same is said again */
#define PATIENCE_MS 5000

/* Where the URL is silent. A server that is gone without a word is noticed within five seconds or so. Kerberos
 * is off because libpq asks its servers synchronously. */
static const struct {
	const char *keyword, *value;
} DEFAULTS[] = {
	{ "fallback_application_name", "keyfobd" },
	{ "keepalives_idle", "5" },
	{ "keepalives_interval", "2" },
	{ "keepalives_count", "3" },
	{ "tcp_user_timeout", "5000" },
	{ "gssencmode", "disable" },
};
#define DEFAULT_COUNT (sizeof DEFAULTS / sizeof *DEFAULTS)

/* What the connector itself decides, whatever the URL says. */
enum own_option { OWN_HOST, OWN_ADDRESS, OWN_PORT, OWN_TARGET, OWN_ENCODING, OWN_COUNT };
static const char *const OWN_KEYWORDS[OWN_COUNT] = {
	[OWN_HOST] = "host",
	[OWN_ADDRESS] = "hostaddr",
	[OWN_PORT] = "port",
	[OWN_TARGET] = "target_session_attrs",
	[OWN_ENCODING] = "client_encoding",
};

struct host {
	char *name;	       /* "" is libpq's own default, a local socket */
	char *port;	       /* "" likewise */
	char *address;	       /* from the URL's hostaddr; NULL: the name is looked up */
	struct lookup *lookup; /* under way; at most one, so that a dead name server cannot fill the thread pool */
};

/* Owned by libuv until its callback. */
struct lookup {
	uv_getaddrinfo_t request;
	struct connector *connector; /* NULL: it is gone */
	struct host *host;
};

enum connector_state { CONNECTOR_IDLE, CONNECTOR_LOOKING_UP, CONNECTOR_SHAKING_HANDS };

struct connector {
	struct loop *loop;
	struct connector_listener listener;
	enum connector_state state;
	PQconninfoOption *options; /* as the URL has them; NULL: it cannot be read */
	struct host *hosts;
	size_t host_count, host_now;
	char **addresses; /* of this host; an element may be NULL: a local socket */
	size_t address_count, address_now;
	PGconn *conn;
	uv_poll_t *poll;
	struct loop_timer patience;
	struct loop_soon beginning;
	char said[160];	 /* what the log was told last of a host that will not do, … */
	int64_t said_ms; /* … and when */
};

static void read_hosts(struct connector *c);
static void on_beginning(struct loop_soon *soon);
static void enter_host(struct connector *c);
static void start_lookup(struct connector *c, struct host *host);
static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found);
static void enter_address(struct connector *c);
static PGconn *start_handshake(const struct connector *c);
static void watch(struct connector *c, int events);
static void on_socket(uv_poll_t *poll, int status, int events);
static void stop_watching(struct connector *c);
static void finish_connected(struct connector *c);
static void leave_address(struct connector *c, const char *why);
static void leave_host(struct connector *c);
static void on_impatient(struct loop_timer *timer);
static void forget_addresses(struct connector *c);

/* Reading the URL. */

struct connector *connector_new(struct loop *loop, const char *url, const struct connector_listener *listener)
{
	struct connector *c = memory_new(sizeof *c);
	c->loop = loop;
	c->listener = *listener;
	/* Its error message would quote the URL, password and all. */
	c->options = PQconninfoParse(url, NULL);
	loop_timer_init(loop, &c->patience, on_impatient);
	loop_soon_init(&c->beginning, on_beginning);
	if (c->options)
		read_hosts(c);
	return c;
}

static const char *option_of(const struct connector *c, const char *keyword)
{
	for (const PQconninfoOption *o = c->options; o->keyword; o++)
		if (!strcmp(o->keyword, keyword))
			return o->val;
	return NULL;
}

/* What libpq would take from the environment must be looked up here too. */
static const char *option_or_environment(const struct connector *c, const char *keyword, const char *variable)
{
	const char *value = option_of(c, keyword);
	if (!value)
		value = getenv(variable);
	return value ? value : "";
}

static size_t list_length(const char *list)
{
	size_t count = 1;
	for (; (list = strchr(list, ',')); list++)
		count++;
	return count;
}

/* The n-th of a list separated by commas; a list of one is for all. */
static char *list_element(const char *list, size_t n)
{
	if (!strchr(list, ','))
		n = 0;
	for (; n && *list; n--)
		list += strcspn(list, ",") + (strchr(list, ',') != NULL);
	return memory_need(strndup(list, strcspn(list, ",")));
}

static struct host host_at(size_t n, const char *names, const char *addresses, const char *ports)
{
	struct host host = { .name = list_element(names, n), .port = list_element(ports, n) };
	char *address = list_element(addresses, n);
	if (*address)
		host.address = address;
	else
		free(address);
	return host;
}

static void read_hosts(struct connector *c)
{
	const char *names = option_or_environment(c, "host", "PGHOST");
	const char *addresses = option_or_environment(c, "hostaddr", "PGHOSTADDR");
	const char *ports = option_or_environment(c, "port", "PGPORT");
	size_t name_count = list_length(names), address_count = list_length(addresses);
	c->host_count = name_count > address_count ? name_count : address_count;
	c->hosts = memory_resize(NULL, c->host_count, sizeof *c->hosts);
	for (size_t n = 0; n < c->host_count; n++)
		c->hosts[n] = host_at(n, names, addresses, ports);
}

/* Trying. */

void connector_start(struct connector *c)
{
	assert(c->state == CONNECTOR_IDLE);
	loop_soon_call(c->loop, &c->beginning);
}

static void on_beginning(struct loop_soon *soon)
{
	struct connector *c = container_of(soon, struct connector, beginning);
	if (!c->options)
		log_error("sql", "the database URL cannot be read");
	c->host_now = 0;
	enter_host(c);
}

static bool is_local_socket(const struct host *host)
{
	return !host->name[0] || host->name[0] == '/' || host->name[0] == '@';
}

static void add_address(struct connector *c, const char *address)
{
	c->addresses = memory_resize(c->addresses, c->address_count + 1, sizeof *c->addresses);
	c->addresses[c->address_count++] = address ? memory_need(strdup(address)) : NULL;
}

static void enter_host(struct connector *c)
{
	forget_addresses(c);
	if (c->host_now == c->host_count) {
		c->state = CONNECTOR_IDLE;
		c->listener.on_failed(c->listener.owner);
		return;
	}
	struct host *host = &c->hosts[c->host_now];
	if (host->address || is_local_socket(host)) {
		add_address(c, host->address);
		enter_address(c);
		return;
	}
	c->state = CONNECTOR_LOOKING_UP;
	loop_timer_start(&c->patience, PATIENCE_MS);
	if (!host->lookup)
		start_lookup(c, host);
}

static void start_lookup(struct connector *c, struct host *host)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct lookup *lookup = memory_new(sizeof *lookup);
	lookup->connector = c;
	lookup->host = host;
	int error = uv_getaddrinfo(loop_uv(c->loop), &lookup->request, on_looked_up, host->name, NULL, &hints);
	if (!error) {
		host->lookup = lookup;
		return;
	}
	free(lookup);
	leave_address(c, uv_strerror(error));
}

static void read_addresses(struct connector *c, const struct addrinfo *found)
{
	char address[NI_MAXHOST];
	for (; found; found = found->ai_next)
		if (!getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST))
			add_address(c, address);
}

static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct lookup *lookup = container_of(request, struct lookup, request);
	struct connector *c = lookup->connector;
	struct host *host = lookup->host;
	free(lookup);
	if (!c) {
		uv_freeaddrinfo(found);
		return;
	}
	host->lookup = NULL;
	bool is_awaited = c->state == CONNECTOR_LOOKING_UP && host == &c->hosts[c->host_now];
	if (is_awaited)
		read_addresses(c, found);
	uv_freeaddrinfo(found);
	if (is_awaited && c->address_count)
		enter_address(c);
	else if (is_awaited)
		leave_address(c, status ? uv_strerror(status) : "the name has no address");
}

static void enter_address(struct connector *c)
{
	c->state = CONNECTOR_SHAKING_HANDS;
	c->conn = start_handshake(c);
	if (PQstatus(c->conn) == CONNECTION_BAD) {
		leave_address(c, PQerrorMessage(c->conn));
		return;
	}
	loop_timer_start(&c->patience, PATIENCE_MS);
	watch(c, UV_WRITABLE);
}

static bool is_own_keyword(const char *keyword)
{
	for (size_t i = 0; i < OWN_COUNT; i++)
		if (!strcmp(OWN_KEYWORDS[i], keyword))
			return true;
	return false;
}

/* As PQconnectStartParams() wants them; of a keyword that comes twice the later one counts. */
struct option_list {
	const char **keywords, **values;
	size_t count;
};

static void add_option(struct option_list *list, const char *keyword, const char *value)
{
	list->keywords[list->count] = keyword;
	list->values[list->count++] = value;
}

static struct option_list list_options(const struct connector *c, const char *const own[OWN_COUNT])
{
	size_t size = OWN_COUNT + DEFAULT_COUNT + 1; /* and a NULL */
	for (const PQconninfoOption *o = c->options; o->keyword; o++)
		size++;
	struct option_list list = { .keywords = memory_new(size * sizeof(char *)),
		.values = memory_new(size * sizeof(char *)) };
	for (size_t i = 0; i < DEFAULT_COUNT; i++)
		add_option(&list, DEFAULTS[i].keyword, DEFAULTS[i].value);
	for (const PQconninfoOption *o = c->options; o->keyword; o++)
		if (o->val && !is_own_keyword(o->keyword))
			add_option(&list, o->keyword, o->val);
	for (size_t i = 0; i < OWN_COUNT; i++)
		add_option(&list, OWN_KEYWORDS[i], own[i]);
	return list;
}

static PGconn *start_handshake(const struct connector *c)
{
	const struct host *host = &c->hosts[c->host_now];
	struct option_list list = list_options(c, (const char *const[OWN_COUNT]){
							  [OWN_HOST] = host->name,
							  [OWN_ADDRESS] = c->addresses[c->address_now],
							  [OWN_PORT] = host->port,
							  [OWN_TARGET] = "read-write",
							  [OWN_ENCODING] = "UTF8",
						  });
	PGconn *conn = memory_need(PQconnectStartParams(list.keywords, list.values, 0));
	free(list.keywords);
	free(list.values);
	return conn;
}

/* libpq may change its socket in any step (a refused TLS handshake begins a new one), so each has its own handle. */
static void watch(struct connector *c, int events)
{
	c->poll = memory_new(sizeof *c->poll);
	c->poll->data = c;
	int error = uv_poll_init(loop_uv(c->loop), c->poll, PQsocket(c->conn));
	if (error) {
		free(c->poll);
		c->poll = NULL;
		leave_address(c, uv_strerror(error));
		return;
	}
	uv_poll_start(c->poll, events, on_socket);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct connector *c = poll->data;
	(void)status, (void)events; /* libpq finds out for itself */
	stop_watching(c);
	PostgresPollingStatusType next = PQconnectPoll(c->conn);
	if (next == PGRES_POLLING_OK)
		finish_connected(c);
	else if (next == PGRES_POLLING_FAILED)
		leave_address(c, PQerrorMessage(c->conn));
	else
		watch(c, next == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void stop_watching(struct connector *c)
{
	if (c->poll)
		uv_close((uv_handle_t *)c->poll, on_poll_closed);
	c->poll = NULL;
}

static void finish_connected(struct connector *c)
{
	PGconn *conn = c->conn;
	c->conn = NULL;
	c->state = CONNECTOR_IDLE;
	loop_timer_stop(&c->patience);
	forget_addresses(c);
	c->listener.on_connected(c->listener.owner, conn);
}

/* Failing. */

static void log_failure(struct connector *c, const char *why)
{
	char *line = memory_need(strndup(why, strcspn(why, "\n")));
	const struct host *host = &c->hosts[c->host_now];
	int64_t now_ms = loop_monotonic_ms(c->loop);
	char said[sizeof(c->said)];

	snprintf(said, sizeof(said), "%s:%s %s", host->name, host->port, line);
	if (strcmp(said, c->said) != 0 || now_ms - c->said_ms >= SAID_MS) {
		log_warn("sql", "a database host will not do", LOG_TEXT("host", host->name),
			LOG_TEXT("port", host->port), LOG_TEXT("reason", line));
		memcpy(c->said, said, sizeof(said));
		c->said_ms = now_ms;
	}
	free(line);
}

static void leave_address(struct connector *c, const char *why)
{
	log_failure(c, why);
	loop_timer_stop(&c->patience);
	stop_watching(c);
	PQfinish(c->conn);
	c->conn = NULL;
	if (++c->address_now < c->address_count)
		enter_address(c);
	else
		leave_host(c);
}

static void leave_host(struct connector *c)
{
	c->host_now++;
	enter_host(c);
}

static void on_impatient(struct loop_timer *timer)
{
	struct connector *c = container_of(timer, struct connector, patience);
	leave_address(c, c->state == CONNECTOR_LOOKING_UP ? "the name was not found in time" : "no answer in time");
}

static void forget_addresses(struct connector *c)
{
	for (size_t i = 0; i < c->address_count; i++)
		free(c->addresses[i]);
	free(c->addresses);
	c->addresses = NULL;
	c->address_count = c->address_now = 0;
}

static void free_host(struct host *host)
{
	if (host->lookup) {
		host->lookup->connector = NULL;
		uv_cancel((uv_req_t *)&host->lookup->request);
	}
	free(host->name);
	free(host->port);
	free(host->address);
}

void connector_free(struct connector *c)
{
	if (!c)
		return;
	loop_soon_cancel(&c->beginning);
	loop_timer_stop(&c->patience);
	stop_watching(c);
	PQfinish(c->conn);
	forget_addresses(c);
	for (size_t n = 0; n < c->host_count; n++)
		free_host(&c->hosts[n]);
	free(c->hosts);
	PQconninfoFree(c->options);
	free(c);
}
