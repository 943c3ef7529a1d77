// webhooks.test.mjs - events sent to a platform's server: two nodes, a real receiver, signatures judged by the standard's own library.
//
// Pauses are milliseconds here; where a rule waits for days, the test moves the first attempt into the past, in the store.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { adminToken, folder, grant, isSanitized, makeAuthority, openSocket, openStream, poll, registerVehicle, rest, sendCommand, startInstallation, startNode, token, vehicleIds } from './harness.mjs';
import { Failpoints } from './failpoints.mjs';
import { isSignedBy, startReceiver, verify } from './receiver.mjs';
import { createMigratedDatabase } from './servers.mjs';

const options = { timeout: 120_000 };
const ids = vehicleIds(30);
const authority = makeAuthority('webhooks');
process.env.SSL_CERT_FILE = authority.certificate;
const webhooks = { timeout: '2s', retry_first: '100ms', retry_max: '400ms', retry_for: '1h' };
const failpoints = new Failpoints();
const { broker, database, nodes } = await startInstallation({ ids, nodes: 2, config: { webhooks: { ...webhooks, anywhere: true } }, failpoints });
const [one, two] = nodes;
const admin = await adminToken();
const platform = await token({ sub: 'platform', scope: 'vehicles:read' });
const receiver = await startReceiver();

let used = 0;
async function car(body = {}) {
	const id = ids[used++];
	await registerVehicle(one, admin, id, body);
	return id;
}
const ownCar = async () => {
	const id = await car();
	await grant(one, admin, id, 'platform', 'viewer');
	return id;
};

let paths = 0;
async function webhook(body, { by = platform, node = one } = {}) {
	const path = `/${++paths}`;
	const answer = await rest(node, 'POST', '/v1/webhooks', { token: by, body: { url: receiver.url + path, ...body } });
	assert.equal(answer.status, 201, JSON.stringify(answer.body));
	assert.equal(answer.headers.get('location'), `/v1/webhooks/${answer.body.id}`);
	return { path, ...answer.body };
}

const read = async ({ id }, by = platform) => (await rest(two, 'GET', `/v1/webhooks/${id}`, { token: by })).body;
const log = async ({ id }, query = '') => (await rest(two, 'GET', `/v1/webhooks/${id}/deliveries?limit=200${query}`, { token: platform })).body.items;

// One event each: what is desired of a vehicle is `n`.
let wishes = 0;
async function wish(id, node = one) {
	const n = ++wishes;
	const { status } = await rest(node, 'PATCH', `/v1/vehicles/${id}/state`, { token: admin, body: { n } });
	assert.equal(status, 200);
	return n;
}
const wished = (n) => ({ event }) => event.data.patch?.n === n;
const numbers = (deliveries) => deliveries.map(({ event }) => event.data.patch.n);

test('an event comes as a CloudEvent, signed for the library of the standard, and stands in the log of deliveries', options, async () => {
	const id = await car({ fleet_id: null });
	await grant(one, admin, id, 'platform', 'viewer');
	const hook = await webhook({ vehicle_ids: [id], description: 'Dispatch' });
	assert.match(hook.secret, /^whsec_/);
	const events = await openStream(two, `/v1/vehicles/${id}/events`, { token: platform });
	const { body: command } = await sendCommand(two, admin, id, { name: 'doors.unlock', wake: false });
	const accepted = await receiver.until(hook.path, ({ event }) => event.type === 'command.updated' && event.data.status === 'accepted');
	const waiting = await receiver.until(hook.path, ({ event }) => event.data.status === 'waiting');
	const told = await events.until(({ event }) => event === 'command.updated');

	assert.deepEqual(verify(hook.secret, accepted), accepted.event);
	assert.ok(!isSignedBy('whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', accepted));
	assert.match(accepted.headers['content-type'], /^application\/cloudevents\+json/);
	const { data, time, ...head } = accepted.event;
	assert.deepEqual(head, { specversion: '1.0', id: told.id, source: `/v1/vehicles/${id}`, type: 'command.updated', subject: id, datacontenttype: 'application/json', seq: told.data.seq });
	assert.deepEqual([data, time], [told.data.data, told.data.time]);
	assert.equal(data.id, command.id);
	assert.equal(waiting.event.seq, accepted.event.seq + 1);
	assert.notEqual(waiting.id, accepted.id);

	const delivered = await poll(() => log(hook), (items) => items.length === 2 && items.every(({ status }) => status === 'delivered'));
	assert.deepEqual(delivered.map(({ id, seq, attempts, response_status, error }) => [id, seq, attempts, response_status, error]), [
		[waiting.id, waiting.event.seq, 1, 204, null],
		[accepted.id, accepted.event.seq, 1, 204, null],
	]);
	const { body: whole } = await rest(one, 'GET', `/v1/webhooks/${hook.id}/deliveries/${accepted.id}`, { token: platform });
	assert.deepEqual(whole.event, accepted.event);
	const { path, secret, ...shown } = hook;
	assert.deepEqual(await read(hook), shown);
	const list = await rest(one, 'GET', '/v1/webhooks', { token: platform });
	assert.deepEqual(list.body.items.filter((other) => other.id === hook.id), [shown]);
	events.close();
});

