/* rates.h - how often somebody may ask: token buckets by subject, by vehicle and by address, for the whole process.
 *
 * A bucket holds two seconds' worth (at least one). The tables have a fixed size and no lock: a bucket is one number in
 * each of four rows, found by a hash under a random seed, and the least of the four counts. So a flood spends the tokens of
 * another only where they meet in all four, which nobody can arrange. The clock is the monotonic one, the same for all
 * workers. */
#ifndef KEYFOB_GATEWAY_ACCESS_RATES_H
#define KEYFOB_GATEWAY_ACCESS_RATES_H

#include <stdbool.h>
#include <stdint.h>

enum rate { RATE_SUBJECT, RATE_VEHICLE, RATE_ADDRESS, RATE_COUNT };

#define RATE_WINDOW_S 2
#define RATE_FIELD_SIZE 96

struct rate_verdict {
	const char *policy; /* "subject"; NULL: there is no limit, and nothing below is set */
	bool allowed;
	unsigned quota, left; /* tokens in a full bucket, and in this one now */
	int reset_s;	      /* until it is full again, rounded up */
	int retry_after_s;    /* until the next token; 0 when allowed */
	unsigned rows;	      /* for rate_give_back() */
};

/* Takes a token, if there is one. `per_second` 0: no limit. Addresses are taken by their network (network.h). */
bool rate_take(enum rate, double per_second, const char *key, int64_t now_us, struct rate_verdict *ret);
/* The values of the fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10 §3, §4). False: there is no limit. */
bool rate_write(const struct rate_verdict *, char ret_policy[RATE_FIELD_SIZE], char ret_limit[RATE_FIELD_SIZE]);
/* Puts back the token of a verdict that allowed it: what it was for did not happen. */
void rate_give_back(enum rate, double per_second, const char *key, const struct rate_verdict *);

#endif
