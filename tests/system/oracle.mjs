// oracle.mjs - what must hold whatever happened, judged from records kept outside the node: what the apps were told
// and what the vehicles received and did.
import assert from 'node:assert/strict';
import { poll, rest } from './harness.mjs';

export const final = new Set(['succeeded', 'failed', 'rejected', 'expired', 'canceled']);
export const settled = new Set([...final, 'timed_out']);

// What apps were told: { key, vehicle_id, id } for each 202 (or 200) that came. A command that was sent without a key has its id for one.
export class Promises {
	told = [];

	add(key, vehicle_id, body) {
		this.told.push({ key, vehicle_id, id: body.id });
	}

	// One command a key: the same id, whatever was retried, wherever.
	assertOneCommandAKey() {
		const ids = new Map();
		for (const { key, id } of this.told) {
			assert.equal(ids.get(key) ?? id, id, `the key ${key} gave two commands`);
			ids.set(key, id);
		}
		assert.equal(new Set(ids.values()).size, ids.size, 'two keys gave one command');
	}

	get commands() {
		return [...new Map(this.told.map((one) => [one.id, one])).values()];
	}
}

// No lost acceptance: every command that was promised is there, and in the end settled. Returns them all.
export async function assertNothingLost(node, token, promises, { ms = 60_000 } = {}) {
	const all = [];
	for (const { vehicle_id, id } of promises.commands)
		all.push(
			await poll(
				async () => {
					const { status, body } = await rest(node, 'GET', `/v1/vehicles/${vehicle_id}/commands/${id}`, { token });
					assert.equal(status, 200, `${id} was promised and is lost: ${JSON.stringify(body)}`);
					return body;
				},
				(body) => settled.has(body.status),
				{ ms, every: 100, what: `${id} of ${vehicle_id} is settled` },
			),
		);
	return all;
}

// Nothing is there, was received or was done that nobody was promised: it would be a second command of a key whose 202 was lost, or one
// that an app was told was never accepted.
export async function assertNothingMore(node, token, promises, vehicles) {
	const promised = new Set(promises.commands.map(({ id }) => id));
	for (const { id, requests, executed } of vehicles) {
		for (const one of await commandsOf(node, token, id)) assert.ok(promised.has(one.id), `${id} has ${one.id} (${one.status}), which nobody was promised`);
		for (const one of [...requests.items.map(({ request_id }) => request_id), ...executed]) assert.ok(promised.has(one), `${id} received ${one}, which nobody was promised`);
	}
}

async function commandsOf(node, token, id) {
	const all = [];
	for (let cursor = ''; cursor !== null;) {
		const { status, body } = await rest(node, 'GET', `/v1/vehicles/${id}/commands?limit=200${cursor && `&cursor=${cursor}`}`, { token });
		assert.equal(status, 200, JSON.stringify(body));
		all.push(...body.items);
		cursor = body.next_cursor;
	}
	return all;
}

// One execution an id (of keyfob-vehicle: the vehicles here leave repeats out of what they did); what may never be repeated was received
// at most once.
export function assertExecutedOnce(vehicles, commands, never = new Set(['engine.start'])) {
	for (const vehicle of vehicles) {
		assert.equal(new Set(vehicle.executed).size, vehicle.executed.length, `${vehicle.id} did something twice`);
		for (const command of commands.filter(({ name, vehicle_id }) => never.has(name) && vehicle_id === vehicle.id)) {
			const received = vehicle.requests.items.filter(({ request_id }) => request_id === command.id).length;
			assert.ok(received <= 1, `${command.id} (${command.name}) was received ${received} times`);
		}
	}
}

