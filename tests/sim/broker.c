/* broker.c - sessions, and what is routed between them. */
#include "tests/sim/broker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "state/lifecycle_event.h"
#include "tests/sim/chance.h"
#include "tests/sim/letter.h"
#include "tests/sim/line.h"
#include "tests/sim/news.h"
#include "tests/sim/node.h"
#include "tests/sim/owed.h"
#include "tests/sim/record.h"
#include "tests/sim/twin.h"
#include "tests/sim/world.h"

#define PREFIX "$aws/events"
#define NAMESPACE "keyfob"
#define LIFECYCLE_FEED NAMESPACE "-feed-lifecycle"
#define NO_MATCHING_SUBSCRIBERS 0x10
#define FILTERS_MAX 12
#define BEHIND_MS 11000	 /* by when a feed has read what the broker had kept, and has been told so */
#define QUESTIONS_MAX 3	 /* of a connection, in vain */
#define AGAIN_MS 65000	 /* by when it is asked again */
#define SETTLED_MS 12000 /* after the fault for which it was asked, its recovery is over */
#define RESYNC_MS 5000	 /* an answer that takes longer may have come to somebody whose lease had run out */

struct filter {
	char *text;
	int qos;
};

/* What the broker keeps of a client. */
struct session {
	struct list node;
	char *client_id;
	bool is_kept;		    /* when its line is lost … */
	int64_t expiry_ms;	    /* … for so long */
	struct loop_timer expiring; /* then it is gone */
	struct filter filters[FILTERS_MAX];
	size_t filter_count;
	struct list queue;	/* of struct delivery: QoS 1, not yet acknowledged */
	struct mqtt_link *link; /* NULL: not connected */
	int next_delivery;
	int64_t connected_ms; /* when its line was made */
	/* of vehicles */
	bool is_vehicle, is_subscribed;
	char uuid[UUID_TEXT_SIZE];
	int64_t version, told_ms;
};

struct delivery {
	struct list node;
	int number;
	struct letter *letter;
};

struct retained {
	struct list node;
	struct letter *letter;
	int64_t at_ms;
};

/* A lifecycle event on its way to the broker's own topics. */
struct rumour {
	struct loop_timer timer;
	struct letter *letter;
	int64_t version; /* of the connection that it is about */
};

/* The last that was asked, and the line of who is to be answered. */
struct resync_question {
	char text[128];
	int64_t asked_ms;
	const struct mqtt_link *link;
	unsigned line;
};

static struct {
	struct broker_habits habits;
	struct list sessions, retained;
	struct list diary; /* of struct retained: all that was ever to be kept, and what ended it, in their order */
	bool is_away;
	int64_t version, lost_kept_ms;
	unsigned lost_permille;
	struct resync_question question;
	unsigned questions;  /* since the lifecycle feed has connected */
	int64_t end_lost_ms; /* that of the last question's answer; 0: it was not */
} broker;

static void route(struct letter *letter, bool retain, int *ret_reason);
static void tell_presence(struct session *s, bool is_connected, const char *reason);
static void tell_subscription(struct session *s);
static void retell(const struct letter *question);
static void announce(struct session *s, bool goes_on);
static void on_expired(struct loop_timer *timer);

void broker_begin(const struct broker_habits *habits)
{
	broker.habits = *habits;
	list_init(&broker.sessions);
	list_init(&broker.retained);
	list_init(&broker.diary);
}

/* Sessions. */

static struct session *session_of(const char *client_id)
{
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		if (strcmp(s->client_id, client_id) == 0)
			return s;
	}
	return NULL;
}

static void note_presence(const struct session *s, bool is_there)
{
	world_note("%s: %s", s->client_id, is_there ? "subscribed" : "gone");
	record_presence(s->client_id, is_there);
	news_presence(s->client_id, is_there);
}

static void forget_state(struct session *s)
{
	for (size_t i = 0; i < s->filter_count; i++)
		free(s->filters[i].text);
	s->filter_count = 0;
	while (!list_is_empty(&s->queue)) {
		struct delivery *d = container_of(list_take_first(&s->queue), struct delivery, node);
		letter_unref(d->letter);
		free(d);
	}
	s->is_subscribed = false;
}

static void on_expired(struct loop_timer *timer)
{
	struct session *s = container_of(timer, struct session, expiring);

	world_note("%s: its session is over", s->client_id);
	forget_state(s);
	s->is_kept = false;
}

/* It has no line any more. */
static void leave_session(struct session *s)
{
	s->link = NULL;
	owed_end_line(s->client_id);
	if (s->is_kept)
		loop_timer_start(&s->expiring, s->expiry_ms);
}

