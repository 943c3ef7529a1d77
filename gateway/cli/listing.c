/* listing.c - follows next_cursor until a list is whole or long enough. */
#include "gateway/cli/listing.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/memory.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"

#define PAGE_MAX 200

static char *page_path(const char *path, const char *filter, int64_t limit, const char *cursor)
{
	struct text t = { 0 };
	text_addf(&t, "%s?limit=%d", path, limit < PAGE_MAX ? (int)limit : PAGE_MAX);
	if (filter)
		text_addf(&t, "&%s", filter);
	if (cursor) {
		char *encoded = memory_need(curl_easy_escape(NULL, cursor, 0));
		text_addf(&t, "&cursor=%s", encoded);
		curl_free(encoded);
	}
	return text_take(&t);
}

static json_t *page_read(struct cli *cli, const char *path, const char *filter, int64_t limit, const json_t *list)
{
	char *at = page_path(path, filter, limit, json_text_at(list, "next_cursor"));
	json_t *page = node_get(cli, at);
	free(at);
	return page;
}

/* An empty page that names another one would keep us here for ever. */
json_t *listing_read(struct cli *cli, const char *path, const char *filter, int64_t limit)
{
	json_t *list = json_pack("{s[] sn}", "items", "next_cursor");
	json_t *items = json_object_get(list, "items");
	for (;;) {
		json_auto_t *page = page_read(cli, path, filter, limit - (int64_t)json_array_size(items), list);
		if (!page) {
			json_decref(list);
			return NULL;
		}
		const json_t *more = json_object_get(page, "items");
		json_array_extend(items, (json_t *)(uintptr_t)more);
		json_t *cursor = json_object_get(page, "next_cursor");
		json_object_set_new(list, "next_cursor", cursor ? json_incref(cursor) : json_null());
		if (!json_is_string(cursor) || json_array_size(more) == 0 || (int64_t)json_array_size(items) >= limit)
			return list;
	}
}

int listing_show(
	struct cli *cli, const char *path, const char *filter, int64_t limit, void (*print)(const json_t *items))
{
	json_auto_t *list = listing_read(cli, path, filter, limit);
	if (!list)
		return CLI_FAILED;
	if (cli->json) {
		print_json(list);
		return CLI_FINE;
	}
	print(json_object_get(list, "items"));
	fflush(stdout); /* so that this stands below the list */
	if (json_is_string(json_object_get(list, "next_cursor")))
		fprintf(stderr, "keyfob: there are more: --limit N shows more than %" PRId64 "\n", limit);
	return CLI_FINE;
}

char *listing_filter(const char *key, const char *value)
{
	if (!value)
		return NULL;
	struct text t = { 0 };
	char *encoded = memory_need(curl_easy_escape(NULL, value, 0));
	text_addf(&t, "%s=%s", key, encoded);
	curl_free(encoded);
	return text_take(&t);
}
