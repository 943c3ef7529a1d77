// wakeups.tsx - when a vehicle was woken, by whom, and what came of it.
import type { Page, Wakeup } from '../../client';
import { moment } from '../format';
import { useLoaded } from '../parts/load';
import { WakeupMark } from '../parts/marks';
import { Scroll } from '../parts/scroll';
import { gateway } from '../store';
import { texts } from '../texts';

// `seq` is that of the vehicle's last event about them.
export function WakeupTable({ vehicleId, seq }: { vehicleId: string; seq: number }) {
	const path = `/v1/vehicles/${encodeURIComponent(vehicleId)}/wakeups?limit=100`;
	const { value, error } = useLoaded(`${path} ${seq}`, () => gateway().rest.get<Page<Wakeup>>(path));
	if (error) return <p class="notice bad">{texts.failed(error.message)}</p>;
	if (!value) return null;
	if (value.items.length === 0) return <p class="empty">{texts.wakeups.none}</p>;
	return (
		<article class="card">
			<Scroll label={texts.wakeups.title}>
				<table>
					<thead>
						<tr>
							<th scope="col">{texts.wakeups.when}</th>
							<th scope="col">{texts.wakeups.outcome}</th>
							<th scope="col">{texts.wakeups.provider}</th>
							<th scope="col">{texts.wakeups.attempt}</th>
							<th scope="col">{texts.wakeups.reason}</th>
						</tr>
					</thead>
					<tbody>
						{value.items.map(({ id, status, provider, attempt, reason, created_at }) => (
							<tr key={id}>
								<td>{created_at ? moment(created_at) : '–'}</td>
								<td>
									<WakeupMark status={status} />
								</td>
								<td>{provider ?? '–'}</td>
								<td>{attempt}</td>
								<td>{reason ?? '–'}</td>
							</tr>
						))}
					</tbody>
				</table>
			</Scroll>
		</article>
	);
}
