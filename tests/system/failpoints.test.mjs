// failpoints.test.mjs - a node dies at every place where its death could lose something or do it twice: amid commands, one of
// two nodes that share the work, and the only one. The other takes over, or it is started again; what must hold is judged from outside.
//
// Whichever node of two comes to the place first is the one. Several installations walk the places side by side, and each is judged over
// all of its deaths at the end.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { adminToken, isBrokerGiven, isSanitized, poll, registerVehicle, rest, sendCommand, startInstallation, vehicle, vehicleIds } from './harness.mjs';
import { Failpoints } from './failpoints.mjs';
import { createDatabase, migrate } from './servers.mjs';
import { startSmsServer } from './sms.mjs';
import { connectFleet, Follower, judge, sendSurely, stream, untilConnected, untilSettled } from './stream.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';

const admin = await adminToken();
const options = { timeout: 300_000 };
const never = { ttl_seconds: 10 }; // what died with its publisher is settled by its end alone
const smsApart = 30; // seconds: wake.min_interval, where nobody says otherwise
const every = 100; // how often a state is asked for
const ids = vehicleIds(10);
const fleet = ids.slice(0, 5);
const spares = ids.slice(5); // away, each until its place
const sms = await startSmsServer('the SMS provider', () => ({ status: 200, body: '{}' }));

// ---- one walk: two nodes, or one, a fleet, an app that follows it, and the places one after the other

class Walk {
	promises = new Promises();
	awayMs = []; // of the only node, at each of its deaths

	async begin(count) {
		this.failpoints = new Failpoints();
		const config = { wake: { providers: ['http'], http: { url: `${sms.url}/{vehicle_id}`, body: '{"to":"{msisdn}"}' } } };
		Object.assign(this, await startInstallation({ ids, nodes: count, config, failpoints: this.failpoints }));
		this.vehicles = await connectFleet(this.broker, this.nodes.at(-1), admin, fleet);
		this.away = [...spares];
		this.app = new Follower(this.nodes, admin);
		await this.app.follow(fleet);
		return this;
	}

	// One that was away until now; `connect` it.
	async takeSpare(body) {
		const id = this.away.pop();
		await registerVehicle(this.node, admin, id, body);
		const made = vehicle(this.broker, { id });
		this.vehicles.push(made);
		return made;
	}

	// { alive, former }, when the one that came to the place is gone: who goes on, the other or itself, started again, and the workers that it had, for SQL. Where
	// it stands still there: `kill` says when to end it.
	async untilDead(name, kill) {
		const pid = await this.failpoints.untilHit(name);
		const dead = this.nodes.find((node) => node.child.pid === pid);
		const other = this.nodes.find((node) => node !== dead);
		dead.child.isExpectedToEnd = true; // it alone: who else ends fails the walk, or the file
		if (kill) {
			await kill(this);
			await dead.kill();
		}
		assert.equal((await dead.child.exited).signal, 'SIGKILL');
		const former = await this.database.sql(`select string_agg(quote_literal(holder), ',') from leases where name like 'worker/%' and node = '${dead.name}'`);
		if (!other) await this.#startAgain(dead);
		return { alive: other ?? dead, former };
	}

	async #startAgain(node) {
		const since = Date.now();
		await node.start();
		this.awayMs.push(Date.now() - since);
	}

	send(id, key, body, nodes = this.nodes) {
		return sendSurely(nodes, admin, this.promises, id, key, body);
	}

	stream(more) {
		return stream({ nodes: this.nodes, token: admin, own: fleet, total: 40, width: 4, never, promises: this.promises, ...more });
	}

	// Whoever died is back, and both know that the fleet is there.
	async mend() {
		for (const node of this.nodes) {
			const { exit, isExpectedToEnd, log } = node.child;
			assert.ok(!exit || (isExpectedToEnd && exit.signal === 'SIGKILL'), `${node.name} ended with ${JSON.stringify(exit)}: ${log}`);
			if (exit) await node.start(false);
		}
		for (const node of this.nodes) await untilConnected(node, admin, fleet, 60_000);
	}

	async end() {
		await judge(this.node, admin, this.promises, this.vehicles);
		await this.app.assertWhole(this.nodes.at(-1));
		for (const { events } of this.app.seen.values()) assertConnectivity(events);
		assert.equal(await this.database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
	}
}

