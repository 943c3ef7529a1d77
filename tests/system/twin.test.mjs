// twin.test.mjs - the vehicle as a twin: what is desired reaches it when it comes, what it reports makes the difference smaller,
// and neither a node's nor a broker's death loses any of it. Notices go the same way.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { noteComplaint } from './children.mjs';
import { adminToken, build, connectVehicle, feedOf, gatewayPassword, grant, isBrokerGiven, openSocket, poll, Reference, registerVehicle, rest, startInstallation, token, vehicleIds } from './harness.mjs';

const ids = vehicleIds(40);
const { broker, database, nodes } = await startInstallation({ ids, nodes: 2 });
const [node, other] = nodes;
const [host] = broker.url.split(','); // a broker may have several
const admin = await adminToken();
const options = { timeout: 120_000 };
const patience = { ms: 45_000 };
let used = 0;

async function absentVehicle(body) {
	const id = ids[used++];
	await registerVehicle(node, admin, id, body);
	return id;
}

const get = (id, at = node) => rest(at, 'GET', `/v1/vehicles/${id}`, { token: admin });
const mergePatch = { 'Content-Type': 'application/merge-patch+json' };
const patch = (id, what, { by = admin, at = node, headers = {} } = {}) =>
	rest(at, 'PATCH', `/v1/vehicles/${id}/state`, { token: by, raw: JSON.stringify(what), headers: { ...mergePatch, ...headers } });
const putNotice = (path, raw, query = '') => rest(node, 'PUT', `/v1/${path}${query}`, { token: admin, raw, headers: { 'Content-Type': 'text/plain' } });
const withdraw = (path) => rest(node, 'DELETE', `/v1/${path}`, { token: admin });
const untilDelta = (id, delta) =>
	poll(() => get(id), ({ body }) => JSON.stringify(body.state.delta) === JSON.stringify(delta), { ...patience, what: `${id} differs by ${JSON.stringify(delta)}` });
const untilPublished = () => poll(() => database.sql('select count(*) from retained where published < version'), (n) => n === '0', { ...patience, what: 'all is published' });

const isDesired = (is) => ({ topic, payload }) => topic.endsWith('/state/desired') && payload !== '' && is(JSON.parse(payload));
const isNotice = (name, is) => ({ topic, payload }) => topic.endsWith(`/notices/${name}`) && is(payload);

