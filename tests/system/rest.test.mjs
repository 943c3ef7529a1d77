// rest.test.mjs - the journey of a command over REST: contract of requests, answers, problems and the event log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openapi } from './descriptions.mjs';
import {
	adminToken,
	attackersTokens,
	earlyToken,
	hugeToken,
	connectVehicle,
	grant,
	openSocket,
	openStream,
	poll,
	registerVehicle,
	rest,
	sendCommand,
	startInstallation,
	startNode,
	token,
	vehicleIds,
} from './harness.mjs';

const ids = vehicleIds(30);
const queueMax = 8;
const { broker, node, database } = await startInstallation({ ids, config: { limits: { queue_per_vehicle: queueMax } } });
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
const options = { timeout: 60_000 };
let used = 0;

const waitFor = (seconds) => ({ Prefer: `wait=${seconds}` });
const path = (id, rest = '') => `/v1/vehicles/${id}${rest}`;
const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

// A vehicle of its own for each test: registered, alice its owner, and nowhere near a network.
async function absentVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id);
	await grant(node, admin, id, 'alice', 'owner');
	return id;
}

async function presentVehicle(settings = {}) {
	const id = await absentVehicle();
	const vehicle = await connectVehicle(broker, { id, ...settings });
	await poll(
		() => rest(node, 'GET', path(id), { token: alice }),
		({ body }) => body.connectivity.state === 'connected',
		{ what: 'the vehicle is connected' },
	);
	return { id, vehicle };
}

const getCommand = (id, command, by = alice) => rest(node, 'GET', path(id, `/commands/${command}`), { token: by });

function assertProblem(answer, status, name) {
	assert.equal(answer.status, status, JSON.stringify(answer.body));
	assert.match(answer.headers.get('content-type'), /^application\/problem\+json/);
	assert.equal(answer.body.type, `urn:keyfob:problem:${name}`);
	assert.equal(answer.body.status, status);
	assert.equal(typeof answer.body.title, 'string');
	assert.match(answer.body.detail, /./);
	assert.equal(typeof answer.body.retriable, 'boolean');
	assert.equal(typeof answer.body.may_have_executed, 'boolean');
	assert.equal(answer.body.instance, answer.headers.get('x-request-id'));
}

// ---- sending

test('a command succeeds while the app waits', options, async () => {
	const { id, vehicle } = await presentVehicle({ handler: () => ({ status: 'succeeded', result: { doors: 'open' } }) });
	const sent = await sendCommand(node, alice, id, { name: 'doors.unlock', params: { door: 'driver' } }, waitFor(10));
	assert.equal(sent.status, 200, JSON.stringify(sent.body));
	assert.match(sent.headers.get('preference-applied'), /wait/);
	assert.equal(sent.body.status, 'succeeded');
	assert.deepEqual(sent.body.result, { doors: 'open' });

	const [request] = vehicle.requests.items;
	assert.equal(request.request_id, sent.body.id);
	assert.equal(request.name, 'doors.unlock');
	assert.deepEqual(request.params, { door: 'driver' });
	assert.equal(request.attempt, 1);
	assert.equal(request.response_topic, `vehicles/${id}/commands/response/${vehicle.feed}`);
	assert.equal(request.properties.responseTopic, request.response_topic);
	assert.equal(request.properties.correlationData.toString(), sent.body.id);
	assert.equal(request.properties.contentType, 'application/json');
	assert.equal(request.properties.userProperties.name, 'doors.unlock');
	assert.match(request.properties.userProperties.traceparent, new RegExp(`^00-${request.request_id.replaceAll('-', '')}-[0-9a-f]{16}-02$`), 'the trace of a command that brought none');
	assert.ok(request.properties.messageExpiryInterval >= 1 && request.properties.messageExpiryInterval <= 120);
	assert.equal(request.expires_at, sent.body.expires_at);
	const verdict = await vehicle.verdictOn(sent.body.id);
	assert.equal(verdict.topic, `vehicles/${id}/commands/accepted`);
});

