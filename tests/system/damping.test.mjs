// damping.test.mjs - a vehicle that flaps is marked, told once a minute, and told once more when it has become quiet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, connectVehicle, openSocket, poll, registerVehicle, rest, startInstallation, vehicleIds, vehicle as makeVehicle } from './harness.mjs';

const [id, calm] = vehicleIds(2);
const { broker, database, node } = await startInstallation({ ids: [id, calm], config: { lifecycle: { verify_delay: '10ms' } } });
const admin = await adminToken();

const get = async (which) => (await rest(node, 'GET', `/v1/vehicles/${which}`, { token: admin })).body.connectivity;
const untilState = (which, state) => poll(() => get(which), (connectivity) => connectivity.state === state, { what: `${which} is ${state}` });

async function flap(vehicle, times) {
	for (let i = 0; i < times; i++) {
		await vehicle.connect();
		await untilState(id, 'connected');
		await vehicle.disconnect();
		await untilState(id, 'disconnected');
	}
}

test('more than fifteen changes in a minute are damped', { timeout: 60_000 }, async () => {
	for (const one of [id, calm]) await registerVehicle(node, admin, one);
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	const changes = () => app.events.items.filter(({ type }) => type === 'connectivity.changed').map(({ data }) => data);
	await connectVehicle(broker, { id: calm });
	const vehicle = makeVehicle(broker, { id });

	await flap(vehicle, 7);
	assert.equal('unstable' in (await get(id)), false, 'fourteen changes are none too many');
	await flap(vehicle, 3);
	assert.equal((await get(id)).unstable, true);
	assert.equal(await database.sql(`select is_unstable(h) from vehicle_heads h where vehicle_id = '${id}'`), 't');
	// The sixteenth was told as what it is; those after it were not, until the minute is over.
	await app.until(({ data }) => data.reason === 'UNSTABLE');
	assert.equal(changes().length, 16);
	await database.sql(`update vehicle_heads set unstable_told_at = now() - interval '61 seconds' where vehicle_id = '${id}'`);
	await vehicle.connect();
	await app.until(({ data }) => data.reason === 'UNSTABLE' && data.state === 'connected');
	assert.equal(changes().length, 17);

	// Its minute of quiet is over.
	let from = app.events.items.length;
	await database.sql(`update vehicle_heads set unstable_until = now() where vehicle_id = '${id}'`);
	const last = await app.until(({ data }) => data.state === 'connected' && data.reason === null, { from });
	assert.equal(last.type, 'connectivity.changed');
	assert.equal('unstable' in (await get(id)), false);
	assert.equal('unstable' in (await untilState(calm, 'connected')), false, 'and nobody else is');
	from = app.events.items.length;
	await vehicle.disconnect();
	await app.until(({ data }) => data.state === 'disconnected' && data.reason !== 'UNSTABLE', { from });
});
