/* log.c - one line, one write(2), to standard error. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/metrics.h"
#include "base/rfc3339.h"

#define LINE_MAX_BYTES PIPE_BUF /* what is no longer cannot be torn apart in a pipe (POSIX write()) */
#define VALUE_MAX_BYTES 512	/* of a field's text; the rest is cut off */
#define END_ROOM_BYTES 32	/* for what closes a line */

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int format_now = LOG_FORMAT_LOGFMT;

static int output = STDERR_FILENO;
static bool output_is_socket;
static _Atomic int64_t lost; /* lines that nobody was told of yet */

/* How a format writes a line: `open`, then members, each a key and a value, then `close`. */
struct shape {
	const char *open, *close;
	const char *between; /* members */
	const char *cut;     /* the member that says that others are missing */
	void (*add_key)(struct text *, const char *);
	void (*add_text)(struct text *, const char *);
};

static void add_bare_key(struct text *, const char *);
static void add_bare_or_quoted(struct text *, const char *);
static void add_json_key(struct text *, const char *);

static const struct shape shapes[] = {
	[LOG_FORMAT_LOGFMT] = { "", "\n", " ", "cut=true", add_bare_key, add_bare_or_quoted },
	[LOG_FORMAT_JSON] = { "{", "}\n", ",", "\"cut\":true", add_json_key, text_add_json_string },
};

static void add_head(struct text *, const struct shape *, enum log_level, const char *area, const char *message);
static void add_fields(struct text *, const struct shape *, const struct log_field *);
static bool write_line(const char *, size_t);
static void tell_lost(void);

void log_configure(enum log_level level, enum log_format format)
{
	atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
	atomic_store_explicit(&format_now, (int)format, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_write(enum log_level level, const char *area, const char *message, const struct log_field *fields)
{
	const struct shape *shape = &shapes[atomic_load_explicit(&format_now, memory_order_relaxed)];
	int errno_before = errno;
	struct text line = { 0 };
	text_add(&line, shape->open);
	add_head(&line, shape, level, area, message);
	add_fields(&line, shape, fields);
	text_add(&line, shape->close);
	bool written = write_line(line.data, line.len);
	text_free(&line);
	if (written)
		tell_lost();
	errno = errno_before;
}

/* fields */

static void add_number(struct text *line, const struct shape *shape, const char *key, int64_t number)
{
	shape->add_key(line, key);
	text_addf(line, "%lld", (long long)number);
}

static void add_text(struct text *line, const struct shape *shape, const char *key, const char *text)
{
	char cut[VALUE_MAX_BYTES + 4];
	shape->add_key(line, key);
	if (text && strlen(text) > VALUE_MAX_BYTES) {
		snprintf(cut, sizeof cut, "%.*s...", VALUE_MAX_BYTES, text);
		text = cut;
	}
	shape->add_text(line, text);
}

static void write_time(char out[RFC3339_SIZE])
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	rfc3339_write((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, out);
}

static void add_head(
	struct text *line, const struct shape *shape, enum log_level level, const char *area, const char *message)
{
	char time[RFC3339_SIZE];
	write_time(time);
	const char *const members[][2] = {
		{ "time", time },
		{ "level", level_names[level] },
		{ "area", area },
		{ "message", message },
	};
	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		if (i > 0)
			text_add(line, shape->between);
		add_text(line, shape, members[i][0], members[i][1]);
	}
}

/* A field that does not fit into the line is left out, with all after it, and the line says so. */
static void add_fields(struct text *line, const struct shape *shape, const struct log_field *fields)
{
	for (const struct log_field *f = fields; f->type != LOG_FIELD_END; f++) {
		size_t before = line->len;
		text_add(line, shape->between);
		if (f->type == LOG_FIELD_INT)
			add_number(line, shape, f->key, f->number);
		else
			add_text(line, shape, f->key, f->text);
		if (line->len + END_ROOM_BYTES <= LINE_MAX_BYTES)
			continue;
		line->len = before;
		text_add(line, shape->between);
		text_add(line, shape->cut);
		return;
	}
}

/* logfmt */

static void add_bare_key(struct text *line, const char *key)
{
	text_add(line, key);
	text_add(line, "=");
}

static bool is_bare(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '=' || *c == '\\')
			return false;
	return *text != '\0';
}

static void add_bare_or_quoted(struct text *line, const char *text)
{
	if (text && is_bare(text))
		text_add(line, text);
	else
		text_add_json_string(line, text);
}

/* JSON */

static void add_json_key(struct text *line, const char *key)
{
	text_add_json_string(line, key);
	text_add(line, ":");
}

/* The end of a pipe is shared with whoever else writes to it, and so is its being non-blocking: it is opened once more. */
void log_never_wait(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0)
		return;
	int own = S_ISFIFO(st.st_mode) ? open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	if (own >= 0)
		output = own;
	output_is_socket = S_ISSOCK(st.st_mode);
}

static ssize_t put(const char *line, size_t len)
{
	return output_is_socket ? send(output, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) : write(output, line, len);
}

/* A pipe takes a line whole or not at all. Standard error may also be closed or gone: then there is nobody to tell. */
static bool write_line(const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = put(line, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			metric_add(METRIC_LOG_LOST, 1);
			atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
		}
		if (n <= 0)
			return false;
		line += n;
		len -= (size_t)n;
	}
	return true;
}

static void tell_lost(void)
{
	int64_t lines = atomic_exchange_explicit(&lost, 0, memory_order_relaxed);

	if (lines > 0)
		log_warn("log", "lines were lost, since nobody read", LOG_INT("lines", lines));
}
