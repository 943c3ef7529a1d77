// ejabberd-long.test.mjs - a broker of two nodes, vehicles on the one and Keyfob on the other, and one of them killed; and what that
// broker has of what Keyfob asks for, row by row of docs/broker.md. With --long alone: it needs Debian's ejabberd.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import mqtt from 'mqtt';
import { atEnd, build, Child, folder, run } from './children.mjs';
import { startEjabberd } from './ejabberd.mjs';
import { adminToken, gatewayPassword, isLong, isSanitized, poll, Record, registerVehicle, rest, sendCommand, startNode, vehicle as makeVehicle, vehicleIds } from './harness.mjs';
import { Promises } from './oracle.mjs';
import { createMigratedDatabase } from './servers.mjs';
import { startSmsServer } from './sms.mjs';
import { connectFleet, Follower, judge, Traffic, untilConnected, untilSettled } from './stream.mjs';

const options = { timeout: 900_000, skip: !isLong ? 'with --long' : isSanitized && 'once is enough' };
const named = (prefix, count) => Array.from({ length: count }, (_, i) => prefix + String(i + 1).padStart(5, '0'));
const ids = [...vehicleIds(140), ...named('A', 40), ...named('S', 20), ...named('X', 12), ...named('R', 16), ...named('V', 200), ...named('C', 100)]; // also those of the tests that were written for another broker
const own = ids.slice(0, 6); // under traffic
const admin = await adminToken();
const parts = { promises: new Promises() };
const [A, B] = [0, 1];
const get = async (id) => (await rest(parts.node, 'GET', `/v1/vehicles/${id}`, { token: admin })).body.connectivity;
const untilState = (id, state) => poll(() => get(id), (is) => is.state === state && !is.verifying, { ms: 30_000, what: `${id} is ${state}` });

test('two nodes of ejabberd; Keyfob comes to one, vehicles to the other', options, async () => {
	const cluster = await startEjabberd(ids);
	const sms = await startSmsServer('the SMS provider', () => ({ status: 202 }));
	const database = await createMigratedDatabase();
	const broker = cluster.from(A);
	const config = { wake: { providers: ['http'], http: { url: sms.url, body: '{"to":"{msisdn}"}' } } };
	const node = await startNode({ broker, database, config });
	Object.assign(parts, { cluster, sms, database, node, nodes: [node, await startNode({ broker, database, config })] });
	parts.vehicles = await connectFleet(cluster.from(B), node, admin, own);
	parts.app = new Follower(parts.nodes, admin);
	await parts.app.follow(own);
	assert.match(node.child.logText(), new RegExp(`link is up".*port=${cluster.nodes[A].port} `));
	assert.doesNotMatch(node.child.logText(), /is kept for less|keeps no retained|resync/);
});

test('a command goes through one node to a vehicle on the other, and back', options, async () => {
	const { body, status } = await sendCommand(parts.node, admin, own[0], { name: 'doors.unlock' }, { Prefer: 'wait=20' });
	assert.deepEqual([status, body.status], [200, 'succeeded']);
	parts.promises.add(body.id, own[0], body);
	const [{ properties }] = parts.vehicles[0].requests.items;
	assert.equal(properties.responseTopic, `vehicles/${own[0]}/commands/response/${parts.vehicles[0].feed}`);
	assert.equal(properties.correlationData.toString(), body.id);
	assert.ok(properties.messageExpiryInterval > 0);
	assert.equal(properties.userProperties.name, 'doors.unlock');
	await parts.vehicles[0].verdictOn(body.id);
});

test('a vehicle that is away is woken, and gets what waits', options, async () => {
	const { cluster, sms, node } = parts;
	const id = ids[6];
	await registerVehicle(node, admin, id, { msisdn: '+4915550000006' });
	const sent = await sendCommand(node, admin, id, { name: 'doors.unlock', wake: true, ttl_seconds: 300 });
	assert.equal(sent.status, 202);
	await sms.requests.until(({ body }) => body.includes('+4915550000006'), { ms: 30_000 });
	parts.woken = makeVehicle(cluster.from(B), { id });
	await parts.woken.connect();
	await untilSettled(node, admin, [sent.body], { is: 'succeeded' });
	const wakeups = () => rest(node, 'GET', `/v1/vehicles/${id}/wakeups`, { token: admin });
	await poll(wakeups, ({ body }) => body.items[0]?.status === 'answered', { what: 'the wake-up is answered' });
});

