// retention.test.mjs - partitions: a node that starts makes those that are missing, and drops those that are past their retention.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, poll, registerVehicle, sendCommand, startBroker, startNode, vehicleIds } from './harness.mjs';
import { createMigratedDatabase, sql } from './servers.mjs';

const [id] = vehicleIds(1);
const broker = await startBroker({ ids: [id] });
const database = await createMigratedDatabase();
const admin = await adminToken();

const dropAll = `do $$ declare p record; begin
	for p in select inhrelid::regclass as name from pg_inherits where inhparent in ('commands'::regclass, 'events'::regclass) loop
		execute format('drop table %s', p.name);
	end loop; end $$`;

// The partition in which `age` ago lies; its name.
async function make(kind, unit, age) {
	const begins = `date_trunc('${unit}', (now() - interval '${age}') at time zone 'UTC')`;
	const at = (time) => (kind === 'commands' ? `uuid7_floor((${time}) at time zone 'UTC')` : `(${time}) at time zone 'UTC'`);
	const [name, from, to] = (await sql(database.url, `select to_char(${begins}, 'YYYYMMDD'), ${at(begins)}, ${at(`${begins} + interval '1 ${unit}'`)}`)).trim().split('|');
	await sql(database.url, `create table ${kind}_${name} partition of ${kind} for values from ('${from}') to ('${to}')`);
	return `${kind}_${name}`;
}

const partitions = async () => (await sql(database.url, `select inhrelid::regclass from pg_inherits where inhparent in ('commands'::regclass, 'events'::regclass)`)).trim().split('\n');

// The sweep comes once a minute: what it does at once must be there well before.
test('a node makes the partitions that are missing as soon as it has started, and drops what is past its retention', { timeout: 120_000 }, async () => {
	const needed = await partitions();
	await sql(database.url, dropAll);
	const old = [await make('commands', 'month', '5 months'), await make('events', 'week', '6 weeks'), await make('events', 'week', '3 years')];
	const kept = [await make('commands', 'month', '45 days'), await make('events', 'week', '3 weeks')];

	// what nobody removed for days: more than one statement takes, and all of it goes in this look
	await sql(database.url, `insert into idempotency (subject, key, fingerprint, vehicle_id, command_id, created_at)
		select 's', n::text, '', 'V', gen_random_uuid(), now() - interval '3 days' from generate_series(1, 50000) n`);
	await sql(database.url, `insert into webhook_deliveries (id, webhook_id, vehicle_id, seq, at, type, status, finished_at)
		select uuid7(now() - interval '400 days'), gen_random_uuid(), 'V', n, now(), 'skipped', 'delivered', now() from generate_series(1, 70000) n`);

	const node = await startNode({ broker, database, config: { retention: { commands: '90d', events: '30d' } } });
	await poll(partitions, (now) => needed.every((name) => now.includes(name)) && !old.some((name) => now.includes(name)), { ms: 40_000, every: 250, what: 'new partitions for old' });
	for (const table of ['idempotency', 'webhook_deliveries'])
		await poll(() => sql(database.url, `select count(*) from ${table}`), (left) => left.trim() === '0', { ms: 40_000, every: 250, what: `nothing old in ${table}` });
	const now = await partitions();
	assert.ok(kept.every((name) => now.includes(name)), `${kept} of ${now}`);
	await registerVehicle(node, admin, id);
	assert.equal((await sendCommand(node, admin, id, { name: 'horn.honk' })).status, 202);
});

// The longest life of a command is eight days.
test('a short retention takes no command that may still change', { timeout: 120_000 }, async () => {
	const now = await partitions();
	await sql(database.url, `select partitions_drop(3600000, 3600000)`);
	const left = await partitions();
	for (const name of now.filter((name) => name.startsWith('commands_'))) {
		const inUse = (await sql(database.url, `select to_date(right('${name}', 8), 'YYYYMMDD') + interval '1 month' > now() - interval '8 days'`)).trim() === 't';
		assert.ok(!inUse || left.includes(name), `${name} is in use`);
	}
	assert.equal((await sql(database.url, `select count(*) from commands`)).trim(), '1');
});
