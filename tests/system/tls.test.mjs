// tls.test.mjs - TLS on every line: apps to the node, the node to broker and database, vehicles to the broker; and SIGHUP.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { connect as connectPlain, createServer } from 'node:net';
import {
	adminToken, build, connectVehicle, folder, grant, makeAuthority, openSocket, poll, registerVehicle, run, startInstallation, startNode, token, untilClosed, vehicle,
	vehicleIds,
} from './harness.mjs';

const ids = vehicleIds(8);
const authority = makeAuthority('authority');
const stranger = makeAuthority('stranger');
const chain = join(folder, 'chain.pem');
const key = join(folder, 'key.pem');
install(authority.issue('node'));

const detection = { refused_connects: 3 };
// The node speaks TLS to everybody: apps, broker (where it shows a certificate), database (by name and authority).
const { broker, database, node: plain } = await startInstallation({ ids, authority, config: { detection } });
const gateway = authority.issue('keyfob');
const secureDatabase = (ca) => `${database.url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full&sslrootcert=${ca}`;
const secure = {
	detection,
	http: { tls: { certificate: chain, key } },
	mqtt: { url: broker.secureUrl, tls: { ca: authority.certificate, certificate: gateway.certificate, key: gateway.key } },
	database: { url: secureDatabase(process.env.KEYFOB_TEST_POSTGRES_CA) },
};
const node = await startNode({ broker, database, config: secure });
const { ca } = authority;
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
const options = { timeout: 60_000 };

for (const id of ids) {
	await registerVehicle(plain, admin, id);
	await grant(plain, admin, id, 'alice', 'owner');
}

function install(issued) {
	copyFileSync(issued.certificate, chain);
	copyFileSync(issued.key, key);
}

// { status, headers, body, socket }; on a connection of its own unless an agent is given.
function ask(method, path, { body, headers = {}, agent = false, to = node, trust = ca } = {}) {
	return new Promise((resolve, reject) => {
		const text = body && JSON.stringify(body);
		const request = https.request(to.url + path, {
			method, agent, ca: trust,
			headers: { Authorization: `Bearer ${alice}`, ...(text && { 'Content-Type': 'application/json', 'Content-Length': text.length }), ...headers },
		});
		request.on('error', reject);
		request.on('response', async (answer) => {
			let all = '';
			for await (const piece of answer.setEncoding('utf8')) all += piece;
			resolve({ status: answer.statusCode, headers: answer.headers, body: all && JSON.parse(all), socket: request.socket });
		});
		request.end(text);
	});
}

// A client of bytes: { socket, all(), closed }.
async function dial(settings = {}) {
	const socket = connectTls({ host: '127.0.0.1', port: node.port, ca, ...settings });
	await Promise.race([once(socket, 'secureConnect'), once(socket, 'error').then(([error]) => Promise.reject(error))]);
	let text = '';
	socket.setEncoding('latin1').on('data', (piece) => (text += piece)).on('error', () => {});
	return { socket, all: () => text, closed: once(socket, 'close') };
}

const serialOf = async () => {
	const { socket } = await dial();
	const { serialNumber } = socket.getPeerCertificate();
	socket.destroy();
	return serialNumber;
};

async function secureVehicle(id, settings = {}) {
	const car = await connectVehicle(broker, { id, tls: authority.issue(id).options, ...settings });
	await poll(() => ask('GET', `/v1/vehicles/${id}`), ({ body }) => body.connectivity.state === 'connected', { what: 'the vehicle is connected' });
	return car;
}

// ---- apps

test('a command goes the whole way in TLS: app, node, database, broker, vehicle', options, async () => {
	const car = await secureVehicle(ids[0]);
	const answer = await ask('POST', `/v1/vehicles/${ids[0]}/commands`, { body: { name: 'doors.unlock' }, headers: { Prefer: 'wait=10' } });
	assert.equal(answer.status, 200, JSON.stringify(answer.body));
	assert.equal(answer.body.status, 'succeeded');
	assert.deepEqual(car.executed, [answer.body.id]);
	assert.match(answer.headers['strict-transport-security'], /^max-age=\d{8}/);
	const encrypted = await database.sql('select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and datname = current_database()');
	assert.ok(Number(encrypted) > 0);
});

