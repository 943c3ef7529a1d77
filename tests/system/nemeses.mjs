// nemeses.mjs - what breaks in a whole installation: one thing after the other, as a seed has it, and from when until when.
import { setTimeout as pause } from 'node:timers/promises';
import mqtt from 'mqtt';
import { atEnd } from './children.mjs';
import { gatewayPassword } from './servers.mjs';

// One of the parts `of` breaks; it is left alone until it is mended, when `breaks` resolves, to when that began if it takes a while. Of nodes
// one is always whole.
const faults = [
	{
		name: 'a node killed',
		of: wholeNodes,
		breaks: async (node, { random }) => {
			await node.kill();
			await pause(random.between(0, 2000));
			await node.start(false);
		},
	},
	{ name: 'a node frozen for longer than its lease', of: wholeNodes, breaks: (node, { random }) => freeze(node, random.between(5500, 7500)) },
	{ name: 'a node frozen for half a minute', of: wholeNodes, breaks: (node) => freeze(node, 30_000) },
	{
		name: 'a node told to end',
		of: wholeNodes,
		breaks: async (node) => {
			await node.stop();
			await node.start(false);
		},
	},
	{
		name: "a node's clock an hour wrong",
		of: (world) => wholeNodes(world).filter((node) => node.clock),
		breaks: async (node, { random }) => {
			node.clock.set(random.pick(['+3600', '-3600']));
			await pause(random.between(3000, 6000));
			node.clock.set('+0');
		},
	},
	...['broker', 'database'].flatMap((what) => [
		{ name: `a node cut off from the ${what}`, of: wholeNodes, breaks: (node, { random }) => cut(node.lines[what], random.between(500, 4000)) },
		{ name: `a node that does not hear the ${what}`, of: wholeNodes, breaks: (node, { random }) => still(node.lines[what], 'mute', random.between(2000, 6000)) },
		{ name: `a node that the ${what} does not hear`, of: wholeNodes, breaks: (node, { random }) => still(node.lines[what], 'deafen', random.between(2000, 6000)) },
	]),
	{
		name: 'the broker killed',
		of: ({ broker }) => [broker],
		breaks: async (broker, { random }) => {
			await broker.kill();
			await pause(random.between(0, 1500));
			await broker.start();
		},
	},
	{
		name: 'the broker restarted',
		of: ({ broker }) => [broker],
		breaks: async (broker, { random }) => {
			await broker.stop();
			await pause(random.between(0, 1500));
			await broker.start();
		},
	},
	{ name: 'the broker frozen', of: ({ broker }) => [broker], breaks: (broker, { random }) => freeze(broker.child, random.between(1000, 4000)) },
	{
		name: 'the database away',
		of: ({ database }) => [database],
		breaks: async (database, { random }) => {
			await database.halt();
			await pause(random.between(3500, 5500)); // longer than a node may be unaware of it
			const mending = Date.now();
			await database.resume();
			return mending;
		},
	},
	{
		name: 'the database killed',
		of: ({ database }) => [database],
		breaks: async ({ server }, { random }) => {
			await server.kill();
			await pause(random.between(0, 4000));
			const mending = Date.now();
			await server.start();
			return mending;
		},
	},
	{
		name: 'the database restarted',
		of: ({ database }) => [database],
		breaks: async ({ server }, { random }) => {
			await server.stop();
			await pause(random.between(0, 2000));
			await server.start();
		},
	},
	{
		name: 'the disk of the database full',
		of: ({ database }) => [database],
		breaks: async (database, { random }) => {
			await database.sql('update disk set is_full = true');
			await pause(random.between(1000, 4000));
			await database.sql('update disk set is_full = false');
		},
	},
	...[
		['down', { status: 503 }],
		['throttling', { status: 429 }],
		['breaking off', { status: 0 }],
	].map(([how, answer]) => ({
		name: `the SMS provider ${how}`,
		of: ({ sms }) => [sms],
		breaks: async (sms, { random }) => {
			const { answer: before } = sms;
			sms.answer = () => answer;
			await pause(random.between(3000, 8000));
			sms.answer = before;
		},
	})),
	{ name: 'lifecycle events told twice and in another order', of: ({ teller }) => [teller], breaks: (teller, { random }) => teller.tellAgain(random) },
	{ name: 'vehicles cut off', of: ({ cars }) => [cars], breaks: async (cars, { random }) => cars.forEach((one) => random.chance(0.4) && one.cut()) },
	{ name: 'vehicles frozen', of: ({ herd }) => [herd], breaks: (herd, { random }) => freeze(herd, random.between(3000, 9000)) },
	{
		// What another was asked, answered on the liar's own topic.
		name: 'a vehicle lying',
		of: ({ cars }) => [cars],
		breaks: async (cars, { random }) => {
			const liar = random.pick(cars);
			for (const { requests } of cars.filter((one) => one !== liar))
				for (const { request_id } of requests.items.slice(-3)) {
					const answer = { request_id, status: 'failed', reason: { code: 'LIE' } };
					await liar.publish(`vehicles/${liar.id}/commands/response/${liar.feed}`, answer).catch(() => {}); // it may be away
				}
		},
	},
	{
		// Before their answers to requests that are still open, until there were some; and for reports of their states.
		name: 'vehicles sending poison',
		of: ({ cars }) => [cars],
		breaks: async (cars, { random }) => {
			const send = (one, topic, payloads) => payloads.forEach((payload) => one.publish(topic, payload).catch(() => {})); // it may be away
			const honest = cars.map(({ handler }) => handler);
			let asked = 0;
			cars.forEach((one, i) => {
				one.handler = (request) => {
					asked++;
					send(one, request.response_topic, poisonedAnswers(request.request_id));
					return honest[i](request, one);
				};
			});
			for (let i = 0; i < 3 || (asked < 8 && i < 15); i++) {
				const one = random.pick(cars);
				send(one, `vehicles/${one.id}/state/${one.feed}`, poisonedReports);
				await pause(random.between(700, 1300));
			}
			cars.forEach((one, i) => (one.handler = honest[i]));
		},
	},
	{
		// As long as a wait for its return, or shorter: some of its absences are noticed.
		name: 'a vehicle flapping',
		of: ({ cars }) => [cars],
		breaks: async (cars, { random }) => {
			const one = random.pick(cars);
			for (let i = 0; i < 20; i++) {
				await one.disconnect({ force: true });
				await pause(random.between(300, 900));
				one.connect().catch(() => {}); // the broker may be away: it comes when that is back
				await pause(random.between(50, 300));
			}
		},
	},
	{ name: 'apps cut off', of: ({ apps }) => [apps], breaks: async (apps, { random, renters }) => [...apps, ...renters].forEach((app) => random.chance(0.7) && app.socket.close()) },
	{
		name: 'an app that does not read',
		of: ({ apps }) => apps,
		breaks: async (app, { random }) => {
			const { ws } = app.socket;
			ws.pause();
			await pause(random.between(2000, 8000));
			ws.resume();
		},
	},
];

