// matrix.test.mjs - every call of REST and WebSocket, by every role, with every set of scopes, on what is theirs, foreign,
// expired and revoked; generated from two tables, with real tokens on two nodes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checkExchange } from './descriptions.mjs';
import { adminToken, openSocket, rest, RpcError, startInstallation, token, vehicleIds } from './harness.mjs';

const { database, nodes } = await startInstallation({ ids: vehicleIds(1), nodes: 2, config: { webhooks: { per_subject: 10000 } } });
const admin = await adminToken('root');
const [webhook, delivery] = [await database.sql('select uuid7(now())'), await database.sql('select uuid7(now())')]; // retention takes those of before
await database.sql(`insert into webhooks (id, subject, is_admin, url, secret, disabled_at, disabled_reason)
		values ('${webhook}', 'root', true, 'https://platform.example/', 'whsec_', now(), 'paused');
	insert into webhook_deliveries (id, webhook_id, vehicle_id, seq, at, type) values ('${delivery}', '${webhook}', 'MV1', 1, now(), 'state.desired')`);
// A grant whose time is over stays where it is, however often the nodes come to end it: whoever does not look at its time finds it.
await database.sql(`create function keep() returns trigger language plpgsql as $$ begin return null; end $$;
	create trigger keep before delete on grants for each row when (old.expires_at is not null) execute function keep()`);
const options = { timeout: 170_000 };

// ---- who

const roles = [
	['owner', 'vehicle'],
	['manager', 'fleet'],
	['operator', 'fleet'],
	['viewer', 'fleet'],
	['driver', 'vehicle'],
	['viewer', 'vehicle'],
].map(([role, kind]) => ({ role, kind, subject: `${kind}-${role}` }));
const scopeSets = ['', 'vehicles:read', 'commands:write', 'vehicles:read commands:write', 'keyfob:admin'];

// ---- what: with admin's scope, then by role as they stand above, then a stranger

const verdicts = {
	'.': 'fine',
	F: 'forbidden',
	V: 'vehicle-not-found',
	f: 'fleet-not-found',
	b: 'batch-not-found',
	N: 'fleet-not-empty',
	n: 'notice-not-found',
	h: 'webhook-not-found',
};
const json = { 'Content-Type': 'application/json' };

