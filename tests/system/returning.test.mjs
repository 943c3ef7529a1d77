// returning.test.mjs - neighbours that die while it is open who is there: a broker that forgets its vehicles and keeps the
// gateway's session, and the node that began a verification.
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { adminToken, connectVehicle, gatewayPassword, openSocket, poll, Record, registerVehicle, rest, startInstallation, vehicleIds } from './harness.mjs';

const [lost, leaver, ...others] = vehicleIds(8);
const all = [lost, leaver, ...others];
const verifyDelay = 2000;
const returnDelay = 6000;
const resyncGap = 10_000; // gateway/flows.c: at most one question in so long
const { broker, database, nodes } = await startInstallation({
	ids: all,
	nodes: 2,
	config: { lifecycle: { verify_delay: `${verifyDelay}ms`, return_delay: `${returnDelay}ms` } },
});
const admin = await adminToken();
const options = { timeout: 90_000 };
const vehicles = new Map();

const get = async (node, id) => (await rest(node, 'GET', `/v1/vehicles/${id}`, { token: admin })).body.connectivity;
const told = async (since) =>
	(await database.sql(`select vehicle_id || ' ' || (data->>'state') || ' ' || coalesce(data->>'reason', '') from events
		where type = 'connectivity.changed' and at > to_timestamp(${since / 1000}) order by seq`)).split('\n').filter(Boolean);
const untilAllAreThere = (ids) => {
	const list = ids.map((id) => `'${id}'`).join();
	return poll(
		() => database.sql(`select count(*) from vehicle_heads where vehicle_id in (${list}) and reachable and subscribed and linked and not verifying`),
		(count) => Number(count) === ids.length,
		{ ms: 20_000, what: 'everybody is there' },
	);
};
const kept = /message=subscribed feed=feed\/lifecycle session_present=1/g;
const named = /has named who is there/g;
const countOf = (node, pattern) => (node.child.logText().match(pattern) ?? []).length;
const readerNow = () => database.sql("select node from leases where name = 'feed/lifecycle' and subscribed and expires_at > now()");

// A killed broker knows what it saved last: all that it has now.
async function saveBroker() {
	const file = join(broker.folder, 'mosquitto.db');
	rmSync(file, { force: true });
	broker.child.signal('SIGUSR1');
	await poll(() => existsSync(file), Boolean, { what: 'the broker has saved its sessions' });
}

// Killed and started anew: whoever reads the lifecycle feed has found its session kept.
async function restartBroker(node) {
	const before = countOf(node, kept);
	await saveBroker();
	await broker.kill();
	await broker.start();
	await poll(() => countOf(node, kept), (count) => count > before, { ms: 20_000, what: 'the broker kept the session of the lifecycle feed' });
}

test('who never returns to a restarted broker is away, and nobody else is, though the broker kept our session', options, async () => {
	for (const id of all) await registerVehicle(nodes[0], admin, id);
	for (const id of all) vehicles.set(id, await connectVehicle(broker, { id }));
	await untilAllAreThere(all);
	const app = await openSocket(nodes[0], { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: lost });
	await saveBroker();
	const timesKept = () => nodes.reduce((sum, node) => sum + countOf(node, kept), 0);
	const keptBefore = timesKept();

	await broker.kill();
	const killed = Date.now();
	await vehicles.get(lost).disconnect({ force: true });
	await broker.start();
	const begun = Date.now();
	const away = await app.until(({ type }) => type === 'connectivity.changed', { ms: resyncGap + returnDelay + 10_000 });
	assert.equal(away.data.state, 'disconnected');
	assert.equal(away.data.reason, 'NOT_NAMED');
	assert.ok(Date.now() - begun >= returnDelay, 'a fleet has time to return');
	assert.ok(timesKept() > keptBefore, 'the broker kept the session of the lifecycle feed');
	await untilAllAreThere(all.filter((id) => id !== lost));
	assert.deepEqual(await told(killed), [`${lost} disconnected NOT_NAMED`]);
});

test('a verification that a killed node began is finished by another, once', options, async () => {
	const name = await readerNow();
	const began = nodes.find((node) => node.name === name);
	const survivor = nodes.find((node) => node.name !== name);
	const app = await openSocket(survivor, { token: admin });
	await app.call('vehicle.subscribe', { vehicle_id: leaver });
	const since = Date.now();
	vehicles.get(leaver).client.end(true);
	await vehicles.get(leaver).disconnect({ force: true });
	await poll(() => get(survivor, leaver), ({ verifying }) => verifying, { every: 10, what: 'it is being verified' });
	const answers = countOf(survivor, named);
	await began.kill();
	assert.equal((await get(survivor, leaver)).state, 'connected', 'killed while it was open');
	const away = await app.until(({ type }) => type === 'connectivity.changed');
	assert.equal(away.data.state, 'disconnected');
	assert.deepEqual({ ...(await get(survivor, leaver)), since: null, reason: null }, { state: 'disconnected', since: null, verifying: false, reason: null });
	// The survivor has taken over the feed and asked the broker, before the verification was over or after: that changes nothing more.
	await poll(() => countOf(survivor, named), (count) => count > answers, { ms: 60_000, what: 'the survivor has asked who is there' });
	assert.equal((await told(since)).length, 1);
});

// A broker's second restart within ten seconds is asked about after these. By then another has the feed, a worker that nobody is.
test('who reads the feed no more asks nothing more', options, async () => {
	const name = await readerNow();
	const node = nodes.find((one) => one.name === name);
	const before = countOf(node, named);
	await restartBroker(node);
	await poll(() => countOf(node, named), (count) => count > before, { ms: resyncGap + 10_000, what: 'the restarted broker was asked' });
	await restartBroker(node);
	const client = await mqtt.connectAsync(broker.url, { clientId: 'keyfob-bystander', username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
	const questions = new Record('what the broker was asked');
	client.on('message', (topic, payload) => questions.push(JSON.parse(payload)));
	await client.subscribeAsync('$aws/events/keyfob/resynced', { qos: 1 });
	const until = Number(await database.sql(`with nobody as (
			insert into leases (name, holder, node, epoch, expires_at) values ('worker/nobody', 'nobody', 'nowhere', 1, clock_timestamp() + interval '15 s') returning expires_at)
		update leases l set holder = 'nobody', node = 'nowhere', epoch = l.epoch + 1, expires_at = n.expires_at from nobody n
		where l.name = 'feed/lifecycle' returning (extract(epoch from l.expires_at) * 1000000)::bigint`));
	const { asked } = await questions.until(() => true, { ms: 30_000, what: 'whoever took the feed then has asked' });
	await client.endAsync(true);
	assert.ok(asked > until, `asked ${until - asked} us before anybody read the feed`);
});