export const names = faults.map(({ name }) => name);

// ---- how

function wholeNodes({ nodes, broken }) {
	const whole = nodes.filter((node) => !broken.has(node));
	return whole.length > 1 ? whole : [];
}

async function freeze(child, ms) {
	await child.freeze();
	await pause(ms);
	child.thaw();
}

async function cut(line, ms) {
	line.cut();
	await pause(ms);
	line.lead(line.end);
}

async function still(line, how, ms) {
	line[how]();
	await pause(ms);
	line.flow();
}

// What no answer to a request may be, though it names one: were any of it taken, the command would be `failed`, which no vehicle says here.
function poisonedAnswers(id) {
	const failed = (more) => `{"request_id":"${id}","status":"failed",${more}}`;
	const texts = ['', '{', '[]', failed('"result":NaN'), failed('"status":"rejected"'), failed('"result":{"a":1,"a":2}'), failed(`"result":${'['.repeat(5000)}${']'.repeat(5000)}`)];
	texts.push(failed('"state":[]'), failed('"state":{"poison":1},"state_version":"8"'), failed('"reason":{"code":7}'), failed('"result":"\\u0000"'), `{"request_id":"${id}","status":7}`);
	return [...texts, Buffer.from(failed('"result":"\xc3("'), 'latin1'), Buffer.from([0xff, 0xfe])];
}

