// live.tsx - every event as it comes: pause, filter, and take it into a terminal.
import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useMemo } from 'preact/hooks';
import type { JsonObject, VehicleEvent } from '../../client/index';
import { clock, inline, leaves, pairs } from '../format';
import { Copy } from '../parts/copy';
import { Reachability, StatusMark, WakeupMark } from '../parts/marks';
import { VirtualList } from '../parts/virtual-list';
import { vehiclePath } from '../route';
import { asCurl, asKeyfob } from '../shell';
import { apiBase, commandTitle, events, eventsChanged, type Logged, rows } from '../store';
import { texts } from '../texts';

const ROW_PX = 44;

export function LivePage() {
	const paused = useSignal<readonly Logged[] | null>(null);
	const search = useSignal('');
	const type = useSignal('');
	const changed = eventsChanged.value;
	const all = paused.value ?? events;
	const types = useMemo(() => [...new Set(all.flatMap((logged) => ('event' in logged ? [logged.event.type] : [])))].sort(), [all, changed]);
	const words = search.value.trim().toLowerCase();
	const shown = useMemo(() => all.filter((logged) => matches(logged, words, type.value)).reverse(), [all, changed, words, type.value]);
	const newest = events.at(-1)?.n ?? 0;
	return (
		<section class="page live" aria-labelledby="title">
			<h1 id="title" tabIndex={-1}>
				{texts.live.title}
			</h1>
			<div class="bar">
				<button type="button" aria-pressed={paused.value !== null} onClick={() => (paused.value = paused.value ? null : [...events])}>
					{paused.value ? texts.live.resume : texts.live.pause}
				</button>
				<input
					type="search"
					aria-label={texts.live.filter}
					placeholder={texts.live.filterHint}
					value={search.value}
					onInput={(event) => (search.value = event.currentTarget.value)}
				/>
				<select aria-label={texts.live.type} value={type.value} onChange={(event) => (type.value = event.currentTarget.value)}>
					<option value="">{texts.live.allTypes}</option>
					{types.map((name) => (
						<option key={name} value={name}>
							{name}
						</option>
					))}
				</select>
				<p class="dim grow">{paused.value ? texts.live.paused(newest - (paused.value.at(-1)?.n ?? 0)) : texts.live.kept(events.length)}</p>
			</div>
			{shown.length === 0 ? (
				<p class="empty">{all.length === 0 ? texts.live.nothing : texts.live.noMatch}</p>
			) : (
				<VirtualList
					label={texts.live.title}
					items={shown}
					rowHeight={ROW_PX}
					keyOf={({ n }) => n}
					rowClass={(logged) => ('gap' in logged ? 'gap' : '')}
					row={(logged) => ('gap' in logged ? <Gap at={logged.gap} /> : <Cells event={logged.event} />)}
				/>
			)}
		</section>
	);
}

function matches(logged: Logged, words: string, type: string): boolean {
	if ('gap' in logged) return words === '' && type === '';
	const { event } = logged;
	if (type && event.type !== type) return false;
	if (!words) return true;
	return `${event.vehicle_id} ${rows.get(event.vehicle_id)?.name ?? ''} ${event.type} ${JSON.stringify(event.data)}`.toLowerCase().includes(words);
}

function Gap({ at }: { at: number }) {
	return (
		<span role="cell" class="notice">
			<time>{clock(at)}</time> {texts.live.gap}
		</span>
	);
}

function Cells({ event }: { event: VehicleEvent }) {
	return (
		<>
			<span role="cell" class="when">
				<time dateTime={event.time}>{clock(event.time)}</time>
			</span>
			<span role="cell" class="name">
				<a href={vehiclePath(event.vehicle_id)}>{rows.get(event.vehicle_id)?.name ?? event.vehicle_id}</a>
			</span>
			<span role="cell" class="type wide">
				{event.type}
			</span>
			<span role="cell" class="data">
				{summaryOf(event)}
			</span>
			<span role="cell" class="copies wide">
				<Copy text={asKeyfob(event)} label={texts.live.copyKeyfob} />
				<Copy text={asCurl(apiBase(), event)} label={texts.live.copyCurl} />
			</span>
		</>
	);
}

function summaryOf(event: VehicleEvent): ComponentChildren {
	if (event.type === 'command.updated')
		return (
			<>
				<StatusMark status={event.data.status} /> {commandTitle(event.data.name)}{' '}
				{event.data.reason?.code && <small class="dim">{event.data.reason.code}</small>}
			</>
		);
	if (event.type === 'connectivity.changed')
		return (
			<>
				<Reachability connectivity={event.data} /> <small class="dim">{event.data.reason}</small>
			</>
		);
	if (event.type === 'wakeup.updated')
		return (
			<>
				<WakeupMark status={event.data.status} /> {[event.data.provider, event.data.reason].filter(Boolean).join(', ')}
			</>
		);
	if (event.type === 'state.reported' || event.type === 'state.desired') return patchOf(event.data.patch);
	return pairs({ ...event.data } as JsonObject);
}

const patchOf = (patch: JsonObject): string => [...leaves(patch)].map(([name, value]) => `${name} = ${inline(value)}`).join(', ');
