// torture.test.mjs - one call after the other fails, in a node that does its work: memory, the wire, descriptors, libraries. Every
// time the node goes on, or ends itself for want of memory and goes on when it is started again; nothing is lost or done twice.
//
// What is counted first is how many calls a turn makes; then turns are made in which number 1, 2, 3 … fails. In each run a sample
// of them, by a seed (KEYFOB_SEED repeats it); with --long all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atEnd } from './children.mjs';
import { adminToken, connectVehicle, isLong, isSanitized, openSocket, poll, registerVehicle, rest, startInstallation, vehicleIds } from './harness.mjs';
import { randomFrom } from './histories.mjs';
import { assertConnectivity, Promises } from './oracle.mjs';
import { startReceiver } from './receiver.mjs';
import { Follower, judge, sendSurely, untilConnected, untilSettled } from './stream.mjs';
import { Torture, troubles } from './torture.mjs';

const seed = Number(process.env.KEYFOB_SEED ?? Date.now() % 1_000_000);
const random = randomFrom(seed);
const admin = await adminToken();
const own = vehicleIds(2);
const torture = new Torture();
const promises = new Promises();
const patience = 30_000; // for one turn, a new start and all
const receiver = await startReceiver();
const { broker, database, node } = await startInstallation({
	ids: own,
	failpoints: torture,
	config: { node: { workers: 1 }, webhooks: { anywhere: true, retry_first: '100ms', retry_max: '1s' }, log: { level: 'info' } },
});
const parts = {};

test('a node, two vehicles, an app, a webhook', { timeout: 60_000 }, async () => {
	for (const id of own) await registerVehicle(node, admin, id);
	parts.vehicles = await Promise.all(own.map((id) => connectVehicle(broker, { id, resendMs: 500 })));
	await untilConnected(node, admin, own);
	parts.app = new Follower([node], admin);
	await parts.app.follow(own);
	const { status, body } = await rest(node, 'POST', '/v1/webhooks', { token: admin, body: { url: `${receiver.url}/hook`, vehicle_ids: own } });
	assert.equal(status, 201, JSON.stringify(body));
});

// ---- one turn: an app comes, a vehicle comes back, a command goes, a state is wished for; each asks until it is told

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

async function turn() {
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
		assert.match(said, /out of memory|no memory/);
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
async function countCalls(kind, trouble) {
	const what = trouble === 'short' ? trouble : kind;
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
	const all = Array.from({ length: count }, (_, i) => i + 1);
	return isLong ? all : all.sort(() => random.next() - 0.5).slice(0, wanted);
}

// That it is ready is heard here before lookAfter() hears it, and a node is not to end before somebody expects it.
const untilReady = () => poll(async () => (await node.isReady()) && parts.isStarted, Boolean, { ms: patience, what: 'the node is ready' });

async function torment(t, kind, wanted, trouble) {
	const count = await countCalls(kind, trouble);
	const begun = Date.now();
	const hit = new Map();
	mayDie = kind === 'memory';
	const numbers = chosen(count, wanted);
	for (const number of numbers) {
		await untilReady(); // it may have ended when the turn was over
		parts.number = number;
		torture.arm(kind, number, trouble);
		// Not every turn makes as many calls as the one that made most; the next ones go on counting.
		for (let tries = 0; torture.where === '' && tries < 32; tries++)
			await turn().catch((error) => {
				throw parts.wrong ?? new Error(`number ${number} of ${kind}, ${torture.where} ${trouble ?? ''} (seed ${seed})`, { cause: error });
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

test('no memory', { ...options, skip: isSanitized && 'there it is the sanitizer that gives it' }, async (t) => {
	await torment(t, 'memory', 4);
	t.diagnostic(`it ended itself ${[...deaths.values()].reduce((all, one) => all + one, 0)} times (${[...deaths.keys()].join(', ')})`);
});
for (const trouble of Object.keys(troubles)) test(`the wire: ${trouble}`, options, (t) => torment(t, 'wire', 5, trouble));
test('no descriptor', options, (t) => torment(t, 'descriptor', 3));
test('a library does not do it', options, (t) => torment(t, 'library', 8));

test('over all of it nothing was lost, nothing done twice, and the app saw everything', { timeout: 120_000 }, async (t) => {
	const commands = await judge(node, admin, promises, parts.vehicles);
	assert.ok(commands.every(({ status }) => status === 'succeeded'));
	await parts.app.assertWhole(node, patience);
	for (const { events } of parts.app.seen.values())
		if (!events.some(({ data }) => data.reason === 'UNSTABLE')) assertConnectivity(events); // else not every change was told
	const done = new Set(commands.map(({ id }) => id));
	await poll(
		() => new Set(receiver.deliveries.items.filter(({ event }) => event.data?.status === 'succeeded' && done.has(event.data.id)).map(({ event }) => event.data.id)).size,
		(count) => count === done.size,
		{ ms: 60_000, what: 'the webhook was told of every one' },
	);
	t.diagnostic(`${commands.length} commands; where something was not done: ${[...answers].map(([what, times]) => `${times} ${what}`).join(', ')}`);
	parts.isOver = true;
});