test('a fleet is heard by the grant on it, the types that were asked for alone, and of one that moves away no more than that', options, async () => {
	for (const fleet of ['vans', 'trucks']) await rest(one, 'PUT', `/v1/fleets/${fleet}`, { token: admin, body: {} });
	const [inside, outside] = [await car({ fleet_id: 'vans' }), await car({ fleet_id: 'trucks' })];
	const create = (body) => rest(one, 'POST', '/v1/webhooks', { token: platform, body: { url: receiver.url, ...body } });
	assert.equal((await create({ fleet_ids: ['vans'] })).body.type, 'urn:keyfob:problem:fleet-not-found');
	assert.equal((await create({ vehicle_ids: [inside] })).body.type, 'urn:keyfob:problem:vehicle-not-found');
	assert.equal((await create({ fleet_ids: ['*'] })).status, 403);
	await rest(one, 'PUT', '/v1/fleets/vans/grants/platform', { token: admin, body: { role: 'viewer' } });
	const hook = await webhook({ fleet_ids: ['vans'], types: ['state.desired', 'vehicle.moved'] });
	const everything = await webhook({ fleet_ids: ['*'], types: ['state.desired'] }, { by: admin });
	await sendCommand(one, admin, inside, { name: 'horn.honk', wake: false });
	await wish(outside);
	const first = await wish(inside);
	assert.equal((await receiver.until(hook.path, wished(first))).event.fleetid, 'vans');
	await registerVehicle(two, admin, inside, { fleet_id: 'trucks' });
	const moved = await receiver.until(hook.path, ({ event }) => event.type === 'vehicle.moved');
	assert.deepEqual([moved.event.data, moved.event.fleetid], [{ fleet_id: null }, undefined]);
	const elsewhere = await wish(inside);
	await receiver.until(everything.path, wished(elsewhere));
	const last = await wish(await car({ fleet_id: 'vans' }));
	await receiver.until(hook.path, wished(last));
	assert.deepEqual(receiver.at(hook.path, inside).map(({ event }) => event.type), ['state.desired', 'vehicle.moved']);
	await rest(one, 'DELETE', `/v1/webhooks/${everything.id}`, { token: admin });
});

test('what fails holds back what comes later of the same vehicle, and nothing of another', options, async () => {
	const [ill, well] = [await ownCar(), await ownCar()];
	const hook = await webhook({ vehicle_ids: [ill, well] });
	let isIll = true;
	receiver.answers.set(hook.path, ({ event }) => isIll && event.subject === ill && { status: 500 });
	const first = await wish(ill);
	await receiver.until(hook.path, (delivery) => wished(first)(delivery) && delivery.attempt === 2);
	const later = [await wish(ill), await wish(ill, two)];
	const others = [await wish(well), await wish(well, two), await wish(well)];
	await receiver.until(hook.path, wished(others[2]));
	await receiver.until(hook.path, (delivery) => wished(first)(delivery) && delivery.attempt === 4);
	assert.deepEqual(numbers(receiver.at(hook.path, well)), others);
	assert.deepEqual([...new Set(numbers(receiver.at(hook.path, ill)))], [first]);
	const [, , failing] = await log(hook, '&status=pending');
	assert.deepEqual([failing.seq, failing.response_status], [receiver.at(hook.path, ill)[0].event.seq, 500]);
	assert.ok(failing.attempts >= 3 && failing.next_attempt_at > failing.last_attempt_at);

	isIll = false;
	await receiver.until(hook.path, wished(later[1]));
	const heard = numbers(receiver.at(hook.path, ill));
	assert.deepEqual(heard.slice(-3), [first, ...later]);
	assert.deepEqual([...new Set(receiver.at(hook.path, ill).map(({ id }) => id))].length, 3);
});

