// stats.ts - what was seen of commands since the page was opened: how many a minute, how they ended, how long each stage took.
import type { Command, Status } from '../client';
import { isSettled } from '../client';
import { preciseMs } from './format';

const KEPT = 5000; // commands
const WINDOW_MIN = 30;

export interface Stage {
	name: 'delivered' | 'answered' | 'whole';
	n: number;
	p50: number;
	p95: number;
	p99: number;
}

const seen = new Map<string, Command>(); // by id, the newest state of each, in the order in which they were first seen

export function observe(command: Command): void {
	const before = seen.get(command.id);
	if (before && before.updated_at > command.updated_at) return;
	seen.set(command.id, command);
	const oldest = seen.size > KEPT ? seen.keys().next().value : undefined;
	if (oldest !== undefined) seen.delete(oldest);
}

export const commandsSeen = (): number => seen.size;

const minuteOf = (ms: number): number => Math.floor(ms / 60_000);

// [minutes as seconds since 1970, all, those that did not succeed]: the last half hour, each minute once.
export function perMinute(now: number): [number[], number[], number[]] {
	const last = minuteOf(now);
	const first = last - WINDOW_MIN + 1;
	const all = new Array<number>(WINDOW_MIN).fill(0);
	const wrong = new Array<number>(WINDOW_MIN).fill(0);
	for (const { created_at, status } of seen.values()) {
		const at = minuteOf(Date.parse(created_at)) - first;
		if (at < 0 || at >= WINDOW_MIN) continue;
		all[at] = (all[at] ?? 0) + 1;
		if (isSettled(status) && status !== 'succeeded') wrong[at] = (wrong[at] ?? 0) + 1;
	}
	return [all.map((_, i) => (first + i) * 60), all, wrong];
}

// How many have each status; the most frequent first.
export function outcomes(): [Status, number][] {
	const counts = new Map<Status, number>();
	for (const { status } of seen.values()) counts.set(status, (counts.get(status) ?? 0) + 1);
	return [...counts].sort((a, b) => b[1] - a[1]);
}

function percentile(sorted: number[], p: number): number {
	return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)] ?? 0;
}

function stage(name: Stage['name'], values: number[]): Stage {
	const sorted = values.sort((a, b) => a - b);
	return { name, n: sorted.length, p50: percentile(sorted, 0.5), p95: percentile(sorted, 0.95), p99: percentile(sorted, 0.99) };
}

const between = (from: string | null, to: string | null): number[] => (from && to ? [Math.max(0, preciseMs(to) - preciseMs(from))] : []);

// Of those that the vehicle has answered.
export function stages(): Stage[] {
	const answered = [...seen.values()].filter(({ status }) => status === 'succeeded' || status === 'failed' || status === 'rejected');
	return [
		stage(
			'delivered',
			answered.flatMap(({ created_at, sent_at }) => between(created_at, sent_at)),
		),
		stage(
			'answered',
			answered.flatMap(({ sent_at, finished_at }) => between(sent_at, finished_at)),
		),
		stage(
			'whole',
			answered.flatMap(({ created_at, finished_at }) => between(created_at, finished_at)),
		),
	].filter(({ n }) => n > 0);
}
