// ask.tsx - a button that asks once more, in place.
import { useState } from 'preact/hooks';
import { texts } from '../texts';

interface Props {
	action: string;
	label: string; // with what it is done to
	sure: string;
	onSure(): void;
}

export function Ask({ action, label, sure, onSure }: Props) {
	const [isAsked, setAsked] = useState(false);
	if (!isAsked)
		return (
			<button type="button" class="quiet" aria-label={label} onClick={() => setAsked(true)}>
				{action}
			</button>
		);
	return (
		<>
			<button
				type="button"
				class="danger"
				onClick={() => {
					setAsked(false);
					onSure();
				}}
			>
				{sure}
			</button>
			<button type="button" class="quiet" onClick={() => setAsked(false)}>
				{texts.keep}
			</button>
		</>
	);
}