test('its will says that it is gone, its next birth that it is back; a take-over is neither', options, async () => {
	const { cluster, woken } = parts;
	const { id } = woken;
	await untilState(id, 'connected');
	await woken.disconnect({ force: true });
	assert.equal((await untilState(id, 'disconnected')).reason, 'WILL');
	await woken.connect();
	await untilState(id, 'connected');
	const taker = makeVehicle(cluster.from(A), { id });
	const before = (await get(id)).since;
	await woken.disconnect(); // it would come back, and back
	await taker.connect();
	await untilState(id, 'connected');
	assert.ok(before <= (await get(id)).since);
	await taker.disconnect();
	await untilState(id, 'disconnected');
});

// ---- a node of the broker is killed

const startTraffic = (name) => new Traffic(name, { nodes: parts.nodes, token: admin, own, promises: parts.promises, rate: 20, width: 6, never: { ttl_seconds: 20 } });

async function assertGoesOn(t, name, which) {
	const { cluster, nodes } = parts;
	const traffic = startTraffic(name);
	await traffic.untilMore(60);
	await cluster.nodes[which].kill();
	const before = traffic.told.length;
	await traffic.untilMore(100);
	await traffic.stop();
	for (const node of nodes) await poll(() => node.isReady(), Boolean, { ms: 30_000, what: `${node.name} is ready` });
	await untilConnected(nodes[0], admin, own, 60_000);
	await untilSettled(nodes[0], admin, traffic.told, { ms: 90_000 });
	await untilVehiclesAreOn(1 - which); // seen before it starts: that sends some of them away again
	const { statuses, repeated } = await outcome(traffic.told);
	t.diagnostic(`${traffic.told.length} commands, ${traffic.told.length - before} after the loss (${statuses}); ${repeated} requests came twice; nothing was accepted for ${traffic.longest} ms at most`);
	await cluster.nodes[which].startSurely();
	await poll(() => cluster.ask(cluster.nodes[1 - which], 'ejabberd_cluster, get_nodes, []'), (is) => is.includes(cluster.nodes[which].erlangName), { ms: 120_000, every: 1000, what: 'it is back in the cluster' });
}

const untilVehiclesAreOn = (which) =>
	poll(
		() => parts.vehicles.map(({ client }) => (client.connected ? client.stream.remotePort : 0)),
		(ports) => ports.every((port) => port === parts.cluster.nodes[which].port),
		{ ms: 30_000, what: `every vehicle is on ${parts.cluster.nodes[which].url}` },
	);

async function outcome(told) {
	const counts = new Map();
	for (const { vehicle_id, id } of told) {
		const { body } = await rest(parts.node, 'GET', `/v1/vehicles/${vehicle_id}/commands/${id}`, { token: admin });
		const what = body.status === 'succeeded' ? 'succeeded' : `${body.status} ${body.name}`;
		counts.set(what, (counts.get(what) ?? 0) + 1);
	}
	const received = parts.vehicles.map(({ requests, executed }) => requests.items.length - executed.length);
	return { statuses: [...counts].map(([what, count]) => `${count} ${what}`).join(', '), repeated: received.reduce((all, one) => all + one) };
}

test('the node with the vehicles is killed under traffic: they come to the other', options, (t) => assertGoesOn(t, 'theirs', B));

test('the node with Keyfob and the vehicles is killed under traffic: all of them come to the other', options, (t) => assertGoesOn(t, 'everybody', A));

