/* tokens.c - bench-tokens: what a token costs that was seen before: the call that every request makes, over and over, in the CPU time of
 * its thread. Without a token a request costs just this less. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "gateway/access/token.h"
#include "tests/bench/http.h"
#include "tests/bench/samples.h"

#define CALLS 100000

static int64_t cpu_ns(void)
{
	struct timespec cpu;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	return (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
}

int main(int argc, char **argv)
{
	char why[256];
	struct caller caller;

	arguments_check(argc, argv, 4, "JWKS-FILE ISSUER AUDIENCE TOKEN-FILE");
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	char *token = token_read(argv[4]);
	size_t len = strlen(token);
	int64_t now_us = (int64_t)time(NULL) * 1000000;
	struct token_trust *trust = token_trust_new(
		&(struct token_issuer){
			.issuer = argv[2], .audience = argv[3], .jwks_file = argv[1], .scopes = SCOPES_ALL },
		1, why, sizeof(why));
	struct verifier *verifier = trust ? verifier_new(trust) : NULL;
	if (!verifier)
		give_up("%s", why);

	int64_t begun_ns = cpu_ns();
	if (token_verify(verifier, token, len, now_us, &caller, why, sizeof(why)))
		give_up("%s", why);
	report_number("token_first_us", (double)(cpu_ns() - begun_ns) / 1000);
	begun_ns = cpu_ns();
	for (unsigned i = 0; i < CALLS; i++)
		if (token_verify(verifier, token, len, now_us, &caller, why, sizeof(why)))
			give_up("%s", why);
	report_number("token_seen_us", (double)(cpu_ns() - begun_ns) / 1000 / CALLS);
	report_number("token_bytes", (double)len);
	verifier_free(verifier);
	token_trust_free(trust);
	free(token);
	return 0;
}
