/* config_error.c - the one line that says what is wrong with the configuration or the catalogue. */
#include "gateway/config_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(struct config_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_list(struct config_error *e, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

void config_error_set(struct config_error *e, const char *source, int line, const char *key, const char *format, ...)
{
	va_list args;

	e->line[0] = '\0';
	add(e, "%s:", source);
	if (line > 0)
		add(e, "%d:", line);
	if (key && *key)
		add(e, " %s:", key);
	add(e, " ");
	va_start(args, format);
	add_list(e, format, args);
	va_end(args);
	/* a quoted value may have brought a line break of its own */
	for (char *c = e->line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
}

static void add(struct config_error *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_list(e, format, args);
	va_end(args);
}

static void add_list(struct config_error *e, const char *format, va_list args)
{
	size_t used = strlen(e->line);

	vsnprintf(e->line + used, sizeof(e->line) - used, format, args);
}
