// queue.ts - callbacks on one side, `for await` on the other. It gathers from the moment it is made, in order, up to a limit.
import { BehindError } from './problem.js';
import type { Signal } from './types.js';

const LIMIT = 10_000; // who is further behind than this is told so, and gets no more

interface Taker<T> {
	resolve(result: IteratorResult<T>): void;
	reject(error: unknown): void;
}

export class Queue<T> implements AsyncIterableIterator<T> {
	#items: T[] = [];
	#takers: Taker<T>[] = [];
	#end: { error?: unknown } | undefined;
	#letGo: () => void = () => {};

	constructor(signal?: Signal) {
		if (!signal) return;
		const abort = () => this.end(signal.reason);
		if (signal.aborted) abort();
		signal.addEventListener('abort', abort);
		this.onEnd(() => signal.removeEventListener('abort', abort));
	}

	// Also when it has ended already.
	onEnd(letGo: () => void): void {
		if (this.#end) {
			letGo();
			return;
		}
		const before = this.#letGo;
		this.#letGo = () => {
			before();
			letGo();
		};
	}

	push(item: T): void {
		if (this.#end) return;
		const taker = this.#takers.shift();
		if (taker) taker.resolve({ value: item, done: false });
		else if (this.#items.push(item) > LIMIT) {
			this.#items = [];
			this.end(new BehindError());
		}
	}

	// What was pushed before is still given; then it ends, with the error where there is one.
	end(error?: unknown): void {
		if (this.#end) return;
		this.#end = { error };
		this.#letGo();
		for (const taker of this.#takers.splice(0)) this.#finish(taker);
	}

	// An error is told once.
	#finish(taker: Taker<T>): void {
		const error = this.#end?.error;
		this.#end = {};
		if (error === undefined) taker.resolve({ value: undefined, done: true });
		else taker.reject(error);
	}

	next(): Promise<IteratorResult<T>> {
		return new Promise((resolve, reject) => {
			const item = this.#items.shift();
			if (item !== undefined) resolve({ value: item, done: false });
			else if (this.#end) this.#finish({ resolve, reject });
			else this.#takers.push({ resolve, reject });
		});
	}

	// The loop was left.
	async return(): Promise<IteratorResult<T>> {
		this.#items = [];
		this.end();
		return { value: undefined, done: true };
	}

	[Symbol.asyncIterator](): this {
		return this;
	}
}
