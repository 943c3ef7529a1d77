/* smsc.c - accepts callers, lets them bind, takes their messages, and tells them what became of these. */
#include "commands/vehicle/smsc.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/smpp/alphabet.h"
#include "base/smpp/pdu.h"

#define UNWRITTEN_MAX ((size_t)256 << 10)
#define BACKLOG 16

struct smsc {
	struct loop *loop;
	struct smsc_options options;
	uv_tcp_t *listener;
	struct list callers;
	int caller_count;
	struct receipt *receipts[SMSC_RECEIPTS_MAX]; /* that nobody has taken yet, the oldest first */
	int receipt_count;
	unsigned long long next_id;
};

/* One connection. It frees itself once libuv has closed it. */
struct caller {
	uv_tcp_t tcp;
	struct list node;
	struct smsc *smsc; /* NULL: dropped */
	char system_id[SMPP_SYSTEM_ID_SIZE];
	uint32_t bound_as; /* the command that bound it; 0: none yet */
	uint32_t sequence;
	uint8_t input[SMPP_PDU_MAX];
	size_t len;
};

struct receipt {
	char system_id[SMPP_SYSTEM_ID_SIZE];
	struct smpp_message message;
	char text[160];
};

static void on_call(uv_stream_t *, int status);
static void give_room(uv_handle_t *, size_t suggested, uv_buf_t *);
static void on_read(uv_stream_t *, ssize_t len, const uv_buf_t *);
static void take_pdus(struct caller *);
static void take_pdu(struct caller *, const struct smpp_header *, const uint8_t *pdu);
static void take_bind(struct caller *, const struct smpp_header *, const uint8_t *pdu);
static void take_submit(struct caller *, const struct smpp_header *, const uint8_t *pdu);
static void take_enquiry(struct caller *, const struct smpp_header *, const uint8_t *pdu);
static void take_unbind(struct caller *, const struct smpp_header *, const uint8_t *pdu);
static void keep_receipt(struct caller *, const struct smpp_message *, const char *id, bool is_delivered);
static void send_receipts(struct smsc *);
static void send_pdu(struct caller *, const uint8_t *pdu, size_t len);
static void drop(struct caller *);
static void free_caller(uv_handle_t *);
static void free_listener(uv_handle_t *);

/* What a caller may ask. */
static const struct route {
	uint32_t command;
	bool when_bound; /* and only then */
	void (*take)(struct caller *, const struct smpp_header *, const uint8_t *pdu);
} routes[] = {
	{ SMPP_BIND_RECEIVER, false, take_bind },
	{ SMPP_BIND_TRANSMITTER, false, take_bind },
	{ SMPP_BIND_TRANSCEIVER, false, take_bind },
	{ SMPP_SUBMIT_SM, true, take_submit },
	{ SMPP_ENQUIRE_LINK, true, take_enquiry },
	{ SMPP_UNBIND, true, take_unbind },
};

/* listening */

struct smsc *smsc_open(struct loop *loop, const struct smsc_options *options, const char **ret_reason)
{
	struct smsc *s = memory_new(sizeof(*s));
	s->loop = loop;
	s->options = *options;
	s->next_id = (unsigned long long)loop_unix_us(loop); /* so that no id comes again after a restart */
	list_init(&s->callers);
	s->listener = memory_new(sizeof(*s->listener));
	uv_tcp_init(loop_uv(loop), s->listener);
	s->listener->data = s;
	int failed = uv_tcp_bind(s->listener, options->address, 0);
	if (failed == 0)
		failed = uv_listen((uv_stream_t *)s->listener, BACKLOG, on_call);
	if (failed == 0)
		return s;
	*ret_reason = uv_strerror(failed);
	uv_close((uv_handle_t *)s->listener, free_listener);
	free(s);
	return NULL;
}

int smsc_port(const struct smsc *s)
{
	struct sockaddr_storage address;
	int size = sizeof(address);
	uv_tcp_getsockname(s->listener, (struct sockaddr *)&address, &size);
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
	return ntohs(address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
}

static void on_call(uv_stream_t *listener, int status)
{
	struct smsc *s = listener->data;
	if (status != 0)
		return;
	struct caller *c = memory_new(sizeof(*c));
	c->smsc = s;
	uv_tcp_init(loop_uv(s->loop), &c->tcp);
	list_append(&s->callers, &c->node);
	s->caller_count++;
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || s->caller_count > SMSC_CALLERS_MAX) {
		drop(c);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	uv_read_start((uv_stream_t *)&c->tcp, give_room, on_read);
}

/* reading */

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
	(void)suggested;
	struct caller *c = container_of(handle, struct caller, tcp);
	*room = uv_buf_init((char *)c->input + c->len, (unsigned)(sizeof(c->input) - c->len));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
	(void)room;
	struct caller *c = container_of(stream, struct caller, tcp);
	if (len < 0) {
		drop(c);
		return;
	}
	c->len += (size_t)len;
	take_pdus(c);
}

