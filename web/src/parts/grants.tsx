// grants.tsx - who may do what with a vehicle or a fleet: the list, a new grant, and the end of one.
import { useState } from 'preact/hooks';
import { type Grant, ProblemError } from '../../client/index';
import { moment } from '../format';
import { gateway } from '../store';
import { texts } from '../texts';
import { Ask } from './ask';
import { everyOf, LoadState, useLoaded } from './load';
import { Scroll } from './scroll';

interface Props {
	path: string; // of the grants
	roles: string[];
	seq?: number; // when it grows, something was granted or revoked
}

export function Grants({ path, roles, seq = 0 }: Props) {
	const { value, error, reload } = useLoaded(path, () => everyOf<Grant>(path), seq);
	const [refusal, setRefusal] = useState('');
	const act = async (method: string, subject: string, body?: object) => {
		setRefusal('');
		await gateway()
			.rest.call(method, `${path}/${encodeURIComponent(subject)}`, body)
			.catch((failed: Error) => setRefusal(failed.message));
		reload();
	};
	if (error instanceof ProblemError && error.name === 'forbidden') return <p class="empty">{texts.access.forbidden}</p>;
	if (!value) return <LoadState value={value} error={error} />;
	return (
		<article class="card">
			<LoadState value={value} error={error} />
			{value.length === 0 ? <p class="dim">{texts.access.none}</p> : <List grants={value} onRevoke={(subject) => void act('DELETE', subject)} />}
			<New roles={roles} onGrant={(subject, role) => void act('PUT', subject, { role, expires_at: null })} />
			{refusal && (
				<p class="notice bad" role="alert">
					{refusal}
				</p>
			)}
		</article>
	);
}

function List({ grants, onRevoke }: { grants: Grant[]; onRevoke(subject: string): void }) {
	return (
		<Scroll label={texts.access.title}>
			<table>
				<thead>
					<tr>
						<th scope="col">{texts.access.who}</th>
						<th scope="col">{texts.access.role}</th>
						<th scope="col">{texts.access.until}</th>
						<th scope="col">{texts.access.by}</th>
						<td />
					</tr>
				</thead>
				<tbody>
					{grants.map((grant) => (
						<tr key={grant.subject}>
							<th scope="row">{grant.subject}</th>
							<td>{grant.role}</td>
							<td>{grant.expires_at ? moment(grant.expires_at) : texts.access.forever}</td>
							<td>{grant.granted_by ?? '–'}</td>
							<td class="act">
								<Ask
									action={texts.access.revoke}
									label={texts.access.revokeOf(grant.subject)}
									sure={texts.access.sure}
									onSure={() => onRevoke(grant.subject)}
								/>
							</td>
						</tr>
					))}
				</tbody>
			</table>
		</Scroll>
	);
}

function New({ roles, onGrant }: { roles: string[]; onGrant(subject: string, role: string): void }) {
	return (
		<form
			class="bar"
			onSubmit={(event) => {
				event.preventDefault();
				const form = new FormData(event.currentTarget);
				onGrant(String(form.get('subject')), String(form.get('role')));
				event.currentTarget.reset();
			}}
		>
			<input name="subject" required aria-label={texts.access.subject} placeholder={texts.access.subject} autocomplete="off" maxLength={255} />
			<select name="role" aria-label={texts.access.role} defaultValue={roles.at(-1)}>
				{roles.map((role) => (
					<option key={role} value={role}>
						{role}
					</option>
				))}
			</select>
			<button type="submit">{texts.access.add}</button>
		</form>
	);
}
