// copy.tsx - a button that puts a text into the clipboard, and says so.
import { useState } from 'preact/hooks';
import { texts } from '../texts';

export function Copy({ text, label, hint }: { text: string | null; label: string; hint?: string }) {
	const [isDone, setDone] = useState(false);
	if (!text || !navigator.clipboard) return null; // pages without TLS have none
	const copy = async () => {
		await navigator.clipboard.writeText(text);
		setDone(true);
		setTimeout(() => setDone(false), 1500);
	};
	return (
		<button type="button" class="quiet" title={hint ?? text} onClick={() => void copy()}>
			{isDone ? texts.copied : label}
		</button>
	);
}
