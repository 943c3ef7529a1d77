// monitoring.test.mjs - what docs/monitoring/ asks Prometheus for is there, and its alerts fire when they should.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { folder as scratch, run } from './children.mjs';
import { docs } from './descriptions.mjs';

const folder = join(docs, 'monitoring');
const read = (name) => readFileSync(join(folder, name), 'utf8');

// The samples that a node writes, by docs/metrics.md, which is made from the table.
const samples = new Set(
	[...readFileSync(join(docs, 'metrics.md'), 'utf8').matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].flatMap(([, name, type]) =>
		type === 'histogram' ? ['bucket', 'count', 'sum'].map((part) => `${name}_${part}`) : [name],
	),
);
const namesIn = (text) => new Set(text.match(/\bkeyfob_\w+/g));

const dashboard = JSON.parse(read('dashboard.json'));
const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
const rules = load(read('alerts.yaml')).groups.flatMap((group) => group.rules);

test('the dashboard and the alerts ask for nothing that no node tells', () => {
	assert.ok(samples.size > 60, `${samples.size} samples`);
	assert.ok(queries.length > 50 && rules.length > 10);
	for (const query of [...queries, ...rules.map(({ expr }) => expr), JSON.stringify(dashboard.templating)])
		for (const name of namesIn(query)) assert.ok(samples.has(name), `${name} in ${query}`);
});

test('the dashboard shows every histogram', () => {
	const shown = namesIn(queries.join(' '));
	for (const name of samples) assert.ok(!name.endsWith('_seconds_bucket') || shown.has(name), name);
});

test('its panels do not lie upon each other', () => {
	const places = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) => Array.from({ length: w * h }, (_, i) => `${x + (i % w)} ${y + Math.floor(i / w)}`));
	assert.equal(new Set(places).size, places.length);
	const ids = dashboard.panels.map(({ id }) => id);
	assert.equal(new Set(ids).size, ids.length);
});

test("Prometheus's own tool takes the alerts, and they fire when they should", async () => {
	await run('promtool', ['check', 'rules', join(folder, 'alerts.yaml')]);
	await run('promtool', ['test', 'rules', join(folder, 'alerts-test.yaml')]);
});

// By the same parser that would run them.
test("Prometheus's own tool takes every query of the dashboard", async () => {
	const asked = queries.map((expr) => expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*'));
	const recorded = { groups: [{ name: 'dashboard', rules: asked.map((expr, i) => ({ record: `query:${i}`, expr })) }] };
	const file = join(scratch, 'dashboard-as-rules.yaml');
	writeFileSync(file, JSON.stringify(recorded));
	await run('promtool', ['check', 'rules', file]);
});
