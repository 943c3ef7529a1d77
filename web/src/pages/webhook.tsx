// webhook.tsx - one webhook: what it hears and how it stands, what can be done with it, and what it sent.
import { useState } from 'preact/hooks';
import { type Delivery, ProblemError, type Webhook, type WebhookBody, type WebhookMade } from '../../client/index';
import { moment } from '../format';
import { Ask } from '../parts/ask';
import { byId, LoadState, More, useFresh, useLoaded, useRecent } from '../parts/load';
import { Scroll } from '../parts/scroll';
import { WebhookForm } from '../parts/webhook-form';
import { Secret, targetsOf, typesOf, WebhookMark } from '../parts/webhooks';
import { go, vehiclePath } from '../route';
import { gateway, rows } from '../store';
import { texts } from '../texts';

const ATTEMPTED_MS = 1500; // a delivery that is sent again is over by then, mostly

const pathOf = (id: string): string => `/v1/webhooks/${encodeURIComponent(id)}`;

export function WebhookPage({ webhookId }: { webhookId: string }) {
	const { value, error, reload } = useFresh(webhookId, () => gateway().rest.get<Webhook>(pathOf(webhookId)));
	const isMissing = error instanceof ProblemError && error.problem.status === 404;
	return (
		<section class="page" aria-labelledby="title">
			<p>
				<a href="/webhooks">{texts.webhooks.back}</a>
			</p>
			<header class="title">
				<h1 id="title" tabIndex={-1}>
					{value?.description || value?.url || texts.webhooks.title}
				</h1>
				{value && <WebhookMark webhook={value} />}
			</header>
			{isMissing && <p class="empty">{texts.webhooks.notFound}</p>}
			{!isMissing && <LoadState value={value} error={error} />}
			{value && !isMissing && (
				<>
					<Settings webhook={value} onChanged={reload} />
					<Deliveries webhookId={webhookId} />
				</>
			)}
		</section>
	);
}

// ---- what it is

function Settings({ webhook, onChanged }: { webhook: Webhook; onChanged(): void }) {
	const [isChanging, setChanging] = useState(false);
	const [secret, setSecret] = useState('');
	const [outcome, setOutcome] = useState<{ said?: string; refused?: string }>({});
	const path = pathOf(webhook.id);
	const put = async (body: WebhookBody, said: string) => {
		await gateway().rest.call('PUT', path, body);
		setOutcome({ said });
		onChanged();
	};
	const act = (work: () => Promise<void>) => {
		setOutcome({});
		void work().catch((error: Error) => setOutcome({ refused: error.message }));
	};
	const rotate = async () => {
		const { secret: fresh } = await gateway().rest.call<WebhookMade>('POST', `${path}/rotate`);
		setSecret(fresh);
		onChanged();
	};
	const remove = async () => {
		await gateway().rest.call('DELETE', path);
		go('/webhooks');
	};
	return (
		<article class="card">
			{secret && <Secret secret={secret} onKept={() => setSecret('')} />}
			{isChanging ? (
				<WebhookForm
					label={texts.webhooks.change}
					action={texts.webhooks.save}
					webhook={webhook}
					onSubmit={async (body) => {
						await put(body, texts.webhooks.saved);
						setChanging(false);
					}}
					onClose={() => setChanging(false)}
				/>
			) : (
				<>
					<Facts webhook={webhook} />
					<div class="bar">
						<button type="button" onClick={() => setChanging(true)}>
							{texts.webhooks.change}
						</button>
						<button
							type="button"
							onClick={() =>
								act(() => put({ ...bodyOf(webhook), enabled: !webhook.enabled }, webhook.enabled ? texts.webhooks.paused : texts.webhooks.resumed))
							}
						>
							{webhook.enabled ? texts.webhooks.pause : texts.webhooks.resume}
						</button>
						<Ask action={texts.webhooks.rotate} label={texts.webhooks.rotate} sure={texts.webhooks.sureRotate} onSure={() => act(rotate)} />
						<Ask action={texts.webhooks.remove} label={texts.webhooks.remove} sure={texts.webhooks.sureRemove} onSure={() => act(remove)} />
					</div>
				</>
			)}
			<p class="said" role="status">
				{outcome.said}
			</p>
			{outcome.refused && (
				<p class="notice bad" role="alert">
					{outcome.refused}
				</p>
			)}
		</article>
	);
}

const bodyOf = ({ url, description, vehicle_ids, fleet_ids, types, enabled }: Webhook): WebhookBody => ({
	url,
	description,
	vehicle_ids,
	fleet_ids,
	types,
	enabled,
});

