// upgrade-long.test.mjs - the version before and this one side by side: the schema is brought to this version's while nodes of the
// one before are at work, then each of them is replaced. No command fails, no app misses an event. With --long alone: it builds
// another version.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, build, isLong, isSanitized, startInstallation, vehicleIds } from './harness.mjs';
import { Promises } from './oracle.mjs';
import { migrate } from './servers.mjs';
import { connectFleet, Follower, judge, Traffic } from './stream.mjs';
import { buildVersion, versionBefore } from './versions.mjs';

const own = vehicleIds(10);
const admin = await adminToken();

async function upgrade(t) {
	const commit = await versionBefore();
	if (!commit) return t.skip('there is no history here');
	const before = await buildVersion(commit);
	const { broker, database, nodes } = await startInstallation({ ids: own, nodes: 2, build: before });
	const schema = () => database.sql('select max(version) from schema_migrations').then(Number);
	const vehicles = await connectFleet(broker, nodes[0], admin, own);
	const apps = [new Follower(nodes, admin), new Follower([...nodes].reverse(), admin)];
	for (const app of apps) await app.follow(own);
	const promises = new Promises();
	const service = [...nodes];
	const traffic = new Traffic('upgrade', { nodes: service, token: admin, own, promises, rate: 60 });
	await traffic.untilMore(60);
	const from = await schema();
	await migrate(broker.url, database.url);
	const to = await schema();
	assert.ok(to > from || process.env.KEYFOB_VERSION_BEFORE, 'this version has another schema');
	await traffic.untilMore(60); // the old ones, on the new schema
	for (const node of nodes) {
		assert.equal((await node.stop()).code, 0);
		service.splice(service.indexOf(node), 1);
		node.build = build;
		await node.start();
		service.push(node);
		await traffic.untilMore(60); // one of each; then both new
	}
	await traffic.stop();
	const commands = await judge(nodes[0], admin, promises, vehicles);
	for (const { id, name, status } of commands) assert.equal(status, 'succeeded', `${id} (${name})`);
	for (const app of apps) await app.assertWhole(nodes[1]);
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
	t.diagnostic(`${commit.slice(0, 12)} and schema ${from}, to schema ${to} and this version: ${commands.length} commands, none told anything for ${traffic.longest} ms at most`);
}

test('nodes of the version before work on the new schema, and are replaced one after the other', { timeout: 1_800_000, skip: !isLong ? 'with --long' : isSanitized && 'once is enough' }, upgrade);
