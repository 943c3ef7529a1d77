/* owed.c - of each client a list of what was taken for it, in order, until that is acknowledged or its session is gone. */
#include "tests/sim/owed.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/memory.h"
#include "tests/sim/letter.h"
#include "tests/sim/world.h"

#define DONE_MAX 256 /* of those that a client has acknowledged, so many are known again */

struct debt {
	struct list node;
	struct letter *letter;
	unsigned writes;
	bool is_written; /* to the line that there is */
};

struct client {
	char id[64]; /* the key of the table */
	bool has_line;
	struct list debts;
	struct letter *done[DONE_MAX]; /* a ring */
	size_t done_count;
	UT_hash_handle hh;
};

static struct client *all;
static unsigned kept, again;

static struct client *client_of(const char *id)
{
	struct client *c;

	HASH_FIND_STR(all, id, c);
	if (c)
		return c;
	c = memory_new(sizeof(*c));
	snprintf(c->id, sizeof(c->id), "%s", id);
	list_init(&c->debts);
	HASH_ADD_STR(all, id, c);
	return c;
}

static struct debt *debt_of(struct list *node)
{
	return container_of(node, struct debt, node);
}

static void forgive(struct debt *d)
{
	list_remove(&d->node);
	letter_unref(d->letter);
	free(d);
}

void owed_begin_line(const char *client_id, bool goes_on)
{
	struct client *c = client_of(client_id);

	c->has_line = true;
	list_for_each_safe (node, &c->debts) {
		debt_of(node)->is_written = false;
		if (!goes_on)
			forgive(debt_of(node));
	}
}

void owed_end_line(const char *client_id)
{
	client_of(client_id)->has_line = false;
}

void owed_take(const char *client_id, struct letter *letter)
{
	struct client *c = client_of(client_id);
	struct debt *d = memory_new(sizeof(*d));

	d->letter = letter_ref(letter);
	list_append(&c->debts, &d->node);
	kept += !c->has_line;
}

static bool is_done(const struct client *c, const struct letter *letter)
{
	for (size_t i = 0; i < DONE_MAX; i++)
		if (c->done[i] == letter)
			return true;
	return false;
}

/* Whether there was one that should have been written. */
static bool is_behind(struct client *c, const struct debt *until)
{
	list_for_each_safe (node, &c->debts) {
		struct debt *d = debt_of(node);
		if (d == until)
			return false;
		if (d->is_written)
			continue;
		if (!letter_is_expired(d->letter)) {
			world_fail("session", "%s goes on in its session, and has not been sent what was kept: %s",
				c->id, d->letter->topic);
			return true;
		}
		forgive(d);
	}
	return false;
}

void owed_write(const char *client_id, const struct letter *letter)
{
	struct client *c = client_of(client_id);
	struct debt *found = NULL;

	if (letter_is_expired(letter))
		world_fail("session", "%s is sent what has expired %lld ms ago: %s", client_id,
			(long long)(world_ms() - letter->expires_ms), letter->topic);
	list_for_each (node, &c->debts) {
		struct debt *d = debt_of(node);
		if (!found && d->letter == letter && !d->is_written)
			found = d;
	}
	if (!found) {
		world_fail("session", "%s is sent %s: %s", client_id,
			is_done(c, letter) ? "again what it has acknowledged" : "what nobody has sent it",
			letter->topic);
		return;
	}
	is_behind(c, found);
	found->is_written = true;
	again += found->writes++ > 0;
}

void owed_acknowledge(const char *client_id, const struct letter *letter)
{
	struct client *c = client_of(client_id);

	list_for_each (node, &c->debts) {
		struct debt *d = debt_of(node);
		if (d->letter != letter || !d->is_written)
			continue;
		struct letter **place = &c->done[c->done_count++ % DONE_MAX];
		letter_unref(*place);
		*place = letter_ref(d->letter);
		forgive(d);
		return;
	}
}

void owed_look(void)
{
	struct client *c, *next;

	HASH_ITER (hh, all, c, next)
		if (c->has_line && is_behind(c, NULL))
			owed_end_line(c->id); /* told once */
}

void owed_report(FILE *out)
{
	fprintf(out, ", %u kept (%u sent again)", kept, again);
}