test('the node with Keyfob alone is killed under traffic: it comes to the other', options, async (t) => {
	// After the last one everybody is on B; the vehicles are sent away from there.
	const { cluster, vehicles, node } = parts;
	for (const one of vehicles) {
		one.broker = cluster.from(A);
		await one.disconnect();
		await one.connect();
	}
	await untilConnected(node, admin, own, 60_000);
	await untilVehiclesAreOn(A);
	const logged = node.child.logText().length;
	await assertGoesOn(t, 'keyfob', B);
	assert.match(node.child.logText().slice(logged), new RegExp(`link is up".*port=${cluster.nodes[A].port} `));
});

test('over all of it nothing was lost, nothing done twice, and the app saw everything', options, async () => {
	const { promises, vehicles, nodes, app } = parts;
	const commands = await judge(nodes[0], admin, promises, vehicles, { ms: 120_000 });
	const lost = commands.filter(({ status, name }) => status !== 'succeeded' && name !== 'engine.start');
	assert.deepEqual(lost, [], 'what may be repeated was done in the end');
	await app.assertWhole(nodes[1], 60_000);
});

test('keyfob doctor visits both nodes and finds nothing wrong with them', options, async () => {
	const text = await run(`${build}/bin/keyfob`, ['doctor', '--config', parts.node.file]).catch(({ message }) => message);
	for (const { port } of parts.cluster.nodes) assert.match(text, new RegExp(`127\\.0\\.0\\.1:${port}, MQTT 5`));
	assert.match(text, /vehicles\/\+\/lifecycle/);
});

// ---- the rows of docs/broker.md, tried without Keyfob between

async function open(which, id, { user = 'keyfob', password = gatewayPassword, ...more } = {}) {
	const client = mqtt.connect(parts.cluster.nodes[which].url, { clientId: id, username: user, password, protocolVersion: 5, reconnectPeriod: 0, ...more });
	atEnd(() => client.endAsync(true));
	client.heard = new Record(id);
	client.on('message', (topic, payload, packet) => client.heard.push({ topic, text: payload.toString(), packet }));
	client.on('error', ({ code }) => (client.refusal = code));
	client.on('packetreceive', (packet) => packet.cmd === 'puback' && (client.verdict = packet.reasonCode ?? 0));
	client.on('disconnect', ({ reasonCode }) => (client.goodbye = reasonCode));
	client.over = new Promise((resolve) => client.on('close', resolve));
	client.connack = await new Promise((resolve, reject) => client.on('connect', resolve).on('close', () => reject(new Error(`${id} was refused (${client.refusal})`))));
	return client;
}

const vehicleAccount = (user) => ({ user, password: parts.cluster.password });

// The reason code of the PUBACK; undefined: the connection ended before it came.
async function say(client, topic, text, more) {
	client.verdict = undefined;
	await Promise.race([client.publishAsync(topic, text, { qos: 1, ...more }).catch(() => {}), client.over]);
	return client.verdict;
}

const subscribe = (client, ...topics) => client.subscribeAsync(topics, { qos: 1 });
const persistent = { clean: false, properties: { sessionExpiryInterval: 604_800 } };

test('it has: 0x10, expiry of messages, a session that moves between nodes, take-over, will delay', options, async () => {
	const gateway = await open(A, 'x-gateway');
	assert.equal(await say(gateway, 'x/nobody', ''), 0x10);
	const feed = await open(A, 'x-feed', persistent);
	assert.equal(feed.connack.properties.sessionExpiryInterval, 604_800);
	await subscribe(feed, 'x/feed/+', 'x/will');
	await feed.endAsync(true);
	const short = { properties: { messageExpiryInterval: 1 } };
	assert.equal(await say(gateway, 'x/feed/1', 'first', short), 0); // counts as under way, and then expires no more
	assert.equal(await say(gateway, 'x/feed/1', 'short', short), 0);
	assert.equal(await say(gateway, 'x/feed/1', 'long'), 0);
	await pause(2500);
	const moved = await open(B, 'x-feed', persistent);
	assert.ok(moved.connack.sessionPresent);
	await moved.heard.until(({ text }) => text === 'long');
	assert.deepEqual(moved.heard.items.map(({ text }) => text), ['first', 'long']);
	const taker = await open(A, 'x-feed', persistent);
	await poll(() => moved.goodbye, (code) => code === 0x8e, { what: 'the old connection is told of the take-over' });
	const will = { topic: 'x/will', payload: Buffer.from('gone'), qos: 1, properties: { willDelayInterval: 2 } };
	const dying = await open(B, 'x-dying', { ...persistent, will });
	const at = Date.now();
	dying.stream.destroy();
	await taker.heard.until(({ text }) => text === 'gone');
	assert.ok(Date.now() - at >= 1500);
	await taker.endAsync();
});

