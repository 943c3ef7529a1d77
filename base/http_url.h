/* http_url.h - whether a stranger's URL is one to call. */
#ifndef KEYFOB_BASE_HTTP_URL_H
#define KEYFOB_BASE_HTTP_URL_H

#include <stdbool.h>

/* NULL: it is an absolute http or https URL with a host, without user, password and fragment. Else what is wrong, a sentence
 * without the URL in it. Unless `anywhere`, it must be https, and a host that is an address a public one; where a name leads is
 * seen by whoever connects (http_call.public_only). */
const char *http_url_flaw(const char *url, bool anywhere);

#endif
