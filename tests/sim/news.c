/* news.c - the losses of docs/reachability.md as they are seen from outside: a loss, what it hides, what reveals it.
 *
 *   session ─ connect, topics told or lost ─ there ─ end told or lost ─ away ─ next session
 *                                             └ a message, a resync      └ 0x10, a resync */
#include "tests/sim/news.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "tests/sim/postgres.h"
#include "tests/sim/record.h"
#include "tests/sim/world.h"

#define VERIFY_MS 2000	 /* lifecycle.verify_delay of a run */
#define RESYNC_MS 15000	 /* until the next resync is asked for, and lifecycle.return_delay */
#define DISPROOF_MS 1500 /* from the broker's 0x10 to the database */
#define REPEATS_MAX                                                                                                    \
	6 /* of what is published to nobody: after the first its vehicle counts as away, unless somebody dies */
#define BEGIN_MS 10000 /* until the nodes have come to work, as after a fault */
#define UNKNOWNS_MAX 400

struct unknown {
	int64_t from_ms, to_ms;
};

struct news {
	char vehicle_id[16]; /* the key of the table */
	/* of the session that there is, or the last */
	bool is_linked, is_there;
	int64_t begun_ms, since_ms; /* since it is there, or since its end */
	bool is_connect_told, are_topics_told;
	bool is_connect_lost, are_topics_lost, is_end_lost;
	bool is_end_untold; /* only a resync can tell it */
	bool was_end_lost;  /* that of the session before, and nothing has revealed it */
	bool goes_on;	    /* it has the name of the one before */
	int64_t topics_ms;  /* when they were told last; 0: never */
	bool is_loose;	    /* whether it is the newer one, only versions can say, and one has none */
	int64_t loose_until_ms;
	int64_t lost_ms;		       /* the last loss */
	bool is_revealed;		       /* what is lost is known all the same */
	int64_t revealed_ms, disproved_ms;     /* 0: never */
	char disproved_id[40];		       /* the last command that was published to nobody in this absence */
	unsigned repeats;		       /* of that */
	struct unknown unknowns[UNKNOWNS_MAX]; /* while it was there */
	size_t unknown_count;
	UT_hash_handle hh;
};

static struct news *all;
static int64_t slow, resync_lost_ms; /* when an end got lost; 0: one has come since */
static unsigned losses, reveals;

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void news_begin(int64_t slow_ms)
{
	slow = slow_ms;
}

static struct news *news_of(const char *vehicle_id)
{
	struct news *n;

	HASH_FIND_STR(all, vehicle_id, n);
	if (n)
		return n;
	n = memory_new(sizeof(*n));
	snprintf(n->vehicle_id, sizeof(n->vehicle_id), "%s", vehicle_id);
	HASH_ADD_STR(all, vehicle_id, n);
	return n;
}

/* A subscription makes its session the stored one where the one before has ended; else its connect must do so. */
static bool may_count_as_away(const struct news *n)
{
	return n->are_topics_lost || (n->is_connect_lost && (n->was_end_lost || n->goes_on)) || n->is_loose;
}

static bool may_count_as_there(const struct news *n)
{
	return n->is_end_lost || n->is_loose;
}

static bool is_unknown(const struct news *n)
{
	return !n->is_revealed && (n->is_linked ? may_count_as_away(n) : may_count_as_there(n));
}

/* From when to when it was unknown of who was there, for what is judged in the end. */
static void note_unknown(struct news *n)
{
	struct unknown *last = n->unknown_count > 0 ? &n->unknowns[n->unknown_count - 1] : NULL;
	bool was = last && last->to_ms == INT64_MAX, is = n->is_there && is_unknown(n);

	if (was && !is)
		last->to_ms = world_ms();
	if (!was && is && n->unknown_count < UNKNOWNS_MAX)
		n->unknowns[n->unknown_count++] = (struct unknown){ world_ms(), INT64_MAX };
}

static void reveal(struct news *n, const char *by, int64_t at_ms)
{
	reveals += is_unknown(n);
	if (is_unknown(n))
		world_note("%s: %s reveals what was lost", n->vehicle_id, by);
	n->is_revealed = true;
	n->revealed_ms = at_ms;
	n->was_end_lost = false;
	note_unknown(n);
}