// A stream of commands, amid which the place is armed; `disturb` is done then, so that somebody comes there. What may be repeated
// is done by the one that is left.
async function dieAmidStream(walk, { name, action = 'kill', kill, disturb }) {
	let gone;
	const onMilestone = async () => {
		walk.failpoints.arm(name, action);
		gone = walk.untilDead(name, kill);
		gone.catch(() => {});
		await disturb?.(walk);
	};
	const told = await walk.stream({ milestone: 10, onMilestone });
	const { alive } = await gone;
	await untilSettled(alive, admin, told.filter(({ name: command }) => command === 'horn.honk'), { every, is: 'succeeded' });
}

// The database has run the statement for the node, and waits to hear more of it.
const untilUncommitted = ({ database }) =>
	poll(
		() => database.sql(`select count(*) from pg_stat_activity where datname = current_database() and backend_xid is not null and wait_event = 'ClientRead'`),
		(count) => Number(count) > 0,
		{ every, what: 'a transaction that has written waits for its node' },
	);

const cutAll = ({ vehicles }) => vehicles.slice(0, fleet.length).forEach((one) => one.cut());

// The 202 was given; the vehicle comes; who is to publish dies before it does.
async function dieAfterAnswer(walk, { name }) {
	const late = await walk.takeSpare();
	const told = await walk.send(late.id, `answered-${late.id}`, { name: 'horn.honk' });
	walk.failpoints.arm(name, 'kill');
	await late.connect();
	const { alive } = await walk.untilDead(name);
	await untilSettled(alive, admin, [told], { every, is: 'succeeded' });
}

// A vehicle that sleeps, a command that wakes it, and what is seen of its SMS.
async function wakeOne(walk, { name, action = 'kill' }) {
	const msisdn = `+49155591${walk.node.port}${walk.away.length}`;
	const asked = () => sms.requests.items.filter(({ body }) => JSON.parse(body).to === msisdn).length;
	const sleeper = await walk.takeSpare({ msisdn });
	walk.failpoints.arm(name, action);
	const told = await walk.send(sleeper.id, `asleep-${sleeper.id}`, { name: 'doors.unlock', wake: true });
	const wakeups = async (node) => {
		const { body } = await rest(node, 'GET', `/v1/vehicles/${sleeper.id}/wakeups`, { token: admin });
		return body.items.map(({ status, reason }) => `${status} ${reason ?? ''}`.trim());
	};
	const untilWakeups = (node, what, ms) => poll(() => wakeups(node), (found) => found.join() === what, { ms, every, what: `the wake-ups are: ${what}` });
	const wake = async (node) => {
		await sleeper.connect();
		await untilSettled(node, admin, [told], { every, is: 'succeeded' });
	};
	return { id: sleeper.id, asked, wakeups, untilWakeups, wake };
}

// The SMS is out, and the node that sent it has not written so: it counts as sent, and nobody sends another.
async function dieAfterSms(walk, place) {
	const { asked, wakeups, wake } = await wakeOne(walk, place);
	const { alive, former } = await walk.untilDead(place.name);
	// Who goes on takes up the absence: that is when it would send.
	await poll(
		() => walk.database.sql(`select count(*) from leases where name like 'feed/%' and (holder is null or holder in (${former}))`),
		(count) => Number(count) === 0,
		{ ms: 20_000, every, what: 'who goes on has all feeds' },
	);
	await wake(alive);
	assert.equal((await wakeups(alive)).length, 1);
	assert.equal(asked(), 1);
}

