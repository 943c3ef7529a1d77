/* centre.c - the scripted SMS centre, and the owner of a provider. */
#include "centre.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct loop *loop;
struct centre centre;
struct sms_provider *provider;
int receipts, told;
struct seen_receipt seen[RECEIPTS_MAX];
bool keeps_receipts;

static struct sms_news *kept[RECEIPTS_MAX]; /* not decided yet */
static int kept_count;
static const struct fault *decision;
static struct loop_soon deciding;
static struct loop_timer heartbeat; /* so that run_until() sees its end */

struct centre_connection {
	uv_tcp_t tcp;
	uint8_t input[2 * SMPP_PDU_MAX];
	size_t len;
};

static void on_caller(uv_stream_t *, int status);
static void on_deciding(struct loop_soon *);

/* the centre */

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

void centre_start(struct centre *c)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)c->port)
	};
	int size = sizeof address;
	c->server = calloc(1, sizeof *c->server);
	uv_tcp_init(loop_uv(loop), c->server);
	ck_assert_int_eq(uv_tcp_bind(c->server, (struct sockaddr *)&address, 0), 0);
	ck_assert_int_eq(uv_listen((uv_stream_t *)c->server, 8, on_caller), 0);
	ck_assert_int_eq(uv_tcp_getsockname(c->server, (struct sockaddr *)&address, &size), 0);
	c->port = ntohs(address.sin_port);
}

void centre_cut(struct centre *c)
{
	if (c->connection)
		uv_close((uv_handle_t *)&c->connection->tcp, free_handle);
	c->connection = NULL;
}

void centre_stop(struct centre *c)
{
	centre_cut(c);
	if (c->server)
		uv_close((uv_handle_t *)c->server, free_handle);
	c->server = NULL;
}

struct sending {
	uv_write_t request;
	uint8_t bytes[];
};

static void on_written(uv_write_t *request, int status)
{
	(void)status;
	free(request);
}

void centre_send(struct centre *c, const void *bytes, size_t len)
{
	if (!c->connection)
		return;
	struct sending *s = malloc(sizeof *s + len);
	memcpy(s->bytes, bytes, len);
	uv_buf_t buffer = uv_buf_init((char *)s->bytes, (unsigned)len);
	uv_write(&s->request, (uv_stream_t *)&c->connection->tcp, &buffer, 1, on_written);
}

void centre_send_header(struct centre *c, uint32_t command, uint32_t status, uint32_t sequence)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	centre_send(c, pdu, smpp_write_header(pdu, command, status, sequence));
}

void centre_send_receipt(struct centre *c, const char *id, int state, const char *text)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	struct smpp_message m = {
		.source = { SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN, "4915550000001" },
		.destination = { SMPP_TON_ALPHANUMERIC, SMPP_NPI_UNKNOWN, "Keyfob" },
		.esm_class = SMPP_ESM_RECEIPT,
		.text = (const uint8_t *)text,
		.text_len = strlen(text),
		.state = state,
	};
	snprintf(m.receipted_id, sizeof m.receipted_id, "%s", id ? id : "");
	size_t len = smpp_write_message(pdu, SMPP_DELIVER_SM, 77, &m);
	ck_assert_uint_gt(len, 0);
	centre_send(c, pdu, len);
}

void centre_answer(struct centre *c, int submit, const char *id)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	centre_send(c, pdu, smpp_write_taken(pdu, SMPP_SUBMIT_SM | SMPP_RESPONSE, c->submit[submit].sequence, id));
}

static void take_bind(struct centre *c, const struct smpp_header *h, const uint8_t *pdu)
{
	uint8_t answer[SMPP_WRITE_SIZE];
	c->binds++;
	ck_assert(smpp_read_bind(pdu, h->length, &c->bind));
	if (c->ignores_binds)
		return;
	if (c->bind_status)
		centre_send_header(c, h->command | SMPP_RESPONSE, c->bind_status, h->sequence);
	else
		centre_send(c, answer,
			smpp_write_bind(
				answer, h->command | SMPP_RESPONSE, h->sequence, &(struct smpp_bind){ "centre", "" }));
}

static void take_submit(struct centre *c, const struct smpp_header *h, const uint8_t *pdu)
{
	int i = c->submits;
	char id[SMPP_ID_SIZE];
	ck_assert_int_lt(i, CENTRE_SUBMITS_MAX);
	ck_assert(smpp_read_message(pdu, h->length, &c->submit[i].message));
	memcpy(c->submit[i].text, c->submit[i].message.text, c->submit[i].message.text_len);
	c->submit[i].sequence = h->sequence;
	c->submits++;
	snprintf(id, sizeof id, "%d", c->submits);
	if (c->ignores_submits)
		return;
	if (!c->submit_status) {
		centre_answer(c, i, i == 0 && c->first_id ? c->first_id : id);
		return;
	}
	centre_send_header(c, h->command | SMPP_RESPONSE, c->submit_status, h->sequence);
	if (c->refusals > 0 && --c->refusals == 0)
		c->submit_status = 0;
}

