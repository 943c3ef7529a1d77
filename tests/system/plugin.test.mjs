// plugin.test.mjs - keyfob_broker.so in a real mosquitto: who may do what, and what is told of whom.
//
// A watcher with the gateway's account records every lifecycle event in order. That something is *not* told is
// shown by a barrier: a resync is asked for, and its end comes after everything that the broker had to tell before.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import mqtt from "mqtt";
import { untilClosed } from "./record.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const build = path.resolve(process.env.KEYFOB_BUILD ?? path.join(here, "../../build"));
const plugin = path.join(build, "lib/keyfob_broker.so");
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };
const PREFIX = "$aws/events";
const WAIT_MS = 10_000;
const SUITE_MS = 60_000;

// ---- the broker ----

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
["SIGINT", "SIGTERM"].forEach((signal) => process.once(signal, () => process.exit(1)));
// A failed test leaves its broker behind, and its clients with it: without this the run would never end.
after(() => running.forEach((child) => child.kill("SIGKILL")));

async function freePort() {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address();
	server.close();
	await once(server, "close");
	return port;
}

class Broker {
	static async make({ vehicles = [], options = "", listeners } = {}) {
		const b = new Broker();
		b.dir = mkdtempSync(path.join(tmpdir(), "keyfob-plugin-"));
		b.port = await freePort();
		b.wsPort = await freePort();
		b.stateFile = path.join(b.dir, "versions");
		b.passwords = path.join(b.dir, "passwords");
		writeFileSync(b.passwords, ["keyfob", ...vehicles].map((name) => `${name}:secret\n`).join(""), { mode: 0o600 });
		execFileSync("mosquitto_passwd", ["-U", b.passwords], { env });
		b.config = path.join(b.dir, "mosquitto.conf");
		writeFileSync(b.config, `
user root
allow_anonymous false
set_tcp_nodelay true
max_queued_messages 1000000
max_inflight_messages 512
persistence true
persistence_location ${b.dir}/
autosave_on_changes true
autosave_interval 1000
log_dest stderr
password_file ${b.passwords}
plugin ${plugin}
plugin_opt_state_file ${b.stateFile}
${options}
${listeners ? listeners(b) : `
listener ${b.port} 127.0.0.1
listener ${b.wsPort} 127.0.0.1
protocol websockets
socket_domain ipv4
`}`);
		return b;
	}

	// `by`: what starts it.
	async start(...by) {
		const [program, ...args] = [...by, "mosquitto", "-c", this.config];
		this.process = spawn(program, args, { env, stdio: ["ignore", "ignore", "pipe"] });
		running.add(this.process);
		this.exited = once(this.process, "exit");
		this.exited.then(() => running.delete(this.process));
		this.log = [];
		this.lines = createInterface({ input: this.process.stderr });
		this.lines.on("line", (line) => this.log.push(line));
		await this.logged(/ running$/);
		// It says so just before its loop begins, and a SIGTERM in between is lost: wait until it serves.
		const socket = connect(this.port, "127.0.0.1").resume().end();
		await once(socket, "close");
		return this;
	}

	async logged(pattern) {
		const ended = this.exited.then(() => assert.fail(`mosquitto ended:\n${this.log.join("\n")}`));
		const seen = async () => {
			const signal = AbortSignal.timeout(WAIT_MS);
			for (let from = 0; !this.log.slice(from).some((line) => pattern.test(line));) {
				from = this.log.length;
				await once(this.lines, "line", { signal });
			}
		};
		ended.catch(() => {});
		await Promise.race([seen(), ended]);
	}

	async stop(signal = "SIGTERM") {
		this.process.kill(signal);
		await this.exited;
	}

	async done() {
		if (running.has(this.process))
			await this.stop();
		assert.deepEqual([this.process.exitCode, this.process.signalCode], [0, null], `mosquitto crashed:\n${this.log.join("\n")}`);
		rmSync(this.dir, { recursive: true });
	}

	options(id, more = {}) {
		return {
			host: "127.0.0.1", port: this.port, clientId: id, username: id, password: "secret", protocolVersion: 5,
			clean: true, reconnectPeriod: 0, resubscribe: false, connectTimeout: WAIT_MS, keepalive: 60, ...more,
		};
	}

	async connect(id, more) {
		const client = await mqtt.connectAsync(this.options(id, more));
		client.on("error", () => {});
		return client;
	}

	// By the broker, as "not authorized" and nothing else.
	refused(id, more) {
		const code = more?.protocolVersion === 4 ? 5 : 135; // MQTT 3.1.1 §3.2.2.3, MQTT 5 §3.2.2.2
		return assert.rejects(this.connect(id, more), { code }, `${id} was let in`);
	}
}

// ---- the watcher ----

class Watcher {
	static async make(broker, more = {}) {
		const w = new Watcher();
		w.events = [];
		w.waiting = new Set();
		w.client = await broker.connect("keyfob-watcher", { username: "keyfob", ...more });
		w.client.on("message", (topic, payload, packet) => w.take(topic, payload, packet));
		await w.client.subscribeAsync(`${PREFIX}/#`, { qos: 1 });
		return w;
	}

	take(topic, payload, { qos, retain }) {
		const text = payload.toString();
		let body = text;
		try {
			body = JSON.parse(text);
		} catch { /* a resync's token */ }
		this.events.push({ topic, qos, retain, body, id: body.clientId, type: body.eventType });
		this.waiting.forEach((look) => look());
	}

	of(id) {
		return this.events.filter((event) => event.id === id);
	}

	types(id) {
		return this.of(id).map((event) => event.type);
	}

