// client.ts - a gateway as an app sees it: watch, send; connections come and go underneath (link.ts).
//
// Everything that is watched stays so until it is let go. Whatever a connection cannot promise is said, not hidden: a watch
// that could not be resumed whole begins anew with a snapshot ('reloaded').
import { Link, type LinkState, pauseAfter } from './link.js';
import { AccessEndedError, ProblemError, StoppedError } from './problem.js';
import { Queue } from './queue.js';
import { type CallOptions, type Sending, type SendOptions, send } from './send.js';
import type { Socket } from './socket.js';
import type { AnyEvent, Command, Draft, FleetEvent, Signal, Vehicle, VehicleEvent, WebSocketClass } from './types.js';
import { type Beginning, latecomer, type Subscribed, Watch, type Watcher } from './watch.js';

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

interface FleetWatch {
	watchers: Set<FleetWatcher>;
	isBegun: boolean;
}

const SUBSCRIBE_MS = 25; // between two subscriptions when there are many: the gateway counts the messages of a socket
const SUBSCRIBE_BURST = 40;

export class Client {
	#watches = new Map<string, Watch>();
	#fleets = new Map<string, FleetWatch>();
	#heads = new Map<string, number>(); // vehicle -> the last seq told by onEvent
	#resumed: Resumed = { recovered: 0, reloaded: 0, fleets: 0 };
	#subscribeAt = 0; // when the next one of many may go
	readonly #link: Link;

