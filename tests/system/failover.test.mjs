// failover.test.mjs - two PostgreSQL servers, each commit on both: what becomes of commands when one of them goes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startCluster } from './cluster.mjs';
import { adminToken, isLong, isSanitized, poll, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { connectFleet, Follower, judge, sendSurely, Traffic, untilSettled } from './stream.mjs';

const own = vehicleIds(6);
const options = { timeout: 180_000, skip: isSanitized && 'what a server does is the same; the link has its tests' };
const patience = 5000; // of a node with a commit (sql/db.h)
const slack = 4000; // what a loaded machine may add
const admin = await adminToken();
const promises = new Promises();
const parts = {};

test('two servers, two nodes, a fleet and an app', options, async () => {
	const cluster = await startCluster();
	const { broker, nodes } = await startInstallation({ ids: own, nodes: 2, database: cluster, config: { database: { synchronous: true } } });
	const vehicles = await connectFleet(broker, nodes[0], admin, own);
	const app = new Follower(nodes, admin);
	await app.follow(own);
	Object.assign(parts, { cluster, nodes, vehicles, app });
});

const startTraffic = (name) => new Traffic(name, { nodes: parts.nodes, token: admin, own, promises, rate: 60, width: 6, never: { ttl_seconds: 10 } });

async function readiness(node) {
	const answer = await fetch(`${node.adminUrl}/readyz`);
	return { ...(await answer.json()), http: answer.status };
}

const untilReady = () => Promise.all(parts.nodes.map((node) => poll(() => readiness(node), ({ http }) => http === 200, { ms: 30_000, what: 'the node is ready again' })));

// When it first said that it is not, in ms since `lost`. Whoever asks after two seconds is told so.
async function untilUnready(node, lost) {
	for (;;) {
		const asked = Date.now() - lost;
		const { http, database } = await readiness(node);
		if (http === 503 && database === 'unavailable') return asked;
		assert.ok(asked < 2000, `${node.name} said that it is ready ${asked} ms after the loss`);
		await pause(20);
	}
}

// Everybody whose commit waits for the standby waits no more: it is done here, and who knows there.
const breakOffWaits = ({ cluster }) => cluster.sql(`select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'`);

test('a commit whose wait for the standby was broken off is unknown, never done', options, async () => {
	const { cluster, nodes, vehicles } = parts;
	cluster.standby.freeze();
	const answers = [];
	for (const [i, headers] of [{ 'Idempotency-Key': 'broken-off' }, {}].entries()) {
		const sent = sendCommand(nodes[0], admin, own[i], { name: 'horn.honk' }, headers);
		let answer;
		sent.then((one) => (answer = one), () => {});
		while (!answer) {
			await breakOffWaits(parts);
			await pause(20);
		}
		answers.push((await sent).body);
	}
	assert.deepEqual(
		answers.map(({ status, type, may_have_executed, retriable }) => ({ status, type, may_have_executed, retriable })),
		[true, false].map((retriable) => ({ status: 503, type: 'urn:keyfob:problem:storage-unavailable', may_have_executed: true, retriable })),
	);
	assert.match(nodes[0].child.logText(), /canceling wait for synchronous replication/);
	const done = await cluster.sql(`select id from commands where vehicle_id = '${own[1]}'`); // the one without a key, which nobody was told of
	assert.match(done, /^[0-9a-f-]{36}$/);
	promises.add(done, own[1], { id: done });
	cluster.standby.thaw();
	await untilReady();
	const again = await sendSurely(nodes, admin, promises, own[0], 'broken-off', { name: 'horn.honk', ttl_seconds: undefined });
	await untilSettled(nodes[1], admin, [again], { is: 'succeeded' });
	assert.equal(await cluster.sql(`select count(*) from commands where vehicle_id = '${own[0]}'`), '1', 'the key decides');
	assert.deepEqual(vehicles[0].executed, [again.id]);
});

test('without its standby a commit is refused in time, and /readyz says so; with it all goes on', options, async (t) => {
	const { cluster, nodes } = parts;
	const traffic = startTraffic('standby');
	await traffic.untilMore(20);
	await cluster.standby.kill();
	const lost = Date.now();
	const unready = Math.max(...(await Promise.all(nodes.map((node) => untilUnready(node, lost)))));
	// First each waits for as long as a commit may take, and nobody knows; then it is said at once.
	const waits = [];
	const ask = async (node) => {
		const began = Date.now();
		const key = `without-standby-${waits.length}`;
		const { status, body, headers } = await sendCommand(node, admin, own[0], { name: 'horn.honk' }, { 'Idempotency-Key': key });
		assert.equal(status, 503);
		assert.ok(headers.has('Retry-After'));
		return { key, took: Date.now() - began, may: body.may_have_executed };
	};
	for (const node of nodes)
		await poll(
			async () => waits.push(await ask(node)) && waits.at(-1),
			({ took, may }) => took < 1000 && may === false,
			{ ms: 4 * patience, what: 'it is refused at once' },
		);
	assert.ok(Math.max(...waits.map(({ took }) => took)) < patience + slack, JSON.stringify(waits));
	const told = traffic.told.length;
	await cluster.standby.start();
	const back = Date.now();
	await untilReady();
	const ready = Date.now() - back;
	for (const { key, may } of waits)
		if (may) await sendSurely(nodes, admin, promises, own[0], key, { name: 'horn.honk', ttl_seconds: undefined });
		else assert.equal(await cluster.sql(`select count(*) from idempotency where key = '${key}'`), '0', `${key} was refused, and is done`);
	await traffic.untilMore(20);
	await traffic.stop();
	t.diagnostic(
		`not ready ${unready} ms after the loss; ${waits.length} refusals, the slowest after ${Math.max(...waits.map(({ took }) => took))} ms; ` +
			`ready ${ready} ms after the standby was back; ${traffic.told.length} commands, ${traffic.told.length - told} of them after that`,
	);
});

// Commands go on within ten seconds, on the server that is left.
async function assertGoesOn(t, name, end) {
	const { cluster } = parts;
	const traffic = startTraffic(name);
	await traffic.untilMore(40);
	await end(cluster.primary);
	const gone = Date.now();
	const before = traffic.told.length;
	await cluster.failOver();
	const promoted = Date.now() - gone;
	await traffic.untilMore(40);
	const { told, longest } = await traffic.stop();
	assert.ok(longest < 10_000, `nothing was accepted for ${longest} ms`);
	await untilReady();
	t.diagnostic(`${told.length} commands, ${told.length - before} after the loss; promoted after ${promoted} ms; nothing was accepted for ${longest} ms`);
}

test('the primary is killed under load: the standby goes on with all that was accepted', options, (t) => assertGoesOn(t, 'killed', (primary) => primary.kill()));

// The link's own test has it in each run (tests/unit/sql/db_test.c).
test('the primary freezes under load, and keeps its connections: it is left', { ...options, skip: !isLong && 'with --long' }, async (t) => {
	const { cluster } = parts;
	await cluster.join();
	const frozen = cluster.primary;
	await assertGoesOn(t, 'frozen', (primary) => primary.freeze());
	await frozen.kill();
});

test('over all of it nothing was lost, nothing done twice, and the app saw everything', options, async () => {
	const { cluster, nodes, vehicles, app } = parts;
	const commands = await judge(nodes[0], admin, promises, vehicles);
	assert.ok(commands.length > 100);
	await app.assertWhole(nodes[1], 60_000);
	for (const { events } of app.seen.values()) assertConnectivity(events);
	assert.equal(await cluster.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
