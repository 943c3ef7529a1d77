// webhooks.tsx - the person's webhooks, for admin everybody's; and a new one.
import { useState } from 'preact/hooks';
import type { Webhook, WebhookBody, WebhookMade } from '../../client/index';
import { moment } from '../format';
import { byId, LoadState, More, useRecent } from '../parts/load';
import { Scroll } from '../parts/scroll';
import { WebhookForm } from '../parts/webhook-form';
import { Secret, targetsOf, typesOf, WebhookMark } from '../parts/webhooks';
import { webhookPath } from '../route';
import { gateway, isAdmin } from '../store';
import { texts } from '../texts';

export function WebhooksPage() {
	const { items, error, more, reload } = useRecent<Webhook>('/v1/webhooks', byId);
	const [isAdding, setAdding] = useState(false);
	const [secret, setSecret] = useState('');
	const create = async (body: WebhookBody) => {
		const made = await gateway().rest.call<WebhookMade>('POST', '/v1/webhooks', body);
		setSecret(made.secret);
		setAdding(false);
		reload();
	};
	return (
		<section class="page" aria-labelledby="title">
			<header class="title">
				<h1 id="title" tabIndex={-1}>
					{texts.webhooks.title}
				</h1>
				{!isAdding && (
					<button type="button" onClick={() => setAdding(true)}>
						{texts.webhooks.add}
					</button>
				)}
			</header>
			<p class="dim">{texts.webhooks.intro}</p>
			{secret && <Secret secret={secret} onKept={() => setSecret('')} />}
			{isAdding && (
				<article class="card">
					<h2>{texts.webhooks.add}</h2>
					<WebhookForm label={texts.webhooks.add} action={texts.webhooks.create} onSubmit={create} onClose={() => setAdding(false)} />
				</article>
			)}
			<LoadState value={items} error={error} />
			{items?.length === 0 && <p class="empty">{texts.webhooks.none}</p>}
			{items && items.length > 0 && (
				<article class="card">
					<Scroll label={texts.webhooks.list}>
						<Table webhooks={items} />
					</Scroll>
					<More more={more} />
				</article>
			)}
		</section>
	);
}

function Table({ webhooks }: { webhooks: Webhook[] }) {
	return (
		<table class="webhooks">
			<thead>
				<tr>
					<th scope="col">{texts.webhooks.address}</th>
					<th scope="col">{texts.webhooks.hears}</th>
					<th scope="col">{texts.webhooks.state}</th>
					{isAdmin() && <th scope="col">{texts.webhooks.whose}</th>}
					<th scope="col">{texts.webhooks.made}</th>
				</tr>
			</thead>
			<tbody>
				{webhooks.map((webhook) => (
					<tr key={webhook.id}>
						<th scope="row">
							<a href={webhookPath(webhook.id)}>{webhook.url}</a>
							{webhook.description && <small class="dim below">{webhook.description}</small>}
						</th>
						<td>
							{targetsOf(webhook)}
							<small class="dim below">{typesOf(webhook)}</small>
						</td>
						<td>
							<WebhookMark webhook={webhook} />
						</td>
						{isAdmin() && <td>{webhook.subject}</td>}
						<td class="nowrap">{moment(webhook.created_at)}</td>
					</tr>
				))}
			</tbody>
		</table>
	);
}
