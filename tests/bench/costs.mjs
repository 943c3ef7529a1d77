// costs.mjs - what one command, report, coming and going, or idle app costs: the constants of `keyfob capacity`. It measures at
// what `./dev bench --stay` has set up, from a second shell, in about two minutes, with the packages of tests/system; a line for each number.
//
// CPU and WAL are the servers' while so many of a kind were done, less what they take while nothing is.
import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect as connectTls } from 'node:tls';
import { crc32 } from 'node:zlib'; // Node 20.15 and later
const need = createRequire(new URL('../system/package.json', import.meta.url));
const mqtt = need('mqtt');
const pg = need('pg');
const WebSocket = need('ws');

const run = '.keyfob/bench';
const stay = settings(`${run}/stay.env`, /^declare -- (\w+)="(.*)"$/);
const env = settings(`${run}/env`, /^(\w+)=(.*)$/);
const vehicles = Number(stay.vehicles);
const id = (prefix, n) => prefix + String(n).padStart(5, '0');
const WATCHERS = 500;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const db = new pg.Client(stay.database_url);
await db.connect();
const ask = async (text, values) => Object.values((await db.query(text, values)).rows[0])[0];

const servers = { postgres: Number(readFileSync(`${run}/postgres/postmaster.pid`, 'utf8').split('\n')[0]) };
for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
	try {
		const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
		const cwd = execFileSync('readlink', [`/proc/${pid}/cwd`], { encoding: 'utf8' }).trim();
		if (cwd !== process.cwd()) continue;
		if (words[0].endsWith('keyfobd')) servers.keyfobd = Number(pid);
		if (words.includes(`${run}/mosquitto/mosquitto.conf`)) servers.mosquitto = Number(pid);
	} catch {} // it has ended

function settings(file, line) {
	return Object.fromEntries(readFileSync(file, 'utf8').split('\n').map((text) => line.exec(text)?.slice(1)).filter(Boolean));
}

function say(what, value, unit) {
	console.log(`${what.padEnd(48)} ${value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`);
}

// ---- what is taken

// utime and stime of it and of its children; of a process that ended, what its parent has of it.
function cpuUs(pid) {
	const tree = [pid, ...readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)];
	let ticks = 0;
	for (const one of tree) {
		const fields = statOf(one);
		if (fields) ticks += Number(fields[11]) + Number(fields[12]) + (one === pid ? Number(fields[13]) + Number(fields[14]) : 0);
	}
	return ticks * 10_000;
}

function statOf(pid) {
	try {
		return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' ');
	} catch {
		return null;
	}
}

const parentOf = (pid) => Number(statOf(pid)?.[1]);
const residentKb = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

async function taken() {
	const wal = Number(await ask('select pg_current_wal_insert_lsn() - $1', ['0/0']));
	return { at: Date.now(), wal, ...Object.fromEntries(Object.entries(servers).map(([name, pid]) => [name, cpuUs(pid)])) };
}

let idle; // what each takes in a millisecond of nothing

// Does it, and says what each of `count` took; `count` may be what it returns. `besides`: what else was done, as this returned it.
async function costs(what, count, work, besides = {}) {
	const before = await taken();
	const done = (await work()) ?? count;
	const after = await taken();
	const all = {};
	for (const name of ['postgres', 'keyfobd', 'mosquitto', 'wal']) {
		all[name] = Math.max(after[name] - before[name] - idle[name] * (after.at - before.at) - (besides[name] ?? 0), 0);
		say(`${what}: ${name}`, all[name] / done, name === 'wal' ? 'bytes' : 'us');
	}
	say(`${what}: how many`, done, '');
	return all;
}

async function measureIdle() {
	const before = await taken();
	await pause(15_000);
	const after = await taken();
	idle = Object.fromEntries(Object.keys(before).map((name) => [name, (after[name] - before[name]) / (after.at - before.at)]));
	for (const name of Object.keys(servers)) say(`nothing, a second: ${name}`, idle[name] * 1000, 'us');
}

// ---- what is done

