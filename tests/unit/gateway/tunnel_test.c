/* tunnel_test.c - TLS at the door against OpenSSL clients: what is spoken, what passes both ways, who counts, how it ends, and
 * a certificate that is renewed meanwhile. The room is a thread that reads and writes its end of the pair. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/loop.h"
#include "base/metrics.h"
#include "gateway/certificate.h"
#include "gateway/config_lists.h"
#include "gateway/door/door.h"
#include "gateway/door/frames.h"
#include "gateway/door/guests.h"
#include "gateway/door/tunnel.h"
#include "tests/certificate.h"
#include "tests/suite.h"
#include "wire.h"

#define MEGA (1024 * 1024)
#define PER_SOCKET 50
#define HELD (64 * MEGA) /* more than any buffers on the way hold */

static struct loop *loop;
static struct tunnels *tunnels;
static struct certificate *certificate;
static struct door *door;
static SSL_CTX *client;
static pthread_t server;
static char folder[] = "/tmp/keyfob-tunnel-XXXXXX";
static char chain[128], key[128], other_chain[128], other_key[128], nothing[128];

/* The room: one thread a connection, which does what the head's path says. */

static atomic_size_t rooms_begun, rooms_left, room_sent, websockets;
static char last_peer[64];

static void read_all(int fd, void *data, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = recv(fd, (char *)data + got, len - got, 0);
		if (n <= 0)
			return;
		got += (size_t)n;
	}
}

static void write_all(int fd, const void *data, size_t len)
{
	for (size_t put = 0; put < len;) {
		ssize_t n = send(fd, (const char *)data + put, len - put, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		put += (size_t)n;
		atomic_fetch_add(&room_sent, (size_t)n);
	}
}

/* Comes back changed, so that nobody mistakes one direction for the other. */
static void echo_mega(int fd)
{
	unsigned char *data = malloc(MEGA);

	read_all(fd, data, MEGA);
	for (size_t i = 0; i < MEGA; i++)
		data[i] ^= 0x55;
	write_all(fd, data, MEGA);
	free(data);
}

static void pour(int fd)
{
	char *data = calloc(1, MEGA);

	for (size_t i = 0; i < HELD / MEGA; i++)
		write_all(fd, data, MEGA);
	free(data);
}

/* Sends until nothing goes any more, and leaves. */
static void fill(int fd)
{
	char *data = calloc(1, MEGA);

	for (int stuck = 0; stuck < 10;) {
		ssize_t n = send(fd, data, MEGA, MSG_DONTWAIT | MSG_NOSIGNAL);
		stuck = n > 0 ? 0 : stuck + 1;
		if (n <= 0)
			usleep(20000);
	}
	free(data);
}

/* Reads until the client has ended, then says how much there was. */
static void count(int fd)
{
	char piece[4096], text[32];
	size_t all = 0;
	ssize_t n;

	while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
		all += (size_t)n;
	write_all(fd, text, (size_t)snprintf(text, sizeof(text), "%zu", all));
}

static void *serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char head[256] = "";

	for (size_t len = 0; len < sizeof(head) - 1 && !strstr(head, "\r\n\r\n"); len++)
		read_all(fd, head + len, 1);
	if (strstr(head, "/echo"))
		echo_mega(fd);
	else if (strstr(head, "/pour"))
		pour(fd);
	else if (strstr(head, "/fill"))
		fill(fd);
	else if (strstr(head, "/count"))
		count(fd);
	else
		write_all(fd, head, strlen(head));
	close(fd);
	guests_leave("127.0.0.1");
	atomic_fetch_add(&rooms_left, 1);
	return NULL;
}

static void on_room(void *owner, int fd, const char *peer)
{
	pthread_t thread;

	(void)owner;
	snprintf(last_peer, sizeof(last_peer), "%s", peer);
	atomic_fetch_add(&rooms_begun, 1);
	ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0); /* it has a thread to wait in */
	ck_assert_int_eq(pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd), 0);
	pthread_detach(thread);
}

static void on_websocket(void *owner, int fd, const char *peer)
{
	atomic_fetch_add(&websockets, 1);
	on_room(owner, fd, peer);
}

static void *serve(void *arg)
{
	loop_run(loop);
	return arg;
}

static void path_in(char out[128], const char *name)
{
	snprintf(out, 128, "%s/%s", folder, name);
}

