// fleet.tsx - every vehicle that the person may see, as it is now, and what has become of the commands.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { Connectivity } from '../../client';
import { clock, duration, moment } from '../format';
import { Reachability, StatusMark } from '../parts/marks';
import { Plot } from '../parts/plot';
import { Ago, now } from '../parts/time';
import { VirtualList } from '../parts/virtual-list';
import { vehiclePath } from '../route';
import { commandsSeen, outcomes, perMinute, stages } from '../stats';
import { commandTitle, eventsChanged, listing, openedAt, type Row, retryListing, rows, SINGLES_MAX, vehiclesChanged } from '../store';
import { count, texts } from '../texts';

const ROW_PX = 52;
type Filter = 'all' | Connectivity['state'];

const inOrder = new Intl.Collator('en', { numeric: true });

export function FleetPage() {
	const search = useSignal('');
	const filter = useSignal<Filter>('all');
	const changed = vehiclesChanged.value;
	const sorted = useMemo(() => [...rows.values()].sort((a, b) => inOrder.compare(a.name, b.name) || inOrder.compare(a.id, b.id)), [rows.size, listing.value]);
	const words = search.value.trim().toLowerCase();
	const found = useMemo(() => sorted.filter((row) => row.words.includes(words)), [sorted, words]);
	const counts = useMemo(() => countsOf(found), [found, changed]);
	const shown = filter.value === 'all' ? found : found.filter(({ connectivity }) => connectivity.state === filter.value);
	return (
		<section class="page fleet" aria-labelledby="title">
			<h1 id="title" tabIndex={-1}>
				{texts.fleet.title}
			</h1>
			<Plots />
			<div class="bar">
				<Search value={search.value} onInput={(text) => (search.value = text)} />
				<Filters counts={counts} chosen={filter.value} onChoose={(chosen) => (filter.value = chosen)} />
				<p class="dim grow" role="status">
					{listing.value.state === 'loading' ? texts.fleet.loading(rows.size) : texts.fleet.shown(shown.length, rows.size)}
				</p>
			</div>
			<ListState />
			{rows.size > 0 && (
				<VirtualList label={texts.fleet.title} items={shown} rowHeight={ROW_PX} keyOf={({ id }) => id} head={<Head />} row={(row) => <Cells row={row} />} />
			)}
			{rows.size > 0 && shown.length === 0 && <p class="empty">{texts.fleet.noMatch}</p>}
		</section>
	);
}

function countsOf(found: Row[]): Record<Filter, number> {
	let connected = 0;
	for (const { connectivity } of found) if (connectivity.state === 'connected') connected++;
	return { all: found.length, connected, disconnected: found.length - connected };
}

function ListState() {
	const { state, why, isPartlyLive } = listing.value;
	if (state === 'failed')
		return (
			<p class="notice bad" role="alert">
				{texts.fleet.failed(why ?? '')}{' '}
				<button type="button" onClick={retryListing}>
					{texts.fleet.retry}
				</button>
			</p>
		);
	if (isPartlyLive) return <p class="notice">{texts.fleet.partly(SINGLES_MAX)}</p>;
	if (state === 'done' && rows.size === 0) return <p class="empty">{texts.fleet.none}</p>;
	return null;
}

