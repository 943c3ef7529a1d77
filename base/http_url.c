/* http_url.c - libcurl's own parser decides what a URL means, since it is libcurl that will follow it. */
#include "base/http_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/public_address.h"

static bool has(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	bool there = curl_url_get(url, part, &text, 0) == CURLUE_OK && text;

	curl_free(text);
	return there;
}

static bool is_scheme(CURLU *url, const char *wanted)
{
	char *scheme = NULL;
	bool is = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && strcmp(scheme, wanted) == 0;

	curl_free(scheme);
	return is;
}

/* libcurl has normalised it: 0x7f.1 is 127.0.0.1 by now, and an IPv6 address stands in brackets. */
static bool is_inside(CURLU *url)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	char *host = NULL, bare[64];
	bool inside = false;

	if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return true;
	size_t len = strlen(host);
	if (host[0] == '[' && len > 2 && len < sizeof(bare)) {
		snprintf(bare, sizeof(bare), "%.*s", (int)(len - 2), host + 1);
		inside = inet_pton(AF_INET6, bare, &in6.sin6_addr) != 1 ||
			 !address_is_public((const struct sockaddr *)(const void *)&in6);
	} else if (inet_pton(AF_INET, host, &in4.sin_addr) == 1) {
		inside = !address_is_public((const struct sockaddr *)(const void *)&in4);
	}
	curl_free(host);
	return inside;
}

static const char *flaw_of(CURLU *url, bool anywhere)
{
	if (!is_scheme(url, "https") && !(anywhere && is_scheme(url, "http")))
		return anywhere ? "url begins with https:// or http://" : "url begins with https://";
	if (has(url, CURLUPART_USER) || has(url, CURLUPART_PASSWORD))
		return "url has no user and no password in it";
	if (has(url, CURLUPART_FRAGMENT))
		return "url has no fragment";
	return !anywhere && is_inside(url) ? "url leads to a public address" : NULL;
}

const char *http_url_flaw(const char *text, bool anywhere)
{
	CURLU *url = curl_url();
	const char *flaw = "url is an absolute URL";

	if (url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK)
		flaw = flaw_of(url, anywhere);
	curl_url_cleanup(url);
	return flaw;
}
