// scroll.tsx - what may be wider than the page: it is moved by keyboard too, so it has a name.
import type { ComponentChildren } from 'preact';

export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
	return (
		// biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
		<section class="scroll" aria-label={label} tabIndex={0}>
			{children}
		</section>
	);
}
