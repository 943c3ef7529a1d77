// stream.mjs - a stream of commands while things break: senders that ask until they are told, an app that follows it all,
// and what must hold at the end.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { atEnd } from './children.mjs';
import { connectVehicle, openSocket, poll, registerVehicle, rest } from './harness.mjs';
import { assertExecutedOnce, assertNoHole, assertNothingLost, assertNothingMore, assertNothingStale, assertTransitions, settled } from './oracle.mjs';

// Vehicles that `node` knows to be connected.
export async function connectFleet(broker, node, token, own, settings = {}) {
	await Promise.all(own.map((id) => registerVehicle(node, token, id)));
	const vehicles = await Promise.all(own.map((id) => connectVehicle(broker, { id, ...settings })));
	await untilConnected(node, token, own);
	return vehicles;
}

export async function untilConnected(node, token, own, ms) {
	for (const id of own)
		await poll(
			() => rest(node, 'GET', `/v1/vehicles/${id}`, { token }).catch(() => null), // a connection that was kept may be gone
			(answer) => answer?.body.connectivity?.state === 'connected',
			{ ms, every: 100, what: `${id} is connected` },
		);
}

// An app that follows vehicles for good: when its connection goes, it comes back (to the next node) and resumes. `unchecked` as in rest().
export class Follower {
	constructor(at, token, { unchecked } = {}) {
		this.nodes = at;
		this.token = token;
		this.unchecked = unchecked;
		this.seen = new Map(); // vehicle -> { epoch, after, events, arrived, from }: of each event when it came, and from which node
		this.former = new Map(); // of those that it follows no more
		this.turn = 0;
		atEnd(() => this.#end());
	}

	#end() {
		this.isDone = true;
		this.socket?.close();
	}

	// Resolves when it is subscribed to all of them; from then on it stays so until assertWhole().
	async follow(own) {
		for (const id of own) this.seen.set(id, { events: [], arrived: [], from: [] });
		const end = Date.now() + 30_000;
		while (!(await this.#come())) assert.ok(Date.now() < end, `it could not follow: ${this.trouble}`);
		this.following = this.#stay();
		this.following.catch(() => {}); // said by assertWhole()
	}

	// Its right has ended: what comes all the same is written down.
	forget(id) {
		this.former.set(id, this.seen.get(id));
		this.seen.delete(id);
	}

	async #connect() {
		this.socket = await openSocket(this.nodes[this.turn++ % this.nodes.length], { token: this.token, unchecked: this.unchecked });
		this.#watch(this.socket);
		this.socket.ws.on('message', (data) => this.#onMessage(JSON.parse(data.toString())));
		await this.subscribe();
	}

	async subscribe() {
		for (const [id, seen] of this.seen) {
			const { epoch, seq, recovered } = await this.socket.call('vehicle.subscribe', { vehicle_id: id, epoch: seen.epoch, after: seen.after });
			if (seen.epoch) assert.ok(recovered, `${id} was not resumed after ${seen.after}`);
			else Object.assign(seen, { begun: seq, after: Math.max(seq, seen.after ?? 0) });
			seen.epoch = epoch;
		}
	}

	async #stay() {
		for (;;) {
			if (this.isDone) this.socket.close();
			await this.socket.closed;
			if (this.isDone) return;
			await this.#come();
		}
	}

	// Whether it is there again.
	async #come() {
		try {
			await this.#connect();
			return true;
		} catch (error) {
			this.socket?.close();
			if (error instanceof assert.AssertionError && !this.isDone) throw error;
			this.trouble = error.message;
			await pause(50); // the node is not back yet: an app's own pace
			return false;
		}
	}

	// A node that stands still closes nothing: who does not hear from it goes elsewhere.
	#watch(socket) {
		let heard = true;
		socket.ws.on('pong', () => (heard = true));
		const timer = setInterval(() => {
			if (!heard) socket.close();
			heard = false;
			socket.ws.ping();
		}, silence);
		socket.closed.then(() => clearInterval(timer));
	}

	get #node() {
		return this.nodes[(this.turn - 1) % this.nodes.length];
	}

	// How it stands with its connection, for a test that asks in vain.
	#condition() {
		const { ws, unanswered, frames } = this.socket;
		const states = ['opening', 'open', 'closing', 'closed'];
		return `its socket at ${this.#node.name} is ${states[ws.readyState]}, ${frames.items.length} frames came, unanswered: ${JSON.stringify(unanswered)}; before: ${this.trouble ?? 'nothing'}`;
	}

	#onMessage({ method, params }) {
		if (method === 'event') this.take(params);
	}

	take(params) {
		const seen = this.seen.get(params.vehicle_id) ?? this.former.get(params.vehicle_id);
		seen.events.push(params);
		seen.arrived.push(Date.now());
		seen.from.push(this.#node.name);
		seen.after = params.seq;
	}

	// Every event up to the vehicle's head, without a hole.
	async assertWhole(node, ms = 20_000) {
		for (const [id, seen] of this.seen) {
			const { body } = await rest(node, 'GET', `/v1/vehicles/${id}`, { token: this.token });
			const isWhole = poll(() => seen.after, (after) => after >= body.seq, { ms, what: `${id} was seen up to ${body.seq}` });
			await Promise.race([isWhole, this.following.then(() => isWhole)]).catch((error) => {
				throw new assert.AssertionError({ message: `${error.message}; ${this.#condition()}` });
			});
			assertNoHole(seen.events, seen.begun);
			assertTransitions(seen.events);
		}
		await this.leave();
	}

	async leave() {
		this.#end();
		await this.following;
	}
}

