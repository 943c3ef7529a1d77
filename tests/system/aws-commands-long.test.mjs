// aws-commands-long.test.mjs - how many answers a second are read by AWS's protocol, all over one feed, beside Keyfob's own over 32: the
// same vehicles' work by either in turns. With --long; the numbers are in the test's output and in aws-commands-long.json.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { adminToken, folder, isLong, isSanitized, poll, sendCommand, startInstallation } from './harness.mjs';
import { atEnd } from './children.mjs';

const skip = !isLong || isSanitized ? 'takes minutes: --long, without sanitizers' : false;
const rounds = 5; // after one that warms up
const count = 40; // vehicles of either protocol
const answers = 60; // of each in a round, its last word apart
const outstanding = 8; // of each: what was not accepted yet
const options = { timeout: 900_000, skip };

// What differs: the topics, and how an answer and a verdict look.
const protocols = {
	keyfob: {
		prefix: 'K',
		topics: (id) => [`vehicles/${id}/commands/request`, `vehicles/${id}/commands/accepted`, `vehicles/${id}/commands/rejected`],
		isRequest: (topic) => topic.endsWith('/request'),
		isAccepted: (topic) => topic.endsWith('/accepted'),
		request: (topic, payload) => ({ id: payload.request_id, topic: payload.response_topic }),
		answer: (id, status) => ({ request_id: id, status }),
	},
	'aws-commands': {
		prefix: 'W',
		topics: (id) => ['request/json', 'response/accepted/json', 'response/rejected/json'].map((rest) => `$aws/commands/things/${id}/executions/+/${rest}`),
		isRequest: (topic) => topic.endsWith('/request/json'),
		isAccepted: (topic) => topic.endsWith('/accepted/json'),
		request: (topic) => ({ id: topic.split('/')[5], topic: topic.replace('/request/', '/response/') }),
		answer: (id, status) => ({ status: status.toUpperCase() }),
	},
};

class Answerer {
	#onAccepted = () => {};
	#onRequest;

	constructor(protocol, id) {
		Object.assign(this, { protocol, id });
	}

	async connect(broker) {
		this.client = await mqtt.connectAsync(broker.url, { clientId: this.id, username: this.id, password: broker.password, protocolVersion: 5, reconnectPeriod: 0 });
		atEnd(() => this.client.endAsync(true));
		this.client.on('message', (topic, payload) => {
			if (this.protocol.isRequest(topic)) this.#onRequest(this.protocol.request(topic, JSON.parse(payload)));
			else if (this.protocol.isAccepted(topic)) this.#onAccepted();
			else assert.fail(`${topic}: ${payload}`);
		});
		await this.client.subscribeAsync(this.protocol.topics(this.id), { qos: 1 });
	}

	request() {
		return new Promise((resolve) => (this.#onRequest = resolve));
	}

	// Each answer leaves as soon as there is room for it.
	work({ id, topic }) {
		return new Promise((resolve) => {
			let sent = 0;
			let accepted = 0;
			const send = () => this.client.publish(topic, JSON.stringify(this.protocol.answer(id, sent++ < answers ? 'in_progress' : 'succeeded')), { qos: 1 });
			this.#onAccepted = () => {
				if (++accepted > answers) resolve();
				else if (sent <= answers) send();
			};
			while (sent < outstanding) send();
		});
	}
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

test('one feed for all of AWS\'s answers, beside 32', options, async (t) => {
	const idsOf = ({ prefix }) => Array.from({ length: count }, (_, i) => prefix + String(i + 1).padStart(5, '0'));
	const { broker, database, node } = await startInstallation({ ids: Object.values(protocols).flatMap(idsOf), config: { limits: { per_subject: '0', per_address: '0' } } });
	const admin = await adminToken('root');
	const measured = {};
	const vehicles = {};
	for (const [name, protocol] of Object.entries(protocols)) {
		const ids = idsOf(protocol);
		await database.sql(`begin; insert into vehicles (vehicle_id, protocol) select id, '${name}' from unnest(array[${ids.map((id) => `'${id}'`)}]) id;
			insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles where protocol = '${name}' order by 1; commit`);
		vehicles[name] = ids.map((id) => new Answerer(protocol, id));
		for (const vehicle of vehicles[name]) await vehicle.connect(broker);
		measured[name] = [];
	}
	await poll(() => database.sql('select count(*) from vehicle_heads where reachable and subscribed'), (n) => Number(n) === 2 * count, { ms: 60_000, what: 'all are there' });

	for (let round = 0; round <= rounds; round++)
		for (const name of Object.keys(protocols)) {
			const requests = await Promise.all(
				vehicles[name].map(async (vehicle) => {
					const request = vehicle.request();
					const { status } = await sendCommand(node, admin, vehicle.id, { name: 'horn.honk' });
					assert.equal(status, 202);
					return request;
				}),
			);
			const begun = performance.now();
			await Promise.all(vehicles[name].map((vehicle, i) => vehicle.work(requests[i])));
			if (round > 0) measured[name].push((count * (answers + 1) * 1000) / (performance.now() - begun));
		}

	assert.equal(await database.sql(`select count(*) from commands where status <> 'succeeded'`), '0');
	assert.equal(await database.sql(`select count(distinct jsonb_array_length(timeline::jsonb)) from commands`), '1');
	const ratios = measured['aws-commands'].map((rate, i) => rate / measured.keyfob[i]);
	const numbers = { answers_per_s: Object.fromEntries(Object.entries(measured).map(([name, rates]) => [name, { median: Math.round(median(rates)), all: rates.map(Math.round) }])), ratio: { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) } };
	writeFileSync(join(folder, 'aws-commands-long.json'), JSON.stringify(numbers, null, '\t'));
	t.diagnostic(JSON.stringify(numbers));
	assert.ok(numbers.ratio.median > 0.5, 'one feed has become the bound');
});
