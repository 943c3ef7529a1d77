// report.mjs - the measurements of all repeats as ratios, with their spread: a table for people, JSON for what comes after.
//
// report.mjs MEASUREMENTS.jsonl RESULT.json. A ratio is taken within a repeat, then the median of the repeats is shown.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

const [from, to] = process.argv.slice(2);
const repeats = new Map(); // repeat -> { name: value }
for (const line of readFileSync(from, 'utf8').trim().split('\n')) {
	const { name, value, repeat } = JSON.parse(line);
	repeats.set(repeat, { ...repeats.get(repeat), [name]: value });
}

const bestInsert = (m) => Math.max(...Object.keys(m).filter((name) => /^inserts_/.test(name)).map((name) => m[name]));
const bound = (m) => m.round_trip_p50_us + 2 * m.commit_0_p50_us;

// What is shown: a number of each repeat; where it is a ratio, what issue there is an `atLeast` or `atMost`.
const rows = [
	['bare MQTT round trip, p50', 'us', (m) => m.round_trip_p50_us],
	['bare MQTT round trips a second, 256 outstanding', '/s', (m) => m.round_trips_per_s],
	['a durable commit, p50', 'us', (m) => m.commit_0_p50_us],
	['single-row inserts a second, best client count', '/s', bestInsert],
	['chain at 10/s, p50', 'us', (m) => m.chain_10_p50_us],
	['chain at 100/s, p50', 'us', (m) => m.chain_100_p50_us],
	null,
	['one command alone, p50', 'us', (m) => m.alone_p50_us],
	['one command alone, p99', 'us', (m) => m.alone_p99_us],
	['… over a round trip and two commits, p50', 'us', (m) => m.alone_p50_us - bound(m), { atMost: 3000 }],
	['… as a ratio', 'x', (m) => m.alone_p50_us / bound(m)],
	['accepts a second, 64 connections', '/s', (m) => m.accepts_per_s],
	['… to single-row inserts', 'x', (m) => m.accepts_per_s / bestInsert(m), { atLeast: 2 }],
	['journeys a second, every event seen', '/s', (m) => m.journeys_per_s],
	['… to bare round trips', 'x', (m) => m.journeys_per_s / m.round_trips_per_s, { atLeast: 0.42 }],
	['journey at 10/s, p50', 'us', (m) => m.journey_10_p50_us],
	['… to chain', 'x', (m) => m.journey_10_p50_us / m.chain_10_p50_us, { atMost: 1.5 }],
	['journey at 100/s, p50', 'us', (m) => m.journey_100_p50_us],
	['… to chain', 'x', (m) => m.journey_100_p50_us / m.chain_100_p50_us, { atMost: 1.5 }],
	['journey at 1000/s, p50', 'us', (m) => m.journey_1000_p50_us],
	['journey at 1000/s, p99', 'us', (m) => m.journey_1000_p99_us, { atMost: 20000 }],
	['… never sent, because it had fallen behind', 'x', (m) => m.journey_1000_unsent ?? 0, { atMost: 0 }],
];

// CPU of one of them, by process.
for (const [what, count, names] of [
	['journey', 'journeys', ['postgres', 'keyfobd', 'mosquitto', 'vehicles']],
	['accept', 'accepts', ['postgres', 'keyfobd']],
]) {
	rows.push(null);
	for (const name of names) rows.push([`CPU of a${what[0] === 'a' ? 'n' : ''} ${what}: ${name}`, 'us', (m) => (m[`${what}_cpu_ms_${name}`] * 1000) / m[count]]);
}

const median = (sorted) => sorted[Math.floor((sorted.length - 1) / 2)] / 2 + sorted[Math.ceil((sorted.length - 1) / 2)] / 2;

function judge([what, unit, of, target = {}]) {
	const values = [...repeats.values()].map(of).sort((a, b) => a - b);
	const middle = median(values);
	const isReached = target.atLeast !== undefined ? middle >= target.atLeast : target.atMost !== undefined ? middle <= target.atMost : null;
	return { what, unit, median: middle, lowest: values[0], highest: values.at(-1), ...target, isReached };
}

const show = (value, unit) => (unit === 'x' ? value.toFixed(2) : Math.round(value).toString());

function line({ what, unit, median: middle, lowest, highest, atLeast, atMost, isReached }) {
	const target = atLeast !== undefined ? `at least ${atLeast}` : atMost !== undefined ? `at most ${atMost}` : '';
	const verdict = isReached === null ? '' : isReached ? 'reached' : 'NOT REACHED';
	const spread = `${show(lowest, unit)} – ${show(highest, unit)}`;
	return `${what.padEnd(50)}${show(middle, unit).padStart(8)} ${unit.padEnd(3)} ${spread.padEnd(16)} ${target.padEnd(14)} ${verdict}`.trimEnd();
}

const results = rows.map((row) => row && judge(row));
console.log(`\n${'median of'.padEnd(50)}${`${repeats.size}`.padStart(8)}     ${'spread'.padEnd(16)} ${'target'.padEnd(14)}`.trimEnd());
for (const result of results) console.log(result ? line(result) : '');
writeFileSync(to, JSON.stringify({ cores: cpus().length, results: results.filter(Boolean), repeats: [...repeats.values()] }, null, '\t'));
console.log(`\n${to} has it all`);
