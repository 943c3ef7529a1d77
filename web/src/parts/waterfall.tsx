// waterfall.tsx - how a command came about: each step of its timeline, when it was, and how long until the next.
import type { Command, JsonObject, TimelineItem } from '../../client/index';
import { isSettled } from '../../client/index';
import { duration, pairs, preciseMs } from '../format';
import { seenAt } from '../store';
import { texts } from '../texts';
import { now } from './time';

interface Step {
	label: string;
	detail: string;
	all: string;
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

// The rest is for the tooltip: ids, and what the label says already.
function* wordsOf(detail: JsonObject): Generator<string> {
	const { by, attempt, probe, provider, ttl_seconds, expiry_seconds, after_expiry, reason } = detail;
	if (typeof by === 'string') yield texts.command.by(by);
	if (probe === true) yield texts.command.probe;
	if (typeof provider === 'string') yield provider;
	if (typeof attempt === 'number' && attempt > 1) yield texts.command.attempt(attempt);
	if (typeof ttl_seconds === 'number') yield texts.command.lives(ttl_seconds);
	if (typeof expiry_seconds === 'number') yield texts.command.lives(expiry_seconds);
	if (after_expiry === true) yield texts.command.afterExpiry;
	if (typeof reason === 'string') yield reason;
	if (typeof reason === 'object' && reason !== null && !Array.isArray(reason)) yield [reason.code, reason.description].filter(Boolean).join(': ');
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
		detail: [...wordsOf(item.detail ?? {})].join(', '),
		all: pairs(item.detail),
		at: times[i] ?? 0,
		until: Math.max(times[i] ?? 0, times[i + 1] ?? end - begin),
		tone: toneOf(item),
	}));
}

export function Waterfall({ command }: { command: Command }) {
	const timeline = [...(command.timeline ?? [])].sort((a, b) => preciseMs(a.time) - preciseMs(b.time));
	const answered = timeline.at(-1);
	if (!answered) return null;
	const seen = seenAt(command.id);
	if (seen !== undefined && isSettled(command.status))
		timeline.push({ step: 'seen', time: new Date(Math.max(seen, preciseMs(answered.time))).toISOString(), detail: {} });
	const last = timeline.at(-1) ?? answered;
	const end = isSettled(command.status) ? preciseMs(last.time) : Math.max(preciseMs(last.time), now.value);
	const steps = stepsOf(timeline, end);
	const span = Math.max(1, ...steps.map(({ until }) => until));
	return (
		<ol class="waterfall" aria-label={texts.command.waterfall}>
			{steps.map((step, i) => (
				<li key={`${i} ${step.label}`}>
					<span class="when">{duration(step.at)}</span>
					<span class="what" title={step.all}>
						{step.label}
						{step.detail && <small> {step.detail}</small>}
					</span>
					<span class="track" aria-hidden="true">
						<i class={step.tone} style={{ left: `${(100 * step.at) / span}%`, width: `${(100 * (step.until - step.at)) / span}%` }} />
					</span>
				</li>
			))}
		</ol>
	);
}
