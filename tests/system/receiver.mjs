// receiver.mjs - a platform's server that webhooks are sent to: it writes down what comes, verified by a library that is not ours,
// and answers as the test says.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { Webhook } from 'standardwebhooks';
import { atEnd } from './children.mjs';
import { checkDelivered } from './descriptions.mjs';
import { Record } from './record.mjs';

async function read(request) {
	const chunks = [];
	for await (const chunk of request) chunks.push(chunk);
	return Buffer.concat(chunks).toString();
}

// `answer(delivery)` gives { status, headers }, at once or later; nothing: 204. A delivery is { path, headers, id, event, body, at, attempt }, `attempt`
// counts those of its id from 1 on.
export async function startReceiver({ certificate } = {}) {
	const deliveries = new Record('the receiver');
	const made = { deliveries, answers: new Map() };
	const attempts = new Map();
	const handle = async (request, response) => {
		const { url: path, headers } = request;
		const body = await read(request);
		const id = headers['webhook-id'];
		attempts.set(id, (attempts.get(id) ?? 0) + 1);
		const delivery = { path, headers, id, body, event: JSON.parse(body), at: Date.now(), attempt: attempts.get(id) };
		try {
			checkDelivered(delivery);
		} catch {} // the file fails at its end
		deliveries.push(delivery);
		const { status = 204, headers: more = {} } = (await made.answers.get(path)?.(delivery)) ?? {};
		response.writeHead(status, more).end();
	};
	const server = certificate ? createSecureServer({ cert: readFileSync(certificate.certificate), key: readFileSync(certificate.key) }, handle) : createServer(handle);
	made.connections = 0;
	server.on('connection', () => made.connections++);
	server.listen(0, certificate ? '::' : '127.0.0.1');
	await once(server, 'listening');
	atEnd(() => server.close() && server.closeAllConnections());
	made.port = server.address().port;
	made.url = `http${certificate ? 's' : ''}://${certificate ? 'localhost' : '127.0.0.1'}:${made.port}`;
	// What has come to a path, of one vehicle or of all.
	made.at = (path, vehicle) => deliveries.items.filter((one) => one.path === path && (!vehicle || one.event.subject === vehicle));
	made.until = (path, is, more) => deliveries.until((one) => one.path === path && is(one), more);
	return made;
}

// What the library makes of a delivery; it throws where the signature is not the secret's.
export const verify = (secret, { body, headers }) => new Webhook(secret).verify(body, headers);
export const isSignedBy = (secret, delivery) => {
	try {
		return Boolean(verify(secret, delivery));
	} catch {
		return false;
	}
};
