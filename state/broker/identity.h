/* identity.h - who a client has proved to be, and what that makes of it.
 *
 * A client that shows a certificate is the certificate's CN, whatever username it sends; every other is its
 * username, whose password the broker checks. */
#ifndef KEYFOB_STATE_BROKER_IDENTITY_H
#define KEYFOB_STATE_BROKER_IDENTITY_H

#include <stdbool.h>

struct mosquitto;
struct settings;

enum role {
	ROLE_NOBODY,  /* its identity is not that of its client id: nothing is allowed */
	ROLE_VEHICLE, /* client id = identity */
	ROLE_GATEWAY, /* the gateway's account, under a client id of the namespace */
};

/* asking */
enum role client_role(const struct settings *, const struct mosquitto *client);
/* What the client is allowed to call itself: a username or a CN; NULL is anonymous. For the log. */
#define IDENTITY_SIZE 256
const char *client_identity(const struct mosquitto *client, char buffer[IDENTITY_SIZE]);
/* Whether a client id can be a vehicle's. */
bool identity_is_vehicle(const struct settings *, const char *id);
/* The broker asks for certificates only where it verifies them (require_certificate), so one that is there is good. */
bool client_has_certificate(const struct mosquitto *client);

#endif