/* A whole PDU of the greatest length fills the buffer, so there is always room for more. */
static void take_pdus(struct caller *c)
{
	struct smpp_header header;
	enum smpp_frame frame = SMPP_FRAME_HALF;
	size_t at = 0;
	while (c->smsc != NULL && (frame = smpp_frame(c->input + at, c->len - at, &header)) == SMPP_FRAME_WHOLE) {
		take_pdu(c, &header, c->input + at);
		at += header.length;
	}
	memmove(c->input, c->input + at, c->len - at);
	c->len -= at;
	if (frame == SMPP_FRAME_WRONG)
		drop(c);
}

static void answer(struct caller *c, const struct smpp_header *h, uint32_t status)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	send_pdu(c, pdu, smpp_write_header(pdu, h->command | SMPP_RESPONSE, status, h->sequence));
}

static void take_pdu(struct caller *c, const struct smpp_header *h, const uint8_t *pdu)
{
	uint8_t nack[SMPP_WRITE_SIZE];
	if ((h->command & SMPP_RESPONSE) != 0)
		return; /* to a receipt */
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (routes[i].command != h->command)
			continue;
		if (routes[i].when_bound == (c->bound_as != 0))
			routes[i].take(c, h, pdu);
		else
			answer(c, h, c->bound_as != 0 ? SMPP_RALYBND : SMPP_RINVBNDSTS);
		return;
	}
	send_pdu(c, nack, smpp_write_header(nack, SMPP_GENERIC_NACK, SMPP_RINVCMDID, h->sequence));
}

static void take_bind(struct caller *c, const struct smpp_header *h, const uint8_t *pdu)
{
	uint8_t out[SMPP_WRITE_SIZE];
	struct smpp_bind bind;
	if (!smpp_read_bind(pdu, h->length, &bind)) {
		answer(c, h, SMPP_RBINDFAIL);
		return;
	}
	memcpy(c->system_id, bind.system_id, sizeof(c->system_id));
	c->bound_as = h->command;
	snprintf(bind.system_id, sizeof(bind.system_id), "keyfob-vehicle");
	send_pdu(c, out, smpp_write_bind(out, h->command | SMPP_RESPONSE, h->sequence, &bind));
	if (c->smsc != NULL)
		send_receipts(c->smsc);
}

static void take_enquiry(struct caller *c, const struct smpp_header *h, const uint8_t *pdu)
{
	(void)pdu;
	answer(c, h, SMPP_ROK);
}

static void take_unbind(struct caller *c, const struct smpp_header *h, const uint8_t *pdu)
{
	(void)pdu;
	answer(c, h, SMPP_ROK);
	drop(c);
}

/* messages */

static bool hand_over(struct smsc *s, const struct smpp_message *m)
{
	struct text text = { 0 };
	sms_decode(m->data_coding, m->text, m->text_len, &text);
	bool is_delivered = s->options.on_sms(s->options.owner, &(struct smsc_sms){
									.source = m->source.text,
									.destination = m->destination.text,
									.text = text.data,
								});
	text_free(&text);
	return is_delivered;
}

/* §5.2.17: always, or only when it could not be delivered */
static bool wants_receipt(const struct smpp_message *m, bool is_delivered)
{
	int asked = m->registered_delivery & 3;
	return asked == 1 || (asked == 2 && !is_delivered);
}

static void take_submit(struct caller *c, const struct smpp_header *h, const uint8_t *pdu)
{
	uint8_t out[SMPP_WRITE_SIZE];
	struct smpp_message m;
	char id[SMPP_ID_SIZE];
	if (c->bound_as == SMPP_BIND_RECEIVER) {
		answer(c, h, SMPP_RINVBNDSTS);
		return;
	}
	if (!smpp_read_message(pdu, h->length, &m)) {
		answer(c, h, SMPP_RINVMSGLEN);
		return;
	}
	snprintf(id, sizeof(id), "%llX", c->smsc->next_id++);
	send_pdu(c, out, smpp_write_taken(out, h->command | SMPP_RESPONSE, h->sequence, id));
	if (c->smsc == NULL)
		return;
	bool is_delivered = hand_over(c->smsc, &m);
	if (wants_receipt(&m, is_delivered))
		keep_receipt(c, &m, id, is_delivered);
	send_receipts(c->smsc);
}

/* receipts */

