// command-form.tsx - a form for one command, made from the catalogue's JSON Schema of its parameters.
import { useEffect, useState } from 'preact/hooks';
import type { CatalogCommand, JsonObject, ParamSchema } from '../../client/index';
import { texts } from '../texts';
import { Hold } from './hold';

// What the catalogue keeps for owners, asks a recent sign-in for, or publishes only once is not sent by a slip.
export const isGrave = ({ role, step_up_seconds, redelivery }: CatalogCommand): boolean =>
	role === 'owner' || step_up_seconds !== null || redelivery === 'never';

interface Props {
	name: string;
	command: CatalogCommand;
	onSend(params: JsonObject): void;
	onClose(): void;
}

export function CommandForm({ name, command, onSend, onClose }: Props) {
	const properties = Object.entries(command.params.properties ?? {});
	const required = new Set(command.params.required);
	const [form, setForm] = useState<HTMLFormElement | null>(null);
	useEffect(() => form?.querySelector<HTMLElement>('input, select, button')?.focus(), [form]);
	const submit = () => {
		if (form?.reportValidity()) onSend(read(form, properties));
	};
	return (
		<form
			class="command-form"
			ref={setForm}
			aria-label={command.title}
			onSubmit={(event) => {
				event.preventDefault();
				if (!isGrave(command)) submit();
			}}
		>
			<header>
				<h3>{command.title}</h3>
				<code>{name}</code>
			</header>
			{properties.map(([key, schema]) => (
				<Field key={key} name={key} schema={schema} isRequired={required.has(key)} />
			))}
			<footer>
				{isGrave(command) ? (
					<Hold onDone={submit} hint={texts.command.holdHint}>
						{texts.command.hold(command.title)}
					</Hold>
				) : (
					<button type="submit" class="primary">
						{texts.command.send}
					</button>
				)}
				<button type="button" onClick={onClose}>
					{texts.command.close}
				</button>
				{isGrave(command) && <small class="dim">{texts.command.holdHint}</small>}
			</footer>
		</form>
	);
}

function Field({ name, schema, isRequired }: { name: string; schema: ParamSchema; isRequired: boolean }) {
	const initial = schema.default ?? undefined;
	const id = `param-${name}`;
	const common = { id, name, required: isRequired };
	return (
		<div class="field">
			<label for={id}>
				{name}
				{isRequired && <small class="dim"> {texts.command.required}</small>}
			</label>
			{schema.type === 'boolean' ? (
				<input {...common} required={false} type="checkbox" defaultChecked={initial === true} />
			) : schema.enum ? (
				<select {...common}>
					{!isRequired && initial === undefined && <option value="">–</option>}
					{schema.enum.map((value) => (
						<option key={value} value={value} selected={value === initial}>
							{value}
						</option>
					))}
				</select>
			) : schema.type === 'string' ? (
				<input
					{...common}
					type="text"
					maxLength={schema.maxLength}
					onInput={({ currentTarget: input }) => input.setCustomValidity(complaint(schema.pattern, input.value))}
					defaultValue={String(initial ?? '')}
					autocomplete="off"
				/>
			) : (
				<input
					{...common}
					type="number"
					min={schema.minimum}
					max={schema.maximum}
					step={schema.type === 'integer' ? 1 : 'any'}
					defaultValue={initial === undefined ? '' : String(initial)}
				/>
			)}
		</div>
	);
}

// A schema's pattern may match anywhere; HTML's own attribute means the whole text, and reads classes by other rules. What this
// browser cannot read is left to the node.
function complaint(pattern: string | undefined, value: string): string {
	if (!pattern || value === '') return '';
	try {
		return new RegExp(pattern, 'u').test(value) ? '' : texts.command.pattern(pattern);
	} catch {
		return '';
	}
}

function read(form: HTMLFormElement, properties: [string, ParamSchema][]): JsonObject {
	const params: JsonObject = {};
	for (const [key, { type }] of properties) {
		const element = form.elements.namedItem(key);
		if (element instanceof HTMLInputElement && type === 'boolean') params[key] = element.checked;
		else if ((element instanceof HTMLInputElement || element instanceof HTMLSelectElement) && element.value !== '')
			params[key] = type === 'integer' || type === 'number' ? Number(element.value) : element.value;
	}
	return params;
}
