// batches.test.mjs - looking for vehicles, and one command to many of them: fleets of keyfob-vehicle, a third of them asleep.
// batches-long.test.mjs has 10 000.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, build, poll, Reference, rest, run, startInstallation, tablesNaming, token } from './harness.mjs';

const awake = 40;
const asleep = 20;
const failing = 12;
const named = (prefix, count) => Array.from({ length: count }, (_, i) => prefix + String(i + 1).padStart(5, '0'));
const sleepers = named('S', asleep);
const ids = [...named('A', awake), ...sleepers, ...named('X', failing)];
const { broker, database, nodes } = await startInstallation({ ids, nodes: 2 });
const [one, two] = nodes;
const admin = await adminToken('root');
const operator = await token({ sub: 'otto', scope: 'vehicles:read commands:write' });
const options = { timeout: 120_000 };
const startVehicles = (prefix, count, more = []) => new Reference(broker, `vehicles-${prefix}`, ['--prefix', prefix, '--count', count, '--latency', '10ms', ...more]);

const untilReachable = (prefix, count) =>
	poll(
		() => database.sql(`select count(*) from vehicle_heads where reachable and subscribed and vehicle_id like '${prefix}%'`),
		(n) => Number(n) === count,
		{ ms: 60_000, what: `${count} of ${prefix} are there` },
	);

// A fleet of 60, a third asleep, whose operator is otto; and one whose vehicles fail at everything.
await database.sql(`begin;
	insert into fleets (fleet_id) values ('F'), ('X'), ('OTHER');
	insert into vehicles (vehicle_id, fleet_id, display_name, tags) select id, case when id like 'X%' then 'X' else 'F' end, 'Van ' || id, array[lower(left(id, 1))]
		from unnest(array[${ids.map((id) => `'${id}'`)}]) id;
	insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles order by 1;
	insert into grants (object_kind, object_id, subject, role, granted_by) values ('fleet', 'F', 'otto', 'operator', 'test'), ('fleet', 'X', 'otto', 'operator', 'test');
	commit`);
const sleeping = startVehicles('S', asleep, ['--asleep']);
const vehicles = [startVehicles('A', awake), startVehicles('X', failing, ['--fail-rate', '1']), sleeping];
await untilReachable('A', awake);
await untilReachable('X', failing);

const begin = (node, fleet, body, headers = {}) => rest(node, 'POST', `/v1/fleets/${fleet}/commands`, { token: operator, body: { name: 'horn.honk', wake: false, ttl_seconds: 3600, ...body }, headers });
const cancel = (node, id) => rest(node, 'POST', `/v1/batches/${id}/cancel`, { token: operator });
const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

// Whatever moment it is, the counts add up.
async function look(node, id) {
	const { status, body } = await rest(node, 'GET', `/v1/batches/${id}`, { token: operator });
	assert.equal(status, 200);
	assert.equal(sum(body.counts), body.total, JSON.stringify(body));
	assert.equal(body.failures, ['failed', 'rejected', 'expired', 'timed_out', 'refused'].reduce((n, key) => n + body.counts[key], 0));
	return body;
}
const until = (node, id, is, what) => poll(() => look(node, id), is, { ms: 60_000, what });

async function commandsOf(node, id, query = '') {
	const items = [];
	for (let cursor = ''; cursor !== null; ) {
		const { body } = await rest(node, 'GET', `/v1/batches/${id}/commands?limit=25${query}${cursor && `&cursor=${cursor}`}`, { token: operator });
		items.push(...body.items);
		cursor = body.next_cursor;
	}
	return items;
}

// What the vehicles wrote down themselves: how often each did each request.
function executions() {
	const done = new Map();
	for (const { what, vehicle_id, request_id } of vehicles.flatMap((some) => some.journal()))
		if (what === 'executed') done.set(`${vehicle_id} ${request_id}`, (done.get(`${vehicle_id} ${request_id}`) ?? 0) + 1);
	return done;
}

