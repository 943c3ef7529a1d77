/* session.c - the life of a session:
 *
 *  waiting ─ opening ─ binding ─ bound ─ unbinding
 *     └─────────┴─────────┴────────┘        └ closed
 *
 * A state has one thing to wait for besides its wire: the timer. */
#include "notifier/wake/smpp/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/wake/smpp/status.h"
#include "notifier/wake/smpp/target.h"
#include "notifier/wake/smpp/wire.h"

#define BIND_MS_MAX 5000
#define STEADY_MS 5000 /* a session that stood so long makes the next wait short again */
#define SEQUENCE_MAX 0x7fffffffu

enum session_state {
	SESSION_WAITING,
	SESSION_OPENING,
	SESSION_BINDING,
	SESSION_BOUND,
	SESSION_UNBINDING,
	SESSION_CLOSED,
	SESSION_STATES
};

/* What was done about the silence; whatever comes ends it. */
enum quiet { QUIET_NOT, QUIET_ENQUIRED, QUIET_LAST_LOOK };

struct session {
	struct session_options options;
	enum session_state state;
	struct loop_timer timer;
	struct loop_soon soon; /* the end of a session that needs no goodbye */
	struct wire *wire;
	uint32_t sequence;
	uint32_t binding;  /* how often it was bound: what came before belongs to a connection that is gone */
	unsigned failures; /* in a row */
	bool was_bound;
	int64_t bound_ms, heard_ms; /* monotonic */
	enum quiet quiet;
	void (*on_closed)(void *owner);
};

static void on_due(struct loop_timer *);
static void open_wire(struct session *);
static void on_open(void *owner);
static void on_lost(void *owner, const char *reason);
static void on_pdu(void *owner, const struct smpp_header *, const uint8_t *);
static void on_bind_answered(struct session *, const struct smpp_header *, const uint8_t *);
static void on_enquired(struct session *, const struct smpp_header *, const uint8_t *);
static void on_unbind(struct session *, const struct smpp_header *, const uint8_t *);
static void on_unbound(struct session *, const struct smpp_header *, const uint8_t *);
static void on_nack(struct session *, const struct smpp_header *, const uint8_t *);
static void on_submit_answered(struct session *, const struct smpp_header *, const uint8_t *);
static void on_deliver(struct session *, const struct smpp_header *, const uint8_t *);
static void ignore(struct session *, const struct smpp_header *, const uint8_t *);
static void on_bind_late(struct session *);
static void keep_alive(struct session *);
static void fall(struct session *, enum session_end, const char *reason);
static void finish(struct session *);
static void on_soon(struct loop_soon *);

/* What a centre may send, and who takes it. Any other response is ignored, any other request refused. */
static const struct route {
	uint32_t command;
	void (*take)(struct session *, const struct smpp_header *, const uint8_t *pdu);
} routes[] = {
	{ SMPP_BIND_TRANSCEIVER | SMPP_RESPONSE, on_bind_answered },
	{ SMPP_SUBMIT_SM | SMPP_RESPONSE, on_submit_answered },
	{ SMPP_DELIVER_SM, on_deliver },
	{ SMPP_ENQUIRE_LINK, on_enquired },
	{ SMPP_UNBIND, on_unbind },
	{ SMPP_UNBIND | SMPP_RESPONSE, on_unbound },
	{ SMPP_GENERIC_NACK, on_nack },
	{ SMPP_ALERT_NOTIFICATION, ignore },
	{ SMPP_OUTBIND, ignore },
};

/* making */

struct session *smpp_session_open(const struct session_options *options)
{
	struct session *s = memory_new(sizeof *s);
	s->options = *options;
	loop_timer_init(options->loop, &s->timer, on_due);
	loop_soon_init(&s->soon, on_soon);
	loop_timer_start(&s->timer, 0);
	return s;
}

static void on_due(struct loop_timer *timer)
{
	static void (*const due[SESSION_STATES])(struct session *) = {
		[SESSION_WAITING] = open_wire,
		[SESSION_BINDING] = on_bind_late,
		[SESSION_BOUND] = keep_alive,
		[SESSION_UNBINDING] = finish,
	};
	struct session *s = container_of(timer, struct session, timer);
	due[s->state](s);
}

static void send_header(struct session *s, uint32_t command, uint32_t status, uint32_t sequence)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	wire_write(s->wire, pdu, smpp_write_header(pdu, command, status, sequence));
}

/* binding */

static void open_wire(struct session *s)
{
	s->state = SESSION_OPENING;
	s->wire = wire_open(&(struct wire_options){
		.loop = s->options.loop,
		.target = s->options.target,
		.ca = s->options.ca,
		.owner = s,
		.on_open = on_open,
		.on_pdu = on_pdu,
		.on_lost = on_lost,
	});
}

