// fleet.tsx - every vehicle that the person may see, as it is now; above it, what became of the commands.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Alert, Block, Connectivity, Page, Vehicle } from '../../client/index';
import { Figures } from '../parts/figures';
import { useFresh } from '../parts/load';
import { Reachability, StatusMark } from '../parts/marks';
import { overseenNow, overseenPath } from '../parts/oversight';
import { Ago } from '../parts/time';
import { VirtualList } from '../parts/virtual-list';
import { vehiclePath } from '../route';
import { commandTitle, gateway, listing, names, type Row, rows, SINGLES_MAX, vehiclesChanged } from '../store';
import { count, texts } from '../texts';

const ROW_PX = 52;
type Filter = 'all' | Connectivity['state'] | 'alert';

const ALERTS_MAX = 200;
const PAUSE_MS = 300; // in typing
// What the gateway searches by (docs/fleets.md), and the page alone cannot.
const TERM = /^(NOT )?(reachability|unstable|fleet|tag|vehicle|name|state\.\S+?)\s*[:<>]/;

const inOrder = new Intl.Collator('en', { numeric: true });

export function FleetPage() {
	const search = useSignal('');
	const filter = useSignal<Filter>('all');
	const changed = vehiclesChanged.value;
	const sorted = useMemo(() => [...rows.values()].sort((a, b) => inOrder.compare(a.name, b.name) || inOrder.compare(a.id, b.id)), [names]);
	const words = search.value.trim();
	const { ids, refusal } = useTerms(TERM.test(words) ? words : '');
	const isSearching = TERM.test(words) && !ids && !refusal;
	const alerted = useAlerted();
	const found = useMemo(() => sorted.filter((row) => (TERM.test(words) ? ids?.has(row.id) : row.words.includes(words.toLowerCase()))), [sorted, words, ids]);
	const needsALook = (row: Row) => row.connectivity.unstable || alerted.has(row.id);
	const counts = useMemo(() => ({ ...countsOf(found), alert: found.filter(needsALook).length }), [found, changed, alerted]);
	const shown = filter.value === 'all' ? found : found.filter((row) => (filter.value === 'alert' ? needsALook(row) : row.connectivity.state === filter.value));
	return (
		<section class="page fleet" aria-labelledby="title">
			<Figures title={texts.fleet.title} />
			<div class="bar">
				<Search value={search.value} onInput={(text) => (search.value = text)} />
				<Filters counts={counts} chosen={filter.value} onChoose={(chosen) => (filter.value = chosen)} />
				<p class="dim grow" role="status">
					{listing.value.state === 'loading' ? texts.fleet.loading(rows.size) : isSearching ? texts.loading : texts.fleet.shown(shown.length, rows.size)}
				</p>
			</div>
			<ListState isEmpty={rows.size === 0} />
			{refusal && (
				<p class="notice bad" role="alert">
					{refusal}
				</p>
			)}
			{rows.size > 0 && (
				<VirtualList label={texts.fleet.title} items={shown} rowHeight={ROW_PX} keyOf={({ id }) => id} head={<Head />} row={(row) => <Cells {...row} />} />
			)}
			{rows.size > 0 && shown.length === 0 && !isSearching && !refusal && <p class="empty">{texts.fleet.noMatch}</p>}
		</section>
	);
}

// The vehicles that the gateway finds, and again every ten seconds; null: not asked, or not answered yet.
function useTerms(terms: string): { ids: Set<string> | null; refusal: string | undefined } {
	const [settled, setSettled] = useState('');
	useEffect(() => {
		const timer = setTimeout(() => setSettled(terms), terms === '' ? 0 : PAUSE_MS);
		return () => clearTimeout(timer);
	}, [terms]);
	const { value, error } = useFresh(`found ${settled}`, async () => {
		const ids = new Set<string>();
		if (settled !== '')
			for await (const page of gateway().rest.pages<Vehicle>(`/v1/vehicles?filter=${encodeURIComponent(settled)}`))
				for (const { vehicle_id } of page) ids.add(vehicle_id);
		return ids;
	});
	return settled === terms && terms !== '' ? { ids: value, refusal: error?.message } : { ids: null, refusal: undefined };
}

// Of whom an alert was told, or who is shut out; of those that the person looks after as a whole.
function useAlerted(): Set<string> {
	const fleet = overseenNow();
	const { value } = useFresh(`alerted ${fleet}`, async () => {
		if (fleet === null) return new Set<string>();
		const [alerts, blocks] = await Promise.all([
			gateway().rest.get<Page<Alert>>(`${overseenPath(fleet, 'alerts')}?limit=${ALERTS_MAX}`),
			gateway().rest.get<Page<Block>>(`${overseenPath(fleet, 'blocks')}?limit=${ALERTS_MAX}`),
		]);
		return new Set([...alerts.items, ...blocks.items].map(({ vehicle_id }) => vehicle_id));
	});
	return value ?? NOBODY;
}

const NOBODY = new Set<string>();

function countsOf(found: Row[]): Record<Connectivity['state'] | 'all', number> {
	let connected = 0;
	for (const { connectivity } of found) if (connectivity.state === 'connected') connected++;
	return { all: found.length, connected, disconnected: found.length - connected };
}

function ListState({ isEmpty }: { isEmpty: boolean }) {
	const { state, isPartlyLive } = listing.value;
	if (isPartlyLive) return <p class="notice">{texts.fleet.partly(SINGLES_MAX)}</p>;
	if (state === 'done' && isEmpty) return <p class="empty">{texts.fleet.none}</p>;
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
			{(['all', 'connected', 'disconnected', 'alert'] as const).map((filter) => (
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

// By what is in it, not by the row itself: that one is changed in place, and what is the same is not drawn anew.
function Cells({ id, name, fleet, connectivity, last }: Row) {
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
