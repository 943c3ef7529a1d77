// truth.mjs - what must hold of a whole installation when a storm is over, beyond what oracle.mjs asks of commands: from the records of
// apps, vehicles and the SMS provider, held against the database.
import assert from 'node:assert/strict';
import { assertTransitions } from './oracle.mjs';

const rows = async (database, statement) => JSON.parse((await database.sql(`select coalesce(json_agg(r), '[]') from (${statement}) r`)) || '[]');

// Every event, as it stands: vehicle -> [{ seq, at, type, data }], in order.
export async function readLogs(database) {
	const logs = new Map();
	for (const { vehicle_id, ...event } of await rows(database, 'select vehicle_id, seq, extract(epoch from at) * 1000 as at, type, data from events order by vehicle_id, seq')) {
		if (!logs.has(vehicle_id)) logs.set(vehicle_id, []);
		logs.get(vehicle_id).push(event);
	}
	return logs;
}

// S6: each log counts 1, 2, 3 …, and every command goes by the table, whoever changed it.
export function assertLogs(logs) {
	for (const [id, events] of logs) {
		events.forEach(({ seq }, i) => assert.equal(seq, i + 1, `${id} has ${seq} after ${i}`));
		assertTransitions(events);
	}
}

// S12: what an app saw is what is on record, to the last member; what it may not see it was told of as skipped.
export function assertSeenIsLogged(app, logs) {
	let compared = 0;
	for (const [id, { events }] of [...app.seen, ...app.former])
		for (const { seq, type, data } of events) {
			if (type === 'skipped') continue;
			const logged = logs.get(id)[seq - 1];
			assert.equal(type, logged.type, `${id} ${seq}`);
			assert.deepEqual(data, logged.data, `${id} ${seq}`);
			compared++;
		}
	return compared;
}

// S4: no publish was made after the expiry, by the timelines; how many were made.
export async function assertSentInTime(database) {
	const published = await rows(database, `select c.id, s->>'time' as time, c.expires_at, (s->>'time')::timestamptz > c.expires_at as late
		from commands c cross join lateral jsonb_array_elements(c.timeline) s where s->>'step' = 'published'`);
	assert.deepEqual(published.filter(({ late }) => late), []);
	return published.length;
}

// S5: nothing was done later than two seconds after its expiry (the reference vehicle alone writes down when it does something).
export async function assertDoneInTime(database, herd) {
	const ends = new Map((await rows(database, 'select id, extract(epoch from expires_at) * 1000 as at from commands')).map(({ id, at }) => [id, at]));
	const done = herd.journal().filter(({ what }) => what === 'executed');
	for (const { request_id, time } of done) assert.ok(Date.parse(time) <= ends.get(request_id) + 2000, `${request_id} was executed ${Date.parse(time) - ends.get(request_id)} ms after its expiry`);
	return done.length;
}

// S7, S8: from when on an app's right to a vehicle was gone it changed nothing there, and no event of two seconds later reached it.
export async function assertRevoked(database, revoked) {
	for (const { app, id, at } of revoked) {
		const late = app.former.get(id).events.filter(({ time }) => Date.parse(time) > at + 2000);
		assert.deepEqual(late, [], `${app.subject} saw of ${id} what happened later than two seconds after its grant had ended`);
		const sent = await database.sql(`select count(*) from commands where issued_by = '${app.subject}' and vehicle_id = '${id}' and created_at > to_timestamp(${at / 1000})`);
		assert.equal(sent, '0', `${app.subject} sent to ${id} after its grant had ended`);
	}
}

// S9: what succeeded says who did it, and nobody was made to fail; the reference vehicle alone refuses, what came too late for it.
export async function assertAuthentic(database, cars, herd) {
	const ids = cars.map(({ id }) => `'${id}'`).join();
	assert.equal(await database.sql(`select count(*) from commands where vehicle_id in (${ids}) and status = 'succeeded' and result->>'by' is distinct from vehicle_id`), '0');
	const stale = new Set(herd.journal().filter(({ what }) => what === 'expired').map(({ request_id }) => request_id));
	const refused = await rows(database, `select id, status from commands where status in ('failed', 'rejected')`);
	for (const { id, status } of refused) assert.ok(status === 'rejected' && stale.has(id), `${id} is ${status}, which its vehicle did not say`);
}

