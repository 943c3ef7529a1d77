/* refusal.h - the HTTP answer to one who does not become a WebSocket. */
#ifndef KEYFOB_GATEWAY_WS_REFUSAL_H
#define KEYFOB_GATEWAY_WS_REFUSAL_H

struct fault;

/* Answers with the fault's problem (RFC 9457) and closes `fd`. */
void refusal_send(int fd, const struct fault *, const char *detail, const char *request_id);

#endif