// One command a vehicle, done once by each that should, and by nobody else.
function assertDoneOnce(items, statuses) {
	const done = executions();
	for (const { vehicle_id, status, command } of items) {
		if (!statuses.includes(status)) continue;
		assert.equal(done.get(`${vehicle_id} ${command.id}`), 1, `${vehicle_id}: ${status}`);
	}
	for (const { vehicle_id, status, command } of items.filter(({ status }) => ['canceled', 'expired', 'skipped', 'refused', 'pending'].includes(status)))
		assert.equal(command && done.get(`${vehicle_id} ${command.id}`), command ? undefined : null, `${vehicle_id}: ${status}, and was done`);
}

// No vehicle has two commands that carry the batch's note.
const assertOneEach = async (note) =>
	assert.equal(await database.sql(`select count(*) from (select vehicle_id from commands where params->>'note' = '${note}' group by 1 having count(*) > 1) twice`), '0');

const wakeUp = async () => {
	sleeping.signal('SIGUSR1');
	await untilReachable('S', asleep);
};
const putToSleep = async () => {
	sleeping.signal('SIGUSR2');
	await poll(() => database.sql(`select count(*) from vehicle_heads where reachable and vehicle_id like 'S%'`), (n) => n === '0', { ms: 60_000, what: 'they sleep' });
};

// ---- search

test('vehicles are found by what is asked for, page by page, by those who may see them', options, async () => {
	const find = async (filter, query = '', who = operator) => {
		const { status, body } = await rest(one, 'GET', `/v1/vehicles?filter=${encodeURIComponent(filter)}${query}`, { token: who });
		assert.equal(status, 200, JSON.stringify(body));
		return body;
	};
	const idsOf = ({ items }) => items.map(({ vehicle_id }) => vehicle_id);
	assert.deepEqual(idsOf(await find('reachability:disconnected')), sleepers);
	assert.equal((await find('reachability:connected AND tag:a AND fleet:F', '&limit=200')).items.length, awake);
	assert.deepEqual(idsOf(await find('vehicle:X0000* AND NOT name:"van x00003"')), named('X', 9).filter((id) => id !== 'X00003'));
	assert.deepEqual(idsOf(await find('tag:s AND reachability:connected')), []);
	assert.deepEqual(idsOf(await find('fleet:F', '', await token({ sub: 'stranger', scope: 'vehicles:read' }))), []);

	const seen = [];
	for (let path = '/v1/vehicles?filter=fleet%3AF%20AND%20tag%3Aa&limit=15'; path; ) {
		const { body, headers } = await rest(two, 'GET', path, { token: operator });
		seen.push(...idsOf(body));
		path = /<(.+)>; rel="next"/.exec(headers.get('link') ?? '')?.[1];
	}
	assert.deepEqual(seen, named('A', awake));

	const { status, body } = await rest(one, 'GET', '/v1/vehicles?filter=fleet:F%20AND%20colour:red', { token: operator });
	assert.equal(status, 400);
	assert.equal(body.type, 'urn:keyfob:problem:invalid-query');
	assert.match(body.detail, /"colour:red"/);
});

