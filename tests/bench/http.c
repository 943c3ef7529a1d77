/* http.c - as much HTTP/1.1 as the node's own answers need. */
#include "tests/bench/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/bench/samples.h"

/* It outlives the benchmark, so that no expiry falls into it. */
#define COMMAND "{\"name\":\"trunk.open\",\"params\":{},\"ttl_seconds\":3600}"

char *token_read(const char *file)
{
	static char line[8192];
	FILE *in = fopen(file, "re");
	const char *got = in ? fgets(line, sizeof(line), in) : NULL;
	if (in)
		fclose(in);
	if (!got)
		give_up("%s cannot be read", file);
	line[strcspn(line, "\r\n")] = '\0';
	return memory_need(strdup(line));
}

void http_add_send(struct text *out, const char *token, const char *vehicle_id, const char *prefer)
{
	text_addf(out,
		"POST /v1/vehicles/%s/commands HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
		"Content-Type: application/json\r\nContent-Length: %zu\r\n%s%s%s\r\n" COMMAND,
		vehicle_id, token, sizeof(COMMAND) - 1, prefer ? "Prefer: " : "", prefer ? prefer : "",
		prefer ? "\r\n" : "");
}

size_t http_answer(const struct text *in, int *ret_status, const char **ret_body)
{
	const char *end = in->len > 0 ? strstr(in->data, "\r\n\r\n") : NULL;
	const char *length = end ? strcasestr(in->data, "\r\ncontent-length:") : NULL;
	if (!length || length > end)
		return 0;
	size_t head = (size_t)(end - in->data) + 4, body = strtoul(strchr(length, ':') + 1, NULL, 10);
	if (in->len < head + body)
		return 0;
	*ret_status = atoi(in->data + strlen("HTTP/1.1 "));
	*ret_body = in->data + head;
	return head + body;
}
