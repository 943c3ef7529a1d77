// nodes.test.mjs - several nodes are one service: apps on one, senders on the other, and a node killed amid the stream.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, isLong, openSocket, poll, Reference, registerVehicle, rest, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { Promises } from './oracle.mjs';
import { connectFleet, Follower, judge, stream, Traffic, untilConnected } from './stream.mjs';

const restarted = Array.from({ length: isLong ? 100 : 16 }, (_, i) => `R${String(i + 1).padStart(5, '0')}`); // under the traffic of the rolling restart: 5 commands a second each
const ids = vehicleIds(30);
const { broker, database, nodes } = await startInstallation({ ids: [...ids, ...restarted], nodes: 2 });
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

const readBy = (node) => database.sql(`select count(*) from leases where name like 'feed/%' and node = '${node.name}' and subscribed and expires_at > now()`).then(Number);
const rate = isLong ? 500 : 80;

// The node drains amid traffic; the other has all of its work at once, and gives half back when it has returned.
// `service` is whom apps ask, as a load balancer has it: whoever goes is missed there when it is gone, whoever comes is asked when it
// is ready.
async function restart(service, node, other) {
	const app = await openSocket(node, { token: admin });
	const ended = node.stop();
	assert.equal((await app.closed).code, 1012);
	assert.equal((await ended).code, 0);
	const gone = Date.now();
	assert.equal(await database.sql(`select count(*) from leases where node = '${node.name}' and holder is not null`), '0', 'it gave back what it held');
	service.splice(service.indexOf(node), 1);
	const all = Number(await database.sql(`select count(*) from leases where name like 'feed/%'`));
	await poll(() => readBy(other), (count) => count === all, { what: 'the other reads all feeds' });
	const handed = Date.now() - gone;
	await node.start();
	service.push(node);
	await poll(() => readBy(node), (count) => count >= Math.floor(all / 2), { ms: 20_000, what: 'it has its share again' });
	return handed;
}

// Of a node that drains, or has gone: nothing was begun.
const mayBeAskedAgain = new Set(['503 draining', 'ECONNRESET', 'ECONNREFUSED', 'EPIPE']);

test(`both nodes are restarted one after the other under ${rate} commands a second: none fails, and no app misses an event`, options, async (t) => {
	await Promise.all(restarted.map((id) => registerVehicle(one, admin, id)));
	const simulated = new Reference(broker, 'restarted', ['--prefix', 'R', '--count', restarted.length, '--latency', '10ms']);
	await untilConnected(one, admin, restarted);
	const apps = [new Follower([one, two], admin, { unchecked: true }), new Follower([two, one], admin, { unchecked: true })];
	for (const app of apps) await app.follow(restarted);
	const promises = new Promises();
	const service = [...nodes];
	const traffic = new Traffic('rolling', { nodes: service, token: admin, own: restarted, promises, rate, width: 0, unchecked: true });
	const handed = [];
	for (const [node, other] of [[one, two], [two, one]]) {
		await traffic.untilMore(rate / 2);
		handed.push(await restart(service, node, other));
	}
	await traffic.untilMore(rate / 2);
	await traffic.stop();
	const commands = await judge(one, admin, promises, () => simulated.vehicles(restarted));
	for (const { id, name, status } of commands) assert.equal(status, 'succeeded', `${id} (${name})`);
	for (const app of apps) await app.assertWhole(two);
	// A kept connection that ends just as the next request leaves is no answer either (RFC 9112 §9.3.1): the key makes it safe to ask again.
	const kinds = new Map();
	for (const { status, body, code } of traffic.troubles) {
		const kind = status ? `${status} ${body.type?.split(':').at(-1)}` : (code ?? 'no answer');
		kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
	}
	for (const kind of kinds.keys()) assert.ok(mayBeAskedAgain.has(kind), `an app was told ${kind}`);
	const [begun, told] = traffic.rates.map(Math.round); // all that were begun were told, some after the last was begun
	assert.ok(begun >= 0.95 * rate, `${begun} a second is not ${rate}`);
	assert.ok(traffic.longest < 2000, `none was told anything for ${traffic.longest} ms`); // the other node is there all the while
	t.diagnostic(
		`${traffic.told.length} commands, ${begun}/s begun and ${told}/s told while they were; feeds read by the other ${handed.join(' and ')} ms after an end; ` +
			`none was told anything for ${traffic.longest} ms at most; asked again: ${[...kinds].map(([kind, times]) => `${times} ${kind}`).join(', ')}`,
	);
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