// [scopes that suffice (a: admin's alone), verdicts, method, path, body]; V: the vehicle, F: its fleet, C: its command, B: a batch
// of the fleet, W: somebody's webhook, D: a delivery of it, X: another that is there to be deleted.
const calls = [
	['', '. ...... .', 'GET', '/v1/me'],
	['', '. ...... .', 'GET', '/v1/catalog'],
	['r', '. ...... .', 'GET', '/v1/vehicles'],
	['r', '. ...... V', 'GET', '/v1/vehicles/V'],
	['w', '. ...F.F V', 'POST', '/v1/vehicles/V/commands', { name: 'doors.unlock', wake: false }],
	['w', '. ..FFFF V', 'POST', '/v1/vehicles/V/commands', { name: 'owner.pair', wake: false }],
	['rw', '. ...... V', 'GET', '/v1/vehicles/V/commands'],
	['rw', '. ...... V', 'GET', '/v1/vehicles/V/commands/C'],
	['w', '. ...F.F V', 'POST', '/v1/vehicles/V/commands/C/cancel'],
	['r', '. ...... V', 'GET', '/v1/vehicles/V/events'],
	['r', '. ...... V', 'STREAM', '/v1/vehicles/V/events'],
	['r', '. ..FFFF V', 'GET', '/v1/vehicles/V/grants'],
	['r', '. ..FFFF V', 'GET', '/v1/vehicles/V/grants/pia'],
	['w', '. ..FFFF V', 'PUT', '/v1/vehicles/V/grants/eve', { role: 'driver' }],
	['w', '. ..FFFF V', 'DELETE', '/v1/vehicles/V/grants/pia'],
	['r', '. ...... V', 'GET', '/v1/vehicles/V/wakeups'],
	['r', '. .FFFFF V', 'GET', '/v1/vehicles/V/audit'],
	['w', '. .FFFFF V', 'POST', '/v1/vehicles/V/transfer', { subject: 'eve' }],
	['w', '. F.FFFF f', 'PUT', '/v1/vehicles/V', { fleet_id: 'F' }],
	['w', '. FFFFFF F', 'PUT', '/v1/vehicles/V', {}],
	['w', '. F.FFFF V', 'DELETE', '/v1/vehicles/V'],
	['w', '. F.FFFF V', 'PUT', '/v1/vehicles/V/block'],
	['w', '. F.FFFF V', 'DELETE', '/v1/vehicles/V/block'],
	['a', '. FFFFFF F', 'GET', '/v1/subjects/zoe'],
	['a', '. FFFFFF F', 'DELETE', '/v1/subjects/zoe'],
	['w', '. ...F.F V', 'PATCH', '/v1/vehicles/V/state', { lights: 1 }],
	['r', '. ...... V', 'GET', '/v1/vehicles/V/notices'],
	['w', '. ..FFFF V', 'PUT', '/v1/vehicles/V/notices/storm', { park: 'inside' }],
	['w', '. ..FFFF V', 'DELETE', '/v1/vehicles/V/notices/recall'],
	['r', '. ...... .', 'GET', '/v1/fleets'],
	['r', '. f...ff f', 'GET', '/v1/fleets/F'],
	['w', '. fFFFff f', 'PUT', '/v1/fleets/F', { title: 'Vans' }],
	['w', 'N fFFFff f', 'DELETE', '/v1/fleets/F'],
	['r', '. f...ff f', 'STREAM', '/v1/fleets/F/events'],
	['r', '. FFFFFF F', 'STREAM', '/v1/fleets/*/events'],
	['w', '. f..Fff f', 'POST', '/v1/fleets/F/commands', { name: 'horn.honk', wake: false }],
	['w', '. f.FFff f', 'POST', '/v1/fleets/F/commands', { name: 'owner.pair', wake: false }],
	['rw', '. f...ff f', 'GET', '/v1/fleets/F/batches'],
	['rw', '. b...bb b', 'GET', '/v1/batches/B'],
	['rw', '. b...bb b', 'GET', '/v1/batches/B/commands'],
	['w', '. b..Fbb b', 'POST', '/v1/batches/B/cancel'],
	['r', '. f.FFff f', 'GET', '/v1/fleets/F/grants'],
	['r', '. f.FFff f', 'GET', '/v1/fleets/F/grants/pia'],
	['w', '. f.FFff f', 'PUT', '/v1/fleets/F/grants/eve', { role: 'viewer' }],
	['w', '. f.FFff f', 'DELETE', '/v1/fleets/F/grants/pia'],
	['r', '. f...ff f', 'GET', '/v1/fleets/F/notices'],
	['w', '. f.FFff f', 'PUT', '/v1/fleets/F/notices/storm', { park: 'inside' }],
	['w', '. f.FFff f', 'DELETE', '/v1/fleets/F/notices/recall'],
	['r', '. f.FFff f', 'GET', '/v1/fleets/F/alerts'],
	['r', '. f.FFff f', 'GET', '/v1/fleets/F/blocks'],
	['r', '. f.FFff f', 'GET', '/v1/fleets/F/wakeups'],
	['r', '. f.FFff f', 'GET', '/v1/fleets/F/stats'],
	['r', '. FFFFFF F', 'GET', '/v1/alerts'],
	['r', '. FFFFFF F', 'GET', '/v1/blocks'],
	['r', '. FFFFFF F', 'GET', '/v1/wakeups'],
	['r', '. FFFFFF F', 'GET', '/v1/stats'],
	['a', '. FFFFFF F', 'GET', '/v1/nodes'],
	['r', '. ...... .', 'GET', '/v1/webhooks'],
	['r', '. ...... V', 'POST', '/v1/webhooks', { url: 'https://platform.example/', vehicle_ids: ['V'], enabled: false }],
	['r', '. f...ff f', 'POST', '/v1/webhooks', { url: 'https://platform.example/', fleet_ids: ['F'], enabled: false }],
	['r', '. FFFFFF F', 'POST', '/v1/webhooks', { url: 'https://platform.example/', fleet_ids: ['*'], enabled: false }],
	['r', '. hhhhhh h', 'GET', '/v1/webhooks/W'],
	['r', '. hhhhhh h', 'PUT', '/v1/webhooks/W', { url: 'https://platform.example/', vehicle_ids: ['V'], enabled: false }],
	['r', '. hhhhhh h', 'POST', '/v1/webhooks/W/rotate'],
	['r', '. hhhhhh h', 'GET', '/v1/webhooks/W/deliveries'],
	['r', '. hhhhhh h', 'GET', '/v1/webhooks/W/deliveries/D'],
	['r', '. hhhhhh h', 'POST', '/v1/webhooks/W/deliveries/D/redeliver'],
	['r', '. hhhhhh h', 'DELETE', '/v1/webhooks/X'],
	['r', '. FFFFFF F', 'GET', '/v1/notices'],
	['w', '. FFFFFF F', 'PUT', '/v1/notices/storm', { park: 'inside' }],
	['w', 'n FFFFFF F', 'DELETE', '/v1/notices/none'],
];

