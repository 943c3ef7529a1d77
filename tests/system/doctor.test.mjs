// doctor.test.mjs - `keyfob doctor` looks at a sound installation, and at one thing broken after the other.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, copyFileSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { atEnd, build, folder, freePort, isSanitized, run } from './children.mjs';
import { startServer } from './cluster.mjs';
import { makeAuthority, startBroker, startNode } from './harness.mjs';
import { createDatabase, createMigratedDatabase, prepareNode } from './servers.mjs';

const [broker, database] = await Promise.all([startBroker({ ids: [] }), createMigratedDatabase()]);
const service = await serviceRole('serves');
const everSaid = []; // every finding of this file's doctors
const plain = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('KEYFOB_'))); // those of the tests are no settings

// A role that serves and does not own: its URL.
async function serviceRole(name, more = '') {
	const role = `doctor_${name}_${process.pid}`;
	await database.sql(`create role ${role} login password '${role}' ${more}; select service_grant('${role}')`);
	return { role, url: urlAs(role) };
}

function urlAs(role) {
	const url = new URL(database.url);
	url.username = url.password = role;
	return url.href;
}

async function configuration(config, options = {}) {
	const node = await prepareNode({ broker, database: service, config, ...options });
	return node.file;
}

// { code, verdict, checks }; `before`: what the doctor is started by.
async function doctor(file, { before = [], env = {} } = {}) {
	const [program, ...args] = [...before, join(build, 'bin/keyfob'), '-o', 'json', 'doctor', '--config', file];
	const child = spawn(program, args, { env: { ...plain, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
	let out = '';
	child.stdout.on('data', (chunk) => (out += chunk));
	const code = await new Promise((done) => child.on('close', done));
	appendFileSync(join(folder, 'doctor.log'), out); // for ./dev test to look through
	const report = { code, ...JSON.parse(out) };
	for (const one of report.checks) everSaid.push(one);
	return report;
}

// What it says of one check: the worst, as [verdict, "found - advice"].
function said({ checks }, check) {
	const order = ['ok', 'warning', 'failed'];
	const [worst] = checks.filter((one) => one.check === check).sort((a, b) => order.indexOf(b.verdict) - order.indexOf(a.verdict));
	assert.ok(worst, `there is no check ${check} in ${JSON.stringify(checks)}`);
	return [worst.verdict, `${worst.found} - ${worst.advice}`];
}

// Among other things of this check.
function says({ checks }, check, pattern) {
	const texts = checks.filter((one) => one.check === check).map(({ verdict, found, advice }) => `${verdict}: ${found} - ${advice}`);
	assert.ok(texts.some((text) => pattern.test(text)), texts.join('\n'));
}

// One thing is broken, by the configuration or around the doctor; it is found, and so is what to do.
async function finds(check, verdict, pattern, { config, file, options, ...how }) {
	const report = await doctor(file ?? (await configuration(config, options)), how);
	const [found, text] = said(report, check);
	assert.equal(found, verdict, text);
	assert.match(text, pattern);
	assert.equal(report.code, report.verdict === 'failed' ? 1 : 0);
	return report;
}

test('a sound installation has nothing that failed, before its node runs and while it does', async () => {
	const node = await prepareNode({ broker, database: service });
	const before = await doctor(node.file);
	assert.equal(before.code, 0, JSON.stringify(before.checks));
	// The tests' PostgreSQL has fsync off and writes what all tests write; the kernel and the descriptors are this machine's.
	const owns = ['durability', 'tuning', 'kernel', 'descriptors'];
	assert.deepEqual(before.checks.filter(({ check, verdict }) => verdict !== 'ok' && !owns.includes(check)), []);
	assert.match(said(before, 'durability')[1], /fsync is off/);
	const names = new Set(before.checks.map(({ check }) => check));
	assert.deepEqual(
		[...names],
		['configuration', 'secrets', 'descriptors', 'kernel', 'node', 'ports', 'issuers', 'database', 'schema', 'role', 'partitions', 'durability', 'connections', 'tuning', 'clock', 'broker', 'lifecycle'],
	);
	assert.match(said(before, 'ports')[1], /is free/);
	const running = await startNode({ broker, database: service });
	const beside = await doctor(running.file);
	assert.equal(beside.code, 0, JSON.stringify(beside.checks));
	assert.match(said(beside, 'node')[1], /it runs, and is ready/);
	assert.match(said(beside, 'ports')[1], /is the node's/);

	// Another configuration with the same admin listener: what runs was started with another one.
	const other = JSON.parse(readFileSync(running.file, 'utf8'));
	other.http.listen = [`127.0.0.1:${await freePort()}`];
	const file = join(folder, 'changed.yaml');
	writeFileSync(file, JSON.stringify(other), { mode: 0o600 });
	await finds('ports', 'failed', /nobody listens on .* restart it/, { file });
});

test('for people it is a line for each check', async () => {
	const file = await configuration({});
	const child = spawn(join(build, 'bin/keyfob'), ['doctor', '--config', file], { env: plain, stdio: ['ignore', 'pipe', 'inherit'] });
	let out = '';
	child.stdout.on('data', (chunk) => (out += chunk));
	assert.equal(await new Promise((done) => child.on('close', done)), 0);
	assert.match(out, /^ok {7}configuration {2}\S+\.yaml\n/);
	assert.match(out, /\nwarning {2}durability {5}fsync is off: .* - switch it on/);
	assert.ok(out.trim().split('\n').every((line) => /^(ok|warning|failed) +[a-z]+ +\S/.test(line)), out);
});

test('the configuration, and files that others can read', async () => {
	const bad = join(folder, 'bad.yaml');
	writeFileSync(bad, 'htpt: {}\n');
	const report = await finds('configuration', 'failed', /bad\.yaml:1: htpt: is not a known key; is http meant\? - mend that line/, { file: bad });
	assert.equal(report.checks.length, 1, 'nothing else can be looked at');
	await finds('configuration', 'failed', /nowhere\.yaml: cannot be read: No such file.* - --config FILE says where it is; .*sudo -u keyfob/, { file: join(folder, 'nowhere.yaml') });
	await finds('configuration', 'warning', /KEYFOB_DATABSE_URL/, { config: {}, env: { KEYFOB_DATABSE_URL: 'x' } });
	const open = await configuration({});
	chmodSync(open, 0o644);
	await finds('secrets', 'failed', /a secret stands in it.*chmod o= /, { file: open });
	const password = join(folder, 'open.password');
	copyFileSync(broker.gatewayPasswordFile, password);
	chmodSync(password, 0o644);
	await finds('secrets', 'failed', /open\.password \(mqtt\.password_file\) - chmod o=/, { config: { mqtt: { password_file: password } } });
});

test('the machine: certificate, descriptors, the kernel', async () => {
	const { certificate, key } = makeAuthority('doctor').issue('node'); // good for two days
	const file = await configuration({ http: { tls: { certificate, key } } });
	await finds('certificate', 'warning', /is good for 4\d hours more - put a new one/, { file });
	await finds('descriptors', 'warning', /LimitNOFILE=/, { config: {}, before: ['prlimit', '--nofile=2000:2000'] });
	const asRoot = process.getuid() === 0 ? [] : ['--map-root-user']; // which a chroot does not allow
	for (const [name, path] of [['net.core.somaxconn', 'core/somaxconn'], ['net.ipv4.tcp_max_syn_backlog', 'ipv4/tcp_max_syn_backlog']]) {
		const narrow = `echo 4096 >/proc/sys/net/core/somaxconn; echo 4096 >/proc/sys/net/ipv4/tcp_max_syn_backlog; echo 128 >/proc/sys/net/${path} && exec "$@"`;
		await finds('kernel', 'warning', new RegExp(`${name} is 128.* - sysctl -w ${name}=1024`), {
			config: {},
			before: ['unshare', ...asRoot, '--net', 'sh', '-c', narrow, 'sh'],
		});
	}
});

test('the clock', { skip: isSanitized && 'libfaketime has to be loaded first, and so has the sanitizer' }, async () => {
	const { certificate, key } = makeAuthority('doctor-later').issue('node');
	const file = await configuration({ http: { tls: { certificate, key } } });
	await finds('certificate', 'failed', /has expired/, { file, before: ['faketime', '-f', '+3d'] });
	await finds('clock', 'warning', /database's is \d{4} ms behind this machine's - .*NTP/, { config: {}, before: ['faketime', '-f', '+5s'] });
	await finds('clock', 'failed', /ms ahead of this machine's/, { config: {}, before: ['faketime', '-f', '-1h'] });
});

test('a clock before the configuration was written', async () => {
	const file = await configuration({});
	const later = Date.now() / 1000 + 3600;
	utimesSync(file, later, later);
	await finds('clock', 'failed', /is before the last change of/, { file });
});

test('ports and issuers', async () => {
	const server = createServer().listen(0, '127.0.0.1');
	await new Promise((listening) => server.once('listening', listening));
	atEnd(() => server.close());
	const taken = `127.0.0.1:${server.address().port}`;
	await finds('ports', 'failed', /somebody else listens on .* \(http\.listen\) - `ss -ltnp`/, { config: { http: { listen: [taken] } } });
	await finds('ports', 'failed', /192\.0\.2\.1:8080 \(websocket\.listen\)/, { config: { websocket: { listen: ['192.0.2.1:8080'] } } });
	await finds('issuers', 'warning', /auth\.issuers is empty/, { config: { auth: { issuers: [] } } });
	const url = `https://127.0.0.1:${await freePort()}/jwks`;
	await finds('issuers', 'failed', /cannot be had from https:/, { config: { auth: { issuers: [{ issuer: 'https://idp.example', jwks_url: url }] } } });
});

test('the database', async () => {
	const away = `postgresql://nobody@127.0.0.1:${await freePort()}/none`;
	const report = await finds('database', 'failed', /cannot be reached: .*refused/, { options: { database: { url: away } } });
	assert.ok(!report.checks.some(({ check }) => check === 'schema'));
	await finds('database', 'failed', /password authentication failed/, { options: { database: { url: urlAs(service.role).replace(/:[^:@]+@/, ':wrong@') } } });
	await finds('schema', 'failed', /there is none yet - keyfobd --config FILE --migrate/, { options: { database: await createDatabase() } });
	await finds('role', 'warning', /may change the schema.* - .*docs\/access\.md/, { options: { database } });
	const barred = `doctor_barred_${process.pid}`;
	await database.sql(`create role ${barred} login password '${barred}'; grant select on schema_migrations to ${barred}`);
	await finds('role', 'failed', /lacks rights to \d+ tables and functions, \w+ among them - .*service_grant/, { options: { database: { url: urlAs(barred) } } });
	const halfway = await serviceRole('halfway');
	await database.sql(`revoke execute on function partitions_make() from ${halfway.role}`);
	await finds('role', 'failed', /lacks rights to 1 tables and functions, partitions_make among them/, { options: { database: halfway } });
	const temporary = await serviceRole('temporary');
	await database.sql(`do $$ begin execute format('grant temporary on database %I to ${temporary.role}', current_database()); end $$`);
	await finds('role', 'warning', /may make temporary tables, and needs not - .*service_grant/, { options: { database: temporary } });
	const former = await serviceRole('former'); // as it was granted once
	await database.sql(`grant insert on audit, lifecycle_paths to ${former.role}; grant update on actors to ${former.role}`);
	await finds('role', 'warning', /may date what it adds to audit, change actors, lifecycle_paths, and needs not/, { options: { database: former } });
	await database.sql(`do $$ begin execute format('drop table %I', 'events_' || to_char(date_trunc('week', (now() + interval '2 days') at time zone 'UTC'), 'YYYYMMDD')); end $$`);
	await finds('partitions', 'failed', /no place for what comes in two days: events_\d{8} is missing/, { options: { database } });
	await database.sql('select partitions_ensure()');
	await finds('partitions', 'ok', /there is a place/, { options: { database } });
	await finds('role', 'ok', /serves/, { options: { database: service } }); // what was made since it was granted is reached by way of its parent
	const narrow = await serviceRole('narrow', 'connection limit 3');
	await finds('connections', 'failed', /needs 6, and of 3 only/, { options: { database: narrow } });
	await finds('durability', 'failed', /synchronous_standby_names is empty/, { config: { database: { synchronous: true } } });
});

// A cluster of its own: what is broken is the server's.
test('how the database is tuned', async () => {
	const cluster = await startServer(['shared_buffers=1MB', 'fsync=on']);
	await cluster.set('autovacuum', 'off');
	await cluster.set('max_wal_size', '32MB');
	await cluster.ask('create database tuned');
	const url = `${cluster.adminUrl}/tuned`;
	const file = await configuration({}, { database: { url } });
	await run(join(build, 'bin/keyfobd'), ['--config', file, '--migrate'], { env: plain });
	const unfilled = await doctor(file);
	assert.match(said(unfilled, 'tuning')[1], /autovacuum is off.* - autovacuum = on and track_counts = on/);
	await cluster.ask(`insert into vehicle_heads (vehicle_id) select 'TUNED' || n from generate_series(1, 20000) n`, 'tuned');
	await cluster.set('full_page_writes', 'off');
	const untuned = await doctor(file);
	says(untuned, 'tuning', /^warning: shared_buffers is 1 MB, and vehicle_heads alone.* \d+ MB - a quarter/);
	says(untuned, 'tuning', /^warning: max_wal_size is 32 MB, and \d+ MB are written/);
	says(untuned, 'durability', /^warning: full_page_writes is off/);
	await cluster.ask('truncate vehicle_heads cascade', 'tuned');
	await cluster.set('autovacuum', 'on');
	await cluster.set('max_wal_size', '64GB');
	await finds('tuning', 'ok', /shared_buffers 1 MB, max_wal_size 65536 MB/, { file });
	await cluster.ask(`alter database tuned set default_transaction_isolation = 'repeatable read'`);
	await finds('tuning', 'failed', /default_transaction_isolation is repeatable read: .* - alter role/, { file });
});

test('a schema of another version', async () => {
	const other = await createMigratedDatabase();
	await other.sql(`insert into schema_migrations (version, name) values (9999, 'later')`);
	await finds('schema', 'warning', /newer than this program's/, { options: { database: other } });
	await other.sql('delete from schema_migrations where version > 3');
	await finds('schema', 'failed', /version 3, older than this program's/, { options: { database: other } });
});

const without = (pattern) => (lines) => lines.filter((line) => !pattern.test(line));

test('the broker, and what keeps watch over it', async () => {
	const nowhere = `mqtt://127.0.0.1:${await freePort()}`;
	await finds('broker', 'failed', /refused - look at mqtt\.url/, { config: { mqtt: { url: nowhere } } });
	await finds('broker', 'failed', /[Nn]ot authori[sz]ed - .*mqtt\.username/, { config: { mqtt: { username: 'somebody' } } });
	const bare = await startBroker({ ids: [], configure: without(/^plugin/) });
	await finds('lifecycle', 'failed', /the plugin is not there - load keyfob_broker\.so/, { options: { broker: bare } });
	await finds('lifecycle', 'ok', /may be read/, { config: { lifecycle: { source: 'emqx' } } });
	const narrow = await startBroker({ ids: [], configure: (lines) => [...without(/^max_/)(lines), 'max_inflight_messages 20'] });
	await finds('broker', 'warning', /it takes 20 unacknowledged messages.* - max_inflight_messages 512/, { options: { broker: narrow } });
	const small = await startBroker({ ids: [], configure: (lines) => [...lines, 'message_size_limit 65536', 'retain_available false'] });
	const refused = await finds('broker', 'warning', /keeps no retained messages.* - retain_available true/, { options: { broker: small } });
	says(refused, 'broker', /^warning: it refuses a message of 128 KiB.* - message_size_limit 262144/);
	const forgetful = await startBroker({ ids: [], configure: (lines) => without(/^max_queued/)(lines) });
	await finds('broker', 'warning', /of 2200 messages that waited for a reader \d+ came.* - max_queued_messages 1000000/, { options: { broker: forgetful } });
	const slow = await startBroker({ ids: [], configure: without(/^set_tcp_nodelay/) });
	await finds('broker', 'warning', /its second packet waits \d\d ms .* - set_tcp_nodelay true/, { options: { broker: slow } });
	const acl = join(folder, 'deaf.acl');
	writeFileSync(acl, 'topic write #\n', { mode: 0o600 });
	const deaf = await startBroker({ ids: [], configure: (lines) => [...without(/^plugin/)(lines), `acl_file ${acl}`] });
	await finds('lifecycle', 'failed', /does not let keyfob publish on keyfob\/doctor/, { options: { broker: deaf } });
});

test('a node that runs and lacks its broker', async () => {
	const lone = await startBroker({ ids: [] });
	const node = await startNode({ broker: lone, database: service });
	await lone.stop();
	await finds('node', 'failed', /it runs, but: broker unavailable/, { file: node.file });
});

// ---- last: what the manual says of it, beside what was heard

const manual = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');

// The first column of the tables below a heading, what stands in it in backquotes.
function namesBelow(heading) {
	const [section] = manual.slice(manual.indexOf(`\n## ${heading}\n`) + 1).split('\n## ').slice(0, 1);
	const cells = section.split('\n').filter((line) => line.startsWith('| `')).map((line) => line.split(' | ')[0]);
	return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
}

test('the manual names each check, and no other', () => {
	assert.deepEqual([...new Set(everSaid.map(({ check }) => check))].sort(), namesBelow('keyfob doctor').sort());
});

test('each setting that the manual asks to tune is one that the doctor speaks of', () => {
	const settings = namesBelow('Tuning');
	assert.ok(settings.length > 12, settings.join());
	const texts = everSaid.filter(({ verdict }) => verdict !== 'ok').map(({ found, advice }) => `${found} ${advice}`);
	assert.deepEqual(settings.filter((name) => !texts.some((text) => text.includes(name))), []);
});
