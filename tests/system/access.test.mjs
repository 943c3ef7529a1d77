// access.test.mjs - who may do what, who hears of it, and how fast a right ends: fleets, grants, transfer, on two nodes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
	adminToken,
	connectVehicle,
	grant,
	openSocket,
	openStream,
	poll,
	registerVehicle,
	rest,
	RpcError,
	sendCommand,
	startInstallation,
	startNode,
	token,
	vehicleIds,
} from './harness.mjs';
import { createMigratedDatabase, sql } from './servers.mjs';

const ids = vehicleIds(60);
const { broker, database, nodes } = await startInstallation({ ids, nodes: 2 });
const [one, two] = nodes;
const admin = await adminToken();
const options = { timeout: 60_000 };
const prompt = 2000; // how long a right may outlive its end, on every node
let vehiclesUsed = 0;
let fleetsUsed = 0;
let peopleUsed = 0;

// ---- the cast: each test has vehicles, fleets and people of its own

async function newFleet(title = 'A fleet') {
	const id = `F${++fleetsUsed}`;
	const answer = await rest(one, 'PUT', `/v1/fleets/${id}`, { token: admin, body: { title } });
	assert.equal(answer.status, 201);
	return id;
}

async function newVehicle(body = {}) {
	const id = ids[vehiclesUsed++];
	await registerVehicle(one, admin, id, body);
	return id;
}

// A person by name, unique to the test, with a token.
async function person(name, claims = {}) {
	const subject = `${name}-${++peopleUsed}`;
	return { subject, token: await token({ sub: subject, ...claims }) };
}

const grantFleet = (node, by, fleet, subject, role, expires_at = null) =>
	rest(node, 'PUT', `/v1/fleets/${fleet}/grants/${subject}`, { token: by, body: { role, expires_at } });
const endGrant = (node, by, kind, id, subject) => rest(node, 'DELETE', `/v1/${kind}/${id}/grants/${subject}`, { token: by });

async function driverOf(id) {
	const driver = await person('dan');
	await grant(one, admin, id, driver.subject, 'driver');
	return driver;
}

async function memberOf(fleet, role) {
	const member = await person(role);
	assert.equal((await grantFleet(one, admin, fleet, member.subject, role)).status, 201);
	return member;
}

const problemOf = ({ status, body }) => `${status} ${body.type?.replace('urn:keyfob:problem:', '')}`;
const isProblem = (name) => (error) => error instanceof RpcError && error.data?.type === `urn:keyfob:problem:${name}`;
const tellsAccess = (subject, role) => ({ type, data }) => type === 'access.changed' && data.subject === subject && data.role === role;
const state = async (id) => (await rest(two, 'GET', `/v1/vehicles/${id}`, { token: admin })).body;

// A command that waits: the vehicle is not there.
async function unsent(node, who, id, name = 'doors.unlock') {
	const { status, body } = await sendCommand(node, who.token, id, { name, wake: false });
	assert.equal(status, 202, JSON.stringify(body));
	return body.id;
}

const commandOf = async (id, command) => (await rest(two, 'GET', `/v1/vehicles/${id}/commands/${command}`, { token: admin })).body;

async function assertRevoked(id, command, begun) {
	const body = await poll(() => commandOf(id, command), ({ status }) => status === 'canceled', { ms: prompt, what: `${command} is taken back` });
	assert.equal(body.reason.code, 'ACCESS_REVOKED');
	if (begun) assert.ok(Date.now() - begun < prompt, `it took ${Date.now() - begun} ms`);
}

// `who`, whose socket it is, hears nothing of a vehicle. An event of it would have come, or not, before a later one of another vehicle:
// silence is told apart from delay, and from a socket that is closed.
async function assertSilent(app, who, id, from) {
	const watcher = await openSocket(two, { token: admin });
	await watcher.call('vehicle.subscribe', { vehicle_id: id });
	const command = await unsent(one, { token: admin }, id, 'horn.honk');
	await watcher.until(({ data }) => data.id === command);
	const later = await newVehicle();
	await grant(one, admin, later, who.subject, 'viewer');
	await app.call('vehicle.subscribe', { vehicle_id: later });
	const told = await unsent(one, { token: admin }, later, 'horn.honk');
	await app.until(({ data }) => data.id === told);
	assert.deepEqual(app.events.items.slice(from).filter(({ vehicle_id }) => vehicle_id !== later), []);
	watcher.close();
}

// ---- fleets

test('a fleet is made, renamed, listed for its people alone, and removed when it is empty', options, async () => {
	const fleet = await newFleet('Vans');
	const manager = await memberOf(fleet, 'manager');
	const stranger = await person('sam');
	const path = `/v1/fleets/${fleet}`;

	const { body } = await rest(two, 'GET', path, { token: manager.token });
	assert.deepEqual(Object.keys(body).sort(), ['created_at', 'fleet_id', 'title', 'updated_at']);
	assert.equal(body.title, 'Vans');
	assert.equal((await rest(one, 'PUT', path, { token: admin, body: { title: 'Lorries' } })).status, 200);
	const list = await rest(two, 'GET', '/v1/fleets', { token: manager.token });
	assert.deepEqual(list.body.items.map(({ fleet_id, title }) => [fleet_id, title]), [[fleet, 'Lorries']]);
	assert.deepEqual((await rest(two, 'GET', '/v1/fleets', { token: stranger.token })).body.items, []);
	assert.equal(problemOf(await rest(two, 'PUT', path, { token: manager.token, body: { title: 'Mine' } })), '403 forbidden');
	assert.equal(problemOf(await rest(two, 'PUT', path, { token: stranger.token, body: { title: 'Mine' } })), '404 fleet-not-found');
	assert.equal(problemOf(await rest(two, 'PUT', '/v1/fleets/a%20b', { token: admin, body: {} })), '422 invalid-params');

	const id = await newVehicle({ fleet_id: fleet });
	assert.equal(problemOf(await rest(one, 'DELETE', path, { token: admin })), '409 fleet-not-empty');
	await rest(one, 'DELETE', `/v1/vehicles/${id}`, { token: admin });
	assert.equal((await rest(one, 'DELETE', path, { token: admin })).status, 204);
	assert.equal(problemOf(await rest(two, 'GET', path, { token: manager.token })), '404 fleet-not-found');
	const me = await rest(two, 'GET', '/v1/me', { token: manager.token });
	assert.deepEqual(me.body.grants, []);
});

