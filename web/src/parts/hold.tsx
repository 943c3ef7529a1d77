// hold.tsx - a button that must be held for a second, by pointer or by key, so that nothing grave happens by accident.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

const HOLD_MS = 1000;

export function Hold({ onDone, hint, disabled, children }: { onDone(): void; hint: string; disabled?: boolean; children: ComponentChildren }) {
	const [isHeld, setHeld] = useState(false);
	const timer = useRef<ReturnType<typeof setTimeout>>();
	const begin = () => {
		if (disabled || timer.current) return;
		setHeld(true);
		timer.current = setTimeout(() => {
			end();
			onDone();
		}, HOLD_MS);
	};
	const end = () => {
		clearTimeout(timer.current);
		timer.current = undefined;
		setHeld(false);
	};
	useEffect(() => end, []);
	const isKey = ({ key }: KeyboardEvent) => key === ' ' || key === 'Enter';
	return (
		<button
			type="button"
			class={`primary hold ${isHeld ? 'held' : ''}`}
			title={hint}
			disabled={disabled}
			onPointerDown={begin}
			onPointerUp={end}
			onPointerLeave={end}
			onPointerCancel={end}
			onBlur={end}
			onContextMenu={(event) => event.preventDefault()}
			onKeyDown={(event) => {
				if (!isKey(event)) return;
				event.preventDefault();
				begin();
			}}
			onKeyUp={(event) => isKey(event) && end()}
		>
			{children}
		</button>
	);
}
