// vehicles.mjs - a vehicle as a stranger builds it, on the npm package `mqtt`: MQTT 5 or 3.1.1.
//
// It does a request once, sends the same answer again when it is asked again, and resends an answer every two seconds
// until it is accepted or rejected.
//
// Towards a broker that tells nobody who comes and goes (`broker.tellsNothing`) it does so itself, by birth and will.
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import mqtt from 'mqtt';
import { atEnd, build, Child, folder } from './children.mjs';
import { checkPublished } from './descriptions.mjs';
import { Record } from './record.mjs';

const succeed = () => ({ status: 'succeeded', result: {} });

class Vehicle {
	#answers = new Map(); // request id -> the answer that stands
	#unaccepted = new Map(); // request id -> { topic, answer }
	#timer;
	#life = { version: 0 }; // { session, version } of this connection

	constructor(broker, options) {
		Object.assign(this, { broker, version: 5, qos: 1, clean: true, handler: succeed, resendMs: 2000, tellsOfItself: Boolean(broker.tellsNothing) }, options);
		this.requests = new Record(`${this.id} (requests)`); // every one received, repeated or not
		this.verdicts = new Record(`${this.id} (accepted and rejected)`); // { topic, …payload }
		this.messages = new Record(`${this.id} (all messages)`); // { topic, payload, packet }
		this.executed = []; // request ids, in order
	}

