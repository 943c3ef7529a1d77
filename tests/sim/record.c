/* record.c - the oracles' memory and their rules. */
#include "tests/sim/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/rfc3339.h"
#include "tests/sim/news.h"
#include "tests/sim/postgres.h"
#include "tests/sim/world.h"

#define VERIFY_MS 2000	      /* lifecycle.verify_delay of a run */
#define MIN_INTERVAL_MS 10000 /* wake.min_interval */
#define DAILY_BUDGET 20
#define DAY_MS (24 * 3600000 - 60000) /* an SMS counts from when it was thought of */
#define PROMPT_MS 2000		      /* L1 */
#define RECOVERY_MS 10000	      /* L4 */
#define TOLD_MS 1000		      /* L3; two units that go a statement at a time fit into it */
#define LEAVE_MS 1000		      /* L2 */
#define CLOCK_US 100000		      /* S5: a step has the node's notion of the database's clock */
#define TRAVEL_MS 2000		      /* the longest way from the broker to a vehicle */
#define EVENTS_MAX 40000
#define PRESENCES_MAX 4000
#define FAULTS_MAX 4000

/* One command, as it was seen from outside. */
struct seen {
	char id[40]; /* the key of the table */
	char vehicle_id[16];
	bool is_promised, is_canceled;
	unsigned published, disproved, received, received_qos0, executed;
	int64_t first_published_ms, held_ms;
	int64_t acknowledged_us[PARTS_MAX + 1]; /* when the broker was rid of this part; 0: never */
	int64_t word_us,
		heard_us; /* when the broker had the vehicle's first word of it, and was rid of one; 0: never */
	/* from the log, in the end */
	char status[16];
	int64_t accepted_seq, at_us;
	UT_hash_handle hh;
};

struct promise {
	char key[40], id[40];
	UT_hash_handle hh;
};

struct presence {
	bool is_there;
	int64_t at_ms;
};

struct history {
	char vehicle_id[16]; /* the key of the table */
	char **events;	     /* by seq: "type data", as the first app saw it */
	int64_t events_size;
	struct presence presences[PRESENCES_MAX];
	size_t presence_count;
	int64_t sms_ms[DAILY_BUDGET]; /* the last ones, in a ring */
	int64_t reported, reported_before_ms;
	unsigned sms_count;
	UT_hash_handle hh;
};

/* A vehicle has come back, and what has waited for it the longest is to leave. */
struct wait {
	struct loop_timer timer;
	char vehicle_id[16], id[40];
	int64_t since_ms;
	unsigned published;
};

struct interval {
	int64_t from_ms, to_ms;
};

static struct {
	struct seen *commands;
	struct promise *promises;
	struct history *histories;
	struct interval faults[FAULTS_MAX];
	size_t fault_count;
	unsigned fault_depth;
	int64_t slow_ms;
	unsigned events, published, received, repeated, executed, rejected, sms, final, timed_out, expired, canceled,
		overdue, returns;
} all;

void record_begin(int64_t slow_ms)
{
	all.slow_ms = slow_ms;
}

static struct seen *seen_of(const char *id)
{
	struct seen *s;

	HASH_FIND_STR(all.commands, id, s);
	if (s)
		return s;
	s = memory_new(sizeof(*s));
	snprintf(s->id, sizeof(s->id), "%s", id);
	HASH_ADD_STR(all.commands, id, s);
	return s;
}

static struct history *history_of(const char *vehicle_id)
{
	struct history *h;

	HASH_FIND_STR(all.histories, vehicle_id, h);
	if (h)
		return h;
	h = memory_new(sizeof(*h));
	snprintf(h->vehicle_id, sizeof(h->vehicle_id), "%s", vehicle_id);
	for (size_t i = 0; i < DAILY_BUDGET; i++)
		h->sms_ms[i] = -DAY_MS;
	HASH_ADD_STR(all.histories, vehicle_id, h);
	return h;
}

static PGresult *ask(const char *sql)
{
	return postgres_ask(sql, 0, NULL);
}

static PGresult *ask_of(const char *sql, const char *id)
{
	return postgres_ask(sql, 1, &id);
}