// An app that follows a fleet, which is not resumed: with each connection it takes each of the vehicles `own` as it then is.
export class FleetFollower extends Follower {
	connections = []; // of each: vehicle -> { begun, events }

	constructor(at, token, fleet, own) {
		super(at, token);
		Object.assign(this, { fleet, own });
	}

	async subscribe() {
		const seen = new Map(this.own.map((id) => [id, { events: [] }]));
		this.connections.push(seen);
		await this.socket.call('fleet.subscribe', { fleet_id: this.fleet });
		for (const [id, one] of seen) one.begun = (await this.socket.call('vehicle.get', { vehicle_id: id })).seq;
	}

	// What is said of the fleet itself, as that one may see it, has no place among a vehicle's.
	take(event) {
		if (event.vehicle_id) this.connections.at(-1).get(event.vehicle_id).events.push(event);
	}

	// With each connection, of each vehicle, no hole: from where it stood, if the app came to ask, on; at the end up to its head.
	async assertWhole(node, ms = 20_000) {
		for (const [id, { begun, events }] of this.connections.at(-1)) {
			const { body } = await rest(node, 'GET', `/v1/vehicles/${id}`, { token: this.token });
			await poll(() => events.at(-1)?.seq ?? begun, (seq) => seq >= body.seq, { ms, what: `the fleet's ${id} was seen up to ${body.seq}` });
		}
		await this.leave();
		for (const seen of this.connections)
			for (const { begun, events } of seen.values()) {
				const [first] = events;
				if (!first) continue;
				assert.ok(begun === undefined || first.seq <= begun + 1, `seq ${first.seq} is the first after ${begun}`);
				assertNoHole(events, first.seq - 1);
			}
	}
}

// Commands live 30 s: an engine.start (redelivery never) whose publisher was killed is settled by its end alone.
const life = { ttl_seconds: 30 };
const silence = 3000; // after which an app looks for another node
export const patience = 10_000; // of an app with one request: what answers later, or never, is asked again

// Sends until it is told what became of it, with one key, to whichever node answers: as a careful app does. The command. `onTrouble`
// hears of each time that it was told nothing: the answer, or why there was none. It begins with the node of number `first`.
export async function sendSurely(at, token, promises, id, key, body, { onTrouble, first = 0, unchecked } = {}) {
	for (let turn = first; ; turn++) {
		let trouble;
		const answer = await rest(at[turn % at.length], 'POST', `/v1/vehicles/${id}/commands`, {
			token,
			body: { ...life, ...body },
			headers: { 'Idempotency-Key': key },
			signal: AbortSignal.timeout(patience),
			unchecked,
		}).catch((error) => void (trouble = error));
		if (answer && [200, 202].includes(answer.status)) {
			promises.add(key, id, answer.body);
			return answer.body;
		}
		if (answer && answer.status < 500) assert.fail(`${body.name}: ${answer.status} ${JSON.stringify(answer.body)}`);
		onTrouble?.(answer ?? trouble);
		assert.ok(turn < first + 1200, `${key} got no answer in a minute`);
		await pause(50); // the node is down: an app's own pace
	}
}

// Takes a command back, until it is told what became of that: { id, is, isSure, at }, `is` what it then was, or the name of the problem. It is
// sure where no request was left without an answer, to be done later.
export async function cancelSurely(nodes, token, { vehicle_id, id }, { first = 0 } = {}) {
	let isSure = true;
	for (let turn = first; ; turn++) {
		const ask = rest(nodes[turn % nodes.length], 'POST', `/v1/vehicles/${vehicle_id}/commands/${id}/cancel`, { token, signal: AbortSignal.timeout(patience) });
		const { status, body } = (await ask.catch(() => null)) ?? {};
		if (status === 200) return { id, is: body.status, isSure, at: Date.now() };
		if (status < 500) return { id, is: body.type.replace('urn:keyfob:problem:', ''), isSure, at: Date.now() };
		if (!status || body.may_have_executed) isSure = false;
		assert.ok(turn < first + 1200, `the cancel of ${id} got no answer in a minute`);
		await pause(50); // as sendSurely() does
	}
}