test('Retry-After is obeyed, and with 429 for the whole of the server', options, async () => {
	const [id, other] = [await ownCar(), await ownCar()];
	const hook = await webhook({ vehicle_ids: [id, other] });
	receiver.answers.set(hook.path, ({ attempt }) => attempt === 1 && { status: 429, headers: { 'Retry-After': '3' } });
	const n = await wish(id);
	const refused = await receiver.until(hook.path, wished(n));
	const { held_until: until } = await poll(() => read(hook), ({ held_until: held }) => held);
	const besides = await wish(other);
	const again = await receiver.until(hook.path, (delivery) => wished(n)(delivery) && delivery.attempt === 2);
	const beside = await receiver.until(hook.path, wished(besides));
	assert.ok(again.at - refused.at >= 2900, `${again.at - refused.at} ms`);
	assert.ok(beside.at >= Date.parse(until) - 100, 'nothing came meanwhile');
	assert.equal(again.id, refused.id);
});

test('410 disables it, those whom it concerns hear of that, and once it is enabled what waited comes', options, async () => {
	const id = await car();
	await grant(one, admin, id, 'platform', 'driver');
	await grant(one, admin, id, 'somebody', 'driver');
	const hook = await webhook({ vehicle_ids: [id], types: ['state.desired'] });
	const observer = await webhook({ vehicle_ids: [id], types: ['webhook.disabled'] });
	const [mine, theirs] = [await openSocket(two, { token: platform }), await openSocket(two, { token: await token({ sub: 'somebody' }) })];
	for (const socket of [mine, theirs]) await socket.call('vehicle.subscribe', { vehicle_id: id });
	receiver.answers.set(hook.path, () => ({ status: 410 }));
	const gone = await wish(id);
	const { data } = await mine.events.until(({ type }) => type === 'webhook.disabled');
	assert.deepEqual(data, { webhook_id: hook.id, subject: 'platform', reason: 'gone' });
	await theirs.events.until(({ type }) => type === 'skipped');
	assert.deepEqual((await receiver.until(observer.path, () => true)).event.data, data);
	const { enabled, disabled_reason: reason } = await read(hook);
	assert.deepEqual([enabled, reason], [false, 'gone']);
	await wish(id); // nobody hears it

	receiver.answers.delete(hook.path);
	const { body } = await rest(one, 'PUT', `/v1/webhooks/${hook.id}`, { token: platform, body: { url: hook.url, vehicle_ids: [id], types: ['state.desired'] } });
	assert.deepEqual([body.enabled, body.disabled_at, body.disabled_reason], [true, null, null]);
	const next = await wish(id);
	await receiver.until(hook.path, wished(next));
	assert.deepEqual(numbers(receiver.at(hook.path)), [gone, next]);
	for (const socket of [mine, theirs]) socket.close();
});

test('a delivery that has failed for the whole of its schedule disables it', options, async () => {
	const id = await ownCar();
	const hook = await webhook({ vehicle_ids: [id] });
	receiver.answers.set(hook.path, () => ({ status: 404 }));
	const n = await wish(id);
	await receiver.until(hook.path, (delivery) => wished(n)(delivery) && delivery.attempt === 3);
	assert.ok((await read(hook)).enabled);
	await database.sql(`update webhook_deliveries set first_attempt_at = first_attempt_at - interval '61 minutes' where webhook_id = '${hook.id}'`);
	const { disabled_reason: reason } = await poll(() => read(hook), ({ enabled }) => !enabled);
	assert.equal(reason, 'exhausted');
	const [{ status, response_status: code, attempts }] = await log(hook);
	assert.deepEqual([status, code], ['failed', 404]);
	assert.ok(attempts >= 4);
});

