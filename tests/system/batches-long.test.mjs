// batches-long.test.mjs - a batch to 10 000 vehicles, a third of them asleep, at 500/s, with the node that feeds it killed amid
// it; then one that is canceled, and one that stops since too many fail. With --long; the numbers are in the test's output and in batches-long.json.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { adminToken, folder, isLong, isSanitized, poll, Reference, rest, startInstallation } from './harness.mjs';

const skip = !isLong || isSanitized ? 'takes minutes: --long, without sanitizers' : false;
const rate = 500;
const groups = skip ? [] : [['A', 3333], ['B', 3333], ['S', 3334]]; // the last sleep
const total = groups.reduce((sum, [, count]) => sum + count, 0);
const asleep = 3334;
const patience = 600_000;
const failing = skip ? 0 : 300; // vehicles F…, which fail at everything; of another fleet until the last test
const ids = [...groups, ['F', failing]].flatMap(([prefix, count]) => Array.from({ length: count }, (_, i) => prefix + String(i + 1).padStart(5, '0')));
const options = { timeout: 3 * patience, skip };
const vehicles = [];
const numbers = {};
let database, nodes, admin, sleeping;

const ask = async (statement) => Number(await database.sql(statement));
const reachable = (prefix) => ask(`select count(*) from vehicle_heads where reachable and subscribed and vehicle_id like '${prefix}%'`);
const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

async function look(node, id, looks) {
	const begun = performance.now();
	const { status, body } = await rest(node, 'GET', `/v1/batches/${id}`, { token: admin });
	assert.equal(status, 200, JSON.stringify(body));
	looks?.push(performance.now() - begun);
	assert.equal(sum(body.counts), body.total, JSON.stringify(body));
	return body;
}

const until = (node, id, is, what, looks) => poll(() => look(node, id, looks), is, { ms: patience, every: 500, what });

async function begin(body) {
	const begun = performance.now();
	const answer = await rest(nodes[0], 'POST', '/v1/fleets/BIG/commands', { token: admin, body: { name: 'horn.honk', wake: false, ttl_seconds: 3600, ...body } });
	assert.equal(answer.status, 202, JSON.stringify(answer.body));
	return { ...answer.body, took: performance.now() - begun };
}

test(`${total} vehicles, of whom the last third sleeps`, options, async () => {
	const installation = await startInstallation({ ids, nodes: 2, config: { log: { level: 'info' } } });
	({ database, nodes } = installation);
	admin = await adminToken('root');
	await database.sql(`begin; insert into fleets (fleet_id) values ('BIG'), ('BROKEN');
		insert into vehicles (vehicle_id, fleet_id) select p || lpad(n::text, 5, '0'), 'BIG' from (values ${groups.map(([p, n]) => `('${p}', ${n})`)}) g(p, c), generate_series(1, c) n;
		insert into vehicles (vehicle_id, fleet_id) select 'F' || lpad(n::text, 5, '0'), 'BROKEN' from generate_series(1, ${failing}) n;
		insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles order by 1; commit; analyze vehicles, vehicle_heads`);
	for (const [prefix, count] of [...groups, ['F', failing]]) {
		const more = { S: ['--asleep'], F: ['--fail-rate', '1'] }[prefix] ?? [];
		vehicles.push(new Reference(installation.broker, `vehicles-${prefix}`, ['--prefix', prefix, '--count', count, ...more]));
		if (prefix === 'S') sleeping = vehicles.at(-1);
	}
	for (const [prefix, count] of [...groups.slice(0, 2), ['F', failing]]) await poll(() => reachable(prefix), (n) => n === count, { ms: patience, every: 500, what: `${prefix} is there` });
});

