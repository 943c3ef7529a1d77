// line.mjs - a line to a node that can be cut, or heard no more.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { atEnd } from './children.mjs';

// A port that leads to a node: `cut()` ends what is open and lets nobody in, `lead(node)` opens it again, to that one. `mute()`: what
// the node says stays on the way, what it is told arrives; `unmute()` brings it all.
export async function startLine(node) {
	let to = node;
	let isMute = false;
	const sockets = new Set();
	const peers = new Set(); // those towards the node
	const server = createServer((client) => {
		if (!to) return client.destroy();
		const peer = connect(to.port, '127.0.0.1');
		for (const [socket, other] of [[client, peer], [peer, client]]) {
			sockets.add(socket);
			socket.on('error', () => {}).on('close', () => sockets.delete(socket) && other.destroy());
		}
		peers.add(peer);
		peer.on('close', () => peers.delete(peer));
		client.pipe(peer);
		peer.on('data', (data) => client.write(data)).on('end', () => client.end());
		if (isMute) peer.pause();
	}).listen(0, '127.0.0.1');
	await once(server, 'listening');
	const cut = () => {
		to = null;
		for (const socket of sockets) socket.destroy();
	};
	const silence = (next) => {
		isMute = next;
		for (const peer of peers) next ? peer.pause() : peer.resume();
	};
	atEnd(async () => {
		cut();
		server.close();
	});
	const { port } = server.address();
	return {
		url: `http://127.0.0.1:${port}`,
		socketUrl: `ws://127.0.0.1:${port}/v1/ws`,
		cut,
		lead: (next) => (to = next),
		mute: () => silence(true),
		unmute: () => silence(false),
	};
}
