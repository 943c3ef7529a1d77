// journey.test.mjs - one command over REST, through the broker, to a vehicle and back, on real parts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { adminToken, connectVehicle, grant, poll, registerVehicle, rest, startInstallation, token, vehicleIds } from './harness.mjs';

const ids = vehicleIds(9);
const { broker, database, node } = await startInstallation({ ids });
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
const path = (id, more = '') => `/v1/vehicles/${id}${more}`;
const send = (id, body, headers = {}, by = alice) => rest(node, 'POST', path(id, '/commands'), { token: by, body, headers });

async function register(id) {
	await registerVehicle(node, admin, id);
	await grant(node, admin, id, 'alice', 'owner');
}

async function connect(id) {
	const vehicle = await connectVehicle(broker, { id });
	await poll(
		() => rest(node, 'GET', path(id), { token: alice }),
		({ body }) => body.connectivity.state === 'connected',
		{ what: 'the vehicle is connected' },
	);
	return vehicle;
}

test('a command is sent, answered, and told with its timeline', { timeout: 60_000 }, async () => {
	const id = ids[0];
	await register(id);
	await connect(id);
	const answer = await send(id, { name: 'doors.unlock' }, { Prefer: 'wait=10' });
	assert.equal(answer.status, 200, JSON.stringify(answer.body));
	assert.equal(answer.body.status, 'succeeded');
	const command = await poll(
		() => rest(node, 'GET', path(id, `/commands/${answer.body.id}`), { token: alice }),
		({ body }) => body.timeline.some((item) => item.step === 'puback'),
		{ what: 'the PUBACK is in the timeline' },
	);
	const steps = command.body.timeline.map((item) => item.step);
	for (const step of ['accepted', 'reachability', 'claimed', 'published', 'puback', 'answer']) assert.ok(steps.includes(step), `${step} in ${steps}`);
});

test('a command waits for a vehicle that is away, and leaves when it comes', { timeout: 60_000 }, async () => {
	const id = ids[1];
	await register(id);
	const sent = await send(id, { name: 'doors.unlock' });
	assert.equal(sent.status, 202);
	await connect(id);
	const command = await poll(
		() => rest(node, 'GET', path(id, `/commands/${sent.body.id}`), { token: alice }),
		({ body }) => body.status === 'succeeded',
		{ what: 'the waiting command succeeded' },
	);
	assert.equal(command.body.attempts, 1);
});

// While it has none of its own with the database a worker is not sure to be alive, and claims nothing; what it puts off is due a second later.
test('a session that is lost for a moment holds up nothing for longer', { timeout: 60_000 }, async (t) => {
	const between = ({ timeline }) => {
		const [accepted, claimed] = ['accepted', 'claimed'].map((step) => Date.parse(timeline.find((item) => item.step === step).time));
		return claimed - accepted;
	};
	const held = [];
	for (const id of ids.slice(4)) {
		await register(id);
		await connect(id);
		await database.sql("select pg_terminate_backend(session_pid) from leases where name like 'worker/%'");
		const sent = await Promise.all(
			Array.from({ length: 15 }, async (_, n) => {
				await pause(10 * n);
				return send(id, { name: 'doors.unlock' });
			}),
		);
		for (const { status, body } of sent) {
			assert.equal(status, 202);
			const command = await poll(
				() => rest(node, 'GET', path(id, `/commands/${body.id}`), { token: alice }),
				(answer) => answer.body.status === 'succeeded',
				{ what: 'the command succeeded' },
			);
			held.push(between(command.body));
		}
	}
	held.sort((a, b) => b - a);
	t.diagnostic(`a command was claimed ${held[0]} ms after it was accepted, at most`);
	assert.ok(held[0] > 20, 'no command came while the session was lost');
	assert.ok(held[0] < 900, `held up for ${held.slice(0, 10)} ms`);
});

test('twenty simultaneous sends with one key make one command', { timeout: 60_000 }, async () => {
	const id = ids[2];
	await register(id);
	const answers = await Promise.all(Array.from({ length: 20 }, () => send(id, { name: 'doors.unlock' }, { 'Idempotency-Key': 'one' })));
	assert.deepEqual([...new Set(answers.map(({ status }) => status))], [202]);
	assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
});

test('a foreign vehicle answers as one that does not exist', { timeout: 60_000 }, async () => {
	const id = ids[3];
	await register(id);
	const mallory = await token({ sub: 'mallory' });
	const foreign = await send(id, { name: 'doors.unlock' }, {}, mallory);
	const absent = await send('NOBODY', { name: 'doors.unlock' }, {}, mallory);
	assert.equal(foreign.status, 404);
	delete foreign.body.instance;
	delete absent.body.instance;
	assert.deepEqual(foreign.body, absent.body);
});

// No broker takes a filter with that name in it: whoever holds such a feed has no connection for it.
test('a feed that is held and not heard for five seconds is told of, and the node is ready all the same', { timeout: 60_000 }, async () => {
	const readiness = async () => {
		const answer = await fetch(`${node.adminUrl}/readyz`);
		return [answer.status, (await answer.json()).feeds];
	};
	const unheard = async () => /^keyfob_feeds_unheard (\d+)$/m.exec(await node.metrics())[1];
	const becomes = (feeds) => poll(readiness, ([, are]) => are === feeds, { ms: 20_000, what: `the feeds are ${feeds}` });
	assert.deepEqual([await readiness(), await unheard()], [[200, 'ok'], '0']);
	await database.sql("insert into leases (name) values ('feed/a#')");
	assert.deepEqual([await becomes('unheard'), await unheard()], [[200, 'unheard'], '1']);
	assert.match(node.child.logText(), /it is held and not heard.*feed=feed\/a#/);
	await database.sql("delete from leases where name = 'feed/a#'");
	assert.deepEqual([await becomes('ok'), await unheard()], [[200, 'ok'], '0']);
});
