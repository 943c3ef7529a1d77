// trouble.test.mjs - neighbours that are there and do nothing: a full disk, a server that is frozen, a broker whose words do not arrive.
// A node says so within two seconds, does not storm them, and goes on by itself when they do.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import mqtt from 'mqtt';
import { startServer } from './cluster.mjs';
import { adminToken, gatewayPassword, isSanitized, poll, run, sendCommand, startBroker, startNode, vehicleIds } from './harness.mjs';
import { startLine } from './line.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { migrate } from './servers.mjs';
import { connectFleet, Follower, judge, Traffic } from './stream.mjs';

const options = { timeout: 180_000, skip: isSanitized && 'what a node waits for is the same' };
const isRoot = process.getuid() === 0;
const own = vehicleIds(64); // on 28 of the 32 feeds
const admin = await adminToken();
const promises = new Promises();
const parts = {};

// ---- a disk that can be full, where a file system can be mounted; else what is there

const disk = join(tmpdir(), `keyfob-disk-${process.pid}`);
let hasDisk = false;

async function mountDisk() {
	mkdirSync(disk);
	if (!isRoot) return;
	// Of runs that were killed.
	for (const [, left, pid] of readFileSync('/proc/mounts', 'utf8').matchAll(/ (\S+\/keyfob-disk-(\d+)) /g))
		if (!existsSync(`/proc/${pid}`)) spawnSync('umount', ['--lazy', left]);
	hasDisk = await run('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'none', disk]).then(() => true, () => false);
	if (hasDisk) await run('chown', ['postgres', disk]);
}

// However the file ends.
process.on('exit', () => {
	if (hasDisk) spawnSync('umount', ['--lazy', disk]);
	rmSync(disk, { recursive: true, force: true });
});

async function readiness() {
	const answer = await fetch(`${parts.node.adminUrl}/readyz`);
	return { ...(await answer.json()), http: answer.status };
}

const brokerless = async () => Number(/^keyfob_workers_without_broker (\d+)$/m.exec(await parts.node.metrics())?.[1]);

const untilReady = (ms) => poll(readiness, ({ http }) => http === 200, { ms, every: 20, what: 'the node is ready again' });

// When it first said that it lacks `neighbour`, in ms since `lost`. Whoever asks after two seconds is told so.
async function untilUnready(neighbour, lost) {
	for (;;) {
		const asked = Date.now() - lost;
		const answer = await readiness();
		if (answer.http === 503 && answer[neighbour] === 'unavailable') return asked;
		assert.ok(asked < 2000, `it said that it is ready ${asked} ms after the loss of ${neighbour}`);
		await pause(20);
	}
}

// Lost, for `ms` after it was said so in time, back, and said so soon; and a command is done as before.
async function assertSays(t, neighbour, { lose, mend, within, ms = 300 }) {
	await untilReady(10_000);
	const lost = Date.now();
	let unready;
	await lose();
	try {
		unready = await untilUnready(neighbour, lost);
		await pause(ms);
		assert.equal((await readiness()).http, 503, 'and it stays so');
		const lack = neighbour === 'broker' ? 2 : 0; // the node is not ready as soon as one of them knows
		await poll(brokerless, (n) => n === lack, { ms: 1000, every: 20, what: `${lack} workers lack the broker` });
	} finally {
		await mend();
	}
	const back = Date.now();
	await untilReady(within);
	const ready = Date.now() - back;
	assert.equal(await brokerless(), 0);
	const key = `after-${neighbour}-${lost}`;
	const { status, body } = await sendCommand(parts.node, admin, own[0], { name: 'horn.honk' }, { Prefer: 'wait=20', 'Idempotency-Key': key });
	assert.equal(status, 200, JSON.stringify(body));
	promises.add(key, own[0], body);
	t.diagnostic(`not ready ${unready} ms after the loss, ready ${ready} ms after the return`);
}

test('a server, a broker behind a line, a node, a fleet and an app', options, async () => {
	const server = await startServer(['autovacuum=off']); // which makes room where the test has filled it
	parts.server = server;
	await server.ask('create role keyfob login');
	await mountDisk();
	if (hasDisk) await server.ask(`create tablespace disk location '${disk}'`);
	await server.ask(`create database keyfob owner keyfob ${hasDisk ? 'tablespace disk' : ''}`);
	const database = { url: `postgresql://keyfob@127.0.0.1:${server.port}/keyfob` };
	const broker = await startBroker({ ids: own });
	const line = await startLine(broker);
	await migrate(broker.url, database.url);
	const node = await startNode({ broker, database, config: { mqtt: { url: line.url.replace('http:', 'mqtt:') } } });
	Object.assign(parts, { broker, line, node, sql: (statement) => server.ask(statement, 'keyfob') });
	parts.vehicles = await connectFleet(broker, node, admin, own);
	parts.app = new Follower([node], admin);
	await parts.app.follow(own);
});

test('a broker that is frozen', options, (t) =>
	assertSays(t, 'broker', { lose: () => parts.broker.child.freeze(), mend: () => parts.broker.child.thaw(), within: 2000 }));

test('a broker whose words do not arrive', options, (t) =>
	assertSays(t, 'broker', { lose: () => parts.line.mute(), mend: () => parts.line.flow(), within: 2000 }));

test('a broker that hears nothing', options, (t) => assertSays(t, 'broker', { lose: () => parts.line.deafen(), mend: () => parts.line.flow(), within: 2000 }));

// As long as others have something to tell: it shows that the node hears the broker, and not that the broker hears the node.
test('a broker that hears nothing, and goes on telling what others say', options, async (t) => {
	const other = await mqtt.connectAsync(parts.broker.url, { clientId: 'keyfob-other', username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
	const workers = (await parts.sql(`select substr(name, 8) from leases where name like 'worker/%'`)).split('\n');
	const telling = setInterval(() => workers.forEach((worker) => other.publish(`keyfob/inbox/${worker}`, '')), 200);
	try {
		await assertSays(t, 'broker', { lose: () => parts.line.deafen(), mend: () => parts.line.flow(), within: 2000 });
	} finally {
		clearInterval(telling);
		await other.endAsync();
	}
});

test('a broker that is killed', options, (t) => assertSays(t, 'broker', { lose: () => parts.broker.kill(), mend: () => parts.broker.start(), within: 10_000 }));

test('a database that is frozen', options, (t) => assertSays(t, 'database', { lose: () => parts.server.freeze(), mend: () => parts.server.thaw(), within: 2000 }));

test('a database that is killed', options, (t) => assertSays(t, 'database', { lose: () => parts.server.kill(), mend: () => parts.server.start(), within: 10_000 }));

// Where it asks, nobody else listens.
test('a broker that has nothing to say is asked whether it is there, and not often', options, async (t) => {
	await untilReady(10_000);
	const listener = await mqtt.connectAsync(parts.broker.url, { clientId: 'keyfob-listener', username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
	let asked = 0;
	listener.on('message', () => asked++);
	await listener.subscribeAsync('keyfob/nobody/+', { qos: 1 });
	await pause(4000);
	await listener.endAsync();
	t.diagnostic(`${asked} questions of two workers in 4 s`);
	assert.ok(asked > 0 && asked <= 2 * 6, `it was asked ${asked} times`);
	assert.equal((await readiness()).http, 200);
});

// What is due then is late by so much already (L1), however long nothing could be done.
test('a database that was away for long', options, (t) =>
	assertSays(t, 'database', { lose: () => parts.server.kill(), mend: () => parts.server.start(), within: 2000, ms: 8000 }));

// ---- a full disk

// How often a feed has connected, as the broker saw it.
const connects = () => [...parts.broker.child.logText().matchAll(/New client connected from \S+ as keyfob-feed-/g)].length;

// What is to be seen until there is room: it never says that it is ready, whoever asks how often.
async function whileFull(filled, ms, before) {
	const { node, vehicles } = parts;
	await Promise.all(vehicles.map((one) => one.publish(`vehicles/${one.id}/state/${one.feed}`, { version: filled, state: { filled } })));
	const refusal = await poll(
		async () => {
			const key = `refused-${Date.now()}`;
			const answer = await sendCommand(node, admin, own[1], { name: 'horn.honk' }, { 'Idempotency-Key': key });
			if (answer.status === 202) promises.add(key, own[1], answer.body);
			return answer;
		},
		({ status }) => status === 503,
		{ ms: 2000, every: 20, what: 'a command is refused' },
	);
	assert.equal(refusal.body.type, 'urn:keyfob:problem:storage-unavailable');
	assert.equal(refusal.body.may_have_executed, false);
	const unready = await untilUnready('database', filled);
	while (Date.now() - filled < ms) {
		assert.equal((await readiness()).http, 503, `ready ${Date.now() - filled} ms after the disk was full`);
		await pause(50);
	}
	return { unready, stormed: connects() - before };
}

// `fill` and `empty` it while commands go and vehicles report; nobody storms the broker, and all is done afterwards.
async function assertOutlives(t, { fill, empty, ms }) {
	const { node, vehicles } = parts;
	await untilReady(10_000);
	const traffic = new Traffic(t.name, { nodes: [node], token: admin, own, promises, rate: 40, width: 8 });
	await traffic.untilMore(40);
	const before = connects();
	await fill();
	const filled = Date.now();
	const { unready, stormed } = await whileFull(filled, ms, before).finally(() => Promise.all([empty(), traffic.stop()]));
	const back = Date.now();
	await untilReady(2000);
	const ready = Date.now() - back;
	for (const one of vehicles)
		await poll(
			async () => JSON.parse(await parts.sql(`select reported from vehicles where vehicle_id = '${one.id}'`)),
			(reported) => reported.filled === filled,
			{ ms: 10_000, what: `what ${one.id} reported is kept` },
		);
	t.diagnostic(
		`not ready ${unready} ms after it was full, ready ${ready} ms after there was room; the feeds connected ${stormed} times in ${ms} ms; ${traffic.told.length} commands, ${traffic.troubles.length} refusals`,
	);
	assert.ok(stormed <= 35 * 8, `the feeds connected ${stormed} times in ${ms} ms`);
}

const written = ['commands', 'events', 'vehicle_heads', 'vehicles', 'leases'];

test('a database that refuses to write for five seconds', options, (t) =>
	assertOutlives(t, {
		ms: 5000,
		// A table at a time: who locks several locks them in another order than a node.
		fill: async () => {
			await parts.sql(`create function no_room() returns trigger language plpgsql as $$ begin raise 'could not extend file' using errcode = 'disk_full'; end $$`);
			for (const table of written) await parts.sql(`create trigger no_room before insert or update on ${table} for each statement execute function no_room()`);
		},
		empty: async () => {
			for (const table of written) await parts.sql(`drop trigger no_room on ${table}`);
			await parts.sql('drop function no_room');
		},
	}));

test('a disk that is full', options, async (t) => {
	if (!hasDisk) return t.skip('no file system can be mounted here');
	await assertOutlives(t, {
		ms: 8000,
		fill: async () => {
			await parts.sql('create table filler (filler text)');
			await assert.rejects(parts.sql(`do $$ begin loop insert into filler values (repeat('x', 1800)); commit; end loop; end $$`), { code: '53100' });
		},
		empty: () => parts.sql('drop table filler'),
	});
});

test('over all of it nothing was lost, nothing done twice, and the app saw everything', options, async () => {
	const { node, vehicles, app } = parts;
	const commands = await judge(node, admin, promises, vehicles);
	assert.ok(commands.length > 100);
	await app.assertWhole(node, 60_000);
	for (const { events } of app.seen.values()) assertConnectivity(events);
	assert.equal(await parts.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
