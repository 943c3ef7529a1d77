/* rest.c - a request of somebody who may do everything: method and target, then header fields up to an empty line, then the body. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/fuzz/gateway.h"
#include "tests/fuzz/input.h"

static void add_fields(struct text *request, struct input *in)
{
	char *field = input_line(in);

	for (; *field; field = input_line(in)) {
		text_addf(request, "%s\r\n", field);
		free(field);
	}
	free(field);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { (const char *)bytes, len };
	struct text request = { 0 };
	char *target = input_line(&in);

	text_addf(&request, "%s HTTP/1.1\r\nHost: keyfob\r\nConnection: close\r\nAuthorization: Bearer %s\r\n", target,
		gateway_token());
	add_fields(&request, &in);
	if (in.left > 0)
		text_addf(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", in.left);
	text_add(&request, "\r\n");
	text_add_bytes(&request, in.at, in.left);
	gateway_visit(request.data, request.len);
	text_free(&request);
	free(target);
	return 0;
}
