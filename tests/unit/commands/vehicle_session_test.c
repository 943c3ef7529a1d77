/* vehicle_session_test.c - how a vehicle comes, subscribes, reports and leaves, against a scripted link. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/mqtt/link.h"
#include "commands/vehicle/car.h"
#include "commands/vehicle/gate.h"
#include "commands/vehicle/life.h"
#include "commands/vehicle/vehicle.h"
#include "commands/vehicle/work.h"
#include "tests/suite.h"

#define LINKS_MAX 16

/* the scripted link: it records what it is asked, and the test plays the broker */

struct mqtt_link {
	struct mqtt_link_options options;
	struct mqtt_broker broker;
	enum { LINK_MADE, LINK_ASKING, LINK_CONNECTING, LINK_UP, LINK_CLOSING, LINK_GONE } state;
	void (*on_closed)(void *owner);
	size_t subscriptions;
	char first_filter[128], last_filter[128];
	char last_topic[128];
	char *last_payload;
	size_t published;
	char will[LIFE_TEXT_SIZE];
	struct life_said {
		int mid;
		char text[LIFE_TEXT_SIZE];
	} said[8]; /* on the lifecycle topic */
	size_t said_count;
};

static struct mqtt_link links[LINKS_MAX];
static size_t link_count;

struct mqtt_link *link_new(struct loop *loop, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	ck_assert_ptr_nonnull(loop);
	ck_assert_uint_lt(link_count, LINKS_MAX);
	struct mqtt_link *link = &links[link_count++];
	*link = (struct mqtt_link){ .options = *options, .broker = *broker };
	return link;
}

void link_start(struct mqtt_link *link)
{
	link->state = LINK_ASKING;
	link->options.may_connect(link->options.owner, link);
}

void link_may_connect(struct mqtt_link *link, bool yes)
{
	ck_assert(yes);
	ck_assert_int_eq(link->state, LINK_ASKING);
	link->state = LINK_CONNECTING;
}

void link_subscribe(struct mqtt_link *link, const char *const *filters, size_t count, int qos)
{
	ck_assert_int_eq(qos, 1);
	link->subscriptions = count;
	snprintf(link->first_filter, sizeof(link->first_filter), "%s", filters[0]);
	snprintf(link->last_filter, sizeof(link->last_filter), "%s", filters[count - 1]);
}

int link_publish(struct mqtt_link *link, const struct mqtt_publish *message)
{
	if (link->state != LINK_UP)
		return -1;
	snprintf(link->last_topic, sizeof(link->last_topic), "%s", message->topic);
	free(link->last_payload);
	link->last_payload = strndup(message->payload, message->len);
	link->published++;
	if (strcmp(message->topic, "vehicles/WKF1/lifecycle") == 0) {
		ck_assert_uint_lt(link->said_count, 8);
		ck_assert_int_eq(message->qos, 1);
		ck_assert(!message->retain);
		struct life_said *said = &link->said[link->said_count++];
		said->mid = (int)link->published;
		snprintf(said->text, sizeof(said->text), "%s", link->last_payload);
	}
	return (int)link->published;
}

void link_set_will(struct mqtt_link *link, const char *payload)
{
	ck_assert_int_eq(link->state, LINK_ASKING);
	ck_assert_str_eq(link->options.will_topic, "vehicles/WKF1/lifecycle");
	snprintf(link->will, sizeof(link->will), "%s", payload);
}

void link_close(struct mqtt_link *link, void (*on_closed)(void *owner))
{
	link->state = LINK_CLOSING;
	link->on_closed = on_closed;
}

static void come_up(struct mqtt_link *link)
{
	ck_assert_int_eq(link->state, LINK_CONNECTING);
	link->state = LINK_UP;
	link->options.on_up(link->options.owner, link, false);
	link->options.on_subscribed(link->options.owner, link);
}

static void go_down(struct mqtt_link *link)
{
	link->state = LINK_ASKING;
	link->options.on_down(link->options.owner, link, "the connection was lost");
	link->options.may_connect(link->options.owner, link);
}

static void finish_closing(struct mqtt_link *link)
{
	ck_assert_int_eq(link->state, LINK_CLOSING);
	link->state = LINK_GONE;
	link->on_closed(link->options.owner);
}

static void bring(struct mqtt_link *link, const char *topic, const char *payload)
{
	link->options.on_message(link->options.owner, link,
		&(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) });
}

/* the fleet's side */

static struct loop *loop;
static struct gate gate;
static struct work_manner manner;
static json_t *factory_state;
static int ready, lost, resting;
static int64_t awake_for_ms;
static bool tells_itself;

static void on_ready(void *owner, struct vehicle *vehicle)
{
	(void)owner, (void)vehicle;
	ready++;
}