	until(what, find) {
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => {
				this.waiting.delete(look);
				reject(new Error(`${what} did not come; had ${JSON.stringify(this.events, null, 1)}`));
			}, WAIT_MS);
			const look = () => {
				const found = find(this.events);
				if (!found)
					return;
				clearTimeout(timer);
				this.waiting.delete(look);
				resolve(found);
			};
			this.waiting.add(look);
			look();
		});
	}

	next(id, type, { after: count = 0 } = {}) {
		return this.until(`${type} of ${id}`, () => this.of(id).slice(count).find((event) => event.type === type));
	}

	async barrier() {
		const token = `barrier-${Math.random()}`;
		const from = this.events.length;
		await this.client.publishAsync(`${PREFIX}/keyfob/resync`, token, { qos: 1 });
		await this.until("resynced", (all) => all.find((e) => e.topic === `${PREFIX}/keyfob/resynced` && e.body === token));
		return this.events.slice(from);
	}

	async isSilentOf(id, act) {
		const count = this.of(id).length;
		await act();
		const retold = (await this.barrier()).filter((event) => event.id === id);
		assert.deepEqual(this.of(id).slice(count).map((e) => e.type), [], `told of ${id}`);
		assert.deepEqual(retold, []);
	}
}

// ---- clients ----

const persistent = { clean: false, properties: { sessionExpiryInterval: 3600 } };
const persistent311 = { clean: false, protocolVersion: 4 };
const request = (id) => `vehicles/${id}/commands/request`;
const execution = (id, rest, which = "+") => `$aws/commands/things/${id}/executions/${which}/${rest}`;

