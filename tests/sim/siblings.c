/* siblings.c - gateway/siblings.h for nodes of one worker: there is nobody to hand anything to. */
#include "gateway/siblings.h"

#include "base/memory.h"

struct siblings {
	char none;
};

struct sibling {
	char none;
};

struct siblings *siblings_new(void)
{
	return memory_new(sizeof(struct siblings));
}

struct sibling *sibling_join(
	struct siblings *all, struct loop *loop, const char *worker, const struct sibling_ears *ears)
{
	(void)all;
	(void)loop;
	(void)worker;
	(void)ears;
	return memory_new(sizeof(struct sibling));
}

void sibling_reads(struct sibling *s, unsigned feed, bool reads)
{
	(void)s;
	(void)feed;
	(void)reads;
}

void sibling_hear(struct sibling *s)
{
	(void)s;
}

void sibling_leave(struct sibling *s)
{
	(void)s;
}

const char *siblings_reader(struct siblings *all, unsigned feed)
{
	(void)all;
	(void)feed;
	return NULL;
}

bool siblings_hand_over(struct siblings *all, const char *worker, const struct claim *claim)
{
	(void)all;
	(void)worker;
	(void)claim;
	return false;
}

bool siblings_tell(struct siblings *all, const char *worker, const char *text, size_t len, bool in_order)
{
	(void)all;
	(void)worker;
	(void)text;
	(void)len;
	(void)in_order;
	return false;
}
