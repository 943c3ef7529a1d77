// smpp.test.mjs - the provider `smpp` and an SMS centre that we did not write; the vehicles' SMS centre and a client that
// we did not write.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { atEnd, build, folder, freePort, run } from './children.mjs';
import { poll, Record } from './record.mjs';
import { startBroker } from './servers.mjs';
import { bindClient, smpp, startCentre } from './smsc.mjs';
import { Reference } from './vehicles.mjs';

const options = { timeout: 60_000 };
const msisdn = '+4915550000001';
const password = 'secret77';

// ---- the provider, by its driver

class Driver {
	happened = new Record('the driver');
	log = '';
	#asked = 0;

	constructor(url, { source = 'Keyfob', ca, secret = password } = {}) {
		this.process = spawn('setpriv', ['--pdeathsig', 'KILL', '--', `${build}/tests/smpp_driver`, url, secret, source, ...(ca ? [ca] : [])]);
		this.process.stderr.on('data', (data) => (this.log += data));
		createInterface({ input: this.process.stdout }).on('line', (line) => this.happened.push(JSON.parse(line)));
		this.exited = once(this.process, 'exit');
		atEnd(() => this.close());
	}

	// What became of it.
	async submit(text = 'KEYFOB WAKE WKF00000000000001', { to = msisdn, validity = 90 } = {}) {
		const n = ++this.#asked;
		this.process.stdin.write(`submit ${to} ${validity} ${text}\n`);
		return this.happened.until(({ what, n: number }) => what === 'done' && number === n, { ms: 15_000, what: `the end of submission ${n}` });
	}

	// What becomes of receipts from now on: 'keep' them undecided, or 'record' them, also those that were kept.
	decide(word) {
		this.process.stdin.write(`${word}\n`);
	}

	receipt(id, more) {
		return this.happened.until(({ what, message_id }) => what === 'receipt' && message_id === id, { what: `the receipt for ${id}`, ...more });
	}

	// Its log has no secret; its end is clean.
	async close() {
		if (this.process.exitCode === null) this.process.stdin.end('close\n');
		const [code] = await this.exited;
		assert.equal(code, 0, this.log);
		for (const secret of [password, msisdn, msisdn.slice(1), 'KEYFOB WAKE']) assert.ok(!this.log.includes(secret), `the log holds ${secret}: ${this.log}`);
	}
}

async function installation(settings = {}) {
	const centre = await startCentre(settings);
	const driver = new Driver(centre.url, settings);
	return { centre, driver };
}

test('a wake-up as another implementation reads it', options, async () => {
	const { centre, driver } = await installation();
	const before = Date.now();
	const done = await driver.submit();
	const [pdu] = centre.submits.items;
	assert.deepEqual([done.verdict, done.message_id], ['taken', pdu.given]);
	assert.equal(centre.binds.items[0].system_id, 'keyfob');
	assert.equal(centre.binds.items[0].password, password);
	assert.equal(centre.binds.items[0].interface_version, 0x34);
	assert.deepEqual([pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr], [5, 0, 'Keyfob']);
	assert.deepEqual([pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr], [1, 1, msisdn.slice(1)]);
	assert.equal(pdu.text, 'KEYFOB WAKE WKF00000000000001');
	assert.equal(pdu.data_coding, 0);
	assert.equal(pdu.registered_delivery, 1);
	const life = (pdu.validity_period.getTime() - before) / 1000;
	assert.ok(life > 88 && life < 100, `it lives ${life} s`);
});

test('texts in both alphabets arrive as they were written', options, async () => {
	const { centre, driver } = await installation();
	for (const text of ['wake a_b.c:d-e @£$ ÄÖÜ äöü ß', 'price {[~]} 3 € | \\ ^', 'проснись, машина', 'wake \u{1f697}']) {
		assert.equal((await driver.submit(text)).verdict, 'taken', text);
		assert.equal(centre.submits.items.at(-1).text, text);
	}
	assert.deepEqual((await driver.submit('x'.repeat(161))).reason, 'TEXT_TOO_LONG');
	assert.equal((await driver.submit('x'.repeat(160))).verdict, 'taken');
});

