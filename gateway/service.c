/* service.c - speaks with systemd through libsystemd. */
#include "gateway/service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"

/* FileDescriptorName= of a socket unit, and which setting it stands for. */
static const struct {
	const char *name;
	size_t offset;
} places[] = {
	{ "http", offsetof(struct service_sockets, http) },
	{ "websocket", offsetof(struct service_sockets, websocket) },
	{ "admin", offsetof(struct service_sockets, admin) },
};

/* NULL: no socket of ours has this name. */
static struct numbers *place_named(struct service_sockets *sockets, const char *name)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (strcmp(places[i].name, name) == 0)
			return (struct numbers *)((char *)sockets + places[i].offset);
	}
	return NULL;
}

/* What a socket unit opens is blocking; all our loops accept from it. */
static bool take(struct service_sockets *sockets, int fd, const char *name)
{
	struct numbers *place = place_named(sockets, name);

	if (!place) {
		log_error("service",
			"a socket was handed over whose name says nothing; FileDescriptorName= is http, websocket or "
			"admin",
			LOG_TEXT("name", name));
		return false;
	}
	if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, 1, 0) <= 0 ||
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
		log_error("service", "what was handed over is no TCP socket that listens", LOG_TEXT("name", name));
		return false;
	}
	int *items = memory_resize((int *)(uintptr_t)place->items, place->count + 1, sizeof(*items));
	items[place->count++] = fd;
	place->items = items;
	return true;
}

bool service_take_sockets(struct service_sockets *ret)
{
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);
	bool fine = true;

	*ret = (struct service_sockets){ 0 };
	if (count < 0)
		log_error("service", "the sockets that were handed over cannot be read",
			LOG_TEXT("why", strerror(-count)));
	for (int i = 0; i < count; i++) {
		fine = fine && take(ret, SD_LISTEN_FDS_START + i, names[i]);
		free(names[i]);
	}
	free(names);
	return fine && count >= 0;
}

int64_t service_watchdog_ms(void)
{
	uint64_t us = 0;

	return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 1000) : 0;
}

/* Each word ends its line, so that whoever records them can tell them apart. */

void service_say_ready(void)
{
	sd_notify(0, "READY=1\n");
}

/* The time is what Type=notify-reload asks for besides (systemd 253). */
void service_say_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n", (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void service_say_stopping(void)
{
	sd_notify(0, "STOPPING=1\nSTATUS=draining\n");
}

void service_say_alive(void)
{
	sd_notify(0, "WATCHDOG=1\n");
}

void service_say_status(const char *status)
{
	sd_notifyf(0, "STATUS=%s\n", status);
}
