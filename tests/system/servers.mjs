// servers.mjs - an installation for a test: a database of its own, a broker with the plugin, and nodes.
//
// The PostgreSQL cluster is shared by all files of a run; ./dev test starts it and says where in KEYFOB_TEST_POSTGRES.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { atEnd, build, Child, folder, freePort, run } from './children.mjs';
import { audience, issuer, jwksFile, secrets } from './tokens.mjs';

const role = { name: 'kf', password: 'canary-database' }; // the service's own, made by ./dev: it owns its databases and nothing else
const catalog = fileURLToPath(new URL('./catalog.yaml', import.meta.url));
// ./dev test looks for what is entrusted to a node wherever a node writes, by tests/canaries.
export const vehiclePassword = 'canary-vehicle-secret';
export const gatewayPassword = 'canary-gateway-secret';
let databases = 0;
let brokers = 0;
let nodes = 0;

// ---- the database

const pools = new Map();
const asText = { getTypeParser: () => (value) => value };

// What psql -At shows: a line a row, its values with bars between them.
export async function sql(url, statement) {
	if (!pools.has(url)) pools.set(url, startPool(url));
	const results = [await pools.get(url).query({ text: statement, rowMode: 'array', types: asText })].flat();
	return results.flatMap(({ rows }) => rows.map((row) => row.map((value) => value ?? '').join('|'))).join('\n');
}

// A server that goes away takes the idle connections with it; the next question makes a new one. Few, and kept: to make one costs
// as much as a hundred questions.
function startPool(connectionString) {
	const pool = new pg.Pool({ connectionString, max: 4, idleTimeoutMillis: 0, allowExitOnIdle: true });
	pool.on('error', () => {});
	return pool;
}

// As its superuser, without a database's name.
function cluster() {
	const url = process.env.KEYFOB_TEST_POSTGRES;
	if (!url) throw new Error('there is no PostgreSQL: run this by ./dev test NAME');
	return url;
}

// A fresh database, empty or a copy of `template`: its URL as the service's own role.
export async function createDatabase(template = 'template1') {
	const server = cluster();
	const name = `kf_${process.pid}_${++databases}`;
	await sql(`${server}/postgres`, `create database ${name} owner ${role.name} template ${template} strategy file_copy`);
	return databaseAt(server, name, urlOf(name));
}

