// stats.ts - what was seen of commands since the page was opened, in the form in which the nodes tell theirs: for who may see no
// fleet as a whole.
import type { Command, StageStats, Stats, StatsPoint } from '../client/index';
import { isSettled } from '../client/index';
import { preciseMs } from './format';

const KEPT = 5000; // commands

const seen = new Map<string, Command>(); // by id, the newest state of each, in the order in which they were first seen

export function observe(command: Command): void {
	const before = seen.get(command.id);
	if (before && before.updated_at > command.updated_at) return;
	seen.set(command.id, command);
	const oldest = seen.size > KEPT ? seen.keys().next().value : undefined;
	if (oldest !== undefined) seen.delete(oldest);
}

function percentile(sorted: number[], p: number): number {
	return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)] ?? 0;
}

const between = (from: string | null, to: string | null): number[] => (from && to ? [Math.max(0, preciseMs(to) - preciseMs(from))] : []);

function stageOf(stage: StageStats['stage'], values: number[]): StageStats[] {
	const sorted = values.sort((a, b) => a - b);
	if (sorted.length === 0) return [];
	return [{ stage, count: sorted.length, p50_ms: percentile(sorted, 0.5), p95_ms: percentile(sorted, 0.95), p99_ms: percentile(sorted, 0.99) }];
}

// Of those that the vehicle has answered.
function stagesOf(commands: Command[]): StageStats[] {
	const answered = commands.filter(({ status, late }) => !late && (status === 'succeeded' || status === 'failed' || status === 'rejected'));
	return [
		...stageOf(
			'delivered',
			answered.flatMap(({ created_at, sent_at }) => between(created_at, sent_at)),
		),
		...stageOf(
			'answered',
			answered.flatMap(({ sent_at, finished_at }) => between(sent_at, finished_at)),
		),
		...stageOf(
			'whole',
			answered.flatMap(({ created_at, finished_at }) => between(created_at, finished_at)),
		),
	];
}

function pointOf(at: number, commands: Command[]): StatsPoint {
	const [whole] = stagesOf(commands).filter(({ stage }) => stage === 'whole');
	const succeeded = commands.filter(({ status }) => status === 'succeeded').length;
	return {
		time: new Date(at).toISOString(),
		accepted: commands.length,
		succeeded,
		unsuccessful: commands.filter(({ status }) => isSettled(status)).length - succeeded,
		wakeups: 0,
		p50_ms: whole?.p50_ms ?? null,
		p95_ms: whole?.p95_ms ?? null,
		p99_ms: whole?.p99_ms ?? null,
	};
}

// The last half hour.
export function seenStats(since: number, now: number): Stats {
	const first = Math.floor(now / 60_000) - 29;
	const minuteOf = ({ created_at }: Command) => Math.floor(Date.parse(created_at) / 60_000);
	const recent = [...seen.values()].filter((command) => minuteOf(command) >= first);
	const commands: Stats['commands'] = { accepted: recent.length };
	for (const { status } of recent) if (isSettled(status)) commands[status] = (commands[status] ?? 0) + 1;
	return {
		from: new Date(since).toISOString(),
		counted_until: new Date(now).toISOString(),
		step_seconds: 60,
		commands,
		stages: stagesOf(recent),
		wakeups: [],
		currency: '',
		points: Array.from({ length: 30 }, (_, i) =>
			pointOf(
				(first + i) * 60_000,
				recent.filter((command) => minuteOf(command) === first + i),
			),
		),
	};
}
