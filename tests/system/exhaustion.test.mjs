// exhaustion.test.mjs - a node that gets no more of something, for seconds: no descriptor, no connection of the database's, none of the broker's.
// It says what it lacks within two seconds, does what it can without, neither spins nor grows nor floods its log, and goes on by itself.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { atEnd } from './children.mjs';
import { startServer } from './cluster.mjs';
import { adminToken, isSanitized, openSocket, poll, run, sendCommand, startBroker, startNode, vehicleIds } from './harness.mjs';
import { startLine } from './line.mjs';
import { withinMemory } from './memory.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { migrate } from './servers.mjs';
import { connectFleet, Follower, judge, Traffic } from './stream.mjs';

const MiB = 1024 * 1024;
const options = { timeout: 180_000, skip: isSanitized && 'what a node waits for is the same' };
const own = vehicleIds(16);
const spell = 8000;
const recovery = 10_000;
const places = { database: 30, broker: 80 }; // there are no more than these
const admin = await adminToken();
const promises = new Promises();
const parts = {};

test('a server and a broker with few places, a node behind lines, a fleet and an app', options, async () => {
	const server = await startServer([`max_connections=${places.database}`, 'superuser_reserved_connections=6']);
	await server.ask('create role keyfob login');
	await server.ask('create role stranger login');
	await server.ask('create database keyfob owner keyfob');
	const broker = await startBroker({ ids: own, configure: (lines) => lines.toSpliced(1, 0, `max_connections ${places.broker}`) });
	const lines = { broker: await startLine(broker), database: await startLine(server) };
	await migrate(broker.url, `postgresql://keyfob@127.0.0.1:${server.port}/keyfob`);
	const node = await startNode({
		broker,
		database: { url: `postgresql://keyfob@127.0.0.1:${lines.database.port}/keyfob` },
		config: { mqtt: { url: `mqtt://127.0.0.1:${lines.broker.port}` }, log: { level: 'info' } },
	});
	Object.assign(parts, { server, broker, lines, node, sql: (statement) => server.ask(statement, 'keyfob') });
	parts.vehicles = await connectFleet(broker, node, admin, own);
	parts.app = new Follower([node], admin);
	await parts.app.follow(own);
});

// ---- what is measured

// By one connection that is kept, since there may be no other.
const kept = new Agent({ keepAlive: true, maxSockets: 1 });
atEnd(async () => kept.destroy());

function readiness() {
	return new Promise((resolve, reject) => {
		const asked = get(`${parts.node.adminUrl}/readyz`, { agent: kept }, (answer) => {
			let text = '';
			answer.on('data', (chunk) => (text += chunk));
			answer.on('end', () => resolve({ ...JSON.parse(text), http: answer.statusCode }));
		});
		asked.on('error', reject);
	});
}

const untilReady = () => poll(readiness, ({ http }) => http === 200, { ms: recovery, every: 20, what: 'the node is ready again' });
const lacks = (neighbours) => (answer) => answer.http === 503 && neighbours.every((name) => answer[name] === 'unavailable');

const logged = () => parts.node.child.logText().split('\n').length;