test('a secret that is rotated signs beside the new one until the overlap is over', options, async () => {
	const id = await ownCar();
	const hook = await webhook({ vehicle_ids: [id] });
	const rotate = async (overlap) => (await rest(two, 'POST', `/v1/webhooks/${hook.id}/rotate`, { token: platform, body: overlap === undefined ? undefined : { overlap_seconds: overlap } })).body;
	const heard = async () => {
		const n = await wish(id);
		return receiver.until(hook.path, wished(n));
	};
	const fresh = await rotate();
	assert.ok(Date.parse(fresh.old_secret_until) > Date.now() + 23 * 3600_000);
	const both = await heard();
	assert.equal(both.headers['webhook-signature'].split(' ').length, 2);
	assert.ok(isSignedBy(hook.secret, both) && isSignedBy(fresh.secret, both));
	const last = await rotate(0);
	const alone = await heard();
	assert.deepEqual([hook, fresh, last].map(({ secret }) => isSignedBy(secret, alone)), [false, false, true]);
});

test('an event is sent once more on request, under the same id, and what was on its way stays in order', options, async () => {
	const id = await ownCar();
	const hook = await webhook({ vehicle_ids: [id] });
	const n = [await wish(id), await wish(id)];
	const [first] = [await receiver.until(hook.path, wished(n[0])), await receiver.until(hook.path, wished(n[1]))];
	await poll(() => log(hook, '&status=delivered'), ({ length }) => length === 2);
	const { status, body } = await rest(one, 'POST', `/v1/webhooks/${hook.id}/deliveries/${first.id}/redeliver`, { token: platform });
	assert.deepEqual([status, body.status, body.attempts], [202, 'pending', 0]);
	await receiver.until(hook.path, (delivery) => delivery.id === first.id && delivery.attempt === 2);
	await poll(() => log(hook, '&status=delivered'), ({ length }) => length === 2);
	assert.deepEqual(numbers(receiver.at(hook.path)), [...n, n[0]]);
	const none = await rest(one, 'POST', `/v1/webhooks/${hook.id}/deliveries/${hook.id}/redeliver`, { token: platform });
	assert.equal(none.body.type, 'urn:keyfob:problem:delivery-not-found');
});

test('a redirect is not followed, a server that is silent, that nobody vouches for or that is another by name has not got it', options, async () => {
	const trusted = await startReceiver({ certificate: authority.issue('localhost') });
	const stranger = await startReceiver({ certificate: makeAuthority('stranger').issue('localhost') });
	const misnamed = await startReceiver({ certificate: authority.issue('misnamed', 'misnamed', 'DNS:elsewhere.example') });
	const [redirected, slow, secure, strange, astray] = [await ownCar(), await ownCar(), await ownCar(), await ownCar(), await ownCar()];
	const hooks = [
		await webhook({ vehicle_ids: [redirected] }),
		await webhook({ vehicle_ids: [slow] }),
		await webhook({ vehicle_ids: [secure], url: `${trusted.url}/secure` }),
		await webhook({ vehicle_ids: [strange], url: `${stranger.url}/strange` }),
		await webhook({ vehicle_ids: [astray], url: `${misnamed.url}/astray` }),
	];
	const redirects = [301, 302, 303, 307, 308];
	const inside = [`${receiver.url}/elsewhere`, `${trusted.url}/elsewhere`, 'http://169.254.169.254/latest/meta-data/', 'file:///etc/hostname', '/elsewhere'];
	let isRedirecting = true;
	receiver.answers.set(hooks[0].path, ({ attempt }) => isRedirecting && { status: redirects[attempt % 5], headers: { Location: inside[attempt % 5] } });
	receiver.answers.set(hooks[1].path, () => new Promise((resolve) => setTimeout(resolve, 4000)));
	const n = [];
	for (const id of [redirected, slow, secure, strange, astray]) n.push(await wish(id));
	assert.deepEqual(verify(hooks[2].secret, await trusted.until('/secure', wished(n[2]))).data.patch, { n: n[2] });
	const failed = async (hook) => (await poll(() => log(hook), ([item]) => item?.attempts > 0))[0];
	const [{ status, response_status: code, error: why }] = await poll(() => log(hooks[0]), ([item]) => item?.attempts >= 5, { ms: 30_000, what: 'each was tried' });
	assert.deepEqual([status, redirects.includes(code), why], ['pending', true, 'redirects are not followed']);
	isRedirecting = false;
	await poll(() => log(hooks[0], '&status=delivered'), ({ length }) => length === 1, { ms: 30_000, what: 'it was taken in the end' });
	assert.deepEqual([(await failed(hooks[1])).response_status, (await failed(hooks[1])).error], [null, 'Timeout was reached']);
	for (const hook of hooks.slice(3)) assert.match((await failed(hook)).error, /certificate|SSL|peer/);
	assert.deepEqual([receiver.at('/elsewhere').length, trusted.at('/elsewhere').length, stranger.deliveries.items.length, misnamed.deliveries.items.length], [0, 0, 0, 0]);
	for (const hook of hooks) await rest(one, 'DELETE', `/v1/webhooks/${hook.id}`, { token: platform });
});

