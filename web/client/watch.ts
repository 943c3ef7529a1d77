// watch.ts - one vehicle that is watched: its events in order, each once, across any number of connections.
//
// The same event may come by a fleet's subscription too, and before the ones that a resume still owes us: whatever is ahead
// waits here until what belongs before it has come. The gateway promises that it does come.
import type { Vehicle, VehicleEvent } from './types';

// How a connection began: for the first time, continued without a hole, or anew because the hole could not be filled.
export type Beginning = 'first' | 'recovered' | 'reloaded';

export interface Watcher {
	onVehicle?(vehicle: Vehicle, beginning: Beginning): void;
	onEvent?(event: VehicleEvent): void;
	// It is not to be seen any more, or never was.
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
	#vehicle: Vehicle | undefined;

	constructor(readonly vehicleId: string) {}

	// The parameters of vehicle.subscribe.
	get position(): object {
		return this.#epoch === undefined ? { vehicle_id: this.vehicleId } : { vehicle_id: this.vehicleId, epoch: this.#epoch, after: this.#seq };
	}

	// What is known of it, for who comes later.
	get vehicle(): Vehicle | undefined {
		return this.#vehicle;
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
		this.#vehicle = vehicle;
		for (const watcher of this.watchers) watcher.onVehicle?.(vehicle, beginning);
		this.#flush();
		return beginning;
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
			for (const watcher of this.watchers) watcher.onEvent?.(event);
		}
	}
}
