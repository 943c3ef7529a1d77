// link.ts - the one connection that there is, or the next one: connecting, signing in, renewing the token, asking.
//
//   connect ─ authenticate ─ begin (what is watched) ─ online … ─ closed ─ wait ─ connect …
import { listenToPlace } from './place.js';
import { DisconnectedError, ProblemError, SignedOutError, StoppedError, UnansweredError } from './problem.js';
import type { CallOptions } from './send.js';
import { Socket } from './socket.js';
import type { AnyEvent, WebSocketClass } from './types.js';

export type LinkState = 'connecting' | 'online' | 'waiting' | 'signed-out';

export interface LinkOptions {
	url: string;
	WebSocket?: WebSocketClass | undefined;
	token(fresh: boolean): Promise<string>;
	onState(state: LinkState): void;
	onEvent(event: AnyEvent): void;
	// Signed in, and calls go out; until it resolves, 'online' is not told yet.
	begin(socket: Socket): Promise<void>;
	onClose(): void;
	// Nothing will ever come any more.
	onOver(error: Error): void;
}

interface Session {
	subject: string;
	expires_at: string;
}

const WAIT_MIN_MS = 250;
const WAIT_MAX_MS = 10_000;
const STEADY_MS = 10_000; // a connection that lasted so long is forgotten when it is counted how often it failed
const RESTART_MS = 1000; // a node that restarts sends all of its apps away at once
const RENEW_AT = 0.75; // of what is left of a token's life
const RENEW_RETRY_MS = 10_000;
const TIMER_MAX_MS = 2 ** 31 - 1;
const RESTARTING = 1012;
const UNAUTHENTICATED = 4401;
const FORBIDDEN = 4403;

// Jitter keeps a thousand apps from coming back in the same instant.
const backoff = (failures: number) => Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** failures) * (0.5 + Math.random() / 2);

// Before what was refused for a moment is asked again.
export const pauseAfter = ({ problem }: ProblemError, refusals: number) =>
	new Promise<void>((resolve) => setTimeout(resolve, Math.max(1000 * (problem.retry_after_seconds ?? 0), backoff(refusals))));

export class Link {
	#socket: Socket | undefined;
	#signedIn: Socket | undefined;
	#state: LinkState = 'connecting';
	#subject: string | undefined;
	#strangers = 0; // connections in a row that were closed with 4401 before they were signed in
	#failures = 0;
	#signedInAt = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#renewal: ReturnType<typeof setTimeout> | undefined;
	#over: Error | undefined;
	#online = new Set<() => void>(); // who waits for a connection
	#leavePlace = () => {};
	readonly #WebSocket: WebSocketClass;

	constructor(private readonly options: LinkOptions) {
		const found = options.WebSocket ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
		if (!found) throw new Error('there is no global WebSocket here: give one as an option');
		this.#WebSocket = found;
	}

	get state(): LinkState {
		return this.#state;
	}

	// The connection that is there, signed in or not.
	get socket(): Socket | undefined {
		return this.#socket;
	}

	// The same once it is signed in.
	get signedIn(): Socket | undefined {
		return this.#signedIn;
	}

	// Who is signed in.
	get subject(): string | undefined {
		return this.#subject;
	}

	// Why nothing will ever come any more.
	get over(): Error | undefined {
		return this.#over;
	}

