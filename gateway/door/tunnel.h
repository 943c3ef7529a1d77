/* tunnel.h - TLS ended at the door: a tunnel leads from the client's socket to a room, through a socket pair.
 *
 * The rooms read what was decrypted from the near end of the pair as they read a plain connection, so every rule of theirs
 * holds for both (docs/decisions/0004-the-door-ends-tls.md weighs it). A tunnel outlives the door it came in by; it goes
 * when the room has closed its end and the client has what was sent, or when the client goes. Three descriptors each. */
#ifndef KEYFOB_GATEWAY_TUNNEL_H
#define KEYFOB_GATEWAY_TUNNEL_H

#include <stdbool.h>

struct certificate;
struct loop;
struct tunnels;

/* making */

/* All of a worker's. The certificate is borrowed for life. A WebSocket whose client sends more control frames than
 * `per_socket` a second, two seconds' worth at once, is cut; 0: no limit. */
struct tunnels *tunnels_new(struct loop *, struct certificate *, double per_socket);
/* Cuts what is open, after loop_run() has returned or before it was called. NULL is fine. */
void tunnels_free(struct tunnels *);

/* asking */

/* Nothing is on its way from a room to a client. True for NULL. */
bool tunnels_are_flushed(const struct tunnels *);

#endif