static void tear_down(void)
{
	const char *const files[] = { chain, key, other_chain, other_key, nothing };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(files[i]);
	rmdir(folder);
}

static void make_files(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	path_in(chain, "chain.pem");
	path_in(key, "key.pem");
	path_in(other_chain, "other.pem");
	path_in(other_key, "other-key.pem");
	path_in(nothing, "nothing.pem");
	certificate_write("IP:127.0.0.1", chain, key);
	certificate_write("IP:127.0.0.1", other_chain, other_key);
	FILE *f = fopen(nothing, "w");
	ck_assert(f && fputs("nothing", f) >= 0 && fclose(f) == 0);
}

static void set_up(void)
{
	struct address address = { .text = "127.0.0.1:0", .host = "127.0.0.1" };
	char why[256];

	signal(SIGPIPE, SIG_IGN); /* as keyfobd does */
	make_files();
	client = wire_context(chain);
	certificate = certificate_new(chain, key, why, sizeof(why));
	ck_assert_msg(certificate != NULL, "%s", why);
	loop = loop_new();
	tunnels = tunnels_new(loop, certificate, PER_SOCKET);
	door = door_new(loop, &(struct door_options){ .counts = true,
				      .max_connections = 100,
				      .max_per_address = 3,
				      .tls = tunnels,
				      .on_http = on_room,
				      .on_websocket = on_websocket });
	ck_assert(door_listen(door, &address));
	ck_assert_int_eq(pthread_create(&server, NULL, serve, NULL), 0);
}

/* The client. */

