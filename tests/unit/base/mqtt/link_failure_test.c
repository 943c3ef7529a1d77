/* link_failure_test.c - links whose broker dies, refuses, is silent, or is somebody else. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"
#include "tests/certificate.h"
#include "tests/suite.h"

#define SEND                                                                                                           \
	(struct mqtt_link_options)                                                                                     \
	{                                                                                                              \
		0                                                                                                      \
	}

static struct peer sender, feed;
static struct test_broker plain; /* the server that one with TLS took the place of; the certificate is in its folder */

static void set_up_peers(void)
{
	set_up();
	memset(&sender, 0, sizeof sender);
	memset(&feed, 0, sizeof feed);
}

static void tear_down_peers(void)
{
	tear_down();
	if (*plain.folder)
		test_broker_done(&plain);
}

/* Another broker in the place of the plain one. */
static void restart_with(const char *config)
{
	test_broker_done(&server);
	test_broker_make(&server, config);
	test_broker_start(&server);
	broker.port = server.port;
}

START_TEST(test_broker_dies_and_returns)
{
	feed.filter = "numbers";
	feed.acknowledge = true;
	peer_start(&sender, "sender", SEND);
	peer_start(&feed, "feed", (struct mqtt_link_options){ .feed = true });
	run_until(sender.ups && feed.subscribed);
	test_broker_kill(&server);
	run_until(sender.downs && feed.downs);
	ck_assert_int_eq(peer_publish(&sender, "numbers", 1), -1);
	run_until(sender.downs >= 3 && feed.downs >= 3);
	ck_assert_str_eq(sender.reason, "the connection failed: Connection refused");
	test_broker_start(&server);
	run_until(sender.ups == 2 && feed.subscribed == 2);
	peer_publish(&sender, "numbers", 7);
	run_until(sender.pubacks && feed.heard);
	ck_assert_int_eq(sender.last_reason, 0);
	ck_assert_int_eq(feed.numbers[0], 7);
	peer_close(&sender);
	peer_close(&feed);
}
END_TEST

START_TEST(test_broker_dies_over_a_held_batch)
{
	feed.filter = "numbers";
	peer_start(&sender, "sender", SEND);
	peer_start(&feed, "feed", (struct mqtt_link_options){ .feed = true });
	run_until(sender.ups && feed.subscribed);
	peer_publish(&sender, "numbers", 7);
	run_until(feed.batches);
	test_broker_kill(&server);
	run_until(sender.downs);
	ck_assert_int_eq(feed.downs, 0); /* it stands still until its owner is done with the batch */
	link_acknowledge(feed.link);
	ck_assert_int_eq(feed.downs, 0);
	run_until(feed.downs);
	test_broker_start(&server);
	run_until(sender.ups == 2 && feed.ups == 2);
	peer_close(&sender);
	peer_close(&feed);
}
END_TEST

START_TEST(test_taken_over)
{
	peer_start(&sender, "twin", SEND);
	run_until(sender.ups);
	peer_start(&feed, "twin", SEND);
	run_until(feed.ups && sender.downs);
	ck_assert_str_eq(sender.reason, "the broker closed the connection");
	peer_close(&sender);
	peer_close(&feed);
}
END_TEST

START_TEST(test_nobody_listens)
{
	broker.port = free_port();
	sender.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(sender.closed);
	ck_assert_str_eq(sender.reason, "the connection failed: Connection refused");
}
END_TEST

START_TEST(test_next_host)
{
	struct mqtt_broker there = { .host = broker.host, .port = broker.port };
	broker.port = free_port();
	broker.next = &there;
	peer_start(&sender, "sender", SEND);
	run_until(sender.ups);
	ck_assert_int_eq(sender.downs, 1);
	link_reconnect(
		sender.link); /* no fault of the host's: a session that wanders is not everywhere found at once */
	run_until(sender.ups == 2);
	ck_assert_int_eq(sender.downs, 2);
	test_broker_kill(&server); /* past the last comes the first */
	run_until(sender.downs == 4);
	ck_assert_str_eq(sender.reason, "the connection failed: Connection refused");
	test_broker_start(&server);
	run_until(sender.ups == 3);
	peer_close(&sender);
}
END_TEST

START_TEST(test_broker_keeps_nothing)
{
	restart_with("allow_anonymous true\nretain_available false");
	peer_start(&sender, "sender", SEND);
	run_until(sender.ups);
	ck_assert(!link_retains(sender.link));
	link_publish(sender.link,
		&(struct mqtt_publish){ .topic = "kept", .payload = "1", .len = 1, .qos = 1, .retain = true });
	run_until(sender.pubacks);
	ck_assert_int_eq(sender.last_reason, 0x10);
	ck_assert_int_eq(sender.downs, 0);
	peer_close(&sender);
}
END_TEST

