// security.test.mjs - what is noticed and told, who is remembered and forgotten, and that nothing entrusted is written down.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import {
	adminToken, build, connectVehicle, feedOf, forgedToken, grant, openSocket, openStream, poll, registerVehicle, rest, run, sendCommand,
	startInstallation, tablesNaming, token, vehicleIds,
} from './harness.mjs';

const options = { timeout: 90_000 };
const ids = vehicleIds(20);
const limits = { refusals: 5, forged_answers: 3, commands: 6, subject_commands: 10, window: '1h' };
const { broker, database, node } = await startInstallation({ ids, config: { detection: limits, http: { trusted_proxies: ['127.0.0.1'] } } });
const admin = await adminToken('root');
const none = '0192f3c8-0000-7000-8000-000000000000';
let used = 0;

const person = async (sub, scope = 'vehicles:read commands:write') => ({ subject: sub, token: await token({ sub, scope }) });
const from = (address) => ({ 'X-Forwarded-For': address });
const audit = async (id, as = admin) => (await rest(node, 'GET', `/v1/vehicles/${id}/audit`, { token: as })).body.items;
const alertsOf = (events) => events.filter(({ type }) => type === 'security.alert');
const warnings = (kind) => node.child.logText().split('\n').filter((line) => line.includes('area=security') && line.includes(`kind=${kind}`));
const counted = async (name) => Number(new RegExp(`^keyfob_${name}_total (\\d+)`, 'm').exec(await node.metrics())?.[1] ?? 0);

// A vehicle in a fleet, with its owner and a driver.
async function newVehicle() {
	const n = ++used;
	const [id, fleet] = [ids[n - 1], `F${n}`];
	await rest(node, 'PUT', `/v1/fleets/${fleet}`, { token: admin, body: { title: 'Vans' } });
	await registerVehicle(node, admin, id, { fleet_id: fleet });
	const [owner, driver, manager] = await Promise.all([person(`owner-${n}`), person(`driver-${n}`), person(`manager-${n}`)]);
	await grant(node, admin, id, owner.subject, 'owner');
	await grant(node, admin, id, driver.subject, 'driver');
	await rest(node, 'PUT', `/v1/fleets/${fleet}/grants/${manager.subject}`, { token: admin, body: { role: 'manager' } });
	return { id, fleet, owner, driver, manager };
}

async function watch(who, id) {
	const socket = await openSocket(node, { token: who.token });
	await socket.call('vehicle.subscribe', { vehicle_id: id });
	return socket;
}

// ---- detection

test('who is refused again and again raises one alert: for the owner and the manager, in the log, in the metric', options, async () => {
	const { id, fleet, owner, driver, manager } = await newVehicle();
	const [theirs, drivers] = await Promise.all([watch(owner, id), watch(driver, id)]);
	const managers = await openStream(node, `/v1/fleets/${fleet}/events`, { token: manager.token });
	const stranger = await person('stranger');
	const before = await counted('security_alerts');
	const strangers = await openSocket(node, { token: stranger.token });
	await assert.rejects(strangers.call('vehicle.subscribe', { vehicle_id: id }));
	assert.equal((await openStream(node, `/v1/vehicles/${id}/events`, { token: stranger.token })).status, 404);
	for (let i = 0; i < limits.refusals - 2; i++)
		assert.equal((await sendCommand(node, stranger.token, id, { name: 'doors.unlock' }, from(`198.51.100.${i}`))).status, 404);

	const { data } = await theirs.until(({ type }) => type === 'security.alert');
	assert.deepEqual(data, { kind: 'refusals', count: limits.refusals, window_seconds: 3600, subject: 'stranger' });
	await managers.until(({ event }) => event === 'security.alert');
	const skipped = await drivers.until(({ type }) => type === 'skipped');
	assert.equal(skipped.vehicle_id, id);
	const list = async (who) => (await rest(node, 'GET', `/v1/vehicles/${id}/events`, { token: who.token })).body.items.map(({ type }) => type);
	assert.equal((await list(owner)).at(-1), 'security.alert');
	assert.ok(!(await list(driver)).includes('security.alert'));
	assert.equal(warnings('refusals').filter((line) => line.includes('subject=stranger')).length, 1);
	assert.equal(await counted('security_alerts'), before + 1);
	for (let i = 0; i < 2 * limits.refusals; i++) await rest(node, 'GET', `/v1/vehicles/${id}`, { token: stranger.token, headers: from(`198.51.100.${i}`) });
	await grant(node, admin, id, 'somebody', 'viewer');
	await theirs.until(({ data }) => data.subject === 'somebody');
	assert.equal(alertsOf(theirs.events.items).length, 1);
});

