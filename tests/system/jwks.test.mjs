// jwks.test.mjs - issuers that publish their keys by URL: at the start, when they rotate, when strangers make up key ids, when they
// are away, and when they answer with what is no key set. Each test has an issuer of its own, a real server on loopback.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { adminToken, isSanitized, makeAuthority, openSocket, poll, Record, rest, startInstallation, startNode } from './harness.mjs';
import { audience, issuer as fileIssuer, jwksFile, secrets } from './tokens.mjs';

const options = { timeout: 120_000 };
const issuers = [];

// An issuer: `keys` by kid, `say(request, response)` what it answers, `asked` what it was asked.
class Issuer {
	keys = new Map();
	asked = new Record('the issuer');
	say = (request, response) => this.show(response);

	constructor(name, tls) {
		this.name = `https://${name}.test`;
		this.tls = tls;
	}

	async start(port = 0) {
		const onRequest = (request, response) => {
			this.asked.push({ path: request.url, method: request.method });
			this.say(request, response);
		};
		this.server = this.tls ? createSecureServer({ key: this.tls.options.key, cert: this.tls.options.cert }, onRequest) : createServer(onRequest);
		this.server.listen(port, '127.0.0.1');
		await once(this.server, 'listening');
		this.port = this.server.address().port;
		return this;
	}

	stop() {
		this.server.closeAllConnections();
		return new Promise((stopped) => this.server.close(stopped));
	}

	get url() {
		return `http${this.tls ? 's' : ''}://127.0.0.1:${this.port}/keys`;
	}

	// By OpenID discovery: its name is where it is.
	get discovered() {
		const { jwks_url, ...rest } = this.setting;
		this.name = jwks_url.replace('/keys', '');
		this.say = (request, response) =>
			request.url.startsWith('/.well-known/') ? response.end(JSON.stringify({ issuer: this.name, jwks_uri: jwks_url })) : this.show(response);
		return { ...rest, issuer: this.name };
	}

	get setting() {
		return { issuer: this.name, audience, jwks_url: this.url, subject_prefix: `${this.name}|`, scopes: ['vehicles:read'] };
	}

	// From now on this key alone.
	async rotate(kid) {
		const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
		this.keys = new Map([[kid, { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } }]]);
		this.privateKey = privateKey;
		this.kid = kid;
		return this;
	}

	get jwks() {
		return [...this.keys.values()].map(({ jwk }) => jwk);
	}

	text() {
		return JSON.stringify({ keys: this.jwks });
	}

	show(response) {
		response.writeHead(200, { 'Content-Type': 'application/jwk-set+json' }).end(this.text());
	}

	async token({ kid = this.kid, sub = 'alice' } = {}) {
		const payload = { iss: this.name, aud: audience, sub, scope: 'vehicles:read', exp: Math.floor(Date.now() / 1000) + 3600 };
		const text = await new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid }).sign(this.privateKey);
		secrets.add(text);
		return text;
	}
}

async function startIssuer(name, tls) {
	const one = await new Issuer(name, tls).rotate('first');
	issuers.push(one);
	return one.start();
}

const status = async (at, token) => (await rest(at, 'GET', '/v1/me', { token })).status;
const readiness = (at) => fetch(`${at.adminUrl}/readyz`).then(async (answer) => ({ code: answer.status, ...(await answer.json()) }));
const failures = (at, issuer) => at.child.logText().split('\n').filter((line) => line.includes('keys not fetched') && line.includes(issuer.name));

// When the node began to fetch, milliseconds.
function fetches(at, issuer) {
	const lines = at.child.logText().split('\n').filter((line) => line.includes('"fetching keys"') && line.includes(issuer.name));
	return lines.map((line) => Date.parse(/^time=(\S+)/.exec(line)[1]));
}

// A request that was under way before may fail for a reason of its own.
function untilFailure(at, issuer, before, reason) {
	const isTold = (lines) => lines.slice(before).some((line) => reason.test(line));
	return poll(async () => failures(at, issuer), isTold, { ms: 30_000, what: `a failure to fetch from ${issuer.name} that says ${reason}` });
}

// Every issuer is asked again; resolves when this one was.
async function hangUp(at, issuer) {
	const from = issuer.asked.items.length;
	at.signal('SIGHUP');
	return issuer.asked.until(() => true, { from, ms: 30_000, what: 'a request after SIGHUP' });
}