for (const version of ['TLSv1.2', 'TLSv1.3'])
	test(`${version} is spoken, HTTP/1.1 is agreed`, options, async () => {
		const { socket } = await dial({ minVersion: version, maxVersion: version, ALPNProtocols: ['h2', 'http/1.1'] });
		assert.equal(socket.getProtocol(), version);
		assert.equal(socket.alpnProtocol, 'http/1.1');
		socket.destroy();
	});

test('what is old, foreign or in the clear is refused', options, async () => {
	await assert.rejects(dial({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }), { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
	await assert.rejects(dial({ ALPNProtocols: ['h2'] }), { code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' });
	// One without authentication of what it encrypts, by the kind of key that the node has.
	await assert.rejects(dial({ ciphers: 'ECDHE-ECDSA-AES128-SHA256', maxVersion: 'TLSv1.2' }), { code: 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE' });
	await assert.rejects(ask('GET', '/v1/me', { trust: stranger.ca }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
	const socket = connectPlain(node.port, '127.0.0.1').on('error', () => {});
	let text = '';
	socket.setEncoding('latin1').on('data', (piece) => (text += piece));
	socket.write('GET /v1/me HTTP/1.1\r\nHost: h\r\n\r\n');
	await new Promise((closed) => socket.on('close', closed));
	assert.doesNotMatch(text, /HTTP/);
});

test('an event stream comes through, piece by piece', options, async () => {
	const id = ids[1];
	const request = https.request(`${node.url}/v1/vehicles/${id}/events`, { ca, agent: false, headers: { Authorization: `Bearer ${alice}`, Accept: 'text/event-stream' } });
	request.end();
	const [answer] = await once(request, 'response');
	let text = '';
	answer.setEncoding('utf8').on('data', (piece) => (text += piece));
	await poll(async () => text, (seen) => seen.includes('event: snapshot'), { what: 'the snapshot' });
	await secureVehicle(id);
	await poll(async () => text, (seen) => seen.includes('event: connectivity.changed'), { what: 'the vehicle came' });
	request.destroy();
});

test('a WebSocket in TLS is judged and served as a plain one', options, async () => {
	const id = ids[2];
	const refused = (settings) => openSocket(node, { token: alice, ca, ...settings }).then(() => 101, (error) => error.status);
	assert.equal(await refused({ protocols: ['other.v1'] }), 400);
	assert.equal(await refused({ origin: 'https://evil.test' }), 403);
	assert.equal(await refused({ origin: node.url }), 101);
	const app = await openSocket(node, { token: alice, via: 'protocol', ca });
	await app.call('vehicle.subscribe', { vehicle_id: id });
	await secureVehicle(id);
	const { id: command } = await app.call('command.send', { vehicle_id: id, name: 'doors.unlock' });
	await app.until(({ data }) => data.id === command && data.status === 'succeeded');
	const peers = node.child.logText();
	assert.doesNotMatch(peers, /peer=""/);
});

test('a message of too many fragments closes with 1009, in TLS too', options, async () => {
	const app = await openSocket(node, { token: alice, ca });
	const piece = 'x'.repeat(8192);
	for (let i = 0; i < 9; i++) app.ws.send(piece, { fin: false }, () => {});
	assert.equal((await app.closed).code, 1009);
});

// RFC 6455 §5.1. The key is the standard's example.
test('a frame without a mask closes with 1002: it is no message', options, async () => {
	const socket = connectTls({ port: new URL(node.url).port, host: '127.0.0.1', ca });
	const head = `GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: keyfob.v1\r\nAuthorization: Bearer ${alice}\r\n\r\n`;
	const call = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"vehicle.list","params":{}}');
	socket.write(Buffer.concat([Buffer.from(head), Buffer.from([0x81, call.length]), call]));
	const pieces = [];
	for await (const piece of socket) pieces.push(piece);
	const [answer, ...frames] = Buffer.concat(pieces).toString('latin1').split('\r\n\r\n');
	assert.match(answer, /^HTTP\/1\.1 101 /);
	const bytes = Buffer.from(frames.join(''), 'latin1');
	assert.equal(bytes[0], 0x88, bytes.toString('hex'));
	assert.equal(bytes.readUInt16BE(2), 1002);
});

test('a request that two readers could read differently is refused: first, second, hundredth', options, async () => {
	const good = `GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${alice}\r\n\r\n`;
	const bad = 'POST /v1/me HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
	for (const before of [0, 1, 99]) {
		const client = await dial();
		client.socket.write(good.repeat(before) + bad + good);
		await client.closed;
		const statuses = [...client.all().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
		assert.deepEqual(statuses, [...Array(before).fill('200'), '400']);
	}
});

// ---- patience

test('who does not come to the point in ten seconds is closed, plain or in TLS, silent or drop by drop', options, async () => {
	const begun = Date.now();
	const plainly = async () => {
		const socket = connectPlain(plain.port, '127.0.0.1').on('error', () => {}).resume();
		return { socket, closed: new Promise((closed) => socket.on('close', closed)) };
	};
	const silent = connectPlain(node.port, '127.0.0.1').on('error', () => {}).resume(); // no handshake either
	const drips = [
		['', ''],
		['GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n', 'X-A: b\r\n'],
		['GET /v1/me HTTP/1.1\r\nHost: h\r\n', 'X-A: b\r\n'],
		[`POST /v1/vehicles/${ids[0]}/commands HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n`, '{'],
	];
	const drip = async (client, [head, drop]) => {
		client.socket.write(head);
		const timer = setInterval(() => client.socket.writable && client.socket.write(drop), 1000);
		await client.closed;
		clearInterval(timer);
		const took = Date.now() - begun;
		assert.ok(took > 8000 && took < 20_000, `${head}: ${took} ms`);
	};
	const clients = drips.flatMap((what) => [dial().then((client) => drip(client, what)), plainly().then((client) => drip(client, what))]);
	await Promise.all([...clients, new Promise((closed) => silent.on('close', closed))]);
});

// ---- SIGHUP

test('SIGHUP brings a new certificate and drops nobody; a bad file is refused', options, async () => {
	const before = await serialOf();
	const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca });
	const first = await ask('GET', '/v1/me', { agent });
	const app = await openSocket(node, { token: alice, ca });

	const renewed = authority.issue('node', 'renewed');
	install(renewed);
	node.signal('SIGHUP');
	await poll(serialOf, (serial) => serial !== before, { what: 'the new certificate' });
	const after = await serialOf();
	assert.ok((await app.call('vehicle.list', {})).items);
	const second = await ask('GET', '/v1/me', { agent });
	assert.equal(second.status, 200);
	assert.equal(second.socket, first.socket, 'the connection was kept');

	const refusals = () => node.child.logText().split('the old one stays').length;
	const none = refusals();
	for (const spoil of [() => writeFileSync(chain, 'nonsense'), () => install({ ...renewed, key: stranger.issue('other').key })]) {
		const told = refusals();
		spoil();
		node.signal('SIGHUP');
		await poll(async () => refusals(), (count) => count > told, { what: 'a line that refuses it' });
		assert.equal(await serialOf(), after);
	}
	assert.ok(refusals() > none);
	assert.ok((await app.call('vehicle.list', {})).items);
	install(renewed);
	agent.destroy();
});

// What is reloaded is reloaded by itself: the files that one SIGHUP finds spoiled, and what it must bring all the same.
const logged = () => node.child.logText();

async function reload(change, told) {
	const at = logged().length;
	change(config);
	writeFileSync(node.file, JSON.stringify(config, null, 1));
	node.signal('SIGHUP');
	for (const line of told) await poll(() => logged().slice(at), (log) => log.includes(line), { what: `"${line}" in the log` });
}

const config = JSON.parse(readFileSync(node.file, 'utf8'));
const titleOf = async () => (await ask('GET', '/v1/catalog')).body.commands['doors.unlock'].title;
const isDebugging = async () => {
	const at = logged().length;
	await ask('GET', '/v1/me');
	return logged().slice(at).includes('level=debug');
};

test('SIGHUP: a bad file stays alone', options, async () => {
	const good = { ...authority.issue('node', 'alone') };
	const catalog = readFileSync(config.commands.catalog, 'utf8');
	const own = (name, text) => (writeFileSync(join(folder, name), text), join(folder, name));
	const serial = await serialOf();

	await reload((c) => {
		c.http.tls.certificate = own('bad.pem', 'nonsense');
		c.log = { ...c.log, level: 'debug' };
		c.wake = { ...c.wake, enabled: false };
		c.commands.catalog = own('other.yaml', catalog.replace('Unlock the doors', 'Open up'));
	}, ['the certificate is refused', 'waking vehicles by SMS is switched']);
	assert.equal(await serialOf(), serial);
	await poll(titleOf, (title) => title === 'Open up', { what: 'the new catalogue' });
	assert.ok(await isDebugging());

	await reload((c) => {
		c.http.tls.certificate = join(folder, 'none.pem');
		c.log.level = 'info';
		c.wake.enabled = true;
	}, ['the certificate is refused', 'waking vehicles by SMS is switched']);
	assert.equal(await serialOf(), serial);
	assert.ok(!(await isDebugging()));

	const keys = readFileSync(config.auth.issuers[0].jwks_file, 'utf8');
	install(good);
	await reload((c) => {
		c.http.tls.certificate = chain;
		c.commands.catalog = own('bad.yaml', 'commands: 7');
		writeFileSync(c.auth.issuers[0].jwks_file, '{}');
	}, ['the catalogue is refused', 'keys refused']);
	await poll(serialOf, (now) => now !== serial, { what: 'the new certificate' });
	assert.equal(await titleOf(), 'Open up');
	assert.equal((await ask('GET', '/v1/me')).status, 200, 'the old keys count');

	await reload((c) => {
		writeFileSync(c.auth.issuers[0].jwks_file, keys);
		c.log.level = 'loud';
		c.commands.catalog = own('better.yaml', catalog.replace('Unlock the doors', 'Unlock it'));
		c.http.tls.certificate = join(folder, 'none.pem');
	}, ['the configuration is refused']);
	assert.equal(await titleOf(), 'Open up', 'what the configuration says counts only when it can be read');
	await reload((c) => {
		c.log.level = 'info';
		c.http.tls.certificate = chain;
	}, ['reloading']);
	await poll(titleOf, (title) => title === 'Unlock it', { what: 'the catalogue that was named since' });
});

const check = (changed, ...flags) => {
	const file = join(folder, 'check.yaml');
	writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(node.file)), ...changed }, null, 1));
	return run(`${build}/bin/keyfobd`, ['--config', file, ...flags]);
};
const checkOnly = (changed) => check(changed, '--check-config');

test('keys that cannot be used are no configuration', options, async () => {
	const [issuer] = config.auth.issuers;
	const jwks = join(folder, 'useless.json');
	const auth = { issuers: [{ ...issuer, jwks_file: jwks }] };
	for (const [text, why] of [['{}', 'it is no JWK set'], ['{"keys":[]}', 'it has no key for'], ['nonsense', 'it is no JWK set']]) {
		writeFileSync(jwks, text);
		const refused = new RegExp(`ended with 78:\\n.*check\\.yaml:\\d+: auth\\.issuers\\[0\\]\\.jwks_file: names .*useless\\.json, which cannot be used: ${why}`, 's');
		await assert.rejects(checkOnly({ auth }), refused);
		await assert.rejects(check({ auth }), refused);
	}
});

test('--check-config tries the certificate', options, async () => {
	await checkOnly({});
	const other = stranger.issue('wrong');
	await assert.rejects(checkOnly({ http: { tls: { certificate: chain, key: other.key } } }), /ended with 78:\n.*http\.tls: cannot be used: .*wrong\.key/s);
	await assert.rejects(checkOnly({ mqtt: { ...secure.mqtt, tls: { ca: key } } }), /ended with 78:\n.*mqtt\.tls\.ca/s);
});

// ---- the neighbours

test("another's certificate does not make a vehicle, and that it was tried is told", options, async () => {
	const owners = await openSocket(node, { token: alice, ca });
	await owners.call('vehicle.subscribe', { vehicle_id: ids[3] });
	const stolen = authority.issue(ids[4]).options;
	const lie = () => {
		const liar = vehicle(broker, { id: ids[3], tls: stolen });
		liar.connect().catch(() => {});
		return liar;
	};
	const liars = [lie()];
	await poll(async () => broker.child.logText(), (text) => text.includes(ids[3]), { what: 'the broker saw it' });
	const { body } = await ask('GET', `/v1/vehicles/${ids[3]}`);
	assert.equal(body.connectivity.state, 'disconnected');

	// it tries again and again, which is told: to the owner of whom it wants to be, in the log, in the metrics
	liars.push(lie(), lie(), lie());
	const { data } = await owners.until(({ type }) => type === 'security.alert', { ms: 30_000 });
	assert.deepEqual(data, { kind: 'refused_connects', count: 3, window_seconds: 300 });
	await Promise.all(liars.map((liar) => liar.disconnect({ force: true })));
	const logs = [plain, node].map(({ child }) => child.logText()).join('\n');
	assert.match(logs, new RegExp(`area=security message="a connect was refused" vehicle_id=${ids[3]} principal=${ids[4]} address=127.0.0.1`));
	assert.equal(logs.match(/kind=refused_connects/g).length, 1);
	const counted = await Promise.all([plain, node].map((each) => each.metrics()));
	assert.ok(counted.some((text) => Number(/^keyfob_connects_refused_total (\d+)/m.exec(text)[1]) >= 3));
	owners.close();
});

test('the certificate of a blocked vehicle is good for nothing', options, async () => {
	const car = await connectVehicle(broker, { id: ids[5], tls: authority.issue(ids[5]).options });
	const { body } = await ask('GET', `/v1/vehicles/${ids[5]}`);
	assert.equal(body.vehicle_id, ids[5]);
	const closed = untilClosed(car.client);
	const blocked = await ask('PUT', `/v1/vehicles/${ids[5]}/block`, { headers: { Authorization: `Bearer ${admin}` } });
	assert.equal(blocked.status, 200);
	await closed;
	// it comes again by itself every 200 ms, and is refused
	await poll(async () => broker.child.logText(), (text) => text.includes(`refused client id "${ids[5]}" to "${ids[5]}"`), { what: 'the broker refuses it' });
	await poll(() => ask('GET', `/v1/vehicles/${ids[5]}`), (answer) => answer.body.connectivity.state === 'disconnected', { what: 'it is away' });
	await car.disconnect({ force: true });
});

// What is under a neighbour's address and is not the neighbour gets neither name nor password.
const impostor = authority.issue('elsewhere', 'elsewhere', 'DNS:elsewhere.example').options;
const postgresCa = process.env.KEYFOB_TEST_POSTGRES_CA;
const strangers = {
	'a broker of a foreign authority': { broker: { url: broker.secureUrl, tls: { ca: stranger.certificate } }, reason: /area=mqtt.*certificate verify failed/ },
	'a broker of another name': { broker: { tls: { ca: authority.certificate } }, reason: /area=mqtt.*host name verification failed/ },
	'a database of a foreign authority': { database: secureDatabase(stranger.certificate), reason: /area=sql.*certificate verify failed/ },
	'a database of another name': {
		database: `${secureDatabase(postgresCa).replace('localhost', 'elsewhere.example')}&hostaddr=127.0.0.1`,
		reason: /area=sql.*does not match host name \\"elsewhere.example/,
	},
};
for (const [what, { broker: mqtt, database: url, reason }] of Object.entries(strangers))
	test(`${what} is not believed`, options, async (t) => {
		const heard = [];
		const server = createTlsServer({ key: impostor.key, cert: impostor.cert }, (socket) => socket.on('data', (data) => heard.push(data)).on('error', () => {}));
		await once(server.on('tlsClientError', () => {}).listen(0, '127.0.0.1'), 'listening');
		t.after(() => server.close());
		const config = url ? { database: { url } } : { mqtt: { url: `mqtts://127.0.0.1:${server.address().port}`, ...mqtt } };
		const wary = await startNode({ broker, database, isReady: false, config });
		await poll(async () => wary.child.logText(), (text) => reason.test(text), { what: 'the refusal in the log' });
		const answer = await fetch(`${wary.adminUrl}/readyz`);
		assert.deepEqual([answer.status, (await answer.json())[url ? 'database' : 'broker']], [503, 'unavailable']);
		assert.deepEqual(heard, []);
		await wary.kill();
	});

// ---- the command line, and the end

test('keyfob trusts what SSL_CERT_FILE names', options, async () => {
	const env = { KEYFOB_URL: node.url, KEYFOB_TOKEN: alice };
	const list = (more) => run(`${build}/bin/keyfob`, ['vehicles', '-o', 'json'], { env: { ...env, ...more } });
	assert.match(await list({ SSL_CERT_FILE: authority.certificate }), new RegExp(ids[0]));
	await assert.rejects(list({ SSL_CERT_FILE: stranger.certificate }), /certificate/);
	mkdirSync(join(folder, 'project/.keyfob/run'), { recursive: true });
	writeFileSync(join(folder, 'project/.keyfob/run/env'), `KEYFOB_URL=${node.url}\nKEYFOB_TOKEN=${alice}\nSSL_CERT_FILE=${authority.certificate}\n`);
	const found = await run('env', ['-C', join(folder, 'project'), `${build}/bin/keyfob`, 'vehicles', '-o', 'json'], {
		env: { KEYFOB_URL: '', KEYFOB_TOKEN: '' },
	});
	assert.match(found, new RegExp(ids[0]));
});

test('a node that is asked to end says 1012, answers who waits, and is gone in time', options, async () => {
	const other = await startNode({ broker, database, config: { http: secure.http } });
	const app = await openSocket(other, { token: alice, ca });
	const waits = ask('POST', `/v1/vehicles/${ids[5]}/commands`, { body: { name: 'doors.unlock' }, headers: { Prefer: 'wait=30' }, to: other });
	await poll(() => ask('GET', `/v1/vehicles/${ids[5]}/commands`), ({ body }) => body.items.length === 1, { what: 'the command is accepted' });
	const stopped = other.stop();
	assert.equal((await app.closed).code, 1012);
	assert.equal((await waits).status, 202);
	assert.equal((await stopped).code, 0);
});

// Its key becomes a pipe where nobody writes, so the thread that connects is held amid OpenSSL.
test('a node does not wait at its end for who still connects to the broker', options, async () => {
	const refuses = createServer((socket) => socket.on('error', () => {}).destroy()).listen(0, '127.0.0.1').unref();
	await once(refuses, 'listening');
	const pipe = join(folder, 'key.pipe');
	copyFileSync(gateway.key, pipe);
	const mqtt = { url: `mqtts://127.0.0.1:${refuses.address().port}`, tls: { ...secure.mqtt.tls, key: pipe } };
	const other = await startNode({ broker, database, isReady: false, config: { mqtt } });
	await poll(async () => other.child.logText(), (text) => text.includes('message="link is down"'), { what: 'it tries to connect' });
	await run('mkfifo', [`${pipe}.new`]);
	const held = openSync(`${pipe}.new`, 'r+');
	renameSync(`${pipe}.new`, pipe);
	await poll(() => opened(other.child.pid), (files) => files.includes(pipe), { what: 'it reads the key' });
	assert.equal((await other.stop()).code, 0);
	closeSync(held);
});

const opened = async (pid) =>
	readdirSync(`/proc/${pid}/fd`).map((fd) => {
		try {
			return readlinkSync(`/proc/${pid}/fd/${fd}`);
		} catch {
			return ''; // closed meanwhile
		}
	});