test('202 shows the whole command, and its timeline tells the journey', options, async () => {
	const { id } = await presentVehicle();
	const sent = await sendCommand(node, alice, id, { name: 'doors.unlock' });
	assert.equal(sent.status, 202);
	assert.equal(sent.headers.get('location'), path(id, `/commands/${sent.body.id}`));
	assert.match(sent.body.id, uuid7);
	const { id: command, created_at, expires_at, updated_at, sent_at, status, attempts, ...others } = sent.body;
	for (const moment of [created_at, expires_at, updated_at]) assert.match(moment, time);
	assert.ok(['accepted', 'sent'].includes(status));
	assert.ok(sent_at === null || time.test(sent_at));
	assert.ok(attempts <= 1);
	assert.deepEqual(others, {
		vehicle_id: id,
		name: 'doors.unlock',
		params: { door: 'all' },
		reason: null,
		result: null,
		late: false,
		may_have_executed: false,
		issued_by: 'alice',
		timeout_seconds: 20,
		finished_at: null,
	});
	assert.equal(Date.parse(expires_at) - Date.parse(created_at), 120_000);

	const { body } = await poll(() => getCommand(id, command), ({ body }) => body.status === 'succeeded');
	assert.equal(body.attempts, 1);
	for (const moment of [body.sent_at, body.finished_at]) assert.match(moment, time);
	const steps = body.timeline.map(({ step }) => step);
	for (const step of ['accepted', 'claimed', 'published', 'answer']) assert.ok(steps.includes(step), `${step} in ${steps}`);
	assert.equal(steps[0], 'accepted');
	assert.ok(steps.indexOf('claimed') <= steps.indexOf('published'));
	for (const item of body.timeline) assert.match(item.time, time);
	const times = body.timeline.map((item) => item.time);
	assert.deepEqual(times, [...times].sort());
});

test('a vehicle that fails or rejects says why', options, async () => {
	const reason = { code: 'DOOR_OPEN', description: 'the driver door is open' };
	const { id } = await presentVehicle({
		handler: ({ name }) => ({ status: name === 'doors.lock' ? 'failed' : 'rejected', reason }),
	});
	for (const [name, status] of [['doors.lock', 'failed'], ['doors.unlock', 'rejected']]) {
		const { body } = await sendCommand(node, alice, id, { name }, waitFor(10));
		assert.equal(body.status, status);
		assert.deepEqual(body.reason, reason);
	}
});

test('sealed parameters and results pass through untouched', options, async () => {
	const sealed = 'eyJhbGciOiJkaXIifQ..AAAA.ciphertext.tag';
	const { id, vehicle } = await presentVehicle({ handler: () => ({ status: 'succeeded', sealed_result: 'sealed-back' }) });
	const { body } = await sendCommand(node, alice, id, { name: 'horn.honk', sealed_params: sealed }, waitFor(10));
	assert.equal(body.status, 'succeeded', JSON.stringify(body));
	assert.equal(vehicle.requests.items[0].sealed_params, sealed);
	assert.equal(body.sealed_result, 'sealed-back');
});

test('a null parameter is as good as none', options, async () => {
	const id = await absentVehicle();
	const plain = await sendCommand(node, alice, id, { name: 'doors.unlock', params: null, sealed_params: null, ttl_seconds: null, wake: null });
	assert.equal(plain.status, 202, JSON.stringify(plain.body));
	assert.deepEqual(plain.body.params, { door: 'all' });
	const sealed = await sendCommand(node, alice, id, { name: 'doors.unlock', params: null, sealed_params: 'sealed' });
	assert.equal(sealed.status, 202, JSON.stringify(sealed.body));
	assert.equal(sealed.body.sealed_params, 'sealed');
	assertProblem(await sendCommand(node, alice, id, { name: 'doors.unlock', params: {}, sealed_params: 'sealed' }), 422, 'invalid-params');
});

test('the list is newest first, in pages, and by status', options, async () => {
	const id = await absentVehicle();
	const sent = [];
	for (let i = 0; i < 5; i++) sent.unshift((await sendCommand(node, alice, id, { name: 'horn.honk', params: { note: `n-${i}` } })).body.id);
	const seen = [];
	let next = path(id, '/commands?limit=2');
	let pages = 0;
	while (next) {
		const answer = await rest(node, 'GET', next, { token: alice });
		assert.equal(answer.status, 200);
		assert.ok(answer.body.items.length <= 2);
		seen.push(...answer.body.items.map((item) => item.id));
		const { next_cursor } = answer.body;
		next = next_cursor && path(id, `/commands?limit=2&cursor=${encodeURIComponent(next_cursor)}`);
		assert.equal(Boolean(next), /rel="?next"?/.test(answer.headers.get('link') ?? ''), 'Link says so too');
		pages++;
	}
	assert.equal(pages, 3);
	assert.deepEqual(seen, sent);

	await rest(node, 'POST', path(id, `/commands/${sent[0]}/cancel`), { token: alice });
	const canceled = await rest(node, 'GET', path(id, '/commands?status=canceled'), { token: alice });
	assert.deepEqual(canceled.body.items.map((item) => item.id), [sent[0]]);
	for (const query of ['limit=0', 'limit=201', 'limit=x', 'status=lost', 'cursor=%00', 'colour=red'])
		assertProblem(await rest(node, 'GET', path(id, `/commands?${query}`), { token: alice }), 400, 'invalid-query');
});

