/* limit.c - who asks, by address, and whether they may ask again so soon. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/http/http_internal.h"
#include "gateway/network.h"

/* The descriptor may be a tunnel's: only the door knows who is at its other end. */
void http_remember_peer(h2o_socket_t *socket, const char *peer)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, peer, &in4.sin_addr) == 1)
		h2o_socket_setpeername(socket, (struct sockaddr *)&in4, sizeof(in4));
	else if (inet_pton(AF_INET6, peer, &in6.sin6_addr) == 1)
		h2o_socket_setpeername(socket, (struct sockaddr *)&in6, sizeof(in6));
}

static void peer_of(h2o_req_t *req, char ret[INET6_ADDRSTRLEN])
{
	struct sockaddr_storage at = { 0 };

	*ret = '\0';
	if (req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&at) == 0)
		return;
	if (at.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&at)->sin_addr, ret, INET6_ADDRSTRLEN);
	else if (at.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&at)->sin6_addr, ret, INET6_ADDRSTRLEN);
}

/* Proxies add to the field, or add another of the same name. */
static void client_of(const struct http_request *r, char ret[INET6_ADDRSTRLEN])
{
	const struct texts *trusted = r->http->options.trusted_proxies;
	h2o_headers_t *headers = &r->req->headers;
	char peer[INET6_ADDRSTRLEN];
	struct text forwarded = { 0 };

	peer_of(r->req, peer);
	if (address_is_in(peer, trusted)) {
		for (ssize_t at = -1; (at = h2o_find_header_by_str(headers, H2O_STRLIT("x-forwarded-for"), at)) >= 0;) {
			text_add(&forwarded, ",");
			text_add_bytes(&forwarded, headers->entries[at].value.base, headers->entries[at].value.len);
		}
	}
	address_of_client(peer, trusted, forwarded.data, ret);
	text_free(&forwarded);
}

bool http_may_ask(struct http_request *r, enum rate rate, const char *key)
{
	struct rate_verdict verdict;
	bool may = api_may_ask(r->http->options.api, rate, key, &verdict);

	if (verdict.policy)
		r->rate = verdict;
	if (may)
		return true;
	http_problem(r, &FAULT_RATE_LIMITED, "", NULL);
	return false;
}

bool http_client_may_ask(struct http_request *r)
{
	client_of(r, r->client);
	return http_may_ask(r, RATE_ADDRESS, r->client);
}

void http_client_give_back(struct http_request *r)
{
	api_give_back(r->http->options.api, RATE_ADDRESS, r->client, &r->rate);
	r->rate = (struct rate_verdict){ 0 };
}

/* Of the bucket that was asked last, which is the one that refused. */
void http_add_rate(struct http_request *r)
{
	char policy[RATE_FIELD_SIZE], limit[RATE_FIELD_SIZE];

	if (!rate_write(&r->rate, policy, limit))
		return;
	http_header(r, "ratelimit-policy", policy);
	http_header(r, "ratelimit", limit);
}
