// return.test.mjs - a whole fleet comes back at once after its broker was killed: everybody is known again, and nobody was
// said to be away who was there. 300 vehicles; with --long 15 000. A simulated one takes four descriptors, and a process may
// have 20 000 on small machines: hence four processes.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { build, folder, isLong, isSanitized, poll, startInstallation } from './harness.mjs';
import { Child } from './children.mjs';

const each = isLong && !isSanitized ? 3750 : 75;
const patience = isLong ? 180_000 : 40_000;
const verifyDelay = 5000;
const prefixes = ['A', 'B', 'C', 'D'];
const ids = prefixes.flatMap((prefix) => Array.from({ length: each }, (_, i) => prefix + String(i + 1).padStart(5, '0')));

const { broker, database, node } = await startInstallation({ ids, config: { lifecycle: { verify_delay: `${verifyDelay}ms` }, log: { level: 'info' } } });
const ask = async (statement) => Number(await database.sql(statement));
const untilAllAreKnown = (since, ms) =>
	poll(
		() => ask(`select count(*) from vehicle_heads where reachable and not verifying and subscribed and taken_at > to_timestamp(${since / 1000})`),
		(count) => count === ids.length,
		{ ms, every: 200, what: 'all are reachable, in sessions of now' },
	);

async function startFleet() {
	await database.sql(`insert into vehicles (vehicle_id) select p || lpad(n::text, 5, '0') from unnest(array['A', 'B', 'C', 'D']) p, generate_series(1, ${each}) n`);
	await database.sql('insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles order by 1 on conflict do nothing');
	const password = join(folder, 'vehicle.password');
	writeFileSync(password, broker.password, { mode: 0o600 });
	return prefixes.map((prefix) => new Child(`vehicles-${prefix}`, `${build}/bin/keyfob-vehicle`, ['--url', broker.url, '--prefix', prefix, '--count', each, '--password-file', password].map(String)));
}

// When each vehicle was connected last, to the second, as the broker's own log has it.
function connects() {
	const last = new Map();
	for (const [, at, id] of broker.child.logText().matchAll(/^(\d+): New client connected from \S+ as ([A-D]\d{5}) /gm)) last.set(id, Number(at) * 1000);
	return last;
}

async function counters() {
	const metrics = await node.metrics();
	const of = (name) => Number(new RegExp(`^keyfob_${name}(?:_total)? (\\d+)`, 'm').exec(metrics)?.[1] ?? NaN);
	return { batches: of('batches'), items: of('batch_items'), failed: of('batch_failed'), events: of('lifecycle_events') };
}

test(`${ids.length} vehicles return after the broker was killed`, { timeout: 3 * patience }, async (t) => {
	const begun = Date.now();
	await startFleet();
	await untilAllAreKnown(begun, patience);
	const cameIn = Date.now() - begun;
	const before = await counters();
	const killed = Date.now();
	await broker.kill();
	await broker.start();
	await untilAllAreKnown(killed, patience);
	const known = Date.now();
	const after = await counters();
	// Nobody who had been there for longer than the delay was said to be away, now or when the delay has passed.
	await poll(() => ask(`select count(*) from timers where kind = 'verify'`), (count) => count === 0, { ms: patience, every: 200, what: 'nothing is left to verify' });
	const away = (await database.sql(`select vehicle_id, (extract(epoch from at) * 1000)::bigint, data->>'reason' from events
		where type = 'connectivity.changed' and data->>'state' = 'disconnected' and at > to_timestamp(${killed / 1000})`)).split('\n').filter(Boolean).map((line) => line.split('|'));
	const connected = connects();
	const wrong = away.filter(([id, at]) => connected.get(id) + 1000 + verifyDelay < Number(at));
	assert.deepEqual(wrong.slice(0, 10), [], `${wrong.length} were said to be away and were there`);
	assert.equal(await ask('select count(*) from vehicle_heads where reachable'), ids.length);
	t.diagnostic(
		`${ids.length} vehicles: first known in ${cameIn} ms; after the kill the last connected within ${Math.max(...connected.values()) + 1000 - killed} ms and all were known in ${known - killed} ms; ` +
			`${away.length} were away for longer than ${verifyDelay} ms; ${after.events - before.events} events in ${after.items - before.items} items and ${after.batches - before.batches} transactions, ${after.failed - before.failed} failed`,
	);
	writeFileSync(join(folder, 'return.json'), JSON.stringify({ vehicles: ids.length, cameIn, known: known - killed, away: away.length, before, after }));
});
