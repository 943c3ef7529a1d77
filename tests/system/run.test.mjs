// run.test.mjs - `./dev run`, plain and with --tls, from a folder of its own: what it invites to works, and TERM leaves nothing behind.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, lutimesSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import mqtt from 'mqtt';
import { Child } from './children.mjs';
import { build, folder, isSanitized, openSocket, run } from './harness.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const clone = join(folder, 'clone');
const made = join(clone, '.keyfob/run');
const [first, asleep, own] = ['WKF00000000000001', 'WKF00000000000005', 'WKF00000000000006'];
const options = { timeout: 120_000, skip: isSanitized && 'it has the programs as they are built for it' };

// `dev` itself, since it works in the folder where it lies, and links to all else. They are old: nothing is to be built.
rmSync(clone, { recursive: true, force: true });
mkdirSync(clone, { recursive: true });
copyFileSync(join(root, 'dev'), join(clone, 'dev'));
for (const name of [...readdirSync(root), 'build']) {
	if (name.startsWith('.') || existsSync(join(clone, name))) continue;
	symlinkSync(join(root, name), join(clone, name));
	lutimesSync(join(clone, name), 0, 0);
}

const isAlive = (pid) => existsSync(`/proc/${pid}/stat`) && !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

// It and whoever descends from it, as { pid, name }.
function family(pid) {
	const parents = new Map();
	for (const name of readdirSync('/proc')) {
		try {
			const [, comm, parent] = /^\d+ \((.*)\) \S (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8'));
			parents.set(Number(name), { comm, parent: Number(parent) });
		} catch {
			// no process, or none any more
		}
	}
	const descends = (one) => one === pid || (parents.has(one) && descends(parents.get(one).parent));
	return [...parents].filter(([one]) => descends(one)).map(([one, { comm }]) => ({ pid: one, name: comm }));
}

const listens = (port) => new Promise((resolve) => {
	const socket = connect(port, '127.0.0.1').on('error', () => resolve(false));
	socket.on('connect', () => resolve(true)).on('connect', () => socket.destroy());
});

// What it wrote for a reader's shell, and the ports that its invitation names.
function invitation(child) {
	const env = Object.fromEntries(readFileSync(join(made, 'env'), 'utf8').trim().split('\n').map((line) => /^([^=]+)=(.*)$/.exec(line).slice(1)));
	const ports = [...said(child).matchAll(/(?:127\.0\.0\.1|@127\.0\.0\.1):(\d+)/g)].map(([, port]) => Number(port));
	return { env, ports: [...new Set(ports)] };
}

// It shows its reader a token: that stands in no log.
const textOf = (name) => join(folder, `${name}.txt`);
const said = ({ name }) => readFileSync(textOf(name), 'utf8');

async function begin(name, ...args) {
	const child = new Child(name, 'bash', ['-c', 'exec bash "$@" >"$0"', textOf(name), join(clone, 'dev'), 'run', ...args]);
	await child.untilUp(() => existsSync(textOf(name)) && said(child).includes('The same token lies in'), 60_000);
	return child;
}

const connectOwn = (port, more) => {
	const password = readFileSync(join(made, 'vehicle.password'), 'utf8').trim();
	return mqtt.connectAsync(`${more.protocol}://127.0.0.1:${port}`, { clientId: own, username: own, password, protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 5000, ...more }, false);
};

// Of the processes that it started none lives on, nobody listens, and a second one may come.
async function end(child, ports) {
	const all = family(child.pid);
	for (const name of ['postgres', 'mosquitto', 'keyfobd', 'keyfob-vehicle']) assert.ok(all.some((one) => one.name.startsWith(name)), `${name} runs`);
	const socket = readFileSync(join(made, 'postgres.socket'), 'utf8').trim();
	assert.ok(existsSync(socket));
	assert.deepEqual(await Promise.all(ports.map(listens)), ports.map(() => true));
	assert.deepEqual(await child.stop('SIGTERM', 30_000), { code: 0, signal: null });
	assert.deepEqual(all.filter(({ pid }) => isAlive(pid)), []);
	assert.deepEqual(await Promise.all(ports.map(listens)), ports.map(() => false));
	assert.ok(!existsSync(socket));
	assert.equal(child.logText(), '', 'it complains of nothing');
}

const keyfob = (env, ...args) => run(join(build, 'bin/keyfob'), args, { env });

async function follow({ env, ca }) {
	const app = await openSocket({ socketUrl: `${env.KEYFOB_URL.replace('http', 'ws')}/v1/ws` }, { token: env.KEYFOB_TOKEN, ca });
	await app.call('vehicle.subscribe', { vehicle_id: first });
	const sent = await app.call('command.send', { vehicle_id: first, name: 'doors.unlock' });
	await app.until(({ data }) => data.id === sent.id && data.status === 'succeeded');
	app.close();
	assert.match(await keyfob(env, 'vehicles'), new RegExp(`${first} +connected`));
}

test('it comes up from nothing, does what it invites to, and goes without a trace', options, async () => {
	const child = await begin('run');
	const { env, ports } = invitation(child);
	assert.equal(ports.length, 5, `${ports}: node, admin, broker, database, SMS centre`);
	await follow({ env });
	assert.match(await keyfob(env, 'send', asleep, 'horn.honk', '--wait'), /succeeded/, 'it is woken by its SMS');
	await assert.rejects(run('bash', [join(clone, 'dev'), 'run']), /it runs already, from this folder/);
	await end(child, ports);
});

test('with --tls it speaks TLS to everybody, by an authority that is to be trusted first', options, async () => {
	const child = await begin('run-tls', '--tls');
	const { env, ports } = invitation(child);
	const { KEYFOB_URL: url, MQTT_PORT: broker, SSL_CERT_FILE: authority } = env;
	const ca = readFileSync(authority);
	assert.equal(new URL(url).protocol, 'https:');
	for (const name of ['ca.key', 'server.key', 'postgres.key']) assert.equal(statSync(join(made, 'tls', name)).mode & 0o777, 0o600, name);
	await follow({ env, ca });

	const untrusted = (error) => /certificate/.test(`${error.message} ${error.cause?.message} ${error.code}`);
	await assert.rejects(openSocket({ socketUrl: `${url.replace('http', 'ws')}/v1/ws` }, { token: env.KEYFOB_TOKEN }), untrusted);
	await assert.rejects(keyfob({ KEYFOB_URL: url, KEYFOB_TOKEN: env.KEYFOB_TOKEN }, 'vehicles'), /SSL_CERT_FILE names the authorities to trust/);
	await assert.rejects(fetch(`${url.replace('https', 'http')}/v1/me`), 'the node hears nothing in the clear');

	await (await connectOwn(broker, { protocol: 'mqtts', ca })).endAsync();
	await assert.rejects(connectOwn(broker, { protocol: 'mqtts' }), untrusted);
	await assert.rejects(connectOwn(broker, { protocol: 'mqtt' }), 'nor does the broker');

	const socket = readFileSync(join(made, 'postgres.socket'), 'utf8').trim();
	const port = /postgresql:\/\/keyfob@127\.0\.0\.1:(\d+)/.exec(said(child))[1];
	const sessions = await run('psql', ['-X', '-At', '-h', socket, '-p', port, '-U', 'postgres', '-c', `select count(*) > 0, bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'keyfob'`, 'postgres']);
	assert.equal(sessions, 't|t', 'the node speaks TLS with its database');
	await end(child, ports);
});
