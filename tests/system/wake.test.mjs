// wake.test.mjs - vehicles that sleep are woken by SMS: two nodes, providers by HTTP and SNS, receipts by a hook.
//
// Where a rule waits for half a minute, the test moves what was spent into the past, in the store; it never waits for time.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { adminToken, build, folder, run, connectVehicle, openSocket, poll, registerVehicle, rest, sendCommand, startInstallation, token, vehicle, vehicleIds } from './harness.mjs';
import { signatureOf, startSmsServer } from './sms.mjs';
import { secrets } from './tokens.mjs';

const options = { timeout: 120_000 };
const ids = vehicleIds(16);
const herd = vehicleIds(40, 101);
const hookSecret = 'hook-0123456789abcdef';
const aws = { region: 'eu-central-1', service: 'sns', accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', sessionToken: 'session/token+of=a==day' };
for (const secret of [hookSecret, aws.secretAccessKey, aws.sessionToken, 'provider-key', 'RISE AND SHINE']) secrets.add(secret);

let taken = 0;
const sids = new Map(); // number -> the name of its last SMS
const takes = (request) => {
	sids.set(numberOf(request), `SM${++taken}`);
	return { status: 201, body: JSON.stringify({ sid: `SM${taken}` }) };
};
const isDown = () => ({ status: 503, body: '{}' });
const http = await startSmsServer('the HTTP provider', (request) => (answers.get(numberOf(request)) ?? takes)(request));
const sns = await startSmsServer('SNS', () => ({
	status: 200,
	type: 'text/xml',
	body: `<PublishResponse><PublishResult><MessageId>sns-${++taken}</MessageId></PublishResult></PublishResponse>`,
}));
const answers = new Map(); // number -> how the HTTP provider answers
const numberOf = (request) => JSON.parse(request.body).to;

const wake = (more = {}) => ({
	providers: ['http', 'sns'],
	receipt_timeout: '3s',
	text: 'RISE AND SHINE {vehicle_id}',
	http: {
		url: `${http.url}/send/{msisdn}?vehicle={vehicle_id}`,
		headers: { 'X-Key': 'provider-key' },
		body: '{"to":"{msisdn}","text":"{text}","ttl":{validity_seconds},"ref":"{wakeup_id}"}',
		message_id: 'sid',
		hook_secret: hookSecret,
		callback: { id: 'MessageSid', status: 'MessageStatus', failed: ['undelivered'] },
	},
	sns: { region: aws.region, endpoint: sns.url, access_key_id: aws.accessKeyId, secret_access_key: aws.secretAccessKey, session_token: aws.sessionToken },
	...more,
});
const { broker, database, nodes } = await startInstallation({
	ids: [...ids, ...herd],
	nodes: 2,
	config: { lifecycle: { return_delay: '500ms' }, wake: wake() }, // a broker on a busy machine may drop a link: nobody who goes then is woken for so long
});
const [one, two] = nodes;
const admin = await adminToken();

// A vehicle that sleeps, and its number.
let used = 0;
async function sleeper(node = one, body = {}) {
	const id = ids[used++];
	const msisdn = `+49155512300${String(used).padStart(2, '0')}`;
	await registerVehicle(node, admin, id, { msisdn, ...body });
	return { id, msisdn };
}

async function send(node, id, body = { name: 'doors.unlock' }) {
	const answer = await sendCommand(node, admin, id, body);
	assert.equal(answer.status, 202, JSON.stringify(answer.body));
	return answer.body;
}

const smsTo = (msisdn) => http.requests.items.filter((request) => numberOf(request) === msisdn);
const smsBySns = (msisdn) => sns.requests.items.filter((request) => new URLSearchParams(request.body).get('PhoneNumber') === msisdn);
const untilSms = (msisdn) => http.requests.until((request) => numberOf(request) === msisdn, { what: 'the SMS' });

async function wakeups(id, node = one) {
	const { status, body } = await rest(node, 'GET', `/v1/vehicles/${id}/wakeups`, { token: admin });
	assert.equal(status, 200);
	return body.items;
}

// Newest first.
const words = (items) => items.map(({ provider, status, attempt, reason }) => [provider, status, attempt, reason].filter((word) => word !== null).join(' '));
const untilWakeups = (id, expected) => poll(() => wakeups(id), (items) => JSON.stringify(words(items)) === JSON.stringify(expected), { what: `the wake-ups are ${expected}` });

const callBack = (node, fields, { secret = hookSecret, method = 'POST', provider = 'http' } = {}) =>
	fetch(`${node.url}/v1/hooks/sms/${provider}/${secret}`, { method, ...(method === 'POST' && { body: new URLSearchParams(fields) }) });

const command = (id, commandId) => rest(one, 'GET', `/v1/vehicles/${id}/commands/${commandId}`, { token: admin });
const untilCommand = (id, commandId, status) =>
	poll(() => command(id, commandId), ({ body }) => body.status === status, { what: `the command is ${status}` }).then(({ body }) => body);

// What was spent was spent so much earlier.
const pass = (id, interval) =>
	database.sql(`update wakeups set created_at = created_at - interval '${interval}' where vehicle_id = '${id}';
		update absences set due_at = due_at - interval '${interval}', spent_at = spent_at - interval '${interval}' where vehicle_id = '${id}'`);
const absence = (id) => database.sql(`select phase || case when due_at is null then ' idle' else '' end from absences where vehicle_id = '${id}'`);
const untilAbsence = (id, expected) => poll(() => absence(id), (is) => is === expected, { what: `the absence is ${expected}` });
// Looked at, and put off to the end of min_interval since the last SMS.
const isPutOff = (id) => database.sql(`select due_at >= (select max(created_at) + interval '30 seconds' from wakeups where vehicle_id = '${id}') from absences where vehicle_id = '${id}'`);
const untilPutOff = (id) => poll(() => isPutOff(id), (is) => is === 't', { what: 'the absence is put off' });
const untilConnectivity = (id, state) =>
	poll(() => rest(one, 'GET', `/v1/vehicles/${id}`, { token: admin }), ({ body }) => body.connectivity.state === state, { what: `${id} is ${state}` });

test('50 commands from two nodes: one SMS, and everything goes out when the vehicle comes', options, async () => {
	const { id, msisdn } = await sleeper();
	const app = await openSocket(two, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	const sent = await Promise.all(Array.from({ length: 50 }, (_, i) => send(nodes[i % 2], id, { name: 'climate.start', params: { temperature: 20 }, ttl_seconds: 300, wake: true })));
	const sms = await untilSms(msisdn);
	assert.equal(sms.method, 'POST');
	assert.equal(sms.url, `/send/${encodeURIComponent(msisdn)}?vehicle=${id}`);
	assert.equal(sms.headers['x-key'], 'provider-key');
	assert.equal(sms.headers['content-type'], 'application/json');
	const { to, text, ttl, ref } = JSON.parse(sms.body);
	assert.deepEqual({ to, text }, { to: msisdn, text: `RISE AND SHINE ${id}` });
	assert.ok(ttl > 240 && ttl <= 300, `it lives ${ttl} s`);
	await app.until(({ type, data }) => type === 'wakeup.updated' && data.status === 'submitted');

	const [wakeup] = await wakeups(id);
	assert.equal(wakeup.id, ref);
	assert.equal((await callBack(two, { MessageSid: sids.get(msisdn), MessageStatus: 'sent' })).status, 204);
	assert.equal((await callBack(two, { MessageSid: sids.get(msisdn), MessageStatus: 'delivered' })).status, 204);
	await app.until(({ type, data }) => type === 'wakeup.updated' && data.status === 'delivered');

	const car = await connectVehicle(broker, { id });
	const done = [];
	for (const { id: commandId } of sent) done.push(await untilCommand(id, commandId, 'succeeded'));
	assert.equal(car.executed.length, 50);
	assert.deepEqual(words(await wakeups(id)), ['http answered 1']);
	assert.equal(smsTo(msisdn).length, 1);
	assert.equal(smsBySns(msisdn).length, 0);
	const told = app.events.items.filter(({ type }) => type === 'wakeup.updated').map(({ data }) => data);
	assert.deepEqual(told.map(({ status }) => status), ['submitted', 'delivered', 'answered']);
	assert.deepEqual(Object.keys(told[0]).sort(), ['attempt', 'id', 'provider', 'reason', 'status']);
	const { body } = await command(id, sent[0].id);
	const steps = body.timeline.filter(({ step }) => step === 'wakeup').map(({ detail }) => detail.status);
	assert.equal(steps.at(-1), 'answered');
	const probes = done.filter(({ timeline }) => timeline.some(({ step, detail }) => step === 'claimed' && detail.probe));
	assert.equal(probes.length, 1); // whichever was accepted first
});

test('forty vehicles at once, from two nodes: forty SMS', options, async () => {
	const number = (id) => `+49155599${id.slice(-5)}`;
	for (const id of herd) await registerVehicle(one, admin, id, { msisdn: number(id) });
	await Promise.all(herd.flatMap((id) => nodes.flatMap((node) => [send(node, id), send(node, id)])));
	// each receipt as soon as its SMS is on record, as a network does: a late one would bring the next provider
	const receipt = async (id) => {
		await untilSms(number(id));
		await poll(() => wakeups(id), ([wakeup]) => wakeup?.status === 'submitted', { what: `${id}'s SMS is on record` });
		await callBack(one, { MessageSid: sids.get(number(id)), MessageStatus: 'delivered' });
	};
	await Promise.all(herd.map(receipt));
	assert.equal(await database.sql(`select count(*) from absences where phase = 'ready' and attempt = 1 and vehicle_id in ('${herd.join("','")}')`), '40');
	for (const id of herd) assert.equal(smsTo(number(id)).length + smsBySns(number(id)).length, 1, id);
});

test('who was there all along gets the probe, and no SMS goes out', options, async () => {
	const { id, msisdn } = await sleeper();
	const car = await connectVehicle(broker, { id });
	await untilConnectivity(id, 'connected');
	// the table says otherwise
	await database.sql(`update vehicle_heads set reachable = false, linked = false, reason = 'TEST', since = now() where vehicle_id = '${id}'`);
	const first = await send(one, id);
	await untilCommand(id, first.id, 'succeeded');
	await untilConnectivity(id, 'connected');
	const second = await send(two, id);
	await untilCommand(id, second.id, 'succeeded');
	assert.deepEqual(car.executed, [first.id, second.id]);
	assert.deepEqual(await wakeups(id), []);
	assert.equal(smsTo(msisdn).length, 0);
	await poll(() => absence(id), (is) => is === '', { what: 'the absence is over' });
});

test('a mechanical command is no worse off for the probe', options, async () => {
	const { id, msisdn } = await sleeper();
	const sent = await send(one, id, { name: 'engine.start', wake: true });
	await untilSms(msisdn);
	const car = await connectVehicle(broker, { id, qos: 0 });
	const done = await untilCommand(id, sent.id, 'succeeded');
	assert.equal(done.attempts, 1);
	assert.equal(car.executed.length, 1);
	assert.equal((await car.requests.until(() => true)).attempt, 1);
});

test('the first provider is down: SNS, by a request that others sign alike', options, async () => {
	const { id, msisdn } = await sleeper();
	answers.set(msisdn, isDown);
	await send(one, id);
	const request = await sns.requests.until(({ body }) => new URLSearchParams(body).get('PhoneNumber') === msisdn, { what: 'the Publish' });
	const form = Object.fromEntries(new URLSearchParams(request.body));
	assert.deepEqual(form, {
		Action: 'Publish',
		Version: '2010-03-31',
		PhoneNumber: msisdn,
		Message: `RISE AND SHINE ${id}`,
		'MessageAttributes.entry.1.Name': 'AWS.SNS.SMS.SMSType',
		'MessageAttributes.entry.1.Value.DataType': 'String',
		'MessageAttributes.entry.1.Value.StringValue': 'Transactional',
	});
	assert.equal(request.headers['x-amz-security-token'], aws.sessionToken);
	assert.match(request.headers.authorization, /SignedHeaders=[^,]*x-amz-security-token/);
	assert.equal(request.headers.authorization.replace(/, */g, ', '), await signatureOf(request, aws));
	await untilWakeups(id, ['sns submitted 1', 'http failed 1 HTTP_503']);
	assert.equal(smsTo(msisdn).length, 1);
});

test('no receipt in time: the next provider; undelivered: the next one too', options, async () => {
	const silent = await sleeper();
	await send(one, silent.id);
	await untilWakeups(silent.id, ['sns submitted 1', 'http submitted 1']);
	const refused = await sleeper();
	answers.set(refused.msisdn, () => ({ status: 201, body: '{"sid":"SMrefused"}' }));
	await send(two, refused.id);
	await untilSms(refused.msisdn);
	assert.equal((await callBack(one, { MessageSid: 'SMrefused', MessageStatus: 'undelivered' })).status, 204);
	await untilWakeups(refused.id, ['sns submitted 1', 'http failed 1 UNDELIVERED']);
	for (const { msisdn } of [silent, refused]) assert.equal(smsTo(msisdn).length, 1);
});

test('the hook is for who knows the secret, and says what it did not understand', options, async () => {
	const fields = { MessageSid: 'SM0', MessageStatus: 'delivered' };
	const absent = await fetch(`${one.url}/v1/hooks`);
	for (const other of [{ secret: 'hook-0123456789abcdeF' }, { secret: '' }, { provider: 'sns' }, { secret: `${hookSecret}/` }]) {
		const answer = await callBack(one, fields, other);
		assert.equal(answer.status, 404);
		assert.equal((await answer.json()).type, (await absent.clone().json()).type);
	}
	assert.equal((await callBack(one, fields, { method: 'DELETE' })).status, 405);
	assert.equal((await callBack(one, { MessageStatus: 'delivered' })).status, 400);
	assert.equal((await callBack(one, fields)).status, 404); // nobody's message
});

test('min_interval: a vehicle that was just woken waits, and is not woken for what has expired meanwhile', options, async () => {
	const { id, msisdn } = await sleeper();
	await send(one, id);
	await untilSms(msisdn);
	const car = await connectVehicle(broker, { id });
	await untilWakeups(id, ['http answered 1']);
	await car.disconnect();
	await untilConnectivity(id, 'disconnected');
	const short = await send(two, id, { name: 'doors.unlock', ttl_seconds: 2 });
	await untilPutOff(id);
	await untilCommand(id, short.id, 'expired');
	await pass(id, '30 seconds');
	await untilAbsence(id, 'ready idle');
	assert.equal(smsTo(msisdn).length, 1);
	await send(one, id); // the interval is over
	await http.requests.until((request) => numberOf(request) === msisdn && request !== smsTo(msisdn)[0], { what: 'the second SMS' });
	assert.equal(smsTo(msisdn).length, 2);
});

test('attempts end, and so does the budget', options, async () => {
	const { id, msisdn } = await sleeper();
	const sent = await send(one, id, { name: 'climate.start', params: { temperature: 20 }, ttl_seconds: 3600, wake: true });
	for (const attempt of [1, 2, 3]) {
		const [newest] = await poll(() => wakeups(id), ([item]) => item?.attempt === attempt && item.status === 'submitted' && item.provider === 'http');
		// A slot that is spent is shown as submitted before the provider has said what it calls the message.
		const name = await poll(() => database.sql(`select message_id from wakeups where id = '${newest.id}'`), Boolean, { what: 'its name is known' });
		assert.equal((await callBack(two, { MessageSid: name, MessageStatus: 'delivered' })).status, 204, `${newest.id}: ${name}, the last was ${sids.get(msisdn)} of ${smsTo(msisdn).length}`);
		await untilAbsence(id, 'ready');
		await pass(id, '200 seconds');
	}
	await untilAbsence(id, 'ready idle');
	assert.equal(smsTo(msisdn).length, 3);
	// Whoever waited, and whoever comes later, is told why there is none for them.
	const later = await send(two, id);
	for (const { id: one } of [sent, later]) {
		const wakes = ({ body }) => body.timeline.filter(({ step }) => step === 'wakeup').map(({ detail: { status, attempt, reason } }) => [status, attempt, reason].filter((word) => word !== null).join(' '));
		const { body } = await poll(() => command(id, one), (answer) => wakes(answer).at(-1) === 'refused 4 ATTEMPTS', { what: 'that attempts are over is in the timeline' });
		assert.equal(wakes({ body }).filter((word) => word === 'submitted 3').length, one === sent.id ? 1 : 0, JSON.stringify(body.timeline));
	}
	await untilAbsence(id, 'ready idle');
	assert.equal(smsTo(msisdn).length, 3);

	const { id: poor, msisdn: number } = await sleeper();
	await database.sql(`insert into wakeups (vehicle_id, id, status, provider, attempt, created_at)
		select '${poor}', uuid7_floor(t), 'answered', 'http', 1, t from generate_series(now() - interval '23 hours', now() - interval '1 hour', interval '69 minutes') t`);
	assert.equal((await wakeups(poor)).length, 20);
	const refused = await send(one, poor);
	const [newest] = await poll(() => wakeups(poor), ([item]) => item.status === 'refused');
	assert.equal(newest.reason, 'BUDGET');
	const { body } = await command(poor, refused.id);
	const { detail } = body.timeline.find(({ step }) => step === 'wakeup');
	assert.deepEqual({ ...detail }, { id: newest.id, status: 'refused', provider: null, attempt: 1, reason: 'BUDGET' });
	assert.equal(smsTo(number).length, 0);
	assert.equal((await command(id, sent.id)).body.status, 'waiting');
});

test('wake-ups are listed in pages, to who may read the vehicle', options, async () => {
	const id = await database.sql("select vehicle_id from wakeups group by vehicle_id order by count(*) desc limit 1");
	const all = (await rest(one, 'GET', `/v1/vehicles/${id}/wakeups?limit=200`, { token: admin })).body;
	const paged = [];
	let path = `/v1/vehicles/${id}/wakeups?limit=8`;
	while (path) {
		const { body, headers } = await rest(two, 'GET', path, { token: admin });
		paged.push(...body.items);
		path = /<([^>]*)>; rel="next"/.exec(headers.get('link') ?? '')?.[1];
		assert.equal(path !== undefined, body.next_cursor !== null);
	}
	assert.equal(all.items.length, 21);
	assert.deepEqual(paged, all.items);
	assert.deepEqual(Object.keys(paged[0]).sort(), ['attempt', 'created_at', 'id', 'provider', 'reason', 'status', 'updated_at']);
	const stranger = await rest(one, 'GET', `/v1/vehicles/${id}/wakeups`, { token: await token({ sub: 'mallory' }) });
	assert.equal(stranger.status, 404);
});

test('without a number the command waits, and its timeline says why', options, async () => {
	const { id } = await sleeper(one, { msisdn: undefined });
	const sent = await send(one, id);
	const { body } = await poll(() => command(id, sent.id), ({ body: { timeline } }) => timeline.some(({ step }) => step === 'wakeup'), { what: 'the refusal' });
	assert.equal(body.timeline.find(({ step }) => step === 'wakeup').detail.reason, 'NO_MSISDN');
	assert.equal(body.status, 'waiting');
	assert.deepEqual(await wakeups(id), []);
});

test('the presets of the manual are configurations', options, async () => {
	const manual = readFileSync(new URL('../../docs/wake-up.md', import.meta.url), 'utf8');
	const presets = [...manual.matchAll(/```yaml\n(wake:\n[^`]*)```/g)].map(([, text]) => text);
	assert.equal(presets.length, 3);
	const { wake: _, ...rest } = JSON.parse(readFileSync(one.file, 'utf8'));
	writeFileSync(join(folder, 'hook.secret'), `${hookSecret}\n`);
	for (const preset of presets) {
		const file = join(folder, 'preset.yaml');
		writeFileSync(file, Object.entries(rest).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join('') + preset);
		await run(`${build}/bin/keyfobd`, ['--config', file, '--check-config']);
	}
});

// Every node reads its file again.
async function switchWaking(enabled) {
	for (const node of nodes) {
		const config = JSON.parse(readFileSync(node.file, 'utf8'));
		config.wake.enabled = enabled;
		writeFileSync(node.file, JSON.stringify(config));
		const before = node.child.logText().length;
		node.signal('SIGHUP');
		await poll(() => node.child.logText().slice(before), (log) => log.includes(`to=${enabled ? 'on' : 'off'}`), { what: 'it is switched' });
	}
}

test('SIGHUP switches waking off and on', options, async () => {
	const { id, msisdn } = await sleeper();
	await switchWaking(false);
	await send(two, id);
	await untilWakeups(id, ['refused 1 DISABLED']);
	await send(one, id);
	await switchWaking(true);
	await untilSms(msisdn);
	await untilWakeups(id, ['http submitted 1', 'refused 1 DISABLED']);
	assert.equal(smsTo(msisdn).length, 1);
});

test('kill -9 between the acceptance and the row: no second SMS in that window', options, async () => {
	const { id, msisdn } = await sleeper();
	answers.set(msisdn, async (request) => {
		await Promise.all(nodes.map((node) => node.kill())); // whoever asked
		return takes(request);
	});
	await send(one, id);
	await untilSms(msisdn);
	await Promise.all(nodes.map((node) => node.child.exited));
	answers.delete(msisdn);
	await Promise.all(nodes.map((node) => node.start()));
	assert.deepEqual(words(await wakeups(id)), ['http submitted 1']); // it counts as sent
	await send(two, id);
	await send(one, id);
	await database.sql(`update absences set due_at = now() where vehicle_id = '${id}'`); // the dead node's time is over
	await untilWakeups(id, ['http submitted 1 UNKNOWN']);
	await untilAbsence(id, 'ready');
	assert.equal(await isPutOff(id), 't');
	assert.equal(smsTo(msisdn).length, 1);
	assert.equal(smsBySns(msisdn).length, 0);
	await pass(id, '30 seconds');
	await http.requests.until((request) => numberOf(request) === msisdn && request !== smsTo(msisdn)[0], { what: 'the next window' });
});

test('counted without names, and no lock waited for another in a circle', options, async () => {
	const { id, msisdn } = await sleeper();
	await send(one, id);
	await untilSms(msisdn);
	await connectVehicle(broker, { id });
	// the dead nodes' feeds may be taken over only now: the next provider may have had its turn
	await poll(() => wakeups(id), ([item]) => item.status === 'answered', { ms: 20_000, what: 'the vehicle has answered' });
	const count = async (name) => (await Promise.all(nodes.map((node) => node.metrics()))).reduce((sum, text) => sum + Number(new RegExp(`^keyfob_${name}_total (\\d+)$`, 'm').exec(text)[1]), 0);
	assert.ok((await count('wakeups_submitted')) >= 1);
	assert.ok((await count('wakeups_answered')) >= 1);
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
