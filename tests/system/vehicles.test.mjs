// vehicles.test.mjs - the contract with vehicles: MQTT 5 and 3.1.1, sleeping and coming back, and answers of every kind.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { atEnd } from './children.mjs';
import {
	adminToken,
	connectVehicle,
	gatewayPassword,
	openSocket,
	poll,
	registerVehicle,
	rest,
	sendCommand,
	startInstallation,
	vehicleIds,
} from './harness.mjs';

const ids = vehicleIds(30);
const verifyDelay = 400;
const { broker, node } = await startInstallation({ ids, config: { lifecycle: { verify_delay: `${verifyDelay}ms` } } });
const admin = await adminToken();
const options = { timeout: 60_000 };
let used = 0;

async function absentVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id);
	return id;
}

async function presentVehicle(settings = {}) {
	const id = await absentVehicle();
	const vehicle = await connectVehicle(broker, { id, ...settings });
	await untilState(id, 'connected');
	return { id, vehicle };
}

const get = (id) => rest(node, 'GET', `/v1/vehicles/${id}`, { token: admin });
const getCommand = async (id, command) => (await rest(node, 'GET', `/v1/vehicles/${id}/commands/${command}`, { token: admin })).body;
const untilState = (id, state) => poll(() => get(id), ({ body }) => body.connectivity.state === state, { what: `${id} is ${state}` });
const untilStatus = (id, command, status) => poll(() => getCommand(id, command), (body) => body.status === status, { what: `${command} is ${status}` });
const send = async (id, name, more = {}, headers = {}) => (await sendCommand(node, admin, id, { name, ...more }, headers)).body;
const sendAndWait = (id, name, more) => send(id, name, more, { Prefer: 'wait=20' });
const isRequest = (id, attempt) => (request) => request.request_id === id && (!attempt || request.attempt === attempt);

// ---- coming and going

test('an MQTT 3.1.1 vehicle needs nothing but the payload', options, async () => {
	const { id, vehicle } = await presentVehicle({ version: 4, handler: () => ({ status: 'succeeded', result: { by: '3.1.1' } }) });
	const done = await sendAndWait(id, 'doors.unlock');
	assert.equal(done.status, 'succeeded');
	assert.deepEqual(done.result, { by: '3.1.1' });
	assert.match((await vehicle.verdictOn(done.id)).topic, /accepted$/);
	assert.equal(vehicle.requests.items[0].attempt, 1);
});

test('waiting commands leave when the vehicle comes by itself, oldest first', options, async () => {
	const id = await absentVehicle();
	const sent = [];
	for (const name of ['horn.honk', 'doors.unlock', 'horn.honk', 'engine.start', 'horn.honk']) sent.push((await send(id, name, { ttl_seconds: 60 })).id);
	await untilStatus(id, sent.at(-1), 'waiting');
	const vehicle = await connectVehicle(broker, { id });
	const came = Date.now();
	await vehicle.requests.until(isRequest(sent[0]));
	assert.ok(Date.now() - came < 1000, 'within a second of the subscription');
	await untilStatus(id, sent.at(-1), 'succeeded');
	assert.deepEqual(vehicle.executed, sent);
});

test('a short absence is not one', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	vehicle.cut();
	await poll(() => get(id), ({ body }) => body.connectivity.verifying === true, { every: 5, what: 'the absence is being verified' });
	await poll(() => get(id), ({ body }) => body.connectivity.verifying === false, { what: 'the vehicle is back' });
	assert.equal((await sendAndWait(id, 'horn.honk')).status, 'succeeded');
	assert.deepEqual(app.events.items.filter(({ type }) => type === 'connectivity.changed'), []);
});

test('a verified absence is said once, and the return too', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	await vehicle.disconnect();
	await app.until(({ type, data }) => type === 'connectivity.changed' && data.state === 'disconnected');
	const waiting = await send(id, 'doors.unlock');
	await untilStatus(id, waiting.id, 'waiting');
	await vehicle.connect();
	await app.until(({ data }) => data.id === waiting.id && data.status === 'succeeded');
	const changes = app.events.items.filter(({ type }) => type === 'connectivity.changed').map(({ data }) => data.state);
	assert.deepEqual(changes, ['disconnected', 'connected']);
});

test('a newer connection of the same vehicle takes over and it stays reachable', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	vehicle.client.options.reconnectPeriod = 0;
	const newer = await connectVehicle(broker, { id });
	const done = await sendAndWait(id, 'horn.honk');
	assert.equal(done.status, 'succeeded');
	assert.deepEqual(newer.executed, [done.id]);
	assert.deepEqual(app.events.items.filter(({ type, data }) => type === 'connectivity.changed' && data.state === 'disconnected'), []);
});

// ---- being offered again

