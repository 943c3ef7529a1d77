/* print.c - what reaches the terminal. */
#include "gateway/cli/print.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/rfc3339.h"

static const char *const escapes[COLOUR_COUNT] = {
	[COLOUR_GREEN] = "\033[32m",
	[COLOUR_RED] = "\033[31m",
	[COLOUR_YELLOW] = "\033[33m",
	[COLOUR_DIM] = "\033[2m",
	[COLOUR_BOLD] = "\033[1m",
};

/* no-color.org: any value but the empty one. */
static bool has_colours(void)
{
	const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
	bool is_dumb = !terminal || strcmp(terminal, "dumb") == 0;
	return isatty(STDOUT_FILENO) && !is_dumb && (!no_color || !*no_color);
}

/* C0, DEL, and C1 as UTF-8 writes it: whatever a terminal might obey. */
static bool is_control(const unsigned char *at)
{
	return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0);
}

void print_plain(FILE *file, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		bool control = is_control(at);
		fputc(control ? '?' : *at, file);
		at += control && *at == 0xc2;
	}
}

size_t print_width(const char *text)
{
	size_t width = 0;
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		width += (*at & 0xc0) != 0x80;
		at += is_control(at) && *at == 0xc2;
	}
	return width;
}

void print_coloured(enum colour colour, const char *text)
{
	bool coloured = escapes[colour] && has_colours();
	if (coloured)
		fputs(escapes[colour], stdout);
	print_plain(stdout, text);
	if (coloured)
		fputs("\033[0m", stdout);
}

void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

static const char *local_format(const char *rfc3339, const char *format, char out[LOCAL_TIME_SIZE])
{
	int64_t us;
	struct tm tm;
	if (!rfc3339 || !rfc3339_read(rfc3339, &us))
		return rfc3339 ? rfc3339 : "-";
	time_t seconds = (time_t)(us / 1000000);
	localtime_r(&seconds, &tm);
	size_t len = strftime(out, LOCAL_TIME_SIZE, format, &tm);
	snprintf(out + len, LOCAL_TIME_SIZE - len, ".%03d", (int)(us / 1000 % 1000));
	return out;
}

const char *local_time(const char *rfc3339, char out[LOCAL_TIME_SIZE])
{
	return local_format(rfc3339, "%Y-%m-%d %H:%M:%S", out);
}

const char *local_clock(const char *rfc3339, char out[LOCAL_TIME_SIZE])
{
	return local_format(rfc3339, "%H:%M:%S", out);
}

static void text_add_value(struct text *t, const json_t *value)
{
	char *json = json_is_string(value) ? NULL : json_canonical(value);
	text_add(t, json ? json : json_string_value(value));
	free(json);
}

void text_add_values(struct text *t, const json_t *value)
{
	const char *key;
	json_t *member;
	if (!json_is_object(value)) {
		text_add_value(t, value);
		return;
	}
	json_object_foreach ((json_t *)(uintptr_t)value, key, member) {
		text_addf(t, "%s%s=", t->len ? " " : "", key);
		text_add_value(t, member);
	}
}

int64_t us_between(const char *from, const char *to)
{
	int64_t a, b;
	return from && to && rfc3339_read(from, &a) && rfc3339_read(to, &b) ? b - a : 0;
}
