// guides.test.mjs - docs/ as a reader takes it: what stands in grey boxes is run, the examples are built and driven, links lead somewhere.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { atEnd, Child, freePort } from './children.mjs';
import { startExample } from './examples.mjs';
import {
	adminToken, build, feedOf, folder, gatewayPassword, isSanitized, poll, Record, Reference, registerVehicle, rest, run, sendCommand, startInstallation, vehicleIds,
} from './harness.mjs';
import { blocksOf, hasAnchor, linksOf, root } from './pages.mjs';

const options = { timeout: 120_000 };
const once = { ...options, skip: isSanitized }; // the node has no part in it
const ids = vehicleIds(8);
const [simulated, , , , , own] = ids; // as ./dev run has them
const exampleId = ids[7];
const catalog = join(root, 'gateway/catalog.example.yaml');
const { broker, node } = await startInstallation({ ids, config: { commands: { catalog }, lifecycle: { verify_delay: '300ms' }, webhooks: { anywhere: true } } });
const admin = await adminToken();
const clone = join(folder, 'clone');

const get = (id) => rest(node, 'GET', `/v1/vehicles/${id}`, { token: admin });
const untilState = (id, state) => poll(() => get(id), ({ body }) => body.connectivity?.state === state, { ms: 30_000, what: `${id} is ${state}` });
const send = async (id, name, more = {}) => (await sendCommand(node, admin, id, { name, ...more }, { Prefer: 'wait=20' })).body;

// ---- as a reader takes it

// The folder of somebody who has cloned it and runs ./dev run in another shell.
function prepareClone() {
	rmSync(clone, { recursive: true, force: true });
	mkdirSync(join(clone, '.keyfob/run'), { recursive: true });
	for (const name of ['docs', 'gateway', 'web']) symlinkSync(join(root, name), join(clone, name));
	symlinkSync(build, join(clone, 'build'));
	writeFileSync(join(clone, '.keyfob/run/env'), `KEYFOB_URL=${node.url}\nKEYFOB_TOKEN=${admin}\nMQTT_PORT=${broker.port}\n`);
	writeFileSync(join(clone, '.keyfob/run/vehicle.password'), broker.password);
	mkdirSync(join(clone, 'app/node_modules'), { recursive: true }); // what `npm install` makes there
	symlinkSync(join(root, 'web/client'), join(clone, 'app/node_modules/keyfob-client'));
	for (const name of ['ws', 'standardwebhooks']) symlinkSync(join(root, 'tests/system/node_modules', name), join(clone, 'app/node_modules', name));
}

const shell = (text, ready) => ['-c', `cd "$1" && set -euo pipefail\n[ ! -e .keyfob/run/env ] || . .keyfob/run/env\n${text}\n${ready ?? ''}`, 'bash', clone];

// Block after block, as `edit` has it; `meanwhile` is called after each. What each said, in one text.
async function follow(page, meanwhile = async () => {}, edit = (text) => text) {
	const staying = [];
	let said = '';
	for (const block of blocksOf(page)) {
		block.text = edit(block.text);
		if (block.word === 'run') said += `${await run('bash', shell(block.text))}\n`;
		else if (block.word === 'stay') staying.push(new Child(`${page.replace(/\W/g, '-')}-${staying.length}`, 'bash', shell(block.text.replace(/^(?=\S+ .*(vehicle|receiver))/m, 'exec '))));
		else if (block.word) writeFileSync(join(clone, block.word), block.text);
		await meanwhile(block, staying.at(-1));
	}
	for (const child of staying) await child.kill();
	return { said, told: staying.map((child) => child.logText()).join('') };
}

const reference = async () => {
	await registerVehicle(node, admin, simulated, { display_name: 'Blue hatchback' });
	const child = new Reference(broker, 'keyfob-vehicle', ['--id', simulated]);
	atEnd(() => child.kill());
	await untilState(simulated, 'connected');
};

prepareClone();
await reference();

test('the first steps lead to a command that a vehicle of one’s own has answered', options, async () => {
	const { said, told } = await follow('docs/getting-started.md', async ({ word, text }, staying) => {
		if (word === 'vehicle.py') assert.equal(text, readFileSync(join(root, 'docs/examples/vehicle.py'), 'utf8'));
		if (word === 'stay') await staying.untilUp(() => /doing climate\.start/.test(staying.logText()), 30_000);
	});
	assert.match(said, new RegExp(`${simulated} +connected`));
	assert.equal(said.match(/^doors\.unlock +succeeded after/gm).length, 2, said);
	assert.match(said, /waiting +climate\.start/);
	assert.match(told, /^doing climate\.start \{'minutes': 15, 'temperature': 23\}\ndoing doors\.unlock \{'door': 'driver'\}\n$/);
	assert.ok(readFileSync(join(root, 'dev'), 'utf8').includes('start_broker WKF0000000000000{1..6}'), `${own} has an account at the broker of ./dev run`);
	await untilState(own, 'disconnected');
});

test('the examples of `keyfob send --help` are for the example catalogue', options, async () => {
	const examples = (await run(join(build, 'bin/keyfob'), ['send', '--help'])).match(/^ {2}keyfob send .*$/gm);
	assert.ok(examples.length >= 3);
	for (const example of examples) await run('bash', shell(`build/bin/${example.trim()}`));
});