// A report of a vehicle's is in the search when it is in what the vehicle shows; then a report takes it out again.
test('vehicles are found by what they report', options, async () => {
	const find = async (filter) => {
		const { status, body } = await rest(one, 'GET', `/v1/vehicles?filter=${encodeURIComponent(filter)}&limit=200`, { token: operator });
		assert.equal(status, 200, JSON.stringify(body));
		return body.items.map(({ vehicle_id }) => vehicle_id);
	};
	const shows = (ids, is, what) =>
		poll(() => Promise.all(ids.map((id) => rest(one, 'GET', `/v1/vehicles/${id}`, { token: operator }))), (all) => all.every(({ body }) => is(body.state.reported)), { ms: 60_000, what });
	const three = named('A', 3);
	await shows(named('A', awake), ({ doors }) => doors?.locked === true, 'all have reported');
	assert.deepEqual(await find('state.doors.locked:true AND tag:a'), named('A', awake));
	const { body } = await begin(two, 'F', { name: 'climate.start', params: { temperature: 21.7 }, vehicles: three });
	await until(two, body.id, ({ state }) => state === 'completed', 'three have it warm');
	await shows(three, ({ climate }) => climate.on, 'they say so');
	assert.deepEqual(await find('state.climate.on:true'), three);
	assert.deepEqual(await find('state.climate.temperature:21.7'), three);
	assert.deepEqual(await find('state.climate.temperature:>21.5 AND NOT vehicle:A00002'), ['A00001', 'A00003']);
	assert.deepEqual(await find('state.climate.temperature:<=21.5'), []);
	assert.deepEqual(await find('state.climate.temperature:*'), three);
	assert.deepEqual(await find('state.climate.temperature:"21.7"'), []);
	assert.deepEqual(await find('NOT state.climate.on:true AND vehicle:A00001,A00004,A00005'), ['A00004', 'A00005']);
	assert.deepEqual(await find('state.climate.on:true AND fleet:X'), []);

	const warm = await begin(one, 'F', { name: 'climate.start', params: { temperature: 18 }, filter: 'state.climate.temperature:>20 AND vehicle:A00001,A00002' });
	assert.equal(warm.body.total, 2);
	await until(one, warm.body.id, ({ state }) => state === 'completed', 'two have it cooler');
	await shows(['A00001', 'A00002'], ({ climate }) => climate.temperature === 18, 'they say so');
	assert.deepEqual(await find('state.climate.temperature:>20'), ['A00003']);
	const { status, body: refused } = await begin(one, 'F', { filter: 'state.climate.temperature:>warm' });
	assert.equal(status, 422);
	assert.match(refused.detail, /only a number can be compared/);
});

test('keyfob vehicles --filter', options, async () => {
	const env = { KEYFOB_URL: one.url, KEYFOB_TOKEN: operator };
	const list = JSON.parse(await run(`${build}/bin/keyfob`, ['vehicles', '--filter', 'tag:s AND NOT vehicle:S00001', '-o', 'json'], { env }));
	assert.deepEqual(list.items.map(({ vehicle_id }) => vehicle_id), sleepers.slice(1));
});

// ---- batches

test('sixty vehicles, a third asleep: at its rate, everybody once, the sleepers when they wake', options, async () => {
	const { status, headers, body } = await begin(one, 'F', { params: { note: 'all' }, rate: 40 });
	assert.equal(status, 202);
	assert.equal(headers.get('location'), `/v1/batches/${body.id}`);
	assert.equal(body.total, awake + asleep);
	assert.equal(body.state, 'running');
	await until(two, body.id, ({ counts }) => counts.succeeded === awake && counts.waiting === asleep, 'the waking ones have done it');
	assert.equal((await look(one, body.id)).state, 'running');
	await wakeUp();
	const done = await until(two, body.id, ({ state }) => state === 'completed', 'it is completed');
	assert.equal(done.counts.succeeded, awake + asleep);
	assert.ok(done.finished_at);

	const items = await commandsOf(one, body.id);
	assert.deepEqual(items.map(({ vehicle_id }) => vehicle_id), [...named('A', awake), ...sleepers]);
	for (const { command } of items) assert.deepEqual(command.params, { note: 'all' });
	assertDoneOnce(items, ['succeeded']);
	const times = items.map(({ command }) => Date.parse(command.created_at)).sort((a, b) => a - b);
	assert.ok(times.at(-1) - times[0] >= ((awake + asleep - 21) / 40) * 1000, `all within ${times.at(-1) - times[0]} ms`); // a burst is half a second's
	assert.deepEqual(await commandsOf(one, body.id, '&status=waiting'), []);
	assert.equal((await cancel(one, body.id)).body.type, 'urn:keyfob:problem:batch-already-final');
});