// A program of the benchmark: its numbers by name.
async function bench(program, ...args) {
	const child = spawn(`build/bench/${program}`, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
	let out = '';
	child.stdout.on('data', (chunk) => (out += chunk));
	const code = await new Promise((done) => child.on('close', done));
	if (code !== 0) throw new Error(`${program} gave up`);
	return Object.fromEntries(out.trim().split('\n').map((line) => Object.values(JSON.parse(line))));
}

const journeys = (rate, seconds) => bench('bench-journey', stay.http_port, `${run}/bench.token`, 'BENCH', vehicles, stay.apps, stay.outstanding, rate, seconds);

async function commands() {
	const subscribing = await costs('subscribing to a vehicle', vehicles, async () => void (await journeys(10, 1)));
	await costs('a command, 100/s', 1000, async () => void (await journeys(100, 10)), subscribing);
	await costs('a command, as many as go', 1, async () => (await journeys(0, 10)).journeys, subscribing);
	await costs('a command to one that is away', 1, async () => (await bench('bench-accepts', stay.http_port, `${run}/bench.token`, 'AWAY', stay.away, 64, 5)).accepts);
}

// As the gateway's account, which may publish everywhere; at most `window` unacknowledged.
async function reports(perSecond, seconds, of = vehicles) {
	const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${env.MQTT_PORT}`, {
		clientId: `keyfob-costs-${process.pid}`, username: 'keyfob', password: readFileSync(`${run}/gateway.password`, 'utf8').trim(), protocolVersion: 5,
	});
	const total = perSecond * seconds;
	const begun = Date.now();
	for (let n = 0; n < total; ) {
		const due = Math.min(((Date.now() - begun) * perSecond) / 1000, total);
		const round = [];
		for (; n < due; n++) round.push(report(client, id('BENCH', 1 + (n % of)), begun + n));
		await Promise.all(round);
		await pause(5);
	}
	while ((await ask("select count(*) from events where type = 'state.reported' and at > $1", [new Date(begun)])) < total) await pause(50);
	await client.endAsync();
	return total;
}

function report(client, vehicle, version) {
	const feed = String(crc32(vehicle) % 32).padStart(2, '0');
	const state = { odometer_km: version % 300_000, battery_percent: version % 100, doors: { driver: version % 2 ? 'open' : 'closed' } };
	return client.publishAsync(`vehicles/${vehicle}/state/${feed}`, JSON.stringify({ version, state }), { qos: 1 });
}

// Vehicles of their own, which come at once, stay, and go.
async function comings(count) {
	const password = readFileSync(`${run}/vehicle.password`, 'utf8').trim();
	writeFileSync(`${run}/more`, Array.from({ length: count }, (_, n) => `${id('COST', n + 1)}:${password}\n`).join(''));
	execFileSync('mosquitto_passwd', ['-U', `${run}/more`]);
	appendFileSync(`${run}/mosquitto/passwords`, readFileSync(`${run}/more`));
	process.kill(servers.mosquitto, 'SIGHUP');
	await db.query(`with id as (select 'COST' || lpad(n::text, 5, '0') as vehicle_id from generate_series(1, ${count}) n),
		v as (insert into vehicles (vehicle_id) select vehicle_id from id on conflict do nothing) insert into vehicle_heads (vehicle_id) select vehicle_id from id on conflict do nothing`);
	const there = () => ask("select count(*) from vehicle_heads where vehicle_id like 'COST%' and reachable").then(Number);
	const before = residentKb(servers.mosquitto);
	let fleet;
	await costs('a vehicle comes', count, async () => {
		const args = ['--url', `mqtt://127.0.0.1:${env.MQTT_PORT}`, '--password-file', `${run}/vehicle.password`, '--prefix', 'COST', '--count', count];
		fleet = spawn('build/bin/keyfob-vehicle', args.map(String), { stdio: 'ignore' });
		while ((await there()) < count) await pause(300);
	});
	say('a connected vehicle: mosquitto', ((residentKb(servers.mosquitto) - before) * 1024) / count, 'bytes');
	await costs('a vehicle goes', count, async () => {
		fleet.kill();
		while ((await there()) > 0) await pause(300);
	});
}

// From several addresses, since the node counts by address.
async function idleApps(count) {
	const token = readFileSync(`${run}/bench.token`, 'utf8').trim();
	const before = residentKb(servers.keyfobd);
	const sockets = [];
	await costs('an app opens and watches a vehicle', count, async () => {
		for (let n = 0; n < count; n += 50)
			sockets.push(...(await Promise.all(Array.from({ length: 50 }, (_, k) => openApp(token, n + k)))));
	});
	say('an idle app: keyfobd', ((residentKb(servers.keyfobd) - before) * 1024) / count, 'bytes');
	await costs('an idle app, 20 s', count, async () => void (await pause(20_000)));
	await Promise.all(sockets.slice(0, WATCHERS).map((socket) => watch(socket, id('BENCH', 1))));
	await costs('an event for an app (with its report)', 1, async () => WATCHERS * (await reports(20, 10, 1)));
	for (const socket of sockets) socket.terminate();
}

