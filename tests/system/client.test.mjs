// client.test.mjs - the client of web/client as a stranger gets it: packed, installed into an empty folder, used from Node.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import WebSocket from 'ws';
import { atEnd } from './children.mjs';
import {
	adminToken, connectVehicle, folder, grant, isSanitized, poll, Record, registerVehicle, rest, run, sendCommand, startInstallation, startNode, token,
	vehicle, vehicleIds,
} from './harness.mjs';
import { startLine } from './line.mjs';

const options = { timeout: 120_000 };
const once = { ...options, skip: isSanitized }; // what is no affair of the node
const web = fileURLToPath(new URL('../../web/', import.meta.url));
const home = join(folder, 'app'); // of the stranger
const ids = vehicleIds(30);

async function install() {
	rmSync(home, { recursive: true, force: true });
	mkdirSync(home, { recursive: true });
	await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', home, join(web, 'client')]);
	const [tarball] = readdirSync(home);
	writeFileSync(join(home, 'package.json'), '{"private":true,"type":"module"}');
	await run('npm', ['install', '--prefix', home, '--offline', '--silent', '--no-audit', '--no-fund', join(home, tarball)]);
	writeFileSync(join(home, 'index.js'), "export * from 'keyfob-client';\n");
	return import(pathToFileURL(join(home, 'index.js')));
}

const config = { websocket: { max_queue: '64KiB' } };
const [library, { broker, database, nodes }] = await Promise.all([install(), startInstallation({ ids, nodes: 2, config })]);
const { Client, ProblemError, Rest } = library;
const [node, two] = nodes;
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
let used = 0;

// ---- who is there

async function ownVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id);
	await grant(node, admin, id, 'alice', 'owner');
	return id;
}

async function ownCar(settings = {}) {
	const id = await ownVehicle();
	const car = await connectVehicle(broker, { id, ...settings });
	await poll(() => rest(node, 'GET', `/v1/vehicles/${id}`, { token: alice }), ({ body }) => body.connectivity.state === 'connected', { what: `${id} is connected` });
	return { id, car };
}

// Started; `states` are those that it was in.
function startClient(at, settings = {}) {
	const states = new Record('the states of the client');
	const client = new Client({ url: at.socketUrl, WebSocket, token: async () => alice, onState: (state, resumed) => states.push({ state, resumed }), ...settings });
	client.start();
	atEnd(async () => client.stop());
	const until = (state, from = 0) => states.until((item) => item.state === state, { from, ms: 30_000, what: `it is ${state}` });
	return { client, states, until };
}

// Takes what comes until the loop ends; `ended` says how.
function collect(sights) {
	const seen = new Record('what was watched');
	const ended = (async () => {
		for await (const sight of sights) seen.push(sight);
	})();
	ended.catch(() => {});
	return { seen, ended };
}

const eventsOf = ({ seen }) => seen.items.flatMap(({ event }) => event ?? []);
const isEnd = (id) => ({ event }) => event?.type === 'command.updated' && event.data.id === id && event.data.status === 'succeeded';
const commandsOf = async (id) => (await rest(node, 'GET', `/v1/vehicles/${id}/commands`, { token: alice })).body.items;

function assertNoHole(watched) {
	const [{ vehicle: first }] = watched.seen.items;
	assert.deepEqual(eventsOf(watched).map(({ seq }) => seq), eventsOf(watched).map((_, i) => first.seq + 1 + i));
	assert.equal(watched.seen.items.filter((sight) => sight.vehicle).length, 1, 'it never began anew');
}

// ---- the package

