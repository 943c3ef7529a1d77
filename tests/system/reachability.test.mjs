// reachability.test.mjs - the rules of docs/reachability.md as a property: 10 000 seeded histories, run side by side as
// so many vehicles through the real statements on a real PostgreSQL, in a time of their own.
//
// KEYFOB_SEED=N replays the history of one seed alone and prints what happened in it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import mqtt from 'mqtt';
import pg from 'pg';
import { atEnd } from './children.mjs';
import { gatewayPassword, isSanitized, poll, Record, startBroker, untilClosed } from './harness.mjs';
import { createMigratedDatabase } from './servers.mjs';
import { deliver, makeHistory, namesAfter, nextSession, randomFrom, truthAt } from './histories.mjs';

const verifyDelay = 5000;
const only = process.env.KEYFOB_SEED ? Number(process.env.KEYFOB_SEED) : null;
const count = only !== null ? 1 : isSanitized ? 2000 : 10_000; // the database is the same; only the schema's maker differs
const manners = ['prompt', 'late', 'shuffled'];
const base = only ?? Number(process.env.KEYFOB_SEED_BASE ?? 1_000_000);
// Seeds that failed once, which always run.
const lessons = [
	2007226, // a kept connect was taken up although a younger session had ended meanwhile
	2008123, // the session that was to reveal a loss came less than four minutes, by the timestamps, after that
	8002485, // as above: nothing orders it after a subscription whose connect was lost
	9001990, // the sample was over before the last subscription had been told
];
const seedsFrom = (first, n) => (only === null ? [...lessons, ...Array.from({ length: n }, (_, i) => first + i)] : [only]);
const options = { timeout: 180_000 };

const database = await createMigratedDatabase();
const client = new pg.Client({ connectionString: database.url });
await client.connect();
await client.query('set synchronous_commit = off');
after(() => client.end());

// The product's own statements.
const statements = Object.fromEntries(
	['new_heads', 'lifecycle_apply', 'verify_apply', 'disproof_apply', 'proof_apply', 'resync_end'].map((name) => [
		name,
		{ name, text: readFileSync(fileURLToPath(new URL(`../../sql/queries/${name}.sql`, import.meta.url)), 'utf8') },
	]),
);
const run = (name, ...values) => client.query({ ...statements[name], values });

// ---- a vehicle that lives through a history

class Life {
	constructor(seed) {
		this.seed = seed;
		this.id = `H${seed}`;
		this.history = makeHistory(seed);
		this.manner = manners[seed % manners.length];
		this.losses = seed % 2 === 0 ? 0 : 0.2;
		this.arrivals = deliver(this.history, { manner: this.manner, delay: verifyDelay - 1, losses: this.losses });
		this.next = 0;
		this.reachable = false;
		this.verifying = false;
		this.due = null; // when the verification is over, in the history's time
		this.timer = null; // the timer's row, as it was seen last
		this.log = [];
		this.said = new Set(); // moments at which it came, of which an event has arrived
	}

	// When all of it has happened, been heard of and waited out.
	get end() {
		return Math.max(this.history.end, this.arrivals.at(-1)?.arrives ?? 0) + 2 * verifyDelay;
	}

	get now() {
		return this.arrivals[this.next]?.arrives ?? Infinity;
	}

	note(what) {
		this.log.push(what);
	}

	fail(what) {
		const session = ({ name, version, from, to, there, ending }) => `  ${name} v${version} ${from}…${to ?? ''} ${ending ?? 'lasts'} there ${JSON.stringify(there)}`;
		assert.fail(
			[`${what}\nseed ${this.seed} (${this.history.broker}, ${this.manner}, losses ${this.losses}): KEYFOB_SEED=${this.seed} ./dev test reachability`,
				'the truth:', ...this.history.sessions.map(session), 'what arrived:', ...this.log.map((line) => `  ${line}`)].join('\n'),
		);
	}

	// The head as it is after something happened at `at`.
	observe(row, at, because) {
		this.note(`${at} ${because} -> ${row.reachable ? 'reachable' : 'away'}${row.verifying ? ' (verifying)' : ''} ${row.session} linked ${row.linked}${row.doubted ? ' doubted' : ''}${row.subscribed ? ' subscribed' : ''} v${row.version} early ${JSON.stringify(row.early)}`);
		if (row.timer !== null && row.timer !== this.timer) this.due = at + verifyDelay;
		if (!row.verifying) this.due = null;
		if (this.reachable && !row.reachable) this.assertAway(at);
		this.timer = row.timer;
		this.reachable = row.reachable;
		this.verifying = row.verifying;
	}

	assertTruth() {
		const there = truthAt(this.history, Infinity) !== null;
		if (this.reachable !== there) this.fail(`in the end it ${there ? 'is' : 'is not'} there, and counts as ${this.reachable ? 'reachable' : 'away'}`);
	}

