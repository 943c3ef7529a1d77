// patroni-long.test.mjs - Patroni as docs/operations.md has it decides who the primary is; what Keyfob makes of that. With --long alone:
// it needs Debian's patroni and etcd-server.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Child, freePort, run } from './children.mjs';
import { asPostgres, killAll } from './cluster.mjs';
import { adminToken, isLong, isSanitized, poll, startInstallation, vehicleIds } from './harness.mjs';
import { Promises } from './oracle.mjs';
import { sql } from './servers.mjs';
import { connectFleet, Follower, judge, Traffic } from './stream.mjs';

const options = { timeout: 1_800_000, skip: !isLong ? 'with --long' : isSanitized && 'once is enough' };
const own = vehicleIds(6);
const admin = await adminToken();
const home = mkdtempSync(join(tmpdir(), 'keyfob-patroni-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
const [, example] = /```yaml\n(scope: keyfob\n.*?)```/s.exec(readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8'));

// The example with our addresses in the place of its own; each of them must be there.
function configuration(changes) {
	let text = example;
	for (const [from, to] of changes) {
		assert.ok(text.includes(from), `docs/operations.md has ${from}`);
		text = text.replaceAll(from, to);
	}
	return text;
}

class Server {
	constructor(name, host, { port, rest, etcd }) {
		Object.assign(this, { name, host, port, rest, etcd, data: join(home, name), file: join(home, `${name}.yaml`) });
	}

	async prepare() {
		const text = configuration([
			['name: db1', `name: ${this.name}`],
			['10.0.0.11:8008', `${this.host}:${this.rest}`],
			['10.0.0.11:5432', `${this.host}:${this.port}`],
			['"10.0.0.21:2379", "10.0.0.22:2379", "10.0.0.23:2379"', `"127.0.0.1:${this.etcd}"`],
			['/var/lib/postgresql/15/keyfob', this.data],
			['10.0.0.0/24', '127.0.0.0/8'],
			['mode: automatic', 'mode: "off"'],
			['  bin_dir:', `  pgpass: ${home}/${this.name}.pgpass\n  parameters: { unix_socket_directories: "${home}" }\n  bin_dir:`],
		]);
		writeFileSync(this.file, text);
		await run('setpriv', [...asPostgres, 'patroni', '--validate-config', this.file]);
	}

	start() {
		this.child = new Child(this.name, 'setpriv', [...asPostgres, 'setpriv', '--pdeathsig', 'TERM', '--', 'patroni', this.file]);
	}

	get postmaster() {
		return Number(readFileSync(join(this.data, 'postmaster.pid'), 'utf8').split('\n')[0]);
	}

	// What its Patroni says of it, or at `path` of more; null: nothing.
	async says(path = 'patroni') {
		return fetch(`http://${this.host}:${this.rest}/${path}`).then((answer) => answer.json(), () => null);
	}

	ask(statement, database = 'postgres') {
		return sql(`postgresql://postgres:${encodeURIComponent('a secret')}@${this.host}:${this.port}/${database}`, statement);
	}
}

const parts = {};
const untilPrimary = (server, ms = 300_000) => poll(() => server.says(), (state) => state?.state === 'running' && ['master', 'primary'].includes(state.role), { ms, every: 200, what: `${server.name} is the primary` });
// As Patroni has it: whom it knows to have every commit it would promote.
const untilInStep = (server) => poll(() => server.says('cluster'), (cluster) => cluster?.members?.some(({ role }) => role === 'sync_standby'), { ms: 600_000, every: 500, what: 'the other is in step' });

test('etcd, two servers under Patroni, two nodes', options, async () => {
	const etcd = await freePort();
	const peer = await freePort();
	mkdirSync(join(home, 'etcd'));
	if (process.getuid() === 0) await run('chown', ['-R', 'postgres', home]);
	const at = `http://127.0.0.1:${etcd}`;
	const store = new Child('etcd', 'setpriv', [...asPostgres, 'setpriv', '--pdeathsig', 'TERM', '--', 'etcd', '--data-dir', join(home, 'etcd'), '--listen-client-urls', at, '--advertise-client-urls', at, '--listen-peer-urls', `http://127.0.0.1:${peer}`], { diesOfIt: true });
	await store.untilUp(() => fetch(`${at}/health`).then(({ ok }) => ok, () => false), 60_000);
	const servers = [];
	for (const [name, host] of [['db1', '127.0.0.3'], ['db2', '127.0.0.4']]) servers.push(new Server(name, host, { port: await freePort(), rest: await freePort(), etcd }));
	for (const server of servers) await server.prepare();
	servers[0].start();
	await untilPrimary(servers[0]);
	await servers[0].ask(`create role keyfob login password 'keyfob'`);
	await servers[0].ask('create database keyfob owner keyfob');
	servers[1].start();
	await untilInStep(servers[0]);
	const database = {
		url: `postgresql://keyfob:keyfob@${servers.map(({ host, port }) => `${host}:${port}`).join()}/keyfob?target_session_attrs=read-write`,
	};
	const { broker, nodes } = await startInstallation({ ids: own, nodes: 2, database, config: { database: { synchronous: true } } });
	const vehicles = await connectFleet(broker, nodes[0], admin, own);
	const app = new Follower(nodes, admin);
	await app.follow(own);
	Object.assign(parts, { servers, nodes, vehicles, app, promises: new Promises() });
});

async function assertGoesOn(t, name, [primary, standby], end, bound) {
	const { nodes, promises } = parts;
	const traffic = new Traffic(name, { nodes, token: admin, own, promises, rate: 40, width: 6, never: { ttl_seconds: 30 } });
	await traffic.untilMore(40);
	await end(primary);
	const before = traffic.told.length;
	await untilPrimary(standby);
	await traffic.untilMore(40);
	await traffic.stop();
	for (const node of nodes) await poll(() => node.isReady(), Boolean, { ms: 30_000, what: `${node.name} is ready again` });
	t.diagnostic(`${traffic.told.length} commands, ${traffic.told.length - before} after the loss; nothing was accepted for ${traffic.longest} ms`);
	assert.ok(traffic.longest < bound, `nothing was accepted for ${traffic.longest} ms`);
}

test('the primary is killed: the other is promoted at once, and the old one comes back as the standby', options, async (t) => {
	const [one, two] = parts.servers;
	await assertGoesOn(t, 'server', [one, two], async (server) => killAll(server.postmaster), 30_000);
	await untilInStep(two);
});

test('its Patroni is killed with it: the other is promoted when its place is free', options, async (t) => {
	const [one, two] = parts.servers;
	const end = async (server) => {
		const pid = server.postmaster;
		await server.child.kill();
		killAll(pid);
	};
	await assertGoesOn(t, 'machine', [two, one], end, 60_000);
});

test('over all of it nothing was lost', options, async () => {
	const { nodes, vehicles, app, promises } = parts;
	await judge(nodes[0], admin, promises, vehicles);
	await app.assertWhole(nodes[1], 60_000);
});
