// aws-commands.test.mjs - vehicles that were built for AWS IoT Commands and know nothing of Keyfob.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { adminToken, connectVehicle, feedOf, openSocket, poll, Record, registerVehicle, rest, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { atEnd } from './children.mjs';
import { startSmsServer } from './sms.mjs';

const options = { timeout: 60_000 };
const ids = vehicleIds(30);
const sms = await startSmsServer('the SMS provider', () => ({ status: 201, body: '{}' }));
const wake = { providers: ['http'], http: { url: `${sms.url}/send`, body: '{"to":"{msisdn}"}' } };
const { broker, node, database } = await startInstallation({ ids, config: { lifecycle: { verify_delay: '300ms' }, wake } });
const admin = await adminToken();
let used = 0;

// ---- a device of AWS IoT Commands

const statuses = (...list) => list.map((status) => ({ status }));

// It answers each execution with what `handler(payload, execution)` gives, one after the other, and does an execution once.
class Device {
	constructor(id, settings) {
		Object.assign(this, { id, version: 5, clean: true, filter: `$aws/commands/things/${id}/executions/+/request/json`, handler: () => statuses('SUCCEEDED') }, settings);
		this.requests = new Record(`${id} (requests)`); // { topic, execution, payload, properties }
		this.verdicts = new Record(`${id} (accepted and rejected)`); // { execution, which, ...payload }
		this.done = new Set();
	}

	topic(execution, rest) {
		return `$aws/commands/things/${this.id}/executions/${execution}/${rest}`;
	}

	// Resolves when it is subscribed, or has its old session.
	async connect({ subscribe = true } = {}) {
		this.client = mqtt.connect(broker.url, {
			clientId: this.id,
			username: this.id,
			password: broker.password,
			protocolVersion: this.version,
			clean: this.clean,
			reconnectPeriod: 0,
			resubscribe: false,
			...(this.version === 5 && !this.clean && { properties: { sessionExpiryInterval: 3600 } }),
		});
		this.client.on('error', () => {});
		this.client.on('message', (topic, payload, packet) => this.#onMessage(topic, payload.toString(), packet)); // a resumed session has some at once
		atEnd(() => this.client.endAsync(true));
		await once(this.client, 'connect');
		if (subscribe) await this.client.subscribeAsync([this.topic('+', 'response/accepted/json'), this.topic('+', 'response/rejected/json'), this.filter], { qos: 1 });
		return this;
	}

	async #onMessage(topic, payload, { properties, retain }) {
		const [execution, kind, which] = topic.split('/').slice(5);
		if (kind === 'response') return this.verdicts.push({ execution, which, ...JSON.parse(payload) });
		this.requests.push({ topic, execution, payload: JSON.parse(payload), properties, retain });
		if (this.done.has(execution)) return;
		this.done.add(execution);
		for (const answer of this.handler(JSON.parse(payload), execution)) this.answer(execution, answer);
	}

	// As it is, where `answer` is a string.
	answer(execution, answer, as = this.id) {
		const topic = this.topic(execution, 'response/json').replace(this.id, as);
		return this.client.publishAsync(topic, typeof answer === 'string' ? answer : JSON.stringify(answer), { qos: 1 });
	}

	// So many answers to an execution are accepted.
	untilAccepted(execution, count) {
		const accepted = () => this.verdicts.items.filter((verdict) => verdict.execution === execution && verdict.which === 'accepted');
		return this.verdicts.until(() => accepted().length >= count, { what: `${count} answers are accepted` });
	}

	// The verdict on this answer, when none is awaited.
	async told(execution, answer) {
		const from = this.verdicts.items.length;
		await this.answer(execution, answer);
		const { which, error, errorMessage, executionId } = await this.verdicts.until((verdict) => verdict.execution === execution, { from });
		assert.equal(executionId, execution);
		assert.equal(typeof errorMessage, which === 'accepted' ? 'undefined' : 'string');
		return error ?? which;
	}
}

// ---- and the app

async function absentDevice(settings = {}, body = {}) {
	const id = ids[used++];
	const { body: registered } = await registerVehicle(node, admin, id, { vehicle_protocol: 'aws-commands', ...body });
	assert.equal(registered.vehicle_protocol, 'aws-commands');
	return new Device(id, settings);
}