test('what is packed is what is needed, and nothing is wrong with it', once, async () => {
	const installed = join(home, 'node_modules/keyfob-client');
	const files = readdirSync(installed, { recursive: true }).filter((name) => name.includes('.'));
	for (const name of files) assert.match(name, /^(package\.json|README\.md|dist\/[a-z]+\.(d\.ts|js))$/);
	assert.ok(files.includes('README.md') && files.includes('dist/index.js') && files.includes('dist/index.d.ts'), files.join());
	assert.equal(JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')).dependencies, undefined);
	await run('node', [join(web, 'node_modules/publint/src/cli.js'), 'run', installed, '--strict', '--pack', 'false']);
});

test('its types are right for Node and for bundlers, with and without the DOM', once, async () => {
	const use = `import { Client, type Command, type FleetSight, ProblemError, Rest, type Vehicle, type WebSocketClass } from 'keyfob-client';
		const client = new Client({ url: 'wss://gateway.example/v1/ws', token: async (fresh: boolean) => String(fresh), WebSocket: ws });
		export async function use(): Promise<Command> {
			for await (const { vehicle, event } of client.watch('CAR1')) {
				if (event?.type === 'command.updated') return event.data;
				if (event?.type === 'connectivity.changed' && event.data.state === 'connected') break;
				// @ts-expect-error it is one of the two
				const both: Vehicle = vehicle;
				void both;
			}
			for await (const sight of client.watchFleet('*', { signal })) void (sight satisfies FleetSight);
			const sending = client.send('CAR1', { name: 'doors.unlock', params: { door: 'all' } }, { key: 'k', withinMs: 1000 });
			for await (const { status } of sending) if (status === 'succeeded') break;
			// @ts-expect-error a command has a name
			client.send('CAR1', {});
			for await (const page of new Rest('https://gateway.example', async () => '').pages<Vehicle>('/v1/vehicles')) void page[0]?.connectivity.since;
			return client.cancel('CAR1', 'x').catch((error: unknown) => {
				if (error instanceof ProblemError && error.problem.user_message) throw new Error(error.problem.user_message);
				throw error;
			});
		}`;
	writeFileSync(join(home, 'node.ts'), `declare const ws: WebSocketClass;\nconst signal = undefined;\n${use}`);
	writeFileSync(join(home, 'page.ts'), `const ws: WebSocketClass = WebSocket;\nconst { signal } = new AbortController();\n${use}`);
	const tsc = join(web, 'node_modules/typescript/bin/tsc');
	const check = (name, ...more) => run('node', [tsc, '--noEmit', '--strict', '--target', 'es2022', '--typeRoots', join(home, 'none'), ...more, join(home, name)]);
	await Promise.all([
		check('node.ts', '--module', 'nodenext', '--lib', 'es2022', '--exactOptionalPropertyTypes'),
		check('page.ts', '--module', 'esnext', '--moduleResolution', 'bundler', '--lib', 'es2022,dom'),
	]);
});

// ---- commands

test('a command is a sequence of states', options, async () => {
	async function* handler() {
		yield { status: 'in_progress' };
		yield { status: 'succeeded', result: { doors: 'open' } };
	}
	const { id, car } = await ownCar({ handler });
	const { client } = startClient(node);
	const states = [];
	for await (const state of client.send(id, { name: 'doors.unlock', params: { door: 'all' } })) states.push(state);
	// A slow one says again that it is at it.
	assert.deepEqual([...new Set(states.map(({ status }) => status))], ['accepted', 'sent', 'in_progress', 'succeeded']);
	assert.deepEqual(states.at(-1).result, { doors: 'open' });
	const again = await client.send(id, { name: 'doors.unlock' }).outcome();
	assert.equal(again.status, 'succeeded');
	assert.equal((await client.command(id, again.id)).timeline[0].step, 'accepted');
	assert.deepEqual(car.executed, [states[0].id, again.id]);
});

test('what has not left is taken back, and what may have is not', options, async () => {
	const { client } = startClient(node);
	const away = await ownVehicle();
	const sending = client.send(away, { name: 'doors.unlock' });
	const { value } = await sending.next();
	assert.equal((await client.cancel(away, value.id)).status, 'canceled');
	assert.equal((await sending.outcome()).status, 'canceled');
	const { id } = await ownCar({ handler: () => null });
	for await (const { status, id: command } of client.send(id, { name: 'engine.start' }))
		if (status === 'sent') await assert.rejects(client.cancel(id, command), (error) => error instanceof ProblemError && error.name === 'command-already-sent');
		else if (status === 'timed_out') assert.equal((await client.command(id, command)).may_have_executed, true);
});

test('refusals are problems', options, async () => {
	const { client } = startClient(node);
	const id = await ownVehicle();
	const isProblem = (name) => (error) => error instanceof ProblemError && error.name === name;
	await assert.rejects(client.send(ids.at(-1), { name: 'doors.unlock' }).outcome(), isProblem('vehicle-not-found'));
	await assert.rejects(client.send(id, { name: 'doors.explode' }).outcome(), isProblem('unknown-command'));
	await assert.rejects(client.send(id, { name: 'immobiliser.release' }).outcome(), (error) => isProblem('step-up-required')(error) && error.maxAge === 300);
	await assert.rejects(client.watch(ids.at(-1)).next(), isProblem('vehicle-not-found'));
	const list = [];
	for await (const page of new Rest(node.url, async () => alice).pages('/v1/vehicles')) list.push(...page);
	assert.ok(list.some(({ vehicle_id }) => vehicle_id === id));
});

test('a send of which the answer was lost is done once', options, async () => {
	const { id, car } = await ownCar();
	const line = await startLine(node);
	const { client, until, states } = startClient(line);
	await until('online');
	line.mute();
	const sending = client.send(id, { name: 'doors.unlock' });
	await poll(() => car.executed.length, (count) => count === 1, { what: 'the vehicle has done it, and nobody knows' });
	const from = states.items.length;
	line.cut();
	line.flow();
	line.lead(two);
	const done = await sending.outcome();
	assert.equal(done.status, 'succeeded');
	await until('online', from);
	const other = startClient(node).client; // the app was closed meanwhile, and kept the key
	assert.equal((await other.send(id, { name: 'doors.unlock' }, { key: sending.key }).outcome()).id, done.id);
	assert.deepEqual(car.executed, [done.id]);
	assert.deepEqual((await commandsOf(id)).map((command) => command.id), [done.id]);
});

test('what could not be handed over in time is given up, and it is said whether it may have been', options, async () => {
	const { id, car } = await ownCar();
	const line = await startLine(node);
	const { client, until, states } = startClient(line);
	await until('online');
	line.mute();
	await assert.rejects(client.send(id, { name: 'horn.honk' }, { withinMs: 300 }).outcome(), { constructor: library.UnansweredError, mayHaveExecuted: true });
	const from = states.items.length;
	line.cut();
	line.flow();
	await until('waiting', from);
	await assert.rejects(client.send(id, { name: 'doors.unlock' }, { withinMs: 300 }).outcome(), { constructor: library.UnansweredError, mayHaveExecuted: false });
	const aborter = new AbortController();
	const sending = client.send(id, { name: 'doors.unlock' }, { signal: aborter.signal });
	aborter.abort();
	await assert.rejects(sending.next(), { name: 'AbortError' });
	line.lead(node);
	await until('online', states.items.length);
	await client.send(id, { name: 'doors.lock' }).outcome();
	assert.deepEqual((await commandsOf(id)).map(({ name }) => name).sort(), ['doors.lock', 'horn.honk']);
	assert.equal(car.executed.length, 2);
});

test('who may send and not see learns how it ended', options, async () => {
	const { id, car } = await ownCar();
	const sender = await token({ sub: 'alice', scope: 'commands:write' });
	const { client } = startClient(node, { token: async () => sender });
	const isForbidden = (error) => error instanceof ProblemError && error.name === 'forbidden';
	await assert.rejects(client.watch(id).next(), isForbidden);
	const done = await client.send(id, { name: 'doors.unlock' }).outcome();
	assert.equal(done.status, 'succeeded');
	assert.deepEqual(car.executed, [done.id]);
	const away = await ownVehicle();
	const states = collect(client.send(away, { name: 'doors.unlock' }));
	const { id: waiting } = await states.seen.until((state) => state.status);
	await client.cancel(away, waiting);
	await states.ended;
	assert.equal(states.seen.items.at(-1).status, 'canceled');
	const reader = await token({ sub: 'alice', scope: 'vehicles:read' });
	await assert.rejects(startClient(node, { token: async () => reader }).client.send(id, { name: 'doors.lock' }).outcome(), isForbidden);
});

// ---- following

test('what cannot be followed for now holds nothing else up', options, async () => {
	const strict = await startNode({ broker, database, config: { ...config, limits: { per_subject: '1/s' } } });
	const vehicles = [];
	while (vehicles.length < 4) vehicles.push(await ownVehicle());
	const watched = [];
	const begun = () => watched.filter(({ seen }) => seen.items.length > 0).length;
	let atOnline;
	const { client } = startClient(strict, { onState: (state) => state === 'online' && (atOnline = begun()) });
	for (const id of vehicles) watched.push(collect(client.watch(id)));
	await poll(() => begun(), (count) => count === vehicles.length, { ms: 30_000, what: 'all are followed' });
	assert.ok(atOnline < vehicles.length, `${atOnline} of them were followed when it was online`);
});

test('a node drains, another is killed: nothing is missed, nothing comes twice, and what was sent is done once', options, async () => {
	const { id, car } = await ownCar();
	const mortal = await startNode({ broker, database });
	const line = await startLine(mortal);
	const { client, until, states } = startClient(line);
	const watched = collect(client.watch(id));
	await watched.seen.until(({ vehicle }) => vehicle);
	await client.send(id, { name: 'horn.honk' }).outcome();

	// It says 1012 and ends.
	let from = states.items.length;
	line.lead(two);
	assert.equal((await mortal.stop()).code, 0);
	await sendCommand(node, alice, id, { name: 'horn.honk' }, { Prefer: 'wait=20' });
	assert.deepEqual((await until('online', from)).resumed, { recovered: 1, reloaded: 0, fleets: 0 });

	// It says nothing: while a command is under way, and one is sent to nobody.
	await mortal.start();
	from = states.items.length;
	line.cut();
	line.lead(mortal);
	await until('online', from);
	from = states.items.length;
	const underWay = client.send(id, { name: 'doors.unlock' });
	await underWay.next();
	await mortal.kill();
	await until('waiting', from);
	const toNobody = client.send(id, { name: 'doors.lock' });
	const { body: meanwhile } = await sendCommand(node, alice, id, { name: 'horn.honk' }, { Prefer: 'wait=20' });
	assert.equal(meanwhile.status, 'succeeded');
	await mortal.start();
	const sent = await Promise.all([underWay.outcome(), toNobody.outcome()]);
	assert.deepEqual(sent.map(({ status }) => status), ['succeeded', 'succeeded']);
	await watched.seen.until(isEnd(sent[1].id));
	assertNoHole(watched);
	assert.equal(new Set(car.executed).size, car.executed.length);
	assert.deepEqual([...car.executed].sort(), (await commandsOf(id)).map((command) => command.id).sort());
});

test('who is too slow is closed with 4408, and gets what is missing from the log', once, async () => {
	const { id, car } = await ownCar();
	const line = await startLine(node);
	const codes = new Record('close codes');
	class Listened extends WebSocket {
		constructor(...given) {
			super(...given);
			this.on('close', (code) => codes.push(code));
		}
	}
	const { client, until, states } = startClient(line, { WebSocket: Listened });
	const watched = collect(client.watch(id));
	await watched.seen.until(({ vehicle }) => vehicle);
	const from = states.items.length;
	line.mute();
	const reports = 150;
	const filler = 'x'.repeat(60_000);
	for (let i = 1; i <= reports; i++) await car.publish(`vehicles/${id}/state`, { version: i, state: { filler: filler + i } });
	const { body } = await poll(() => rest(node, 'GET', `/v1/vehicles/${id}`, { token: alice }), (answer) => answer.body.state.reported_version === reports, { ms: 30_000, what: 'all is reported' });
	line.flow();
	await codes.until((code) => code === 4408, { ms: 30_000 });
	await until('online', from);
	await watched.seen.until(({ event }) => event?.seq === body.seq, { ms: 30_000, what: 'the last event' });
	assertNoHole(watched);
});

test('a fleet is followed, and it is said where that began anew', options, async () => {
	await rest(node, 'PUT', '/v1/fleets/VANS', { token: admin, body: { title: 'Vans' } });
	const id = ids[used++];
	await registerVehicle(node, admin, id, { fleet_id: 'VANS' });
	const line = await startLine(node);
	const { client } = startClient(line, { token: async () => admin });
	const watched = collect(client.watchFleet('VANS'));
	await watched.seen.until(({ beginning }) => beginning === 'first');
	const first = await client.send(id, { name: 'horn.honk' }).next();
	await watched.seen.until(({ event }) => event?.data.id === first.value.id);
	line.cut();
	line.lead(two);
	await watched.seen.until(({ beginning }) => beginning === 'reloaded', { ms: 30_000 });
	const { value } = await client.send(id, { name: 'horn.honk' }).next();
	await watched.seen.until(({ event }) => event?.data.id === value.id);
	client.stop();
	await watched.ended;
});

test('who comes later to what is watched sees it as it is now, and then goes on', options, async () => {
	const { id, car } = await ownCar();
	const line = await startLine(node);
	const { client } = startClient(line);
	const early = collect(client.watch(id));
	await early.seen.until(({ vehicle }) => vehicle);
	await car.publish(`vehicles/${id}/state`, { version: 1, state: { doors: { locked: true } } });
	await early.seen.until(({ event }) => event?.type === 'state.reported');
	const late = collect(client.watch(id));
	assert.deepEqual((await late.seen.until(({ vehicle }) => vehicle)).vehicle.state.reported, { doors: { locked: true } });
	const done = await client.send(id, { name: 'horn.honk' }).outcome();
	for (const watched of [early, late]) await watched.seen.until(isEnd(done.id));
	line.cut();
	const { body: missed } = await sendCommand(node, alice, id, { name: 'horn.honk' }, { Prefer: 'wait=20' });
	line.lead(two);
	for (const watched of [early, late]) {
		await watched.seen.until(isEnd(missed.id), { ms: 30_000 });
		assertNoHole(watched);
	}
});

test('a right that ends, ends the watch', options, async () => {
	const id = await ownVehicle();
	await grant(node, alice, id, 'carol', 'driver');
	const carol = await token({ sub: 'carol' });
	const { client } = startClient(node, { token: async () => carol });
	const watched = collect(client.watch(id));
	await watched.seen.until(({ vehicle }) => vehicle);
	const waiting = client.send(id, { name: 'doors.unlock' });
	await waiting.next();
	await rest(node, 'DELETE', `/v1/vehicles/${id}/grants/carol`, { token: alice });
	await assert.rejects(watched.ended, library.AccessEndedError);
	// What had not left was taken back; whether that was still told before the end is a matter of the moment.
	const end = await waiting.outcome().then(({ reason }) => reason.code, (error) => error.constructor.name);
	assert.ok(['ACCESS_REVOKED', 'AccessEndedError'].includes(end), end);
});

// ---- being signed in

test('a token is renewed on the open connection, and a refused one before the next', options, async () => {
	const given = [];
	const expired = await token({ sub: 'alice', expiresIn: -60 });
	const give = async (fresh) => {
		given.push(fresh);
		return given.length === 1 ? expired : token({ sub: 'alice', expiresIn: fresh && given.length === 2 ? 2 : 3600 });
	};
	const authenticated = [];
	let opened = 0;
	class Listened extends WebSocket {
		constructor(...more) {
			super(...more);
			opened++;
		}
		send(text) {
			if (text.includes('session.authenticate')) authenticated.push(opened);
			super.send(text);
		}
	}
	const { until, states } = startClient(node, { WebSocket: Listened, token: give });
	await until('online');
	await poll(() => authenticated.length, (count) => count === 3, { what: 'the connection goes on under another token' });
	assert.deepEqual(given, [false, true, true]);
	assert.deepEqual(authenticated, [1, 2, 2]);
	assert.equal(states.items.at(-1).state, 'online');
});

test('where nobody is signed in any more, all that was asked for ends', options, async () => {
	const id = await ownVehicle();
	let isIn = true;
	const line = await startLine(node);
	const { client, until } = startClient(line, {
		token: async () => {
			if (isIn) return alice;
			throw new library.SignedOutError();
		},
	});
	const watched = collect(client.watch(id));
	await watched.seen.until(({ vehicle }) => vehicle);
	isIn = false;
	line.cut();
	line.lead(node);
	await until('signed-out');
	await assert.rejects(watched.ended, library.SignedOutError);
	await assert.rejects(client.send(id, { name: 'horn.honk' }).outcome(), library.SignedOutError);
	await assert.rejects(client.vehicle(id), library.SignedOutError);
});