// Of the node, ms.
function processor() {
	const fields = readFileSync(`/proc/${parts.node.child.pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' ');
	return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function measured(work) {
	const before = { processor: processor(), lines: logged(), at: Date.now() };
	await work();
	const ms = Date.now() - before.at;
	const took = { processor: processor() - before.processor, lines: logged() - before.lines };
	assert.ok(took.processor > 0 && took.processor < 0.25 * ms, `it took ${took.processor} ms of a processor in ${ms} ms`);
	assert.ok(took.lines < (ms / 1000) * 60, `it wrote ${took.lines} lines in ${ms} ms`);
	return `${took.processor} ms of a processor in ${ms} ms, ${took.lines} lines`;
}

// Whatever feed its answer comes by.
async function isDone(id) {
	const { status, body } = await sendCommand(parts.node, admin, id, { name: 'horn.honk' }, { Prefer: 'wait=20' });
	assert.equal(status, 200, JSON.stringify(body));
	promises.add(body.id, id, body);
}

// `lose` has it want for something, for as long as the spell; then it says that it lacks `neighbours`. `meanwhile` is done in it.
async function outlives(t, { lose, mend, neighbours, meanwhile = () => {} }) {
	await untilReady();
	const want = async () => {
		const lost = Date.now();
		await lose();
		try {
			if (neighbours.length > 0) {
				await poll(readiness, lacks(neighbours), { ms: 2000, every: 20, what: `it lacks ${neighbours}` });
				t.diagnostic(`said so after ${Date.now() - lost} ms`);
			}
			await meanwhile();
			for (; Date.now() - lost < spell; await pause(100)) {
				const answer = await readiness();
				assert.ok(neighbours.length > 0 ? lacks(neighbours)(answer) : answer.http === 200, JSON.stringify(answer));
			}
		} finally {
			await mend();
		}
	};
	await withinMemory(t, parts.node, 16 * MiB, () => measured(want));
	const back = Date.now();
	await untilReady();
	const ready = Date.now() - back;
	await Promise.all(own.map(isDone));
	const well = Date.now() - back;
	t.diagnostic(`ready ${ready} ms after there was room, and all vehicles' answers came after ${well} ms`);
	assert.ok(well < recovery, `it went on after ${well} ms`);
}

// While apps go on asking.
async function withTraffic(t, what) {
	const traffic = new Traffic(t.name, { nodes: [parts.node], token: admin, own, promises, rate: 20, width: 4 });
	await traffic.untilMore(20);
	await outlives(t, what).finally(() => traffic.stop());
	t.diagnostic(`${traffic.told.length} commands, ${traffic.troubles.length} times told nothing`);
}

// ---- the database's connections

// Strangers, until the server takes no more of them.
async function crowd(url, ret) {
	for (;;) {
		const one = new pg.Client({ connectionString: url });
		one.on('error', () => {});
		const refused = await one.connect().then(() => null, (error) => error);
		if (refused) {
			assert.equal(refused.code, '53300', refused.message);
			return;
		}
		ret.push(one);
	}
}

test('the database has no connection left', options, async (t) => {
	const strangers = [];
	await withTraffic(t, {
		neighbours: ['database'],
		// Its own places are taken as soon as they are free.
		lose: async () => {
			parts.lines.database.cut();
			await poll(() => parts.sql("select count(*) from pg_stat_activity where usename = 'keyfob'"), (count) => count === '0', { every: 10 });
			await crowd(`postgresql://stranger@127.0.0.1:${parts.server.port}/postgres`, strangers);
			parts.lines.database.lead(parts.lines.database.end);
		},
		mend: () => Promise.all(strangers.map((one) => one.end())),
	});
	assert.ok(strangers.length >= 10, `${strangers.length} strangers`);
	assert.match(parts.node.child.logText(), /too many clients|remaining connection slots/);
});

// ---- the broker's

test('the broker has no connection left', options, async (t) => {
	const strangers = [];
	const { broker, lines } = parts;
	const denied = () => [...broker.child.logText().matchAll(/denied: max_connections exceeded/g)].length;
	let before = 0;
	let tried = 0;
	// A connection that the broker has closed was one too many.
	const enter = () =>
		new Promise((resolve) => {
			const one = connect(broker.port, '127.0.0.1');
			strangers.push(one);
			one.on('error', () => {});
			one.resume().on('close', () => resolve(false));
			one.on('connect', () => setTimeout(() => resolve(true), 100));
		});
	await withTraffic(t, {
		neighbours: ['broker'],
		lose: async () => {
			lines.broker.cut();
			while ((await Promise.all(Array.from({ length: 16 }, enter))).some(Boolean));
			lines.broker.lead(lines.broker.end);
			before = denied();
		},
		mend: async () => {
			tried = denied() - before;
			strangers.forEach((one) => one.destroy());
		},
	});
	t.diagnostic(`the node was denied ${tried} connections in ${spell} ms`);
	assert.ok(tried > 0 && tried < 40 * 8, `the node was denied ${tried} connections`);
});

// ---- descriptors

const descriptors = () => readdirSync(`/proc/${parts.node.child.pid}/fd`).map(Number);
const limit = (count) => run('prlimit', ['--pid', parts.node.child.pid, `--nofile=${count}:`].map(String));
const allowed = () => Number(/^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${parts.node.child.pid}/limits`, 'utf8'))[1]);

// The first ones are its log and its loops' own, and stay open: so no new one is below the limit, whatever else is closed.
const first = 8;

async function assertFirstAreTaken() {
	assert.equal(descriptors().filter((one) => one < first).length, first);
}

// Who comes meanwhile waits, or is turned away, and is served when there is room.
async function newcomer() {
	for (;;) {
		const answer = await fetch(`${parts.node.url}/v1/me`, { headers: { Authorization: `Bearer ${admin}`, Connection: 'close' }, signal: AbortSignal.timeout(spell + recovery) }).catch(() => null);
		await answer?.body?.cancel();
		if (answer) return answer.status;
		await pause(200);
	}
}

test('the node has no descriptor left: who is in is served, who comes is served afterwards', options, async (t) => {
	const app = await openSocket(parts.node, { token: admin });
	const before = { most: Math.max(...descriptors()), allowed: allowed() };
	const newcomers = [];
	await outlives(t, {
		neighbours: [],
		lose: () => limit(first),
		meanwhile: async () => {
			newcomers.push(...Array.from({ length: 20 }, newcomer));
			for (const vehicle_id of own) {
				const began = Date.now();
				const { id } = await app.call('command.send', { vehicle_id, name: 'horn.honk' });
				promises.add(id, vehicle_id, { id });
				assert.ok(Date.now() - began < 2000, `accepted after ${Date.now() - began} ms`);
			}
		},
		mend: () => assertFirstAreTaken().finally(() => limit(before.allowed)),
	});
	assert.deepEqual([...new Set(await Promise.all(newcomers))], [200]);
	assert.match(parts.node.child.logText(), /out of descriptors/);
	app.close();
	await poll(() => Math.max(...descriptors()), (most) => most <= before.most + 8, { what: 'no descriptor is left over' });
});

test('the node has no descriptor left when it loses database and broker', options, async (t) => {
	const { lines } = parts;
	const before = allowed();
	await outlives(t, {
		neighbours: ['database', 'broker'],
		lose: async () => {
			await limit(first);
			for (const line of Object.values(lines)) line.cut();
			for (const line of Object.values(lines)) line.lead(line.end);
		},
		mend: () => assertFirstAreTaken().finally(() => limit(before)),
	});
});

test('over all of it nothing was lost, nothing done twice, and the app saw everything', options, async () => {
	const { node, vehicles, app, sql } = parts;
	const commands = await judge(node, admin, promises, vehicles);
	assert.ok(commands.length > 100);
	await app.assertWhole(node, 60_000);
	for (const { events } of app.seen.values()) assertConnectivity(events);
	assert.equal(await sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