	start(): void {
		const retry = () => this.#state === 'waiting' && this.#retry(0);
		this.#leavePlace = listenToPlace({
			onOnline: retry,
			onOffline: () => this.#socket?.end(1006),
			onSeen: () => retry() || this.#socket?.probe(),
		});
		void this.#connect();
	}

	stop(): void {
		this.#finish(new StoppedError());
		this.#socket?.end(1000);
	}

	#finish(error: Error): void {
		if (this.#over) return;
		this.#over = error;
		this.#leavePlace();
		clearTimeout(this.#timer);
		this.#letOn();
		this.options.onOver(error);
	}

	#letOn(): void {
		for (const resolve of this.#online) resolve();
		this.#online.clear();
	}

	#tell(state: LinkState): void {
		if (this.#state === state) return;
		this.#state = state;
		this.options.onState(state);
	}

	// ---- connecting

	async #connect(fresh = false): Promise<void> {
		let socket: Socket | undefined;
		this.#tell('connecting');
		try {
			const token = await this.options.token(fresh);
			if (this.#over) return;
			socket = this.#open();
			await socket.opened();
			const session = await socket.call<Session>('session.authenticate', { token });
			if (socket !== this.#socket) return; // closed meanwhile: the next one is on its way
			this.#subject = session.subject;
			this.#signedIn = socket;
			this.#signedInAt = Date.now();
			this.#strangers = 0;
			this.#renewBefore(socket, session);
			this.#letOn();
			await this.options.begin(socket);
			if (socket === this.#socket) this.#tell('online');
		} catch (error) {
			if (error instanceof SignedOutError) this.#signOut();
			else if (socket) this.#fail(socket, error);
			else this.#retry(undefined, fresh);
		}
	}

	#open(): Socket {
		const socket: Socket = new Socket({
			url: this.options.url,
			WebSocket: this.#WebSocket,
			onEvent: this.options.onEvent,
			onClose: (code) => this.#onClose(socket, code),
			probe: async (asked) => asked.call('session.authenticate', { token: await this.options.token(false) }),
		});
		this.#socket = socket;
		return socket;
	}

	#fail(socket: Socket, error: unknown): void {
		const isRefused = error instanceof ProblemError && error.name === 'unauthenticated';
		if (isRefused) this.#strangers++;
		socket.end(isRefused ? UNAUTHENTICATED : 1006);
	}

	#signOut(): void {
		this.#tell('signed-out');
		this.#finish(new SignedOutError('nobody is signed in any more'));
	}

	// The open connection goes on under a new token before the old one runs out. By a clock that is wrong this may come too
	// late, or not at all: then the gateway closes the connection, and the next one begins with a fresh token.
	#renewBefore(socket: Socket, { expires_at }: Session): void {
		const left = Date.parse(expires_at) - Date.now();
		if (left > 0) this.#renewIn(socket, Math.min(RENEW_AT * left, TIMER_MAX_MS));
	}

	#renewIn(socket: Socket, ms: number): void {
		clearTimeout(this.#renewal);
		this.#renewal = setTimeout(() => void this.#renew(socket), ms);
	}

	async #renew(socket: Socket): Promise<void> {
		try {
			this.#renewBefore(socket, await socket.call<Session>('session.authenticate', { token: await this.options.token(true) }));
		} catch (error) {
			// Where there is no new one, the old one is used to its end.
			if (socket === this.#socket && !(error instanceof SignedOutError)) this.#renewIn(socket, RENEW_RETRY_MS);
		}
	}

	#onClose(socket: Socket, code: number): void {
		if (this.#socket !== socket) return;
		this.#socket = undefined;
		const wasSignedIn = this.#signedIn !== undefined;
		this.#signedIn = undefined;
		clearTimeout(this.#renewal);
		this.options.onClose();
		if (this.#over) return;
		if (wasSignedIn && Date.now() - this.#signedInAt > STEADY_MS) this.#failures = 0;
		// A connection that is too slow to sign in is closed with the same code as one whose token is refused.
		const isRefused = code === UNAUTHENTICATED && (wasSignedIn || this.#strangers++ > 0);
		if (code === FORBIDDEN)
			this.#signOut(); // another person's token
		else this.#retry(code === RESTARTING ? Math.random() * RESTART_MS : undefined, isRefused);
	}

	#retry(ms = backoff(this.#failures), fresh = false): true {
		this.#failures++;
		clearTimeout(this.#timer);
		if (this.#over) return true;
		this.#tell('waiting');
		this.#timer = setTimeout(() => void this.#connect(fresh), ms);
		return true;
	}

	// ---- calling

	// Resolves with the connection that is there, or the next one.
	async #connected(): Promise<Socket> {
		for (;;) {
			if (this.#over) throw this.#over;
			if (this.#signedIn) return this.#signedIn;
			await new Promise<void>((resolve) => this.#online.add(resolve));
		}
	}

	// As Client.ask has it.
	ask<T>(method: string, params: object, { signal, withinMs }: CallOptions = {}): Promise<T> {
		const asking = { isOut: false, mayHaveExecuted: false, isOver: false };
		return new Promise<T>((resolve, reject) => {
			const abort = () => finish(() => reject(signal?.reason));
			const timer =
				withinMs === undefined ? undefined : setTimeout(() => finish(() => reject(new UnansweredError(asking.isOut || asking.mayHaveExecuted))), withinMs);
			const finish = (tell: () => void) => {
				asking.isOver = true;
				clearTimeout(timer);
				signal?.removeEventListener('abort', abort);
				tell();
			};
			signal?.addEventListener('abort', abort);
			if (signal?.aborted) return abort();
			this.#askAgainAndAgain<T>(method, params, asking).then(
				(result) => finish(() => resolve(result)),
				(error) => finish(() => reject(error)),
			);
		});
	}

	async #askAgainAndAgain<T>(method: string, params: object, asking: { isOut: boolean; mayHaveExecuted: boolean; isOver: boolean }): Promise<T> {
		for (let refusals = 0; ; ) {
			const socket = await this.#connected();
			if (asking.isOver) throw new StoppedError();
			asking.isOut = true;
			try {
				return await socket.call<T>(method, params);
			} catch (error) {
				asking.isOut = false;
				if (error instanceof DisconnectedError) asking.mayHaveExecuted = true;
				else if (error instanceof ProblemError && error.isPassing) {
					asking.mayHaveExecuted ||= error.problem.may_have_executed === true;
					await pauseAfter(error, refusals++);
				} else throw error;
			}
		}
	}
}
