/* connection.c - drives a libmosquitto handle on the loop, by its external loop. */
#include "base/mqtt/connection.h"

#include <assert.h>
#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/publish.h"
#include "base/mqtt/watch.h"

#define BATCH_BYTES_MAX (8 << 20) /* a batch is handed over when it holds as much, full or not */
#define PUBACKS_MAX 4096	  /* so many and the owner hears them, before more is read */
#define SUBACK_FAILED 0x80	  /* MQTT 5 §3.9.3: this and above */
#define UNRECEIVED_MS_MAX 5000	  /* what was written and the broker's machine has not confirmed ends the connection */

static void listen_to(struct mosquitto *);
static void bound_silence(const struct connection *);
static void set_hard_end(const struct connection *, bool yes);
static void on_connack(struct mosquitto *, void *, int reason, int flags, const mosquitto_property *);
static void read_abilities(struct connection *, const mosquitto_property *);
static void on_suback(struct mosquitto *, void *, int mid, int count, const int *granted, const mosquitto_property *);
static void on_puback(struct mosquitto *, void *, int mid, int reason, const mosquitto_property *);
static void on_message(struct mosquitto *, void *, const struct mosquitto_message *, const mosquitto_property *);
static void on_disconnect(struct mosquitto *, void *, int code, const mosquitto_property *);
static void on_log(struct mosquitto *, void *, int level, const char *text);
static void heed(struct connection *, int rc);
static void write_out(struct connection *);
static void read_in(struct connection *);
static bool may_read(const struct connection *);
static bool has_room(const struct connection *);

/* opening */

/* Until the TCP handshake is done a socket is not writable, and nothing else can be awaited. */
void connection_open(struct connection *c, struct loop *loop, struct mosquitto *handle,
	void (*on_ready)(void *owner, int events), void *owner)
{
	c->handle = handle;
	mosquitto_user_data_set(handle, c);
	listen_to(handle);
	if (c->tls)
		mosquitto_log_callback_set(handle, on_log);
	c->watch = watch_new(loop_uv(loop), mosquitto_socket(handle), on_ready, owner);
	set_hard_end(c, true);
	if (c->watch)
		watch_set(c->watch, UV_WRITABLE);
	else
		connection_lose(c, strerror(errno));
}