// ---- ends

test('a waiting command can be taken back, once and again', options, async () => {
	const id = await absentVehicle();
	const sent = await sendCommand(node, alice, id, { name: 'doors.unlock' });
	await poll(() => getCommand(id, sent.body.id), ({ body }) => body.status === 'waiting');
	for (let i = 0; i < 2; i++) {
		const answer = await rest(node, 'POST', path(id, `/commands/${sent.body.id}/cancel`), { token: alice });
		assert.equal(answer.status, 200);
		assert.equal(answer.body.status, 'canceled');
		assert.deepEqual(answer.body.reason, { ...answer.body.reason, code: 'CANCELED', by: 'alice' });
	}
	const vehicle = await connectVehicle(broker, { id });
	const later = await sendCommand(node, alice, id, { name: 'doors.lock' }, waitFor(10));
	assert.equal(later.body.status, 'succeeded');
	assert.deepEqual(vehicle.executed, [later.body.id]);
});

test('what may have left, or is final, is not taken back', options, async () => {
	const { id, vehicle } = await presentVehicle({ handler: () => null });
	const sent = await sendCommand(node, alice, id, { name: 'doors.unlock' });
	const request = await vehicle.requests.until(() => true);
	const cancel = () => rest(node, 'POST', path(id, `/commands/${sent.body.id}/cancel`), { token: alice });
	const early = await cancel();
	assertProblem(early, 409, 'command-already-sent');
	await vehicle.answer(request, { status: 'succeeded' });
	await poll(() => getCommand(id, sent.body.id), ({ body }) => body.status === 'succeeded');
	assertProblem(await cancel(), 409, 'command-already-final');
});

test('a command expires undelivered, and is never delivered then', options, async () => {
	const id = await absentVehicle();
	const sent = await sendCommand(node, alice, id, { name: 'doors.unlock', ttl_seconds: 1 }, waitFor(10));
	assert.equal(sent.status, 200);
	assert.equal(sent.body.status, 'expired');
	assert.equal(sent.body.reason.code, 'EXPIRED');
	assert.equal(sent.body.may_have_executed, false);
	const vehicle = await connectVehicle(broker, { id });
	const later = await sendCommand(node, alice, id, { name: 'doors.lock' }, waitFor(10));
	assert.equal(later.body.status, 'succeeded');
	assert.deepEqual(vehicle.executed, [later.body.id]);
});

test('silence is a time-out, and a late answer is kept', options, async () => {
	const { id, vehicle } = await presentVehicle({ handler: () => null });
	const sent = await sendCommand(node, alice, id, { name: 'doors.unlock', timeout_seconds: 1 }, waitFor(10));
	assert.equal(sent.status, 200);
	assert.equal(sent.body.status, 'timed_out');
	assert.equal(sent.body.may_have_executed, true);
	assert.equal(sent.body.reason.code, 'NO_RESPONSE');
	await vehicle.answer(vehicle.requests.items[0], { status: 'succeeded', result: { after: 'all' } });
	assert.match((await vehicle.verdictOn(sent.body.id)).topic, /accepted$/);
	const { body } = await getCommand(id, sent.body.id);
	assert.equal(body.status, 'succeeded');
	assert.equal(body.late, true);
	assert.deepEqual(body.result, { after: 'all' });
});

test('wait=N that passes gives 202 with the command as it stands', options, async () => {
	const id = await absentVehicle();
	const sent = await sendCommand(node, alice, id, { name: 'doors.unlock' }, waitFor(1));
	assert.equal(sent.status, 202);
	assert.equal(sent.body.status, 'waiting');
});

// ---- idempotency

