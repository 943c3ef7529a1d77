// edges.test.mjs - what strangers send and expect at the edges of the contract: odd paths, odd headers.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { adminToken, grant, openSocket, openStream, registerVehicle, rest, sendCommand, startInstallation, token, vehicleIds } from './harness.mjs';

const ids = vehicleIds(20);
const { node } = await startInstallation({ ids });
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
const options = { timeout: 60_000 };
let used = 0;

const path = (id, rest = '') => `/v1/vehicles/${id}${rest}`;

async function ownVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id);
	await grant(node, admin, id, 'alice', 'owner');
	return id;
}

function assertProblem(answer, status, name) {
	assert.equal(answer.status, status, JSON.stringify(answer.body));
	assert.equal(answer.body.type, `urn:keyfob:problem:${name}`);
	assert.match(answer.body.detail, /./);
}

test('an id that is no text is an id that nobody has', options, async () => {
	const id = await ownVehicle();
	for (const bad of ['a%00b', '%ff', '%zz', '%', 'a%2Fb', '%2B', '%23', '+', '$SYS', 'a'.repeat(65)]) {
		assertProblem(await rest(node, 'GET', path(bad), { token: admin }), 404, 'vehicle-not-found');
		assertProblem(await rest(node, 'PUT', path(bad), { token: admin, body: {} }), 422, 'invalid-vehicle');
		assertProblem(await rest(node, 'GET', path(id, `/commands/${bad}`), { token: admin }), 404, 'command-not-found');
		assertProblem(await rest(node, 'PUT', path(id, '/grants/%00'), { token: admin, body: { role: 'viewer' } }), 422, 'invalid-params');
	}
	assertProblem(await rest(node, 'GET', '/v1/vehicles//commands', { token: admin }), 404, 'not-found');
	const app = await openSocket(node, { token: admin });
	for (const vehicle_id of ['', 'a/b', '+', '#', '$SYS', 'a\r\nb', 'a'.repeat(65)]) {
		const calls = [['vehicle.subscribe', {}], ['vehicle.get', {}], ['command.send', { name: 'doors.lock' }], ['command.get', { id }]];
		for (const [method, params] of calls)
			await assert.rejects(app.call(method, { vehicle_id, ...params }), ({ code, data }) => code === -32602 || data.type.endsWith(':vehicle-not-found'), `${method} ${vehicle_id}`);
	}
});

test('between the scheme and the token there may be several spaces', options, async () => {
	for (const scheme of ['Bearer ', 'bearer   ']) {
		const answer = await rest(node, 'GET', '/v1/me', { headers: { Authorization: scheme + alice } });
		assert.equal(answer.status, 200);
	}
	assertProblem(await rest(node, 'GET', '/v1/me', { headers: { Authorization: 'Bearer    ' } }), 401, 'unauthenticated');
});

test('who shows no token is told of no error in it', options, async () => {
	const challenge = async (headers) => (await rest(node, 'GET', '/v1/me', { headers })).headers.get('www-authenticate');
	assert.equal(await challenge({}), 'Bearer realm="keyfob"');
	assert.equal(await challenge({ Authorization: 'Bearer nonsense' }), 'Bearer realm="keyfob", error="invalid_token"');
});

test('a token that lacks a scope is told which', options, async () => {
	const id = await ownVehicle();
	const [reader, writer] = [await token({ sub: 'alice', scope: 'vehicles:read' }), await token({ sub: 'alice', scope: 'commands:write' })];
	for (const [who, scope, ...asked] of [
		[reader, 'commands:write', 'POST', path(id, '/commands'), { body: { name: 'horn.honk' } }],
		[writer, 'vehicles:read', 'GET', path(id)],
		[writer, 'vehicles:read', 'GET', path(id, '/events'), { headers: { Accept: 'text/event-stream' } }],
		[writer, 'keyfob:admin', 'GET', '/v1/nodes'],
	]) {
		const [method, target, more] = asked;
		const answer = await rest(node, method, target, { token: who, ...more });
		assertProblem(answer, 403, 'forbidden');
		assert.equal(answer.headers.get('www-authenticate'), `Bearer realm="keyfob", error="insufficient_scope", scope="${scope}"`);
	}
	await grant(node, admin, id, 'vera', 'viewer');
	const role = await sendCommand(node, await token({ sub: 'vera' }), id, { name: 'horn.honk' });
	assertProblem(role, 403, 'forbidden');
	assert.equal(role.headers.get('www-authenticate'), null);
});

