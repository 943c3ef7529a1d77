// ejabberd.mjs - a broker of two nodes, as Debian has it: ejabberd with mod_mqtt, joined by Erlang's own distribution. All of it on
// loopback, in processes and folders of the test's own.
//
// Each node has the configuration that docs/broker.md shows, with the test's ports in it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt from 'mqtt';
import { Child, folder, run } from './children.mjs';
import { poll } from './record.mjs';
import { gatewayPassword, isListening, vehiclePassword } from './servers.mjs';

const [, example] = /```yaml\n(hosts: \["localhost"\]\n.*?)```/s.exec(readFileSync(new URL('../../docs/broker.md', import.meta.url), 'utf8'));
const cookie = 'keyfob-tests';
const patience = 300_000; // Erlang's machine takes its time to start beside others
const feeds = [...Array.from({ length: 32 }, (_, i) => String(i).padStart(2, '0')), 'lifecycle', 'state', 'aws-commands'];
let clusters = 0;
let controls = 0;

// A port where nobody listens, and which the kernel gives to nobody else (those begin at 32768) in the long time until the node listens.
async function lastingPort() {
	for (;;) {
		const port = 20_000 + Math.floor(Math.random() * 12_000);
		if (!(await isListening(port))) return port;
	}
}

class Node {
	constructor(cluster, letter, port) {
		this.cluster = cluster;
		this.name = `${cluster.name}-${letter}`;
		this.erlangName = `${this.name}@127.0.0.1`;
		this.port = port;
		this.url = `mqtt://127.0.0.1:${port}`;
		this.folder = join(folder, this.name);
	}

	prepare() {
		mkdirSync(join(this.folder, 'mnesia'), { recursive: true });
		const text = example.replace('port: 1883', `port: ${this.port}`).replace('ip: "0.0.0.0"', 'ip: "127.0.0.1"');
		if (!text.includes(String(this.port)) || !text.includes('127.0.0.1')) throw new Error('docs/broker.md has no such listener');
		writeFileSync(join(this.folder, 'ejabberd.yml'), text);
	}

	// Up when it listens.
	async start() {
		const env = {
			...this.cluster.env,
			HOME: this.folder,
			EJABBERD_CONFIG_PATH: join(this.folder, 'ejabberd.yml'),
			EJABBERD_LOG_PATH: join(this.folder, 'ejabberd.log'),
			ERL_CRASH_DUMP: join(this.folder, 'crash.dump'),
		};
		this.child = new Child(this.name, 'erl', [...distribution(this.erlangName), '-noinput', '-mnesia', 'dir', JSON.stringify(join(this.folder, 'mnesia')), '-s', 'ejabberd'], { env });
		await this.child.untilUp(() => isListening(this.port), patience);
	}

	// ejabberd compiles at its start, and ends itself where that takes a minute: on a machine that has much else to do it may.
	async startSurely(tries = 4) {
		await this.start().catch((error) => {
			if (tries === 1 || !this.child.exit) throw error;
			this.child.isExpectedToEnd = true;
			return this.startSurely(tries - 1);
		});
	}

	kill() {
		return this.child.kill();
	}
}

const distribution = (name) => ['+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none', '-name', name, '-setcookie', cookie, '-start_epmd', 'false', '-kernel', 'inet_dist_use_interface', '{127,0,0,1}', '-noshell'];

class Cluster {
	async start(ids) {
		this.ids = ids;
		this.name = `ejabberd-${++clusters}`;
		this.password = vehiclePassword;
		this.gatewayPasswordFile = join(folder, `${this.name}.password`);
		writeFileSync(this.gatewayPasswordFile, gatewayPassword, { mode: 0o600 });
		const names = await lastingPort();
		this.env = { ERL_EPMD_PORT: String(names), ERL_EPMD_ADDRESS: '127.0.0.1', ERL_LIBS: '/usr/lib/x86_64-linux-gnu' };
		const epmd = new Child(`${this.name}-names`, 'epmd', ['-port', String(names), '-address', '127.0.0.1'], { diesOfIt: true });
		await epmd.untilUp(() => isListening(names));
		this.nodes = [new Node(this, 'a', await lastingPort()), new Node(this, 'b', await lastingPort())];
		this.nodes.forEach((node) => node.prepare());
		for (const node of this.nodes) await node.startSurely();
		await this.#join();
		await this.#register(ids);
	}