const names = ['rotating', 'stormy', 'away', 'odd'];
const [rotating, stormy, away, odd] = await Promise.all(names.map((name) => startIssuer(name)));
const fromFile = { issuer: fileIssuer, audience, jwks_file: jwksFile, subject_prefix: 'file|' };

// The first answer takes its time: the node listens after it.
rotating.say = (request, response) => setTimeout(() => rotating.show(response), 1500);
const { broker, database, node } = await startInstallation({
	config: { auth: { issuers: [fromFile, ...[rotating, stormy, away, odd].map(({ setting }) => setting)] } },
});
const firstStatus = await status(node, await rotating.token());
rotating.say = (request, response) => rotating.show(response);

after(() => Promise.all(issuers.map((one) => one.stop())));

test('the first request after the start finds the keys, though they were slow to come', options, async () => {
	assert.equal(firstStatus, 200);
	assert.equal(rotating.asked.items.length, 1);
	assert.deepEqual({ path: rotating.asked.items[0].path, method: rotating.asked.items[0].method }, { path: '/keys', method: 'GET' });
	assert.deepEqual(await readiness(node), { code: 200, database: 'ok', broker: 'ok', feeds: 'ok', issuers: 'ok', node: 'ok', status: 'ready' });
});

test('a rotated key is found by the first token that has it, and tokens of the old one end, on every worker', options, async () => {
	const old = await rotating.token();
	for (let i = 0; i < 20; i++) assert.equal(await status(node, old), 200); // remembered
	const before = rotating.asked.items.length;
	await rotating.rotate('second');
	const fresh = await rotating.token();
	// Those who come first wait for the one fetch that they cause, and nobody is refused.
	const [app, ...first] = await Promise.all([openSocket(node, { token: fresh }), ...Array.from({ length: 40 }, () => status(node, fresh))]);
	assert.deepEqual(new Set(first), new Set([200]));
	app.close();
	assert.equal(rotating.asked.items.length, before + 1);
	const both = await Promise.all(Array.from({ length: 40 }, async (_, i) => [i % 2, await status(node, i % 2 ? fresh : old)]));
	for (const [isFresh, got] of both) assert.equal(got, isFresh ? 200 : 401);
	assert.equal(rotating.asked.items.length, before + 1);
});

test('a thousand unknown key ids make us ask once in ten seconds', options, async () => {
	const before = stormy.asked.items.length;
	for (let i = 0; i < 1000; i += 50) {
		const batch = Array.from({ length: 50 }, async (_, j) => status(node, await stormy.token({ kid: `made-up-${i + j}` })));
		for (const got of await Promise.all(batch)) assert.equal(got, 401);
	}
	await stormy.asked.until(() => true, { from: before });

	// What was rotated within those ten seconds is fetched when they are over.
	await stormy.rotate('second');
	const fresh = await stormy.token();
	await poll(() => status(node, fresh), (got) => got === 200, { ms: 20_000, every: 100, what: 'the new key counts' });
	const requests = stormy.asked.items.length - before;
	const times = fetches(node, stormy).slice(before); // by the node's clock: this process was busy with the storm
	assert.ok([0, 1].includes(times.length - requests), 'each fetch is one request, and one may be on its way');
	assert.ok(times.length >= 2);
	for (let i = 1; i < times.length; i++) assert.ok(times[i] - times[i - 1] > 9_990, `asked again after ${times[i] - times[i - 1]} ms`);
});

test('while an issuer is away its last keys count; SIGHUP fetches the next ones', options, async () => {
	const known = await away.token();
	await away.stop();
	const before = failures(node, away).length;
	node.signal('SIGHUP');
	await untilFailure(node, away, before, /the old ones stay/);
	assert.equal(await status(node, known), 200);
	assert.equal((await readiness(node)).code, 200);

	await away.rotate('second');
	await away.start(away.port);
	const fresh = await away.token();
	await hangUp(node, away);
	await poll(() => status(node, fresh), (got) => got === 200, { what: 'the new key counts' });
	assert.equal(await status(node, known), 401);
});

