// clocks.test.mjs - clocks of real processes that jump by an hour, forwards and back: the broker's, and the reference vehicle's. Nothing is done
// after its expiry, nobody is said to be away who is there, nobody is woken, and what is sent afterwards is done.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fakeClock, hasFakeClocks } from './clock.mjs';
import { adminToken, connectVehicle, isSanitized, poll, Record, Reference, registerVehicle, rest, sendCommand, startBroker, startNode, vehicleIds } from './harness.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { createMigratedDatabase } from './servers.mjs';
import { startSmsServer } from './sms.mjs';
import { Follower, judge, Traffic, untilConnected, untilSettled } from './stream.mjs';

const options = { timeout: 180_000, skip: isSanitized && 'libfaketime has to be loaded first, and so has the sanitizer' };
const hour = 3600;
const ids = { herd: vehicleIds(20), cars: vehicleIds(6, 21), dreamer: vehicleIds(1, 27), odd: vehicleIds(1, 28) };
const fleet = [...ids.herd, ...ids.cars, ...ids.dreamer];
const admin = await adminToken();
const promises = new Promises();
const parts = {};
const slept = new Set(); // what reached who was frozen: it lay in the socket in time, and was read late

const ask = async (statement) => Number(await parts.database.sql(statement));
const ofFleet = `vehicle_id in (${fleet.map((id) => `'${id}'`).join()})`;

// A reference vehicle and when it did what, by the right clock, whatever its own says.
function startReference(name, id, clock, ...args) {
	const one = new Reference(parts.broker, name, ['--id', id, ...args], { env: clock?.env });
	const done = new Record(`what ${id} did`);
	const timer = setInterval(() => one.journal().slice(done.items.length).forEach((entry) => done.push({ ...entry, at: Date.now() })), 10);
	one.exited.then(() => clearInterval(timer));
	return Object.assign(one, { id, clock, done });
}

// Sent, and promised to whom judge() asks.
async function send(id, body, headers = {}) {
	const answer = await sendCommand(parts.node, admin, id, body, headers);
	assert.ok([200, 202].includes(answer.status), JSON.stringify(answer.body));
	promises.add(answer.body.id, id, answer.body);
	return answer.body;
}

async function succeeds(id) {
	const { status, reason } = await send(id, { name: 'doors.unlock' }, { Prefer: 'wait=10' });
	assert.equal(status, 'succeeded', `${id}: ${JSON.stringify(reason)}`);
}

const timelineOf = async ({ id, vehicle_id }) => (await rest(parts.node, 'GET', `/v1/vehicles/${vehicle_id}/commands/${id}`, { token: admin })).body;
const counted = async () => Number(/^keyfob_answers_after_expiry_total (\d+)/m.exec(await parts.node.metrics())[1]);

test('a broker with a clock of its own, a node, vehicles, an app', options, async () => {
	assert.ok(hasFakeClocks, 'libfaketime is there (./dev installs it)');
	const clock = fakeClock('broker');
	parts.sms = await startSmsServer('the SMS provider', () => ({ status: 202 }));
	parts.broker = Object.assign(await startBroker({ ids: [...fleet, ...ids.odd], env: clock.env }), { clock });
	parts.database = await createMigratedDatabase();
	parts.node = await startNode({
		broker: parts.broker,
		database: parts.database,
		config: { lifecycle: { verify_delay: '5s' }, wake: { providers: ['http'], http: { url: parts.sms.url, body: '{"to":"{msisdn}"}' } }, log: { level: 'info' } },
	});
	for (const [i, id] of [...fleet, ...ids.odd].entries()) await registerVehicle(parts.node, admin, id, { msisdn: `+491555200${String(i).padStart(4, '0')}` });
	parts.herd = new Reference(parts.broker, 'herd', ['--prefix', ids.herd[0].slice(0, -5), '--count', ids.herd.length]);
	parts.dreamer = startReference('dreamer', ids.dreamer[0]);
	parts.cars = await Promise.all(ids.cars.map((id) => connectVehicle(parts.broker, { id })));
	await untilConnected(parts.node, admin, fleet);
	parts.app = new Follower([parts.node], admin);
	await parts.app.follow(fleet);
});

// ---- the broker's