async function presentDevice(settings) {
	const device = await (await absentDevice(settings)).connect();
	await untilState(device.id, 'connected');
	return device;
}

const get = (id) => rest(node, 'GET', `/v1/vehicles/${id}`, { token: admin });
const getCommand = async (id, command) => (await rest(node, 'GET', `/v1/vehicles/${id}/commands/${command}`, { token: admin })).body;
const untilState = (id, state) => poll(() => get(id), ({ body }) => body.connectivity.state === state, { what: `${id} is ${state}` });
const untilStatus = (id, command, status) => poll(() => getCommand(id, command), (body) => body.status === status, { what: `${command} is ${status}` });
async function send(id, name = 'doors.unlock', more = {}, headers = {}) {
	const { status, body } = await sendCommand(node, admin, id, { name, ...more }, headers);
	assert.ok([200, 202].includes(status), JSON.stringify(body));
	return body;
}

// ---- an execution

test('the request is the bare command on the execution\'s topic, and lives as long as the command', options, async () => {
	const device = await presentDevice({ handler: () => [] });
	const command = await send(device.id, 'climate.start', { params: { temperature: 21.5 }, ttl_seconds: 60 });
	const request = await device.requests.until(({ execution }) => execution === command.id);
	assert.equal(request.topic, `$aws/commands/things/${device.id}/executions/${command.id}/request/json`);
	assert.deepEqual(request.payload, { defrost: false, minutes: 10, temperature: 21.5 });
	assert.deepEqual(request.payload, command.params);
	assert.equal(request.retain, false);
	const { messageExpiryInterval, contentType, userProperties } = request.properties;
	assert.ok(messageExpiryInterval > 50 && messageExpiryInterval <= 60, `${messageExpiryInterval} s are left`);
	assert.equal(contentType, 'application/json');
	assert.equal(userProperties.name, 'climate.start');
});

test('in progress, then its last word: each accepted, and told to apps in their own words', options, async () => {
	const device = await presentDevice({ handler: () => [] });
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: device.id });
	const { id } = await send(device.id);
	await device.requests.until(({ execution }) => execution === id);
	assert.equal(await device.told(id, { status: 'IN_PROGRESS', statusReason: { reasonCode: 'OPENING', reasonDescription: 'Tür öffnet' } }), 'accepted');
	const opening = await app.until(({ data }) => data.id === id && data.status === 'in_progress');
	assert.deepEqual(opening.data.reason, { code: 'OPENING', description: 'Tür öffnet' });
	const result = { doors: { s: 'open' }, all: { b: true }, trace: { bin: 'AAECAw==' } };
	assert.equal(await device.told(id, { status: 'SUCCEEDED', result }), 'accepted');
	const done = await app.until(({ data }) => data.id === id && data.status === 'succeeded');
	assert.deepEqual(done.data.result, { doors: 'open', all: true, trace: 'AAECAw==' });
	assert.equal(done.data.late, false);
	const { timeline } = await getCommand(device.id, id);
	assert.deepEqual(timeline.filter(({ step }) => step === 'answer').map(({ detail }) => detail.status), ['in_progress', 'succeeded']);
});

for (const [said, status, reason] of [
	[{ status: 'FAILED', statusReason: { reasonCode: 'DOOR_OPEN' } }, 'failed', { code: 'DOOR_OPEN' }],
	[{ status: 'REJECTED', statusReason: { reasonCode: '403', reasonDescription: 'the engine runs' } }, 'rejected', { code: '403', description: 'the engine runs' }],
	[{ status: 'TIMED_OUT' }, 'failed', { code: 'TIMED_OUT' }],
])
	test(`${said.status} is ${status}`, options, async () => {
		const device = await presentDevice({ handler: () => [said] });
		const command = await send(device.id, 'doors.unlock', {}, { Prefer: 'wait=20' });
		assert.equal(command.status, status);
		assert.deepEqual(command.reason, reason);
	});