test('all of them, at 500/s; the node that feeds it is killed amid it', options, async (t) => {
	const looks = [];
	const batch = await begin({ params: { note: 'big' }, rate });
	assert.equal(batch.total, total);
	const begun = Date.now();
	await until(nodes[1], batch.id, ({ counts }) => counts.pending < total * 0.6, 'it is amid', looks);
	const holder = await database.sql(`select node from leases where name = 'batch/${batch.id}'`);
	const killed = nodes.find(({ name }) => name === holder);
	const survivor = nodes.find((node) => node !== killed);
	await killed.kill();
	const at = Date.now();
	await until(survivor, batch.id, ({ counts }) => counts.pending === 0, 'all are fed', looks);
	const fed = Date.now();
	await until(survivor, batch.id, ({ counts }) => counts.waiting === asleep && counts.succeeded === total - asleep, 'those who are awake have done it', looks);
	const done = Date.now();
	const whileAsleep = [];
	for (let i = 0; i < 20; i++) await look(survivor, batch.id, whileAsleep);
	sleeping.signal('SIGUSR1');
	const end = await until(survivor, batch.id, ({ state }) => state === 'completed', 'it is completed', looks);
	assert.equal(end.counts.succeeded, total, JSON.stringify(end.counts));
	await killed.start();

	const times = new Map();
	for (const { what, vehicle_id } of vehicles.flatMap((some) => some.journal()))
		if (what === 'executed') times.set(vehicle_id, (times.get(vehicle_id) ?? 0) + 1);
	assert.equal(times.size, total);
	assert.deepEqual([...times].filter(([, n]) => n !== 1), []);
	assert.equal(await ask(`select count(*) from commands where params->>'note' = 'big'`), total);
	const second = (await database.sql(`select max(n) from (select count(*) n from commands where params->>'note' = 'big' group by date_trunc('second', created_at)) s`));
	const sorted = looks.sort((a, b) => a - b);
	Object.assign(numbers, {
		posted_ms: Math.round(batch.took),
		fed_until_kill_per_s: Math.round((total * 0.4 * 1000) / (at - begun)),
		most_in_a_second: Number(second),
		kill_to_all_fed_ms: fed - at,
		all_fed_to_awake_done_ms: done - fed,
		looks: looks.length,
		look_median_ms: Math.round(sorted[sorted.length >> 1]),
		look_with_third_waiting_ms: Math.round(whileAsleep.sort((a, b) => a - b)[10]),
	});
	t.diagnostic(JSON.stringify(numbers));
	writeFileSync(join(folder, 'batches-long.json'), JSON.stringify(numbers));
});

test('canceled amid it: nothing more is sent, and what waits is taken back', options, async (t) => {
	sleeping.signal('SIGUSR2');
	await poll(() => reachable('S'), (n) => n === 0, { ms: patience, every: 500, what: 'they sleep' });
	const batch = await begin({ params: { note: 'end' }, rate });
	await until(nodes[0], batch.id, ({ counts }) => counts.waiting > 500, 'some hundred wait');
	const { body: canceled } = await rest(nodes[1], 'POST', `/v1/batches/${batch.id}/cancel`, { token: admin });
	const at = Date.now();
	assert.equal(canceled.state, 'canceled');
	assert.ok(canceled.counts.skipped > 0);
	const after = await until(nodes[0], batch.id, ({ counts }) => counts.waiting + counts.accepted + counts.sent + counts.in_progress === 0, 'nothing waits');
	assert.equal(after.counts.skipped, canceled.counts.skipped);
	assert.equal(await ask(`select count(*) from commands where params->>'note' = 'end'`), total - after.counts.skipped);
	assert.equal(await ask('select deadlocks from pg_stat_database where datname = current_database()'), 0);
	t.diagnostic(`${after.counts.canceled} taken back within ${Date.now() - at} ms`);
});

test('too many of them fail: it stops, and those who come last never hear of it', options, async (t) => {
	await database.sql(`update vehicles set fleet_id = 'BIG' where fleet_id = 'BROKEN'`); // they come before those who sleep
	const batch = await begin({ params: { note: 'stop' }, rate, max_failures: '2%' });
	assert.equal(batch.total, total + failing);
	assert.equal(batch.max_failures, Math.floor((total + failing) / 50));
	const stopped = await until(nodes[1], batch.id, ({ state }) => state !== 'running', 'it ends');
	assert.equal(stopped.state, 'stopped');
	assert.equal(stopped.reason.code, 'MAX_FAILURES');
	assert.ok(stopped.failures > batch.max_failures && stopped.failures <= failing, JSON.stringify(stopped));
	assert.ok(stopped.counts.skipped > asleep / 3, JSON.stringify(stopped.counts));
	const after = await until(nodes[0], batch.id, ({ counts }) => counts.waiting + counts.accepted + counts.sent + counts.in_progress === 0, 'nothing waits');
	assert.equal(after.counts.skipped, stopped.counts.skipped);
	assert.equal(await ask(`select count(*) from commands where params->>'note' = 'stop'`), total + failing - after.counts.skipped);
	assert.equal(await ask('select deadlocks from pg_stat_database where datname = current_database()'), 0);
	t.diagnostic(`stopped after ${stopped.failures} failures of ${batch.max_failures}; ${after.counts.canceled} taken back`);
});