static void publish_will(struct mqtt_link *l)
{
	int ignored;

	if (!l->will_topic[0])
		return;
	struct letter *will = letter_new(l->will_topic, l->will_payload, strlen(l->will_payload), NULL, 0);
	route(will, false, &ignored);
	letter_unref(will);
}

/* The broker sees the end of a line. */
static void end_line(struct mqtt_link *l, const char *reason, bool in_order)
{
	struct session *s = l->session;

	l->session = NULL;
	if (l->state == CLOSING || l->is_dead) {
		l->is_open = false;
		list_remove(&l->node_of_all);
	}
	if (!s || s->link != l)
		return;
	leave_session(s);
	if (s->is_vehicle) {
		note_presence(s, false);
		tell_presence(s, false, reason);
	}
	if (!s->is_kept)
		forget_state(s);
	if (!in_order)
		publish_will(l);
}

/* `number` 0: it is nobody's to acknowledge. */
static void send_letter(struct session *s, int number, struct letter *letter)
{
	struct parcel *p = line_post(s->link, MESSAGE);

	p->number = number;
	p->letter = letter_ref(letter);
	if (number > 0)
		owed_write(s->client_id, letter);
}

static void deliver(struct session *s, const struct filter *f, struct letter *letter)
{
	int number = 0;

	if (letter->qos > 0 && f->qos > 0) {
		struct delivery *d = memory_new(sizeof(*d));
		d->number = number = ++s->next_delivery;
		d->letter = letter_ref(letter);
		list_append(&s->queue, &d->node);
		owed_take(s->client_id, letter);
	}
	if (!s->link || (number == 0 && letter_is_expired(letter)))
		return;
	send_letter(s, number, letter);
}

static const struct filter *match(const struct session *s, const char *topic)
{
	for (size_t i = 0; i < s->filter_count; i++)
		if (topic_filter_matches(s->filters[i].text, topic))
			return &s->filters[i];
	return NULL;
}

static void note_retained(struct list *list, struct letter *letter)
{
	struct retained *r = memory_new(sizeof(*r));

	r->letter = letter_ref(letter);
	r->at_ms = world_ms();
	list_append(list, &r->node);
}

static void free_retained(struct list *list)
{
	while (!list_is_empty(list)) {
		struct retained *r = container_of(list_take_first(list), struct retained, node);
		letter_unref(r->letter);
		free(r);
	}
}

static void retain_letter(struct letter *letter)
{
	list_for_each_safe (node, &broker.retained) {
		struct retained *r = container_of(node, struct retained, node);
		if (strcmp(r->letter->topic, letter->topic) != 0)
			continue;
		list_remove(&r->node);
		letter_unref(r->letter);
		free(r);
	}
	if (letter->len > 0)
		note_retained(&broker.retained, letter);
}

static void route(struct letter *letter, bool retain, int *ret_reason)
{
	bool is_heard = false;

	if (retain) {
		note_retained(&broker.diary, letter);
		retain_letter(letter);
		twin_see_publish(letter->topic, letter->payload, letter->len);
	}
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		const struct filter *f = match(s, letter->topic);
		if (!f)
			continue;
		is_heard = true;
		deliver(s, f, letter);
	}
	*ret_reason = is_heard || !broker.habits.says_nobody ? 0 : NO_MATCHING_SUBSCRIBERS;
	record_published(letter->topic, letter->payload, letter->len, *ret_reason != 0, letter->held_ms);
	if (strcmp(letter->topic, PREFIX "/" NAMESPACE "/resync") == 0)
		retell(letter);
}

static bool is_vehicle_id(const char *client_id)
{
	return client_id[0] == 'V';
}

static struct session *session_new(const char *client_id)
{
	struct session *s = memory_new(sizeof(*s));

	s->client_id = memory_need(strdup(client_id));
	s->is_vehicle = is_vehicle_id(client_id);
	list_init(&s->queue);
	loop_timer_init(world_loop(), &s->expiring, on_expired);
	list_append(&broker.sessions, &s->node);
	return s;
}

/* What was not acknowledged is sent again, but for what has expired meanwhile: mosquitto drops that even if it had been sent before. */
static void send_kept(struct session *s)
{
	list_for_each_safe (node, &s->queue) {
		struct delivery *d = container_of(node, struct delivery, node);
		if (!letter_is_expired(d->letter)) {
			send_letter(s, d->number, d->letter);
			continue;
		}
		list_remove(&d->node);
		letter_unref(d->letter);
		free(d);
	}
}

