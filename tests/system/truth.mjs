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

// S7, S8: behind the end of an app's right to a vehicle, in its log, the app did nothing there and saw nothing. What it had not sent by then was
// taken back, unless it was claimed: that may leave, or is taken back when it returns. And two seconds later nothing reached the app, or left
// for it, that was before; how much was taken back.
//
// What holds that up longer is the neighbours' trouble, and that of the node by which it came: one that stands still, or hears nothing, cannot
// know, and tells when it goes on what it had to tell before. It has two seconds then, too. An app that does not read finds later what came in time.
export async function assertRevoked(database, logs, revoked, carried, broken, lag) {
	const claims = await rows(database, `select c.id, extract(epoch from (s->>'time')::timestamptz) * 1000 as at
		from commands c cross join lateral jsonb_array_elements(c.timeline) s where s->>'step' = 'claimed'`);
	const untilBy = (at, ...parts) => latest(at, broken.filter(({ name, part }) => shared.test(name) || (parts.includes(part) && !isClock(name))), lag);
	let takenBack = 0;
	for (const { app, id, at } of revoked) {
		const log = logs.get(id);
		const end = log.find(({ type, data }) => type === 'access.changed' && data.subject === app.subject && data.role === null);
		assert.ok(end?.at <= at + 1, `that the grant of ${app.subject} on ${id} had ended was told, and is not on record`);
		const { events, arrived, from } = app.former.get(id);
		events.forEach(({ seq }, i) => {
			assert.ok(seq <= end.seq, `${app.subject} saw ${seq} of ${id}, and its grant had ended with ${end.seq}`);
			const most = untilBy(end.at, from[i], app.subject);
			assert.ok(arrived[i] <= most, `${seq} of ${id} reached ${app.subject} by ${from[i]} ${Math.round(arrived[i] - end.at)} ms after its grant had ended, where ${Math.round(most - end.at)} ms are explained`);
		});

		const own = log.filter(({ type, data }) => type === 'command.updated' && data.issued_by === app.subject);
		const then = new Map(own.filter(({ seq }) => seq < end.seq).map(({ data }) => [data.id, data]));
		const last = new Map(own.map(({ data }) => [data.id, data]));
		for (const command of last.keys()) assert.ok(then.has(command), `${app.subject} sent ${command} to ${id} after its grant had ended`);
		for (const [command, { status }] of then) {
			takenBack += last.get(command).reason?.code === 'ACCESS_REVOKED';
			if (status !== 'accepted' && status !== 'waiting') continue;
			assert.ok(claims.some((claim) => claim.id === command && claim.at < end.at), `${command} of ${app.subject} to ${id} had not been sent, and was not taken back: ${last.get(command).status}`);
			const [first] = carried.requests.filter(({ request_id }) => request_id === command);
			if (first) assert.ok(first.at <= untilBy(end.at, first.node), `${command} of ${app.subject} left for ${id} ${Math.round(first.at - end.at)} ms after the grant had ended`);
		}
	}
	return takenBack;
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

// S14: no SMS twice, and in the store a slot of its own for each, `apart` seconds after the one before; none when nothing waited any more. By
// what the provider took, too: a slot is good for five seconds (STALE_MS in notifier/wake/slot.c), and for the ten that a request may
// take, so the provider may see two closer together by so much, or one so long after its slot.
export async function assertBoundedWakeups(database, sms, apart, lag = 0) {
	const most = 5 + 10 + lag / 1000;
	const taken = sms.requests.items.filter(({ taken }) => taken).map(({ body, url, at }) => ({ ...JSON.parse(body), url, at: at / 1000 }));
	assert.equal(new Set(taken.map(({ ref }) => ref)).size, taken.length, 'an SMS was handed over twice');
	const slots = await rows(database, `select w.vehicle_id, w.id, extract(epoch from w.created_at) as at, c.ends from wakeups w cross join lateral
		(select extract(epoch from max(c.expires_at)) as ends from commands c where c.vehicle_id = w.vehicle_id and c.created_at < w.created_at) c
		where w.provider is not null order by w.vehicle_id, w.created_at`);
	slots.forEach(({ vehicle_id, at, ends }, i) => {
		const before = slots[i - 1];
		if (before?.vehicle_id === vehicle_id) assert.ok(at - before.at > apart - 0.1, `${vehicle_id} has slots ${at - before.at} s apart`);
		assert.ok(at <= ends, `${vehicle_id} was woken when nothing waited`);
	});
	const before = new Map(); // whom it is to -> when it was woken last
	for (const { ref, to, url, at } of taken) {
		const slot = slots.find(({ id }) => id === ref);
		assert.ok(slot, `the SMS ${ref} has no slot`);
		assert.ok(at > slot.at - 0.1 && at < slot.at + most, `the SMS ${ref} came ${at - slot.at} s after its slot was spent`);
		assert.ok(at < slot.ends + lag / 1000, `the SMS ${ref} came ${at - slot.ends} s after the last that waited had expired`);
		const whose = to ?? url;
		assert.ok(!(at - before.get(whose) < apart - most), `${whose} had two SMS within ${at - before.get(whose)} s`);
		before.set(whose, at);
	}
	return taken.length;
}

// ---- what has a time: `broken` is what broke (nemeses.mjs), `lag` by how much this process and its machine were late

export const shared = /^the (broker|database|disk)/; // by every node
const isClock = (name) => name.includes('clock'); // what is timed goes by none of a node's
export const recovery = 10_000; // in which others have what a node had, and a neighbour that is back is made use of

// When what is due has to have come, at the latest: in two seconds, or in two after the last that hindered it. That is what began before it
// had to come, with what there was to hinder it by then.
function latest(due, hindrances, lag) {
	let until = due + 2000 + lag;
	for (const { from, to } of [...hindrances].sort((a, b) => a.from - b.from)) if (from <= until) until = Math.max(until, to + 2000 + lag);
	return until;
}

// L1: everything ends by its time. Any node ends what none has in hand; a node hinders what it had claimed and not published, from when it
// breaks until others have taken that over, and once more when it comes back. One that stands still amid a transaction, or is not heard, may
// hold whatever it has locked until then (frozen_end.sql). What was sent and waits again has until it expires, and what was published again
// may have been at that moment. Nothing expires early, whatever a node's clock says. How many ended so, and how many of them nothing hindered.
export async function assertEndsInTime(database, broken, lag) {
	const nodes = broken.filter(({ name }) => name.startsWith('a node') && !isClock(name));
	const locking = nodes.filter(({ name }) => /frozen|the database does not hear/.test(name)).map(({ from, to }) => ({ from, to: Math.min(to, from + recovery) }));
	const byAny = [...broken.filter(({ name }) => shared.test(name)), ...locking];
	const byClaim = [...byAny, ...nodes.flatMap(({ from, to }) => [{ from, to: from + recovery }, { from: to, to }])];
	const ended = await rows(database, `select vehicle_id, id, status, extract(epoch from at) * 1000 as at, extract(epoch from case
			when status = 'expired' or before = 'waiting' then expires_at
			when attempts > 1 then expires_at + timeout
			else sent_at + timeout end) * 1000 as due,
			(select count(*) filter (where s->>'step' = 'claimed') > count(*) filter (where s->>'step' = 'published')
			 from commands c cross join lateral jsonb_array_elements(c.timeline) s where c.vehicle_id = e.vehicle_id and c.id = e.id::uuid) as in_hand
		from (select e.vehicle_id, e.at, d.*, make_interval(secs => d.timeout_seconds) as timeout, lag(d.status) over (partition by e.vehicle_id, d.id order by e.seq) as before
			from events e cross join lateral json_to_record(e.data) as d(id text, status text, attempts integer, timeout_seconds integer, sent_at timestamptz, expires_at timestamptz)
			where e.type = 'command.updated') e
		where status in ('expired', 'timed_out')`);
	let unhindered = 0;
	for (const { vehicle_id, id, status, at, due, in_hand } of ended) {
		if (due === null) continue; // claimed by who died: it is told when that is known
		if (status === 'expired') assert.ok(at >= due - 100, `${id} of ${vehicle_id} expired ${Math.round(due - at)} ms early`);
		const until = latest(due, in_hand ? byClaim : byAny, lag);
		unhindered += until === due + 2000 + lag;
		assert.ok(at <= until, `${id} of ${vehicle_id} was ${status} ${Math.round(at - due)} ms after its time, where ${Math.round(until - due)} ms are explained`);
	}
	return { ended: ended.length, unhindered };
}

// L5: `samples` are { node, at, answered, is } of /readyz. Whoever has been without its database or its broker for two seconds says so; whoever
// has had both again for as long as it may take to make use of them, and two seconds, says that. How often each was asked.
export function assertTruthful(samples, broken, lag) {
	const lost = /^the database (away|killed)|^the broker frozen|^a node (cut off from|that does not hear|that the (broker|database) does not hear)/;
	const asked = { lost: 0, whole: 0 };
	for (const { node, at, answered, is } of samples) {
		const own = broken.filter(({ name, part }) => (shared.test(name) || part === node) && !isClock(name));
		const thawed = Math.max(...own.filter(({ name, from }) => name.startsWith('a node frozen') && from < at).map(({ to }) => to)); // it had not looked
		const without = own.find(({ name, from, mending }) => lost.test(name) && at > Math.max(from, thawed) + 2000 + lag && answered < mending);
		const isWhole = own.every(({ from, to }) => answered < from || at > to + recovery + 2000 + lag);
		assert.ok(!without || !is, `${node} said that it was ready ${at - without?.from} ms after ${without?.name}`);
		assert.ok(!isWhole || is, `${node} said that it was not ready, and nothing was broken, nor had been for ${recovery + 2000} ms`);
		asked.lost += Boolean(without);
		asked.whole += isWhole;
	}
	return asked;
}

// What nodes handed to the broker (carried.mjs): the vehicle's own, after it was accepted, and nothing after its expiry. What may not be repeated
// at most once, and what is expired or canceled never, but for what the broker said it gave to nobody.
//
// A line that the broker does not hear by holds up what a node had handed over in time.
export async function assertCarried(database, { requests, errors }, vehicles, broken, lag) {
	assert.deepEqual(errors, [], 'what a node said was not understood');
	const commands = new Map((await rows(database, `select id, vehicle_id, name, status, extract(epoch from created_at) * 1000 as created, extract(epoch from expires_at) * 1000 as expires,
		extract(epoch from finished_at) * 1000 as finished from commands`)).map((command) => [command.id, command]));
	const handed = new Map(); // id -> how often
	for (const { request_id, vehicle_id, node, at, reason, properties } of requests) {
		const command = commands.get(request_id);
		assert.equal(command?.vehicle_id, vehicle_id, `${request_id} was handed over for ${vehicle_id}`);
		assert.equal(properties.correlationData.toString(), request_id);
		assert.ok(properties.responseTopic.startsWith(`vehicles/${vehicle_id}/`), `${request_id} is to be answered on ${properties.responseTopic}`);
		assert.ok(at >= command.created - 1, `${request_id} was handed over ${command.created - at} ms before it was accepted`);
		const held = broken.filter(({ name, part }) => part === node && name === 'a node that the broker does not hear');
		const end = ['expired', 'canceled'].includes(command.status) ? command.finished : command.expires;
		const until = latest(Math.min(end, command.expires) - 2000, held, lag);
		assert.ok(at <= until, `${request_id} was handed over ${at - command.expires} ms after its expiry, and was ${command.status}`);
		if (reason !== 0x10 && !(reason >= 0x80)) handed.set(request_id, (handed.get(request_id) ?? 0) + 1);
	}
	for (const { id, name, status } of commands.values()) {
		const count = handed.get(id) ?? 0;
		assert.ok(count <= 1 || name !== 'engine.start', `${id} (${name}) was handed over ${count} times`);
		assert.ok(count === 0 || !['expired', 'canceled'].includes(status), `${id} is ${status} and was handed over`);
	}
	for (const { id, requests: received } of vehicles) for (const { request_id } of received.items) assert.ok(handed.has(request_id), `${id} received ${request_id}, which no node had handed over`);
	return requests.length;
}
