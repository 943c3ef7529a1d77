// leases.test.mjs - who reads what: every feed has one reader, each worker its share, and whoever dies, stands still, is cut off or comes anew
// is replaced, does no harm, loses nothing that it need not lose, and gets its share.
//
// Three nodes of four, three and one workers. The last one reaches the broker and the database by lines that can be cut, and the broker's can
// stand still.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { Child, freePort } from './children.mjs';
import { adminToken, build, feedOf, poll, rest, run, sendCommand, startBroker, startNode, vehicleIds } from './harness.mjs';
import { startLine } from './line.mjs';
import { Promises } from './oracle.mjs';
import { createMigratedDatabase, isListening } from './servers.mjs';
import { connectFleet, Follower, judge, stream, Traffic } from './stream.mjs';

const leaseMs = 5000; // LEASE_MS in gateway/lease.h
const boundMs = 10_000; // in which whoever dies is replaced, whatever happens
const typicalMs = 2000;
const kills = 6;
const frozenMs = 30_000;
const options = { timeout: 300_000 };
const promises = new Promises(); // every command of the file

const ids = oneOfEachFeed();
const admin = await adminToken();
const [broker, database] = await Promise.all([startBroker({ ids }), createMigratedDatabase()]);
const relay = await startRelay(new URL((broker.config?.mqtt?.url ?? broker.url).split(',')[0]).port); // to where nodes go
const lines = { broker: await startLine(relay), database: await startLine({ port: new URL(database.url).port }) };
const nodes = [await start(4), await start(3)];
const cars = await connectFleet(broker, nodes[0], admin, ids);
const carOf = new Map(cars.map((car) => [`feed/${feedOf(car.id)}`, car]));

function oneOfEachFeed() {
	const of = new Map();
	for (const id of vehicleIds(1000)) if (!of.has(feedOf(id))) of.set(feedOf(id), id);
	assert.equal(of.size, 32);
	return [...of.values()].sort();
}

async function start(workers) {
	const node = await startNode({ broker, database, config: { node: { workers } } });
	return Object.assign(node, { workers });
}

// A process of its own, which can stand still: what has ended on one of its sides is then not told on the other.
async function startRelay(to) {
	const port = await freePort();
	const program = `net.createServer((from) => {
		const to = net.connect(${to}, '127.0.0.1');
		for (const [one, other] of [[from, to], [to, from]]) one.on('error', () => {}).on('close', () => other.destroySoon()).pipe(other);
	}).listen(${port}, '127.0.0.1')`;
	const child = new Child('relay', process.execPath, ['-e', program], { diesOfIt: true });
	await child.untilUp(() => isListening(port));
	return Object.assign(child, { port });
}

// By the lines.
async function startLast() {
	const node = await startNode({
		broker,
		database: { url: Object.assign(new URL(database.url), { port: lines.database.port }).href },
		config: { node: { workers: 1 }, mqtt: { url: `mqtt://127.0.0.1:${lines.broker.port}` } },
	});
	return Object.assign(node, { workers: 1 });
}

// ---- looking

const rows = async (statement) => (await database.sql(statement)).split('\n').filter(Boolean).map((row) => row.split('|'));

// { name, holder, node, epoch } of each feed that a worker who is alive holds.
async function held() {
	const found = await rows(`select l.name, l.holder, l.node, l.epoch from leases l where l.name like 'feed/%' and l.expires_at > now()
		and exists (select from leases w where w.name = 'worker/' || l.holder and w.expires_at > now()) order by 1`);
	return found.map(([name, holder, node, epoch]) => ({ name, holder, node, epoch }));
}

const feedsOf = async (node) => (await held()).filter((one) => one.node === node.name).map(({ name }) => name);

// How many each of the workers holds, the most first.
function counts(feeds) {
	const of = new Map();
	for (const { holder } of feeds) of.set(holder, (of.get(holder) ?? 0) + 1);
	return [...of.values()].sort((a, b) => b - a);
}

