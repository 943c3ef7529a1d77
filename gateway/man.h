/* man.h - text as mdoc(7) wants it, for the manual pages that are made from tables. */
#ifndef KEYFOB_GATEWAY_MAN_H
#define KEYFOB_GATEWAY_MAN_H

#include <stdio.h>

/* The head of a page: "keyfob.yaml", 5, "the configuration of keyfobd". */
void man_begin(FILE *, const char *name, int section, const char *summary);
/* A sentence: what `stands so` is set in bold, and nothing in it is a macro. Without a newline at its end. */
void man_text(FILE *, const char *);
/* A text of several lines, as it is; those that are set in by two blanks are examples. */
void man_lines(FILE *, const char *);

#endif
