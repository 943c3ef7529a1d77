/* log.h - structured lines to standard error, logfmt or JSON (one object a line).
 *
 * A line has a time, a level, an area ("mqtt"), a message that never varies, and fields. Never a
 * token, an MSISDN, an SMS text or a payload. Safe from every thread: one write(2) a line. */
#ifndef KEYFOB_BASE_LOG_H
#define KEYFOB_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log_field {
	const char *key;
	enum { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_INT } type;
	const char *text;
	int64_t number;
};

#define LOG_TEXT(k, v)                                                                                                 \
	{                                                                                                              \
		.key = (k), .type = LOG_FIELD_TEXT, .text = (v)                                                        \
	}
#define LOG_INT(k, v)                                                                                                  \
	{                                                                                                              \
		.key = (k), .type = LOG_FIELD_INT, .number = (int64_t)(v)                                              \
	}

void log_configure(enum log_level, enum log_format);
/* From now on a line that standard error, a pipe or a socket, does not take at once is lost: counted, and told of with the next that
 * is taken. Before the first thread begins. A pipe that may not be opened anew (another user's) still waits. */
void log_never_wait(void);
bool log_is_on(enum log_level);
/* `fields` ends with a zeroed element. Use the macros. */
void log_write(enum log_level, const char *area, const char *message, const struct log_field *fields);

#define log_line(level, area, message, ...)                                                                            \
	do {                                                                                                           \
		if (log_is_on(level))                                                                                  \
			log_write(level, area, message,                                                                \
				(const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .type = LOG_FIELD_END } });    \
	} while (0)
#define log_debug(area, ...) log_line(LOG_LEVEL_DEBUG, area, __VA_ARGS__)
#define log_info(area, ...) log_line(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_warn(area, ...) log_line(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_error(area, ...) log_line(LOG_LEVEL_ERROR, area, __VA_ARGS__)

#endif
