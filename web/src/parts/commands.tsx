// commands.tsx - the buttons of the catalogue, a form for the one that is chosen, and what became of those that were sent.
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Command, type Draft, isFinal, isSettled, type JsonObject, ProblemError, UnansweredError, type Vehicle } from '../../client/index';
import { duration, full, inline, pairs, preciseMs } from '../format';
import { configuration, goAndSignIn } from '../session';
import { catalog, commandTitle, gateway, isAway, listing } from '../store';
import { texts } from '../texts';
import { CommandForm } from './command-form';
import { StatusMark } from './marks';
import { Ago } from './time';
import { Waterfall } from './waterfall';

const LOOK_MS = 1000; // how often the timeline of a command in flight is fetched besides its events

interface Props {
	vehicle: Vehicle;
	commands: Command[];
	hasMore: boolean;
	onMore(): void;
	onSent(command: Command): void;
}

type Trouble = { text: string; maxAge?: number } | null;

export function CommandBoard({ vehicle, commands, hasMore, onMore, onSent }: Props) {
	const [chosen, setChosen] = useState<string | null>(null);
	const [last, setLast] = useState<string | null>(null);
	const [opened, setOpened] = useState<string | null>(null);
	const [trouble, setTrouble] = useState<Trouble>(null);
	const [said, setSaid] = useState('');
	const [isSending, setSending] = useState(false);
	const id = vehicle.vehicle_id;
	const command = chosen === null ? undefined : catalog.value?.commands[chosen];
	const back = () => {
		setLast(chosen);
		setChosen(null);
	};
	const send = async (draft: Draft) => {
		back();
		setTrouble(null);
		setSending(true);
		let isAccepted = false;
		try {
			for await (const state of gateway().client.send(id, draft)) {
				onSent(state);
				if (!isAccepted) setOpened(state.id);
				isAccepted = true;
				setSending(false);
				setSaid(texts.command.verdict(commandTitle(state.name), texts.status[state.status]));
			}
		} catch (error) {
			setSending(false);
			setTrouble(isAccepted ? { text: texts.command.unseen } : troubleOf(error as Error));
		}
	};
	return (
		<div class="board">
			<article class="card">
				<h2>{texts.vehicle.send}</h2>
				{chosen !== null && command ? (
					<CommandForm name={chosen} command={command} onClose={back} onSend={(params) => void send({ name: chosen, params })} />
				) : (
					<Choices last={last} onChoose={setChosen} />
				)}
				{trouble && (
					<p class="notice bad" role="alert">
						{trouble.text}{' '}
						{trouble.maxAge !== undefined && configuration().issuer && (
							<button type="button" onClick={() => void goAndSignIn(trouble.maxAge)}>
								{texts.signIn.again}
							</button>
						)}
					</p>
				)}
				<p class={isSending ? 'dim hint' : 'unseen'} role="status">
					{isSending ? (isAway.value ? texts.command.away : texts.command.sending) : said}
				</p>
			</article>
			<article class="card">
				<h2>{texts.vehicle.commands}</h2>
				{commands.length === 0 && <p class="dim">{texts.vehicle.noCommands}</p>}
				<ul class="commands">
					{commands.map((each) => (
						<Item key={each.id} command={each} isOpen={opened === each.id} onToggle={() => setOpened(opened === each.id ? null : each.id)} />
					))}
				</ul>
				{hasMore && (
					<button type="button" onClick={onMore}>
						{texts.more}
					</button>
				)}
			</article>
		</div>
	);
}

// Of what was not accepted, as far as is known.
function troubleOf(error: Error): Trouble {
	if (error instanceof UnansweredError && !error.mayHaveExecuted) return { text: texts.command.notSent };
	if (!(error instanceof ProblemError)) return { text: texts.command.lost };
	const { maxAge } = error;
	return { text: maxAge === undefined ? texts.command.refused(error.message) : texts.command.stepUp, maxAge };
}

