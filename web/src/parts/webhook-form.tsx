// webhook-form.tsx - what a webhook is to hear, and where: a new one, or the whole of one that there is.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Fleet, VehicleEvent, Webhook, WebhookBody } from '../../client/index';
import { isAdmin } from '../store';
import { texts } from '../texts';
import { everyOf, LoadState, useLoaded } from './load';

const ALL = '*';

const TYPES = [
	'command.updated',
	'connectivity.changed',
	'state.reported',
	'state.desired',
	'wakeup.updated',
	'notice.published',
	'notice.withdrawn',
	'access.changed',
	'vehicle.moved',
	'vehicle.blocked',
	'vehicle.unblocked',
	'vehicle.retired',
	'security.alert',
	'webhook.disabled',
] as const satisfies readonly VehicleEvent['type'][];

interface Props {
	label: string;
	action: string;
	webhook?: Webhook; // none: a new one
	onSubmit(body: WebhookBody): Promise<void>; // rejects with what is shown
	onClose(): void;
}

export function WebhookForm({ label, action, webhook, onSubmit, onClose }: Props) {
	const form = useRef<HTMLFormElement>(null);
	const [refusal, setRefusal] = useState('');
	const [isBusy, setBusy] = useState(false);
	useEffect(() => form.current?.querySelector('input')?.focus(), []);
	const submit = async () => {
		if (!form.current) return;
		const body = read(form.current, webhook);
		const vehicles = form.current.elements.namedItem('vehicle_ids') as HTMLTextAreaElement;
		vehicles.setCustomValidity(body.vehicle_ids.length + body.fleet_ids.length === 0 ? texts.webhooks.noTarget : '');
		if (!form.current.reportValidity()) return;
		setBusy(true);
		setRefusal('');
		await onSubmit(body).catch((error: Error) => {
			setRefusal(error.message);
			setBusy(false);
		});
	};
	return (
		<form
			class="webhook-form"
			ref={form}
			aria-label={label}
			noValidate
			onSubmit={(event) => {
				event.preventDefault();
				void submit();
			}}
		>
			<label for="webhook-url">{texts.webhooks.address}</label>
			<input
				id="webhook-url"
				name="url"
				type="url"
				required
				maxLength={2048}
				placeholder={texts.webhooks.addressHint}
				autocomplete="off"
				defaultValue={webhook?.url}
			/>
			<label for="webhook-description">{texts.webhooks.description}</label>
			<input id="webhook-description" name="description" maxLength={256} autocomplete="off" defaultValue={webhook?.description} />
			<Fleets chosen={webhook?.fleet_ids ?? []} />
			<label for="webhook-vehicles">{texts.webhooks.vehicles}</label>
			<textarea
				id="webhook-vehicles"
				name="vehicle_ids"
				rows={2}
				placeholder={texts.webhooks.vehiclesHint}
				autocomplete="off"
				spellcheck={false}
				defaultValue={webhook?.vehicle_ids.join('\n')}
			/>
			<fieldset>
				<legend>
					{texts.webhooks.types} <small class="dim">{texts.webhooks.allTypes}</small>
				</legend>
				{TYPES.map((type) => (
					<Box key={type} name="types" value={type} label={type} isChosen={webhook?.types.includes(type) ?? false} />
				))}
			</fieldset>
			{refusal && (
				<p class="notice bad" role="alert">
					{refusal}
				</p>
			)}
			<footer>
				<button type="submit" class="primary" disabled={isBusy}>
					{action}
				</button>
				<button type="button" onClick={onClose}>
					{texts.webhooks.cancel}
				</button>
			</footer>
		</form>
	);
}

// Those that may be chosen, and those that were, though they are not to be seen any more.
function Fleets({ chosen }: { chosen: string[] }) {
	const { value, error } = useLoaded('fleets of a webhook', () => everyOf<Fleet>('/v1/fleets'));
	const titles = new Map(value?.map(({ fleet_id, title }) => [fleet_id, title || fleet_id]));
	if (isAdmin()) titles.set(ALL, texts.webhooks.allVehicles);
	const ids = [...new Set([...(isAdmin() ? [ALL] : []), ...chosen, ...titles.keys()])];
	return (
		<fieldset>
			<legend>{texts.webhooks.fleets}</legend>
			<LoadState value={value} error={error} />
			{value && ids.length === 0 && <p class="dim">{texts.webhooks.noFleets}</p>}
			{ids.map((id) => (
				<Box key={id} name="fleet_ids" value={id} label={titles.get(id) ?? id} isChosen={chosen.includes(id)} />
			))}
		</fieldset>
	);
}

function Box({ name, value, label, isChosen }: { name: string; value: string; label: string; isChosen: boolean }) {
	return (
		<label class="box">
			<input type="checkbox" name={name} value={value} defaultChecked={isChosen} />
			{label}
		</label>
	);
}

function read(form: HTMLFormElement, webhook: Webhook | undefined): WebhookBody {
	const data = new FormData(form);
	const all = (name: string) => data.getAll(name).map(String);
	return {
		url: String(data.get('url')).trim(),
		description: String(data.get('description')).trim(),
		vehicle_ids: [
			...new Set(
				String(data.get('vehicle_ids'))
					.split(/[\s,]+/)
					.filter(Boolean),
			),
		],
		fleet_ids: all('fleet_ids'),
		types: all('types'),
		enabled: webhook?.enabled ?? true,
	};
}