test('an address that tries tokens that are none is noticed, whoever it says that it is', options, async () => {
	const forged = await Promise.all(Array.from({ length: limits.refusals + 2 }, (_, i) => forgedToken({ sub: `s${i}` })));
	for (const bad of forged) assert.equal((await rest(node, 'GET', '/v1/me', { token: bad, headers: from('198.51.100.77') })).status, 401);
	assert.equal(warnings('refusals').filter((line) => line.includes('198.51.100.77')).length, 1);
});

test('what is refused before a stream begins counts as any refusal; and so do batches and webhooks of others', options, async () => {
	const { id, fleet } = await newVehicle();
	const mute = await person('mute', '');
	const reader = await person('reader', 'vehicles:read');
	const asked = async (who, paths) => Promise.all(paths.map(async (path) => (await openStream(node, path, { token: who.token })).status));
	const vehicle = `/v1/vehicles/${id}/events`;
	const before = await counted('refusals');
	assert.deepEqual(await asked(mute, [vehicle, vehicle, vehicle, `/v1/fleets/${fleet}/events`, '/v1/fleets/*/events']), [403, 403, 403, 403, 403]);
	assert.equal(await counted('refusals'), before + 5);
	assert.deepEqual(await asked(reader, ['/v1/vehicles/no%20id/events', '/v1/fleets/no%20id/events', '/v1/fleets/*/events']), [404, 404, 403]);
	for (const path of [`/v1/batches/${none}`, `/v1/webhooks/${none}`]) assert.equal((await rest(node, 'GET', path, { token: reader.token })).status, 404);
	assert.equal(await counted('refusals'), before + 10);
	assert.ok(warnings('refusals').some((line) => line.includes('subject=reader')));
});

test('an address is its network, and who guesses the secret of a hook is noticed', options, async () => {
	const bad = await forgedToken();
	for (let i = 0; i < limits.refusals; i++) await rest(node, 'GET', '/v1/me', { token: bad, headers: from(`2001:db8:77:1::${i + 1}`) });
	assert.equal(warnings('refusals').filter((line) => line.includes('2001:db8:77:1::')).length, 1);
	for (let i = 0; i < limits.refusals; i++)
		assert.equal((await rest(node, 'POST', `/v1/hooks/sms/texts/guess-${i}`, { headers: from('198.51.100.78'), unchecked: true })).status, 404);
	assert.equal(warnings('refusals').filter((line) => line.includes('198.51.100.78')).length, 1);
});

test('whoever tries a fleet is told of to its managers alone, by each way', options, async () => {
	const { id, fleet, owner, manager } = await newVehicle();
	const [stranger, viewer] = await Promise.all([person('fleet-stranger'), person('fleet-viewer')]);
	await rest(node, 'PUT', `/v1/fleets/${fleet}/grants/${viewer.subject}`, { token: admin, body: { role: 'viewer' } });
	const follow = async (as, followed) => {
		const socket = await openSocket(node, { token: as });
		await socket.call('fleet.subscribe', { fleet_id: followed });
		return socket;
	};
	const [managers, viewers, admins, owners] = await Promise.all([follow(manager.token, fleet), follow(viewer.token, fleet), follow(admin, '*'), watch(owner, id)]);
	await admins.call('fleet.subscribe', { fleet_id: fleet }); // once, though they watch it twice
	const stream = await openStream(node, `/v1/fleets/${fleet}/events`, { token: manager.token });
	const strangers = await openSocket(node, { token: stranger.token });

	await assert.rejects(strangers.call('fleet.subscribe', { fleet_id: fleet }));
	assert.equal((await openStream(node, `/v1/fleets/${fleet}/events`, { token: stranger.token })).status, 404);
	assert.equal((await openStream(node, `/v1/fleets/*/events`, { token: stranger.token })).status, 403);
	assert.equal((await rest(node, 'GET', `/v1/fleets/${fleet}/grants`, { token: stranger.token })).status, 404);
	assert.equal((await rest(node, 'PUT', `/v1/fleets/${fleet}/grants/me`, { token: stranger.token, body: { role: 'manager' } })).status, 404);

	const data = { kind: 'refusals', count: limits.refusals, window_seconds: 3600, subject: stranger.subject };
	for (const socket of [managers, admins]) {
		const { time, ...alert } = await socket.until(({ type, fleet_id }) => type === 'security.alert' && fleet_id === fleet);
		assert.ok(Date.parse(time));
		assert.deepEqual(alert, { fleet_id: fleet, type: 'security.alert', data });
	}
	const told = await stream.until(({ event }) => event === 'security.alert');
	assert.deepEqual([told.id, told.data.fleet_id, told.data.data], [undefined, fleet, data]);
	assert.equal(warnings('refusals').filter((line) => line.includes(`subject=${stranger.subject}`) && line.includes(`fleet_id=${fleet}`)).length, 1);

	await rest(node, 'PUT', `/v1/fleets/${fleet}/grants/${viewer.subject}`, { token: admin, body: { role: 'operator' } });
	await grant(node, admin, id, 'somebody-else', 'viewer');
	for (const socket of [managers, viewers, admins, owners]) await socket.until(({ type, vehicle_id, data: { subject } }) => vehicle_id === id && (type === 'skipped' || subject === 'somebody-else'));
	assert.deepEqual([managers, viewers, admins, owners].map(({ events }) => alertsOf(events.items).filter(({ fleet_id }) => fleet_id === fleet).length), [1, 0, 1, 0]);
});