// Which of two connects of one second was the later one it decides by a counter that each node has for itself.
test('a session that changes nodes twice within a second is taken from who came last, and refused by both', options, async () => {
	const come = async (which, id) => {
		const client = await open(which, id, persistent);
		await subscribe(client, 'x/wandering').catch(() => {}); // 0x8e may come first
		client.stream.destroy();
		await client.over;
		return client.connack.sessionPresent;
	};
	const wander = async (id) => {
		await pause(1000 - (Date.now() % 1000));
		for (const which of [A, B, A]) await come(which, id);
	};
	let id;
	await poll(
		() => wander((id = `x-wanderer-${Math.random()}`)).then(() => come(B, id)).catch(({ message }) => message),
		(message) => /was refused \(128\)/.test(message),
		{ ms: 30_000, what: 'it is refused' },
	);
	for (const which of [A, B]) await assert.rejects(come(which, id), /was refused \(128\)/);
	await open(A, id); // who wants none of it gets in
	await come(A, 'x-steady');
	for (let i = 0; i < 5; i++) assert.ok(await come(A, 'x-steady'), 'who stays with a node keeps it');
});

test('it has not: shared subscriptions, topics that begin with $, more than one message under way to a client', options, async () => {
	const gateway = await open(A, 'x-lacks');
	assert.equal(gateway.connack.properties.sharedSubscriptionAvailable, false);
	assert.equal(await say(gateway, '$aws/commands/things/x/executions/1/request/json', ''), 0x90);
	const slow = await open(B, 'x-slow', { customHandleAcks: (topic, message, packet, done) => void done });
	await subscribe(slow, 'x/slow');
	let came = 0;
	slow.on('packetreceive', ({ cmd }) => (came += cmd === 'publish'));
	for (let i = 0; i < 5; i++) await say(gateway, 'x/slow', String(i));
	await poll(() => came, (count) => count > 0, { what: 'the first came' });
	await pause(1000);
	assert.equal(came, 1);
});

test('it keeps retained messages on the node that took them: the other shows them to nobody', options, async () => {
	const [here, there] = [await open(A, 'x-here'), await open(B, 'x-there')];
	assert.equal(await say(here, 'x/kept', 'kept', { retain: true }), 0x10);
	for (const client of [here, there]) {
		await subscribe(client, 'x/kept');
		await subscribe(client, 'x/mark');
		await say(client, 'x/mark', client.options.clientId);
		await client.heard.until(({ text }) => text === client.options.clientId);
	}
	assert.ok(here.heard.items.some(({ text }) => text === 'kept'));
	assert.ok(!there.heard.items.some(({ text }) => text === 'kept'));
});

test('its rules go by the account; under which client id is not asked', options, async () => {
	const [one, two] = ids.slice(7, 9);
	await subscribe(await open(A, 'x-hears'), `vehicles/${one}/lifecycle`);
	const client = await open(B, 'anything', vehicleAccount(one));
	assert.equal(await say(client, `vehicles/${one}/lifecycle`, '{}'), 0);
	assert.equal(await say(client, `vehicles/${two}/lifecycle`, '{}'), 0x90);
	assert.equal(await say(client, 'keyfob/inbox/x', '{}'), 0x90);
	await assert.rejects(subscribe(client, `vehicles/${two}/commands/request`));
	const foreign = await open(B, 'keyfob-feed-00', vehicleAccount(one)); // a session of its own: it throws nobody out
	assert.equal(foreign.connack.reasonCode, 0);
	await poll(() => parts.node.isReady(), Boolean, { what: 'the gateway is where it was' });
});