START_TEST(test_broker_without_qos)
{
	restart_with("allow_anonymous true\nmax_qos 0");
	sender.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(sender.closed);
	ck_assert_str_eq(sender.reason, "the broker takes no QoS 1 message");
}
END_TEST

START_TEST(test_no_such_name)
{
	broker.host = "no-such-host.invalid";
	sender.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(sender.closed);
	ck_assert_ptr_nonnull(strstr(sender.reason, "the broker's name cannot be resolved: "));
}
END_TEST

/* Brokers that are none: a listening socket, and what it says to whoever connects. */

static int listen_here(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(listen(fd, 0), 0);
	broker.port = ntohs(address.sin_port);
	return fd;
}

static bool has_caller(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	return poll(&poll_fd, 1, 0) == 1;
}

/* The first fills the backlog and is not answered; of the second not even the SYN is. */
START_TEST(test_silent_broker)
{
	int fd = listen_here();
	sender.closes_in = feed.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(has_caller(fd));
	peer_start(&feed, "feed", (struct mqtt_link_options){ .feed = true });
	run_until(sender.closed && feed.closed);
	ck_assert_str_eq(sender.reason, "the broker did not answer in 5 s");
	ck_assert_str_eq(feed.reason, "the broker did not answer in 5 s");
	close(fd);
}
END_TEST

#define CONNACK "\x20\x03\x00\x00\x00"
#define SAYS(text) (text), sizeof(text) - 1

static const struct {
	const char *bytes;
	size_t len;
	int ups;
	const char *reason;
} wrong[] = {
	{ SAYS(CONNACK "\xe0\x01\x8b"), 1, "the broker ended the connection: Server shutting down" },
	{ SAYS("\x20\x03\x00\x89\x00"), 0, "the broker refused the connection: Server busy" },
	{ SAYS("HTTP/1.1 400 Bad Request\r\n\r\n"), 0, "the broker closed the connection" },
	{ SAYS("\x30\x05\x00\x01x\x00!"), 0, "the broker broke the protocol" }, /* a message before the CONNACK */
	{ SAYS(CONNACK "\x30\xff\xff\xff\xff\xff"), 1, "the broker broke the protocol" },
	{ SAYS(CONNACK "\x32\x07\x00\x01x\x00\x00\x00!"), 1, "the broker broke the protocol" }, /* packet id 0 */
	{ SAYS(CONNACK "\x40\x02\x00\x07\x30\x05\x00"), 1,
		"the broker closed the connection" }, /* a PUBACK of nothing */
	{ SAYS(""), 0, "the broker closed the connection" },
};

START_TEST(test_wrong_broker)
{
	int fd = listen_here(), peer = -1;
	sender.closes_in = 'd';
	peer_start(&sender, "sender", (struct mqtt_link_options){ .feed = _i % 2 == 1 });
	run_until((peer = accept(fd, NULL, NULL)) >= 0);
	char connect_packet[256];
	run_until(recv(peer, connect_packet, sizeof connect_packet, MSG_DONTWAIT) > 0);
	ck_assert_int_eq(write(peer, wrong[_i / 2].bytes, wrong[_i / 2].len), (ssize_t)wrong[_i / 2].len);
	shutdown(peer, SHUT_WR);
	run_until(sender.closed);
	ck_assert_int_eq(sender.ups, wrong[_i / 2].ups);
	ck_assert_int_eq(sender.pubacks, 0);
	ck_assert_str_eq(sender.reason, wrong[_i / 2].reason);
	close(peer);
	close(fd);
}
END_TEST

/* A caller that is accepted, and from then on a broker that reads nothing. */
static int accept_caller(int fd)
{
	int peer = -1;
	char connect_packet[256];
	run_until((peer = accept(fd, NULL, NULL)) >= 0);
	run_until(recv(peer, connect_packet, sizeof connect_packet, MSG_DONTWAIT) > 0);
	ck_assert_int_eq(write(peer, CONNACK, sizeof CONNACK - 1), sizeof CONNACK - 1);
	run_until(sender.ups);
	return peer;
}

/* All that still comes; -1: the connection was cut off, 0: it ended in order. */
static ssize_t read_to_the_end(int peer, size_t *len)
{
	static char bytes[1 << 16];
	ssize_t n;
	for (*len = 0; (n = read(peer, bytes, sizeof bytes)) > 0; *len += (size_t)n) {
	}
	return n;
}

