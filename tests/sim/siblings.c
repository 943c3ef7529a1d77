/* siblings.c - gateway/siblings.h for nodes of one worker: there is nobody to hand a claim to. */
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

struct sibling *sibling_join(struct siblings *all, struct loop *loop, const char *worker, void *owner,
	void (*on_claim)(void *owner, const struct claim *))
{
	(void)all;
	(void)loop;
	(void)worker;
	(void)owner;
	(void)on_claim;
	return memory_new(sizeof(struct sibling));
}

void sibling_reads(struct sibling *s, unsigned feed, bool reads)
{
	(void)s;
	(void)feed;
	(void)reads;
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
