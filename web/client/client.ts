// client.ts - a gateway as an app sees it: sign in, watch, send; connections come and go underneath.
//
//   connect ─ authenticate ─ subscribe to all that is watched (resuming) ─ events … ─ closed ─ wait ─ connect …
// Everything that is watched stays so until it is let go. Whatever a connection cannot promise is said, not hidden: a watch
// that could not be resumed whole begins anew with a snapshot ('reloaded').
import { listenToPlace } from './place.js';
import { AccessEndedError, DisconnectedError, ProblemError, SignedOutError, StoppedError, UnansweredError } from './problem.js';
import { Queue } from './queue.js';
import { type CallOptions, type Sending, type SendOptions, send } from './send.js';
import { Socket } from './socket.js';
import type { AnyEvent, Command, Draft, FleetEvent, Signal, Vehicle, VehicleEvent, WebSocketClass } from './types.js';
import { type Beginning, latecomer, type Subscribed, Watch, type Watcher } from './watch.js';

export type LinkState = 'connecting' | 'online' | 'waiting' | 'signed-out';

/** What became of what was watched when the last connection began. */
export interface Resumed {
	recovered: number; // vehicles that went on without a hole
	reloaded: number; // vehicles that began anew
	fleets: number; // fleets, which are never resumed
}

export interface ClientOptions {
	url: string; // wss://…/v1/ws
	/**
	 * A good token; `fresh`: another one than last time, which was refused or is about to run out. Rejects with a
	 * SignedOutError when there is none to be had any more; after any other error it is asked again.
	 */
	token(fresh: boolean): Promise<string>;
	/** Where there is no global one: the class of the package `ws`. */
	WebSocket?: WebSocketClass | undefined;
	onState?(state: LinkState, resumed: Resumed): void;
	/** Every event that comes, once, whoever asked for it; in order within a connection. */
	onEvent?(event: VehicleEvent | FleetEvent): void;
}

/** What there is to see of a vehicle: the whole of it when the watch begins, or begins anew; then each event. */
export type Sight = { vehicle: Vehicle; beginning: Beginning; event?: undefined } | { event: VehicleEvent; vehicle?: undefined };

/** … and of a fleet, which is never resumed: where it begins, what was listed before may be old. */
export type FleetSight = { beginning: 'first' | 'reloaded'; event?: undefined } | { event: VehicleEvent | FleetEvent; beginning?: undefined };

export interface WatchOptions {
	signal?: Signal | undefined;
}

export interface FleetWatcher {
	/** The subscription has begun (again). */
	onBegin?(beginning: 'first' | 'reloaded'): void;
	onEvent?(event: VehicleEvent | FleetEvent): void;
	onEnd?(error: Error): void;
}

interface Session {
	subject: string;
	expires_at: string;
}

interface FleetWatch {
	watchers: Set<FleetWatcher>;
	isBegun: boolean;
}

const SUBSCRIBE_MS = 25; // between two subscriptions when there are many: the gateway counts the messages of a socket
const SUBSCRIBE_BURST = 40;
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

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

// Jitter keeps a thousand apps from coming back in the same instant.
const backoff = (failures: number) => Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** failures) * (0.5 + Math.random() / 2);

const waitAfter = ({ problem }: ProblemError, refusals: number) => Math.max(1000 * (problem.retry_after_seconds ?? 0), backoff(refusals));

export class Client {
	#socket: Socket | undefined;
	#state: LinkState = 'connecting';
	#subject: string | undefined; // who is signed in
	#watches = new Map<string, Watch>();
	#fleets = new Map<string, FleetWatch>();
	#heads = new Map<string, number>(); // vehicle -> the last seq told by onEvent
	#resumed: Resumed = { recovered: 0, reloaded: 0, fleets: 0 };
	#subscribeAt = 0; // when the next one of many may go
	#strangers = 0; // connections in a row that were closed with 4401 before they were signed in
	#failures = 0;
	#onlineAt = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#renewal: ReturnType<typeof setTimeout> | undefined;
	#over: Error | undefined; // why nothing will ever come any more
	#online = new Set<() => void>(); // who waits for a connection
	#leavePlace = () => {};
	readonly #WebSocket: WebSocketClass;

	constructor(private readonly options: ClientOptions) {
		const found = options.WebSocket ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
		if (!found) throw new Error('there is no global WebSocket here: give one as an option');
		this.#WebSocket = found;
	}

