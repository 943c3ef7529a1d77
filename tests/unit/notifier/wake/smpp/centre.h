/* centre.h - an SMS centre that does what a test tells it, on a loopback socket of the test's own loop; and a provider
 * under test with an owner that remembers what it was told. */
#ifndef KEYFOB_TESTS_SMPP_CENTRE_H
#define KEYFOB_TESTS_SMPP_CENTRE_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/loop.h"
#include "base/smpp/pdu.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/smpp/smpp.h"

#define CENTRE_SUBMITS_MAX 2048
#define PATIENCE_MS 15000

struct centre_connection;

struct centre {
	/* what it does */
	uint32_t bind_status;	/* its answer to a bind */
	uint32_t submit_status; /* its answer to a submit_sm, … */
	int refusals;		/* … so many times, then ROK; 0: always */
	bool ignores_binds, ignores_submits, ignores_enquiries, ignores_unbinds;
	const char *first_id; /* the id that it gives; NULL: "1", "2", … */

	/* what it saw */
	int connections, binds, submits, enquiries, enquiry_answers, unbinds, unbind_answers, deliver_answers, nacks;
	uint32_t last_status; /* of the last deliver_sm_resp or generic_nack */
	struct smpp_bind bind;
	struct {
		struct smpp_message message; /* its text is below */
		uint8_t text[256];
		uint32_t sequence;
	} submit[CENTRE_SUBMITS_MAX];

	uv_tcp_t *server;
	int port;
	struct centre_connection *connection; /* the newest */
};

void centre_start(struct centre *); /* at the port that it had before, or at a free one */
void centre_stop(struct centre *);  /* listener and connection */
void centre_cut(struct centre *);   /* the connection alone */
void centre_send(struct centre *, const void *bytes, size_t len);
void centre_send_header(struct centre *, uint32_t command, uint32_t status, uint32_t sequence);
void centre_send_receipt(struct centre *, const char *id, int state, const char *text);
void centre_answer(struct centre *, int submit, const char *id);

/* A submission and what became of it. */
struct asked {
	struct sms_submission submission;
	struct sms sms;
	bool is_done;
	enum sms_verdict verdict;
	char message_id[SMPP_ID_SIZE], reason[32];
};

#define RECEIPTS_MAX 64

struct fault;

extern struct loop *loop;
extern struct centre centre;
extern struct sms_provider *provider; /* NULL once it is closed */
extern int receipts;
extern struct seen_receipt {
	char id[SMPP_ID_SIZE], reason[32];
	bool delivered;
	int after_done; /* how many submissions had been told by then */
} seen[RECEIPTS_MAX];
extern int told;	    /* submissions */
extern bool keeps_receipts; /* until the test says what became of them */

void set_up(void);
void tear_down(void);
/* With defaults for what is not given; at the centre's port. */
void provider_start(struct smpp_options);
void provider_close(void); /* and waits for it */
/* What became of the receipts that were kept, from the loop. */
void decide_receipts(const struct fault *);
void ask(struct asked *); /* a wake-up for +4915550000001 that lives 90 s, unless it says otherwise */
void assert_outcome(const struct asked *, enum sms_verdict, const char *reason);

/* Turns the loop until it is true; after PATIENCE_MS the test has failed. */
#define run_until(condition)                                                                                           \
	do {                                                                                                           \
		int64_t end_ms = loop_monotonic_ms(loop) + PATIENCE_MS;                                                \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(loop_monotonic_ms(loop) < end_ms, "waited in vain for " #condition);             \
			uv_run(loop_uv(loop), UV_RUN_ONCE);                                                            \
		}                                                                                                      \
	} while (0)

#endif