test('the guide for app developers: by curl, and by the client', options, async () => {
	const { said } = await follow('docs/app-guide.md');
	assert.match(said, /"grants" ?: ?\[/);
	assert.match(said, /"doors\.unlock" ?: ?\{/);
	assert.match(said, /"status" ?: ?"succeeded"/);
	assert.match(said, /^accepted \nsent \nsucceeded \nBlue hatchback connected at \d+$/m);
});

test('the page on webhooks: a receiver hears every step of a command', options, async () => {
	const port = await freePort();
	let receiver;
	const { told } = await follow(
		'docs/webhooks.md',
		async ({ word }, staying) => {
			if (word === 'stay') await poll(() => fetch(`http://127.0.0.1:${port}`).catch(() => null), (answer) => answer?.status === 400, { what: 'the receiver listens' });
			if (word === 'stay') receiver = staying;
			if (word === 'run' && receiver) await receiver.untilUp(() => /command\.updated succeeded$/m.test(receiver.logText()), 10_000);
		},
		(text) => text.replaceAll('8000', String(port)),
	);
	assert.match(told, new RegExp(`^${simulated} \\d+ command\\.updated accepted\n[^]*^${simulated} \\d+ command\\.updated succeeded$`, 'm'));
});

test('it says what to do with each problem, and what each status means', once, () => {
	const guide = readFileSync(join(root, 'docs/app-guide.md'), 'utf8');
	const names = [...readFileSync(join(root, 'base/fault.tbl.h'), 'utf8').matchAll(/^FAULT\(\w+, "([a-z-]+)"/gm)].map(([, name]) => name);
	const statuses = [...readFileSync(join(root, 'docs/command-lifecycle.md'), 'utf8').matchAll(/^ {4}(?:\w+|\[\*\]) --> (\w+)/gm)].map(([, status]) => status);
	assert.ok(names.length > 30 && statuses.length > 20);
	for (const name of new Set([...names, ...statuses])) assert.ok(guide.includes(`\`${name}\``), `docs/app-guide.md says nothing of ${name}`);
});

// ---- the vehicle in C

// What a vehicle answers, and a way to ask it and to tell it: as the gateway does.
async function startBystander(id) {
	const client = mqtt.connect(broker.url, { clientId: 'keyfob-bystander', username: 'keyfob', password: gatewayPassword, protocolVersion: 5 });
	atEnd(() => client.endAsync(true));
	const answers = new Record('what the vehicle answered');
	client.on('message', (topic, payload, { properties }) => answers.push({ ...JSON.parse(payload), correlation: String(properties.correlationData) }));
	await client.subscribeAsync(`vehicles/${id}/commands/response/+`, { qos: 1 });
	return { answers, publish: (kind, body) => client.publishAsync(`vehicles/${id}/commands/${kind}`, JSON.stringify(body), { qos: 1 }) };
}

const doings = (child) => child.logText().match(/^doing \S+$/gm) ?? [];

test('the vehicle in C is built as its guide says, and answers', options, async () => {
	await registerVehicle(node, admin, own);
	const { told } = await follow('docs/vehicle-guide.md', async ({ word }) => {
		if (word !== 'stay') return;
		await untilState(own, 'connected');
		assert.equal((await send(own, 'doors.unlock')).status, 'succeeded');
	});
	assert.match(told, /^doing doors\.unlock$/m);
	await untilState(own, 'disconnected');
});

test('it says that it is at it, refuses what it cannot or may not do, does nothing twice, and answers until it is accepted', options, async () => {
	await registerVehicle(node, admin, exampleId);
	const child = await startExample(broker, exampleId);
	await untilState(exampleId, 'connected');
	const done = await send(exampleId, 'doors.lock');
	const { body } = await rest(node, 'GET', `/v1/vehicles/${exampleId}/events?limit=200`, { token: admin });
	assert.deepEqual([...new Set(body.items.flatMap(({ type, data }) => (type === 'command.updated' ? data.status : [])))], ['accepted', 'sent', 'in_progress', 'succeeded']);
	const refused = await send(exampleId, 'horn.honk');
	assert.deepEqual([refused.status, refused.reason], ['rejected', { code: 'NOT_ABLE' }]);

	// What has come before, and what should not have come any more.
	const { answers, publish } = await startBystander(exampleId);
	const request = (id, end) => ({ request_id: id, response_topic: `vehicles/${exampleId}/commands/response/${feedOf(exampleId)}`, name: 'doors.lock', params: {}, expires_at: end });
	const isOf = (id) => ({ request_id }) => request_id === id;
	await publish('request', request(done.id, '2099-01-01T00:00:00.000000Z'));
	const again = await answers.until(isOf(done.id));
	assert.deepEqual([again.status, again.correlation], ['succeeded', done.id]);
	await node.freeze(); // nobody accepts
	await publish('request', request('stale-one', '2020-01-01T00:00:00.000000Z'));
	const stale = await answers.until(isOf('stale-one'));
	assert.deepEqual([stale.status, stale.reason], ['rejected', { code: 'EXPIRED' }]);
	await answers.until(isOf('stale-one'), { from: answers.items.indexOf(stale) + 1, ms: 30_000, what: 'it is told again' });
	node.thaw();
	assert.deepEqual(doings(child), ['doing doors.lock']);
});

// ---- links

const pages = ['README.md', 'web/client/README.md', ...readdirSync(join(root, 'docs'), { recursive: true }).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];

test('every link of a page leads to a file of this repository, and to a heading that it has', once, () => {
	assert.ok(pages.length > 25);
	const broken = pages.flatMap((page) =>
		linksOf(page).flatMap(({ path, anchor }) => {
			const file = path ? join(root, dirname(page), path) : join(root, page);
			return existsSync(file) && (!anchor || hasAnchor(file, anchor)) ? [] : `${page}: ${path}${anchor ? `#${anchor}` : ''}`;
		}),
	);
	assert.deepEqual(broken, []);
});
