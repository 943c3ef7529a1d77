// store.ts - what the console knows: the vehicles that the person may see, kept true by events, and the events themselves.
//
// Thousands of changes may come in a second: they are applied at once to plain objects, and the pages hear of them at most ten
// times a second (`vehiclesChanged`, `eventsChanged`).
import { signal } from '@preact/signals';
import {
	type Catalog,
	Client,
	type Command,
	type Connectivity,
	type FleetEvent,
	isSettled,
	type LinkState,
	type Me,
	ProblemError,
	Rest,
	type Resumed,
	type Vehicle,
	type VehicleEvent,
} from '../client/index';
import { socketUrl } from './config';
import { configuration, currentToken, signOut } from './session';
import { observe } from './stats';
import { texts } from './texts';

const TELL_MS = 100;
const AGAIN_MS = 5000; // until what failed at the beginning is tried again
const EVENTS_KEPT = 2000;
export const SINGLES_MAX = 200; // vehicles that are watched one by one, for who has no fleet; the gateway takes 1000 of a socket

export interface Row {
	id: string;
	name: string;
	fleet: string | null;
	tags: string[];
	connectivity: Connectivity;
	seq: number;
	last: { name: string; status: Command['status']; at: string } | null; // as far as it was seen
	words: string; // what a search looks through
}

export type Logged = { n: number; event: VehicleEvent } | { n: number; gap: number };

export const link = signal<LinkState>('connecting');
export const isAway = signal(false); // since the connection was lost, or could not be made
export const comeback = signal<Resumed | null>(null); // how the last reconnection went, for a while
export const me = signal<Me | null>(null);
export const catalog = signal<Catalog | null>(null);
export const listing = signal<{ state: 'loading' | 'done' | 'failed'; why?: string; isPartlyLive?: boolean }>({ state: 'loading' });
export const vehiclesChanged = signal(0);
export const eventsChanged = signal(0);
export const openedAt = Date.now();

export const rows = new Map<string, Row>();
export let names = 0; // counts how often there were other rows, or other words in them: then they are sorted anew
export const events: Logged[] = []; // oldest first

let client: Client | undefined;
let rest: Rest | undefined;
let numbered = 0;

export function gateway(): { client: Client; rest: Rest } {
	if (!client || !rest) throw new Error('nobody is signed in');
	return { client, rest };
}

export const apiBase = (): string => configuration().api || location.origin;

// ---- telling the pages

const due = new Set<typeof vehiclesChanged>();
let timer: ReturnType<typeof setTimeout> | undefined;

function tell(changed: typeof vehiclesChanged): void {
	due.add(changed);
	if (timer) return;
	timer = setTimeout(() => {
		timer = undefined;
		for (const each of due) each.value++;
		due.clear();
	}, TELL_MS);
}

// ---- the connection

export function open(): void {
	client?.stop();
	rest = new Rest(configuration().api, () => currentToken());
	client = new Client({
		url: socketUrl(configuration()),
		token: currentToken,
		onState,
		onEvent: take,
	});
	client.start();
	retryListing();
}

export function close(): void {
	client?.stop();
	client = undefined;
	clearTimeout(again);
	rows.clear();
	singles.clear();
	followed.clear();
	events.length = 0;
	me.value = null;
}

let wasOnline = false;

function onState(state: LinkState, resumed: Resumed): void {
	link.value = state;
	if (state !== 'connecting') isAway.value = state === 'waiting';
	if (state === 'online' && listing.value.state === 'failed') void begin();
	if (state === 'signed-out') {
		close();
		signOut(texts.signIn.ended);
	} else if (state === 'online' && wasOnline) {
		comeback.value = resumed;
		if (resumed.fleets > 0) log({ n: ++numbered, gap: Date.now() });
		setTimeout(() => {
			comeback.value = null;
		}, 6000);
	}
	wasOnline = state === 'online' || (wasOnline && state !== 'signed-out');
}

export const isAdmin = (): boolean => me.value?.scopes.includes('keyfob:admin') ?? false;

let again: ReturnType<typeof setTimeout> | undefined;

// First follow, then list: what happens in between has a greater seq than what is listed.
async function begin(): Promise<void> {
	clearTimeout(again);
	try {
		[me.value, catalog.value] = await Promise.all([gateway().rest.get<Me>('/v1/me'), gateway().rest.get<Catalog>('/v1/catalog')]);
		const fleets = isAdmin() ? ['*'] : me.value.grants.flatMap(({ fleet_id }) => fleet_id ?? []);
		for (const id of fleets) followFleet(id);
		await list();
	} catch (error) {
		fail(error as Error);
	}
}

// What may pass is tried again, and when the connection is back; until then it stays said.
function fail(error: Error): void {
	if (!client) return;
	listing.value = { state: 'failed', why: error.message };
	clearTimeout(again);
	if (!(error instanceof ProblemError) || error.problem.status >= 500 || error.problem.status === 429) again = setTimeout(() => void begin(), AGAIN_MS);
}

const followed = new Set<string>();