// The slot is spent, and no SMS is out: it counts as sent all the same, and the next one waits for the next gap. What is waited for is moved into the past.
async function dieBeforeSms(walk, place) {
	const { id, asked, untilWakeups, wake } = await wakeOne(walk, place);
	const { alive } = await walk.untilDead(place.name);
	await untilWakeups(alive, 'submitted');
	await walk.database.sql(`update absences set due_at = now() where vehicle_id = '${id}'`); // the dead node's time is over
	await untilWakeups(alive, 'submitted UNKNOWN');
	const left = await walk.database.sql(`select extract(epoch from due_at - now()) from absences where vehicle_id = '${id}'`);
	assert.ok(left > 0 && left < smsApart, `the next one goes in ${left} s`);
	assert.equal(asked(), 0);
	await walk.database.sql(`update absences set due_at = due_at - interval '${smsApart} s', spent_at = spent_at - interval '${smsApart} s' where vehicle_id = '${id}';
		update wakeups set created_at = created_at - interval '${smsApart} s' where vehicle_id = '${id}'`);
	await poll(asked, (count) => count === 1, { ms: 20_000, every, what: 'the next SMS' });
	await wake(alive);
	assert.equal(asked(), 1);
}

// The slot is spent, and whoever is to submit stands still: others may have gone on by then, and it does not submit any more.
async function thawBeforeSms(walk, place) {
	const { asked, untilWakeups, wake } = await wakeOne(walk, place);
	const { frozen, other, thawed } = await untilFrozen(walk, place.name, place.action);
	await untilWakeups(other, 'failed LATE', thawed + 20_000 - Date.now());
	await untilAtWork(walk, frozen, other);
	await wake(other);
	assert.equal(asked(), 0);
	await untilWakeups(other, 'failed LATE');
}

// A vehicle goes, and the node that verifies it dies: the other says so, once, and the vehicle gets what waited when it is back.
async function dieVerifying(walk, { name }) {
	const [one] = walk.vehicles;
	walk.failpoints.arm(name, 'kill');
	await one.disconnect();
	const { alive } = await walk.untilDead(name);
	await poll(
		() => rest(alive, 'GET', `/v1/vehicles/${one.id}`, { token: admin }),
		({ body }) => body.connectivity.state === 'disconnected',
		{ ms: 20_000, every, what: 'the other has verified it' },
	);
	const told = await walk.send(one.id, `verified-${one.id}`, { name: 'horn.honk' }, [alive]);
	await one.connect();
	await untilSettled(alive, admin, [told], { every, is: 'succeeded' });
}

const leaseMs = 5000; // LEASE_MS in gateway/lease.h
const isNobody = /a feed was taken over|another worker holds it|this worker's own lease had lapsed/;

// { frozen, other, thawed (when), untilNobody() } of the worker that stands still at the place, for as long as `action` says.
async function untilFrozen(walk, name, action) {
	const logged = new Map(walk.nodes.map((node) => [node, node.child.logText().length])); // earlier places have made it nobody, too
	const pid = await walk.failpoints.untilHit(name);
	const thawed = Date.now() + Number(action.split(' ')[1]);
	const frozen = walk.nodes.find((node) => node.child.pid === pid);
	const other = walk.nodes.find((node) => node !== frozen);
	const said = () => frozen.child.logText().slice(logged.get(frozen));
	const untilNobody = async () => {
		await pause(thawed - Date.now()); // another worker of its node may have lost its lease before, behind what this one has locked
		return poll(said, (text) => isNobody.test(text), { ms: thawed + 20_000 - Date.now(), every, what: 'it has learned, when it goes on, that it is nobody' });
	};
	return { frozen, other, thawed, untilNobody };
}

// What is sent to whoever stood still is done.
async function untilAtWork(walk, frozen, other) {
	const again = await walk.stream({ nodes: [frozen], total: 10 });
	await untilSettled(other, admin, again, { every, is: 'succeeded' });
}

// A worker stands still with a vehicle's answer in its hands, for longer than its leases; then it goes on, and is nobody.
async function thawAsZombie(walk, { name, action = 'pause 8000', ms }) {
	let gone;
	const onMilestone = async () => {
		walk.failpoints.arm(name, action);
		gone = await untilFrozen(walk, name, action);
	};
	const told = await walk.stream({ milestone: 10, onMilestone });
	const { frozen, other, untilNobody } = gone;
	await untilSettled(other, admin, told.filter(({ name: command }) => command === 'horn.honk'), { every, is: 'succeeded', ms });
	await untilNobody();
	await untilAtWork(walk, frozen, other);
}

// Nobody will publish anything but what is sent from now on.
const untilAllIsOut = ({ database }) =>
	poll(() => database.sql(`select count(*) from commands where status in ('accepted', 'waiting', 'sent') and flight <> 'out'`), (count) => count === '0', { ms: 20_000, every, what: 'nothing is to be published' });

