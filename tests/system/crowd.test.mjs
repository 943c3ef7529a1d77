// crowd.test.mjs - a node dies, and all of its apps come to the other one at once, while others go on sending commands there. A thousand;
// with --long ten thousand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { adminToken, isLong, isSanitized, openSocket, poll, Reference, registerVehicle, rest, sendCommand, startInstallation } from './harness.mjs';
import { withinMemory } from './memory.mjs';
import { assertNoHole } from './oracle.mjs';
import { atRate, untilConnected } from './stream.mjs';

const KiB = 1024;
const count = isLong ? 10_000 : 1000;
const room = 200; // besides the crowd, for who sends commands and for some of those who are too many
const tooMany = 400;
const fleet = Array.from({ length: count / 10 }, (_, i) => `C${String(i + 1).padStart(5, '0')}`); // ten apps follow each
const { broker, nodes } = await startInstallation({
	ids: fleet,
	nodes: 2,
	config: { http: { max_connections: count + room, per_address: count + room }, log: { level: 'info' } },
});
const [one, two] = nodes;
const admin = await adminToken();
const tokens = await Promise.all(Array.from({ length: 50 }, (_, i) => adminToken(`app-${i}`)));
const connections = async (node) => Number(/^keyfob_connections (\d+)/m.exec(await node.metrics())[1]);

// One that follows a vehicle, and comes back as an app does: later, where it was not let in.
class App {
	tries = 0;
	events = [];

	constructor(i) {
		this.token = tokens[i % tokens.length];
		this.vehicle_id = fleet[i % fleet.length];
	}

	async connect(node) {
		for (;;) {
			this.tries++;
			this.socket = await openSocket(node, { token: this.token, unchecked: true }).catch(() => null);
			if (this.socket) break;
			await pause(500 + Math.random() * 1000);
		}
		const { epoch, seq, recovered } = await this.socket.call('vehicle.subscribe', { vehicle_id: this.vehicle_id, epoch: this.epoch, after: this.after });
		this.begun ??= seq;
		this.epoch = epoch;
		return recovered;
	}

	// What it had, when its connection was lost.
	async lose() {
		await this.socket.closed;
		this.events.push(...this.socket.events.items);
		this.after = this.events.at(-1)?.seq ?? this.begun;
	}

	async assertWhole(seq) {
		if (seq > this.after) await this.socket.until((event) => event.seq >= seq, { ms: 30_000, what: `${this.vehicle_id} up to ${seq}` });
		assertNoHole([...this.events, ...this.socket.events.items], this.begun);
	}
}

// One command to the node that lives, to one of a tenth of the vehicles: how long it took until it was done.
async function send(i) {
	const began = performance.now();
	const { status, body } = await sendCommand(two, admin, fleet[i % (fleet.length / 10)], { name: 'horn.honk' }, { Prefer: 'wait=30' });
	assert.equal(status, 200, JSON.stringify(body));
	assert.equal(body.status, 'succeeded', JSON.stringify(body));
	return performance.now() - began;
}

// A socket; null: it was not let in.
const knock = () => openSocket(two, { token: admin, unchecked: true }).catch(() => null);

test(`${count} apps whose node is killed resume at the other one, all at once; who is there goes on`, { timeout: 600_000, skip: isSanitized && 'the sanitizer keeps what is freed' }, async (t) => {
	for (let i = 0; i < fleet.length; i += 50) await Promise.all(fleet.slice(i, i + 50).map((id) => registerVehicle(one, admin, id)));
	const simulated = new Reference(broker, 'vehicles', ['--prefix', 'C', '--count', fleet.length]);
	await untilConnected(one, admin, fleet);
	const apps = Array.from({ length: count }, (_, i) => new App(i));
	for (let i = 0; i < count; i += 100) await Promise.all(apps.slice(i, i + 100).map((app) => app.connect(one)));
	let isOver = false;
	const sending = atRate(20, () => isOver, send);
	sending.catch(() => {}); // said below
	await poll(() => apps.filter(({ socket }) => socket.events.items.length > 0).length, (some) => some >= 50, { what: 'something happens to follow' });
	await withinMemory(t, two, count * 10 * KiB + 16 * KiB * KiB, async () => {
		await one.kill();
		await Promise.all(apps.map((app) => app.lose()));
		const began = performance.now();
		const recovered = await Promise.all(apps.map((app) => app.connect(two)));
		const took = performance.now() - began;
		assert.equal(recovered.filter(Boolean).length, count, 'all were resumed');
		isOver = true;
		const times = await sending;
		// They are all in, and no more than may be are let in besides.
		const letIn = (await Promise.all(Array.from({ length: tooMany }, knock))).filter(Boolean);
		const most = await connections(two);
		assert.ok(most <= count + room, `${most} connections`);
		assert.ok(letIn.length <= room, `${letIn.length} more were let in`);
		letIn.forEach((socket) => socket.close());
		await poll(() => connections(two), (open) => open <= most - letIn.length, { what: 'they are gone' });
		assert.ok(Math.max(...times) < 10_000, `a command took ${Math.max(...times)} ms`);
		const tries = apps.reduce((sum, app) => sum + app.tries - 2, 0);
		return `${count} apps resumed in ${took.toFixed()} ms, ${tries} tries in vain; ${times.length} commands meanwhile, the slowest ${Math.max(...times).toFixed()} ms; ${most} connections where ${count + room} may be`;
	});
	const heads = new Map();
	for (const id of fleet) heads.set(id, (await rest(two, 'GET', `/v1/vehicles/${id}`, { token: admin })).body.seq);
	for (const app of apps) await app.assertWhole(heads.get(app.vehicle_id));
	assert.ok(apps.some(({ begun, after, socket }) => after > begun && socket.events.items.length > 0), 'something happened to follow, before and after');
	for (const app of apps) app.socket.close();
	await simulated.stop();
	await poll(() => connections(two), (open) => open < room, { ms: 30_000, what: 'they are gone' });
});
