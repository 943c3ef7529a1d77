// state.tsx - what a vehicle reports of itself, and what is wanted of it and not reported yet.
import type { Vehicle } from '../../client/index';
import { inline, leaves } from '../format';
import { texts } from '../texts';

export function StateTable({ state: { reported, delta } }: { state: Vehicle['state'] }) {
	const now = new Map(leaves(reported));
	const wanted = new Map(leaves(delta));
	const names = [...new Set([...now.keys(), ...wanted.keys()])].sort();
	if (names.length === 0) return <p class="dim">{texts.vehicle.noState}</p>;
	return (
		<dl class="facts">
			{names.map((name) => (
				<div key={name}>
					<dt>{name}</dt>
					<dd>
						{now.has(name) ? inline(now.get(name)) : '–'}
						{wanted.has(name) && (
							<small class="mark wait">
								{texts.vehicle.pending} {inline(wanted.get(name))}
							</small>
						)}
					</dd>
				</div>
			))}
		</dl>
	);
}
