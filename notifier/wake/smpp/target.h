/* target.h - where an SMS centre is, and under which name it knows us: the parts of its URL. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_TARGET_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_TARGET_H

#include <stdbool.h>

struct smpp_target {
	char *host;	 /* without the brackets of an IPv6 address */
	char *port;	 /* digits */
	char *system_id; /* percent-decoded */
	bool tls;
};

/* false: not such a URL, and *ret is untouched. The caller frees it by target_done(). */
bool target_parse(const char *url, struct smpp_target *ret);
void target_done(struct smpp_target *);

#endif
