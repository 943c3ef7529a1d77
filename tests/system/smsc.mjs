// smsc.mjs - an SMS centre out of the npm package `smpp`, which does what a test says; and a client of one.
import smpp from 'smpp';
import { once } from 'node:events';
import { atEnd, freePort } from './children.mjs';
import { Record } from './record.mjs';

export { smpp };

// What it saw: `binds` and `submits`, the PDUs as `smpp` reads them. What it does: `answerBind` and `answerSubmit` say the
// command_status, or { status, id }, or null for none.
export class Centre {
	binds = new Record('the SMS centre (binds)');
	submits = new Record('the SMS centre (submits)');
	answers = new Record('the SMS centre (answers to its receipts)');
	unbinds = new Record('the SMS centre (unbinds)');
	isSingle = false; // the account allows one session: ESME_RALYBND for a second
	mostBound = 0; // at a time
	answerBind = () => 0;
	answerSubmit = () => 0;
	#sessions = new Set();
	#bound = new Set();
	#ids = 0;

	constructor(port, tls) {
		this.port = port;
		this.tls = tls;
		this.url = `${tls ? 'smpps' : 'smpp'}://keyfob@127.0.0.1:${port}`;
	}

	async start() {
		this.server = smpp.createServer(this.tls ?? {}, (session) => this.#serve(session));
		this.server.on('error', () => {});
		this.server.listen(this.port, '127.0.0.1');
		await once(this.server, 'listening');
	}

	// As a kill does: every connection is cut.
	async stop() {
		for (const session of this.#sessions) session.socket.destroy();
		if (!this.server?.listening) return;
		this.server.close();
		await once(this.server, 'close');
	}

	#serve(session) {
		this.#sessions.add(session);
		session.on('close', () => {
			this.#sessions.delete(session);
			this.#bound.delete(session);
		});
		session.on('error', () => {});
		session.on('bind_transceiver', (pdu) => this.#bind(session, pdu));
		session.on('submit_sm', (pdu) => this.#submit(session, pdu));
		session.on('enquire_link', (pdu) => session.send(pdu.response()));
		session.on('unbind', (pdu) => {
			this.#bound.delete(session);
			this.unbinds.push({ ...pdu, at: Date.now() });
			session.send(pdu.response());
			session.close();
		});
	}

	#bind(session, pdu) {
		const status = this.isSingle && this.#bound.size > 0 ? smpp.ESME_RALYBND : this.answerBind(pdu);
		session.send(pdu.response({ command_status: status, system_id: 'centre' }));
		if (status === 0) {
			this.session = session;
			this.#bound.add(session);
			this.mostBound = Math.max(this.mostBound, this.#bound.size);
		}
		this.binds.push({ ...pdu, status, at: Date.now() });
	}

	#submit(session, pdu) {
		const answer = this.answerSubmit(pdu);
		const { status = answer, id = `id-${++this.#ids}` } = typeof answer === 'object' && answer ? answer : {};
		if (answer !== null) session.send(pdu.response({ command_status: status, message_id: status === 0 ? id : '' }));
		this.submits.push({ ...pdu, text: pdu.short_message.message, given: id, at: Date.now() });
	}

	// A receipt for `submit`, its id and state in parameters (a number), in the text (a word), or both.
	receipt(submit, { id, state, textId, stat }) {
		const pdu = new smpp.PDU('deliver_sm', {
			source_addr: submit.destination_addr,
			destination_addr: submit.source_addr,
			esm_class: 4,
			short_message: textId ? `id:${textId} sub:001 dlvrd:001 submit date:2611252300 done date:2611252300 stat:${stat} err:000 text:KEYFOB` : '',
		});
		if (id) pdu.receipted_message_id = id;
		if (state) pdu.message_state = state;
		this.session.send(pdu, (answer) => this.answers.push(answer));
	}
}

export async function startCentre({ tls } = {}) {
	const centre = new Centre(await freePort(), tls);
	await centre.start();
	atEnd(() => centre.stop());
	return centre;
}

// A client, bound: `call(command, fields)` resolves with the response; `delivered` are the deliver_sm it got.
export async function bindClient(port, { as = 'transceiver', system_id = 'tester' } = {}) {
	const session = smpp.connect({ host: '127.0.0.1', port });
	atEnd(() => session.socket.destroy());
	session.on('error', () => {});
	await once(session, 'connect');
	const delivered = new Record(`the client ${system_id}`);
	session.on('deliver_sm', (pdu) => {
		session.send(pdu.response());
		delivered.push({ ...pdu, text: pdu.short_message.message });
	});
	const call = (command, fields = {}) => new Promise((resolve) => session.send(new smpp.PDU(command, fields), resolve));
	const bound = await call(`bind_${as}`, { system_id, password: 'pw', interface_version: 0x34 });
	return { session, delivered, call, bound, closed: once(session, 'close') };
}
