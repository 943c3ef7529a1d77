// client.ts - a gateway as an app sees it: sign in, watch, send; connections come and go underneath.
//
//   connect ─ authenticate ─ subscribe to all that is watched (resuming) ─ events … ─ closed ─ wait ─ connect …
// Everything that is watched stays so until it is let go. Whatever a connection cannot promise is said, not hidden: a watch
// that could not be resumed whole begins anew with a snapshot ('reloaded').
import { DisconnectedError, ProblemError, SignedOutError } from './problem';
import { Socket } from './socket';
import type { Command, Draft, Status, VehicleEvent } from './types';
import { type Subscribed, Watch, type Watcher } from './watch';

export type LinkState = 'connecting' | 'online' | 'waiting' | 'signed-out';

// What became of what was watched when the last connection began.
export interface Resumed {
	recovered: number; // vehicles that went on without a hole
	reloaded: number; // vehicles that began anew
	fleets: number; // fleets, which are never resumed
}

export interface ClientOptions {
	url: string; // wss://…/v1/ws
	// A good token; `fresh`: another one than last time, which was refused. Rejects when there is none to be had.
	token(fresh: boolean): Promise<string>;
	onState?(state: LinkState, resumed: Resumed): void;
	// Every event that comes, once, whoever asked for it; in order within a connection.
	onEvent?(event: VehicleEvent): void;
	// A fleet's subscription has begun (again): what was listed before may be old.
	onFleet?(fleetId: string, isFirst: boolean): void;
}

const SUBSCRIBE_MS = 25; // between two subscriptions when there are many: the gateway counts the messages of a socket
const SUBSCRIBE_BURST = 40;
const WAIT_MIN_MS = 250;
const WAIT_MAX_MS = 10_000;
const FINAL: readonly Status[] = ['succeeded', 'failed', 'rejected', 'expired', 'canceled'];

export const isFinal = (status: Status): boolean => FINAL.includes(status);
// Nothing more is expected of it; a late answer may still come.
export const isSettled = (status: Status): boolean => isFinal(status) || status === 'timed_out';

