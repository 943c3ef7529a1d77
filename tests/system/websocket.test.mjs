// websocket.test.mjs - the contract's JSON-RPC methods, its refusals and close codes, and resuming without a hole.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asyncapi, misfit } from './descriptions.mjs';
import {
	adminToken,
	attackersTokens,
	connectVehicle,
	earlyToken,
	grant,
	hugeToken,
	openSocket,
	openStream,
	registerVehicle,
	rest,
	RpcError,
	sendCommand,
	startInstallation,
	startNode,
	token,
	vehicleIds,
} from './harness.mjs';

const ids = vehicleIds(20);
const { broker, database, node } = await startInstallation({ ids });
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
const options = { timeout: 60_000 };
let used = 0;

async function ownVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id);
	await grant(node, admin, id, 'alice', 'owner');
	return id;
}

// A subscribed app and a connected vehicle; the app has seen it connect.
async function watchedVehicle(settings = {}) {
	const id = await ownVehicle();
	const app = await openSocket(node, { token: alice });
	const start = await app.call('vehicle.subscribe', { vehicle_id: id });
	const vehicle = await connectVehicle(broker, { id, ...settings });
	await app.until(({ type, data }) => type === 'connectivity.changed' && data.state === 'connected');
	return { id, app, vehicle, start };
}

const isStatus = (id, status) => (event) => event.type === 'command.updated' && event.data.id === id && event.data.status === status;
const isRpc = (code) => (error) => error instanceof RpcError && error.code === code;
const isProblem = (name) => (error) => error instanceof RpcError && error.code === -32000 && error.data.type === `urn:keyfob:problem:${name}`;

function assertNoHole(events, after) {
	assert.deepEqual(events.map(({ seq }) => seq), events.map((_, i) => after + 1 + i));
}

// ---- coming in

for (const via of ['header', 'protocol', 'message'])
	test(`the token comes by ${via}`, options, async () => {
		const app = await openSocket(node, { token: alice, via });
		assert.equal(app.ws.protocol, 'keyfob.v1');
		assert.ok((await app.call('vehicle.list', {})).items);
	});

test('nothing but session.authenticate is answered before it', options, async () => {
	const app = await openSocket(node, { via: 'none' });
	await assert.rejects(app.call('vehicle.list', {}), { message: 'closed with 4401' });
	assert.deepEqual(await app.closed, { code: 4401, reason: 'session.authenticate comes first' });
});

test('who does not authenticate within five seconds is closed', options, async () => {
	const app = await openSocket(node, { via: 'none' });
	const begun = Date.now();
	assert.deepEqual(await app.closed, { code: 4401, reason: 'session.authenticate did not come' });
	assert.ok(Date.now() - begun > 4000);
});

// What a token that does not come in is answered with: an HTTP status, or the code of the close.
async function codeOf({ token: shown, via }) {
	if (via !== 'message') return openSocket(node, { token: shown, via }).then(() => 101, ({ status }) => status);
	const app = await openSocket(node, { via: 'none' });
	await assert.rejects(app.call('session.authenticate', { token: shown }));
	return (await app.closed).code;
}

test('a forged token does not come in', options, async () => {
	const ways = ['header', 'protocol', 'message'];
	const tries = Object.entries(await attackersTokens('alice')).flatMap(([what, forged]) => ways.map((via) => [what, forged, via]));
	for (const [what, forged, via] of tries) {
		assert.equal(await codeOf({ token: forged, via }), via === 'message' ? 4401 : 401, `${what} by ${via}`);
	}
});

test('nor does one of 64 KiB', options, async () => {
	const huge = await hugeToken('alice');
	assert.ok(huge.length > 65_536);
	assert.deepEqual(await Promise.all(['header', 'protocol', 'message'].map((via) => codeOf({ token: huge, via }))), [400, 400, 1009]);
	assert.ok((await (await openSocket(node, { token: alice })).call('vehicle.list', {})).items);
});