static bool is_among(const char *word, const char *words)
{
	char pattern[40];
	snprintf(pattern, sizeof(pattern), " %s ", word);
	return strstr(words, pattern) != NULL;
}

/* Faults. */

void record_fault(bool begins)
{
	if (begins && all.fault_depth++ == 0 && all.fault_count < FAULTS_MAX)
		all.faults[all.fault_count++] = (struct interval){ world_ms(), INT64_MAX };
	if (!begins && --all.fault_depth == 0)
		all.faults[all.fault_count - 1].to_ms = world_ms();
}

int64_t record_excused_ms(int64_t from_ms, int64_t to_ms)
{
	int64_t sum_ms = 0, until_ms = from_ms;

	for (size_t i = 0; i < all.fault_count; i++) {
		int64_t begin_ms = all.faults[i].from_ms, end_ms = all.faults[i].to_ms;
		end_ms = end_ms > INT64_MAX - RECOVERY_MS ? INT64_MAX : end_ms + RECOVERY_MS;
		if (begin_ms < until_ms)
			begin_ms = until_ms;
		if (end_ms > to_ms)
			end_ms = to_ms;
		if (end_ms <= begin_ms)
			continue;
		sum_ms += end_ms - begin_ms;
		until_ms = end_ms;
	}
	return sum_ms;
}

static int64_t ms_of(int64_t us)
{
	return (us - WORLD_BEGIN_US) / 1000;
}

/* The broker. */

/* S3, "published without a claim": by the time that a request reaches the broker, its claim is committed. */
static void check_claim(const char *id, int attempt)
{
	PGresult *rows = ask_of("select flight::text, attempts from commands where id = $1::uuid", id);

	if (PQntuples(rows) == 0)
		world_fail("claim", "%s is published and not in the database", id);
	else if (strcmp(PQgetvalue(rows, 0, 0), "none") == 0)
		world_fail("claim", "%s is published (attempt %d) without a claim", id, attempt);
	PQclear(rows);
}

static bool is_response(const char *topic)
{
	return strstr(topic, "/commands/response/") != NULL;
}

static void note_word(const char *payload, size_t len)
{
	json_auto_t *body = json_loadb(payload, len, 0, NULL);
	struct seen *s = seen_of(json_text_at(body, "request_id"));

	if (s->word_us == 0)
		s->word_us = world_us();
}

void record_published(const char *topic, const char *payload, size_t len, bool disproved, int64_t held_ms)
{
	char vehicle_id[16];
	int end = 0;

	if (is_response(topic))
		note_word(payload, len);
	if (sscanf(topic, "vehicles/%15[^/]/commands/request%n", vehicle_id, &end) != 1 || topic[end])
		return;
	json_auto_t *body = json_loadb(payload, len, 0, NULL);
	const char *id = json_text_at(body, "request_id");
	int attempt = (int)json_integer_value(json_object_get(body, "attempt"));
	struct seen *s = seen_of(id);

	world_note(
		"broker: %s is published to %s, attempt %d%s", id, vehicle_id, attempt, disproved ? ", to nobody" : "");
	check_claim(id, attempt);
	if (s->published++ == 0)
		s->first_published_ms = world_ms();
	if (disproved) {
		s->disproved++;
		news_disproved(vehicle_id, id);
	}
	if (s->held_ms < held_ms)
		s->held_ms = held_ms;
	all.published++;
}

void record_presence(const char *vehicle_id, bool is_there)
{
	struct history *h = history_of(vehicle_id);

	if (h->presence_count < PRESENCES_MAX)
		h->presences[h->presence_count++] = (struct presence){ is_there, world_ms() };
}

static bool was_there(const struct history *h, int64_t from_ms, int64_t to_ms);

