/* network.c - libuv's functions of the same names, without a network: the program's own go before the library's. */
#include "tests/fuzz/network.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/memory.h"

struct lookup {
	struct list node;
	uv_getaddrinfo_t *request;
	bool is_cancelled, is_late;
};

struct link {
	struct list node;
	uv_tcp_t *tcp;
	uv_connect_t *connecting; /* NULL: it does not, or no more */
	bool is_connected, is_closing;
	uv_alloc_cb give_buffer;
	uv_read_cb on_read;
	uv_close_cb on_close;
	struct list writes;
	size_t unwritten;
};

struct written {
	struct list node;
	uv_write_t *request;
	size_t len;
};

static struct {
	const struct network_owner *owner;
	struct list lookups, links;
	bool holds, refuses, is_late;
	size_t backlog;
} net;

/* making */

static void forget(struct list *list)
{
	if (list->next)
		assert(list_is_empty(list));
	list_init(list);
}

void network_begin(const struct network_owner *owner)
{
	forget(&net.lookups);
	forget(&net.links);
	net.owner = owner;
	net.holds = net.refuses = net.is_late = false;
	net.backlog = 0;
}

/* asking */

static struct link *live_link(void)
{
	list_for_each (node, &net.links) {
		struct link *l = container_of(node, struct link, node);
		if (!l->is_closing)
			return l;
	}
	return NULL;
}

static struct link *open_link(void)
{
	struct link *l = live_link();
	return l && l->is_connected && l->on_read ? l : NULL;
}

bool network_is_open(void)
{
	return open_link() != NULL;
}

bool network_is_idle(void)
{
	return list_is_empty(&net.lookups) && list_is_empty(&net.links);
}

/* names */

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb on_resolved, const char *host,
	const char *port, const struct addrinfo *hints)
{
	struct lookup *l = memory_new(sizeof *l);
	(void)loop, (void)hints;
	assert(host && *host && port && *port);
	request->cb = on_resolved;
	l->request = request;
	list_append(&net.lookups, &l->node);
	return 0;
}

int uv_cancel(uv_req_t *request)
{
	list_for_each (node, &net.lookups) {
		struct lookup *l = container_of(node, struct lookup, node);
		if ((uv_req_t *)l->request != request)
			continue;
		l->is_cancelled = true;
		l->is_late = net.is_late;
		return l->is_late ? UV_EBUSY : 0;
	}
	abort(); /* it had ended before */
}

static struct addrinfo *make_addresses(int count)
{
	struct addrinfo *first = NULL;
	for (int i = 0; i < count; i++) {
		struct addrinfo *a = memory_new(sizeof *a);
		a->ai_addr = memory_new(sizeof *a->ai_addr);
		a->ai_next = first;
		first = a;
	}
	return first;
}

void uv_freeaddrinfo(struct addrinfo *first)
{
	while (first) {
		struct addrinfo *next = first->ai_next;
		free(first->ai_addr);
		free(first);
		first = next;
	}
}

static void end_lookup(struct lookup *l, int status, int addresses)
{
	uv_getaddrinfo_t *request = l->request;
	list_remove(&l->node);
	free(l);
	request->cb(request, status, make_addresses(addresses));
}

void network_resolve(int addresses)
{
	list_for_each (node, &net.lookups) {
		struct lookup *l = container_of(node, struct lookup, node);
		if (l->is_cancelled)
			continue;
		end_lookup(l, addresses ? 0 : UV_EAI_NONAME, addresses);
		return;
	}
}

void network_be_late(void)
{
	net.is_late = true;
}

/* connections */

static struct link *link_of(const void *handle)
{
	list_for_each (node, &net.links) {
		struct link *l = container_of(node, struct link, node);
		if ((const void *)l->tcp == handle)
			return l;
	}
	abort(); /* no handle, or none any more */
}

int uv_tcp_init(uv_loop_t *loop, uv_tcp_t *tcp)
{
	struct link *l = memory_new(sizeof *l);
	(void)loop;
	assert(!live_link()); /* one connection at a time */
	l->tcp = tcp;
	list_init(&l->writes);
	list_append(&net.links, &l->node);
	return 0;
}

