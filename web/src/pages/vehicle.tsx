// vehicle.tsx - one vehicle: whether it is there, what it says of itself, and what was asked of it.
import { useEffect, useState } from 'preact/hooks';
import type { Command, Page, Vehicle, VehicleEvent } from '../../client/index';
import { ProblemError } from '../../client/index';
import { full } from '../format';
import { Band } from '../parts/band';
import { CommandBoard } from '../parts/commands';
import { Desired } from '../parts/desired';
import { Grants } from '../parts/grants';
import { Reachability } from '../parts/marks';
import { StateTable } from '../parts/state';
import { Ago } from '../parts/time';
import { type VehicleTab, vehiclePath } from '../route';
import { gateway, me } from '../store';
import { texts } from '../texts';
import { AuditTable } from './audit';
import { WakeupTable } from './wakeups';

const EVENTS_SHOWN = 400;
const PAGE = 200;

export interface Watched {
	vehicle: Vehicle | null;
	events: VehicleEvent[]; // the last ones, oldest first
	commands: Command[]; // newest first
	cursor: string | null; // of older commands
	error: Error | null;
	isEnded: boolean;
}

const nothing: Watched = { vehicle: null, events: [], commands: [], cursor: null, error: null, isEnded: false };

export function VehiclePage({ vehicleId, tab }: { vehicleId: string; tab: VehicleTab }) {
	const [watched, setWatched] = useState<Watched>(nothing);
	useEffect(() => follow(vehicleId, setWatched), [vehicleId]);
	const { vehicle, error, isEnded } = watched;
	if (!vehicle)
		return (
			<section class="page" aria-labelledby="title">
				<h1 id="title" tabIndex={-1}>
					{vehicleId}
				</h1>
				<p class="empty" role="status">
					{!error
						? texts.vehicle.loading
						: error instanceof ProblemError && error.problem.status === 404
							? texts.vehicle.notFound
							: texts.failed(error.message)}
				</p>
			</section>
		);
	return (
		<section class="page vehicle" aria-labelledby="title">
			<Header vehicle={vehicle} isWaking={isWaking(watched.events)} />
			{error && !isEnded && (
				<p class="notice bad" role="alert">
					{texts.failed(error.message)}
				</p>
			)}
			{isEnded && (
				<p class="notice bad" role="alert">
					{texts.vehicle.ended}
				</p>
			)}
			<Tabs vehicleId={vehicleId} tab={tab} />
			{tab === 'now' && (
				<Now watched={watched} onMore={() => void older(watched, setWatched)} onSent={(command) => setWatched((before) => withCommand(before, command))} />
			)}
			{tab === 'wakeups' && <WakeupTable vehicleId={vehicleId} seq={watched.events.filter(({ type }) => type === 'wakeup.updated').at(-1)?.seq ?? 0} />}
			{tab === 'access' && (
				<Grants path={`/v1/vehicles/${encodeURIComponent(vehicleId)}/grants`} roles={['owner', 'driver', 'viewer']} seq={accessSeq(watched.events)} />
			)}
			{tab === 'audit' && <AuditTable vehicleId={vehicleId} />}
		</section>
	);
}

const accessSeq = (events: VehicleEvent[]): number => events.filter(({ type }) => type === 'access.changed').at(-1)?.seq ?? 0;

// An SMS is under way, or taken: it may come any moment.
function isWaking(events: VehicleEvent[]): boolean {
	const last = events.filter(({ type }) => type === 'wakeup.updated' || type === 'connectivity.changed').at(-1);
	return last?.type === 'wakeup.updated' && (last.data.status === 'submitted' || last.data.status === 'delivered');
}

function Header({ vehicle, isWaking: waking }: { vehicle: Vehicle; isWaking: boolean }) {
	const { vehicle_id, display_name, connectivity } = vehicle;
	// The heading of the page that was loading had the focus, and is gone.
	useEffect(() => {
		if (document.activeElement === document.body) document.getElementById('title')?.focus({ preventScroll: true });
	}, []);
	return (
		<header class="title">
			<div>
				<h1 id="title" tabIndex={-1}>
					{display_name || vehicle_id}
				</h1>
				<p class="dim">{vehicle_id}</p>
			</div>
			<p class="now">
				<span role="status">
					<Reachability connectivity={connectivity} waking={waking} />
				</span>
				<small class="dim">
					<Ago time={connectivity.since} />
				</small>
			</p>
		</header>
	);
}

function Tabs({ vehicleId, tab }: { vehicleId: string; tab: VehicleTab }) {
	return (
		<nav class="tabs" aria-label={texts.vehicle.tabs.label}>
			{(['now', 'wakeups', 'access', 'audit'] as const).map((each) => (
				<a key={each} href={vehiclePath(vehicleId, each)} aria-current={each === tab ? 'page' : undefined}>
					{texts.vehicle.tabs[each]}
				</a>
			))}
		</nav>
	);
}

function Now({ watched, onMore, onSent }: { watched: Watched; onMore(): void; onSent(command: Command): void }) {
	const { vehicle, events, commands, cursor } = watched;
	if (!vehicle) return null;
	return (
		<div class="columns">
			<CommandBoard vehicle={vehicle} commands={commands} hasMore={cursor !== null} onMore={onMore} onSent={onSent} />
			<div>
				<article class="card">
					<h2>{texts.vehicle.band}</h2>
					<Band events={events} />
				</article>
				<article class="card">
					<h2>{texts.vehicle.state}</h2>
					<StateTable state={vehicle.state} />
					<Desired vehicle={vehicle} />
				</article>
				<article class="card">
					<Facts vehicle={vehicle} />
				</article>
			</div>
		</div>
	);
}

