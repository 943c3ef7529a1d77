// wake-smpp.test.mjs - the whole wake-up by SMPP: two nodes, an SMS centre that is not ours, and an HTTP provider behind it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from './children.mjs';
import { adminToken, connectVehicle, folder, openSocket, poll, Reference, registerVehicle, rest, sendCommand, startInstallation, startNode, vehicleIds } from './harness.mjs';
import { startSmsServer } from './sms.mjs';
import { smpp, startCentre } from './smsc.mjs';
import { secrets } from './tokens.mjs';

const options = { timeout: 120_000 };
const password = 'smpp-pw!';
secrets.add(password);
const ids = vehicleIds(12);
const centre = await startCentre();
const http = await startSmsServer('the HTTP provider', () => ({ status: 202, body: '{}' }));
const passwordFile = join(folder, 'smpp.password');
writeFileSync(passwordFile, password, { mode: 0o600 });
const { broker, database, nodes } = await startInstallation({
	ids,
	nodes: 2,
	config: {
		wake: {
			providers: ['smpp', 'http'],
			receipt_timeout: '60s',
			smpp: { url: centre.url, password_file: passwordFile, source: 'Keyfob' },
			http: { url: `${http.url}/send/{msisdn}`, body: '{"to":"{msisdn}"}' },
		},
	},
});
const [one, two] = nodes;
const admin = await adminToken();
await centre.binds.until(() => centre.binds.items.length === 2, { what: 'a session of each node' });

let used = 0;
async function sleeper() {
	const id = ids[used++];
	const msisdn = `+49155598800${String(used).padStart(2, '0')}`;
	await registerVehicle(one, admin, id, { msisdn });
	return { id, msisdn, number: msisdn.slice(1) };
}

const send = async (node, id, more = {}) => {
	const { status, body } = await sendCommand(node, admin, id, { name: 'doors.unlock', wake: true, ...more });
	assert.equal(status, 202, JSON.stringify(body));
	return body;
};
const submitsTo = (number) => centre.submits.items.filter(({ destination_addr }) => destination_addr === number);
const untilSubmit = (number) => centre.submits.until(({ destination_addr }) => destination_addr === number, { what: `an SMS to ${number}` });
const command = (id, commandId) => rest(one, 'GET', `/v1/vehicles/${id}/commands/${commandId}`, { token: admin });
const untilCommand = async (id, commandId, status) => (await poll(() => command(id, commandId), ({ body }) => body.status === status, { what: `the command is ${status}` })).body;
const untilWakeup = (id, status, provider) =>
	poll(
		() => rest(two, 'GET', `/v1/vehicles/${id}/wakeups`, { token: admin }),
		({ body }) => body.items?.[0]?.status === status && body.items[0].provider === provider,
		{ what: `the wake-up of ${id} is ${status} by ${provider}` },
	);