static void look_at_disproof(struct news *n)
{
	int64_t by_ms = n->disproved_ms + DISPROOF_MS;

	if (n->disproved_ms == 0 || n->is_revealed || world_ms() < by_ms)
		return;
	if (record_excused_ms(n->disproved_ms, by_ms) == 0)
		reveal(n, "0x10", n->disproved_ms);
	n->disproved_ms = 0;
}

/* Sessions. */

/* What was subscribed to in a connection is known in those that go on with its session as soon as it is told. */
void news_session(const char *vehicle_id, bool goes_on)
{
	struct news *n = news_of(vehicle_id);
	bool knows_topics = goes_on && n->are_topics_told;

	look_at_disproof(n);
	n->was_end_lost = n->is_end_lost && !n->is_revealed;
	n->is_linked = true;
	n->begun_ms = world_ms();
	n->is_connect_told = n->are_topics_told = n->is_connect_lost = n->are_topics_lost = n->is_end_lost = false;
	n->goes_on = goes_on;
	n->are_topics_told = knows_topics;
	n->are_topics_lost = goes_on && !knows_topics;
	n->topics_ms = 0;
	n->is_loose = n->begun_ms <= n->loose_until_ms;
	n->is_revealed = false;
	n->revealed_ms = n->disproved_ms = 0;
	note_unknown(n);
}

void news_presence(const char *vehicle_id, bool is_there)
{
	struct news *n = news_of(vehicle_id);

	n->is_there = is_there;
	n->since_ms = world_ms();
	n->is_linked = is_there;
	n->is_revealed = n->is_revealed && is_there;
	n->is_end_untold = !is_there;
	n->disproved_ms = 0;
	n->disproved_id[0] = '\0';
	note_unknown(n);
}

/* Its own end tells a session without a connect from the next. */
static void loosen(struct news *n, bool is_end_lost)
{
	if (n->is_connect_lost && n->topics_ms > 0)
		n->loose_until_ms = is_end_lost ? n->topics_ms + NEWS_SKEW_MS : world_ms() + slow;
}

void news_telling(const char *vehicle_id, enum news_kind kind, bool is_lost)
{
	struct news *n = news_of(vehicle_id);

	if (is_lost && kind == NEWS_CONNECT && n->is_connect_told && !n->is_loose)
		return; /* named once more */
	if (is_lost) {
		losses++;
		n->lost_ms = world_ms();
		n->is_revealed = false;
	}
	if (kind == NEWS_END) {
		n->is_end_lost = is_lost;
		n->is_end_untold = false;
		loosen(n, is_lost);
	} else if (kind == NEWS_CONNECT) {
		n->is_connect_lost = is_lost && !n->is_connect_told;
	} else {
		n->are_topics_lost = is_lost;
		n->are_topics_told = n->are_topics_told && !is_lost;
		n->topics_ms = is_lost ? n->topics_ms : world_ms();
	}
	note_unknown(n);
}

void news_untold(const char *vehicle_id)
{
	news_of(vehicle_id)->is_end_untold = true;
}

void news_told(const char *vehicle_id, enum news_kind kind)
{
	struct news *n = news_of(vehicle_id);
	bool knew = n->are_topics_told && (n->is_connect_told || n->is_connect_lost);

	n->is_connect_told = n->is_connect_told || kind == NEWS_CONNECT;
	if (kind == NEWS_TOPICS) {
		n->are_topics_told = true;
		n->are_topics_lost = n->are_topics_lost && !n->goes_on;
	}
	note_unknown(n);
	if (!knew && n->are_topics_told && (n->is_connect_told || n->is_connect_lost))
		record_return(vehicle_id);
}

/* What reveals. */

/* News of before has come by then, or it would speak after it. */
void news_disproved(const char *vehicle_id, const char *command_id)
{
	struct news *n = news_of(vehicle_id);

	n->repeats = strcmp(n->disproved_id, command_id) == 0 ? n->repeats + 1 : 0;
	snprintf(n->disproved_id, sizeof(n->disproved_id), "%s", command_id);
	if (n->repeats == REPEATS_MAX)
		world_fail("S10", "%s is published to nobody over and over, and %s has not come meanwhile", command_id,
			vehicle_id);
	if (!n->is_linked && n->disproved_ms == 0 && world_ms() - n->since_ms >= slow)
		n->disproved_ms = world_ms();
}

