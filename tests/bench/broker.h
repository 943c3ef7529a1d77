/* broker.h - two MQTT 5 clients on a plain broker: one that asks, and one, on a thread of its own, that answers.
 *
 * Both drive libmosquitto by its external loop, which is its fastest way on one thread: poll, read, write what that brought.
 * QoS 1 in both directions, TCP_NODELAY, payloads of the size of a request and a response of Keyfob. */
#ifndef KEYFOB_BENCH_BROKER_H
#define KEYFOB_BENCH_BROKER_H

#include <stddef.h>
#include <stdint.h>

struct asker;

/* Connects both; returns when both are subscribed. `url` is mqtt://HOST:PORT. `on_answer` is called from asker_wait(),
 * and may ask again. */
struct asker *asker_new(const char *url, void (*on_answer)(void *owner, struct asker *), void *owner);
void asker_free(struct asker *);

void asker_ask(struct asker *);
/* Runs until `answers` have come in all since it was made, or it is `until_us` (clock.h). */
void asker_wait(struct asker *, uint64_t answers, int64_t until_us);
uint64_t asker_answers(const struct asker *);

#endif