test('after its last word nothing changes, but the same again is accepted again', options, async () => {
	const device = await presentDevice();
	const { id } = await send(device.id, 'doors.unlock', {}, { Prefer: 'wait=20' });
	await device.untilAccepted(id, 1);
	assert.equal(await device.told(id, { status: 'FAILED', statusReason: { reasonCode: 'NO' } }), 'TerminalStateReached');
	assert.equal(await device.told(id, { status: 'IN_PROGRESS' }), 'TerminalStateReached');
	assert.equal(await device.told(id, { status: 'SUCCEEDED' }), 'accepted');
	assert.equal((await getCommand(device.id, id)).status, 'succeeded');
});

test('a time-out set here is not final: no way back to progress, but a late last word is kept', options, async () => {
	const device = await presentDevice({ handler: () => [] });
	const { id } = await send(device.id, 'doors.unlock', { timeout_seconds: 1 });
	await untilStatus(device.id, id, 'timed_out');
	assert.equal(await device.told(id, { status: 'IN_PROGRESS' }), 'InvalidStateTransition');
	assert.equal((await getCommand(device.id, id)).status, 'timed_out');
	assert.equal(await device.told(id, { status: 'SUCCEEDED', result: { doors: { s: 'open' } } }), 'accepted');
	const command = await getCommand(device.id, id);
	assert.equal(command.status, 'succeeded');
	assert.equal(command.late, true);
});

test('what cannot be taken is refused by AWS\'s names, and changes nothing', options, async () => {
	const device = await presentDevice({ handler: () => [] });
	const { id } = await send(device.id);
	await device.requests.until(({ execution }) => execution === id);
	await untilStatus(device.id, id, 'sent');
	assert.equal(await device.told(id, '{"status":"SUCCEEDED"'), 'InvalidJson');
	assert.equal(await device.told(id, 'null'), 'InvalidRequest');
	assert.equal(await device.told(id, { status: 'DONE' }), 'InvalidRequest');
	assert.equal(await device.told(id, { status: 'FAILED', statusReason: { reasonCode: 'lower case' } }), 'InvalidRequest');
	assert.equal(await device.told(id, { status: 'FAILED', statusReason: { reasonCode: 'A', reasonDescription: 'x'.repeat(1025) } }), 'InvalidRequest');
	assert.equal(await device.told(id, { status: 'SUCCEEDED', result: { doors: 'open' } }), 'InvalidRequest');
	assert.equal(await device.told(id, ' '.repeat(128 * 1024 + 1)), 'InvalidRequest');
	assert.equal(await device.told(randomUUID(), { status: 'SUCCEEDED' }), 'ResourceNotFound');
	assert.equal(await device.told('no-uuid', { status: 'SUCCEEDED' }), 'ResourceNotFound');
	assert.equal((await getCommand(device.id, id)).status, 'sent');
	assert.equal(await device.told(id, { status: 'SUCCEEDED' }), 'accepted');
});

// ---- coming and going

test('a command waits until the device asks for requests', options, async () => {
	const device = await absentDevice();
	const { id } = await send(device.id);
	await untilStatus(device.id, id, 'waiting');
	await device.connect();
	await untilStatus(device.id, id, 'succeeded');
	assert.equal(device.requests.items.length, 1);
});

test('a broader filter of its own will do, also by MQTT 3.1.1', options, async () => {
	const id = ids[used];
	const device = await presentDevice({ version: 4, filter: `$aws/commands/things/${id}/executions/#` });
	assert.equal(device.id, id);
	const command = await send(id, 'doors.unlock', {}, { Prefer: 'wait=20' });
	assert.equal(command.status, 'succeeded');
	await device.untilAccepted(command.id, 1);
});

test('an MQTT 3.1.1 device does the whole of it', options, async () => {
	const device = await presentDevice({ version: 4, handler: () => statuses('IN_PROGRESS', 'SUCCEEDED') });
	const command = await send(device.id, 'climate.start', { params: { temperature: 20 } }, { Prefer: 'wait=20' });
	assert.equal(command.status, 'succeeded');
	assert.deepEqual(device.requests.items[0].payload, { defrost: false, minutes: 10, temperature: 20 });
	await device.untilAccepted(command.id, 2);
	assert.equal(await device.told(command.id, { status: 'FAILED' }), 'TerminalStateReached');
});