static void on_lost(void *owner, struct vehicle *vehicle, const char *reason)
{
	(void)owner, (void)vehicle;
	ck_assert_ptr_nonnull(reason);
	lost++;
}

static void on_resting(void *owner, struct vehicle *vehicle)
{
	(void)owner;
	ck_assert(vehicle_is_resting(vehicle));
	resting++;
}

static struct vehicle *make(const char *id, int64_t flap_ms)
{
	return vehicle_new(&(struct vehicle_options){
		.loop = loop,
		.id = id,
		.broker = { .host = "broker", .port = 1883, .username = "someone" },
		.gate = &gate,
		.manner = &manner,
		.factory_state = factory_state,
		.flap_ms = flap_ms,
		.awake_for_ms = awake_for_ms,
		.tells_itself = tells_itself,
		.on_ready = on_ready,
		.on_lost = on_lost,
		.on_resting = on_resting,
	});
}

static void retire(struct vehicle *vehicle, struct mqtt_link *link)
{
	vehicle_rest(vehicle);
	if (!vehicle_is_resting(vehicle))
		finish_closing(link);
	vehicle_free(vehicle);
}

static void set_up(void)
{
	loop = loop_new_virtual(INT64_C(1769846950123456));
	factory_state = car_factory_state();
	gate_init(&gate, 2);
	link_count = 0;
	ready = lost = resting = 0;
	awake_for_ms = 0;
	tells_itself = false;
}

static void tear_down(void)
{
	for (size_t i = 0; i < link_count; i++) {
		free(links[i].last_payload);
		links[i].last_payload = NULL;
	}
	json_decref(factory_state);
	loop_free(loop);
}

static json_t *last_report(const struct mqtt_link *link)
{
	return json_loads(link->last_payload, 0, NULL);
}

START_TEST(it_connects_as_itself_subscribes_and_reports_its_state)
{
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	ck_assert_str_eq(links[0].options.client_id, "WKF1");
	ck_assert_str_eq(links[0].broker.username, "someone");
	come_up(&links[0]);
	ck_assert_uint_eq(links[0].subscriptions, 5);
	ck_assert_str_eq(links[0].first_filter, "vehicles/WKF1/commands/request");
	ck_assert_str_eq(links[0].last_filter, "vehicles/WKF1/notices/+");
	ck_assert_str_eq(links[0].last_topic, "vehicles/WKF1/state");
	json_auto_t *report = last_report(&links[0]);
	ck_assert(json_equal(json_object_get(report, "state"), factory_state));
	ck_assert_int_eq(ready, 1);
	retire(vehicle, &links[0]);
	ck_assert_int_eq(resting, 1);
}
END_TEST

START_TEST(after_a_loss_it_reports_again_under_a_higher_version)
{
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	come_up(&links[0]);
	json_auto_t *first = last_report(&links[0]);
	go_down(&links[0]);
	come_up(&links[0]);
	json_auto_t *second = last_report(&links[0]);
	ck_assert_int_gt(json_integer_value(json_object_get(second, "version")),
		json_integer_value(json_object_get(first, "version")));
	ck_assert_int_eq(lost, 1);
	ck_assert_int_eq(ready, 1);
	retire(vehicle, &links[0]);
}
END_TEST

START_TEST(a_desired_state_is_reported_on_the_feed_that_it_names)
{
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	come_up(&links[0]);
	bring(&links[0], "vehicles/WKF1/state/desired", "{\"version\":1,\"feed\":\"07\",\"state\":{\"mode\":\"eco\"}}");
	ck_assert_str_eq(links[0].last_topic, "vehicles/WKF1/state/07");
	json_auto_t *report = last_report(&links[0]);
	ck_assert_str_eq(json_text_at(json_object_get(report, "state"), "mode"), "eco");

	/* CRC-32 of "WKF1" is 0xfcac629f: its own feed is 31 */
	bring(&links[0], "vehicles/WKF1/state/desired", "{\"version\":2,\"feed\":\"+/\",\"state\":{\"mode\":\"s\"}}");
	ck_assert_str_eq(links[0].last_topic, "vehicles/WKF1/state/31");
	size_t published = links[0].published;
	bring(&links[0], "vehicles/WKF1/state/desired", "");
	bring(&links[0], "vehicles/WKF1/state/desired", "{\"version\":1,\"feed\":\"31\",\"state\":{}}");
	bring(&links[0], "vehicles/WKF1/notices/recall", "call the garage");
	bring(&links[0], "vehicles/WKF2/commands/request", "{}");
	bring(&links[0], "elsewhere", "{}");
	ck_assert_uint_eq(links[0].published, published);
	retire(vehicle, &links[0]);
}
END_TEST