/* While the absence of a session before is being waited out, it proves nothing. */
void news_message(const char *vehicle_id)
{
	struct news *n = news_of(vehicle_id);
	int64_t now_ms = world_ms();

	if (!n->is_there || !is_unknown(n) || now_ms - n->since_ms < slow + VERIFY_MS ||
		record_excused_ms(now_ms - BEGIN_MS, now_ms) > 0)
		return;
	PGresult *rows = postgres_ask("select reachable, verifying from vehicle_heads where vehicle_id = $1", 1,
		(const char *const[]){ vehicle_id });
	bool is_reachable = PQgetvalue(rows, 0, 0)[0] == 't', is_verifying = PQgetvalue(rows, 0, 1)[0] == 't';
	PQclear(rows);
	if (!is_reachable)
		world_fail("S10", "%s has said something, and counts as away", vehicle_id);
	if (is_verifying)
		return;
	reveal(n, "a message", now_ms);
	record_return(vehicle_id);
}

void news_resynced(int64_t asked_ms)
{
	struct news *n, *next;

	resync_lost_ms = 0;
	HASH_ITER (hh, all, n, next) {
		if (n->lost_ms >= asked_ms)
			continue;
		n->loose_until_ms = 0;
		n->is_loose = false;
		reveal(n, "a resync", world_ms());
	}
}

void news_end_lost(void)
{
	losses++;
	resync_lost_ms = world_ms();
}

/* Asking. */

bool news_is_known(const char *vehicle_id)
{
	return !is_unknown(news_of(vehicle_id));
}

bool news_was_unknown(const char *vehicle_id, int64_t from_ms, int64_t to_ms)
{
	const struct news *n = news_of(vehicle_id);

	for (size_t i = 0; i < n->unknown_count; i++)
		if (n->unknowns[i].from_ms <= to_ms && n->unknowns[i].to_ms >= from_ms)
			return true;
	return false;
}

/* Judging. */

static bool has_been_calm(int64_t for_ms)
{
	int64_t now_ms = world_ms();
	return now_ms - for_ms > BEGIN_MS && record_excused_ms(now_ms - for_ms, now_ms) == 0;
}

/* S10, the other way round, and that the truth is known. Who went during a fault may have gone untold, and a resync says so. */
static void judge(const struct news *n, bool is_reachable)
{
	int64_t from_ms = later(n->since_ms, n->revealed_ms), for_ms = world_ms() - from_ms;
	bool is_untold = n->is_end_untold && !n->is_linked, is_named = n->revealed_ms >= n->since_ms;
	bool is_told = has_been_calm(for_ms + BEGIN_MS) && !(is_untold && is_named);
	int64_t away_ms = slow + (is_told ? VERIFY_MS : RESYNC_MS);

	if (is_unknown(n) || (is_untold && !is_named && resync_lost_ms > n->since_ms))
		return;
	if (n->is_there && !is_reachable && for_ms > slow && has_been_calm(slow))
		world_fail("S10", "%s is there since %.3f s, that is known since %.3f s, and it counts as away",
			n->vehicle_id, (double)n->since_ms / 1000, (double)from_ms / 1000);
	if (!n->is_linked && is_reachable && for_ms > away_ms && has_been_calm(away_ms))
		world_fail("S10", "%s is away since %.3f s, that is known since %.3f s, and it counts as there",
			n->vehicle_id, (double)n->since_ms / 1000, (double)from_ms / 1000);
}

void news_look(void)
{
	PGresult *rows = postgres_ask("select vehicle_id, reachable from vehicle_heads order by vehicle_id", 0, NULL);

	for (int row = 0; row < PQntuples(rows); row++) {
		struct news *n = news_of(PQgetvalue(rows, row, 0));
		look_at_disproof(n);
		judge(n, PQgetvalue(rows, row, 1)[0] == 't');
	}
	PQclear(rows);
}

void news_judge(void)
{
	struct news *n, *next;

	news_look();
	HASH_ITER (hh, all, n, next) {
		if (is_unknown(n))
			world_fail("S10", "nothing has revealed what was lost of %s at %.3f s", n->vehicle_id,
				(double)n->lost_ms / 1000);
	}
}

void news_write(FILE *out)
{
	if (losses > 0)
		fprintf(out, ", %u lost (%u revealed while it lasted)", losses, reveals);
}