test('one key, one batch', options, async () => {
	const key = { 'Idempotency-Key': 'batch-1' };
	const body = { params: { note: 'key' }, vehicles: ['A00001', 'A00002'] };
	const [first, again] = await Promise.all([begin(one, 'F', body, key), begin(two, 'F', body, key)]);
	assert.equal(first.status, 202);
	assert.equal(again.status, 202);
	assert.equal(first.body.id, again.body.id);
	assert.deepEqual([first, again].map(({ headers }) => headers.get('idempotency-replayed')).sort(), [null, 'true'].sort());
	assert.equal((await begin(two, 'F', { ...body, rate: 7 }, key)).body.type, 'urn:keyfob:problem:idempotency-key-reused');
	const single = await rest(one, 'POST', '/v1/vehicles/A00001/commands', { token: operator, body: { name: 'horn.honk' }, headers: key });
	assert.equal(single.body.type, 'urn:keyfob:problem:idempotency-key-reused');
	await until(one, first.body.id, ({ state, counts }) => state === 'completed' && counts.succeeded === 2, 'both have done it');
	await assertOneEach('key');
});

test('to a filter; and what cannot be asked for', options, async () => {
	const { body } = await begin(one, 'F', { params: { note: 'filter' }, filter: 'tag:a AND vehicle:A0000*' });
	assert.equal(body.total, 9);
	await until(one, body.id, ({ state }) => state === 'completed', 'it is completed');
	assert.deepEqual((await commandsOf(one, body.id)).map(({ vehicle_id }) => vehicle_id), named('A', 9));
	const none = await begin(one, 'F', { filter: 'tag:none' });
	assert.equal(none.body.state, 'completed');
	const before = await database.sql('select count(*) from batches');
	for (const [wrong, says] of [
		[{ filter: 'colour:red' }, /colour:red/],
		[{ vehicles: ['A00001', 'X00001'] }, /X00001/],
		[{ vehicles: [] }, /vehicles/],
		[{ vehicles: ['A00001'], filter: 'tag:a' }, /exclude/],
		[{ rate: 0 }, /rate/],
		[{ max_failures: '101%' }, /max_failures/],
		[{ params: { note: 'UPPER' } }, /note/],
	]) {
		const answer = await begin(one, 'F', wrong);
		assert.equal(answer.status, 422, JSON.stringify(wrong));
		assert.match(answer.body.detail, says);
	}
	assert.equal((await begin(one, 'OTHER', {})).body.type, 'urn:keyfob:problem:fleet-not-found');
	assert.equal((await begin(one, 'F', { name: 'immobiliser.release' })).body.type, 'urn:keyfob:problem:step-up-required');
	assert.equal((await begin(one, 'F', { name: 'owner.pair' })).body.type, 'urn:keyfob:problem:forbidden');
	assert.equal(await database.sql('select count(*) from batches'), before);
});