// Each opens its form: nothing is sent by one click. `last`: the one that was left, where the focus goes back to.
function Choices({ last, onChoose }: { last: string | null; onChoose(name: string): void }) {
	const box = useRef<HTMLDivElement>(null);
	useEffect(() => {
		if (last !== null) box.current?.querySelector<HTMLElement>(`button[name="${CSS.escape(last)}"]`)?.focus();
	}, [last]);
	if (!catalog.value) return <p class="dim">{listing.value.state === 'failed' ? texts.command.noCatalog : texts.loading}</p>;
	return (
		<div class="choices" ref={box}>
			{Object.entries(catalog.value.commands).map(([name, command]) => (
				<button key={name} name={name} type="button" onClick={() => onChoose(name)}>
					{command.title}
				</button>
			))}
		</div>
	);
}

function Item({ command, isOpen, onToggle }: { command: Command; isOpen: boolean; onToggle(): void }) {
	const took = command.finished_at ? duration(preciseMs(command.finished_at) - preciseMs(command.created_at)) : null;
	return (
		<li class={isOpen ? 'open' : ''}>
			<button type="button" class="command" aria-expanded={isOpen} onClick={onToggle}>
				<span class="name">
					{commandTitle(command.name)}
					<small class="dim"> {pairs(command.params)}</small>
				</span>
				<StatusMark status={command.status} />
				<span class="when dim">
					{took && `${took} · `}
					<Ago time={command.created_at} />
				</span>
			</button>
			{isOpen && <Detail command={command} />}
		</li>
	);
}

// Its timeline comes by a call of its own: after each change, and now and then while it is under way.
function useTimeline(command: Command): Command {
	const [whole, setWhole] = useState<Command | null>(null);
	const isOver = useRef(false);
	const { vehicle_id, id, updated_at, status } = command;
	useEffect(() => {
		isOver.current = false;
		const fetch = () =>
			void gateway()
				.client.command(vehicle_id, id)
				.then(
					(fresh) => isOver.current || setWhole(fresh),
					() => {},
				);
		fetch();
		// Some steps follow the verdict at once.
		const timer = isSettled(status) ? setTimeout(fetch, LOOK_MS / 2) : setInterval(fetch, LOOK_MS);
		return () => {
			isOver.current = true;
			clearInterval(timer);
		};
	}, [id, updated_at, status]);
	return whole && whole.id === id ? { ...command, timeline: whole.timeline } : command;
}

function Detail({ command }: { command: Command }) {
	const whole = useTimeline(command);
	const [refusal, setRefusal] = useState('');
	const cancel = () =>
		gateway()
			.client.cancel(command.vehicle_id, command.id)
			.catch((error: Error) => setRefusal(error.message));
	const mayCancel = command.status === 'accepted' || command.status === 'waiting';
	return (
		<div class="detail">
			<p class="notes">
				{texts.command.by(command.issued_by)} · {texts.command.attempts(command.attempts)}
				{command.late && ` · ${texts.command.late}`}
				{!isSettled(command.status) && ` · ${texts.command.expires(full(command.expires_at))}`}
			</p>
			{command.may_have_executed && !isFinal(command.status) && <p class="notice">{texts.command.mayHave}</p>}
			{command.reason && <p class="notes">{[command.reason.code, command.reason.description, command.reason.by].filter(Boolean).join(' · ')}</p>}
			{command.sealed_params !== undefined && <p class="notes">{texts.command.sealed}</p>}
			{hasContent(command.result as JsonObject | null) && (
				<p class="notes">
					{texts.command.result}: <code>{inline(command.result)}</code>
				</p>
			)}
			<Waterfall command={whole} />
			{mayCancel && (
				<button type="button" onClick={() => void cancel()}>
					{texts.command.cancel}
				</button>
			)}
			{refusal && (
				<p class="notice bad" role="alert">
					{refusal}
				</p>
			)}
		</div>
	);
}

const hasContent = (value: JsonObject | null): boolean => value !== null && (typeof value !== 'object' || Object.keys(value).length > 0);
