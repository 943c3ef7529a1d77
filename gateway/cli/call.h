/* call.h - one REST call to the node, blocking, repeated while there is hope. */
#ifndef KEYFOB_GATEWAY_CLI_CALL_H
#define KEYFOB_GATEWAY_CLI_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct cli;
struct curl_setup;
struct curl_slist;

struct call {
	const char *
		method; /* must be safe to repeat: GET, PUT, DELETE, PATCH, or a POST with an idempotency key or the like */
	const char *path;	     /* "/v1/…", already encoded */
	const json_t *body;	     /* NULL: none */
	const char *idempotency_key; /* NULL: none */
	const char *if_version;	     /* If-Match; NULL: none */
	int wait_s;		     /* Prefer: wait=N, or what is left until `until_ms`; 0: none */
	int64_t patience_ms;	     /* how long a node that cannot be reached, or is busy, is asked again */
	int64_t until_ms; /* monotonic: when the caller's time is over: nothing is asked again after it; 0: never */
};

#define TRANSFER_ERROR_SIZE 400

struct reply {
	long status;			 /* HTTP; 0: no answer */
	json_t *body;			 /* NULL: none, or no JSON */
	int retry_after_s;		 /* 0: not said */
	char error[TRANSFER_ERROR_SIZE]; /* why there is no answer, one line */
	bool may_have_executed;		 /* it went out, and no answer says that nothing came of it */
};

#define CALL_PATIENCE_MS (10 * 1000)

/* Makes the call; the reply is the caller's, reply_done() when done. */
void call_make(struct cli *, const struct call *, struct reply *ret);
void reply_done(struct reply *);
/* A status of 2xx with JSON. */
bool reply_is_fine(const struct reply *);
/* What went wrong, as one line on standard error; returns CLI_FAILED. */
int reply_report(const struct reply *);
/* The same of what must not be done twice: where it may have been done all the same, says so and by which key it is
 * asked for again, and returns CLI_TIMED_OUT: to a script that is not over. */
int reply_report_keyed(const struct reply *, const char *idempotency_key);

/* Makes the call; the body, the caller's. NULL: it is reported already. */
json_t *node_ask(struct cli *, const struct call *);
/* GET, likewise. */
json_t *node_get(struct cli *, const char *path);
/* "/v1" and each part, encoded, behind a slash; ends with NULL. The caller frees it. */
char *node_path(const char *part, ...) __attribute__((sentinel));
/* "Authorization: Bearer …", to be freed with curl_slist_free_all(). */
struct curl_slist *call_headers(const struct cli *);
/* The list with one more header. */
struct curl_slist *header_add(struct curl_slist *, const char *name, const char *value);
/* What every transfer is given: TLS, no signals, no surprises. */
void call_prepare(struct curl_setup *, const char *url, struct curl_slist *headers);
/* How libcurl failed (CURLcode), and what to do: "http://127.0.0.1:8080: Couldn't connect to server". */
void transfer_error_write(const struct cli *, int code, char out[TRANSFER_ERROR_SIZE]);
/* Milliseconds, never jumps. */
int64_t monotonic_ms(void);
/* That time so many seconds from now; of 0 it is never reached. */
int64_t monotonic_ms_after(int64_t seconds);
void sleep_ms(int64_t);
int64_t smaller(int64_t, int64_t);
/* The delay before attempt `failures` + 1: 200 ms, doubling to 5 s, with jitter. */
int64_t backoff_ms(int failures);

#endif
