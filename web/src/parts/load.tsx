// load.tsx - something that is fetched once, and again when it is asked for.
import { useCallback, useEffect, useState } from 'preact/hooks';
import type { Page } from '../../client/index';
import { gateway } from '../store';

const FRESH_MS = 10_000;
const PAGE = 100;

export interface Loaded<T> {
	value: T | null; // the last one, also while the next is fetched
	error: Error | null;
	reload(): void;
}

// `what` names it: another name is another thing, and the old value is gone.
export function useLoaded<T>(what: string, load: () => Promise<T>): Loaded<T> {
	const [state, setState] = useState<{ what: string; value: T | null; error: Error | null }>({ what, value: null, error: null });
	const [turn, setTurn] = useState(0);
	useEffect(() => {
		let isCurrent = true;
		load().then(
			(value) => isCurrent && setState({ what, value, error: null }),
			(error) => isCurrent && setState((before) => ({ what, value: before.what === what ? before.value : null, error })),
		);
		return () => {
			isCurrent = false;
		};
	}, [what, turn]);
	const reload = useCallback(() => setTurn((n) => n + 1), []);
	return state.what === what ? { value: state.value, error: state.error, reload } : { value: null, error: null, reload };
}

// Fetched again every ten seconds, while somebody looks, and at once when `turn` changes.
export function useFresh<T>(what: string, load: () => Promise<T>, turn: unknown = 0): Loaded<T> {
	const loaded = useLoaded(what, load);
	useEffect(() => {
		loaded.reload();
		const timer = setInterval(() => document.visibilityState === 'visible' && loaded.reload(), FRESH_MS);
		return () => clearInterval(timer);
	}, [what, turn]);
	return loaded;
}

export interface Recent<T> {
	items: T[] | null;
	error: Error | null;
	more: (() => void) | null; // fetches older ones; null: there are none
	reload(): void;
}

// A list that begins with the newest. Its first page stays true; older ones are as they were when they were asked for. Another path wants another
// component (`key`).
export function useRecent<T extends { id: string }>(path: string, turn: unknown = 0): Recent<T> {
	const page = (cursor = '') => gateway().rest.get<Page<T>>(`${path}${path.includes('?') ? '&' : '?'}limit=${PAGE}${cursor}`);
	const { value, error, reload } = useFresh(path, () => page(), turn);
	const [older, setOlder] = useState<Page<T> | null>(null);
	const [refusal, setRefusal] = useState<Error | null>(null);
	const newest = new Set(value?.items.map(({ id }) => id));
	const cursor = older ? older.next_cursor : value?.next_cursor;
	const fetchOlder = async () => {
		const next = await page(`&cursor=${encodeURIComponent(cursor ?? '')}`);
		setRefusal(null);
		setOlder({ items: [...(older?.items ?? []), ...next.items], next_cursor: next.next_cursor });
	};
	return {
		items: value && [...value.items, ...(older?.items.filter(({ id }) => !newest.has(id)) ?? [])],
		error: error ?? refusal,
		more: cursor ? () => void fetchOlder().catch(setRefusal) : null,
		reload,
	};
}
