// alerts.tsx - what happened too often, and who is shut out.
import { useComputed } from '@preact/signals';
import { useState } from 'preact/hooks';
import type { Alert, Block } from '../../client/index';
import { moment } from '../format';
import { Ask } from '../parts/ask';
import { everyOf, LoadState, More, useFresh, useRecent } from '../parts/load';
import { FleetChoice, NothingOverseen, overseenNow, overseenPath } from '../parts/oversight';
import { Scroll } from '../parts/scroll';
import { vehiclePath } from '../route';
import { events, eventsChanged, gateway, rows } from '../store';
import { texts } from '../texts';

const CONFIRMED_MS = 1500; // the broker has taken it by then, mostly

const nameOf = (id: string): string => rows.get(id)?.name ?? id;

export function AlertsPage() {
	const fleet = overseenNow();
	return (
		<section class="page alerts" aria-labelledby="title">
			<header class="title">
				<h1 id="title" tabIndex={-1}>
					{texts.alerts.title}
				</h1>
				<FleetChoice />
			</header>
			{fleet === null ? <NothingOverseen /> : <Board key={fleet} fleet={fleet} />}
		</section>
	);
}

function Board({ fleet }: { fleet: string }) {
	const last = useComputed(() => {
		void eventsChanged.value;
		return events.findLast((logged) => 'event' in logged && logged.event.type === 'security.alert')?.n ?? 0;
	});
	const alerts = useRecent<Alert>(overseenPath(fleet, 'alerts'), ({ vehicle_id, seq }) => `${vehicle_id} ${seq}`, last.value);
	const blocks = useFresh(`blocks ${fleet}`, () => everyOf<Block>(overseenPath(fleet, 'blocks')));
	const [refusal, setRefusal] = useState('');
	const shut = async (method: 'PUT' | 'DELETE', vehicleId: string) => {
		setRefusal('');
		await gateway()
			.rest.call(method, `/v1/vehicles/${encodeURIComponent(vehicleId)}/block`)
			.catch((error: Error) => setRefusal(error.message));
		blocks.reload();
		setTimeout(blocks.reload, CONFIRMED_MS);
	};
	const blocked = new Set(blocks.value?.map(({ vehicle_id }) => vehicle_id));
	return (
		<>
			{refusal && (
				<p class="notice bad" role="alert">
					{refusal}
				</p>
			)}
			<article class="card">
				<h2>{texts.alerts.noticed}</h2>
				<LoadState value={alerts.items} error={alerts.error} />
				{alerts.items?.length === 0 && <p class="dim">{texts.alerts.none}</p>}
				{alerts.items && alerts.items.length > 0 && (
					<Scroll label={texts.alerts.noticed}>
						<AlertTable alerts={alerts.items} blocked={blocked} onBlock={(id) => void shut('PUT', id)} />
					</Scroll>
				)}
				<More more={alerts.more} />
				<p class="dim hint">{texts.alerts.scope}</p>
			</article>
			<article class="card">
				<h2>{texts.alerts.blocked}</h2>
				<LoadState value={blocks.value} error={blocks.error} />
				{blocks.value?.length === 0 && <p class="dim">{texts.alerts.noneBlocked}</p>}
				{blocks.value && blocks.value.length > 0 && (
					<Scroll label={texts.alerts.blocked}>
						<BlockTable blocks={blocks.value} onLetIn={(id) => void shut('DELETE', id)} />
					</Scroll>
				)}
			</article>
		</>
	);
}

function AlertTable({ alerts, blocked, onBlock }: { alerts: Alert[]; blocked: Set<string>; onBlock(vehicleId: string): void }) {
	return (
		<table>
			<thead>
				<tr>
					<th scope="col">{texts.alerts.when}</th>
					<th scope="col">{texts.alerts.what}</th>
					<th scope="col">{texts.fleet.vehicle}</th>
					<th scope="col">{texts.fleet.group}</th>
					<th scope="col">{texts.alerts.who}</th>
					<td />
				</tr>
			</thead>
			<tbody>
				{alerts.map(({ vehicle_id, fleet_id, time, seq, kind, count: times, window_seconds, subject }) => (
					<tr key={`${vehicle_id} ${seq}`}>
						<td class="nowrap">{moment(time)}</td>
						<td>
							{texts.alerts.kind[kind] ?? kind}
							<small class="dim below">{texts.alerts.times(times, Math.round(window_seconds / 60))}</small>
						</td>
						<th scope="row">
							<a href={vehiclePath(vehicle_id)}>{nameOf(vehicle_id)}</a>
						</th>
						<td>{fleet_id ?? '–'}</td>
						<td>{subject ?? '–'}</td>
						<td class="act">
							{blocked.has(vehicle_id) ? (
								<span class="mark bad">{texts.alerts.isBlocked}</span>
							) : (
								<Ask
									action={texts.alerts.block}
									label={texts.alerts.blockOf(nameOf(vehicle_id))}
									sure={texts.alerts.sureBlock}
									onSure={() => onBlock(vehicle_id)}
								/>
							)}
						</td>
					</tr>
				))}
			</tbody>
		</table>
	);
}

function BlockTable({ blocks, onLetIn }: { blocks: Block[]; onLetIn(vehicleId: string): void }) {
	return (
		<table>
			<thead>
				<tr>
					<th scope="col">{texts.fleet.vehicle}</th>
					<th scope="col">{texts.fleet.group}</th>
					<th scope="col">{texts.alerts.since}</th>
					<th scope="col">{texts.alerts.atBroker}</th>
					<td />
				</tr>
			</thead>
			<tbody>
				{blocks.map(({ vehicle_id, fleet_id, display_name, blocked_at, confirmed }) => (
					<tr key={vehicle_id}>
						<th scope="row">
							<a href={vehiclePath(vehicle_id)}>{display_name ?? vehicle_id}</a>
						</th>
						<td>{fleet_id ?? '–'}</td>
						<td>{moment(blocked_at)}</td>
						<td>
							<span class={`mark ${confirmed ? 'bad' : 'wait'}`}>{confirmed ? texts.alerts.shut : texts.alerts.shutting}</span>
						</td>
						<td class="act">
							<Ask
								action={texts.alerts.letIn}
								label={texts.alerts.letInOf(display_name ?? vehicle_id)}
								sure={texts.alerts.sureLetIn}
								onSure={() => onLetIn(vehicle_id)}
							/>
						</td>
					</tr>
				))}
			</tbody>
		</table>
	);
}
