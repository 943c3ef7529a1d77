// rest.ts - calls by HTTP: lists, which are long, and changes that have no WebSocket method.
import { ProblemError } from './problem.js';
import type { Page, Problem } from './types.js';

const PAGE = 200; // the most that the gateway gives at once
const RETRIES = 5;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export class Rest {
	/** `base` is the gateway's origin, or "" for the page's own. `token` gives a good one. */
	constructor(
		private readonly base: string,
		private readonly token: () => Promise<string>,
	) {}

	/** Rejects with a ProblemError, or a TypeError where nobody answered. */
	async call<T>(method: string, path: string, body?: unknown): Promise<T> {
		return (await this.exchange<T>(method, path, body)).value;
	}

	/** With the entity tag of what is told; `ifMatch` is one, and refuses what was changed since. */
	async exchange<T>(method: string, path: string, body?: unknown, ifMatch?: string): Promise<{ value: T; etag: string | null }> {
		for (let tries = 0; ; tries++) {
			const answer = await this.#ask(method, path, body, ifMatch);
			if (answer.status === 204) return { value: undefined as T, etag: null };
			const value = await answer.json().catch(() => ({ type: 'about:blank', title: answer.statusText, status: answer.status }));
			if (answer.ok) return { value: value as T, etag: answer.headers.get('ETag') };
			if (answer.status !== 429 || tries >= RETRIES || method !== 'GET') throw new ProblemError(value as Problem);
			await pause(1000 * Number(answer.headers.get('Retry-After') ?? 1));
		}
	}

	async #ask(method: string, path: string, body: unknown, ifMatch: string | undefined): Promise<Response> {
		const headers: Record<string, string> = { Authorization: `Bearer ${await this.token()}` };
		if (body !== undefined) headers['Content-Type'] = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
		if (ifMatch !== undefined) headers['If-Match'] = ifMatch;
		return fetch(this.base + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store' });
	}

	get<T>(path: string): Promise<T> {
		return this.call<T>('GET', path);
	}

	/** Every page of a list, one after the other. */
	async *pages<T>(path: string): AsyncGenerator<T[]> {
		let cursor: string | null = null;
		do {
			const next: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
			const page: Page<T> = await this.get<Page<T>>(`${path}${path.includes('?') ? '&' : '?'}limit=${PAGE}${next}`);
			yield page.items;
			cursor = page.next_cursor;
		} while (cursor !== null);
	}
}
