// torture.test.mjs - one call after the other fails, in a node that does its work: memory, the wire, descriptors, libraries. Every
// time the node goes on, or ends itself for want of memory and goes on when it is started again; nothing is lost or done twice.
//
// What is counted first is how many calls a turn makes; then turns are made in which number 1, 2, 3 … fails. In each run a sample
// of them, by a seed (KEYFOB_SEED repeats it); with --long all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atEnd } from './children.mjs';
import { adminToken, connectVehicle, isLong, isSanitized, openSocket, poll, registerVehicle, rest, startInstallation, token, vehicle, vehicleIds } from './harness.mjs';
import { randomFrom } from './histories.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { startReceiver } from './receiver.mjs';
import { startSmsServer } from './sms.mjs';
import { Follower, judge, sendSurely, untilConnected, untilSettled } from './stream.mjs';
import { Torture, troubles } from './torture.mjs';
import { assertBoundedWakeups } from './truth.mjs';

const seed = Number(process.env.KEYFOB_SEED ?? Date.now() % 1_000_000);
const random = randomFrom(seed);
const admin = await token({ sub: 'admin', scope: 'vehicles:read commands:write keyfob:admin', expiresIn: 36_000 }); // all of them take hours
const all = vehicleIds(43);
const own = all.slice(0, 2); // they are there
const asleep = all.slice(2, -1); // they come for an SMS, and sleep again when they have answered: as many as a fast machine needs, for who changes more than 15 times in a minute is woken no more
const absent = all.at(-1); // it never comes
const torture = new Torture();
const promises = new Promises();
const patience = 30_000; // for one thing of a turn, a new start and all
const patienceAwake = patience + 30_000; // what became of an SMS whose sender died is looked at after 30 s
const receiver = await startReceiver();
const apart = 1; // seconds between two SMS to one vehicle
const sms = await startSmsServer('the provider', (request) => {
	request.taken = true;
	wakeUp(JSON.parse(request.body).id);
	return { status: 201, body: '{}' };
});
const { broker, database, node } = await startInstallation({
	ids: all,
	failpoints: torture,
	config: {
		node: { workers: 1 },
		lifecycle: { verify_delay: '200ms', return_delay: '500ms' }, // while a fleet may return nobody is woken
		webhooks: { anywhere: true, retry_first: '100ms', retry_max: '1s' },
		wake: {
			providers: ['http'],
			min_interval: `${apart}s`,
			max_attempts: 10,
			daily_budget: 10_000,
			http: { url: `${sms.url}/send/{msisdn}`, body: '{"id":"{vehicle_id}","ref":"{wakeup_id}"}' },
		},
		log: { level: 'info' },
	},
});
const parts = {};


test('a node, vehicles, an app, a webhook', { timeout: 60_000 }, async () => {
	for (const [i, id] of all.entries()) await registerVehicle(node, admin, id, asleep.includes(id) ? { msisdn: `+49155512350${String(i).padStart(2, '0')}` } : {});
	parts.vehicles = await Promise.all(own.map((id) => connectVehicle(broker, { id, resendMs: 500 })));
	parts.sleepers = asleep.map((id) => vehicle(broker, { id, resendMs: 500 }));
	await untilConnected(node, admin, own);
	parts.app = new Follower([node], admin);
	await parts.app.follow(all);
	const { status, body } = await rest(node, 'POST', '/v1/webhooks', { token: admin, body: { url: `${receiver.url}/hook`, vehicle_ids: all } });
	assert.equal(status, 201, JSON.stringify(body));
});

// ---- a turn with who is there: an app comes, a vehicle comes back, a command goes, a state is wished for; each asks until it is told

const answers = new Map(); // what was said where it was not done -> how often

function onTrouble(answer) {
	const problem = answer?.data ?? answer?.body ?? {}; // by WebSocket, by REST
	const status = answer?.status ?? problem.status;
	const what = status ? `${status} ${problem.type ?? ''}`.trim() : 'no answer';
	answers.set(what, (answers.get(what) ?? 0) + 1);
	if (status) assert.equal(status, 503, JSON.stringify(problem));
}

async function surely(ask, is) {
	const end = Date.now() + patience;
	for (;;) {
		const answer = await ask().catch((error) => error);
		if (is(answer)) return answer;
		onTrouble(answer);
		assert.ok(Date.now() < end, `${ask} was not done in ${patience} ms: ${answer.status ?? answer}`);
		await new Promise((next) => setTimeout(next, 50));
	}
}

async function watch(id, token) {
	const socket = await openSocket(node, { token });
	try {
		await socket.call('vehicle.subscribe', { vehicle_id: id });
		return true;
	} finally {
		socket.close();
	}
}

let turns = 0;