function Facts({ webhook }: { webhook: Webhook }) {
	const { url, subject, vehicle_ids, disabled_reason: reason, disabled_at, held_until, old_secret_until, created_at } = webhook;
	const facts: [string, string][] = [
		[texts.webhooks.address, url],
		[texts.webhooks.hears, targetsOf(webhook)],
		...(vehicle_ids.length > 0 ? ([[texts.webhooks.vehicles, vehicle_ids.join(', ')]] as [string, string][]) : []),
		[texts.webhooks.types, typesOf(webhook)],
		[texts.webhooks.whose, subject],
		[texts.webhooks.made, moment(created_at)],
	];
	const hints = [
		reason && disabled_at && `${texts.webhooks.reasonHint[reason] ?? reason} (${texts.webhooks.since(moment(disabled_at))})`,
		held_until && texts.webhooks.held(moment(held_until)),
		old_secret_until && texts.webhooks.oldSecret(moment(old_secret_until)),
	].filter(Boolean);
	return (
		<>
			<dl class="facts wide">
				{facts.map(([name, value]) => (
					<div key={name}>
						<dt>{name}</dt>
						<dd>{value}</dd>
					</div>
				))}
			</dl>
			{hints.map((hint) => (
				<p key={hint} class="notice">
					{hint}
				</p>
			))}
		</>
	);
}

// ---- what it sent

function Deliveries({ webhookId }: { webhookId: string }) {
	const [status, setStatus] = useState('');
	return (
		<article class="card">
			<header class="bar">
				<h2>{texts.webhooks.log}</h2>
				<select aria-label={texts.webhooks.filter} value={status} onChange={(event) => setStatus(event.currentTarget.value)}>
					<option value="">{texts.webhooks.any}</option>
					{Object.entries(texts.webhooks.status).map(([name, word]) => (
						<option key={name} value={name}>
							{word}
						</option>
					))}
				</select>
			</header>
			<Log key={status} path={`${pathOf(webhookId)}/deliveries`} status={status} />
		</article>
	);
}

function Log({ path, status }: { path: string; status: string }) {
	const { items, error, more, reload } = useRecent<Delivery>(status ? `${path}?status=${status}` : path, byId);
	const [outcome, setOutcome] = useState<{ said?: string; refused?: string }>({});
	const again = async (id: string) => {
		setOutcome({});
		await gateway()
			.rest.call('POST', `${path}/${id}/redeliver`)
			.then(
				() => setOutcome({ said: texts.webhooks.sentAgain }),
				(refused: Error) => setOutcome({ refused: refused.message }),
			);
		reload();
		setTimeout(reload, ATTEMPTED_MS);
	};
	return (
		<>
			{outcome.refused && (
				<p class="notice bad" role="alert">
					{outcome.refused}
				</p>
			)}
			<LoadState value={items} error={error} />
			<p class="said" role="status">
				{outcome.said}
			</p>
			{items?.length === 0 && <p class="dim">{status ? texts.webhooks.logNoMatch : texts.webhooks.logNone}</p>}
			{items && items.length > 0 && (
				<Scroll label={texts.webhooks.log}>
					<table>
						<thead>
							<tr>
								<th scope="col">{texts.webhooks.when}</th>
								<th scope="col">{texts.fleet.vehicle}</th>
								<th scope="col">{texts.webhooks.state}</th>
								<th scope="col">{texts.webhooks.attempts}</th>
								<th scope="col">{texts.webhooks.answer}</th>
								<td />
							</tr>
						</thead>
						<tbody>
							{items.map((delivery) => (
								<Row key={delivery.id} path={`${path}/${delivery.id}`} delivery={delivery} onAgain={() => void again(delivery.id)} />
							))}
						</tbody>
					</table>
				</Scroll>
			)}
			<More more={more} />
		</>
	);
}

const tones: Record<Delivery['status'], string> = { pending: 'wait', delivered: 'good', failed: 'bad', dropped: 'off' };

function Row({ path, delivery, onAgain }: { path: string; delivery: Delivery; onAgain(): void }) {
	const [isShown, setShown] = useState(false);
	const { vehicle_id, type, event_time, status, attempts, response_status, error, next_attempt_at } = delivery;
	return (
		<>
			<tr>
				<th scope="row">
					{type}
					<small class="dim below">{moment(event_time)}</small>
				</th>
				<td>
					<a href={vehiclePath(vehicle_id)}>{rows.get(vehicle_id)?.name ?? vehicle_id}</a>
				</td>
				<td>
					<span class={`mark ${tones[status]}`}>{texts.webhooks.status[status] ?? status}</span>
				</td>
				<td>{attempts}</td>
				<td>
					{response_status ?? (error ? '' : '–')} {error && (texts.webhooks.answers[error] ?? error)}
					{next_attempt_at && <small class="dim below">{texts.webhooks.next(moment(next_attempt_at))}</small>}
				</td>
				<td class="act">
					<button type="button" class="quiet" aria-expanded={isShown} aria-label={texts.webhooks.showOf(type, vehicle_id)} onClick={() => setShown(!isShown)}>
						{texts.webhooks.show}
					</button>
					<button type="button" class="quiet" aria-label={texts.webhooks.againOf(type, vehicle_id)} onClick={onAgain}>
						{texts.webhooks.again}
					</button>
				</td>
			</tr>
			{isShown && <Sent path={path} />}
		</>
	);
}

function Sent({ path }: { path: string }) {
	const { value, error } = useLoaded(path, () => gateway().rest.get<Delivery>(path));
	if (!value && !error) return null;
	return (
		<tr>
			<td colSpan={6} class="detail">
				{error ? texts.failed(error.message) : value?.event ? <pre>{JSON.stringify(value.event, null, 2)}</pre> : texts.webhooks.gone}
			</td>
		</tr>
	);
}
