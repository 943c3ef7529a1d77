/* watch.c - polls a duplicate of a libmosquitto socket. */
#include "base/mqtt/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"

struct watch {
	uv_poll_t poll;
	int fd;
	int events;
	void (*on_ready)(void *owner, int events);
	void *owner;
};

static void on_poll(uv_poll_t *, int status, int events);
static void on_closed(uv_handle_t *);

struct watch *watch_new(uv_loop_t *loop, int fd, void (*on_ready)(void *owner, int events), void *owner)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return NULL;
	struct watch *w = memory_new(sizeof *w);
	if (uv_poll_init(loop, &w->poll, own) != 0) {
		close(own);
		free(w);
		return NULL;
	}
	w->fd = own;
	w->on_ready = on_ready;
	w->owner = owner;
	return w;
}

void watch_set(struct watch *w, int events)
{
	if (events == w->events)
		return;
	w->events = events;
	if (events)
		uv_poll_start(&w->poll, events, on_poll);
	else
		uv_poll_stop(&w->poll);
}

/* libuv has stopped the poll when it brings an error. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = container_of(poll, struct watch, poll);
	if (status < 0)
		w->events = 0;
	w->on_ready(w->owner, status < 0 ? -1 : events);
}

int watch_error(const struct watch *w)
{
	int error = 0;
	socklen_t size = sizeof error;
	return getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

void watch_close(struct watch *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->poll, on_closed);
}

static void on_closed(uv_handle_t *handle)
{
	struct watch *w = container_of((uv_poll_t *)handle, struct watch, poll);
	close(w->fd);
	free(w);
}