// "/" leads here from anywhere on the page.
function Search({ value, onInput }: { value: string; onInput(text: string): void }) {
	const input = useRef<HTMLInputElement>(null);
	useEffect(() => {
		const onKey = (event: KeyboardEvent) => {
			if (event.key !== '/' || event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
			event.preventDefault();
			input.current?.focus();
		};
		addEventListener('keydown', onKey);
		return () => removeEventListener('keydown', onKey);
	}, []);
	return (
		<input
			ref={input}
			type="search"
			aria-label={texts.fleet.search}
			placeholder={texts.fleet.searchHint}
			value={value}
			onInput={(event) => onInput(event.currentTarget.value)}
		/>
	);
}

function Filters({ counts, chosen, onChoose }: { counts: Record<Filter, number>; chosen: Filter; onChoose(filter: Filter): void }) {
	return (
		<fieldset class="choice">
			<legend class="unseen">{texts.fleet.reachability}</legend>
			{(['all', 'connected', 'disconnected'] as const).map((filter) => (
				<button key={filter} type="button" aria-pressed={filter === chosen} onClick={() => onChoose(filter)}>
					{texts.fleet[filter]} <b>{count(counts[filter])}</b>
				</button>
			))}
		</fieldset>
	);
}

function Head() {
	return (
		<>
			<span role="columnheader">{texts.fleet.vehicle}</span>
			<span role="columnheader">{texts.fleet.reachability}</span>
			<span role="columnheader" class="wide">
				{texts.fleet.since}
			</span>
			<span role="columnheader" class="wide">
				{texts.fleet.group}
			</span>
			<span role="columnheader" class="wide">
				{texts.fleet.last}
			</span>
		</>
	);
}

function Cells({ row: { id, name, fleet, connectivity, last } }: { row: Row }) {
	return (
		<>
			<span role="cell" class="name">
				<a href={vehiclePath(id)}>{name}</a>
				{name !== id && <small class="dim">{id}</small>}
			</span>
			<span role="cell">
				<Reachability connectivity={connectivity} />
			</span>
			<span role="cell" class="wide dim">
				<Ago time={connectivity.since} />
			</span>
			<span role="cell" class="wide dim">
				{fleet ?? '–'}
			</span>
			<span role="cell" class="wide last">
				{last ? (
					<>
						<StatusMark status={last.status} /> <span>{commandTitle(last.name)}</span>
					</>
				) : (
					<span class="dim">–</span>
				)}
			</span>
		</>
	);
}

// ---- plots

function Plots() {
	void eventsChanged.value;
	const minute = Math.floor(now.value / 60_000);
	const total = commandsSeen();
	const data = useMemo(() => perMinute(minute * 60_000), [minute, eventsChanged.value]);
	return (
		<section class="plots" aria-label={texts.plots.perMinute}>
			<article class="card">
				<h2>{texts.plots.perMinute}</h2>
				<Plot
					label={texts.plots.summary(total, Math.max(1, Math.ceil((now.value - openedAt) / 60_000)))}
					data={data}
					lines={[
						{ label: texts.plots.perMinute, colour: '--accent-soft' },
						{ label: texts.status.failed, colour: '--bad' },
					]}
				/>
			</article>
			<article class="card">
				<h2>{texts.plots.outcomes}</h2>
				{total === 0 ? <p class="dim">{texts.plots.nothing}</p> : <Outcomes total={total} />}
			</article>
			<article class="card">
				<h2>{texts.plots.latency}</h2>
				<Latency />
			</article>
			<p class="dim scope">{texts.plots.scope(moment(openedAt) || clock(openedAt))}</p>
		</section>
	);
}

function Outcomes({ total }: { total: number }) {
	return (
		<ul class="outcomes">
			{outcomes()
				.slice(0, 5)
				.map(([status, n]) => (
					<li key={status}>
						<StatusMark status={status} />
						<b>{count(n)}</b>
						<span class="track" aria-hidden="true">
							<i style={{ width: `${(100 * n) / total}%` }} />
						</span>
					</li>
				))}
		</ul>
	);
}

function Latency() {
	const found = stages();
	if (found.length === 0) return <p class="dim">{texts.plots.nothing}</p>;
	return (
		<table class="numbers">
			<thead>
				<tr>
					<th scope="col">{texts.plots.stage}</th>
					<th scope="col">p50</th>
					<th scope="col">p95</th>
					<th scope="col">p99</th>
				</tr>
			</thead>
			<tbody>
				{found.map(({ name, p50, p95, p99 }) => (
					<tr key={name}>
						<th scope="row">{texts.plots[name]}</th>
						<td>{duration(p50)}</td>
						<td>{duration(p95)}</td>
						<td>{duration(p99)}</td>
					</tr>
				))}
			</tbody>
		</table>
	);
}
