// apps.mjs - companion apps as strangers write them: REST by node:http, streams by fetch, JSON-RPC over `ws`.
import { appendFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import WebSocket from 'ws';
import { atEnd, folder } from './children.mjs';
import { checkAnswered, checkExchange, checkPushed, checkStreamed } from './descriptions.mjs';
import { Record } from './record.mjs';
import { secrets } from './tokens.mjs';

// What the node tells of what it refuses, for ./dev test, which looks for what should not stand there.
const noteProblem = (text) => appendFileSync(join(folder, 'answers.problems'), `${text}\n`);

// ---- REST

// A connection that nobody has used for so long is not used again, as the node may be about to end it.
const kept = new Agent({ keepAlive: true, timeout: 4000 });

// { status, headers, text }
function exchange(node, { method, target, headers, body, signal }) {
	const sized = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
	return new Promise((resolve, reject) => {
		const asked = request(node.url + target, { method, agent: kept, signal, headers: { ...Object.fromEntries(headers), ...sized } }, (answer) => {
			let text = '';
			answer.setEncoding('utf8');
			answer.on('data', (chunk) => (text += chunk));
			answer.on('end', () => resolve({ status: answer.statusCode, headers: new Headers(answer.headers), text }));
			answer.on('error', reject);
		});
		asked.on('error', reject);
		asked.end(body);
	});
}

// { status, headers, body }; the body is JSON where the answer says so, else text. `raw` is sent as it is. `unchecked`: nobody holds it
// against the descriptions, for a load of hundreds a second.
export async function rest(node, method, path, { token, body, raw, headers = {}, signal, unchecked } = {}) {
	const asked = {
		method,
		target: path,
		headers: new Headers({
			...(token && { Authorization: `Bearer ${token}` }),
			...(body !== undefined && { 'Content-Type': 'application/json' }),
			...headers,
		}),
		body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
		signal,
	};
	const answer = await exchange(node, asked);
	if (answer.status >= 400) noteProblem(answer.text);
	if (!unchecked) checkExchange(asked, answer);
	const isJson = answer.text && /json/.test(answer.headers.get('content-type') ?? '');
	return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(answer.text) : answer.text };
}

export async function registerVehicle(node, token, id, body = {}) {
	if (body.msisdn) secrets.add(body.msisdn);
	const answer = await rest(node, 'PUT', `/v1/vehicles/${id}`, { token, body: { display_name: `Car ${id}`, ...body } });
	if (![200, 201].includes(answer.status)) throw new Error(`registering ${id}: ${answer.status} ${JSON.stringify(answer.body)}`);
	return answer;
}

export async function grant(node, token, id, subject, role, expires_at = null) {
	const answer = await rest(node, 'PUT', `/v1/vehicles/${id}/grants/${subject}`, { token, body: { role, expires_at } });
	if (![200, 201].includes(answer.status)) throw new Error(`granting ${id}: ${answer.status} ${JSON.stringify(answer.body)}`);
	return answer;
}

export function sendCommand(node, token, id, body, headers = {}) {
	return rest(node, 'POST', `/v1/vehicles/${id}/commands`, { token, body, headers });
}

// ---- SSE

// `events.items` are { id, event, data }; comments are not counted.
export async function openStream(node, path, { token, lastEventId } = {}) {
	const aborter = new AbortController();
	const headers = new Headers({ Accept: 'text/event-stream', Authorization: `Bearer ${token}`, ...(lastEventId && { 'Last-Event-ID': lastEventId }) });
	const answer = await fetch(node.url + path, { signal: aborter.signal, headers });
	if (answer.status === 200) checkExchange({ method: 'GET', target: path, headers }, { status: 200, headers: answer.headers, text: null });
	const events = new Record(`the stream ${path}`);
	const stream = { status: answer.status, headers: answer.headers, events, until: events.until.bind(events), close: () => aborter.abort() };
	stream.ended = readStream(answer.body, events).catch(() => {});
	atEnd(stream.close);
	return stream;
}

