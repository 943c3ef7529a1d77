/* claims.c - who publishes a command, when, and when again. */
#include "tests/unit/commands/journey/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The reader of the vehicle's answers. */
static struct {
	bool has_left;
	size_t handed_over;
	char id[40];
} sibling;

static const char *publisher(void *owner, const char *vehicle_id)
{
	(void)owner;
	ck_assert_str_eq(vehicle_id, VEHICLE);
	return "w2";
}

static bool hand_over(void *owner, const struct claim *claim)
{
	(void)owner;
	ck_assert_str_eq(claim->worker, "w2");
	ck_assert_str_eq(claim->name, "doors.unlock");
	sibling.handed_over++;
	snprintf(sibling.id, sizeof(sibling.id), "%s", claim->id);
	return !sibling.has_left;
}

static void have_sibling(bool has_left)
{
	memset(&sibling, 0, sizeof(sibling));
	sibling.has_left = has_left;
	w.ports.publisher = publisher;
	w.ports.hand_over = hand_over;
	ask("insert into leases (name, holder, epoch, expires_at) values ('worker/w2', 'w2', 1, now() + interval '1 "
	    "hour')");
}

START_TEST(claim_goes_to_who_hears_the_answer)
{
	struct accept a = draft();

	have_sibling(false);
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	ck_assert_uint_eq(sibling.handed_over, 1);
	ck_assert_str_eq(sibling.id, a.id);
	ck_assert_uint_eq(w.published_count, 0);
	ck_assert_uint_eq(dispatch_in_hand(w.dispatch), 0);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	ck_assert_str_eq(ask("select claim_worker from vehicle_heads"), "w2");
}
END_TEST

/* A thread of this node stands still; its feeds are others' by now. */
START_TEST(nothing_is_claimed_for_a_reader_whose_lease_has_lapsed)
{
	struct accept a = draft();

	have_sibling(false);
	ask("update leases set expires_at = clock_timestamp() where name = 'worker/w2'");
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	pump_until(one_published);
	ck_assert_uint_eq(sibling.handed_over, 0);
	ck_assert_str_eq(ask("select claim_worker from vehicle_heads"), "w1");
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
}
END_TEST

START_TEST(who_claimed_publishes_when_the_reader_has_left)
{
	struct accept a = draft();

	have_sibling(true);
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	ck_assert_uint_eq(sibling.handed_over, 1);
	ck_assert_uint_eq(w.published_count, 1);
	puback(0); /* counts for the claim as it was made */
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select claim_worker from vehicle_heads"), "");
}
END_TEST

/* What may go out first keeps its turn. */
START_TEST(a_new_command_is_claimed_at_once_only_when_nothing_is_before_it)
{
	struct accept first = draft(), second = draft(), third = draft();

	w.broker_is_up = false;
	accept_now(&first);
	accept_now(&second);
	w.broker_is_up = true;
	accept_now(&third);
	free(first.command);
	free(second.command);
	free(third.command);
	pump_until(one_published);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, first.id));
	ck_assert_str_eq(statuses(), "accepted/claimed accepted/none accepted/none");
}
END_TEST

START_TEST(waits_for_a_vehicle_that_is_away)
{
	struct accept a = draft(), b = draft();
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	accept_now(&b);
	ck_assert_str_eq(statuses(), "waiting/none waiting/none");
	ck_assert_uint_eq(w.published_count, 0);
	/* It comes back: the oldest is claimed with the next transaction that concerns it, then the next one. */
	come_back_in_another_session();
	pump_until(one_published);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, a.id));
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	pump_until(two_published);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, b.id));
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out sent/out");
	free(a.command);
	free(b.command);
}
END_TEST

START_TEST(nobody_there)
{
	struct accept a = draft();
	send_out(&a);
	/* the port says that the vehicle is away, as state/ does in the same transaction */
	ask("update vehicle_heads set reachable = false");
	puback(0x10);
	ck_assert_uint_eq(w.disproved, 1);
	ck_assert_str_eq(statuses(), "waiting/none");
	ck_assert_str_eq(ask("select attempts from commands"), "0");
}
END_TEST

START_TEST(nobody_there_in_an_older_session)
{
	struct accept a = draft();
	send_out(&a);
	ask("update vehicle_heads set session = 's2'");
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0x10);
	pump_until(two_published);
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select attempts from commands"), "1");
}
END_TEST

/* Else it would go round as fast as broker and database can, for as long as the command lives. */
START_TEST(what_the_broker_refuses_is_offered_again_a_second_later)
{
	struct accept a = draft();
	send_out(&a);
	int64_t refused_ms = loop_monotonic_ms(w.loop);
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0x97); /* quota exceeded */
	pump_until(two_published);
	ck_assert_int_ge(loop_monotonic_ms(w.loop) - refused_ms, 1000);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":1}"));
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(ask("select attempts from commands"), "1");
}
END_TEST

START_TEST(what_the_link_does_not_take_is_offered_again_a_second_later)
{
	struct accept a = draft();
	int64_t refused_ms = loop_monotonic_ms(w.loop);
	w.link_is_full = true;
	accept_now(&a);
	free(a.command);
	ck_assert_uint_eq(w.turned_away, 1);
	w.link_is_full = false;
	pump_until(one_published);
	ck_assert_int_ge(loop_monotonic_ms(w.loop) - refused_ms, 1000);
	ck_assert_uint_eq(w.turned_away, 1);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":1}"));
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_str_eq(steps(), "accepted reachability claimed claimed published puback");
}
END_TEST

START_TEST(link_lost_before_the_puback)
{
	struct accept a = draft();
	send_out(&a);
	dispatch_on_link_down(w.dispatch);
	pump_until(two_published); /* offered again at once, by the same transaction */
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":2"));
	puback(0);
	ck_assert_str_eq(ask("select attempts from commands"), "2");
}
END_TEST

