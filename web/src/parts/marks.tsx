// marks.tsx - reachability and status: a shape, a colour and always the word.
import type { Connectivity, Status } from '../../client/index';
import { texts } from '../texts';

export type Reach = 'connected' | 'disconnected' | 'verifying' | 'waking' | 'unknown';

export function reachOf({ state, verifying, since }: Connectivity): Reach {
	if (verifying) return 'verifying';
	return state === 'disconnected' && since === null ? 'unknown' : state;
}

export function Reachability({ connectivity, waking = false }: { connectivity: Connectivity; waking?: boolean }) {
	const reach = waking && connectivity.state === 'disconnected' ? 'waking' : reachOf(connectivity);
	return (
		<span class={`reach ${reach}`}>
			{texts.reachability[reach]}
			{connectivity.unstable && <small> · {texts.reachability.unstable}</small>}
		</span>
	);
}

const tones: Record<Status, string> = {
	accepted: 'going',
	waiting: 'wait',
	sent: 'going',
	in_progress: 'going',
	timed_out: 'unsure',
	succeeded: 'good',
	failed: 'bad',
	rejected: 'bad',
	expired: 'off',
	canceled: 'off',
};

export function StatusMark({ status }: { status: Status }) {
	return <span class={`mark ${tones[status] ?? 'off'}`}>{texts.status[status] ?? status}</span>;
}

const wakeupTones: Record<string, string> = { submitted: 'wait', delivered: 'going', failed: 'bad', refused: 'off', answered: 'good' };

export function WakeupMark({ status }: { status: string }) {
	return <span class={`mark ${wakeupTones[status] ?? 'off'}`}>{texts.wakeups.status[status] ?? status}</span>;
}
