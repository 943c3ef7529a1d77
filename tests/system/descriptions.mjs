// descriptions.mjs - docs/openapi.yaml and docs/asyncapi.yaml as judges: of every request and answer, of every event of a
// stream, of every message that a WebSocket or a vehicle gets. What they do not describe fails the test that met it.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { load } from 'js-yaml';
import { atEnd, folder } from './children.mjs';

export const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
export const { openapi, asyncapi } = read();

// Read once in a run, and kept beside the files' folders: YAML of this size costs each of them a third of a second.
function read() {
	const kept = join(dirname(folder), 'descriptions.json');
	if (process.env.KEYFOB_TEST_RUN && existsSync(kept)) return JSON.parse(readFileSync(kept, 'utf8'));
	const [openapi, asyncapi] = ['openapi', 'asyncapi'].map((name) => load(readFileSync(`${docs}${name}.yaml`, 'utf8')));
	writeFileSync(`${kept}.${process.pid}`, JSON.stringify({ openapi, asyncapi }));
	renameSync(`${kept}.${process.pid}`, kept);
	return { openapi, asyncapi };
}

// ---- schemas

// A reference within a file begins with its name then, so that any part of it can be compiled by itself.
function named(file, value) {
	if (Array.isArray(value)) return value.map((item) => named(file, item));
	if (typeof value !== 'object' || value === null) return value;
	return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === '$ref' ? item.replace(/^#/, `${file}#`).replace(/^\.\//, '') : named(file, item)]));
}

const files = { 'openapi.yaml': named('openapi.yaml', openapi), 'asyncapi.yaml': named('asyncapi.yaml', asyncapi) };
const ajv = new Ajv({ strict: false, validateSchema: false, validateFormats: true });
addFormats(ajv);
for (const [name, file] of Object.entries(files)) ajv.addSchema(file, name);
const compiled = new Map();

// What is wrong with the value, in words; null: nothing.
export function misfit(schema, value) {
	if (!compiled.has(schema)) compiled.set(schema, ajv.compile(schema));
	const validate = compiled.get(schema);
	return validate(value) ? null : ajv.errorsText(validate.errors, { dataVar: 'it' });
}

export function follow(value) {
	if (!value?.$ref) return value;
	const [file, pointer] = value.$ref.split('#');
	return follow(pointer.slice(1).split('/').reduce((at, part) => at[part.replaceAll('~1', '/').replaceAll('~0', '~')], files[file]));
}

const schema = (file, name) => files[file].components.schemas[name];
const openSchema = (name) => schema('openapi.yaml', name);

// ---- what was found

const found = new Set();

// A test may catch what is thrown here: then the file fails at its end.
function fail(what, why, evidence) {
	const message = `${what}: ${why}\n${String(evidence).slice(0, 2000)}`;
	found.add(message);
	throw new Error(message);
}

atEnd(async () => {
	if (found.size > 0) throw new Error(`not as docs/ describe it:\n${[...found].join('\n')}`);
});

// ---- REST

const escaped = (text) => text.replace(/[.*+?^$|()[\]\\]/g, '\\$&');
const routes = Object.entries(files['openapi.yaml'].paths).map(([path, item]) => ({
	path,
	item,
	pattern: new RegExp(`^${escaped(path).replace(/\{([^}]+)\}/g, '(?<$1>[^/]+)')}$`),
}));

// Every answer may have these; hardening.test.mjs looks at those that it must have.
const worn = /^(date|server|connection|keep-alive|content-(length|type)|transfer-encoding|cache-control|vary|access-control-.*|x-content-type-options|x-frame-options|referrer-policy|cross-origin-.*|content-security-policy|strict-transport-security)$/;

// A text as the type that its schema wants.
const typed = (of, text) => (follow(of).type === 'integer' && /^-?\d+$/.test(text) ? Number(text) : text);

const essence = (type) => type.split(';')[0].trim().toLowerCase();

function contentOf(content, type) {
	return content?.[type] ?? Object.entries(content ?? {}).find(([described]) => described === '*/*' || essence(described) === essence(type))?.[1];
}

function valueOf(type, text) {
	return /\bjson\b/.test(type) ? JSON.parse(text) : text;
}

// Of the answer: { status, headers, text }.
function answerMisfit(described, method, { status, headers, text }) {
	if (!described) return `the status ${status} is not described`;
	for (const [name, header] of Object.entries(described.headers ?? {})) {
		const { required, schema: of } = follow(header);
		const value = headers.get(name);
		if (value === null && required) return `the header ${name} is missing`;
		const why = value === null ? null : misfit(of, typed(of, value));
		if (why) return `the header ${name} is "${value}": ${why}`;
	}
	const known = new Set(Object.keys(described.headers ?? {}).map((name) => name.toLowerCase()));
	for (const [name] of headers) if (!known.has(name) && !worn.test(name)) return `the header ${name} is not described`;
	if (text === '' && (method === 'HEAD' || !described.content)) return null;
	const type = headers.get('content-type') ?? '';
	const content = contentOf(described.content, type);
	if (!content) return `a body of type "${type}" is not described`;
	return text === null ? null : misfit(content.schema, valueOf(type, text));
}

// Of the request: { path, query, headers, body }.
function requestMisfit(route, operation, { path, query, headers, body }) {
	const groups = path.match(route.pattern).groups ?? {};
	const parameters = [...(route.item.parameters ?? []), ...(operation.parameters ?? [])].map(follow);
	const places = { path: new Map(Object.entries(groups).map(([name, text]) => [name, decodeURIComponent(text)])), query, header: headers };
	for (const { name, in: place, required, schema: of } of parameters) {
		const text = places[place].get(name) ?? null;
		if (text === null && required) return `the parameter ${name} is missing`;
		const why = text === null ? null : misfit(of, typed(of, text));
		if (why) return `the parameter ${name} is "${text}": ${why}`;
	}
	for (const [name] of query) if (!parameters.some((known) => known.in === 'query' && known.name === name)) return `the parameter ${name} is not described`;
	if (!body) return operation.requestBody?.required ? 'the body is missing' : null;
	// A body that means nothing, {} to where none is taken, may come.
	if (!operation.requestBody) return body === '{}' ? null : 'it takes no body';
	const type = headers.get('content-type') ?? '';
	const content = contentOf(operation.requestBody.content, type);
	return content ? misfit(content.schema, valueOf(type, body)) : `a body of type "${type}" is not described`;
}

// `request`: { method, target, headers, body }, `answer`: { status, headers, text }, where the text is null if nobody has read it.
// A request that was refused may have been meant to be wrong; one that was obeyed was not.
export function exchangeMisfit(request, answer) {
	const { method, target, body } = request;
	const url = new URL(target, 'http://node');
	const path = target.replace(/[?#].*$/s, ''); // not the URL's, which is normalised
	const route = routes.find(({ pattern }) => pattern.test(path));
	const operation = route?.item[method === 'HEAD' ? 'get' : method.toLowerCase()];
	if (method === 'OPTIONS' && answer.status === 204) return null; // a browser asks before it asks
	const elsewhere = files['openapi.yaml']['x-other-paths'][route ? 405 : 404];
	const described = operation ? operation.responses[answer.status] : answer.status === (route ? 405 : 404) && elsewhere;
	const wrong = answerMisfit(follow(described), method, answer);
	if (wrong || !operation) return wrong;
	const isUnknown = answer.status === 422 && JSON.parse(answer.text).type.endsWith(':unknown-field');
	if (answer.status >= 400 && !isUnknown) return null;
	const why = requestMisfit(route, operation, { path, query: url.searchParams, headers: request.headers, body });
	if (isUnknown) return why ? null : 'what is described is not known to the node';
	return why && `it was obeyed, but ${why}`;
}

export function checkExchange(request, answer) {
	const wrong = exchangeMisfit(request, answer);
	if (wrong) fail(`${request.method} ${request.target} → ${answer.status}`, wrong, `${request.body}\n${answer.text}`);
}

// An event of a stream, as { event, id, data }.
export function checkStreamed({ event, id, data }) {
	const isOfFleet = data.vehicle === undefined;
	const wrong = event === 'snapshot' ? misfit(openSchema(isOfFleet ? 'FleetSnapshot' : 'VehicleSnapshot'), data) : eventMisfit(data);
	const isNamed = event === 'snapshot' || (event === data.type && (id === undefined || id.endsWith(`:${data.seq}`)));
	if (wrong || !isNamed) fail(`the event ${event} ${id}`, wrong ?? 'its data has another type or seq', JSON.stringify(data));
}

// A choice of many says of a misfit only that there is one: so by its type.
export function eventMisfit(event) {
	if (event?.vehicle_id === undefined) return misfit(openSchema('FleetEvent'), event);
	const described = openSchema('Event').oneOf.find(({ properties }) => properties.type.const === event.type);
	return described ? misfit(described, event) : `the type ${event.type} is not described`;
}

// ---- webhooks

const delivered = files['openapi.yaml'].webhooks.event.post;

// What a webhook's server got: { headers, event }.
export function deliveryMisfit({ headers, event }) {
	for (const { name, schema: of } of delivered.parameters) {
		const why = misfit(of, headers[name] ?? null);
		if (why) return `the header ${name} is "${headers[name]}": ${why}`;
	}
	const content = contentOf(delivered.requestBody.content, headers['content-type'] ?? '');
	if (!content) return `a body of type "${headers['content-type']}" is not described`;
	const { subject, seq, type, time, data } = event;
	return misfit(content.schema, event) ?? eventMisfit({ vehicle_id: subject, seq, type, time, data });
}

export function checkDelivered(delivery) {
	const wrong = deliveryMisfit(delivery);
	if (wrong) fail(`a delivery of ${delivery.event.type}`, wrong, JSON.stringify(delivery));
}

// ---- WebSocket

const { messages } = files['asyncapi.yaml'].components;

export function checkPushed(message) {
	const { method, params } = message;
	const isEnd = params.vehicle_id !== undefined && params.seq === undefined;
	const misfitOf = isEnd ? (end) => misfit(schema('asyncapi.yaml', 'VehicleSubscriptionEnd'), end) : eventMisfit;
	const wrong = misfit(messages.event.payload.properties.method, method) ?? misfitOf(params);
	if (wrong) fail('a notification', wrong, JSON.stringify(message));
}

// `request` is what was answered, where that is known.
export function answeredMisfit(request, answer) {
	if (answer.error) return misfit(messages.error.payload, answer);
	if (!request) return null;
	const { method } = request;
	if (!messages[method]) return 'the method is not described';
	return misfit(messages[method].payload, request) ?? misfit(messages[`${method}.result`].payload, answer);
}

export function checkAnswered(request, answer) {
	const wrong = answeredMisfit(request, answer);
	if (wrong) fail(request?.method, wrong, `${JSON.stringify(request)}\n${JSON.stringify(answer)}`);
}

// ---- MQTT

const topics = Object.entries(files['asyncapi.yaml'].channels)
	.filter(([name]) => files['asyncapi.yaml'].operations[name]?.action === 'send')
	.map(([name, { address, messages: said }]) => ({
		name,
		pattern: new RegExp(`^${escaped(address).replace(/\{[^}]+\}/g, '[^/]+')}$`),
		message: follow(follow(Object.values(said)[0])),
	}));

// What a vehicle was sent.
export function publishedMisfit(topic, payload) {
	const described = topics.find(({ pattern }) => pattern.test(topic));
	if (!described) return 'the topic is not described';
	const { retain } = files['asyncapi.yaml'].operations[described.name].bindings.mqtt;
	if (described.message.contentType !== 'application/json' || (retain && payload === '')) return null;
	return misfit(described.message.payload, JSON.parse(payload));
}

export function checkPublished(topic, payload) {
	const wrong = publishedMisfit(topic, payload);
	if (wrong) fail(topic, wrong, payload);
}