START_TEST(a_request_is_answered_over_the_link)
{
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	come_up(&links[0]);
	bring(&links[0], "vehicles/WKF1/commands/request",
		"{\"request_id\":\"a\",\"name\":\"doors.unlock\",\"expires_at\":\"2099-01-01T00:00:00Z\"}");
	loop_advance(loop, 0);
	ck_assert_str_eq(links[0].last_topic, "vehicles/WKF1/commands/response/31");
	size_t published = links[0].published;
	bring(&links[0], "vehicles/WKF1/commands/accepted", "{\"request_id\":\"a\"}");
	loop_advance(loop, 10 * WORK_RESEND_MS);
	ck_assert_uint_eq(links[0].published, published);
	retire(vehicle, &links[0]);
}
END_TEST

START_TEST(one_that_is_woken_while_it_leaves_returns_at_once)
{
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	come_up(&links[0]);
	vehicle_rest(vehicle);
	vehicle_wake(vehicle);
	ck_assert_uint_eq(link_count, 1);
	finish_closing(&links[0]);
	ck_assert_uint_eq(link_count, 2);
	ck_assert_int_eq(resting, 0);
	come_up(&links[1]);
	retire(vehicle, &links[1]);
}
END_TEST

START_TEST(a_flapping_one_leaves_and_returns_at_its_pace)
{
	struct vehicle *vehicle = make("WKF1", 2000);
	vehicle_wake(vehicle);
	come_up(&links[0]);
	loop_advance(loop, 1999);
	ck_assert_int_eq(links[0].state, LINK_UP);
	loop_advance(loop, 1);
	finish_closing(&links[0]);
	loop_advance(loop, 1999);
	ck_assert_uint_eq(link_count, 1);
	loop_advance(loop, 1);
	ck_assert_uint_eq(link_count, 2);
	come_up(&links[1]);
	retire(vehicle, &links[1]);
	loop_advance(loop, 10000);
	ck_assert_uint_eq(link_count, 2);
}
END_TEST

START_TEST(one_that_dozes_off_does_so_when_nothing_came_and_nothing_is_owed)
{
	awake_for_ms = 1000;
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	come_up(&links[0]);
	loop_advance(loop, 999);
	bring(&links[0], "vehicles/WKF1/commands/request",
		"{\"request_id\":\"a\",\"name\":\"doors.unlock\",\"expires_at\":\"2099-01-01T00:00:00Z\"}");
	loop_advance(loop, 5000); /* its answer was not accepted */
	ck_assert_int_eq(links[0].state, LINK_UP);
	bring(&links[0], "vehicles/WKF1/commands/accepted", "{\"request_id\":\"a\"}");
	loop_advance(loop, 999);
	ck_assert_int_eq(links[0].state, LINK_UP);
	loop_advance(loop, 1);
	finish_closing(&links[0]);
	ck_assert(vehicle_is_resting(vehicle));
	vehicle_wake(vehicle);
	come_up(&links[1]);
	retire(vehicle, &links[1]);
	loop_advance(loop, 5000);
	ck_assert_uint_eq(link_count, 2);
}
END_TEST

/* `text` is of `type`; its session and version. */
static struct life life_of(const char *text, const char *type)
{
	struct life life = { 0 };
	json_auto_t *said = json_loads(text, 0, NULL);
	ck_assert_uint_eq(json_object_size(said), 3);
	ck_assert_str_eq(json_text_at(said, "type"), type);
	snprintf(life.session, sizeof(life.session), "%s", json_text_at(said, "session"));
	life.version = json_integer_value(json_object_get(said, "version"));
	ck_assert_uint_eq(strlen(life.session), 2 * LIFE_SESSION_BYTES);
	return life;
}

static void ck_assert_same_life(const struct life *a, const struct life *b)
{
	ck_assert_str_eq(a->session, b->session);
	ck_assert_int_eq(a->version, b->version);
}

START_TEST(where_the_broker_tells_nobody_it_tells_its_birth_and_leaves_a_will)
{
	tells_itself = true;
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	struct mqtt_link *link = &links[0];
	struct life first = life_of(link->will, "will");
	link->state = LINK_UP;
	link->options.on_up(link->options.owner, link, false);
	ck_assert_uint_eq(link->said_count, 0); /* not before it is subscribed */
	link->options.on_subscribed(link->options.owner, link);
	ck_assert_uint_eq(link->said_count, 1);
	struct life born = life_of(link->said[0].text, "birth");
	ck_assert_same_life(&born, &first);

	go_down(link); /* the virtual clock stands still */
	struct life second = life_of(link->will, "will");
	ck_assert_int_gt(second.version, first.version);
	ck_assert_str_ne(second.session, first.session);
	loop_advance(loop, 10 * 60 * 1000);
	ck_assert_uint_eq(link->said_count, 1); /* who is away says nothing */
	come_up(link);
	born = life_of(link->said[1].text, "birth");
	ck_assert_same_life(&born, &second);

	vehicle_rest(vehicle);
	ck_assert_uint_eq(link->said_count, 3);
	struct life ended = life_of(link->said[2].text, "will");
	ck_assert_same_life(&ended, &second);
	retire(vehicle, link);
}
END_TEST

