/* vehicle_filter.h - the language in which vehicles are looked for (docs/fleets.md): terms that must all hold.
 *
 *   filter = term *( " AND " term )      term = [ "NOT " ] key ":" value *( "," value )
 *   value  = a text without spaces and commas, at whose end * stands for anything, or "a text as it is", where \ escapes " and \
 *   key    = a word, or "state" 1*( "." member ); there a number can follow <, <=, > or >= */
#ifndef KEYFOB_GATEWAY_OPERATIONS_VEHICLE_FILTER_H
#define KEYFOB_GATEWAY_OPERATIONS_VEHICLE_FILTER_H

#include <stddef.h>

#define FILTER_MAX 1024 /* bytes */
#define FILTER_TERMS_MAX 16
#define FILTER_COMPARISONS_MAX 16 /* of the state, which no index finds: also a text's beginning, and * */

/* The terms as filter_sql() takes them: JSON text that the caller frees. NULL: it is no filter, and `ret_why` names the term. */
char *vehicle_filter_read(const char *filter, char *ret_why, size_t why_size);

#endif
