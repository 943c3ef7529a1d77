// service.test.mjs - the service manager: systemd's own programs judge the units, hand over sockets, and hear what a node says.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { atEnd, build, Child, folder, freePort, run } from './children.mjs';
import { Failpoints } from './failpoints.mjs';
import { adminToken, connectVehicle, openSocket, poll, registerVehicle, rest, sendCommand, startInstallation, vehicleIds } from './harness.mjs';
import { createMigratedDatabase, prepareNode, startBroker } from './servers.mjs';

const units = fileURLToPath(new URL('../../gateway/packaging/systemd', import.meta.url));
const ids = vehicleIds(2);
const admin = await adminToken();

// A manager's end of NOTIFY_SOCKET: systemd's own listener, which has cat write down what comes.
class Manager {
	static async start(name) {
		const manager = new Manager();
		manager.path = join(folder, `${name}.socket`);
		manager.child = new Child(name, 'systemd-socket-activate', ['--datagram', '-l', manager.path, 'sh', '-c', 'exec cat <&3']);
		atEnd(() => manager.child.kill());
		await manager.child.untilUp(() => /Listening/.test(manager.child.logText()));
		return manager;
	}

	// What was said, from line `from` on.
	lines(from = 0) {
		return this.child.logText().split('\n').filter((line) => /^[A-Z_]+=/.test(line)).slice(from);
	}

	// The number of the first line from `from` on that is `line`.
	async until(line, from = 0, ms = 30_000) {
		const find = () => this.lines().findIndex((one, i) => i >= from && one === line);
		return poll(find, (at) => at >= 0, { ms, what: `the manager hears ${line}` });
	}
}

test('the units are as systemd wants them, and leave the service little to do harm with', async () => {
	const copies = ['keyfobd.service', 'keyfob.socket'].map((name) => {
		const text = readFileSync(join(units, name), 'utf8').replace('/usr/sbin/keyfobd', join(build, 'bin/keyfobd')).replace(/^Documentation=.*\n/m, '');
		writeFileSync(join(folder, name), text);
		return join(folder, name);
	});
	assert.equal(await run('systemd-analyze', ['verify', ...copies]), '');
	// In tenths: 10.0 is a service without any bound.
	const said = await run('systemd-analyze', ['security', '--offline=true', '--threshold=15', '--no-pager', copies[0]]);
	assert.match(said, /Overall exposure level for keyfobd\.service: 1\.\d OK/);
	writeFileSync(copies[0], readFileSync(copies[0], 'utf8').replace(/^(Protect|Private|Restrict|Capability).*\n/gm, ''));
	await assert.rejects(run('systemd-analyze', ['security', '--offline=true', '--threshold=15', '--no-pager', copies[0]]));
});

test('a node says that it is ready, reloads, is alive while its loops turn, and stops', async () => {
	const failpoints = new Failpoints();
	const { broker, database } = await startInstallation({ ids, failpoints });
	const node = await prepareNode({ broker, database, failpoints });
	const manager = await Manager.start('manager');
	const env = { ...failpoints.env, NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '900000' };
	const child = new Child('watched', `${build}/bin/keyfobd`, ['--config', node.file], { env });
	const ready = await manager.until('READY=1');
	assert.equal(ready, 0, 'it is the first that is said');
	assert.ok(await node.answers(), 'and it listens by then');
	await manager.until('STATUS=serving');
	await manager.until('WATCHDOG=1', await manager.until('WATCHDOG=1') + 1);
	child.signal('SIGHUP');
	const reloading = await manager.until('RELOADING=1');
	assert.match(manager.lines()[reloading + 1], /^MONOTONIC_USEC=\d+$/);
	await manager.until('READY=1', reloading);

	// A worker that stands still: nothing is said until it turns again.
	await registerVehicle(node, admin, ids[0]);
	const before = manager.lines().length;
	failpoints.arm('accept.begun', 'pause 4000');
	const sent = sendCommand(node, admin, ids[0], { name: 'horn.honk' });
	const still = await manager.until('STATUS=1 of 2 workers stand still', before);
	await manager.until('STATUS=serving', still);
	assert.equal(manager.lines()[still + 1], 'WATCHDOG=1');
	assert.match(manager.lines()[still + 2], /^STATUS=serving/);
	assert.ok(child.logText().match(/workers stand still/g).length > 3, 'it looked, and said nothing');
	assert.equal((await sent).status, 202);

	assert.equal((await child.stop()).code, 0);
	await manager.until('STOPPING=1');
});