function Facts({ vehicle: { vehicle_id, fleet_id, msisdn, tags, created_at } }: { vehicle: Vehicle }) {
	const facts: [string, string | null][] = [
		[texts.vehicle.facts.id, vehicle_id],
		[texts.vehicle.facts.fleet, fleet_id],
		[texts.vehicle.facts.msisdn, msisdn],
		[texts.vehicle.facts.tags, tags.join(', ') || null],
		[texts.vehicle.facts.registered, full(created_at)],
	];
	return (
		<dl class="facts">
			{facts
				.filter(([, value]) => value)
				.map(([name, value]) => (
					<div key={name}>
						<dt>{name}</dt>
						<dd>{value}</dd>
					</div>
				))}
		</dl>
	);
}

// ---- following it

type Set = (change: (before: Watched) => Watched) => void;

// A snapshot, what came before it, and every event since; what could not be resumed is fetched anew.
function follow(vehicleId: string, set: Set): () => void {
	let isOver = false;
	const change: Set = (next) => isOver || set(next);
	set(() => nothing);
	const leave = gateway().client.listen(vehicleId, {
		onVehicle: (vehicle, beginning) => {
			change((before) => ({ ...before, vehicle, error: null }));
			if (beginning !== 'recovered') void history(vehicle, change);
		},
		onEvent: (event) => {
			change((before) => withEvent(before, event));
			if (event.type.startsWith('state.') || isAboutMe(event)) void refresh(vehicleId, change);
		},
		onEnd: (error) => change((before) => ({ ...before, error, isEnded: before.vehicle !== null })),
	});
	return () => {
		isOver = true;
		leave();
	};
}

async function history(vehicle: Vehicle, set: Set): Promise<void> {
	const { rest } = gateway();
	const path = `/v1/vehicles/${encodeURIComponent(vehicle.vehicle_id)}`;
	try {
		const after = Math.max(0, vehicle.seq - EVENTS_SHOWN);
		const pages = [rest.get<Page<VehicleEvent>>(`${path}/events?after=${after}&limit=${PAGE}`)];
		if (vehicle.seq > PAGE) pages.push(rest.get<Page<VehicleEvent>>(`${path}/events?after=${after + PAGE}&limit=${PAGE}`));
		const [commands, ...events] = await Promise.all([rest.get<Page<Command>>(`${path}/commands?limit=20`), ...pages]);
		set((before) => {
			const past = events.flatMap(({ items }) => items).filter(({ seq }) => seq <= vehicle.seq);
			const since = before.events.filter(({ seq }) => seq > vehicle.seq);
			const base: Watched = { ...before, events: [...past, ...since], commands: commands.items, cursor: commands.next_cursor };
			return since.reduce((all, event) => (event.type === 'command.updated' ? withCommand(all, event.data) : all), base);
		});
	} catch (error) {
		set((before) => ({ ...before, error: error as Error }));
	}
}

async function older({ vehicle, cursor }: Watched, set: Set): Promise<void> {
	if (!vehicle || cursor === null) return;
	const path = `/v1/vehicles/${encodeURIComponent(vehicle.vehicle_id)}/commands?limit=50&cursor=${encodeURIComponent(cursor)}`;
	try {
		const page = await gateway().rest.get<Page<Command>>(path);
		set((before) => ({ ...before, commands: [...before.commands, ...page.items], cursor: page.next_cursor, error: null }));
	} catch (error) {
		set((before) => ({ ...before, error: error as Error }));
	}
}

// The delta is the gateway's to compute.
async function refresh(vehicleId: string, set: Set): Promise<void> {
	try {
		const vehicle = await gateway().client.vehicle(vehicleId);
		set((before) => (before.vehicle && before.vehicle.seq > vehicle.seq ? before : { ...before, vehicle }));
	} catch (error) {
		set((before) => ({ ...before, error: error as Error, isEnded: error instanceof ProblemError && error.problem.status === 404 }));
	}
}

// A right that is gone ends the stream with this word, and no other.
const isAboutMe = (event: VehicleEvent): boolean => event.type === 'access.changed' && event.data.subject === me.value?.subject;

function withEvent(before: Watched, event: VehicleEvent): Watched {
	const after: Watched = { ...before, events: [...before.events, event].slice(-EVENTS_SHOWN) };
	if (event.type === 'connectivity.changed' && before.vehicle) after.vehicle = { ...before.vehicle, seq: event.seq, connectivity: event.data };
	return event.type === 'command.updated' ? withCommand(after, event.data) : after;
}

function withCommand(before: Watched, command: Command): Watched {
	const index = before.commands.findIndex(({ id }) => id === command.id);
	const known = before.commands[index];
	if (known && known.updated_at > command.updated_at) return before;
	const commands = known ? before.commands.with(index, { ...known, ...command }) : [command, ...before.commands].sort((a, b) => (a.id < b.id ? 1 : -1));
	return { ...before, commands };
}
