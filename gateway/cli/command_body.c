/* command_body.c - from words and options to a request. */
#include "gateway/cli/command_body.h"

#include <stdio.h>

#include "gateway/cli/call.h"
#include "gateway/cli/options.h"
#include "gateway/cli/params.h"

/* Without the catalogue they stay what they look like, and the node judges. */
static void take_texts(struct cli *cli, const struct invocation *inv, json_t *params, int64_t until_ms)
{
	struct reply r;
	call_make(cli, &(struct call){ .method = "GET", .path = "/v1/catalog", .until_ms = until_ms }, &r);
	const json_t *command = json_object_get(json_object_get(r.body, "commands"), inv->words[1]);
	params_take_texts(params, inv->words + 2, json_object_get(command, "params"));
	reply_done(&r);
}

json_t *command_body_read(struct cli *cli, const struct invocation *inv, int64_t until_ms, char *why, size_t why_size)
{
	json_t *params = params_read(inv->words + 2, why, why_size);
	if (!params)
		return NULL;
	if (params_have_values(params))
		take_texts(cli, inv, params, until_ms);
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