test('every owner whose vehicle was tried is told, whatever was tried last', options, async () => {
	const [first, second] = [await newVehicle(), await newVehicle()];
	const [theirs, others] = await Promise.all([watch(first.owner, first.id), watch(second.owner, second.id)]);
	const prober = await person('prober');
	const tried = [first.id, second.id, first.id, ...Array.from({ length: limits.refusals - 3 }, (_, i) => `NOBODY${i}`)];
	for (const id of tried) assert.equal((await rest(node, 'GET', `/v1/vehicles/${id}`, { token: prober.token })).status, 404);
	for (const socket of [theirs, others]) {
		const { data } = await socket.until(({ type }) => type === 'security.alert');
		assert.deepEqual(data, { kind: 'refusals', count: limits.refusals, window_seconds: 3600, subject: 'prober' });
		assert.equal(alertsOf(socket.events.items).length, 1);
	}
	assert.equal(warnings('refusals').filter((line) => line.includes('subject=prober')).length, 1);
});

test('a vehicle that answers what it was not asked is told of', options, async () => {
	const { id, owner } = await newVehicle();
	const theirs = await watch(owner, id);
	const car = await connectVehicle(broker, { id });
	for (let i = 0; i < limits.forged_answers; i++) {
		const body = { request_id: `0192f3c8-0000-7000-8000-00000000000${i}`, status: 'succeeded' };
		await car.client.publishAsync(`vehicles/${id}/commands/response/${feedOf(id)}`, JSON.stringify(body), { qos: 1 });
	}
	const { data } = await theirs.until(({ type }) => type === 'security.alert');
	assert.deepEqual(data, { kind: 'forged_answers', count: limits.forged_answers, window_seconds: 3600 });
});

test('so are more commands than anybody sends', options, async () => {
	const { id, owner, driver } = await newVehicle();
	const theirs = await watch(owner, id);
	for (let i = 0; i < limits.commands + 3; i++)
		assert.equal((await sendCommand(node, driver.token, id, { name: 'horn.honk', wake: false })).status, 202);
	const { data } = await theirs.until(({ type }) => type === 'security.alert');
	assert.deepEqual(data, { kind: 'commands', count: limits.commands, window_seconds: 3600, subject: driver.subject });
	assert.equal(warnings('commands').length, 1);
});

test('so is a subject that spreads them over many vehicles, of whom no vehicle gets many', options, async () => {
	const platform = await person('platform');
	const vehicles = [await newVehicle(), await newVehicle(), await newVehicle()];
	for (const { id } of vehicles) await grant(node, admin, id, platform.subject, 'driver');
	const theirs = await Promise.all(vehicles.map(({ owner, id }) => watch(owner, id)));
	for (let i = 0; i < limits.subject_commands + 2; i++) {
		const { id } = vehicles[i % vehicles.length];
		assert.equal((await sendCommand(node, platform.token, id, { name: 'horn.honk', wake: false })).status, 202);
	}
	for (const socket of theirs) {
		const { data } = await socket.until(({ type }) => type === 'security.alert');
		assert.deepEqual(data, { kind: 'subject_commands', count: limits.subject_commands, window_seconds: 3600, subject: platform.subject });
		assert.equal(alertsOf(socket.events.items).length, 1);
	}
	assert.equal(warnings('subject_commands').length, 1);
});