static void take_pdu(struct centre *c, const struct smpp_header *h, const uint8_t *pdu)
{
	switch (h->command) {
	case SMPP_BIND_TRANSCEIVER:
		take_bind(c, h, pdu);
		break;
	case SMPP_SUBMIT_SM:
		take_submit(c, h, pdu);
		break;
	case SMPP_ENQUIRE_LINK:
		c->enquiries++;
		if (!c->ignores_enquiries)
			centre_send_header(c, SMPP_ENQUIRE_LINK | SMPP_RESPONSE, 0, h->sequence);
		break;
	case SMPP_UNBIND:
		c->unbinds++;
		if (!c->ignores_unbinds)
			centre_send_header(c, SMPP_UNBIND | SMPP_RESPONSE, 0, h->sequence);
		break;
	case SMPP_ENQUIRE_LINK | SMPP_RESPONSE:
		c->enquiry_answers++;
		break;
	case SMPP_UNBIND | SMPP_RESPONSE:
		c->unbind_answers++;
		break;
	case SMPP_DELIVER_SM | SMPP_RESPONSE:
		c->deliver_answers++;
		c->last_status = h->status;
		break;
	case SMPP_GENERIC_NACK:
		c->nacks++;
		c->last_status = h->status;
		break;
	default:
		ck_abort_msg("the provider sent command %08x", h->command);
	}
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct centre_connection *n = (struct centre_connection *)(void *)handle;
	(void)suggested;
	*buffer = uv_buf_init((char *)n->input + n->len, (unsigned)(sizeof n->input - n->len));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
	struct centre_connection *n = (struct centre_connection *)(void *)stream;
	struct smpp_header header;
	(void)buffer;
	if (centre.connection != n)
		return;
	if (len < 0) {
		centre_cut(&centre);
		return;
	}
	n->len += (size_t)len;
	while (centre.connection == n && smpp_frame(n->input, n->len, &header) == SMPP_FRAME_WHOLE) {
		take_pdu(&centre, &header, n->input);
		n->len -= header.length;
		memmove(n->input, n->input + header.length, n->len);
	}
}

static void on_caller(uv_stream_t *server, int status)
{
	struct centre_connection *n = calloc(1, sizeof *n);
	ck_assert_int_eq(status, 0);
	centre_cut(&centre);
	uv_tcp_init(loop_uv(loop), &n->tcp);
	ck_assert_int_eq(uv_accept(server, (uv_stream_t *)&n->tcp), 0);
	uv_tcp_nodelay(&n->tcp, 1);
	uv_read_start((uv_stream_t *)&n->tcp, give_buffer, on_read);
	centre.connection = n;
	centre.connections++;
}

/* the provider and its owner */

static void on_heartbeat(struct loop_timer *timer)
{
	loop_timer_start(timer, 100);
}

void set_up(void)
{
	signal(SIGPIPE, SIG_IGN); /* either side may be gone when the other writes */
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	memset(&centre, 0, sizeof centre);
	memset(seen, 0, sizeof seen);
	receipts = told = kept_count = 0;
	keeps_receipts = false;
	provider = NULL;
	loop = loop_new();
	loop_soon_init(&deciding, on_deciding);
	loop_timer_init(loop, &heartbeat, on_heartbeat);
	loop_timer_start(&heartbeat, 100);
	centre_start(&centre);
}

void tear_down(void)
{
	if (provider)
		provider_close();
	centre_stop(&centre);
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
}

static void on_receipt(void *owner, struct sms_news *news)
{
	const struct sms_receipt *r = &news->receipt;
	ck_assert_ptr_eq(owner, &centre);
	ck_assert_str_eq(r->provider, "smpp");
	ck_assert_int_lt(receipts, RECEIPTS_MAX);
	struct seen_receipt *s = &seen[receipts++];
	snprintf(s->id, sizeof s->id, "%s", r->message_id);
	snprintf(s->reason, sizeof s->reason, "%s", r->reason ? r->reason : "");
	s->delivered = r->delivered;
	s->after_done = told;
	kept[kept_count++] = news;
	if (!keeps_receipts)
		decide_receipts(NULL);
}

void decide_receipts(const struct fault *fault)
{
	decision = fault;
	loop_soon_call(loop, &deciding);
}

static void on_deciding(struct loop_soon *soon)
{
	(void)soon;
	while (kept_count > 0) {
		struct sms_news *news = kept[--kept_count];
		news->on_done(news, decision);
	}
}

void provider_start(struct smpp_options options)
{
	static const struct sms_receipts to = { &centre, on_receipt };
	char url[64];
	snprintf(url, sizeof url, "smpp://keyfob@127.0.0.1:%d", centre.port);
	if (!options.url)
		options.url = url;
	if (!options.password)
		options.password = "secret";
	if (!options.source)
		options.source = "Keyfob";
	provider = smpp_new(loop, &options, &to);
}

static void on_closed(void *owner)
{
	*(bool *)owner = true;
}

void provider_close(void)
{
	static bool is_closed;
	is_closed = false;
	provider->close(provider->self, on_closed, &is_closed);
	ck_assert(!is_closed);
	run_until(is_closed);
	provider = NULL;
}

static void on_done(struct sms_submission *submission, const struct sms_outcome *outcome)
{
	struct asked *a = (struct asked *)(void *)submission;
	ck_assert(!a->is_done);
	a->is_done = true;
	a->verdict = outcome->verdict;
	snprintf(a->message_id, sizeof a->message_id, "%s", outcome->message_id ? outcome->message_id : "");
	snprintf(a->reason, sizeof a->reason, "%s", outcome->reason ? outcome->reason : "");
	told++;
}

void ask(struct asked *a)
{
	a->is_done = false;
	a->submission.on_done = on_done;
	if (!a->sms.msisdn)
		a->sms.msisdn = "+4915550000001";
	if (!a->sms.vehicle_id)
		a->sms.vehicle_id = "WKF00000000000001";
	if (!a->sms.text)
		a->sms.text = "KEYFOB WAKE WKF00000000000001";
	if (!a->sms.validity_s)
		a->sms.validity_s = 90;
	provider->submit(provider->self, &a->sms, &a->submission);
	ck_assert(!a->is_done); /* never inside */
}

void assert_outcome(const struct asked *a, enum sms_verdict verdict, const char *reason)
{
	ck_assert(a->is_done);
	ck_assert_str_eq(a->reason, reason ? reason : "");
	ck_assert_int_eq(a->verdict, verdict);
}
