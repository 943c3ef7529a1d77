// access.tsx - what the person may do, and who may do what with the fleets.
import { useState } from 'preact/hooks';
import type { Fleet } from '../../client/index';
import { moment } from '../format';
import { Grants } from '../parts/grants';
import { everyOf, LoadState, useLoaded } from '../parts/load';
import { Scroll } from '../parts/scroll';
import { vehiclePath } from '../route';
import { me, rows } from '../store';
import { texts } from '../texts';

export function AccessPage() {
	return (
		<section class="page" aria-labelledby="title">
			<h1 id="title" tabIndex={-1}>
				{texts.access.title}
			</h1>
			<div class="columns even">
				<You />
				<Fleets />
			</div>
		</section>
	);
}

function You() {
	if (!me.value) return <LoadState value={null} error={null} />;
	const { subject, scopes, grants } = me.value;
	return (
		<article class="card">
			<h2>{texts.access.you}</h2>
			<dl class="facts">
				<div>
					<dt>{texts.access.subject}</dt>
					<dd>{subject}</dd>
				</div>
				<div>
					<dt>{texts.access.scopes}</dt>
					<dd>{scopes.includes('keyfob:admin') ? texts.access.everything : scopes.join(', ')}</dd>
				</div>
			</dl>
			<h3>{texts.access.yours}</h3>
			{grants.length === 0 ? (
				<p class="dim">{texts.access.noGrants}</p>
			) : (
				<Scroll label={texts.access.yours}>
					<table>
						<thead>
							<tr>
								<th scope="col">{texts.access.on}</th>
								<th scope="col">{texts.access.role}</th>
								<th scope="col">{texts.access.until}</th>
							</tr>
						</thead>
						<tbody>
							{grants.map(({ vehicle_id, fleet_id, role, expires_at }) => (
								<tr key={vehicle_id ?? `fleet ${fleet_id}`}>
									<th scope="row">{vehicle_id ? <a href={vehiclePath(vehicle_id)}>{rows.get(vehicle_id)?.name ?? vehicle_id}</a> : fleet_id}</th>
									<td>{role}</td>
									<td>{expires_at ? moment(expires_at) : texts.access.forever}</td>
								</tr>
							))}
						</tbody>
					</table>
				</Scroll>
			)}
		</article>
	);
}

function Fleets() {
	const { value, error } = useLoaded('/v1/fleets', () => everyOf<Fleet>('/v1/fleets'));
	const [shown, setShown] = useState<string | null>(null);
	return (
		<article class="card">
			<h2>{texts.access.fleets}</h2>
			<LoadState value={value} error={error} />
			{value?.length === 0 && <p class="dim">{texts.access.noFleets}</p>}
			<ul class="fleets">
				{value?.map(({ fleet_id, title }) => (
					<li key={fleet_id}>
						<button
							type="button"
							class="command"
							aria-expanded={shown === fleet_id}
							aria-label={texts.access.show(title ?? fleet_id)}
							onClick={() => setShown(shown === fleet_id ? null : fleet_id)}
						>
							<span class="name">
								{title ?? fleet_id}
								<small class="dim">{fleet_id}</small>
							</span>
						</button>
						{shown === fleet_id && <Grants path={`/v1/fleets/${encodeURIComponent(fleet_id)}/grants`} roles={['manager', 'operator', 'viewer']} />}
					</li>
				))}
			</ul>
		</article>
	);
}