const methods = [
	['r', '. ...... V', 'vehicle.subscribe', { vehicle_id: 'V' }],
	['r', '. f...ff f', 'fleet.subscribe', { fleet_id: 'F' }],
	['r', '. FFFFFF F', 'fleet.subscribe', { fleet_id: '*' }],
	['', '. ...... .', 'vehicle.unsubscribe', { vehicle_id: 'V' }],
	['', '. ...... .', 'fleet.unsubscribe', { fleet_id: 'F' }],
	['r', '. ...... V', 'vehicle.get', { vehicle_id: 'V' }],
	['r', '. ...... .', 'vehicle.list', {}],
	['w', '. ...F.F V', 'command.send', { vehicle_id: 'V', name: 'doors.unlock', wake: false }],
	['rw', '. ...... V', 'command.get', { vehicle_id: 'V', id: 'C' }],
	['w', '. ...F.F V', 'command.cancel', { vehicle_id: 'V', id: 'C' }],
];

// Lists are answered to everybody. They have of an arena, on one of their pages, what the row of the call beside may ask for; who one is, one's own.
const lists = {
	'/v1/me': { item: (item, arena, { kind }) => item[`${kind}_id`] === arena[kind] },
	'/v1/vehicles': { as: '/v1/vehicles/V', item: ({ vehicle_id }, { vehicle }) => vehicle_id === vehicle },
	'/v1/fleets': { as: '/v1/fleets/F', item: ({ fleet_id }, { fleet }) => fleet_id === fleet },
	'/v1/webhooks': { as: '/v1/webhooks/W', item: ({ id }, { webhook }) => id === webhook },
	'vehicle.list': { as: 'vehicle.get', item: ({ vehicle_id }, { vehicle }) => vehicle_id === vehicle },
};
const listOf = ([, , method, path]) => (method === 'GET' ? lists[path] : lists[method]);

// What a cell should say. `own`: the role's own vehicle and fleet; else it is as a stranger's.
function expected([scopes, row], role, scopeSet, own) {
	const letters = row.replaceAll(' ', '');
	if (scopeSet.includes('keyfob:admin')) return verdicts[letters[0]];
	const suffices = !scopes || (scopes.includes('r') && scopeSet.includes('vehicles:read')) || (scopes.includes('w') && scopeSet.includes('commands:write'));
	if (!suffices) return 'forbidden';
	return verdicts[letters[own ? 1 + roles.indexOf(role) : 1 + roles.length]];
}

// ---- where: arenas of a vehicle in a fleet, with a command that waits and somebody to speak of

let arenas = 0;
const free = [];

