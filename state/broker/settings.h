/* settings.h - the plugin's options (plugin_opt_… in mosquitto.conf), checked once when the broker loads it.
 *
 * The plugin owns the settings; everybody else borrows them until it is unloaded. */
#ifndef KEYFOB_STATE_BROKER_SETTINGS_H
#define KEYFOB_STATE_BROKER_SETTINGS_H

#include <stdbool.h>

struct mosquitto_opt;

#define PREFIX_MAX 128
#define NAMESPACE_MAX 32

struct settings {
	char *prefix;	  /* lifecycle events are below it: $aws/events */
	char *name_space; /* client ids that begin with it and '-' are the gateway's: keyfob */
	char *gateway;	  /* the gateway's username, or its certificate's CN: keyfob */
	char *state_file; /* where the last version number is kept; NULL: nowhere */
};

/* making */
/* Fills `s` from the defaults and the options. False: an option cannot be used; the log says which and why. */
bool settings_read(struct settings *s, const struct mosquitto_opt *options, int count);
void settings_done(struct settings *s);

#endif
