/* head.c - refuses what h2o would take: heads that two readers could read differently (RFC 9112 §5, §6, §11.2). */
#include <string.h>
#include <strings.h>

#include "gateway/http/http_internal.h"

static bool is_field(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);
	return len > n && strncasecmp(line, name, n) == 0 && (line[n] == ':' || line[n] == ' ' || line[n] == '\t');
}

static bool is_length(const char *line, size_t len)
{
	const char *at = memchr(line, ':', len), *end = line + len;
	size_t digits = 0;

	for (at++; at < end && (*at == ' ' || *at == '\t'); at++)
		;
	for (; at < end && *at >= '0' && *at <= '9'; at++)
		digits++;
	for (; at < end && (*at == ' ' || *at == '\t'); at++)
		;
	return at == end && digits > 0 && digits < 16;
}

const char *head_check(const char *head, size_t len)
{
	size_t lengths = 0, encodings = 0, hosts = 0;
	const char *line = head, *end = head + len;

	while (line < end) {
		const char *lf = memchr(line, '\n', (size_t)(end - line));
		if (!lf)
			return "the head does not end";
		if (lf == line || lf[-1] != '\r')
			return "a line ends with a bare LF";
		size_t n = (size_t)(lf - line) - 1;
		if (n == 0)
			break;
		if (is_field(line, n, "content-length") && !is_length(line, n))
			return "Content-Length is no number";
		lengths += is_field(line, n, "content-length");
		encodings += is_field(line, n, "transfer-encoding");
		hosts += is_field(line, n, "host");
		line = lf + 1;
	}
	if (lengths > 1 || (lengths && encodings) || encodings > 1)
		return "the body's length is given twice";
	return hosts == 1 ? NULL : "exactly one Host is needed";
}