// As crypto.randomUUID(), which pages without TLS lack.
export function randomKey(): string {
	return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Client {
	#socket: Socket | undefined;
	#state: LinkState = 'connecting';
	#watches = new Map<string, Watch>();
	#fleets = new Map<string, boolean>(); // id -> whether it was subscribed once
	#heads = new Map<string, number>(); // vehicle -> the last seq told by onEvent
	#resumed: Resumed = { recovered: 0, reloaded: 0, fleets: 0 };
	#subscribeAt = 0; // when the next one of many may go
	#strangers = 0; // connections in a row that were closed with 4401 before they were signed in
	#failures = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#isOver = false;
	#online = new Set<() => void>(); // who waits for a connection

	constructor(private readonly options: ClientOptions) {}

	get state(): LinkState {
		return this.#state;
	}

	start(): void {
		addEventListener('online', this.#hurry);
		addEventListener('offline', this.#lose);
		document.addEventListener('visibilitychange', this.#wake);
		void this.#connect();
	}

	stop(): void {
		this.#isOver = true;
		removeEventListener('online', this.#hurry);
		removeEventListener('offline', this.#lose);
		document.removeEventListener('visibilitychange', this.#wake);
		clearTimeout(this.#timer);
		this.#socket?.end(1000);
	}

	#hurry = () => {
		if (this.#state === 'waiting') this.#retry(0);
	};
	#lose = () => this.#socket?.end(1006);
	#wake = () => {
		if (document.visibilityState !== 'visible') return;
		if (this.#state === 'waiting') this.#retry(0);
		else this.#socket?.probe();
	};

	#tell(state: LinkState): void {
		if (this.#state === state) return;
		this.#state = state;
		this.options.onState?.(state, this.#resumed);
	}

	// ---- connecting

	async #connect(fresh = false): Promise<void> {
		let socket: Socket | undefined;
		this.#tell('connecting');
		try {
			const token = await this.options.token(fresh);
			socket = this.#open();
			await socket.opened();
			await socket.call('session.authenticate', { token });
			await this.#subscribeAll(socket);
			if (socket !== this.#socket) return; // closed meanwhile: the next one is on its way
			this.#failures = 0;
			this.#strangers = 0;
			this.#tell('online');
			for (const resolve of this.#online) resolve();
			this.#online.clear();
		} catch (error) {
			if (error instanceof SignedOutError) this.#signOut();
			else if (socket) this.#fail(socket, error);
			else this.#retry();
		}
	}

	#open(): Socket {
		const socket: Socket = new Socket({
			url: this.options.url,
			onEvent: (event) => this.#onEvent(event),
			onClose: (code) => this.#onClose(socket, code),
			probe: async (asked) => asked.call('session.authenticate', { token: await this.options.token(false) }),
		});
		this.#socket = socket;
		return socket;
	}

	#fail(socket: Socket, error: unknown): void {
		const isRefused = error instanceof ProblemError && error.name === 'unauthenticated';
		if (isRefused) this.#strangers++;
		socket.end(isRefused ? 4401 : 1006);
	}

	#signOut(): void {
		this.#tell('signed-out');
		for (const resolve of this.#online) resolve();
		this.#online.clear();
	}

	async #subscribeAll(socket: Socket): Promise<void> {
		this.#resumed = { recovered: 0, reloaded: 0, fleets: 0 };
		for (const id of this.#fleets.keys()) await this.#subscribeFleet(socket, id);
		for (const watch of this.#watches.values()) await this.#subscribe(socket, watch);
	}

	#onClose(socket: Socket, code: number): void {
		if (this.#socket !== socket) return;
		this.#socket = undefined;
		this.#heads.clear();
		for (const watch of this.#watches.values()) watch.disconnected();
		if (this.#isOver) return;
		// A connection that is too slow to sign in is closed with the same code as one whose token is refused.
		const isRefused = code === 4401 && (this.#state === 'online' || this.#strangers++ > 0);
		if (code === 4403)
			this.#signOut(); // another person's token
		else this.#retry(undefined, isRefused);
	}

	// Jitter keeps a thousand consoles from coming back in the same instant.
	#retry(ms = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** this.#failures) * (0.5 + Math.random() / 2), fresh = false): void {
		if (this.#isOver) return;
		this.#failures++;
		this.#tell('waiting');
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => void this.#connect(fresh), ms);
	}

	// The open connection goes on under a new token.
	async renew(token: string): Promise<void> {
		await this.#socket?.call('session.authenticate', { token });
	}

	// ---- calling

	// Resolves with the connection that is there, or the next one.
	async #connected(): Promise<Socket> {
		while (this.#state !== 'online' || !this.#socket) {
			if (this.#state === 'signed-out' || this.#isOver) throw new SignedOutError();
			await new Promise<void>((resolve) => this.#online.add(resolve));
		}
		return this.#socket;
	}

	// Asks once; a DisconnectedError means that nobody knows whether it was done.
	async call<T>(method: string, params: object): Promise<T> {
		return (await this.#connected()).call<T>(method, params);
	}

	// For what can be asked twice: again on the next connection.
	async ask<T>(method: string, params: object): Promise<T> {
		for (;;) {
			try {
				return await this.call<T>(method, params);
			} catch (error) {
				if (!(error instanceof DisconnectedError)) throw error;
			}
		}
	}

	// ---- watching

	// Returns how to let it go.
	watch(vehicleId: string, watcher: Watcher): () => void {
		let watch = this.#watches.get(vehicleId);
		if (!watch) {
			watch = new Watch(vehicleId);
			this.#watches.set(vehicleId, watch);
			if (this.#state === 'online' && this.#socket) void this.#subscribe(this.#socket, watch);
		} else if (watch.vehicle) {
			watcher.onVehicle?.(watch.vehicle, 'first');
		}
		const watched = watch;
		watched.watchers.add(watcher);
		return () => this.#leave(watched, watcher);
	}

	#leave(watch: Watch, watcher: Watcher): void {
		watch.watchers.delete(watcher);
		if (watch.watchers.size > 0 || this.#watches.get(watch.vehicleId) !== watch) return;
		this.#watches.delete(watch.vehicleId);
		this.#socket?.call('vehicle.unsubscribe', { vehicle_id: watch.vehicleId }).catch(() => {});
	}

	async #maySubscribe(): Promise<void> {
		const now = Date.now();
		const at = Math.max(this.#subscribeAt, now - SUBSCRIBE_BURST * SUBSCRIBE_MS);
		this.#subscribeAt = at + SUBSCRIBE_MS;
		if (at > now) await new Promise((resolve) => setTimeout(resolve, at - now));
	}

	async #subscribe(socket: Socket, watch: Watch): Promise<void> {
		await this.#maySubscribe();
		if (this.#watches.get(watch.vehicleId) !== watch) return; // let go meanwhile
		try {
			const beginning = watch.subscribed(await socket.call<Subscribed>('vehicle.subscribe', watch.position));
			if (beginning !== 'first') this.#resumed[beginning]++;
		} catch (error) {
			if (!(error instanceof ProblemError)) return; // the next connection does it
			this.#watches.delete(watch.vehicleId);
			for (const watcher of watch.watchers) watcher.onEnd?.(error);
		}
	}

	watchFleet(fleetId: string): void {
		if (this.#fleets.has(fleetId)) return;
		this.#fleets.set(fleetId, false);
		if (this.#state === 'online' && this.#socket) void this.#subscribeFleet(this.#socket, fleetId);
	}

	async #subscribeFleet(socket: Socket, fleetId: string): Promise<void> {
		try {
			await socket.call('fleet.subscribe', { fleet_id: fleetId });
		} catch (error) {
			if (error instanceof ProblemError) this.#fleets.delete(fleetId);
			return;
		}
		const isFirst = !this.#fleets.get(fleetId);
		if (!isFirst) this.#resumed.fleets++;
		this.#fleets.set(fleetId, true);
		this.options.onFleet?.(fleetId, isFirst);
	}

	#onEvent(event: VehicleEvent): void {
		this.#watches.get(event.vehicle_id)?.take(event);
		if (event.seq !== undefined) {
			if (event.seq <= (this.#heads.get(event.vehicle_id) ?? 0)) return;
			this.#heads.set(event.vehicle_id, event.seq);
		}
		if (event.type !== 'skipped') this.options.onEvent?.(event);
	}

	// ---- sending

	// The command, each time that it changed, until nothing more is expected of it. A send whose connection is lost is
	// repeated under the same idempotency key: it is done once, however often it is asked for.
	async *send(vehicleId: string, draft: Draft, key = randomKey()): AsyncGenerator<Command> {
		const seen: Command[] = [];
		let notify = () => {};
		let failure: Error | undefined;
		let id: string | undefined;
		const push = (command: Command) => {
			seen.push(command);
			notify();
		};
		const leave = this.watch(vehicleId, {
			// What a reload left out is asked for.
			onVehicle: (_, beginning) => {
				if (id !== undefined && beginning === 'reloaded') void this.ask<Command>('command.get', { vehicle_id: vehicleId, id }).then(push, () => {});
			},
			onEvent: (event) => {
				if (event.type === 'command.updated') push(event.data as unknown as Command);
			},
			onEnd: (error) => {
				failure = error;
				notify();
			},
		});
		try {
			const first = await this.ask<Command>('command.send', { vehicle_id: vehicleId, ...draft, idempotency_key: key });
			id = first.id;
			let last = first;
			yield first;
			while (!isSettled(last.status)) {
				const next = seen.shift();
				if (next && next.id === id && next.updated_at > last.updated_at) {
					last = next;
					yield next;
				} else if (!next) {
					if (failure) throw failure;
					await new Promise<void>((resolve) => {
						notify = resolve;
					});
				}
			}
		} finally {
			leave();
		}
	}
}