	async #join() {
		const [a, b] = this.nodes;
		await this.ask(b, `ejabberd_cluster, join, ['${a.erlangName}']`);
		await poll(() => this.ask(a, 'ejabberd_cluster, get_nodes, []'), (nodes) => nodes.includes(b.erlangName), { ms: patience, every: 500, what: 'the nodes know each other' });
		await poll(() => isListening(b.port), Boolean, { ms: patience, what: 'the second node listens again' });
	}

	// The accounts. Their passwords come by the environment, where no list of processes shows them.
	async #register(ids) {
		const accounts = { keyfob: gatewayPassword };
		for (const id of ids) accounts[id] = vehiclePassword;
		await this.#evaluate(
			`[{ok, ok} = {ok, rpc:call('${this.nodes[0].erlangName}', ejabberd_auth, try_register, [list_to_binary(I), <<"localhost">>, list_to_binary(P)])} ` +
				`|| L <- string:tokens(os:getenv("ACCOUNTS"), "\\n"), [I, P] <- [string:tokens(L, " ")]]`,
			{ ACCOUNTS: Object.entries(accounts).map((pair) => pair.join(' ')).join('\n') },
		);
	}

	// Of an installation that has ended: the sessions of its feeds, which would keep all that comes from now on, and what is retained.
	async forget(namespace) {
		for (const feed of feeds) await (await this.#connect(this.nodes[0], `${namespace}-feed-${feed}`)).endAsync();
		for (const node of this.nodes) {
			const client = await this.#connect(node, `x-forget-${node.name}`);
			const kept = new Set();
			client.on('message', (topic, _, { retain }) => retain && kept.add(topic));
			await client.subscribeAsync(['vehicles/#', `${namespace}/#`], { qos: 1 });
			await client.publishAsync(`${namespace}/forget`, '', { qos: 1 }); // retained messages come before its PUBACK
			for (const topic of kept) await client.publishAsync(topic, '', { qos: 1, retain: true });
			await client.endAsync();
		}
	}

	#connect(node, clientId) {
		return mqtt.connectAsync(node.url, { clientId, username: 'keyfob', password: gatewayPassword, protocolVersion: 5, clean: true, reconnectPeriod: 0 });
	}

	// What a node says to `module, function, arguments`, as Erlang prints it.
	ask(node, call) {
		return this.#evaluate(`rpc:call('${node.erlangName}', ${call})`);
	}

	#evaluate(expression, env = {}) {
		const name = `${this.name}-control-${++controls}@127.0.0.1`;
		return run('erl', [...distribution(name), '-hidden', '-eval', `io:format("~p~n", [${expression}]), halt().`], { env: { ...this.env, HOME: folder, ERL_CRASH_DUMP_SECONDS: '0', ...env } });
	}

	#order(first) {
		return [this.nodes[first], this.nodes[1 - first]];
	}

	url(first) {
		return `mqtt://${this.#order(first).map(({ port }) => `127.0.0.1:${port}`).join()}`;
	}

	// The cluster as somebody has it in his configuration: this node first, then the other. For vehicles and for nodes of Keyfob,
	// which have `config` besides.
	from(first, config) {
		const order = this.#order(first);
		const { ids, password, gatewayPasswordFile } = this;
		return {
			url: this.url(first),
			servers: order.map(({ port }) => ({ host: '127.0.0.1', port, protocol: 'mqtt' })),
			tellsNothing: true,
			inFlight: 1, // to a client, whatever its Receive Maximum
			config: { lifecycle: { source: 'vehicles' }, ...config },
			ids,
			password,
			gatewayPasswordFile,
		};
	}
}

// Two nodes, joined, with an account for the gateway and for each of `ids`.
export async function startEjabberd(ids) {
	const cluster = new Cluster();
	await cluster.start(ids);
	return cluster;
}
