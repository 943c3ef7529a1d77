/* curl_setup.h - the options of one of libcurl's transfers. Without one that it refuses, or has no memory for, it would be another transfer:
 * then it is not to be made. */
#ifndef KEYFOB_BASE_CURL_SETUP_H
#define KEYFOB_BASE_CURL_SETUP_H

#include <curl/curl.h>

struct curl_setup {
	CURL *easy;	  /* the owner's */
	CURLcode refused; /* why the first was that was refused; CURLE_OK: none */
};

static inline void curl_setup_note(struct curl_setup *s, CURLcode code)
{
	if (s->refused == CURLE_OK)
		s->refused = code;
}

#define CURL_SET(setup, option, value) curl_setup_note(setup, curl_easy_setopt((setup)->easy, option, value))

#endif
