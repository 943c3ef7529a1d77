/* sending.c - who may send what, and take it back: grants, keys, queues, what supersedes what. */
#include "tests/unit/commands/journey/ground.h"

#include <stdlib.h>
#include <string.h>

#include "commands/cancel.h"

START_TEST(only_who_may_send)
{
	struct accept a = draft();
	a.subject = "vera";
	ck_assert_ptr_eq(accept_now(&a), &FAULT_FORBIDDEN);
	a.subject = "mallory";
	ck_assert_ptr_eq(accept_now(&a), &FAULT_VEHICLE_NOT_FOUND);
	a.vehicle_id = "NOBODY";
	ck_assert_ptr_eq(accept_now(&a), &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_uint_eq(w.published_count, 0);
	a = draft();
	a.subject = "root";
	a.admin = true;
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	ask("update grants set expires_at = now() where subject = 'alice'");
	a = draft();
	ck_assert_ptr_eq(accept_now(&a), &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_str_eq(ask("select count(*) from audit where not allowed and action = 'command.send'"), "4");
}
END_TEST

START_TEST(one_command_a_key)
{
	struct accept a = draft(), b, c;
	a.key = "k1";
	a.fingerprint = "f1";
	b = c = a;
	ck_assert_ptr_null(accept_now(&a));
	ck_assert_ptr_null(accept_now(&b));
	ck_assert(b.replayed);
	ck_assert_ptr_nonnull(strstr(b.command, a.id));
	c.fingerprint = "f2";
	ck_assert_ptr_eq(accept_now(&c), &FAULT_IDEMPOTENCY_KEY_REUSED);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	free(a.command);
	free(b.command);
}
END_TEST

static size_t told_count;

static void on_one_of_many(struct accept *accept, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	(void)accept;
	told_count++;
}

static bool all_told(void)
{
	return told_count == 20;
}

START_TEST(twenty_at_once_with_one_key)
{
	struct accept many[20];
	size_t replayed = 0;

	told_count = 0;
	for (size_t i = 0; i < 20; i++) {
		many[i] = draft();
		many[i].key = "same";
		many[i].fingerprint = "f";
		many[i].on_done = on_one_of_many;
		ck_assert_ptr_null(accept_submit(w.accept, &many[i]));
	}
	pump_until(all_told);
	for (size_t i = 0; i < 20; i++) {
		replayed += many[i].replayed;
		free(many[i].command);
	}
	ck_assert_uint_eq(replayed, 19);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
}
END_TEST

START_TEST(queue_is_bounded)
{
	struct accept a;
	ask("update vehicle_heads set reachable = false");
	for (int i = 0; i < 5; i++) {
		a = draft();
		ck_assert_ptr_null(accept_now(&a));
		free(a.command);
	}
	a = draft();
	ck_assert_ptr_eq(accept_now(&a), &FAULT_QUEUE_FULL);
}
END_TEST

/* Of a vehicle that takes all and answers nothing: each accept looks at these, too. */
START_TEST(what_was_sent_and_not_answered_is_bounded)
{
	struct accept a = draft();
	ask("insert into commands (vehicle_id, id, status, flight, attempts, publish_session, name, issued_by, wake, "
	    "redelivery, catalog,"
	    " accepted_seq, timeout_seconds, created_at, expires_at, updated_at, sent_at, due_at)"
	    " select '" VEHICLE
	    "', (left(uuid7_floor(now())::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, 'accepted', 'claimed', 1, "
	    "'s1?', 'horn.honk', 'alice', true, 'on_reconnect', '{}', n, 86400, now(),"
	    " now() + interval '1 day', now(), now(), now() + interval '1 day' from generate_series(1, 1004) n;"
	    "update commands set status = 'sent', flight = 'out'");
	ck_assert_ptr_null(accept_now(&a));
	free(a.command);
	a = draft();
	ck_assert_ptr_eq(accept_now(&a), &FAULT_QUEUE_FULL);
}
END_TEST

START_TEST(newer_supersedes_what_has_not_left)
{
	struct accept a = draft(), b = draft();
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	b.name = "doors.lock";
	b.supersedes = "doors.unlock";
	accept_now(&b);
	ck_assert_str_eq(statuses(), "canceled/none waiting/none");
	ck_assert_str_eq(ask("select reason->>'by' from commands where status = 'canceled'"), b.id);
	free(a.command);
	free(b.command);
}
END_TEST

/* Also what is claimed at that moment, if it comes back. */
START_TEST(newer_supersedes_what_comes_back_unsent)
{
	struct accept a = draft(), b = draft();
	accept_now(&a);
	pump_until(one_published);
	b.name = "doors.lock";
	b.supersedes = "doors.unlock";
	b.catalog = "{\"supersedes\":[\"doors.unlock\"]}";
	accept_now(&b);
	ck_assert_str_eq(statuses(), "accepted/claimed accepted/none");
	ask("update vehicle_heads set reachable = false");
	puback(0x10);
	ck_assert_str_eq(statuses(), "canceled/none waiting/none");
	ck_assert_str_eq(ask("select reason->>'by' from commands where status = 'canceled'"), b.id);
	free(a.command);
	free(b.command);
}
END_TEST

static void on_cancelled(struct cancel *c, const struct fault *fault)
{
	free(c->command);
	got = fault;
	done = true;
}

static const struct fault *cancel_now(const char *id, const char *subject)
{
	struct cancel c = { .vehicle_id = VEHICLE, .id = id, .subject = subject, .on_done = on_cancelled };
	done = false;
	ck_assert_ptr_null(cancel_submit(w.cancel, &c));
	pump_until(is_done);
	return got;
}

START_TEST(cancel_before_it_leaves)
{
	struct accept a = draft();
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	free(a.command);
	ck_assert_ptr_eq(cancel_now(a.id, "mallory"), &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_ptr_eq(cancel_now(a.id, "vera"), &FAULT_FORBIDDEN);
	ck_assert_ptr_eq(cancel_now("0192f3c8-0000-7000-8000-000000000000", "alice"), &FAULT_COMMAND_NOT_FOUND);
	ck_assert_ptr_null(cancel_now(a.id, "alice"));
	ck_assert_ptr_null(cancel_now(a.id, "alice"));
	ck_assert_str_eq(statuses(), "canceled/none");
}
END_TEST

START_TEST(no_cancel_once_it_may_have_left)
{
	struct accept a = draft();
	send_out(&a);
	ck_assert_ptr_eq(cancel_now(a.id, "alice"), &FAULT_COMMAND_ALREADY_SENT);
	puback(0);
	ck_assert_ptr_eq(cancel_now(a.id, "alice"), &FAULT_COMMAND_ALREADY_SENT);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_ptr_eq(cancel_now(a.id, "alice"), &FAULT_COMMAND_ALREADY_FINAL);
}
END_TEST

/* What a retired vehicle was sent is for nobody: not for who registers it anew. */
START_TEST(nothing_outlives_a_retirement)
{
	struct accept sent = draft(), claimed = draft(), mine = draft();
	accept_now(&sent);
	pump_until(one_published);
	puback(0);
	accept_now(&claimed);
	pump_until(two_published);
	ask("update vehicles set retired_at = now(); update vehicle_heads set reachable = false");
	puback(0x10);
	ck_assert_str_eq(ask("select reason->>'code' from commands where status = 'canceled'"), "ACCESS_REVOKED");
	ask("update vehicles set retired_at = null, created_at = clock_timestamp();"
	    "update vehicle_heads set reachable = true, session = 's2'");
	accept_now(&mine);
	pump_until(three_published);
	ck_assert_ptr_nonnull(strstr(w.published[2].payload, mine.id));
	puback(0);
	ck_assert_uint_eq(w.published_count, 3);
	free(sent.command);
	free(claimed.command);
	free(mine.command);
}
END_TEST

void add_sending(Suite *suite)
{
	TCase *tc = case_new(suite, "sending", begin);

	tcase_add_test(tc, only_who_may_send);
	tcase_add_test(tc, one_command_a_key);
	tcase_add_test(tc, twenty_at_once_with_one_key);
	tcase_add_test(tc, queue_is_bounded);
	tcase_add_test(tc, what_was_sent_and_not_answered_is_bounded);
	tcase_add_test(tc, newer_supersedes_what_has_not_left);
	tcase_add_test(tc, newer_supersedes_what_comes_back_unsent);
	tcase_add_test(tc, nothing_outlives_a_retirement);
	tcase_add_test(tc, cancel_before_it_leaves);
	tcase_add_test(tc, no_cancel_once_it_may_have_left);
}
