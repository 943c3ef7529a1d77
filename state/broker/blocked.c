/* blocked.c - who is shut out, and whom that still has to be thrown out. */
#include "state/broker/blocked.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define ID_MAX 64

struct blocked_id {
	UT_hash_handle hh;
	bool is_due; /* to be thrown out, should it be there */
	char id[ID_MAX + 1];
};

static struct blocked_id *find(const struct blocked *b, const char *id)
{
	struct blocked_id *entry;
	HASH_FIND_STR(b->ids, id, entry);
	return entry;
}

void blocked_done(struct blocked *b)
{
	struct blocked_id *entry, *next;
	HASH_ITER (hh, b->ids, entry, next) {
		HASH_DEL(b->ids, entry);
		free(entry);
	}
}

bool blocked_has(const struct blocked *b, const char *id)
{
	return id && find(b, id);
}

/* The vehicle's id in {namespace}/blocked/{id}; NULL when the topic is another. */
static const char *id_of(const char *name_space, const char *topic)
{
	static const char middle[] = "/blocked/";
	size_t len = strlen(name_space);

	if (strncmp(topic, name_space, len) != 0 || strncmp(topic + len, middle, sizeof middle - 1) != 0)
		return NULL;
	const char *id = topic + len + sizeof middle - 1;
	return *id && strlen(id) <= ID_MAX && !strchr(id, '/') ? id : NULL;
}

static void add(struct blocked *b, const char *id)
{
	struct blocked_id *entry = find(b, id);
	if (!entry) {
		entry = calloc(1, sizeof *entry);
		if (!entry)
			abort();
		memcpy(entry->id, id, strlen(id) + 1);
		HASH_ADD_STR(b->ids, id, entry);
		mosquitto_log_printf(MOSQ_LOG_NOTICE, "keyfob: %s is shut out", id);
	}
	entry->is_due = true;
}

static void drop(struct blocked *b, const char *id)
{
	struct blocked_id *entry = find(b, id);
	if (!entry)
		return;
	HASH_DEL(b->ids, entry);
	free(entry);
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "keyfob: %s may come again", id);
}

void blocked_read(struct blocked *b, const char *name_space, const char *topic, size_t payload_len)
{
	const char *id = id_of(name_space, topic);
	if (id && payload_len > 0)
		add(b, id);
	else if (id)
		drop(b, id);
}

void blocked_meet(struct blocked *b, const char *id)
{
	struct blocked_id *entry = find(b, id);
	if (entry)
		entry->is_due = true;
}

/* Not in the message's own round: the broker may have the client in hand. */
void blocked_kick(struct blocked *b)
{
	struct blocked_id *entry, *next;
	HASH_ITER (hh, b->ids, entry, next) {
		if (!entry->is_due)
			continue;
		entry->is_due = false;
		mosquitto_kick_client_by_clientid(entry->id, false);
	}
}