/* What is published next to this vehicle, if its head is free. */
static PGresult *ask_next(const char *vehicle_id)
{
	char least[RFC3339_SIZE];

	rfc3339_write(world_us() + 1000 * (LEAVE_MS + 1000), least);
	return postgres_ask(
		"select c.id, c.status::text from commands c join vehicle_heads h using (vehicle_id) where "
		"c.vehicle_id = $1 and h.claim_id is null and c.status in ('accepted', 'waiting', 'sent') and "
		"(c.flight = 'none' or c.flight = 'out' and c.redelivery <> 'never') and c.expires_at > "
		"$2::timestamptz order by c.accepted_seq limit 1",
		2, (const char *const[]){ vehicle_id, least });
}

/* L2. */
static void on_waited(struct loop_timer *timer)
{
	struct wait *w = container_of(timer, struct wait, timer);
	int64_t now_ms = world_ms();

	if (seen_of(w->id)->published == w->published && record_excused_ms(w->since_ms, now_ms) == 0 &&
		news_is_known(w->vehicle_id) && was_there(history_of(w->vehicle_id), w->since_ms + 1, now_ms)) {
		PGresult *rows =
			ask_of("select from commands where id = $1::uuid and status in ('accepted', 'waiting')", w->id);
		if (PQntuples(rows) > 0)
			world_fail("L2", "%s is back since %d ms, and %s has not left", w->vehicle_id, LEAVE_MS, w->id);
		PQclear(rows);
	}
	free(w);
}

void record_return(const char *vehicle_id)
{
	if (world_ms() < RECOVERY_MS || record_excused_ms(world_ms() - 1, world_ms() + LEAVE_MS) > 0 ||
		!news_is_known(vehicle_id))
		return; /* nodes are at their beginning, something is wrong, or was lost */
	PGresult *rows = ask_next(vehicle_id);
	if (PQntuples(rows) > 0 && strcmp(PQgetvalue(rows, 0, 1), "sent") != 0) {
		struct wait *w = memory_new(sizeof(*w));
		snprintf(w->vehicle_id, sizeof(w->vehicle_id), "%s", vehicle_id);
		snprintf(w->id, sizeof(w->id), "%s", PQgetvalue(rows, 0, 0));
		w->since_ms = world_ms();
		w->published = seen_of(w->id)->published;
		loop_timer_init(world_loop(), &w->timer, on_waited);
		loop_timer_start(&w->timer, LEAVE_MS);
		all.returns++;
	}
	PQclear(rows);
}

static int64_t part_of(const json_t *result)
{
	int64_t part = json_integer_value(json_object_get(result, "part"));
	return part >= 1 && part <= PARTS_MAX ? part : 0;
}

void record_acknowledged(const char *topic, const char *payload, size_t len)
{
	if (!is_response(topic))
		return;
	json_auto_t *body = json_loadb(payload, len, 0, NULL);
	struct seen *s = seen_of(json_text_at(body, "request_id"));
	int64_t part = part_of(json_object_get(body, "result"));
	if (part > 0)
		s->acknowledged_us[part] = world_us();
	if (s->heard_us == 0)
		s->heard_us = world_us();
}

/* Vehicles. */

void record_received(const char *vehicle_id, const char *id, int64_t expires_us, bool is_qos0)
{
	struct seen *s = seen_of(id);

	world_note("%s: receives %s", vehicle_id, id);
	s->received++;
	s->received_qos0 += is_qos0;
	all.received++;
	if (s->received > 1)
		all.repeated++;
	if (world_us() > expires_us + INT64_C(1000) * (TRAVEL_MS + 1000 + s->held_ms))
		world_fail("S4", "%s reaches %s %" PRId64 " ms after its end", id, vehicle_id,
			(world_us() - expires_us) / 1000);
}

void record_executed(const char *vehicle_id, const char *id)
{
	world_note("%s: does %s", vehicle_id, id);
	seen_of(id)->executed++;
	all.executed++;
}

/* Durable before told. */
void record_accepted(const char *vehicle_id, const char *id)
{
	world_note("%s: its answer to %s is accepted", vehicle_id, id);
	PGresult *rows = ask_of("select status::text from commands where id = $1::uuid", id);
	if (PQntuples(rows) != 1 || !is_among(PQgetvalue(rows, 0, 0), " succeeded failed rejected "))
		world_fail("S12", "%s was told that its answer to %s is accepted, and it is %s", vehicle_id, id,
			PQntuples(rows) ? PQgetvalue(rows, 0, 0) : "not there");
	PQclear(rows);
}