test('receipts: in parameters, in text, in another base, twice, and of every outcome', options, async () => {
	const { centre, driver } = await installation();
	const cases = [
		[{ id: 'id-1', state: 2 }, 'delivered', null],
		[{ textId: 'id-2', stat: 'DELIVRD' }, 'delivered', null],
		[{ id: 'id-3', state: 3, textId: 'zzz', stat: 'EXPIRED' }, 'failed', 'EXPIRED'],
		[{ textId: 'ID-4', stat: 'UNDELIV' }, 'failed', 'UNDELIVERABLE'],
		[{ id: 'id-5', state: 8 }, 'failed', 'REJECTED'],
		[{ textId: 'id-6', stat: 'DELETED' }, 'failed', 'DELETED'],
		[{ textId: 'id-7', stat: 'UNKNOWN' }, 'failed', 'UNKNOWN'],
		[{ textId: 'id-8', stat: 'ACCEPTD' }, 'delivered', null],
	];
	for (const [receipt, verdict, reason] of cases) {
		const { message_id } = await driver.submit();
		const submit = centre.submits.items.at(-1);
		centre.receipt(submit, { ...receipt, state: receipt.state && 1, stat: receipt.stat && 'ENROUTE' }); // on its way: no news
		centre.receipt(submit, receipt);
		centre.receipt(submit, receipt);
		const seen = await driver.receipt(message_id);
		assert.deepEqual([seen.verdict, seen.reason], [verdict, reason], JSON.stringify(receipt));
	}
	for (const [given, receipted] of [['3A7F', '0000014975'], ['14976', '3a80'], ['00000000-000a', '00000000-000A']]) {
		centre.answerSubmit = () => ({ status: 0, id: given });
		await driver.submit();
		centre.receipt(centre.submits.items.at(-1), { textId: receipted, stat: 'DELIVRD' });
		await driver.receipt(given);
	}
	await centre.answers.until(() => centre.answers.items.length === 27);
	assert.ok(centre.answers.items.every(({ command_status }) => command_status === 0));
	assert.equal(driver.happened.items.filter(({ what }) => what === 'receipt').length, 11, 'each once');
});

test('a receipt is taken when it is on record, not before', options, async () => {
	const { centre, driver } = await installation();
	driver.decide('keep');
	const { message_id } = await driver.submit();
	centre.receipt(centre.submits.items[0], { id: message_id, state: 2 });
	await driver.receipt(message_id);
	await driver.submit(); // whatever the centre was answered by then has come
	assert.deepEqual(centre.answers.items, []);
	driver.decide('record');
	const answer = await centre.answers.until(() => true);
	assert.equal(answer.command_status, smpp.ESME_ROK);
});

test('throttled, and then not', options, async () => {
	const { centre, driver } = await installation();
	const statuses = [smpp.ESME_RTHROTTLED, smpp.ESME_RMSGQFUL, smpp.ESME_RTHROTTLED];
	centre.answerSubmit = () => statuses.shift() ?? 0;
	assert.equal((await driver.submit()).verdict, 'taken');
	assert.equal(centre.submits.items.length, 4);
	centre.answerSubmit = () => smpp.ESME_RTHROTTLED;
	const begun = Date.now();
	assert.deepEqual((({ verdict, reason }) => [verdict, reason])(await driver.submit()), ['failed', 'THROTTLED']);
	assert.ok(Date.now() - begun <= 10_000, 'within 10 s');
	// Pauses of half of 250 ms to half of 4 s at least, each twice the last: no more than eight fit into 10 s.
	assert.ok(centre.submits.items.length <= 4 + 9, 'without a storm');
});

test('what the centre refuses', options, async () => {
	const { centre, driver } = await installation();
	for (const [status, verdict, reason] of [
		[smpp.ESME_RINVDSTADR, 'refused', 'INVALID_ADDRESS'],
		[smpp.ESME_RSYSERR, 'failed', 'SYSTEM_ERROR'],
		[smpp.ESME_RX_R_APPN, 'refused', 'REJECTED'],
		[0x412, 'failed', 'VENDOR_ERROR'],
	]) {
		centre.answerSubmit = () => status;
		const done = await driver.submit();
		assert.deepEqual([done.verdict, done.reason], [verdict, reason]);
	}
});