test('who asks for verdicts or for Keyfob\'s own requests is not there yet', options, async () => {
	const device = await (await absentDevice()).connect({ subscribe: false });
	const { id } = await send(device.id, 'horn.honk', { ttl_seconds: 60 });
	await untilStatus(device.id, id, 'waiting');
	await device.client.subscribeAsync([device.topic('+', 'response/accepted/json'), `vehicles/${device.id}/commands/request`, device.topic(randomUUID(), 'request/json')], { qos: 1 });
	// the barrier: what the broker told of it before was read before
	const other = await presentDevice();
	assert.equal((await get(device.id)).body.connectivity.state, 'disconnected');
	assert.equal((await getCommand(device.id, id)).status, 'waiting');
	assert.equal(other.requests.items.length, 0);
	await device.client.subscribeAsync(device.filter, { qos: 1 });
	await untilStatus(device.id, id, 'succeeded');
});

test('a session that is resumed needs no new subscription', options, async () => {
	const device = await presentDevice({ clean: false });
	await device.client.endAsync();
	await untilState(device.id, 'disconnected');
	const { id } = await send(device.id, 'horn.honk', { ttl_seconds: 60 });
	await untilStatus(device.id, id, 'waiting');
	await device.connect({ subscribe: false });
	await untilStatus(device.id, id, 'succeeded');
});

test('a sleeping device is woken by SMS, and gets what waits', options, async () => {
	const device = await absentDevice({}, { msisdn: '+4915551230099' });
	const { id } = await send(device.id);
	await sms.requests.until(({ body }) => JSON.parse(body).to === '+4915551230099', { what: 'the SMS' });
	await device.connect();
	await untilStatus(device.id, id, 'succeeded');
	const { timeline } = await getCommand(device.id, id);
	assert.ok(timeline.some(({ step, detail }) => step === 'wakeup' && detail.status === 'answered'), JSON.stringify(timeline));
});

test('a device that is there before it is registered is reachable at once', options, async () => {
	const id = ids[used++];
	const device = await new Device(id, {}).connect();
	await poll(() => database.sql(`select subscribed from vehicle_heads where vehicle_id = '${id}'`), (text) => text.trim() === 't', { what: 'the stranger is known' });
	await registerVehicle(node, admin, id, { vehicle_protocol: 'aws-commands' });
	assert.equal((await get(id)).body.connectivity.state, 'connected');
	assert.equal((await send(id, 'doors.unlock', {}, { Prefer: 'wait=20' })).status, 'succeeded');
	assert.equal(device.requests.items.length, 1);
});

test('a request without an answer is offered again in the next session, as the same execution', options, async () => {
	const device = await presentDevice({ handler: () => [] });
	const { id } = await send(device.id);
	await device.requests.until(({ execution }) => execution === id);
	device.client.stream.destroy();
	await device.connect();
	await device.requests.until(({ execution }) => execution === id, { from: 1 });
	assert.equal(await device.told(id, { status: 'SUCCEEDED' }), 'accepted');
	assert.equal((await getCommand(device.id, id)).attempts, 2);
});

// ---- order, and whose word it is

test('many devices answer many commands at once, each in its order', options, async () => {
	const devices = await Promise.all(Array.from({ length: 4 }, () => presentDevice({ handler: () => statuses('IN_PROGRESS', 'IN_PROGRESS', 'SUCCEEDED') })));
	const sent = await Promise.all(devices.flatMap((device) => Array.from({ length: 10 }, () => send(device.id, 'horn.honk').then(({ id }) => ({ device, id })))));
	for (const { device, id } of sent) {
		const { timeline } = await untilStatus(device.id, id, 'succeeded');
		assert.deepEqual(timeline.filter(({ step }) => step === 'answer').map(({ detail }) => detail.status), ['in_progress', 'in_progress', 'succeeded']);
		await device.untilAccepted(id, 3);
	}
	for (const device of devices) assert.ok(device.verdicts.items.every(({ which }) => which === 'accepted'));
});