	get state(): LinkState {
		return this.#state;
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

	/** For good: whoever watches or waits is told. */
	stop(): void {
		this.#finish(new StoppedError());
		this.#socket?.end(1000);
	}

	#finish(error: Error): void {
		if (this.#over) return;
		this.#over = error;
		this.#leavePlace();
		clearTimeout(this.#timer);
		for (const resolve of this.#online) resolve();
		this.#online.clear();
		for (const watch of this.#watches.values()) watch.end(error);
		for (const { watchers } of this.#fleets.values()) for (const watcher of watchers) watcher.onEnd?.(error);
	}

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
			if (this.#over) return;
			socket = this.#open();
			await socket.opened();
			const session = await socket.call<Session>('session.authenticate', { token });
			this.#subject = session.subject;
			await this.#subscribeAll(socket);
			if (socket !== this.#socket) return; // closed meanwhile: the next one is on its way
			this.#strangers = 0;
			this.#onlineAt = Date.now();
			this.#renewBefore(socket, session);
			this.#tell('online');
			for (const resolve of this.#online) resolve();
			this.#online.clear();
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

	async #subscribeAll(socket: Socket): Promise<void> {
		this.#resumed = { recovered: 0, reloaded: 0, fleets: 0 };
		for (const [id, watch] of this.#fleets) await this.#subscribeFleet(socket, id, watch);
		for (const watch of this.#watches.values()) await this.#subscribe(socket, watch);
	}

	#onClose(socket: Socket, code: number): void {
		if (this.#socket !== socket) return;
		this.#socket = undefined;
		clearTimeout(this.#renewal);
		this.#heads.clear();
		for (const watch of this.#watches.values()) watch.disconnected();
		if (this.#over) return;
		const wasOnline = this.#state === 'online';
		if (wasOnline && Date.now() - this.#onlineAt > STEADY_MS) this.#failures = 0;
		// A connection that is too slow to sign in is closed with the same code as one whose token is refused.
		const isRefused = code === UNAUTHENTICATED && (wasOnline || this.#strangers++ > 0);
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

	/** Resolves with the connection that is there, or the next one. */
	async #connected(): Promise<Socket> {
		for (;;) {
			if (this.#over) throw this.#over;
			if (this.#state === 'online' && this.#socket) return this.#socket;
			await new Promise<void>((resolve) => this.#online.add(resolve));
		}
	}

	/**
	 * For what can be asked twice, as every method of the gateway can: again on the next connection, and when the gateway says
	 * that it is away for a moment. Where that takes longer than `withinMs`, an UnansweredError says whether it may have been done.
	 */
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
					await pause(waitAfter(error, refusals++));
				} else throw error;
			}
		}
	}

	// ---- commands

	/** Hands it over, and tells what becomes of it: `for await (const command of client.send(…))`. */
	send(vehicleId: string, draft: Draft, options: SendOptions = {}): Sending {
		return send(this, vehicleId, draft, options);
	}

	/** Takes back what has not left. A ProblemError `command-already-sent` says that it may have. */
	cancel(vehicleId: string, id: string, options?: CallOptions): Promise<Command> {
		return this.ask('command.cancel', { vehicle_id: vehicleId, id }, options);
	}

	/** With its timeline. */
	command(vehicleId: string, id: string, options?: CallOptions): Promise<Command> {
		return this.ask('command.get', { vehicle_id: vehicleId, id }, options);
	}

	vehicle(vehicleId: string, options?: CallOptions): Promise<Vehicle> {
		return this.ask('vehicle.get', { vehicle_id: vehicleId }, options);
	}

	// ---- watching

	/**
	 * A vehicle from now on, until the loop is left: `for await (const { vehicle, event } of client.watch(…))`. What came while
	 * the connection was away comes after it, in order, each event once; where that cannot be, with 'reloaded'.
	 */
	watch(vehicleId: string, { signal }: WatchOptions = {}): AsyncIterableIterator<Sight> {
		const sights = new Queue<Sight>(signal);
		sights.onEnd(
			this.listen(vehicleId, {
				onVehicle: (vehicle, beginning) => beginning !== 'recovered' && sights.push({ vehicle, beginning }),
				onEvent: (event) => sights.push({ event }),
				onEnd: (error) => sights.end(error instanceof StoppedError ? undefined : error),
			}),
		);
		return sights;
	}

	/**
	 * All vehicles of a fleet from now on ('*': all that there are). List them at each beginning and drop what is not above
	 * the listed `seq`. The gateway does not say by which subscription an event came: of what a client follows besides, it
	 * comes here too.
	 */
	watchFleet(fleetId: string, { signal }: WatchOptions = {}): AsyncIterableIterator<FleetSight> {
		const sights = new Queue<FleetSight>(signal);
		sights.onEnd(
			this.listenToFleet(fleetId, {
				onBegin: (beginning) => sights.push({ beginning }),
				onEvent: (event) => sights.push({ event }),
				onEnd: (error) => sights.end(error instanceof StoppedError ? undefined : error),
			}),
		);
		return sights;
	}

	/** The same by callbacks. Returns how to let it go. */
	listen(vehicleId: string, watcher: Watcher): () => void {
		if (this.#over) return this.#tooLate(watcher, this.#over);
		let watch = this.#watches.get(vehicleId);
		if (!watch) {
			watch = new Watch(vehicleId);
			this.#watches.set(vehicleId, watch);
			if (this.#state === 'online' && this.#socket) void this.#subscribe(this.#socket, watch);
		}
		const watched = watch;
		const added = watch.isBegun && watcher.onVehicle ? latecomer(watcher, this.vehicle(vehicleId)) : watcher;
		watched.watchers.add(added);
		return () => this.#leave(watched, added);
	}

	#tooLate(watcher: { onEnd?(error: Error): void }, error: Error): () => void {
		watcher.onEnd?.(error);
		return () => {};
	}

	/** Nothing of it is missed from here on. */
	isFollowing(vehicleId: string): boolean {
		return this.#watches.get(vehicleId)?.isReady ?? false;
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
			const beginning = watch.subscribed(await this.#askOn<Subscribed>(socket, 'vehicle.subscribe', watch.position));
			if (beginning !== 'first') this.#resumed[beginning]++;
		} catch (error) {
			if (error instanceof ProblemError) this.#end(watch, watch.isBegun ? new AccessEndedError() : error); // else the next connection does it
		}
	}

	// On this connection alone: again where the gateway says that it is away for a moment.
	async #askOn<T>(socket: Socket, method: string, params: object): Promise<T> {
		for (let refusals = 0; ; ) {
			try {
				return await socket.call<T>(method, params);
			} catch (error) {
				if (!(error instanceof ProblemError && error.isPassing)) throw error;
				await pause(waitAfter(error, refusals++));
			}
		}
	}

	#end(watch: Watch, error: Error): void {
		this.#watches.delete(watch.vehicleId);
		watch.end(error);
	}

	listenToFleet(fleetId: string, watcher: FleetWatcher): () => void {
		if (this.#over) return this.#tooLate(watcher, this.#over);
		let watch = this.#fleets.get(fleetId);
		if (!watch) {
			watch = { watchers: new Set(), isBegun: false };
			this.#fleets.set(fleetId, watch);
			if (this.#state === 'online' && this.#socket) void this.#subscribeFleet(this.#socket, fleetId, watch);
		} else if (watch.isBegun) {
			watcher.onBegin?.('first');
		}
		const watched = watch;
		watched.watchers.add(watcher);
		return () => {
			watched.watchers.delete(watcher);
			if (watched.watchers.size > 0 || this.#fleets.get(fleetId) !== watched) return;
			this.#fleets.delete(fleetId);
			this.#socket?.call('fleet.unsubscribe', { fleet_id: fleetId }).catch(() => {});
		};
	}

	async #subscribeFleet(socket: Socket, fleetId: string, watch: FleetWatch): Promise<void> {
		try {
			await this.#askOn(socket, 'fleet.subscribe', { fleet_id: fleetId });
		} catch (error) {
			if (!(error instanceof ProblemError)) return;
			this.#fleets.delete(fleetId);
			for (const watcher of watch.watchers) watcher.onEnd?.(watch.isBegun ? new AccessEndedError() : error);
			return;
		}
		const beginning = watch.isBegun ? 'reloaded' : 'first';
		if (watch.isBegun) this.#resumed.fleets++;
		watch.isBegun = true;
		for (const watcher of watch.watchers) watcher.onBegin?.(beginning);
	}

	#onEvent(event: AnyEvent): void {
		const watch = this.#watches.get(event.vehicle_id ?? '');
		if (this.#socket && event.type === 'access.changed' && event.data.role === null && event.data.subject === this.#subject)
			this.#lookAgain(this.#socket, event, watch);
		if (event.vehicle_id === undefined) {
			this.#spread(event);
			return;
		}
		if (event.seq === undefined) {
			if (watch) this.#end(watch, new AccessEndedError());
			return;
		}
		watch?.take(event);
		if (event.seq <= (this.#heads.get(event.vehicle_id) ?? 0)) return;
		this.#heads.set(event.vehicle_id, event.seq);
		if (event.type !== 'skipped') this.#spread(event);
	}

	// A right of ours is gone. Whether the subscription has ended with it, or another right carries on, is seen by asking for it anew.
	#lookAgain(socket: Socket, event: AnyEvent, watch: Watch | undefined): void {
		const fleet = event.vehicle_id === undefined ? this.#fleets.get(event.fleet_id) : undefined;
		if (fleet && event.vehicle_id === undefined) void this.#subscribeFleet(socket, event.fleet_id, fleet);
		if (watch && event.seq !== undefined) void this.#subscribe(socket, watch);
	}

	#spread(event: VehicleEvent | FleetEvent): void {
		this.options.onEvent?.(event);
		for (const { watchers } of this.#fleets.values()) for (const watcher of watchers) watcher.onEvent?.(event);
	}
}