async function makeArenas(count, grants) {
	const first = arenas + 1;
	arenas += count;
	await database.sql(`begin;
		insert into fleets (fleet_id) select 'MF' || n from generate_series(${first}, ${arenas}) n;
		insert into vehicle_heads (vehicle_id, seq) select 'MV' || n, 1 from generate_series(${first}, ${arenas}) n;
		insert into vehicles (vehicle_id, fleet_id) select 'MV' || n, 'MF' || n from generate_series(${first}, ${arenas}) n;
		insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, timeout_seconds, created_at, expires_at, updated_at, due_at)
			select 'MV' || n, uuid7_floor(now()), 'horn.honk', 'root', false, 'on_reconnect', '{"role":"driver"}', 1, 20,
				now(), now() + interval '1 hour', now(), now() + interval '1 hour' from generate_series(${first}, ${arenas}) n;
		insert into batches (id, fleet_id, name, ttl_seconds, timeout_seconds, wake, redelivery, supersedes, catalog, issued_by, admin, needs, rate, total)
			select gen_random_uuid(), 'MF' || n, 'horn.honk', 30, 20, false, 'on_reconnect', '', '{}', 'root', true, 2, 1, 0
			from generate_series(${first}, ${arenas}) n;
		insert into webhooks (id, subject, is_admin, url, description, secret, disabled_at, disabled_reason)
			select uuid7(now()), 'root', true, 'https://platform.example/', 'MV' || n, 'whsec_', now(), 'paused' from generate_series(${first}, ${arenas}) n;
		insert into notices (object_kind, object_id, name, payload, published_by)
			select kind, prefix || n, 'recall', 'stop', 'root' from generate_series(${first}, ${arenas}) n, (values ('vehicle', 'MV'), ('fleet', 'MF')) as v(kind, prefix);
		insert into grants (object_kind, object_id, subject, role, granted_by, created_at)
			select kind, case kind when 'vehicle' then 'MV' else 'MF' end || n, subject, role, 'root', now() - interval '1 hour'
			from generate_series(${first}, ${arenas}) n, (values ('vehicle', 'pia', 'driver'), ('fleet', 'pia', 'operator'), ('vehicle', 'ole', 'owner')
				${grants.map(({ kind, subject, role }) => `, ('${kind}', '${subject}', '${role}')`).join('')}) as v(kind, subject, role);
		commit`);
	const command = await database.sql(`select id from commands where vehicle_id = 'MV${first}'`);
	const batches = new Map((await database.sql(`select fleet_id, id from batches`)).split('\n').map((line) => line.split('|')));
	const webhooks = new Map((await database.sql(`select description, id from webhooks where description like 'MV%'`)).split('\n').map((line) => line.split('|')));
	return Array.from({ length: count }, (_, i) => {
		const [vehicle, fleet] = [`MV${first + i}`, `MF${first + i}`];
		return { vehicle, fleet, command, batch: batches.get(fleet), webhook: webhooks.get(vehicle) };
	});
}

// One that nobody has changed yet, where every role has its grant.
async function ownArena() {
	if (free.length === 0) free.push(...(await makeArenas(100, roles)));
	return free.pop();
}

const objectOf = ({ kind }, { vehicle, fleet }) => (kind === 'fleet' ? `/v1/fleets/${fleet}` : `/v1/vehicles/${vehicle}`);

async function grantAll(arena, expires_at = null) {
	for (const who of roles) {
		const { status } = await rest(nodes[0], 'PUT', `${objectOf(who, arena)}/grants/${who.subject}`, { token: admin, body: { role: who.role, expires_at } });
		assert.equal(status, 201);
	}
}

async function makeTargets() {
	const [foreign, expired, revoked] = await makeArenas(3, []);
	await grantAll(expired, new Date(Date.now() + 3600_000).toISOString());
	await database.sql(`update grants set expires_at = now() where expires_at is not null and object_id in ('${expired.vehicle}', '${expired.fleet}')`);
	await grantAll(revoked);
	for (const who of roles) await rest(nodes[1], 'DELETE', `${objectOf(who, revoked)}/grants/${who.subject}`, { token: admin });
	return { foreign, expired, revoked };
}

const fill = (value, { vehicle, fleet, command, batch, webhook: own }) =>
	JSON.parse(JSON.stringify(value).replace(/(?<=["/])[VFCBWDX](?=["/])/g, (letter) => ({ V: vehicle, F: fleet, C: command, B: batch, W: webhook, D: delivery, X: own })[letter]));