START_TEST(never_is_published_at_most_once)
{
	struct accept a = draft(), b = draft();
	a.redelivery = "never";
	a.ttl_s = 2;
	send_out(&a);
	dispatch_on_link_down(w.dispatch);
	pump_until(nothing_in_hand);
	accept_now(&b); /* not held up */
	free(b.command);
	pump_until(two_published);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, b.id));
	puback(0);
	deadline_start(w.deadline);
	pump_until(one_is_over);
	ck_assert_str_eq(statuses(), "timed_out/out sent/out");
	ck_assert_uint_eq(w.published_count, 2);
}
END_TEST

/* A worker that publishes nothing, for it is dead. */
static const char CLAIMED_BY_ANOTHER[] =
	"select command_apply('w2', array['" VEHICLE "'], (select array_agg(id) from commands), array['claim'],"
	" array[null::json], array[null::json], array[null::text], array[null::jsonb])";

/* Two seconds before it is due, as soon as the death is known. */
START_TEST(dead_workers_claim_is_taken_up_at_once)
{
	struct accept a = draft();
	char due_at[64], question[128];

	w.broker_is_up = false;
	accept_now(&a);
	free(a.command);
	ask("insert into leases (name, holder, epoch, expires_at) values ('worker/w2', 'w2', 1, now() + interval '1 "
	    "hour')");
	ask(CLAIMED_BY_ANOTHER);
	snprintf(due_at, sizeof(due_at), "%s", ask("select due_at from commands"));
	w.broker_is_up = true;
	deadline_start(w.deadline);
	deadline_on_death(w.deadline); /* of somebody else */
	for (int i = 0; i < 10; i++)
		let_patience_end();
	ck_assert_str_eq(statuses(), "accepted/claimed");
	ask("update leases set expires_at = clock_timestamp() where name = 'worker/w2'");
	deadline_on_death(w.deadline);
	pump_until(one_published);
	snprintf(question, sizeof(question), "select clock_timestamp() < '%s'", due_at);
	ck_assert_str_eq(ask(question), "t");
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":2"));
	puback(0);
}
END_TEST

/* A second before it is due, as soon as somebody can publish. */
START_TEST(what_was_put_off_is_offered_on_return)
{
	struct accept a = draft();
	char due_at[64], question[128];

	w.broker_is_up = false;
	accept_now(&a);
	free(a.command);
	snprintf(due_at, sizeof(due_at), "%s", ask("select due_at from timers where kind = 'offer'"));
	deadline_start(w.deadline);
	w.broker_is_up = true;
	deadline_on_return(w.deadline);
	pump_until(one_published);
	snprintf(question, sizeof(question), "select clock_timestamp() < '%s'", due_at);
	ck_assert_str_eq(ask(question), "t");
	ck_assert_str_eq(ask("select count(*) from timers"), "0");
	puback(0);
}
END_TEST

START_TEST(dead_workers_claim_is_taken_up)
{
	struct accept a = draft();
	w.broker_is_up = false;
	accept_now(&a);
	free(a.command);
	ask("update leases set expires_at = now() - interval '1 second' where name = 'worker/w2'");
	ask(CLAIMED_BY_ANOTHER);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	w.broker_is_up = true;
	deadline_start(w.deadline);
	pump_until(one_published);
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":2"));
	puback(0);
}
END_TEST

START_TEST(offered_again_in_another_session)
{
	struct accept a = draft();
	send_out(&a);
	puback(0);
	come_back_in_another_session();
	pump_until(two_published);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":2"));
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

/* Sent, and offered again in a session whose publish nobody vouches for: that session is offered it once more. */
static void lose_in_another_session(void (*lose)(void))
{
	struct accept a = draft();
	send_out(&a);
	puback(0);
	come_back_in_another_session();
	pump_until(two_published);
	lose();
	pump_until(three_published);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}

static void lose_link(void)
{
	dispatch_on_link_down(w.dispatch);
}

static void refuse(void)
{
	dispatch_on_puback(w.dispatch, w.published[1].mid, 0x97);
}

START_TEST(link_lost_in_another_session)
{
	lose_in_another_session(lose_link);
}
END_TEST

START_TEST(refused_in_another_session)
{
	lose_in_another_session(refuse);
}
END_TEST

void add_claims(Suite *suite)
{
	TCase *tc = case_new(suite, "claims", begin);

	tcase_add_test(tc, claim_goes_to_who_hears_the_answer);
	tcase_add_test(tc, nothing_is_claimed_for_a_reader_whose_lease_has_lapsed);
	tcase_add_test(tc, who_claimed_publishes_when_the_reader_has_left);
	tcase_add_test(tc, a_new_command_is_claimed_at_once_only_when_nothing_is_before_it);
	tcase_add_test(tc, waits_for_a_vehicle_that_is_away);
	tcase_add_test(tc, nobody_there);
	tcase_add_test(tc, nobody_there_in_an_older_session);
	tcase_add_test(tc, what_the_broker_refuses_is_offered_again_a_second_later);
	tcase_add_test(tc, what_the_link_does_not_take_is_offered_again_a_second_later);
	tcase_add_test(tc, link_lost_before_the_puback);
	tcase_add_test(tc, never_is_published_at_most_once);
	tcase_add_test(tc, dead_workers_claim_is_taken_up);
	tcase_add_test(tc, dead_workers_claim_is_taken_up_at_once);
	tcase_add_test(tc, what_was_put_off_is_offered_on_return);
	tcase_add_test(tc, offered_again_in_another_session);
	tcase_add_test(tc, link_lost_in_another_session);
	tcase_add_test(tc, refused_in_another_session);
}
