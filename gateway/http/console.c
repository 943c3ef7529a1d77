/* console.c - the console: the files of http.web_root, its own paths, and /config.json, which tells it where it is.
 *
 *   /assets/…          hashed by the build: kept for ever
 *   /fleet, /live, …   the console's pages: index.html, which then looks at the path itself
 *   /config.json       made here; where a CDN serves the files, it is one of them
 *   anything else      a file, asked for anew each time, or 404
 * A file that has NAME.br or NAME.gz beside it goes out so to whoever accepts it. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "gateway/config_lists.h"
#include "gateway/http/http_internal.h"

#define CONFIG "/config.json"
#define ASSETS "/assets/"
#define INDEX "/index.html"

/* Where the console's paths begin; web/src/route.ts makes no others. */
static const char *const pages[] = { "/fleet", "/vehicles", "/live", "/wakeups", "/alerts", "/webhooks", "/nodes",
	"/access" };

/* The console's pages run what lies beside them and nothing else (CSP 3). They connect to us and to who signs them in. */
static const char POLICY[] =
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'";

static void add_origin(struct text *out, const char *url)
{
	const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url;

	text_add(out, " ");
	text_add_bytes(out, url, (size_t)(host - url) + strcspn(host, "/?#"));
}

char *console_policy(const struct http_console *console)
{
	struct text out = { 0 };

	text_add(&out, POLICY);
	if (console && console->issuer)
		add_origin(&out, console->issuer);
	for (size_t i = 0; console && console->connect && i < console->connect->count; i++)
		add_origin(&out, console->connect->items[i]);
	return text_take(&out);
}

char *console_config(const struct http_console *console)
{
	json_auto_t *parameters = json_object();

	for (size_t i = 0; console->parameters && i < console->parameters->count; i++) {
		const struct pair *p = &console->parameters->items[i];
		json_object_set_new(parameters, p->key, json_string(p->value));
	}
	json_auto_t *config = memory_need(json_pack("{s:s, s:s?, s:s, s:s, s:O, s:b}", "api", "", "issuer",
		console->issuer, "client_id", console->client_id, "scope", console->scope, "parameters", parameters,
		"development", console->development));
	return memory_need(json_dumps(config, JSON_COMPACT));
}

static bool is_get(const h2o_req_t *req)
{
	return h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET")) ||
	       h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
}

static bool is_below(h2o_iovec_t path, const char *page)
{
	size_t len = strlen(page);
	return path.len >= len && memcmp(path.base, page, len) == 0 && (path.len == len || path.base[len] == '/');
}

static bool is_page(const h2o_req_t *req)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (is_below(req->path_normalized, pages[i]))
			return true;
	}
	return false;
}

/* A page becomes index.html for the file handler, which comes next. */
static int on_console(h2o_handler_t *handler, h2o_req_t *req)
{
	struct http *http = ((struct http_handler *)(void *)handler)->http;
	h2o_iovec_t path = req->path_normalized;

	if (is_get(req) && h2o_memis(path.base, path.len, H2O_STRLIT(CONFIG))) {
		http_reply(http_request_of(http, req), 200, "application/json", http->console_config,
			strlen(http->console_config));
		return 0;
	}
	if (is_page(req))
		req->path_normalized = h2o_iovec_init(H2O_STRLIT(INDEX));
	return -1;
}

/* What came from a file may be kept; whether for good says its name. */
static void on_answer(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
	static const char kept[] = "public, max-age=31536000, immutable", asked[] = "no-cache";
	bool is_file = req->res.status == 200 || req->res.status == 206 || req->res.status == 304;
	h2o_iovec_t path = req->path_normalized;
	bool is_asset = is_file && path.len > strlen(ASSETS) && memcmp(path.base, ASSETS, strlen(ASSETS)) == 0;
	const char *control = is_asset ? kept : asked;

	(void)filter;
	if (h2o_find_header(&req->res.headers, H2O_TOKEN_CACHE_CONTROL, -1) < 0)
		h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL, control, strlen(control));
	h2o_setup_next_ostream(req, slot);
}

void console_serve(struct http *http, h2o_pathconf_t *path)
{
	static const char *index_files[] = { "index.html", NULL };
	struct http_handler *handler = (struct http_handler *)(void *)h2o_create_handler(path, sizeof(*handler));

	handler->http = http;
	handler->super.on_req = on_console;
	h2o_file_register(path, http->options.console->web_root, index_files, http->config.mimemap,
		H2O_FILE_FLAG_SEND_COMPRESSED);
	h2o_create_filter(path, sizeof(h2o_filter_t))->on_setup_ostream = on_answer;
}
