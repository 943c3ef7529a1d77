// pressure.test.mjs - more comes than can be done: apps that do not read, a database slower than the traffic, a flood at the door.
// Nobody else is held up, nothing is lost, and the node's memory stays bounded, as the kernel counts it.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { atEnd } from './children.mjs';
import { adminToken, isLong, isSanitized, openSocket, poll, rest, RpcError, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { withinMemory } from './memory.mjs';
import { assertNoHole, Promises } from './oracle.mjs';
import { connectFleet, judge } from './stream.mjs';

const MiB = 1024 * 1024;
const options = { timeout: 180_000, skip: isSanitized && 'the sanitizer keeps what is freed' };
const slack = 5000; // beyond the five seconds that a command may wait for its transaction: the one that is under way, and a loaded machine
const maxQueue = 256 * 1024;
const maxConnections = 300;
const ids = vehicleIds(82);
const { broker, database, node } = await startInstallation({
	ids,
	config: { limits: { queue_per_vehicle: 1000 }, websocket: { max_queue: '256KiB' }, http: { max_connections: maxConnections, per_address: maxConnections }, log: { level: 'info' } },
});
const admin = await adminToken();
let used = 0;
const fleet = (count) => connectFleet(broker, node, admin, ids.slice(used, (used += count)));

// Reports of 30 KB each, one after the other, each when the app that reads has seen the one before.
async function report(one, reader, count) {
	for (let version = 1; version <= count; version++) {
		await one.publish(`vehicles/${one.id}/state/${one.feed}`, { version, state: { log: `${version} ${'x'.repeat(30_000)}` } });
		if (version % 8 === 0) await reader.until(({ type, data }) => type === 'state.reported' && data.version === version, { ms: 60_000 });
		reader.events.items.length = 0; // a record of it all would be large
	}
}

test('apps that do not read are closed with 4408 and resume without a hole; who reads waits for nobody', options, async (t) => {
	const [one] = await fleet(1);
	const reader = await openSocket(node, { token: admin });
	await reader.call('vehicle.subscribe', { vehicle_id: one.id });
	const slow = await Promise.all(Array.from({ length: 6 }, () => openSocket(node, { token: admin })));
	const begun = await Promise.all(slow.map((app) => app.call('vehicle.subscribe', { vehicle_id: one.id })));
	const count = 400; // 12 MB for each: more than the kernel keeps for a socket
	await withinMemory(t, node, slow.length * 2 * maxQueue + 16 * MiB, async () => {
		slow.forEach((app) => app.ws.pause());
		const since = Date.now();
		await report(one, reader, count);
		return `${count} reports of 30 KB in ${Date.now() - since} ms, past ${slow.length} apps that read nothing`;
	});
	slow.forEach((app) => app.ws.resume());
	for (const [i, app] of slow.entries()) {
		assert.equal((await app.closed).code, 4408);
		const events = app.events.items;
		const after = events.at(-1)?.seq ?? begun[i].seq;
		const again = await openSocket(node, { token: admin });
		const { seq, recovered } = await again.call('vehicle.subscribe', { vehicle_id: one.id, epoch: begun[i].epoch, after });
		assert.equal(recovered, true);
		await again.until((event) => event.seq >= seq, { ms: 30_000 });
		assertNoHole([...events, ...again.events.items], begun[i].seq);
		again.close();
	}
});

// Calls without end, each when the one before is answered, until `isOver`.
async function flood(socket, own, first, told, isOver) {
	for (let i = first; !isOver(); i++) {
		const began = Date.now();
		const vehicle_id = own[i % own.length];
		const answer = await socket.call('command.send', { vehicle_id, name: 'horn.honk' }).catch((error) => error);
		told.push({ answer, vehicle_id, took: Date.now() - began });
		if (answer instanceof RpcError) await pause(200); // as it says: later
	}
}

test('a database slower than the traffic: who comes too late hears 503 soon, and what was accepted is done', options, async (t) => {
	const vehicles = await fleet(80);
	const own = vehicles.map(({ id }) => id);
	const sockets = await Promise.all(Array.from({ length: 20 }, () => openSocket(node, { token: admin })));
	const told = [];
	const seconds = isLong ? 30 : 8; // longer than anybody may wait
	await database.sql(`create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.15); return null; end $$;
		create trigger dawdle before insert on commands for each statement execute function dawdle()`);
	await withinMemory(t, node, 24 * MiB, async () => {
		const end = Date.now() + seconds * 1000;
		await Promise.all(sockets.flatMap((socket) => Array.from({ length: 100 }, (_, i) => flood(socket, own, i, told, () => Date.now() > end))));
		await database.sql('drop trigger dawdle on commands');
		const refused = told.filter(({ answer }) => answer instanceof RpcError);
		return `2000 commands under way for ${seconds} s: ${told.length - refused.length} accepted, ${refused.length} refused, the slowest answer after ${Math.max(...told.map(({ took }) => took))} ms`;
	});
	const promises = new Promises();
	for (const { answer, vehicle_id } of told) {
		if (!(answer instanceof RpcError)) promises.add(answer.id, vehicle_id, answer);
		else assert.deepEqual([answer.data.status, answer.data.retriable, answer.data.may_have_executed], [503, true, false], JSON.stringify(answer.data));
	}
	assert.ok(promises.told.length > 0 && promises.told.length < told.length, 'some were accepted and some refused');
	const slowest = Math.max(...told.map(({ took }) => took));
	assert.ok(slowest < 5000 + slack, `nobody waits for long: ${slowest} ms`);
	const { status, body } = await sendCommand(node, admin, own[0], { name: 'horn.honk' }, { Prefer: 'wait=30' });
	assert.equal(status, 200, JSON.stringify(body));
	promises.add(body.id, own[0], body);
	await judge(node, admin, promises, vehicles);
	for (const socket of sockets) socket.close();
});

// A connection that says `text`, and is then open for as long as the node lets it.
function stranger(text) {
	const socket = connect(node.port, '127.0.0.1', () => socket.write(text));
	socket.on('error', () => {});
	socket.resume();
	return socket;
}

test('a flood at the door: connections, half heads, half bodies, strange tokens; memory stays, and so do those who are in', options, async (t) => {
	const [one] = await fleet(1);
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: one.id });
	const body = `POST /v1/vehicles/${one.id}/commands HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 65000\r\n\r\n${'x'.repeat(64_000)}`;
	const kinds = ['', `GET /v1/me HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(15_000)}`, body];
	const waves = isLong ? 20 : 4;
	const strangers = [];
	atEnd(() => strangers.forEach((socket) => socket.destroy()));
	await withinMemory(t, node, maxConnections * 128 * 1024 + 16 * MiB, async () => {
		for (let wave = 0; wave < waves; wave++) {
			const these = Array.from({ length: 3 * maxConnections }, (_, i) => stranger(kinds[i % kinds.length]));
			strangers.push(...these);
			await poll(() => these.filter(({ destroyed, readableEnded }) => destroyed || readableEnded).length, (gone) => gone >= 2 * maxConnections, { ms: 60_000, every: 50, what: 'whoever is too much was closed' });
			const sent = app.call('command.send', { vehicle_id: one.id, name: 'horn.honk' });
			const { id } = await sent;
			await app.until(({ type, data }) => type === 'command.updated' && data.id === id && data.status === 'succeeded', { ms: 20_000 });
			these.forEach((socket) => socket.destroy());
			await poll(() => node.metrics(), (metrics) => Number(/^keyfob_connections (\d+)/m.exec(metrics)[1]) < maxConnections / 2, { ms: 60_000, what: 'they are gone' });
		}
		return `${waves} waves of ${3 * maxConnections} connections where ${maxConnections} may be`;
	});
	const ask = (i) => rest(node, 'GET', '/v1/me', { token: `${i}.${'a'.repeat(4000)}.b` });
	const answers = await Promise.all(Array.from({ length: maxConnections / 2 }, (_, i) => ask(i)));
	assert.deepEqual([...new Set(answers.map(({ status }) => status))], [401]);
	app.close();
});