// Every cell of a table; `say` makes the call and returns its verdict, `page` returns a page of a list, from a cursor.
async function everyCell(table, say, page) {
	const targets = await makeTargets();
	const kept = () => database.sql(`select count(*) from grants where object_id in ('${targets.expired.vehicle}', '${targets.expired.fleet}') and expires_at <= now()`);
	const shared = await ownArena(); // for what changes nothing
	const arenas = [...Object.values(targets), shared];
	const before = await contents(arenas);
	const listed = { shown: 0, hidden: 0 };
	let cells = 0;
	const cell = async (row, who, scopes, [target, arena]) => {
		const should = expected(row, who, scopes, target === 'own');
		const changes = should === 'fine' && (row[0] === 'w' || row[2] === 'DELETE');
		const where = target !== 'own' ? arena : changes ? await ownArena() : shared;
		// What admin may is tried on the own vehicle alone: elsewhere it would change what the others look at.
		if (target !== 'own' && changes && scopes.includes('admin')) return;
		const heard = await say(row, who, scopes, where, cells++);
		const cellIs = `${row[2]} ${row[3].vehicle_id ?? row[3].fleet_id ?? row[3]} by a ${who.subject} with "${scopes}", ${target}`;
		assert.equal(heard, should, cellIs);
		const list = should === 'fine' && listOf(row);
		if (!list) return;
		const beside = table.find(([, , method, path]) => [method, path].includes(list.as));
		const has = beside ? expected(beside, who, scopes, target === 'own') === 'fine' : target === 'own';
		assert.equal(await isListed(list, page, row, who, scopes, where, cells), has, `it is ${has ? '' : 'not '}in ${cellIs}`);
		listed[has ? 'shown' : 'hidden']++;
	};
	for (const row of table)
		for (const scopes of scopeSets)
			await Promise.all(
				roles.flatMap((who) => [['own'], ...Object.entries(targets)].map((target) => cell(row, who, scopes, target))),
			);
	assert.deepEqual(await contents(arenas), before, 'what was refused, or only asked, has changed nothing');
	assert.equal(await kept(), String(roles.length), 'the grants that were over were there all the time');
	assert.ok(listed.shown > 10 && listed.hidden > 10, JSON.stringify(listed));
	return cells;
}

async function isListed({ item }, page, row, who, scopes, arena, n) {
	let cursor = null;
	do {
		const body = await page(row, who, scopes, n, cursor);
		if ((body.items ?? body.grants).some((one) => item(one, arena, who))) return true;
		cursor = body.next_cursor;
	} while (cursor);
	return false;
}

// What a call could have changed of these vehicles and fleets, without what becomes of them by itself: a command waits, a notice is told,
// a grant's end is noticed.
async function contents(arenas) {
	const [vehicles, fleets] = ['vehicle', 'fleet'].map((what) => arenas.map((arena) => `'${arena[what]}'`).join());
	const rows = [
		`vehicles(vehicle_id, display_name, fleet_id, desired, desired_version, retired_at) where vehicle_id in (${vehicles})`,
		`commands(vehicle_id, id, name, status = 'canceled', expires_at) where vehicle_id in (${vehicles})`,
		`retained(vehicle_id, kind, payload, version) where vehicle_id in (${vehicles}) and kind <> 'notice'`,
		`fleets(fleet_id, title) where fleet_id in (${fleets})`,
		`batches(fleet_id, id, name, state, total) where fleet_id in (${fleets})`,
		`grants(object_id, subject, role, expires_at) where object_id in (${vehicles}, ${fleets}) and (expires_at is null or expires_at > now())`,
		`notices(object_id, name, payload, expires_at) where object_id in (${vehicles}, ${fleets})`,
	].map((row) => row.replace(/^(\w+)\((.*?)\)/, (_, table, columns) => `select concat_ws(' ', '${table}', ${columns}) as line from ${table}`));
	return (await database.sql(`select line from (${rows.join(' union all ')}) as lines order by line`)).split('\n');
}

const tokens = new Map();
async function tokenOf(who, scope) {
	const key = `${who.subject} ${scope}`;
	if (!tokens.has(key)) tokens.set(key, await token({ sub: who.subject, scope }));
	return tokens.get(key);
}

// ---- REST