test('a fleet must exist before a vehicle names it', options, async () => {
	const fleet = await newFleet();
	const [own, foreign] = [await memberOf(fleet, 'manager'), await newFleet()];
	const id = ids[vehiclesUsed++];
	const put = (who, fleet_id) => rest(one, 'PUT', `/v1/vehicles/${id}`, { token: who, body: { fleet_id } });

	assert.equal(problemOf(await put(admin, 'nowhere')), '422 invalid-vehicle');
	assert.equal(problemOf(await put(own.token, foreign)), '404 fleet-not-found');
	assert.equal(problemOf(await put(own.token, 'nowhere')), '404 fleet-not-found');
	const { status, body } = await put(own.token, fleet);
	assert.equal(status, 201);
	assert.equal(body.fleet_id, fleet);
});

test('a fleet that is removed while vehicles are put into it: one or the other', options, async () => {
	for (let round = 0; round < 5; round++) {
		const fleet = await newFleet();
		const [removed, put] = await Promise.all([
			rest(one, 'DELETE', `/v1/fleets/${fleet}`, { token: admin }),
			rest(two, 'PUT', `/v1/vehicles/${ids[vehiclesUsed]}`, { token: admin, body: { fleet_id: fleet } }),
		]);
		assert.ok((removed.status === 204 && put.status === 422) || (removed.status === 409 && [200, 201].includes(put.status)), `${removed.status} ${put.status}`);
	}
	vehiclesUsed++;
});

test('the roles of a fleet are rights on all of its vehicles', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet, msisdn: '+4915559991234' });
	const [manager, operator, viewer] = await Promise.all(['manager', 'operator', 'viewer'].map((role) => memberOf(fleet, role)));

	for (const who of [manager, operator, viewer]) assert.equal((await rest(two, 'GET', `/v1/vehicles/${id}`, { token: who.token })).status, 200);
	assert.equal((await rest(two, 'GET', `/v1/vehicles/${id}`, { token: manager.token })).body.msisdn, '+4915559991234');
	assert.equal((await rest(two, 'GET', `/v1/vehicles/${id}`, { token: operator.token })).body.msisdn, null);
	for (const who of [manager, operator]) await unsent(two, who, id);
	assert.equal(problemOf(await sendCommand(two, viewer.token, id, { name: 'doors.unlock' })), '403 forbidden');
	assert.equal(problemOf(await sendCommand(two, operator.token, id, { name: 'owner.pair' })), '403 forbidden');
	const driver = await person('dan');
	assert.equal((await grant(two, manager.token, id, driver.subject, 'driver')).status, 201);
	const { body } = await rest(one, 'GET', `/v1/fleets/${fleet}/grants`, { token: manager.token });
	assert.deepEqual(body.items.map(({ role }) => role).sort(), ['manager', 'operator', 'viewer']);
	assert.equal(problemOf(await rest(one, 'GET', `/v1/fleets/${fleet}/grants`, { token: operator.token })), '403 forbidden');
});

test('a fleet subscriber on one node hears what is done on the other, each event once and in order', options, async () => {
	const fleet = await newFleet();
	const own = [await newVehicle({ fleet_id: fleet }), await newVehicle({ fleet_id: fleet })];
	const other = await newVehicle();
	const operator = await memberOf(fleet, 'operator');
	const app = await openSocket(one, { token: operator.token });
	const stream = await openStream(one, `/v1/fleets/${fleet}/events`, { token: operator.token });
	const result = await app.call('fleet.subscribe', { fleet_id: fleet });
	assert.deepEqual(Object.keys(result).sort(), ['epoch', 'fleet_id', 'vehicles']);
	assert.equal(result.fleet_id, fleet);
	assert.equal(result.vehicles, 2);
	const snapshot = await stream.until(({ event }) => event === 'snapshot');
	assert.deepEqual(snapshot.data, result);
	await app.call('vehicle.subscribe', { vehicle_id: own[0] }); // an event comes once by however many subscriptions

	const heads = new Map();
	for (const id of own) heads.set(id, (await state(id)).seq);
	const vehicles = await Promise.all(own.map((id) => connectVehicle(broker, { id })));
	await sendCommand(two, admin, other, { name: 'horn.honk' });
	for (let i = 0; i < 20; i++)
		await sendCommand(i % 2 ? one : two, admin, own[i % 2], { name: 'horn.honk' }, { Prefer: 'wait=10' });
	const newest = new Map();
	for (const id of own) newest.set(id, (await state(id)).seq);
	for (const id of own) {
		const isLast = (event) => event.vehicle_id === id && event.seq === newest.get(id);
		await app.until(isLast);
		await stream.until(({ data }) => isLast(data));
		const expected = Array.from({ length: newest.get(id) - heads.get(id) }, (_, i) => heads.get(id) + 1 + i);
		assert.deepEqual(app.events.items.filter(({ vehicle_id }) => vehicle_id === id).map(({ seq }) => seq), expected);
		assert.deepEqual(stream.events.items.slice(1).filter(({ data }) => data.vehicle_id === id).map(({ data }) => data.seq), expected);
	}
	assert.ok(!app.events.items.some(({ vehicle_id }) => vehicle_id === other));
	assert.ok(stream.events.items.every(({ id }) => id === undefined), 'a fleet stream has no ids to resume from');
	assert.equal(vehicles.length, 2);

	const head = await fetch(`${two.url}/v1/fleets/${fleet}/events`, { method: 'HEAD', headers: { Authorization: `Bearer ${operator.token}` } });
	assert.equal(head.status, 200); // it ends, as a stream does not
	assert.deepEqual(await app.call('fleet.unsubscribe', { fleet_id: fleet }), {});
	const from = app.events.items.length;
	await sendCommand(two, admin, own[1], { name: 'horn.honk' }, { Prefer: 'wait=10' });
	await assertSilent(app, operator, own[1], from);
});

test('all vehicles are for admin', options, async () => {
	const id = await newVehicle();
	const stranger = await person('sam');
	const app = await openSocket(one, { token: stranger.token });
	await assert.rejects(app.call('fleet.subscribe', { fleet_id: '*' }), isProblem('forbidden'));
	await assert.rejects(app.call('fleet.subscribe', { fleet_id: 'nowhere' }), isProblem('fleet-not-found'));
	const all = await openSocket(two, { token: admin });
	const result = await all.call('fleet.subscribe', { fleet_id: '*' });
	assert.equal(result.vehicles, Number(await database.sql('select count(*) from vehicles where retired_at is null')));
	const command = await unsent(one, { token: admin }, id);
	await all.until(({ vehicle_id, data }) => vehicle_id === id && data.id === command);
	const fresh = await newVehicle({ fleet_id: await newFleet() }); // one that is registered later is followed too
	await all.until(({ vehicle_id, type }) => vehicle_id === fresh && type === 'vehicle.moved');
});