test('a grant that ends takes with it what has not arrived, and nothing comes any more', options, async () => {
	const [id, other] = [await ownCar(), await ownCar()];
	const hook = await webhook({ vehicle_ids: [id, other] });
	receiver.answers.set(hook.path, ({ event }) => event.subject === id && { status: 503 });
	const lost = [await wish(id), await wish(id)];
	await receiver.until(hook.path, wished(lost[0]));
	await poll(() => log(hook, '&status=pending'), ({ length }) => length === 2);
	await rest(two, 'DELETE', `/v1/vehicles/${id}/grants/platform`, { token: admin });
	const dropped = await poll(() => log(hook, '&status=dropped'), ({ length }) => length === 2);
	assert.deepEqual(dropped.map(({ error }) => error), ['access', 'access']);
	receiver.answers.delete(hook.path);
	await wish(id);
	const last = await wish(other);
	await receiver.until(hook.path, wished(last));
	assert.deepEqual([...new Set(numbers(receiver.at(hook.path)))], [lost[0], last]);
	assert.equal((await log(hook)).length, 3);
	const { body } = await rest(one, 'GET', `/v1/webhooks/${hook.id}/deliveries/${dropped[0].id}`, { token: platform });
	assert.equal(body.event, null);
	await grant(one, admin, id, 'platform', 'viewer');
	const anew = await wish(id);
	await receiver.until(hook.path, wished(anew));
});

test('somebody else\'s webhook is none, one erases what is kept of a subject, and there are not more than may be', options, async () => {
	const id = await car();
	await grant(one, admin, id, 'mallory', 'viewer');
	const mallory = await token({ sub: 'mallory', scope: 'vehicles:read' });
	const hook = await webhook({ vehicle_ids: [id] }, { by: mallory });
	for (const [method, path] of [['GET', ''], ['PUT', ''], ['DELETE', ''], ['POST', '/rotate'], ['GET', '/deliveries']])
		assert.equal(
			(await rest(one, method, `/v1/webhooks/${hook.id}${path}`, { token: platform, body: method === 'PUT' ? { url: hook.url, vehicle_ids: [id] } : undefined })).body.type,
			'urn:keyfob:problem:webhook-not-found',
			`${method} ${path}`,
		);
	for (let i = 1; i < 20; i++) await webhook({ vehicle_ids: [id], enabled: false }, { by: mallory });
	const surplus = await rest(one, 'POST', '/v1/webhooks', { token: mallory, body: { url: hook.url, vehicle_ids: [id] } });
	assert.deepEqual([surplus.status, surplus.body.type], [422, 'urn:keyfob:problem:invalid-params']);
	const { body } = await rest(one, 'GET', '/v1/subjects/mallory?limit=200', { token: admin });
	assert.equal(body.items.filter(({ kind }) => kind === 'webhook').length, 20);
	assert.equal((await rest(one, 'DELETE', '/v1/subjects/mallory', { token: admin })).status, 204);
	assert.equal((await rest(one, 'GET', `/v1/webhooks/${hook.id}`, { token: admin })).status, 404);
});

