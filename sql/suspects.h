/* suspects.h - over which vehicles the server was in trouble, each alone: in the end one is set aside, so that it holds up nobody.
 *
 * That it comes from the vehicle, and not from the server, is seen by what is done for others meanwhile, in the same stage. */
#ifndef KEYFOB_SQL_SUSPECTS_H
#define KEYFOB_SQL_SUSPECTS_H

#include <stdbool.h>
#include <stdint.h>

#define SUSPECT_NAME_MAX 128 /* of a vehicle; a longer one is no vehicle's */

struct batch_cut;
struct batch_item;
struct suspects;

/* For so long the server has to be in trouble over one. */
struct suspects *suspects_new(int64_t patience_ms);
void suspects_free(struct suspects *);

/* Whether its vehicle is one, in its stage. */
bool suspects_have(struct suspects *, const struct batch_item *);
/* What was done speaks against the suspects of its stage. */
void suspects_note_done(struct suspects *, const struct batch_cut *, int64_t now_ms);
/* It was refused alone. True: that is enough, and it is to be set aside. */
bool suspects_refused(struct suspects *, const struct batch_item *, int64_t now_ms);

#endif