START_TEST(a_birth_is_said_again_soon_where_nobody_heard_it_and_now_and_then_anyhow)
{
	tells_itself = true;
	struct vehicle *vehicle = make("WKF1", 0);
	vehicle_wake(vehicle);
	struct mqtt_link *link = &links[0];
	come_up(link);
	link->options.on_puback(link->options.owner, link, (int)link->published, 0x10); /* its report */
	loop_advance(loop, 2000);
	ck_assert_uint_eq(link->said_count, 1);
	link->options.on_puback(link->options.owner, link, link->said[0].mid, 0x10);
	loop_advance(loop, 1999);
	ck_assert_uint_eq(link->said_count, 1);
	loop_advance(loop, 1);
	ck_assert_uint_eq(link->said_count, 2);
	ck_assert_str_eq(link->said[1].text, link->said[0].text);
	link->options.on_puback(link->options.owner, link, link->said[1].mid, 0);
	loop_advance(loop, 5 * 60 * 1000 - 1);
	ck_assert_uint_eq(link->said_count, 2);
	loop_advance(loop, 1);
	ck_assert_uint_eq(link->said_count, 3);
	retire(vehicle, link);
}
END_TEST

START_TEST(only_so_many_connect_at_a_time)
{
	struct vehicle *vehicles[] = { make("WKF1", 0), make("WKF2", 0), make("WKF3", 0), make("WKF4", 0) };
	for (size_t i = 0; i < 4; i++)
		vehicle_wake(vehicles[i]);
	ck_assert_int_eq(links[1].state, LINK_CONNECTING);
	ck_assert_int_eq(links[2].state, LINK_ASKING);
	come_up(&links[0]);
	ck_assert_int_eq(links[2].state, LINK_CONNECTING);
	vehicle_rest(vehicles[3]); /* it waited for its turn */
	vehicle_rest(vehicles[2]); /* it was connecting */
	finish_closing(&links[3]);
	finish_closing(&links[2]);
	go_down(&links[1]); /* an attempt that failed tries again */
	ck_assert_int_eq(links[1].state, LINK_CONNECTING);
	ck_assert_uint_eq(gate.inside, 1);
	vehicle_free(vehicles[3]);
	vehicle_free(vehicles[2]);
	retire(vehicles[1], &links[1]);
	retire(vehicles[0], &links[0]);
	ck_assert_uint_eq(gate.inside, 0);
}
END_TEST

START_TEST(an_id_is_judged_as_the_contract_says)
{
	ck_assert(vehicle_id_is_valid("WKF00000000000001"));
	ck_assert(vehicle_id_is_valid("a.b_c:d-e"));
	ck_assert(!vehicle_id_is_valid(""));
	ck_assert(!vehicle_id_is_valid("a/b"));
	ck_assert(!vehicle_id_is_valid("+"));
	ck_assert(!vehicle_id_is_valid("a b"));
	char id[VEHICLE_ID_SIZE + 1];
	memset(id, 'x', sizeof(id));
	id[VEHICLE_ID_SIZE] = '\0';
	ck_assert(!vehicle_id_is_valid(id));
	id[VEHICLE_ID_SIZE - 1] = '\0';
	ck_assert(vehicle_id_is_valid(id));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session");
	TCase *tests = tcase_create("session");
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, it_connects_as_itself_subscribes_and_reports_its_state);
	tcase_add_test(tests, after_a_loss_it_reports_again_under_a_higher_version);
	tcase_add_test(tests, a_desired_state_is_reported_on_the_feed_that_it_names);
	tcase_add_test(tests, a_request_is_answered_over_the_link);
	tcase_add_test(tests, one_that_is_woken_while_it_leaves_returns_at_once);
	tcase_add_test(tests, a_flapping_one_leaves_and_returns_at_its_pace);
	tcase_add_test(tests, one_that_dozes_off_does_so_when_nothing_came_and_nothing_is_owed);
	tcase_add_test(tests, where_the_broker_tells_nobody_it_tells_its_birth_and_leaves_a_will);
	tcase_add_test(tests, a_birth_is_said_again_soon_where_nobody_heard_it_and_now_and_then_anyhow);
	tcase_add_test(tests, only_so_many_connect_at_a_time);
	tcase_add_test(tests, an_id_is_judged_as_the_contract_says);
	suite_add_tcase(suite, tests);

	return suite_run(suite);
}