function crc32(text) {
	let crc = ~0;
	for (const byte of Buffer.from(text)) {
		crc ^= byte;
		for (let i = 0; i < 8; i++)
			crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc >>> 0;
}
const feedOf = (id) => String(crc32(id) % 32).padStart(2, "0");

async function isGranted(client, filter) {
	try {
		const granted = await client.subscribeAsync(filter, { qos: 1 });
		return granted.every(({ qos }) => qos < 128);
	} catch {
		return false;
	}
}

async function isTaken(client, topic, options = {}) {
	try {
		await client.publishAsync(topic, "{}", { qos: 1, ...options });
		return true;
	} catch (error) {
		assert.equal(error.code, 135, error.message);
		return false;
	}
}

async function drop(client) {
	const closed = untilClosed(client);
	client.stream.destroy();
	await closed;
}

// ---- identity ----

describe("identity", { timeout: SUITE_MS }, () => {
	let broker, watcher;
	const odd = ["car/1", "car+1", "car#1", "caf\u00e9", "a b", "x".repeat(65)];
	before(async () => {
		broker = await Broker.make({ vehicles: ["VIN1", "VIN2", "keyfob-spy", "keyfobber", ...odd.filter((id) => id !== "a b")] });
		await broker.start();
		watcher = await Watcher.make(broker);
	});
	after(async () => {
		await watcher.client.endAsync();
		await broker.done();
	});

	test("a vehicle connects under its own name", async () => {
		const vehicle = await broker.connect("VIN1");
		const { topic, body, qos, retain } = await watcher.next("VIN1", "connected");
		assert.equal(topic, `${PREFIX}/presence/connected/VIN1`);
		assert.equal(qos, 1);
		assert.equal(retain, false);
		assert.equal(body.principalIdentifier, "VIN1");
		assert.equal(body.ipAddress, "127.0.0.1");
		assert.match(body.sessionIdentifier, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
		assert.ok(Math.abs(body.timestamp - Date.now()) < 60_000);
		assert.ok(Math.abs(body.versionNumber / 1000 - Date.now()) < 60_000);
		await vehicle.endAsync();
		const gone = await watcher.next("VIN1", "disconnected");
		assert.equal(gone.topic, `${PREFIX}/presence/disconnected/VIN1`);
		assert.equal(gone.body.versionNumber, body.versionNumber);
		assert.equal(gone.body.sessionIdentifier, body.sessionIdentifier);
		assert.equal(typeof gone.body.clientInitiatedDisconnect, "boolean");
		assert.equal(gone.body.disconnectReason, "UNKNOWN");
	});

	for (const [how, more] of [["MQTT 5", {}], ["MQTT 3.1.1", { protocolVersion: 4 }], ["a websocket", { protocol: "ws" }]])
		test(`a wrong password over ${how} is refused by the broker, and nothing is told`, async () => {
			const at = more.protocol ? { port: broker.wsPort } : {};
			await watcher.isSilentOf("VIN2", () => broker.refused("VIN2", { password: "wrong", ...more, ...at }));
		});

	test("another vehicle's client id is refused and does not throw its owner out", async () => {
		const owner = await broker.connect("VIN2");
		await watcher.next("VIN2", "connected");
		const count = watcher.of("VIN2").length;
		await broker.refused("VIN2", { username: "VIN1" });
		await broker.refused("VIN2", { password: "wrong" });
		await watcher.barrier();
		assert.ok(!watcher.types("VIN2").slice(count).includes("disconnected"));
		assert.ok(owner.connected);
		await owner.endAsync();
	});

	test("and is told of: who wanted to be whom, from where; a flood of it so often, and how much more it was", async () => {
		const count = watcher.of("VIN2").length;
		await broker.refused("VIN2", { username: "VIN1" });
		const { topic, qos, retain, body } = await watcher.next("VIN2", "connect_failed", { after: count });
		assert.equal(topic, `${PREFIX}/presence/connect_failed/VIN2`);
		assert.deepEqual([qos, retain], [1, false]);
		const { timestamp, ...rest } = body;
		assert.ok(Math.abs(timestamp - Date.now()) < 60_000);
		assert.deepEqual(rest, {
			clientId: "VIN2", eventType: "connect_failed", connectFailureReason: "AUTHORIZATION_FAILED", principalIdentifier: "VIN1",
			ipAddress: "127.0.0.1", untold: 0,
		});
		// fifty at once, then ten in a second
		const flood = () => Promise.all(Array.from({ length: 50 }, () => broker.refused("VIN3", { username: "VIN1" })));
		const begun = Date.now();
		for (let i = 0; i < 4; i++) await flood();
		const most = 50 + (10 * (Date.now() - begun)) / 1000 + 1;
		await watcher.barrier();
		const told = watcher.of("VIN3").length;
		assert.ok(told > 0 && told <= most, `${told} of 200, at most ${most}`);
		const counted = () => watcher.of("VIN3").reduce((sum, { body }) => sum + 1 + body.untold, 0);
		for (const end = Date.now() + 20_000; counted() < 200; await watcher.barrier()) {
			assert.ok(Date.now() < end, `${counted()} of 200 in the end`);
			await broker.refused("VIN3", { username: "VIN1" });
		}
	});

	test("no username is refused", () => broker.refused("VIN1", { username: undefined, password: undefined }));
	test("the gateway's client ids are its own", () => broker.refused("keyfob-watcher", { username: "VIN1" }));
	test("a vehicle may not be called as the gateway's clients are", () => broker.refused("keyfob-spy"));
	test("the namespace without its hyphen is an ordinary beginning", async () => {
		await (await broker.connect("keyfobber")).endAsync();
	});
	test("the gateway's account may not be a vehicle", async () => {
		await broker.refused("keyfob");
		await broker.refused("VIN1", { username: "keyfob" });
	});
	for (const id of odd)
		test(`the client id ${id.slice(0, 12)} is refused`, () => broker.refused(id));

	test("the gateway's clients are never told", async () => {
		const other = await broker.connect("keyfob-feed-07", { username: "keyfob" });
		await other.subscribeAsync("vehicles/+/commands/response/07");
		await other.endAsync();
		await broker.refused("keyfob-worker-1", { username: "VIN1" });
		await watcher.barrier();
		assert.deepEqual(watcher.events.filter(({ topic }) => /\/keyfob-/.test(topic)), []);
	});
});

// ---- topics ----

describe("topics", { timeout: SUITE_MS }, () => {
	const id = "WKF00000000000001";
	let broker, watcher, vehicle, gateway;
	before(async () => {
		broker = await Broker.make({ vehicles: [id, "VIN2"] });
		await broker.start();
		watcher = await Watcher.make(broker);
		vehicle = await broker.connect(id);
		gateway = await broker.connect("keyfob-gateway", { username: "keyfob" });
	});
	after(async () => {
		await Promise.all([vehicle, gateway, watcher.client].map((client) => client.endAsync()));
		await broker.done();
	});

	for (const filter of ["#", "+/#", "vehicles/#", "vehicles/+/commands/request", request("VIN2"), `vehicles/${id}`, `vehicles/${id}/`,
		`vehicles/${id}x/commands/request`, `$share/g/${request(id)}`, "$share/g/#", "$aws/#", `${PREFIX}/#`, "$SYS/#", "keyfob/#",
		`vehicles/${id}/${"x".repeat(260)}`, execution("VIN2", "request/json"), execution("+", "request/json"), "$aws/commands/#", "$aws/commands/things/+/#",
		`$aws/commands/things/${id}`, `$aws/commands/things/${id}x/#`, `$aws/commands/clients/${id}/#`, `$share/g/${execution(id, "request/json")}`])
		test(`a vehicle may not subscribe to ${filter.slice(0, 60)}`, async () => {
			assert.equal(await isGranted(vehicle, filter), false);
		});

	for (const filter of [request(id), `vehicles/${id}/#`, `vehicles/${id}/commands/+`, `vehicles/${id}/state/desired`, `vehicles/${id}/notices/#`,
		execution(id, "request/json"), execution(id, "request/#"), execution(id, "response/accepted/json"), execution(id, "response/rejected/json", "7"), `$aws/commands/things/${id}/#`])
		test(`a vehicle may subscribe to ${filter}`, async () => {
			assert.equal(await isGranted(vehicle, filter), true);
		});

	test("an MQTT 3.1.1 vehicle is told 0x80", async () => {
		const old = await broker.connect("VIN2", { protocolVersion: 4 });
		assert.equal(await isGranted(old, "#"), false);
		assert.equal(await isGranted(old, request("VIN2")), true);
		await old.endAsync();
	});

	const feed = feedOf(id);
	const foreign = feed === "00" ? "01" : "00";
	for (const topic of [`vehicles/${id}/commands/response/${feed}`, `vehicles/${id}/state/${feed}`, `vehicles/${id}/state`, execution(id, "response/json", "7")])
		test(`a vehicle may publish on ${topic}, but not retained`, async () => {
			const seen = once(gateway, "message");
			await gateway.subscribeAsync(topic);
			assert.equal(await isTaken(vehicle, topic), true);
			await seen;
			assert.equal(await isTaken(vehicle, topic, { retain: true }), false);
			await gateway.unsubscribeAsync(topic);
		});

	for (const topic of [request(id), `vehicles/${id}/commands/response/${foreign}`, `vehicles/${id}/commands/response`, `vehicles/${id}/commands/response/${feed}/x`,
		`vehicles/${id}/state/${foreign}`, `vehicles/${id}/state/desired`, `vehicles/${id}/commands/accepted`, `vehicles/${id}/notices/recall`, "vehicles/VIN2/state",
		request("VIN2"), "elsewhere", "keyfob/inbox/1", "keyfob", PREFIX, `${PREFIX}/presence/connected/${id}`, `${PREFIX}/keyfob/resync`, "$aws/other",
		execution("VIN2", "response/json", "7"), execution(id, "request/json", "7"), execution(id, "response/accepted/json", "7"), execution(id, "response/rejected/json", "7"),
		execution(id, "response", "7"), execution(id, "response/json/x", "7"), execution(id, "response/json", "7/8"), execution(id, "response/json", ""),
		`$aws/commands/things/${id}/response/json`, `$aws/commands/clients/${id}/executions/7/response/json`])
		test(`a vehicle may not publish on ${topic}`, async () => {
			assert.equal(await isTaken(vehicle, topic), false);
		});

	test("the gateway may publish anything but lifecycle events", async () => {
		for (const topic of [request(id), "keyfob/inbox/1", `vehicles/${id}/notices/recall`])
			assert.equal(await isTaken(gateway, topic, { retain: true }), true, topic);
		for (const topic of [PREFIX, `${PREFIX}/presence/connected/${id}`, `${PREFIX}/keyfob/resynced`, `${PREFIX}/keyfob/resync/x`])
			assert.equal(await isTaken(gateway, topic), false, topic);
		assert.equal(await isTaken(gateway, `${PREFIX}/keyfob/resync`, { retain: true }), false);
	});

	test("a vehicle reads what is for it, and not its own answers", async () => {
		const got = [];
		vehicle.on("message", (topic) => got.push(topic));
		await vehicle.subscribeAsync(`vehicles/${id}/#`, { qos: 1 });
		await vehicle.publishAsync(`vehicles/${id}/state`, "{}", { qos: 1 });
		const last = new Promise((resolve) => vehicle.on("message", (topic) => topic.endsWith("/rejected") && resolve()));
		for (const topic of ["commands/request", "commands/accepted", "state/desired", "notices/recall", "notices/a/b", "other", "commands/rejected"])
			await gateway.publishAsync(`vehicles/${id}/${topic}`, "{}", { qos: 1 });
		await last;
		const topics = new Set(got.map((topic) => topic.slice(`vehicles/${id}/`.length)));
		assert.deepEqual([...topics].sort(),
			["commands/accepted", "commands/rejected", "commands/request", "notices/recall", "state/desired"]);
	});

	test("the same of AWS IoT Commands", async () => {
		const got = [];
		const root = `$aws/commands/things/${id}/executions/`;
		vehicle.on("message", (topic) => got.push(topic));
		await vehicle.subscribeAsync(`$aws/commands/things/${id}/#`, { qos: 1 });
		await vehicle.publishAsync(`${root}7/response/json`, "{}", { qos: 1 });
		const last = new Promise((resolve) => vehicle.on("message", (topic) => topic.endsWith("/rejected/json") && resolve()));
		for (const topic of ["7/request/json", "8/response/accepted/json", "7/request/cbor", "7/8/request/json", "7/other", "7/response/rejected/json"])
			await gateway.publishAsync(root + topic, "{}", { qos: 1 });
		await last;
		const topics = new Set(got.map((topic) => topic.replace(root, "")));
		assert.deepEqual([...topics].sort(), ["7/request/json", "7/response/rejected/json", "8/response/accepted/json"]);
	});

	test("a will is held to the same topics", async () => {
		const seen = [];
		const own = `vehicles/VIN2/state/${feedOf("VIN2")}`;
		gateway.on("message", (topic) => seen.push(topic));
		await gateway.subscribeAsync(["vehicles/VIN2/#", `vehicles/${id}/state`]);
		for (const will of [{ topic: `${PREFIX}/presence/disconnected/${id}` }, { topic: `vehicles/${id}/state` }, { topic: own, retain: true }, { topic: own }]) {
			const count = watcher.of("VIN2").length;
			const other = await broker.connect("VIN2", { will: { payload: "{}", qos: 1, ...will } });
			await drop(other);
			await watcher.next("VIN2", "disconnected", { after: count });
		}
		await watcher.barrier();
		await gateway.publishAsync("vehicles/VIN2/barrier", "");
		await new Promise((resolve) => gateway.on("message", (topic) => topic === "vehicles/VIN2/barrier" && resolve()));
		assert.deepEqual(seen.filter((topic) => !topic.endsWith("barrier")), [own]);
		assert.ok(!watcher.types(id).includes("disconnected"));
	});

	test("a vehicle has at most 64 subscriptions", async () => {
		const greedy = await broker.connect("VIN2");
		let granted = 0;
		for (let i = 0; i < 70; i++)
			granted += await isGranted(greedy, `vehicles/VIN2/${i}`);
		assert.equal(granted, 64);
		await greedy.endAsync();
	});
});

// ---- lifecycle events ----

describe("lifecycle events", { timeout: SUITE_MS }, () => {
	let broker, watcher;
	const fleet = Array.from({ length: 300 }, (_, i) => `F${String(i).padStart(5, "0")}`);
	before(async () => {
		broker = await Broker.make({ vehicles: ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "B1", "B2", "B3", "B4", "B5", "C1", "C2", "C3", "C4", ...fleet] });
		await broker.start();
		watcher = await Watcher.make(broker);
	});
	after(async () => {
		await watcher.client.endAsync();
		await broker.done();
	});

	test("a subscribe is told with the topics of its packet, once the subscription is there", async () => {
		const vehicle = await broker.connect("A1");
		await vehicle.subscribeAsync([request("A1"), "vehicles/A1/state/desired"], { qos: 1 });
		const { topic, body } = await watcher.next("A1", "subscribed");
		assert.equal(topic, `${PREFIX}/subscriptions/subscribed/A1`);
		assert.deepEqual(body.topics, [request("A1"), "vehicles/A1/state/desired"]);
		assert.equal(body.principalIdentifier, "A1");
		assert.equal(body.sessionIdentifier, (await watcher.next("A1", "connected")).body.sessionIdentifier);
		await vehicle.unsubscribeAsync(request("A1"));
		const ended = await watcher.next("A1", "unsubscribed");
		assert.equal(ended.topic, `${PREFIX}/subscriptions/unsubscribed/A1`);
		assert.deepEqual(ended.body.topics, [request("A1")]);
		await vehicle.endAsync();
		await watcher.next("A1", "disconnected");
		assert.deepEqual(watcher.types("A1"), ["connected", "subscribed", "unsubscribed", "disconnected"]);
	});

	test("what a command sent at the event finds is the subscription", async () => {
		const vehicle = await broker.connect("A2");
		const got = once(vehicle, "message");
		vehicle.subscribe(request("A2"), { qos: 0 });
		await watcher.next("A2", "subscribed");
		await watcher.client.publishAsync(request("A2"), "go", { qos: 1 });
		assert.equal((await got)[1].toString(), "go");
		await vehicle.endAsync();
	});

	test("a refused subscribe is not told", async () => {
		const vehicle = await broker.connect("A3");
		await isGranted(vehicle, "#");
		await isGranted(vehicle, request("A2"));
		await vehicle.endAsync();
		await watcher.next("A3", "disconnected");
		assert.deepEqual(watcher.types("A3"), ["connected", "disconnected"]);
	});

	test("one of two filters that cover the request topic is given up: still subscribed", async () => {
		const vehicle = await broker.connect("A4");
		await vehicle.subscribeAsync([request("A4"), "vehicles/A4/#"]);
		await vehicle.unsubscribeAsync("vehicles/A4/#");
		await watcher.until("subscribed again", () => watcher.types("A4").join() === "connected,subscribed,unsubscribed,subscribed");
		await vehicle.endAsync();
	});

	test("the times of a session's events rise, however fast they come", async () => {
		const vehicle = await broker.connect("C4");
		const asked = Array.from({ length: 20 }, (_, i) => (i % 2 ? vehicle.unsubscribeAsync(request("C4")) : vehicle.subscribeAsync(request("C4"))));
		await Promise.all(asked);
		await vehicle.endAsync();
		await watcher.next("C4", "disconnected");
		const times = watcher.of("C4").map(({ body }) => body.timestamp);
		assert.equal(times.length, 22);
		assert.deepEqual(times, [...new Set(times)].sort((a, b) => a - b));
	});

	for (const [how, id, first, second] of [["MQTT 5", "A5", {}, {}], ["MQTT 3.1.1", "A6", { protocolVersion: 4 }, { protocolVersion: 4 }],
		["a websocket by a socket", "A7", { ws: true }, {}], ["a websocket by a websocket", "B5", { ws: true }, { ws: true }]])
		test(`a take-over, ${how}: the new one is told first, the old one goes as DUPLICATE_CLIENTID`, async () => {
			const over = ({ ws, ...more }) => (ws ? { protocol: "ws", port: broker.wsPort, ...more } : more);
			const old = await broker.connect(id, over(first));
			await watcher.next(id, "connected");
			const closed = untilClosed(old);
			const taker = await broker.connect(id, over(second));
			await closed;
			const gone = await watcher.next(id, "disconnected");
			const [one, two] = watcher.of(id);
			assert.deepEqual(watcher.types(id), ["connected", "connected", "disconnected"]);
			assert.equal(gone.body.disconnectReason, "DUPLICATE_CLIENTID");
			assert.equal(gone.body.sessionIdentifier, one.body.sessionIdentifier);
			assert.equal(gone.body.versionNumber, one.body.versionNumber);
			assert.ok(two.body.versionNumber > one.body.versionNumber);
			assert.notEqual(two.body.sessionIdentifier, one.body.sessionIdentifier);
			await taker.endAsync();
			const last = await watcher.next(id, "disconnected", { after: 3 });
			assert.equal(last.body.versionNumber, two.body.versionNumber);
			assert.equal(last.body.disconnectReason, "UNKNOWN");
		});

	for (const [how, id, options, filter, told] of [["MQTT 5", "A8", persistent, request("A8"), request("A8")], ["MQTT 3.1.1", "A9", persistent311, "vehicles/A9/#", request("A9")],
		["AWS IoT Commands", "C1", persistent, execution("C1", "request/json"), execution("C1", "request/json")], ["AWS IoT Commands, MQTT 3.1.1", "C2", persistent311, "$aws/commands/things/C2/#", execution("C2", "request/json")]])
		test(`a resumed session, ${how}, is told as subscribed without a SUBSCRIBE`, async () => {
			const first = await broker.connect(id, options);
			await first.subscribeAsync(filter, { qos: 1 });
			await first.endAsync();
			await watcher.next(id, "disconnected");
			const again = await broker.connect(id, options);
			const { body } = await watcher.next(id, "subscribed", { after: 3 });
			assert.deepEqual(body.topics, [told]);
			assert.deepEqual(watcher.types(id), ["connected", "subscribed", "disconnected", "connected", "subscribed"]);
			assert.equal(body.sessionIdentifier, watcher.of(id)[3].body.sessionIdentifier);
			await again.endAsync();
			const fresh = await broker.connect(id, { ...options, clean: true });
			await watcher.next(id, "connected", { after: 6 });
			await watcher.barrier();
			assert.ok(!watcher.types(id).slice(6).includes("subscribed"), "a clean start has no subscription");
			await fresh.endAsync();
		});

	test("who asks for both kinds of requests is told of both, and of what is left when one is given up", async () => {
		const both = await broker.connect("C3");
		await both.subscribeAsync([request("C3"), execution("C3", "request/json")], { qos: 1 });
		await watcher.next("C3", "subscribed");
		const retold = (await watcher.barrier()).filter((event) => event.id === "C3" && event.type === "subscribed");
		assert.deepEqual(retold.map(({ body }) => body.topics), [[request("C3")], [execution("C3", "request/json")]]);
		await both.unsubscribeAsync(request("C3"));
		await watcher.next("C3", "unsubscribed");
		const left = (await watcher.barrier()).filter((event) => event.id === "C3" && event.type === "subscribed");
		assert.deepEqual(left.map(({ body }) => body.topics), [[execution("C3", "request/json")]]);
		await both.endAsync();
	});

	test("a resumed session without its request topic is not told as subscribed", async () => {
		const first = await broker.connect("B1", persistent);
		await first.subscribeAsync("vehicles/B1/state/desired");
		await first.endAsync();
		await watcher.next("B1", "disconnected");
		const again = await broker.connect("B1", persistent);
		await watcher.next("B1", "connected", { after: 3 });
		await watcher.barrier();
		assert.ok(!watcher.types("B1").slice(3).includes("subscribed"));
		await again.endAsync();
	});

	test("a probe reaches nobody", async () => {
		const got = [];
		watcher.client.on("message", (topic) => topic.startsWith("vehicles/") && got.push(topic));
		await watcher.client.subscribeAsync("vehicles/#");
		const first = await broker.connect("B2", persistent);
		first.on("message", (topic) => got.push(topic));
		await first.subscribeAsync(request("B2"), { qos: 1 });
		await first.endAsync();
		const again = await broker.connect("B2", persistent);
		again.on("message", (topic) => got.push(topic));
		await watcher.next("B2", "subscribed", { after: 3 });
		await watcher.barrier();
		await watcher.client.unsubscribeAsync("vehicles/#");
		assert.deepEqual(got, []);
		await again.endAsync();
	});

	test("a message queued for a vehicle that is away does not tell it as connected", async () => {
		const away = await broker.connect("B3", persistent);
		await away.subscribeAsync(request("B3"), { qos: 1 });
		await away.endAsync();
		await watcher.next("B3", "disconnected");
		await watcher.isSilentOf("B3", () => watcher.client.publishAsync(request("B3"), "wait", { qos: 1 }));
		const count = watcher.of("B3").length;
		const again = mqtt.connect(broker.options("B3", persistent));
		assert.equal((await once(again, "message"))[1].toString(), "wait");
		await watcher.next("B3", "subscribed", { after: count });
		await again.endAsync();
	});

	test("SIGHUP tells nothing, keeps who is connected and leaves sessions that are away alone", async () => {
		const away = await broker.connect("B4", persistent);
		await away.subscribeAsync(request("B4"), { qos: 1 });
		await away.endAsync();
		await watcher.next("B4", "disconnected");
		const here = await broker.connect("A1");
		await watcher.next("A1", "connected", { after: 4 });
		await watcher.barrier();
		const counts = ["A1", "B4"].map((id) => watcher.of(id).length);
		const reloaded = broker.logged(/Reloading config/);
		broker.process.kill("SIGHUP");
		await reloaded;
		const retold = await watcher.barrier();
		assert.deepEqual(retold.filter((e) => e.id === "A1").map((e) => e.type), ["connected"]);
		assert.deepEqual(watcher.types("A1").slice(counts[0]), ["connected"]);
		assert.deepEqual(watcher.types("B4").slice(counts[1]), []);
		const again = await broker.connect("B4", persistent);
		await watcher.next("B4", "subscribed", { after: counts[1] });
		await Promise.all([here, again].map((client) => client.endAsync()));
	});

	test("after a storm of take-overs the newest session's last event is the truth", async () => {
		const ids = fleet.slice(0, 20);
		const last = await Promise.all(ids.map(async (id, i) => {
			let client;
			for (let round = 0; round < 15; round++) {
				const how = (i * 7 + round * 5) % 4;
				if (client && how === 0)
					await drop(client);
				if (client && how === 1)
					await client.endAsync();
				client = await broker.connect(id, round % 3 ? persistent : {});
				client.subscribe(request(id), { qos: 1 }, () => {});
			}
			if (i % 2)
				await drop(client);
			return client;
		}));
		await watcher.until("rest", () => ids.every((id) => {
			const starts = watcher.of(id).filter(({ type }) => type === "connected").map(({ body }) => body.versionNumber);
			const ends = watcher.of(id).filter(({ type }) => type === "disconnected").map(({ body }) => body.versionNumber);
			return new Set(starts).size === 15 && new Set(ends).size === ends.length && ends.length === (ids.indexOf(id) % 2 ? 15 : 14);
		}));
		for (const [i, id] of ids.entries()) {
			const own = watcher.of(id);
			const newest = Math.max(...own.filter(({ type }) => type === "connected").map(({ body }) => body.versionNumber));
			const isGone = own.some(({ type, body }) => type === "disconnected" && body.versionNumber === newest);
			assert.equal(isGone, i % 2 === 1, `${id}: ${JSON.stringify(own, null, 1)}`);
		}
		await Promise.all(last.filter((client) => client.connected).map((client) => client.endAsync()));
		for (const id of ids)
			await watcher.next(id, "disconnected");
	});

	test("a resync tells everybody anew who is connected, and ends", async () => {
		const clients = await Promise.all(fleet.map((id) => broker.connect(id)));
		await Promise.all(clients.slice(0, -1).map((client, i) => client.subscribeAsync(request(fleet[i]), { qos: 1 })));
		await watcher.until("all of the fleet", () => fleet.slice(0, -1).every((id) => watcher.types(id).at(-1) === "subscribed"));
		const first = new Map(fleet.map((id) => [id, watcher.of(id).filter(({ type }) => type === "connected").at(-1).body]));
		const retold = (await watcher.barrier()).filter(({ id }) => first.has(id));
		for (const [i, id] of fleet.entries()) {
			const own = retold.filter((event) => event.id === id);
			assert.deepEqual(own.map((e) => e.type), i === fleet.length - 1 ? ["connected"] : ["connected", "subscribed"]);
			assert.equal(own[0].body.versionNumber, first.get(id).versionNumber);
			assert.equal(own[0].body.sessionIdentifier, first.get(id).sessionIdentifier);
		}
		await Promise.all(clients.map((client) => client.endAsync()));
	});
});

// ---- the broker's restart ----

describe("restart", { timeout: SUITE_MS }, () => {
	test("versions rise, and restored sessions are told when they come back", async () => {
		const broker = await Broker.make({ vehicles: ["R1", "R2"] });
		const ahead = (Date.now() + 3_600_000) * 1000;
		writeFileSync(broker.stateFile, `${ahead}\n`);
		await broker.start();
		let watcher = await Watcher.make(broker);
		const sessions = [["R1", persistent], ["R2", persistent311]];
		for (const [id, options] of sessions) {
			const client = await broker.connect(id, options);
			await client.subscribeAsync(request(id), { qos: 1 });
			await watcher.next(id, "subscribed");
		}
		const last = watcher.of("R2")[0].body.versionNumber;
		assert.equal(last, ahead + 2, "the clock is behind the file: one more than the last");
		const closed = untilClosed(watcher.client);
		await broker.stop();
		await closed;
		assert.equal(Number(readFileSync(broker.stateFile, "utf8")), last);

		await broker.start();
		watcher = await Watcher.make(broker);
		const reloaded = broker.logged(/Reloading config/);
		broker.process.kill("SIGHUP");
		await reloaded;
		await watcher.barrier();
		assert.ok(!broker.log.some((line) => /Client R. /.test(line)), "restored sessions have no password to be judged by");
		for (const [id, options] of sessions) {
			const client = await broker.connect(id, options);
			await watcher.next(id, "subscribed");
			assert.deepEqual(watcher.types(id), ["connected", "subscribed"]);
			assert.ok(watcher.of(id)[0].body.versionNumber > last);
			await client.endAsync();
		}
		await watcher.client.endAsync();
		await broker.done();
	});

	test("a broker that is killed has in its file what it may have given out", async () => {
		const broker = await Broker.make({ vehicles: ["K1", "K2"] });
		await broker.start();
		const watcher = await Watcher.make(broker);
		for (const id of ["K1", "K2"]) {
			await broker.connect(id);
			await watcher.next(id, "connected");
		}
		const { versionNumber, timestamp } = watcher.of("K2")[0].body;
		const closed = untilClosed(watcher.client);
		await broker.stop("SIGKILL");
		await closed;
		const kept = Number(readFileSync(broker.stateFile, "utf8"));
		assert.ok(kept >= versionNumber && kept / 1000 >= timestamp, `${kept} of ${versionNumber}, ${timestamp}`);
		rmSync(broker.dir, { recursive: true });
	});

	test("descriptors are a connection each, and as many as the process may have", async () => {
		const broker = await Broker.make();
		await broker.start("prlimit", "--nofile=64:512");
		await broker.logged(/keyfob: at most 512 descriptors/);
		const sockets = await Promise.all(Array.from({ length: 100 }, async () => {
			const socket = connect(broker.port, "127.0.0.1");
			await once(socket, "connect");
			return socket;
		}));
		const watcher = await broker.connect("keyfob-watcher", { username: "keyfob" }); // it still accepts
		await watcher.endAsync();
		for (const socket of sockets) socket.destroy();
		await broker.done();
	});

	test("a spoilt state file is a warning, a missing one is nothing", async () => {
		const broker = await Broker.make();
		assert.ok(!existsSync(broker.stateFile));
		writeFileSync(broker.stateFile, "not a number");
		await broker.start();
		await broker.logged(/cannot read .*versions/);
		await broker.done();
	});

	for (const option of ["plugin_opt_prefix vehicles/x", "plugin_opt_prefix a/+/b", "plugin_opt_prefix $aws/commands", "plugin_opt_prefix $aws", "plugin_opt_namespace a/b", "plugin_opt_gatway keyfob"])
		test(`${option} keeps the broker from starting`, async () => {
			const broker = await Broker.make({ options: option });
			await assert.rejects(broker.start(), /mosquitto ended/);
			rmSync(broker.dir, { recursive: true });
		});

	test("prefix, namespace and gateway are options", async () => {
		const broker = await Broker.make({
			vehicles: ["P1", "boss"], options: "plugin_opt_prefix life/cycle\nplugin_opt_namespace east\nplugin_opt_gateway boss",
		});
		await broker.start();
		const gateway = await broker.connect("east-1", { username: "boss" });
		await gateway.subscribeAsync("life/cycle/#", { qos: 1 });
		const told = once(gateway, "message");
		const vehicle = await broker.connect("P1");
		assert.equal((await told)[0], "life/cycle/presence/connected/P1");
		const ended = new Promise((resolve) => gateway.on("message", (topic, payload) => topic.endsWith("/resynced") && resolve([topic, payload])));
		await gateway.publishAsync("life/cycle/east/resync", "{}", { qos: 1 });
		const [topic, payload] = await ended;
		assert.equal(topic, "life/cycle/east/resynced");
		assert.equal(payload.toString(), "{}");
		await broker.refused("keyfob-1", { username: "boss" });
		await Promise.all([vehicle, gateway].map((client) => client.endAsync()));
		await broker.done();
	});
});

// ---- certificates ----

describe("certificates", { timeout: SUITE_MS }, () => {
	let broker, certificates, identityPort;
	const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });

	function makeCertificates(dir) {
		mkdirSync(dir);
		const file = (name) => path.join(dir, name);
		const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
		openssl("req", "-x509", ...key, "-subj", "/CN=Test CA", "-keyout", file("ca.key"), "-out", file("ca.crt"));
		const issue = (name, subject, ...more) => openssl("req", "-x509", ...key, "-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-subj", subject,
			"-addext", "basicConstraints=critical,CA:FALSE", ...more, "-keyout", file(`${name}.key`), "-out", file(`${name}.crt`));
		issue("server", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1");
		for (const name of ["keyfob", "VIN1", "VIN2"])
			issue(name, `/O=Keyfob/CN=${name}`);
		issue("double", "/CN=VIN1/CN=VIN2");
		issue("nameless", "/O=VIN1");
		return (name) => ({ ca: readFileSync(file("ca.crt")), cert: readFileSync(file(`${name}.crt`)), key: readFileSync(file(`${name}.key`)) });
	}

	before(async () => {
		identityPort = await freePort();
		broker = await Broker.make({
			listeners: (b) => {
				certificates = makeCertificates(path.join(b.dir, "tls"));
				const tls = ["cafile ca.crt", "certfile server.crt", "keyfile server.key"].map((s) => s.replace(" ", ` ${b.dir}/tls/`)).join("\n");
				return `listener ${b.port} 127.0.0.1\n${tls}\nrequire_certificate true\n` +
					`listener ${identityPort} 127.0.0.1\n${tls}\nrequire_certificate true\nuse_identity_as_username true\n`;
			},
		});
		await broker.start();
	});
	after(() => broker.done());

	const by = (certificate, more = {}) => ({ protocol: "mqtts", username: undefined, password: undefined, ...certificates(certificate), ...more });

	test("the CN is the identity, no password is asked", async () => {
		const watcher = await Watcher.make(broker, by("keyfob"));
		const vehicle = await broker.connect("VIN1", by("VIN1", persistent));
		const { body } = await watcher.next("VIN1", "connected");
		assert.equal(body.principalIdentifier, "VIN1");
		assert.equal(await isGranted(vehicle, request("VIN1")), true);
		assert.equal(await isGranted(vehicle, "#"), false);
		await watcher.next("VIN1", "subscribed");

		for (const [id, certificate] of [["VIN1", "VIN2"], ["VIN1", "double"], ["VIN1", "nameless"], ["keyfob-1", "VIN1"], ["VIN1", "keyfob"]])
			await broker.refused(id, by(certificate));
		await broker.refused("VIN1", by("VIN2", { username: "VIN1", password: "secret" }));
		await watcher.barrier();
		assert.ok(!watcher.types("VIN1").includes("disconnected"));

		await vehicle.endAsync();
		await watcher.next("VIN1", "disconnected");
		await watcher.client.publishAsync(request("VIN1"), "wait", { qos: 1 });
		const count = watcher.of("VIN1").length;
		const again = mqtt.connect(broker.options("VIN1", by("VIN1", persistent)));
		assert.equal((await once(again, "message"))[1].toString(), "wait", "queued for the session that was away");
		await watcher.next("VIN1", "subscribed", { after: count });

		const reloaded = broker.logged(/Reloading config/);
		broker.process.kill("SIGHUP");
		await reloaded;
		await watcher.barrier();
		assert.ok(again.connected);
		await again.endAsync();
		await watcher.client.endAsync();
	});

	test("with use_identity_as_username the first packet tells, and another's certificate gets nowhere, and is told of", async () => {
		const watcher = await Watcher.make(broker, by("keyfob", { port: identityPort }));
		const vehicle = await broker.connect("VIN2", by("VIN2", { port: identityPort }));
		assert.equal(await isGranted(vehicle, request("VIN2")), true);
		await watcher.next("VIN2", "subscribed");
		assert.deepEqual(watcher.types("VIN2"), ["connected", "subscribed"]);
		await vehicle.endAsync();
		await watcher.next("VIN2", "disconnected");

		const count = watcher.of("VIN2").length;
		const thief = await broker.connect("VIN2", by("VIN1", { port: identityPort }));
		const closed = untilClosed(thief);
		thief.subscribe(request("VIN2"), () => {});
		await closed;
		await watcher.barrier();
		const told = watcher.of("VIN2").slice(count);
		assert.deepEqual(told.map(({ type, body }) => [type, body.principalIdentifier]), [["connect_failed", "VIN1"]]);
		await watcher.client.endAsync();
	});

	test("nor does who is shut out, and is closed at its first packet", async () => {
		const watcher = await Watcher.make(broker, by("keyfob"));
		await watcher.client.publishAsync("keyfob/blocked/VIN2", "1", { qos: 1 });
		for (let i = 0; i < 2; i++) {
			const blocked = await broker.connect("VIN2", by("VIN2", { port: identityPort }));
			const closed = untilClosed(blocked);
			blocked.subscribe(request("VIN2"), () => {});
			await closed;
		}
		await watcher.barrier();
		assert.ok(!watcher.types("VIN2").includes("subscribed"), String(watcher.types("VIN2")));
		await watcher.client.publishAsync("keyfob/blocked/VIN2", "", { qos: 1 });
		const again = await broker.connect("VIN2", by("VIN2", { port: identityPort }));
		assert.equal(await isGranted(again, request("VIN2")), true);
		await again.endAsync();
		await watcher.client.endAsync();
	});
});