// All are known to be there, in sessions from after `since`; of the strangers alone where only they came anew. The least and the greatest of the
// sessions' version numbers.
async function untilBack(since, whose) {
	const those = `vehicle_id in (${whose.map((id) => `'${id}'`).join()})`;
	await poll(
		() => ask(`select count(*) from vehicle_heads where ${those} and reachable and not verifying and subscribed and taken_at > to_timestamp(${since / 1000})`),
		(count) => count === whose.length,
		{ ms: 15_000, what: 'all are there again' },
	);
	return (await parts.database.sql(`select min(version), max(version) from vehicle_heads where ${those}`)).split('|').map(Number);
}

async function cutCars() {
	const since = Date.now();
	for (const one of parts.cars) one.cut();
	return untilBack(since, ids.cars);
}

async function restartBroker(meanwhile = () => {}) {
	const since = Date.now();
	await parts.broker.kill();
	meanwhile();
	for (const id of fleet) await send(id, { name: 'doors.unlock', wake: true }); // nobody is woken for it
	await parts.broker.start();
	return untilBack(since, fleet);
}

// Asleep while what it is sent expires: the broker, whose clock is behind, would have given it out all the same.
async function dream() {
	const { dreamer } = parts;
	await dreamer.freeze();
	const sent = await send(dreamer.id, { name: 'horn.honk', ttl_seconds: 2 });
	slept.add(sent.id);
	await pause(Date.parse(sent.expires_at) + 500 - Date.now());
	dreamer.thaw();
	await dreamer.done.until(({ what, request_id }) => what === 'expired' && request_id === sent.id);
}

// The one that is sent nothing meanwhile goes and comes again, and is said to: of going its lifecycle event tells alone.
async function goAndCome() {
	const [one] = parts.cars;
	const { events } = parts.app.seen.get(one.id);
	const said = (state, from) => poll(() => events.slice(from).some(({ type, data }) => type === 'connectivity.changed' && data.state === state), Boolean, { ms: 10_000, what: `${one.id} is said to be ${state}` });
	const before = events.length;
	await one.disconnect();
	await said('disconnected', before);
	const since = Date.now();
	await one.connect();
	await said('connected', before);
	return untilBack(since, [one.id]);
}

const set = (offset) => parts.broker.clock.set(offset);

test("the broker's clock jumps by an hour, forwards and back, under way and over a restart", options, async (t) => {
	const { node } = parts;
	const traffic = new Traffic('broker', { nodes: [node], token: admin, own: [...ids.herd, ...ids.cars.slice(1)], promises, rate: 30, width: 6 });
	await traffic.untilMore(30);
	const steps = [
		['an hour ahead', () => set(`+${hour}`), cutCars],
		['restarted there', () => {}, () => restartBroker()],
		['one goes and comes there', () => {}, goAndCome],
		// Who came in the last second is known to nobody but its own memory when it is killed.
		['killed there a moment after they came, right when it is back', cutCars, () => restartBroker(() => set('+0'))],
		['one goes and comes, an hour back', () => {}, goAndCome],
		['an hour behind', () => set(`-${hour}`), cutCars],
		['somebody sleeps there', dream, cutCars],
		['restarted there', () => {}, () => restartBroker()],
		['right again', () => set('+0'), cutCars],
		['restarted', () => {}, () => restartBroker()],
	];
	let last = 0;
	for (const [what, before, comeBack] of steps) {
		await before();
		const [least, greatest] = await comeBack();
		assert.ok(least > last, `${what}: a session has the version ${least}, and there was ${last} before`);
		last = greatest;
		await Promise.all(fleet.map(succeeds));
		t.diagnostic(`${what}: versions from ${new Date(least / 1000).toISOString()}`);
	}
	await traffic.stop();
	t.diagnostic(`${traffic.told.length} commands went meanwhile; nobody was told anything for ${traffic.longest} ms at most`);
});

// ---- a vehicle's

const burst = 20;