// ---- audit and privacy

test('the audit table says from where, as a trusted proxy tells it, and knows people by ids', options, async () => {
	const { id, owner, driver } = await newVehicle();
	await sendCommand(node, driver.token, id, { name: 'doors.unlock' }, from('203.0.113.9, 127.0.0.1'));
	const socket = await openSocket(node, { token: driver.token, headers: from('2001:db8::7') });
	await socket.call('command.send', { vehicle_id: id, name: 'doors.unlock' });
	const items = await audit(id, owner.token);
	assert.deepEqual(items.slice(0, 2).map(({ subject, address, action }) => [subject, address, action]), [
		[driver.subject, '2001:db8::7', 'command.send'],
		[driver.subject, '203.0.113.9', 'command.send'],
	]);
	assert.ok(!(await database.sql('select string_agg(a::text, $$ $$) from audit a')).includes(driver.subject));
});

test('a subject is exported whole, then erased: what must stay names nobody', options, async () => {
	const { id, fleet, owner, manager } = await newVehicle();
	const driver = await person('forget-me');
	await grant(node, admin, id, driver.subject, 'driver');
	const theirs = await watch(owner, id);
	// one of the owner's that they take back, one of their own, one that waits, and one to a fleet
	const cancel = ({ body }) => rest(node, 'POST', `/v1/vehicles/${id}/commands/${body.id}/cancel`, { token: driver.token });
	const theirOwn = await sendCommand(node, owner.token, id, { name: 'doors.unlock', wake: false });
	await cancel(theirOwn);
	await cancel(await sendCommand(node, driver.token, id, { name: 'horn.honk', wake: false }));
	await sendCommand(node, driver.token, id, { name: 'doors.unlock', wake: false }, { ...from('203.0.113.10'), 'Idempotency-Key': 'k1' });
	await database.sql(`insert into batches (id, fleet_id, state, reason, name, ttl_seconds, timeout_seconds, wake, redelivery, supersedes, catalog, issued_by, admin, needs, rate, total, finished_at)
		values (gen_random_uuid(), '${fleet}', 'canceled', '{"code": "CANCELED", "by": "${driver.subject}"}', 'horn.honk', 60, 20, false, 'on_reconnect', '', '{}', '${driver.subject}', false, 2, 1, 0, now())`);
	await rest(node, 'PUT', `/v1/fleets/${fleet}/grants/${driver.subject}`, { token: manager.token, body: { role: 'viewer' } });
	await grant(node, owner.token, id, 'guest', 'viewer');
	// and as a manager of a fleet of theirs
	const theirFleet = await newVehicle();
	const own = `/v1/vehicles/${theirFleet.id}`;
	const managed = `/v1/fleets/${theirFleet.fleet}`;
	const does = async (method, path, body) => assert.ok((await rest(node, method, path, { token: driver.token, body })).status < 300, `${method} ${path}`);
	await rest(node, 'PUT', `${managed}/grants/${driver.subject}`, { token: admin, body: { role: 'manager' } });
	await does('PUT', own, { display_name: 'A van', fleet_id: theirFleet.fleet });
	await does('PUT', `${own}/grants/friend`, { role: 'driver' });
	await does('PUT', `${managed}/grants/friend`, { role: 'viewer' });
	await does('PUT', `${own}/notices/recall`, 'stop');
	await does('PUT', `${managed}/notices/recall`, 'stop');
	await does('PATCH', `${own}/state`, { cabin: 21 });
	await does('POST', '/v1/webhooks', { url: 'https://hooks.invalid/in', vehicle_ids: [id] });
	await does('PUT', `${own}/block`);
	await does('DELETE', `${own}/block`);
	const campaign = await rest(node, 'PUT', `/v1/notices/campaign`, { token: await adminToken(driver.subject), body: 'hello' });
	assert.equal(campaign.status, 201);
	const everywhere = ['actors', 'batches', 'commands', 'events', 'grants', 'idempotency', 'notices', 'webhooks'];
	assert.deepEqual(await tablesNaming(database, driver.subject), everywhere);

	const env = { KEYFOB_URL: node.url, KEYFOB_TOKEN: admin };
	const keyfob = (...args) => run(join(build, 'bin/keyfob'), args, { env });
	const exported = JSON.parse(await keyfob('admin', 'export', driver.subject));
	const kinds = exported.items.map(({ kind }) => kind);
	for (const kind of ['grant', 'actor', 'idempotency_key', 'command', 'audit', 'batch', 'webhook']) assert.ok(kinds.includes(kind), `${kind} of ${kinds}`);
	assert.equal(kinds.filter((kind) => kind === 'grant').length, 3);
	const notices = exported.items.filter(({ kind }) => kind === 'notice').map(({ vehicle_id, fleet_id, data }) => [vehicle_id ?? fleet_id, data.name, data.published_by]);
	assert.deepEqual(notices, [['*', 'campaign', driver.subject], [theirFleet.fleet, 'recall', driver.subject], [theirFleet.id, 'recall', driver.subject]]);
	assert.ok(exported.items.some(({ data }) => data.address === '203.0.113.10'));
	const page = await rest(node, 'GET', `/v1/subjects/${driver.subject}?limit=2`, { token: admin });
	assert.deepEqual(page.body.items, exported.items.slice(0, 2));

	assert.equal(await keyfob('admin', 'erase', driver.subject), '');
	await theirs.until(({ type, data }) => type === 'access.changed' && data.subject === driver.subject && data.role === null);
	await theirs.until(({ type, data }) => type === 'command.updated' && data.reason?.code === 'ACCESS_REVOKED');
	const sent = (await audit(id)).find(({ action }) => action === 'command.send');
	assert.deepEqual([sent.subject, sent.address, sent.allowed], [null, null, true]);
	const erased = await database.sql(`select count(*) from actors a where subject = '${driver.subject}'`);
	assert.equal(erased, '0');
	const granted = (await audit(id)).find(({ action, detail }) => action === 'grant.put' && detail.role === 'driver');
	assert.equal(granted.detail.subject, null);
	const left = async () => (await rest(node, 'GET', `/v1/subjects/${driver.subject}`, { token: admin })).body.items.map(({ kind }) => kind);
	assert.deepEqual((await left()).filter((kind) => !['command', 'grant', 'batch'].includes(kind)), []);
	await poll(left, ({ length }) => length === 0, { ms: 30_000, what: 'nothing is left' });
	await poll(() => database.sql('select count(*) from erasures'), (n) => n === '0', { ms: 30_000, what: 'the erasure is over' });
	assert.deepEqual(await tablesNaming(database, driver.subject), []);
	const shown = (await rest(node, 'GET', `${own}/notices`, { token: theirFleet.owner.token })).body.items;
	assert.deepEqual(shown.map(({ name, published_by }) => [name, published_by]), [['campaign', 'erased'], ['recall', 'erased']], 'what they published stays');
	const history = (await rest(node, 'GET', `/v1/vehicles/${id}/commands`, { token: owner.token })).body.items;
	assert.deepEqual(history.map(({ issued_by, reason }) => [issued_by, reason?.code, reason?.by]), [
		['erased', 'ACCESS_REVOKED', undefined],
		['erased', 'CANCELED', 'erased'],
		[owner.subject, 'CANCELED', 'erased'],
	]);
	const { timeline } = (await rest(node, 'GET', `/v1/vehicles/${id}/commands/${theirOwn.body.id}`, { token: owner.token })).body;
	assert.deepEqual(timeline.map(({ detail }) => detail.by).filter(Boolean), [owner.subject, 'erased']);
	const events = (await rest(node, 'GET', `/v1/vehicles/${id}/events?limit=200`, { token: owner.token })).body.items;
	assert.ok(events.some(({ data }) => data.issued_by === 'erased') && events.some(({ data }) => data.issued_by === owner.subject));
	assert.ok(!JSON.stringify(events).includes(driver.subject));
	assert.equal((await rest(node, 'GET', `/v1/vehicles/${id}`, { token: driver.token })).status, 404);
	const back = await person(driver.subject);
	await grant(node, admin, id, back.subject, 'driver');
	assert.equal((await sendCommand(node, back.token, id, { name: 'horn.honk', wake: false })).body.issued_by, driver.subject, 'who comes again is somebody else');
});