test('a move is an event to both fleets, and takes the rights with it', options, async () => {
	const [left, joined] = [await newFleet(), await newFleet()];
	const id = await newVehicle({ fleet_id: left });
	const [operator, manager] = [await memberOf(left, 'operator'), await memberOf(joined, 'manager')];
	const owner = await person('olga');
	await grant(one, admin, id, owner.subject, 'owner');
	const [of_left, of_joined] = await Promise.all([openSocket(one, { token: operator.token }), openSocket(two, { token: manager.token })]);
	const of_vehicle = await openSocket(two, { token: operator.token });
	const of_owner = await openSocket(two, { token: owner.token });
	await of_left.call('fleet.subscribe', { fleet_id: left });
	await of_joined.call('fleet.subscribe', { fleet_id: joined });
	await of_vehicle.call('vehicle.subscribe', { vehicle_id: id });
	await of_owner.call('vehicle.subscribe', { vehicle_id: id });
	const command = await unsent(two, operator, id);
	await of_left.until(({ data }) => data.id === command);

	const begun = Date.now();
	await registerVehicle(one, admin, id, { fleet_id: joined });
	const parting = await of_left.until(({ type }) => type === 'vehicle.moved');
	assert.deepEqual(parting.data, { fleet_id: null }, 'where it went is not for those who stay behind');
	assert.deepEqual((await of_joined.until(({ type }) => type === 'vehicle.moved')).data, { fleet_id: joined });
	assert.deepEqual((await of_owner.until(({ type }) => type === 'vehicle.moved')).data, { fleet_id: joined });
	await of_vehicle.until(tellsAccess(operator.subject, null));
	assert.ok(!of_vehicle.events.items.some(({ type }) => type === 'vehicle.moved'));
	await assertRevoked(id, command, begun);
	assert.equal(problemOf(await rest(two, 'GET', `/v1/vehicles/${id}`, { token: operator.token })), '404 vehicle-not-found');

	const from = [of_left.events.items.length, of_vehicle.events.items.length];
	const next = await unsent(one, manager, id);
	await of_joined.until(({ data }) => data.id === next);
	await assertSilent(of_left, operator, id, from[0]);
	await assertSilent(of_vehicle, operator, id, from[1]);
});

// ---- grants, and their end

test('a grant is told to its subject, the owners and the managers; others see that something was skipped', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const owner = await person('olga');
	await grant(one, admin, id, owner.subject, 'owner');
	const [manager, operator] = [await memberOf(fleet, 'manager'), await memberOf(fleet, 'operator')];
	const viewer = await person('vera');
	await grant(one, admin, id, viewer.subject, 'viewer');
	const watch = async (node, who) => {
		const app = await openSocket(node, { token: who.token });
		await app.call('vehicle.subscribe', { vehicle_id: id });
		return app;
	};
	const [ownerApp, viewerApp, managerApp] = [await watch(one, owner), await watch(two, viewer), await openSocket(two, { token: manager.token })];
	const operatorApp = await openSocket(two, { token: operator.token });
	await managerApp.call('fleet.subscribe', { fleet_id: fleet });
	await operatorApp.call('fleet.subscribe', { fleet_id: fleet });

	const driver = await person('dan');
	for (const [role, act] of [
		['viewer', () => grant(two, owner.token, id, driver.subject, 'viewer')],
		['driver', () => grant(two, manager.token, id, driver.subject, 'driver')],
		[null, () => endGrant(two, owner.token, 'vehicles', id, driver.subject)],
	]) {
		await act();
		const { seq, data } = await ownerApp.until(tellsAccess(driver.subject, role));
		assert.deepEqual(data, { subject: driver.subject, role, expires_at: null });
		await managerApp.until(tellsAccess(driver.subject, role));
		for (const app of [viewerApp, operatorApp]) {
			const skipped = await app.until((event) => event.vehicle_id === id && event.seq === seq);
			assert.deepEqual([skipped.type, skipped.data], ['skipped', {}]);
		}
	}
	assert.ok(!JSON.stringify([viewerApp.frames.items, operatorApp.frames.items]).includes(driver.subject));
});

// The socket of a manager of the fleet, who watches it.
async function managing(node, fleet) {
	const app = await openSocket(node, { token: (await memberOf(fleet, 'manager')).token });
	await app.call('fleet.subscribe', { fleet_id: fleet });
	return app;
}

for (const [kind, role] of [
	['vehicles', 'driver'],
	['fleets', 'operator'],
])
	test(`a revoked grant on ${kind} ends streams on the other node within two seconds, and takes back what is unsent`, options, async () => {
		const fleet = await newFleet();
		const id = await newVehicle({ fleet_id: fleet });
		const who = kind === 'fleets' ? await memberOf(fleet, role) : await driverOf(id);
		const owner = await person('olga');
		await grant(one, admin, id, owner.subject, 'owner');
		const object = kind === 'fleets' ? fleet : id;
		const app = await openSocket(two, { token: who.token });
		const ownerApp = await openSocket(two, { token: owner.token });
		const managerApp = await managing(two, fleet);
		await app.call('vehicle.subscribe', { vehicle_id: id });
		await ownerApp.call('vehicle.subscribe', { vehicle_id: id });
		const streams = [await openStream(two, `/v1/vehicles/${id}/events`, { token: who.token })];
		if (kind === 'fleets') {
			await app.call('fleet.subscribe', { fleet_id: fleet });
			streams.push(await openStream(two, `/v1/fleets/${fleet}/events`, { token: who.token }));
		}
		for (const stream of streams) await stream.until(({ event }) => event === 'snapshot');
		const command = await unsent(two, who, id);
		await app.until(({ data }) => data.id === command && data.status === 'waiting');

		const begun = Date.now();
		assert.equal((await endGrant(one, admin, kind, object, who.subject)).status, 204);
		const told = await app.until(tellsAccess(who.subject, null), { ms: prompt });
		assert.equal(told.fleet_id, kind === 'fleets' ? fleet : undefined);
		assert.equal('seq' in told, kind === 'vehicles');
		for (const other of [ownerApp, managerApp]) {
			const heard = await other.until(tellsAccess(who.subject, null), { ms: prompt });
			assert.equal('seq' in heard, kind === 'vehicles');
			assert.equal(heard.fleet_id, told.fleet_id);
		}
		await Promise.all(streams.map(({ ended }) => ended));
		assert.ok(Date.now() - begun < prompt, `the streams went on for ${Date.now() - begun} ms`);
		await assertRevoked(id, command, begun);
		for (const node of nodes) assert.equal(problemOf(await sendCommand(node, who.token, id, { name: 'doors.unlock' })), '404 vehicle-not-found');
		const from = app.events.items.length;
		await assertSilent(app, who, id, from);
		await assert.rejects(app.call('vehicle.subscribe', { vehicle_id: id }), isProblem('vehicle-not-found'));
	});