test('one whose time begins within the leeway does', options, async () => {
	const early = await earlyToken('alice');
	for (const via of ['header', 'protocol', 'message'])
		assert.ok((await (await openSocket(node, { token: early, via })).call('vehicle.list', {})).items, via);
});

test('a token that runs out closes the connection, unless it is renewed', options, async () => {
	const leeway = 30;
	const short = await token({ sub: 'alice', expiresIn: 2 - leeway });
	const [ends, lives] = await Promise.all([openSocket(node, { token: short }), openSocket(node, { token: short })]);
	const renewed = await lives.call('session.authenticate', { token: alice });
	assert.equal(renewed.subject, 'alice');
	assert.ok(Date.parse(renewed.expires_at) > Date.now() + 3_000_000);
	assert.equal((await ends.closed).code, 4401);
	assert.ok((await lives.call('vehicle.list', {})).items);
});

test('renewal by another subject is 4403', options, async () => {
	const app = await openSocket(node, { token: alice });
	await app.call('session.authenticate', { token: await token({ sub: 'bob' }) }).catch(() => {});
	assert.equal((await app.closed).code, 4403);
});

test('an upgrade without keyfob.v1 is 400, from a foreign origin 403', options, async () => {
	const refused = (settings) => openSocket(node, { token: alice, ...settings }).then(() => 101, (error) => error.status);
	assert.equal(await refused({ protocols: ['other.v1'] }), 400);
	assert.equal(await refused({ protocols: [] }), 400);
	assert.equal(await refused({ origin: 'https://evil.test' }), 403);
	assert.equal(await refused({ origin: node.url }), 101);
});

// ---- speaking

test('what is no request is said to be none, and the connection stays', options, async () => {
	const app = await openSocket(node, { token: alice });
	const answered = (code) => app.frames.until((frame) => frame.error?.code === code && frame.id === null, { what: String(code) });
	app.send('{"jsonrpc":');
	await answered(-32700);
	app.send('[{"jsonrpc":"2.0","id":1,"method":"vehicle.list"}]');
	await answered(-32600);
	await assert.rejects(app.call('vehicle.explode', {}), isRpc(-32601));
	await assert.rejects(app.call('vehicle.get', { vehicle_id: 7 }), isRpc(-32602));
	await assert.rejects(app.call('vehicle.get', {}), isRpc(-32602));
	assert.ok((await app.call('vehicle.list', {})).items);
});

test('an id comes back as it came, or is none; 30.0 is a whole number', options, async () => {
	const id = await ownVehicle();
	const app = await openSocket(node, { token: alice });
	const answerTo = async (text) => {
		const from = app.frames.items.length;
		app.send(text);
		return app.frames.until(() => true, { from });
	};
	const described = asyncapi.components.schemas.RpcId;
	for (const [text, back] of [['"tap"', 'tap'], ['0', 0], ['-1.5', -1.5], ['9007199254740991', 9007199254740991], ['-9223372036854775808', -(2 ** 63)], ['null', null]]) {
		assert.deepEqual((await answerTo(`{"jsonrpc":"2.0","id":${text},"method":"vehicle.unsubscribe","params":{"vehicle_id":"${id}"}}`)), { jsonrpc: '2.0', id: back, result: {} });
		assert.equal(misfit(described, back), null, text);
	}
	for (const text of ['18446744073709551615', '-18446744073709551615', '1e300', '-1e300', 'true', '[]', '{}']) {
		const { id: back, error } = await answerTo(`{"jsonrpc":"2.0","id":${text},"method":"vehicle.list"}`);
		assert.deepEqual([back, error?.code], [null, -32600], text);
		assert.notEqual(misfit(described, JSON.parse(text)), null, text);
	}
	// Whole as it is, it has a point: the schema, which sees the number alone, says so in words.
	for (const text of ['9007199254740992.0', '1e17']) assert.equal((await answerTo(`{"jsonrpc":"2.0","id":${text},"method":"vehicle.list"}`)).error?.code, -32600, text);
	const { result } = await answerTo(`{"jsonrpc":"2.0","id":1,"method":"command.send","params":{"vehicle_id":"${id}","name":"horn.honk","ttl_seconds":30.0,"timeout_seconds":20.0}}`);
	assert.equal(Date.parse(result.expires_at) - Date.parse(result.created_at), 30_000);
	assert.equal(result.timeout_seconds, 20);
	const { error } = await answerTo(`{"jsonrpc":"2.0","id":1,"method":"vehicle.subscribe","params":{"vehicle_id":"${id}","after":0.5}}`);
	assert.equal(error.code, -32602);
	assert.equal((await answerTo(`{"jsonrpc":"2.0","id":1,"method":"vehicle.subscribe","params":{"vehicle_id":"${id}","after":0.0}}`)).result.recovered, true);
});

