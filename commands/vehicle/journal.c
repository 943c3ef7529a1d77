/* journal.c - writes one line of JSON for each thing that a vehicle did or met. */
#include "commands/vehicle/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/rfc3339.h"

struct journal {
	struct loop *loop;
	int fd;
	bool has_failed; /* a full disk is told once, not 7 000 times a second */
	struct text line;
};

static void add_member(struct text *, const char *key, const char *value);
static void add_field(struct text *, const struct log_field *);
static void write_line(struct journal *);

struct journal *journal_open(struct loop *loop, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return NULL;
	struct journal *journal = memory_new(sizeof(*journal));
	journal->loop = loop;
	journal->fd = fd;
	return journal;
}

void journal_close(struct journal *journal)
{
	if (journal == NULL)
		return;
	close(journal->fd);
	text_free(&journal->line);
	free(journal);
}

void journal_write(struct journal *journal, const char *vehicle_id, const char *what, const char *request_id,
	const struct log_field *fields)
{
	char now[RFC3339_SIZE];
	rfc3339_write(loop_unix_us(journal->loop), now);

	journal->line.len = 0;
	text_addf(&journal->line, "{\"time\":\"%s\"", now);
	add_member(&journal->line, "vehicle_id", vehicle_id);
	add_member(&journal->line, "what", what);
	add_member(&journal->line, "request_id", request_id);
	for (; fields->type != LOG_FIELD_END; fields++)
		add_field(&journal->line, fields);
	text_add(&journal->line, "}\n");
	write_line(journal);
}

static void add_member(struct text *line, const char *key, const char *value)
{
	if (value == NULL)
		return;
	text_addf(line, ",\"%s\":", key);
	text_add_json_string(line, value);
}

static void add_field(struct text *line, const struct log_field *field)
{
	if (field->type == LOG_FIELD_TEXT)
		add_member(line, field->key, field->text);
	else
		text_addf(line, ",\"%s\":%" PRId64, field->key, field->number);
}

static void write_line(struct journal *journal)
{
	ssize_t written = write(journal->fd, journal->line.data, journal->line.len);
	if (written == (ssize_t)journal->line.len)
		return;
	if (!journal->has_failed)
		log_error("journal", "the journal cannot be written",
			LOG_TEXT("reason", written < 0 ? strerror(errno) : "a short write"));
	journal->has_failed = true;
}
