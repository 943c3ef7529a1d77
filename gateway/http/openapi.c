/* openapi.c - /v1/openapi.json: REST as docs/openapi.yaml describes it, which the build has put into the program. For
 * everybody; it stays the same for as long as the node runs. */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/http/http_internal.h"
#include "gateway/http/openapi_json.h"

#define PATH "/v1/openapi.json"
#define TAG_SIZE 35 /* 32 digits in quotes */

static char tag[TAG_SIZE];

static void make_tag(void)
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (!EVP_Digest(OPENAPI_JSON, strlen(OPENAPI_JSON), digest, NULL, EVP_sha256(), NULL))
		memory_out();
	tag[0] = '"';
	for (size_t i = 0; i < 16; i++)
		snprintf(tag + 1 + 2 * i, 3, "%02x", digest[i]);
	strcat(tag, "\"");
}

/* RFC 9110 §13.1.2: a list of tags, weak ones among them, or `*`. */
static bool is_known(const h2o_req_t *req)
{
	h2o_iovec_t known = http_field(req, "if-none-match");

	return known.base &&
	       (h2o_memis(known.base, known.len, H2O_STRLIT("*")) || memmem(known.base, known.len, tag, strlen(tag)));
}

static bool is_get(const h2o_req_t *req)
{
	return h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET")) ||
	       h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
}

bool openapi_handle(struct http_request *r)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	h2o_iovec_t path = http_path(r->req);

	if (!h2o_memis(path.base, path.len, H2O_STRLIT(PATH)))
		return false;
	if (!is_get(r->req)) {
		http_header(r, "allow", "GET, HEAD");
		http_problem(r, &FAULT_METHOD_NOT_ALLOWED, "", NULL);
		return true;
	}
	pthread_once(&once, make_tag);
	http_header(r, "etag", tag);
	http_header(r, "cache-control", "public, max-age=3600");
	if (is_known(r->req))
		http_reply(r, 304, "", "", 0);
	else
		http_reply(r, 200, "application/json", OPENAPI_JSON, strlen(OPENAPI_JSON));
	return true;
}