async function readStream(body, events) {
	const decoder = new TextDecoder();
	let text = '';
	for await (const chunk of body) {
		text += decoder.decode(chunk, { stream: true });
		const blocks = text.split('\n\n');
		text = blocks.pop();
		for (const block of blocks) readBlock(block, events);
	}
}

function readBlock(block, events) {
	const item = { data: '' };
	for (const line of block.split('\n')) {
		const at = line.indexOf(':');
		if (at <= 0) continue;
		const value = line.slice(at + 1).replace(/^ /, '');
		if (line.slice(0, at) === 'data') item.data += value;
		else item[line.slice(0, at)] = value;
	}
	if (!item.event) return;
	const event = { ...item, data: JSON.parse(item.data) };
	checkStreamed(event);
	events.push(event);
}

// ---- WebSocket

export class RpcError extends Error {
	constructor({ code, message, data }) {
		super(`${code} ${message} ${JSON.stringify(data ?? null)}`);
		this.code = code;
		this.data = data;
	}
}

class Socket {
	#calls = new Map();
	#lastId = 0;
	events = new Record('the socket'); // the params of each `event`
	frames = new Record('the socket (all frames)');
	until = this.events.until.bind(this.events);

	constructor(ws, unchecked) {
		this.ws = ws;
		this.unchecked = unchecked;
		this.closed = new Promise((resolve) => {
			ws.on('close', (code, reason) => {
				for (const { reject } of this.#calls.values()) reject(new Error(`closed with ${code}`));
				resolve({ code, reason: reason.toString() });
			});
		});
		ws.on('error', () => {});
		ws.on('message', (data) => this.#onMessage(JSON.parse(data.toString())));
	}

	#onMessage(message) {
		this.frames.push(message);
		if (message.method === 'event') {
			if (!this.unchecked) checkPushed(message);
			return this.events.push(message.params);
		}
		const call = this.#calls.get(message.id);
		this.#calls.delete(message.id);
		if (!this.unchecked) checkAnswered(call?.request, message);
		if (message.error) noteProblem(JSON.stringify(message.error));
		if (message.error) call?.reject(new RpcError(message.error));
		else call?.resolve(message.result);
	}

	get unanswered() {
		return [...this.#calls.values()].map(({ request }) => request);
	}

	// The result; an RpcError where the node answered with one. On a connection that is over by now nobody would.
	async call(method, params) {
		if (this.ws.readyState === WebSocket.CLOSED) throw new Error('closed before it was asked');
		const id = ++this.#lastId;
		const request = { jsonrpc: '2.0', id, method, ...(params && { params }) };
		return new Promise((resolve, reject) => {
			this.#calls.set(id, { request, resolve, reject });
			this.send(request);
		});
	}

	send(message) {
		this.ws.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
	}

	close() {
		this.ws.terminate();
	}
}

// `via` is where the token goes: 'header', 'protocol', 'message' or 'none'. Rejects with { status } where the upgrade
// was refused. `unchecked` as in rest().
export async function openSocket(node, { token, via = 'header', protocols = ['keyfob.v1'], origin, headers = {}, ca, unchecked } = {}) {
	const offered = via === 'protocol' ? [...protocols, `bearer.${token}`] : protocols;
	const ws = new WebSocket(node.socketUrl, offered, {
		origin,
		ca,
		handshakeTimeout: 10_000,
		perMessageDeflate: false,
		headers: { ...headers, ...(via === 'header' && { Authorization: `Bearer ${token}` }) },
	});
	const socket = new Socket(ws, unchecked);
	atEnd(() => socket.close());
	await new Promise((resolve, reject) => {
		ws.once('open', resolve);
		ws.once('unexpected-response', (request, answer) => {
			request.destroy();
			reject(Object.assign(new Error(`the upgrade was answered with ${answer.statusCode}`), { status: answer.statusCode }));
		});
		ws.once('error', reject);
	});
	if (via === 'message') await socket.call('session.authenticate', { token });
	return socket;
}
