// ask.tsx - a button that asks once more, in place. The focus goes to what changes nothing, and back.
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { texts } from '../texts';

interface Props {
	action: string;
	label: string; // with what it is done to
	sure: string;
	onSure(): void;
}

// Not by the second half of a double click on what was in this place before.
const once = (act: () => void) => (event: MouseEvent) => {
	if (event.detail <= 1) act();
};

export function Ask({ action, label, sure, onSure }: Props) {
	const [isAsked, setAsked] = useState<boolean | null>(null); // null: not yet
	const focused = useRef<HTMLButtonElement>(null);
	useLayoutEffect(() => {
		if (isAsked !== null) focused.current?.focus();
	}, [isAsked]);
	if (!isAsked)
		return (
			<button key="ask" ref={focused} type="button" class="quiet" aria-label={label} onClick={() => setAsked(true)}>
				{action}
			</button>
		);
	return (
		<>
			<button
				key="sure"
				type="button"
				class="danger"
				onClick={once(() => {
					setAsked(false);
					onSure();
				})}
			>
				{sure}
			</button>
			<button key="keep" ref={focused} type="button" class="quiet" onClick={once(() => setAsked(false))}>
				{texts.keep}
			</button>
		</>
	);
}