test('a subject is the affair of administrators', options, async () => {
	const who = await person('nosy');
	for (const method of ['GET', 'DELETE']) assert.equal((await rest(node, method, '/v1/subjects/root', { token: who.token })).status, 403);
	assert.notEqual(await database.sql(`select count(*) from actors where subject = 'root'`), '0');
});

// ---- texts

test('SQL in a text is a text', options, async () => {
	const { id, fleet, owner } = await newVehicle();
	const evil = `'); drop table audit; --"\\`;
	const path = `/v1/vehicles/${id}`;
	const at = encodeURIComponent(evil);
	assert.equal((await rest(node, 'PUT', `${path}/grants/${at}`, { token: owner.token, body: { role: 'driver' } })).status, 201);
	assert.equal((await rest(node, 'GET', `${path}/grants/${at}`, { token: owner.token })).body.subject, evil);
	assert.equal((await rest(node, 'PUT', path, { token: admin, body: { display_name: evil, fleet_id: fleet, tags: [evil, '{a,b}', 'NULL'] } })).body.tags[0], evil);
	assert.equal((await rest(node, 'PUT', `/v1/fleets/${fleet}`, { token: admin, body: { title: evil } })).body.title, evil);
	const sent = await sendCommand(node, owner.token, id, { name: 'horn.honk', sealed_params: evil, wake: false }, { 'Idempotency-Key': evil });
	assert.equal(sent.body.sealed_params, evil);
	for (const query of ['/v1/vehicles?cursor=', `${path}/commands?status=`, `${path}/commands?cursor=`, `${path}/audit?cursor=`, `/v1/subjects/${at}?cursor=`])
		assert.ok([200, 400].includes((await rest(node, 'GET', query + at, { token: admin })).status), query);
	assert.equal((await rest(node, 'DELETE', `/v1/subjects/${at}`, { token: admin })).status, 204);
	assert.notEqual(await database.sql('select count(*) from audit'), '0');
});

