// plot.tsx - a small plot by uPlot, in the page's own colours.
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { hour } from '../format';
import 'uplot/dist/uPlot.min.css';

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export interface Line {
	label: string;
	colour: string; // a custom property of the style sheet
}

interface Props {
	label: string;
	data: uPlot.AlignedData;
	lines: Line[];
	height?: number;
}

function optionsOf({ lines, height = 128 }: Props, width: number): uPlot.Options {
	const axis = { stroke: colour('--dim'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
	const bars = uPlot.paths.bars?.({ size: [0.7, 24] });
	return {
		width,
		height,
		legend: { show: false },
		cursor: { show: false },
		padding: [8, 14, 0, 0],
		scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(4, Math.ceil(max * 1.1))] } },
		axes: [
			{ ...axis, grid: { show: false }, size: 24, space: 60, values: (_, ticks) => ticks.map((at) => hour(at * 1000)) },
			{ ...axis, size: 32, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
		],
		series: [
			{},
			...lines.map((line) => ({ label: line.label, fill: colour(line.colour), stroke: colour(line.colour), width: 0, paths: bars, points: { show: false } })),
		],
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
		const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: props.height ?? 128 }));
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
	return <div class="plot" role="img" aria-label={props.label} ref={box} />;
}