// Of `all` feeds each of so many has as many as any other, or one more: resolves when it is so.
async function untilEven(of, ms = 20_000) {
	const begun = Date.now();
	const workers = of.reduce((sum, node) => sum + node.workers, 0);
	const all = Number(await database.sql(`select count(*) from leases where name like 'feed/%'`));
	const even = Array.from({ length: workers }, (_, i) => Math.floor(all / workers) + (i < all % workers ? 1 : 0)).join(' ');
	await poll(async () => counts(await held()).join(' '), (found) => found === even, { ms, every: 20, what: `${workers} workers hold ${even}` });
	for (const node of of) {
		const share = (all * node.workers) / workers;
		assert.ok(Math.abs((await feedsOf(node)).length - share) < node.workers, `${node.name} has about ${share}`);
	}
	return Date.now() - begun;
}

// A command to the vehicle of each of these feeds, to `node`: how long it took until the last of them was answered.
async function untilAnswered(node, feeds, since) {
	const own = feeds.map((name) => carOf.get(name)).filter(Boolean);
	assert.ok(own.length > 0, `${feeds} are no vehicles' feeds`);
	const took = own.map(async ({ id }) => {
		const { body } = await sendCommand(node, admin, id, { name: 'horn.honk' }, { Prefer: 'wait=15' });
		promises.add(body.id, id, body);
		assert.equal(body.status, 'succeeded', `${id} ${JSON.stringify(body)}`);
		return Date.now() - since;
	});
	return Math.max(...(await Promise.all(took)));
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)];

// What `node` read is read by others: how long that took, and how long until its vehicles' commands were answered.
async function untilReplaced(node, since) {
	const feeds = node.had;
	const other = nodes.find((one) => one !== node);
	const taken = poll(held, (now) => feeds.every((name) => now.some((one) => one.name === name && one.node !== node.name)), { ms: boundMs, every: 10, what: `others hold ${feeds}` });
	const [takenMs, answeredMs] = await Promise.all([taken.then(() => Date.now() - since), untilAnswered(other, feeds, since)]);
	assert.ok(answeredMs <= boundMs, `${answeredMs} ms`);
	return { takenMs, answeredMs };
}

async function die(node) {
	node.had = await feedsOf(node);
	const since = Date.now();
	await node.kill();
	return untilReplaced(node, since);
}

// A command to every vehicle, asked of a node that is killed when it has answered the first, and then of `other`: when all were answered.
async function dieAmidCommands(node, other) {
	const asked = cars.map(({ id }) => ({ id, key: `amid-${id}-${node.child.pid}` }));
	const ask = (at, { id, key }, headers) => sendCommand(at, admin, id, { name: 'horn.honk' }, { 'Idempotency-Key': key, ...headers });
	const first = asked.map((one) => ask(node, one));
	for (const answer of first) answer.catch(() => {}); // it dies over most
	await Promise.any(first);
	const since = Date.now();
	const died = die(node);
	const told = asked.map(async (one) => {
		const { body } = await ask(other, one, { Prefer: 'wait=15' });
		promises.add(one.key, one.id, body);
		assert.equal(body.status, 'succeeded', JSON.stringify(body));
		return Date.now() - since;
	});
	const [took, ...amid] = await Promise.all([died, ...told]);
	const amidMs = Math.max(...amid);
	assert.ok(amidMs <= boundMs, `${amidMs} ms`);
	return { ...took, amidMs };
}

const shown = (took) => took.map(({ takenMs, answeredMs }) => `${takenMs}/${answeredMs}`).join(', ');

// ---- what is to be seen

test('two nodes: each worker has its share', options, () => untilEven(nodes));

test('a third node that starts gets its share', options, async (t) => {
	const begun = Date.now();
	nodes.push(await startLast());
	const upMs = Date.now() - begun;
	const evenMs = await untilEven(nodes);
	assert.ok(evenMs <= boundMs, `${evenMs} ms`);
	t.diagnostic(`${evenMs} ms after it was ready, which took ${upMs} ms`);
});

