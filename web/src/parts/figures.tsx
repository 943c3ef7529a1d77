// figures.tsx - what became of commands and wake-ups, and how long it took: counted by the nodes, or, for who may see no fleet as a
// whole, by this page.
import { signal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import type { StageStats, Stats, Status, WakeupStats } from '../../client/index';
import { clock, duration, money } from '../format';
import { seenStats } from '../stats';
import { eventsChanged, gateway, openedAt } from '../store';
import { count, texts } from '../texts';
import { LoadState, useFresh } from './load';
import { StatusMark } from './marks';
import { FleetChoice, overseenNow, overseenPath } from './oversight';
import { Plot } from './plot';
import { now } from './time';

const PLOT_PX = 190;
const LINES_PX = 92;
const SPANS = [60, 360, 1440];
const minutes = signal(60);

export function Figures({ title }: { title: string }) {
	const overseen = overseenNow();
	return (
		<>
			<header class="title">
				<h1 id="title" tabIndex={-1}>
					{title}
				</h1>
				{overseen !== null && (
					<div class="bar">
						<FleetChoice />
						<select aria-label={texts.plots.span} value={minutes.value} onChange={(event) => (minutes.value = Number(event.currentTarget.value))}>
							{SPANS.map((span) => (
								<option key={span} value={span}>
									{texts.plots.minutes[span]}
								</option>
							))}
						</select>
					</div>
				)}
			</header>
			{overseen === null ? <Seen /> : <Counted path={`${overseenPath(overseen, 'stats')}?minutes=${minutes.value}`} />}
		</>
	);
}

function Counted({ path }: { path: string }) {
	const { value, error } = useFresh(path, () => gateway().rest.get<Stats>(path));
	return (
		<>
			{error && <LoadState value={value} error={error} />}
			<Cards stats={value} scope={value ? texts.plots.counted(clock(value.counted_until)) : ''} hasWakeups />
		</>
	);
}

function Seen() {
	const minute = Math.floor(now.value / 60_000);
	const stats = useMemo(() => seenStats(openedAt, Date.now()), [minute, eventsChanged.value]);
	return <Cards stats={stats} scope={texts.plots.seen(clock(openedAt))} />;
}

// Before there is anything the cards are there all the same, so that nothing jumps.
function Cards({ stats, scope, hasWakeups = false }: { stats: Stats | null; scope: string; hasWakeups?: boolean }) {
	return (
		<section class={`plots ${hasWakeups ? 'four' : ''}`} aria-label={texts.plots.title}>
			<article class="card">
				<h2>{stats?.step_seconds === 600 ? texts.plots.perTen : texts.plots.perMinute}</h2>
				{stats && <Rate stats={stats} />}
			</article>
			<article class="card">
				<h2>{texts.plots.outcomes}</h2>
				{stats && <Outcomes commands={stats.commands} />}
			</article>
			<article class="card">
				<h2>{texts.plots.latency}</h2>
				{stats && <Latency stats={stats} />}
			</article>
			{hasWakeups && (
				<article class="card">
					<h2>{texts.plots.wakeups}</h2>
					{stats && <Wakeups wakeups={stats.wakeups} currency={stats.currency} />}
				</article>
			)}
			<p class="dim scope">{scope}</p>
		</section>
	);
}

const timesOf = ({ points }: Stats): number[] => points.map(({ time }) => Date.parse(time) / 1000);

function Rate({ stats }: { stats: Stats }) {
	const data: [number[], number[], number[]] = useMemo(
		() => [timesOf(stats), stats.points.map(({ accepted }) => accepted), stats.points.map(({ unsuccessful }) => unsuccessful)],
		[stats],
	);
	return (
		<Plot
			kind="bars"
			height={PLOT_PX}
			label={texts.plots.summary(stats.commands.accepted ?? 0)}
			data={data}
			lines={[
				{ label: texts.plots.perMinute, colour: '--accent-soft' },
				{ label: texts.plots.unsuccessful, colour: '--bad' },
			]}
		/>
	);
}

const settled: Status[] = ['succeeded', 'failed', 'rejected', 'timed_out', 'expired', 'canceled'];

function Outcomes({ commands }: { commands: Stats['commands'] }) {
	const found = settled.map((status) => ({ status, n: commands[status] ?? 0 })).filter(({ n }) => n > 0);
	const total = found.reduce((sum, { n }) => sum + n, 0);
	if (total === 0) return <p class="dim">{texts.plots.nothing}</p>;
	return (
		<ul class="outcomes">
			{found.map(({ status, n }) => (
				<li key={status}>
					<StatusMark status={status} />
					<b>{count(n)}</b>
					<span class="track" aria-hidden="true">
						<i style={{ width: `${(100 * n) / total}%` }} />
					</span>
				</li>
			))}
			{(commands.late ?? 0) > 0 && (
				<li>
					<span class="dim">{texts.plots.late}</span>
					<b>{count(commands.late ?? 0)}</b>
				</li>
			)}
		</ul>
	);
}

function Latency({ stats }: { stats: Stats }) {
	const data: [number[], (number | null)[], (number | null)[], (number | null)[]] = useMemo(
		() => [timesOf(stats), stats.points.map(({ p50_ms }) => p50_ms), stats.points.map(({ p95_ms }) => p95_ms), stats.points.map(({ p99_ms }) => p99_ms)],
		[stats],
	);
	const whole = stats.stages.find(({ stage }) => stage === 'whole');
	if (!whole) return <p class="dim">{texts.plots.nothing}</p>;
	return (
		<>
			<Stages stages={stats.stages} />
			<Plot
				kind="lines"
				height={LINES_PX}
				unit={(ms) => (ms === 0 ? '0' : duration(ms))}
				label={texts.plots.times(duration(whole.p50_ms), duration(whole.p95_ms), duration(whole.p99_ms))}
				data={data}
				lines={[
					{ label: 'p50', colour: '--good' },
					{ label: 'p95', colour: '--wait' },
					{ label: 'p99', colour: '--bad' },
				]}
			/>
		</>
	);
}

function Stages({ stages }: { stages: StageStats[] }) {
	return (
		<table class="numbers">
			<thead>
				<tr>
					<th scope="col">{texts.plots.stage}</th>
					{/* The colours are those of the lines below. */}
					<th scope="col" class="key good">
						p50
					</th>
					<th scope="col" class="key wait">
						p95
					</th>
					<th scope="col" class="key bad">
						p99
					</th>
				</tr>
			</thead>
			<tbody>
				{stages.map(({ stage, p50_ms, p95_ms, p99_ms }) => (
					<tr key={stage}>
						<th scope="row">{texts.plots[stage]}</th>
						<td>{duration(p50_ms)}</td>
						<td>{duration(p95_ms)}</td>
						<td>{duration(p99_ms)}</td>
					</tr>
				))}
			</tbody>
		</table>
	);
}

function Wakeups({ wakeups, currency }: { wakeups: WakeupStats[]; currency: string }) {
	if (wakeups.length === 0) return <p class="dim">{texts.plots.noWakeups}</p>;
	return (
		<ul class="outcomes">
			{wakeups.map(({ provider, submitted, answered, failed, refused, cost }) => (
				<li key={provider ?? ''}>
					<span>
						{provider ?? texts.plots.noProvider}
						{provider && <b> {texts.plots.sms(submitted)}</b>}
					</span>
					{provider && <b>{cost === null ? '' : money(cost, currency)}</b>}
					<small class="dim">
						{[
							provider && texts.plots.came(answered),
							failed > 0 && texts.plots.failed(failed),
							refused > 0 && texts.plots.refusedByPolicy(refused),
							provider && cost === null && texts.plots.unpriced,
						]
							.filter(Boolean)
							.join(' · ')}
					</small>
				</li>
			))}
		</ul>
	);
}
