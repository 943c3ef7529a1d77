/* ground.h - what the checks of door and REST stand on: a node on a thread of its own, whose operations, tokens and hub are scripted, and
 * a client of bytes. */
#ifndef KEYFOB_TESTS_UNIT_GATEWAY_HTTP_GROUND_H
#define KEYFOB_TESTS_UNIT_GATEWAY_HTTP_GROUND_H

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "gateway/config.h"
#include "tests/unit/gateway/wire.h"

#define PER_ADDRESS 4
#define FLOOD_EVENTS 4000
#define FLOOD_BYTES 4000
#define REPLAY_LAST 40
#define HUGE_BYTES (32 * 1024 * 1024) /* more than any buffers on the way hold */

#define HEAD "Host: h\r\nAuthorization: Bearer good\r\n"
#define LAST HEAD "Connection: close\r\n\r\n"

/* A case whose checks have a node, plain or behind TLS that the door ends. It ends with the process. */
TCase *case_new(const char *name, bool tls);

extern struct config config;	    /* no limits; the test's */
extern const char *trusted_network; /* of proxies; the test's */
extern SSL_CTX *client;		    /* NULL: the door is plain */
/* Each operation answers with its own name and parameters; of the vehicle HUGE with so many bytes. */
extern atomic_uint fetches; /* with the first, the token "soon" is good */
extern atomic_uint soon_seen;
/* A stream is told a snapshot, then two events; of FLOOD more than anyone would read, of QUIET nothing, of REPLAY what it missed. */
extern atomic_bool unsubscribed;

void put_file(const char *name, const char *text); /* of the console's */

int dial(void);
void say(int fd, const char *text);
/* Everything until `what` came, or the node closed. Valid until the next call. */
const char *hear_until(int fd, const char *what);
const char *hear(int fd);
const char *ask(const char *request);
void expect(const char *answer, const char *what);
void ask_expect(const char *request, const char *status, const char *what);

/* The files of checks. */
void add_requests(TCase *);
void add_framing(TCase *);
void add_limits(TCase *);
void add_streams(TCase *);
void add_browsers(TCase *);

#endif
