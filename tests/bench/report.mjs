// report.mjs - the measurements of all repeats as ratios, with their spread: a table for people, JSON for what comes after.
//
// report.mjs MEASUREMENTS.jsonl RESULT.json [stored]. A ratio is taken within a repeat, then the median of the repeats is shown. `stored`:
// nothing was to be measured but journeys beside stored commands. What else is missing is named, and fails.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

const [from, to, part] = process.argv.slice(2);
const repeats = new Map(); // repeat -> { name: value }
for (const line of readFileSync(from, 'utf8').trim().split('\n')) {
	const { name, value, repeat } = JSON.parse(line);
	repeats.set(repeat, { ...repeats.get(repeat), [name]: value });
}

const bestInsert = (m) => Math.max(...Object.keys(m).filter((name) => /^inserts_/.test(name)).map((name) => m[name]));
const perCpuSecond = (m, fanOut, who) => 1e6 / m[`${fanOut}_us_${who}`];
const cpuOf = (m, prefix, what, names) => names.reduce((sum, name) => sum + m[`${prefix}${what}_cpu_ms_${name}`], 0);
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
	['… never sent, because it had fallen behind', 'x', (m) => m.journey_1000_unsent, { atMost: 0 }],
];

// The fan-outs that were measured: VEHICLESxAPPS.
const fanOuts = [...new Set([...repeats.values()].flatMap((m) => Object.keys(m)).map((name) => /^fan_out_(\d+x\d+)_us_/.exec(name)?.[1]).filter(Boolean))];
for (const shape of fanOuts) {
	const name = `fan_out_${shape}`;
	rows.push(
		null,
		[`fan-out ${shape.replace('x', ' x ')}, deliveries per CPU second: keyfobd`, '/s', (m) => perCpuSecond(m, name, 'keyfobd')],
		['… with PostgreSQL and the broker', '/s', (m) => 1e6 / ['keyfobd', 'postgres', 'mosquitto'].reduce((sum, who) => sum + m[`${name}_us_${who}`], 0)],
		['… keyfobd with one worker', '/s', (m) => perCpuSecond(m, `one_worker_${shape}`, 'keyfobd')],
		['… nchan, which has one', '/s', (m) => perCpuSecond(m, name, 'nchan')],
		['… a bare send()', '/s', (m) => perCpuSecond(m, name, 'send')],
		['… keyfobd to nchan', 'x', (m) => perCpuSecond(m, name, 'keyfobd') / perCpuSecond(m, name, 'nchan'), { atLeast: 1 }],
		['… with one worker, to nchan', 'x', (m) => perCpuSecond(m, `one_worker_${shape}`, 'keyfobd') / perCpuSecond(m, name, 'nchan')],
	);
}
rows.push(
	null,
	['memory of an idle WebSocket: keyfobd', 'B', (m) => m.memory],
	['… by the direct port', 'B', (m) => m.memory_direct],
	['… nchan', 'B', (m) => m.memory_nchan],
	['… keyfobd to nchan', 'x', (m) => m.memory / m.memory_nchan, { atMost: 0.6 }],
	null,
	['lifecycle events applied a second', '/s', (m) => m.return_events_per_s, { atLeast: 10_000 }],
	['… CPU of an event, the node\'s start with it: postgres', 'us', (m) => (m.return_cpu_ms_postgres * 1000) / m.return_events],
	['… keyfobd', 'us', (m) => (m.return_cpu_ms_keyfobd * 1000) / m.return_events],
	['a token that was seen before', 'us', (m) => m.token_seen_us, { atMost: 2 }],
	['… that was not', 'us', (m) => m.token_first_us],
	null,
	['journeys a second by TLS, to plain', 'x', (m) => m.tls_journeys_per_s / m.plain_journeys_per_s],
	['… CPU of keyfobd, to plain', 'x', (m) => (cpuOf(m, 'tls_', 'journey', ['keyfobd']) / m.tls_journeys) / (cpuOf(m, 'plain_', 'journey', ['keyfobd']) / m.plain_journeys)],
	['accepts a second by TLS, to plain', 'x', (m) => m.tls_accepts_per_s / m.plain_accepts_per_s],
	['… CPU of keyfobd, to plain', 'x', (m) => (cpuOf(m, 'tls_', 'accept', ['keyfobd']) / m.tls_accepts) / (cpuOf(m, 'plain_', 'accept', ['keyfobd']) / m.plain_accepts)],
);

const beside = [
	['journeys a second, hardly a command stored', '/s', (m) => m.empty_journeys_per_s],
	[`… ${repeats.get(1).stored_commands} stored`, '/s', (m) => m.stored_journeys_per_s],
	['… as a ratio', 'x', (m) => m.stored_journeys_per_s / m.empty_journeys_per_s, { atLeast: 0.95 }],
	['… CPU of PostgreSQL for a journey, as a ratio', 'x', (m) => (m.stored_journey_cpu_ms_postgres / m.stored_journeys) / (m.empty_journey_cpu_ms_postgres / m.empty_journeys)],
];
rows.push(null, ...beside);

// CPU of one of them, by process.
for (const [what, count, names] of [
	['journey', 'journeys', ['postgres', 'keyfobd', 'mosquitto', 'vehicles']],
	['accept', 'accepts', ['postgres', 'keyfobd']],
]) {
	rows.push(null);
	for (const name of names) rows.push([`CPU of a${what[0] === 'a' ? 'n' : ''} ${what}: ${name}`, 'us', (m) => (m[`${what}_cpu_ms_${name}`] * 1000) / m[count]]);
}

const median = (sorted) => sorted[Math.floor((sorted.length - 1) / 2)] / 2 + sorted[Math.ceil((sorted.length - 1) / 2)] / 2;

const missing = [];

function judge([what, unit, of, target = {}]) {
	const values = [...repeats.values()].map(of).sort((a, b) => a - b);
	const middle = median(values);
	if (!values.every(Number.isFinite)) missing.push(what);
	const isReached = target.atLeast !== undefined ? middle >= target.atLeast : target.atMost !== undefined ? middle <= target.atMost : null;
	return { what, unit, median: middle, lowest: values[0], highest: values.at(-1), ...target, isReached };
}

const show = (value, unit) => (!Number.isFinite(value) ? '?' : unit === 'x' || value < 10 ? value.toFixed(2) : Math.round(value).toString());

function line({ what, unit, median: middle, lowest, highest, atLeast, atMost, isReached }) {
	const target = atLeast !== undefined ? `at least ${atLeast}` : atMost !== undefined ? `at most ${atMost}` : '';
	const verdict = isReached === null ? '' : isReached ? 'reached' : 'NOT REACHED';
	const spread = `${show(lowest, unit)} – ${show(highest, unit)}`;
	return `${what.padEnd(62)}${show(middle, unit).padStart(8)} ${unit.padEnd(3)} ${spread.padEnd(16)} ${target.padEnd(14)} ${verdict}`.trimEnd();
}

const results = (part === 'stored' ? beside : rows).map((row) => row && judge(row));
console.log(`\n${'median of'.padEnd(62)}${`${repeats.size}`.padStart(8)}     ${'spread'.padEnd(16)} ${'target'.padEnd(14)}`.trimEnd());
for (const result of results) console.log(result ? line(result) : '');
writeFileSync(to, JSON.stringify({ cores: cpus().length, results: results.filter(Boolean), repeats: [...repeats.values()] }, null, '\t'));
console.log(`\n${to} has it all`);
if (missing.length > 0) {
	console.error(`not measured in each repeat: ${missing.join('; ')}`);
	process.exitCode = 1;
}
