/* platform.h - simulated platforms: each has a webhook, and a server that takes what comes, is in trouble, or is away; it pauses the
 * webhook, gives it other secrets, and has things sent once more.
 *
 * What a platform knows is what it was answered and what came; what it has a right to is judged from that (docs/webhooks.md). */
#ifndef KEYFOB_TESTS_SIM_PLATFORM_H
#define KEYFOB_TESTS_SIM_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_call;
struct post;

/* A call to a server, and what that says to it. */
struct platform_reply {
	struct post *post; /* NULL: it is of a webhook that its platform knows nothing of */
	int64_t begun_us;
	int status; /* 0: the server has read the call, and says nothing */
	int64_t after_ms, retry_after_s;
	bool is_lost; /* on its way back */
};

void platforms_begin(void);
/* Every server takes what comes, and nobody changes anything more. */
void platforms_calm(void);
/* How many events have not come yet: a vehicle's come one after the other, and one that says much is behind by minutes where servers were away. */
size_t platforms_await(void);
/* In the end: everything has come. */
void platforms_judge(void);

/* the way there and back (tests/sim/http.c) */
void platforms_see_call(const struct http_call *, struct platform_reply *ret); /* a node begins it */
bool platforms_hear(const struct http_call *, struct platform_reply *);	       /* false: nobody listens there */
void platforms_see_end(const struct platform_reply *, bool is_answered);       /* the node knows how it went */

#endif
