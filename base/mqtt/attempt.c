/* attempt.c - opens a connection away from the loop. */
#include "base/mqtt/attempt.h"

#include <errno.h>
#include <mosquitto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/memory.h"
#include "base/mqtt/link.h"
#include "base/mqtt/reason.h"

struct attempt {
	uv_work_t work;
	struct mosquitto *handle;
	char *host; /* a copy: an abandoned attempt may outlive the link's broker */
	int port, keepalive_seconds;
	bool tls;

	int rc, error;
	char detail[REASON_SIZE]; /* what libmosquitto logged */

	void (*on_done)(void *owner, struct mosquitto *handle, const char *reason); /* NULL: abandoned */
	void *owner;
};

static void run(uv_work_t *);
static int connect_in_turn(struct attempt *);
static void on_log(struct mosquitto *, void *attempt, int level, const char *text);
static void on_returned(uv_work_t *, int status);
static void hand_back(struct attempt *);
static void free_attempt(struct attempt *);

struct attempt *attempt_start(uv_loop_t *loop, struct mosquitto *handle, const struct mqtt_broker *broker,
	int keepalive_seconds, void (*on_done)(void *owner, struct mosquitto *handle, const char *reason), void *owner)
{
	struct attempt *a = memory_new(sizeof *a);
	a->handle = handle;
	a->host = memory_need(strdup(broker->host));
	a->port = broker->port;
	a->tls = broker->tls;
	a->keepalive_seconds = keepalive_seconds;
	a->on_done = on_done;
	a->owner = owner;
	mosquitto_user_data_set(handle, a);
	mosquitto_log_callback_set(handle, on_log);
	uv_queue_work(loop, &a->work, run, on_returned);
	return a;
}

/* The asynchronous connect still resolves the name at once, but does not wait for the peer. */
static void run(uv_work_t *work)
{
	struct attempt *a = container_of(work, struct attempt, work);
	a->rc = a->tls ? connect_in_turn(a)
		       : mosquitto_connect_bind_async(a->handle, a->host, a->port, a->keepalive_seconds, NULL);
	a->error = errno;
}

/* libmosquitto 2.0.11 sets OpenSSL up at the first TLS connect, without a lock: until one has passed that
 * point, they go one by one. */
static int connect_in_turn(struct attempt *a)
{
	static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
	static atomic_bool tls_is_ready;
	bool wait = !atomic_load(&tls_is_ready);
	if (wait)
		pthread_mutex_lock(&turn);
	int rc = mosquitto_connect_bind_async(a->handle, a->host, a->port, a->keepalive_seconds, NULL);
	int error = errno;
	if (mosquitto_ssl_get(a->handle))
		atomic_store(&tls_is_ready, true);
	if (wait)
		pthread_mutex_unlock(&turn);
	errno = error;
	return rc;
}

/* Only the first error is of use: what follows from it is logged after it. */
static void on_log(struct mosquitto *handle, void *attempt, int level, const char *text)
{
	struct attempt *a = attempt;
	(void)handle;
	if (level == MOSQ_LOG_ERR && !*a->detail)
		snprintf(a->detail, sizeof a->detail, "%s", text);
}

static void on_returned(uv_work_t *work, int status)
{
	struct attempt *a = container_of(work, struct attempt, work);
	(void)status; /* a cancelled attempt is an abandoned one */
	if (a->on_done)
		hand_back(a);
	free_attempt(a);
}

static void hand_back(struct attempt *a)
{
	struct mosquitto *handle = a->handle;
	char reason[REASON_SIZE];
	mosquitto_log_callback_set(handle, NULL);
	if (a->rc > MOSQ_ERR_SUCCESS) {
		reason_write(a->rc, a->error, a->detail, reason);
		a->on_done(a->owner, NULL, reason);
		return;
	}
	a->handle = NULL;
	a->on_done(a->owner, handle, NULL);
}

void attempt_abandon(struct attempt *a)
{
	if (!a)
		return;
	a->on_done = NULL;
	uv_cancel((uv_req_t *)&a->work);
}

static void free_attempt(struct attempt *a)
{
	mosquitto_destroy(a->handle);
	free(a->host);
	free(a);
}