// Until somebody else signs in, or it is to be seen no more.
function followFleet(id: string): void {
	if (followed.has(id)) return;
	followed.add(id);
	gateway().client.listenToFleet(id, {
		onBegin: (beginning) => {
			if (beginning === 'reloaded') void list();
		},
		onEnd: () => followed.delete(id),
	});
}

export function retryListing(): void {
	listing.value = { state: 'loading' };
	void begin();
}

let listings = 0;

async function list(): Promise<void> {
	const turn = ++listings;
	const known = new Set<string>();
	try {
		for await (const page of gateway().rest.pages<Vehicle>('/v1/vehicles')) {
			if (turn !== listings) return; // a later one is under way
			for (const vehicle of page) {
				known.add(vehicle.vehicle_id);
				put(vehicle);
			}
		}
		for (const id of rows.keys()) if (!known.has(id)) forget(id);
		listing.value = { state: 'done', isPartlyLive: watchSingles() };
	} catch (error) {
		if (turn === listings) fail(error as Error);
	}
}

const singles = new Set<string>();

// Vehicles that come by no fleet of the person's. True when there are too many.
function watchSingles(): boolean {
	if (isAdmin()) return false;
	const fleets = new Set(me.value?.grants.map(({ fleet_id }) => fleet_id));
	for (const row of rows.values()) {
		if (singles.has(row.id) || (row.fleet && fleets.has(row.fleet))) continue;
		if (singles.size >= SINGLES_MAX) return true;
		singles.add(row.id);
		gateway().client.listen(row.id, {
			onVehicle: put,
			// Revoked or run out; another right may carry on.
			onEnd: () => {
				singles.delete(row.id);
				void learn(row.id);
			},
		});
	}
	return false;
}

// ---- vehicles

// The pages hold on to the rows: a vehicle keeps its own.
export function put(vehicle: Vehicle): void {
	const { vehicle_id, display_name, fleet_id, tags, connectivity, seq } = vehicle;
	const before = rows.get(vehicle_id);
	if (before && before.seq > seq) return;
	const words = [vehicle_id, display_name, fleet_id, ...tags].join(' ').toLowerCase();
	const name = display_name || vehicle_id;
	if (before?.words !== words || before.name !== name) names++;
	rows.set(vehicle_id, Object.assign(before ?? { last: null }, { id: vehicle_id, name, fleet: fleet_id, tags, connectivity, seq, words }));
	tell(vehiclesChanged);
}

function forget(vehicleId: string): void {
	if (!rows.delete(vehicleId)) return;
	names++;
	tell(vehiclesChanged);
}

async function learn(vehicleId: string): Promise<void> {
	try {
		put(await gateway().client.vehicle(vehicleId));
	} catch (error) {
		if (error instanceof ProblemError && error.problem.status === 404) forget(vehicleId);
	}
}

function apply(row: Row, event: VehicleEvent): void {
	row.seq = event.seq;
	if (event.type === 'connectivity.changed') row.connectivity = event.data;
	else if (event.type === 'command.updated') row.last = { name: event.data.name, status: event.data.status, at: event.data.updated_at };
	else if (event.type === 'vehicle.retired') forget(row.id);
	else if (event.type === 'vehicle.moved' || (event.type === 'access.changed' && event.data.subject === me.value?.subject)) void learn(row.id);
}

// When this page saw what became of commands. Its clock may be wrong by any amount: of all events the one that came quickest is
// taken to have come at once.
const arrivals = new Map<string, number>();
let ahead = Number.POSITIVE_INFINITY;

// By the gateway's clock, in ms; undefined: it was settled before, or elsewhere.
export function seenAt(commandId: string): number | undefined {
	const at = arrivals.get(commandId);
	return at === undefined ? undefined : at - ahead;
}

function noteArrival(event: VehicleEvent): void {
	const at = Date.now();
	ahead = Math.min(ahead, at - Date.parse(event.time));
	if (event.type !== 'command.updated') return;
	const { id, status } = event.data;
	if (!isSettled(status) || arrivals.has(id)) return;
	arrivals.set(id, at);
	for (const oldest of arrivals.keys()) if (arrivals.size > EVENTS_KEPT) arrivals.delete(oldest);
}

function take(event: VehicleEvent | FleetEvent): void {
	if (event.vehicle_id === undefined) {
		if (event.type === 'access.changed' && event.data.subject === me.value?.subject) void begin();
		return;
	}
	noteArrival(event);
	if (event.type === 'command.updated') observe(event.data);
	log({ n: ++numbered, event });
	const row = rows.get(event.vehicle_id);
	if (!row) {
		if (event.type !== 'vehicle.retired' && listing.value.state === 'done') void learn(event.vehicle_id);
		return;
	}
	if (event.seq <= row.seq) return;
	apply(row, event);
	tell(vehiclesChanged);
}

// ---- events

function log(logged: Logged): void {
	events.push(logged);
	if (events.length > EVENTS_KEPT * 1.25) events.splice(0, events.length - EVENTS_KEPT);
	tell(eventsChanged);
}

export const commandTitle = (name: string): string => catalog.value?.commands[name]?.title ?? name;
