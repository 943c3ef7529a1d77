// sources.test.mjs - who tells that a vehicle comes and goes, besides the plugin: EMQX (its publisher is scripted here),
// and the vehicle itself, by its birth and its will.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { adminToken, gatewayPassword, openSocket, poll, Record, registerVehicle, rest, sendCommand, startInstallation, vehicleIds, vehicle as makeVehicle } from './harness.mjs';
import { atEnd } from './children.mjs';
import { startExample } from './examples.mjs';

const ids = vehicleIds(10);
const verifyDelay = 300;
// The plugin's own events go below a prefix that the node does not read. mosquitto lets no client publish below $SYS, but a
// bridge: what is published below emqx/ comes there.
const { broker, database, node } = await startInstallation({ ids, bridge: { from: 'emqx/', to: '$SYS/' }, config: { lifecycle: { source: 'emqx', prefix: 'elsewhere', verify_delay: `${verifyDelay}ms` } } });
const admin = await adminToken();
const options = { timeout: 60_000 };
let used = 0;

const get = async (id) => (await rest(node, 'GET', `/v1/vehicles/${id}`, { token: admin })).body.connectivity;
const untilState = (id, state) => poll(() => get(id), (connectivity) => connectivity.state === state && !connectivity.verifying, { what: `${id} is ${state}` });

async function newVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id);
	return id;
}

// ---- EMQX

const publisher = mqtt.connect(broker.url, { clientId: 'keyfob-emqx', username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
await new Promise((up) => publisher.once('connect', up));
atEnd(() => publisher.endAsync(true));
await poll(() => broker.child.logText(), (log) => log.includes(' as keyfob-bridge '), { what: 'the bridge is there' });

// EMQX as its documentation has it: sessions are told by $events, or by $SYS, which knows no subscriptions.
class Emqx {
	constructor(id, source = '$events') {
		Object.assign(this, { id, source, at: Date.now() });
	}

	#tell(topic, body) {
		return publisher.publishAsync(topic, JSON.stringify({ clientid: this.id, username: this.id, ...body }), { qos: 1 });
	}

	#presence(kind, body) {
		return this.#tell(this.source === '$SYS' ? `emqx/brokers/emqx@127.0.0.1/clients/${this.id}/${kind}` : `$events/client_${kind}`, body);
	}

	connected() {
		this.at += 1000;
		return this.#presence('connected', { connected_at: this.at, timestamp: this.at, clean_start: true, expiry_interval: 0 });
	}

	disconnected(reason, { begun } = {}) {
		this.at += 1;
		return this.#presence('disconnected', { reason, disconnected_at: this.at, timestamp: this.at, ...(begun && { connected_at: begun }) });
	}

	subscribed(topic = `vehicles/${this.id}/commands/request`) {
		this.at += 1;
		return this.#tell('$events/session_subscribed', { topic, qos: 1, timestamp: this.at });
	}

	unsubscribed(topic = `vehicles/${this.id}/commands/request`) {
		this.at += 1;
		return this.#tell('$events/session_unsubscribed', { topic, qos: 1, timestamp: this.at });
	}
}

for (const source of ['$events', '$SYS'])
	test(`EMQX, by ${source}: comes, unsubscribes, subscribes, goes`, options, async () => {
		const id = await newVehicle();
		const emqx = new Emqx(id, source);
		await emqx.connected();
		await emqx.subscribed('vehicles/other/commands/request');
		await poll(() => database.sql(`select connected_at from vehicle_heads where vehicle_id = '${id}'`), Boolean, { what: 'its connect was heard of' });
		assert.equal((await get(id)).state, 'disconnected', 'connected alone is not reachable, nor is another topic');
		await emqx.subscribed();
		await untilState(id, 'connected');
		await emqx.unsubscribed();
		assert.equal((await untilState(id, 'disconnected')).reason, 'UNSUBSCRIBED');
		await emqx.subscribed(`vehicles/${id}/#`);
		await untilState(id, 'connected');
		await emqx.disconnected('tcp_closed');
		assert.equal((await untilState(id, 'disconnected')).reason, 'tcp_closed');
	});

