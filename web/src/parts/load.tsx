// load.tsx - something that is fetched once, and again when it is asked for.
import { useCallback, useEffect, useState } from 'preact/hooks';
import type { Page } from '../../client/index';
import { gateway } from '../store';
import { texts } from '../texts';

const FRESH_MS = 10_000;
const PAGE = 100;

export interface Loaded<T> {
	value: T | null; // the last one, also while the next is fetched
	error: Error | null;
	reload(): void;
}

// `what` names it: another name is another thing, and the old value is gone. Another `turn` is the same thing, fetched again.
export function useLoaded<T>(what: string, load: () => Promise<T>, turn: unknown = 0): Loaded<T> {
	const [state, setState] = useState<{ what: string; value: T | null; error: Error | null }>({ what, value: null, error: null });
	const [asked, setAsked] = useState(0);
	useEffect(() => {
		let isCurrent = true;
		load().then(
			(value) => isCurrent && setState({ what, value, error: null }),
			(error) => isCurrent && setState((before) => ({ what, value: before.what === what ? before.value : null, error })),
		);
		return () => {
			isCurrent = false;
		};
	}, [what, turn, asked]);
	const reload = useCallback(() => setAsked((n) => n + 1), []);
	return state.what === what ? { value: state.value, error: state.error, reload } : { value: null, error: null, reload };
}

// Fetched again every ten seconds, while somebody looks.
export function useFresh<T>(what: string, load: () => Promise<T>, turn: unknown = 0): Loaded<T> {
	const loaded = useLoaded(what, load, turn);
	useEffect(() => {
		const timer = setInterval(() => document.visibilityState === 'visible' && loaded.reload(), FRESH_MS);
		return () => clearInterval(timer);
	}, [what, turn]);
	return loaded;
}

// A list to its end, page by page: for those that a person can look through.
export async function everyOf<T>(path: string): Promise<T[]> {
	const items: T[] = [];
	for await (const page of gateway().rest.pages<T>(path)) items.push(...page);
	return items;
}

export interface Recent<T> {
	items: T[] | null;
	error: Error | null;
	more: (() => void) | null; // fetches older ones; null: there are none
	reload(): void;
}

type IdOf<T> = (item: T) => unknown;

export const byId = ({ id }: { id: unknown }): unknown => id;

const pageOf = <T,>(path: string, cursor = '') => gateway().rest.get<Page<T>>(`${path}${path.includes('?') ? '&' : '?'}limit=${PAGE}${cursor}`);

// A list that begins with the newest. Its first page stays true; what is below is as it was when older ones were asked for. Another path wants
// another component (`key`).
export function useRecent<T>(path: string, idOf: IdOf<T>, turn: unknown = 0): Recent<T> {
	return useOlder(
		path,
		useFresh(path, () => pageOf<T>(path), turn),
		idOf,
	);
}

// The same, fetched only when `turn` says so: a page that stays open would be noticed for what it is refused again and again.
export function useList<T>(path: string, idOf: IdOf<T>, turn: unknown = 0): Recent<T> {
	return useOlder(
		path,
		useLoaded(path, () => pageOf<T>(path), turn),
		idOf,
	);
}

function useOlder<T>(path: string, { value, error, reload }: Loaded<Page<T>>, idOf: IdOf<T>): Recent<T> {
	const [older, setOlder] = useState<Page<T> | null>(null);
	const [refusal, setRefusal] = useState<Error | null>(null);
	useEffect(() => setRefusal(null), [value]);
	const newest = new Set(value?.items.map(idOf));
	const items = value && [...value.items, ...(older?.items.filter((item) => !newest.has(idOf(item))) ?? [])];
	const cursor = older ? older.next_cursor : value?.next_cursor;
	const fetchOlder = async () => {
		const next = await pageOf<T>(path, `&cursor=${encodeURIComponent(cursor ?? '')}`);
		setRefusal(null);
		setOlder({ items: [...(items ?? []), ...next.items], next_cursor: next.next_cursor }); // the newest too: newer ones push them out of the first page
	};
	return {
		items,
		error: error ?? refusal,
		more: cursor ? () => void fetchOlder().catch(setRefusal) : null,
		reload,
	};
}

// Says what is missing: that it is still on its way, or why it could not be loaded; what was loaded before stays below.
export function LoadState({ value, error }: { value: unknown; error: Error | null }) {
	if (error)
		return (
			<p class="notice bad" role="alert">
				{texts.failed(error.message)}
			</p>
		);
	return value === null ? <p class="loading">{texts.loading}</p> : null;
}

export function More({ more }: { more: (() => void) | null }) {
	if (!more) return null;
	return (
		<button type="button" class="below" onClick={more}>
			{texts.more}
		</button>
	);
}