test('a killed node: no will of it is told, its sessions are gone, who publishes meanwhile loses the connection', options, async () => {
	const { cluster } = parts;
	const watcher = await open(B, 'x-watcher');
	await subscribe(watcher, 'x/will', 'x/still');
	const feed = await open(A, 'x-lost', persistent);
	await subscribe(feed, 'x/lost');
	await open(A, 'x-willing', { will: { topic: 'x/will', payload: Buffer.from('gone'), qos: 1 } });
	const publisher = await open(B, 'x-publisher');
	await cluster.nodes[A].kill();
	await say(publisher, 'x/still', 'at once');
	let next = await open(B, 'x-publisher-2');
	const ask = async () => {
		if (!next.connected) next = await open(B, 'x-publisher-2');
		return say(next, 'x/lost', '');
	};
	await poll(() => ask().catch(() => {}), (verdict) => verdict === 0x10, { ms: 30_000, every: 200, what: 'nobody is there any more' });
	await say(next, 'x/still', 'later');
	await watcher.heard.until(({ text }) => text === 'later');
	assert.ok(!watcher.heard.items.some(({ topic }) => topic === 'x/will'));
	const again = await open(B, 'x-lost', persistent);
	assert.equal(again.connack.sessionPresent, false);
	await cluster.nodes[A].startSurely();
});

// ---- tests that were written for another broker

test('all of them end: nodes would read the same topics, vehicles have the same names', options, () =>
	Promise.all([...parts.nodes.map((node) => node.stop()), ...parts.vehicles.map((vehicle) => vehicle.disconnect({ force: true }))]));

// What each of them leaves out is counted; it says why itself. Keyfob is on one node and vehicles on the other, but where it is about retained
// messages, which the other does not show.
const written = [
	{ name: 'journey' },
	{ name: 'websocket' },
	{ name: 'vehicles', leavesOut: 1 },
	{ name: 'access' },
	{ name: 'edges' },
	{ name: 'rest' },
	{ name: 'client' },
	{ name: 'webhooks' },
	{ name: 'limits' },
	{ name: 'wake' },
	{ name: 'wake-smpp' },
	{ name: 'twin', leavesOut: 3, nodes: B },
	{ name: 'batches' },
	{ name: 'nodes' },
	{ name: 'damping' },
	{ name: 'tracing' },
	{ name: 'security' },
	{ name: 'matrix' },
	{ name: 'failover', leavesOut: 1 },
	{ name: 'failpoints', leavesOut: 2 },
	{ name: 'leases' },
	{ name: 'overload' },
	{ name: 'pressure' },
	{ name: 'crowd' },
	{ name: 'torture' },
	{ name: 'restore' },
];

for (const { name, leavesOut = 0, nodes = A } of written)
	test(`${name}.test.mjs, on this broker`, options, async (t) => {
		const { cluster } = parts;
		const namespace = `test-${name}`;
		const home = join(folder, name);
		mkdirSync(home, { recursive: true });
		const broker = cluster.from(B, { namespace, mqtt: { url: cluster.url(nodes) } });
		const env = { KEYFOB_TEST_BROKER: JSON.stringify(broker), KEYFOB_TEST_DIR: home, KEYFOB_LONG: '', NODE_TEST_CONTEXT: undefined };
		const child = new Child(name, process.execPath, ['--test-reporter=spec', fileURLToPath(new URL(`./${name}.test.mjs`, import.meta.url))], { env });
		child.isExpectedToEnd = true;
		const bound = setTimeout(() => child.kill(), 600_000);
		const { code } = await child.exited;
		clearTimeout(bound);
		const text = child.logText();
		const count = (what) => Number(new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(text)?.[1] ?? NaN);
		assert.equal(code, 0, text.slice(-4000));
		assert.ok(count('pass') > 0);
		const out = text.match(/(?<=^ *﹣ ).*/gm) ?? [];
		assert.deepEqual([count('skipped'), out.length], [leavesOut, leavesOut], out.join('; '));
		t.diagnostic(`${name}: ${count('pass')} passed, ${leavesOut} left out${out.map((line) => `; ${line}`).join('')}`);
		await cluster.forget(namespace);
	});