	// A verified absence is wrong when the vehicle has been there all the while, and something said so in time.
	assertAway(at) {
		const truth = truthAt(this.history, at);
		if (!truth || truth.since > at - verifyDelay) return;
		if (this.manner === 'prompt' && !this.losses) this.fail('it was there for longer than the delay');
		if (this.said.has(truth.since)) this.fail('it was there for longer than the delay, and said so');
	}
}

const ids = (lives) => lives.map(({ id }) => id);

async function begin(lives) {
	await client.query('truncate vehicle_heads, timers, events, vehicles cascade');
	await client.query('insert into vehicles (vehicle_id) select unnest($1::text[])', [ids(lives)]);
	await run('new_heads', ids(lives), lives.map(() => null));
	await client.query(`update leases set holder = 'test', epoch = 1 where name = 'feed/lifecycle'`);
}

async function observe(lives, at, because) {
	const { rows } = await client.query({
		name: 'observe',
		text: `select h.reachable, h.verifying, h.session, h.version::text, h.linked, h.doubted, h.subscribed, h.early, t.due_at::text as timer
			from unnest($1::text[]) with ordinality as i(vehicle_id, n)
			join vehicle_heads h on h.vehicle_id = i.vehicle_id left join timers t on t.kind = 'verify' and t.vehicle_id = i.vehicle_id order by n`,
		values: [ids(lives)],
	});
	rows.forEach((row, i) => lives[i].observe(row, at(lives[i]), because(lives[i])));
}

async function apply(lives, eventOf) {
	const events = lives.map(eventOf);
	const column = (read) => events.map(read);
	await run('lifecycle_apply', ids(lives), column((e) => e.kind), column((e) => e.session), column((e) => e.version), column((e) => e.ms), column((e) => e.reason ?? null), 0, column(() => null));
	events.forEach((event, i) => {
		// A connect says that the vehicle is there, unless that session gave its subscription back meanwhile.
		// Clocks that differ cannot tell which of two sessions a subscription belongs to the newer of.
		if (event.kind === 'subscribed' && lives[i].history.broker === 'plugin') lives[i].said.add(event.at);
		if (event.kind === 'connected') lives[i].said.add(lives[i].history.sessions.find(({ name }) => name === event.session)?.there[0]?.[0]);
	});
	await observe(lives, (life) => eventOf(life).arrives, (life) => {
		const { kind, session, version, ms, reason } = eventOf(life);
		return `${kind} ${session} v${version} at ${ms} ${reason ?? ''}`;
	});
}

// Ends the verifications that are over before each life's next arrival.
async function verify(lives, before = ({ now }) => now) {
	const due = lives.filter((life) => life.due !== null && life.due <= before(life));
	if (due.length === 0) return;
	await run('verify_apply', ids(due));
	const at = new Map(due.map((life) => [life, life.due]));
	await observe(due, (life) => at.get(life), () => 'verified');
}

async function liveOn(lives) {
	for (let rest = lives; rest.length > 0; ) {
		await verify(rest);
		rest = rest.filter((life) => life.next < life.arrivals.length);
		await apply(rest, (life) => life.arrivals[life.next]);
		for (const life of rest) life.next++;
		rest = rest.filter((life) => life.next < life.arrivals.length || life.due !== null);
	}
	lives.forEach((life) => life.due === null || life.fail('a verification is left over'));
}

// The vehicle comes once more, and all of that is heard of.
async function comeAgain(lives) {
	for (const life of lives) {
		const last = nextSession(life.history, life.end);
		life.arrivals = last.map((event) => ({ ...event, arrives: event.at + 1 }));
		life.next = 0;
	}
	await liveOn(lives);
}

// The broker names everybody who is there (contract §6). Whoever is not named goes through verification.
async function resync(lives) {
	const begun = (await client.query('select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us')).rows[0].us;
	const names = new Map(lives.map((life) => [life, namesAfter(life.history, life.end)]));
	for (const k of [0, 1]) {
		const named = lives.filter((life) => names.get(life)[k]);
		if (named.length > 0) await apply(named, (life) => names.get(life)[k]);
	}
	await run('resync_end', begun, 0, 'feed/lifecycle', 'test', 1, '', 100_000);
	await observe(lives, (life) => life.end, () => 'resynced');
	await verify(lives, () => Infinity);
}

// Apps saw each change once, the other way round each time.
async function assertTold() {
	// (Those that flapped in the test's own time, which is quicker, were told less.)
	const { rows } = await client.query(`select vehicle_id, array_agg(data->>'state' order by seq) as states from events e
		where type = 'connectivity.changed' and not exists (select from vehicle_heads h where h.vehicle_id = e.vehicle_id and h.unstable_until is not null)
		group by 1`);
	for (const { vehicle_id, states } of rows)
		states.forEach((state, i) => assert.equal(state, i % 2 === 0 ? 'connected' : 'disconnected', `${vehicle_id} was told ${states}`));
}

