/* refusal.c - one response, written in one go to a socket that has nothing before it, and the end. */
#include "gateway/ws/refusal.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/memory.h"
#include "gateway/api.h"

/* Whoever leaves bytes unread makes the kernel reset the connection, and the answer with it. */
static void read_rest(int fd)
{
	char rest[4096];

	for (int i = 0; i < 16 && recv(fd, rest, sizeof(rest), MSG_DONTWAIT) > 0; i++)
		;
}

static const char *header_of(const struct fault *fault)
{
	static const struct {
		const struct fault *fault;
		const char *header;
	} headers[] = {
		{ &FAULT_UNAUTHENTICATED, "WWW-Authenticate: Bearer realm=\"keyfob\", error=\"invalid_token\"\r\n" },
		{ &FAULT_MALFORMED_REQUEST, "Sec-WebSocket-Version: 13\r\n" }, /* RFC 6455 §4.2.2 */
		{ &FAULT_UPGRADE_REQUIRED,
			"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" },
	};
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		if (headers[i].fault == fault)
			return headers[i].header;
	}
	return "";
}

static void add_rate(struct text *answer, const struct fault *fault, const struct rate_verdict *rate)
{
	char policy[RATE_FIELD_SIZE], limit[RATE_FIELD_SIZE];

	if (fault->retry == RETRY_LATER)
		text_addf(answer, "Retry-After: %d\r\n", rate->retry_after_s ? rate->retry_after_s : 1);
	if (rate_write(rate, policy, limit))
		text_addf(answer, "RateLimit-Policy: %s\r\nRateLimit: %s\r\n", policy, limit);
}

void refusal_send(
	int fd, const struct fault *fault, const char *detail, const char *request_id, const struct rate_verdict *rate)
{
	struct text answer = { 0 };
	json_auto_t *problem = api_problem(fault, detail, request_id, false);
	char *body = memory_need(json_dumps(problem, JSON_COMPACT));

	text_addf(&answer,
		"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
		"Content-Length: %zu\r\nX-Request-Id: %s\r\n%s",
		fault->http, fault->name, strlen(body), request_id, header_of(fault));
	add_rate(&answer, fault, rate);
	text_addf(&answer, "\r\n%s", body);
	read_rest(fd);
	(void)send(fd, answer.data, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
	text_free(&answer);
	free(body);
}