test('what an admin\'s webhook hears is not shown to the same subject without that scope, nor is its secret', options, async () => {
	const id = await car();
	const chief = await adminToken('chief');
	const hook = await webhook({ vehicle_ids: [id] }, { by: chief });
	const n = await wish(id);
	await receiver.until(hook.path, wished(n));
	const plain = await token({ sub: 'chief', scope: 'vehicles:read' });
	const path = `/v1/webhooks/${hook.id}`;
	const {
		body: { items },
	} = await poll(() => rest(one, 'GET', `${path}/deliveries`, { token: chief }), ({ body }) => body.items.length > 0);
	const shown = async (by) => (await rest(one, 'GET', `${path}/deliveries/${items[0].id}`, { token: by })).body.event;
	assert.equal((await shown(chief)).subject, id);
	assert.equal(await shown(plain), null);
	for (const action of ['/rotate', `/deliveries/${items[0].id}/redeliver`]) assert.equal((await rest(one, 'POST', path + action, { token: plain })).status, 404, action);
});

test('a URL that is none, or that is not to be called, is refused', options, async () => {
	const id = await ownCar();
	for (const url of ['ftp://platform.example/', 'platform.example/keyfob', 'https://user:secret@platform.example/', 'https://platform.example/#part', 'https://', ''])
		assert.equal((await rest(one, 'POST', '/v1/webhooks', { token: platform, body: { url, vehicle_ids: [id] } })).body.type, 'urn:keyfob:problem:invalid-params', url);
	for (const body of [{ vehicle_ids: [] }, { types: ['command.updated'] }, { vehicle_ids: [id], types: ['command.sent'] }, { vehicle_ids: id }])
		assert.equal((await rest(one, 'POST', '/v1/webhooks', { token: platform, body: { url: receiver.url, ...body } })).status, 422, JSON.stringify(body));
});

// Once every worker of the node has the database: without a broker it is never ready, and is not waited for.
async function untilItStores(node) {
	const says = () => fetch(`${node.adminUrl}/readyz`).then((answer) => answer.json());
	await poll(says, ({ database }) => database === 'ok', { ms: 30_000, what: 'it has its database' });
}

async function registerAtLast(node) {
	await untilItStores(node);
	await registerVehicle(node, admin, ids[0]);
}

test('an address that is not public is never connected to', options, async () => {
	const strictDatabase = await createMigratedDatabase();
	const node = await startNode({ broker, database: strictDatabase, config: { mqtt: { url: 'mqtt://127.0.0.1:1' }, webhooks }, isReady: false });
	const inside = await startReceiver({ certificate: authority.issue('localhost') });
	await registerAtLast(node);
	const create = (url) => rest(node, 'POST', '/v1/webhooks', { token: admin, body: { url, vehicle_ids: [ids[0]] } });
	for (const host of ['127.0.0.1', '0x7f.1', '10.1.2.3', '169.254.169.254', '[::1]', '[::ffff:127.0.0.1]', '[fd00::1]', '[64:ff9b::7f00:1]'])
		assert.deepEqual([(await create(`https://${host}:${inside.port}/`)).status, host], [422, host]);
	assert.equal((await create(`http://localhost:${inside.port}/`)).status, 422);
	const { status, body } = await create(`${inside.url}/by-name`); // a name leads inside
	assert.equal(status, 201);
	await sendCommand(node, admin, ids[0], { name: 'horn.honk', wake: false });
	const [failed] = await poll(async () => (await rest(node, 'GET', `/v1/webhooks/${body.id}/deliveries`, { token: admin })).body.items.reverse(), ([item]) => item?.attempts >= 2);
	assert.deepEqual([failed.status, failed.response_status, failed.error], ['pending', null, 'the address is not public']);
	assert.deepEqual([inside.connections, inside.deliveries.items.length], [0, 0]);
	assert.equal((await node.stop()).code, 0);
});

