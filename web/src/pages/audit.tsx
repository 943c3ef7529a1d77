// audit.tsx - who did what with a vehicle, and what was refused.
import { type AuditItem, ProblemError } from '../../client/index';
import { moment, pairs } from '../format';
import { byId, LoadState, More, type Recent, useList } from '../parts/load';
import { Scroll } from '../parts/scroll';
import { texts } from '../texts';

export function AuditTable({ vehicleId }: { vehicleId: string }) {
	const { items, error, more } = useList<AuditItem>(`/v1/vehicles/${encodeURIComponent(vehicleId)}/audit`, byId);
	if (error instanceof ProblemError && error.name === 'forbidden') return <p class="empty">{texts.audit.forbidden}</p>;
	return (
		<>
			<LoadState value={items} error={error} />
			{items?.length === 0 && <p class="empty">{texts.audit.none}</p>}
			{items && items.length > 0 && <Table items={items} more={more} />}
		</>
	);
}

function Table({ items, more }: { items: AuditItem[]; more: Recent<AuditItem>['more'] }) {
	return (
		<article class="card">
			<Scroll label={texts.audit.title}>
				<table>
					<thead>
						<tr>
							<th scope="col">{texts.audit.when}</th>
							<th scope="col">{texts.audit.who}</th>
							<th scope="col">{texts.audit.what}</th>
							<th scope="col">{texts.audit.verdict}</th>
							<th scope="col">{texts.audit.detail}</th>
						</tr>
					</thead>
					<tbody>
						{items.map(({ id, time, subject, action, allowed, detail }) => (
							<tr key={id}>
								<td>{moment(time)}</td>
								<th scope="row">{subject}</th>
								<td>{action}</td>
								<td>
									<span class={`mark ${allowed ? 'good' : 'bad'}`}>{allowed ? texts.audit.allowed : texts.audit.refused}</span>
								</td>
								<td class="detail">{pairs(detail)}</td>
							</tr>
						))}
					</tbody>
				</table>
			</Scroll>
			<More more={more} />
		</article>
	);
}
