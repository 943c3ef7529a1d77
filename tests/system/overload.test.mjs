// overload.test.mjs - apps and vehicles that do not slow down for anybody: commands at a rate of their own to a database that cannot keep up,
// and vehicles that say more than a node can read. Memory stays bounded, nobody else is held up, and what was promised is kept.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { adminToken, feedOf, isLong, isSanitized, poll, Reference, registerVehicle, rest, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { withinMemory } from './memory.mjs';
import { Promises } from './oracle.mjs';
import { atRate, connectFleet, judge, untilConnected } from './stream.mjs';

const MiB = 1024 * 1024;
const fleet = Array.from({ length: 200 }, (_, i) => `V${String(i + 1).padStart(5, '0')}`);
// Four that say too much, of four feeds; one that shares the first one's; one that does not.
const [first, ...others] = vehicleIds(400);
const mate = others.find((id) => feedOf(id) === feedOf(first));
const [second, third, fourth, stranger] = others.filter((id, i) => feedOf(id) !== feedOf(first) && others.findIndex((other) => feedOf(other) === feedOf(id)) === i);
const loud = [first, second, third, fourth];
const options = { timeout: 300_000, skip: isSanitized && 'the sanitizer keeps what is freed' };
const { broker, database, node } = await startInstallation({
	ids: [...fleet, ...loud, mate, stranger],
	config: { http: { per_address: 10_000 }, log: { level: 'info' } },
});
const admin = await adminToken();
const count = (statement) => database.sql(`select count(*) from ${statement}`).then(Number);

const rate = 400;
const seconds = isLong ? 60 : 8;
const napMs = 10; // for each event; a command has three or four, and there are two workers: an eighth of the rate
const life = { ttl_seconds: 300, timeout_seconds: 300 };

// What one was told: { status, … }. Where a connection ended that was kept, and without a word, it is asked again with its key.
async function tell(i) {
	const vehicle_id = fleet[i % fleet.length];
	const began = Date.now();
	const asked = { token: admin, body: { name: 'horn.honk', ...life }, headers: { 'Idempotency-Key': `open-${i}` }, unchecked: true };
	for (;;) {
		const answer = await rest(node, 'POST', `/v1/vehicles/${vehicle_id}/commands`, asked).catch(({ code }) => assert.equal(code, 'ECONNRESET'));
		if (!answer) continue;
		const { status, headers, body } = answer;
		return { status, body, vehicle_id, retryAfter: Number(headers.get('retry-after')), began, took: Date.now() - began };
	}
}

test(`${rate} commands a second, to a database that does an eighth of it: 503 soon, memory stays, answers wait and are kept`, options, async (t) => {
	await Promise.all(fleet.map((id) => registerVehicle(node, admin, id)));
	const simulated = new Reference(broker, 'vehicles', ['--prefix', 'V', '--count', fleet.length]);
	await untilConnected(node, admin, fleet);
	const slowDown = (ms) => database.sql(`create or replace function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(${ms / 1000}); return null; end $$`);
	await slowDown(napMs);
	await database.sql('create trigger dawdle after insert on events for each row execute function dawdle()');
	const begun = Date.now();
	let told = [];
	await withinMemory(t, node, 48 * MiB, async () => {
		told = await atRate(rate, () => Date.now() > begun + seconds * 1000, tell);
		const refused = told.filter(({ status }) => status !== 202);
		const first = Math.min(...refused.map(({ began, took }) => began + took)) - begun;
		const slowest = Math.max(...told.map(({ took }) => took));
		assert.ok(told.length > 0.95 * rate * seconds, `${told.length} in ${seconds} s is not ${rate} a second`);
		assert.ok(refused.length > told.length / 2 && refused.length < told.length, `${refused.length} of ${told.length} were refused`);
		assert.ok(first < 5000, `nobody heard a 503 for ${first} ms`);
		assert.ok(slowest < 10_000, `somebody heard nothing for ${slowest} ms`);
		return `${told.length} commands in ${seconds} s: ${told.length - refused.length} accepted, ${refused.length} refused, the first after ${first} ms; the slowest answer after ${slowest} ms`;
	});
	const promises = new Promises();
	for (const { status, body, vehicle_id, retryAfter } of told) {
		if (status === 202) promises.add(body.id, vehicle_id, body);
		else assert.deepEqual([status, body.type, body.retriable, body.may_have_executed, retryAfter >= 1], [503, 'urn:keyfob:problem:overloaded', true, false, true], JSON.stringify(body));
	}
	// What vehicles have done and nobody knows yet: their answers are not acknowledged to the broker.
	const done = simulated.journal().filter(({ what }) => what === 'executed').length;
	const known = await count("commands where status = 'succeeded'");
	await slowDown(0);
	const back = Date.now();
	const ask = () => sendCommand(node, admin, fleet[0], { name: 'horn.honk', ...life }, { Prefer: 'wait=30' });
	const { body } = await poll(ask, ({ status }) => status !== 503, { what: 'a command is taken again' });
	assert.equal(body.status, 'succeeded', JSON.stringify(body));
	promises.add(body.id, fleet[0], body);
	const recovered = Date.now() - back;
	await poll(() => count('commands where finished_at is null'), (open) => open === 0, { ms: 60_000, what: 'all that was accepted is done' });
	t.diagnostic(`${done} were done, of which ${done - known} answers waited; after it a command was done in ${recovered} ms, all of them in ${Date.now() - back} ms`);
	assert.ok(done > known, 'answers waited');
	assert.ok(recovered < 5000, `after it a command took ${recovered} ms`);
	for (const one of await judge(node, admin, promises, () => simulated.vehicles(fleet))) assert.equal(one.status, 'succeeded', one.id);
});

