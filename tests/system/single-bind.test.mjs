// single-bind.test.mjs - an SMS centre whose account allows one session: of all nodes one has it at a time, and every SMS goes
// out once, whoever of them dies or ends.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { adminToken, connectVehicle, folder, isLong, poll, registerVehicle, rest, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { startCentre } from './smsc.mjs';
import { secrets } from './tokens.mjs';

const options = { timeout: 120_000 };
const leaseMs = 5000; // gateway/lease.h
const password = 'one-pw!';
secrets.add(password);
const ids = vehicleIds(20);
const centre = await startCentre();
centre.isSingle = true;
const passwordFile = join(folder, 'smpp.password');
writeFileSync(passwordFile, password, { mode: 0o600 });
const { broker, database, nodes } = await startInstallation({
	ids,
	nodes: 2,
	config: { wake: { providers: ['smpp'], receipt_timeout: '60s', smpp: { url: centre.url, password_file: passwordFile, single_bind: true } } },
});
const admin = await adminToken();
await centre.binds.until(() => true, { what: 'a session' });

let used = 0;
async function sleeper(node) {
	const id = ids[used++];
	const msisdn = `+49155598900${String(used).padStart(2, '0')}`;
	await registerVehicle(node, admin, id, { msisdn });
	return { id, number: msisdn.slice(1) };
}

const send = async (node, id) => {
	const { status, body } = await sendCommand(node, admin, id, { name: 'doors.unlock', wake: true, ttl_seconds: 120 });
	assert.equal(status, 202, JSON.stringify(body));
	return body;
};
const submitsTo = (number) => centre.submits.items.filter(({ destination_addr }) => destination_addr === number);
const untilSubmit = (number) => centre.submits.until(({ destination_addr }) => destination_addr === number, { ms: 30_000, what: `an SMS to ${number}` });
const wakeups = async (node, id) => (await rest(node, 'GET', `/v1/vehicles/${id}/wakeups`, { token: admin })).body.items.map(({ status, reason }) => [status, reason]);

// Who has the session, and who has not.
async function holder() {
	const name = await poll(() => database.sql("select node from leases where name = 'sms/session' and expires_at > now()"), Boolean, { ms: 20_000, what: 'somebody has the lease' });
	const held = nodes.find((node) => node.name === name);
	return [held, nodes.find((node) => node !== held)];
}

// Every number is told once, though both nodes were asked, and the vehicle does everything when it comes.
async function assertOnce(node, { id, number }, sent) {
	await untilSubmit(number);
	const car = await connectVehicle(broker, { id });
	for (const command of sent)
		await poll(() => rest(node, 'GET', `/v1/vehicles/${id}/commands/${command}`, { token: admin }), ({ body }) => body.status === 'succeeded', { ms: 20_000, what: `${command} is done` });
	assert.equal(car.executed.length, sent.length);
	assert.equal(submitsTo(number).length, 1, `one SMS to ${number}`);
	assert.deepEqual(await wakeups(node, id), [['answered', null]]);
}

const assertOneSession = (binds) => {
	assert.equal(centre.mostBound, 1);
	assert.equal(centre.binds.items.length, binds, 'and nobody else asked for one');
};

test('commands through both nodes: one session, one SMS for each vehicle', options, async () => {
	const sleepers = [];
	for (let i = 0; i < 4; i++) sleepers.push(await sleeper(nodes[i % 2]));
	const sent = await Promise.all(sleepers.map(({ id }) => Promise.all([...nodes, ...nodes].map((node) => send(node, id)))));
	for (const [i, one] of sleepers.entries()) await assertOnce(nodes[(i + 1) % 2], one, sent[i].map(({ id }) => id));
	assertOneSession(1);
});

test('kill -9 of the one that has it: the other takes over when its lease is over, and what waits goes out once', options, async () => {
	const [held, other] = await holder();
	const waiting = await sleeper(other);
	await held.kill();
	const killed = Date.now();
	const sent = [await send(other, waiting.id), await send(other, waiting.id)];
	const bind = await centre.binds.until(() => centre.binds.items.length === 2, { ms: 30_000, what: 'the other one binds' });
	assert.equal(bind.status, 0);
	assert.ok(centre.binds.items[1].at - killed < leaseMs + 10_000, `after ${centre.binds.items[1].at - killed} ms`);
	await assertOnce(other, waiting, sent.map(({ id }) => id));
	assertOneSession(2);
	await held.start();
});

test('who ends hands it over at once, and what waits goes out once', options, async () => {
	const [held, other] = await holder();
	const waiting = await sleeper(other);
	const ended = held.stop();
	const sent = [await send(other, waiting.id), await send(other, waiting.id)];
	await centre.binds.until(() => centre.binds.items.length === 3, { ms: 30_000, what: 'the other one binds' });
	const [{ at: unbound }] = centre.unbinds.items;
	const took = centre.binds.items[2].at - unbound;
	assert.ok(took >= 0 && took < leaseMs - 1000, `the lease did not have to run out: ${took} ms`);
	assert.equal((await ended).code, 0);
	await assertOnce(other, waiting, sent.map(({ id }) => id));
	assertOneSession(3);
	await held.start();
});

test('who cannot renew it gives the session up before another may have it', { ...options, skip: !isLong }, async () => {
	const unbinds = centre.unbinds.items.length;
	await database.halt();
	const halted = Date.now();
	await centre.unbinds.until(() => centre.unbinds.items.length > unbinds, { ms: 30_000, what: 'it unbinds' });
	const { at } = centre.unbinds.items.at(-1);
	assert.ok(at - halted < leaseMs, `after ${at - halted} ms`);
	await database.resume();
	await centre.binds.until(() => centre.binds.items.length === 4, { ms: 30_000, what: 'one binds again' });
	for (const node of nodes) await poll(() => node.isReady(), Boolean, { ms: 30_000, what: `${node.name} has its database back` });
	const waiting = await sleeper(nodes[0]);
	const sent = await Promise.all(nodes.map((node) => send(node, waiting.id)));
	await assertOnce(nodes[1], waiting, sent.map(({ id }) => id));
	assertOneSession(4);
});