// What names lead to, for a node that runs with libnss_wrapper (https://cwrap.org), whose table several threads may not look into while it is made:
// they look one after the other.
function steerNames() {
	const file = join(folder, 'hosts');
	return {
		env: { UV_THREADPOOL_SIZE: '1', NSS_WRAPPER_HOSTS: file, LD_PRELOAD: isSanitized ? 'libasan.so.8:libnss_wrapper.so' : 'libnss_wrapper.so' },
		lead: (names) => writeFileSync(file, Object.entries(names).flatMap(([name, to]) => to.map((address) => `${address} ${name}\n`)).join('')),
	};
}

test('a name that leads outside when it is written and inside when it is called leads nowhere', options, async () => {
	const nowhere = '2000::1'; // public by its network, of which nothing was given to anybody
	const within = ['127.0.0.1', '0.0.0.0', '10.1.2.3', '169.254.169.254', '::1', '::', '::ffff:127.0.0.1', '64:ff9b::7f00:1', 'fd00::1', 'fe80::1'];
	const names = steerNames();
	names.lead({ 'turns.test': [nowhere], 'inside.test': within, 'both.test': [nowhere, ...within] });
	const own = await createMigratedDatabase();
	const node = await startNode({ broker, database: own, env: names.env, config: { mqtt: { url: 'mqtt://127.0.0.1:1' }, webhooks: { ...webhooks, timeout: '1s' } }, isReady: false });
	const inside = await startReceiver({ certificate: authority.issue('localhost') });
	await registerAtLast(node);
	const hooks = [];
	for (const name of ['turns', 'inside', 'both']) {
		const { status, body } = await rest(node, 'POST', '/v1/webhooks', { token: admin, body: { url: `https://${name}.test:${inside.port}/`, vehicle_ids: [ids[0]] } });
		assert.equal(status, 201, name);
		hooks.push(body);
	}
	await wish(ids[0], node);
	const error = async ({ id }, after = 0) => {
		const deliveries = async () => (await rest(node, 'GET', `/v1/webhooks/${id}/deliveries`, { token: admin })).body.items ?? []; // 503 after a start
		const [item] = await poll(deliveries, ([one]) => one?.attempts > after, { ms: 30_000, what: 'it was tried' });
		assert.deepEqual([item.status, item.response_status], ['pending', null]);
		return item;
	};
	const refused = 'the address is not public';
	const first = await error(hooks[0]);
	assert.notEqual(first.error, refused);
	assert.equal((await error(hooks[1])).error, refused);
	assert.notEqual((await error(hooks[2])).error, refused);

	names.lead({ 'turns.test': within });
	await node.stop(); // what a name led to is kept for a minute
	await node.start(false);
	await poll(() => error(hooks[0], first.attempts), (item) => item.error === refused, { ms: 30_000, what: 'it is refused' });
	assert.equal(inside.connections, 0);

	await node.stop();
	node.env = { ...names.env, KEYFOB_WEBHOOKS_ANYWHERE: 'true' };
	await node.start(false);
	await poll(() => inside.connections, (n) => n > 0, { ms: 30_000, what: 'the name does lead there' });
	await node.stop();
});

