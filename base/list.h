/* list.h - an intrusive doubly linked ring. The node is embedded in its owner; nothing is allocated.
 *
 * A node that is in no list points at itself, so removing it twice does no harm. */
#ifndef KEYFOB_BASE_LIST_H
#define KEYFOB_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, taken out; NULL when there is none. */
static inline struct list *list_take_first(struct list *head)
{
	if (list_is_empty(head))
		return NULL;
	struct list *node = head->next;
	list_remove(node);
	return node;
}

/* Moves all nodes of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_append_all(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_for_each(node, head) for (struct list *node = (head)->next; node != (head); node = node->next)

/* As list_for_each; the body may remove `node`. */
#define list_for_each_safe(node, head)                                                                                 \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head);                              \
		node = node##_next, node##_next = node->next)

#endif
