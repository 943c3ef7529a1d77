// descriptions.test.mjs - docs/openapi.yaml and docs/asyncapi.yaml say what the tables of the node say, no more and no less;
// their examples are what they describe; and who judges by them finds what is wrong.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { answeredMisfit, asyncapi, deliveryMisfit, eventMisfit, exchangeMisfit, follow, misfit, openapi, publishedMisfit } from './descriptions.mjs';

const source = (path) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

// The rows of a table of macros, each as its arguments; texts without their quotes.
function rows(path, macro) {
	const text = source(path).replace(/\/\*.*?\*\//gs, '');
	return [...text.matchAll(new RegExp(`^${macro}\\(`, 'gm'))].map(({ index }) => argumentsAt(text, index + macro.length));
}

function argumentsAt(text, from) {
	const found = [''];
	let depth = 0;
	for (const [token] of text.slice(from).matchAll(/"(?:[^"\\]|\\.)*"|[^"]/g)) {
		if (token === ')' && --depth === 0) break;
		if (token === '(' && depth++ === 0) continue;
		if (token === ',' && depth === 1) found.push('');
		else if (token[0] === '"') found[found.length - 1] += token.slice(1, -1);
		else if (!/\s/.test(token)) found[found.length - 1] += token;
	}
	return found;
}

const at = (path) => path.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
const get = (...path) => follow({ $ref: `openapi.yaml#/${at(path)}` });
const methods = ['get', 'put', 'post', 'patch', 'delete'];

// { path, method, operation, parameters }, references followed.
const operations = Object.entries(openapi.paths).flatMap(([path, item]) =>
	methods
		.filter((method) => item[method])
		.map((method) => {
			const operation = get('paths', path, method);
			const parameters = [...(get('paths', path).parameters ?? []), ...(operation.parameters ?? [])].map(follow);
			return { path, method, operation, parameters };
		}),
);

// ---- the tables

// What no table of routes has: who serves it is said behind it.
const besides = [
	'GET /v1/ws', // gateway/ws/upgrade.c
	'GET /v1/hooks/sms/{provider}/{secret}', // gateway/http/hook.c
	'POST /v1/hooks/sms/{provider}/{secret}',
	'GET /v1/openapi.json', // gateway/http/openapi.c
	'GET /config.json', // gateway/http/console.c
	'GET /healthz', // gateway/http/admin.c
	'GET /readyz',
	'GET /metrics',
];