// More than it can do in time, each as long as `latency`: what was done, and what was refused. `meanwhile` comes when some are done. What is
// done is done before its expiry by the right clock (and the second that the broker's whole seconds may add).
async function hurry(one, meanwhile = () => {}) {
	const sent = await Promise.all(Array.from({ length: burst }, () => send(one.id, { name: 'horn.honk', ttl_seconds: 3 })));
	const isOf = new Set(sent.map(({ id }) => id));
	const of = (what) => one.done.items.filter((entry) => entry.what === what && isOf.has(entry.request_id));
	await poll(() => of('executed').length + of('expired').length, (count) => count >= 3, { every: 5, what: 'some are done or refused' });
	meanwhile();
	const ends = new Map(sent.map(({ id, expires_at }) => [id, Date.parse(expires_at)]));
	await poll(() => of('executed').length + of('expired').length, (count) => count === burst, { ms: 20_000, what: 'each is done or refused' });
	for (const { request_id, at } of of('executed')) assert.ok(at <= ends.get(request_id) + 1000, `${request_id} was done ${at - ends.get(request_id)} ms after its expiry`);
	await untilSettled(parts.node, admin, sent); // what came late is counted by then
	return { done: of('executed').length, refused: of('expired').length };
}

// Frozen with a clock that is behind, a vehicle knows nothing of what it slept: what lay in its socket is done late. Told of it, the node says so.
async function oversleep(one) {
	const before = await counted();
	await one.freeze();
	const { id, vehicle_id, expires_at } = await send(one.id, { name: 'horn.honk', ttl_seconds: 2 });
	slept.add(id);
	await pause(Date.parse(expires_at) + 500 - Date.now());
	one.thaw();
	await one.done.until(({ what, request_id }) => what === 'accepted' && request_id === id);
	const { status, late, timeline } = await timelineOf({ id, vehicle_id });
	assert.deepEqual([status, late], ['succeeded', false]);
	assert.deepEqual(timeline.filter(({ step }) => step === 'answer').map(({ detail }) => detail.after_expiry), [true]);
	assert.equal(await counted(), before + 1);
}

test("a vehicle's clock is an hour wrong, and jumps while it works", options, async (t) => {
	const [id] = ids.odd;
	const one = startReference('odd', id, fakeClock('odd'), '--latency', '200ms');
	await untilConnected(parts.node, admin, [id]);
	parts.odd = one;
	const right = await hurry(one);
	one.clock.set(`-${hour}`);
	await succeeds(id);
	const behind = await hurry(one);
	await oversleep(one);
	one.clock.set(`+${hour}`);
	const ahead = await hurry(one);
	one.clock.set('+0');
	await succeeds(id);
	const setBack = await hurry(one, () => one.clock.set(`-${hour}`));
	one.clock.set('+0');
	const setForth = await hurry(one, () => one.clock.set(`+${hour}`));
	one.clock.set('+0');
	await succeeds(id);
	for (const [how, { done, refused }] of Object.entries({ right, behind, setBack })) assert.ok(done >= 5 && refused >= 3, `${how}: ${done} done, ${refused} refused`);
	assert.equal(ahead.done, 0, 'what has expired by its own clock is not done');
	assert.ok(setForth.done <= 6, `${setForth.done} done, though the clock jumped after 3`);
	t.diagnostic(`of ${burst} in three seconds were done: ${Object.entries({ right, behind, ahead, setBack, setForth }).map(([how, { done }]) => `${done} ${how}`).join(', ')}`);
});

// As the oracles want it, by the right clock.
function asJudged({ id, done }) {
	const received = done.items.filter(({ what, request_id }) => ['received', 'duplicate'].includes(what));
	return {
		id,
		executed: done.items.filter(({ what }) => what === 'executed').map(({ request_id }) => request_id),
		requests: { items: received.map(({ request_id, at }) => ({ request_id, at: slept.has(request_id) ? 0 : at })) },
	};
}

test('and what must hold, held', options, async () => {
	const { node, database, herd, dreamer, odd, cars, sms, app } = parts;
	await judge(node, admin, promises, () => [...cars, ...herd.vehicles(ids.herd), asJudged(dreamer), asJudged(odd)]);
	await app.assertWhole(node);
	// After a restart a request may find nobody at once; nobody else was said to be away but the one that went, twice.
	for (const [id, { events }] of app.seen) {
		assertConnectivity(events);
		const gone = events.filter(({ type, data }) => type === 'connectivity.changed' && data.state === 'disconnected' && data.reason !== 'NO_SUBSCRIBER');
		assert.equal(gone.length, id === ids.cars[0] ? 2 : 0, `${id}: ${JSON.stringify(gone.map(({ data }) => data))}`);
	}
	assert.deepEqual(sms.requests.items, [], 'nobody was woken');
	assert.equal(await ask('select count(*) from wakeups'), 0);
	assert.equal(await ask('select deadlocks from pg_stat_database where datname = current_database()'), 0);
});
