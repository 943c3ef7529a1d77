// children.mjs - the servers that a test file starts: each with its log, each ended by its own process id.
//
// The kernel kills them should this process die first (setpriv --pdeathsig).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';
import { poll } from './record.mjs';

const here = dirname(fileURLToPath(import.meta.url));
export const build = resolve(process.env.KEYFOB_BUILD ?? join(here, '../../build'));
export const isSanitized = basename(build) === 'sanitize';
export const isLong = Boolean(process.env.KEYFOB_LONG);

// What this test file writes: logs, configurations, keys.
export const folder = resolve(
	process.env.KEYFOB_TEST_DIR ?? join(here, '../../.keyfob/test'),
	basename(process.argv[1] ?? 'none').replace('.test.mjs', ''),
);
mkdirSync(folder, { recursive: true });

const children = [];
const endings = []; // more to end before the children: clients, checks

// proc(5)
function isEachThreadStopped(pid) {
	const tasks = `/proc/${pid}/task`;
	const stats = readdirSync(tasks).map((tid) => join(tasks, tid, 'stat'));
	return stats.every((stat) => existsSync(stat) && readFileSync(stat, 'utf8').includes(') T '));
}

export class Child {
	// `ending` is the signal that ends it well; `diesOfIt`: without an exit code.
	constructor(name, program, args, { env = {}, ending = 'SIGTERM', diesOfIt = false } = {}) {
		this.name = name;
		this.ending = ending;
		this.diesOfIt = diesOfIt;
		this.log = join(folder, `${name}.log`);
		const out = openSync(this.log, 'a');
		this.process = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
			stdio: ['ignore', out, out],
			env: { ...process.env, ...env },
		});
		closeSync(out);
		this.pid = this.process.pid;
		this.exit = null; // { code, signal } when it is over
		this.exited = once(this.process, 'exit').then(([code, signal]) => (this.exit = { code, signal }));
		this.isExpectedToEnd = false;
		children.push(this);
	}

	signal(name) {
		if (!this.exit) this.process.kill(name);
	}

	// No thread of it does anything until it thaws. One of them learns of the signal first and tells the others: on a busy machine they go on
	// for a while.
	async freeze() {
		this.signal('SIGSTOP');
		await poll(() => isEachThreadStopped(this.pid), Boolean, { every: 5, what: `${this.name} stands still` });
	}

	thaw() {
		this.signal('SIGCONT');
	}

	// Ends it well: { code, signal }, which is 0, or the signal that it dies of. That it ends otherwise is an error, and so is that it has
	// ended by itself, or not within `ms`, which is what a node has for it: then
	// it is killed.
	async stop(signal = this.ending, ms = isSanitized ? 20_000 : 10_000) {
		if (this.exit && !this.isExpectedToEnd) throw new Error(`${this.name} ended by itself (${JSON.stringify(this.exit)}): ${this.log}`);
		this.isExpectedToEnd = true;
		this.signal(signal);
		const timer = setTimeout(() => this.signal('SIGKILL'), ms);
		const exit = await this.exited;
		clearTimeout(timer);
		if (exit.signal === 'SIGKILL') throw new Error(`${this.name} did not end within ${ms} ms: ${this.log}`);
		if (exit.code !== 0 && !(this.diesOfIt && exit.signal === signal)) throw new Error(`${this.name} ended with ${exit.code ?? exit.signal}: ${this.log}`);
		return exit;
	}

	async kill() {
		this.isExpectedToEnd = true;
		this.signal('SIGKILL');
		return this.exited;
	}

	logText() {
		return readFileSync(this.log, 'utf8');
	}

	// Resolves when `isUp` does; rejects as soon as the process is over.
	async untilUp(isUp, ms = 45_000) {
		const end = Date.now() + ms;
		while (!(await isUp())) {
			if (this.exit || Date.now() > end) {
				const why = this.exit ? `ended with ${JSON.stringify(this.exit)}` : `was not up in ${ms} ms`;
				throw new Error(`${this.name} ${why}; the end of ${this.log}:\n${this.logText().split('\n').slice(-15).join('\n')}`);
			}
			await new Promise((next) => setTimeout(next, 50));
		}
	}
}

// Called at the end of the file, the last first, before the servers end.
export function atEnd(end) {
	endings.push(end);
}

// What a program said that is kept by nobody, for ./dev test: with the address sanitizer beside it the other one writes to standard error
// alone, and a program that was expected to fail has failed.
export function noteComplaint(said) {
	if (said.includes(': runtime error: ')) appendFileSync(join(folder, 'undefined.log'), `${said}\n`);
}

export async function run(program, args, { env = {}, input } = {}) {
	const child = spawn(program, args, { env: { ...process.env, ...env } });
	let out = '';
	child.stdout.on('data', (data) => (out += data));
	child.stderr.on('data', (data) => (out += data));
	child.stdin.end(input);
	const [code] = await once(child, 'close');
	noteComplaint(out);
	if (basename(program) === 'keyfobd' || args.includes('doctor')) appendFileSync(join(folder, 'said.log'), `${out}\n`); // for ./dev test to look through
	if (code !== 0) throw new Error(`${basename(program)} ${args.join(' ')} ended with ${code}:\n${out}`);
	return out.trim();
}

// A port of 127.0.0.1 where nobody listens, and which no other file of the run is given: the same of 127.0.0.2 is held until the process ends.
// From below the range from which the kernel gives ports to clients.
export async function freePort() {
	for (;;) {
		const port = 12_000 + Math.floor(Math.random() * 20_000);
		const held = await listenOn('127.0.0.2', port);
		const probe = held && (await listenOn('127.0.0.1', port));
		if (probe) {
			await new Promise((closed) => probe.close(closed));
			return port;
		}
		held?.close();
	}
}

// The server, or null where somebody listens already.
function listenOn(host, port) {
	const server = createServer().unref();
	return new Promise((resolve, reject) => {
		server.on('error', (error) => (error.code === 'EADDRINUSE' ? resolve(null) : reject(error)));
		server.listen(port, host, () => resolve(server));
	});
}

// A server that ended by itself, or ended badly when it was asked to, fails the file.
after(async () => {
	const wrong = [];
	for (const end of endings.reverse()) await Promise.resolve(end()).catch((error) => wrong.push(error.message));
	for (const child of children.reverse()) {
		if (child.exit && !child.isExpectedToEnd) wrong.push(`${child.name} ended by itself (${JSON.stringify(child.exit)}): ${child.log}`);
		if (!child.exit) await child.stop().catch((error) => wrong.push(error.message));
	}
	if (wrong.length > 0) throw new Error(wrong.join('\n'));
});