test('twenty simultaneous sends with one key make one command', options, async () => {
	const { id, vehicle } = await presentVehicle();
	const headers = { 'Idempotency-Key': `key-${id}` };
	const body = { name: 'doors.unlock', params: { door: 'all' } };
	const answers = await Promise.all(Array.from({ length: 20 }, () => sendCommand(node, alice, id, body, headers)));
	for (const answer of answers) assert.equal(answer.status, 202, JSON.stringify(answer.body));
	assert.equal(new Set(answers.map((answer) => answer.body.id)).size, 1);
	assert.equal(answers.filter((answer) => answer.headers.get('idempotency-replayed') === 'true').length, 19);

	// Equal JSON in another order is the same request; another value, vehicle or name is not.
	const reordered = await rest(node, 'POST', path(id, '/commands'), {
		token: alice,
		raw: '{ "params": {"door":"all"}, "name":"doors.unlock" }',
		headers: { ...headers, 'Content-Type': 'application/json' },
	});
	assert.equal(reordered.body.id, answers[0].body.id);
	assertProblem(await sendCommand(node, alice, id, { name: 'doors.unlock', params: { door: 'trunk' } }, headers), 422, 'idempotency-key-reused');
	const other = await absentVehicle();
	assertProblem(await sendCommand(node, alice, other, body, headers), 422, 'idempotency-key-reused');
	const byAdmin = await sendCommand(node, admin, id, body, headers);
	assert.notEqual(byAdmin.body.id, answers[0].body.id, 'keys belong to a subject');
	await poll(() => getCommand(id, byAdmin.body.id, admin), (answer) => answer.body.status === 'succeeded');
	assert.deepEqual(vehicle.executed, [answers[0].body.id, byAdmin.body.id]);
});

// ---- problems

test('every refusal is a problem with its name', options, async () => {
	const id = await absentVehicle();
	const send = (body) => sendCommand(node, alice, id, body);
	const post = (raw, headers) => rest(node, 'POST', path(id, '/commands'), { token: alice, raw, headers });
	const json = { 'Content-Type': 'application/json' };
	assertProblem(await send({ name: 'doors.explode' }), 422, 'unknown-command');
	assertProblem(await send({ name: 'doors.unlock', params: { door: 'roof' } }), 422, 'invalid-params');
	assertProblem(await send({ name: 'doors.unlock', params: { window: 'all' } }), 422, 'invalid-params');
	assertProblem(await send({ name: 'climate.start' }), 422, 'invalid-params');
	assertProblem(await send({ name: 'climate.start', params: { temperature: 99 } }), 422, 'invalid-params');
	assertProblem(await send({ name: 'horn.honk', params: { note: 'NO' } }), 422, 'invalid-params');
	assertProblem(await send({ name: 'doors.unlock', ttl_seconds: 0 }), 422, 'invalid-params');
	assertProblem(await send({ name: 'horn.honk', ttl_seconds: 3601 }), 422, 'invalid-params');
	assertProblem(await post('{"name":', json), 400, 'malformed-request');
	assertProblem(await post('[]', json), 400, 'malformed-request');
	assertProblem(await post('{"name":"doors.lock","name":"doors.unlock"}', json), 400, 'malformed-request');
	assertProblem(await post('{"name":"doors.lock"}', { 'Content-Type': 'text/plain' }), 415, 'unsupported-media-type');
	assertProblem(await post(JSON.stringify({ name: 'doors.lock', sealed_params: 'x'.repeat(70_000) }), json), 413, 'too-large');
	assertProblem(await rest(node, 'GET', '/v1/nothing', { token: alice }), 404, 'not-found');
	assertProblem(await rest(node, 'PATCH', path(id, '/commands'), { token: alice, body: {} }), 405, 'method-not-allowed');
	assertProblem(await rest(node, 'GET', path(id, '/commands/0192f3c8-0000-7000-8000-000000000000'), { token: alice }), 404, 'command-not-found');
	const unknown = await send({ name: 'doors.unlock', colour: 'red' });
	assertProblem(unknown, 422, 'unknown-field');
	assert.match(unknown.body.detail, /colour/);
});

test('a token that is missing, forged, expired or for somebody else is 401', options, async () => {
	const bad = {
		missing: undefined,
		garbage: 'not.a.token',
		...(await attackersTokens('alice')),
	};
	for (const [what, text] of Object.entries(bad)) {
		const answer = await rest(node, 'GET', '/v1/vehicles', { token: text });
		assert.equal(answer.status, 401, what);
		assertProblem(answer, 401, 'unauthenticated');
		assert.match(answer.headers.get('www-authenticate'), /^Bearer/, what);
	}
});

test('a token whose time begins within the leeway counts', options, async () => {
	assert.equal((await rest(node, 'GET', '/v1/vehicles', { token: await earlyToken('alice') })).status, 200);
});

test('a token of 64 KiB is refused before it is read, and the node lives on', options, async () => {
	const huge = await hugeToken('alice');
	assert.ok(huge.length > 65_536);
	const status = await rest(node, 'GET', '/v1/vehicles', { token: huge, unchecked: true }).then((answer) => answer.status);
	assert.equal(status, 400);
	assert.equal((await rest(node, 'GET', '/v1/vehicles', { token: alice })).status, 200);
});

