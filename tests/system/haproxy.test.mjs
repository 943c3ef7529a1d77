// haproxy.test.mjs - docs/operating/haproxy.cfg before two nodes: HTTP/2, event streams, WebSockets, and a node that goes.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { atEnd, Child, folder, freePort, run } from './children.mjs';
import { adminToken, connectVehicle, makeAuthority, openSocket, poll, registerVehicle, sendCommand, startInstallation, vehicleIds } from './harness.mjs';

const example = fileURLToPath(new URL('../../docs/operating/haproxy.cfg', import.meta.url));
const [id] = vehicleIds(1);
const admin = await adminToken();
const authority = makeAuthority('haproxy');
const { broker, database, nodes } = await startInstallation({
	nodes: 2,
	ids: [id],
	config: { http: { trusted_proxies: ['127.0.0.1'], per_address: 10000 } },
});
await registerVehicle(nodes[0], admin, id);
await connectVehicle(broker, { id });

// The example, with this test's ports and certificate in the place of its own.
async function startHaproxy() {
	const port = await freePort();
	const { certificate, key } = authority.issue('apps');
	const pem = join(folder, 'haproxy.pem');
	writeFileSync(pem, readFileSync(certificate) + readFileSync(key), { mode: 0o600 });
	let text = readFileSync(example, 'utf8').replace('maxconn 20000', 'maxconn 500').replace('bind :443', `bind 127.0.0.1:${port}`).replace('/etc/haproxy/keyfob.pem', pem);
	nodes.forEach((node, i) => {
		const admins = new URL(node.adminUrl).port;
		text = text.replaceAll(`10.0.0.${i + 1}:8080`, `127.0.0.1:${node.port}`).replace(`127.0.0.1:${node.port}`, `127.0.0.1:${node.port} port ${admins}`);
	});
	const file = join(folder, 'haproxy.cfg');
	writeFileSync(file, text);
	await run('haproxy', ['-c', '-f', file]);
	const child = new Child('haproxy', 'haproxy', ['-db', '-f', file]);
	child.isExpectedToEnd = true;
	atEnd(() => child.kill()); // its words for the end of a signal are its own
	const isUp = () =>
		new Promise((resolve) => {
			const socket = connectTls({ port, host: '127.0.0.1', ca: authority.ca, servername: 'localhost' }, () => resolve(true) || socket.destroy());
			socket.on('error', () => resolve(false));
		});
	await child.untilUp(isUp);
	return { url: `https://127.0.0.1:${port}`, socketUrl: `wss://127.0.0.1:${port}/v1/ws` };
}

const front = await startHaproxy();
const [session, elsewhere] = ['127.0.0.1', '127.0.0.9'].map((localAddress) => connectHttp2(front.url, { ca: authority.ca, localAddress }));
atEnd(() => [session, elsewhere].map((one) => one.destroy()));

// By HTTP/2: { status, headers, text, close() }, which fill as the answer comes; `ended` when it has.
function begin(method, path, { body, headers = {}, by = session } = {}) {
	const request = by.request({ ':method': method, ':path': path, authorization: `Bearer ${admin}`, ...headers });
	const answer = { status: 0, text: '', close: () => request.close() };
	request.setEncoding('utf8');
	request.on('response', (head) => Object.assign(answer, { status: head[':status'], headers: head }));
	request.on('data', (chunk) => (answer.text += chunk));
	answer.ended = new Promise((resolve) => {
		request.on('close', () => resolve(answer));
		request.on('error', () => resolve(answer));
	});
	request.end(body && JSON.stringify(body));
	return answer;
}

function ask(method, path, more) {
	return begin(method, path, more).ended;
}

test('apps speak HTTP/2 with it: a command, and a stream that tells of it', async () => {
	const stream = begin('GET', `/v1/vehicles/${id}/events`, { headers: { accept: 'text/event-stream' } });
	await poll(() => stream.text, (text) => /^event: snapshot\n[^]*\n\n/m.test(text), { ms: 20_000 });
	assert.equal(session.alpnProtocol, 'h2');
	const headers = { 'content-type': 'application/json', prefer: 'wait=30' };
	const sent = await ask('POST', `/v1/vehicles/${id}/commands`, { body: { name: 'horn.honk' }, headers });
	assert.equal(sent.status, 200);
	assert.equal(JSON.parse(sent.text).status, 'succeeded');
	assert.match(sent.headers['strict-transport-security'], /max-age/);
	await poll(() => stream.text, (text) => /"status" ?: ?"succeeded"/.test(text), { ms: 20_000 });
	assert.equal(stream.status, 200);
	stream.close();
});

test('a WebSocket goes through, and Origin is compared with what the browser asked for', async () => {
	const socket = await openSocket(front, { token: admin, ca: authority.ca, origin: front.url });
	await socket.call('vehicle.subscribe', { vehicle_id: id });
	const command = await socket.call('command.send', { vehicle_id: id, name: 'horn.honk' });
	await socket.until(({ data }) => data.id === command.id && data.status === 'succeeded');
	await assert.rejects(openSocket(front, { token: admin, ca: authority.ca, origin: 'https://elsewhere.example' }), { status: 403 });
});

test('the nodes see who stands behind it, whatever that says of itself', async () => {
	const headers = { 'content-type': 'application/json', 'x-forwarded-for': '192.0.2.77' };
	const changed = await ask('PUT', `/v1/vehicles/${id}`, { by: elsewhere, headers, body: { display_name: 'From elsewhere' } });
	assert.equal(changed.status, 200, changed.text);
	const seen = (await database.sql('select distinct address from actors')).split('\n');
	assert.ok(seen.includes('127.0.0.9') && !seen.includes('192.0.2.77'), seen.join());
});

test('a node that goes takes nobody with it; without the database the nodes say so themselves', async () => {
	const beside = await openSocket(nodes[0], { token: admin });
	assert.equal((await nodes[0].stop()).code, 0);
	assert.equal((await beside.closed).code, 1012);
	assert.equal((await ask('GET', '/v1/me')).status, 200);
	await database.halt();
	const refused = await poll(() => ask('GET', `/v1/vehicles/${id}`), ({ status }) => status !== 200);
	assert.equal(refused.status, 503);
	assert.match(refused.headers['content-type'], /problem\+json/);
	assert.ok(refused.headers['retry-after']);
	await database.resume();
	assert.equal((await poll(() => sendCommand(nodes[1], admin, id, { name: 'horn.honk' }), ({ status }) => status === 202, { ms: 20_000 })).status, 202);
});