/* More than the kernel takes for somebody who reads nothing. */
static size_t publish_in_vain(void)
{
	static char payload[1 << 20];
	size_t sent = 0;
	for (; sent < 64 * sizeof payload; sent += sizeof payload)
		link_publish(sender.link,
			&(struct mqtt_publish){ .topic = "t", .payload = payload, .len = sizeof payload, .qos = 1 });
	return sent;
}

/* What one worker tells another of a transaction may have megabytes, and the hole that it leaves is filled from the table. */
START_TEST(test_a_slow_line_holds_so_much)
{
	static char payload[1 << 20], bytes[1 << 16];
	struct mqtt_publish told = { .topic = "t", .payload = payload, .len = sizeof payload };
	size_t sent = 0, arrived = 0;
	int fd = listen_here();
	peer_start(&sender, "sender", SEND);
	int peer = accept_caller(fd);
	while (sent < 100 && link_publish(sender.link, &told) > 0)
		sent++;
	ck_assert_uint_ge(sent, 16);
	ck_assert_uint_lt(sent, 16 + 16); /* and what the kernel took */
	while (arrived < sent * sizeof payload) {
		ssize_t n = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);
		arrived += n > 0 ? (size_t)n : 0;
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	}
	ck_assert_int_gt(link_publish(sender.link, &told), 0);
	sender.closes_in = 'd';
	link_reconnect(sender.link);
	run_until(sender.closed);
	close(peer);
	close(fd);
}
END_TEST