void record_rejected(const char *vehicle_id, const char *id, const char *code)
{
	world_note("%s: its answer to %s is rejected, %s", vehicle_id, id, code);
	all.rejected++;
	if (strcmp(code, "TERMINAL_STATE") != 0 && strcmp(code, "INVALID_TRANSITION") != 0)
		world_fail("answer", "%s answered %s and was told %s", vehicle_id, id, code);
}

void record_report(const char *vehicle_id, int64_t version)
{
	struct history *h = history_of(vehicle_id);
	h->reported = version;
	h->reported_before_ms = world_ms();
}

/* S14. One in the interval, within the budget. */
void record_sms(const char *vehicle_id, bool is_taken)
{
	struct history *h = history_of(vehicle_id);
	char now[RFC3339_SIZE];

	world_note("%s: an SMS is submitted%s", vehicle_id, is_taken ? "" : " and refused");
	all.sms++;
	int64_t since_ms = world_ms() - h->sms_ms[(h->sms_count + DAILY_BUDGET - 1) % DAILY_BUDGET];
	if (since_ms < MIN_INTERVAL_MS - 200)
		world_fail("S14", "an SMS to %s only %" PRId64 " ms after the last", vehicle_id, since_ms);
	int64_t *oldest_ms = &h->sms_ms[h->sms_count++ % DAILY_BUDGET];
	if (world_ms() - *oldest_ms < DAY_MS)
		world_fail("S14", "more than %d SMS to %s in a day", DAILY_BUDGET, vehicle_id);
	*oldest_ms = world_ms();
	rfc3339_write(world_us(), now);
	PGresult *rows = postgres_ask("select from commands where vehicle_id = $1 and wake and expires_at > "
				      "$2::timestamptz - interval '1 second' limit 1",
		2, (const char *const[]){ vehicle_id, now });
	if (PQntuples(rows) == 0)
		world_fail("S14", "an SMS to %s, and nothing waits that has not expired", vehicle_id);
	PQclear(rows);
}

/* Apps. */

void record_promise(const char *key, const char *vehicle_id, const char *id)
{
	struct promise *p;
	struct seen *s = seen_of(id);

	world_note("app: %s is promised for %s", id, vehicle_id);
	snprintf(s->vehicle_id, sizeof(s->vehicle_id), "%s", vehicle_id);
	s->is_promised = true;
	HASH_FIND_STR(all.promises, key, p);
	if (!p) {
		p = memory_new(sizeof(*p));
		snprintf(p->key, sizeof(p->key), "%s", key);
		snprintf(p->id, sizeof(p->id), "%s", id);
		HASH_ADD_STR(all.promises, key, p);
	}
	if (strcmp(p->id, id) != 0)
		world_fail("S2", "the key %s gave %s and %s", key, p->id, id);
	PGresult *rows = ask_of("select vehicle_id from commands where id = $1::uuid", id);
	if (PQntuples(rows) != 1)
		world_fail("S1", "%s was promised and is not in the database", id);
	PQclear(rows);
}

void record_canceled(const char *id)
{
	world_note("app: %s is canceled", id);
	seen_of(id)->is_canceled = true;
}

/* S11, and that all see the same. */
void record_event(const char *app, const char *vehicle_id, int64_t before, int64_t seq, const char *type,
	const char *data, size_t len)
{
	struct history *h = history_of(vehicle_id);
	char *text = NULL;

	all.events++;
	world_note("%s: %s %" PRId64 " %s", app, vehicle_id, seq, type);
	if (before >= 0 && seq != before + 1)
		world_fail("S11", "%s sees %" PRId64 " of %s after %" PRId64, app, seq, vehicle_id, before);
	if (seq >= EVENTS_MAX)
		return;
	if (!h->events)
		h->events = memory_new(EVENTS_MAX * sizeof(char *));
	if (asprintf(&text, "%s %.*s", type, (int)len, data) < 0)
		abort();
	/* what is another's alone is skipped */
	if (h->events[seq] && strncmp(h->events[seq], "skipped", 7) == 0) {
		free(h->events[seq]);
		h->events[seq] = NULL;
	}
	if (h->events[seq] && strcmp(h->events[seq], text) != 0 && strcmp(type, "skipped") != 0)
		world_fail("S11", "%" PRId64 " of %s is told in two ways: %s, and %s", seq, vehicle_id, h->events[seq],
			text);
	if (h->events[seq])
		free(text);
	else
		h->events[seq] = text;
}