int uv_tcp_connect(uv_connect_t *request, uv_tcp_t *tcp, const struct sockaddr *to, uv_connect_cb on_connected)
{
	struct link *l = link_of(tcp);
	assert(to && !l->is_closing && !l->is_connected && !l->connecting);
	request->cb = on_connected;
	l->connecting = request;
	return 0;
}

int uv_tcp_nodelay(uv_tcp_t *tcp, int on)
{
	(void)on;
	assert(link_of(tcp)->is_connected);
	return 0;
}

int uv_read_start(uv_stream_t *stream, uv_alloc_cb give_buffer, uv_read_cb on_read)
{
	struct link *l = link_of(stream);
	assert(l->is_connected && !l->is_closing && !l->on_read);
	l->give_buffer = give_buffer;
	l->on_read = on_read;
	return 0;
}

static void end_connecting(struct link *l, int status)
{
	uv_connect_t *request = l->connecting;
	l->connecting = NULL;
	l->is_connected = status == 0;
	if (l->is_connected)
		net.owner->on_open();
	request->cb(request, status);
}

void network_connect(bool accepts)
{
	struct link *l = live_link();
	if (l && l->connecting)
		end_connecting(l, accepts ? 0 : UV_ECONNREFUSED);
}

size_t network_give(const uint8_t *bytes, size_t len)
{
	struct link *l = open_link();
	uv_buf_t buffer;
	if (!l || len == 0)
		return 0;
	l->give_buffer((uv_handle_t *)l->tcp, (size_t)64 << 10, &buffer);
	if (len > buffer.len)
		len = buffer.len;
	memcpy(buffer.base, bytes, len);
	l->on_read((uv_stream_t *)l->tcp, (ssize_t)len, &buffer);
	return len;
}

void network_cut(int error)
{
	struct link *l = open_link();
	uv_buf_t buffer;
	if (!l)
		return;
	l->give_buffer((uv_handle_t *)l->tcp, (size_t)64 << 10, &buffer);
	l->on_read((uv_stream_t *)l->tcp, error, &buffer);
}

/* writing */

size_t uv_stream_get_write_queue_size(const uv_stream_t *stream)
{
	return link_of(stream)->unwritten + net.backlog;
}

int uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t buffers[], unsigned count, uv_write_cb on_written)
{
	struct link *l = link_of(stream);
	assert(count == 1 && l->is_connected && !l->is_closing);
	char *bytes = memory_new(buffers[0].len);
	memcpy(bytes, buffers[0].base, buffers[0].len); /* the whole of it is there to be read */
	net.owner->on_write((const uint8_t *)bytes, buffers[0].len, !net.refuses);
	free(bytes);
	if (net.refuses) {
		net.refuses = false;
		return UV_EPIPE;
	}
	struct written *w = memory_new(sizeof *w);
	request->cb = on_written;
	w->request = request;
	w->len = buffers[0].len;
	l->unwritten += w->len;
	list_append(&l->writes, &w->node);
	return 0;
}

static void end_writes(struct link *l, int status)
{
	struct list *node;
	while ((node = list_take_first(&l->writes))) {
		struct written *w = container_of(node, struct written, node);
		uv_write_t *request = w->request;
		l->unwritten -= w->len;
		free(w);
		request->cb(request, status);
	}
}

void network_hold(bool holds, size_t backlog)
{
	net.holds = holds;
	net.backlog = backlog;
}

void network_refuse_write(void)
{
	net.refuses = true;
}

/* the end */

void uv_close(uv_handle_t *handle, uv_close_cb on_close)
{
	struct link *l = link_of(handle);
	assert(!l->is_closing);
	l->is_closing = true;
	l->on_close = on_close;
}

static void end_link(struct link *l)
{
	if (l->connecting)
		end_connecting(l, UV_ECANCELED);
	end_writes(l, UV_ECANCELED);
	list_remove(&l->node);
	l->on_close((uv_handle_t *)l->tcp);
	free(l);
}

void network_turn(void)
{
	list_for_each_safe (node, &net.lookups) {
		struct lookup *l = container_of(node, struct lookup, node);
		if (l->is_cancelled)
			end_lookup(l, l->is_late ? 0 : UV_ECANCELED, l->is_late ? 2 : 0);
	}
	list_for_each_safe (node, &net.links) {
		struct link *l = container_of(node, struct link, node);
		if (l->is_closing)
			end_link(l);
		else if (!net.holds)
			end_writes(l, 0);
	}
}
