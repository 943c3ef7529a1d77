// route.ts - the console's own paths. The gateway answers them with the console's page (gateway/http/console.c).
import { signal } from '@preact/signals';

export type VehicleTab = 'now' | 'wakeups' | 'access' | 'audit';

export type Route = { page: 'fleet' } | { page: 'vehicle'; vehicleId: string; tab: VehicleTab } | { page: 'live' } | { page: 'access' } | { page: 'none' };

const TABS: readonly string[] = ['wakeups', 'access', 'audit'];

function decode(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}

export function read(path: string): Route {
	const [first = '', second, third, ...more] = path.split('/').filter(Boolean).map(decode);
	if (path === '/' || (first === 'fleet' && !second)) return { page: 'fleet' };
	if (first === 'live' && !second) return { page: 'live' };
	if (first === 'access' && !second) return { page: 'access' };
	if (first === 'vehicles' && second && more.length === 0 && (!third || TABS.includes(third)))
		return { page: 'vehicle', vehicleId: second, tab: (third ?? 'now') as VehicleTab };
	return { page: 'none' };
}

export function vehiclePath(id: string, tab: VehicleTab = 'now'): string {
	return `/vehicles/${encodeURIComponent(id)}${tab === 'now' ? '' : `/${tab}`}`;
}

export const route = signal<Route>(read(location.pathname));

export function go(path: string): void {
	if (path !== location.pathname) history.pushState(null, '', path);
	route.value = read(path);
	scrollTo(0, 0);
}

addEventListener('popstate', () => {
	route.value = read(location.pathname);
});

// Links are links; a plain click stays on the page.
document.addEventListener('click', (event) => {
	const link = event.target instanceof Element ? event.target.closest('a[href^="/"]') : null;
	if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || link.hasAttribute('target')) return;
	event.preventDefault();
	go(link.getAttribute('href') ?? '/');
});