/* L3. */
void record_told(const char *app, const char *vehicle_id, int64_t seq, int64_t at_us)
{
	int64_t late_ms = (world_us() - at_us) / 1000;

	if (late_ms > TOLD_MS + record_excused_ms(ms_of(at_us), world_ms()))
		world_fail("L3", "%s hears %" PRId64 " of %s %" PRId64 " ms late", app, seq, vehicle_id, late_ms);
}

/* In the end. */

static int64_t number_at(const PGresult *rows, int row, int column)
{
	return strtoll(PQgetvalue(rows, row, column), NULL, 10);
}

static bool is_final(const char *status)
{
	return is_among(status, " succeeded failed rejected expired canceled ");
}

/* contract: what each status may become. */
static const char *next_of(const char *status)
{
	static const char *const rows[][2] = {
		{ "", " accepted " },
		{ "accepted", " sent waiting expired canceled timed_out " },
		{ "waiting", " sent expired canceled timed_out " },
		{ "sent", " in_progress succeeded failed rejected timed_out waiting " },
		{ "in_progress", " in_progress succeeded failed rejected timed_out " },
		{ "timed_out", " succeeded failed rejected " },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (strcmp(rows[i][0], status) == 0)
			return rows[i][1];
	return " ";
}

/* S6, and L1: neither early nor late. One that is out and was claimed again, which is not told, has its time anew from then: at the latest
 * from when it could be published no more. */
static void judge_step(
	struct seen *s, const char *status, int64_t at_us, int64_t expires_us, int64_t timeout_s, int64_t claims)
{
	int64_t deadline_us = 0, latest_us = 0;
	bool is_out = is_among(s->status, " sent in_progress ");

	if (!is_among(status, next_of(s->status)))
		world_fail("S6", "%s went from %s to %s", s->id, s->status, status);
	if (is_among(status, " expired timed_out ")) {
		deadline_us = is_out ? s->at_us + timeout_s * 1000000 : expires_us;
		latest_us =
			is_out && claims > 1 && expires_us > s->at_us ? expires_us + timeout_s * 1000000 : deadline_us;
		int64_t late_ms = (at_us - latest_us) / 1000;
		if (at_us < deadline_us)
			world_fail("L1", "%s is %s %" PRId64 " ms early", s->id, status, (deadline_us - at_us) / 1000);
		if (late_ms > PROMPT_MS + record_excused_ms(ms_of(latest_us), ms_of(at_us)))
			world_fail("L1", "%s is %s %" PRId64 " ms late", s->id, status, late_ms);
	}
	snprintf(s->status, sizeof(s->status), "%s", status);
	s->at_us = at_us;
}

/* What a feed has acknowledged is over: whoever still has it in hand lost the feed before. */
static void judge_part(const struct seen *s, const char *text, int64_t at_us)
{
	json_auto_t *result = json_loads(text, 0, NULL);
	int64_t part = part_of(result), over_us = s->acknowledged_us[part];

	if (over_us > 0 && at_us >= over_us + 1000) /* the world's time goes by milliseconds */
		world_fail("fence", "part %" PRId64 " of %s is told %" PRId64 " ms after it was acknowledged", part,
			s->id, (at_us - over_us) / 1000);
}

static bool was_there(const struct history *h, int64_t from_ms, int64_t to_ms)
{
	bool is_there = false;

	for (size_t i = 0; i < h->presence_count && h->presences[i].at_ms <= to_ms; i++) {
		if (h->presences[i].at_ms >= from_ms && !(is_there && h->presences[i].is_there))
			return false;
		is_there = h->presences[i].is_there;
	}
	return is_there;
}

/* S10: nobody is said to be away who was there all the time. */
static void judge_connectivity(const struct history *h, const char *state, const char *reason, int64_t at_us)
{
	int64_t at_ms = ms_of(at_us), from_ms = at_ms - VERIFY_MS - all.slow_ms;

	if (strcmp(state, "disconnected") == 0 && record_excused_ms(from_ms, at_ms) == 0 &&
		was_there(h, from_ms, at_ms) && !news_was_unknown(h->vehicle_id, from_ms, at_ms))
		world_fail("S10", "%s is said to be away at %.3f s (%s), and was there", h->vehicle_id,
			(double)at_ms / 1000, reason);
}

static void judge_events(void)
{
	PGresult *rows =
		ask("select e.vehicle_id, e.seq, e.type, e.data::text, (extract(epoch from e.at) * "
		    "1000000)::bigint, e.data->>'id', e.data->>'status',"
		    " e.data->>'state', e.data->>'reason', (extract(epoch from c.expires_at) * "
		    "1000000)::bigint, c.timeout_seconds, e.type = 'command.updated', e.data->>'result',"
		    " (select count(*) from jsonb_array_elements(c.timeline) step where step->>'step' = 'claimed')"
		    " from events e left join commands c on e.type = 'command.updated' and "
		    "c.vehicle_id = e.vehicle_id and c.id = (e.data->>'id')::uuid"
		    " order by e.vehicle_id, e.seq");
	const char *vehicle = "";
	int64_t seq = 0, at_us = 0;

	for (int row = 0; row < PQntuples(rows); row++) {
		struct history *h = history_of(PQgetvalue(rows, row, 0));
		if (strcmp(vehicle, PQgetvalue(rows, row, 0)) != 0)
			seq = at_us = 0;
		vehicle = PQgetvalue(rows, row, 0);
		if (number_at(rows, row, 1) != ++seq)
			world_fail("S11", "the log of %s has %" PRId64 " where %" PRId64 " should be", vehicle,
				number_at(rows, row, 1), seq);
		if (number_at(rows, row, 4) < at_us)
			world_fail("S11", "the log of %s runs back in time at %" PRId64, vehicle, seq);
		at_us = number_at(rows, row, 4);
		if (h->events && seq < EVENTS_MAX && h->events[seq]) {
			char *text = NULL;
			if (asprintf(&text, "%s %s", PQgetvalue(rows, row, 2), PQgetvalue(rows, row, 3)) < 0)
				abort();
			if (strcmp(text, h->events[seq]) != 0 && strncmp(h->events[seq], "skipped", 7) != 0)
				world_fail("S12", "%" PRId64 " of %s is %s, and an app saw %s", seq, vehicle, text,
					h->events[seq]);
			free(text);
		}
		if (PQgetvalue(rows, row, 11)[0] == 't') {
			struct seen *s = seen_of(PQgetvalue(rows, row, 5));
			if (!s->status[0])
				s->accepted_seq = seq;
			judge_step(s, PQgetvalue(rows, row, 6), at_us, number_at(rows, row, 9),
				number_at(rows, row, 10), number_at(rows, row, 13));
			if (strcmp(s->status, "in_progress") == 0)
				judge_part(s, PQgetvalue(rows, row, 12), at_us);
		}
		if (strcmp(PQgetvalue(rows, row, 2), "connectivity.changed") == 0)
			judge_connectivity(h, PQgetvalue(rows, row, 7), PQgetvalue(rows, row, 8), at_us);
	}
	PQclear(rows);
}

/* S5: a result that came after the command's expiry is flagged, if the vehicle had said nothing before it. What was on its way from the
 * broker into the database at that moment may be either. */
static void judge_overdue(const struct seen *s, bool is_flagged, int64_t expires_us, bool was_timed_out)
{
	bool is_result = is_among(s->status, " succeeded failed ");
	bool was_in_time = s->heard_us > 0 && s->heard_us < expires_us - CLOCK_US && !was_timed_out;

	all.overdue += is_flagged;
	if (is_result && s->word_us > expires_us + CLOCK_US && !is_flagged)
		world_fail("S5", "%s was answered first %" PRId64 " ms after its end, and is not flagged", s->id,
			(s->word_us - expires_us) / 1000);
	if (is_flagged && (!is_result || was_in_time))
		world_fail("S5", "%s is flagged as overdue, and was answered %" PRId64 " ms before its end", s->id,
			(expires_us - s->heard_us) / 1000);
}

/* It is counted by who told the vehicle: a node that dies before has not. */
static void judge_count(void)
{
	int64_t counted = metric_value(METRIC_ANSWERS_AFTER_EXPIRY);

	if (counted > all.overdue || (counted < all.overdue && all.fault_count == 0))
		world_fail(
			"S5", "%u results are flagged as overdue, and %" PRId64 " are counted", all.overdue, counted);
}

static void judge_command(struct seen *s, const PGresult *rows, int row)
{
	const char *status = PQgetvalue(rows, row, 2), *redelivery = PQgetvalue(rows, row, 3);
	int64_t attempts = number_at(rows, row, 4);
	unsigned left = s->published - s->disproved;

	if (strcmp(s->status, status) != 0)
		world_fail("S12", "%s is %s, and its last event says %s", s->id, status, s->status);
	if (!is_final(status) && strcmp(status, "timed_out") != 0)
		world_fail("L1", "%s is still %s", s->id, status);
	if (is_among(status, " expired canceled ") && (s->received > 0 || left > 0))
		world_fail("S4", "%s is %s, was published %u times and received %u", s->id, status, left, s->received);
	if (strcmp(status, "succeeded") == 0 && s->received == 0)
		world_fail("S9", "%s is succeeded and was never received", s->id);
	if (s->is_canceled && strcmp(status, "canceled") != 0)
		world_fail("S6", "%s was canceled and is %s", s->id, status);
	if (strcmp(redelivery, "never") == 0 && (left > 1 || s->received_qos0 > 1))
		world_fail("S3", "%s may not be repeated, was published %u times and received %u", s->id, left,
			s->received);
	if ((int64_t)left > attempts)
		world_fail("claim", "%s was published %u times in %" PRId64 " attempts", s->id, left, attempts);
	judge_overdue(
		s, PQgetvalue(rows, row, 5)[0] == 't', number_at(rows, row, 6), PQgetvalue(rows, row, 7)[0] == 't');
	all.final += is_final(status);
	all.timed_out += strcmp(status, "timed_out") == 0;
	all.expired += strcmp(status, "expired") == 0;
	all.canceled += strcmp(status, "canceled") == 0;
}

/* Its time was up by then. So the next one went out, while a silent line may still have held what was published of it. */
static bool had_run_out(const struct seen *s, int64_t by_ms)
{
	char by[RFC3339_SIZE];

	rfc3339_write(WORLD_BEGIN_US + by_ms * 1000, by);
	PGresult *rows =
		postgres_ask("select from commands c, jsonb_array_elements(c.timeline) t where c.id = $1::uuid and "
			     "t ->> 'step' = 'timer' and (t ->> 'time')::timestamptz <= $2::timestamptz",
			2, (const char *const[]){ s->id, by });
	bool yes = PQntuples(rows) > 0;
	PQclear(rows);
	return yes;
}

/* What was accepted first was published first. */
static void judge_order(const struct seen *s, const struct seen **last)
{
	if (s->published == 0)
		return;
	if (*last && strcmp((*last)->vehicle_id, s->vehicle_id) == 0 &&
		s->first_published_ms < (*last)->first_published_ms && !had_run_out(*last, s->first_published_ms))
		world_fail("order", "%s of %s was published before %s, and accepted after it", s->id, s->vehicle_id,
			(*last)->id);
	*last = s;
}

static void judge_commands(void)
{
	PGresult *rows = ask("select id, vehicle_id, status::text, redelivery, attempts, timeline @> "
			     "'[{\"step\": \"answer\", \"detail\": {\"after_expiry\": true}}]', (extract(epoch from "
			     "expires_at) * 1000000)::bigint, late from commands order by vehicle_id, accepted_seq");
	const struct seen *last = NULL, *s, *next;

	for (int row = 0; row < PQntuples(rows); row++) {
		struct seen *one = seen_of(PQgetvalue(rows, row, 0));
		snprintf(one->vehicle_id, sizeof(one->vehicle_id), "%s", PQgetvalue(rows, row, 1));
		judge_command(one, rows, row);
		judge_order(one, &last);
	}
	PQclear(rows);
	for (s = all.commands; s; s = next) {
		next = s->hh.next;
		if (!s->status[0])
			world_fail("S1", "%s was %s and is not in the log", s->id,
				s->is_promised ? "promised" : "published");
	}
}

/* Asked of the database at any time: a row is a fault. */
static const struct {
	const char *rule, *sql;
	bool in_the_end;
} always[] = {
	/* keys are kept for a day; a lease is of now */
	{ "S2",
		"select c.id from commands c where not exists (select from idempotency k where k.command_id = c.id)"
		" and c.created_at > (select max(expires_at) from leases) - interval '23 hours'",
		false },
	{ "claim",
		"select c.id from commands c join vehicle_heads h using (vehicle_id) where c.flight in ('claimed', "
		"'claimed_out')"
		" and h.claim_id is distinct from c.id",
		false },
	{ "claim",
		"select h.claim_id from vehicle_heads h where h.claim_id is not null and not exists (select from "
		"commands c"
		" where c.vehicle_id = h.vehicle_id and c.id = h.claim_id and c.flight in ('claimed', 'claimed_out'))",
		false },
	{ "S11",
		"select h.vehicle_id from vehicle_heads h where h.seq <> (select count(*) from events e where "
		"e.vehicle_id = h.vehicle_id)",
		false },
	{ "claim", "select claim_id from vehicle_heads where claim_id is not null", true },
	{ "L4", "select name from leases where name like 'feed/%' and (holder is null or not subscribed)", true },
	{ "L2", "select vehicle_id from vehicle_heads where not reachable", true },
	{ "S14", "select vehicle_id from absences", true },
};

void record_look(bool in_the_end)
{
	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++) {
		if (always[i].in_the_end && !in_the_end)
			continue;
		PGresult *rows = ask(always[i].sql);
		if (PQntuples(rows) > 0)
			world_fail(always[i].rule, "%d rows, the first %s: %s", PQntuples(rows), PQgetvalue(rows, 0, 0),
				always[i].sql);
		PQclear(rows);
	}
}