test('a vehicle of others and none at all look the same', options, async () => {
	const foreign = ids[used++];
	await registerVehicle(node, admin, foreign);
	const absent = ids.at(-1);
	const asked = (id) => [
		rest(node, 'GET', path(id), { token: alice }),
		rest(node, 'GET', path(id, '/commands'), { token: alice }),
		rest(node, 'GET', path(id, '/events'), { token: alice }),
		sendCommand(node, alice, id, { name: 'doors.lock' }),
		rest(node, 'GET', path('no such id'.replaceAll(' ', '%20')), { token: alice }),
	];
	const [ofForeign, ofAbsent] = await Promise.all([Promise.all(asked(foreign)), Promise.all(asked(absent))]);
	for (const [i, answer] of ofForeign.entries()) {
		assertProblem(answer, 404, 'vehicle-not-found');
		const { instance: a, ...one } = answer.body;
		const { instance: b, ...other } = ofAbsent[i].body;
		assert.deepEqual(one, other);
	}
});

test('a vehicle takes so many unsent commands and no more', options, async () => {
	const id = await absentVehicle();
	for (let i = 0; i < queueMax; i++) assert.equal((await sendCommand(node, alice, id, { name: 'horn.honk' })).status, 202);
	const answer = await sendCommand(node, alice, id, { name: 'horn.honk' });
	assertProblem(answer, 429, 'queue-full');
	assert.ok(Number(answer.headers.get('retry-after')) >= 1);
	assert.equal(answer.body.retriable, true);
});

// ---- registry and grants

test('vehicles are registered, updated, listed and retired by an admin', options, async () => {
	const id = ids[used++];
	const body = { display_name: 'Grey van', msisdn: '+4915559990001', iccid: '8949000000000000001', fleet_id: null, tags: ['pool'] };
	const made = await registerVehicle(node, admin, id, body);
	assert.equal(made.status, 201);
	assert.equal(made.body.vehicle_id, id);
	assert.deepEqual(made.body.connectivity, { ...made.body.connectivity, state: 'disconnected', since: null });
	assert.equal((await registerVehicle(node, admin, id, { vehicle_id: id, ...body, display_name: 'Grey van 2' })).status, 200);
	assertProblem(await rest(node, 'PUT', path(id), { token: alice, body }), 403, 'forbidden');
	for (const bad of [{ vehicle_id: ids[0] }, { vehicle_id: null }, { msisdn: '0123' }, { msisdn: '+12a' }, { iccid: '12' }, { fleet_id: 'no-such-fleet' }, { tags: 'pool' }]) {
		const answer = await rest(node, 'PUT', path(id), { token: admin, body: { ...body, ...bad } });
		assertProblem(answer, 422, 'invalid-vehicle');
	}
	for (const unknown of [{ wheels: 4 }, { wait: 1 }])
		assertProblem(await rest(node, 'PUT', path(id), { token: admin, body: { ...body, ...unknown } }), 422, 'unknown-field');
	assertProblem(await rest(node, 'PUT', path('a%20b'), { token: admin, body }), 422, 'invalid-vehicle');

	await grant(node, admin, id, 'bob', 'viewer');
	const bob = await token({ sub: 'bob' });
	const seen = await rest(node, 'GET', path(id), { token: bob });
	assert.equal(seen.body.display_name, 'Grey van 2');
	assert.ok(!seen.body.msisdn && !seen.body.iccid, 'SIM data is for admins alone');
	const list = await rest(node, 'GET', '/v1/vehicles', { token: bob });
	assert.deepEqual(list.body.items.map((item) => item.vehicle_id), [id]);
	assert.equal((await rest(node, 'GET', path(id), { token: admin })).body.msisdn, body.msisdn);

	const waiting = await sendCommand(node, admin, id, { name: 'horn.honk' });
	assert.equal(waiting.status, 202);
	const retired = await rest(node, 'DELETE', path(id), { token: admin });
	assert.ok([200, 204].includes(retired.status));
	assertProblem(await rest(node, 'GET', path(id), { token: bob }), 404, 'vehicle-not-found');
});