test('a fleet\'s batches, newest first, page by page', options, async () => {
	const ids = [];
	for (let i = 0; i < 3; i++) ids.unshift((await begin(one, 'F', { vehicles: ['A00001'], params: { note: 'list' } })).body.id);
	for (const id of ids) await until(two, id, ({ state }) => state === 'completed', 'each is over');
	const listed = [];
	for (let path = '/v1/fleets/F/batches?limit=2'; path; ) {
		const { status, body, headers } = await rest(two, 'GET', path, { token: operator });
		assert.equal(status, 200);
		assert.ok(body.items.length <= 2);
		listed.push(...body.items);
		path = /<(.+)>; rel="next"/.exec(headers.get('link') ?? '')?.[1];
	}
	assert.equal(listed.length, Number(await database.sql(`select count(*) from batches where fleet_id = 'F'`)));
	assert.deepEqual(listed.slice(0, 3).map(({ id }) => id), ids);
	assert.deepEqual(listed[0], await look(one, ids[0]));
	assert.deepEqual((await rest(one, 'GET', '/v1/fleets/OTHER/batches', { token: admin })).body, { items: [], next_cursor: null });
	assert.equal((await rest(one, 'GET', '/v1/fleets/OTHER/batches', { token: operator })).body.type, 'urn:keyfob:problem:fleet-not-found');
	assert.equal((await rest(one, 'GET', '/v1/fleets/F/batches?cursor=1', { token: operator })).body.type, 'urn:keyfob:problem:invalid-query');

	const env = { KEYFOB_URL: one.url, KEYFOB_TOKEN: operator };
	const table = await run(`${build}/bin/keyfob`, ['batches', 'F', '--limit', '2'], { env });
	assert.match(table, new RegExp(`completed +horn\\.honk +otto +1 of 1 +0 +${ids[0]}`));
	assert.equal(table.match(/completed/g).length, 2);
	assert.match(table, /there are more/);
	assert.deepEqual(JSON.parse(await run(`${build}/bin/keyfob`, ['batches', 'F', '-o', 'json'], { env })).items[1].id, ids[1]);
});

test('too many failures stop it: the rest is not sent, and what waits is taken back', options, async () => {
	await putToSleep();
	await database.sql(`update vehicles set fleet_id = 'X' where vehicle_id in ('S00001', 'S00002')`); // they come first: these wait
	await database.sql(`update vehicles set fleet_id = 'F' where vehicle_id like 'X0001%'`);
	const { body } = await begin(one, 'X', { params: { note: 'stop' }, rate: 2, max_failures: '20%' });
	assert.equal(body.total, 11);
	assert.equal(body.max_failures, 2);
	const stopped = await until(two, body.id, ({ state }) => state === 'stopped', 'it is stopped');
	assert.equal(stopped.reason.code, 'MAX_FAILURES');
	assert.ok(stopped.counts.skipped > 0, JSON.stringify(stopped.counts));
	await until(two, body.id, ({ counts }) => counts.canceled === 2, 'what waited is taken back');
	const items = await commandsOf(one, body.id);
	assert.deepEqual(items.filter(({ status }) => status === 'canceled').map(({ command }) => command.reason), Array(2).fill({ code: 'CANCELED', by: 'otto' }));
	await poll(() => database.sql(`select count(*) from leases where name like 'batch/%'`), (n) => n === '0', { ms: 30_000, what: 'nobody holds it' });
	await wakeUp();
	assertDoneOnce(await commandsOf(one, body.id), ['failed']);
	await database.sql(`update vehicles set fleet_id = 'F' where vehicle_id like 'S%'; update vehicles set fleet_id = 'X' where vehicle_id like 'X%'`);
});

test('a cancel takes back what has not left, and nothing more is sent', options, async () => {
	await putToSleep();
	const { body } = await begin(one, 'F', { params: { note: 'cancel' }, rate: 8, filter: 'NOT vehicle:A0003* AND NOT vehicle:A0002*' });
	await until(two, body.id, ({ counts }) => counts.waiting > 1, 'some wait');
	const { status, body: canceled } = await cancel(two, body.id);
	assert.equal(status, 200);
	assert.equal(canceled.state, 'canceled');
	assert.deepEqual(canceled.reason, { code: 'CANCELED', by: 'otto' });
	assert.ok(canceled.counts.skipped > 0);
	assert.equal((await cancel(one, body.id)).status, 200);
	const after = await until(one, body.id, ({ counts }) => counts.waiting + counts.accepted + counts.sent + counts.in_progress === 0, 'nothing waits');
	assert.equal(after.counts.skipped, canceled.counts.skipped, 'nothing was sent after the cancel');
	assert.ok(after.counts.canceled > 1);
	await wakeUp();
	const items = await commandsOf(one, body.id);
	assertDoneOnce(items, ['succeeded']);
	assert.equal(items.filter(({ status }) => status === 'canceled').length, after.counts.canceled);
});

