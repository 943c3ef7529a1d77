// cluster.mjs - two PostgreSQL servers of a test's own: one takes the writes, the other follows it and confirms each commit.
//
// Who decides which of them is the primary is the test, as Patroni does elsewhere (docs/operations.md).
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, freePort, run } from './children.mjs';
import { poll } from './record.mjs';
import { sql } from './servers.mjs';

const bin = '/usr/lib/postgresql/15/bin';
const isRoot = process.getuid() === 0;
export const asPostgres = isRoot ? ['--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : ['--'];
const options = ['fsync=off', 'shared_buffers=64MB', 'max_connections=200', 'listen_addresses=127.0.0.1', 'wal_receiver_status_interval=1s', 'wal_retrieve_retry_interval=200ms', 'log_min_messages=warning'];
let servers = 0;

class Server {
	constructor(home, port, more = []) {
		this.more = more;
		this.name = `postgres-${++servers}`;
		this.port = port;
		this.home = home;
		this.data = join(home, this.name);
		this.adminUrl = `postgresql://postgres@127.0.0.1:${port}`;
	}

	// An empty cluster.
	make() {
		return program('initdb', '-D', this.data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync', '--no-instructions');
	}

	// A copy of another, which it will follow.
	async copy(other) {
		rmSync(this.data, { recursive: true, force: true });
		await program('pg_basebackup', '-d', `${other.adminUrl}/postgres?application_name=${this.name}`, '-D', this.data, '-R', '--no-sync', '-c', 'fast');
	}

	async start() {
		const args = ['-D', this.data, '-p', this.port, '-k', this.home, ...[...options, ...this.more].flatMap((option) => ['-c', option])];
		// The change of user clears what the kernel was asked for: it is asked again.
		this.child = new Child(this.name, 'setpriv', [...asPostgres, 'setpriv', '--pdeathsig', 'QUIT', '--', `${bin}/postgres`, ...args.map(String)], { ending: 'SIGINT' });
		await this.child.untilUp(() => this.ask('select 1').then(() => true, () => false), 30_000);
	}

	ask(statement, database = 'postgres') {
		return sql(`${this.adminUrl}/${database}`, statement);
	}

	async set(name, value) {
		await this.ask(`alter system set ${name} = '${value}'`);
		await this.ask('select pg_reload_conf()');
		await poll(() => this.ask(`show ${name}`), (now) => now === value, { what: `${name} is ${value}` });
	}

	// It ends its connections and itself at once, with a checkpoint.
	stop() {
		return this.child.stop();
	}

	// All of its processes, as when its machine ends or stands still. What it would make meanwhile would outlive it, and keep its memory.
	async kill() {
		this.child.isExpectedToEnd = true;
		this.child.signal('SIGSTOP');
		const others = killAll(this.child.pid);
		await this.child.exited;
		await poll(() => others.filter(isAlive), ({ length }) => length === 0, { every: 5, what: 'all of its processes are gone' }); // they keep its memory
	}

	freeze() {
		this.child.signal('SIGSTOP');
		signalAll(childrenOf(this.child.pid), 'SIGSTOP');
	}

	thaw() {
		signalAll(childrenOf(this.child.pid), 'SIGCONT');
		this.child.signal('SIGCONT');
	}

	promote() {
		return this.ask('select pg_promote()');
	}
}

// A server's first process, and its others, whose ids it returns.
export function killAll(postmaster) {
	const others = childrenOf(postmaster);
	signalAll([postmaster, ...others], 'SIGKILL');
	return others;
}

function isAlive(pid) {
	try {
		return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
	} catch {
		return false;
	}
}

function program(name, ...args) {
	return run('setpriv', [...asPostgres, `${bin}/${name}`, ...args]);
}

function childrenOf(pid) {
	const file = `/proc/${pid}/task/${pid}/children`;
	return existsSync(file) ? readFileSync(file, 'utf8').trim().split(' ').filter(Boolean).map(Number) : [];
}

function signalAll(pids, signal) {
	for (const pid of pids)
		try {
			process.kill(pid, signal);
		} catch {
			// it has ended by itself
		}
}

class Cluster {
	// As the service's own role sees it, whoever of the two is the primary.
	get url() {
		const hosts = this.servers.map(({ port }) => `127.0.0.1:${port}`).join();
		return `postgresql://keyfob@${hosts}/keyfob?target_session_attrs=read-write`;
	}

	get primary() {
		return this.servers[this.first];
	}

	get standby() {
		return this.servers[1 - this.first];
	}

	sql(statement) {
		return this.primary.ask(statement, 'keyfob');
	}

	// The standby follows, and every commit waits for it from now on.
	async join() {
		const { primary, standby } = this;
		await standby.copy(primary);
		await standby.start();
		await primary.set('synchronous_standby_names', '*');
		await this.untilInStep();
	}

	untilInStep() {
		return poll(() => this.primary.ask('select sync_state from pg_stat_replication'), (state) => state === 'sync', { ms: 30_000, what: 'the standby is in step' });
	}

	// The standby takes the writes, and waits for nobody; the old primary is gone, or must never be heard again.
	async failOver() {
		await this.standby.promote();
		this.first = 1 - this.first;
	}
}

async function makeHome() {
	const home = mkdtempSync(join(tmpdir(), 'keyfob-cluster-'));
	if (isRoot) await run('chown', ['postgres', home]);
	process.on('exit', () => rmSync(home, { recursive: true, force: true })); // when the servers are gone, too
	return home;
}

// One alone, with settings that do not change afterwards ("shared_buffers=1MB").
export async function startServer(settings) {
	const server = new Server(await makeHome(), await freePort(), settings);
	await server.make();
	await server.start();
	return server;
}

// A primary with an empty database `keyfob`, and its synchronous standby.
export async function startCluster() {
	const cluster = new Cluster();
	const home = await makeHome();
	cluster.first = 0;
	cluster.servers = [new Server(home, await freePort()), new Server(home, await freePort())];
	await cluster.primary.make();
	await cluster.primary.start();
	await cluster.primary.ask('create role keyfob login');
	await cluster.primary.ask('create database keyfob owner keyfob');
	await cluster.join();
	return cluster;
}