test('a node is ready without its database and broker: it listens, and says what it lacks', async () => {
	const broker = await startBroker({ ids });
	const database = await createMigratedDatabase();
	const node = await prepareNode({ broker, database });
	const manager = await Manager.start('manager-of-one-alone');
	await database.halt();
	await broker.stop();
	const child = new Child('alone', `${build}/bin/keyfobd`, ['--config', node.file], {
		env: { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '900000' },
	});
	await manager.until('READY=1');
	await manager.until('STATUS=serving without the database and the broker');
	assert.equal((await fetch(`${node.adminUrl}/readyz`)).status, 503);
	await database.resume();
	await manager.until('STATUS=serving without the broker');
	await broker.start();
	await manager.until('STATUS=serving');
	assert.equal((await child.stop()).code, 0);
});

// The port that systemd opens, and the node that it starts for the first who comes.
async function activated(name, node, names, ports) {
	const env = Object.entries(process.env).flatMap(([key, value]) => (/^(ASAN|UBSAN|KEYFOB|PG)/.test(key) ? ['-E', `${key}=${value}`] : []));
	const listeners = ports.flatMap((port) => ['-l', `127.0.0.1:${port}`]);
	const child = new Child(name, 'systemd-socket-activate', [...env, ...listeners, `--fdname=${names}`, `${build}/bin/keyfobd`, '--config', node.file]);
	await child.untilUp(() => (child.logText().match(/Listening on/g) ?? []).length === ports.length);
	return child;
}

test('the ports that systemd opened take the place of the settings', async () => {
	const { broker, database } = await startInstallation({ ids });
	const node = await prepareNode({ broker, database, config: { http: { listen: ['192.0.2.1:1'] }, websocket: { listen: ['192.0.2.1:2'] } } });
	const [http, websocket] = [node.port, await freePort()];
	const child = await activated('activated', node, 'http:websocket', [http, websocket]);
	// The first request is what starts it, and waits for it.
	assert.ok([200, 503].includes((await rest(node, 'GET', '/v1/me', { token: admin })).status), 'it is answered, be the database there yet or not');
	await poll(() => node.isReady(), Boolean, { ms: 20_000, what: 'it is ready' });
	await registerVehicle(node, admin, ids[1]);
	await connectVehicle(broker, { id: ids[1] });
	const socket = await openSocket(node, { token: admin });
	const beside = await openSocket({ socketUrl: `ws://127.0.0.1:${websocket}/v1/ws` }, { token: admin });
	await beside.call('vehicle.subscribe', { vehicle_id: ids[1] });
	// Each on a connection of its own, that both workers may take.
	const answers = await Promise.all(
		Array.from({ length: 40 }, () => rest(node, 'GET', `/v1/vehicles/${ids[1]}`, { token: admin, headers: { Connection: 'close' } })),
	);
	assert.ok(answers.every(({ status }) => status === 200));
	const command = await socket.call('command.send', { vehicle_id: ids[1], name: 'horn.honk' });
	await beside.until(({ type, data }) => type === 'command.updated' && data.id === command.id && data.status === 'succeeded');
	assert.equal((await child.stop()).code, 0);
});

test('a socket whose name says nothing keeps the node from starting', async () => {
	const broker = await startBroker({ ids });
	const node = await prepareNode({ broker, database: await createMigratedDatabase() });
	const child = await activated('misnamed', node, 'keyfob.socket', [node.port]);
	child.isExpectedToEnd = true;
	await assert.rejects(fetch(node.url));
	assert.equal((await child.exited).code, 1);
	assert.match(child.logText(), /FileDescriptorName= is http, websocket or admin/);
});
