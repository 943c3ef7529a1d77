// wakeups.tsx - when vehicles were woken, by whom, and what came of it.
import { useComputed } from '@preact/signals';
import type { Wakeup } from '../../client/index';
import { moment } from '../format';
import { byId, LoadState, More, type Recent, useList, useRecent } from '../parts/load';
import { WakeupMark } from '../parts/marks';
import { FleetChoice, NothingOverseen, overseenNow, overseenPath } from '../parts/oversight';
import { Scroll } from '../parts/scroll';
import { vehiclePath } from '../route';
import { events, eventsChanged, rows } from '../store';
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
			{fleet === null ? <NothingOverseen /> : <OfAll key={fleet} path={overseenPath(fleet, 'wakeups')} />}
		</section>
	);
}

function OfAll({ path }: { path: string }) {
	const last = useComputed(() => {
		void eventsChanged.value;
		return events.findLast((logged) => 'event' in logged && logged.event.type === 'wakeup.updated')?.n ?? 0;
	});
	return <List recent={useRecent<Wakeup>(path, byId, last.value)} none={texts.wakeups.noneAtAll} hasVehicles />;
}

// ---- of one vehicle

// `seq` is that of the vehicle's last event about them.
export function WakeupTable({ vehicleId, seq }: { vehicleId: string; seq: number }) {
	return <List recent={useList<Wakeup>(`/v1/vehicles/${encodeURIComponent(vehicleId)}/wakeups`, byId, seq)} none={texts.wakeups.none} />;
}

// ---- of either

function List({ recent: { items, error, more }, none, hasVehicles }: { recent: Recent<Wakeup>; none: string; hasVehicles?: boolean }) {
	return (
		<>
			<LoadState value={items} error={error} />
			{items?.length === 0 && <p class="empty">{none}</p>}
			{items && items.length > 0 && (
				<article class="card">
					<Table wakeups={items} hasVehicles={hasVehicles} />
					<More more={more} />
				</article>
			)}
		</>
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