/* A name or password longer than SMPP knows is refused here, not cut to something that is another's. */
static void on_open(void *owner)
{
	struct session *s = owner;
	struct smpp_bind bind;
	uint8_t pdu[SMPP_WRITE_SIZE];
	int id = snprintf(bind.system_id, sizeof bind.system_id, "%s", s->options.target->system_id);
	int word = snprintf(bind.password, sizeof bind.password, "%s", s->options.password);
	if ((size_t)id >= sizeof bind.system_id || (size_t)word >= sizeof bind.password) {
		fall(s, SESSION_REFUSED, "the password has more than 8 octets (SMPP 3.4 §5.2.2)");
		return;
	}
	s->state = SESSION_BINDING;
	loop_timer_start(&s->timer, BIND_MS_MAX);
	wire_write(s->wire, pdu, smpp_write_bind(pdu, SMPP_BIND_TRANSCEIVER, smpp_session_next_sequence(s), &bind));
}

static void on_bind_late(struct session *s)
{
	fall(s, SESSION_UNREACHABLE, "it did not answer the bind in 5 s");
}

static void refuse(struct session *s, uint32_t status)
{
	char reason[64];
	snprintf(reason, sizeof reason, "it refused the bind: 0x%03x %s", status, smpp_status_of(status)->word);
	fall(s, SESSION_REFUSED, reason);
}

static void on_bind_answered(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	(void)pdu;
	if (s->state != SESSION_BINDING)
		return;
	if (h->status != SMPP_ROK) {
		refuse(s, h->status);
		return;
	}
	s->state = SESSION_BOUND;
	s->binding++;
	s->bound_ms = s->heard_ms = loop_monotonic_ms(s->options.loop);
	loop_timer_start(&s->timer, s->options.enquire_ms);
	if (s->was_bound)
		metric_add(METRIC_SMPP_RECONNECTS, 1);
	s->was_bound = true;
	log_info("smpp", "session is bound", LOG_TEXT("host", s->options.target->host));
	s->options.on_bound(s->options.owner);
}

/* bound */

static bool is_up(const struct session *s)
{
	return s->state == SESSION_BOUND || s->state == SESSION_UNBINDING;
}

static void on_pdu(void *owner, const struct smpp_header *h, const uint8_t *pdu)
{
	struct session *s = owner;
	s->heard_ms = loop_monotonic_ms(s->options.loop);
	s->quiet = QUIET_NOT;
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
		if (routes[i].command == h->command) {
			routes[i].take(s, h, pdu);
			return;
		}
	if (!(h->command & SMPP_RESPONSE))
		send_header(s, SMPP_GENERIC_NACK, SMPP_RINVCMDID, h->sequence);
}

static void ignore(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	(void)s, (void)h, (void)pdu;
}

static void on_enquired(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	(void)pdu;
	send_header(s, SMPP_ENQUIRE_LINK | SMPP_RESPONSE, SMPP_ROK, h->sequence);
}

static void on_submit_answered(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	if (is_up(s))
		s->options.on_answer(s->options.owner, h, pdu);
}

/* It answers whatever bears its sequence number: the bind, or a submission. */
static void on_nack(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	if (s->state == SESSION_BINDING)
		refuse(s, h->status);
	else if (is_up(s))
		s->options.on_answer(s->options.owner, h, pdu);
}

/* A malformed one is refused for good: asked to come again, it would for ever. */
static void on_deliver(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	struct smpp_message message;
	if (!is_up(s)) {
		send_header(s, SMPP_DELIVER_SM | SMPP_RESPONSE, SMPP_RINVBNDSTS, h->sequence);
	} else if (!smpp_read_message(pdu, h->length, &message)) {
		log_warn("smpp", "a malformed deliver_sm was refused", LOG_INT("bytes", h->length));
		send_header(s, SMPP_DELIVER_SM | SMPP_RESPONSE, SMPP_RX_P_APPN, h->sequence);
	} else {
		s->options.on_message(s->options.owner, &message, (struct smpp_ticket){ s->binding, h->sequence });
	}
}

/* A refusal is a header alone. */
void smpp_session_answer(struct session *s, struct smpp_ticket ticket, uint32_t status)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	if (!is_up(s) || ticket.binding != s->binding)
		return;
	if (status == SMPP_ROK)
		wire_write(s->wire, pdu, smpp_write_taken(pdu, SMPP_DELIVER_SM | SMPP_RESPONSE, ticket.sequence, ""));
	else
		send_header(s, SMPP_DELIVER_SM | SMPP_RESPONSE, status, ticket.sequence);
}

