// nodes.test.mjs - several nodes are one service: apps on one, senders on the other, and a node killed amid the stream.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, rest, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { Promises } from './oracle.mjs';
import { connectFleet, Follower, judge, stream } from './stream.mjs';

const ids = vehicleIds(40);
const { broker, database, nodes } = await startInstallation({ ids, nodes: 2 });
const [one, two] = nodes;
const admin = await adminToken();
const options = { timeout: 180_000 };
let used = 0;

// `count` vehicles, connected, and `node` knows it.
async function fleet(count, node, settings) {
	const own = ids.slice(used, (used += count));
	return { own, vehicles: await connectFleet(broker, node, admin, own, settings) };
}

test('the app on one node, the sender on the other', options, async () => {
	const { own, vehicles } = await fleet(5, one);
	const app = new Follower([one], admin);
	await app.follow(own);
	const promises = new Promises();
	await stream({ nodes: [two], token: admin, own, promises, total: 100 });
	const commands = await judge(one, admin, promises, vehicles);
	for (const { status, id } of commands) assert.equal(status, 'succeeded', id);
	await app.assertWhole(two);
});

test('one vehicle, both nodes: the order of acceptance is the order of arrival', options, async () => {
	const { own, vehicles } = await fleet(1, two);
	const promises = new Promises();
	await stream({ nodes: [one, two], token: admin, own, promises, total: 100 });
	await judge(two, admin, promises, vehicles);
	const { body } = await rest(one, 'GET', `/v1/vehicles/${own[0]}/commands?limit=200`, { token: admin });
	// Each worker makes ids of its own; the time of acceptance is given out under the vehicle's lock.
	const accepted = body.items.sort((a, b) => (a.created_at < b.created_at ? -1 : 1)).map(({ id }) => id);
	assert.deepEqual(vehicles[0].executed, accepted);
});

test('an app that waits on one node hears what the other was told', options, async () => {
	const { own, vehicles } = await fleet(1, one, { handler: () => null });
	const waiting = sendCommand(one, admin, own[0], { name: 'doors.unlock' }, { Prefer: 'wait=20' });
	const request = await vehicles[0].requests.until(() => true);
	await vehicles[0].answer(request, { status: 'failed', reason: { code: 'DOOR_OPEN' } });
	assert.equal((await waiting).body.status, 'failed');
	const late = await sendCommand(two, admin, own[0], { name: 'doors.lock', timeout_seconds: 1 }, { Prefer: 'wait=10' });
	assert.equal(late.body.status, 'timed_out');
});

test('kill -9 of one node amid 300 commands: the other carries on', options, async () => {
	const { own, vehicles } = await fleet(10, two);
	const app = new Follower([one, two], admin);
	await app.follow(own);
	const promises = new Promises();
	await stream({ nodes, token: admin, own, promises, total: 300, milestone: 100, onMilestone: () => one.kill() });
	await judge(two, admin, promises, vehicles);
	await app.assertWhole(two);
	await one.start();
});

test('kill -9 of the only node amid 300 commands: it carries on where it was', options, async () => {
	await two.stop();
	const { own, vehicles } = await fleet(10, one);
	const app = new Follower([one], admin);
	await app.follow(own);
	const promises = new Promises();
	await stream({
		nodes: [one],
		token: admin,
		own,
		promises,
		total: 300,
		milestone: 120,
		onMilestone: async () => {
			await one.kill();
			await one.start();
		},
	});
	await judge(one, admin, promises, vehicles);
	await app.assertWhole(one);
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
