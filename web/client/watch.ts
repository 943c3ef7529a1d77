// watch.ts - one vehicle that is watched: its events in order, each once, across any number of connections.
//
// The same event may come by a fleet's subscription too, and before the ones that a resume still owes us: whatever is ahead
// waits here until what belongs before it has come. The gateway promises that it does come.
import type { Vehicle, VehicleEvent } from './types.js';

/** How a connection began: for the first time, continued without a hole, or anew because the hole could not be filled. */
export type Beginning = 'first' | 'recovered' | 'reloaded';

export interface Watcher {
	/** The whole of it, before any event: now, or as soon as it is known. */
	onVehicle?(vehicle: Vehicle, beginning: Beginning): void;
	onEvent?(event: VehicleEvent): void;
	/** It began, or began anew: nothing that came before is told. */
	onGap?(): void;
	/** It is followed no more: it is not to be seen (any more), nobody is signed in, or the client was stopped. */
	onEnd?(error: Error): void;
}

export interface Subscribed {
	vehicle: Vehicle;
	epoch: string;
	seq: number;
	recovered: boolean;
}

export class Watch {
	readonly watchers = new Set<Watcher>();
	#epoch: string | undefined;
	#seq = 0;
	#isReady = false; // the subscription of this connection was answered
	#ahead = new Map<number, VehicleEvent>();

	constructor(readonly vehicleId: string) {}

	/** The parameters of vehicle.subscribe. */
	get position(): object {
		return this.#epoch === undefined ? { vehicle_id: this.vehicleId } : { vehicle_id: this.vehicleId, epoch: this.#epoch, after: this.#seq };
	}

	get isBegun(): boolean {
		return this.#epoch !== undefined;
	}

	/** The subscription of this connection is there: nothing is missed from here on. */
	get isReady(): boolean {
		return this.#isReady;
	}

	disconnected(): void {
		this.#isReady = false;
		this.#ahead.clear();
	}

	subscribed({ vehicle, epoch, seq, recovered }: Subscribed): Beginning {
		const beginning: Beginning = this.#epoch === undefined ? 'first' : recovered ? 'recovered' : 'reloaded';
		if (beginning !== 'recovered') this.#seq = seq;
		this.#epoch = epoch;
		this.#isReady = true;
		for (const watcher of this.watchers) {
			watcher.onVehicle?.(vehicle, beginning);
			if (beginning !== 'recovered') watcher.onGap?.();
		}
		this.#flush();
		return beginning;
	}

	end(error: Error): void {
		for (const watcher of this.watchers) watcher.onEnd?.(error);
	}

	take(event: VehicleEvent): void {
		if (event.seq > this.#seq || !this.#isReady) this.#ahead.set(event.seq, event);
		if (this.#isReady) this.#flush();
	}

	#flush(): void {
		for (const seq of this.#ahead.keys()) if (seq <= this.#seq) this.#ahead.delete(seq);
		for (let event = this.#ahead.get(this.#seq + 1); event; event = this.#ahead.get(this.#seq + 1)) {
			this.#ahead.delete(event.seq);
			this.#seq = event.seq;
			if (event.type !== 'skipped') for (const watcher of this.watchers) watcher.onEvent?.(event);
		}
	}
}

/** For who comes to a watch that has begun: the vehicle as it is now is fetched first, and what comes meanwhile is held back. */
export function latecomer(watcher: Watcher, vehicle: Promise<Vehicle>): Watcher {
	const held: VehicleEvent[] = [];
	let seq: number | undefined;
	const begin = (known: Vehicle, beginning: Beginning) => {
		seq = known.seq;
		watcher.onVehicle?.(known, beginning);
		for (const event of held.splice(0)) late.onEvent?.(event);
	};
	const late: Watcher = {
		...watcher,
		onVehicle: (known, beginning) => {
			if (seq !== undefined && beginning === 'recovered')
				watcher.onVehicle?.(known, beginning); // what was missed still comes
			else begin(known, seq === undefined ? 'first' : beginning);
		},
		onEvent: (event) => {
			if (seq === undefined) held.push(event);
			else if (event.seq > seq) watcher.onEvent?.(event);
		},
	};
	vehicle.then(
		(known) => seq === undefined && begin(known, 'first'),
		(error) => watcher.onEnd?.(error),
	);
	return late;
}