async function stream(node, path, bearer) {
	const aborter = new AbortController();
	const headers = new Headers({ Accept: 'text/event-stream', Authorization: `Bearer ${bearer}` });
	const answer = await fetch(node.url + path, { signal: aborter.signal, headers });
	const text = answer.status === 200 ? null : await answer.text();
	aborter.abort();
	checkExchange({ method: 'GET', target: path, headers }, { status: answer.status, headers: answer.headers, text });
	return { status: answer.status, body: text && JSON.parse(text) };
}

const verdictOf = ({ status, body }) => (status < 300 ? 'fine' : body.type.replace('urn:keyfob:problem:', ''));

async function sayRest([, , method, path, body], who, scopes, arena, n) {
	const node = nodes[n % 2];
	const bearer = await tokenOf(who, scopes);
	const filled = fill(path, arena);
	if (method === 'STREAM') return verdictOf(await stream(node, filled, bearer));
	return verdictOf(await rest(node, method, filled, { token: bearer, body: body && fill(body, arena), headers: body ? json : {} }));
}

async function pageOfRest([, , , path], who, scopes, n, cursor) {
	const query = path === '/v1/me' ? '' : `?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`;
	const { status, body } = await rest(nodes[n % 2], 'GET', path + query, { token: await tokenOf(who, scopes) });
	assert.equal(status, 200);
	return body;
}

test('REST: every call, by every role and set of scopes, on own, foreign, expired and revoked', options, async () => {
	const cells = await everyCell(calls, sayRest, pageOfRest);
	assert.ok(cells > 3000, `${cells} cells`);
});

// ---- WebSocket

const sockets = new Map();
async function socketOf(who, scopes, n) {
	const key = `${who.subject} ${scopes} ${n % 2}`;
	if (!sockets.has(key)) sockets.set(key, openSocket(nodes[n % 2], { token: await tokenOf(who, scopes) }));
	return sockets.get(key);
}

// One at a time on a socket: a second subscription to the same takes the place of one that is not answered yet.
async function saySocket([, , method, params], who, scopes, arena, n) {
	const socket = await socketOf(who, scopes, n);
	const turn = socket.turn ?? Promise.resolve();
	socket.turn = turn.then(() => ask(socket, method, fill(params, arena)));
	return socket.turn;
}

function ask(socket, method, params) {
	return socket.call(method, params).then(
		() => 'fine',
		(error) => {
			assert.ok(error instanceof RpcError && error.code === -32000, error.message);
			return error.data.type.replace('urn:keyfob:problem:', '');
		},
	);
}

const pageOfSocket = async ([, , method], who, scopes, n, cursor) =>
	(await socketOf(who, scopes, n)).call(method, { limit: 200, ...(cursor && { cursor }) });

test('WebSocket: every method, by every role and set of scopes, on own, foreign, expired and revoked', options, async () => {
	const cells = await everyCell(methods, saySocket, pageOfSocket);
	assert.ok(cells > 1000, `${cells} cells`);
});

// ---- the tables name everything that can be asked

const rowsOf = (file, pattern) => [...readFileSync(new URL(`../../gateway/${file}`, import.meta.url), 'utf8').matchAll(pattern)];

test('every route and every method has its row', () => {
	const routes = rowsOf('http/routes.tbl.h', /^ROUTE\("(\w+)", "([^"]+)", .*\b(\w+)\)$/gm);
	const has = (method, path) => calls.some((row) => row[2] === method && new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`).test(row[3]));
	const streams = { STREAMS: ['GET', 'STREAM'], FOLLOWS: ['STREAM'] };
	const missing = routes.flatMap(([, method, path, flag]) => (streams[flag] ?? [method]).filter((way) => !has(way, path)).map((way) => `${way} ${path}`));
	assert.deepEqual(missing, []);
	const named = rowsOf('ws/methods.tbl.h', /^METHOD\("([^"]+)"/gm).map(([, name]) => name);
	assert.deepEqual(named.filter((name) => !methods.some((row) => row[2] === name)), ['session.authenticate']); // it brings the token
	assert.ok(routes.length > 60 && named.length > 9, `${routes.length} routes, ${named.length} methods`);
});

test('no two of these calls waited for each other in a circle', options, async () => {
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
});
