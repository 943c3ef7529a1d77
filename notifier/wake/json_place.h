/* json_place.h - a value inside foreign JSON, named by members and indices: "messages.0.message-id". */
#ifndef KEYFOB_NOTIFIER_WAKE_JSON_PLACE_H
#define KEYFOB_NOTIFIER_WAKE_JSON_PLACE_H

#include <jansson.h>

/* The text, or a whole number as text; NULL when there is neither. The caller frees it. `json` may be NULL. */
char *json_place_text(const json_t *json, const char *place);

#endif
