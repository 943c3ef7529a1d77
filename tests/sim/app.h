/* app.h - simulated apps: they send commands by a key until they know what became of it, take some back, and watch vehicles on
 * whatever node there is, from where they were. */
#ifndef KEYFOB_TESTS_SIM_APP_H
#define KEYFOB_TESTS_SIM_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;

void apps_begin(size_t count, int64_t pace_ms);
/* The node closes its sockets in order. */
void apps_leave(struct node *);
/* No new wishes; what is open is asked to its end. */
void apps_calm(void);
/* In the end: every app has come to the end of each log that it watches, and knows what became of each wish. */
void apps_judge(void);

#endif
