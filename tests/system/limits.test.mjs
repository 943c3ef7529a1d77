// limits.test.mjs - the rates of contract §2 with real numbers: by subject, by vehicle, by address and proxy, by socket; REST and
// WebSocket draw from the same buckets, on however many workers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { webRoot } from './browser.mjs';
import { adminToken, grant, openSocket, registerVehicle, rest, RpcError, sendCommand, startInstallation, startNode, token, vehicleIds } from './harness.mjs';

const ids = vehicleIds(8);
const { broker, database, node: free } = await startInstallation({ ids });
const admin = await adminToken();
const options = { timeout: 60_000 };
let used = 0;
let subjects = 0;

// A subject that nobody has seen, and a vehicle of its own.
async function owner() {
	const subject = `owner-${++subjects}`;
	const id = ids[used++];
	await registerVehicle(free, admin, id);
	await grant(free, admin, id, subject, 'owner');
	return { subject, id, token: await token({ sub: subject }) };
}

const limited = (limits, more = {}) => startNode({ broker, database, config: { limits, ...more } });
const statuses = (answers) => answers.map(({ status }) => status).sort();
const count = (answers, status) => answers.filter((answer) => answer.status === status).length;
const isLimited = (error) => error instanceof RpcError && error.data?.type === 'urn:keyfob:problem:rate-limited';

// How many tokens a bucket could have given since `begun`: two seconds' worth and what came meanwhile.
const atMost = (perSecond, begun) => 2 * perSecond + Math.ceil(((performance.now() - begun) / 1000) * perSecond);

test('a subject: a burst of two seconds, then its rate; the answer says how much is left and when to come again', options, async () => {
	const node = await limited({ per_subject: '5/s' });
	const { token: alice } = await owner();
	const begun = performance.now();
	const first = await rest(node, 'GET', '/v1/me', { token: alice });
	assert.equal(first.headers.get('ratelimit-policy'), '"subject";q=10;w=2');
	assert.match(first.headers.get('ratelimit'), /^"subject";r=9;t=\d$/);

	const answers = await Promise.all(Array.from({ length: 60 }, () => rest(node, 'GET', '/v1/me', { token: alice })));
	const passed = 1 + count(answers, 200);
	assert.ok(passed >= 10 && passed <= atMost(5, begun), `${passed} of 61 passed: ${statuses(answers)}`);
	assert.equal(count(answers, 429), 61 - passed);
	const refused = answers.find(({ status }) => status === 429);
	assert.equal(refused.body.type, 'urn:keyfob:problem:rate-limited');
	assert.equal(refused.body.retriable, true);
	assert.equal(refused.body.may_have_executed, false);
	assert.match(refused.headers.get('ratelimit'), /^"subject";r=0;t=[12]$/);
	assert.equal(refused.headers.get('ratelimit-policy'), '"subject";q=10;w=2');

	const after = Number(refused.headers.get('retry-after'));
	assert.ok(after >= 1 && after <= 2);
	await new Promise((later) => setTimeout(later, after * 1000));
	assert.equal((await rest(node, 'GET', '/v1/me', { token: alice })).status, 200);

	const { token: bob } = await owner(); // nobody else is held up
	assert.equal((await rest(node, 'GET', '/v1/me', { token: bob })).status, 200);
	assert.match(await node.metrics(), /keyfob_rate_limited_total [1-9]/);
});

test('a subject has one bucket for REST and WebSocket', options, async () => {
	const node = await limited({ per_subject: '2/s' });
	const { token: alice } = await owner();
	const app = await openSocket(node, { token: alice });
	const begun = performance.now();
	const [calls, answers] = await Promise.all([
		Promise.allSettled(Array.from({ length: 12 }, () => app.call('vehicle.list', {}))),
		Promise.all(Array.from({ length: 12 }, () => rest(node, 'GET', '/v1/me', { token: alice }))),
	]);
	const passed = calls.filter(({ status }) => status === 'fulfilled').length + count(answers, 200);
	assert.ok(passed >= 4 && passed <= atMost(2, begun), `${passed} of 24 passed in ${performance.now() - begun} ms`);
	assert.equal(count(answers, 429), 12 - count(answers, 200));
	const error = calls.find(({ status }) => status === 'rejected').reason;
	assert.ok(isLimited(error), error.message);
	assert.equal(error.code, -32000);
	assert.equal(error.data.status, 429);
	assert.ok(error.data.retry_after_seconds >= 1);
	await new Promise((later) => setTimeout(later, 1000)); // the connection has lived
	assert.ok((await app.call('vehicle.list', {})).items);
});

