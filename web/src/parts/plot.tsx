// plot.tsx - a small plot by uPlot, in the page's own colours: bars over time, or lines.
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { hour } from '../format';
import { count } from '../texts';
import 'uplot/dist/uPlot.min.css';

const STEPS = [1, 2, 5].flatMap((n) => [n, n * 10, n * 100, n * 1000, n * 10_000, n * 100_000, n * 1_000_000]).sort((a, b) => a - b);

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export interface Line {
	label: string;
	colour: string; // a custom property of the style sheet
}

interface Props {
	label: string;
	data: uPlot.AlignedData;
	lines: Line[];
	kind: 'bars' | 'lines';
	height: number;
	unit?(value: number): string; // how a value is written; as it is
}

function seriesOf({ kind, lines }: Props): uPlot.Series[] {
	const paths = kind === 'bars' ? uPlot.paths.bars?.({ size: [0.7, 24] }) : uPlot.paths.linear?.();
	return lines.map((line) => ({
		label: line.label,
		...(kind === 'bars' && { fill: colour(line.colour) }),
		stroke: colour(line.colour),
		width: kind === 'bars' ? 0 : 1.5,
		paths,
		// A point between two where nothing was measured would not be seen.
		points: { show: kind === 'lines', size: 3, fill: colour(line.colour) },
	}));
}

function optionsOf(props: Props, width: number): uPlot.Options {
	const { height, unit } = props;
	const times = props.data[0];
	const step = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / Math.max(1, times.length - 1); // the first and the last bar are whole
	const axis = { stroke: colour('--dim'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
	return {
		width,
		height,
		legend: { show: false },
		cursor: { show: false },
		padding: [8, 20, 0, 0],
		scales: {
			x: { time: true, range: (_, min, max) => [min - step / 2, max + step / 2] },
			y: { range: (_, __, max) => [0, Math.max(4, Math.ceil(max * 1.1))] },
		},
		axes: [
			{ ...axis, grid: { show: false }, size: 24, space: 60, values: (_, ticks) => ticks.map((at) => hour(at * 1000)) },
			{ ...axis, size: unit ? 52 : 34, space: 26, incrs: STEPS, values: (_, ticks) => ticks.map((tick) => (unit ? unit(tick) : count(tick))) },
		],
		series: [{}, ...seriesOf(props)],
	};
}

export function Plot(props: Props) {
	const box = useRef<HTMLDivElement>(null);
	const plot = useRef<uPlot>();
	useLayoutEffect(() => {
		const element = box.current;
		if (!element) return;
		const make = () => {
			plot.current?.destroy();
			plot.current = new uPlot(optionsOf(props, element.clientWidth), props.data, element);
		};
		make();
		const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: props.height }));
		observer.observe(element);
		const scheme = matchMedia('(prefers-color-scheme: dark)');
		scheme.addEventListener('change', make);
		return () => {
			observer.disconnect();
			scheme.removeEventListener('change', make);
			plot.current?.destroy();
		};
	}, []);
	useEffect(() => plot.current?.setData(props.data), [props.data]);
	return <div class="plot" style={{ height: `${props.height}px` }} role="img" aria-label={props.label} ref={box} />;
}