test('every route is described, and every description has a route', () => {
	const routed = rows('gateway/http/routes.tbl.h', 'ROUTE');
	assert.ok(routed.length > 40, `${routed.length} routes`);
	const described = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`);
	assert.deepEqual(described.sort(), [...routed.map(([method, path]) => `${method} ${path}`), ...besides].sort());
	for (const [method, path, , status, query] of routed) {
		const { operation, parameters } = operations.find((one) => one.path === path && one.method === method.toLowerCase());
		const names = parameters.filter((one) => one.in === 'query').map(({ name }) => name);
		assert.deepEqual(names.sort(), query.split(',').filter(Boolean).sort(), `${method} ${path}: its query`);
		assert.ok(operation.responses[status], `${method} ${path}: ${status}`);
		const placed = parameters.filter((one) => one.in === 'path').map(({ name }) => `{${name}}`);
		assert.deepEqual(placed.sort(), (path.match(/\{[^}]+\}/g) ?? []).sort(), `${method} ${path}: its path`);
	}
});

test('every fault is a problem that an operation can end with, and no other is', () => {
	const faults = rows('base/fault.tbl.h', 'FAULT').map(([, name, status, executed, retry, title, userMessage]) => ({
		type: `urn:keyfob:problem:${name}`,
		title,
		status: Number(status),
		retriable: retry === 'RETRY_LATER' && executed === 'EXECUTED_NO',
		may_have_executed: executed === 'EXECUTED_UNKNOWN',
		...(userMessage !== 'NULL' && { user_message: userMessage }),
	}));
	assert.ok(faults.length > 20, `${faults.length} faults`);
	const shown = Object.entries(openapi.components.responses).flatMap(([name, { content }]) =>
		Object.keys(content['application/problem+json'].examples).map((example) => ({ name, example, ...get('components', 'examples', example).value })),
	);
	const unique = [...new Map(shown.map(({ name, detail, instance, ...problem }) => [problem.example, problem])).values()].map(({ example, ...problem }) => problem);
	const byTitle = (a, b) => (a.title < b.title ? -1 : 1);
	assert.deepEqual(unique.sort(byTitle), faults.sort(byTitle));
	for (const [name, { content }] of Object.entries(openapi.components.responses)) {
		const { type } = content['application/problem+json'].schema.properties;
		const types = new Set(shown.filter((one) => one.name === name).map((one) => one.type));
		assert.deepEqual(new Set(type.enum ?? [type.const]), types, `${name} has an example of each`);
	}
});

test('every method is described with its parameters, and no other is', () => {
	const table = rows('gateway/ws/methods.tbl.h', 'METHOD').map(([name, , , ...params]) => {
		const parts = params.map((param) => param.match(/^(NEEDS|TAKES)\((\w+),/));
		return { name, params: parts.map(([, , param]) => param), needed: parts.filter(([, how]) => how === 'NEEDS').map(([, , param]) => param) };
	});
	const described = Object.entries(asyncapi.operations)
		.filter(([, { action, channel }]) => action === 'receive' && channel.$ref === '#/channels/websocket')
		.map(([name]) => {
			const { params } = asyncapi.components.messages[name].payload.properties;
			return { name, params: Object.keys(params.properties), needed: params.required ?? [] };
		});
	const byName = (a, b) => (a.name < b.name ? -1 : 1);
	assert.deepEqual(described.sort(byName), table.sort(byName));
});

test('the statuses of a command are those of its life', () => {
	const statuses = new Set(rows('commands/lifecycle.tbl.h', 'EDGE').flatMap(([, from, , to]) => [from, to].map((status) => status.toLowerCase())));
	assert.deepEqual(new Set(openapi.components.schemas.CommandStatus.enum), statuses);
});

test('both bear the version of the programs', () => {
	const [, version] = source('CMakeLists.txt').match(/project\(keyfob VERSION (\S+)/);
	assert.deepEqual([openapi.info.version, asyncapi.info.version], [version, version]);
});

// ---- examples

function assertExamples(what, { schema, examples }) {
	assert.ok(Object.keys(examples ?? {}).length > 0, `${what} has an example`);
	for (const [name, example] of Object.entries(examples)) assert.equal(misfit(schema, follow(example).value), null, `${what}: ${name}`);
}

test('every operation has examples of what it takes and gives, and they fit', () => {
	for (const { path, method, operation, parameters } of operations) {
		const what = `${method} ${path}`;
		for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) assertExamples(`${what} ${type}`, content);
		for (const { name, schema, example } of parameters) {
			assert.notEqual(example, undefined, `${what}: ${name} has an example`);
			assert.equal(misfit(schema, example), null, `${what}: ${name}`);
		}
		for (const [status, response] of Object.entries(operation.responses))
			for (const [type, content] of Object.entries(follow(response).content ?? {})) assertExamples(`${what} ${status} ${type}`, content);
	}
});

test('every message has examples, and they fit', () => {
	for (const [name, { examples }] of Object.entries(asyncapi.components.messages)) {
		const { payload } = follow({ $ref: `asyncapi.yaml#/components/messages/${name}` });
		assert.ok(examples.length > 0, `${name} has an example`);
		for (const example of examples) assert.equal(misfit(payload, example.payload), null, name);
	}
});

test('nothing is described that nobody refers to', () => {
	const text = source('docs/openapi.yaml') + source('docs/asyncapi.yaml');
	for (const kind of ['parameters', 'headers', 'schemas', 'responses', 'examples'])
		for (const name of Object.keys(openapi.components[kind])) assert.match(text, new RegExp(`#/components/${kind}/${name}(?![\\w-])`), `${kind}/${name}`);
});

// ---- the judges

const id = '0192f3c8-5a10-7c3e-9d5f-2b1a8c4e6f70';
const example = (name) => structuredClone(openapi.components.examples[name].value);
const answer = (status, value, headers = {}) => ({
	status,
	headers: new Headers({ 'content-type': `application/${status < 400 ? 'json' : 'problem+json'}`, 'x-request-id': id, ...headers }),
	text: value === undefined ? '' : JSON.stringify(value),
});
const ask = (method, target, body) => ({ method, target, headers: new Headers(body === undefined ? {} : { 'content-type': 'application/json' }), body: body === undefined ? undefined : JSON.stringify(body) });