// What the broker keeps: { topic: payload }.
async function kept(filter) {
	const client = await mqtt.connectAsync(host, { clientId: `keyfob-look-${used}-${Math.random()}`, username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
	const found = {};
	client.on('message', (topic, payload, { retain }) => retain && (found[topic] = payload.toString()));
	await client.subscribeAsync(filter, { qos: 1 });
	// What is retained comes before the answer to what is asked next.
	await client.publishAsync('keyfob/nobody/test', '', { qos: 1 });
	await client.endAsync();
	return found;
}
const untilKept = (topic, is, what) => poll(() => kept(topic), (found) => is(found[topic]), { ...patience, every: 100, what: what ?? `${topic} is kept as it should be` });

const startReferenceVehicle = (id) => new Reference(broker, `vehicle-${id}`, ['--id', id]);

function keyfob(args) {
	const child = spawn(`${build}/bin/keyfob`, args, { env: { ...process.env, KEYFOB_URL: node.url, KEYFOB_TOKEN: admin } });
	let out = '';
	for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (out += chunk));
	child.on('close', () => noteComplaint(out));
	return new Promise((done) => child.on('close', (code) => done({ code, out })));
}

// ---- desired state

test('what is desired while the vehicle is away is applied when it comes', options, async () => {
	const id = await absentVehicle();
	const app = await openSocket(other, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	const first = await patch(id, { climate: { on: true, temperature_c: 21 }, lights: { on: true } });
	assert.equal(first.status, 200);
	assert.equal(first.headers.get('etag'), '"1"');
	assert.deepEqual(first.body, {
		reported: {},
		desired: { climate: { on: true, temperature_c: 21 }, lights: { on: true } },
		delta: { climate: { on: true, temperature_c: 21 }, lights: { on: true } },
		reported_version: null,
		desired_version: 1,
	});
	assert.deepEqual((await patch(id, { lights: { on: true } })).body, first.body, 'a patch that changes nothing is answered with the state, too');
	const event = await app.until(({ type }) => type === 'state.desired', patience);
	assert.deepEqual(event.data, { patch: { climate: { on: true, temperature_c: 21 }, lights: { on: true } }, version: 1 });
	await untilKept(`vehicles/${id}/state/desired`, (payload) => payload && JSON.parse(payload).version === 1);

	const vehicle = startReferenceVehicle(id);
	await untilDelta(id, {});
	const { body } = await get(id, other);
	assert.equal(body.state.reported.climate.temperature_c, 21);
	assert.equal(body.state.reported.lights.on, true);
	assert.ok(vehicle.journal().some(({ what, version, outcome }) => what === 'desired' && version === 1 && outcome === 'adopted'), JSON.stringify(vehicle.journal()));
	await app.until(({ type, data }) => type === 'state.reported' && data.patch.lights?.on === true, patience);
	await untilKept(`vehicles/${id}/state/desired`, (payload) => payload === undefined, 'nothing is left to be told');
	await poll(() => vehicle.journal().at(-1), ({ what, outcome }) => what === 'desired' && outcome === 'cleared', { ...patience, what: 'the vehicle is told so' });

	// While it is there, it hears at once.
	await patch(id, { lights: { on: false } });
	await untilDelta(id, {});
	assert.equal((await get(id)).body.state.reported.lights.on, false);
	await vehicle.stop();
});

test('keyfob sets what is desired, and waits until the vehicle has it', options, async () => {
	const id = await absentVehicle();
	const set = await keyfob(['state', id, 'climate.temperature_c=19', 'lights.on=true', '-o', 'json']);
	assert.equal(set.code, 0, set.out);
	assert.deepEqual(JSON.parse(set.out).desired, { climate: { temperature_c: 19 }, lights: { on: true } });
	const refused = await keyfob(['state', id, 'lights.on=false', '--if-version', '7']);
	assert.equal(refused.code, 1, refused.out);
	const gone = await keyfob(['state', id, 'lights.on=null', '--if-version', '1', '-o', 'json']);
	assert.deepEqual(JSON.parse(gone.out).desired, { climate: { temperature_c: 19 }, lights: {} });
	const late = await keyfob(['state', id, '--wait=1']);
	assert.equal(late.code, 3, late.out);
	const vehicle = startReferenceVehicle(id);
	const waited = await keyfob(['state', id, 'climate.on=true', '--wait=30']);
	assert.equal(waited.code, 0, waited.out);
	assert.equal((await get(id)).body.state.reported.climate.on, true);
	await vehicle.stop();
});

test('each report makes the rest smaller, under a higher version', options, async () => {
	const id = await absentVehicle();
	const vehicle = await connectVehicle(broker, { id });
	await patch(id, { a: 1, b: { c: 2, d: 3 } });
	const { payload, packet } = await vehicle.messages.until(isDesired(() => true), patience);
	assert.deepEqual(JSON.parse(payload), { version: 1, feed: feedOf(id), state: { a: 1, b: { c: 2, d: 3 } } });
	assert.equal(packet.properties.contentType, 'application/json');
	await vehicle.publish(`vehicles/${id}/state/${vehicle.feed}`, { version: 1, state: { a: 1, b: { c: 2 } } });
	const less = await vehicle.messages.until(isDesired(({ version }) => version > 1), patience);
	assert.deepEqual(JSON.parse(less.payload).state, { b: { d: 3 } });
	await vehicle.publish(`vehicles/${id}/state`, { b: { d: 3 } });
	await vehicle.messages.until(({ topic, payload: text }) => topic.endsWith('/state/desired') && text === '', patience);
	assert.equal((await get(id)).headers.get('etag'), '"1"', 'nobody has changed what is desired');
});

// Said while nobody reads, and so little that the sockets keep it all, so that it is read together: one transaction, and it is as if each had
// come alone.
test('reports that come at once are merged one after the other, and each is an event', options, async () => {
	const id = await absentVehicle();
	const vehicle = await connectVehicle(broker, { id });
	const report = (report) => vehicle.publish(`vehicles/${id}/state/${feedOf(id)}`, report);
	const big = 'x'.repeat(120_000);
	await report({ version: 1, state: { a: 0, big } });
	await report({ version: 2, state: { more: big } });
	await poll(() => get(id), ({ body }) => body.state.reported.more === big, { ...patience, what: 'the first ones are there' });
	await Promise.all(nodes.map((one) => one.freeze()));
	for (const [version, state] of [
		[3, { a: 1, b: { c: 1, d: 2 } }],
		[4, { b: 5 }],
		[5, { b: { e: 1, f: null } }],
		[4, { a: 9 }], // older
		[6, { a: 1 }], // changes nothing
		[7, { some: 'x'.repeat(5_000) }],
		[8, { most: 'x'.repeat(20_000) }], // too much
		[9, { some: null }],
		[10, { a: null }],
		[10, { a: 9 }],
	])
		await report({ version, state });
	await report({ z: 1 });
	for (const one of nodes) one.thaw();
	await poll(() => get(id), ({ body }) => body.state.reported.z === 1, { ...patience, what: 'the last one is there' });
	const { body } = await get(id);
	assert.deepEqual(body.state.reported, { b: { e: 1 }, big, more: big, z: 1 });
	const { body: log } = await rest(node, 'GET', `/v1/vehicles/${id}/events?after=0&limit=100`, { token: admin });
	const reports = log.items.filter(({ type }) => type === 'state.reported');
	assert.deepEqual(reports.map(({ data }) => data.version), [1, 2, 3, 4, 5, 7, 9, 10, null]);
	assert.deepEqual(reports[4].data.patch, { b: { e: 1, f: null } });
	assert.deepEqual(log.items.map(({ seq }) => seq), log.items.map((_, i) => i + 1));
	const transactions = await database.sql(`select count(distinct xid) from events where vehicle_id = '${id}' and type = 'state.reported' and seq > ${reports[1].seq}`);
	if (!broker.tellsNothing) assert.equal(transactions, '1'); // another broker may hand them over one by one
	await report({ version: 10, state: { z: 2 } });
	await report({ version: 11, state: { z: 3 } });
	await poll(() => get(id), ({ body }) => body.state.reported.z === 3, { ...patience, what: 'versions go on' });
});

test('app and vehicle change it at the same time, and neither is lost', options, async () => {
	const id = await absentVehicle();
	const vehicle = await connectVehicle(broker, { id });
	const rounds = 20;
	const patches = Array.from({ length: rounds }, (_, i) => patch(id, { [`app${i}`]: i }, { at: nodes[i % 2] }));
	const reports = Array.from({ length: rounds }, (_, i) => vehicle.publish(`vehicles/${id}/state`, { version: i + 1, state: { [`car${i}`]: i, [`app${i}`]: i % 2 ? i : 'other' } }));
	for (const { status } of await Promise.all(patches)) assert.equal(status, 200);
	await Promise.all(reports);
	const delta = Object.fromEntries(Array.from({ length: rounds }, (_, i) => [`app${i}`, i]).filter(([, i]) => i % 2 === 0));
	const { body } = await poll(() => get(id), ({ body: { state } }) => Object.keys(state.delta).length === rounds / 2 && state.reported_version === rounds, { ...patience, what: 'all is merged' });
	assert.equal(Object.keys(body.state.desired).length, rounds);
	assert.deepEqual(body.state.delta, delta);
	const last = await vehicle.messages.until(isDesired(({ state }) => Object.keys(state).length === rounds / 2 && Object.keys(state).every((key) => key in delta)), patience);
	assert.deepEqual(JSON.parse(last.payload).state, delta);
	const versions = vehicle.messages.items.filter(isDesired(() => true)).map(({ payload }) => JSON.parse(payload).version);
	assert.deepEqual(versions, [...versions].sort((a, b) => a - b), 'versions only rise');
});

test('If-Match refuses what somebody else has changed', options, async () => {
	const id = await absentVehicle();
	const { headers } = await get(id);
	const etag = headers.get('etag');
	const tries = await Promise.all(Array.from({ length: 8 }, (_, i) => patch(id, { winner: i }, { at: nodes[i % 2], headers: { 'If-Match': etag } })));
	assert.equal(tries.filter(({ status }) => status === 200).length, 1);
	for (const { status, body } of tries.filter((one) => one.status !== 200)) {
		assert.equal(status, 412);
		assert.equal(body.type, 'urn:keyfob:problem:precondition-failed');
	}
	const fresh = (await get(id)).headers.get('etag');
	assert.notEqual(fresh, etag);
	assert.equal((await patch(id, { winner: 9 }, { headers: { 'If-Match': `${etag}, ${fresh}` } })).status, 200);
	assert.equal((await patch(id, { winner: 10 }, { headers: { 'If-Match': `W/${fresh}` } })).status, 412);
	assert.equal((await patch(id, { winner: 11 }, { headers: { 'If-Match': '*' } })).status, 200);
});

test('a driver may, a viewer may not', options, async () => {
	const id = await absentVehicle();
	for (const [subject, role, status] of [['dora', 'driver', 200], ['vera', 'viewer', 403], ['sam', null, 404]]) {
		if (role) await grant(node, admin, id, subject, role);
		const by = await token({ sub: subject, scope: 'vehicles:read commands:write' });
		assert.equal((await patch(id, { by: subject }, { by })).status, status);
	}
});

// ---- notices

test('a notice is there for a vehicle that comes later, until it is withdrawn', options, async () => {
	const id = await absentVehicle();
	const app = await openSocket(other, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	const made = await putNotice(`vehicles/${id}/notices/recall`, 'Brakes: stop now. ✋');
	assert.equal(made.status, 201);
	assert.equal(made.body.name, 'recall');
	assert.deepEqual((await app.until(({ type }) => type === 'notice.published', patience)).data, { name: 'recall', expires_at: null });
	await untilPublished();
	const vehicle = await connectVehicle(broker, { id });
	const { packet } = await vehicle.messages.until(isNotice('recall', (text) => text === 'Brakes: stop now. ✋'), patience);
	assert.equal(packet.retain, true);
	assert.equal(packet.properties.contentType, 'text/plain');
	assert.equal((await putNotice(`vehicles/${id}/notices/recall`, '{"again":true}')).status, 200);
	await vehicle.messages.until(isNotice('recall', (text) => text === '{"again":true}'), patience);
	const list = await rest(other, 'GET', `/v1/vehicles/${id}/notices`, { token: admin });
	assert.deepEqual(list.body.items.map(({ name, payload, scope }) => [name, payload, scope]), [['recall', '{"again":true}', 'vehicle']]);
	assert.equal((await withdraw(`vehicles/${id}/notices/recall`)).status, 204);
	await vehicle.messages.until(isNotice('recall', (text) => text === ''), patience);
	assert.deepEqual((await app.until(({ type }) => type === 'notice.withdrawn', patience)).data, { name: 'recall' });
	assert.equal((await withdraw(`vehicles/${id}/notices/recall`)).status, 404);
	assert.deepEqual(await kept(`vehicles/${id}/notices/+`), {});
});

test('a notice ends when its time is over', options, async () => {
	const id = await absentVehicle();
	const vehicle = await connectVehicle(broker, { id });
	const before = Date.now();
	const { body } = await putNotice(`vehicles/${id}/notices/storm`, 'Park inside.', '?expires_in_seconds=3');
	assert.ok(Math.abs(Date.parse(body.expires_at) - before - 3000) < 2000, body.expires_at);
	const { packet } = await vehicle.messages.until(isNotice('storm', (text) => text !== ''), patience);
	assert.ok(packet.properties.messageExpiryInterval >= 1 && packet.properties.messageExpiryInterval <= 3);
	await vehicle.messages.until(isNotice('storm', (text) => text === ''), patience);
	assert.ok(Date.now() - before >= 2900, 'not before its time');
	const list = await rest(node, 'GET', `/v1/vehicles/${id}/notices`, { token: admin });
	assert.deepEqual(list.body.items, []);
});

test("a fleet's notice reaches its vehicles, also those that join it, and no other; one for all reaches all", options, async () => {
	await rest(node, 'PUT', '/v1/fleets/vans', { token: admin, body: { title: 'Vans' } });
	const [van, later, car] = [await absentVehicle({ fleet_id: 'vans' }), await absentVehicle(), await absentVehicle()];
	const manager = await token({ sub: 'max', scope: 'vehicles:read commands:write' });
	assert.equal((await rest(node, 'PUT', '/v1/fleets/vans/notices/depot', { token: manager, raw: 'x' })).status, 404);
	await rest(node, 'PUT', '/v1/fleets/vans/grants/max', { token: admin, body: { role: 'manager' } });
	assert.equal((await rest(node, 'PUT', '/v1/fleets/vans/notices/depot', { token: manager, raw: 'The depot is closed.' })).status, 201);
	assert.equal((await rest(node, 'PUT', '/v1/notices/storm', { token: manager, raw: 'x' })).status, 403);
	assert.equal((await putNotice('notices/storm', 'Storm.')).status, 201);
	await untilKept(`vehicles/${van}/notices/depot`, (text) => text === 'The depot is closed.');
	for (const id of [van, later, car]) await untilKept(`vehicles/${id}/notices/storm`, (text) => text === 'Storm.');
	await registerVehicle(node, admin, later, { fleet_id: 'vans' });
	await untilKept(`vehicles/${later}/notices/depot`, (text) => text === 'The depot is closed.');
	assert.deepEqual(Object.keys(await kept(`vehicles/${car}/notices/+`)), [`vehicles/${car}/notices/storm`]);
	await registerVehicle(node, admin, van);
	await untilKept(`vehicles/${van}/notices/depot`, (text) => text === undefined);
	assert.equal((await withdraw('notices/storm')).status, 204);
	for (const id of [van, later, car]) await untilKept(`vehicles/${id}/notices/storm`, (text) => text === undefined);
});

test('a new owner finds nothing of the last one; of a retired vehicle nothing is kept', options, async () => {
	const id = await absentVehicle();
	const vehicle = await connectVehicle(broker, { id });
	await patch(id, { seat: 7 });
	await putNotice(`vehicles/${id}/notices/recall`, 'x');
	await vehicle.messages.until(isDesired(({ state }) => state.seat === 7), patience);
	await vehicle.messages.until(isNotice('recall', (text) => text === 'x'), patience);
	await rest(node, 'POST', `/v1/vehicles/${id}/transfer`, { token: admin, body: { subject: 'nora' } });
	await vehicle.messages.until(({ topic, payload }) => topic.endsWith('/state/desired') && payload === '', patience);
	await vehicle.messages.until(isNotice('recall', (text) => text === ''), patience);
	const nora = await token({ sub: 'nora', scope: 'vehicles:read commands:write' });
	const { body } = await rest(node, 'GET', `/v1/vehicles/${id}`, { token: nora });
	assert.deepEqual(body.state.desired, {});
	const log = await rest(node, 'GET', `/v1/vehicles/${id}/events`, { token: nora });
	assert.deepEqual(log.body.items.filter(({ type }) => /^(notice|state)\./.test(type)), []);

	await patch(id, { seat: 8 });
	await putNotice(`vehicles/${id}/notices/recall`, 'y');
	await untilKept(`vehicles/${id}/notices/recall`, (text) => text === 'y');
	await rest(node, 'DELETE', `/v1/vehicles/${id}`, { token: admin });
	await poll(() => kept(`vehicles/${id}/#`), (found) => Object.keys(found).length === 0, { ...patience, what: 'nothing is kept' });
	await vehicle.disconnect({ force: true });
});

// ---- deaths

const ownBroker = { ...options, skip: isBrokerGiven && 'it stops the broker, which is not its own' };

test('a broker that lost what it kept is told anew', ownBroker, async () => {
	const id = await absentVehicle();
	await patch(id, { sunroof: 'closed' });
	await putNotice(`vehicles/${id}/notices/recall`, 'Brakes.');
	await untilKept(`vehicles/${id}/state/desired`, Boolean);
	await untilKept(`vehicles/${id}/notices/recall`, Boolean);
	await untilKept('keyfob/retained', Boolean, 'the mark is kept');
	await broker.forget();
	await untilKept(`vehicles/${id}/state/desired`, (text) => text && JSON.parse(text).state.sunroof === 'closed');
	await untilKept(`vehicles/${id}/notices/recall`, (text) => text === 'Brakes.');
});

test('a broker that lost nothing is told nothing anew', ownBroker, async () => {
	const id = await absentVehicle();
	await patch(id, { sunroof: 'open' });
	await untilKept(`vehicles/${id}/state/desired`, Boolean);
	// A mark that stands behind it.
	await poll(
		() => database.sql(`select max(r.mark) <= m.retained_mark from retained r, meta m where r.published > 0 group by m.retained_mark`),
		(is) => is === 't',
		{ ...patience, what: 'all is marked' },
	);
	await poll(async () => (await kept('keyfob/retained'))['keyfob/retained'] === (await database.sql('select retained_mark from meta')), Boolean, { ...patience, what: 'the broker has the mark' });
	const vehicle = await connectVehicle(broker, { id });
	await vehicle.messages.until(isDesired(() => true), patience);
	await broker.stop();
	await broker.start();
	await poll(() => get(id), ({ body }) => body.connectivity.state === 'connected' && !body.connectivity.verifying, { ...patience, what: 'the vehicle is back' });
	// What is published now comes behind what would have been published anew.
	await patch(id, { marker: 1 });
	await vehicle.messages.until(isDesired(({ state }) => state.marker === 1), patience);
	const live = vehicle.messages.items.filter(({ topic, packet }) => topic.endsWith('/state/desired') && !packet.retain);
	assert.deepEqual(live.map(({ payload }) => JSON.parse(payload).state.marker), [1]);
});

test('a node killed between commit and publish: the other one publishes', ownBroker, async () => {
	// The reader of the lifecycle feed publishes. While the broker stands still it commits and cannot publish; then it dies.
	const holder = await poll(() => database.sql(`select node from leases where name = 'feed/lifecycle' and expires_at > now()`), Boolean, { ...patience, what: 'somebody publishes' });
	const publisher = nodes.find(({ name }) => name === holder);
	const survivor = nodes.find(({ name }) => name !== holder);
	const many = ids.slice(used, (used += 6));
	for (const id of many) await registerVehicle(survivor, admin, id);
	await untilPublished();
	await broker.child.freeze();
	await Promise.all(many.map((id, i) => patch(id, { order: [i, 1] }, { at: publisher })));
	await Promise.all([...many.map((id, i) => patch(id, { order: [i, 2] }, { at: publisher })), ...many.map((id) => rest(publisher, 'PUT', `/v1/vehicles/${id}/notices/recall`, { token: admin, raw: 'x' }))]);
	await publisher.kill();
	assert.equal(await database.sql('select count(*) from retained where published < version'), String(2 * many.length));
	await Promise.all(many.map((id, i) => patch(id, { order: [i, 3] }, { at: survivor })));
	broker.child.thaw();
	for (const [i, id] of many.entries()) {
		await untilKept(`vehicles/${id}/state/desired`, (text) => text && JSON.stringify(JSON.parse(text).state.order) === JSON.stringify([i, 3]));
		await untilKept(`vehicles/${id}/notices/recall`, (text) => text === 'x');
	}
	await untilPublished();
	await publisher.start();
});

// It reports, and goes before anybody reads it: the report counts, and does not make it there.
test('what the broker kept while no node lived brings no vehicle back', options, async () => {
	const id = await absentVehicle();
	for (const each of nodes) await each.kill();
	const gone = await mqtt.connectAsync(host, { clientId: id, username: id, password: broker.password, protocolVersion: 5 });
	await gone.publishAsync(`vehicles/${id}/state/${feedOf(id)}`, JSON.stringify({ version: 1, state: { odometer: 7 } }), { qos: 1 });
	await gone.endAsync();
	for (const each of nodes) await each.start();
	await poll(() => get(id), ({ body }) => body.state?.reported?.odometer === 7, { ...patience, what: 'the report has been read' });
	assert.equal(await database.sql(`select count(*) from events where vehicle_id = '${id}' and type = 'connectivity.changed'`), '0');
});