test('ten in a row close it with 4400; a request between them starts the count anew', options, async () => {
	const app = await openSocket(node, { token: alice });
	for (let i = 0; i < 9; i++) app.send('nonsense');
	await app.call('vehicle.list', {});
	for (let i = 0; i < 10; i++) app.send('nonsense');
	assert.equal((await app.closed).code, 4400);
});

test('binary is 1003, too much is 1009', options, async () => {
	const [binary, big, huge] = await Promise.all(Array.from({ length: 3 }, () => openSocket(node, { token: alice })));
	binary.send(Buffer.from([1, 2, 3]));
	assert.equal((await binary.closed).code, 1003);
	big.send({ jsonrpc: '2.0', id: 1, method: 'vehicle.list', params: { filler: 'x'.repeat(70_000) } });
	assert.equal((await big.closed).code, 1009);
	huge.ws.on('error', () => {}); // it is closed while it sends
	huge.send({ jsonrpc: '2.0', id: 1, method: 'vehicle.list', params: { filler: 'x'.repeat(10_000_000) } });
	assert.equal((await huge.closed).code, 1009);
	assert.ok(await node.answers(), 'and the node goes on');
});

test('errors carry the problem that REST would give', options, async () => {
	const id = await ownVehicle();
	const app = await openSocket(node, { token: alice });
	const send = (more) => app.call('command.send', { vehicle_id: id, name: 'doors.unlock', ...more });
	await assert.rejects(app.call('vehicle.get', { vehicle_id: ids.at(-1) }), isProblem('vehicle-not-found'));
	await assert.rejects(app.call('vehicle.subscribe', { vehicle_id: ids.at(-1) }), isProblem('vehicle-not-found'));
	await assert.rejects(send({ name: 'doors.explode' }), isProblem('unknown-command'));
	await assert.rejects(send({ params: { door: 'roof' } }), isProblem('invalid-params'));
	await assert.rejects(app.call('command.get', { vehicle_id: id, id: '0192f3c8-0000-7000-8000-000000000000' }), isProblem('command-not-found'));
	const error = await send({ name: 'doors.explode' }).catch((caught) => caught);
	assert.equal(error.data.status, 422);
	assert.equal(error.data.retriable, false);
	assert.equal(error.data.may_have_executed, false);
});

// ---- the journey

test('a command and everything that becomes of it, in order', options, async () => {
	async function* handler() {
		yield { status: 'in_progress' };
		yield { status: 'succeeded', result: { doors: 'open' } };
	}
	const { id, app, start } = await watchedVehicle({ handler });
	assert.equal(start.vehicle.vehicle_id, id);
	assert.equal(start.recovered, false);
	assert.equal(typeof start.epoch, 'string');

	const command = await app.call('command.send', { vehicle_id: id, name: 'doors.unlock', params: { door: 'all' } });
	assert.equal(command.issued_by, 'alice');
	const done = await app.until(isStatus(command.id, 'succeeded'));
	assert.deepEqual(done.data.result, { doors: 'open' });
	const statuses = app.events.items.filter(({ data }) => data.id === command.id).map(({ data }) => data.status);
	assert.deepEqual(statuses, ['accepted', 'sent', 'in_progress', 'succeeded']);
	assertNoHole(app.events.items, start.seq);
	for (const event of app.events.items) assert.deepEqual(Object.keys(event).sort(), ['data', 'seq', 'time', 'type', 'vehicle_id']);

	const got = await app.call('command.get', { vehicle_id: id, id: command.id });
	assert.equal(got.status, 'succeeded');
	assert.equal((await app.call('vehicle.get', { vehicle_id: id })).connectivity.state, 'connected');
});