// Nothing was received long after it expired; what is expired or canceled was never received; what succeeded was executed.
//
// A message is published with half a second left at least, and the broker keeps whole seconds, one at least, by the second in which it
// heard of it: that is until a second and a half after the expiry. It hears late what something held up: the intervals `held`, { from, to }; and the
// test's own process was up to `lag` ms late.
export function assertNothingStale(vehicles, commands, { held = [], lag = 0 } = {}) {
	const received = new Map(vehicles.map((vehicle) => [vehicle.id, vehicle.requests.items]));
	const known = new Map(commands.map((command) => [command.id, command]));
	for (const vehicle of vehicles)
		for (const { request_id, expires_at = known.get(request_id)?.expires_at, at } of vehicle.requests.items) {
			const created = Date.parse(known.get(request_id)?.created_at);
			const late = held.filter(({ from, to }) => from < at && to > created).reduce((ms, { from, to }) => ms + to - from, 0);
			assert.ok(at <= Date.parse(expires_at) + 1500 + late + lag, `${request_id} reached ${vehicle.id} ${at - Date.parse(expires_at)} ms after its expiry, held up for ${late} ms at most`);
		}
	for (const { id, vehicle_id, status } of commands) {
		const count = received.get(vehicle_id)?.filter(({ request_id }) => request_id === id).length ?? 0;
		if (status === 'expired' || status === 'canceled') assert.equal(count, 0, `${id} is ${status} and was received`);
		if (status === 'succeeded') assert.ok(count > 0, `${id} succeeded and was never received`);
	}
}

// What apps were told when they took a command back, `answers` of cancelSurely(), is how it ended: canceled for good, and never published
// (assertNothingStale() asks the vehicles); done, or at its end, already; or on its way, when it may yet have expired, but was not canceled by
// them, unless by a request that they heard nothing of. And nobody's command was canceled who did not ask for it.
export function assertTakenBack(commands, answers) {
	const known = new Map(commands.map((command) => [command.id, command]));
	for (const { id, is, isSure, at } of answers) {
		const { status, reason, attempts, issued_by, finished_at } = known.get(id);
		const ended = `${id} was said to be ${is} to who took it back, and is ${status} (${reason?.code}) after ${attempts} attempts`;
		if (is === 'canceled') assert.ok(status === 'canceled' && reason.code === 'CANCELED' && reason.by === issued_by && attempts === 0, ended);
		else if (is === 'command-already-final') assert.ok(final.has(status) && status !== 'canceled' && Date.parse(finished_at) <= at, ended);
		else assert.ok(['command-already-sent', 'vehicle-not-found'].includes(is) && !(isSure && reason?.code === 'CANCELED'), ended);
	}
	const asked = new Set(answers.map(({ id }) => id));
	for (const { id, reason } of commands) assert.ok(reason?.code !== 'CANCELED' || asked.has(id), `${id} was canceled, and nobody took it back`);
}

// An app's record of one vehicle has no hole and no repetition: 1 more each time, from where it began.
export function assertNoHole(events, after) {
	events.forEach(({ seq }, i) => assert.equal(seq, after + 1 + i, `seq ${seq} follows ${i ? events[i - 1].seq : after}`));
}

// Only the transitions of the lifecycle table, as an app saw them.
const next = {
	accepted: ['sent', 'waiting', 'expired', 'canceled', 'timed_out'],
	waiting: ['sent', 'expired', 'canceled', 'timed_out'],
	sent: ['in_progress', 'succeeded', 'failed', 'rejected', 'timed_out', 'waiting'],
	in_progress: ['in_progress', 'succeeded', 'failed', 'rejected', 'timed_out'],
	timed_out: ['succeeded', 'failed', 'rejected'],
};

export function assertTransitions(events) {
	const last = new Map();
	for (const { type, data } of events) {
		if (type !== 'command.updated') continue;
		const before = last.get(data.id);
		if (before) assert.ok(next[before]?.includes(data.status), `${data.id} went from ${before} to ${data.status}`);
		else assert.equal(data.status, 'accepted', `${data.id} began as ${data.status}`);
		last.set(data.id, data.status);
	}
}

// Told alternately: nobody is said to be there, or away, twice.
export function assertConnectivity(events) {
	const states = events.filter(({ type }) => type === 'connectivity.changed').map(({ data }) => data.state);
	states.forEach((state, i) => assert.notEqual(state, states[i - 1], `${states.slice(0, i + 1)}`));
}
