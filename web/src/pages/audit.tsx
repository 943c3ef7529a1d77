// audit.tsx - who did what with a vehicle, and what was refused.
import { type AuditItem, type Page, ProblemError } from '../../client/index';
import { moment, pairs } from '../format';
import { useLoaded } from '../parts/load';
import { Scroll } from '../parts/scroll';
import { gateway } from '../store';
import { texts } from '../texts';

export function AuditTable({ vehicleId }: { vehicleId: string }) {
	const path = `/v1/vehicles/${encodeURIComponent(vehicleId)}/audit?limit=100`;
	const { value, error } = useLoaded(path, () => gateway().rest.get<Page<AuditItem>>(path));
	if (error instanceof ProblemError && error.name === 'forbidden') return <p class="empty">{texts.audit.forbidden}</p>;
	if (error) return <p class="notice bad">{texts.failed(error.message)}</p>;
	if (!value) return null;
	if (value.items.length === 0) return <p class="empty">{texts.audit.none}</p>;
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
						{value.items.map(({ id, time, subject, action, allowed, detail }) => (
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
		</article>
	);
}