test('secrets lie sealed once there is a key, also those from before, and under another one anew; deliveries are signed as ever', options, async () => {
	const own = await createMigratedDatabase();
	const keys = [randomBytes(32), randomBytes(32)].map((key) => key.toString('base64'));
	const begin = (more) => startNode({ broker, database: own, config: { mqtt: { url: 'mqtt://127.0.0.1:1' }, webhooks: { ...webhooks, anywhere: true, ...more } }, isReady: false });
	const stored = () => own.sql('select secret || coalesce(old_secret, secret) from webhooks');
	const heard = async (node) => {
		await untilItStores(node); // what sealed it is another of its connections
		const n = await wish(ids[0], node);
		return receiver.until('/sealed', wished(n));
	};
	const clear = await begin();
	await registerAtLast(clear);
	const { body: hook } = await rest(clear, 'POST', '/v1/webhooks', { token: admin, body: { url: `${receiver.url}/sealed`, vehicle_ids: [ids[0]] } });
	assert.equal(await stored(), hook.secret + hook.secret);
	await clear.stop();

	const keyed = await begin({ key: keys[0] });
	const sealed = await poll(stored, (text) => /^(sealed:[^:]+:[^:]+)\1$/.test(text), { ms: 30_000, what: 'it is sealed' });
	assert.ok(isSignedBy(hook.secret, await heard(keyed)));
	const { body: fresh } = await rest(keyed, 'POST', `/v1/webhooks/${hook.id}/rotate`, { token: admin });
	assert.match(fresh.secret, /^whsec_/);
	assert.match(await stored(), /^sealed:.*sealed:/);
	const both = await heard(keyed);
	assert.ok(isSignedBy(hook.secret, both) && isSignedBy(fresh.secret, both));
	await keyed.stop();

	const prefix = sealed.slice(0, 'sealed:00000000:'.length);
	const rekeyed = await begin({ key: keys[1], old_key: keys[0] });
	await poll(stored, (text) => !text.includes(prefix), { ms: 30_000, what: 'it is sealed anew' });
	const anew = await heard(rekeyed);
	assert.ok(isSignedBy(hook.secret, anew) && isSignedBy(fresh.secret, anew));
	await rekeyed.stop();
});

test('that one was disabled is told once, though who is to tell it dies before that is committed', options, async () => {
	const id = await ownCar();
	const hook = await webhook({ vehicle_ids: [id], types: ['state.desired'] });
	receiver.answers.set(hook.path, () => ({ status: 410 }));
	failpoints.arm('alert', 'kill');
	await wish(id);
	const pid = await failpoints.untilHit('alert');
	const dead = nodes.find(({ child }) => child.pid === pid);
	dead.child.isExpectedToEnd = true;
	assert.equal((await dead.child.exited).signal, 'SIGKILL');
	const alive = dead === one ? two : one;
	const told = async () => (await rest(alive, 'GET', `/v1/vehicles/${id}/events?limit=200`, { token: admin })).body.items.filter(({ type }) => type === 'webhook.disabled');
	const [{ data }] = await poll(told, ({ length }) => length > 0, { ms: 40_000, what: 'the other has told it' });
	assert.deepEqual(data, { webhook_id: hook.id, subject: 'platform', reason: 'gone' });
	await dead.start();
	await wish(id, dead);
	assert.equal((await told()).length, 1);
	assert.equal(await database.sql('select count(*) from webhooks where untold_vehicle is not null'), '0');
});

test('a node that is killed amid its deliveries is followed by another, and nothing is lost', options, async () => {
	const herd = [await ownCar(), await ownCar(), await ownCar()];
	const hook = await webhook({ vehicle_ids: herd, types: ['state.desired'] });
	let isStuck = true;
	receiver.answers.set(hook.path, () => isStuck && new Promise(() => {}));
	const wishesOf = new Map();
	for (const id of [...herd, ...herd]) wishesOf.set(id, [...(wishesOf.get(id) ?? []), await wish(id)]);
	const inHand = async (node) => Number(/^keyfob_webhooks_in_hand (\d+)$/m.exec(await node.metrics())?.[1]);
	const [holder] = (await poll(async () => [[one, await inHand(one)], [two, await inHand(two)]], (both) => both.some(([, n]) => n > 0))).find(([, n]) => n > 0);
	await holder.kill();
	isStuck = false;
	const other = holder === one ? two : one;
	for (const id of herd) wishesOf.set(id, [...wishesOf.get(id), await wish(id, other)]);
	for (const id of herd) {
		await receiver.until(hook.path, wished(wishesOf.get(id).at(-1)), { ms: 40_000 });
		assert.deepEqual([...new Set(numbers(receiver.at(hook.path, id)))], wishesOf.get(id));
	}
	await holder.start();
	const drained = await Promise.all([one.stop(), two.stop()]);
	assert.deepEqual(drained.map(({ code }) => code), [0, 0]);
});