static void add_receipt(struct smsc *s, struct receipt *r)
{
	if (s->receipt_count == SMSC_RECEIPTS_MAX) {
		free(s->receipts[0]);
		memmove(s->receipts, s->receipts + 1, (size_t)--s->receipt_count * sizeof(*s->receipts));
	}
	s->receipts[s->receipt_count++] = r;
}

/* SMPP 3.4 appendix B; from the phone to the sender. */
static void keep_receipt(struct caller *c, const struct smpp_message *m, const char *id, bool is_delivered)
{
	struct smsc *s = c->smsc;
	time_t now = loop_unix_us(s->loop) / 1000000;
	struct tm utc;
	char date[16];
	strftime(date, sizeof(date), "%y%m%d%H%M", gmtime_r(&now, &utc));
	struct receipt *r = memory_new(sizeof(*r));
	int len = snprintf(r->text, sizeof(r->text),
		"id:%s sub:001 dlvrd:%03d submit date:%s done date:%s stat:%s err:000 text:", id, is_delivered, date,
		date, is_delivered ? "DELIVRD" : "UNDELIV");
	r->message = (struct smpp_message){
		.source = m->destination,
		.destination = m->source,
		.esm_class = SMPP_ESM_RECEIPT,
		.text = (const uint8_t *)r->text,
		.text_len = (size_t)len,
		.state = is_delivered ? SMPP_STATE_DELIVERED : SMPP_STATE_UNDELIVERABLE,
	};
	snprintf(r->message.receipted_id, sizeof(r->message.receipted_id), "%s", id);
	memcpy(r->system_id, c->system_id, sizeof(r->system_id));
	add_receipt(s, r);
}

static struct caller *receiver_of(struct smsc *s, const struct receipt *r)
{
	list_for_each (node, &s->callers) {
		struct caller *c = container_of(node, struct caller, node);
		if (c->bound_as != 0 && c->bound_as != SMPP_BIND_TRANSMITTER && strcmp(c->system_id, r->system_id) == 0)
			return c;
	}
	return NULL;
}

static bool send_receipt(const struct receipt *r, struct caller *c)
{
	uint8_t out[SMPP_WRITE_SIZE];
	if (c == NULL)
		return false;
	c->sequence = c->sequence % 0x7fffffff + 1;
	send_pdu(c, out, smpp_write_message(out, SMPP_DELIVER_SM, c->sequence, &r->message));
	return true;
}

/* Those whose receiver is not there wait on, in their order. */
static void send_receipts(struct smsc *s)
{
	int kept = 0;
	for (int i = 0; i < s->receipt_count; i++) {
		struct receipt *r = s->receipts[i];
		if (send_receipt(r, receiver_of(s, r)))
			free(r);
		else
			s->receipts[kept++] = r;
	}
	s->receipt_count = kept;
}

/* writing */

struct sending {
	uv_write_t request;
	uint8_t bytes[];
};

static void on_written(uv_write_t *request, int status)
{
	(void)status; /* the reader sees it, too */
	free(container_of(request, struct sending, request));
}

/* `len` 0: it could not be written (a receipt to an address that SMPP does not know). */
static void send_pdu(struct caller *c, const uint8_t *pdu, size_t len)
{
	uv_stream_t *stream = (uv_stream_t *)&c->tcp;
	if (c->smsc == NULL || len == 0)
		return;
	struct sending *sending = memory_new(sizeof(*sending) + len);
	memcpy(sending->bytes, pdu, len);
	const uv_buf_t buffer = uv_buf_init((char *)sending->bytes, (unsigned)len);
	if (uv_write(&sending->request, stream, &buffer, 1, on_written) != 0) {
		free(sending);
		drop(c);
	} else if (uv_stream_get_write_queue_size(stream) > UNWRITTEN_MAX) {
		drop(c);
	}
}

/* the end */

static void drop(struct caller *c)
{
	if (c->smsc == NULL)
		return;
	c->smsc->caller_count--;
	c->smsc = NULL;
	list_remove(&c->node);
	uv_close((uv_handle_t *)&c->tcp, free_caller);
}

static void free_caller(uv_handle_t *handle)
{
	free(container_of(handle, struct caller, tcp));
}

static void free_listener(uv_handle_t *handle)
{
	free(handle);
}

void smsc_close(struct smsc *s)
{
	if (s == NULL)
		return;
	while (!list_is_empty(&s->callers))
		drop(container_of(s->callers.next, struct caller, node));
	for (int i = 0; i < s->receipt_count; i++)
		free(s->receipts[i]);
	uv_close((uv_handle_t *)s->listener, free_listener);
	free(s);
}