test('who is left with another grant keeps the stream, with the rights of that one', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const who = await memberOf(fleet, 'operator');
	await grant(one, admin, id, who.subject, 'owner');
	await grant(one, admin, id, (await person('olga')).subject, 'owner');
	const app = await openSocket(two, { token: who.token });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	const [kept, lost] = [await unsent(one, who, id, 'climate.stop').catch(() => unsent(one, who, id)), await unsent(one, who, id, 'owner.pair')];
	await endGrant(one, admin, 'vehicles', id, who.subject);
	await app.until(tellsAccess(who.subject, null));
	await assertRevoked(id, lost);
	assert.notEqual((await commandOf(id, kept)).status, 'canceled');
	const other = await person('dan');
	await grant(one, admin, id, other.subject, 'driver');
	await app.until(({ type }) => type === 'skipped'); // it goes on, and an operator is no owner
	assert.ok(!app.events.items.some(tellsAccess(other.subject, 'driver')));
});

for (const kind of ['vehicles', 'fleets'])
	test(`a grant on ${kind} that runs out ends as one that is revoked`, options, async () => {
		const fleet = await newFleet();
		const id = await newVehicle({ fleet_id: fleet });
		const owner = await person('olga');
		await grant(one, admin, id, owner.subject, 'owner');
		const ownerApp = await openSocket(one, { token: owner.token });
		await ownerApp.call('vehicle.subscribe', { vehicle_id: id });
		const managerApp = await managing(one, fleet);
		const who = await person('ed');
		const end = Date.now() + 2500;
		const expires_at = new Date(end).toISOString();
		if (kind === 'fleets') await grantFleet(one, admin, fleet, who.subject, 'operator', expires_at);
		else await grant(one, admin, id, who.subject, 'driver', expires_at);
		const app = await openSocket(two, { token: who.token });
		const stream = await openStream(two, `/v1/vehicles/${id}/events`, { token: who.token });
		await app.call('vehicle.subscribe', { vehicle_id: id });
		const command = await unsent(two, who, id);
		await app.until(tellsAccess(who.subject, null));
		assert.ok(Date.now() >= end - 50, 'not before its time');
		await stream.ended;
		assert.ok(Date.now() - end < prompt, `the stream went on for ${Date.now() - end} ms`);
		assert.equal(problemOf(await rest(one, 'GET', `/v1/vehicles/${id}`, { token: who.token })), '404 vehicle-not-found');
		for (const other of [ownerApp, managerApp]) {
			const heard = await other.until(tellsAccess(who.subject, null), { ms: prompt });
			assert.equal('seq' in heard, kind === 'vehicles');
			assert.equal(heard.fleet_id, kind === 'fleets' ? fleet : undefined);
		}
		await assertRevoked(id, command);
	});

test('a grant that is prolonged holds the stream, one that is shortened ends it', options, async () => {
	const id = await newVehicle();
	const who = await person('ed');
	const soon = () => new Date(Date.now() + 1500).toISOString();
	await grant(one, admin, id, who.subject, 'driver', soon());
	const app = await openSocket(two, { token: who.token });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	await grant(one, admin, id, who.subject, 'driver', new Date(Date.now() + 60_000).toISOString());
	const prolonged = await app.until(tellsAccess(who.subject, 'driver'));
	const first = Date.parse((await rest(one, 'GET', `/v1/vehicles/${id}/grants/${who.subject}`, { token: admin })).body.created_at) + 1500;
	await poll(() => Date.now(), (now) => now > first + 300, { what: 'its first end has passed' });
	const command = await unsent(one, who, id);
	await app.until(({ data }) => data.id === command);
	assert.ok(prolonged.data.expires_at);
	await grant(one, admin, id, who.subject, 'driver', soon());
	await app.until(tellsAccess(who.subject, null));
});

test('a lost message does not keep a right alive', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const who = await memberOf(fleet, 'viewer');
	const app = await openSocket(two, { token: who.token });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	await app.call('fleet.subscribe', { fleet_id: fleet });
	const begun = Date.now();
	// As a node whose word does not arrive: the database changes, nobody is told.
	await database.sql(`begin; delete from grants where subject = '${who.subject}';
		update fleets set access_version = access_version + 1 where fleet_id = '${fleet}'; commit`);
	await app.until((event) => tellsAccess(who.subject, null)(event) && event.vehicle_id === id, { ms: prompt });
	await app.until((event) => tellsAccess(who.subject, null)(event) && event.fleet_id === fleet, { ms: prompt });
	assert.ok(Date.now() - begun < prompt);
});

test('whose right ended while they waited for an outcome hears that the command was accepted, and no more', options, async () => {
	const id = await newVehicle();
	const driver = await driverOf(id);
	let answer;
	const word = new Promise((resolve) => (answer = resolve));
	const car = await connectVehicle(broker, { id, handler: () => word });
	const waiting = Promise.all(nodes.map((node, i) => sendCommand(node, driver.token, id, { name: ['doors.unlock', 'horn.honk'][i] }, { Prefer: 'wait=60' })));
	await poll(() => car.requests.items.length, (count) => count === 2, { what: 'the vehicle has both' });
	assert.equal((await endGrant(two, admin, 'vehicles', id, driver.subject)).status, 204);
	answer({ status: 'succeeded', result: { place: 'home' } });
	for (const { status, body } of await waiting) {
		assert.equal(status, 202);
		assert.ok(['accepted', 'waiting'].includes(body.status), body.status); // the latter, where the vehicle's birth was not heard yet
		assert.deepEqual([body.result, body.sent_at], [null, null]);
		assert.deepEqual((await poll(() => commandOf(id, body.id), ({ status }) => status === 'succeeded')).result, { place: 'home' });
		assert.equal(problemOf(await rest(two, 'GET', `/v1/vehicles/${id}/commands/${body.id}`, { token: driver.token })), '404 vehicle-not-found');
	}
});

