/* rates_test.c - token buckets: how deep, how fast, whose, and what many threads make of them; and who stands behind a proxy. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "gateway/access/rates.h"
#include "gateway/config_lists.h"
#include "gateway/network.h"
#include "tests/suite.h"

#define SECOND 1000000LL
#define BEGIN (1000 * SECOND)

static unsigned take_all(enum rate rate, double per_second, const char *key, int64_t now)
{
	struct rate_verdict verdict;
	unsigned taken = 0;

	while (taken < 100000 && rate_take(rate, per_second, key, now, &verdict))
		taken++;
	return taken;
}

START_TEST(a_bucket_is_two_seconds_deep_and_fills_at_its_rate)
{
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 50, "alice", BEGIN), 100);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 50, "alice", BEGIN), 0);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 50, "alice", BEGIN + SECOND / 10), 5);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 50, "alice", BEGIN + 10 * SECOND), 100);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 0.25, "slow", BEGIN), 1);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 0.25, "slow", BEGIN + 3 * SECOND), 0);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 0.25, "slow", BEGIN + 4 * SECOND), 1);
}
END_TEST

START_TEST(a_verdict_says_what_is_left_and_when_to_come_again)
{
	struct rate_verdict verdict;

	ck_assert(rate_take(RATE_VEHICLE, 10, "car", BEGIN, &verdict));
	ck_assert_str_eq(verdict.policy, "vehicle");
	ck_assert_uint_eq(verdict.quota, 20);
	ck_assert_uint_eq(verdict.left, 19);
	ck_assert_int_eq(verdict.reset_s, 1);
	ck_assert_int_eq(verdict.retry_after_s, 0);
	take_all(RATE_VEHICLE, 10, "car", BEGIN);
	ck_assert(!rate_take(RATE_VEHICLE, 10, "car", BEGIN, &verdict));
	ck_assert_uint_eq(verdict.left, 0);
	ck_assert_int_eq(verdict.reset_s, 2);
	ck_assert_int_eq(verdict.retry_after_s, 1);
	take_all(RATE_VEHICLE, 0.1, "lorry", BEGIN);
	ck_assert(!rate_take(RATE_VEHICLE, 0.1, "lorry", BEGIN + SECOND / 2, &verdict));
	ck_assert_int_eq(verdict.retry_after_s, 10);
	ck_assert(rate_take(RATE_VEHICLE, 0, "car", BEGIN, &verdict)); /* no limit */
	ck_assert_ptr_null(verdict.policy);
}
END_TEST

START_TEST(everybody_has_a_bucket_of_their_own)
{
	char key[32];

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "subject-%d", i);
		ck_assert_uint_eq(take_all(RATE_SUBJECT, 10, key, BEGIN), 20);
	}
	ck_assert_uint_eq(take_all(RATE_VEHICLE, 10, "subject-1", BEGIN), 20);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 10, "", BEGIN), 20);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 10, "12345678", BEGIN), 20);
	ck_assert_uint_eq(take_all(RATE_SUBJECT, 10, "123456781", BEGIN), 20);
	ck_assert_uint_eq(take_all(RATE_ADDRESS, 10, "192.0.2.1", BEGIN), 20);
	ck_assert_uint_eq(take_all(RATE_ADDRESS, 10, "::ffff:192.0.2.1", BEGIN), 0);
	ck_assert_uint_eq(take_all(RATE_ADDRESS, 10, "192.0.2.2", BEGIN), 20);
	ck_assert_uint_eq(take_all(RATE_ADDRESS, 10, "2001:db8:1:2::1", BEGIN), 20);
	ck_assert_uint_eq(take_all(RATE_ADDRESS, 10, "2001:db8:1:2:ffff::9", BEGIN), 0); /* the same /64 */
	ck_assert_uint_eq(take_all(RATE_ADDRESS, 10, "2001:db8:1:3::1", BEGIN), 20);
}
END_TEST

START_TEST(what_is_given_back_can_be_taken_again)
{
	struct rate_verdict verdict, refused;

	for (int i = 0; i < 1000; i++) {
		ck_assert(rate_take(RATE_VEHICLE, 10, "given", BEGIN, &verdict));
		rate_give_back(RATE_VEHICLE, 10, "given", &verdict);
	}
	ck_assert_uint_eq(take_all(RATE_VEHICLE, 10, "given", BEGIN), 20);
	ck_assert(!rate_take(RATE_VEHICLE, 10, "given", BEGIN, &refused));
	rate_give_back(RATE_VEHICLE, 10, "given", &refused); /* nothing was taken */
	ck_assert_uint_eq(take_all(RATE_VEHICLE, 10, "given", BEGIN), 0);
}
END_TEST

#define THREADS 8
static atomic_uint taken_by_all;

static void *take_many(void *arg)
{
	struct rate_verdict verdict;

	for (int i = 0; i < 20000; i++)
		atomic_fetch_add(&taken_by_all, rate_take(RATE_SUBJECT, 5000, "shared", BEGIN, &verdict));
	return arg;
}

START_TEST(threads_share_a_bucket)
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_many, NULL), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(atomic_load(&taken_by_all), 10000);
}
END_TEST

static const struct {
	const char *peer, *forwarded, *client;
} chains[] = {
	{ "203.0.113.9", NULL, "203.0.113.9" },
	{ "203.0.113.9", "198.51.100.1", "203.0.113.9" }, /* not trusted: what it says is nothing */
	{ "10.0.0.1", NULL, "10.0.0.1" },
	{ "10.0.0.1", "198.51.100.1", "198.51.100.1" },
	{ "10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1" }, /* the first was the client's own word */
	{ "10.0.0.1", "6.6.6.6, 198.51.100.1, 10.9.9.9", "198.51.100.1" },
	{ "10.0.0.1", "10.9.9.9,10.8.8.8", "10.9.9.9" },
	{ "10.0.0.1", "198.51.100.1:4711", "198.51.100.1" },
	{ "10.0.0.1", " [2001:db8::7]:443 ", "2001:db8::7" },
	{ "10.0.0.1", "2001:db8::7", "2001:db8::7" },
	{ "10.0.0.1", "nobody", "10.0.0.1" },
	{ "10.0.0.1", "198.51.100.1, unknown, 10.2.2.2", "10.2.2.2" },
	{ "10.0.0.1", ",,", "10.0.0.1" },
	{ "::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1" },
	{ "fd00::1", "198.51.100.1", "198.51.100.1" },
};

START_TEST(a_trusted_proxy_names_the_client)
{
	static const char *const networks[] = { "10.0.0.0/8", "fd00::/8" };
	const struct texts trusted = { networks, 2 };
	char client[INET6_ADDRSTRLEN];

	address_of_client(chains[_i].peer, &trusted, chains[_i].forwarded, client);
	ck_assert_str_eq(client, chains[_i].client);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rates");
	TCase *tests = tcase_create("rates");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_bucket_is_two_seconds_deep_and_fills_at_its_rate);
	tcase_add_test(tests, a_verdict_says_what_is_left_and_when_to_come_again);
	tcase_add_test(tests, everybody_has_a_bucket_of_their_own);
	tcase_add_test(tests, what_is_given_back_can_be_taken_again);
	tcase_add_test(tests, threads_share_a_bucket);
	tcase_add_loop_test(tests, a_trusted_proxy_names_the_client, 0, (int)(sizeof(chains) / sizeof(chains[0])));
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