test('the centre is killed over a submission, and comes back', options, async () => {
	const { centre, driver } = await installation();
	assert.equal((await driver.submit()).verdict, 'taken');
	centre.answerSubmit = () => null;
	const unanswered = driver.submit();
	await centre.submits.until(() => centre.submits.items.length === 2);
	await centre.stop();
	assert.deepEqual((({ verdict, reason }) => [verdict, reason])(await unanswered), ['unknown', 'CONNECTION_LOST']);
	assert.deepEqual((({ verdict, reason }) => [verdict, reason])(await driver.submit()), ['failed', 'UNREACHABLE']);
	centre.answerSubmit = () => 0;
	await centre.start();
	await centre.binds.until(() => centre.binds.items.length === 2, { ms: 10_000 });
	await poll(() => driver.submit(), ({ verdict }) => verdict === 'taken', { what: 'it is taken again' });
	centre.receipt(centre.submits.items[0], { id: 'id-1', state: 2 });
	assert.equal((await driver.receipt('id-1')).verdict, 'delivered', 'a receipt over the next session');
});

test('a bind that is refused, and granted later', options, async () => {
	const centre = await startCentre();
	const statuses = [smpp.ESME_RALYBND, smpp.ESME_RBINDFAIL];
	centre.answerBind = () => statuses.shift() ?? 0;
	const driver = new Driver(centre.url);
	const done = await driver.submit();
	assert.deepEqual([done.verdict, done.reason], ['failed', 'NOT_BOUND']);
	await centre.binds.until(() => centre.binds.items.length === 3, { ms: 10_000 });
	await poll(() => driver.submit(), ({ verdict }) => verdict === 'taken', { what: 'it is taken' });
	assert.match(driver.log, /ALREADY_BOUND/);
});

test('on its end it unbinds', options, async () => {
	const { centre, driver } = await installation();
	await driver.submit();
	await driver.close();
	assert.equal(centre.unbinds.items.length, 1);
});

// ---- TLS

async function certificate(name) {
	const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
	await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
		'-subj', `/CN=${name}`, '-addext', `subjectAltName=${name}`, '-keyout', key, '-out', cert].map((word) => word.replace('CN=IP:', 'CN=')));
	return { ca: cert, tls: { key: readFileSync(key), cert: readFileSync(cert) } };
}

test('over TLS, and only with who it says it is', options, async () => {
	const own = await certificate('IP:127.0.0.1');
	const other = await certificate('DNS:elsewhere.example');
	const { centre, driver } = await installation(own);
	assert.equal((await driver.submit()).verdict, 'taken');
	centre.receipt(centre.submits.items[0], { id: 'id-1', state: 2 });
	await driver.receipt('id-1');
	await driver.close();
	for (const [settings, ca] of [[own, undefined], [own, other.ca], [other, other.ca]]) {
		const stranger = await startCentre({ tls: settings.tls });
		const cautious = new Driver(stranger.url, { ca });
		const done = await cautious.submit();
		assert.deepEqual([done.verdict, done.reason], ['failed', 'UNREACHABLE']);
		await poll(() => cautious.log, (log) => /TLS: /.test(log), { what: 'it says that it was TLS' });
		assert.equal(stranger.binds.items.length, 0, 'no password went there');
	}
});

// ---- the vehicles' SMS centre

async function startSleeper(broker, id, more = []) {
	const port = await freePort();
	const child = new Reference(broker, `vehicle-${id}`, ['--id', id, '--asleep', '--smsc', `127.0.0.1:${port}`, ...more]);
	const journal = () => child.journal();
	const saw = (what, times = 1) => poll(journal, (lines) => lines.filter((line) => line.what === what).length >= times, { what: `${id}: ${what} ${times}×` });
	await child.untilUp(() => bindClient(port).then(({ session }) => session.socket.destroy() && true, () => false));
	return { id, port, child, journal, saw };
}

