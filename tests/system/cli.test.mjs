// cli.test.mjs - `keyfob` against a scripted node: what it asks, what it prints, and how it takes being let down.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { makeAuthority } from './certificates.mjs';
import { build, noteComplaint } from './children.mjs';
import { Torture } from './torture.mjs';

const program = join(build, 'bin/keyfob');
const torture = new Torture();
const scratch = mkdtempSync(join(tmpdir(), 'keyfob-cli-'));
const nodes = [];
after(() => {
	for (const server of nodes) {
		server.close();
		server.closeAllConnections();
	}
	torture.close();
	rmSync(scratch, { recursive: true });
});

// A node whose every answer is `answer(request, response, n)`; n counts from 0, the body is read.
async function scriptedNode(answer) {
	const requests = [];
	const server = createServer(async (request, response) => {
		let body = '';
		for await (const chunk of request) body += chunk;
		request.json = body ? JSON.parse(body) : null;
		requests.push(request);
		answer(request, response, requests.length - 1);
	});
	nodes.push(server);
	await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
	return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

function json(response, status, body) {
	const type = status < 400 ? 'application/json' : 'application/problem+json';
	response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
}

function keyfob(node, args, { env = {}, cwd = scratch } = {}) {
	const target = node ? { KEYFOB_URL: node.url, KEYFOB_TOKEN: 'secret' } : {};
	const { KEYFOB_URL, KEYFOB_TOKEN, ...inherited } = process.env;
	const child = spawn(program, args, { cwd, env: { ...inherited, TZ: 'UTC', ...target, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
	let out = '';
	let err = '';
	child.stdout.on('data', (chunk) => (out += chunk));
	child.stderr.on('data', (chunk) => (err += chunk));
	child.on('close', () => noteComplaint(err));
	return new Promise((done) => child.on('close', (code) => done({ code, out, err })));
}

const id = '0192f3c8-0000-7000-8000-000000000001';
const at = (ms) => new Date(Date.UTC(2026, 0, 31, 8, 9, 10) + ms).toISOString();
const command = (status, more = {}) => ({
	id, vehicle_id: 'CAR1', name: 'doors.unlock', params: { door: 'all' }, status, reason: null, result: null, late: false,
	may_have_executed: false, issued_by: 'alice', attempts: 1, created_at: at(0), expires_at: at(60000), updated_at: at(0),
	finished_at: null, ...more,
});

test('send --wait repeats a lost request with its key, follows the command and prints its timeline', async () => {
	const states = ['accepted', 'waiting', 'sent', 'succeeded'];
	const timeline = [
		{ time: at(0), step: 'accepted', detail: {} },
		{ time: at(1), step: 'claimed', detail: { worker: 'n1/0', attempt: 1 } },
		{ time: at(84), step: 'answer', detail: { status: 'succeeded' } },
	];
	const node = await scriptedNode((request, response, n) => {
		if (n === 0) return request.socket.destroy();
		const status = states[Math.min(n - 1, 3)];
		const settled = status === 'succeeded' ? { finished_at: at(84) } : {};
		json(response, n === 1 ? 202 : 200, command(status, n === 1 ? {} : { ...settled, timeline }));
	});
	const { code, out } = await keyfob(node, ['send', 'CAR1', 'doors.unlock', 'door=all', '--wait']);
	assert.equal(code, 0);
	assert.match(out, /^doors\.unlock  succeeded after 84\.0 ms\n/);
	assert.match(out, /\n {3}0\.0 ms  accepted\n {3}1\.0 ms  claimed {3}worker=n1\/0 attempt=1\n {2}84\.0 ms  answer {4}status=succeeded\n$/);
	const [lost, post, ...gets] = node.requests;
	assert.equal(lost.headers['idempotency-key'], post.headers['idempotency-key']);
	assert.ok(post.headers['idempotency-key'].length > 20);
	assert.equal(post.headers.prefer, 'wait=60');
	assert.equal(post.headers.authorization, 'Bearer secret');
	assert.deepEqual(gets.map((g) => `${g.method} ${g.url}`), Array(3).fill(`GET /v1/vehicles/CAR1/commands/${id}`));
});

test('send puts what was typed into the request', async () => {
	const node = await scriptedNode((request, response) => json(response, 202, command('accepted')));
	const words = ['a=true', 'b=21.5', 'c=-3', 'd="0420"', 'e=007', 'f=x=y', 'g=', 'h=null', 'i=[1]'];
	const args = ['-o', 'json', 'send', 'A B/C', 'climate.start', '--ttl', '5m', '--timeout=20', '--no-wake', '--idempotency-key', 'k1', ...words];
	const { code, out } = await keyfob(node, args);
	assert.equal(code, 0);
	assert.equal(JSON.parse(out).status, 'accepted');
	const post = node.requests.at(-1);
	assert.equal(post.url, '/v1/vehicles/A%20B%2FC/commands');
	assert.equal(post.headers['idempotency-key'], 'k1');
	assert.equal(post.headers.prefer, undefined);
	assert.deepEqual(post.json, {
		name: 'climate.start', ttl_seconds: 300, timeout_seconds: 20, wake: false,
		params: { a: true, b: 21.5, c: -3, d: '0420', e: '007', f: 'x=y', g: '', h: 'null', i: '[1]' },
	});
});

test('send takes for a text what the catalogue calls one', async () => {
	const types = { pin: 'string', code: 'string', times: 'integer', on: 'boolean', quoted: 'string' };
	const properties = Object.fromEntries(Object.entries(types).map(([name, type]) => [name, { type }]));
	const catalog = { commands: { 'owner.pair': { params: { type: 'object', properties } } } };
	const node = await scriptedNode((request, response) => (request.method === 'GET' ? json(response, 200, catalog) : json(response, 202, command('accepted'))));
	const sent = async (...words) => {
		assert.equal((await keyfob(node, ['send', 'CAR1', ...words])).code, 0);
		return node.requests.at(-1).json.params;
	};
	assert.deepEqual(await sent('owner.pair', 'pin=0042', 'code=1e5', 'times=3', 'on=true', 'quoted="7"', 'other=8'), {
		pin: '0042', code: '1e5', times: 3, on: true, quoted: '7', other: 8,
	});
	assert.deepEqual(await sent('owner.pair', 'pin=true'), { pin: 'true' });
	assert.deepEqual(await sent('other.command', 'pin=7'), { pin: 7 });
	const asked = node.requests.filter(({ url }) => url === '/v1/catalog').length;
	assert.deepEqual(await sent('owner.pair', 'pin=abc', 'quoted="7"'), { pin: 'abc', quoted: '7' });
	assert.equal(node.requests.filter(({ url }) => url === '/v1/catalog').length, asked, 'who typed texts alone asks for nothing');
});

for (const [status, wanted] of [['failed', 1], ['rejected', 1], ['expired', 1], ['canceled', 1], ['timed_out', 3]])
	test(`send --wait exits with ${wanted} when the command is ${status}`, async () => {
		const reason = { code: 'DOOR_OPEN', description: 'the left door is open' };
		const node = await scriptedNode((request, response) => json(response, 200, command(status, { reason, timeline: [] })));
		const { code, out } = await keyfob(node, ['send', 'CAR1', 'doors.lock', '--wait']);
		assert.equal(code, wanted);
		assert.match(out, /DOOR_OPEN: the left door is open/);
	});

test('send --wait=1 gives up after a second with 3 and shows how things stand', async () => {
	const node = await scriptedNode((request, response) => json(response, 200, command('waiting')));
	const { code, out } = await keyfob(node, ['send', 'CAR1', 'doors.lock', '--wait=1']);
	assert.equal(code, 3);
	assert.match(out, /waiting/);
	assert.equal(node.requests[0].headers.prefer, 'wait=1');
});

// What a script sees when its node is lost: `answer` is as of scriptedNode; how long it took.
async function timed(node, args) {
	const begun = Date.now();
	const said = await keyfob(node, args);
	return { ...said, ms: Date.now() - begun };
}
const waits = (code, { err }, pattern) => (assert.equal(code, 3, err), assert.match(err, pattern));

test('--wait=1 is over in time when the node hangs, and a request that nobody answered may have been accepted', async () => {
	for (const args of [['send', 'CAR1', 'doors.lock'], ['fleet', 'send', 'F1', 'doors.lock']]) {
		const node = await scriptedNode(() => {});
		const said = await timed(node, [...args, '--wait=1', '-o', 'json']);
		waits(said.code, said, /may have been accepted/);
		assert.ok(said.ms < 5000, `${said.ms}`);
		assert.equal(said.out, '');
		assert.equal(node.requests.length, 1);
		assert.ok(said.err.includes(node.requests[0].headers['idempotency-key']), said.err);
	}
});

test('the catalogue takes nothing of --wait', async () => {
	const batch = { id, fleet_id: 'F1', name: 'doors.lock', state: 'running', total: 2, counts: { waiting: 2 } };
	for (const [to, made, over] of [['CAR1', command('waiting'), command('succeeded', { timeline: [] })], ['F1', batch, { ...batch, state: 'completed', counts: { succeeded: 2 } }]]) {
		const node = await scriptedNode((request, response) => {
			if (request.url === '/v1/catalog') setTimeout(() => json(response, 200, { commands: {} }), 1300);
			else json(response, request.method === 'POST' ? 202 : 200, request.method === 'POST' ? made : over);
		});
		const { code, err } = await keyfob(node, [...(to === 'F1' ? ['fleet'] : []), 'send', to, 'doors.lock', 'pin=7', '--wait=1']);
		assert.equal(code, 0, err);
		assert.deepEqual(node.requests.map(({ method, headers }) => `${method} ${headers.prefer ?? ''}`), ['GET ', to === 'F1' ? 'POST ' : 'POST wait=1', 'GET ']);
	}
});

test('--wait=1 is over in time when the catalogue hangs too', async () => {
	for (const args of [['send', 'CAR1', 'doors.lock'], ['fleet', 'send', 'F1', 'doors.lock']]) {
		const node = await scriptedNode(() => {});
		const said = await timed(node, [...args, 'pin=7', '--wait=1']);
		waits(said.code, said, /may have been accepted/);
		assert.ok(said.ms < 9000, `${said.ms}`);
		assert.deepEqual(node.requests.map(({ method, url }) => `${method} ${url === '/v1/catalog'}`), ['GET true', 'POST false']);
	}
});

test('--wait=1 is over in time when the node is away or busy, and then nothing was accepted', async () => {
	const away = await timed({ url: 'http://127.0.0.1:9' }, ['send', 'CAR1', 'doors.lock', '--wait=1']);
	assert.equal(away.code, 1);
	assert.ok(away.ms < 3000, `${away.ms}`);
	assert.doesNotMatch(away.err, /may have been accepted/);
	const busy = await scriptedNode((request, response) => response.writeHead(429, { 'retry-after': '1' }).end('{}'));
	assert.equal((await timed(busy, ['send', 'CAR1', 'doors.lock', '--wait=1'])).code, 1);
	assert.equal(busy.requests.length, 1, 'nothing is sent when the time is over');
});

test('send --wait asks the node to wait for what is left', async () => {
	const node = await scriptedNode((request, response, n) => {
		if (n === 0) response.writeHead(503, { 'retry-after': '2' }).end('{}');
		else json(response, 202, command('succeeded', { timeline: [] }));
	});
	assert.equal((await keyfob(node, ['send', 'CAR1', 'doors.lock', '--wait=3'])).code, 0);
	assert.deepEqual(node.requests.map(({ headers }) => headers.prefer), ['wait=3', 'wait=1']);
});

test('send --wait hears a node that waits as long as it was asked to', async () => {
	const node = await scriptedNode((request, response) => setTimeout(() => json(response, 202, command('waiting', { timeline: [] })), 1300));
	const { code, out, err } = await keyfob(node, ['send', 'CAR1', 'doors.lock', '--wait=1', '-o', 'json']);
	assert.equal(code, 3, err);
	assert.equal(JSON.parse(out).status, 'waiting');
	assert.equal(err, '');
});

test('send tells which answers leave it open whether the command was accepted', async () => {
	for (const [status, body, wanted] of [[500, { title: 'the node failed', may_have_executed: true }, 3], [500, { title: 'the node failed', may_have_executed: false }, 1], [500, {}, 3], [404, { title: 'no such vehicle' }, 1]]) {
		const node = await scriptedNode((request, response) => json(response, status, body));
		const { code, err } = await keyfob(node, ['send', 'CAR1', 'doors.lock', '--idempotency-key', 'k1']);
		assert.equal(code, wanted, `${status} ${JSON.stringify(body)}`);
		assert.equal(/may have been accepted.*--idempotency-key k1 /.test(err), wanted === 3, err);
	}
});

// The first answer accepts; `later` is what becomes of the others.
const losses = {
	'hangs': () => {},
	'is gone': (response, server) => (server.close(), server.closeAllConnections()),
	'takes the token no more': (response) => json(response, 401, { title: 'a valid bearer token is required' }),
};
for (const [loss, later] of Object.entries(losses))
	test(`an accepted command is shown when the node ${loss}`, async () => {
		for (const [args, accepted] of [[['send', 'CAR1', 'doors.lock'], command('waiting')], [['fleet', 'send', 'F1', 'doors.lock'], { id, fleet_id: 'F1', name: 'doors.lock', state: 'running', total: 2, counts: { waiting: 2 } }]]) {
			const node = await scriptedNode((request, response, n) => (n === 0 ? json(response, 202, accepted) : later(response, nodes.at(-1))));
			const said = await timed(node, [...args, '--wait=2', '-o', 'json']);
			waits(said.code, said, new RegExp(`how it ends is not known: .*${id}`));
			assert.ok(said.ms < 6000, `${said.ms}`);
			assert.deepEqual(JSON.parse(said.out), accepted);
		}
	});

test('state --wait=1 is over in time when the node hangs, and shows what it was', async () => {
	const state = { reported: { on: false }, desired: { on: true }, delta: { on: true } };
	const node = await scriptedNode((request, response) => request.method === 'PATCH' && json(response, 200, state));
	const { code, out, ms } = await timed(node, ['state', 'CAR1', 'on=true', '--wait=1', '-o', 'json']);
	assert.equal(code, 3);
	assert.deepEqual(JSON.parse(out), state);
	assert.ok(ms < 5000, `${ms}`);
});

test('state --wait tells a node that refuses from one that is lost', async () => {
	const state = { reported: { on: false }, desired: { on: true }, delta: { on: true } };
	for (const [status, title, wanted] of [[401, 'a valid bearer token is required', 1], [403, 'the token or the grant does not allow this', 1], [404, 'no such vehicle', 1], [500, 'the node failed', 3]]) {
		const node = await scriptedNode((request, response, n) => (n === 0 ? json(response, 200, state) : json(response, status, { title })));
		const { code, out, err } = await keyfob(node, ['state', 'CAR1', 'on=true', '--wait=3', '-o', 'json']);
		assert.equal(code, wanted, `${status}: ${err}`);
		assert.match(err, new RegExp(`^keyfob: ${title} \\[${status}\\]`));
		assert.deepEqual(JSON.parse(out), state);
		assert.deepEqual(node.requests.map(({ method }) => method), ['PATCH', 'GET']);
	}
	const never = await scriptedNode((request, response) => json(response, 404, { title: 'no such vehicle' }));
	assert.equal((await keyfob(never, ['state', 'CAR1', '--wait=3'])).code, 1);
});

test('a problem is one line', async () => {
	const problem = { type: 'urn:keyfob:problem:command-already-sent', title: 'it may have left', status: 409, detail: 'sent at \u001b[31mnoon', user_message: 'Too late.' };
	const node = await scriptedNode((request, response) => json(response, 409, problem));
	const { code, out, err } = await keyfob(node, ['cancel', 'CAR1', id]);
	assert.equal(code, 1);
	assert.equal(out, '');
	assert.equal(err, 'keyfob: it may have left: sent at ?[31mnoon (Too late.) [409]\n');
	assert.equal(node.requests[0].url, `/v1/vehicles/CAR1/commands/${id}/cancel`);

	const plain = await scriptedNode((request, response) => json(response, 404, { title: 'no such vehicle', status: 404, detail: 'no such vehicle' }));
	assert.equal((await keyfob(plain, ['cancel', 'CAR1', id])).err, 'keyfob: no such vehicle [404]\n'); // there was no more to say
});

test('a busy node is asked again when it says', async () => {
	const node = await scriptedNode((request, response, n) => {
		if (n > 0) return json(response, 200, { vehicle_id: 'CAR1', connectivity: { state: 'connected', since: at(0) } });
		response.writeHead(503, { 'retry-after': '1' }).end('{}');
	});
	const { code, out } = await keyfob(node, ['vehicle', 'CAR1']);
	assert.equal(code, 0);
	assert.match(out, /connected since 2026-01-31 08:09:10\.000/);
});

test('lists are read to their end, and nothing in them steers the terminal', async () => {
	const vehicle = (name) => ({ vehicle_id: name, display_name: 'a\u009b2Jb', connectivity: { state: 'disconnected', since: null } });
	const node = await scriptedNode((request, response) => {
		const second = request.url.includes('cursor=c%2F1');
		json(response, 200, { items: [vehicle(second ? 'CAR2' : 'CAR1')], next_cursor: second ? null : 'c/1' });
	});
	const { code, out } = await keyfob(node, ['vehicles']);
	assert.equal(code, 0);
	assert.deepEqual(out.split('\n').map((l) => l.split(/ {2,}/)), [
		['VEHICLE', 'CONNECTIVITY', 'SINCE', 'FLEET', 'NAME'],
		['CAR1', 'disconnected', '-', '-', 'a?2Jb'],
		['CAR2', 'disconnected', '-', '-', 'a?2Jb'],
		[''],
	]);
});

test('a list that was cut says so, and one that was not does not', async () => {
	const node = await scriptedNode((request, response) => json(response, 200, { items: [command('sent')], next_cursor: request.url.includes('/CAR1/') ? 'c1' : null }));
	const cut = await keyfob(node, ['commands', 'CAR1', '--limit', '1']);
	assert.equal(cut.code, 0);
	assert.equal(cut.err, 'keyfob: there are more: --limit N shows more than 1\n');
	assert.equal((await keyfob(node, ['commands', 'CAR2', '--limit', '1'])).err, '');
	const whole = await keyfob(node, ['commands', 'CAR1', '--limit', '1', '-o', 'json']);
	assert.equal(whole.err, '');
	assert.equal(JSON.parse(whole.out).next_cursor, 'c1');
});

test('state says when there is nothing of it', async () => {
	const node = await scriptedNode((request, response) => json(response, 200, { vehicle_id: 'CAR1', state: { reported: {}, desired: {}, delta: {} } }));
	const { code, out } = await keyfob(node, ['state', 'CAR1']);
	assert.equal(code, 0);
	assert.equal(out, 'nothing is reported, and nothing desired\n');
});

test('a token that is refused, and a certificate: where to look', async () => {
	const node = await scriptedNode((request, response) => json(response, 401, { title: 'a valid bearer token is required', status: 401 }));
	const refused = await keyfob(node, ['vehicles']);
	assert.equal(refused.code, 1);
	assert.equal(refused.err, 'keyfob: a valid bearer token is required [401]; the token is KEYFOB_TOKEN, or else from .keyfob/run/env\n');
	const { certificate, key } = makeAuthority('cli').issue('node');
	const server = createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => response.end('{}'));
	nodes.push(server);
	await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
	const tls = { url: `https://127.0.0.1:${server.address().port}` };
	for (const words of [['vehicles'], ['watch', 'CAR1']]) {
		const { code, err } = await keyfob(tls, words, { env: { SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt' } });
		assert.equal(code, 1);
		assert.match(err, /SSL_CERT_FILE names the authorities to trust/);
	}
});

const event = (vehicle, seq) => ({ vehicle_id: vehicle, seq, type: 'command.updated', time: at(seq), data: command('sent') });
const frame = (type, seq, data) => `event: ${type}\nid: e1:${seq}\ndata: ${JSON.stringify(data)}\n\n`;

test('watch follows several vehicles and takes up each thread where it was lost', async () => {
	const node = await scriptedNode((request, response) => {
		const vehicle = request.url.split('/')[3];
		const last = request.headers['last-event-id'];
		const seq = last ? Number(last.split(':')[1]) : 7;
		assert.equal(request.headers.accept, 'text/event-stream');
		response.writeHead(200, { 'content-type': 'text/event-stream' });
		response.write(frame('snapshot', seq, { vehicle: { vehicle_id: vehicle, connectivity: { state: 'connected' } }, epoch: 'e1', seq, recovered: Boolean(last) }));
		const text = ': alive\n\n' + frame('command.updated', seq + 1, event(vehicle, seq + 1)) + frame('command.updated', seq + 2, event(vehicle, seq + 2));
		// The third event is cut in the middle: it must come again, and whole.
		response.write(text + frame('command.updated', seq + 3, event(vehicle, seq + 3)).slice(0, 40));
		setImmediate(() => response.destroy());
	});
	const { code, out, err } = await keyfob(node, ['watch', '-o', 'json', '--count', '16', 'CAR1', 'CAR2']);
	assert.equal(code, 0, err);
	const lines = out.trim().split('\n').map((line) => JSON.parse(line));
	for (const vehicle of ['CAR1', 'CAR2']) {
		const seen = lines.filter((l) => l.vehicle_id === vehicle);
		assert.equal(seen[0].type, 'snapshot');
		assert.deepEqual(seen.map((l) => l.seq), seen.map((_, i) => 7 + i));
		assert.equal(seen.filter((l) => l.type === 'snapshot').length, 1);
	}
	assert.equal(lines.length, 18);
	assert.match(err, /CAR1: .*; trying again\n/);
	assert.match(err, /CAR1: connected again\n/);
});

// Without one of its options, or a header, it would be another call.
for (const args of [['send', 'CAR1', 'doors.unlock', '--idempotency-key', 'k1'], ['watch', '--count', '1', 'CAR1']])
	test(`${args[0]}: what goes out is what was meant, whatever libcurl refuses`, async () => {
		const node = await scriptedNode((request, response) => {
			if (request.method === 'POST') return json(response, 202, command('accepted'));
			response.writeHead(200, { 'content-type': 'text/event-stream' });
			response.end(frame('command.updated', 8, event('CAR1', 8)));
		});
		const run = () => keyfob(node, args, { env: torture.env });
		const sent = () => node.requests.splice(0).map(({ method, url, headers, json }) => ({ method, url, headers, json }));
		torture.arm('library');
		assert.equal((await run()).code, 0);
		const calls = torture.disarm();
		const meant = sent();
		assert.equal(meant.length, 1);
		let refused = 0;
		for (let n = 1; n <= calls; n++) {
			torture.arm('library', n);
			const { code, err } = await run();
			const what = `call ${n} of ${calls}, ${torture.where}: ${err}`;
			const requests = sent();
			assert.ok(code === 0 || /out of memory/i.test(err), what);
			assert.deepEqual(requests, code === 0 || requests.length > 0 ? meant : [], what);
			refused += torture.where.startsWith('curl_');
		}
		assert.ok(refused > 10, `${refused} calls of libcurl's`);
	});

test('watch prints one event a line and says why a vehicle cannot be watched', async () => {
	const node = await scriptedNode((request, response) => {
		if (request.url.includes('CAR9')) return json(response, 404, { title: 'no such vehicle, or not yours to see' });
		response.writeHead(200, { 'content-type': 'text/event-stream' });
		response.write(frame('command.updated', 8, event('CAR1', 8)));
	});
	const one = await keyfob(node, ['watch', 'CAR1', '--count', '1']);
	assert.equal(one.code, 0);
	assert.equal(one.out, `08:09:10.008  CAR1  #8      command.updated       doors.unlock sent ${id}\n`);
	const two = await keyfob(node, ['watch', 'CAR9']);
	assert.equal(two.code, 1);
	assert.match(two.err, /CAR9 cannot be watched\nkeyfob: no such vehicle, or not yours to see \[404\]\n/);
});

test('the node is found in .keyfob/run/env above, but its token goes to no other node', async () => {
	const node = await scriptedNode((request, response) => json(response, 200, { items: [], next_cursor: null }));
	const deep = join(scratch, 'project/a/b');
	mkdirSync(deep, { recursive: true });
	mkdirSync(join(scratch, 'project/.keyfob/run'), { recursive: true });
	writeFileSync(join(scratch, 'project/.keyfob/run/env'), `KEYFOB_URL=${node.url}/\nKEYFOB_TOKEN=from-file\n`);
	assert.equal((await keyfob(null, ['vehicles'], { cwd: deep })).code, 0);
	assert.equal(node.requests[0].headers.authorization, 'Bearer from-file');
	assert.equal(node.requests[0].url, '/v1/vehicles?limit=200');
	await keyfob(null, ['vehicles'], { cwd: deep, env: { KEYFOB_TOKEN: 'mine' } });
	assert.equal(node.requests[1].headers.authorization, 'Bearer mine');
	assert.equal((await keyfob(null, ['vehicles'], { cwd: deep, env: { KEYFOB_URL: `${node.url}//` } })).code, 0, 'the same node');
	assert.equal(node.requests[2].headers.authorization, 'Bearer from-file');
	assert.equal(node.requests[2].url, '/v1/vehicles?limit=200');
	const other = await keyfob(null, ['vehicles'], { cwd: deep, env: { KEYFOB_URL: 'http://127.0.0.1:9' } });
	assert.equal(other.code, 2);
	assert.match(other.err, /KEYFOB_TOKEN is not set/);
});

for (const alg of ['ES256', 'RS256'])
	test(`token init and mint make ${alg} tokens that another library verifies`, async () => {
		const dir = join(scratch, alg);
		assert.equal((await keyfob(null, ['token', 'init', '--dir', dir, '--alg', alg])).code, 0);
		assert.equal(statSync(join(dir, 'key.pem')).mode & 0o777, 0o600);
		const kept = readFileSync(join(dir, 'key.pem'), 'utf8');
		assert.equal((await keyfob(null, ['token', 'init', '--dir', dir, '--alg', alg])).code, 0);
		assert.equal(readFileSync(join(dir, 'key.pem'), 'utf8'), kept);
		const args = ['token', 'mint', '--dir', dir, '--subject', 'alice', '--scope', 'vehicles:read commands:write', '--ttl', '2h', '--auth-time', 'now'];
		const { out } = await keyfob(null, args);
		const keys = JSON.parse(readFileSync(join(dir, 'jwks.json'), 'utf8'));
		assert.ok(keys.keys.every((key) => !('d' in key)));
		const { payload, protectedHeader } = await jwtVerify(out.trim(), createLocalJWKSet(keys), { issuer: 'https://keyfob.localhost', audience: 'keyfob' });
		assert.equal(protectedHeader.alg, alg);
		assert.equal(payload.sub, 'alice');
		assert.equal(payload.scope, 'vehicles:read commands:write');
		assert.equal(payload.exp - payload.iat, 7200);
		assert.equal(payload.auth_time, payload.iat);
	});

test('token mint without a key or scopes', async () => {
	const missing = await keyfob(null, ['token', 'mint', '--subject', 'alice', '--dir', join(scratch, 'nowhere')]);
	assert.equal(missing.code, 1);
	assert.match(missing.err, /nowhere\/key\.pem: No such file[^]*`keyfob token init` makes a key, and --dir says where one is/);
	const dir = join(scratch, 'plain');
	assert.equal((await keyfob(null, ['token', '--dir', dir, 'init'])).code, 0, 'options may stand between the words of a command');
	const { out } = await keyfob(null, ['--dir', dir, 'token', '-o', 'json', 'mint', '--subject', 'alice']);
	assert.equal(JSON.parse(out).claims.scope, 'vehicles:read commands:write');
});

test('what is said wrongly ends with 2, and -ojson is -o json', async () => {
	const dir = join(scratch, 'wrongly');
	const alg = await keyfob(null, ['token', 'init', '--dir', dir, '--alg', 'HS256']);
	assert.deepEqual([alg.code, alg.err], [2, 'keyfob: --alg is ES256 or RS256, not HS256\n']);
	const init = await keyfob(null, ['token', 'init', '--dir', dir, '-ojson']);
	assert.equal(init.code, 0, init.err);
	assert.equal(JSON.parse(init.out).alg, 'ES256');
	const time = await keyfob(null, ['token', 'mint', '--dir', dir, '--subject', 'alice', '--auth-time', 'noon']);
	assert.equal(time.code, 2);
	assert.match(time.err, /--auth-time no time/);
	assert.equal((await keyfob(null, ['-ojson', 'token', 'mint', '--dir', dir, '--subject', 'alice'])).code, 0);
	assert.equal((await keyfob(null, ['token', 'init', '-oyaml'])).code, 2);
});

test('alerts and nodes: listed for those who run them', async () => {
	const alert = { vehicle_id: 'CAR1', fleet_id: 'F1', time: at(0), seq: 7, kind: 'refusals', count: 30, window_seconds: 300, subject: 'mallory' };
	const load = { connections: 12, websockets: 3, subscriptions: 4, commands_per_minute: 90, cpu_percent: 7, memory_bytes: 17_000_000 };
	const item = { node: 'a1', state: 'ready', checks: {}, version: '0.1.0', started_at: at(0), seen_at: at(0), workers: 2, leases: ['feed/00', 'feed/01'], load };
	const node = await scriptedNode((request, response) =>
		json(response, 200, { items: request.url.includes('/nodes') ? [item, { ...item, node: 'b2', state: 'gone' }] : [alert], next_cursor: null }),
	);
	const alerts = await keyfob(node, ['alerts']);
	assert.equal(node.requests.at(-1).url, '/v1/alerts?limit=100');
	assert.match(alerts.out, /refusals\s+30 in 300 s\s+CAR1\s+F1\s+mallory/);
	await keyfob(node, ['alerts', '--fleet', 'F 1']);
	assert.equal(node.requests.at(-1).url, '/v1/fleets/F%201/alerts?limit=100');
	const nodes = await keyfob(node, ['nodes']);
	assert.match(nodes.out, /a1\s+ready\s+0\.1\.0\s+2026-01-31 \S+\s+2\s+12\s+90\s+7\n/);
	assert.match(nodes.out, /b2\s+gone/);
	const { out } = await keyfob(node, ['nodes', '-o', 'json']);
	assert.deepEqual(JSON.parse(out).items[0], item);
});

test('fleets and grants: listed, made with an end, ended', async () => {
	const grant = { subject: 'bob', role: 'driver', expires_at: at(0), granted_by: 'alice', created_at: at(0) };
	const node = await scriptedNode((request, response) => {
		if (request.url.startsWith('/v1/fleets?')) return json(response, 200, { items: [{ fleet_id: 'F1', title: 'Vans' }], next_cursor: null });
		if (request.method === 'GET') return json(response, 200, { items: [grant, { ...grant, subject: 'olga', role: 'owner', expires_at: null }], next_cursor: null });
		if (request.method === 'PUT') return json(response, 201, grant);
		if (request.url.includes('/fleets/')) return response.writeHead(204).end();
		json(response, 404, { title: 'this subject has no grant here', status: 404 });
	});
	const fleets = await keyfob(node, ['fleets']);
	assert.equal(fleets.code, 0);
	assert.match(fleets.out, /F1\s+Vans/);
	const grants = await keyfob(node, ['grants', 'A B']);
	assert.equal(node.requests.at(-1).url, '/v1/vehicles/A%20B/grants?limit=200');
	assert.match(grants.out, /bob\s+driver\s+2026-01-31/);
	assert.match(grants.out, /olga\s+owner\s+for good/);

	const begun = Date.now();
	const made = await keyfob(node, ['grant', 'CAR1', 'bob', 'driver', '--for', '12h', '-o', 'json']);
	assert.deepEqual(JSON.parse(made.out), grant);
	const put = node.requests.at(-1);
	assert.deepEqual([put.method, put.url, put.json.role], ['PUT', '/v1/vehicles/CAR1/grants/bob', 'driver']);
	assert.ok(Math.abs(Date.parse(put.json.expires_at) - begun - 43_200_000) < 5000, put.json.expires_at);
	await keyfob(node, ['grant', '--fleet', 'F1', 'bob', 'operator']);
	assert.deepEqual([node.requests.at(-1).url, node.requests.at(-1).json], ['/v1/fleets/F1/grants/bob', { role: 'operator' }]);

	assert.equal((await keyfob(node, ['revoke', '--fleet', 'F1', 'bob'])).code, 0);
	assert.deepEqual([node.requests.at(-1).method, node.requests.at(-1).url], ['DELETE', '/v1/fleets/F1/grants/bob']);
	const missing = await keyfob(node, ['revoke', 'CAR1', 'bob']);
	assert.equal(missing.code, 1);
	assert.match(missing.err, /no grant/);
});

test('webhooks: listed, made once with a secret that is shown, removed, and their log', async () => {
	const webhook = { id, subject: 'alice', url: 'https://platform.example/hook', vehicle_ids: ['CAR1'], fleet_ids: [], types: ['command.updated'], enabled: false, disabled_reason: 'gone' };
	const delivery = { id, vehicle_id: 'CAR1', seq: 7, type: 'command.updated', event_time: at(0), status: 'failed', attempts: 3, response_status: 500, error: null };
	let isBusy = true;
	const node = await scriptedNode((request, response) => {
		if (request.method === 'DELETE') return response.writeHead(204).end();
		if (request.method === 'POST' && isBusy) return json(response, 503, { title: 'the database connection was lost during the write', status: 503 });
		if (request.method === 'POST') return json(response, 201, { ...webhook, disabled_reason: null, secret: 'whsec_shown=' });
		json(response, 200, { items: [request.url.includes('/deliveries') ? delivery : webhook], next_cursor: null });
	});
	const listed = await keyfob(node, ['webhooks']);
	assert.match(listed.out, /gone\s+https:\/\/platform\.example\/hook\s+CAR1\s+-\s+command\.updated/);
	const add = ['webhook', 'add', 'https://platform.example/hook', '--vehicles', 'CAR1,CAR2', '--types', 'command.updated'];
	const before = node.requests.length;
	assert.equal((await keyfob(node, add)).code, 1);
	assert.equal(node.requests.length, before + 1, 'it is not asked again: there might be two then');
	isBusy = false;
	const made = await keyfob(node, add);
	assert.deepEqual(node.requests.at(-1).json, { url: 'https://platform.example/hook', vehicle_ids: ['CAR1', 'CAR2'], types: ['command.updated'] });
	assert.match(made.out, /whsec_shown=/);
	const log = await keyfob(node, ['webhook', 'log', id, '--status', 'failed']);
	assert.match(node.requests.at(-1).url, new RegExp(`^/v1/webhooks/${id}/deliveries\\?.*status=failed`));
	assert.match(log.out, /CAR1\s+7\s+command\.updated\s+failed\s+3\s+500\s+-/);
	assert.equal((await keyfob(node, ['webhook', 'remove', id])).code, 0);
	assert.deepEqual([node.requests.at(-1).method, node.requests.at(-1).url], ['DELETE', `/v1/webhooks/${id}`]);
});

test('wrong usage is 2, help is 0', async () => {
	for (const args of [[], ['fly'], ['token'], ['send', 'CAR1'], ['vehicle', 'a', 'b'], ['send', 'CAR1', 'x', '--ttl', 'soon'], ['vehicles', '--nope'], ['vehicles', '-o', 'xml'], ['token', 'mint'], ['vehicles']])
		assert.equal((await keyfob(null, args)).code, 2, args.join(' '));
	for (const args of [['help', 'fly'], ['fly', '--help'], ['--help', 'fly']]) {
		const { code, out, err } = await keyfob(null, args);
		assert.deepEqual([code, out], [2, ''], args.join(' '));
		assert.match(err, /there is no command `fly`/);
	}
	assert.match((await keyfob(null, ['help', 'token'])).out, /^usage: keyfob token init[^]*\nusage: keyfob token mint/);
	const node = { url: 'http://127.0.0.1:9' };
	assert.equal((await keyfob(node, ['send', 'CAR1', 'x', 'door'])).code, 2);
	for (const args of [['--help'], ['help'], ['help', 'send'], ['help', 'token'], ['token', '--help'], ['send', '--help'], ['token', 'mint', '--help'], ['--version']]) {
		const { code, out } = await keyfob(null, args);
		assert.equal(code, 0, args.join(' '));
		assert.match(out, /keyfob/);
	}
});

// ---- what the shell and man know of the programs

function bash(script) {
	const child = spawn('bash', ['--norc', '-c', script], { stdio: ['ignore', 'pipe', 'pipe'] });
	let out = '';
	child.stdout.on('data', (chunk) => (out += chunk));
	child.stderr.on('data', (chunk) => (out += chunk));
	return new Promise((done) => child.on('close', (code) => done({ code, out })));
}

// What bash offers after these words, the last of which is being typed.
async function offered(...words) {
	const typed = words.map((word) => `'${word}'`).join(' ');
	const { code, out } = await bash(
		`set -eu; . <('${program}' completion bash); complete -p keyfob >/dev/null; COMP_WORDS=(keyfob ${typed}) COMP_CWORD=${words.length}; _keyfob; printf '%s\\n' "\${COMPREPLY[@]}"`,
	);
	assert.equal(code, 0, out);
	return out.trim().split('\n').filter(Boolean);
}

test('bash completes commands, their second words and their options, as the table of commands has them', async () => {
	assert.deepEqual(await offered('ve'), ['vehicles', 'vehicle']);
	assert.deepEqual(await offered('token', ''), ['init', 'mint']);
	assert.deepEqual(await offered('token', 'mint', '--su'), ['--subject']);
	assert.deepEqual(await offered('-o', 'json', 'send', 'CAR1', 'doors.unlock', '--w'), ['--wait']);
	assert.deepEqual(await offered('send', 'CAR1', '-o', ''), ['json', 'text']);
	assert.deepEqual(await offered('batch', 'c'), ['cancel']);
	assert.deepEqual(await offered('batch', 'B1', '--h'), ['--help']);
	assert.deepEqual(await offered('doctor', '--config', join(scratch.slice(0, -2))), [scratch]);
	const overview = (await keyfob(null, ['--help'])).out;
	const listed = [...overview.matchAll(/^ {2}([a-z]+)(?: [a-z]+)? {2,}/gm)].map(([, word]) => word);
	assert.deepEqual(new Set(await offered('')), new Set([...listed, 'help']));
	assert.equal((await keyfob(null, ['completion', 'tcsh'])).code, 2);
});

const manual = fileURLToPath(new URL('../../docs/man', import.meta.url));

test('the manual pages are well written, and know every option that --help knows', async () => {
	for (const page of ['keyfob.1', 'keyfob-vehicle.1', 'keyfob.yaml.5', 'keyfobd.8']) {
		const file = join(manual, page);
		assert.deepEqual(await bash(`mandoc -Tlint -Wwarning '${file}' && LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l '${file}' 2>&1 >/dev/null`), { code: 0, out: '' }, page);
	}
	const shown = (page) => bash(`LC_ALL=C.UTF-8 MANWIDTH=200 man -l '${join(manual, page)}' | col -bx`);
	for (const [name, page] of [['keyfobd', 'keyfobd.8'], ['keyfob-vehicle', 'keyfob-vehicle.1']]) {
		const options = (text) => new Set(text.match(/--[a-z][a-z-]+/g));
		assert.deepEqual(options((await shown(page)).out), options((await bash(`'${join(build, 'bin', name)}' --help`)).out), page);
	}
	const page = (await shown('keyfob.1')).out;
	for (const word of ['send', 'token mint', 'doctor', 'fleets']) assert.match(page, new RegExp(`^ +keyfob ${word}( |$)`, 'm'));
	assert.match((await shown('keyfob.yaml.5')).out, /^ +http\.tls\.certificate$/m);
});

test('docs/capacity.md shows what `keyfob capacity` says', async () => {
	const page = readFileSync(fileURLToPath(new URL('../../docs/capacity.md', import.meta.url)), 'utf8');
	const shown = [...page.matchAll(/```\n\$ keyfob (capacity[^\n]*)\n([^`]*)```/g)];
	assert.ok(shown.length >= 5, 'where are they?');
	for (const [, words, text] of shown) assert.equal((await keyfob(null, words.split(' '))).out, text, words);
});

test('capacity reckons with what is said, and refuses what makes no sense', async () => {
	const figures = async (...words) => {
		const { code, out } = await keyfob(null, ['-o', 'json', 'capacity', 'peak=1', ...words]);
		assert.equal(code, 0);
		return JSON.parse(out).fleets.map(({ reckoned }) => reckoned);
	};
	const [small, large] = await figures('vehicles=86400,864k', 'commands=10', 'away=0.5', 'reports=0');
	assert.deepEqual([small, large].map((one) => one.commands_per_s), [10, 100]);
	assert.equal(small.awaited_per_s, 5);
	assert.equal(small.reports_per_s, 0);
	const [quick] = await figures('vehicles=864k', 'commands=10', 'away=0.5', 'reports=0', 'broker_cores=10');
	assert.ok(Math.abs(quick.by_broker_cores * 10 - large.by_broker_cores) < 1e-9);
	const [many] = await figures('vehicles=100M');
	const bounds = Object.entries(many).filter(([name]) => name.startsWith('by_'));
	assert.equal(many.installations, Math.ceil(Math.max(...bounds.map(([, value]) => value))));
	for (const word of ['vehicles', 'vehicles=', 'vehicles=many', 'vehicles=-1', 'vehicles=1,2,3,4,5,6,7,8,9', 'busy=0', 'planets=1']) {
		const { code, err } = await keyfob(null, ['capacity', word]);
		assert.equal(code, 2, word);
		assert.match(err, /is not name=number/);
	}
});