test('a query may be written as forms write it', options, async () => {
	const id = await ownVehicle();
	await registerVehicle(node, admin, id, { display_name: 'Van +7', tags: ['a b'] });
	const filter = `name:"Van +7" AND tag:"a b"`;
	for (const query of [`filter=${encodeURIComponent(filter)}`, new URLSearchParams({ filter }).toString()]) {
		const { status, body } = await rest(node, 'GET', `/v1/vehicles?${query}`, { token: admin });
		assert.equal(status, 200, JSON.stringify(body));
		assert.deepEqual(body.items.map(({ vehicle_id }) => vehicle_id), [id], query);
	}
	// The page after a subject with a space, by the cursor as such a client writes it.
	for (const subject of ['a b', 'a b c', 'a+b']) await grant(node, admin, id, encodeURIComponent(subject), 'viewer');
	const seen = [];
	for (let cursor = ''; cursor !== null; ) {
		const query = new URLSearchParams({ limit: '1', ...(cursor && { cursor }) });
		const { body } = await rest(node, 'GET', path(id, `/grants?${query}`), { token: admin });
		seen.push(...body.items.map(({ subject }) => subject));
		cursor = body.next_cursor;
	}
	assert.deepEqual(seen, ['a b', 'a b c', 'a+b', 'alice']);
});

test('an event stream is asked for in whatever case, among other types, in several fields', options, async () => {
	const id = await ownVehicle();
	for (const accept of [['Text/Event-Stream'], ['application/json;q=0.5, text/event-stream; charset=utf-8'], ['*/*', 'text/event-stream']]) {
		const fields = accept.map((value) => `Accept: ${value}\r\n`).join('');
		const answer = await sayUntil(/event: snapshot/, `GET ${path(id, '/events')} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${alice}\r\n${fields}\r\n`);
		assert.match(answer, /content-type: text\/event-stream/, fields);
	}
	const list = await rest(node, 'GET', path(id, '/events'), { token: alice, headers: { Accept: 'text/event-streams' } });
	assert.ok(Array.isArray(list.body.items));
});

test('one number written in two ways is one request to an idempotency key', options, async () => {
	const id = await ownVehicle();
	const headers = { 'Idempotency-Key': 'numbers', 'Content-Type': 'application/json' };
	const ids = new Set();
	for (const [temperature, minutes] of [['21', '5'], ['21.0', '5.0'], ['2.1e1', '5']]) {
		const raw = `{"name":"climate.start","params":{"temperature":${temperature},"minutes":${minutes}}}`;
		const answer = await rest(node, 'POST', path(id, '/commands'), { token: alice, raw, headers });
		assert.equal(answer.status, 202, JSON.stringify(answer.body));
		ids.add(answer.body.id);
	}
	assert.equal(ids.size, 1);
	const other = { name: 'climate.start', params: { temperature: 21.5, minutes: 5 } };
	assertProblem(await sendCommand(node, alice, id, other, headers), 422, 'idempotency-key-reused');
});

test('a whole number is one however it is written', options, async () => {
	const id = await ownVehicle();
	const post = (raw) => rest(node, 'POST', path(id, '/commands'), { token: alice, raw, headers: { 'Content-Type': 'application/json' } });
	const { status, body } = await post('{"name":"horn.honk","ttl_seconds":6e1,"timeout_seconds":30.0}');
	assert.equal(status, 202, JSON.stringify(body));
	assert.equal(body.timeout_seconds, 30);
	assert.equal(Date.parse(body.expires_at) - Date.parse(body.created_at), 60_000);
	assertProblem(await post('{"name":"horn.honk","ttl_seconds":1.5}'), 422, 'invalid-params');
	assertProblem(await post('{"name":"horn.honk","ttl_seconds":1e300}'), 422, 'invalid-params');
});

test('what is refused in a query or a body is named', options, async () => {
	const id = await ownVehicle();
	const detail = async (...asked) => (await rest(node, ...asked)).body.detail;
	for (const query of ['limit=0', 'colour=red', 'limit=1&limit=2', 'cursor=%ff'])
		assert.match(await detail('GET', path(id, `/commands?${query}`), { token: alice }), new RegExp(`^${query.split('=')[0]} is not known here, stands twice, or has an impossible value$`));
	for (const field of ['colour', 'idempotency_key', 'vehicle_id'])
		assert.equal(await detail('POST', path(id, '/commands'), { token: alice, body: { name: 'horn.honk', [field]: 'x' } }), `${field} is not known here`);
});