test('who began it is erased amid it: what comes later names nobody, and without a right nothing comes', options, async () => {
	const body = { name: 'horn.honk', wake: false, ttl_seconds: 3600, filter: 'tag:a', rate: 12 };
	await database.sql(`insert into grants (object_kind, object_id, subject, role, granted_by) values ('fleet', 'F', 'mayfly', 'operator', 'test')`);
	const [campaign, trial] = await Promise.all(
		[await adminToken('campaigner'), await token({ sub: 'mayfly', scope: 'vehicles:read commands:write' })].map(async (who) => (await rest(one, 'POST', '/v1/fleets/F/commands', { token: who, body })).body.id),
	);
	for (const id of [campaign, trial]) await until(two, id, ({ counts }) => counts.pending < awake, 'it is amid');
	const erase = (subject) => rest(two, 'DELETE', `/v1/subjects/${subject}`, { token: admin });
	for (const subject of ['campaigner', 'mayfly']) assert.equal((await erase(subject)).status, 204);
	const ended = await until(two, trial, ({ state }) => state !== 'running', 'it has ended');
	assert.deepEqual([ended.state, ended.reason, ended.issued_by], ['canceled', { code: 'ACCESS_REVOKED' }, 'erased']);
	assert.ok(ended.counts.skipped > 0, JSON.stringify(ended.counts));
	const done = await until(two, campaign, ({ state }) => state === 'completed', 'it goes on to its end');
	assert.equal(done.counts.succeeded, awake, JSON.stringify(done.counts));
	assertDoneOnce(await commandsOf(one, campaign), ['succeeded']);
	await poll(() => database.sql('select count(*) from erasures'), (n) => n === '0', { ms: 60_000, what: 'they are erased' });
	assert.deepEqual(await tablesNaming(database, 'campaigner|mayfly'), []);
});

test('kill -9 of the node that feeds it: another carries on, nothing is lost, nothing comes twice', options, async () => {
	await putToSleep();
	const { body } = await begin(one, 'F', { params: { note: 'kill' }, rate: 15 });
	await until(two, body.id, ({ counts }) => counts.pending < 45 && counts.pending > 0, 'it is amid');
	const holder = await database.sql(`select node from leases where name = 'batch/${body.id}'`);
	const killed = nodes.find(({ name }) => name === holder);
	const survivor = nodes.find((node) => node !== killed);
	await killed.kill();
	await until(survivor, body.id, ({ counts }) => counts.pending === 0, 'the other has fed the rest');
	await wakeUp();
	const done = await until(survivor, body.id, ({ state }) => state === 'completed', 'it is completed');
	assert.equal(done.counts.succeeded, awake + asleep, JSON.stringify(done.counts));
	await killed.start();
	const items = await commandsOf(killed, body.id);
	assert.equal(items.length, awake + asleep);
	assertDoneOnce(items, ['succeeded']);
	await assertOneEach('kill');
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});

test('keyfob fleet send: sends, shows how it goes, and says by its exit code how it went', options, async () => {
	const env = { KEYFOB_URL: one.url, KEYFOB_TOKEN: operator };
	const fine = await run(`${build}/bin/keyfob`, ['fleet', 'send', 'F', 'horn.honk', 'note=cli', '--filter', 'tag:a', '--rate', '200', '--max-failures', '5%', '--wait'], { env });
	assert.match(fine, new RegExp(`horn\\.honk to ${awake} vehicles of F {2}completed`));
	assert.match(fine, new RegExp(`succeeded +${awake}\\b`));
	await assert.rejects(run(`${build}/bin/keyfob`, ['fleet', 'send', 'X', 'horn.honk', '--wait'], { env }), /ended with 1:/);
	await assert.rejects(run(`${build}/bin/keyfob`, ['fleet', 'send', 'F', 'horn.honk', '--filter', 'colour:red'], { env }), /ended with 1:[^]*colour:red/);
});
