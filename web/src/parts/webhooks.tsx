// webhooks.tsx - what both pages about webhooks show: how one stands, what it hears, and its secret, once.
import { useEffect, useRef } from 'preact/hooks';
import type { Webhook } from '../../client/index';
import { texts } from '../texts';
import { Copy } from './copy';

const tones: Record<NonNullable<Webhook['disabled_reason']>, string> = { paused: 'off', gone: 'bad', exhausted: 'bad' };

export function WebhookMark({ webhook: { disabled_reason: reason } }: { webhook: Webhook }) {
	return <span class={`mark ${reason ? tones[reason] : 'good'}`}>{reason ? (texts.webhooks.reason[reason] ?? reason) : texts.webhooks.on}</span>;
}

export function targetsOf({ vehicle_ids, fleet_ids }: Webhook): string {
	const fleets = fleet_ids.map((id) => (id === '*' ? texts.webhooks.allVehicles : id));
	return [...fleets, ...(vehicle_ids.length > 0 ? [texts.webhooks.vehicleCount(vehicle_ids.length)] : [])].join(', ');
}

export const typesOf = ({ types }: Webhook): string => types.join(', ') || texts.webhooks.everyType;

// It takes the focus, so that nobody misses it.
export function Secret({ secret, onKept }: { secret: string; onKept(): void }) {
	const box = useRef<HTMLElement>(null);
	useEffect(() => box.current?.focus(), [secret]);
	return (
		<section class="notice secret" aria-label={texts.webhooks.secret} tabIndex={-1} ref={box}>
			<p>{texts.webhooks.secretHint}</p>
			<p>
				<code>{secret}</code>
			</p>
			<footer>
				<Copy text={secret} label={texts.copy} hint={texts.webhooks.secret} />
				<button type="button" onClick={onKept}>
					{texts.webhooks.secretKept}
				</button>
			</footer>
		</section>
	);
}
