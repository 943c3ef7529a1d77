// partitions.test.mjs - partitions are made ahead and dropped behind while commands go, vehicles answer, an app follows and others come back:
// nothing fails, nothing is in a circle, and how long at most anybody waited is printed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { adminToken, isLong, isSanitized, openSocket, poll, sendCommand, startInstallation, startNode, vehicleIds } from './harness.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { sql } from './servers.mjs';
import { connectFleet, Follower, judge, Traffic } from './stream.mjs';

const options = { timeout: 600_000, skip: isSanitized && 'time counts, and the node is met elsewhere' };
const rounds = isLong ? 200 : 12;
const gap = 500; // so often at most; they come and go once a week
const days = 86_400_000;
const kept = { commands: 90 * days, events: 30 * days };
const patience = 2000; // of a caller, where nothing was broken
const own = vehicleIds(24);
const nodeWorkers = 2;
const { broker, database, nodes } = await startInstallation({ nodes: 2, ids: own, config: { log: { level: 'info' }, node: { workers: nodeWorkers } } });
const admin = await adminToken();
const promises = new Promises();
const parts = {};

const failed = async (node) => Number(/^keyfob_batch_failed_total (\d+)$/m.exec(await node.metrics())[1]);
const fenced = (node) => (node.child.logText().match(/message="a transaction failed" .*sqlstate=KF001 /g) ?? []).length;

const asService = (statement) => sql(database.url, statement); // as a node
const partitions = async () => (await asService(`select inhrelid::regclass from pg_inherits where inhparent in ('commands'::regclass, 'events'::regclass)`)).split('\n');

// What is asked for besides is wanted, too.
async function askForMore() {
	await asService(`create table asked (kind text, at timestamptz);
		alter function partitions_wanted() rename to partitions_wanted_now;
		create function partitions_wanted() returns table (kind text, name text, begins timestamptz, ends timestamptz) language sql stable as $$
			select * from partitions_wanted_now()
			union all
			select a.kind, a.kind || '_' || to_char(b.begins, 'YYYYMMDD'), b.begins at time zone 'UTC', (b.begins + ('1 ' || b.unit)::interval) at time zone 'UTC'
			from asked a cross join lateral (select u.unit, date_trunc(u.unit, a.at at time zone 'UTC') as begins
				from (select case a.kind when 'commands' then 'month' else 'week' end as unit) u) b $$`);
}

// Each worker holds its share, by their names as a worker counts (sql/queries/lease_workers.sql): none gives a feed back any more, which would
// fence what it has in hand of that feed.
async function untilSharesAreKept() {
	const workers = nodes.length * nodeWorkers;
	const feeds = Number(await asService(`select count(*) from leases where name like 'feed/%'`));
	const shares = Array.from({ length: workers }, (_, i) => Math.floor(feeds / workers) + (i < feeds % workers ? 1 : 0)).join(' ');
	await poll(
		() => asService(`select string_agg(held::text, ' ' order by holder) from (select holder, count(*) as held from leases where name like 'feed/%' and expires_at > now() group by holder) h`),
		(held) => held === shares,
		{ ms: 20_000, what: `${workers} workers hold ${shares}` },
	);
}

// One of each kind, so many months and weeks from now, and no others; their names.
async function ask(steps) {
	await asService(`delete from asked; insert into asked values ('commands', now() + interval '${steps} months'), ('events', now() + interval '${steps} weeks')`);
	return (await asService('select name from partitions_wanted() except select name from partitions_wanted_now()')).split('\n');
}

const haveCome = (names) => (now) => names.every((name) => now.includes(name));
const haveGone = (names) => (now) => !names.some((name) => now.includes(name));

// As often as it takes, as nodes do it; how often.
async function until(statement, isDone, what) {
	let times = 0;
	await poll(async () => (times++, await asService(statement), partitions()), isDone, { ms: 60_000, every: 100, what });
	return times;
}

const make = (names) => until('select partitions_make()', haveCome(names), `${names} are made`);

// Past its retention, and not empty.
async function makeBehind(steps) {
	const names = await ask(-steps);
	const times = await make(names);
	await asService(`insert into events (vehicle_id, seq, at, type, data) select 'OLD', n, now() - interval '${steps} weeks', 'state.reported', json_build_object('n', n, 'filler', repeat('x', 300))
		from generate_series(1, 10000) n`);
	return { names, times };
}