	// Resolves when it is subscribed.
	async connect() {
		this.client = mqtt.connect(this.tls ? this.broker.secureUrl : this.broker.url.split(',')[0], {
			clientId: this.id,
			username: this.id,
			password: this.broker.password,
			protocolVersion: this.version,
			clean: this.clean,
			reconnectPeriod: 200,
			...this.tls, // { ca, cert, key }, towards broker.secureUrl
			resubscribe: false,
			servers: this.broker.servers,
			...(this.tellsOfItself && { will: this.#nextWill() }),
			...(this.version === 5 && !this.clean && { properties: { sessionExpiryInterval: 3600 } }),
		});
		this.client.on('message', (topic, payload, packet) => this.#onMessage(topic, payload, packet));
		this.client.on('error', () => {});
		if (this.tellsOfItself) this.client.on('reconnect', () => (this.client.options.will = this.#nextWill()));
		const subscribed = new Promise((resolve, reject) => {
			this.client.on('connect', () => this.#subscribe().then(() => this.#tell()).then(resolve, reject));
		});
		this.#timer = setInterval(() => this.#repeat(), this.resendMs);
		await subscribed;
	}

	#subscribe() {
		const own = `vehicles/${this.id}`;
		return this.client.subscribeAsync({
			[`${own}/commands/accepted`]: { qos: 1 },
			[`${own}/commands/rejected`]: { qos: 1 },
			[`${own}/state/desired`]: { qos: 1 },
			[`${own}/notices/+`]: { qos: 1 },
			[`${own}/commands/request`]: { qos: this.qos },
		});
	}

	#nextWill() {
		this.#life = { session: randomUUID(), version: Math.max(Date.now(), this.#life.version + 1) };
		return { topic: `vehicles/${this.id}/lifecycle`, payload: Buffer.from(this.#lifeMessage('will')), qos: 1 };
	}

	#lifeMessage(type) {
		return JSON.stringify({ type, ...this.#life });
	}

	async #tell() {
		if (this.tellsOfItself) await this.publish(`vehicles/${this.id}/lifecycle`, this.#lifeMessage('birth'));
	}

	#onMessage(topic, payload, packet) {
		const message = { topic, payload: payload.toString(), packet };
		checkPublished(topic, message.payload);
		this.messages.push(message);
		if (topic.endsWith('/commands/request')) this.#onRequest(message);
		else if (/\/commands\/(accepted|rejected)$/.test(topic)) this.#onVerdict(message);
	}

	async #onRequest({ payload, packet }) {
		const request = JSON.parse(payload);
		this.requests.push({ ...request, properties: packet.properties, at: Date.now() });
		const before = this.#answers.get(request.request_id);
		if (before) return before.final && this.answer(request, before.answer);
		this.#answers.set(request.request_id, {});
		this.executed.push(request.request_id);
		await this.#execute(request);
	}

	// A handler returns an answer, null for silence, or (as an asynchronous generator) several, one after the other.
	async #execute(request) {
		const done = await this.handler(request, this);
		if (done?.[Symbol.asyncIterator]) for await (const answer of done) await this.answer(request, answer);
		else if (done) await this.answer(request, done);
	}

	#onVerdict({ topic, payload }) {
		const verdict = { topic, code: undefined, ...JSON.parse(payload) };
		this.#unaccepted.delete(verdict.request_id);
		this.verdicts.push(verdict);
	}

	// Also the birth: it may have come when nobody was there to read it.
	#repeat() {
		if (!this.client.connected) return;
		this.#tell().catch(() => {});
		for (const [id, { topic, answer }] of this.#unaccepted) this.#publishAnswer(topic, id, answer).catch(() => {});
	}

	async answer(request, answer) {
		const id = request.request_id;
		this.#answers.set(id, { answer, final: answer.status !== 'in_progress' });
		this.#unaccepted.set(id, { topic: request.response_topic, answer });
		await this.#publishAnswer(request.response_topic, id, answer).catch(() => {});
	}

	#publishAnswer(topic, id, answer) {
		const properties = this.version === 5 ? { correlationData: Buffer.from(id) } : undefined;
		return this.publish(topic, { request_id: id, ...answer }, { properties });
	}

	// As it is, where `payload` is a string.
	publish(topic, payload, options = {}) {
		const text = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload);
		return this.client.publishAsync(topic, text, { qos: 1, ...options });
	}

	get feed() {
		return feedOf(this.id);
	}

	verdictOn(requestId, options) {
		return this.verdicts.until((verdict) => verdict.request_id === requestId, options);
	}

	async disconnect({ force = false } = {}) {
		clearInterval(this.#timer);
		await this.client?.endAsync(force, { reasonCode: this.tellsOfItself ? 0x04 : 0 }); // 0x04: with its will
	}

	// Cuts the connection as a tunnel does: no DISCONNECT; it comes back by itself.
	cut() {
		this.client.stream.destroy();
	}
}

// The feed is the CRC-32 of the id modulo 32, two digits.
export function feedOf(id) {
	return String(checksum(id) % 32).padStart(2, '0');
}

// zlib.crc32 came with Node 20.15; Debian's is older.
function checksum(text) {
	if (zlib.crc32) return zlib.crc32(text);
	let crc = ~0;
	for (const byte of Buffer.from(text)) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc >>> 0;
}

// Made, but not yet connected.
export function vehicle(broker, options) {
	const made = new Vehicle(broker, options);
	atEnd(() => made.disconnect({ force: true }));
	return made;
}

export async function connectVehicle(broker, options) {
	const made = vehicle(broker, options);
	await made.connect();
	return made;
}

// keyfob-vehicle, the reference vehicle: one or many, as `args` say (['--id', id] or ['--prefix', p, '--count', n], and more), and
// what they wrote down themselves.
export class Reference extends Child {
	constructor(broker, name, args, options) {
		const password = join(folder, `${name}.password`); // its own: another may be reading
		const journal = join(folder, `${name}.journal`);
		writeFileSync(password, `${broker.password}\n`, { mode: 0o600 });
		writeFileSync(journal, '');
		super(name, `${build}/bin/keyfob-vehicle`, ['--url', broker.url, '--password-file', password, '--log', journal, ...(broker.tellsNothing ? ['--birth'] : []), ...args].map(String), options);
		this.journalFile = journal;
	}

	// { time, vehicle_id, what, request_id, … } of each thing, in their order.
	journal() {
		return readFileSync(this.journalFile, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
	}

	// As the oracles want those of `ids`; when a request expires the journal does not say.
	vehicles(ids) {
		const all = new Map(ids.map((id) => [id, { id, executed: [], requests: { items: [] } }]));
		for (const { time, vehicle_id, what, request_id } of this.journal()) {
			if (what === 'executed') all.get(vehicle_id).executed.push(request_id);
			if (what === 'received' || what === 'duplicate') all.get(vehicle_id).requests.items.push({ request_id, at: Date.parse(time) });
		}
		return [...all.values()];
	}
}
