/* problem_log.c - a line at info for each problem that somebody was told, so that `instance` leads to it. Never what was asked:
 * a path has ids of people, a query and a detail the caller's own words. */
#include "base/list.h"
#include "base/log.h"
#include "gateway/api_internal.h"

#define LINES_PER_S 50 /* of a worker: whoever is refused as fast as they can does not fill the disk */

static void on_second_over(struct loop_timer *timer)
{
	struct problem_log *p = container_of(timer, struct problem_log, second);

	if (p->unwritten > 0)
		log_info(
			"api", "more problems were answered than are written down", LOG_INT("unwritten", p->unwritten));
	p->written = p->unwritten = 0;
}

void api_log_problem(
	struct api *api, const struct fault *fault, const char *request_id, const char *method, const char *route)
{
	struct problem_log *p = &api->problems;

	if (!loop_timer_is_started(&p->second)) {
		loop_timer_init(api->loop, &p->second, on_second_over);
		loop_timer_start(&p->second, 1000);
	}
	if (p->written == LINES_PER_S) {
		p->unwritten++;
		return;
	}
	p->written++;
	log_info("api", "a problem was answered", LOG_TEXT("request_id", request_id), LOG_TEXT("problem", fault->name),
		LOG_INT("status", fault->http), LOG_TEXT("method", method), LOG_TEXT("route", route));
}