test('a request without an answer is offered again in the next session', options, async () => {
	const { id, vehicle } = await presentVehicle({ handler: () => null });
	const { id: command } = await send(id, 'doors.unlock');
	await vehicle.requests.until(isRequest(command, 1));
	vehicle.cut();
	const again = await vehicle.requests.until(isRequest(command, 2), { ms: 15_000 });
	await vehicle.answer(again, { status: 'succeeded' });
	const done = await untilStatus(id, command, 'succeeded');
	assert.equal(done.attempts, 2);
	assert.deepEqual(vehicle.executed, [command]);
});

test('what must never be offered again is not', options, async () => {
	const { id, vehicle } = await presentVehicle({ handler: ({ name }) => (name === 'engine.start' ? null : { status: 'succeeded' }), qos: 0 });
	const { id: command } = await send(id, 'engine.start');
	await vehicle.requests.until(isRequest(command));
	vehicle.cut();
	const done = await untilStatus(id, command, 'timed_out');
	assert.equal(done.may_have_executed, true);
	assert.equal(done.attempts, 1);
	assert.equal((await sendAndWait(id, 'horn.honk')).status, 'succeeded');
	assert.equal(vehicle.requests.items.filter(isRequest(command)).length, 1);
});

test('a command that lives for a second goes out, with a second to expire in', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const done = await sendAndWait(id, 'horn.honk', { ttl_seconds: 1 });
	assert.equal(done.status, 'succeeded');
	assert.equal(vehicle.requests.items[0].properties.messageExpiryInterval, 1);
});

test('a newer command takes back an older one that waits', options, async () => {
	const id = await absentVehicle();
	const unlock = await send(id, 'doors.unlock');
	const honk = await send(id, 'horn.honk');
	const lock = await send(id, 'doors.lock');
	const { reason } = await untilStatus(id, unlock.id, 'canceled');
	assert.equal(reason.code, 'SUPERSEDED');
	assert.equal(reason.by, lock.id);
	const vehicle = await connectVehicle(broker, { id });
	await untilStatus(id, lock.id, 'succeeded');
	assert.deepEqual(vehicle.executed, [honk.id, lock.id]);
});

test('one vehicle gets its commands in the order in which they were accepted', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const answers = await Promise.all(Array.from({ length: 60 }, () => sendAndWait(id, 'horn.honk')));
	for (const { status } of answers) assert.equal(status, 'succeeded');
	// Two workers make ids of their own; the time of acceptance is given out under the vehicle's lock.
	answers.sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
	assert.deepEqual(vehicle.executed, answers.map((answer) => answer.id));
});

// ---- answers

test('in_progress starts the time-out anew', options, async () => {
	const { id, vehicle } = await presentVehicle({ handler: () => null });
	const { id: command } = await send(id, 'climate.start', { params: { temperature: 21 }, timeout_seconds: 2 });
	const request = await vehicle.requests.until(isRequest(command));
	const begun = Date.now();
	while (Date.now() - begun < 3500) {
		const seen = vehicle.verdicts.items.length; // before: the verdict may be faster than the answer's own PUBACK
		await vehicle.answer(request, { status: 'in_progress' });
		await vehicle.verdicts.until((verdict) => verdict.request_id === command, { from: seen, ms: 3000 });
	}
	assert.equal((await getCommand(id, command)).status, 'in_progress');
	await vehicle.answer(request, { status: 'succeeded' });
	const done = await untilStatus(id, command, 'succeeded');
	assert.equal(done.late, false);
});

test('an answer that is repeated is accepted again; another one after it is rejected', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const done = await sendAndWait(id, 'doors.unlock');
	const [request] = vehicle.requests.items;
	await vehicle.verdictOn(done.id);
	const verdictAfter = async (answer) => {
		const from = vehicle.verdicts.items.length;
		await vehicle.answer(request, answer);
		return vehicle.verdictOn(done.id, { from });
	};
	assert.match((await verdictAfter({ status: 'succeeded', result: {} })).topic, /accepted$/);
	const refused = await verdictAfter({ status: 'failed', reason: { code: 'CHANGED_MY_MIND' } });
	assert.match(refused.topic, /rejected$/);
	assert.equal(refused.code, 'TERMINAL_STATE');
	assert.equal((await getCommand(id, done.id)).status, 'succeeded');
});

