/* event_line.h - one event as one line. */
#ifndef KEYFOB_GATEWAY_CLI_EVENT_LINE_H
#define KEYFOB_GATEWAY_CLI_EVENT_LINE_H

#include <jansson.h>
#include <stdbool.h>

/* Prints an event of the contract, and the line feed, and flushes. */
void event_line_print(const json_t *event, bool as_json);

#endif
