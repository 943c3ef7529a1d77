/* ground.h - what the checks of the WebSocket room stand on: libwebsockets for real, a client that can misbehave, and in place of
 * operations, tokens and hub what the test says. Client and server share one loop, so nothing waits for time but what
 * is about time. */
#ifndef KEYFOB_TESTS_UNIT_GATEWAY_WS_GROUND_H
#define KEYFOB_TESTS_UNIT_GATEWAY_WS_GROUND_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "gateway/config_lists.h"
#include "gateway/ws/ws.h"
#include "gateway/ws/ws_internal.h"
#include "notifier/hub_internal.h"

#define MAX_QUEUE 65536
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define CALL(id, method, params) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}"
#define SUBSCRIBE(id, vehicle) CALL(id, "vehicle.subscribe", "{\"vehicle_id\":\"" vehicle "\"}")

#define HEAD(more)                                                                                                     \
	"GET /v1/ws HTTP/1.1\r\nHost: app.example:8080\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"   \
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n" more "\r\n"
#define GOOD_KEY "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"
#define UPGRADE_OF(more) "/v1/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" OURS more "\r\n"
#define UPGRADE(more) "GET " UPGRADE_OF("Host: a\r\n" more)
#define OURS "Sec-WebSocket-Protocol: keyfob.v1\r\n"
#define STRANGER HEAD(OURS)
#define KNOWN HEAD(OURS "Authorization: Bearer alice\r\n")

/* The fixture's; nothing is limited by `config`. */
extern struct loop *loop;
extern struct config config;
extern struct api api;
extern struct ws *ws;
extern size_t gone; /* connections that the room has let go of */
extern const struct texts trusted;

/* What stands in for the rest of the gateway. */
extern int64_t lifetime_us;   /* of the tokens that are made; from now on, leeway included */
extern unsigned fetches;      /* with the first, the token "soon" is good */
extern unsigned soon_seen;    /* how often it was shown */
extern struct api_call *held; /* asked for the vehicle HELD */
extern size_t watcher_count, watched_ever;
extern bool counts_nothing; /* the kernel, of what it receives */
extern size_t counts_asked; /* how often it was asked for that */

struct client {
	int fd;
	uv_poll_t poll;
	struct text in;
	size_t read;
	size_t pieces; /* that it came in */
	bool ended, released;
};

struct frame {
	int opcode;
	char *text;
	size_t len;
};
enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct hub_subscriber *watcher_of(const char *vehicle_id);
void make_ready(const char *vehicle_id, int64_t seq);
void tell_by(const char *watched, const struct event_parts *parts);
void tell(const char *vehicle_id, int64_t seq, const char *type, const char *data);
void end_watch(const char *vehicle_id, const struct fault *fault);
/* Runs the loop until `is_so`; that it never becomes so fails the test. */
void run_until(bool (*is_so)(void *), void *context);
void read_on(struct client *c);
void client_send(struct client *c, const void *bytes, size_t len);
/* Connects, sends the head, and hands the other end to the room as the door does. */
void client_open(struct client *c, const char *peer, const char *head);
/* The status; the head is passed over. */
int client_status(struct client *c);
/* The app is gone, without a word. */
void client_drop(struct client *c);
int status_of_head(const char *peer, const char *head);
/* In the head: a field as far as its number, which is at least and at most so much. */
void expect_field(struct client *c, const char *field, int least, int most);
void open_known(struct client *c);
/* One frame, masked (RFC 6455 §5.2); `bits` are FIN and opcode. */
void send_frame(struct client *c, int bits, const char *text, size_t len);
void say(struct client *c, const char *text);
struct frame next_frame(struct client *c);
void expect(struct client *c, const char *text);
/* A text that has `part` in it. */
void expect_part(struct client *c, const char *part);
void expect_error(struct client *c, const char *id, int code);
bool has_ended(void *context);
/* This frame closes with `code`; answered, the connection ends. */
void expect_close_in(struct client *c, const struct frame *f, int code);
/* The next one does. */
void expect_close(struct client *c, int code);
void client_done(struct client *c);
bool is_watched(void *context);
bool is_held(void *context);
void subscribe(struct client *c, const char *vehicle_id, int64_t seq);

/* Cases with a room: patient and without limits, one that pings, one that allows five messages a second. */
void begin(void);
void begin_impatient(void);
void begin_strict(void);
TCase *case_new(Suite *, const char *name, void (*begin)(void));

/* The files of checks. */
void add_coming_in(Suite *);
void add_messages(Suite *);
void add_watching(Suite *);
void add_ending(Suite *);

#endif
