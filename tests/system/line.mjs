// line.mjs - a line to a node (or any server) that can be cut, or goes one way alone.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { atEnd } from './children.mjs';

// A port that leads to a node: `cut()` ends what is open and lets nobody in, `lead(node)` opens it again, to that one. `mute()`: what
// the node says stays on the way, what it is told arrives; `deafen()`: the other way round; `flow()` brings it all. `listen()` gives who reads along on a
// connection: { clients(data), peers(data) }, of what comes from those ends.
export async function startLine(node, { listen } = {}) {
	let to = node;
	const sockets = new Set();
	const still = { clients: false, peers: false };
	const ends = { clients: new Set(), peers: new Set() }; // of each connection, the end towards the node is the peer
	const server = createServer((client) => {
		if (!to) return client.destroy();
		const peer = connect(to.port, '127.0.0.1');
		const ear = listen?.();
		for (const [kind, socket, other] of [['clients', client, peer], ['peers', peer, client]]) {
			sockets.add(socket);
			ends[kind].add(socket);
			socket.on('error', () => {}).on('close', () => sockets.delete(socket) && ends[kind].delete(socket) && other.destroySoon());
			socket.on('end', () => other.end()).on('data', (data) => {
				ear?.[kind](data);
				if (other.write(data)) return;
				socket.pause(); // the other end takes no more
				other.once('drain', () => still[kind] || socket.resume());
			});
			if (still[kind]) socket.pause();
		}
	}).listen(0, '127.0.0.1');
	await once(server, 'listening');
	const cut = () => {
		to = null;
		for (const socket of sockets) socket.destroy();
	};
	const hold = (kind, next) => {
		still[kind] = next;
		for (const socket of ends[kind]) next ? socket.pause() : socket.resume();
	};
	atEnd(async () => {
		cut();
		server.close();
	});
	const { port } = server.address();
	return {
		port,
		end: node,
		url: `http://127.0.0.1:${port}`,
		socketUrl: `ws://127.0.0.1:${port}/v1/ws`,
		cut,
		lead: (next) => (to = next),
		mute: () => hold('peers', true),
		deafen: () => hold('clients', true),
		flow: () => ['peers', 'clients'].forEach((kind) => hold(kind, false)),
	};
}