const isCut = ({ history }) => history.sessions.at(-1).ending === 'broker killed';
const isOf = (broker) => ({ history }) => history.broker === broker;

test(`${count} histories of sessions end in the truth, and nobody is away who said to be there`, options, async () => {
	const lives = [...new Set(seedsFrom(base, count))].map((seed) => new Life(seed));
	const whole = lives.filter(({ losses }) => losses === 0);
	const holed = lives.filter(({ losses }) => losses > 0);
	await begin(lives);
	await liveOn(lives);
	// A broker that was killed tells no ends; it is asked when it is back. What was lost is revealed by that, or by the
	// vehicle's next session.
	await comeAgain(holed.filter(isOf('aws')));
	await resync([...whole.filter(isCut), ...holed.filter(isOf('plugin'))]);
	lives.forEach((life) => life.assertTruth());
	await assertTold();
});

// ---- the same histories, lived by real clients at a real broker with the plugin

const sample = only === null ? 40 : 1;
const lastOne = 'the-last-one';

// Runs a vehicle through its history as fast as the broker allows; true if it is there in the end.
async function liveAtBroker(broker, id, { sessions, random }) {
	let client = null;
	const ends = (session, last) => (session.to === null ? null : session.ending === 'taken over' && !last ? null : random.pick(['cut', 'goodbye']));
	for (const [k, session] of sessions.entries()) {
		client = mqtt.connect(broker.url, { clientId: id, username: id, password: broker.password, protocolVersion: 5, clean: random.chance(0.7), reconnectPeriod: 0, properties: { sessionExpiryInterval: 60 } });
		client.on('error', () => {});
		const own = client;
		atEnd(() => own.endAsync(true));
		await once(client, 'connect');
		const topic = `vehicles/${id}/commands/request`;
		for (const [, to] of session.there) {
			await client.subscribeAsync(topic, { qos: 1 });
			if (to !== session.to) await client.unsubscribeAsync(topic);
		}
		const end = ends(session, k === sessions.length - 1);
		if (end === 'goodbye') await client.endAsync();
		if (end === 'cut') {
			const closed = untilClosed(client);
			client.stream.destroy();
			await closed;
		}
	}
	return sessions.at(-1).to === null && sessions.at(-1).there.at(-1)?.[1] === null;
}

// Everything that the plugin tells, until each connection that ended was told as ended.
async function record(broker, act) {
	const told = new Record('the plugin');
	const watcher = mqtt.connect(broker.url, { clientId: 'keyfob-watcher', username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
	atEnd(() => watcher.endAsync(true));
	await once(watcher, 'connect');
	watcher.on('message', (topic, payload) => {
		const body = JSON.parse(payload);
		told.push({ id: body.clientId, kind: topic.split('/').at(-2), session: body.sessionIdentifier, version: body.versionNumber ?? 0, ms: body.timestamp, reason: body.disconnectReason });
	});
	await watcher.subscribeAsync(['$aws/events/presence/#', '$aws/events/subscriptions/#'], { qos: 1 });
	const lasting = await act();
	const countOf = (wanted) => told.items.filter(({ kind }) => kind === wanted).length;
	await poll(() => countOf('connected') - countOf('disconnected'), (open) => open === lasting, { what: 'every end is told' });
	// The broker tells in the order in which it saw: the word of one who comes last is behind every subscription.
	const last = mqtt.connect(broker.url, { clientId: lastOne, username: lastOne, password: broker.password, protocolVersion: 5 });
	atEnd(() => last.endAsync(true));
	await told.until(({ id }) => id === lastOne);
	return told.items;
}

test(`${sample} of them, lived at a real broker: what the plugin tells ends in the truth, in any order`, options, async () => {
	const random = randomFrom(base);
	const histories = [...new Set(seedsFrom(base, sample))].map(makeHistory);
	const names = histories.map(({ seed }) => `H${seed}`);
	const broker = await startBroker({ ids: [...names, lastOne] });
	const there = new Map();
	const told = await record(broker, async () => {
		await Promise.all(histories.map(async (history, i) => there.set(names[i], await liveAtBroker(broker, names[i], history))));
		return histories.filter(({ sessions }) => sessions.at(-1).to === null).length;
	});
	for (let round = 0; round < 5; round++) {
		const lives = histories.map(({ seed }) => {
			const life = new Life(seed);
			const own = told.filter(({ id }) => id === life.id).flatMap((event) => Array.from({ length: random.pick([1, 1, 2]) }, () => ({ ...event, arrives: random.next() })));
			life.arrivals = round === 0 ? own.map((event, i) => ({ ...event, arrives: i })) : own.sort((a, b) => a.arrives - b.arrives);
			life.history = { broker: 'plugin', sessions: [{ name: 'the last', there: there.get(life.id) ? [[2, null]] : [] }] };
			return life;
		});
		await begin(lives);
		await liveOn(lives);
		lives.forEach((life) => life.assertTruth());
	}
});
