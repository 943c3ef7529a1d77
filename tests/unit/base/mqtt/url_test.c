/* url_test.c - the URL of a broker, taken apart. */
#include <check.h>

#include "base/mqtt/link.h"
#include "tests/suite.h"

static const struct {
	const char *url, *host;
	int port;
	bool tls;
} good[] = {
	{ "mqtt://127.0.0.1:1884", "127.0.0.1", 1884, false },
	{ "mqtt://broker.example", "broker.example", 1883, false },
	{ "mqtt://broker.example/", "broker.example", 1883, false },
	{ "mqtts://broker.example", "broker.example", 8883, true },
	{ "mqtts://broker.example:65535/", "broker.example", 65535, true },
	{ "mqtt://[::1]:1883", "::1", 1883, false },
	{ "mqtts://[2001:db8::7]", "2001:db8::7", 8883, true },
};

static const char *const bad[] = { "", "mqtt", "mqtt:", "mqtt://", "mqtt://:1883", "http://broker", "broker:1883",
	"mqtt://broker:", "mqtt://broker:0", "mqtt://broker:65536", "mqtt://broker:99999999999999999999",
	"mqtt://broker:+1", "mqtt://broker:1883x", "mqtt://broker/path", "mqtt://broker:1883/path",
	"mqtt://user@broker", "mqtt://user:secret@broker", "mqtt://[::1", "mqtt://[]", "mqtt://[::1]x",
	"mqtt://broker?query", "mqtt://bro]ker", "mqtt://a,", "mqtt://,a", "mqtt://a:1,,b", "mqtt://a,b/path",
	"mqtt://a/,b", "mqtt://a:1883,b:0" };

START_TEST(test_good)
{
	struct mqtt_broker broker = { .username = "kept" };
	ck_assert(mqtt_url_parse(good[_i].url, &broker));
	ck_assert_str_eq(broker.host, good[_i].host);
	ck_assert_int_eq(broker.port, good[_i].port);
	ck_assert(broker.tls == good[_i].tls);
	ck_assert_str_eq(broker.username, "kept");
	mqtt_broker_forget(&broker);
}
END_TEST

START_TEST(test_bad)
{
	struct mqtt_broker broker = { .port = 7 };
	ck_assert_msg(!mqtt_url_parse(bad[_i], &broker), "%s was taken", bad[_i]);
	ck_assert_int_eq(broker.port, 7);
	ck_assert_ptr_null(broker.host);
}
END_TEST

START_TEST(test_several)
{
	struct mqtt_broker broker = { 0 };
	ck_assert(mqtt_url_parse("mqtts://a:1884,[::1],b.example:8884/", &broker));
	static const struct {
		const char *host;
		int port;
	} hosts[] = { { "a", 1884 }, { "::1", 8883 }, { "b.example", 8884 } };
	const struct mqtt_broker *at = &broker;
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++, at = at->next) {
		ck_assert_str_eq(at->host, hosts[i].host);
		ck_assert_int_eq(at->port, hosts[i].port);
		ck_assert(at->tls);
	}
	ck_assert_ptr_null(at);
	mqtt_broker_forget(&broker);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mqtt url");
	TCase *urls = tcase_create("urls");
	tcase_add_loop_test(urls, test_good, 0, sizeof good / sizeof *good);
	tcase_add_loop_test(urls, test_bad, 0, sizeof bad / sizeof *bad);
	tcase_add_test(urls, test_several);
	suite_add_tcase(suite, urls);
	return suite_run(suite);
}
