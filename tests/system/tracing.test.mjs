// tracing.test.mjs - one trace for a command: from the app through the vehicle and back, over two nodes, to a collector.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { context, ROOT_CONTEXT, trace, TraceFlags } from '@opentelemetry/api';
import { parseTraceParent, TraceState, W3CTraceContextPropagator } from '@opentelemetry/core';
import { startCollector } from './collector.mjs';
import { adminToken, connectVehicle, grant, openSocket, poll, Reference, registerVehicle, rest, sendCommand, startInstallation, startNode, token, vehicleIds } from './harness.mjs';
import { untilConnected } from './stream.mjs';

const options = { timeout: 90_000 };
const ids = vehicleIds(8);
const collector = await startCollector();
const { broker, database, node } = await startInstallation({
	ids,
	config: { tracing: { endpoint: `${collector.url}/v1/traces`, delay: '50ms', headers: { 'X-Tenant': 'cars' }, resource: { 'deployment.environment': 'test' } } },
});
// The same by OpenTelemetry's own names.
const second = await startNode({
	broker,
	database,
	env: {
		OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
		OTEL_EXPORTER_OTLP_HEADERS: 'X-Tenant=cars%20two',
		OTEL_BSP_SCHEDULE_DELAY: '50',
		OTEL_SERVICE_NAME: 'second',
		OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=test,service.name=other',
	},
});
const admin = await adminToken();
const alice = await token({ sub: 'alice' });
let used = 0;

async function newVehicle() {
	const id = ids[used++];
	await registerVehicle(node, admin, id, { msisdn: `+49155577${id.slice(-5)}` });
	await grant(node, admin, id, 'alice', 'owner');
	return id;
}

// A span of the app's, as its tracing library puts it into headers.
function startSpan({ traceFlags = TraceFlags.SAMPLED } = {}) {
	const hex = (n) => Array.from({ length: n }, () => Math.floor(Math.random() * 16).toString(16)).join('');
	const span = { traceId: hex(31) + '1', spanId: hex(15) + '1', traceFlags, traceState: new TraceState('shop=t61rcWkgMzE,other=1') };
	const headers = {};
	new W3CTraceContextPropagator().inject(trace.setSpanContext(ROOT_CONTEXT, span), headers, { set: (carrier, key, value) => (carrier[key] = value) });
	return { ...span, headers };
}

// What a vehicle's tracing library reads of a message.
function extract({ properties }) {
	const user = properties.userProperties ?? {};
	const carrier = { get: (from, key) => from[key], keys: (from) => Object.keys(from) };
	return trace.getSpanContext(new W3CTraceContextPropagator().extract(context.active(), user, carrier));
}

const command = async (id, commandId) => (await rest(node, 'GET', `/v1/vehicles/${id}/commands/${commandId}`, { token: alice })).body;
const spanOf = (traceId, name, more = {}) => collector.spans.until((span) => span.traceId === traceId && span.name === name, { ms: 30_000, ...more });
const ns = (text) => BigInt(text);

function assertWithin(inner, outer) {
	assert.ok(ns(inner.startTimeUnixNano) >= ns(outer.startTimeUnixNano), `${inner.name} begins after ${outer.name}`);
	assert.ok(ns(inner.endTimeUnixNano) <= ns(outer.endTimeUnixNano), `${inner.name} ends before ${outer.name}`);
	assert.ok(ns(inner.startTimeUnixNano) <= ns(inner.endTimeUnixNano), `${inner.name} does not end before it begins`);
}