test('`/metrics`, `keyfob nodes` and the table agree, and each feed has one holder', options, async () => {
	const all = await rows(`select name from leases where name like 'feed/%' order by 1`);
	const ofFeeds = (leases) => leases.filter((name) => name.startsWith('feed/')).sort();
	const look = async () => {
		const byTable = Object.fromEntries(await Promise.all(nodes.map(async (node) => [node.name, await feedsOf(node)])));
		const listed = JSON.parse(await run(join(build, 'bin/keyfob'), ['nodes', '-o', 'json'], { env: { KEYFOB_URL: nodes[0].url, KEYFOB_TOKEN: admin } }));
		const byCli = Object.fromEntries(listed.items.map(({ node, leases }) => [node, ofFeeds(leases)]));
		const byMetrics = {};
		for (const node of nodes) byMetrics[node.name] = Number(/^keyfob_leases_held (\d+)$/m.exec(await node.metrics())[1]);
		return { byTable, byCli, byMetrics, listed };
	};
	// A node says how it is every five seconds, and what it has just taken is in the table before it knows.
	const agree = ({ byTable, byCli, byMetrics, listed }) =>
		listed.items.every(({ state }) => state === 'ready') && isDeepStrictEqual(byCli, byTable) && nodes.every(({ name }) => byMetrics[name] === byTable[name].length);
	const { byCli, listed } = await poll(look, agree, { what: 'each is ready, and the three agree' });
	assert.deepEqual(Object.values(byCli).flat().sort(), all.flat());
	assert.deepEqual(listed.items.map(({ node, workers, state }) => [node, workers, state]), nodes.map(({ name, workers }) => [name, workers, 'ready']));
	const text = await run(join(build, 'bin/keyfob'), ['nodes'], { env: { KEYFOB_URL: nodes[0].url, KEYFOB_TOKEN: admin } });
	for (const { name } of nodes) assert.match(text, new RegExp(`^${name} .* ${listed.items.find(({ node }) => node === name).leases.length} `, 'm'));
});

test(`kill -9: in ${boundMs} ms, typically ${typicalMs}, others read what it read, and its vehicles' commands are answered`, options, async (t) => {
	const took = [];
	for (let i = 0; i < kills; i++) {
		const victim = nodes[i % nodes.length];
		took.push(await dieAmidCommands(victim, nodes[(i + 1) % nodes.length]));
		await victim.start();
		await untilEven(nodes);
	}
	const typical = median(took.map(({ answeredMs }) => answeredMs));
	const amid = took.map(({ amidMs }) => amidMs);
	t.diagnostic(`held by others/all answered after ${shown(took)} ms; typically ${typical} ms; what it died over after ${amid.join(', ')} ms`);
	assert.ok(typical <= typicalMs, `${typical} ms`);
	assert.ok(median(amid) <= typicalMs, `${median(amid)} ms`);
});

test('kill -9 of a node of which the broker does not tell', options, async (t) => {
	const last = nodes.at(-1);
	const took = [];
	for (let i = 0; i < 3; i++) {
		await relay.freeze();
		took.push(await die(last));
		relay.thaw();
		await last.start();
		await untilEven(nodes);
	}
	const typical = median(took.map(({ answeredMs }) => answeredMs));
	t.diagnostic(`held by others/all answered after ${shown(took)} ms`);
	assert.ok(typical < leaseMs - 1000, `${typical} ms: before its lease can have run out`);
});

const epochs = async () => (await held()).map(({ name, holder, epoch }) => `${name} ${holder} ${epoch}`);
const sessions = (node) => rows(`select name, session_pid, session_began from leases where name like 'worker/%' and node = '${node.name}' and expires_at > now()`);