async function near() {
	const number = ++turns;
	const id = own[number % own.length];
	if (number % 4 === 0) parts.vehicles[number % own.length].cut();
	const unseen = await adminToken(`admin-${number}`); // whose signature is looked at
	await surely(() => watch(id, unseen), (done) => done === true);
	const command = await sendSurely([node], admin, promises, id, `turn-${number}`, { name: 'horn.honk', ttl_seconds: 120 }, { onTrouble });
	const wish = () => rest(node, 'PATCH', `/v1/vehicles/${id}/state`, { token: admin, body: { climate: { temperature_c: number } } });
	await surely(wish, ({ status }) => status === 200);
	await untilSettled(node, admin, [command], { ms: patience, is: 'succeeded' });
}

// ---- a turn with who is away: a grant comes and goes, a command with it, another is taken back, and a third wakes its vehicle

function wakeUp(id) {
	const sleeper = parts.sleepers.find((one) => one.id === id);
	if (sleeper.isAwake) return;
	sleeper.isAwake = true;
	sleeper.connect().catch(() => {}); // it tries until it is there
}

async function fallAsleep(sleeper) {
	await sleeper.disconnect();
	const isAway = (answer) => answer?.body.connectivity?.state === 'disconnected';
	await poll(() => rest(node, 'GET', `/v1/vehicles/${sleeper.id}`, { token: admin }).catch(() => null), isAway, { ms: patience, what: `${sleeper.id} is away` });
	sleeper.isAwake = false;
}

// It is over when it was told that it has no right any more, or is cut off.
async function watchUntilRefused(id, guest) {
	const socket = await openSocket(node, { token: guest });
	const eyes = { isOver: false };
	socket.ws.on('message', (data) => (eyes.isOver ||= JSON.parse(data).params?.type === 'access.changed'));
	socket.closed.then(() => (eyes.isOver = true));
	await socket.call('vehicle.subscribe', { vehicle_id: id }).catch((error) => {
		socket.close();
		throw error;
	});
	return Object.assign(eyes, { socket });
}

async function far() {
	const number = ++turns;
	const sleeper = parts.sleepers[number % asleep.length];
	const guest = await token({ sub: `guest-${number}` });
	const right = `/v1/vehicles/${absent}/grants/guest-${number}`;
	await surely(() => rest(node, 'PUT', right, { token: admin, body: { role: 'driver', expires_at: null } }), ({ status }) => [200, 201].includes(status));
	const eyes = await surely(() => watchUntilRefused(absent, guest), ({ socket }) => socket);
	const waits = { name: 'horn.honk', ttl_seconds: 120, wake: false };
	const his = await sendSurely([node], guest, promises, absent, `far-${number}-his`, waits, { onTrouble });
	const ours = await sendSurely([node], admin, promises, absent, `far-${number}-ours`, waits, { onTrouble });
	await surely(() => rest(node, 'POST', `/v1/vehicles/${absent}/commands/${ours.id}/cancel`, { token: admin }), ({ status }) => status === 200);
	await surely(() => rest(node, 'DELETE', right, { token: admin }), ({ status }) => [204, 404].includes(status)); // 404: it was done, and not told
	await poll(() => eyes.isOver, Boolean, { ms: patience, what: 'whoever has no right any more watches no more' });
	eyes.socket.close();
	await untilSettled(node, admin, [his, ours], { ms: patience, is: 'canceled' });
	const command = await sendSurely([node], admin, promises, sleeper.id, `far-${number}`, { name: 'horn.honk', ttl_seconds: 120, wake: true }, { onTrouble });
	await untilSettled(node, admin, [command], { ms: patienceAwake, is: 'succeeded' });
	await fallAsleep(sleeper);
}

// ---- the node's deaths: for want of memory alone, by one line; then it is started again

const deaths = new Map(); // the function that had none -> how often
let mayDie = false;

async function lookAfter() {
	for (;;) {
		const { child } = node;
		child.isExpectedToEnd = true; // judged here
		parts.isStarted = true;
		const logged = child.logText().length;
		const exit = await child.exited;
		if (parts.isOver) return;
		const said = child.logText().slice(logged);
		assert.ok(mayDie && exit.signal === 'SIGABRT', `it ended with ${JSON.stringify(exit)} at number ${parts.number}, ${torture.where} (seed ${seed}): ${child.log}\n${said.slice(-2000)}`);
		assert.match(said, /out of memory|no memory|not enough memory/);
		deaths.set(torture.where, (deaths.get(torture.where) ?? 0) + 1);
		torture.disarm();
		parts.isStarted = false;
		await database.sql('update leases set expires_at = clock_timestamp() where expires_at > clock_timestamp()'); // failpoints.test.mjs waits for that
		await node.start();
	}
}

const looking = lookAfter();
looking.catch((error) => (parts.wrong = error));
atEnd(() => (parts.isOver = true));

const counts = new Map();

// Fewer calls than these make no turn: then it is not the node's calls that are counted.
const fewest = { memory: 500, wire: 50, descriptor: 1, library: 50 };

