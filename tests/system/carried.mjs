// carried.mjs - what nodes hand to the broker, read along on their lines to it (line.mjs). A subscriber of its own would see the same, and
// change it: the broker would never say again that nobody subscribes (0x10).
import { parser } from 'mqtt-packet';

const requestTopic = /^vehicles\/([^/]+)\/commands\/request\b/;

export class Carried {
	requests = []; // each publish of one, whatever became of it: { node, vehicle_id, at, dup, properties, …payload, reason: the PUBACK's }
	errors = []; // where one could not be read

	// For startLine(): reads along on a connection of the node that `name` names.
	listen(name) {
		const unconfirmed = new Map(); // message id -> the request
		const onPublish = ({ topic, payload, messageId, dup, properties }) => {
			const [, vehicle_id] = requestTopic.exec(topic) ?? [];
			if (!vehicle_id) return unconfirmed.delete(messageId);
			const request = { ...JSON.parse(payload), node: name(), vehicle_id, at: Date.now(), dup, properties };
			this.requests.push(request);
			unconfirmed.set(messageId, request);
		};
		const onConfirmation = ({ messageId, reasonCode }) => {
			const request = unconfirmed.get(messageId);
			if (request) request.reason = reasonCode;
			unconfirmed.delete(messageId);
		};
		return { clients: this.#read('publish', onPublish), peers: this.#read('puback', onConfirmation) };
	}

	#read(kind, onPacket) {
		const packets = parser({ protocolVersion: 5 });
		packets.on('packet', (packet) => packet.cmd === kind && onPacket(packet));
		packets.on('error', (error) => this.errors.push(error.message));
		return (data) => packets.parse(data);
	}
}
