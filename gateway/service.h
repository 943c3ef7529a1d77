/* service.h - the service manager (systemd): the sockets that it listens on for us, and what it is told of us.
 *
 * Where nothing of the kind started the process there are no such sockets, and every word goes nowhere. For the node's own thread. */
#ifndef KEYFOB_GATEWAY_SERVICE_H
#define KEYFOB_GATEWAY_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/config_lists.h"

/* Listening sockets, by the setting in whose place they stand (sd_listen_fds(3)). Open until the process ends. */
struct service_sockets {
	struct numbers http, websocket, admin;
};

/* False: one of them serves nothing of ours; the log says which. Clears the environment of them, so that nobody takes them twice. */
bool service_take_sockets(struct service_sockets *ret);

/* How soon after the last service_say_alive() the next must come, milliseconds; 0: nobody waits for one (sd_watchdog_enabled(3)). */
int64_t service_watchdog_ms(void);

/* The words of sd_notify(3). */
void service_say_ready(void);
void service_say_reloading(void); /* until service_say_ready() */
void service_say_stopping(void);
void service_say_alive(void);
/* A line for `systemctl status`. */
void service_say_status(const char *);

#endif