static void on_connect(struct mqtt_link *l)
{
	struct session *s = session_of(l->client_id);
	bool was_there = s != NULL && s->is_kept;

	if (s && s->link) {
		struct mqtt_link *old = s->link;
		end_line(old, "DUPLICATE_CLIENTID", false);
		line_close(old, "taken over");
	}
	if (!s)
		s = session_new(l->client_id);
	bool keeps = l->options.session_expiry_seconds > 0;
	if (!keeps || !was_there)
		forget_state(s);
	bool goes_on = keeps && was_there;
	loop_timer_stop(&s->expiring);
	s->is_kept = keeps;
	s->expiry_ms = 1000 * (int64_t)l->options.session_expiry_seconds;
	s->link = l;
	s->connected_ms = world_ms();
	l->session = s;
	line_post(l, CONNACK)->number = goes_on;
	owed_begin_line(s->client_id, goes_on);
	send_kept(s);
	if (s->is_vehicle)
		announce(s, goes_on && broker.habits.keeps_names);
	else if (strcmp(s->client_id, LIFECYCLE_FEED) == 0)
		broker.questions = 0;
}

/* `goes_on`: under the name that it had. */
static void announce(struct session *s, bool goes_on)
{
	if (!goes_on)
		uuid7_make(world_us(), s->uuid);
	s->version = broker.version = world_us() > broker.version ? world_us() : broker.version + 1;
	world_note("%s: %s", s->client_id, goes_on ? "goes on" : "connected");
	news_session(s->client_id, goes_on);
	tell_presence(s, true, NULL);
	if (s->is_subscribed) {
		note_presence(s, true);
		if (!broker.habits.keeps_names)
			tell_subscription(s);
	}
}

static void on_subscribe(struct session *s, const struct parcel *p)
{
	struct filter *f = NULL;
	char request[128];

	for (size_t i = 0; i < s->filter_count; i++)
		if (strcmp(s->filters[i].text, p->text) == 0)
			f = &s->filters[i];
	if (!f) {
		assert(s->filter_count < FILTERS_MAX);
		f = &s->filters[s->filter_count++];
		f->text = memory_need(strdup(p->text));
	}
	f->qos = p->qos;
	list_for_each (node, &broker.retained) {
		struct letter *letter = container_of(node, struct retained, node)->letter;
		if (topic_filter_matches(p->text, letter->topic) && !letter_is_expired(letter))
			deliver(s, f, letter);
	}
	snprintf(request, sizeof(request), "vehicles/%s/commands/request", s->client_id);
	if (s->is_vehicle && topic_filter_matches(p->text, request)) {
		s->is_subscribed = true;
		note_presence(s, true);
		tell_subscription(s);
	}
	if (p->number)
		line_post(s->link, SUBACK);
}

/* Not what the broker had kept of a feed: the vehicle may have gone since. */
static void note_message(const struct session *s, const struct letter *letter)
{
	char vehicle_id[16];

	if (!s->is_vehicle && world_ms() - s->connected_ms > BEHIND_MS &&
		sscanf(letter->topic, "vehicles/%15[^/]/", vehicle_id) == 1)
		news_message(vehicle_id);
}

/* By who asked, on the line that he had when he did: it is no other's, and none that he heard before. */
static void note_end_of_resync(const struct session *s, const struct letter *letter)
{
	const struct resync_question *q = &broker.question;

	if (strcmp(letter->topic, PREFIX "/" NAMESPACE "/resynced") == 0 && strcmp(letter->payload, q->text) == 0 &&
		s->link == q->link && s->link->line == q->line && world_ms() - q->asked_ms < RESYNC_MS)
		news_resynced(q->asked_ms);
}

static void on_ack(struct session *s, const struct parcel *p)
{
	owed_acknowledge(s->client_id, p->letter);
	list_for_each_safe (node, &s->queue) {
		struct delivery *d = container_of(node, struct delivery, node);
		if (d->number != p->number)
			continue;
		list_remove(&d->node);
		record_acknowledged(d->letter->topic, d->letter->payload, d->letter->len);
		note_message(s, d->letter);
		note_end_of_resync(s, d->letter);
		letter_unref(d->letter);
		free(d);
		return;
	}
}

static void on_publish(struct mqtt_link *l, struct parcel *p)
{
	int reason;

	if (p->letter->expires_ms > 0)
		p->letter->expires_ms = world_ms() + 1000 * p->letter->expires_ms;
	p->letter->held_ms = world_ms() - p->due_ms;
	route(p->letter, p->retain, &reason);
	if (p->qos == 0 || !l->is_open)
		return;
	struct parcel *answer = line_post(l, PUBACK);
	answer->number = p->number;
	answer->reason = reason;
}

