// edges.test.mjs - what strangers send and expect at the edges of the contract: odd paths, odd headers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, grant, openStream, registerVehicle, rest, sendCommand, startInstallation, token, vehicleIds } from './harness.mjs';

const ids = vehicleIds(10);
const { node } = await startInstallation({ ids });
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
const options = { timeout: 60_000 };
let used = 0;

const path = (id, rest = '') => `/v1/vehicles/${id}${rest}`;

async function ownVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id);
	await grant(node, admin, id, 'alice', 'owner');
	return id;
}

function assertProblem(answer, status, name) {
	assert.equal(answer.status, status, JSON.stringify(answer.body));
	assert.equal(answer.body.type, `urn:keyfob:problem:${name}`);
}

test('an id that is no text is an id that nobody has', options, async () => {
	const id = await ownVehicle();
	for (const bad of ['a%00b', '%ff', '%zz', '%', 'a%2Fb', '%2B', '%23']) {
		assertProblem(await rest(node, 'GET', path(bad), { token: admin }), 404, 'vehicle-not-found');
		assertProblem(await rest(node, 'PUT', path(bad), { token: admin, body: {} }), 422, 'invalid-vehicle');
		assertProblem(await rest(node, 'GET', path(id, `/commands/${bad}`), { token: admin }), 404, 'command-not-found');
		assertProblem(await rest(node, 'PUT', path(id, '/grants/%00'), { token: admin, body: { role: 'viewer' } }), 422, 'invalid-params');
	}
	assertProblem(await rest(node, 'GET', '/v1/vehicles//commands', { token: admin }), 404, 'not-found');
});

test('between the scheme and the token there may be several spaces', options, async () => {
	for (const scheme of ['Bearer ', 'bearer   ']) {
		const answer = await rest(node, 'GET', '/v1/me', { headers: { Authorization: scheme + alice } });
		assert.equal(answer.status, 200);
	}
	assertProblem(await rest(node, 'GET', '/v1/me', { headers: { Authorization: 'Bearer    ' } }), 401, 'unauthenticated');
});

test('a Last-Event-ID that is none of ours resumes nothing', options, async () => {
	const id = await ownVehicle();
	await sendCommand(node, alice, id, { name: 'horn.honk' });
	const { epoch } = (await rest(node, 'GET', path(id), { token: alice })).body;
	for (const lastEventId of ['garbage', ':', `${epoch}:`, `${epoch}:x`, `${epoch}:-1`, `${epoch}:1x`, `${epoch}:${'9'.repeat(40)}`]) {
		const stream = await openStream(node, path(id, '/events'), { token: alice, lastEventId });
		const snapshot = await stream.until(() => true);
		assert.equal(snapshot.event, 'snapshot');
		assert.equal(snapshot.data.recovered, false, lastEventId);
		stream.close();
	}
});
