// upgrade-long.test.mjs - the version before and this one side by side: the schema is brought to this version's while nodes of the
// one before are at work, then each of them is replaced. No command fails, no app misses an event, and who is erased meanwhile is
// named nowhere. With --long alone: it builds another version.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminToken, build, grant, isLong, isSanitized, poll, registerVehicle, rest, sendCommand, startInstallation, token, vehicleIds } from './harness.mjs';
import { Promises } from './oracle.mjs';
import { migrate } from './servers.mjs';
import { connectFleet, Follower, judge, Traffic } from './stream.mjs';
import { buildVersion, versionBefore } from './versions.mjs';

const own = vehicleIds(10);
const admin = await adminToken();

// Of a vehicle that never comes three drivers send commands, each is erased by one of the nodes, at a time of its own.
class Leavers {
	parked = vehicleIds(1, own.length + 1)[0];
	names = ['leaves-first', 'leaves-amid', 'leaves-last'];

	constructor(database) {
		this.database = database;
	}

	async come(node) {
		await registerVehicle(node, admin, this.parked);
		for (const name of this.names) {
			await grant(node, admin, this.parked, name, 'driver');
			const { status } = await sendCommand(node, await token({ sub: name }), this.parked, { name: 'horn.honk', wake: false, ttl_seconds: 3600 });
			assert.equal(status, 202);
		}
	}

	async leave(node, name) {
		assert.equal((await rest(node, 'DELETE', `/v1/subjects/${name}`, { token: admin })).status, 204);
	}

	async untilForgotten(name) {
		const tables = ['erasures', 'commands', 'events', 'grants', 'actors', 'idempotency', 'revocations'];
		const named = `select ${tables.map((table) => `(select count(*) from ${table} x where x::text like '%${name}%')`).join(' + ')}`;
		await poll(() => this.database.sql(named), (n) => n === '0', { ms: 60_000, what: `${name} is named nowhere` });
	}

	async assertErased(node) {
		const { items } = (await rest(node, 'GET', `/v1/vehicles/${this.parked}/commands`, { token: admin })).body;
		assert.deepEqual(items.map(({ issued_by, status, reason }) => [issued_by, status, reason.code]), this.names.map(() => ['erased', 'canceled', 'ACCESS_REVOKED']));
	}
}

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
	const leavers = new Leavers(database);
	await leavers.come(nodes[0]);
	const from = await schema();
	await leavers.leave(nodes[0], 'leaves-first');
	await migrate(broker.url, database.url);
	const to = await schema();
	assert.ok(to > from || process.env.KEYFOB_VERSION_BEFORE, 'this version has another schema');
	await traffic.untilMore(60); // the old ones, on the new schema
	await leavers.leave(nodes[1], 'leaves-amid');
	for (const name of leavers.names.slice(0, 2)) await leavers.untilForgotten(name);
	for (const node of nodes) {
		assert.equal((await node.stop()).code, 0);
		service.splice(service.indexOf(node), 1);
		node.build = build;
		await node.start();
		service.push(node);
		await traffic.untilMore(60); // one of each; then both new
	}
	await leavers.leave(nodes[0], 'leaves-last');
	await leavers.untilForgotten('leaves-last');
	await leavers.assertErased(nodes[1]);
	await traffic.stop();
	const commands = await judge(nodes[0], admin, promises, vehicles);
	for (const { id, name, status } of commands) assert.equal(status, 'succeeded', `${id} (${name})`);
	for (const app of apps) await app.assertWhole(nodes[1]);
	assert.equal(await database.sql('select deadlocks from pg_stat_database where datname = current_database()'), '0');
	t.diagnostic(`${commit.slice(0, 12)} and schema ${from}, to schema ${to} and this version: ${commands.length} commands, none told anything for ${traffic.longest} ms at most`);
}

test('nodes of the version before work on the new schema, and are replaced one after the other', { timeout: 1_800_000, skip: !isLong ? 'with --long' : isSanitized && 'once is enough' }, upgrade);
