// route.ts - the console's own paths. The gateway answers them with the console's page (gateway/http/console.c).
import { signal } from '@preact/signals';

export type VehicleTab = 'now' | 'wakeups' | 'access' | 'audit';

export type PlainPage = 'fleet' | 'live' | 'wakeups' | 'alerts' | 'webhooks' | 'nodes' | 'access';

export type Route = { page: PlainPage } | { page: 'vehicle'; vehicleId: string; tab: VehicleTab } | { page: 'webhook'; webhookId: string } | { page: 'none' };

const PLAIN: readonly string[] = ['fleet', 'live', 'wakeups', 'alerts', 'webhooks', 'nodes', 'access'] satisfies PlainPage[];

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
	if (path === '/') return { page: 'fleet' };
	if (PLAIN.includes(first) && !second) return { page: first as PlainPage };
	if (first === 'vehicles' && second && more.length === 0 && (!third || TABS.includes(third)))
		return { page: 'vehicle', vehicleId: second, tab: (third ?? 'now') as VehicleTab };
	if (first === 'webhooks' && second && !third) return { page: 'webhook', webhookId: second };
	return { page: 'none' };
}

export function vehiclePath(id: string, tab: VehicleTab = 'now'): string {
	return `/vehicles/${encodeURIComponent(id)}${tab === 'now' ? '' : `/${tab}`}`;
}

export const webhookPath = (id: string): string => `/webhooks/${encodeURIComponent(id)}`;

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