// Every worker has looked again, and again, since then.
async function untilAllHaveLooked() {
	const now = await database.sql('select now()');
	await poll(
		() => database.sql(`select bool_and(expires_at > '${now}'::timestamptz + interval '${leaseMs + 3000} ms') from leases where name like 'worker/%' and expires_at > now()`),
		(all) => all === 't',
		{ what: 'all have renewed three seconds later' },
	);
}

test('a node that loses its sessions with the database, or its links to the broker, keeps its feeds', options, async () => {
	for (const node of nodes) {
		const [before, were] = [await epochs(), await sessions(node)];
		assert.equal(were.length, node.workers);
		await database.sql(`select pg_terminate_backend(session_pid) from leases where name like 'worker/%' and node = '${node.name}'`);
		await poll(() => sessions(node), (now) => now.length === were.length && now.every((one) => !were.some((was) => was.join() === one.join())), { what: 'it is there by other sessions' });
		await untilAllHaveLooked();
		assert.deepEqual(await epochs(), before);
	}
	const before = await epochs();
	lines.broker.cut();
	await poll(() => nodes.at(-1).isReady(), (is) => !is, { what: 'it has no broker' });
	lines.broker.lead(lines.broker.end);
	await poll(() => nodes.at(-1).isReady(), (is) => is, { what: 'it has one again' });
	await untilAllHaveLooked();
	assert.deepEqual(await epochs(), before);
});

// Amid commands: they are all settled, none is lost or done twice, and an app that follows sees every event once.
async function amidCommands(happens) {
	const app = new Follower(nodes, admin);
	await app.follow(ids);
	const traffic = new Traffic(`leases-${Date.now()}`, { nodes: nodes.slice(0, 2), token: admin, own: ids, promises, rate: 20 });
	await traffic.untilMore(20);
	const result = await happens();
	await traffic.untilMore(20);
	await traffic.stop();
	await judge(nodes[0], admin, promises, cars);
	await app.assertWhole(nodes[0]);
	return result;
}

test('a node that loses both is taken for dead, and does no harm when it is back', options, async (t) => {
	const last = nodes.at(-1);
	const took = await amidCommands(async () => {
		last.had = await feedsOf(last);
		const since = Date.now();
		for (const line of [lines.broker, lines.database]) line.cut();
		const took = await untilReplaced(last, since).finally(() => {
			for (const line of [lines.broker, lines.database]) line.lead(line.end);
		});
		await untilEven(nodes);
		await stream({ nodes: [last], token: admin, own: ids, promises, total: 32 });
		return took;
	});
	t.diagnostic(`held by others/all answered after ${shown([took])} ms`);
});

test(`a node that stands still for ${frozenMs / 1000} s does no harm when it goes on`, options, async (t) => {
	const [frozen] = nodes;
	nodes.push(nodes.shift()); // the others are asked
	const took = await amidCommands(async () => {
		frozen.had = await feedsOf(frozen);
		const since = Date.now();
		await frozen.freeze();
		const took = await untilReplaced(frozen, since);
		await untilEven(nodes.filter((one) => one !== frozen));
		await pause(since + frozenMs - Date.now());
		frozen.thaw();
		await untilEven(nodes);
		assert.match(frozen.child.logText(), /this worker's own lease had lapsed/);
		await stream({ nodes: [frozen], token: admin, own: ids, promises, total: 32 });
		return took;
	});
	t.diagnostic(`held by others/all answered after ${shown([took])} ms`);
});

test('kill -9 of the only node, which is started anew: it reads again before the leases of before have run out', options, async (t) => {
	const [only, ...others] = nodes;
	for (const node of others) await node.stop();
	const took = [];
	for (let i = 0; i < 3; i++) {
		await untilEven([only]);
		const feeds = await feedsOf(only);
		const since = Date.now();
		await only.kill();
		await only.start();
		took.push(await untilAnswered(only, feeds, since));
	}
	t.diagnostic(`all answered ${took.join(', ')} ms after its death`);
	assert.ok(median(took) < leaseMs - 1000, `${median(took)} ms`);
});

test('nobody waited for another in a circle', options, async () => {
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