test('50 commands from two nodes: one submit_sm, its receipt, and all of them when the vehicle comes', options, async () => {
	const { id, number } = await sleeper();
	const app = await openSocket(two, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	const sent = await Promise.all(Array.from({ length: 50 }, (_, i) => send(nodes[i % 2], id, { name: 'climate.start', params: { temperature: 20 }, ttl_seconds: 300 })));
	const submit = await untilSubmit(number);
	assert.deepEqual([submit.dest_addr_ton, submit.dest_addr_npi, submit.destination_addr], [1, 1, number]);
	assert.equal(submit.source_addr, 'Keyfob');
	assert.equal(submit.text, `KEYFOB WAKE ${id}`);
	assert.equal(submit.registered_delivery, 1);
	const life = (submit.validity_period.getTime() - submit.at) / 1000; // relative: it was read when it came
	assert.ok(life > 240 && life <= 301, `it lives ${life} s`);
	assert.equal(centre.binds.items[0].password, password);

	await app.until(({ type, data }) => type === 'wakeup.updated' && data.status === 'submitted' && data.provider === 'smpp');
	centre.session.send(
		new smpp.PDU('deliver_sm', { source_addr: number, destination_addr: 'Keyfob', esm_class: 4, receipted_message_id: submit.given, message_state: 2 }),
	);
	await app.until(({ type, data }) => type === 'wakeup.updated' && data.status === 'delivered');

	const car = await connectVehicle(broker, { id });
	for (const { id: commandId } of sent) await untilCommand(id, commandId, 'succeeded');
	assert.equal(car.executed.length, 50);
	await app.until(({ type, data }) => type === 'wakeup.updated' && data.status === 'answered');
	assert.equal(submitsTo(number).length, 1);
});

test('throttled, the centre gets it again a little later, and it is one wake-up', options, async () => {
	const { id, number } = await sleeper();
	const statuses = [smpp.ESME_RTHROTTLED, smpp.ESME_RMSGQFUL];
	centre.answerSubmit = () => statuses.shift() ?? 0;
	await send(one, id);
	await centre.submits.until(() => submitsTo(number).length === 3, { what: 'the third try' });
	await untilWakeup(id, 'submitted', 'smpp');
	const { body } = await rest(one, 'GET', `/v1/vehicles/${id}/wakeups`, { token: admin });
	assert.equal(body.items.length, 1);
});

test('what the centre refuses, and what finds it away, goes by the next provider', options, async () => {
	const refused = await sleeper();
	centre.answerSubmit = () => smpp.ESME_RINVDSTADR;
	await send(one, refused.id);
	await untilWakeup(refused.id, 'submitted', 'http');
	await http.requests.until(({ url }) => url === `/send/${encodeURIComponent(refused.msisdn)}`);
	assert.equal(submitsTo(refused.number).length, 1);

	centre.answerSubmit = () => 0;
	await centre.stop();
	const away = await sleeper();
	await send(two, away.id);
	await untilWakeup(away.id, 'submitted', 'http');
	assert.equal(submitsTo(away.number).length, 0);

	const binds = centre.binds.items.length;
	await centre.start();
	await centre.binds.until(() => centre.binds.items.length >= binds + 2, { ms: 20_000, what: 'both nodes are back' });
	const back = await sleeper();
	await send(one, back.id);
	await untilWakeup(back.id, 'submitted', 'smpp');
	assert.equal(submitsTo(back.number).length, 1);
});

test('nothing is sent for what has expired', options, async () => {
	const { id, number } = await sleeper();
	await centre.stop();
	const { id: commandId } = await send(one, id, { ttl_seconds: 1 });
	await untilCommand(id, commandId, 'expired');
	const binds = centre.binds.items.length;
	await centre.start();
	await centre.binds.until(() => centre.binds.items.length >= binds + 2, { ms: 20_000, what: 'both nodes are back' });
	const other = await sleeper();
	await send(one, other.id);
	await untilSubmit(other.number); // whatever waited for the centre would have come before
	assert.equal(submitsTo(number).length, 0);
});

test('a receipt that comes while the database is away is not taken, comes again, and counts once', options, async () => {
	const { id, number } = await sleeper();
	await send(one, id);
	const submit = await untilSubmit(number);
	await untilWakeup(id, 'submitted', 'smpp');
	// As a centre does: again until it is taken.
	const deliver = async () => {
		const from = centre.answers.items.length;
		centre.receipt(submit, { id: submit.given, state: 2 });
		return (await centre.answers.until(() => true, { from, ms: 20_000, what: 'an answer to the receipt' })).command_status;
	};
	await database.halt();
	assert.equal(await deliver(), smpp.ESME_RX_T_APPN);
	await database.resume();
	for (const node of nodes) await poll(() => node.isReady(), Boolean, { ms: 30_000, what: `${node.name} has its database back` });
	await poll(deliver, (status) => status === 0, { ms: 30_000, every: 300, what: 'the receipt is taken' });
	const delivered = () => database.sql(`select count(*) from events where vehicle_id = '${id}' and type = 'wakeup.updated' and data->>'status' = 'delivered'`);
	assert.equal(await delivered(), '1', 'it is on record when the centre hears so');
	assert.equal(await deliver(), 0);
	await untilWakeup(id, 'delivered', 'smpp');
	assert.equal(await delivered(), '1');
	assert.equal(submitsTo(number).length, 1);
});

test("kill -9 between the centre's acceptance and the row: no second SMS in that window", options, async () => {
	const { id, number, msisdn } = await sleeper();
	centre.answerSubmit = () => {
		for (const node of nodes) node.kill(); // whoever asked
		return 0;
	};
	await send(one, id);
	await untilSubmit(number);
	await Promise.all(nodes.map((node) => node.child.exited));
	centre.answerSubmit = () => 0;
	await Promise.all(nodes.map((node) => node.start()));
	await send(two, id);
	await database.sql(`update absences set due_at = now() where vehicle_id = '${id}'`); // the dead node's time is over
	const wakeups = () => rest(two, 'GET', `/v1/vehicles/${id}/wakeups`, { token: admin });
	const { body } = await poll(wakeups, ({ body: { items } }) => items[0]?.reason === 'UNKNOWN', { what: 'it counts as sent' });
	assert.deepEqual(body.items.map(({ status, provider }) => [status, provider]), [['submitted', 'smpp']]);
	const next = () => database.sql(`select phase = 'ready' and due_at >= spent_at + interval '30 seconds' from absences where vehicle_id = '${id}'`);
	await poll(next, (is) => is === 't', { what: 'the next one is for the next window' });
	assert.equal(submitsTo(number).length, 1);
	assert.deepEqual(http.requests.items.filter(({ url }) => url === `/send/${encodeURIComponent(msisdn)}`), []);
});

test('keyfob-vehicle sleeps, is woken by its own SMS centre and does what waited', options, async () => {
	const id = ids.at(-1);
	const port = await freePort();
	await Promise.all([one.stop(), two.stop()]);
	new Reference(broker, 'sleeper', ['--id', id, '--asleep', '--smsc', `127.0.0.1:${port}`]);
	const smsc = { url: `smpp://keyfob@127.0.0.1:${port}`, password_file: passwordFile };
	const three = await startNode({ broker, database, config: { wake: { providers: ['smpp'], smpp: smsc } } });
	await registerVehicle(three, admin, id, { msisdn: '+4915559880099' });
	const { body } = await sendCommand(three, admin, id, { name: 'doors.unlock', wake: true }, { Prefer: 'wait=30' });
	assert.equal(body.status, 'succeeded', JSON.stringify(body));
	const told = await rest(three, 'GET', `/v1/vehicles/${id}/commands/${body.id}`, { token: admin });
	const steps = told.body.timeline.map(({ step, detail }) => (step === 'wakeup' ? `${step} ${detail.status}` : step));
	assert.ok(steps.indexOf('wakeup submitted') > 0 && steps.indexOf('wakeup answered') > steps.indexOf('wakeup submitted'), steps.join(', '));
	assert.ok(steps.includes('answer'), steps.join(', ')); // not always the last: the broker's PUBACK may come after it
});