test('a vehicle: whoever sends, by REST or WebSocket; replays are free', options, async () => {
	const node = await limited({ per_vehicle: '2/s' });
	const { id, token: alice } = await owner();
	const bob = await token({ sub: 'bob' });
	await grant(free, admin, id, 'bob', 'driver');
	const app = await openSocket(node, { token: bob });
	const begun = performance.now();
	const kept = await sendCommand(node, alice, id, { name: 'horn.honk' }, { 'Idempotency-Key': 'kept' });
	assert.equal(kept.status, 202);
	for (let i = 0; i < 10; i++) {
		const again = await sendCommand(node, alice, id, { name: 'horn.honk' }, { 'Idempotency-Key': 'kept' });
		assert.notEqual(again.status, 422);
	}
	const byRest = await Promise.all(Array.from({ length: 10 }, () => sendCommand(node, alice, id, { name: 'horn.honk' })));
	const bySocket = await Promise.allSettled(Array.from({ length: 10 }, () => app.call('command.send', { vehicle_id: id, name: 'horn.honk' })));
	const most = atMost(2, begun);
	const made = Number(await database.sql(`select count(*) from commands where vehicle_id = '${id}'`));
	assert.ok(made >= 4 && made <= most, `${made} commands, at most ${most}`);
	const refused = byRest.find(({ status }) => status === 429);
	assert.equal(refused.headers.get('ratelimit-policy'), '"vehicle";q=4;w=2');
	assert.equal(refused.body.type, 'urn:keyfob:problem:rate-limited');
	assert.ok(bySocket.some(({ reason }) => reason && isLimited(reason)));
	assert.equal((await rest(node, 'GET', `/v1/vehicles/${id}/commands`, { token: alice })).status, 200); // reading is no command
});

test("a stranger neither uses up a vehicle's rate nor learns from it that the vehicle exists", options, async () => {
	const node = await limited({ per_vehicle: '1/s' });
	const { id, token: alice } = await owner();
	const mallory = await token({ sub: 'mallory' });
	const strange = await Promise.all(Array.from({ length: 20 }, () => sendCommand(node, mallory, id, { name: 'horn.honk' })));
	assert.deepEqual([...new Set(statuses(strange))], [404]);
	const own = await Promise.all([1, 2].map(() => sendCommand(node, alice, id, { name: 'horn.honk' })));
	assert.deepEqual(statuses(own), [202, 202]);
	const answers = await Promise.all(Array.from({ length: 10 }, () => sendCommand(node, alice, id, { name: 'horn.honk' })));
	assert.ok(count(answers, 429) > 0);
	for (const target of [id, 'NOBODY'])
		for (let i = 0; i < 5; i++) assert.equal((await sendCommand(node, mallory, target, { name: 'horn.honk' })).status, 404);
});

test('an address: also who is not let in; a trusted proxy names it', options, async () => {
	const node = await limited({ per_address: '3/s' }, { http: { trusted_proxies: ['127.0.0.0/8'] } });
	const { token: alice } = await owner();
	const from = (address, more = {}) => rest(node, 'GET', '/v1/me', { token: alice, headers: { 'X-Forwarded-For': address }, ...more });
	const begun = performance.now();
	const guesses = await Promise.all(Array.from({ length: 30 }, (_, i) => from('203.0.113.7', { token: `guess-${i}` })));
	let heard = count(guesses, 401);
	assert.ok(heard >= 6 && heard <= atMost(3, begun), `${heard} guesses were heard`);
	assert.equal(count(guesses, 429), 30 - heard);
	// All of these are the same address, and the rate goes on for them together.
	const socket = (address) => openSocket(node, { token: alice, headers: { 'X-Forwarded-For': address } }).then(() => ({ status: 101 }), ({ status }) => ({ status }));
	for (const [ask, address, granted] of [[from, '203.0.113.7', 200], [from, '6.6.6.6, 203.0.113.7', 200], [socket, '203.0.113.7', 101]]) {
		const answers = await Promise.all(Array.from({ length: 12 }, () => ask(address))); // what stands before was the client's own
		heard += count(answers, granted);
		assert.ok(heard <= atMost(3, begun), `${heard} were heard`);
		assert.ok(count(answers, 429) === 12 - count(answers, granted) && count(answers, 429) > 0, String(statuses(answers)));
	}
	assert.equal((await from('203.0.113.8')).status, 200);
	assert.equal((await socket('203.0.113.9')).status, 101);
});