test('the last owner stays, a foreign vehicle is as none', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const [owner, manager, stranger] = [await person('olga'), await memberOf(fleet, 'manager'), await person('sam')];
	await grant(one, admin, id, owner.subject, 'owner');
	for (const who of [owner, manager]) {
		assert.equal(problemOf(await endGrant(two, who.token, 'vehicles', id, owner.subject)), '403 forbidden');
		assert.equal(problemOf(await rest(two, 'PUT', `/v1/vehicles/${id}/grants/${owner.subject}`, { token: who.token, body: { role: 'viewer' } })), '403 forbidden');
	}
	const soon = new Date(Date.now() + 1000).toISOString();
	for (const [who, subject, expires_at] of [[manager, owner.subject, soon], [owner, owner.subject, soon], [manager, manager.subject, null]])
		assert.equal(
			problemOf(await rest(two, 'PUT', `/v1/vehicles/${id}/grants/${subject}`, { token: who.token, body: { role: 'owner', expires_at } })),
			'403 forbidden',
		);
	assert.equal(problemOf(await rest(two, 'POST', `/v1/vehicles/${id}/transfer`, { token: manager.token, body: { subject: manager.subject } })), '403 forbidden');
	const bodyOf = async (path) => {
		const { status, body } = await rest(two, 'GET', path, { token: stranger.token });
		return { status, ...body, instance: null };
	};
	for (const rest_of_path of ['', '/commands', '/events', '/grants', '/audit'])
		assert.deepEqual(await bodyOf(`/v1/vehicles/${id}${rest_of_path}`), await bodyOf(`/v1/vehicles/NONE${rest_of_path}`));
	for (const rest_of_path of ['', '/events', '/grants'])
		assert.deepEqual(await bodyOf(`/v1/fleets/${fleet}${rest_of_path}`), await bodyOf(`/v1/fleets/NONE${rest_of_path}`));
	assert.equal((await endGrant(one, admin, 'vehicles', id, owner.subject)).status, 204);
});

// ---- transfer

test('a transfer: all others end, what is unsent is taken back, and the new owner sees nothing from before', options, async () => {
	const id = await newVehicle();
	const [seller, buyer, driver] = [await person('olga'), await person('bea'), await person('dan')];
	await grant(one, admin, id, seller.subject, 'owner');
	await grant(one, admin, id, driver.subject, 'driver');
	await grant(one, admin, id, buyer.subject, 'viewer'); // a test drive: what was seen then counts no more
	const [sellerApp, driverApp] = [await openSocket(one, { token: seller.token }), await openSocket(two, { token: driver.token })];
	await sellerApp.call('vehicle.subscribe', { vehicle_id: id });
	await driverApp.call('vehicle.subscribe', { vehicle_id: id });
	const commands = [await unsent(one, seller, id), await unsent(two, driver, id, 'horn.honk')];
	await database.sql(`update vehicles set desired = '{"climate":{"on":true}}', desired_version = 3 where vehicle_id = '${id}'`);

	const path = `/v1/vehicles/${id}/transfer`;
	assert.equal(problemOf(await rest(one, 'POST', path, { token: driver.token, body: { subject: buyer.subject } })), '403 forbidden');
	assert.equal(problemOf(await rest(one, 'POST', path, { token: seller.token, body: {} })), '422 invalid-params');
	const begun = Date.now();
	const { status, body } = await rest(one, 'POST', path, { token: seller.token, body: { subject: buyer.subject } });
	assert.equal(status, 200);
	assert.deepEqual([body.subject, body.role, body.granted_by], [buyer.subject, 'owner', seller.subject]);
	await sellerApp.until(tellsAccess(seller.subject, null), { ms: prompt });
	await driverApp.until(tellsAccess(driver.subject, null), { ms: prompt });
	for (const command of commands) await assertRevoked(id, command, begun);
	for (const who of [seller, driver]) assert.equal(problemOf(await rest(two, 'GET', `/v1/vehicles/${id}`, { token: who.token })), '404 vehicle-not-found');

	const read = async (rest_of_path) => (await rest(two, 'GET', `/v1/vehicles/${id}${rest_of_path}`, { token: buyer.token })).body;
	assert.deepEqual((await read('/commands')).items, []);
	assert.deepEqual((await read('/events')).items.map(({ type, data }) => [type, data.subject, data.role]), [['access.changed', buyer.subject, 'owner']]);
	assert.deepEqual((await read('/grants')).items.map(({ subject }) => subject), [buyer.subject]);
	assert.deepEqual((await read('')).state.desired, {});
	assert.equal(problemOf(await rest(two, 'GET', `/v1/vehicles/${id}/commands/${commands[0]}`, { token: buyer.token })), '404 command-not-found');
	assert.equal(problemOf(await rest(two, 'POST', `/v1/vehicles/${id}/commands/${commands[0]}/cancel`, { token: buyer.token })), '404 command-not-found');
	// What those who were here before try since then is of now, and the owner's to know.
	const isLook = ({ action, allowed }) => action === 'vehicle.get' && !allowed;
	const told = (await read('/audit')).items;
	assert.ok(!JSON.stringify(told.filter((item) => !isLook(item))).includes(driver.subject));
	assert.ok(told.filter(isLook).every(({ time }) => time > body.created_at));
	const app = await openSocket(two, { token: buyer.token });
	await assert.rejects(app.call('command.cancel', { vehicle_id: id, id: commands[1] }), isProblem('command-not-found'));
	const { epoch } = await app.call('vehicle.subscribe', { vehicle_id: id });
	assert.equal((await app.call('vehicle.subscribe', { vehicle_id: id, epoch, after: 1 })).recovered, false);
});

// ---- retired

test('a retired vehicle ends every stream, also those of managers and admin', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const manager = await memberOf(fleet, 'manager');
	const apps = await Promise.all([openSocket(one, { token: manager.token }), openSocket(two, { token: admin })]);
	const fleetApp = await openSocket(two, { token: manager.token });
	for (const app of apps) await app.call('vehicle.subscribe', { vehicle_id: id });
	await fleetApp.call('fleet.subscribe', { fleet_id: fleet });
	await rest(one, 'DELETE', `/v1/vehicles/${id}`, { token: admin });
	for (const app of apps) await app.until(({ vehicle_id, type, data }) => vehicle_id === id && type === 'access.changed' && data.role === null);
	await fleetApp.until(({ vehicle_id, type }) => vehicle_id === id && type === 'vehicle.retired');
});

