// return.test.mjs - a whole fleet comes back at once after its broker was killed: everybody is known again, nobody was said to
// be away who was there, and what was sent meanwhile woke nobody. Two processes of 150 vehicles; with --long 15 000 in all.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { adminToken, folder, isLong, isSanitized, poll, Reference, rest, sendCommand, startInstallation } from './harness.mjs';
import { startSmsServer } from './sms.mjs';

const each = isLong && !isSanitized ? 7500 : 150;
const patience = isLong ? 600_000 : 40_000;
const verifyDelay = 5000;
const returnDelay = isLong ? 600_000 : 60_000;
const prefixes = ['A', 'B'];
const ids = prefixes.flatMap((prefix) => Array.from({ length: each }, (_, i) => prefix + String(i + 1).padStart(5, '0')));

const sms = await startSmsServer('the SMS provider', () => ({ status: 202 }));
const { broker, database, node } = await startInstallation({
	ids,
	config: {
		lifecycle: { verify_delay: `${verifyDelay}ms`, return_delay: `${returnDelay}ms` },
		wake: { providers: ['http'], http: { url: sms.url, body: '{"to":"{msisdn}"}' } },
		log: { level: 'info' },
	},
});
const admin = await adminToken();
const ask = async (statement) => Number(await database.sql(statement));
const untilAllAreKnown = (since, ms) =>
	poll(
		() => ask(`select count(*) from vehicle_heads where reachable and not verifying and subscribed and taken_at > to_timestamp(${since / 1000})`),
		(count) => count === ids.length,
		{ ms, every: 200, what: 'all are reachable, in sessions of now' },
	);

async function startFleet() {
	await database.sql(`insert into vehicles (vehicle_id, msisdn) select p || lpad(n::text, 5, '0'), '+49155' || lpad((row_number() over ())::text, 8, '0')
		from unnest(array['${prefixes.join("','")}']) p, generate_series(1, ${each}) n`);
	await database.sql('insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles order by 1 on conflict do nothing');
	return prefixes.map((prefix) => new Reference(broker, `vehicles-${prefix}`, ['--prefix', prefix, '--count', each]));
}

// When each vehicle was connected last, to the second, as the broker's own log has it.
function connects() {
	const last = new Map();
	for (const [, at, id] of broker.child.logText().matchAll(/^(\d+): New client connected from \S+ as ([AB]\d{5}) /gm)) last.set(id, Number(at) * 1000);
	return last;
}

async function counters() {
	const metrics = await node.metrics();
	const of = (name) => Number(new RegExp(`^keyfob_${name}(?:_total)? (\\d+)`, 'm').exec(metrics)?.[1] ?? NaN);
	const statements = await ask(`select sum(calls) from pg_stat_statements s join pg_database d on d.oid = s.dbid and d.datname = current_database()
		join pg_roles r on r.oid = s.userid and not r.rolsuper`);
	return { batches: of('batches'), items: of('batch_items'), failed: of('batch_failed'), events: of('lifecycle_events'), statements };
}

// To every fiftieth vehicle, while the broker is away.
async function sendMeanwhile() {
	const sent = [];
	for (const id of ids.filter((_, i) => i % 50 === 0)) {
		const { status, body } = await sendCommand(node, admin, id, { name: 'doors.unlock', wake: true, ttl_seconds: 600 });
		assert.equal(status, 202, JSON.stringify(body));
		sent.push({ id, command: body.id });
	}
	return sent;
}

const untilDone = ({ id, command }) =>
	poll(() => rest(node, 'GET', `/v1/vehicles/${id}/commands/${command}`, { token: admin }), ({ body }) => body.status === 'succeeded', { ms: patience, what: `${id} has done what was sent meanwhile` });

// A socket of a vehicle and the watched duplicate of it; a process has 20 000 on small machines.
function assertDescriptors(fleet) {
	for (const { name, pid } of fleet) {
		const count = readdirSync(`/proc/${pid}/fd`).length;
		assert.ok(count < 2 * each + 200, `${name} has ${count} descriptors`);
	}
}

test(`${ids.length} vehicles return after the broker was killed`, { timeout: 3 * patience + returnDelay }, async (t) => {
	await database.sql('create extension pg_stat_statements');
	const begun = Date.now();
	const fleet = await startFleet();
	await untilAllAreKnown(begun, patience);
	const cameIn = Date.now() - begun;
	assertDescriptors(fleet);
	const before = await counters();
	const killed = Date.now();
	await broker.kill();
	const sent = await sendMeanwhile();
	const back = Date.now();
	await broker.start();
	await untilAllAreKnown(killed, patience);
	const known = Date.now();
	const after = await counters();
	// Nobody who had been there for longer than the delay was said to be away, now or when the delay has passed.
	await poll(() => ask(`select count(*) from timers where kind = 'verify'`), (count) => count === 0, { ms: patience + returnDelay, every: 200, what: 'nothing is left to verify' });
	const away = (await database.sql(`select vehicle_id, (extract(epoch from at) * 1000)::bigint, data->>'reason' from events
		where type = 'connectivity.changed' and data->>'state' = 'disconnected' and at > to_timestamp(${killed / 1000})`)).split('\n').filter(Boolean).map((line) => line.split('|'));
	const connected = connects();
	const wrong = away.filter(([id, at]) => connected.get(id) + 1000 + verifyDelay < Number(at));
	assert.deepEqual(wrong.slice(0, 10), [], `${wrong.length} were said to be away and were there`);
	assert.equal(await ask('select count(*) from vehicle_heads where reachable'), ids.length);
	for (const one of sent) await untilDone(one);
	assert.deepEqual(sms.requests.items, [], 'nobody was woken');
	assert.equal(await ask('select count(*) from wakeups'), 0);
	t.diagnostic(
		`${ids.length} vehicles: first known in ${cameIn} ms; the broker was away for ${back - killed} ms; after that the last connected within ${Math.max(...connected.values()) + 1000 - back} ms and all were known in ${known - back} ms; ` +
			`${away.length} were away for longer than ${verifyDelay} ms; ${sent.length} commands sent meanwhile were done, without an SMS; ${after.events - before.events} events in ${after.items - before.items} items, ` +
			`${after.batches - before.batches} transactions and ${after.statements - before.statements} statements, ${after.failed - before.failed} failed`,
	);
	writeFileSync(join(folder, 'return.json'), JSON.stringify({ vehicles: ids.length, cameIn, outage: back - killed, known: known - back, away: away.length, before, after }));
});