test('nobody answers for another, by whichever protocol', options, async () => {
	const [device, other] = [await presentDevice({ handler: () => [] }), await presentDevice()];
	const own = ids[used++];
	await registerVehicle(node, admin, own);
	const vehicle = await connectVehicle(broker, { id: own });
	await untilState(own, 'connected');
	const { id } = await send(device.id);
	await device.requests.until(({ execution }) => execution === id);
	const denied = { code: 135 };
	await assert.rejects(other.answer(id, { status: 'SUCCEEDED' }, device.id), denied);
	await assert.rejects(vehicle.publish(device.topic(id, 'response/json'), { status: 'SUCCEEDED' }), denied);
	await assert.rejects(other.client.publishAsync(`vehicles/${own}/commands/response/${feedOf(own)}`, '{}', { qos: 1 }), denied);
	// on their own topics, of a command that is not theirs
	assert.equal(await other.told(id, { status: 'SUCCEEDED' }), 'ResourceNotFound');
	await vehicle.publish(`vehicles/${own}/commands/response/${feedOf(own)}`, { request_id: id, status: 'succeeded' });
	assert.equal((await vehicle.verdictOn(id)).code, 'UNKNOWN_REQUEST');
	await vehicle.client.subscribeAsync(`$aws/commands/things/${own}/#`, { qos: 1 });
	await vehicle.publish(`$aws/commands/things/${own}/executions/${id}/response/json`, { status: 'SUCCEEDED' });
	const { payload } = await vehicle.messages.until(({ topic }) => topic.endsWith(`${id}/response/rejected/json`));
	assert.equal(JSON.parse(payload).error, 'ResourceNotFound');
	const command = await getCommand(device.id, id);
	assert.ok(['accepted', 'sent'].includes(command.status), command.status);
	assert.equal(await device.told(id, { status: 'SUCCEEDED' }), 'accepted');
});

test('with a new protocol the next request goes by it, and what is under way may be answered by either', options, async () => {
	const device = await presentDevice({ handler: () => [] });
	const before = await send(device.id, 'horn.honk');
	await device.requests.until(({ execution }) => execution === before.id);
	await untilStatus(device.id, before.id, 'sent');
	const { body } = await registerVehicle(node, admin, device.id);
	assert.equal(body.vehicle_protocol, 'keyfob');
	assert.equal(await device.told(before.id, { status: 'SUCCEEDED' }), 'accepted');
	const next = new Promise((resolve) => device.client.on('message', (topic, payload) => topic === `vehicles/${device.id}/commands/request` && resolve(JSON.parse(payload))));
	await device.client.subscribeAsync(`vehicles/${device.id}/commands/request`, { qos: 1 });
	const { id } = await send(device.id, 'horn.honk');
	const request = await next;
	assert.equal(request.request_id, id);
	assert.equal(request.name, 'horn.honk');
	await device.client.publishAsync(request.response_topic, JSON.stringify({ request_id: id, status: 'succeeded' }), { qos: 1 });
	await untilStatus(device.id, id, 'succeeded');
});

test('an unknown protocol is refused, and none is Keyfob\'s own', options, async () => {
	const id = ids[used++];
	const put = (body) => rest(node, 'PUT', `/v1/vehicles/${id}`, { token: admin, body });
	for (const vehicle_protocol of ['AWS', '', 7, ['keyfob']]) {
		const { status, body } = await put({ vehicle_protocol });
		assert.equal(status, 422, JSON.stringify(body));
	}
	assert.equal((await put({})).body.vehicle_protocol, 'keyfob');
	assert.equal((await get(id)).body.vehicle_protocol, 'keyfob');
});

// ---- the node's end

test('an answer that was not committed when the node died is read by the next, and accepted', { timeout: 90_000 }, async () => {
	const device = await presentDevice({ handler: () => [] });
	const { id } = await send(device.id, 'doors.unlock', { timeout_seconds: 60 });
	await device.requests.until(({ execution }) => execution === id);
	await untilStatus(device.id, id, 'sent');
	await node.kill();
	await device.answer(id, { status: 'IN_PROGRESS' });
	await device.answer(id, { status: 'SUCCEEDED', result: { doors: { s: 'open' } } });
	await node.start(false); // it is up when it answers, ready when the broker and the database are
	const command = await poll(() => getCommand(device.id, id), ({ status }) => status === 'succeeded', { ms: 30_000, what: 'the answers are read' });
	assert.deepEqual(command.timeline.filter(({ step }) => step === 'answer').map(({ detail }) => detail.status), ['in_progress', 'succeeded']);
	await device.untilAccepted(id, 2);
});