// ---- step-up

test('a command that demands a recent login gets the challenge of RFC 9470', options, async () => {
	const id = await newVehicle();
	const subject = 'steve';
	await grant(one, admin, id, subject, 'owner');
	const now = Math.floor(Date.now() / 1000);
	const send = async (claims) => sendCommand(one, await token({ sub: subject, claims }), id, { name: 'immobiliser.release', wake: false });

	// of when it was, whatever it says of how (acr); without a leeway, as an old login is not a slow clock
	for (const claims of [{}, { acr: 'phr', amr: ['hwk'] }, { auth_time: now - 301 }, { auth_time: now + 3600 }]) {
		const answer = await send(claims);
		assert.equal(problemOf(answer), '403 step-up-required');
		assert.equal(answer.headers.get('www-authenticate'), 'Bearer error="insufficient_user_authentication", max_age=300');
		assert.ok(answer.body.user_message);
	}
	assert.equal((await send({ auth_time: now - 60 })).status, 202);
	const app = await openSocket(one, { token: await token({ sub: subject }) });
	await assert.rejects(app.call('command.send', { vehicle_id: id, name: 'immobiliser.release' }), isProblem('step-up-required'));
	await app.call('session.authenticate', { token: await token({ sub: subject, claims: { auth_time: now } }) });
	assert.ok((await app.call('command.send', { vehicle_id: id, name: 'immobiliser.release' })).id);
});

// ---- audit

test('the audit table says who did what and who was refused; it can be added to and nothing else', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const [owner, stranger, driver, manager] = [await person('olga'), await person('sam'), await driverOf(id), await memberOf(fleet, 'manager')];
	await grant(one, admin, id, owner.subject, 'owner');
	await sendCommand(one, stranger.token, id, { name: 'doors.unlock' });
	const command = await unsent(one, driver, id);
	await rest(one, 'POST', `/v1/vehicles/${id}/commands/${command}/cancel`, { token: driver.token });
	await endGrant(one, owner.token, 'vehicles', id, driver.subject);

	const path = `/v1/vehicles/${id}/audit`;
	const { body } = await rest(two, 'GET', path, { token: owner.token });
	const told = body.items.map(({ subject, action, allowed }) => [subject, action, allowed]);
	assert.deepEqual(told.slice(0, 4), [
		[owner.subject, 'grant.end', true],
		[driver.subject, 'command.cancel', true],
		[driver.subject, 'command.send', true],
		[stranger.subject, 'command.send', false],
	]);
	const page = await rest(two, 'GET', `${path}?limit=2`, { token: owner.token });
	const next = await rest(two, 'GET', `${path}?limit=2&cursor=${page.body.next_cursor}`, { token: owner.token });
	assert.deepEqual([...page.body.items, ...next.body.items], body.items.slice(0, 4));
	assert.match(page.headers.get('link'), /rel="next"/);
	const all = await rest(two, 'GET', path, { token: admin });
	assert.ok(all.body.items.length > body.items.length, 'an owner sees what was done since the grant');
	assert.equal(problemOf(await rest(two, 'GET', path, { token: manager.token })), '403 forbidden');
	assert.equal(problemOf(await rest(two, 'GET', path, { token: stranger.token })), '404 vehicle-not-found');
	assert.equal(problemOf(await rest(two, 'GET', `${path}?cursor=x`, { token: owner.token })), '400 invalid-query');
	for (const statement of ['update audit set who = gen_random_uuid()', 'delete from audit', 'truncate audit'])
		await assert.rejects(database.sql(statement), /append-only/);
});

// What is refused before the database is asked: by scope, or for an older login.
test('who was refused by their token stands in the audit table too', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const owner = await person('otto');
	await grant(one, admin, id, owner.subject, 'owner');
	const reader = await token({ sub: owner.subject, scope: 'vehicles:read' });
	const command = await unsent(one, owner, id);
	const path = `/v1/vehicles/${id}`;
	const refused = async (method, at, body, by = reader) => assert.equal((await rest(two, method, at, { token: by, body })).status, 403, at);
	await refused('POST', `${path}/commands`, { name: 'doors.unlock' });
	await refused('POST', `${path}/commands/${command}/cancel`);
	await refused('PUT', `${path}/grants/mallory`, { role: 'owner' });
	await refused('DELETE', `${path}/grants/mallory`);
	await refused('POST', `${path}/commands`, { name: 'immobiliser.release', wake: false }, owner.token);
	const app = await openSocket(one, { token: reader });
	await assert.rejects(app.call('command.send', { vehicle_id: id, name: 'horn.honk' }), isProblem('forbidden'));
	await refused('GET', path, undefined, await token({ sub: owner.subject, scope: 'commands:write' }));
	await refused('PUT', `/v1/fleets/${fleet}/grants/mallory`, { role: 'viewer' });

	const of = async () => (await rest(one, 'GET', `${path}/audit`, { token: owner.token })).body.items.filter(({ allowed }) => !allowed);
	const items = await poll(of, ({ length }) => length >= 7, { what: 'all seven are there' });
	assert.deepEqual(new Set(items.map(({ subject }) => subject)), new Set([owner.subject]));
	assert.ok(items.every(({ address }) => address));
	const told = items.map(({ action, detail }) => [`${action} ${detail.name ?? ''}`, detail]).sort();
	assert.deepEqual(told, [
		['command.cancel ', { refused: 'scope', id: command }],
		['command.send doors.unlock', { refused: 'scope', name: 'doors.unlock' }],
		['command.send horn.honk', { refused: 'scope', name: 'horn.honk' }],
		['command.send immobiliser.release', { refused: 'step-up', name: 'immobiliser.release' }],
		['grant.end ', { refused: 'scope', subject: 'mallory' }],
		['grant.put ', { refused: 'scope', role: 'owner', subject: 'mallory' }],
		['vehicle.get ', { refused: 'scope' }],
	]);
	const ofFleet = () => database.sql(`select action || ' ' || allowed from audit where object = 'fleet/${fleet}' and not allowed`);
	await poll(ofFleet, (row) => row === 'grant.put false', { what: "the fleet's is there" });
});