void broker_read(struct mqtt_link *l, struct parcel *p)
{
	if (p->kind == CONNECT) {
		l->read_line = p->line;
		on_connect(l);
	} else if (p->line != l->read_line)
		return;
	else if (p->kind == LOST)
		end_line(l, "CONNECTION_LOST", false);
	else if (!l->session)
		return; /* it was taken over */
	else if (p->kind == SUBSCRIBE)
		on_subscribe(l->session, p);
	else if (p->kind == ACK)
		on_ack(l->session, p);
	else if (p->kind == DISCONNECT)
		end_line(l, "CLIENT_INITIATED_DISCONNECT", true);
	else
		on_publish(l, p);
}

/* Lifecycle events, as the plugin tells them; on their way they are late, doubled and out of order, or get lost. */

static enum news_kind kind_of(const struct letter *letter)
{
	return strstr(letter->topic, "/subscriptions/")	 ? NEWS_TOPICS
	       : strstr(letter->topic, "/disconnected/") ? NEWS_END
							 : NEWS_CONNECT;
}

/* What is told of a connection that is over says nothing of the one that there is, but for what its session, which goes on under its name, has
 * subscribed to. */
static bool is_about(const struct letter *letter, const struct session *s, int64_t version)
{
	return s->version == version || (kind_of(letter) == NEWS_TOPICS && strstr(letter->payload, s->uuid));
}

/* Where nobody names who is there when asked, what came before the first feed had subscribed is lost. */
static void note_told(const struct letter *letter, int64_t version, bool is_heard)
{
	const struct session *s = session_of(strrchr(letter->topic, '/') + 1);

	if (!s || !is_about(letter, s, version))
		return;
	if (is_heard && s->link)
		news_told(s->client_id, kind_of(letter));
	else if (!is_heard && !broker.habits.retells)
		news_telling(s->client_id, kind_of(letter), true);
	else if (!is_heard && kind_of(letter) == NEWS_END)
		news_untold(s->client_id);
}

static bool is_anybody_there(const char *topic)
{
	list_for_each (node, &broker.sessions)
		if (match(container_of(node, struct session, node), topic))
			return true;
	return false;
}

static void on_rumour(struct loop_timer *timer)
{
	struct rumour *r = container_of(timer, struct rumour, timer);
	int ignored;

	if (!broker.is_away) {
		route(r->letter, false, &ignored);
		note_told(r->letter, r->version, is_anybody_there(r->letter->topic));
	}
	letter_unref(r->letter);
	free(r);
}

static void spread(struct letter *letter, int64_t version, int64_t delay_ms)
{
	struct rumour *r = memory_new(sizeof(*r));

	r->letter = letter_ref(letter);
	r->version = version;
	loop_timer_init(world_loop(), &r->timer, on_rumour);
	loop_timer_start(&r->timer, delay_ms);
}

static bool is_lost(void)
{
	return broker.lost_permille > 0 && chance_of(broker.lost_permille);
}

static void tell_event(struct session *s, const char *kind, const char *type, const char *rest)
{
	char topic[160], body[512];

	s->told_ms = world_us() / 1000 > s->told_ms ? world_us() / 1000 : s->told_ms + 1;
	snprintf(topic, sizeof(topic), PREFIX "/%s/%s/%s", kind, type, s->client_id);
	snprintf(body, sizeof(body),
		"{\"clientId\":\"%s\",\"timestamp\":%" PRId64 ",\"eventType\":\"%s\",\"sessionIdentifier\":\"%s\","
		"\"principalIdentifier\":\"%s\"%s}",
		s->client_id, s->told_ms, type, s->uuid, s->client_id, rest);
	struct letter *letter = letter_new(topic, body, strlen(body), NULL, 1);
	bool gets_lost = is_lost();
	news_telling(s->client_id, kind_of(letter), gets_lost);
	if (gets_lost) {
		world_note("%s: that it is %s gets lost", s->client_id, type);
		letter_unref(letter);
		return;
	}
	spread(letter, s->version, chance_delay_ms(broker.habits.late_ms / 40, broker.habits.late_ms));
	if (chance_of(broker.habits.doubled_permille))
		spread(letter, s->version, chance_delay_ms(500, broker.habits.late_ms));
	letter_unref(letter);
}

static void tell_presence(struct session *s, bool is_connected, const char *reason)
{
	char rest[160];

	snprintf(rest, sizeof(rest), ",\"versionNumber\":%" PRId64 "%s%s%s", s->version,
		reason ? ",\"clientInitiatedDisconnect\":false,\"disconnectReason\":\"" : "", reason ? reason : "",
		reason ? "\"" : "");
	tell_event(s, "presence", is_connected ? "connected" : "disconnected", rest);
}