const memoryMost = 100; // MiB: to whoever reads it JSON is some eighty times as large
// The most that a node ever had.
const memory = (at) => Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${at.child.pid}/status`, 'utf8'))[1]) / 1024;

function assertNoMore(at, before) {
	if (!isSanitized) assert.ok(memory(at) - before < memoryMost, `${memory(at) - before} MiB more`);
}

// What an issuer may answer that is no key set: the answer, and what the log says.
const answers = [
	['garbage', (response) => response.end('<html>sign in'), /no JWK set/],
	['no keys', (response) => response.end('{"keys":[]}'), /no key for/],
	['symmetric keys alone', (response) => response.end('{"keys":[{"kty":"oct","kid":"first","k":"AAAA"}]}'), /no key for/],
	['a set with a zero byte after it', (response) => response.end(`${odd.text()}\0`), /no JSON/],
	['a good set with status 404', (response) => response.writeHead(404).end(odd.text()), /status 404/],
	['a good set with status 500', (response) => response.writeHead(500).end(odd.text()), /status 500/],
	['a redirect', (response) => response.writeHead(302, { Location: '/elsewhere' }).end(odd.text()), /status 302/],
	['a good set and ten megabytes of blanks', (response) => response.end(odd.text() + ' '.repeat(10 * 1024 * 1024)), /larger than 1 MiB/],
	['a hundred thousand keys that are none', (response) => response.end(JSON.stringify({ keys: Array(100_000).fill({}) })), /no key for/],
	['a set that breaks off', (response) => {
		response.writeHead(200, { 'Content-Length': 5000 }).write(odd.text());
		setTimeout(() => response.destroy(), 50);
	}, /did not come whole/],
	['a connection that is closed', (response) => response.destroy(), /keys not fetched/],
	['a drop now and then, for ever', (response) => {
		response.writeHead(200).write('{"keys":');
		const drops = setInterval(() => response.write(' '), 200);
		response.on('close', () => clearInterval(drops));
	}, /did not come whole/],
];

const memoryBefore = memory(node);
for (const [what, say, reason] of answers)
	test(`${what} changes nothing`, options, async (t) => {
		const known = await odd.token();
		const { keys, privateKey, kid } = odd;
		t.after(() => Object.assign(odd, { keys, privateKey, kid }));
		await odd.rotate('never');
		const never = await odd.token();
		odd.say = (request, response) => say(response);
		const before = failures(node, odd).length;
		await hangUp(node, odd);
		await untilFailure(node, odd, before, reason);
		assert.equal(await status(node, known), 200);
		assert.equal(await status(node, never), 401);
		assert.ok(odd.asked.items.every(({ path }) => path === '/keys'), 'it went elsewhere');
	});

test('after all that a good answer counts', options, async () => {
	odd.say = (request, response) => odd.show(response);
	await odd.rotate('last');
	const fresh = await odd.token();
	await hangUp(node, odd);
	await poll(() => status(node, fresh), (got) => got === 200, { what: 'the new key counts' });
	assert.match(await node.metrics(), /keyfob_issuer_keys_failed_total [1-9]/);
	assert.match(await node.metrics(), /keyfob_issuer_keys_fetched_total [1-9]/);
	assertNoMore(node, memoryBefore);
});

test('an issuer that was never there: the node starts without it, says so, and takes it when it comes', options, async () => {
	const late = await startIssuer('late');
	await late.stop();
	const other = await startNode({ broker, database, isReady: false, config: { auth: { issuers: [fromFile, late.setting] } } });
	await poll(() => readiness(other), (got) => got.database === 'ok' && got.broker === 'ok', { what: 'all other neighbours are there' });
	assert.deepEqual(await readiness(other), { code: 503, database: 'ok', broker: 'ok', feeds: 'ok', issuers: 'unavailable', node: 'ok', status: 'not ready' });
	assert.equal(await status(other, await late.token()), 401);
	assert.equal(await status(other, await adminToken()), 200); // the others' tokens count
	assert.match(other.child.logText(), /starting without the keys of every issuer/);
	await late.start(late.port);
	await poll(() => readiness(other), (got) => got.code === 200, { ms: 20_000, what: 'ready' });
	assert.equal(await status(other, await late.token()), 200);
	await other.stop();
});

test('an issuer that never answers holds up neither the start for long nor the end', options, async () => {
	const mute = await startIssuer('mute');
	mute.say = () => {};
	const begun = performance.now();
	const other = await startNode({ broker, database, isReady: false, config: { auth: { issuers: [fromFile, mute.setting] } } });
	const took = performance.now() - begun;
	assert.ok(took >= 5000 && took < 10_000, `it listened after ${took} ms`);
	await mute.asked.until(() => true, { from: 1, ms: 20_000, what: 'a second request' });
	const asked = performance.now();
	assert.equal((await other.stop()).code, 0); // while it waits for that answer
	assert.ok(performance.now() - asked < 4000, `it ended after ${performance.now() - asked} ms`);
	assert.match(other.child.logText(), /stopped/);
});

test('over TLS, from those alone whom the authorities vouch for, under their own name', options, async () => {
	const authority = makeAuthority('issuers');
	const stranger = makeAuthority('strangers');
	const trusted = await startIssuer('trusted', authority.issue('trusted'));
	const doubtful = await startIssuer('doubtful', stranger.issue('doubtful'));
	const misnamed = await startIssuer('misnamed', authority.issue('misnamed', 'misnamed', 'DNS:elsewhere.example'));
	process.env.SSL_CERT_FILE = authority.certificate;
	const other = await startNode({ broker, database, isReady: false, config: { auth: { issuers: [trusted.setting, doubtful.setting, misnamed.setting] } } });
	delete process.env.SSL_CERT_FILE;
	await poll(() => readiness(other), (got) => got.database === 'ok' && got.broker === 'ok', { what: 'all other neighbours are there' });
	assert.equal(await status(other, await trusted.token()), 200);
	for (const issuer of [doubtful, misnamed]) {
		assert.equal(await status(other, await issuer.token()), 401);
		await untilFailure(other, issuer, 0, /certificate/i);
		assert.equal(issuer.asked.items.length, 0);
	}
	await other.stop();
});

test('an issuer without a file or a URL says itself where its keys are', options, async () => {
	const told = await startIssuer('told');
	const other = await startNode({ broker, database, config: { auth: { issuers: [fromFile, told.discovered] } } });
	assert.deepEqual(told.asked.items.map(({ path }) => path), ['/.well-known/openid-configuration', '/keys']);
	assert.equal(await status(other, await told.token()), 200);
	await other.stop();
});

// ---- issuers that mean ill, or whose answers somebody else writes

// What is said instead of where the keys are. `trap` is where nobody may ever come.
const told = (issuer, more) => JSON.stringify({ issuer: issuer.name, jwks_uri: issuer.url, ...more });
const illDiscoveries = [
	...[301, 302, 303, 307, 308].map((code) => [`a redirect (${code})`, (response, issuer, trap) => response.writeHead(code, { Location: trap }).end(told(issuer)), RegExp(`status ${code}`)]),
	...[
		['a file', () => 'file:///etc/hostname'],
		['another scheme', (trap) => trap.replace('http:', 'ftp:')],
		['plain HTTP elsewhere', () => 'http://192.0.2.1/keys'],
		['plain HTTP elsewhere, by a name that begins like ours', () => 'http://127.0.0.1.idp.example/keys'],
		['a user', (trap) => trap.replace('127.0.0.1', 'idp.example@127.0.0.1')],
		['no text', () => ['https://idp.example/keys']],
		['nothing', () => undefined],
	].map(([what, uri]) => [`keys at ${what}`, (response, issuer, trap) => response.end(told(issuer, { jwks_uri: uri(trap) })), /no jwks_uri by HTTPS/]),
	['keys in the clear, though it is asked by HTTPS', (response, issuer, trap) => response.end(told(issuer, { jwks_uri: trap })), /no jwks_uri by HTTPS/, { isSecure: true }],
	...[
		['another', () => 'https://idp.example'],
		['it with a slash', ({ name }) => `${name}/`],
		['several', ({ name }) => [name]],
	].map(([what, named]) => [`an issuer that is ${what}`, (response, issuer) => response.end(told(issuer, { issuer: named(issuer) })), /none, or names another/]),
	['an issuer twice', (response, issuer) => response.end(told(issuer).replace('{', '{"issuer":"https://idp.example",')), /none, or names another/],
	['what is no JSON', (response) => response.end('<html>sign in'), /none, or names another/],
	['nesting', (response, issuer) => response.end(told(issuer).replace('{', `{"x":${'['.repeat(5e5)}${']'.repeat(5e5)},`)), /none, or names another/],
	['what is packed', (response, issuer) => response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(gzipSync(told(issuer))), /none, or names another/],
	['ten megabytes', (response, issuer) => response.end(told(issuer) + ' '.repeat(10 * 1024 * 1024)), /larger than 1 MiB/],
	['a drop now and then', (response, issuer) => {
		response.writeHead(200).write(told(issuer));
		const drops = setInterval(() => response.write(' '), 200);
		response.on('close', () => clearInterval(drops));
	}, /did not come whole/],
	['a head without end', (response) => response.socket.write(`HTTP/1.1 200 OK\r\n${'X-Filler: 0123456789\r\n'.repeat(50_000)}`), /a head of more than 64 KiB/],
];

// What is said instead of keys; each of these holds one that a new token would be good by.
const illSets = [
	['a key with its private part', async ({ privateKey, jwks: [jwk] }) => ({ keys: [{ ...jwk, ...(await exportJWK(privateKey)) }] }), /no key for/],
	['a thousand symmetric keys of its name', ({ kid }) => ({ keys: Array(1000).fill({ kty: 'oct', kid, alg: 'HS256', k: 'AAAA' }) }), /no key for/],
	['a modulus of a million bits', ({ kid }) => ({ keys: [{ kty: 'RSA', kid, e: 'AQAB', n: 'x'.repeat(170_000) }] }), /no key for/],
	['nesting', ({ jwks }) => `{"keys":${'['.repeat(100)}${JSON.stringify(jwks)}${']'.repeat(100)}}`, /no JWK set/],
	['one key in place of a list', ({ jwks: [jwk] }) => ({ keys: jwk }), /no JWK set/],
];

test('whatever issuers say, their last keys stay, and nobody is sent elsewhere', options, async () => {
	const trap = await startIssuer('trap');
	let caught = 0;
	trap.server.on('connection', () => caught++);
	const authority = makeAuthority('ill');
	const certificate = authority.issue('ill');
	const ill = [];
	for (const [what, say, reason, { isSecure } = {}] of illDiscoveries)
		ill.push({ what, reason, issuer: await startIssuer(`ill-${ill.length}`, isSecure && certificate), discovery: say });
	for (const [what, set, reason] of illSets) ill.push({ what, reason, issuer: await startIssuer(`ill-${ill.length}`), set });
	const other = await startNode({ broker, database, env: { SSL_CERT_FILE: authority.certificate }, config: { auth: { issuers: [fromFile, ...ill.map(({ issuer }) => issuer.discovered)] } } });
	const before = memory(other);
	for (const one of ill) {
		one.known = await one.issuer.token();
		assert.equal(await status(other, one.known), 200, one.what);
		await one.issuer.rotate('never');
		one.never = await one.issuer.token();
		one.good = one.issuer.say;
		one.text = one.set && (await one.set(one.issuer));
		one.issuer.say = (request, response) => response.writeHead(404).end();
	}
	other.signal('SIGHUP'); // the keys are not where they were, so it is asked for their place
	await Promise.all(ill.map(({ issuer }) => untilFailure(other, issuer, 0, /status 404/)));
	for (const one of ill)
		one.issuer.say = (request, response) => {
			const isDiscovery = request.url.startsWith('/.well-known/');
			if (one.discovery && isDiscovery) one.discovery(response, one.issuer, trap.url);
			else if (one.set && !isDiscovery) response.end(typeof one.text === 'string' ? one.text : JSON.stringify(one.text));
			else one.good(request, response);
		};
	other.signal('SIGHUP');
	await Promise.all(ill.map(({ issuer, reason }) => untilFailure(other, issuer, 1, reason)));
	for (const { what, issuer, known, never } of ill) {
		assert.equal(await status(other, known), 200, what);
		assert.equal(await status(other, never), 401, what);
		assert.ok(issuer.asked.items.every(({ path }) => ['/keys', '/.well-known/openid-configuration'].includes(path)), what);
	}
	assert.equal(caught, 0, 'it went where it was sent');
	assertNoMore(other, before);
	await other.stop();
});

test('of many keys the usable ones count, of two with one name the first', options, async () => {
	const others = Array.from({ length: 4000 }, (_, i) => ({ kty: 'oct', kid: `other-${i}`, k: 'AAAA' }));
	const [last, twice] = [await startIssuer('last'), await startIssuer('twice')];
	last.say = (request, response) => response.end(JSON.stringify({ keys: [...others, { ...others[0], kid: last.kid }, ...last.jwks] }));
	const first = await twice.token();
	const [jwk] = twice.jwks;
	await twice.rotate('first');
	twice.say = (request, response) => response.end(JSON.stringify({ keys: [jwk, ...twice.jwks] }));
	const other = await startNode({ broker, database, config: { auth: { issuers: [last.setting, twice.setting] } } });
	assert.equal(await status(other, await last.token()), 200);
	assert.deepEqual([await status(other, first), await status(other, await twice.token())], [200, 401]);
	await other.stop();
});