static void on_unbind(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	(void)pdu;
	send_header(s, SMPP_UNBIND | SMPP_RESPONSE, SMPP_ROK, h->sequence);
	if (s->state == SESSION_UNBINDING)
		finish(s);
	else
		fall(s, s->state == SESSION_BOUND ? SESSION_LOST : SESSION_UNREACHABLE, "it unbound");
}

/* A process that was frozen finds the time over and the answer unread: before it judges it looks once more, after the
 * loop has read. */
static void keep_alive(struct session *s)
{
	int64_t silent_ms = loop_monotonic_ms(s->options.loop) - s->heard_ms;
	if (s->quiet == QUIET_LAST_LOOK) {
		fall(s, SESSION_LOST, "it answers nothing any more");
		return;
	}
	if (silent_ms < s->options.enquire_ms) {
		loop_timer_start(&s->timer, s->options.enquire_ms - silent_ms);
		return;
	}
	if (s->quiet == QUIET_NOT)
		send_header(s, SMPP_ENQUIRE_LINK, SMPP_ROK, smpp_session_next_sequence(s));
	loop_timer_start(&s->timer, s->quiet == QUIET_NOT ? s->options.enquire_ms : 0);
	s->quiet = s->quiet == QUIET_NOT ? QUIET_ENQUIRED : QUIET_LAST_LOOK;
}

bool smpp_session_is_bound(const struct session *s)
{
	return s->state == SESSION_BOUND;
}

uint32_t smpp_session_next_sequence(struct session *s)
{
	s->sequence = s->sequence % SEQUENCE_MAX + 1;
	return s->sequence;
}

void smpp_session_write(struct session *s, const uint8_t *pdu, size_t len)
{
	if (s->state == SESSION_BOUND)
		wire_write(s->wire, pdu, len);
}

/* losing it */

static void on_lost(void *owner, const char *reason)
{
	struct session *s = owner;
	if (s->state == SESSION_UNBINDING)
		finish(s);
	else
		fall(s, s->state == SESSION_BOUND ? SESSION_LOST : SESSION_UNREACHABLE, reason);
}

/* The jitter keeps nodes from coming back to a centre in step. */
static int64_t wait_of(struct session *s, enum session_end end)
{
	unsigned shift = s->failures < 6 ? s->failures : 6;
	int64_t least_ms = end == SESSION_REFUSED ? 1000 : 100, most_ms = end == SESSION_REFUSED ? 60000 : 5000;
	int64_t delay_ms = least_ms << shift < most_ms ? least_ms << shift : most_ms;
	s->failures++;
	return delay_ms / 2 + arc4random_uniform((uint32_t)(delay_ms / 2));
}

static void fall(struct session *s, enum session_end end, const char *reason)
{
	if (end == SESSION_LOST && loop_monotonic_ms(s->options.loop) - s->bound_ms >= STEADY_MS)
		s->failures = 0;
	wire_close(s->wire);
	s->wire = NULL;
	s->state = SESSION_WAITING;
	loop_timer_start(&s->timer, wait_of(s, end));
	log_warn("smpp", "session is down", LOG_TEXT("host", s->options.target->host), LOG_TEXT("why", reason));
	s->options.on_down(s->options.owner, end);
}

/* closing */

void smpp_session_close(struct session *s, void (*on_closed)(void *owner))
{
	assert(s->state < SESSION_UNBINDING);
	s->on_closed = on_closed;
	if (s->state != SESSION_BOUND) {
		finish(s);
		return;
	}
	s->state = SESSION_UNBINDING;
	loop_timer_start(&s->timer, SESSION_GOODBYE_MS);
	send_header(s, SMPP_UNBIND, SMPP_ROK, smpp_session_next_sequence(s));
}

static void on_unbound(struct session *s, const struct smpp_header *h, const uint8_t *pdu)
{
	(void)h, (void)pdu;
	if (s->state == SESSION_UNBINDING)
		finish(s);
}

/* It may run inside the wire's callback: the session is freed from the loop. */
static void finish(struct session *s)
{
	s->state = SESSION_CLOSED;
	loop_timer_stop(&s->timer);
	wire_close(s->wire);
	s->wire = NULL;
	loop_soon_call(s->options.loop, &s->soon);
}

static void on_soon(struct loop_soon *soon)
{
	struct session *s = container_of(soon, struct session, soon);
	void (*on_closed)(void *) = s->on_closed;
	void *owner = s->options.owner;
	free(s);
	on_closed(owner);
}