test('cancelling and idempotency keys work here too, and in one key space with REST', options, async () => {
	const id = await ownVehicle();
	const app = await openSocket(node, { token: alice });
	const request = { name: 'doors.unlock', params: { door: 'all' } };
	const sent = await app.call('command.send', { vehicle_id: id, ...request, idempotency_key: 'one-key' });
	const again = await app.call('command.send', { vehicle_id: id, ...request, idempotency_key: 'one-key' });
	assert.equal(again.id, sent.id);
	const byRest = await sendCommand(node, alice, id, request, { 'Idempotency-Key': 'one-key' });
	assert.equal(byRest.body.id, sent.id);
	assert.equal(byRest.headers.get('idempotency-replayed'), 'true');
	const canceled = await app.call('command.cancel', { vehicle_id: id, id: sent.id });
	assert.equal(canceled.status, 'canceled');
	assert.equal((await app.call('command.cancel', { vehicle_id: id, id: sent.id })).status, 'canceled');
});

test('many apps see the same events, and none after unsubscribing', options, async () => {
	const { id, app, start } = await watchedVehicle();
	const others = await Promise.all(Array.from({ length: 10 }, () => openSocket(node, { token: alice })));
	const starts = await Promise.all(others.map((other) => other.call('vehicle.subscribe', { vehicle_id: id })));
	const quiet = others.pop();
	assert.deepEqual(await quiet.call('vehicle.unsubscribe', { vehicle_id: id }), {});
	const before = quiet.events.items.length;
	const { id: command } = await app.call('command.send', { vehicle_id: id, name: 'horn.honk' });
	await app.until(isStatus(command, 'succeeded'));
	await Promise.all(others.map((other) => other.until(isStatus(command, 'succeeded'))));
	assertNoHole(app.events.items, start.seq);
	others.forEach((other, i) => assertNoHole(other.events.items, starts[i].seq));
	await quiet.call('vehicle.list', {});
	assert.equal(quiet.events.items.length, before);
});

// ---- resuming

test('after a reconnect nothing is missing and nothing comes twice', options, async () => {
	const { id, app, start } = await watchedVehicle();
	const first = await app.call('command.send', { vehicle_id: id, name: 'horn.honk' });
	const { seq: after } = await app.until(isStatus(first.id, 'succeeded'));
	app.close();
	const second = await sendCommand(node, alice, id, { name: 'horn.honk' }, { Prefer: 'wait=10' });
	const back = await openSocket(node, { token: alice });
	const resumed = await back.call('vehicle.subscribe', { vehicle_id: id, epoch: start.epoch, after });
	assert.equal(resumed.recovered, true);
	assert.equal(resumed.epoch, start.epoch);
	await back.until(isStatus(second.body.id, 'succeeded'));
	assertNoHole(back.events.items, after);
});

// 3 000 events of 4 kB: more than a page of the log, and twelve times what may wait for one app.
async function missMany() {
	const id = await ownVehicle();
	const { body } = await rest(node, 'GET', `/v1/vehicles/${id}`, { token: alice });
	await database.sql(`select count(event_add('${id}', 'state.reported', json_build_object('patch', json_build_object('filler', repeat('x', 4000)), 'version', null))) from generate_series(1, 3000)`);
	return { id, after: body.seq, last: body.seq + 3000, epoch: body.epoch };
}