let streams = 0;

// `total` commands to `own`, `width` at a time, every tenth one that may never be repeated (`never`: more of it); calls `onMilestone` when `milestone` of
// them are promised. All of them.
export async function stream({ nodes, token, own, total, promises, width = 20, never = {}, milestone, onMilestone }) {
	const name = `stream-${++streams}`;
	const told = [];
	let next = 0;
	const sender = async () => {
		while (next < total) {
			const i = next++;
			const body = i % 10 === 3 ? { name: 'engine.start', ...never } : { name: 'horn.honk' };
			told.push(await sendSurely(nodes, token, promises, own[i % own.length], `${name}-${i}`, body));
			if (told.length === milestone) await onMilestone();
		}
	};
	await Promise.all(Array.from({ length: width }, sender));
	assert.equal(told.length, total);
	return told;
}

// Commands without end, `rate` a second, every tenth one that may never be repeated (`never`: more of it), each until it is told: `width`
// at a time, or however many are under way where it is 0. `longest` is how long nobody was told anything; stop() resolves when all that
// were begun are told. `unchecked` as in rest().
export class Traffic {
	told = [];
	troubles = [];
	longest = 0;
	started = 0;
	#begun = Date.now();
	#last = Date.now();
	#next = 0;
	#isOver = false;

	constructor(name, { nodes, token, own, promises, rate = 100, width = 20, never = {}, unchecked }) {
		Object.assign(this, { name, nodes, token, own, promises, rate, never, unchecked });
		this.senders = width > 0 ? Promise.all(Array.from({ length: width }, () => this.#sendInTurn())) : atRate(rate, () => this.#isOver, (i) => this.#send(i));
		this.senders.catch(() => {}); // said by stop()
	}

	async #sendInTurn() {
		while (!this.#isOver) {
			const i = this.#next++;
			await pause(this.#begun + (i * 1000) / this.rate - Date.now());
			await this.#send(i);
		}
	}

	async #send(i) {
		this.started++;
		const body = i % 10 === 3 ? { name: 'engine.start', ...this.never } : { name: 'horn.honk' };
		const manner = { onTrouble: (what) => this.troubles.push(what), first: i, unchecked: this.unchecked };
		this.told.push(await sendSurely(this.nodes, this.token, this.promises, this.own[i % this.own.length], `${this.name}-${i}`, body, manner));
		this.longest = Math.max(this.longest, Date.now() - this.#last);
		this.#last = Date.now();
	}

	// What was begun, until stop(), and what was told of it by then.
	get rates() {
		return [this.started, this.toldInTime ?? this.told.length].map((count) => (count * 1000) / ((this.ended ?? Date.now()) - this.#begun));
	}

	untilMore(more) {
		const wanted = this.told.length + more;
		return poll(() => this.told.length, (count) => count >= wanted, { ms: 60_000, what: `${more} more are told` });
	}

	async stop() {
		this.ended = Date.now();
		this.toldInTime = this.told.length;
		this.#isOver = true;
		await this.senders;
		this.longest = Math.max(this.longest, Date.now() - this.#last);
		return this;
	}
}

// Begins `rate` of something a second by the clock until `isOver()`, however many are not done yet: who is slow holds up nobody. `begin`
// has their number. What they brought, when all are done.
export async function atRate(rate, isOver, begin) {
	const all = [];
	const begun = performance.now();
	while (!isOver()) {
		while (all.length < ((performance.now() - begun) * rate) / 1000) {
			const one = begin(all.length);
			one.catch(() => {}); // said below
			all.push(one);
		}
		await pause(5);
	}
	return Promise.all(all);
}

// Waits until each of them is settled, as `is` where that is given; asks again where a connection went.
export async function untilSettled(node, token, commands, { ms = 30_000, every = 50, is } = {}) {
	for (const { vehicle_id, id } of commands) {
		const answer = await poll(
			() => rest(node, 'GET', `/v1/vehicles/${vehicle_id}/commands/${id}`, { token }).catch(() => null),
			(answer) => answer?.status === 404 || settled.has(answer?.body.status),
			{ ms, every, what: `${id} of ${vehicle_id} is settled` },
		);
		if (is) assert.equal(answer.body.status, is, JSON.stringify(answer.body));
	}
}

// The commands, all settled, after every oracle that judges them has. `fleet` is the vehicles, or gives them when all is settled; they
// have had the commands of `promises` and no others.
export async function judge(node, token, promises, fleet, { held, lag, ...options } = {}) {
	promises.assertOneCommandAKey();
	const commands = await assertNothingLost(node, token, promises, options);
	const vehicles = typeof fleet === 'function' ? fleet() : fleet;
	await assertNothingMore(node, token, promises, vehicles);
	assertExecutedOnce(vehicles, commands);
	assertNothingStale(vehicles, commands, { held, lag });
	return commands;
}