// A worker stands still with a command that it has claimed and not yet published, for longer than its leases or the command last. It
// publishes it no more: the vehicle receives it `times` times, from the other.
async function standStillWithClaim(walk, { name, action, body, times, ends }) {
	const [one] = walk.vehicles;
	const key = `claimed-${body.name}-${action}`;
	await untilAllIsOut(walk);
	walk.failpoints.arm(name, action);
	const sending = walk.send(one.id, key, body);
	sending.catch(() => {});
	const { frozen, other, thawed, untilNobody } = await untilFrozen(walk, name, action);
	const next = await walk.send(one.id, `${key}-next`, { name: 'horn.honk' }, [other]);
	const told = await sending;
	await untilSettled(other, admin, [next], { every, is: 'succeeded' });
	await untilSettled(other, admin, [told], { every });
	if (Number(action.split(' ')[1]) > leaseMs) await untilNobody();
	await pause(thawed - Date.now());
	await untilAtWork(walk, frozen, other);
	const { body: end } = await rest(other, 'GET', `/v1/vehicles/${one.id}/commands/${told.id}`, { token: admin });
	assert.ok(ends.includes(end.status), JSON.stringify(end));
	const received = one.requests.items.filter(({ request_id }) => request_id === told.id);
	assert.equal(received.length, times, JSON.stringify({ received, end }));
	assert.ok(received.every(({ attempt }) => attempt > 1), 'it is the other who has published it');
}

// Not handed over, and known so: offered again, and counted once.
async function failToPublish(walk, { name }) {
	walk.failpoints.arm(name, 'fail');
	const { body } = await sendCommand(walk.node, admin, fleet[0], { name: 'engine.start' }, { Prefer: 'wait=20' });
	walk.promises.add(body.id, fleet[0], body);
	assert.ok(walk.failpoints.hitBy(name));
	assert.deepEqual([body.status, body.attempts], ['succeeded', 1]);
}

// ---- the places

const places = [
	{ what: 'after the commit, before the answer', name: 'accept.committed', isQuick: true },
	{ what: 'after the publish, before the PUBACK', name: 'dispatch.published', isQuick: true },
	{ what: 'after the commit of a response, before PUBACK and `accepted`', name: 'answer.committed', isQuick: true },
	{ what: 'during a verification', name: 'verify_apply', walk: dieVerifying, isQuick: true },
	{ what: 'a zombie, with a response that it has read', name: 'answer.received', walk: thawAsZombie, takesTwo: true },
	{ what: 'a node that stands still with half a transaction sent', name: 'answer', action: 'pause 30000', ms: 15_000, walk: thawAsZombie, takesTwo: true },
	{ what: 'a zombie, with a command that it has not published', name: 'dispatch.publish', action: 'pause 10000', walk: standStillWithClaim, takesTwo: true, body: { name: 'horn.honk' }, times: 1, ends: ['succeeded'] },
	{ what: 'a zombie, with a command that it has not published, that may never be repeated and has expired', name: 'dispatch.publish', action: 'pause 10000', walk: standStillWithClaim, takesTwo: true, body: { name: 'engine.start', ttl_seconds: 5 }, times: 0, ends: ['timed_out'] },
	{ what: 'a worker that stands still before the publish for longer than the command lives', name: 'dispatch.publish', action: 'pause 2500', walk: standStillWithClaim, takesTwo: true, body: { name: 'horn.honk', ttl_seconds: 2 }, times: 0, ends: ['expired', 'timed_out'] },
	{ what: 'after the answer, before the publish', name: 'dispatch.publish', walk: dieAfterAnswer },
	{ what: 'after the commit of a slot, before the SMS', name: 'wake.spent', walk: dieBeforeSms },
	{ what: 'a zombie, with an SMS to submit', name: 'wake.spent', action: 'pause 8000', walk: thawBeforeSms, takesTwo: true },
	{ what: "between the SMS provider's acceptance and the row", name: 'wake.submitted', walk: dieAfterSms },
	{ what: 'before the insert', name: 'accept.begun' },
	{ what: 'after the insert, before its commit', name: 'accept', action: 'pause 60000', kill: untilUncommitted },
	{ what: 'after the PUBACK, before it is recorded', name: 'dispatch.puback' },
	{ what: 'after reading a response, before its commit', name: 'answer.received' },
	{ what: 'before the fan-out', name: 'fanout.begun' },
	{ what: 'amid the fan-out', name: 'fanout.amid' },
	{ what: 'within a lifecycle batch', name: 'lifecycle.amid', disturb: cutAll },
	{ what: 'after the commit of a lifecycle batch, before its PUBACK', name: 'lifecycle.committed', disturb: cutAll },
	{ what: 'a publish that fails', name: 'dispatch.publish', walk: failToPublish, isQuick: true },
];
const wanted = places.filter(({ isQuick }) => isQuick || !isSanitized);
const side = isBrokerGiven ? 1 : isSanitized ? 2 : 4; // by side

