/* config_error.h - the one line that says what is wrong with the configuration or the catalogue.
 *
 * "FILE:LINE: key: what is wrong and what is allowed"; for a value that came by the environment its
 * variable stands in place of FILE:LINE. */
#ifndef KEYFOB_GATEWAY_CONFIG_ERROR_H
#define KEYFOB_GATEWAY_CONFIG_ERROR_H

struct config_error {
	char line[1024]; /* without a newline */
};

/* `line` 0: none is known. `key` NULL or "": it concerns the whole source. */
void config_error_set(struct config_error *, const char *source, int line, const char *key, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

#endif