const sms = (text, more = {}) => ({ source_addr: 'Keyfob', source_addr_ton: 5, destination_addr: '4915550000001', dest_addr_ton: 1, dest_addr_npi: 1, short_message: text, registered_delivery: 1, ...more });

test('an SMS with its id wakes the vehicle, and its receipt comes', options, async () => {
	const broker = await startBroker();
	const vehicle = await startSleeper(broker, 'WKF00000000000001');
	const client = await bindClient(vehicle.port);
	assert.equal(client.bound.command_status, 0);
	assert.equal((await client.call('enquire_link')).command_status, 0);

	const elsewhere = await client.call('submit_sm', sms('KEYFOB WAKE WKF00000000000002'));
	assert.equal(elsewhere.command_status, 0);
	const undelivered = await client.delivered.until(({ receipted_message_id: id }) => id === elsewhere.message_id);
	assert.equal(undelivered.message_state, 5);
	assert.match(undelivered.text, new RegExp(`^id:${elsewhere.message_id} .* stat:UNDELIV `));
	assert.deepEqual(vehicle.journal().map(({ what, outcome }) => [what, outcome]), [['sms', 'undeliverable']]);

	const taken = await client.call('submit_sm', sms('KEYFOB WAKE WKF00000000000001'));
	assert.equal(taken.command_status, 0);
	const delivered = await client.delivered.until(({ receipted_message_id: id }) => id === taken.message_id);
	assert.deepEqual([delivered.esm_class, delivered.message_state, delivered.source_addr], [4, 2, '4915550000001']);
	await vehicle.saw('connected');
	const woken = vehicle.journal().find(({ vehicle_id }) => vehicle_id === vehicle.id);
	assert.deepEqual([woken.what, woken.outcome, woken.text, woken.source], ['sms', 'woken', 'KEYFOB WAKE WKF00000000000001', 'Keyfob']);
	assert.match(await poll(() => vehicle.child.logText(), (text) => /online/.test(text), { what: 'it says that it is online' }), /1 vehicle online/);

	assert.equal((await client.call('unbind')).command_status, 0);
	await client.closed;
});

test('it listens at the address of a name', options, async () => {
	const port = await freePort();
	const child = new Reference(await startBroker(), 'vehicle-named', ['--id', 'WKF00000000000004', '--asleep', '--smsc', `localhost:${port}`]);
	await child.untilUp(() => bindClient(port).then(({ session }) => session.socket.destroy() && true, () => false));
});

test('woken by the provider itself, and asleep again when nothing comes', options, async () => {
	const broker = await startBroker();
	const vehicle = await startSleeper(broker, 'WKF00000000000003', ['--awake-for', '300ms']);
	const driver = new Driver(`smpp://keyfob@127.0.0.1:${vehicle.port}`);
	for (let times = 1; times <= 2; times++) {
		const done = await driver.submit(`KEYFOB WAKE ${vehicle.id}`);
		assert.equal(done.verdict, 'taken');
		assert.equal((await driver.receipt(done.message_id)).verdict, 'delivered');
		await vehicle.saw('connected', times);
		await vehicle.saw('disconnected', times);
	}
});

test('its command line', options, async () => {
	for (const bad of ['a..b:1', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536', '[::1:5', ':5', '127.0.0.1:x'])
		await assert.rejects(run(`${build}/bin/keyfob-vehicle`, ['--id', 'A', '--smsc', bad]), /ended with 2:[^]*--smsc: an impossible value: .*\(HOST:PORT: listens there/, bad);
	await assert.rejects(run(`${build}/bin/keyfob-vehicle`, ['--id', 'A', '--awake-for', '0s']), /ended with 2:[^]*an impossible value: 0s \(DURATION: sleeps .*such as 30s/);
	await assert.rejects(run(`${build}/bin/keyfob-vehicle`, ['--prefix', 'A', '--count', '100000']), /ended with 2:[^]*--count: an impossible value: 100000 \(N: .*at most 99999/);
	await assert.rejects(run('prlimit', ['--nofile=15000:15000', `${build}/bin/keyfob-vehicle`, '--prefix', 'A', '--count', '15000']), /ended with 1:[^]*take 30320 descriptors, and this process may have 15000: ulimit -Hn/);
});
