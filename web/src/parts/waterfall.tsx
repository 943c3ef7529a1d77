// waterfall.tsx - how a command came about: each step of its timeline, when it was, and how long until the next.
import type { Command, TimelineItem } from '../../client';
import { isSettled } from '../../client';
import { duration, pairs, preciseMs } from '../format';
import { texts } from '../texts';
import { now } from './time';

interface Step {
	label: string;
	detail: string;
	at: number; // milliseconds since the first
	until: number;
	tone: string;
}

function labelOf({ step, detail }: TimelineItem): string {
	if (step === 'puback' && detail?.reason_code === 16) return texts.nobodyThere;
	const label = texts.steps[step] ?? step;
	if (step === 'reachability') return `${label} ${texts.reachability[detail?.state === 'connected' ? 'connected' : 'disconnected'].toLowerCase()}`;
	if (step === 'wakeup') return `${label}: ${texts.wakeups.status[String(detail?.status)] ?? detail?.status}`;
	if (step === 'answer') return `${label}: ${texts.status[detail?.status as Command['status']] ?? detail?.status}`;
	return label;
}

const SHOWN: Record<string, string[]> = { reachability: ['state'], wakeup: ['status'], answer: ['status'] };

function detailOf({ step, detail }: TimelineItem): string {
	const rest = Object.entries(detail ?? {}).filter(([key]) => !SHOWN[step]?.includes(key));
	return pairs(Object.fromEntries(rest));
}

function toneOf({ step, detail }: TimelineItem): string {
	if (step === 'puback' && detail?.reason_code === 16) return 'wait';
	if (step === 'wakeup' || step === 'reachability') return 'wait';
	if (step === 'answer') return detail?.status === 'succeeded' ? 'good' : detail?.status === 'in_progress' ? 'going' : 'bad';
	if (step === 'timer' || step === 'canceled') return 'off';
	return 'going';
}

function stepsOf(timeline: TimelineItem[], end: number): Step[] {
	const begin = preciseMs(timeline[0]?.time ?? '');
	const times = timeline.map(({ time }) => preciseMs(time) - begin);
	return timeline.map((item, i) => ({
		label: labelOf(item),
		detail: detailOf(item),
		at: times[i] ?? 0,
		until: Math.max(times[i] ?? 0, times[i + 1] ?? end - begin),
		tone: toneOf(item),
	}));
}

export function Waterfall({ command }: { command: Command }) {
	const timeline = [...(command.timeline ?? [])].sort((a, b) => preciseMs(a.time) - preciseMs(b.time));
	const last = timeline.at(-1);
	if (!last) return null;
	const end = isSettled(command.status) ? preciseMs(last.time) : Math.max(preciseMs(last.time), now.value);
	const steps = stepsOf(timeline, end);
	const span = Math.max(1, ...steps.map(({ until }) => until));
	return (
		<ol class="waterfall" aria-label={texts.command.waterfall}>
			{steps.map((step, i) => (
				<li key={`${i} ${step.label}`}>
					<span class="when">{duration(step.at)}</span>
					<span class="what">
						{step.label}
						{step.detail && <small title={step.detail}>{step.detail}</small>}
					</span>
					<span class="track" aria-hidden="true">
						<i class={step.tone} style={{ left: `${(100 * step.at) / span}%`, width: `${(100 * (step.until - step.at)) / span}%` }} />
					</span>
				</li>
			))}
		</ol>
	);
}
