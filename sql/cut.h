/* cut.h - what one transaction of a batch has in it: its items, sorted, and what the stages write and read of them. */
#ifndef KEYFOB_SQL_CUT_H
#define KEYFOB_SQL_CUT_H

#include <stdbool.h>
#include <stddef.h>

#define CUT_ROUNDS_MAX 8 /* of one vehicle in one stage */

struct batch_cut;
struct batch_item;
struct batch_stage;
struct db_unit;
struct list;

/* Of so many items, in the order of their arrival; their list is empty afterwards. The stages are borrowed for life. */
struct batch_cut *cut_new(struct batch_stage *const *stages, size_t stage_count, struct list *items, size_t count);
void cut_free(struct batch_cut *);

size_t cut_count(const struct batch_cut *);
struct batch_item *cut_item(const struct batch_cut *, size_t number);
bool cut_has(const struct batch_cut *, const struct batch_stage *); /* items of this stage */

/* The whole transaction: fences, which are to be `holder`'s, heads, and what the stages add. */
void cut_write(struct batch_cut *, struct db_unit *, const char *holder);
/* It is committed: each stage reads what it brought. */
void cut_read(struct batch_cut *, struct db_unit *);

#endif
