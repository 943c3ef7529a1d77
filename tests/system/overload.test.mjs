// overload.test.mjs - apps and vehicles that do not slow down for anybody: commands at a rate of their own to a database that cannot keep up,
// and vehicles that say more than a node can read. Memory stays bounded, nobody else is held up, and what was promised is kept.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, isLong, isSanitized, poll, Reference, registerVehicle, rest, sendCommand, startInstallation } from './harness.mjs';
import { withinMemory } from './memory.mjs';
import { Promises } from './oracle.mjs';
import { atRate, judge, untilConnected } from './stream.mjs';

const MiB = 1024 * 1024;
const fleet = Array.from({ length: 200 }, (_, i) => `V${String(i + 1).padStart(5, '0')}`);
const options = { timeout: 300_000, skip: isSanitized && 'the sanitizer keeps what is freed' };
const { broker, database, node } = await startInstallation({
	ids: fleet,
	config: { http: { per_address: 10_000 }, log: { level: 'info' } },
});
const admin = await adminToken();
const count = (statement) => database.sql(`select count(*) from ${statement}`).then(Number);

const rate = 400;
const seconds = isLong ? 60 : 8;
const napMs = 10; // for each event; a command has three or four, and there are two workers: some fifty commands a second
const life = { ttl_seconds: 300, timeout_seconds: 300 };

// One that is sent once, and what it was told: { status, … }.
async function tell(i) {
	const vehicle_id = fleet[i % fleet.length];
	const began = Date.now();
	const { status, headers, body } = await rest(node, 'POST', `/v1/vehicles/${vehicle_id}/commands`, { token: admin, body: { name: 'horn.honk', ...life }, unchecked: true });
	return { status, body, vehicle_id, retryAfter: Number(headers.get('retry-after')), began, took: Date.now() - began };
}

test(`${rate} commands a second, to a database that does a tenth of it: 503 soon, memory stays, answers wait and are kept`, options, async (t) => {
	await Promise.all(fleet.map((id) => registerVehicle(node, admin, id)));
	const simulated = new Reference(broker, 'vehicles', ['--prefix', 'V', '--count', fleet.length]);
	await untilConnected(node, admin, fleet);
	const slowDown = (ms) => database.sql(`create or replace function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(${ms / 1000}); return null; end $$`);
	await slowDown(napMs);
	await database.sql('create trigger dawdle after insert on events for each row execute function dawdle()');
	const begun = Date.now();
	let told = [];
	await withinMemory(t, node, 48 * MiB, async () => {
		told = await atRate(rate, () => Date.now() > begun + seconds * 1000, tell);
		const refused = told.filter(({ status }) => status !== 202);
		const first = Math.min(...refused.map(({ began, took }) => began + took)) - begun;
		const slowest = Math.max(...told.map(({ took }) => took));
		assert.ok(told.length > 0.95 * rate * seconds, `${told.length} in ${seconds} s is not ${rate} a second`);
		assert.ok(refused.length > told.length / 2 && refused.length < told.length, `${refused.length} of ${told.length} were refused`);
		assert.ok(first < 5000, `nobody heard a 503 for ${first} ms`);
		assert.ok(slowest < 10_000, `somebody heard nothing for ${slowest} ms`);
		return `${told.length} commands in ${seconds} s: ${told.length - refused.length} accepted, ${refused.length} refused, the first after ${first} ms; the slowest answer after ${slowest} ms`;
	});
	const promises = new Promises();
	for (const { status, body, vehicle_id, retryAfter } of told) {
		if (status === 202) promises.add(body.id, vehicle_id, body);
		else assert.deepEqual([status, body.type, body.retriable, body.may_have_executed, retryAfter >= 1], [503, 'urn:keyfob:problem:overloaded', true, false, true], JSON.stringify(body));
	}
	// What vehicles have done and nobody knows yet: their answers are not acknowledged to the broker.
	const done = simulated.journal().filter(({ what }) => what === 'executed').length;
	const known = await count("commands where status = 'succeeded'");
	await slowDown(0);
	const back = Date.now();
	const ask = () => sendCommand(node, admin, fleet[0], { name: 'horn.honk', ...life }, { Prefer: 'wait=30' });
	const { body } = await poll(ask, ({ status }) => status !== 503, { what: 'a command is taken again' });
	assert.equal(body.status, 'succeeded', JSON.stringify(body));
	promises.add(body.id, fleet[0], body);
	const recovered = Date.now() - back;
	await poll(() => count('commands where finished_at is null'), (open) => open === 0, { ms: 60_000, what: 'all that was accepted is done' });
	t.diagnostic(`${done} were done, of which ${done - known} answers waited; after it a command was done in ${recovered} ms, all of them in ${Date.now() - back} ms`);
	assert.ok(done > known, 'answers waited');
	assert.ok(recovered < 5000, `after it a command took ${recovered} ms`);
	for (const one of await judge(node, admin, promises, () => simulated.vehicles(fleet))) assert.equal(one.status, 'succeeded', one.id);
});
