/* news.h - what the nodes were told of each vehicle's sessions, what of it was lost, and what has revealed that since.
 *
 * What was lost and nothing has revealed cannot be known (docs/reachability.md, "Losses"): until then, and of that vehicle alone, it is no
 * fault when it counts as there or as away. Where all is known, news_look() sees to it that the database knows it, too. */
#ifndef KEYFOB_TESTS_SIM_NEWS_H
#define KEYFOB_TESTS_SIM_NEWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum news_kind { NEWS_CONNECT, NEWS_TOPICS, NEWS_END };

/* A subscription whose connect was lost cannot be told from a session that begins less than four minutes later. */
#define NEWS_SKEW_MS 241000

/* `slow_ms`: how long news may take from the broker's mouth to the database. */
void news_begin(int64_t slow_ms);

/* the broker */
/* One begins; `goes_on`: with the name and the subscriptions of the one before, of which nothing is told anew. */
void news_session(const char *vehicle_id, bool goes_on);
void news_presence(const char *vehicle_id, bool is_there);
/* It is told of the session that there is, or that has just ended; or it is not. */
void news_telling(const char *vehicle_id, enum news_kind, bool is_lost);
/* Its end has come to nobody, and only a resync can tell. */
void news_untold(const char *vehicle_id);
/* That has come to who reads it. */
void news_told(const char *vehicle_id, enum news_kind);
/* Nobody was there to hear a request. */
void news_disproved(const char *vehicle_id, const char *command_id);
/* Whoever reads the vehicle's messages has acknowledged one. */
void news_message(const char *vehicle_id);
/* The end of a resync was acknowledged by who had asked for it, at that moment. */
void news_resynced(int64_t asked_ms);
/* One got lost: until the next, who went untold may count as there. */
void news_end_lost(void);

/* asking */
/* Nothing that was lost of it is unknown now. */
bool news_is_known(const char *vehicle_id);
/* Whether it may, while it was there, have counted as away at some moment between. */
bool news_was_unknown(const char *vehicle_id, int64_t from_ms, int64_t to_ms);

/* What is known is in the database. */
void news_look(void);
/* Nothing is lost any more, and what reveals all that was has happened. */
void news_judge(void);
/* How much got lost, in numbers; without a line's end. */
void news_write(FILE *);

#endif