static int dial(void)
{
	int fd = wire_dial(door_port(door), client);

	ck_assert_msg(fd >= 0, "no handshake: %s", ERR_reason_error_string(ERR_peek_error()));
	return fd;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(wire_send(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* All until the other side's close_notify: a stream that is merely cut fails. */
static const char *hear(int fd)
{
	static char all[65536];
	size_t len = 0;
	ssize_t n;

	while ((n = wire_recv(fd, all + len, sizeof(all) - 1 - len)) > 0)
		len += (size_t)n;
	ck_assert_msg(n == 0, "cut after %zu bytes: %s", len, strerror(errno));
	all[len] = '\0';
	wire_close(fd);
	return all;
}

static void wait_for_guests(size_t count)
{
	while (guests_count() != count)
		uv_sleep(1);
}

static const char plain_head[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

START_TEST(speaks_modern_tls_and_http_1_1_alone)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1", newer[] = "\x02h2";
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	const unsigned char *chosen;
	unsigned len;

	for (size_t i = 0; i < 2; i++) {
		SSL_CTX_set_min_proto_version(client, versions[i]);
		SSL_CTX_set_max_proto_version(client, versions[i]);
		SSL_CTX_set_alpn_protos(client, both, sizeof(both) - 1);
		int fd = dial();
		ck_assert_int_eq(SSL_version(wire_tls(fd)), versions[i]);
		SSL_get0_alpn_selected(wire_tls(fd), &chosen, &len);
		ck_assert(len == 8 && memcmp(chosen, "http/1.1", 8) == 0);
		say(fd, plain_head);
		ck_assert_str_eq(hear(fd), plain_head);
		ck_assert_str_eq(last_peer, "127.0.0.1");
	}
	SSL_CTX_set_alpn_protos(client, newer, sizeof(newer) - 1);
	ck_assert_int_eq(wire_dial(door_port(door), client), -1);
}
END_TEST

START_TEST(refuses_what_is_old)
{
	int64_t refused = metric_value(METRIC_TLS_REFUSED);

	SSL_CTX_set_security_level(client, 0);
	SSL_CTX_set_min_proto_version(client, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
	ck_assert_int_eq(wire_dial(door_port(door), client), -1);
	SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
	static const char *const weak[] = { "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "NULL" };
	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
		ck_assert_int_eq(SSL_CTX_set_cipher_list(client, weak[i]), 1);
		ck_assert_msg(wire_dial(door_port(door), client) == -1, "%s was spoken", weak[i]);
	}
	while (metric_value(METRIC_TLS_REFUSED) < refused + 5)
		uv_sleep(1);
	wait_for_guests(0);
}
END_TEST

START_TEST(who_speaks_in_the_clear_is_not_heard)
{
	int fd = wire_dial(door_port(door), NULL);
	char answer[64];

	say(fd, plain_head);
	ssize_t n = wire_recv(fd, answer, sizeof(answer));
	ck_assert_msg(n <= 7, "an answer of %zd bytes", n); /* at most TLS's own alert */
	wire_close(fd);
	wait_for_guests(0);
	ck_assert_uint_eq(atomic_load(&rooms_left), 0);
}
END_TEST

START_TEST(hears_a_head_in_pieces)
{
	static const char upgrade[] = "GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
				      "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	int fd = dial();

	for (const char *at = upgrade; *at; at++)
		ck_assert_int_eq(wire_send(fd, at, 1), 1);
	ck_assert_str_eq(hear(fd), upgrade);
	ck_assert_uint_eq(atomic_load(&websockets), 1);
}
END_TEST

START_TEST(carries_much_both_ways)
{
	unsigned char *out = malloc(MEGA), *in = malloc(MEGA);
	int fd = dial();

	for (size_t i = 0; i < MEGA; i++)
		out[i] = (unsigned char)(i * 7 + i / 251);
	say(fd, "GET /echo HTTP/1.1\r\n\r\n");
	ck_assert_int_eq(wire_send(fd, out, MEGA), MEGA);
	for (size_t got = 0; got < MEGA;) {
		ssize_t n = wire_recv(fd, in + got, MEGA - got);
		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	for (size_t i = 0; i < MEGA; i++) /* an assertion that holds is told, too, which costs more than the rest */
		if (in[i] != (out[i] ^ 0x55))
			ck_abort_msg("byte %zu differs", i);
	ck_assert_str_eq(hear(fd), "");
	free(out);
	free(in);
}
END_TEST

/* The client has ended its own direction: the room hears that, and its answer still comes. */
START_TEST(ends_each_direction_by_itself)
{
	int fd = dial();

	say(fd, "GET /count HTTP/1.1\r\n\r\n");
	say(fd, "seven b");
	wire_end(fd);
	ck_assert_str_eq(hear(fd), "7");
	wait_for_guests(0);
}
END_TEST

/* Nothing on the way grows without bound: a room that sends to one who does not read is held up, too. */
START_TEST(holds_a_room_up_while_the_client_does_not_read)
{
	char *piece = malloc(MEGA);
	int fd = dial(), size = 65536;
	size_t sent = 0, before = 1, all = 0;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	say(fd, "GET /pour HTTP/1.1\r\n\r\n");
	while (sent == 0 || sent != before) { /* until it stands still */
		before = sent;
		usleep(100000);
		sent = atomic_load(&room_sent);
	}
	ck_assert_uint_lt(sent, HELD / 2);
	ck_assert(!tunnels_are_flushed(tunnels));
	while ((n = wire_recv(fd, piece, MEGA)) > 0)
		all += (size_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(all, HELD);
	wire_close(fd);
	wait_for_guests(0);
	ck_assert(tunnels_are_flushed(tunnels));
	free(piece);
}
END_TEST

/* The room has left, the client has not read everything: it is still there, and counts, but not for ever. */
START_TEST(counts_a_client_for_as_long_as_it_is_there)
{
	char *piece = malloc(MEGA);
	int reads = dial(), sleeps = dial();
	ssize_t n;

	say(reads, "GET /fill HTTP/1.1\r\n\r\n");
	say(sleeps, "GET /fill HTTP/1.1\r\n\r\n");
	while (atomic_load(&rooms_left) < 2)
		uv_sleep(1);
	wait_for_guests(2);
	while ((n = wire_recv(reads, piece, MEGA)) > 0)
		;
	ck_assert_int_eq(n, 0); /* whole, to its close_notify */
	wire_close(reads);
	wait_for_guests(1);
	wait_for_guests(0); /* the other was cut, though it is still open at our end */
	wire_close(sleeps);
	free(piece);
}
END_TEST

START_TEST(has_so_much_room_for_an_address)
{
	int fds[3];

	for (size_t i = 0; i < 3; i++)
		fds[i] = dial();
	ck_assert_int_eq(wire_dial(door_port(door), client), -1);
	wire_close(fds[0]); /* before it had a room */
	wait_for_guests(2);
	fds[0] = dial();
	say(fds[0], plain_head);
	ck_assert_str_eq(hear(fds[0]), plain_head);
	wire_close(fds[1]);
	wire_close(fds[2]);
	wait_for_guests(0);
}
END_TEST

/* A client that vanishes (RST) is told to the room as an end. */
START_TEST(a_cut_line_ends_the_room)
{
	struct linger hard = { .l_onoff = 1 };
	int fd = dial();

	say(fd, "GET /count HTTP/1.1\r\n\r\n");
	while (atomic_load(&rooms_begun) == 0) /* a reset before it would find no room */
		uv_sleep(1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	wire_close(fd);
	while (atomic_load(&rooms_left) == 0)
		uv_sleep(1);
	wait_for_guests(0);
}
END_TEST

/* Key updates, each by itself; how many went out. */
static int update_keys(int fd, int count, int type)
{
	for (int i = 0; i < count; i++) {
		if (SSL_key_update(wire_tls(fd), type) != 1 || SSL_do_handshake(wire_tls(fd)) != 1)
			return i;
	}
	return count;
}

#define FLOOD 200000

static void *flood(void *fd)
{
	return (void *)(intptr_t)update_keys((int)(intptr_t)fd, FLOOD, SSL_KEY_UPDATE_NOT_REQUESTED);
}

static const char *const flood_begins[] = { "", "GET /c", "GET /count HTTP/1.1\r\n\r\n" };

/* OpenSSL would read on inside one call for as long as no data came. */
START_TEST(a_flood_of_key_updates_is_cut)
{
	pthread_t flooding;
	int fd = dial();
	void *sent;

	if (*flood_begins[_i])
		say(fd, flood_begins[_i]);
	ck_assert_int_eq(pthread_create(&flooding, NULL, flood, (void *)(intptr_t)fd), 0);
	int other = dial();
	say(other, plain_head);
	ck_assert_str_eq(hear(other), plain_head);
	pthread_join(flooding, &sent);
	ck_assert_int_lt((int)(intptr_t)sent, FLOOD);
	wire_close(fd);
	wait_for_guests(0);
}
END_TEST

#define UPGRADE                                                                                                        \
	"GET /v1/ws?/count HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                       \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define MASK "\1\2\3\4"

struct sent {
	const char *bytes;
	size_t len;
};
#define SENT(bytes)                                                                                                    \
	{                                                                                                              \
		bytes, sizeof(bytes) - 1                                                                               \
	}

static const struct sent control_frames[] = { SENT("\x89\x80" MASK), SENT("\x8a\x80" MASK), SENT("\x89\x83" MASK "abc"),
	SENT("\x89\x03"
	     "abc") };

/* libwebsockets would read and answer them for ever. */
START_TEST(a_flood_of_control_frames_is_cut)
{
	const struct sent *frame = &control_frames[_i];
	int fd = dial(), count = 0;

	say(fd, UPGRADE);
	while (count < 1000000 && wire_send(fd, frame->bytes, frame->len) == (ssize_t)frame->len)
		count++;
	ck_assert_int_lt(count, 1000000);
	ck_assert_int_ge(count, 2 * PER_SOCKET);
	wire_close(fd);
	wait_for_guests(0);
}
END_TEST

/* What the client does not take must not make up for what it sends: that the socket is full is no verdict. */
START_TEST(who_reads_nothing_is_cut_for_control_frames_too)
{
	static char frames[6 * 1000];
	int fd = dial();
	int waiting = 0, before = 1;

	for (size_t at = 0; at < sizeof(frames); at += 6)
		memcpy(frames + at, "\x89\x80" MASK, 6);
	say(fd, "GET /v1/ws?/pour HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	while (waiting == 0 || waiting != before) { /* until it stands still */
		before = waiting;
		usleep(200000);
		ck_assert_int_eq(ioctl(fd, FIONREAD, &waiting), 0);
	}
	ck_assert_int_eq(wire_send(fd, frames, sizeof(frames)), (ssize_t)sizeof(frames));
	for (int i = 0; i < 500 && atomic_load(&rooms_left) == 0; i++)
		uv_sleep(10);
	ck_assert_uint_eq(atomic_load(&rooms_left), 1);
	wire_close(fd);
	wait_for_guests(0);
}
END_TEST

/* They are in the pair before anybody reads. */
START_TEST(control_frames_right_behind_the_head_count)
{
	char text[8192] = UPGRADE;
	size_t len = strlen(text), first = 2 * PER_SOCKET + 1;
	char byte;
	int fd = dial();

	for (size_t i = 0; i < first; i++, len += 6)
		memcpy(text + len, "\x89\x80" MASK, 6);
	ck_assert_int_eq(wire_send(fd, text, len), (ssize_t)len);
	ck_assert_int_le(wire_recv(fd, &byte, 1), 0);
	wire_close(fd);
	wait_for_guests(0);
}
END_TEST

/* Messages of every width of length, cut anywhere, with a ping now and then between: no byte of a payload is taken for a head. */
START_TEST(messages_are_no_control_frames)
{
	static char all[400000];
	static const size_t sizes[] = { 0, 125, 126, 65535, 65536 };
	char told[32] = "", expected[32];
	size_t len = 0;
	int fd = dial();

	for (size_t i = 0; i < 5; i++) {
		bool wide = sizes[i] > 65535, middle = !wide && sizes[i] > 125;
		all[len++] = (char)0x81;
		all[len++] = (char)(0x80 | (wide ? 127 : middle ? 126 : sizes[i]));
		for (int byte = wide ? 7 : middle ? 1 : -1; byte >= 0; byte--)
			all[len++] = (char)(sizes[i] >> (8 * byte));
		memset(all + len, 0x89, 4 + sizes[i]);
		len += 4 + sizes[i];
		memcpy(all + len, "\x89\x80" MASK, 6);
		len += 6;
	}
	say(fd, UPGRADE);
	for (size_t at = 0, piece = 1; at < len; at += piece, piece = piece % 1000 + 7) {
		piece = piece < len - at ? piece : len - at;
		ck_assert_int_eq(wire_send(fd, all + at, piece), (ssize_t)piece);
	}
	wire_end(fd);
	snprintf(expected, sizeof(expected), "%zu", len);
	for (ssize_t n = 0, got = 0; got < (ssize_t)strlen(expected); got += n) {
		n = wire_recv(fd, told + got, sizeof(told) - 1 - (size_t)got);
		ck_assert_int_gt(n, 0);
	}
	ck_assert_str_eq(told, expected);
	wire_close(fd);
	wait_for_guests(0);
}
END_TEST

/* One of each width between others, cut anywhere: it is told where it begins. */
START_TEST(a_frame_without_a_mask_is_seen)
{
	static const struct sent unmasked[] = { SENT("\x81\x00"), SENT("\x81\x7d"), SENT("\x82\x7e\x01\x00"),
		SENT("\x01\x7f\x00\x00\x00\x00\x00\x01\x00\x00"), SENT("\x89\x03") };
	const struct sent *frame = &unmasked[_i];
	char all[64] = "\x81\x83" MASK "\1\2\3\x89\x80" MASK;
	size_t before = 15, len = before + frame->len;

	memcpy(all + before, frame->bytes, frame->len);
	for (size_t cut = 0; cut <= len; cut++) {
		struct frames frames = { 0 };
		struct frames_seen seen[2] = { frames_see(&frames, all, cut), { 0 } };
		seen[1] = frames_see(&frames, all + cut, len - cut);
		ck_assert_int_eq(seen[0].unmasked, cut == len);
		ck_assert_int_eq(seen[1].unmasked, cut < len);
		ck_assert_int_eq(cut == len ? seen[0].at : seen[1].at + (ptrdiff_t)cut, (ptrdiff_t)before);
		ck_assert_uint_eq(seen[0].control + seen[1].control, frame->bytes[0] == '\x89' ? 2 : 1);
	}
}
END_TEST

START_TEST(keys_may_be_renewed)
{
	char text[4] = "";
	int fd = dial();

	say(fd, "GET /count HTTP/1.1\r\n\r\n");
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(
			update_keys(fd, 8, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 8);
		say(fd, "x");
	}
	wire_end(fd);
	for (ssize_t n = 0, got = 0; got < 3; got += n) {
		n = wire_recv(fd, text + got, 3 - (size_t)got);
		ck_assert_int_gt(n, 0);
	}
	ck_assert_str_eq(text, "100");
	wire_close(fd);
	wait_for_guests(0);
}
END_TEST

static int64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Each asks for one of ours. Who reads none of them is not read either, and the loop rests. */
START_TEST(answers_to_key_updates_wait_for_their_reader)
{
	int fd = dial(), stuck = 0;

	say(fd, "GET /count HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); /* its socket's buffer is small */
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (stuck < 20) {
		bool went = SSL_do_handshake(wire_tls(fd)) == 1 && update_keys(fd, 4, SSL_KEY_UPDATE_REQUESTED) == 4 &&
			    wire_send(fd, "x", 1) == 1;
		stuck = went ? 0 : stuck + 1;
		if (!went)
			uv_sleep(10);
	}
	int64_t used_ms = 500;
	for (int i = 0; used_ms >= 100 && i < 20; i++) { /* what the kernel has taken of them is read first */
		int64_t before_ms = cpu_ms();
		uv_sleep(500);
		used_ms = cpu_ms() - before_ms;
	}
	ck_assert_int_lt(used_ms, 100);
	wire_close(fd);
	wait_for_guests(0);
}
END_TEST

static bool is_shown(const char *file)
{
	SSL_CTX *context = wire_context(file);
	int fd = wire_dial(door_port(door), context);

	SSL_CTX_free(context);
	if (fd < 0)
		return false;
	wire_close(fd);
	wait_for_guests(1); /* the one that stays */
	return true;
}

START_TEST(a_renewal_is_the_next_connections)
{
	char why[256] = "";
	int stays = dial();

	ck_assert(is_shown(chain) && !is_shown(other_chain));
	ck_assert(certificate_renew(certificate, other_chain, other_key, why, sizeof(why)));
	ck_assert(!is_shown(chain) && is_shown(other_chain));
	ck_assert(!certificate_renew(certificate, chain, other_key, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, other_key));
	ck_assert(!certificate_renew(certificate, nothing, key, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, nothing));
	ck_assert(!certificate_renew(certificate, "/nowhere", key, why, sizeof(why)));
	ck_assert(!is_shown(chain) && is_shown(other_chain));
	say(stays, plain_head);
	ck_assert_str_eq(hear(stays), plain_head);
}
END_TEST

START_TEST(says_what_is_wrong_with_files)
{
	char why[256] = "";

	ck_assert_ptr_null(certificate_check(chain, key, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(certificate_check(chain, other_key, why, sizeof(why)), "mismatch"));
	ck_assert_ptr_nonnull(strstr(certificate_check(nothing, key, why, sizeof(why)), nothing));
	ck_assert_ptr_nonnull(strstr(certificate_check(chain, nothing, why, sizeof(why)), nothing));
	ck_assert_ptr_null(certificate_check_authorities(chain, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(certificate_check_authorities(nothing, why, sizeof(why)), nothing));
	ck_assert_ptr_nonnull(certificate_check_authorities("/nowhere", why, sizeof(why)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tunnel");
	TCase *tests = tcase_create("tunnel");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, speaks_modern_tls_and_http_1_1_alone);
	tcase_add_test(tests, refuses_what_is_old);
	tcase_add_test(tests, who_speaks_in_the_clear_is_not_heard);
	tcase_add_test(tests, hears_a_head_in_pieces);
	tcase_add_test(tests, carries_much_both_ways);
	tcase_add_test(tests, ends_each_direction_by_itself);
	tcase_add_test(tests, holds_a_room_up_while_the_client_does_not_read);
	tcase_add_test(tests, counts_a_client_for_as_long_as_it_is_there);
	tcase_add_test(tests, has_so_much_room_for_an_address);
	tcase_add_test(tests, a_cut_line_ends_the_room);
	tcase_add_loop_test(tests, a_flood_of_key_updates_is_cut, 0, sizeof(flood_begins) / sizeof(flood_begins[0]));
	tcase_add_test(tests, keys_may_be_renewed);
	tcase_add_test(tests, answers_to_key_updates_wait_for_their_reader);
	tcase_add_test(tests, a_renewal_is_the_next_connections);
	tcase_add_test(tests, says_what_is_wrong_with_files);
	suite_add_tcase(suite, tests);
	tests = tcase_create("frames");
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(
		tests, a_flood_of_control_frames_is_cut, 0, sizeof(control_frames) / sizeof(control_frames[0]));
	tcase_add_test(tests, who_reads_nothing_is_cut_for_control_frames_too);
	tcase_add_test(tests, control_frames_right_behind_the_head_count);
	tcase_add_test(tests, messages_are_no_control_frames);
	tcase_add_loop_test(tests, a_frame_without_a_mask_is_seen, 0, 5);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