test('who may do what, and until when', options, async () => {
	const { id } = await presentVehicle();
	const carol = await token({ sub: 'carol' });
	const send = (name = 'horn.honk') => sendCommand(node, carol, id, { name }, waitFor(10));
	assertProblem(await send(), 404, 'vehicle-not-found');
	await grant(node, alice, id, 'carol', 'viewer');
	assertProblem(await send(), 403, 'forbidden');
	await grant(node, alice, id, 'carol', 'driver');
	assert.equal((await send()).body.status, 'succeeded');
	assertProblem(await send('owner.pair'), 403, 'forbidden');
	const reader = await token({ sub: 'carol', scope: 'vehicles:read' });
	assertProblem(await sendCommand(node, reader, id, { name: 'horn.honk' }), 403, 'forbidden');
	const writer = await token({ sub: 'carol', scope: 'commands:write' });
	assertProblem(await rest(node, 'GET', path(id), { token: writer }), 403, 'forbidden');
	assertProblem(await rest(node, 'PUT', path(id, '/grants/dave'), { token: carol, body: { role: 'viewer' } }), 403, 'forbidden');

	const list = await rest(node, 'GET', path(id, '/grants'), { token: alice });
	assert.deepEqual(list.body.items.map(({ subject, role, granted_by }) => [subject, role, granted_by]).sort(), [
		['alice', 'owner', 'admin'],
		['carol', 'driver', 'alice'],
	]);
	const me = await rest(node, 'GET', '/v1/me', { token: carol });
	assert.equal(me.body.subject, 'carol');
	assert.deepEqual([...me.body.scopes].sort(), ['commands:write', 'vehicles:read']);
	assert.deepEqual(me.body.grants, [{ vehicle_id: id, role: 'driver', expires_at: null }]);

	const expires_at = new Date(Date.now() + 1500).toISOString();
	await grant(node, alice, id, 'carol', 'driver', expires_at);
	assert.equal((await send()).body.status, 'succeeded');
	await poll(send, (answer) => answer.status === 404, { what: 'the grant expires' });
	await grant(node, alice, id, 'carol', 'driver');
	const ended = await rest(node, 'DELETE', path(id, '/grants/carol'), { token: alice });
	assert.ok([200, 204].includes(ended.status));
	assertProblem(await send(), 404, 'vehicle-not-found');
});

test('the catalogue is there for apps to draw buttons from', options, async () => {
	const { status, body } = await rest(node, 'GET', '/v1/catalog', { token: alice });
	assert.equal(status, 200);
	const unlock = body.commands['doors.unlock'];
	assert.equal(unlock.title, 'Unlock the doors');
	assert.equal(unlock.role, 'driver');
	assert.equal(unlock.ttl_seconds, 120);
	assert.equal(unlock.timeout_seconds, 20);
	assert.equal(unlock.wake, true);
	assert.equal(unlock.params.type, 'object');
	assert.deepEqual(unlock.params.properties.door.enum, ['all', 'driver', 'trunk']);
});

test('the description of all this is there for everybody, and for keeping', options, async () => {
	const { status, headers, body } = await rest(node, 'GET', '/v1/openapi.json');
	assert.equal(status, 200);
	assert.deepEqual(body, openapi);
	assert.equal(headers.get('cache-control'), 'public, max-age=3600');
	const again = (known) => rest(node, 'GET', '/v1/openapi.json', { headers: { 'If-None-Match': known } });
	for (const known of [headers.get('etag'), `"other", W/${headers.get('etag')}`, '*']) {
		const same = await again(known);
		assert.deepEqual([same.status, same.body, same.headers.get('etag')], [304, '', headers.get('etag')]);
		assert.equal(same.headers.get('content-length'), null);
	}
	assert.equal((await again('"other"')).status, 200);
	assert.equal((await rest(node, 'HEAD', '/v1/openapi.json')).headers.get('etag'), headers.get('etag'));
	assertProblem(await rest(node, 'POST', '/v1/openapi.json', { body: {} }), 405, 'method-not-allowed');
});

// ---- the event log

test('the event log is read in pages', options, async () => {
	const { id } = await presentVehicle();
	await sendCommand(node, alice, id, { name: 'horn.honk' }, waitFor(10));
	const { body: whole } = await poll(
		() => rest(node, 'GET', path(id, '/events?after=0&limit=200'), { token: admin }),
		({ body }) => body.items.some((event) => event.data?.status === 'succeeded'),
	);
	assert.deepEqual(whole.items.map((event) => event.seq), whole.items.map((_, i) => i + 1));
	for (const event of whole.items) {
		assert.equal(event.vehicle_id, id);
		assert.match(event.time, time);
	}
	const statuses = whole.items.filter((event) => event.type === 'command.updated').map((event) => event.data.status);
	assert.deepEqual(statuses, ['accepted', 'sent', 'succeeded']);
	assert.ok(whole.items.some((event) => event.type === 'connectivity.changed' && event.data.state === 'connected'));
	const page = await rest(node, 'GET', path(id, '/events?after=2&limit=2'), { token: admin });
	assert.deepEqual(page.body.items, whole.items.slice(2, 4));
	assert.deepEqual(page.body.items.map((event) => event.seq), [3, 4]);
});

