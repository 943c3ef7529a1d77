/* attempt.h - one attempt at one delivery: a signed POST, and what its answer means. */
#ifndef KEYFOB_NOTIFIER_WEBHOOK_ATTEMPT_H
#define KEYFOB_NOTIFIER_WEBHOOK_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/http_client.h"
#include "base/json.h"
#include "base/list.h"

#define ATTEMPT_ERROR_SIZE 96

/* As webhooks_settle() has them. */
enum webhook_outcome {
	ATTEMPT_RELEASED, /* there was none */
	ATTEMPT_DELIVERED,
	ATTEMPT_FAILED,
	ATTEMPT_GONE,	 /* 410 */
	ATTEMPT_DROPPED, /* it must not be sent */
};
extern const char *const webhook_outcome_names[];

/* Owned by its maker from webhook_attempt_new() to webhook_attempt_free(), and not to be freed while it is under way. */
struct webhook_attempt {
	struct list node; /* the owner's */
	char webhook_id[37], vehicle_id[65], id[37];
	int64_t claim;
	char *url, *secret, *old_secret, *body; /* old_secret NULL: one signature */

	/* set when on_done runs */
	enum webhook_outcome outcome;
	int status; /* of the answer; 0: none */
	char error[ATTEMPT_ERROR_SIZE];
	int64_t wait_ms; /* the server asked to be left alone for so long; 0: it did not */

	void *owner;
	void (*on_done)(struct webhook_attempt *);
	struct http_call call;
	struct text headers[4];
	const char *lines[5];
	int64_t began_us;
	struct loop *loop;
};

struct webhook_attempt *webhook_attempt_new(struct loop *);
void webhook_attempt_free(struct webhook_attempt *);
/* Signs it as of `unix_us` and sends it; on_done runs once, from the loop. `anywhere`: also by http, and to private addresses. */
void webhook_attempt_start(
	struct webhook_attempt *, struct http_client *, int64_t unix_us, int64_t timeout_ms, bool anywhere);

#endif
