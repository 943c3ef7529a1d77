// time.tsx - a moment in words that stay true, with the exact time behind them.
import { signal } from '@preact/signals';
import { ago, full } from '../format';

export const now = signal(Date.now());

setInterval(() => {
	if (document.visibilityState === 'visible') now.value = Date.now();
}, 1000);

export function Ago({ time }: { time: string | null | undefined }) {
	if (!time) return <span class="dim">–</span>;
	return (
		<time dateTime={time} title={full(time)}>
			{ago(time, now.value)}
		</time>
	);
}
