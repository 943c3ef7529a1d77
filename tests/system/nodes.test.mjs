// nodes.test.mjs - several nodes are one service: apps on one, senders on the other, and a node killed amid the stream.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
	adminToken,
	connectVehicle,
	openSocket,
	poll,
	registerVehicle,
	rest,
	sendCommand,
	startInstallation,
	vehicleIds,
} from './harness.mjs';
import { assertExecutedOnce, assertNoHole, assertNothingLost, assertNothingStale, assertTransitions, Promises } from './oracle.mjs';

const ids = vehicleIds(40);
const { broker, database, nodes } = await startInstallation({ ids, nodes: 2 });
const [one, two] = nodes;
const admin = await adminToken();
const options = { timeout: 180_000 };
let used = 0;

// `count` vehicles, connected, and `node` knows it.
async function fleet(count, node, settings = {}) {
	const own = ids.slice(used, (used += count));
	await Promise.all(own.map((id) => registerVehicle(node, admin, id)));
	const vehicles = await Promise.all(own.map((id) => connectVehicle(broker, { id, ...settings })));
	for (const id of own)
		await poll(
			() => rest(node, 'GET', `/v1/vehicles/${id}`, { token: admin }),
			({ body }) => body.connectivity.state === 'connected',
			{ what: `${id} is connected` },
		);
	return { own, vehicles };
}

// Commands live 30 s: an engine.start (redelivery never) whose publisher was killed is settled by its end alone.

// An app that follows vehicles for good: when its connection goes, it comes back (to the next node) and resumes.
class Follower {
	constructor(at) {
		this.nodes = at;
		this.seen = new Map(); // vehicle -> { epoch, after, events }
		this.turn = 0;
	}

	// Resolves when it is subscribed to all of them; from then on it stays so until assertWhole().
	async follow(own) {
		for (const id of own) this.seen.set(id, { events: [] });
		await this.#connect();
		this.following = this.#stay();
		this.following.catch(() => {}); // said by assertWhole()
	}

	async #connect() {
		this.socket = await openSocket(this.nodes[this.turn++ % this.nodes.length], { token: admin });
		this.socket.ws.on('message', (data) => this.#onMessage(JSON.parse(data.toString())));
		for (const [id, seen] of this.seen) {
			const { epoch, seq, recovered } = await this.socket.call('vehicle.subscribe', { vehicle_id: id, epoch: seen.epoch, after: seen.after });
			if (seen.epoch) assert.ok(recovered, `${id} was not resumed after ${seen.after}`);
			else Object.assign(seen, { begun: seq, after: Math.max(seq, seen.after ?? 0) });
			seen.epoch = epoch;
		}
	}

	async #stay() {
		for (;;) {
			await this.socket.closed;
			if (this.isDone) return;
			await this.#connect().catch(async (error) => {
				this.socket.close();
				if (error instanceof assert.AssertionError) throw error;
				await new Promise((next) => setTimeout(next, 50)); // the node is not back yet: an app's own pace
			});
		}
	}

	#onMessage({ method, params }) {
		if (method !== 'event') return;
		const seen = this.seen.get(params.vehicle_id);
		seen.events.push(params);
		seen.after = params.seq;
	}

	// Every event up to the vehicle's head, without a hole.
	async assertWhole(node) {
		for (const [id, seen] of this.seen) {
			const { body } = await rest(node, 'GET', `/v1/vehicles/${id}`, { token: admin });
			await poll(() => seen.after, (after) => after >= body.seq, { ms: 20_000, what: `${id} was seen up to ${body.seq}` });
			assertNoHole(seen.events, seen.begun);
			assertTransitions(seen.events);
		}
		this.isDone = true;
		this.socket.close();
		await this.following;
	}
}

// Sends until it is told what became of it, with one key, to whichever node answers: as a careful app does.
async function sendSurely(at, promises, id, name, key) {
	for (let turn = 0; ; turn++) {
		const node = at[turn % at.length];
		const answer = await sendCommand(node, admin, id, { name, ttl_seconds: 30 }, { 'Idempotency-Key': key }).catch(() => null);
		if (answer && [200, 202].includes(answer.status)) return promises.add(key, id, answer.body);
		if (answer && answer.status < 500) assert.fail(`${name}: ${answer.status} ${JSON.stringify(answer.body)}`);
		assert.ok(turn < 1200, `${key} got no answer in a minute`);
		await new Promise((next) => setTimeout(next, 50)); // the node is down: an app's own pace
	}
}

// `total` commands to `own`, `width` at a time; calls `at` when so many are promised.
async function stream({ nodes: to, own, total, width = 20, milestone, onMilestone }) {
	const promises = new Promises();
	let next = 0;
	const sender = async () => {
		while (next < total) {
			const i = next++;
			await sendSurely(to, promises, own[i % own.length], i % 10 === 3 ? 'engine.start' : 'horn.honk', `stream-${own[0]}-${i}`);
			if (promises.told.length === milestone) await onMilestone();
		}
	};
	await Promise.all(Array.from({ length: width }, sender));
	assert.equal(new Set(promises.told.map(({ key }) => key)).size, total);
	return promises;
}

async function judge(node, promises, vehicles) {
	promises.assertOneCommandAKey();
	const commands = await assertNothingLost(node, admin, promises);
	assertExecutedOnce(vehicles, commands);
	assertNothingStale(vehicles, commands);
	return commands;
}

test('the app on one node, the sender on the other', options, async () => {
	const { own, vehicles } = await fleet(5, one);
	const app = new Follower([one]);
	await app.follow(own);
	const promises = await stream({ nodes: [two], own, total: 100 });
	const commands = await judge(one, promises, vehicles);
	for (const { status, id } of commands) assert.equal(status, 'succeeded', id);
	await app.assertWhole(two);
});

test('one vehicle, both nodes: the order of acceptance is the order of arrival', options, async () => {
	const { own, vehicles } = await fleet(1, two);
	const promises = await stream({ nodes: [one, two], own, total: 100 });
	await judge(two, promises, vehicles);
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
	const app = new Follower([one, two]);
	await app.follow(own);
	const promises = await stream({ nodes, own, total: 300, milestone: 100, onMilestone: () => one.kill() });
	await judge(two, promises, vehicles);
	await app.assertWhole(two);
	await one.start();
});

test('kill -9 of the only node amid 300 commands: it carries on where it was', options, async () => {
	await two.stop();
	const { own, vehicles } = await fleet(10, one);
	const app = new Follower([one]);
	await app.follow(own);
	const promises = await stream({
		nodes: [one],
		own,
		total: 300,
		milestone: 120,
		onMilestone: async () => {
			await one.kill();
			await one.start();
		},
	});
	await judge(one, promises, vehicles);
	await app.assertWhole(one);
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
