// wakeups.tsx - when vehicles were woken, by whom, and what came of it.
import { useComputed } from '@preact/signals';
import { useState } from 'preact/hooks';
import type { Page, Wakeup } from '../../client/index';
import { moment } from '../format';
import { useFresh, useLoaded } from '../parts/load';
import { WakeupMark } from '../parts/marks';
import { FleetChoice, overseenNow, overseenPath } from '../parts/oversight';
import { Scroll } from '../parts/scroll';
import { vehiclePath } from '../route';
import { events, eventsChanged, gateway, rows } from '../store';
import { texts } from '../texts';

// ---- of all vehicles, or a fleet's

export function WakeupsPage() {
	const fleet = overseenNow();
	return (
		<section class="page" aria-labelledby="title">
			<header class="title">
				<h1 id="title" tabIndex={-1}>
					{texts.wakeups.title}
				</h1>
				<FleetChoice />
			</header>
			{fleet === null ? <p class="empty">{texts.oversight.nothing}</p> : <Recent key={fleet} path={overseenPath(fleet, 'wakeups')} />}
		</section>
	);
}

// The newest page stays true; older ones are as they were when they were asked for.
function Recent({ path }: { path: string }) {
	const last = useComputed(() => {
		void eventsChanged.value;
		return events.findLast((logged) => 'event' in logged && logged.event.type === 'wakeup.updated')?.n ?? 0;
	});
	const { value, error } = useFresh(path, () => gateway().rest.get<Page<Wakeup>>(`${path}?limit=100`), last.value);
	const [older, setOlder] = useState<Page<Wakeup> | null>(null);
	if (error) return <p class="notice bad">{texts.failed(error.message)}</p>;
	if (!value) return null;
	if (value.items.length === 0) return <p class="empty">{texts.wakeups.noneAtAll}</p>;
	const newest = new Set(value.items.map(({ id }) => id));
	const cursor = older ? older.next_cursor : value.next_cursor;
	const more = async () => {
		const next = await gateway().rest.get<Page<Wakeup>>(`${path}?limit=100&cursor=${encodeURIComponent(cursor ?? '')}`);
		setOlder({ items: [...(older?.items ?? []), ...next.items], next_cursor: next.next_cursor });
	};
	return (
		<article class="card">
			<Table wakeups={[...value.items, ...(older?.items.filter(({ id }) => !newest.has(id)) ?? [])]} hasVehicles />
			{cursor && (
				<button type="button" onClick={() => void more()}>
					{texts.wakeups.more}
				</button>
			)}
		</article>
	);
}

// ---- of one vehicle

// `seq` is that of the vehicle's last event about them.
export function WakeupTable({ vehicleId, seq }: { vehicleId: string; seq: number }) {
	const path = `/v1/vehicles/${encodeURIComponent(vehicleId)}/wakeups?limit=100`;
	const { value, error } = useLoaded(`${path} ${seq}`, () => gateway().rest.get<Page<Wakeup>>(path));
	if (error) return <p class="notice bad">{texts.failed(error.message)}</p>;
	if (!value) return null;
	if (value.items.length === 0) return <p class="empty">{texts.wakeups.none}</p>;
	return (
		<article class="card">
			<Table wakeups={value.items} />
		</article>
	);
}

function Table({ wakeups, hasVehicles = false }: { wakeups: Wakeup[]; hasVehicles?: boolean }) {
	return (
		<Scroll label={texts.wakeups.list}>
			<table>
				<thead>
					<tr>
						<th scope="col">{texts.wakeups.when}</th>
						{hasVehicles && <th scope="col">{texts.fleet.vehicle}</th>}
						<th scope="col">{texts.wakeups.outcome}</th>
						<th scope="col">{texts.wakeups.provider}</th>
						<th scope="col">{texts.wakeups.attempt}</th>
						<th scope="col">{texts.wakeups.reason}</th>
						{hasVehicles && <th scope="col">{texts.fleet.group}</th>}
					</tr>
				</thead>
				<tbody>
					{wakeups.map(({ id, status, provider, attempt, reason, created_at, vehicle_id = '', fleet_id }) => (
						<tr key={id}>
							<td class="nowrap">{created_at ? moment(created_at) : '–'}</td>
							{hasVehicles && (
								<th scope="row">
									<a href={vehiclePath(vehicle_id)}>{rows.get(vehicle_id)?.name ?? vehicle_id}</a>
								</th>
							)}
							<td>
								<WakeupMark status={status} />
							</td>
							<td>{provider ?? '–'}</td>
							<td>{attempt}</td>
							<td>{reason ?? '–'}</td>
							{hasVehicles && <td>{fleet_id ?? '–'}</td>}
						</tr>
					))}
				</tbody>
			</table>
		</Scroll>
	);
}
