/* twin.h - owners who want something of their vehicles' state, put notices up for them and take them down; and what the broker keeps of it.
 *
 * What should be there is known from outside: from what a node has said that it is done. In between nothing is judged. */
#ifndef KEYFOB_TESTS_SIM_TWIN_H
#define KEYFOB_TESTS_SIM_TWIN_H

#include <stdbool.h>
#include <stddef.h>

/* From now on something is wanted, and vehicles listen. */
void twin_begin(void);
bool twin_is_on(void);
/* No new wishes; what is open is asked to its end. */
void twin_calm(void);
/* Whether the broker keeps what it should, as far as it had the time, and who is there was shown it. */
void twin_look(void);
void twin_judge(void);

/* the broker: any message, and what it is to keep of it */
void twin_see_publish(const char *topic, const char *payload, size_t len);
/* A vehicle: it has been shown a notice, or one is no more (`payload` empty); or it has lost sight of them all (`name` NULL). */
void twin_see_notice(size_t vehicle, const char *name, const char *payload);

#endif