// `left`: the places that are still to be walked, by whoever is next there.
async function walkOn(t, left, count, name) {
	const walk = await new Walk().begin(count);
	for (let place = left.shift(); place; place = left.shift()) {
		await t.test(`${place.what} (${place.name}${count === 1 ? ', the only node' : ''})`, options, () => (place.walk ?? dieAmidStream)(walk, place));
		await walk.mend();
	}
	await t.test(`what must hold over all that died, ${name}`, options, () => walk.end());
	if (walk.awayMs.length > 0) t.diagnostic(`the only node was ready again ${walk.awayMs.join(', ')} ms after its deaths`);
}

// The only one goes on by itself, while two go on side by side.
test('a node dies at each place; the other takes over, or it is started again, and nothing is lost or done twice', { ...options, concurrency: side + 1 }, async (t) => {
	const all = [...wanted];
	const walks = Array.from({ length: side }, (_, i) => walkOn(t, all, 2, i + 1));
	if (!isBrokerGiven) walks.push(walkOn(t, wanted.filter(({ takesTwo }) => !takesTwo), 1, 'the only node'));
	await Promise.all(walks);
});

// Nor does anybody else have them where its node is the only one.
test("the feeds of a worker that stands still are its sibling's, until it goes on", { ...options, skip: isBrokerGiven && 'another node reads there' }, async () => {
	const failpoints = new Failpoints();
	const { database, node } = await startInstallation({ ids: fleet, failpoints, config: { node: { workers: 2 } } });
	const shares = () => database.sql(`select string_agg(n::text, ' ' order by n) from (select count(*) as n from leases where name like 'feed/%' and expires_at > clock_timestamp() group by holder) as of_each`);
	const untilShared = (what) => poll(shares, (each) => each === what, { ms: 20_000, every, what: `the feeds are shared ${what}` });
	await untilShared('17 18');
	await pause(leaseMs); // its start is over
	await registerVehicle(node, admin, fleet[0], {});
	failpoints.arm('accept.begun', 'pause 12000');
	sendCommand(node, admin, fleet[0], { name: 'horn.honk' }).catch(() => {});
	await failpoints.untilHit('accept.begun');
	const since = Date.now();
	await untilShared('35');
	assert.ok(Date.now() - since < 10_000, `they were its sibling's after ${Date.now() - since} ms`);
	await untilShared('17 18');
	await node.stop();
});

test('a migration is whole or not there, wherever it is cut off', { ...options, skip: (isSanitized && 'SQL is the same') || (isBrokerGiven && 'no broker is in it') }, async () => {
	const database = await createDatabase();
	const failpoints = new Failpoints();
	const names = readdirSync(fileURLToPath(new URL('../../sql/migrations', import.meta.url))).sort().map((file) => file.replace('.sql', ''));
	const applied = () => database.sql('select count(*) from schema_migrations').then(Number);
	for (const [done, name] of names.entries()) {
		failpoints.arm(name, 'kill');
		await assert.rejects(migrate('mqtt://127.0.0.1:1', database.url, { env: failpoints.env }));
		assert.ok(failpoints.hitBy(name), name);
		assert.equal(await applied(), done, `after ${name} was cut off`);
	}
	await migrate('mqtt://127.0.0.1:1', database.url);
	assert.equal(await applied(), names.length);
});
