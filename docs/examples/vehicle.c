/* vehicle.c - a vehicle as it should be, with libmosquitto (MQTT 5); docs/vehicle-guide.md says why each step is there.
 *
 *   cc -o vehicle vehicle.c -lmosquitto -ljansson
 *   ./vehicle ID PASSWORD HOST PORT [birth]     (birth: the broker does not tell by itself who comes and goes) */
#define _GNU_SOURCE
#include <jansson.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REMEMBERED = 64, RESEND_SECONDS = 2 }; /* more requests than may come while one of them can come again */
static struct request {
	char id[65], topic[160], answer[320]; /* the answer that stands */
	time_t done_at, told_at;	      /* done_at 0: nothing is under way any more */
	int progress_told;		      /* in_progress is accepted too: that does not settle the last word */
	int is_settled;			      /* the gateway has the last word */
} requests[REMEMBERED];
static char commands[100], lifecycle[100], birth[120], will[120]; /* topics, and what is said on the second */

static void tell(struct mosquitto *car, struct request *r)
{
	mosquitto_property *properties = NULL;
	mosquitto_property_add_binary(&properties, MQTT_PROP_CORRELATION_DATA, r->id, strlen(r->id));
	mosquitto_publish_v5(car, NULL, r->topic, strlen(r->answer), r->answer, 1, false, properties);
	mosquitto_property_free_all(&properties);
	r->told_at = time(NULL);
	r->progress_told += r->done_at != 0;
}

static void answer(struct mosquitto *car, struct request *r, const char *status, const char *reason)
{
	const char *form = "{\"request_id\":\"%s\",\"status\":\"%s\",\"reason\":%s}";
	snprintf(r->answer, sizeof r->answer, form, r->id, status, reason);
	tell(car, r);
}

static struct request *find(const char *id)
{
	for (struct request *r = requests; r < requests + REMEMBERED; r++)
		if (strcmp(r->id, id) == 0)
			return r;
	return NULL;
}

static void do_once(struct mosquitto *car, struct request *r, const char *name, const char *expires_at)
{
	struct tm end = { 0 };
	if (!strptime(expires_at, "%Y-%m-%dT%H:%M:%S", &end) || timegm(&end) < time(NULL))
		return answer(car, r, "rejected", "{\"code\":\"EXPIRED\"}");
	if (strncmp(name, "doors.", 6) != 0)
		return answer(car, r, "rejected", "{\"code\":\"NOT_ABLE\"}");
	fprintf(stderr, "doing %s\n", name); /* here they move; what takes longer says so meanwhile */
	r->done_at = time(NULL) + 1;
	answer(car, r, "in_progress", "null");
}

static void on_message(struct mosquitto *car, void *context, const struct mosquitto_message *m)
{
	static unsigned taken;
	const char *id = "", *topic = NULL, *name = "", *end = "";
	json_t *body = json_loadb(m->payload, m->payloadlen, 0, NULL);
	json_unpack(body, "{s:s,s?s,s?s,s?s}", "request_id", &id, "response_topic", &topic, "name", &name, "expires_at",
		&end);
	struct request *r = find(id);
	if (!topic && r) { /* accepted or rejected: either way the gateway has it */
		r->is_settled = r->progress_told-- <= 0;
	} else if (r) { /* it has come before: it is told again, and not done again */
		tell(car, r);
	} else if (topic) {
		r = &requests[taken++ % REMEMBERED];
		memset(r, 0, sizeof *r);
		snprintf(r->id, sizeof r->id, "%s", id);
		snprintf(r->topic, sizeof r->topic, "%s", topic);
		do_once(car, r, name, end);
	}
	json_decref(body);
}

static void on_connect(struct mosquitto *car, void *context, int refusal)
{
	mosquitto_subscribe(car, NULL, commands, 1); /* request, accepted, rejected */
}

static void on_subscribe(struct mosquitto *car, void *context, int mid, int count, const int *granted)
{
	if (*lifecycle) /* not before: what comes at once has to find it subscribed */
		mosquitto_publish(car, NULL, lifecycle, strlen(birth), birth, 1, false);
}

/* Birth and will bear a session that was never used before, and a version that rises: here both are the time. */
static int join(struct mosquitto *car, const char *host, const char *port)
{
	sleep(1);
	long long now = time(NULL);
	snprintf(birth, sizeof birth, "{\"type\":\"birth\",\"session\":\"%lld\",\"version\":%lld}", now, now);
	snprintf(will, sizeof will, "{\"type\":\"will\",\"session\":\"%lld\",\"version\":%lld}", now, now);
	if (*lifecycle)
		mosquitto_will_set(car, lifecycle, strlen(will), will, 1, false);
	return mosquitto_connect(car, host, atoi(port), 30);
}

/* What was done is told; what was told and is not settled is told again. */
static void look(struct mosquitto *car, struct request *r)
{
	if (r->done_at && r->done_at <= time(NULL)) {
		r->done_at = 0;
		answer(car, r, "succeeded", "null");
	} else if (!r->done_at && *r->id && !r->is_settled && r->told_at + RESEND_SECONDS <= time(NULL))
		tell(car, r);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	snprintf(commands, sizeof commands, "vehicles/%s/commands/+", argv[1]);
	snprintf(lifecycle, sizeof lifecycle, argc > 5 ? "vehicles/%s/lifecycle" : "", argv[1]);
	mosquitto_lib_init();
	struct mosquitto *car = mosquitto_new(argv[1], true, NULL);
	mosquitto_int_option(car, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
	mosquitto_username_pw_set(car, argv[1], argv[2]);
	mosquitto_connect_callback_set(car, on_connect);
	mosquitto_subscribe_callback_set(car, on_subscribe);
	mosquitto_message_callback_set(car, on_message);
	for (int error = MOSQ_ERR_NO_CONN;; error = error ? join(car, argv[3], argv[4]) : mosquitto_loop(car, 200, 1))
		for (struct request *r = requests; r < requests + REMEMBERED; r++)
			look(car, r);
}