// Reads and subscriptions: the first of a subject at an object, and of a subject no more than some in a window, here of five minutes.
test('who was refused a look stands in the audit table, once, and cannot fill it', options, async () => {
	const fleet = await newFleet();
	const id = await newVehicle({ fleet_id: fleet });
	const [owner, stranger, listener, follower, watcher] = await Promise.all(['otto', 'sam', 'lou', 'fay', 'will'].map((name) => person(name)));
	const viewer = await person('vera');
	await grant(one, admin, id, owner.subject, 'owner');
	await grant(one, admin, id, viewer.subject, 'viewer');
	const path = `/v1/vehicles/${id}`;
	for (const [who, at, status] of [
		[stranger, path, 404],
		[stranger, `${path}/commands`, 404],
		[stranger, path, 404],
		[viewer, `${path}/audit`, 403],
		[stranger, `/v1/fleets/${fleet}`, 404],
		[stranger, `/v1/fleets/${fleet}/grants`, 404],
		[stranger, '/v1/subjects/otto', 403],
		[stranger, '/v1/nodes', 403],
	])
		assert.equal((await rest(one, 'GET', at, { token: who.token })).status, status, at);
	assert.equal((await openStream(one, `${path}/events`, { token: follower.token })).status, 404);
	assert.equal((await openStream(one, `/v1/fleets/${fleet}/events`, { token: follower.token })).status, 404);
	const app = await openSocket(one, { token: listener.token });
	const narrow = await openSocket(one, { token: await token({ sub: watcher.subject, scope: 'commands:write' }) });
	for (let i = 0; i < 3; i++) {
		await assert.rejects(app.call('vehicle.subscribe', { vehicle_id: id }), isProblem('vehicle-not-found'));
		await assert.rejects(app.call('vehicle.get', { vehicle_id: id }), isProblem('vehicle-not-found'));
		await assert.rejects(app.call('fleet.subscribe', { fleet_id: fleet }), isProblem('fleet-not-found'));
		await assert.rejects(app.call('fleet.subscribe', { fleet_id: '*' }), isProblem('forbidden'));
		await assert.rejects(narrow.call('vehicle.subscribe', { vehicle_id: id }), isProblem('forbidden'));
	}
	const rowsOf = ({ subject }) =>
		database.sql(`select a.action, a.object, a.allowed, a.detail, w.address <> '' from audit a join actors w on w.id = a.who where w.subject = '${subject}' order by a.id`);
	const noted = async (who, rows) => assert.deepEqual((await poll(() => rowsOf(who), (text) => text.split('\n').length >= rows.length, { what: 'they are there' })).split('\n').sort(), rows.sort());
	await noted(stranger, [
		`vehicle.get|${id}|f|{"refused":"vehicle-not-found"}|t`,
		`fleet.get|fleet/${fleet}|f|{"refused":"fleet-not-found"}|t`,
		'subject.get||f|{"refused":"scope"}|t',
		'node.list||f|{"refused":"scope"}|t',
	]);
	await noted(viewer, [`audit.list|${id}|f|{"refused":"forbidden"}|t`]);
	await noted(follower, [`vehicle.subscribe|${id}|f|{"refused":"vehicle-not-found"}|t`, `fleet.subscribe|fleet/${fleet}|f|{"refused":"fleet-not-found"}|t`]);
	await noted(listener, [
		`vehicle.subscribe|${id}|f|{"refused":"vehicle-not-found"}|t`,
		`fleet.subscribe|fleet/${fleet}|f|{"refused":"fleet-not-found"}|t`,
		'fleet.subscribe|fleet/*|f|{"refused":"scope"}|t',
	]);
	await noted(watcher, [`vehicle.subscribe|${id}|f|{"refused":"scope"}|t`]);
	const told = (await rest(two, 'GET', `${path}/audit`, { token: owner.token })).body.items.filter(({ allowed }) => !allowed);
	assert.deepEqual(told.map(({ subject }) => subject).sort(), [stranger, viewer, follower, listener, watcher].map(({ subject }) => subject).sort(), 'the owner learns of it');

	// Whoever tries one after the other: the alert of refusals says that there were more.
	const scanner = await person('scan');
	const lookers = await openSocket(one, { token: scanner.token });
	for (let i = 0; i < 40; i++) await assert.rejects(lookers.call('vehicle.get', { vehicle_id: `SCANNED${i}` }), isProblem('vehicle-not-found'));
	const last = await person('last');
	assert.equal((await rest(one, 'GET', path, { token: last.token })).status, 404);
	await poll(() => rowsOf(last), (text) => text !== '', { what: 'what came later is there' });
	await poll(() => rowsOf(scanner), (text) => text.split('\n').length >= 32, { what: 'the first ones are there' });
	assert.equal((await rowsOf(scanner)).split('\n').length, 32);
});

test('the audit table says what of a vehicle was changed, and whose data were taken out', options, async () => {
	const [from, to] = [await newFleet(), await newFleet()];
	const id = await newVehicle({ fleet_id: from, display_name: 'A van', msisdn: '+4915550100', tags: ['a'] });
	const manager = await memberOf(from, 'manager');
	const put = (by, body) => rest(one, 'PUT', `/v1/vehicles/${id}`, { token: by, body });
	assert.equal((await put(manager.token, { fleet_id: from, display_name: 'A van', msisdn: '+4915550199', tags: ['a'] })).status, 200);
	assert.equal(problemOf(await put(manager.token, { fleet_id: to, display_name: 'Mine', msisdn: '+4915550199', tags: [] })), '404 fleet-not-found');
	assert.equal((await put(admin, { fleet_id: to, display_name: 'A van', msisdn: '+4915550199', tags: ['a', 'b'] })).status, 200);
	assert.equal((await put(admin, { fleet_id: to, display_name: 'A van', msisdn: '+4915550199', tags: ['a', 'b'] })).status, 200);
	const { items } = (await rest(two, 'GET', `/v1/vehicles/${id}/audit`, { token: admin })).body;
	assert.deepEqual(items.filter(({ action }) => action === 'vehicle.put').map(({ allowed, detail }) => [allowed, detail]), [
		[true, { fleet_id: to, changed: [] }],
		[true, { fleet_id: to, changed: ['fleet_id', 'tags'] }],
		[false, { fleet_id: to, changed: ['display_name', 'fleet_id', 'tags'] }],
		[true, { fleet_id: from, changed: ['msisdn'] }],
		[true, { fleet_id: from, changed: ['display_name', 'msisdn', 'fleet_id', 'tags'] }],
	]);

	const officer = await adminToken(`officer-${++peopleUsed}`);
	const officerIs = `officer-${peopleUsed}`;
	const exported = await rest(one, 'GET', `/v1/subjects/${manager.subject}?limit=1`, { token: officer });
	assert.equal(exported.status, 200);
	await rest(one, 'GET', `/v1/subjects/${manager.subject}?limit=1&cursor=${encodeURIComponent(exported.body.next_cursor)}`, { token: officer });
	assert.equal((await rest(one, 'GET', '/v1/subjects/nobody-at-all', { token: officer })).status, 200);
	const rows = await database.sql(`select a.action, a.allowed, coalesce(x.subject, 'nobody') from audit a join actors w on w.id = a.who
		left join actors x on x.id = (a.detail->>'whom')::uuid where w.subject = '${officerIs}' order by a.id`);
	assert.deepEqual(rows.split('\n'), [`subject.export|t|${manager.subject}`, `subject.export|t|${manager.subject}`, 'subject.export|t|nobody']);
	assert.equal(await database.sql(`select count(*) from actors where subject = 'nobody-at-all'`), '0', 'who is looked for is not known by that');
});