async function round(number, most) {
	const { names, times } = await makeBehind(20 + number);
	await pause(gap);
	most.made = Math.max(most.made, times, await make(await ask(3 + number)));
	await pause(gap);
	most.dropped = Math.max(most.dropped, await until(`select partitions_drop(${kept.commands}, ${kept.events})`, haveGone(names), `${names} are dropped`));
	await pause(gap);
}

// One command after the other: the longest wait for a 202.
async function probe(isOver) {
	let longest = 0;
	for (let i = 0; !isOver(); i++) {
		const began = Date.now();
		const { status, body } = await sendCommand(nodes[i % 2], admin, own[i % own.length], { name: 'horn.honk' });
		assert.equal(status, 202, JSON.stringify(body));
		promises.add(body.id, own[i % own.length], body);
		longest = Math.max(longest, Date.now() - began);
		await pause(10);
	}
	return longest;
}

// An app that comes back again and again, to where it was; how often.
async function resume(isOver) {
	const positions = new Map(own.slice(0, 6).map((id) => [id, {}]));
	let times = 0;
	for (; !isOver(); times++) {
		const app = await openSocket(nodes[times % 2], { token: admin });
		for (const [vehicle_id, position] of positions) {
			const { epoch, seq, recovered } = await app.call('vehicle.subscribe', { vehicle_id, ...position });
			if (position.epoch) assert.ok(recovered, `${vehicle_id} was not resumed after ${position.after}`);
			positions.set(vehicle_id, { epoch, after: position.after ?? seq });
		}
		await pause(50);
		for (const { vehicle_id, seq } of app.events.items) positions.get(vehicle_id).after = seq;
		app.close();
		await pause(50);
	}
	return times;
}

async function during(work) {
	let isOver = false;
	const traffic = new Traffic(`traffic-${promises.told.length}`, { nodes, token: admin, own, promises, rate: 80, width: 16 });
	await traffic.untilMore(40);
	traffic.longest = 0;
	const others = Promise.all([probe(() => isOver), resume(() => isOver)]);
	others.catch(() => {}); // said below
	await work().finally(() => (isOver = true));
	const [longest, resumed] = await others;
	await traffic.stop();
	assert.deepEqual(traffic.troubles.map(({ status, message }) => status ?? message), [], 'no command was refused');
	return { longest, resumed, gap: traffic.longest, told: traffic.told.length };
}

const say = ({ longest, resumed, gap, told }) => `${told} commands; a 202 came after ${longest} ms at most, nobody was told anything for ${gap} ms at most; ${resumed} times resumed`;

test('a fleet, and an app that follows it', options, async () => {
	await askForMore();
	await untilSharesAreKept();
	parts.vehicles = await connectFleet(broker, nodes[0], admin, own);
	parts.app = new Follower(nodes, admin);
	await parts.app.follow(own);
});

test('partitions come and go under it all', options, async (t) => {
	t.diagnostic(`in the calm: ${say(await during(() => pause(4000)))}`);
	const most = { made: 0, dropped: 0 };
	const seen = await during(async () => {
		for (let number = 0; number < rounds; number++) await round(number, most);
	});
	t.diagnostic(`${rounds} times two were made ahead, two behind, and these dropped, in ${most.made} and ${most.dropped} tries at most: ${say(seen)}`);
	assert.ok(seen.longest < patience && seen.gap < patience);
	for (const node of nodes) assert.equal(await failed(node), 0, `no transaction of ${node.name} failed`);
});

// It takes feeds: what others have in hand of these is fenced, and nothing else fails.
test('a node that starts makes and drops them itself', options, async (t) => {
	const said = await during(async () => {
		const behind = await makeBehind(100);
		const ahead = await ask(100);
		const node = await startNode({ broker, database, config: { log: { level: 'info' } } });
		await poll(partitions, (now) => haveCome(ahead)(now) && haveGone(behind.names)(now), { ms: 20_000, what: `${behind.names} are dropped, ${ahead} are made` });
		await node.stop();
	});
	t.diagnostic(say(said));
	assert.ok(said.longest < patience && said.gap < patience);
});

test('and nothing was lost', options, async () => {
	await judge(nodes[0], admin, promises, parts.vehicles);
	await parts.app.assertWhole(nodes[1], 60_000);
	for (const { events } of parts.app.seen.values()) assertConnectivity(events);
	for (const node of nodes) {
		const times = await failed(node);
		await poll(() => fenced(node), (count) => count >= times, { what: `${node.name} says of each of ${times} transactions that failed that it was fenced` });
	}
	assert.equal(await asService('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