test('thousands that were missed come, in order, also to an app that does not read for a while', options, async () => {
	const { id, after, last } = await missMany();
	const app = await openSocket(node, { token: alice });
	const subscribed = app.call('vehicle.subscribe', { vehicle_id: id, after });
	app.ws.pause();
	await grant(node, admin, id, 'bob', 'viewer'); // an event meanwhile
	app.ws.resume();
	assert.equal((await subscribed).recovered, true);
	await app.until(({ seq }) => seq === last + 1, { ms: 30_000, what: 'the one of meanwhile' });
	await grant(node, admin, id, 'carol', 'viewer');
	await app.until(({ seq }) => seq === last + 2);
	assertNoHole(app.events.items, after);
});

test('and on an event stream', options, async () => {
	const { id, after, last, epoch } = await missMany();
	const stream = await openStream(node, `/v1/vehicles/${id}/events`, { token: alice, lastEventId: `${epoch}:${after}` });
	assert.equal((await stream.until(({ event }) => event === 'snapshot')).data.recovered, true);
	await stream.until(({ id: name }) => name === `${epoch}:${last}`, { ms: 30_000, what: 'the last' });
	await grant(node, admin, id, 'bob', 'viewer');
	await stream.until(({ id: name }) => name === `${epoch}:${last + 1}`);
	assertNoHole(stream.events.items.filter(({ event }) => event !== 'snapshot').map(({ data }) => data), after);
});

test('what cannot be resumed whole is not resumed in part', options, async () => {
	const { id, app, start } = await watchedVehicle();
	const { seq: head } = app.events.items.at(-1);
	const cases = [
		{ epoch: 'another', after: head },
		{ epoch: start.epoch, after: head + 1000 },
	];
	for (const params of cases) {
		const back = await openSocket(node, { token: alice });
		const resumed = await back.call('vehicle.subscribe', { vehicle_id: id, ...params });
		assert.equal(resumed.recovered, false);
		assert.ok(resumed.seq >= head);
		const { id: command } = await back.call('command.send', { vehicle_id: id, name: 'horn.honk' });
		await back.until(isStatus(command, 'succeeded'));
		assertNoHole(back.events.items, resumed.seq);
	}
});

test('subscribing amid a storm of events leaves no hole', options, async () => {
	const { id } = await watchedVehicle();
	const storm = Promise.all(Array.from({ length: 40 }, () => sendCommand(node, alice, id, { name: 'horn.honk' }, { Prefer: 'wait=20' })));
	const apps = [];
	for (let i = 0; i < 10; i++) {
		const app = await openSocket(node, { token: alice });
		apps.push({ app, start: await app.call('vehicle.subscribe', { vehicle_id: id }) });
	}
	const last = (await storm).map(({ body }) => body).at(-1);
	assert.equal(last.status, 'succeeded');
	const { body } = await rest(node, 'GET', `/v1/vehicles/${id}`, { token: alice });
	for (const { app, start } of apps) {
		if (start.seq < body.seq) await app.until(({ seq }) => seq === body.seq, { what: `seq ${body.seq}` });
		assertNoHole(app.events.items, start.seq);
	}
});

// ---- going

test('a revoked grant ends the subscription at once', options, async () => {
	const { id } = await watchedVehicle();
	await grant(node, alice, id, 'carol', 'driver');
	const carol = await openSocket(node, { token: await token({ sub: 'carol' }) });
	await carol.call('vehicle.subscribe', { vehicle_id: id });
	await rest(node, 'DELETE', `/v1/vehicles/${id}/grants/carol`, { token: alice });
	const told = await carol.until(({ type }) => type === 'access.changed', { ms: 2000 });
	assert.equal(told.data.subject, 'carol');
	assert.equal(told.data.role, null);
	const before = carol.events.items.length;
	await sendCommand(node, alice, id, { name: 'horn.honk' }, { Prefer: 'wait=10' });
	await assert.rejects(carol.call('vehicle.get', { vehicle_id: id }), isProblem('vehicle-not-found'));
	assert.equal(carol.events.items.length, before);
});

test('a node that is asked to end says 1012 and is gone in time', options, async () => {
	const other = await startNode({ broker, database });
	const app = await openSocket(other, { token: alice });
	const stopped = other.stop();
	assert.equal((await app.closed).code, 1012);
	assert.equal((await stopped).code, 0);
});
