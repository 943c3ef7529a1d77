// band.tsx - a vehicle's reachability over time, from its events.
import type { VehicleEvent } from '../../client/index';
import { moment } from '../format';
import { texts } from '../texts';
import type { Reach } from './marks';
import { now } from './time';

interface Piece {
	reach: Reach;
	from: number;
	to: number;
}

// `events` oldest first. Before the first change it was the other state.
export function piecesOf(events: readonly VehicleEvent[], until: number): Piece[] {
	const pieces: Piece[] = [];
	const first = events.find((event) => event.type === 'connectivity.changed');
	let reach: Reach = !first ? 'unknown' : first.data.state === 'connected' ? 'disconnected' : 'connected';
	let from = Date.parse(events[0]?.time ?? '') || until;
	const turn = (next: Reach, time: string) => {
		const at = Date.parse(time);
		if (next === reach) return;
		if (at > from) pieces.push({ reach, from, to: at });
		reach = next;
		from = at;
	};
	for (const event of events) {
		if (event.type === 'connectivity.changed') turn(event.data.state, event.time);
		else if (event.type === 'wakeup.updated' && reach !== 'connected')
			turn(event.data.status === 'submitted' || event.data.status === 'delivered' ? 'waking' : 'disconnected', event.time);
	}
	if (until > from) pieces.push({ reach, from, to: until });
	return pieces;
}

export function Band({ events }: { events: readonly VehicleEvent[] }) {
	const first = events[0];
	if (!first || !events.some(({ type }) => type === 'connectivity.changed')) return <p class="dim">{texts.vehicle.bandNone}</p>;
	const pieces = piecesOf(events, Math.max(now.value, Date.parse(events.at(-1)?.time ?? '')));
	const begin = pieces[0]?.from ?? 0;
	const span = Math.max(1, (pieces.at(-1)?.to ?? 1) - begin);
	const said = pieces.map(({ reach, from }) => `${texts.reachability[reach]} ${moment(from)}`).join(', ');
	return (
		<figure class="band">
			<div role="img" aria-label={said}>
				{pieces.map(({ reach, from, to }) => (
					<i
						key={from}
						class={reach}
						title={`${texts.reachability[reach]}, ${moment(from)} – ${moment(to)}`}
						style={{ left: `${(100 * (from - begin)) / span}%`, width: `${(100 * (to - from)) / span}%` }}
					/>
				))}
			</div>
			<figcaption>{texts.vehicle.bandScope(events.length, moment(begin))}</figcaption>
		</figure>
	);
}