static void tell_subscription(struct session *s)
{
	char rest[160];

	snprintf(rest, sizeof(rest), ",\"topics\":[\"vehicles/%s/commands/request\"]", s->client_id);
	tell_event(s, "subscriptions", "subscribed", rest);
}

static void note_question(const struct letter *question)
{
	const struct session *reader = session_of(LIFECYCLE_FEED);

	broker.questions++;
	broker.end_lost_ms = 0;
	broker.question = (struct resync_question){ .asked_ms = world_ms() };
	if (!reader || !reader->link)
		return;
	snprintf(broker.question.text, sizeof(broker.question.text), "%s", question->payload);
	broker.question.link = reader->link;
	broker.question.line = reader->link->line;
}

/* Who is there, and then the end. */
static void retell(const struct letter *question)
{
	if (!broker.habits.retells)
		return;
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		if (!s->is_vehicle || !s->link)
			continue;
		tell_presence(s, true, NULL);
		if (s->is_subscribed)
			tell_subscription(s);
	}
	note_question(question);
	if (is_lost()) {
		world_note("the end of a resync gets lost");
		broker.end_lost_ms = world_ms();
		news_end_lost();
		return;
	}
	struct letter *end = letter_new(PREFIX "/" NAMESPACE "/resynced", question->payload, question->len, NULL, 1);
	spread(end, 0, 0);
	letter_unref(end);
}

void broker_look(void)
{
	int64_t now_ms = world_ms(), lost_ms = broker.end_lost_ms;

	if (lost_ms == 0 || broker.questions >= QUESTIONS_MAX || now_ms - lost_ms < AGAIN_MS ||
		record_excused_ms(lost_ms + SETTLED_MS, now_ms) > 0)
		return;
	world_fail("resync", "its end got lost at %.3f s, and nobody has asked again", (double)lost_ms / 1000);
	broker.end_lost_ms = 0;
}

/* What others ask. */

const char *broker_keeps(const char *topic)
{
	list_for_each (node, &broker.retained) {
		const struct letter *letter = container_of(node, struct retained, node)->letter;
		if (strcmp(letter->topic, topic) == 0)
			return letter_is_expired(letter) ? NULL : letter->payload;
	}
	return NULL;
}

bool broker_is_away(void)
{
	return broker.is_away;
}

int64_t broker_lost_kept_ms(void)
{
	return broker.lost_kept_ms;
}

unsigned broker_receive_maximum(void)
{
	return broker.habits.receive_maximum;
}

/* Faults. */

void broker_lose_events(unsigned permille)
{
	broker.lost_permille = permille;
}

void broker_break(struct mqtt_link *l)
{
	line_drop(l, "reset");
}

void broker_lose(struct node *node, bool is_dead)
{
	list_for_each_safe (one, lines_all()) {
		struct mqtt_link *l = container_of(one, struct mqtt_link, node_of_all);
		if (l->node != node)
			continue;
		l->is_dead = l->is_dead || is_dead;
		line_drop(l, "reset");
		if (is_dead)
			list_remove(&l->node_of_all);
	}
}

void broker_leave(bool forgets)
{
	broker.is_away = true;
	list_for_each (one, lines_all()) {
		struct mqtt_link *l = container_of(one, struct mqtt_link, node_of_all);
		line_empty(l);
		line_drop(l, "the broker went away");
		line_empty(l);
		if (l->session && l->session->link == l)
			leave_session(l->session);
		l->session = NULL;
	}
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		if (s->is_vehicle)
			note_presence(s, false);
		if (forgets || !s->is_kept)
			forget_state(s);
		if (!forgets)
			continue;
		s->is_kept = false;
		loop_timer_stop(&s->expiring);
	}
	world_note("the broker is gone%s", forgets ? ", with all that it knew" : "");
	if (forgets) {
		broker.lost_kept_ms = world_ms();
		free_retained(&broker.retained);
		free_retained(&broker.diary);
	}
}

/* It has stored them in their order. */
void broker_lose_last(int64_t ms)
{
	world_note("of the retained messages of the last %" PRId64 " ms nothing is left", ms);
	broker.lost_kept_ms = world_ms();
	free_retained(&broker.retained);
	list_for_each_safe (node, &broker.diary) {
		struct retained *r = container_of(node, struct retained, node);
		if (r->at_ms <= world_ms() - ms) {
			retain_letter(r->letter);
			continue;
		}
		list_remove(&r->node);
		letter_unref(r->letter);
		free(r);
	}
}

void broker_return(void)
{
	broker.is_away = false;
}