test('the live stream begins with a snapshot, follows, and resumes', options, async () => {
	const { id } = await presentVehicle();
	const first = await openStream(node, path(id, '/events'), { token: alice });
	assert.equal(first.status, 200);
	assert.match(first.headers.get('content-type'), /^text\/event-stream/);
	const snapshot = await first.until(({ event }) => event === 'snapshot');
	assert.equal(snapshot.data.vehicle.vehicle_id, id);
	assert.equal(snapshot.data.vehicle.connectivity.state, 'connected');
	const { epoch, seq } = snapshot.data;

	const one = (await sendCommand(node, alice, id, { name: 'horn.honk' }, waitFor(10))).body.id;
	const done = await first.until(({ event, data }) => event === 'command.updated' && data.data.status === 'succeeded');
	assert.equal(done.id, `${epoch}:${done.data.seq}`);
	assert.equal(done.data.data.id, one);
	first.close();

	const two = (await sendCommand(node, alice, id, { name: 'horn.honk' }, waitFor(10))).body.id;
	const second = await openStream(node, path(id, '/events'), { token: alice, lastEventId: done.id });
	const last = await second.until(({ data }) => data?.data?.id === two && data.data.status === 'succeeded');
	const resumed = await second.until(({ event }) => event === 'snapshot');
	assert.equal(resumed.data.recovered, true);
	const seqs = [first, second].flatMap(({ events }) => events.items.filter(({ event }) => event !== 'snapshot').map(({ data }) => data.seq));
	assert.deepEqual(seqs, Array.from({ length: last.data.seq - seq }, (_, i) => seq + 1 + i));

	const stranger = await openStream(node, path(id, '/events'), { token: alice, lastEventId: 'another-epoch:1' });
	assert.equal((await stranger.until(({ event }) => event === 'snapshot')).data.recovered, false);
	second.close();
	stranger.close();
});

test('reported state becomes part of the vehicle and an event', options, async () => {
	const { id, vehicle } = await presentVehicle();
	await vehicle.publish(`vehicles/${id}/state/${vehicle.feed}`, { version: 1, state: { doors: { locked: true }, fuel: 40 } });
	await vehicle.publish(`vehicles/${id}/state/${vehicle.feed}`, { version: 2, state: { doors: { locked: false }, fuel: null } });
	await vehicle.publish(`vehicles/${id}/state/${vehicle.feed}`, { version: 1, state: { doors: { locked: true } } });
	await vehicle.publish(`vehicles/${id}/state`, { odometer: 12 });
	const { body } = await poll(() => rest(node, 'GET', path(id), { token: alice }), ({ body: seen }) => seen.state.reported?.odometer === 12 && seen.state.reported.doors?.locked === false);
	assert.deepEqual(body.state.reported, { doors: { locked: false }, odometer: 12 });
	const events = await rest(node, 'GET', path(id, '/events?after=0'), { token: admin });
	const reports = events.body.items.filter((event) => event.type === 'state.reported').map((event) => event.data.patch);
	// The plain topic is a feed of its own: its report may come between the others.
	const fed = reports.filter((patch) => !('odometer' in patch));
	assert.deepEqual(fed, [{ doors: { locked: true }, fuel: 40 }, { doors: { locked: false }, fuel: null }]);
	assert.equal(reports.length, 3);
});

// ---- operators

