/* letter.h - a message on its way, shared by all who get it. */
#ifndef KEYFOB_TESTS_SIM_LETTER_H
#define KEYFOB_TESTS_SIM_LETTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct letter {
	char *topic, *payload, *correlation;
	size_t len;
	int qos;
	int64_t expires_ms; /* 0: never */
	int64_t held_ms;    /* by a silent line, before the broker had it */
	unsigned refs;
};

/* `correlation` NULL: none. */
struct letter *letter_new(const char *topic, const void *payload, size_t len, const char *correlation, int qos);
struct letter *letter_ref(struct letter *);
void letter_unref(struct letter *); /* NULL is fine */
bool letter_is_expired(const struct letter *);

#endif
