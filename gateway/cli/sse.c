/* sse.c - bytes to lines, lines to fields, an empty line to an event. */
#include "gateway/cli/sse.h"

#include <string.h>

static void text_clear(struct text *t)
{
	t->len = 0;
	if (t->data)
		t->data[0] = '\0';
}

static const char *text_or(const struct text *t, const char *otherwise)
{
	return t->len ? t->data : otherwise;
}

static void replace(struct text *t, const char *value)
{
	text_clear(t);
	text_add(t, value);
}

/* The id counts from here on and not from its line: an event cut off behind it has not been seen. */
static void dispatch(struct sse *s)
{
	replace(&s->last_id, text_or(&s->id, ""));
	if (s->data.len) {
		s->data.data[--s->data.len] = '\0'; /* the line feed after the last line of data */
		s->on_event(s, &(struct sse_event){ text_or(&s->type, "message"), s->last_id.data, s->data.data });
	}
	text_clear(&s->type);
	text_clear(&s->data);
}

static void field_take(struct sse *s, const char *name, const char *value)
{
	if (strcmp(name, "event") == 0)
		replace(&s->type, value);
	else if (strcmp(name, "id") == 0)
		replace(&s->id, value);
	else if (strcmp(name, "data") == 0) {
		text_add(&s->data, value);
		text_add(&s->data, "\n");
	}
}

/* A line that begins with a colon is a comment: it only shows that the node lives. */
static void line_take(struct sse *s)
{
	if (s->line.len == 0) {
		dispatch(s);
		return;
	}
	char *colon = memchr(s->line.data, ':', s->line.len);
	char *value = colon ? colon + 1 : s->line.data + s->line.len;
	if (colon)
		*colon = '\0';
	field_take(s, s->line.data, *value == ' ' ? value + 1 : value);
	text_clear(&s->line);
}

/* A line ends with CR, LF or both. */
bool sse_feed(struct sse *s, const char *bytes, size_t len)
{
	for (const char *at = bytes, *end = bytes + len; at < end;) {
		if (s->after_cr && *at == '\n')
			at++;
		s->after_cr = false;
		size_t run = 0;
		while (at + run < end && at[run] != '\n' && at[run] != '\r')
			run++;
		if (s->line.len + s->data.len + run > SSE_EVENT_BYTES_MAX)
			return false;
		text_add_bytes(&s->line, at, run);
		at += run;
		if (at == end)
			break;
		s->after_cr = *at++ == '\r';
		line_take(s);
	}
	return true;
}

void sse_restart(struct sse *s)
{
	text_clear(&s->line);
	text_clear(&s->type);
	text_clear(&s->data);
	replace(&s->id, text_or(&s->last_id, ""));
	s->after_cr = false;
}

void sse_done(struct sse *s)
{
	text_free(&s->line);
	text_free(&s->type);
	text_free(&s->id);
	text_free(&s->last_id);
	text_free(&s->data);
}