/* A message's expiry counts from when the broker has it: a request that lay in a dead line is late by no more than this. */
static void bound_silence(const struct connection *c)
{
	unsigned int ms = UNRECEIVED_MS_MAX;
	setsockopt(mosquitto_socket(c->handle), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

/* What a dead line has not taken goes with the socket, also when the process is killed. Otherwise the kernel would keep it for minutes,
 * and a request whose claim is long released would arrive behind later ones. The broker may lose what it has not read yet, too: a feed's
 * acknowledgements, which are never late, end in order. */
static void set_hard_end(const struct connection *c, bool yes)
{
	struct linger at_once = { .l_onoff = yes && !c->feed, .l_linger = 0 };
	setsockopt(mosquitto_socket(c->handle), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static void listen_to(struct mosquitto *handle)
{
	mosquitto_connect_v5_callback_set(handle, on_connack);
	mosquitto_subscribe_v5_callback_set(handle, on_suback);
	mosquitto_publish_v5_callback_set(handle, on_puback);
	mosquitto_message_v5_callback_set(handle, on_message);
	mosquitto_disconnect_v5_callback_set(handle, on_disconnect);
}

/* exchanging */

/* While the handshakes last, TLS is driven by reads alone, and CONNECT goes out when it is done. Once the
 * CONNACK is read, a feed's first messages may be too, and nothing may be written after them. */
void connection_exchange(struct connection *c, int events)
{
	if (events < 0) {
		char reason[REASON_SIZE];
		reason_write(MOSQ_ERR_ERRNO, watch_error(c->watch), "", reason);
		connection_lose(c, reason);
		return;
	}
	if (!c->is_accepted)
		events |= UV_READABLE | UV_WRITABLE;
	if (events & UV_WRITABLE)
		write_out(c);
	if ((events & UV_READABLE || c->has_more) && may_read(c))
		read_in(c);
	if (!c->is_accepted)
		write_out(c);
	if (c->feed && c->is_lost)
		harvest_clear(&c->news.batch); /* it could not be acknowledged; it comes again */
	c->is_held = c->feed && c->news.batch.count > 0;
}

/* One call writes all that the socket takes. */
static void write_out(struct connection *c)
{
	assert(!c->is_held);
	if (!c->is_lost && mosquitto_want_write(c->handle))
		heed(c, mosquitto_loop_write(c->handle, 1));
}

/* A PUBACK would queue up behind what still waits, and leave with it. */
static bool may_read(const struct connection *c)
{
	return !c->feed || !c->is_accepted || !mosquitto_want_write(c->handle);
}

/* A call reads one packet or a few, and one that told nothing found the socket dry, or what needs no haste. */
static void read_in(struct connection *c)
{
	size_t told;
	assert(!c->is_held);
	do {
		told = c->news.told;
		if (!c->is_lost)
			heed(c, mosquitto_loop_read(c->handle, 1));
	} while (!c->is_lost && c->news.told != told && has_room(c));
	c->has_more = !c->is_lost && c->news.told != told;
}

static bool has_room(const struct connection *c)
{
	const struct news *n = &c->news;
	return n->batch.count < c->batch_max && n->batch.bytes < BATCH_BYTES_MAX && n->puback_count < PUBACKS_MAX;
}

/* libmosquitto may close the socket in any call. */
static void heed(struct connection *c, int rc)
{
	int error = errno;
	if (rc == MOSQ_ERR_SUCCESS && mosquitto_socket(c->handle) >= 0)
		return;
	char reason[REASON_SIZE];
	reason_write(rc == MOSQ_ERR_SUCCESS ? MOSQ_ERR_CONN_LOST : rc, error, c->detail, reason);
	connection_lose(c, reason);
}

void connection_lose(struct connection *c, const char *reason)
{
	if (c->is_lost)
		return;
	c->is_lost = true;
	snprintf(c->reason, sizeof c->reason, "%s", reason);
}

/* A send link is always ready to read; a feed either writes, reads, or stands still. During the TLS handshake
 * libmosquitto says that it wants to write, always. */
void connection_await(struct connection *c)
{
	if (!c->watch || c->is_lost || c->is_held)
		return;
	bool write = mosquitto_want_write(c->handle) && (c->is_accepted || !c->tls);
	int events = c->feed && write ? UV_WRITABLE : UV_READABLE | (write ? UV_WRITABLE : 0);
	watch_set(c->watch, events);
}

void connection_rest(struct connection *c)
{
	assert(c->is_held);
	watch_set(c->watch, 0);
}

void connection_gather(struct connection *c, bool yes)
{
	int cork = yes;
	if (c->handle && !c->is_lost)
		setsockopt(mosquitto_socket(c->handle), IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
}

void connection_tick(struct connection *c)
{
	if (c->is_held || c->is_lost)
		return;
	heed(c, mosquitto_loop_misc(c->handle));
	write_out(c);
}

/* libmosquitto writes each PUBACK by itself: those of a batch go in one segment. */
void connection_release(struct connection *c)
{
	bool several = c->news.batch.count > 1;

	c->is_held = false;
	harvest_clear(&c->news.batch);
	if (several)
		connection_gather(c, true);
	write_out(c);
	if (several)
		connection_gather(c, false);
}

/* asking the broker */

static bool is_loss(int rc)
{
	return rc == MOSQ_ERR_CONN_LOST || rc == MOSQ_ERR_NO_CONN || rc == MOSQ_ERR_ERRNO;
}

void connection_subscribe(struct connection *c, const char *const *filters, size_t count, int qos)
{
	int rc = mosquitto_subscribe_multiple(c->handle, NULL, (int)count, (char *const *)filters, qos, 0, NULL);
	c->subscribes++;
	heed(c, rc);
	if (!c->is_held)
		write_out(c);
}

static void unwritten_add(struct unwritten *u, size_t len)
{
	if (!u->lens)
		u->lens = memory_new(OUTSTANDING_MAX * sizeof *u->lens);
	u->lens[(u->first + u->count++) % OUTSTANDING_MAX] = (uint32_t)len;
	u->bytes += len;
}

static void unwritten_drop_first(struct unwritten *u)
{
	if (u->count == 0)
		return;
	u->bytes -= u->lens[u->first];
	u->first = (u->first + 1) % OUTSTANDING_MAX;
	u->count--;
}

static void unwritten_drop_last(struct unwritten *u)
{
	if (u->count > 0)
		u->bytes -= u->lens[(u->first + --u->count) % OUTSTANDING_MAX];
}

static bool may_publish(const struct connection *c, const struct mqtt_publish *p)
{
	return c->awaited.count + c->unwritten.count < OUTSTANDING_MAX &&
	       (p->qos > 0 || c->unwritten.bytes + p->len <= UNWRITTEN_MAX);
}

/* The PUBACK of a QoS 1 message cannot come before the next read; that a QoS 0 message is written is told at once. */
int connection_publish(struct connection *c, const struct mqtt_publish *p)
{
	int mid = -1;
	if (c->is_lost || !may_publish(c, p))
		return -1;
	struct mqtt_publish what = *p;
	what.retain = p->retain && c->retains; /* else it would end the connection (MQTT 5 §3.2.2.3.5) */
	if (p->qos == 0)
		unwritten_add(&c->unwritten, p->len);
	int rc = publish_send(c->handle, &what, &mid);
	if (is_loss(rc))
		heed(c, rc);
	if (rc == MOSQ_ERR_SUCCESS) {
		if (p->qos > 0)
			mids_add(&c->awaited, (uint16_t)mid);
		return mid;
	}
	if (p->qos == 0)
		unwritten_drop_last(&c->unwritten);
	log_warn("mqtt", "a message was not published", LOG_TEXT("topic", p->topic),
		LOG_TEXT("why", mosquitto_strerror(rc)));
	return -1;
}

/* the news */

static struct news *note(void *connection)
{
	struct connection *c = connection;
	c->news.told++;
	return &c->news;
}

/* What a broker may lack (MQTT 5 §3.2.2.3); what it does not mention, it has. Without QoS 1 or wildcards there is nothing to be done
 * with it. */
static void read_abilities(struct connection *c, const mosquitto_property *properties)
{
	uint8_t maximum_qos = 2, retains = 1, has_wildcards = 1;
	uint32_t expiry = c->session_expiry_seconds;

	c->receive_maximum = UINT16_MAX;
	mosquitto_property_read_int16(properties, MQTT_PROP_RECEIVE_MAXIMUM, &c->receive_maximum, false);
	mosquitto_property_read_byte(properties, MQTT_PROP_MAXIMUM_QOS, &maximum_qos, false);
	mosquitto_property_read_byte(properties, MQTT_PROP_RETAIN_AVAILABLE, &retains, false);
	mosquitto_property_read_byte(properties, MQTT_PROP_WILDCARD_SUB_AVAILABLE, &has_wildcards, false);
	mosquitto_property_read_int32(properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, &expiry, false);
	c->retains = retains;
	if (maximum_qos < 1)
		connection_lose(c, "the broker takes no QoS 1 message");
	if (!has_wildcards)
		connection_lose(c, "the broker grants no filter with a wildcard");
	if (!c->feed && !retains)
		log_warn("mqtt", "the broker keeps no retained messages: a desired state or a notice reaches only "
				 "vehicles that are there");
	if (c->feed && expiry < c->session_expiry_seconds)
		log_warn("mqtt",
			"the broker keeps a session for less than is asked: what it is sent while nobody reads is lost "
			"sooner",
			LOG_INT("seconds", expiry), LOG_INT("asked", c->session_expiry_seconds));
}

static void on_connack(
	struct mosquitto *handle, void *connection, int reason, int flags, const mosquitto_property *properties)
{
	struct connection *c = connection;
	mosquitto_log_callback_set(handle, NULL);
	if (reason != 0) {
		char sentence[REASON_SIZE];
		reason_write(MOSQ_ERR_CONN_REFUSED, 0, mosquitto_reason_string(reason), sentence);
		connection_lose(c, sentence);
		return;
	}
	read_abilities(c, properties);
	if (c->is_lost)
		return;
	bound_silence(c);
	c->is_accepted = true;
	note(c)->accepted = true;
	c->news.session_present = flags & 1;
}

static void on_suback(struct mosquitto *handle, void *connection, int mid, int count, const int *granted,
	const mosquitto_property *properties)
{
	struct connection *c = connection;
	(void)handle, (void)mid, (void)properties;
	for (int i = 0; i < count; i++)
		if (granted[i] >= SUBACK_FAILED) {
			connection_lose(c, "the broker refused a subscription");
			return;
		}
	c->subscribes -= c->subscribes > 0;
	note(c)->subscribed = c->subscribes == 0;
}

/* libmosquitto calls this for a QoS 0 message too, when it is written. */
static void on_puback(
	struct mosquitto *handle, void *connection, int mid, int reason, const mosquitto_property *properties)
{
	struct connection *c = connection;
	(void)handle, (void)properties;
	if (!mids_remove(&c->awaited, (uint16_t)mid)) {
		unwritten_drop_first(&c->unwritten);
		return;
	}
	struct news *n = note(c);
	if (n->puback_count == n->puback_size) {
		n->puback_size = n->puback_size ? 2 * n->puback_size : 64;
		n->pubacks = memory_resize(n->pubacks, n->puback_size, sizeof *n->pubacks);
	}
	n->pubacks[n->puback_count++] = (struct puback){ .mid = mid, .reason = reason };
}

static void on_message(struct mosquitto *handle, void *connection, const struct mosquitto_message *message,
	const mosquitto_property *properties)
{
	(void)handle;
	harvest_add(&note(connection)->batch, message, properties);
}

static void on_disconnect(struct mosquitto *handle, void *connection, int code, const mosquitto_property *properties)
{
	struct connection *c = connection;
	char reason[REASON_SIZE];
	int error = errno;
	(void)handle, (void)properties;
	reason_write(code ? code : MOSQ_ERR_CONN_LOST, error, c->detail, reason);
	connection_lose(c, reason);
}

static void on_log(struct mosquitto *handle, void *connection, int level, const char *text)
{
	struct connection *c = connection;
	(void)handle;
	if (level == MOSQ_LOG_ERR && !*c->detail)
		snprintf(c->detail, sizeof c->detail, "%s", text);
}

void connection_forget_news(struct connection *c)
{
	struct news *n = &c->news;
	if (!c->is_held)
		harvest_clear(&n->batch);
	n->accepted = n->subscribed = false;
	n->puback_count = n->told = 0;
}

/* ending */

void connection_disconnect(struct connection *c)
{
	assert(!c->is_held);
	set_hard_end(c, c->awaited.count > 0);
	mosquitto_disconnect_v5(c->handle, 0, NULL);
	write_out(c);
}

bool connection_has_left(struct connection *c)
{
	write_out(c);
	if (c->is_lost || !mosquitto_want_write(c->handle))
		return true;
	watch_set(c->watch, UV_WRITABLE);
	return false;
}

void connection_drop(struct connection *c)
{
	watch_close(c->watch);
	mosquitto_destroy(c->handle);
	c->watch = NULL;
	c->handle = NULL;
	c->is_accepted = c->is_held = c->has_more = c->is_lost = false;
	c->detail[0] = '\0';
	c->subscribes = 0;
	c->unwritten.count = c->unwritten.bytes = 0;
	c->awaited = (struct mids){ 0 };
	connection_forget_news(c);
}

void connection_free(struct connection *c)
{
	connection_drop(c);
	harvest_free(&c->news.batch);
	free(c->news.pubacks);
	free(c->unwritten.lens);
	c->unwritten = (struct unwritten){ 0 };
	c->news = (struct news){ 0 };
}
