/* command_body.c - from words and options to a request. */
#include "gateway/cli/command_body.h"

#include <stdio.h>

#include "gateway/cli/options.h"
#include "gateway/cli/params.h"

json_t *command_body_read(const struct invocation *inv, char *why, size_t why_size)
{
	json_t *params = params_read(inv->words + 2, why, why_size);
	if (!params)
		return NULL;
	json_t *body = json_pack("{ss so}", "name", inv->words[1], "params", params);
	if (!body) {
		snprintf(why, why_size, "the name is not UTF-8");
		return NULL;
	}
	if (option_is_given(inv, "--ttl"))
		json_object_set_new(body, "ttl_seconds", json_integer(option_number(inv, "--ttl", 0)));
	if (option_is_given(inv, "--timeout"))
		json_object_set_new(body, "timeout_seconds", json_integer(option_number(inv, "--timeout", 0)));
	if (option_is_given(inv, "--no-wake"))
		json_object_set_new(body, "wake", json_false());
	return body;
}
