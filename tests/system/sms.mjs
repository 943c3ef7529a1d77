// sms.mjs - SMS providers with an HTTP API, as strangers run them: they write down what they are asked, and answer as the
// test says.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { atEnd } from './children.mjs';
import { Record } from './record.mjs';

async function read(request) {
	const chunks = [];
	for await (const chunk of request) chunks.push(chunk);
	return Buffer.concat(chunks).toString();
}

// `answer(request)` gives { status, body, type }; `requests.items` are { method, url, headers, body, at }.
export async function startSmsServer(name, answer) {
	const requests = new Record(name);
	const made = { requests, answer };
	const server = createServer(async (request, response) => {
		const { method, url, headers } = request;
		const asked = { method, url, headers, body: await read(request), at: Date.now() };
		requests.push(asked);
		const { status, body = '', type = 'application/json' } = await made.answer(asked);
		if (status) response.writeHead(status, { 'Content-Type': type }).end(body);
		else request.socket.destroy();
	});
	server.listen(0, '127.0.0.1');
	await once(server, 'listening');
	atEnd(() => server.close() && server.closeAllConnections());
	made.url = `http://127.0.0.1:${server.address().port}`;
	return made;
}

// What the Authorization header has to be, by an implementation that is not ours.
export async function signatureOf(request, { region, service, accessKeyId, secretAccessKey, sessionToken }) {
	const signed = /SignedHeaders=([^,]*)/.exec(request.headers.authorization)[1].split(';');
	const date = request.headers['x-amz-date'];
	const signer = new SignatureV4({ credentials: { accessKeyId, secretAccessKey, sessionToken }, region, service, sha256: Sha256, applyChecksum: false });
	const [hostname, port] = request.headers.host.split(':');
	const { headers } = await signer.sign(
		{
			method: request.method,
			protocol: 'http:',
			hostname,
			port: Number(port),
			path: request.url,
			query: {},
			headers: Object.fromEntries(signed.map((name) => [name, request.headers[name]])),
			body: request.body,
		},
		{ signingDate: new Date(date.replace(/(....)(..)(..T..)(..)(..Z)/, '$1-$2-$3:$4:$5')) },
	);
	return headers.authorization;
}
