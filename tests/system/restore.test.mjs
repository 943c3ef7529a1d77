// restore.test.mjs - a backup of a running installation, restored beside it: what apps and vehicles find afterwards.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { folder, run } from './children.mjs';
import { adminToken, build, connectVehicle, openSocket, openStream, registerVehicle, sendCommand, startInstallation, startNode, vehicleIds } from './harness.mjs';
import { createDatabase } from './servers.mjs';

const bin = '/usr/lib/postgresql/15/bin';
const [id] = vehicleIds(1);
const admin = await adminToken();

async function done(node, name = 'horn.honk') {
	const { status, body } = await sendCommand(node, admin, id, { name }, { Prefer: 'wait=20' });
	assert.equal(status, 200);
	assert.equal(body.status, 'succeeded');
	return body;
}

// What an app had at the old node, as it says it to the new one.
async function resume(node, { epoch, seq }) {
	const socket = await openSocket(node, { token: admin });
	return { socket, answer: await socket.call('vehicle.subscribe', { vehicle_id: id, epoch, after: seq }) };
}

test('who resumes on a restored database is given the whole, and misses nothing from then on', async () => {
	const { broker, database, node } = await startInstallation({ ids: [id] });
	await registerVehicle(node, admin, id);
	await connectVehicle(broker, { id });
	const kept = await done(node);
	const dump = join(folder, 'keyfob.dump');
	await run(`${bin}/pg_dump`, ['--format=custom', '--no-owner', '--file', dump, database.url]);
	const before = await (await openSocket(node, { token: admin })).call('vehicle.subscribe', { vehicle_id: id });
	const lost = await done(node);
	const after = await (await openSocket(node, { token: admin })).call('vehicle.subscribe', { vehicle_id: id });
	assert.equal((await node.stop()).code, 0);

	const restored = await createDatabase();
	await run(`${bin}/pg_restore`, ['--no-owner', '--exit-on-error', '--dbname', restored.url, dump]);
	const [row] = [await restored.sql('select epoch from meta')];
	const second = await startNode({ broker, database: restored });
	// Without a new epoch nobody could tell this history from the old one: who was not further than the backup goes on in it...
	assert.equal((await resume(second, before)).answer.recovered, true);
	assert.equal((await second.stop()).code, 0);
	await run(`${build}/bin/keyfobd`, ['--config', second.file, '--new-epoch']);
	assert.equal(await restored.sql('select epoch from meta'), String(Number(row) + 1));
	// ...and with one everybody is told.
	const third = await startNode({ broker, database: restored });
	for (const position of [before, after]) {
		const { answer } = await resume(third, position);
		assert.equal(answer.recovered, false);
		assert.notEqual(answer.epoch, position.epoch);
		assert.equal(answer.vehicle.vehicle_id, id);
	}
	const stream = await openStream(third, `/v1/vehicles/${id}/events`, { token: admin, lastEventId: `${after.epoch}:${after.seq}` });
	const snapshot = await stream.until(({ event }) => event === 'snapshot');
	assert.equal(snapshot.data.recovered, false);

	// What the backup holds is there, what came after it is not, and what comes now is told once and in order.
	const { socket, answer } = await resume(third, after);
	const fresh = await done(third);
	await socket.until(({ data }) => data.id === fresh.id && data.status === 'succeeded', { ms: 20_000 });
	const seqs = socket.events.items.map(({ seq }) => seq);
	assert.deepEqual(seqs, seqs.map((_, i) => answer.seq + 1 + i));
	const all = (await restored.sql(`select id from commands where vehicle_id = '${id}'`)).split('\n');
	assert.ok(all.includes(kept.id) && all.includes(fresh.id) && !all.includes(lost.id));
});
