// nodes.tsx - the nodes: whether they are fit, what they hold, and how busy they are.
import type { NodeItem } from '../../client/index';
import { bytes } from '../format';
import { everyOf, LoadState, useFresh } from '../parts/load';
import { Ago, now } from '../parts/time';
import { count, texts } from '../texts';

const tones: Record<NodeItem['state'], string> = { ready: 'good', not_ready: 'bad', draining: 'wait', gone: 'off' };

export function NodesPage() {
	const { value, error } = useFresh('nodes', () => everyOf<NodeItem>('/v1/nodes'));
	const items = value ?? [];
	const ready = items.filter(({ state }) => state === 'ready').length;
	return (
		<section class="page nodes" aria-labelledby="title">
			<h1 id="title" tabIndex={-1}>
				{texts.nodes.title}
			</h1>
			<LoadState value={value} error={error} />
			{value && (
				<p class="dim" role="status">
					{texts.nodes.summary(ready, items.length)}
				</p>
			)}
			<div class="cards">
				{items.map((item) => (
					<Node key={item.node} item={item} />
				))}
			</div>
		</section>
	);
}

function Node({ item }: { item: NodeItem }) {
	const { node, state, version, started_at, seen_at, workers, load } = item;
	const isGone = state === 'gone';
	const numbers: [string, string][] = [
		[texts.nodes.commands, count(load.commands_per_minute)],
		[texts.nodes.connections, count(load.connections)],
		[texts.nodes.websockets, count(load.websockets)],
		[texts.nodes.subscriptions, count(load.subscriptions)],
		[texts.nodes.processor, `${count(load.cpu_percent)} %`],
		[texts.nodes.memory, bytes(load.memory_bytes)],
	];
	return (
		<article class={`card ${isGone ? 'gone' : ''}`} aria-label={node}>
			<header>
				<h2>{node}</h2>
				<span class={`mark ${tones[state]}`}>{texts.nodes.state[state]}</span>
			</header>
			<p class="dim">
				{texts.nodes.version(version)} · {texts.nodes.started} <Ago time={started_at} />
				{isGone || Date.parse(seen_at) < now.value - 20_000 ? (
					<>
						{' '}
						· {texts.nodes.seen} <Ago time={seen_at} />
					</>
				) : null}
			</p>
			{!isGone && (
				<>
					<Checks item={item} />
					<dl class="tiles">
						{numbers.map(([name, value]) => (
							<div key={name}>
								<dt>{name}</dt>
								<dd>{value}</dd>
							</div>
						))}
					</dl>
				</>
			)}
			<Leases workers={workers} leases={item.leases} />
		</article>
	);
}

// What is not as it should be stands out; what is, is said in a word.
function Checks({ item: { checks } }: { item: NodeItem }) {
	const said = (['database', 'broker', 'feeds', 'issuers'] as const).map((name) => [name, checks[name]] as const);
	return (
		<ul class="checks">
			{said.map(
				([name, word]) =>
					word && (
						<li key={name}>
							<span class={`mark ${word === 'ok' ? 'good' : 'bad'}`}>{texts.nodes.check(texts.nodes[name], word)}</span>
						</li>
					),
			)}
		</ul>
	);
}

// Of the numbered feeds it is their count that matters; the others have names.
function Leases({ workers, leases }: { workers: number; leases: string[] }) {
	const feeds = leases.filter((name) => /^feed\/\d+$/.test(name)).map((name) => name.slice(5));
	const others = leases.filter((name) => !/^feed\/\d+$/.test(name));
	return (
		<dl class="facts">
			<div>
				<dt>{texts.nodes.workers}</dt>
				<dd>{count(workers)}</dd>
			</div>
			<div>
				<dt>{texts.nodes.feeds}</dt>
				<dd>
					{count(feeds.length)} {feeds.length > 0 && <small class="dim">{feeds.join(' ')}</small>}
				</dd>
			</div>
			{others.length > 0 && (
				<div>
					<dt>{texts.nodes.leases}</dt>
					<dd>{others.join(', ')}</dd>
				</div>
			)}
		</dl>
	);
}