test('an answer for nothing, for another vehicle, or that is none, is rejected and changes nothing', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const other = await presentVehicle({ handler: () => null });
	const { id: foreign } = await send(other.id, 'doors.unlock');
	await other.vehicle.requests.until(isRequest(foreign));
	const topic = `vehicles/${id}/commands/response/${vehicle.feed}`;
	const unknown = '0192f3c8-0000-7000-8000-000000000000';
	const rejected = async (payload, properties) => {
		const from = vehicle.verdicts.items.length;
		await vehicle.publish(topic, payload, { properties });
		// By its topic: that an answer from before was accepted may be told meanwhile.
		return vehicle.verdicts.until((verdict) => verdict.topic.endsWith('/rejected'), { from });
	};
	assert.equal((await rejected({ request_id: unknown, status: 'succeeded' })).code, 'UNKNOWN_REQUEST');
	assert.equal((await rejected({ request_id: foreign, status: 'succeeded' })).code, 'UNKNOWN_REQUEST');
	const malformed = ['', 'no json', '[]', '{"status":"succeeded"}', `{"request_id":"${unknown}","status":"perhaps"}`, '{"request_id":7}', Buffer.from([0xff, 0xfe])];
	const result = (text) => `{"request_id":"${unknown}","status":"succeeded","result":${text}}`;
	malformed.push(result('NaN'), result('1e999'), result('{"a":1,"a":2}'), result('"\\u0000"'), result('['.repeat(20_000) + ']'.repeat(20_000)));
	malformed.push(Buffer.from(result('"\xc3("'), 'latin1'));
	for (const wrong of [{ state: [] }, { state: 'shut' }, { state: {}, state_version: '8' }, { state: {}, state_version: 8.5 }, { sealed_result: 7 }, { reason: { code: 7 } }, { reason: { code: 'X', description: 7 } }])
		malformed.push(JSON.stringify({ request_id: unknown, status: 'succeeded', ...wrong }));
	for (const payload of malformed) assert.equal((await rejected(payload)).code, 'MALFORMED', String(payload));
	const disagree = await rejected({ request_id: unknown, status: 'succeeded' }, { correlationData: Buffer.from(foreign) });
	assert.equal(disagree.code, 'MALFORMED');
	const big = (length) => ({ request_id: unknown, status: 'succeeded', result: { filler: 'x'.repeat(length) } });
	assert.equal((await rejected(big(140_000))).code, 'TOO_LARGE');
	const named = await rejected({ request_id: 'request 7', status: 'succeeded' });
	assert.equal(named.code, 'UNKNOWN_REQUEST');
	assert.equal(named.request_id, 'request 7', 'the vehicle hears which one is meant');
	assert.equal((await getCommand(other.id, foreign)).status, 'sent');
	const done = await sendAndWait(id, 'horn.honk');
	assert.equal(done.status, 'succeeded', 'and the feed goes on');
	for (const request_id of [unknown, foreign]) await rejected({ request_id, status: 'succeeded', state: { doors: 'open' }, state_version: 9 });
	assert.equal((await rejected({ request_id: done.id, status: 'failed', state: { doors: 'open' } })).code, 'TERMINAL_STATE');
	assert.deepEqual((await get(id)).body.state.reported, {}, 'nor does what it says of its state');
});

test('an answer brings state along', options, async () => {
	const { id } = await presentVehicle({ handler: () => ({ status: 'succeeded', state: { doors: { locked: false } }, state_version: 7 }) });
	await sendAndWait(id, 'doors.unlock');
	const { body } = await get(id);
	assert.deepEqual(body.state.reported, { doors: { locked: false } });
});

test('a state report that is neither a patch nor holds one changes nothing, and is counted', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const malformed = async () => Number(/^keyfob_state_malformed_total (\d+)/m.exec(await node.metrics())?.[1] ?? 0);
	const before = await malformed();
	const wrong = ['[]', '7', '{', { version: 7, state: [] }, { version: 7, state: null }, { version: 'x', state: { a: 1 } }, { version: 7.5, state: { a: 1 } }];
	for (const report of wrong) await vehicle.publish(`vehicles/${id}/state`, report);
	for (const report of [{ version: 3, state: { doors: 'ajar' } }, '{"version":4.0,"state":{"doors":"shut"}}', { version: 4, state: { doors: 'open' } }, { odometer: 5, state: 'parked' }]) await vehicle.publish(`vehicles/${id}/state`, report);
	await poll(() => get(id), ({ body }) => body.state.reported.odometer === 5, { what: 'the last report' });
	assert.deepEqual((await get(id)).body.state.reported, { doors: 'shut', odometer: 5, state: 'parked' });
	assert.equal(await malformed(), before + wrong.length);
});