	constructor(private readonly options: ClientOptions) {
		this.#link = new Link({
			url: options.url,
			WebSocket: options.WebSocket,
			token: (fresh) => options.token(fresh),
			onState: (state) => options.onState?.(state, this.#resumed),
			onEvent: (event) => this.#onEvent(event),
			begin: (socket) => this.#subscribeAll(socket),
			onClose: () => this.#onClose(),
			onOver: (error) => this.#onOver(error),
		});
	}

	get state(): LinkState {
		return this.#link.state;
	}

	start(): void {
		this.#link.start();
	}

	/** For good: whoever watches or waits is told. */
	stop(): void {
		this.#link.stop();
	}

	/**
	 * For what can be asked twice, as every method of the gateway can: again on the next connection, and when the gateway says
	 * that it is away for a moment. Where that takes longer than `withinMs`, an UnansweredError says whether it may have been done.
	 */
	ask<T>(method: string, params: object, options: CallOptions = {}): Promise<T> {
		return this.#link.ask<T>(method, params, options);
	}

	#onClose(): void {
		this.#heads.clear();
		for (const watch of this.#watches.values()) watch.disconnected();
	}

	#onOver(error: Error): void {
		for (const watch of this.#watches.values()) watch.end(error);
		for (const { watchers } of this.#fleets.values()) for (const watcher of watchers) watcher.onEnd?.(error);
	}

	async #subscribeAll(socket: Socket): Promise<void> {
		this.#resumed = { recovered: 0, reloaded: 0, fleets: 0 };
		const fleets = [...this.#fleets];
		const watches = [...this.#watches.values()]; // what comes later subscribes by itself
		for (const [id, watch] of fleets) await this.#subscribeFleet(socket, id, watch);
		for (const watch of watches) await this.#subscribe(socket, watch);
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
		if (this.#link.over) return this.#tooLate(watcher, this.#link.over);
		let watch = this.#watches.get(vehicleId);
		if (!watch) {
			const begun = new Watch(vehicleId);
			watch = begun;
			this.#watches.set(vehicleId, begun);
			this.#now((socket) => this.#subscribe(socket, begun));
		}
		const watched = watch;
		const added = watch.isBegun && watcher.onVehicle ? latecomer(watcher, this.vehicle(vehicleId)) : watcher;
		watched.watchers.add(added);
		return () => this.#leave(watched, added);
	}

	// On the connection that is there; the next one subscribes to all by itself.
	#now(subscribe: (socket: Socket) => Promise<void>): void {
		if (this.#link.signedIn) void subscribe(this.#link.signedIn);
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
		this.#link.socket?.call('vehicle.unsubscribe', { vehicle_id: watch.vehicleId }).catch(() => {});
	}

	async #maySubscribe(): Promise<void> {
		const now = Date.now();
		const at = Math.max(this.#subscribeAt, now - SUBSCRIBE_BURST * SUBSCRIBE_MS);
		this.#subscribeAt = at + SUBSCRIBE_MS;
		if (at > now) await new Promise((resolve) => setTimeout(resolve, at - now));
	}

	// Resolves with the first answer. What is refused for now is asked again later, and nobody waits for it.
	async #subscribe(socket: Socket, watch: Watch, refusals = 0): Promise<void> {
		await this.#maySubscribe();
		if (this.#watches.get(watch.vehicleId) !== watch || socket !== this.#link.signedIn) return; // let go meanwhile
		try {
			const beginning = watch.subscribed(await socket.call<Subscribed>('vehicle.subscribe', watch.position));
			if (beginning !== 'first') this.#resumed[beginning]++;
		} catch (error) {
			if (this.#isForNow(error)) void pauseAfter(error, refusals).then(() => this.#subscribe(socket, watch, refusals + 1));
			else if (this.#isRefusal(error) && this.#watches.get(watch.vehicleId) === watch) this.#end(watch, watch.isBegun ? new AccessEndedError() : error);
		}
	}

	// Else the next connection subscribes, or a later request of ours that has taken this one's place.
	#isRefusal(error: unknown): error is ProblemError {
		return error instanceof ProblemError && error.name !== 'malformed-request';
	}

	#isForNow(error: unknown): error is ProblemError {
		return error instanceof ProblemError && error.isPassing;
	}

	#end(watch: Watch, error: Error): void {
		this.#watches.delete(watch.vehicleId);
		watch.end(error);
	}

	listenToFleet(fleetId: string, watcher: FleetWatcher): () => void {
		if (this.#link.over) return this.#tooLate(watcher, this.#link.over);
		let watch = this.#fleets.get(fleetId);
		if (!watch) {
			const begun = { watchers: new Set<FleetWatcher>(), isBegun: false };
			watch = begun;
			this.#fleets.set(fleetId, begun);
			this.#now((socket) => this.#subscribeFleet(socket, fleetId, begun));
		} else if (watch.isBegun) {
			watcher.onBegin?.('first');
		}
		const watched = watch;
		watched.watchers.add(watcher);
		return () => {
			watched.watchers.delete(watcher);
			if (watched.watchers.size > 0 || this.#fleets.get(fleetId) !== watched) return;
			this.#fleets.delete(fleetId);
			this.#link.socket?.call('fleet.unsubscribe', { fleet_id: fleetId }).catch(() => {});
		};
	}

	async #subscribeFleet(socket: Socket, fleetId: string, watch: FleetWatch, refusals = 0): Promise<void> {
		if (this.#fleets.get(fleetId) !== watch || socket !== this.#link.signedIn) return; // let go meanwhile
		try {
			await socket.call('fleet.subscribe', { fleet_id: fleetId });
		} catch (error) {
			if (this.#isForNow(error)) void pauseAfter(error, refusals).then(() => this.#subscribeFleet(socket, fleetId, watch, refusals + 1));
			else if (this.#isRefusal(error) && this.#fleets.get(fleetId) === watch) {
				this.#fleets.delete(fleetId);
				for (const watcher of watch.watchers) watcher.onEnd?.(watch.isBegun ? new AccessEndedError() : error);
			}
			return;
		}
		const beginning = watch.isBegun ? 'reloaded' : 'first';
		if (watch.isBegun) this.#resumed.fleets++;
		watch.isBegun = true;
		for (const watcher of watch.watchers) watcher.onBegin?.(beginning);
	}

	#onEvent(event: AnyEvent): void {
		const watch = this.#watches.get(event.vehicle_id ?? '');
		if (event.type === 'access.changed' && event.data.role === null && event.data.subject === this.#link.subject) this.#lookAgain(event, watch);
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
	#lookAgain(event: AnyEvent, watch: Watch | undefined): void {
		const fleet = event.vehicle_id === undefined ? this.#fleets.get(event.fleet_id) : undefined;
		if (fleet && event.vehicle_id === undefined) this.#now((socket) => this.#subscribeFleet(socket, event.fleet_id, fleet));
		if (watch && event.seq !== undefined) this.#now((socket) => this.#subscribe(socket, watch));
	}

	#spread(event: VehicleEvent | FleetEvent): void {
		this.options.onEvent?.(event);
		for (const { watchers } of this.#fleets.values()) for (const watcher of watchers) watcher.onEvent?.(event);
	}
}