// S13: nobody received what belongs to another.
export function assertOwnTopics(cars) {
	for (const { id, messages } of cars) for (const { topic } of messages.items) assert.ok(topic.startsWith(`vehicles/${id}/`), `${id} received ${topic}`);
}

// S14: no SMS twice, and in the store a slot of its own for each, `apart` seconds after the one before; none when nothing waited any more.
export async function assertBoundedWakeups(database, sms, apart) {
	const taken = sms.requests.items.filter(({ taken }) => taken).map(({ body }) => JSON.parse(body).ref);
	assert.equal(new Set(taken).size, taken.length, 'an SMS was handed over twice');
	const slots = await rows(database, `select w.vehicle_id, w.id, extract(epoch from w.created_at) as at, c.ends from wakeups w cross join lateral
		(select extract(epoch from max(c.expires_at)) as ends from commands c where c.vehicle_id = w.vehicle_id and c.created_at < w.created_at) c
		where w.provider is not null order by w.vehicle_id, w.created_at`);
	slots.forEach(({ vehicle_id, at, ends }, i) => {
		const before = slots[i - 1];
		if (before?.vehicle_id === vehicle_id) assert.ok(at - before.at > apart - 0.1, `${vehicle_id} has slots ${at - before.at} s apart`);
		assert.ok(at <= ends, `${vehicle_id} was woken when nothing waited`);
	});
	for (const ref of taken) assert.ok(slots.some(({ id }) => id === ref), `the SMS ${ref} has no slot`);
	return taken.length;
}

// L1: everything ends by its time and two seconds, or two after the last that hindered it was mended; of a node, as long as others need to
// take its work over. What was sent and waits again has until it
// expires, and what was published again may have been at that moment. Nothing expires early, whatever a node's clock says. How many ended so, and
// how many of them nothing hindered.
export async function assertEndsInTime(database, broken, lag) {
	const hindering = broken.map(({ name, from, to }) => ({ from, to: to + (name.startsWith('a node') ? 10_000 : 2000) }));
	const ended = await rows(database, `select vehicle_id, id, status, extract(epoch from at) * 1000 as at, extract(epoch from case
			when status = 'expired' or before = 'waiting' then expires_at
			when attempts > 1 then expires_at + timeout
			else sent_at + timeout end) * 1000 as due
		from (select e.vehicle_id, e.at, d.*, make_interval(secs => d.timeout_seconds) as timeout, lag(d.status) over (partition by e.vehicle_id, d.id order by e.seq) as before
			from events e cross join lateral json_to_record(e.data) as d(id text, status text, attempts integer, timeout_seconds integer, sent_at timestamptz, expires_at timestamptz)
			where e.type = 'command.updated') e
		where status in ('expired', 'timed_out')`);
	let unhindered = 0;
	for (const { vehicle_id, id, status, at, due } of ended) {
		if (due === null) continue; // claimed by who died: it is told when that is known
		if (status === 'expired') assert.ok(at >= due - 100, `${id} of ${vehicle_id} expired ${Math.round(due - at)} ms early`);
		const excuses = hindering.filter(({ from, to }) => from <= at && to >= due);
		unhindered += excuses.length === 0;
		const until = Math.max(due, ...excuses.map(({ to }) => to)) + 2000 + lag;
		assert.ok(at <= until, `${id} of ${vehicle_id} was ${status} ${Math.round(at - due)} ms after its time`);
	}
	return { ended: ended.length, unhindered };
}

// L5: `samples` are { node, at, answered, is } of /readyz. Whoever has been without its database for two seconds says so.
export function assertTruthful(samples, broken, lag) {
	const away = broken.filter(({ name }) => name === 'the database away' || name === 'the database killed');
	let judged = 0;
	for (const { node, at, answered, is } of samples) {
		if (!away.some(({ from, mending }) => at > from + 2000 + lag && answered < mending)) continue;
		judged++;
		assert.ok(!is, `${node} said that it was ready while its database had been away for more than two seconds`);
	}
	return judged;
}