// A journey is looked for when it is three seconds old: they are waited for together.
describe('a journey', { concurrency: true }, () => {
	test('an app\'s trace goes through the vehicle and back, and is told whole and once', options, async () => {
		const id = await newVehicle();
		const own = 'b7ad6b7169203331';
		const car = await connectVehicle(broker, {
			id,
			handler: async (request, self) => {
				const seen = extract(await self.requests.until(({ request_id }) => request_id === request.request_id));
				const properties = { correlationData: Buffer.from(request.request_id), userProperties: { traceparent: `00-${seen.traceId}-${own}-01` } };
				await self.publish(request.response_topic, { request_id: request.request_id, status: 'succeeded' }, { properties });
			},
		});
		await untilConnected(node, admin, [id]); // so nothing waits
		const [, watcher] = await Promise.all([node, second].map(async (each) => {
			const socket = await openSocket(each, { token: alice });
			await socket.call('vehicle.subscribe', { vehicle_id: id });
			return socket;
		}));
		const app = startSpan();
		const sent = await sendCommand(node, alice, id, { name: 'doors.unlock' }, app.headers);
		assert.equal(sent.status, 202);
		assert.equal(sent.body.traceparent, app.headers.traceparent);
		await watcher.until(({ data }) => data.id === sent.body.id && data.status === 'succeeded');

		const request = await car.requests.until(({ request_id }) => request_id === sent.body.id);
		const seen = extract(request);
		assert.equal(seen.traceId, app.traceId);
		assert.equal(seen.traceFlags, TraceFlags.SAMPLED);
		assert.notEqual(seen.spanId, app.spanId);
		assert.equal(seen.traceState.serialize(), 'shop=t61rcWkgMzE,other=1');
		const told = await command(id, sent.body.id);
		assert.equal(told.timeline.find(({ step }) => step === 'answer').detail.traceparent, `00-${app.traceId}-${own}-01`);

		const root = await spanOf(app.traceId, 'command doors.unlock');
		const [accept, publish, puback, execute, answer] = await Promise.all(['accept', 'publish', 'puback', 'execute', 'answer'].map((name) => spanOf(app.traceId, name)));
		const [fanOut, other] = await Promise.all([second, node].map((by) => collector.spans.until((span) => span.traceId === app.traceId && span.name === 'fan-out' && span.resource['service.instance.id'] === by.name)));
		assert.equal(root.parentSpanId, app.spanId);
		for (const span of [accept, publish, execute, answer, fanOut]) assert.equal(span.parentSpanId, root.spanId, span.name);
		assert.equal(puback.parentSpanId, publish.spanId);
		assert.equal(execute.spanId, seen.spanId, 'what the vehicle does is below the attempt');
		assert.deepEqual(answer.links, [{ traceId: app.traceId, spanId: own }]);
		for (const span of [accept, execute, answer]) assertWithin(span, root);
		assertWithin(puback, publish);
		assert.deepEqual(root.status, { code: 1 });
		assert.equal(root.attributes['keyfob.vehicle.id'], id);
		assert.equal(root.attributes['keyfob.command.id'], sent.body.id);
		assert.equal(root.attributes['keyfob.command.status'], 'succeeded');
		assert.equal(puback.attributes['messaging.mqtt.reason_code'], 0);
		assert.equal(other.parentSpanId, root.spanId, 'by each node that gave it to somebody');
		assert.equal(other.resource['service.name'], 'keyfob');
		assert.equal(fanOut.resource['service.name'], 'second');
		assert.equal(fanOut.resource['deployment.environment'], 'test');
		assert.ok(root.resource['service.version']);
		assert.equal(collector.trace(app.traceId).filter(({ name }) => name !== 'fan-out').length, 6);
		assert.ok(collector.requests.items.every(({ method, path, headers }) => method === 'POST' && path === '/v1/traces' && headers['content-type'] === 'application/json'));
		assert.deepEqual([...new Set(collector.requests.items.map(({ headers }) => headers['x-tenant']))].sort(), ['cars', 'cars two']);

		const lines = [node, second].flatMap(({ child }) => child.logText().split('\n')).filter((line) => line.includes(sent.body.id) && line.includes(app.traceId));
		for (const area of ['api', 'dispatch', 'answer']) assert.ok(lines.some((line) => line.includes(`area=${area}`)), `${area} in ${lines.join('\n')}`);
		assert.ok(lines.some((line) => line.includes(`request_id=${sent.headers.get('x-request-id')}`)));
	});

	test('a command without a trace begins one, also where what was given is none', options, async () => {
		const id = await newVehicle();
		const car = await connectVehicle(broker, { id, handler: () => ({ status: 'failed', reason: { code: 'DOOR_OPEN', description: 'canary-reason' }, result: { door: 'canary-result' } }) }); // which no span may hold
		const zero = '00-00000000000000000000000000000000-b7ad6b7169203331-01';
		const given = [{}, { traceparent: 'nonsense', tracestate: 'a=1' }, { traceparent: zero }];
		const sent = await Promise.all(given.map((headers) => sendCommand(node, alice, id, { name: 'doors.unlock' }, headers)));
		for (const { body } of sent) {
			const { traceId } = parseTraceParent(body.traceparent);
			const request = await car.requests.until(({ request_id }) => request_id === body.id);
			assert.equal(extract(request).traceId, traceId);
			assert.equal(request.properties.userProperties.tracestate, undefined);
			const root = await spanOf(traceId, 'command doors.unlock');
			assert.equal(root.parentSpanId, undefined);
			assert.deepEqual(root.status, { code: 2, message: 'DOOR_OPEN' });
		}
	});

	test('what the app does not record is carried and not told', options, async () => {
		const id = await newVehicle();
		const car = await connectVehicle(broker, { id });
		const socket = await openSocket(node, { token: alice });
		const [quiet, loud] = [startSpan({ traceFlags: TraceFlags.NONE }), startSpan()];
		const send = ({ headers }) => socket.call('command.send', { vehicle_id: id, name: 'horn.honk', params: { note: 'canary-note' }, ...headers });
		const sent = await send(quiet);
		const request = await car.requests.until(({ request_id }) => request_id === sent.id);
		assert.deepEqual({ ...request.properties.userProperties }, { name: 'horn.honk', ...quiet.headers });
		await poll(() => command(id, sent.id), ({ status }) => status === 'succeeded');
		await send(loud);
		await spanOf(loud.traceId, 'answer'); // which is later
		assert.deepEqual(collector.trace(quiet.traceId), []);
	});

	test('waiting, and never being delivered', options, async () => {
		const id = await newVehicle();
		const [app, late] = [startSpan(), startSpan()];
		await sendCommand(second, alice, id, { name: 'doors.unlock', ttl_seconds: 1, wake: false }, app.headers);
		const waiting = await sendCommand(second, alice, id, { name: 'doors.unlock', wake: false }, late.headers);
		const root = await spanOf(app.traceId, 'command doors.unlock');
		assert.deepEqual(root.status, { code: 2, message: 'EXPIRED' });
		const wait = await spanOf(app.traceId, 'wait');
		assert.equal(wait.parentSpanId, root.spanId);
		assertWithin(wait, root);
		assert.deepEqual(wait.events.map(({ name }) => name).slice(0, 1), ['reachability']);
		assert.deepEqual(collector.trace(app.traceId).map(({ name }) => name).sort(), ['accept', 'command doors.unlock', 'wait']);

		// the reference vehicle says itself what it did in the trace
		new Reference(broker, 'vehicle', ['--id', id]);
		const answer = await spanOf(late.traceId, 'answer');
		const execute = await spanOf(late.traceId, 'execute');
		assert.equal(answer.links[0].traceId, late.traceId);
		assert.notEqual(answer.links[0].spanId, execute.spanId);
		assertWithin(await spanOf(late.traceId, 'wait'), await spanOf(late.traceId, 'command doors.unlock'));
		assert.equal((await command(id, waiting.body.id)).status, 'succeeded');
	});
});