START_TEST(test_what_a_dead_line_holds)
{
	size_t arrived;
	int fd = listen_here();
	peer_start(&sender, "sender", SEND);
	int peer = accept_caller(fd);
	size_t sent = publish_in_vain();
	sender.closes_in = 'd';
	link_reconnect(sender.link);
	run_until(sender.closed);
	ck_assert_int_eq(read_to_the_end(peer, &arrived), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_uint_lt(arrived, sent);
	close(peer);
	close(fd);
}
END_TEST

/* The ping would tell it after ten seconds and more. */
START_TEST(test_nothing_is_confirmed)
{
	int fd = listen_here();
	peer_start(&sender, "sender", SEND);
	int peer = accept_caller(fd);
	publish_in_vain();
	sender.closes_in = 'd';
	run_until(sender.closed);
	ck_assert_str_eq(sender.reason, "the connection failed: Connection timed out");
	close(peer);
	close(fd);
}
END_TEST

START_TEST(test_goodbye_ends_in_order)
{
	size_t arrived;
	int fd = listen_here();
	peer_start(&sender, "sender", SEND);
	int peer = accept_caller(fd);
	peer_close(&sender);
	ck_assert_int_eq(read_to_the_end(peer, &arrived), 0);
	ck_assert_uint_eq(arrived, 2); /* DISCONNECT */
	close(peer);
	close(fd);
}
END_TEST

START_TEST(test_not_authorised)
{
	restart_with("allow_anonymous false");
	sender.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(sender.closed);
	ck_assert_str_eq(sender.reason, "the broker refused the connection: Not authorized");
	ck_assert_int_eq(sender.ups, 0);
}
END_TEST

/* An access list cannot refuse a subscription in mosquitto 2.0; the plugin that comes with it can. */
START_TEST(test_subscription_refused)
{
	char config[512], path[128];
	snprintf(path, sizeof path, "%s/access.json", server.folder);
	FILE *file = fopen(path, "w");
	fprintf(file, "{\"defaultACLAccess\":{\"subscribe\":false}}\n");
	fclose(file);
	snprintf(config, sizeof config, "allow_anonymous true\nplugin %s\nplugin_opt_config_file %s",
		"/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so", path);
	struct test_broker strict;
	test_broker_make(&strict, config);
	test_broker_start(&strict);
	broker.port = strict.port;
	sender.filter = "numbers";
	sender.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(sender.closed);
	ck_assert_int_eq(sender.subscribed, 0);
	ck_assert_str_eq(sender.reason, "the broker refused a subscription");
	test_broker_done(&strict);
}
END_TEST

/* TLS */

static char certificate_path[128], key_path[128];

static void restart_with_tls(const char *name)
{
	char config[512];
	snprintf(certificate_path, sizeof certificate_path, "%s/certificate.pem", server.folder);
	snprintf(key_path, sizeof key_path, "%s/key.pem", server.folder);
	certificate_write(name, certificate_path, key_path);
	snprintf(config, sizeof config, "allow_anonymous true\ncertfile %s\nkeyfile %s", certificate_path, key_path);
	test_broker_kill(&server);
	plain = server;
	test_broker_make(&server, config);
	test_broker_start(&server);
	broker.port = server.port;
	broker.tls = true;
	broker.ca = certificate_path;
}

START_TEST(test_tls)
{
	restart_with_tls("IP:127.0.0.1");
	feed.filter = "numbers";
	feed.acknowledge = true;
	peer_start(&sender, "sender", SEND);
	peer_start(&feed, "feed", (struct mqtt_link_options){ .feed = true });
	run_until(sender.ups && feed.subscribed);
	for (int i = 0; i < 2000; i++)
		ck_assert_int_gt(peer_publish(&sender, "numbers", i), 0);
	run_until(feed.heard == 2000 && sender.pubacks == 2000);
	for (int i = 0; i < 2000; i++)
		ck_assert_int_eq(feed.numbers[i], i);
	peer_close(&sender);
	peer_close(&feed);
}
END_TEST

START_TEST(test_tls_held_acknowledgement)
{
	restart_with_tls("IP:127.0.0.1");
	feed.filter = "numbers";
	peer_start(&sender, "sender", SEND);
	peer_start(&feed, "feed", (struct mqtt_link_options){ .feed = true });
	run_until(sender.ups && feed.subscribed);
	peer_publish(&sender, "numbers", 3);
	run_until(feed.heard);
	link_reconnect(feed.link);
	run_until(feed.heard == 2);
	ck_assert(feed.session_present);
	ck_assert_int_eq(feed.numbers[1], 3);
	peer_close(&sender);
	peer_close(&feed);
}
END_TEST

static void expect_tls_failure(const char *reason)
{
	sender.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(sender.closed);
	ck_assert_int_eq(sender.ups, 0);
	ck_assert_msg(strstr(sender.reason, reason), "it says: %s", sender.reason);
}

START_TEST(test_tls_wrong_name)
{
	restart_with_tls("DNS:broker.example");
	expect_tls_failure("TLS failed");
}
END_TEST

START_TEST(test_tls_unknown_ca)
{
	restart_with_tls("IP:127.0.0.1");
	broker.ca = NULL;
	expect_tls_failure("certificate verify failed");
}
END_TEST

START_TEST(test_tls_missing_file)
{
	broker.tls = true;
	broker.ca = "/nonexistent/ca.pem";
	expect_tls_failure("a TLS file (CA, certificate or key) cannot be read");
}
END_TEST

START_TEST(test_tls_to_a_plain_broker)
{
	char config[128];
	restart_with_tls("IP:127.0.0.1");
	snprintf(config, sizeof config, "allow_anonymous true");
	restart_with(config);
	broker.ca = NULL;
	sender.closes_in = 'd';
	peer_start(&sender, "sender", SEND);
	run_until(sender.closed);
	ck_assert_int_eq(sender.ups, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mqtt link failures");
	TCase *failures = tcase_create("failures"), *tls = tcase_create("tls");
	TCase *cases[] = { failures, tls };
	for (size_t i = 0; i < 2; i++) {
		tcase_add_checked_fixture(cases[i], set_up_peers, tear_down_peers);
		tcase_set_timeout(cases[i], 60);
		suite_add_tcase(suite, cases[i]);
	}
	tcase_add_test(failures, test_broker_dies_and_returns);
	tcase_add_test(failures, test_broker_dies_over_a_held_batch);
	tcase_add_test(failures, test_taken_over);
	tcase_add_test(failures, test_nobody_listens);
	tcase_add_test(failures, test_next_host);
	tcase_add_test(failures, test_broker_keeps_nothing);
	tcase_add_test(failures, test_broker_without_qos);
	tcase_add_test(failures, test_no_such_name);
	tcase_add_test(failures, test_silent_broker);
	tcase_add_loop_test(failures, test_wrong_broker, 0, 2 * (sizeof wrong / sizeof *wrong));
	tcase_add_test(failures, test_a_slow_line_holds_so_much);
	tcase_add_test(failures, test_what_a_dead_line_holds);
	tcase_add_test(failures, test_nothing_is_confirmed);
	tcase_add_test(failures, test_goodbye_ends_in_order);
	tcase_add_test(failures, test_not_authorised);
	tcase_add_test(failures, test_subscription_refused);
	tcase_add_test(tls, test_tls);
	tcase_add_test(tls, test_tls_held_acknowledgement);
	tcase_add_test(tls, test_tls_wrong_name);
	tcase_add_test(tls, test_tls_unknown_ca);
	tcase_add_test(tls, test_tls_missing_file);
	tcase_add_test(tls, test_tls_to_a_plain_broker);
	return suite_run(suite);
}