// One that is there: by its server's superuser (`server`, without its name), and by the service's own role.
export function databaseAt(server, name, url) {
	return {
		url,
		sql: (statement) => sql(`${server}/${name}`, statement),
		// Away, for everybody: nobody gets a new connection, then those that are end.
		halt: async () => {
			await sql(`${server}/postgres`, `alter database ${name} allow_connections false`);
			await sql(`${server}/postgres`, `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
		},
		resume: () => sql(`${server}/postgres`, `alter database ${name} allow_connections true`),
	};
}

// Where something matches, of all tables that there are: a row as a text has every column.
export async function tablesNaming(database, pattern) {
	const all = await database.sql(`select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`);
	const looks = all.split('\n').map((table) => `select '${table}' where exists (select from ${table} x where x::text ~ '${pattern}')`);
	return (await database.sql(looks.join(' union all '))).split('\n').filter(Boolean);
}

function urlOf(database) {
	const url = new URL(cluster());
	url.username = role.name;
	url.password = role.password;
	url.pathname = `/${database}`;
	return url.href;
}

// ---- the broker

export function vehicleIds(count, first = 1) {
	return Array.from({ length: count }, (_, i) => `WKF${String(first + i).padStart(14, '0')}`);
}

class Broker {
	constructor(name, port, { tls, bridge, env, configure = (lines) => lines }) {
		this.name = name;
		this.port = port;
		this.tls = tls;
		this.bridge = bridge;
		this.env = env;
		this.configure = configure;
		this.url = `mqtt://127.0.0.1:${port}`;
		this.folder = join(folder, name);
		this.password = vehiclePassword;
		this.gatewayPasswordFile = join(this.folder, 'gateway.password');
	}

	// The vehicles' accounts and the gateway's, hashed as the broker wants them.
	async prepare(ids) {
		mkdirSync(this.folder, { recursive: true });
		writeFileSync(this.gatewayPasswordFile, gatewayPassword, { mode: 0o600 });
		const passwords = join(this.folder, 'passwords');
		const lines = [`keyfob:${gatewayPassword}`, ...ids.map((id) => `${id}:${vehiclePassword}`)];
		writeFileSync(passwords, `${lines.join('\n')}\n`, { mode: 0o600 });
		await run('mosquitto_passwd', ['-U', passwords]);
		writeFileSync(join(this.folder, 'mosquitto.conf'), this.#configuration(passwords));
	}

	#configuration(passwords) {
		const lines = [
			`listener ${this.port} 127.0.0.1`,
			'allow_anonymous false',
			`password_file ${passwords}`,
			`plugin ${build}/lib/keyfob_broker.so`,
			'plugin_opt_prefix $aws/events',
			'plugin_opt_namespace keyfob',
			'plugin_opt_gateway keyfob',
			`plugin_opt_state_file ${this.folder}/keyfob.state`,
			'persistence true',
			`persistence_location ${this.folder}/`,
			'autosave_on_changes true',
			'autosave_interval 1000',
			'set_tcp_nodelay true',
			'max_queued_messages 1000000',
			'max_inflight_messages 512',
			'log_type error',
			'log_type warning',
			'log_type notice',
		];
		if (this.tls) lines.push(...this.#secureListener());
		if (this.bridge) lines.push(...this.#bridgeToItself());
		if (process.getuid() === 0) lines.push('user root');
		return `${this.configure(lines).join('\n')}\n`;
	}

	// A second listener, where everybody shows a certificate.
	#secureListener() {
		const { port, authority } = this.tls;
		const server = authority.issue('broker');
		return [
			`listener ${port} 127.0.0.1`,
			`cafile ${authority.certificate}`,
			`certfile ${server.certificate}`,
			`keyfile ${server.key}`,
			'require_certificate true',
		];
	}

	// What is published below `from` comes again below `to`, also where no client may publish.
	#bridgeToItself() {
		const { from, to } = this.bridge;
		return [
			'connection bridge',
			`address 127.0.0.1:${this.port}`,
			'bridge_protocol_version mqttv50',
			'remote_clientid keyfob-bridge',
			'remote_username keyfob',
			`remote_password ${gatewayPassword}`,
			'try_private false',
			'notifications false',
			'restart_timeout 1',
			`topic # in 1 ${to} ${from}`,
		];
	}

	async start() {
		this.child = new Child(this.name, 'mosquitto', ['-c', join(this.folder, 'mosquitto.conf')], { env: this.env });
		await this.child.untilUp(() => isListening(this.port));
	}

	stop() {
		return this.child.stop();
	}

	kill() {
		return this.child.kill();
	}

	// Killed, and what it kept is gone.
	async forget() {
		await this.kill();
		rmSync(join(this.folder, 'mosquitto.db'), { force: true });
		await this.start();
	}
}

// KEYFOB_TEST_BROKER may give one, the JSON of what ejabberd.mjs makes. A test does not stop it, and has one installation at a time on it: two
// would read each other's topics.
export const isBrokerGiven = Boolean(process.env.KEYFOB_TEST_BROKER);

// `authority` (certificates.mjs): it listens for TLS as well, at `broker.secureUrl`. `bridge`: { from, to }. `configure` has the last
// word on the lines of mosquitto.conf. Where one is given it is that one.
export async function startBroker({ ids = vehicleIds(40), authority, bridge, env, configure } = {}) {
	if (isBrokerGiven) return givenBroker(ids);
	const port = await freePort();
	const tls = authority && { port: await freePort(), authority };
	const broker = new Broker(`mosquitto-${++brokers}`, port, { tls, bridge, env, configure });
	broker.secureUrl = tls && `mqtts://127.0.0.1:${tls.port}`;
	await broker.prepare(ids);
	await broker.start();
	return broker;
}

function givenBroker(ids) {
	const broker = JSON.parse(process.env.KEYFOB_TEST_BROKER);
	const strangers = ids.filter((id) => !broker.ids.includes(id));
	if (strangers.length > 0) throw new Error(`the broker that is given has no account for ${strangers}`);
	return broker;
}

export function isListening(port) {
	return new Promise((resolve) => {
		const socket = connect(port, '127.0.0.1');
		socket.on('connect', () => resolve(true) || socket.destroy());
		socket.on('error', () => resolve(false));
	});
}

// ---- nodes

class Node {
	constructor(name, { http, admin }, secure) {
		this.name = name;
		this.port = http;
		this.url = `http${secure ? 's' : ''}://127.0.0.1:${http}`;
		this.socketUrl = `ws${secure ? 's' : ''}://127.0.0.1:${http}/v1/ws`;
		this.adminUrl = `http://127.0.0.1:${admin}`;
		this.file = join(folder, `${name}.yaml`);
		this.children = [];
	}

	async start(isReady = true) {
		const env = { ...this.env, ...this.failpoints?.env };
		this.child = new Child(this.name, `${this.build}/bin/keyfobd`, ['--config', this.file], { env });
		this.children.push(this.child);
		await this.child.untilUp(() => (isReady ? this.isReady() : this.answers()));
	}

	async answers() {
		return fetch(`${this.adminUrl}/healthz`).then((answer) => answer.body?.cancel().then(() => answer.ok), () => false);
	}

	async isReady() {
		return fetch(`${this.adminUrl}/readyz`).then((answer) => answer.body?.cancel().then(() => answer.ok), () => false);
	}

	async metrics() {
		return (await fetch(`${this.adminUrl}/metrics`)).text();
	}

	stop() {
		return this.child.stop();
	}

	kill() {
		return this.child.kill();
	}

	signal(name) {
		this.child.signal(name);
	}

	freeze() {
		return this.child.freeze();
	}

	thaw() {
		this.child.thaw();
	}
}

// JSON is YAML, so the configuration is an object here. `config` is merged over the ordinary one.
// `isReady: false`: it will lack a neighbour, so it is up when it answers at all. `build`: of another version.
export async function startNode({ isReady = true, ...options }) {
	const node = await prepareNode(options);
	await node.start(isReady);
	atEnd(() => assertNoSecret(node));
	atEnd(() => keepMetrics(node));
	return node;
}

// The same, not started.
export async function prepareNode({ broker, database, config = {}, failpoints, env, build: whose = build }) {
	const ports = { http: await freePort(), admin: await freePort() };
	const node = new Node(`keyfobd-${++nodes}`, ports, Boolean(config.http?.tls));
	node.failpoints = failpoints;
	node.env = env;
	node.build = whose;
	const ordinary = {
		node: { id: node.name, workers: 2 },
		http: { listen: [`127.0.0.1:${ports.http}`] },
		admin: { listen: [`127.0.0.1:${ports.admin}`] },
		database: { url: database.url },
		mqtt: { url: broker.url, username: 'keyfob', password_file: broker.gatewayPasswordFile },
		lifecycle: { verify_delay: '500ms' },
		auth: { issuers: [{ issuer, audience, jwks_file: jwksFile, scopes: ['vehicles:read', 'commands:write', 'keyfob:admin'] }] },
		limits: { per_subject: '0', per_vehicle: '0', per_address: '0', per_socket: '0' },
		detection: { refusals: 0, forged_answers: 0, commands: 0, ...(whose === build && { subject_commands: 0 }), refused_connects: 0 }, // the version before has it not
		commands: { catalog },
		log: { level: 'debug' },
	};
	const all = merge(merge(ordinary, broker.config ?? {}), config);
	writeFileSync(node.file, JSON.stringify(all, null, '\t'), { mode: 0o600 });
	return node;
}

function merge(to, from) {
	if (typeof from !== 'object' || from === null || Array.isArray(from)) return from;
	const merged = { ...to };
	for (const [key, value] of Object.entries(from)) merged[key] = merge(merged[key], value);
	return merged;
}

// What it counted, for ./dev test to look through.
async function keepMetrics(node) {
	if (!node.child.exit) writeFileSync(join(folder, `${node.name}.metrics`), await node.metrics().catch(() => ''));
}

// What was entrusted to us is in no log.
async function assertNoSecret(node) {
	const text = node.child.logText();
	for (const secret of [...secrets, vehiclePassword, gatewayPassword])
		if (text.includes(secret)) throw new Error(`the log of ${node.name} holds a secret (${secret.slice(0, 12)}…): ${node.child.log}`);
}

// Everything at once: { broker, database, nodes, node }. `failpoints` (failpoints.mjs) are for all of the nodes. `database`: an
// empty one, where it is not to be of the shared cluster. `build`: of the nodes, and whose schema it is.
export async function startInstallation({ nodes: count = 1, ids, config, authority, bridge, failpoints, database: given, build: whose = build } = {}) {
	const isOurs = !given && whose === build;
	const [broker, database] = await Promise.all([startBroker({ ids, authority, bridge }), isOurs ? createMigratedDatabase() : (given ?? createDatabase())]);
	if (!isOurs) await migrate(broker.url, database.url, { build: whose });
	const start = () => startNode({ broker, database, config, failpoints, build: whose });
	const first = await start();
	const others = await Promise.all(Array.from({ length: count - 1 }, start));
	return { broker, database, node: first, nodes: [first, ...others] };
}

// With the schema: a copy of a database that is migrated once in a run.
export async function createMigratedDatabase() {
	const template = `kf_${basename(build)}`;
	if ((await sql(`${cluster()}/postgres`, templateNamed(template))) === '') await makeTemplate(template);
	return createDatabase(template);
}

const templateNamed = (name) => `select datname from pg_database where datname = '${name}' and datistemplate`;

// Whoever needs it first makes it, the others wait. Nobody may be in it when it is copied.
async function makeTemplate(name) {
	const admin = new pg.Client(`${cluster()}/postgres`);
	await admin.connect();
	try {
		await admin.query('select pg_advisory_lock(1)');
		const { rowCount } = await admin.query(templateNamed(name));
		if (rowCount > 0) return;
		await admin.query(`drop database if exists ${name}`);
		await admin.query(`create database ${name} owner ${role.name}`);
		await migrate('mqtt://127.0.0.1:1', urlOf(name));
		await admin.query(`alter database ${name} is_template true allow_connections false`);
	} finally {
		await admin.end();
	}
}

export async function migrate(broker, database, { env, build: whose = build } = {}) {
	const [, name] = /\/(\w+)(?:\?|$)/.exec(database); // it may name several hosts, which URL does not read
	const file = join(folder, `migrate-${name}.yaml`);
	const config = {
		database: { url: database },
		mqtt: { url: broker },
		auth: { issuers: [{ issuer, audience, jwks_file: jwksFile, scopes: ['vehicles:read'] }] },
		commands: { catalog },
	};
	writeFileSync(file, JSON.stringify(config));
	await run(`${whose}/bin/keyfobd`, ['--config', file, '--migrate'], { env });
}
