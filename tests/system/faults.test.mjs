// faults.test.mjs - three nodes, vehicles and apps, and something breaks at random every few seconds: what must hold, holds.
//
// KEYFOB_SEED repeats a run's choices. With --long it goes on for ten minutes, with more of everything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { adminToken, isLong, isSanitized, poll, startInstallation, vehicleIds } from './harness.mjs';
import { randomFrom } from './histories.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { connectFleet, Follower, judge, patience, sendSurely, untilConnected } from './stream.mjs';

const size = isLong
	? { vehicles: 100, apps: 20, senders: 10, ms: 600_000, gap: [1000, 8000] }
	: { vehicles: 10, apps: 4, senders: 3, ms: 12_000, gap: [800, 1600] };
const recovery = 10_000; // after it all has to be well again
const seed = Number(process.env.KEYFOB_SEED ?? Date.now() % 1_000_000);
const random = randomFrom(seed);
const admin = await adminToken();

// ---- what may break: one of a kind of part, which is left alone until it is mended

const faults = [
	{
		name: 'a node killed',
		of: ({ nodes }) => nodes,
		breaks: async (node) => {
			await node.kill();
			await pause(random.between(0, 2000));
			await node.start(false);
		},
	},
	{
		name: 'a node frozen for longer than its lease',
		of: ({ nodes }) => nodes,
		breaks: async (node) => {
			node.signal('SIGSTOP');
			await pause(random.between(5500, 7500));
			node.signal('SIGCONT');
		},
	},
	{
		name: 'a node told to end',
		of: ({ nodes }) => nodes,
		breaks: async (node) => {
			await node.stop();
			await node.start(false);
		},
	},
	{
		name: 'the broker killed',
		of: ({ broker }) => [broker],
		breaks: async (broker) => {
			await broker.kill();
			await pause(random.between(0, 1500));
			await broker.start();
		},
	},
	{
		name: 'the database away',
		of: ({ database }) => [database],
		breaks: async (database) => {
			await database.halt();
			await pause(random.between(0, 1500));
			await database.resume();
		},
	},
	{ name: 'vehicles cut off', of: ({ vehicles }) => [vehicles], breaks: async (vehicles) => vehicles.forEach((one) => random.chance(0.4) && one.cut()) },
	{ name: 'apps cut off', of: ({ apps }) => [apps], breaks: async (apps) => apps.forEach((app) => random.chance(0.7) && app.socket.close()) },
];

const broken = new Set();

// Resolves when it is mended: how often it broke, and how long that took.
async function breakOne({ of, breaks }, parts) {
	const whole = of(parts).filter((part) => !broken.has(part));
	if (whole.length === 0) return { times: 0, took: 0 };
	const part = random.pick(whole);
	const begun = Date.now();
	broken.add(part);
	await breaks(part);
	broken.delete(part);
	return { times: 1, took: Date.now() - begun };
}

// Until the time is over; then everything is mended. How often what broke, and how long the longest was broken.
async function breakThings(parts, end) {
	const order = [...faults];
	const under = [];
	for (let turn = 0; Date.now() < end; turn++) {
		await pause(random.between(...size.gap));
		// Each kind once, before any comes again.
		if (turn % order.length === 0) order.sort(() => random.next() - 0.5);
		const fault = order[turn % order.length];
		const mended = breakOne(fault, parts).then((one) => ({ name: fault.name, ...one }));
		mended.catch(() => {}); // said below
		under.push(mended);
	}
	const mended = await Promise.all(under);
	const counts = new Map();
	for (const { name, times } of mended) counts.set(name, (counts.get(name) ?? 0) + times);
	return { counts, longest: Math.max(...mended.map(({ took }) => took)) };
}

// Sends for as long as things break; the longest that an app waited for its 202.
async function send({ nodes, own }, promises, number, end) {
	let longest = 0;
	for (let i = 0; Date.now() < end; i++) {
		const began = Date.now();
		const body = random.chance(0.1) ? { name: 'engine.start', ttl_seconds: 10 } : { name: 'horn.honk' };
		await sendSurely(random.chance(0.5) ? nodes : [...nodes].reverse(), admin, promises, random.pick(own), `fault-${number}-${i}`, body);
		longest = Math.max(longest, Date.now() - began);
		await pause(random.between(20, 120));
	}
	return longest;
}

async function run(t) {
	const own = vehicleIds(size.vehicles);
	const { broker, database, nodes } = await startInstallation({ ids: own, nodes: 3 });
	const vehicles = await connectFleet(broker, nodes[0], admin, own);
	const apps = Array.from({ length: size.apps }, (_, i) => new Follower([...nodes.slice(i % 3), ...nodes.slice(0, i % 3)], admin));
	await Promise.all(apps.map((app) => app.follow(own)));
	const promises = new Promises();
	const end = Date.now() + size.ms;

	const senders = Array.from({ length: size.senders }, (_, i) => send({ nodes, own }, promises, i, end));
	const { counts, longest } = await breakThings({ nodes, broker, database, vehicles, apps }, end);
	const mended = Date.now();
	const recovered = assertRecovers({ nodes, own }, mended);
	recovered.catch(() => {}); // said below
	const outage = Math.max(...(await Promise.all(senders)));
	const recoveredMs = await recovered;
	for (const { name } of faults) assert.ok(counts.get(name) > 0, `${name}: it never was`);
	assert.ok(outage < longest + recovery + patience, `an app asked for its 202 for ${outage} ms, where nothing was broken for more than ${longest} ms`);

	const commands = await judge(nodes[0], admin, promises, vehicles);
	const settledMs = Date.now() - mended;
	for (const app of apps) {
		await app.assertWhole(nodes[1], 60_000);
		for (const { events } of app.seen.values()) assertConnectivity(events);
	}
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
	assert.ok(commands.length >= (size.senders * size.ms) / 1000, `commands went all the while: ${commands.length}`); // one of a sender a second
	report(t, { commands, vehicles, apps, counts, outage, recoveredMs, settledMs });
}

// After the last mending every node is ready soon, and knows every vehicle to be there: how soon.
async function assertRecovers({ nodes, own }, mended) {
	const left = () => Math.max(0, mended + recovery - Date.now());
	await Promise.all(nodes.map((node) => poll(() => node.isReady(), Boolean, { ms: left(), what: `${node.name} is ready` })));
	for (const id of own) await untilConnected(nodes[0], admin, [id], left());
	return Date.now() - mended;
}

const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

function report(t, { commands, vehicles, apps, counts, outage, recoveredMs, settledMs }) {
	const statuses = new Map();
	for (const { status } of commands) statuses.set(status, (statuses.get(status) ?? 0) + 1);
	const list = (map) => [...map].map(([name, times]) => `${times} ${name}`).join(', ');
	const received = sum(vehicles.map((one) => one.requests.items.length));
	const executed = sum(vehicles.map((one) => one.executed.length));
	const events = sum(apps.flatMap((app) => [...app.seen.values()].map((seen) => seen.events.length)));
	t.diagnostic(`seed ${seed}: ${list(counts)}`);
	t.diagnostic(
		`${commands.length} commands (${list(statuses)}); ${received} requests received, ${executed} executed, ${received - executed} repeats; ` +
			`${events} events seen by ${apps.length} apps; an app asked for its 202 for ${outage} ms at most; all were ready and there ${recoveredMs} ms after the last mending, all was settled ${settledMs} ms after it`,
	);
}

test(`whatever breaks, what must hold, holds (seed ${seed})`, { timeout: size.ms + 300_000, skip: isSanitized }, run);