test('a line break in a text does not become a header', options, async () => {
	const { id, owner } = await newVehicle();
	for (let i = 0; i < 2; i++) await sendCommand(node, owner.token, id, { name: 'horn.honk', wake: false });
	for (const path of [`/v1/vehicles/${id}/commands?limit=1&status=accepted%0d%0aX-Evil:%201`, `/v1/vehicles/${id}%0d%0aX-Evil:%201`, '/v1/vehicles?limit=1&cursor=%0d%0aX-Evil:1']) {
		const answer = await rest(node, 'GET', path, { token: owner.token, headers: { Origin: 'https://evil.example' } });
		assert.equal(answer.headers.get('x-evil'), null, path);
	}
});

// ---- canaries: everything secret goes through once, well and badly; ./dev test looks through what was written

test('what is entrusted to a node stands nowhere', options, async () => {
	const { id, owner } = await newVehicle();
	await registerVehicle(node, admin, id, { msisdn: '+4915550123456' });
	const car = await connectVehicle(broker, { id, handler: () => ({ status: 'failed', reason: { code: 'X', description: 'canary-reason' }, result: { v: 'canary-result' } }) });
	const send = (body, headers) => sendCommand(node, owner.token, id, body, headers);
	assert.equal((await send({ name: 'horn.honk', params: { note: 'canary-note' } }, { Prefer: 'wait=20' })).body.status, 'failed');
	assert.equal((await send({ name: 'horn.honk', params: { note: 'canary-NOTE' } })).status, 422);
	assert.equal((await send({ name: 'horn.honk', sealed_params: 'canary-sealed' })).status, 202);
	assert.equal((await send({ name: 'no.such' })).status, 422);
	assert.equal((await rest(node, 'PUT', `/v1/vehicles/${id}`, { token: admin, body: { msisdn: '4915550123456' } })).status, 422);
	assert.equal((await rest(node, 'GET', `/v1/me`, { token: `${owner.token}x` })).status, 401);
	await car.client.publishAsync(`vehicles/${id}/state/${feedOf(id)}`, '{"v":"canary-state"}', { qos: 1 });
	await car.client.publishAsync(`vehicles/${id}/state/${feedOf(id)}`, '{"v":"canary-state"', { qos: 1 });
	await car.client.publishAsync(`vehicles/${id}/commands/response/${feedOf(id)}`, '{"status":"canary-status"}', { qos: 1 });
	await car.verdicts.until(({ code }) => code === 'MALFORMED');
});