test('a collector that asks for it is asked again; what it refuses is counted', options, async () => {
	const id = await newVehicle();
	await connectVehicle(broker, { id });
	const dropped = async () => {
		const all = await Promise.all([node, second].map((each) => each.metrics()));
		return all.reduce((sum, text) => sum + Number(/^keyfob_spans_dropped_total (\d+)/m.exec(text)[1]), 0);
	};
	const before = collector.requests.items.length;
	const had = await dropped();
	const app = startSpan();
	collector.answers.push({ status: 503, headers: { 'Retry-After': '1' } });
	await sendCommand(node, alice, id, { name: 'doors.unlock' }, app.headers);
	await spanOf(app.traceId, 'answer');
	const busy = collector.requests.items.slice(before).find(({ status }) => status === 503);
	const again = await collector.requests.until(({ text, status }) => status === 200 && text === busy.text, { from: before });
	assert.ok(again.at - busy.at >= 900, `${again.at - busy.at} ms`);
	assert.equal(await dropped(), had);

	const refused = startSpan();
	collector.answers.push({ status: 400 });
	await sendCommand(node, alice, id, { name: 'doors.unlock' }, refused.headers);
	await poll(dropped, (n) => n > had, { ms: 30_000, what: 'what was refused is counted' });
	assert.equal(collector.requests.items.filter(({ text }) => text === collector.requests.items.find(({ status }) => status === 400).text).length, 1);
});
