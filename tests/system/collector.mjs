// collector.mjs - what a node exports its spans to: OTLP/HTTP, read by OpenTelemetry's own message types, which the JSON has to fit
// to the last member.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { atEnd, folder } from './children.mjs';
import { Record } from './record.mjs';

// Not among what the package exports.
const require = createRequire(import.meta.url);
const { opentelemetry } = require('@opentelemetry/otlp-transformer/build/src/generated/root.js');
const Request = opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;

const isId = (key) => ['traceId', 'spanId', 'parentSpanId'].includes(key);
// The one thing in which OTLP's JSON is not protobuf's: ids are hexadecimal.
const withBytes = (value) =>
	Array.isArray(value) ? value.map(withBytes)
	: value === null || typeof value !== 'object' ? value
	: Object.fromEntries(Object.entries(value).map(([key, item]) => [key, isId(key) ? Buffer.from(item, 'hex').toString('base64') : withBytes(item)]));

// There and back, and over the wire: what the message types do not know, or write otherwise, is not there again.
function readRequest(text) {
	const given = withBytes(JSON.parse(text));
	const message = Request.fromObject(given);
	assert.equal(Request.verify(message), null);
	const options = { longs: String, enums: Number, bytes: String };
	assert.deepEqual(Request.toObject(Request.decode(Request.encode(message).finish()), options), given);
	return JSON.parse(text);
}

const valueOf = (value) => ('intValue' in value ? Number(value.intValue) : Object.values(value)[0]);
const attributesOf = (list = []) => Object.fromEntries(list.map(({ key, value }) => [key, valueOf(value)]));

// `spans`: a Record of { …Span, attributes, resource: attributes }. `answers` are taken by the next requests: { status, headers, body }.
export async function startCollector() {
	const collector = { spans: new Record('the collector (spans)'), requests: new Record('the collector (requests)'), answers: [] };
	const server = createServer(async (request, response) => {
		let text = '';
		for await (const chunk of request) text += chunk;
		appendFileSync(join(folder, 'spans.log'), `${text}\n`); // for ./dev test to look through
		const { status = 200, headers = {}, body = '{}' } = collector.answers.shift() ?? {};
		collector.requests.push({ method: request.method, path: request.url, headers: request.headers, text, status, at: Date.now() });
		response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);
		if (status >= 300) return;
		for (const { resource, scopeSpans } of readRequest(text).resourceSpans)
			for (const { spans } of scopeSpans)
				for (const span of spans) collector.spans.push({ ...span, attributes: attributesOf(span.attributes), resource: attributesOf(resource.attributes) });
	}).listen(0, '127.0.0.1');
	await once(server, 'listening');
	collector.url = `http://127.0.0.1:${server.address().port}`;
	collector.trace = (traceId) => collector.spans.items.filter((span) => span.traceId === traceId);
	atEnd(() => server.close());
	return collector;
}
