// blocked.test.mjs - a vehicle that is retired or blocked in Keyfob is thrown out of the broker within five seconds, and stays out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { adminToken, poll, registerVehicle, rest, startInstallation, token, untilClosed, vehicleIds } from './harness.mjs';

const ids = vehicleIds(8);
const { broker, database, node } = await startInstallation({ ids });
const admin = await adminToken();
const options = { timeout: 60_000 };
const prompt = 5000;

const connect = (id) =>
	mqtt.connectAsync(broker.url, { clientId: id, username: id, password: broker.password, protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 5000 });
const comesIn = (id) =>
	connect(id).then(
		(client) => client.endAsync().then(() => true),
		() => false,
	);
const retire = (id) => rest(node, 'DELETE', `/v1/vehicles/${id}`, { token: admin });
const untilShutOut = (id) => poll(() => comesIn(id), (is) => !is, { ms: prompt, what: `${id} is refused` });

test('a retired vehicle is thrown out and refused, until it is registered anew', options, async () => {
	const [id, other] = ids;
	await registerVehicle(node, admin, id);
	await registerVehicle(node, admin, other);
	const [client, stays] = await Promise.all([connect(id), connect(other)]);
	client.on('error', () => {});
	const closed = untilClosed(client);
	const begun = Date.now();
	assert.equal((await retire(id)).status, 204);
	await closed;
	await untilShutOut(id);
	assert.ok(Date.now() - begun < prompt, `it took ${Date.now() - begun} ms`);
	assert.ok(stays.connected);
	assert.ok(await comesIn(ids[2]), 'one that was never registered is not shut out');

	await registerVehicle(node, admin, id);
	await poll(() => comesIn(id), (is) => is, { ms: prompt, what: `${id} comes in again` });
	await stays.endAsync();
});

test('a broker that starts anew is told anew', options, async () => {
	const id = ids[3];
	await registerVehicle(node, admin, id);
	await retire(id);
	await untilShutOut(id);
	await broker.stop();
	await broker.start();
	await untilShutOut(id);
	await poll(() => database.sql('select count(*) from retained where published < version'), (count) => count === '0', { what: 'all is acknowledged' });
});

test('a vehicle cannot shut others out, nor let itself in', options, async () => {
	const [id, victim] = [ids[4], ids[5]];
	const client = await connect(id);
	client.on('error', () => {});
	for (const topic of [`keyfob/blocked/${victim}`, `keyfob/blocked/${id}`])
		await assert.rejects(client.publishAsync(topic, '1', { qos: 1, retain: true }));
	assert.ok(await comesIn(victim));
	await client.endAsync();
});

test('registered and retired again and again, the last word counts', options, async () => {
	const id = ids[6];
	for (let i = 0; i < 10; i++) {
		await registerVehicle(node, admin, id);
		await retire(id);
	}
	await untilShutOut(id);
	await registerVehicle(node, admin, id);
	await poll(() => comesIn(id), (is) => is, { ms: prompt, what: `${id} comes in` });
});

test('a blocked vehicle is thrown out and kept out, by admin or a manager, until it is let in again', options, async () => {
	const id = ids[7];
	await rest(node, 'PUT', '/v1/fleets/F1', { token: admin, body: {} });
	await registerVehicle(node, admin, id, { fleet_id: 'F1' });
	for (const [subject, role] of [['max', 'manager'], ['otto', 'operator']])
		await rest(node, 'PUT', `/v1/fleets/F1/grants/${subject}`, { token: admin, body: { role } });
	const [manager, operator] = await Promise.all([token({ sub: 'max' }), token({ sub: 'otto' })]);
	const block = (method, by) => rest(node, method, `/v1/vehicles/${id}/block`, { token: by });
	const client = await connect(id);
	client.on('error', () => {});
	const closed = untilClosed(client);
	assert.equal((await block('PUT', operator)).status, 403);
	const begun = Date.now();
	assert.deepEqual((await block('PUT', manager)).body, { vehicle_id: id, blocked: true });
	await closed;
	assert.ok(Date.now() - begun < prompt, `it took ${Date.now() - begun} ms`);
	await untilShutOut(id);
	await registerVehicle(node, admin, id, { fleet_id: 'F1' }); // an update lets nobody in
	assert.ok(!(await comesIn(id)));
	assert.equal((await block('PUT', manager)).status, 200); // again: nothing changes
	assert.equal((await block('DELETE', manager)).status, 204);
	await poll(() => comesIn(id), (is) => is, { ms: prompt, what: `${id} comes in` });
	const told = await database.sql(`select string_agg(type, ' ' order by seq) from events where vehicle_id = '${id}' and type like 'vehicle.%blocked'`);
	assert.equal(told, 'vehicle.blocked vehicle.unblocked');
});