for (const reason of ['takenover', 'discarded'])
	test(`EMQX: ${reason} is no disconnect, whichever comes first`, options, async () => {
		const id = await newVehicle();
		const emqx = new Emqx(id);
		const app = await openSocket(node, { token: admin });
		await app.call('vehicle.subscribe', { vehicle_id: id });
		await emqx.connected();
		const begun = emqx.at;
		await emqx.subscribed();
		await untilState(id, 'connected');
		await emqx.disconnected(reason, { begun });
		await emqx.connected();
		await emqx.subscribed();
		await emqx.disconnected(reason, { begun });
		await emqx.disconnected('normal');
		await untilState(id, 'disconnected');
		await app.until(({ type, data }) => type === 'connectivity.changed' && data.state === 'disconnected');
		const changes = app.events.items.filter(({ type }) => type === 'connectivity.changed').map(({ data }) => data);
		assert.deepEqual(changes.map(({ state }) => state), ['connected', 'disconnected']);
		assert.equal(changes[1].reason, 'normal');
	});

test('EMQX: the gateway itself is no vehicle, and what is none of its events is counted', options, async () => {
	const before = await malformed();
	await new Emqx('keyfob-feed-00').connected();
	await publisher.publishAsync('$events/client_connected', '{"clientid":"a/b","connected_at":1}', { qos: 1 });
	await poll(malformed, (count) => count === before + 1, { what: 'one event is counted as malformed' });
});

async function malformed() {
	const metrics = await node.metrics();
	return Number(/^keyfob_lifecycle_malformed_total (\d+)/m.exec(metrics)?.[1] ?? NaN);
}

// ---- birth and will

function withWill(id, session, version) {
	const topic = `vehicles/${id}/lifecycle`;
	const message = (type) => JSON.stringify({ type, session, version });
	const client = mqtt.connect(broker.url, {
		clientId: id,
		username: id,
		password: broker.password,
		protocolVersion: 5,
		reconnectPeriod: 0,
		will: { topic, payload: Buffer.from(message('will')), qos: 1 },
	});
	atEnd(() => client.endAsync(true));
	client.requests = new Record(`${id} in ${session}`);
	client.on('message', (_, payload) => client.requests.push(JSON.parse(payload)));
	return new Promise((resolve, reject) => {
		client.on('error', reject);
		client.once('connect', async () => {
			await client.subscribeAsync(`vehicles/${id}/commands/request`, { qos: 1 });
			await client.publishAsync(topic, message('birth'), { qos: 1 });
			resolve(client);
		});
	});
}

test('a vehicle tells by itself: its birth makes it reachable, its will ends that, the next one is a take-over', options, async () => {
	const id = await newVehicle();
	const waiting = (await sendCommand(node, admin, id, { name: 'horn.honk' })).body;
	const first = await withWill(id, 'boot-1', 1);
	await untilState(id, 'connected');
	await poll(async () => (await rest(node, 'GET', `/v1/vehicles/${id}/commands/${waiting.id}`, { token: admin })).body, ({ status }) => status === 'sent', { what: 'what waited is sent' });
	const second = await withWill(id, 'boot-2', 2); // the broker publishes the first one's will
	await second.requests.until(({ attempt }) => attempt === 2);
	assert.equal((await get(id)).state, 'connected');
	first.end(true);
	second.stream.destroy();
	assert.equal((await untilState(id, 'disconnected')).reason, 'WILL');
});

test('a vehicle tells of itself alone', options, async () => {
	const [own, other] = [await newVehicle(), await newVehicle()];
	const vehicle = makeVehicle(broker, { id: own });
	await vehicle.connect();
	const forged = { topic: `vehicles/${other}/lifecycle`, payload: { type: 'birth', session: 'x', version: 9 } };
	await assert.rejects(vehicle.publish(forged.topic, forged.payload), /Not authorized/i);
	await assert.rejects(vehicle.publish(`vehicles/${own}/lifecycle`, forged.payload, { retain: true }), /Not authorized/i);
	await vehicle.publish(`vehicles/${own}/lifecycle`, forged.payload);
	await untilState(own, 'connected');
	assert.equal((await get(other)).state, 'disconnected');
});

test('the example in C, by its birth and its will', options, async () => {
	const id = await newVehicle();
	const child = await startExample(broker, id, 'birth');
	await untilState(id, 'connected');
	assert.equal((await sendCommand(node, admin, id, { name: 'doors.unlock' }, { Prefer: 'wait=20' })).body.status, 'succeeded');
	await child.kill();
	assert.equal((await untilState(id, 'disconnected')).reason, 'WILL');
});
