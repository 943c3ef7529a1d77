/* letter.c - messages, counted by who holds them. */
#include "tests/sim/letter.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/sim/world.h"

struct letter *letter_new(const char *topic, const void *payload, size_t len, const char *correlation, int qos)
{
	struct letter *l = memory_new(sizeof(*l));

	l->topic = memory_need(strdup(topic));
	l->payload = memory_new(len + 1);
	if (len > 0)
		memcpy(l->payload, payload, len);
	l->len = len;
	l->correlation = correlation ? memory_need(strdup(correlation)) : NULL;
	l->qos = qos;
	l->refs = 1;
	return l;
}

struct letter *letter_ref(struct letter *l)
{
	l->refs++;
	return l;
}

void letter_unref(struct letter *l)
{
	if (!l || --l->refs > 0)
		return;
	free(l->topic);
	free(l->payload);
	free(l->correlation);
	free(l);
}

bool letter_is_expired(const struct letter *l)
{
	return l->expires_ms > 0 && l->expires_ms <= world_ms();
}
