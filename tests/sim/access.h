/* access.h - the apps' grants, in runs where they come and go: an owner takes one away or lets it end, and gives it back.
 *
 * What is known of a grant is known from outside: that it is taken from when the node has said so, that it is given until it is asked to
 * be taken. In between nothing is judged. */
#ifndef KEYFOB_TESTS_SIM_ACCESS_H
#define KEYFOB_TESTS_SIM_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

/* These apps' grants come and go. */
void access_begin(void);
void access_add(const char *subject, const char *vehicle_id);
/* All are given back, and stay. */
void access_calm(void);
/* In the end: whether they are. */
void access_judge(void);

/* Whether it was given all the time since then. */
bool access_was_given(const char *subject, const char *vehicle_id, int64_t since_us);
/* Something was done for the subject just now. */
void access_saw_promise(const char *subject, const char *vehicle_id, const char *command_id);
void access_saw_event(const char *subject, const char *vehicle_id);

#endif
