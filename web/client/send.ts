// send.ts - one command, from its key to its verdict, across any number of connections.
//
//   key ─ watch the vehicle ─ hand over (again under the same key, until it is answered or the time is over) ─ every change ─ settled
// The key makes it one command, however often it is asked for. What the watch may have missed is asked for, and where there is
// no watch (a token that may send need not see), it is asked from time to time.
import { AccessEndedError, ProblemError } from './problem.js';
import { Queue } from './queue.js';
import type { Command, Draft, Signal, Status } from './types.js';
import type { Watcher } from './watch.js';

const HAND_OVER_MS = 30_000;
const POLL_MIN_MS = 500; // doubling
const POLL_MAX_MS = 8_000;
const FINAL: readonly Status[] = ['succeeded', 'failed', 'rejected', 'expired', 'canceled'];

export const isFinal = (status: Status): boolean => FINAL.includes(status);
/** Nothing more is expected of it; a late answer may still come. */
export const isSettled = (status: Status): boolean => isFinal(status) || status === 'timed_out';

export interface SendOptions {
	/** One that was made before: the same send again, perhaps from before the app was closed, gives the same command. */
	key?: string | undefined;
	/** Leaves it; what was sent stays so (see Client.cancel). */
	signal?: Signal | undefined;
	/** How long it may take until the gateway has it; 30 s. Nobody wants a door opened by a tap of an hour ago. */
	withinMs?: number | undefined;
}

export interface CallOptions {
	signal?: Signal | undefined;
	withinMs?: number | undefined;
}

export interface Gateway {
	listen(vehicleId: string, watcher: Watcher): () => void;
	isFollowing(vehicleId: string): boolean;
	ask<T>(method: string, params: object, options?: CallOptions): Promise<T>;
}

/** Needs no secret, only to be unlike every other of the same person. Pages without TLS and Node 18 lack crypto.randomUUID(). */
export function randomKey(): string {
	const bytes = new Uint8Array(16);
	if (globalThis.crypto) globalThis.crypto.getRandomValues(bytes);
	else for (const i of bytes.keys()) bytes[i] = Math.random() * 256;
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The command, each time that it changed, until nothing more is expected of it. */
export interface Sending extends AsyncIterableIterator<Command> {
	/** The idempotency key: kept, it sends the same command again after the app was closed. */
	readonly key: string;
	/** How it ended. For who does not want each state. */
	outcome(): Promise<Command>;
}

class States extends Queue<Command> implements Sending {
	#last: Command | undefined;

	constructor(
		readonly key: string,
		signal?: Signal,
	) {
		super(signal);
	}

	async outcome(): Promise<Command> {
		let last: Command | undefined;
		for await (const state of this) last = state;
		if (!last) throw new Error('its states were taken by somebody else');
		return last;
	}

	/** What a call told may be older than what events have told, and events come as far back as the watch began. */
	take(state: Command): void {
		const last = this.#last;
		if (last && (state.id !== last.id || state.updated_at < last.updated_at || (state.updated_at === last.updated_at && state.status === last.status))) return;
		this.#last = state;
		this.push(state);
		if (isSettled(state.status)) this.end();
	}
}

export function send(gateway: Gateway, vehicleId: string, draft: Draft, { key, signal, withinMs = HAND_OVER_MS }: SendOptions): Sending {
	const sending = new States(key ?? randomKey(), signal);
	const fail = (error: unknown) => sending.end(error);
	const early: Command[] = []; // what events told before the gateway's answer
	let id: string | undefined;
	let mayHaveMissed = key !== undefined || !gateway.isFollowing(vehicleId);
	let ended: Error | undefined; // why there is no watch
	let timer: ReturnType<typeof setTimeout> | undefined;
	let isOver = false;
	const get = () =>
		gateway.ask<Command>('command.get', { vehicle_id: vehicleId, id }, { signal }).then(
			(state) => sending.take(state),
			(error) => fail(ended instanceof AccessEndedError ? ended : error),
		);
	const look = () => {
		if (id !== undefined && gateway.isFollowing(vehicleId)) void get();
	};
	const poll = (ms: number) => {
		timer = setTimeout(async () => {
			if (ended || !gateway.isFollowing(vehicleId)) await get();
			if (!isOver) poll(Math.min(2 * ms, POLL_MAX_MS));
		}, ms);
	};
	const leave = gateway.listen(vehicleId, {
		onGap: () => {
			mayHaveMissed = true;
			look();
		},
		onEvent: (event) => {
			if (event.type !== 'command.updated') return;
			if (id === undefined) early.push(event.data);
			else sending.take(event.data);
		},
		onEnd: (error) => {
			if (!(error instanceof ProblemError || error instanceof AccessEndedError)) return fail(error); // nothing can be asked any more
			ended = error; // of the watch alone: the command may be under way
			if (id !== undefined) void get();
		},
	});
	sending.onEnd(() => {
		isOver = true;
		clearTimeout(timer);
		leave();
	});
	gateway.ask<Command>('command.send', { vehicle_id: vehicleId, ...draft, idempotency_key: sending.key }, { signal, withinMs }).then((first) => {
		id = first.id;
		sending.take(first);
		for (const state of early) sending.take(state);
		if (mayHaveMissed) look();
		if (!isOver) poll(POLL_MIN_MS);
	}, fail);
	return sending;
}
