// load.tsx - something that is fetched once, and again when it is asked for.
import { useCallback, useEffect, useState } from 'preact/hooks';

const FRESH_MS = 10_000;

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
