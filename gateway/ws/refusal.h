/* refusal.h - the HTTP answer to one who does not become a WebSocket. */
#ifndef KEYFOB_GATEWAY_WS_REFUSAL_H
#define KEYFOB_GATEWAY_WS_REFUSAL_H

struct fault;
struct rate_verdict;

/* Answers with the fault's problem (RFC 9457) and closes `fd`. `rate`: of the bucket that was asked, zeroed where none was. */
void refusal_send(
	int fd, const struct fault *, const char *detail, const char *request_id, const struct rate_verdict *rate);

#endif
