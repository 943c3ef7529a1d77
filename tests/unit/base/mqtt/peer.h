/* peer.h - what the link tests share: a loop, a broker, and a link whose owner remembers what it was told. */
#ifndef KEYFOB_TESTS_MQTT_PEER_H
#define KEYFOB_TESTS_MQTT_PEER_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/loop.h"
#include "base/mqtt/link.h"
#include "broker.h"

#define HEARD_MAX 4096
#define PATIENCE_MS 15000

struct peer {
	struct mqtt_link *link;
	int asked, ups, downs, subscribed, closed, batches;
	bool session_present;
	char reason[256]; /* of the last on_down */

	int pubacks, last_mid, last_reason;

	size_t heard, last_batch;
	int numbers[HEARD_MAX]; /* the payloads heard, as numbers */
	size_t last_len;
	char last_correlation[64];
	uint32_t last_expiry;
	bool last_retained;

	/* what its owner does */
	const char *filter; /* subscribed whenever it comes up */
	bool refuse_once;   /* may_connect: first no, then yes */
	bool acknowledge;   /* each batch, at once */
	char closes_in;	    /* closes itself in: 'a'sk, 'u'p, 'd'own, 's'ubscribed, 'm'essage, 'b'atch, 'p'uback */
};

extern struct loop *loop;
extern struct test_broker server;
extern struct mqtt_broker broker; /* where the links go; at first the server's port */

void set_up(void);
void tear_down(void);

/* With every callback; `options` may bring the rest. Started. */
void peer_start(struct peer *, const char *client_id, struct mqtt_link_options options);
void peer_close(struct peer *);
int peer_publish(struct peer *, const char *topic, int number);

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