// Each is refused once, counted, acknowledged and forgotten, and nobody behind it is held up. What the broker would drop before a feed would
// take a place of that feed's with it, each time.
test('ten megabytes from a vehicle are refused, counted and acknowledged, whatever they are', options, async (t) => {
	const { id, vehicle } = await presentVehicle();
	const count = async (name) => Number(new RegExp(`^keyfob_${name}_total (\\d+)`, 'm').exec(await node.metrics())?.[1] ?? 0);
	const counts = () => Promise.all(['answers_rejected', 'state_malformed', 'lifecycle_malformed', 'answers'].map(count));
	const before = await counts();
	const filler = 'x'.repeat(10_000_000);
	const unknown = '0192f3c8-0000-7000-8000-000000000000';
	const answers = [{ request_id: unknown, status: 'succeeded', result: filler }, filler, Buffer.alloc(10_000_000), Buffer.alloc(10_000_000, 0xff), '['.repeat(10_000_000)];
	const said = Date.now();
	for (const answer of answers) await vehicle.publish(`vehicles/${id}/commands/response/${vehicle.feed}`, answer, { properties: { correlationData: Buffer.from(unknown) } });
	await vehicle.publish(`vehicles/${id}/state`, { version: 1, state: { filler } });
	await vehicle.publish(`vehicles/${id}/state/${vehicle.feed}`, { filler });
	await vehicle.publish(`vehicles/${id}/lifecycle`, { type: 'birth', session: filler, version: 1 });
	if (!broker.tellsNothing) await vehicle.publish(`$aws/commands/things/${id}/executions/7/response/json`, { status: 'SUCCEEDED', result: filler }); // else nobody may
	t.diagnostic(`sent in ${Date.now() - said} ms`);
	const all = answers.length + (broker.tellsNothing ? 0 : 1);
	const wanted = [all, 2, 1, all].map((more, i) => before[i] + more);
	await poll(counts, (now) => now.every((value, i) => value >= wanted[i]), { ms: 20_000, what: `they are counted: ${wanted}` });
	const verdicts = vehicle.verdicts.items.filter(({ code }) => code === 'TOO_LARGE').map(({ request_id }) => request_id);
	assert.deepEqual(verdicts, Array(answers.length).fill(unknown), 'and the vehicle hears so of each');
	assert.equal((await sendAndWait(id, 'horn.honk')).status, 'succeeded', 'and the feed goes on');
	assert.deepEqual(await counts(), wanted.with(3, wanted[3] + 1), 'none came again');
	if (broker.child) assert.doesNotMatch(broker.child.logText(), /Dropping too large/);
	assert.deepEqual((await get(id)).body.state.reported, {});
});

// The plugin lets no vehicle have anything kept, another broker may: here the gateway's account does it for the vehicle.
test('what the broker keeps of a topic was read when it was said, and is not read again', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const asGateway = (clientId) => mqtt.connectAsync(broker.url.split(',')[0], { clientId, username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
	const untilReported = (of, doors) => poll(() => get(of), ({ body }) => body.state.reported.doors === doors, { what: `the doors of ${of} are ${doors}` });
	const keeper = await asGateway('keyfob-keeper');
	atEnd(() => keeper.endAsync(true));
	await keeper.publishAsync(`vehicles/${id}/state`, '{"doors":"open"}', { qos: 1, retain: true });
	await untilReported(id, 'open');
	await vehicle.publish(`vehicles/${id}/state`, { doors: 'shut' });
	await untilReported(id, 'shut');
	await vehicle.disconnect();
	await untilState(id, 'disconnected');
	const other = await presentVehicle();
	await node.stop();
	await (await asGateway('keyfob-feed-state')).endAsync(); // with its clean start the broker forgets the feed's session
	await node.start();
	// What comes behind what the broker keeps; a report from before the feed was there again is lost.
	const report = () => other.vehicle.publish(`vehicles/${other.id}/state`, { doors: 'shut' });
	await poll(() => report().then(() => get(other.id)), (answer) => answer.body.state.reported.doors === 'shut', { every: 200, ms: 20_000, what: 'the feed is there again' });
	const { body } = await get(id);
	assert.equal(body.state.reported.doors, 'shut');
	assert.equal(body.connectivity.state, 'disconnected', 'nor does it say that the vehicle is there');
	await keeper.publishAsync(`vehicles/${id}/state`, '', { retain: true });
});

test('an answer survives the node: the vehicle resends until it is accepted', options, async () => {
	const { id, vehicle } = await presentVehicle({ handler: () => null, resendMs: 300 });
	const { id: command } = await send(id, 'doors.unlock');
	const request = await vehicle.requests.until(isRequest(command));
	await untilStatus(id, command, 'sent');
	await node.kill();
	await vehicle.answer(request, { status: 'succeeded' });
	await node.start();
	await vehicle.verdictOn(command, { ms: 20_000 });
	assert.equal((await getCommand(id, command)).status, 'succeeded');
});

test('a broker that comes back takes nobody offline', { ...options, skip: broker.tellsNothing && 'its nodes are killed in ejabberd-long.test.mjs' }, async () => {
	const { id, vehicle } = await presentVehicle();
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	await broker.stop();
	const meanwhile = await send(id, 'doors.unlock');
	assert.ok(['accepted', 'waiting'].includes(meanwhile.status));
	await broker.start();
	await app.until(({ data }) => data.id === meanwhile.id && data.status === 'succeeded', { ms: 20_000 });
	assert.deepEqual(vehicle.executed, [meanwhile.id]);
});
