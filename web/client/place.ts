// place.ts - what a page learns of itself: the network is there or gone, somebody looks at it again. Elsewhere nobody tells.
export interface Place {
	onOnline(): void;
	onOffline(): void;
	onSeen(): void;
}

// Returns how to stop listening.
export function listenToPlace(place: Place): () => void {
	if (typeof document === 'undefined') return () => {};
	const onChange = () => document.visibilityState === 'visible' && place.onSeen();
	addEventListener('online', place.onOnline);
	addEventListener('offline', place.onOffline);
	document.addEventListener('visibilitychange', onChange);
	return () => {
		removeEventListener('online', place.onOnline);
		removeEventListener('offline', place.onOffline);
		document.removeEventListener('visibilitychange', onChange);
	};
}