test('the admin listener tells how the node is', options, async () => {
	const health = await fetch(`${node.adminUrl}/healthz`);
	assert.equal(health.status, 200);
	const ready = await fetch(`${node.adminUrl}/readyz`);
	assert.equal(ready.status, 200);
	assert.match(ready.headers.get('content-type'), /json/);
	const metrics = await node.metrics();
	assert.match(metrics, /# EOF\n$/);
	assert.match(metrics, /^keyfob_/m);
});

test('every stage of the journey is measured', options, async () => {
	const { id } = await presentVehicle();
	const stream = await openStream(node, path(id, '/events'), { token: alice });
	const stages = ['http_request', 'accept', 'publish', 'puback', 'answer', 'verdict', 'deliver', 'commit'];
	const counts = async () => {
		const text = await node.metrics();
		return stages.map((stage) => Number(text.match(new RegExp(`^keyfob_${stage}_seconds_count (\\d+)$`, 'm'))[1]));
	};
	const before = await counts();
	await sendCommand(node, alice, id, { name: 'horn.honk' }, waitFor(10));
	await stream.until(({ event, data }) => event === 'command.updated' && data.data.status === 'succeeded');
	await poll(counts, (now) => now.every((count, i) => count > before[i]), { what: `each of ${stages} was counted` });
	stream.close();
});

test('a problem is found in the log by its instance, and says nobody\'s name', options, async () => {
	const quiet = await startNode({ broker, database, config: { log: { level: 'info', format: 'json' }, node: { workers: 1 } } });
	const lines = (message) => quiet.child.logText().split('\n').filter((line) => line.includes(`"message":"${message}"`)).map((line) => JSON.parse(line));
	const told = 'a problem was answered';
	const app = await openSocket(quiet, { token: alice });
	const seen = [];
	for (const [method, target, given, status, name, route] of [
		['GET', '/v1/vehicles/NOBODYS1/commands?status=sent', alice, 404, 'vehicle-not-found', '/v1/vehicles/{vehicle_id}/commands'],
		['GET', '/v1/vehicles/NOBODYS1?wheels=secret', alice, 400, 'invalid-query', '/v1/vehicles/{vehicle_id}'],
		['GET', '/v1/me', 'nonsense', 401, 'unauthenticated', '/v1/me'],
		['GET', '/v1/nothing', alice, 404, 'not-found', ''],
	]) {
		const answer = await rest(quiet, method, target, { token: given });
		assertProblem(answer, status, name);
		seen.push({ request_id: answer.body.instance, problem: name, status, method: route && method, route });
	}
	for (const [method, params] of [['vehicle.get', { vehicle_id: 'NOBODYS1' }], ['vehicle.subscribe', { vehicle_id: 'NOBODYS1' }]]) {
		const { data } = await app.call(method, params).then(assert.fail, (error) => error);
		seen.push({ request_id: data.instance, problem: 'vehicle-not-found', status: 404, method, route: '/v1/ws' });
	}
	const upgrade = await openSocket(quiet, { token: 'nonsense' }).then(assert.fail, (error) => error);
	assert.equal(upgrade.status, 401);
	const found = lines(told);
	assert.deepEqual(found.slice(0, seen.length).map(({ request_id, problem, status, method, route }) => ({ request_id, problem, status, method, route })), seen);
	assert.equal(found.at(-1).problem, 'unauthenticated');
	assert.ok(found.every(({ level }) => level === 'info'));
	assert.doesNotMatch(quiet.child.logText(), /NOBODYS1|wheels|alice/);

	// Many at once: some are written, the others counted.
	const others = lines(told).length;
	await Promise.all(Array.from({ length: 300 }, () => rest(quiet, 'GET', '/v1/nothing', { token: alice })));
	const written = () => lines(told).length - others;
	const unwritten = () => lines('more problems were answered than are written down').reduce((sum, { unwritten: some }) => sum + some, 0);
	await poll(() => written() + unwritten(), (sum) => sum === 300, { what: 'each is written or counted' });
	assert.ok(unwritten() > 0 && written() >= 50 - others, `${written()} written`);
});

test('a signal switches debug lines on, and off again', options, async () => {
	const quiet = await startNode({ broker, database, config: { log: { level: 'info' } } });
	const debugLines = () => quiet.child.logText().match(/level=debug/g)?.length ?? 0;
	const ask = () => rest(quiet, 'GET', '/v1/me', { token: alice });
	await ask();
	assert.equal(debugLines(), 0);
	quiet.signal('SIGUSR2');
	await poll(ask, () => debugLines() > 0, { what: 'there are debug lines' });
	quiet.signal('SIGUSR2');
	await poll(() => quiet.child.logText(), (text) => /to="what is configured"/.test(text), { what: 'the signal was heard' });
	const before = debugLines();
	await ask();
	assert.equal(debugLines(), before);
});

test('what was done by whom, and what was refused, is on record', options, async () => {
	const { id } = await presentVehicle();
	const { body } = await sendCommand(node, alice, id, { name: 'horn.honk' });
	await grant(node, admin, id, 'zoe', 'viewer');
	const refused = await sendCommand(node, await token({ sub: 'zoe' }), id, { name: 'horn.honk' });
	assert.equal(refused.status, 403);
	const { items } = (await rest(node, 'GET', path(id, '/audit'), { token: admin })).body;
	assert.deepEqual(items.slice(0, 3).map(({ subject, action, allowed, detail }) => [subject, action, allowed, allowed ? (detail.id ?? detail.subject) : detail.name]), [
		['zoe', 'command.send', false, 'horn.honk'],
		['admin', 'grant.put', true, 'zoe'],
		['alice', 'command.send', true, body.id],
	]);
});
