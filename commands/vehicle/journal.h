/* journal.h - what the vehicles received, executed and answered: one JSON object a line, for whoever checks it later.
 *
 * A line is one write(2) to a file opened for appending: what was done is on record before anything else is done, a
 * killed process leaves no half line, and several processes may share a file. The journal belongs to main. */
#ifndef KEYFOB_COMMANDS_VEHICLE_JOURNAL_H
#define KEYFOB_COMMANDS_VEHICLE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct log_field;
struct journal;

/* NULL when the file cannot be opened for appending (errno says why). */
struct journal *journal_open(struct loop *, const char *path);
void journal_close(struct journal *);
/* {"time","vehicle_id","what","request_id"?,…fields}. A NULL journal records nothing; `request_id` may be NULL, so may
 * the fields' texts: those are left out. `fields` ends with a zeroed element. Use the macro, and LOG_TEXT, LOG_INT. */
void journal_write(struct journal *, const char *vehicle_id, const char *what, const char *request_id,
	const struct log_field *fields);

#define journal_line(journal, vehicle_id, what, request_id, ...)                                                       \
	do {                                                                                                           \
		if ((journal) != NULL)                                                                                 \
			journal_write(journal, vehicle_id, what, request_id,                                           \
				(const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .type = LOG_FIELD_END } });    \
	} while (0)

#endif