function openApp(token, n) {
	const socket = new WebSocket(`ws://127.0.0.1:${stay.http_port}/v1/ws`, 'keyfob.v1', {
		headers: { authorization: `Bearer ${token}` }, localAddress: `127.0.1.${1 + Math.floor(n / 500)}`, perMessageDeflate: false,
	});
	return new Promise((opened, failed) => {
		socket.on('open', () => watch(socket, id('BENCH', 1 + (n % vehicles))).then(() => opened(socket)));
		socket.on('error', failed);
	});
}

function watch(socket, vehicle_id) {
	const answered = new Promise((answer) => socket.once('message', answer));
	socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'vehicle.subscribe', params: { vehicle_id } }));
	return answered;
}

// A vehicle by TLS, at a broker of its own: handshake and memory. By OpenSSL's own word, whose client costs the broker what any does.
async function tlsVehicles(count) {
	const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
	const of = (name) => readFileSync(`${run}/costs-${name}`);
	const make = (name, ...more) => execFileSync('openssl', ['req', '-x509', ...key, '-subj', `/CN=${name}`, '-keyout', `${run}/costs-${name}.key`, '-out', `${run}/costs-${name}.crt`, ...more], { stdio: 'ignore' });
	make('ca');
	for (const name of ['server', 'vehicle']) make(name, '-CA', `${run}/costs-ca.crt`, '-CAkey', `${run}/costs-ca.key`, '-addext', 'basicConstraints=critical,CA:FALSE');
	const port = 18_999;
	writeFileSync(`${run}/costs.conf`, `listener ${port} 127.0.0.1\nuser root\nallow_anonymous true\nrequire_certificate true\ncafile ${run}/costs-ca.crt\ncertfile ${run}/costs-server.crt\nkeyfile ${run}/costs-server.key\n`);
	const broker = spawn('mosquitto', ['-c', `${run}/costs.conf`], { stdio: 'ignore' });
	await pause(500);
	const before = [cpuUs(broker.pid), residentKb(broker.pid)];
	const sockets = await Promise.all(Array.from({ length: count }, () => new Promise((open, failed) => {
		const socket = connectTls({ port, host: '127.0.0.1', cert: of('vehicle.crt'), key: of('vehicle.key'), rejectUnauthorized: false }, () => open(socket));
		socket.on('error', failed);
	})));
	await pause(500);
	say('a TLS handshake, both certificates: mosquitto', (cpuUs(broker.pid) - before[0]) / count, 'us');
	say('a TLS connection: mosquitto', ((residentKb(broker.pid) - before[1]) * 1024) / count, 'bytes');
	for (const socket of sockets) socket.destroy();
	broker.kill();
}

// Everything of it, indices too, over its rows.
async function sizes() {
	for (const table of ['commands', 'events', 'vehicles', 'vehicle_heads', 'grants', 'audit', 'idempotency', 'wakeups']) {
		const { rows } = await db.query(`select coalesce(sum(pg_table_size(relid)), 0)::float8 as heap, coalesce(sum(pg_indexes_size(relid)), 0)::float8 as indices
			from pg_partition_tree($1) where isleaf`, [table]);
		const plain = await db.query('select pg_table_size($1)::float8 as heap, pg_indexes_size($1)::float8 as indices', [table]);
		const { heap, indices } = rows[0].heap > 0 ? rows[0] : plain.rows[0];
		const count = Number(await ask(`select count(*) from ${table}`));
		if (count === 0) continue;
		say(`a row of ${table} (${count})`, heap / count, 'bytes');
		say(`  its indices`, indices / count, 'bytes');
	}
}

async function main() {
	await measureIdle();
	await commands();
	await costs('a report, 200/s', 1, () => reports(200, 8));
	await costs('a report, 1000/s', 1, () => reports(1000, 6));
	await comings(1000);
	await idleApps(2000);
	await tlsVehicles(300);
	await sizes();
	await db.end();
}

await main();
