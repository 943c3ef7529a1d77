/* sender.c - one send link with its inbox.
 *
 * A broker that is frozen or cut off says so by nothing: TCP and MQTT's own ping need seconds. So one that has confirmed nothing for a while is
 * asked to confirm a message, where nobody hears it; and one that does not is silent, until it confirms something. What others say by
 * it is no word of its own: where it does not hear us, that goes on. */
#include "gateway/sender.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"

#define CLAIM_INSTALLATION_MS 1000 /* how long the broker has to show whose namespace it is */
#define INBOX_EXPIRY_S 10	   /* older events are found in the table */
#define TOPIC_MAX 256
#define LOOK_MS 250
#define ASK_LOOKS 3    /* without a confirmation, and it is asked for one … */
#define SILENT_LOOKS 7 /* … and is silent. Looks are counted, not time: a loop that stood still has not listened */
#define REASON_NO_MATCHING_SUBSCRIBERS 0x10 /* MQTT 5 §3.4.2.1 */

struct sender {
	struct loop *loop;
	struct sender_options options;
	struct mqtt_link *link;
	struct loop_timer claim, look;
	int64_t look_ms; /* monotonic: when the next look is due */
	unsigned quiet;	 /* looks since the broker confirmed anything */
	bool is_silent;
	char client_id[128], inbox[TOPIC_MAX], gone[TOPIC_MAX], gone_filter[TOPIC_MAX], installation[TOPIC_MAX],
		mark[TOPIC_MAX];
	char nobody[TOPIC_MAX]; /* where nobody ever subscribes: what the broker says to it shows what it says at all */
	int nobody_mid;
	bool up, installation_seen, hears_nobody;
	void (*on_closed)(void *owner);
};

static void on_up(void *owner, struct mqtt_link *link, bool session_present);
static void on_subscribed(void *owner, struct mqtt_link *link);
static void on_down(void *owner, struct mqtt_link *link, const char *reason);
static void on_message(void *owner, struct mqtt_link *link, const struct mqtt_message *message);
static void on_puback(void *owner, struct mqtt_link *link, int mid, int reason);
static void on_claim(struct loop_timer *timer);
static void look_again(struct sender *s);
static void on_look(struct loop_timer *timer);
static void ask_word(struct sender *s);
static void note_word(struct sender *s);
static void on_closed(void *owner);

struct sender *sender_new(struct loop *loop, const struct sender_options *options)
{
	struct sender *s = memory_new(sizeof(*s));
	const char *ns = options->namespace;

	s->loop = loop;
	s->options = *options;
	s->nobody_mid = -1;
	snprintf(s->client_id, sizeof(s->client_id), "%s-worker-%s", ns, options->worker);
	snprintf(s->inbox, sizeof(s->inbox), "%s/inbox/%s", ns, options->worker);
	snprintf(s->gone, sizeof(s->gone), "%s/workers/%s/gone", ns, options->worker);
	snprintf(s->gone_filter, sizeof(s->gone_filter), "%s/workers/+/gone", ns);
	snprintf(s->installation, sizeof(s->installation), "%s/installation", ns);
	snprintf(s->mark, sizeof(s->mark), "%s/retained", ns);
	snprintf(s->nobody, sizeof(s->nobody), "%s/nobody/%s", ns, options->worker);
	loop_timer_init(loop, &s->claim, on_claim);
	loop_timer_init(loop, &s->look, on_look);
	s->link = link_new(loop, options->broker,
		&(struct mqtt_link_options){
			.client_id = s->client_id,
			.will_topic = s->gone,
			.will_payload = "{}",
			.owner = s,
			.on_up = on_up,
			.on_down = on_down,
			.on_subscribed = on_subscribed,
			.on_message = on_message,
			.on_puback = on_puback,
		});
	return s;
}

void sender_start(struct sender *s)
{
	link_start(s->link);
}

void sender_close(struct sender *s, void (*closed)(void *owner))
{
	loop_timer_stop(&s->claim);
	loop_timer_stop(&s->look);
	s->up = false;
	s->on_closed = closed;
	link_close(s->link, on_closed);
}

static void on_closed(void *owner)
{
	struct sender *s = owner;
	void (*closed)(void *) = s->on_closed;
	void *whose = s->options.owner;
	free(s);
	closed(whose);
}

bool sender_is_up(const struct sender *s)
{
	return s->up;
}

bool sender_is_silent(const struct sender *s)
{
	return s->up && s->is_silent;
}

bool sender_hears_nobody(const struct sender *s)
{
	return s->up && s->hears_nobody;
}

int sender_publish(struct sender *s, const struct mqtt_publish *message)
{
	return s->up ? link_publish(s->link, message) : -1;
}

bool sender_forward(struct sender *s, const char *worker, const char *text, size_t len)
{
	char topic[TOPIC_MAX];

	snprintf(topic, sizeof(topic), "%s/inbox/%s", s->options.namespace, worker);
	metric_add(METRIC_EVENTS_FORWARDED, 1);
	return sender_publish(s, &(struct mqtt_publish){ .topic = topic,
					 .payload = text,
					 .len = len,
					 .qos = 0,
					 .expiry_seconds = INBOX_EXPIRY_S }) >= 0;
}

