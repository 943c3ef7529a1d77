// virtual-list.tsx - a table of any length of which only what is seen is there. Arrow keys move; the link in a row opens it.
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

const SPARE = 8; // rows above and below what is seen

interface Props<T> {
	label: string;
	items: readonly T[];
	rowHeight: number;
	keyOf(item: T): string | number;
	head?: ComponentChildren; // one role="columnheader" each
	row(item: T): ComponentChildren; // one role="cell" each
	rowClass?(item: T): string;
}

export function VirtualList<T>({ label, items, rowHeight, keyOf, head, row, rowClass }: Props<T>) {
	const box = useRef<HTMLDivElement>(null);
	const [view, setView] = useState({ top: 0, height: 600 });
	const look = () => {
		const { scrollTop, clientHeight } = box.current ?? { scrollTop: 0, clientHeight: 600 };
		const top = Math.floor(scrollTop / rowHeight);
		setView((before) => (before.top === top && before.height === clientHeight ? before : { top, height: clientHeight }));
	};
	useLayoutEffect(() => {
		const observer = new ResizeObserver(look);
		if (box.current) observer.observe(box.current);
		return () => observer.disconnect();
	}, []);
	useLayoutEffect(look, [items.length]);
	const first = Math.max(0, view.top - SPARE);
	const last = Math.min(items.length, view.top + Math.ceil(view.height / rowHeight) + SPARE);
	return (
		<div class="list" role="table" aria-label={label} aria-rowcount={items.length + (head ? 1 : 0)}>
			{head && (
				<div class="list-head" role="rowgroup">
					<div class="row head" role="row" aria-rowindex={1}>
						{head}
					</div>
				</div>
			)}
			{/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
			<div class="list-box" role="rowgroup" tabIndex={0} ref={box} onScroll={look} onKeyDown={moveFocus}>
				<div class="list-all" role="presentation" style={{ height: `${items.length * rowHeight}px` }}>
					{items.slice(first, last).map((item, i) => (
						<div
							key={keyOf(item)}
							class={`row ${rowClass?.(item) ?? ''}`}
							role="row"
							aria-rowindex={first + i + (head ? 2 : 1)}
							style={{ transform: `translateY(${(first + i) * rowHeight}px)`, height: `${rowHeight}px` }}
						>
							{row(item)}
						</div>
					))}
				</div>
			</div>
		</div>
	);
}

// From link to link, as in a list of files.
function moveFocus(event: KeyboardEvent): void {
	const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
	const row = event.target instanceof Element ? event.target.closest('.row') : null;
	if (!step || !row) return;
	const index = Number(row.getAttribute('aria-rowindex')) + step;
	const next = row.parentElement?.querySelector<HTMLElement>(`[aria-rowindex="${index}"] a`);
	if (!next) return;
	event.preventDefault();
	next.focus();
}
