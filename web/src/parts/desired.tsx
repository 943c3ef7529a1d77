// desired.tsx - changes what is wanted of a vehicle: one name at a time, as a merge patch (RFC 7396) that stands only if nobody else has
// changed it since the form was opened.
import { useEffect, useState } from 'preact/hooks';
import { type Json, type JsonObject, ProblemError, type Vehicle } from '../../client/index';
import { inline, leaves } from '../format';
import { gateway } from '../store';
import { texts } from '../texts';

interface Base {
	desired: JsonObject;
	etag: string;
}

type Outcome = { said: string } | { refused: string } | { conflict: string[] } | null;

const pathOf = (vehicleId: string): string => `/v1/vehicles/${encodeURIComponent(vehicleId)}`;

async function fetchBase(vehicleId: string): Promise<Base> {
	const { value, etag } = await gateway().rest.exchange<Vehicle>('GET', pathOf(vehicleId));
	return { desired: value.state.desired, etag: etag ?? '' };
}

// JSON where it is some, else the text as it stands; nothing takes the name away.
function wantedOf(text: string): Json {
	if (text.trim() === '') return null;
	try {
		return JSON.parse(text);
	} catch {
		return text;
	}
}

// "climate.temperature", 21 → {"climate":{"temperature":21}}
function patchOf(name: string, value: Json): JsonObject {
	const [first = '', ...rest] = name.split('.');
	return { [first]: rest.length > 0 ? patchOf(rest.join('.'), value) : value };
}

function changes(before: JsonObject, after: JsonObject): string[] {
	const was = new Map(leaves(before));
	const is = new Map(leaves(after));
	return [...new Set([...was.keys(), ...is.keys()])]
		.sort()
		.filter((name) => inline(was.get(name)) !== inline(is.get(name)))
		.map((name) => texts.vehicle.conflictRow(name, inline(was.get(name)), inline(is.get(name))));
}

export function Desired({ vehicle }: { vehicle: Vehicle }) {
	const [isOpen, setOpen] = useState(false);
	if (isOpen) return <Form vehicle={vehicle} onClose={() => setOpen(false)} />;
	return (
		<button type="button" class="below" onClick={() => setOpen(true)}>
			{texts.vehicle.change}
		</button>
	);
}

function Form({ vehicle, onClose }: { vehicle: Vehicle; onClose(): void }) {
	const id = vehicle.vehicle_id;
	const [base, setBase] = useState<Base | null>(null);
	const [name, setName] = useState('');
	const [value, setValue] = useState('');
	const [outcome, setOutcome] = useState<Outcome>(null);
	const fail = (error: Error) => setOutcome({ refused: error.message });
	useEffect(() => {
		fetchBase(id).then(setBase, fail);
	}, [id]);
	const submit = async () => {
		if (!base) return;
		setOutcome(null);
		try {
			const { etag } = await gateway().rest.exchange('PATCH', `${pathOf(id)}/state`, patchOf(name.trim(), wantedOf(value)), base.etag);
			setOutcome({ said: texts.vehicle.wanted((etag ?? '').replaceAll('"', '')) });
			setBase(await fetchBase(id));
		} catch (error) {
			if (!(error instanceof ProblemError) || error.problem.status !== 412) return fail(error as Error);
			const theirs = await fetchBase(id);
			setOutcome({ conflict: changes(base.desired, theirs.desired) });
			setBase(theirs);
		}
	};
	const known = [...new Set([...leaves(vehicle.state.reported), ...leaves(vehicle.state.desired)].map(([leaf]) => leaf))].sort();
	return (
		<form
			class="desired"
			aria-label={texts.vehicle.change}
			onSubmit={(event) => {
				event.preventDefault();
				void submit().catch(fail);
			}}
		>
			<label for="desired-name">{texts.vehicle.name}</label>
			<input
				id="desired-name"
				list="desired-known"
				required
				placeholder={texts.vehicle.nameHint}
				autocomplete="off"
				value={name}
				onInput={(event) => setName(event.currentTarget.value)}
			/>
			<datalist id="desired-known">
				{known.map((leaf) => (
					<option key={leaf} value={leaf} />
				))}
			</datalist>
			<label for="desired-value">{texts.vehicle.value}</label>
			<input
				id="desired-value"
				placeholder={texts.vehicle.valueHint}
				autocomplete="off"
				value={value}
				onInput={(event) => setValue(event.currentTarget.value)}
			/>
			{name.trim() !== '' && <code class="dim">{JSON.stringify(patchOf(name.trim(), wantedOf(value)))}</code>}
			{outcome && <Verdict outcome={outcome} />}
			<footer>
				<button type="submit" class="primary" disabled={!base}>
					{outcome && 'conflict' in outcome ? texts.vehicle.wantAnyway : texts.vehicle.want}
				</button>
				<button type="button" onClick={onClose}>
					{texts.command.close}
				</button>
			</footer>
		</form>
	);
}

function Verdict({ outcome }: { outcome: NonNullable<Outcome> }) {
	if ('said' in outcome)
		return (
			<p class="notice good" role="status">
				{outcome.said}
			</p>
		);
	if ('refused' in outcome)
		return (
			<p class="notice bad" role="alert">
				{outcome.refused}
			</p>
		);
	return (
		<div class="notice" role="alert">
			{texts.vehicle.conflict}
			<ul>
				{outcome.conflict.map((row) => (
					<li key={row}>{row}</li>
				))}
			</ul>
		</div>
	);
}