// How many calls a turn makes: the most of four, since no two are alike, and in one of them a vehicle comes back. Of calls that are to
// be done in part there are fewer than of others.
async function countCalls(turn, kind, trouble) {
	const what = `${turn.name} ${trouble === 'short' ? trouble : kind}`;
	if (counts.has(what)) return counts.get(what);
	let most = 0;
	for (let i = 0; i < 4; i++) {
		torture.arm(kind, 0, trouble);
		await turn();
		most = Math.max(most, torture.disarm());
	}
	assert.ok(most >= fewest[kind], `a turn made ${most} calls (${what})`);
	counts.set(what, most);
	return most;
}

function chosen(count, wanted) {
	const numbers = Array.from({ length: count }, (_, i) => i + 1);
	return isLong ? numbers : numbers.sort(() => random.next() - 0.5).slice(0, wanted);
}

// That it is ready is heard here before lookAfter() hears it, and a node is not to end before somebody expects it.
const untilReady = () => poll(async () => (await node.isReady()) && parts.isStarted, Boolean, { ms: patience, what: 'the node is ready' });

async function torment(t, turn, kind, wanted, trouble) {
	const count = await countCalls(turn, kind, trouble);
	const begun = Date.now();
	const hit = new Map();
	mayDie = ['memory', 'library'].includes(kind); // a library may have none as well
	const numbers = chosen(count, wanted);
	for (const number of numbers) {
		await untilReady(); // it may have ended when the turn was over
		parts.number = number;
		torture.arm(kind, number, trouble);
		// Not every turn makes as many calls as the one that made most; the next ones go on counting.
		for (let tries = 0; torture.where === '' && tries < 32; tries++)
			await turn().catch((error) => {
				throw parts.wrong ?? new Error(`number ${number} of ${kind}, ${torture.where} ${trouble ?? ''} (seed ${seed}): ${error.message}`);
			});
		torture.disarm();
		if (parts.wrong) throw parts.wrong;
		assert.notEqual(torture.where, '', `number ${number} of ${kind} was never called (seed ${seed})`);
		hit.set(torture.where, (hit.get(torture.where) ?? 0) + 1);
	}
	await untilReady();
	mayDie = false;
	const list = (map) => [...map].map(([name, times]) => `${times} ${name}`).join(', ');
	t.diagnostic(`a turn makes ${count} calls; ${numbers.length} failed in ${Date.now() - begun} ms (${list(hit)})`);
}

const options = { timeout: isLong ? 14_000_000 : 300_000 };

for (const [turn, wanted] of [
	[near, { memory: 4, wire: 5, descriptor: 3, library: 8 }],
	[far, { memory: 3, wire: 2, descriptor: 3, library: 8 }],
]) {
	const whose = turn === near ? 'who is there' : 'who is away';
	test(`${whose}: no memory`, { ...options, skip: isSanitized && 'there it is the sanitizer that gives it' }, async (t) => {
		deaths.clear();
		await torment(t, turn, 'memory', wanted.memory);
		t.diagnostic(`it ended itself ${[...deaths.values()].reduce((sum, one) => sum + one, 0)} times (${[...deaths.keys()].join(', ')})`);
	});
	for (const trouble of Object.keys(troubles)) test(`${whose}: the wire: ${trouble}`, options, (t) => torment(t, turn, 'wire', wanted.wire, trouble));
	test(`${whose}: no descriptor`, options, (t) => torment(t, turn, 'descriptor', wanted.descriptor));
	test(`${whose}: a library does not do it`, options, (t) => torment(t, turn, 'library', wanted.library));
}

test('over all of it nothing was lost, nothing done twice, and the app saw everything', { timeout: 120_000 }, async (t) => {
	const commands = await judge(node, admin, promises, [...parts.vehicles, ...parts.sleepers, vehicle(broker, { id: absent })]);
	for (const { id, vehicle_id, status, reason, issued_by } of commands)
		if (vehicle_id === absent) assert.deepEqual([status, reason.code], ['canceled', issued_by === 'admin' ? 'CANCELED' : 'ACCESS_REVOKED'], id);
		else assert.equal(status, 'succeeded', id);
	const woken = await assertBoundedWakeups(database, sms, apart);
	await parts.app.assertWhole(node, patience);
	for (const { events } of parts.app.seen.values())
		if (!events.some(({ data }) => data.reason === 'UNSTABLE')) assertConnectivity(events); // else not every change was told
	const done = new Set(commands.filter(({ status }) => status === 'succeeded').map(({ id }) => id));
	await poll(
		() => new Set(receiver.deliveries.items.filter(({ event }) => event.data?.status === 'succeeded' && done.has(event.data.id)).map(({ event }) => event.data.id)).size,
		(count) => count === done.size,
		{ ms: 60_000, what: 'the webhook was told of every one' },
	);
	t.diagnostic(`${commands.length} commands, ${woken} SMS; where something was not done: ${[...answers].map(([what, times]) => `${times} ${what}`).join(', ')}`);
	parts.isOver = true;
});
