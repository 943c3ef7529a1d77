/* pattern.h - a pattern of the catalogue, from ECMA-262, which JSON Schema speaks, to a POSIX extended regular expression.
 *
 * POSIX's take time that grows with the text alone, whatever was written; but some of ECMA-262 they read as something else
 * without a word (\d is the letter d). So classes and escapes are written out, and what has no like is refused. */
#ifndef KEYFOB_GATEWAY_PATTERN_H
#define KEYFOB_GATEWAY_PATTERN_H

/* For regcomp() with REG_EXTENDED in the locale "C", which sees bytes: a character of UTF-8 is one all the same. The caller frees
 * it; NULL: `*ret_why` is why not. */
char *pattern_to_posix(const char *pattern, const char **ret_why);

#endif