static void on_up(void *owner, struct mqtt_link *link, bool session_present)
{
	struct sender *s = owner;
	const char *filters[] = { s->inbox, s->gone_filter, s->installation, s->mark };

	(void)session_present;
	s->installation_seen = false;
	link_subscribe(link, filters, sizeof(filters) / sizeof(filters[0]), 1);
}

static void on_subscribed(void *owner, struct mqtt_link *link)
{
	struct sender *s = owner;

	(void)link;
	s->up = true;
	s->is_silent = false;
	s->quiet = 0;
	log_info("sender", "connected to the broker", LOG_TEXT("client_id", s->client_id));
	loop_timer_start(&s->claim, CLAIM_INSTALLATION_MS);
	s->look_ms = loop_monotonic_ms(s->loop);
	look_again(s);
	s->hears_nobody = false;
	s->nobody_mid = -1;
	ask_word(s);
	s->options.on_up(s->options.owner);
}

static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	struct sender *s = owner;

	(void)link;
	log_warn("sender", "no connection to the broker", LOG_TEXT("reason", reason));
	loop_timer_stop(&s->claim);
	loop_timer_stop(&s->look);
	if (!s->up)
		return;
	s->up = false;
	s->options.on_down(s->options.owner);
}

/* Listening. */

static void ask_word(struct sender *s)
{
	if (s->nobody_mid < 0)
		s->nobody_mid = link_publish(
			s->link, &(struct mqtt_publish){ .topic = s->nobody, .payload = "{}", .len = 2, .qos = 1 });
}

static void set_silent(struct sender *s, bool is_silent)
{
	if (s->is_silent == is_silent)
		return;
	s->is_silent = is_silent;
	if (is_silent)
		log_warn("sender", "the broker is silent", LOG_TEXT("client_id", s->client_id));
	else
		log_info("sender", "the broker speaks again", LOG_TEXT("client_id", s->client_id));
	s->options.on_silence(s->options.owner);
}

static void note_word(struct sender *s)
{
	s->quiet = 0;
	set_silent(s, false);
}

/* One that is a little late does not put off all that follow. */
static void look_again(struct sender *s)
{
	int64_t now_ms = loop_monotonic_ms(s->loop);

	s->look_ms = s->look_ms + LOOK_MS > now_ms ? s->look_ms + LOOK_MS : now_ms + LOOK_MS;
	loop_timer_start(&s->look, s->look_ms - now_ms);
}

static void on_look(struct loop_timer *timer)
{
	struct sender *s = container_of(timer, struct sender, look);

	look_again(s);
	s->quiet++;
	if (s->quiet == ASK_LOOKS)
		ask_word(s);
	else if (s->quiet == SILENT_LOOKS)
		set_silent(s, true);
}

/* The namespace is claimed by the first installation that comes, for ever. */
static void on_claim(struct loop_timer *timer)
{
	struct sender *s = container_of(timer, struct sender, claim);
	if (!s->installation_seen)
		sender_publish(s, &(struct mqtt_publish){ .topic = s->installation,
					  .payload = s->options.installation,
					  .len = strlen(s->options.installation),
					  .qos = 1,
					  .retain = true });
}

static void check_installation(struct sender *s, const struct mqtt_message *m)
{
	const char *ours = s->options.installation;

	s->installation_seen = true;
	if (m->len == strlen(ours) && memcmp(m->payload, ours, m->len) == 0)
		return;
	log_error("sender",
		"the namespace at this broker belongs to another installation (another database); "
		"set `namespace`, or remove its retained message",
		LOG_TEXT("topic", s->installation));
	s->options.on_foreign(s->options.owner);
}

/* {namespace}/workers/{worker}/gone */
static void hear_will(struct sender *s, const char *topic)
{
	char worker[40];
	const char *id = topic + strlen(s->options.namespace) + strlen("/workers/");

	snprintf(worker, sizeof(worker), "%.*s", (int)strcspn(id, "/"), id);
	s->options.on_worker_gone(s->options.owner, worker);
}

static void on_message(void *owner, struct mqtt_link *link, const struct mqtt_message *m)
{
	struct sender *s = owner;

	(void)link;
	if (strcmp(m->topic, s->inbox) == 0)
		s->options.on_inbox(s->options.owner, m->payload, m->len);
	else if (strcmp(m->topic, s->installation) == 0)
		check_installation(s, m);
	else if (strcmp(m->topic, s->mark) == 0)
		s->options.on_mark(s->options.owner, m->payload, m->len);
	else if (strcmp(m->topic, s->gone) != 0)
		hear_will(s, m->topic);
}

static void on_puback(void *owner, struct mqtt_link *link, int mid, int reason)
{
	struct sender *s = owner;

	(void)link;
	note_word(s);
	if (mid == s->nobody_mid) {
		s->hears_nobody = reason == REASON_NO_MATCHING_SUBSCRIBERS;
		s->nobody_mid = -1;
		return;
	}
	s->options.on_puback(s->options.owner, mid, reason);
}