// ---- vehicles

// A broker that hands over one message at a time has all that was said to a feed before wait in line: then only those of other feeds are not held up.
const inLine = broker.inFlight === 1;
const floodSeconds = isLong ? 20 : inLine ? 0.5 : 2;
const underWay = isLong ? 300 : 100; // messages of each vehicle that the broker has not acknowledged

const report = (vehicle, size) => [`vehicles/${vehicle.id}/state/${vehicle.feed}`, { version: (vehicle.said = (vehicle.said ?? 0) + 1), state: { log: `${vehicle.said} ${'x'.repeat(size)}` } }];
const answer = (vehicle, body) => [`vehicles/${vehicle.id}/commands/response/${vehicle.feed}`, body];
const unknown = () => randomUUID().replace(/^.{14}./, '0192f3c8-0000-7');
const kinds = {
	'state reports': (vehicle) => report(vehicle, 100),
	'large state reports': (vehicle) => report(vehicle, 2000),
	'what is no report, and no answer': (vehicle, i) => [[`vehicles/${vehicle.id}/state/${vehicle.feed}`, '{{{{'], answer(vehicle, '}'), answer(vehicle, { request_id: unknown(), status: 'succeeded' })][i % 3],
	'answers to one command': (vehicle, i) => answer(vehicle, { request_id: vehicle.open, status: 'in_progress', result: { i } }),
	'the same answer': (vehicle) => answer(vehicle, { request_id: vehicle.open, status: 'in_progress' }),
};

const items = async () => Number(/^keyfob_batch_items_total (\d+)/m.exec(await node.metrics())[1]);

// As fast as the broker takes it. How much that was.
async function flood(vehicles, what, isOver) {
	let count = 0;
	const say = async (vehicle) => {
		for (let i = 0; !isOver(); i++, count++) await vehicle.publish(...what(vehicle, i));
	};
	await Promise.all(vehicles.flatMap((vehicle) => Array.from({ length: underWay }, () => say(vehicle))));
	return count;
}

// One command after the other, until it is over. How long each took.
async function sendAllTheWhile(id, isOver) {
	const took = [];
	while (!isOver()) {
		took.push(await timed(id));
		await pause(20);
	}
	return took;
}

async function timed(id) {
	const began = Date.now();
	const { status, body } = await sendCommand(node, admin, id, { name: 'horn.honk', ...life }, { Prefer: 'wait=60' });
	assert.equal(status, 200, JSON.stringify(body));
	assert.equal(body.status, 'succeeded', JSON.stringify(body));
	return Date.now() - began;
}

test('vehicles that say more than a node can read hold up nobody, whoever shares their feed; memory stays, and each report is kept', options, async (t) => {
	const vehicles = await connectFleet(broker, node, admin, [...loud, mate, stranger]);
	const flooders = vehicles.slice(0, loud.length);
	for (const vehicle of flooders) {
		vehicle.handler = () => null;
		vehicle.open = (await sendCommand(node, admin, vehicle.id, { name: 'horn.honk', ...life })).body.id;
		await vehicle.requests.until(({ request_id }) => request_id === vehicle.open);
	}
	for (const [name, what] of Object.entries(kinds))
		await withinMemory(t, node, 64 * MiB, async () => {
			const before = await items();
			const end = Date.now() + floodSeconds * 1000;
			const isOver = () => Date.now() > end;
			const [count, besideIt, elsewhere] = await Promise.all([flood(flooders, what, isOver), sendAllTheWhile(mate, isOver), sendAllTheWhile(stranger, isOver)]);
			const [after, afterElsewhere] = await Promise.all([timed(mate), timed(stranger)]);
			for (const took of inLine ? elsewhere : [...besideIt, ...elsewhere]) assert.ok(took < 10_000, `amid ${name} a command took ${took} ms`);
			for (const took of inLine ? [afterElsewhere] : [after, afterElsewhere]) assert.ok(took < 5000, `after ${name} a command took ${took} ms`);
			const each = (await items() - before) / count;
			if (name.includes('reports') && !inLine) assert.ok(each < 0.5, `each of ${name} was ${each.toFixed(2)} units of work`);
			return `${Math.round(count / floodSeconds)} a second, ${name}: a command to who shares the feed took ${Math.max(...besideIt)} ms at most, to others ${Math.max(...elsewhere)} ms, to who shares it ${after} ms afterwards, to others ${afterElsewhere} ms; ${each.toFixed(2)} units of work each`;
		});
	if (!inLine) assert.match(await node.metrics(), /keyfob_answers_put_off_total [1-9]/); // no more than one is in hand
	for (const vehicle of flooders) {
		await vehicle.answer(vehicle.requests.items[0], { status: 'succeeded' }); // and again, should it be put off
		await poll(() => count(`commands where id = '${vehicle.open}' and status = 'succeeded'`), (n) => n === 1, { what: `the answer of ${vehicle.id} that counts` });
	}
	for (const { id, said } of flooders) {
		await poll(() => count(`vehicles where vehicle_id = '${id}' and reported_version = ${said}`), (n) => n === 1, { ms: 60_000, what: `${id} has reported ${said}` });
		assert.equal(await count(`events where vehicle_id = '${id}' and type = 'state.reported'`), said, 'each report is an event');
	}
});