static void judge_reports(void)
{
	PGresult *rows = ask("select vehicle_id, coalesce(reported_version, 0) from vehicles");

	for (int row = 0; row < PQntuples(rows); row++) {
		const struct history *h = history_of(PQgetvalue(rows, row, 0));
		if (world_ms() - h->reported_before_ms > RECOVERY_MS && number_at(rows, row, 1) != h->reported)
			world_fail("L3", "%s has reported version %" PRId64 ", and %s is known", h->vehicle_id,
				h->reported, PQgetvalue(rows, row, 1));
	}
	PQclear(rows);
}

void record_judge(void)
{
	judge_events();
	judge_commands();
	judge_count();
	judge_reports();
	record_look(true);
}

int64_t record_head(const char *vehicle_id)
{
	PGresult *rows = ask_of("select seq from vehicle_heads where vehicle_id = $1", vehicle_id);
	int64_t seq = PQntuples(rows) ? number_at(rows, 0, 0) : 0;
	PQclear(rows);
	return seq;
}

void record_write(FILE *out)
{
	fprintf(out,
		"%u commands (%u timed out, %u expired, %u canceled, %u overdue), %u publishes, %u received (%u "
		"again), %u done, "
		"%u events, %u SMS, %u returns, %zu faults",
		HASH_COUNT(all.commands), all.timed_out, all.expired, all.canceled, all.overdue, all.published,
		all.received, all.repeated, all.executed, all.events, all.sms, all.returns, all.fault_count);
}
