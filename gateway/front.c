/* front.c - listens for apps and platforms, and on one worker for operators. */
#include "gateway/front.h"

#include <stdlib.h>

#include "base/memory.h"
#include "gateway/config.h"
#include "gateway/http/http.h"

struct front {
	struct http *rest, *admin;
};

static bool listen_all(struct http *http, const struct addresses *addresses)
{
	for (size_t i = 0; i < addresses->count; i++) {
		if (!http_listen(http, &addresses->items[i]))
			return false;
	}
	return true;
}

struct front *front_new(struct loop *loop, const struct front_options *options, struct api *api)
{
	const struct config *config = options->config;
	struct front *f = memory_new(sizeof(*f));

	f->rest = http_new(loop, &(struct http_options){ .api = api,
					 .max_connections = (size_t)config->http.max_connections,
					 .max_queue = config->websocket.max_queue });
	if (options->answers_admin)
		f->admin = http_new(
			loop, &(struct http_options){
				      .max_connections = 100, .owner = options->owner, .is_ready = options->is_ready });
	if (!listen_all(f->rest, &config->http.listen) || (f->admin && !listen_all(f->admin, &config->admin.listen)))
		return NULL; /* the process ends */
	return f;
}

void front_drain(struct front *f)
{
	http_drain(f->rest);
}

bool front_is_empty(const struct front *f)
{
	return http_is_empty(f->rest);
}
