// socket.ts - one WebSocket to the gateway: JSON-RPC 2.0 calls and their answers, events, and whether anybody is there.
import { DisconnectedError, ProblemError } from './problem.js';
import type { AnyEvent, Problem, WebSocketClass, WebSocketLike } from './types.js';

const SILENCE_MS = 20_000; // a browser does not tell of pings: after so long without a word we ask
const ANSWER_MS = 8_000; // and after so long without an answer nobody is there

interface Waiting {
	resolve(result: unknown): void;
	reject(error: Error): void;
}

interface Message {
	id?: number;
	method?: string;
	params?: AnyEvent;
	result?: unknown;
	error?: { code: number; message: string; data?: Problem };
}

export interface SocketOptions {
	url: string;
	WebSocket: WebSocketClass;
	onEvent(event: AnyEvent): void;
	onClose(code: number): void;
	// Asked when there was silence; what it calls is the question.
	probe(socket: Socket): Promise<unknown>;
}

export class Socket {
	readonly #ws: WebSocketLike;
	readonly #calls = new Map<number, Waiting>();
	#lastId = 0;
	#heardAt = Date.now();
	#timer: ReturnType<typeof setInterval> | undefined;
	#isOver = false;
	#onOver = () => {};

	constructor(private readonly options: SocketOptions) {
		this.#ws = new options.WebSocket(options.url, ['keyfob.v1']);
		this.#ws.onmessage = ({ data }: { data: unknown }) => this.#onMessage(JSON.parse(String(data)));
		this.#ws.onclose = ({ code }: { code: number }) => this.end(code);
		this.#ws.onerror = () => {}; // the close follows; `ws` throws an error that nobody listens to
	}

	// Resolves when it is open; rejects when it will not be.
	opened(): Promise<void> {
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => this.end(1006), ANSWER_MS);
			this.#ws.onopen = () => {
				clearTimeout(timer);
				this.#timer = setInterval(() => this.#look(), SILENCE_MS / 4);
				resolve();
			};
			this.#onOver = () => {
				clearTimeout(timer);
				reject(new DisconnectedError());
			};
		});
	}

	call<T>(method: string, params: object): Promise<T> {
		if (this.#isOver) return Promise.reject(new DisconnectedError());
		const id = ++this.#lastId;
		return new Promise<T>((resolve, reject) => {
			this.#calls.set(id, { resolve: resolve as (result: unknown) => void, reject });
			this.#ws.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
		});
	}

	// Whether somebody is still there is found out at once: after the machine has slept.
	probe(): void {
		const timer = setTimeout(() => this.end(1006), ANSWER_MS);
		this.options
			.probe(this)
			.catch(() => {}) // a refusal is an answer
			.finally(() => clearTimeout(timer));
	}

	// Also when the other side does not hear it any more.
	end(code: number): void {
		if (this.#isOver) return;
		this.#isOver = true;
		clearInterval(this.#timer);
		this.#onOver();
		this.#ws.close();
		for (const { reject } of this.#calls.values()) reject(new DisconnectedError());
		this.#calls.clear();
		this.options.onClose(code);
	}

	#look(): void {
		if (Date.now() - this.#heardAt < SILENCE_MS) return;
		this.#heardAt = Date.now();
		this.probe();
	}

	#onMessage(message: Message): void {
		this.#heardAt = Date.now();
		if (this.#isOver) return;
		if (message.method === 'event' && message.params) this.options.onEvent(message.params);
		else this.#onAnswer(message);
	}

	#onAnswer(message: Message): void {
		const call = this.#calls.get(message.id ?? -1);
		this.#calls.delete(message.id ?? -1);
		if (message.error) call?.reject(new ProblemError(message.error.data ?? { type: 'about:blank', title: message.error.message, status: message.error.code }));
		else call?.resolve(message.result);
	}
}
