// damping.test.mjs - a vehicle that flaps is marked, told once a minute, told once more when it has become quiet, and not woken
// before that.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, connectVehicle, isLong, openSocket, poll, registerVehicle, rest, sendCommand, startInstallation, vehicleIds, vehicle as makeVehicle } from './harness.mjs';
import { startSmsServer } from './sms.mjs';

const [id, calm, sleepy] = vehicleIds(3);
const sms = await startSmsServer('the SMS provider', () => ({ status: 202 }));
const { broker, database, node } = await startInstallation({
	ids: [id, calm, sleepy],
	config: { lifecycle: { verify_delay: '10ms' }, wake: { providers: ['http'], http: { url: sms.url, body: '{"to":"{msisdn}"}' } } },
});
const admin = await adminToken();

const get = async (which) => (await rest(node, 'GET', `/v1/vehicles/${which}`, { token: admin })).body.connectivity;
const untilState = (which, state) => poll(() => get(which), (connectivity) => connectivity.state === state, { what: `${which} is ${state}` });

async function flap(vehicle, times) {
	for (let i = 0; i < times; i++) {
		await vehicle.connect();
		await untilState(vehicle.id, 'connected');
		await vehicle.disconnect();
		await untilState(vehicle.id, 'disconnected');
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

test('nobody wakes a vehicle that flaps, until it is quiet', { timeout: 180_000 }, async () => {
	const msisdn = '+4915559900003';
	await registerVehicle(node, admin, sleepy, { msisdn });
	const app = await openSocket(node, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: sleepy });
	const vehicle = makeVehicle(broker, { id: sleepy });
	await flap(vehicle, 8);
	assert.equal((await get(sleepy)).unstable, true, 'sixteen changes are too many');

	const sent = await sendCommand(node, admin, sleepy, { name: 'doors.unlock', wake: true, ttl_seconds: 300 });
	assert.equal(sent.status, 202);
	const command = async () => (await rest(node, 'GET', `/v1/vehicles/${sleepy}/commands/${sent.body.id}`, { token: admin })).body;
	const wakeups = async () => (await rest(node, 'GET', `/v1/vehicles/${sleepy}/wakeups`, { token: admin })).body.items;
	const words = (items) => items.map(({ status, provider, reason }) => [status, provider, reason]);
	const refusal = ['refused', null, 'UNSTABLE'];
	const told = await app.until(({ type }) => type === 'wakeup.updated');
	assert.deepEqual(words([told.data]), [refusal]);
	assert.deepEqual(words(await wakeups()), [refusal]);
	assert.deepEqual(words((await command()).timeline.filter(({ step }) => step === 'wakeup').map(({ detail }) => detail)), [refusal]);
	assert.equal((await command()).status, 'waiting');
	assert.deepEqual(sms.requests.items, []);

	// Its minute of quiet: by the clock, or as if it were over.
	const left = await database.sql(`select extract(epoch from unstable_until - clock_timestamp()) from vehicle_heads where vehicle_id = '${sleepy}'`);
	assert.ok(Number(left) > 0, 'it is not over yet');
	if (!isLong) {
		await database.sql(`update vehicle_heads set unstable_until = now() where vehicle_id = '${sleepy}'`);
		await database.sql(`update absences set due_at = now() where vehicle_id = '${sleepy}'`);
	}
	await sms.requests.until(() => true, { ms: 120_000, what: 'the SMS' });
	assert.notEqual((await get(sleepy)).unstable, true);
	const submitted = ['submitted', 'http', null];
	await poll(wakeups, (items) => items[0].status === 'submitted', { what: 'it is on record' });
	assert.deepEqual(words(await wakeups()), [submitted, refusal]);
	await vehicle.connect();
	await poll(command, ({ status }) => status === 'succeeded', { what: 'it did what waited' });
	assert.equal(sms.requests.items.length, 1);
});