test('a body that is compressed is refused as such', options, async () => {
	const id = await ownVehicle();
	const headers = { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' };
	assertProblem(await rest(node, 'POST', path(id, '/commands'), { token: alice, raw: gzipSync('{"name":"horn.honk"}'), headers }), 415, 'unsupported-media-type');
	const notice = await rest(node, 'PUT', path(id, '/notices/recall'), { token: alice, raw: gzipSync('recall'), headers });
	assertProblem(notice, 415, 'unsupported-media-type');
	assert.equal(notice.headers.get('accept-encoding'), 'identity');
	const patch = await rest(node, 'PATCH', path(id, '/state'), { token: alice, raw: '{}', headers: { 'Content-Type': 'application/json-patch+json' } });
	assertProblem(patch, 415, 'unsupported-media-type');
	assert.equal(patch.headers.get('accept-patch'), 'application/merge-patch+json, application/json');
});

test('a Last-Event-ID that is none of ours resumes nothing', options, async () => {
	const id = await ownVehicle();
	await sendCommand(node, alice, id, { name: 'horn.honk' });
	const { epoch } = (await rest(node, 'GET', path(id), { token: alice })).body;
	for (const lastEventId of ['garbage', ':', `${epoch}:`, `${epoch}:x`, `${epoch}:-1`, `${epoch}:1x`, `${epoch}:${'9'.repeat(40)}`]) {
		const stream = await openStream(node, path(id, '/events'), { token: alice, lastEventId });
		const snapshot = await stream.until(() => true);
		assert.equal(snapshot.event, 'snapshot');
		assert.equal(snapshot.data.recovered, false, lastEventId);
		stream.close();
	}
});

// What a client of bytes hears until the node ends the connection; it says all before it listens.
async function say(...pieces) {
	const socket = connect({ host: '127.0.0.1', port: node.port, allowHalfOpen: true });
	let heard = '';
	await once(socket, 'connect');
	socket.pause().setEncoding('latin1').on('data', (piece) => (heard += piece));
	for (const piece of pieces) if (!socket.write(piece)) await once(socket, 'drain');
	socket.resume();
	await once(socket, 'end');
	socket.end();
	return heard;
}

// The same, until what it hears matches.
async function sayUntil(pattern, text) {
	const socket = connect(node.port, '127.0.0.1');
	let heard = '';
	socket.setEncoding('latin1').write(text);
	for await (const piece of socket) if (pattern.test((heard += piece)) || /^HTTP.1\.1 [45]/.test(heard)) break;
	socket.destroy();
	return heard;
}

const firstLine = (answer) => answer.slice(0, answer.indexOf('\r\n'));
const post = (...fields) => [`POST ${path(ids[0], '/commands')} HTTP/1.1`, 'Host: h', `Authorization: Bearer ${alice}`, 'Content-Type: application/json', ...fields, '', ''].join('\r\n');

test('whoever sends more than may be sent, and listens only then, hears 413', options, async () => {
	const mebibyte = Buffer.alloc(1 << 20, '1');
	const chunk = Buffer.concat([Buffer.from('100000\r\n'), mebibyte, Buffer.from('\r\n')]);
	for (const [head, piece] of [[post(`Content-Length: ${10 << 20}`), mebibyte], [post('Transfer-Encoding: chunked'), chunk]]) {
		const answer = await say(head, ...Array(10).fill(piece));
		assert.match(firstLine(answer), /^HTTP.1\.1 413 /);
		assert.match(answer, /content-type: application\/problem\+json/);
		assert.match(answer, /urn:keyfob:problem:too-large/);
	}
});

test('a WebSocket that is opened wrongly is told what is wrong', options, async () => {
	const upgrade = (...fields) => ['GET /v1/ws HTTP/1.1', 'Host: h', 'Connection: close, Upgrade', ...fields, '', ''].join('\r\n');
	const rightly = ['Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Protocol: keyfob.v1'];
	const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
	for (const [fields, status, what] of [
		[[], 426, /\r\nupgrade: websocket\r\n/i],
		[rightly, 400, /Sec-WebSocket-Key must be/],
		[[...rightly, 'Sec-WebSocket-Key: short'], 400, /Sec-WebSocket-Key must be/],
		[['Upgrade: websocket', 'Sec-WebSocket-Protocol: keyfob.v1', key], 400, /Sec-WebSocket-Version is missing/],
		[['Upgrade: websocket', 'Sec-WebSocket-Version: 8', key], 426, /\r\nSec-WebSocket-Version: 13\r\n/],
		[['Upgrade: websocket', 'Sec-WebSocket-Version: 13', key], 400, /keyfob\.v1 must be offered/],
	]) {
		const answer = await say(upgrade(...fields));
		assert.equal(answer.split(' ')[1], String(status), `${fields}`);
		assert.match(answer, what);
		assert.match(answer, /application\/problem\+json/);
	}
});

test('a target may name its host', options, async () => {
	const answer = await say(`GET http://elsewhere.example/v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${alice}\r\nConnection: close\r\n\r\n`);
	assert.equal(firstLine(answer), 'HTTP/1.1 200 OK');
});

test('the admin listener refuses what is none, and goes on', options, async () => {
	const { hostname, port } = new URL(node.adminUrl);
	for (const head of ['GET /healthz HTTP/1.1\n\n', 'GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 'POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n']) {
		const socket = connect(Number(port), hostname);
		let said = '';
		socket.on('data', (bytes) => { said += bytes; });
		socket.write(head);
		await once(socket, 'close');
		assert.match(said, /^HTTP\/1\.1 400 /, head);
		assert.ok(await node.answers(), 'it goes on');
	}
});