test('an address: what a page asks for besides, its files and what it may send, counts as well', options, async () => {
	const page = 'https://app.example';
	const node = await limited({ per_address: '3/s' }, { http: { web_root: webRoot, cors_origins: [page] } });
	const preflight = { Origin: page, 'Access-Control-Request-Method': 'POST' };
	for (const [method, path, headers, granted] of [['GET', '/', {}, 200], ['GET', '/nothing-here', {}, 404], ['OPTIONS', '/v1/me', preflight, 204]]) {
		await new Promise((later) => setTimeout(later, 1000)); // for there to be tokens
		const begun = performance.now();
		const answers = await Promise.all(Array.from({ length: 30 }, () => rest(node, method, path, { headers, unchecked: true })));
		assert.ok(count(answers, granted) > 0 && count(answers, granted) <= atMost(3, begun), String(statuses(answers)));
		assert.equal(count(answers, 429), 30 - count(answers, granted), String(statuses(answers)));
		if (headers.Origin) assert.ok(answers.every((answer) => answer.headers.get('access-control-allow-origin') === page), 'the page may read that it was refused');
	}
});

test('an address that no proxy names is the one of the connection', options, async () => {
	const node = await limited({ per_address: '2/s' });
	const { token: alice } = await owner();
	const answers = await Promise.all(
		Array.from({ length: 20 }, (_, i) => rest(node, 'GET', '/v1/me', { token: alice, headers: { 'X-Forwarded-For': `203.0.113.${i}` } })),
	);
	assert.ok(count(answers, 429) > 0 && count(answers, 200) >= 4, String(statuses(answers)));
});

test('a socket that sends too much is closed with 4429', options, async () => {
	const node = await limited({ per_socket: '5/s' });
	const { token: alice } = await owner();
	const app = await openSocket(node, { token: alice });
	for (let i = 0; i < 30; i++) app.call('vehicle.list', {}).catch(() => {});
	assert.equal((await app.closed).code, 4429);
	assert.ok((await (await openSocket(node, { token: alice })).call('vehicle.list', {})).items);
});

test('"0" is no limit, and no RateLimit field', options, async () => {
	const { token: alice } = await owner();
	const answers = await Promise.all(Array.from({ length: 200 }, () => rest(free, 'GET', '/v1/me', { token: alice })));
	assert.deepEqual([...new Set(statuses(answers))], [200]);
	assert.equal(answers[0].headers.get('ratelimit'), null);
	assert.equal(answers[0].headers.get('ratelimit-policy'), null);
});

for (const [limit, http] of [['max_connections', { max_connections: 3, per_address: 1000 }], ['per_address', { max_connections: 1000, per_address: 3 }]])
	test(`past ${limit} the newcomer gets 503, and there is room again when one goes`, options, async () => {
		const node = await limited({}, { http });
		const { token: alice } = await owner();
		const apps = [];
		for (let i = 0; i < 3; i++) apps.push(await openSocket(node, { token: alice }));
		assert.equal(await openSocket(node, { token: alice }).then(() => 101, (error) => error.status), 503);
		const { status: refused, headers, body } = await rest(node, 'GET', '/v1/me', { token: alice });
		assert.deepEqual([refused, body.type, body.status, body.retriable, body.may_have_executed], [503, 'urn:keyfob:problem:overloaded', 503, true, false]);
		assert.equal(headers.get('retry-after'), '1');
		assert.equal(body.instance, headers.get('x-request-id'));
		apps[0].close();
		let status = 503;
		while (status === 503) status = await openSocket(node, { token: alice }).then(() => 101, (error) => error.status);
		assert.equal(status, 101);
	});