test('an exchange that is not as it is described is found', () => {
	const send = ask('POST', '/v1/vehicles/V1/commands', example('send'));
	const location = { location: `/v1/vehicles/V1/commands/${id}` };
	const good = answer(202, example('command-accepted'), location);
	assert.equal(exchangeMisfit(send, good), null);
	const problem = (name, status) => answer(status, example(name));
	for (const [request, said, why] of [
		[send, answer(201, example('command-accepted'), location), /status 201/],
		[send, answer(202, example('command-accepted')), /location is missing/i],
		[send, answer(202, example('command-accepted'), { ...location, 'x-surprise': '1' }), /x-surprise/],
		[send, answer(202, { ...example('command-accepted'), colour: 'red' }, location), /unevaluated/],
		[send, answer(202, { ...example('command-accepted'), status: 'lost' }, location), /status/],
		[send, problem('fleet-not-found', 404), /type/],
		[send, problem('unknown-field', 422), /not known to the node/],
		[ask('POST', '/v1/vehicles/V1/commands', { name: 'doors.unlock', colour: 'red' }), good, /obeyed.*additional/],
		[ask('GET', '/v1/vehicles?colour=red'), answer(200, example('vehicle-list')), /colour/],
		[ask('GET', '/v1/vehicles?limit=500'), answer(200, example('vehicle-list')), /limit/],
		[ask('GET', '/v1/elsewhere'), answer(200, {}), /status 200/],
		[ask('GET', '/v1/elsewhere'), problem('vehicle-not-found', 404), /type/],
		[ask('PATCH', '/v1/vehicles/V1'), problem('method-not-allowed', 405), /allow is missing/i],
		[ask('GET', '/v1/me'), problem('unauthenticated', 401), /www-authenticate is missing/i],
	])
		assert.match(exchangeMisfit(request, said) ?? 'fine', why);
	assert.equal(exchangeMisfit(ask('GET', '/v1/elsewhere'), problem('not-found', 404)), null);
	assert.equal(exchangeMisfit(ask('POST', '/v1/vehicles/V1/commands', { colour: 'red' }), problem('unknown-field', 422)), null);
});

test('an event, a message and a publish that are not as they are described are found', () => {
	const [connected] = example('event-list').items;
	assert.equal(eventMisfit(connected), null);
	assert.match(eventMisfit({ ...connected, type: 'connectivity.lost' }), /not described/);
	assert.match(eventMisfit({ ...connected, data: { state: 'away' } }), /required/);
	const request = { jsonrpc: '2.0', id: 1, method: 'vehicle.get', params: { vehicle_id: 'V1' } };
	const result = { jsonrpc: '2.0', id: 1, result: example('vehicle') };
	assert.equal(answeredMisfit(request, result), null);
	assert.match(answeredMisfit({ ...request, method: 'vehicle.sell' }, result), /not described/);
	assert.match(answeredMisfit({ ...request, params: {} }, result), /vehicle_id/);
	assert.match(answeredMisfit(request, { ...result, result: {} }), /required/);
	assert.match(answeredMisfit(request, { jsonrpc: '2.0', id: 1, error: { code: -1, message: '' } }), /code/);
	const headers = { 'content-type': 'application/cloudevents+json; charset=utf-8' };
	for (const { name, schema, example: value } of get('webhooks', 'event', 'post').parameters) {
		assert.equal(misfit(schema, value), null, name);
		headers[name] = value;
	}
	const event = example('cloud-event');
	assert.equal(deliveryMisfit({ headers, event }), null);
	assert.match(deliveryMisfit({ headers: { ...headers, 'webhook-signature': 'v1,none' }, event }), /webhook-signature/);
	assert.match(deliveryMisfit({ headers: { ...headers, 'content-type': 'application/json' }, event }), /not described/);
	assert.match(deliveryMisfit({ headers, event: { ...event, extra: 1 } }), /additional/);
	assert.match(deliveryMisfit({ headers, event: { ...event, data: { state: 'away' } } }), /required/);
	assert.equal(publishedMisfit('vehicles/V1/commands/accepted', `{"request_id":"${id}"}`), null);
	assert.equal(publishedMisfit('vehicles/V1/state/desired', ''), null);
	assert.match(publishedMisfit('vehicles/V1/commands/accepted', '{}'), /request_id/);
	assert.match(publishedMisfit('vehicles/V1/commands/expected', '{}'), /not described/);
});