// Nor a report of a state: it would have `poison` in it.
const poisonedReports = ['', '7', '{', '[{"poison":1}]', '{"poison":NaN}', '{"poison":1,"poison":2}', '{"version":"x","state":{"poison":1}}', '{"version":1.5,"state":{"poison":1}}', `{"poison":${'['.repeat(5000)}${']'.repeat(5000)}}`];
poisonedReports.push(Buffer.from('{"poison":"\xc3("}', 'latin1'), Buffer.from([0xff, 0xfe]));

// ---- what the broker's plugin tells of comings and goings, written down, and told again: more than once, and in another order

// The last ones, and the last ends: a session has three at least and one end, so of nobody more sessions than a node remembers.
const mostTold = { all: 60, ends: 12 };

// `below` is where the broker's bridge takes it from, for no client may publish where the plugin does: { from: `${below}/`, to: '$aws/events/' }.
export async function startTeller(broker, below) {
	const told = new Map(); // each once, in the order in which it came first
	const client = mqtt.connect(broker.url, { clientId: 'keyfob-teller', username: 'keyfob', password: gatewayPassword, protocolVersion: 5, reconnectPeriod: 200, resubscribe: false });
	client.on('error', () => {});
	const teller = { repeats: 0 }; // what came again
	client.on('message', (topic, payload) => {
		const key = `${topic} ${payload}`;
		if (told.has(key)) teller.repeats++;
		told.set(key, { topic: topic.replace('$aws/events', below), payload });
	});
	const subscribed = new Promise((resolve) => {
		client.on('connect', () => client.subscribeAsync(['$aws/events/presence/#', '$aws/events/subscriptions/#'], { qos: 1 }).then(resolve, () => {}));
	});
	atEnd(() => client.endAsync(true));
	await subscribed;
	return Object.assign(teller, {
		tellAgain: async (random) => {
			const all = [...told.values()];
			const ends = all.filter(({ topic }) => topic.includes('/disconnected/'));
			const last = new Set([...all.slice(-mostTold.all), ...ends.slice(-mostTold.ends)]);
			const again = [...last].flatMap((one) => Array(random.between(1, 2)).fill(one));
			again.sort(() => random.next() - 0.5);
			await Promise.all(again.map(({ topic, payload }) => client.publishAsync(topic, payload, { qos: 1 })));
		},
	});
}

// ---- when

// Until `end`; then everything is mended. What broke: { name, part, from, mending, to }, times of Date.now(); `part` is a node's, a server's or an
// app's name.
export async function breakThings(world, end, gap) {
	const { random } = world;
	const under = [];
	let left = [];
	world.broken = new Set();
	while (Date.now() < end) {
		await pause(random.between(...gap));
		// Each kind once, before any comes again; one of which nothing is whole waits its turn.
		if (left.length === 0) left = [...faults].sort(() => random.next() - 0.5);
		const next = left.findIndex((fault) => wholeOf(fault, world).length > 0);
		if (next < 0) continue;
		const mended = breakOne(left.splice(next, 1)[0], world);
		mended.catch(() => {}); // said below
		under.push(mended);
	}
	await Promise.allSettled(under); // whatever failed: nothing is begun again after the test
	return Promise.all(under);
}

const wholeOf = ({ of }, world) => of(world).filter((part) => !world.broken.has(part));

async function breakOne(fault, world) {
	const part = world.random.pick(wholeOf(fault, world));
	const from = Date.now();
	world.broken.add(part);
	const mending = await fault.breaks(part, world);
	world.broken.delete(part);
	const to = Date.now();
	return { name: fault.name, part: part.name ?? part.subject, from, mending: mending ?? to, to };
}
