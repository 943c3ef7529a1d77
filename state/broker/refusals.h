/* refusals.h - tells of connects that were refused because who connects proved, or claims, to be somebody else.
 *
 * So many in a time: a flood is counted, and told as a number with the next one that is told. */
#ifndef KEYFOB_STATE_BROKER_REFUSALS_H
#define KEYFOB_STATE_BROKER_REFUSALS_H

struct mosquitto;
struct settings;

struct refusals {
	double tokens;
	double at_s; /* monotonic: when they were counted; 0: never */
	long untold; /* since the last one that was told */
};

/* making: zero-initialised */

/* changing */
void refusals_tell(struct refusals *, const struct settings *, const struct mosquitto *client);

#endif