test('a role that only serves cannot change the schema, nor the past', options, async () => {
	const name = `serves_${process.pid}`;
	await database.sql(`create role ${name} login password '${name}'; select service_grant('${name}')`);
	const url = new URL(database.url);
	url.username = url.password = name;
	const node = await startNode({ broker, database: { url: url.href } });
	const id = ids[vehiclesUsed++];
	const fleet = `F${++fleetsUsed}`;
	assert.equal((await rest(node, 'PUT', `/v1/fleets/${fleet}`, { token: admin, body: {} })).status, 201);
	await registerVehicle(node, admin, id, { fleet_id: fleet });
	const driver = await person('dan');
	await grant(node, admin, id, driver.subject, 'driver');
	await connectVehicle(broker, { id });
	const done = await poll(
		() => sendCommand(node, driver.token, id, { name: 'horn.honk' }, { Prefer: 'wait=10' }),
		({ status }) => status === 200,
		{ what: 'a command is answered' },
	);
	assert.equal(done.body.status, 'succeeded');
	const as = (statement) => sql(url.href, statement);
	assert.notEqual(await as(`select count(*) from audit where object = '${id}'`), '0');
	for (const [statement, why] of [
		['update audit set who = gen_random_uuid()', /permission denied/],
		['delete from audit', /permission denied/],
		['truncate audit', /permission denied/],
		['alter table audit disable trigger all', /must be owner/],
		['drop trigger audit_append_only on audit', /must be owner/],
		['create table mine (n int)', /permission denied/],
		['delete from lifecycle', /permission denied/],
		['delete from lifecycle_paths', /permission denied/],
		[`insert into audit (who, action, allowed, at) values (gen_random_uuid(), 'grant.put', true, '2020-01-01')`, /permission denied/],
		[`insert into audit (id, who, action, allowed) overriding system value values (1, gen_random_uuid(), 'grant.put', true)`, /permission denied/],
		[`update actors set subject = 'mallory'`, /permission denied/],
		[`insert into actors (id, subject, address) values (gen_random_uuid(), 'mallory', '')`, /permission denied/],
		[`select service_grant('${name}')`, /permission denied/],
	])
		await assert.rejects(as(statement), why, statement);
	assert.equal((await node.stop()).code, 0);
});

// What runs with the owner's rights finds nothing that its caller has put in its way, and does no more than it is for. A database of its own.
test('a role that only serves does not come to the rights of the owner', options, async () => {
	const own = await createMigratedDatabase();
	const [name, nobody] = [`climbs_${process.pid}`, `nobody_${process.pid}`];
	await own.sql(`create role ${name} login password '${name}'; create role ${nobody} login password '${nobody}'`);
	await sql(own.url, `select service_grant('${name}')`);
	const urlAs = (role) => Object.assign(new URL(own.url), { username: role, password: role }).href;
	const as = (statement) => sql(urlAs(name), statement);
	const tables = async () => (await own.sql(`select string_agg(relname, ' ' order by relname) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')`));
	const before = await tables();
	assert.match(before, /\baudit\b/);

	const attacks = [
		// the tables that partitions_drop() looks in say that audit is an old partition
		`create temporary table pg_class (oid oid, relname text);
		insert into pg_class values ('public.audit'::regclass, 'commands_20200101');
		create temporary table pg_inherits (inhrelid oid, inhparent oid);
		insert into pg_inherits values ('public.audit'::regclass, 'public.commands'::regclass);
		grant select on pg_temp.pg_class, pg_temp.pg_inherits to public;
		select partitions_drop(0, 0)`,
		// a type whose check runs as whoever casts to it
		...['select events_summarize()', 'select partitions_drop(0, 0)'].map(
			(call) => `create function pg_temp.climb() returns bool language plpgsql as $$ begin create table if not exists public.climbed (); return true; end $$;
			create domain pg_temp.regclass as pg_catalog.regclass check (pg_temp.climb());
			${call}`,
		),
		// what is to come is no old partition
		'select partitions_drop(-1000000000000, -1000000000000)',
	];
	for (const attack of attacks.slice(0, 3)) await assert.rejects(as(attack), /permission denied to create temporary tables/, attack);
	await own.sql(`do $$ begin execute format('grant temporary on database %I to ${name}', current_database()); end $$`); // as others may have it
	for (const attack of attacks) {
		await as(`begin; discard temporary; ${attack}; commit`);
		assert.equal(await tables(), before, attack);
	}

	for (const statement of ['select partitions_drop(0, 0)', 'select partitions_make()', 'select partitions_ensure()', 'select events_summarize()'])
		await assert.rejects(sql(urlAs(nobody), statement), /permission denied for function/, statement);
	const loose = `select string_agg(oid::regprocedure::text, ' ') from pg_proc where prosecdef and pronamespace = 'public'::regnamespace
		and (not coalesce(proconfig @> array['search_path=public, pg_temp'], false) or has_function_privilege('public', oid, 'execute'))`;
	assert.equal(await own.sql(loose), '', 'whoever calls it, it looks in the schema alone');

	// Partitions are made where they belong.
	const last = await own.sql(`select max(relid::text) from pg_partition_tree('commands') where isleaf`);
	await own.sql(`drop table ${last}`);
	await as('select partitions_make()');
	assert.equal(await tables(), before);
	// Where everybody may make tables, as in a database of an older server, the service may not.
	await own.sql('grant create on schema public to public');
	await sql(own.url, `select service_grant('${name}')`);
	await assert.rejects(as('create table mine (n int)'), /permission denied/);
});
