/* public_address_test.c - the edges of every network that is none of the public Internet's, and what lies beside them. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/public_address.h"
#include "tests/suite.h"

static bool is_public(const char *text)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
		return address_is_public((const struct sockaddr *)(const void *)&in4);
	ck_assert_int_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return address_is_public((const struct sockaddr *)(const void *)&in6);
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

START_TEST(public_ones)
{
	static const char *const addresses[] = { "1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255",
		"100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
		"172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"203.0.112.255", "203.0.114.0", "223.255.255.255", "2001:200::1", "2606:4700::1111", "2a00:1450::1",
		"3ffe::1", "::ffff:8.8.8.8", "64:ff9b::808:808" };

	for (size_t i = 0; i < COUNT(addresses); i++)
		ck_assert_msg(is_public(addresses[i]), "%s", addresses[i]);
}
END_TEST

START_TEST(others)
{
	static const char *const addresses[] = { "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0",
		"100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "172.16.0.0",
		"172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255",
		"198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
		"240.0.0.0", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
		"::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "1fff::1",
		"2001::1", "2001:1ff:ffff::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "4000::1", "5f00::1",
		"fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1" };

	for (size_t i = 0; i < COUNT(addresses); i++)
		ck_assert_msg(!is_public(addresses[i]), "%s", addresses[i]);
}
END_TEST

START_TEST(no_address_at_all)
{
	ck_assert(!address_is_public(&(struct sockaddr){ .sa_family = AF_UNIX }));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("public_address");
	TCase *tc = tcase_create("public_address");

	tcase_add_test(tc, public_ones);
	tcase_add_test(tc, others);
	tcase_add_test(tc, no_address_at_all);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
