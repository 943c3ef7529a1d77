// oversight.tsx - what of all vehicles the person may look at as a whole: everything, or the fleets that they manage.
import { signal } from '@preact/signals';
import type { Fleet } from '../../client/index';
import { isAdmin, me } from '../store';
import { texts } from '../texts';
import { everyOf, LoadState, useLoaded } from './load';

const ALL = '*';

const chosen = signal<string | null>(null); // the same on every page

// Ids; "*" is all vehicles.
export function overseen(): string[] {
	if (isAdmin()) return [ALL];
	return (me.value?.grants ?? []).flatMap(({ fleet_id, role }) => (fleet_id && role === 'manager' ? [fleet_id] : []));
}

// null: there is nothing for them.
export const overseenNow = (): string | null => {
	const own = overseen();
	return chosen.value !== null && (isAdmin() || own.includes(chosen.value)) ? chosen.value : (own[0] ?? null);
};

// Where the gateway has it: "alerts" of all vehicles or of a fleet.
export const overseenPath = (id: string, what: string): string => (id === ALL ? `/v1/${what}` : `/v1/fleets/${encodeURIComponent(id)}/${what}`);

// In place of what nobody may look at; who the person is may not be known yet.
export function NothingOverseen() {
	return me.value ? <p class="empty">{texts.oversight.nothing}</p> : <LoadState value={null} error={null} />;
}

export function FleetChoice() {
	const { value } = useLoaded(isAdmin() ? 'fleets' : '', async () => (isAdmin() ? await everyOf<Fleet>('/v1/fleets') : []));
	const ids = [...new Set([...overseen(), ...(value?.map(({ fleet_id }) => fleet_id) ?? [])])];
	if (ids.length < 2) return null;
	const titles = new Map(value?.map(({ fleet_id, title }) => [fleet_id, title || fleet_id]));
	return (
		<select aria-label={texts.oversight.fleet} value={overseenNow() ?? ''} onChange={(event) => (chosen.value = event.currentTarget.value)}>
			{ids.map((id) => (
				<option key={id} value={id}>
					{id === ALL ? texts.oversight.all : (titles.get(id) ?? id)}
				</option>
			))}
		</select>
	);
}
