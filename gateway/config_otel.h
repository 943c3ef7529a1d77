/* config_otel.h - OpenTelemetry's variables (OTEL_…) laid over the configuration file, below KEYFOB_… ones of the same settings. */
#ifndef KEYFOB_GATEWAY_CONFIG_OTEL_H
#define KEYFOB_GATEWAY_CONFIG_OTEL_H

#include <stdbool.h>

struct config_error;
struct document;
struct texts;
struct value;

/* Changes `root`; an empty variable is as good as none. What another exporter would do and this one does not is a warning. */
bool config_lay_otel(
	struct document *, struct value *root, char *const *environment, struct texts *warnings, struct config_error *);

#endif
