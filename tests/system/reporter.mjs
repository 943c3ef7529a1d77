// reporter.mjs - Node's test events as a person wants them: a line a file, what it measured, what failed and where its logs are.
// Leaves "passed failed" in $KEYFOB_TEST_DIR/system.counts for ./dev to add up.
import { writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

const folder = process.env.KEYFOB_TEST_DIR ?? '.';

export default async function* report(source) {
	const files = new Map();
	for await (const { type, data } of source) {
		if (type === 'test:pass' || type === 'test:fail') count(fileOf(files, data.file), type, data);
		else if (type === 'test:diagnostic' && data.file) fileOf(files, data.file).notes.push(data.message);
		else if (type === 'test:stderr' || type === 'test:stdout') fileOf(files, data.file).said.push(data.message);
	}
	for (const file of files.values()) {
		findComplaint(file);
		findIdle(file);
	}
	let passed = 0;
	let failed = 0;
	for (const [name, file] of [...files].sort()) {
		passed += file.passed;
		failed += file.failures.length;
		const seconds = (file.ms / 1000).toFixed(1);
		yield `  ${name.padEnd(26)} ${String(file.passed).padStart(4)} passed, ${file.failures.length} failed, ${seconds} s\n`;
		yield* file.notes.map((note) => `    ${note}\n`);
		yield* file.failures.map((failure) => describe(name, file, failure));
	}
	writeFileSync(join(folder, 'system.counts'), `${passed} ${failed}\n`);
}

function fileOf(files, path = 'unknown') {
	const name = basename(path.startsWith('file:') ? fileURLToPath(path) : path);
	if (!files.has(name)) files.set(name, { passed: 0, ms: 0, failures: [], notes: [], said: [] });
	return files.get(name);
}

// A suite counts by its tests; one that fails by itself (its body, a hook of it), or a file as a whole (it broke, or its servers ended
// badly), counts as one.
function count(file, type, { name, details, skip }) {
	if (details.type !== 'suite') file.ms += details.duration_ms;
	if (type === 'test:fail') {
		if (details.error?.failureType !== 'subtestsFailed') file.failures.push({ name, error: details.error });
	} else if (details.type !== 'suite' && skip === undefined) file.passed++;
}

// What programs write to a test's own standard error is shown by nobody: a sanitizer may complain there.
function findComplaint(file) {
	const said = file.said.join('');
	const at = said.indexOf(': runtime error: ');
	if (at >= 0) file.failures.push({ name: 'a sanitizer complained', error: new Error(said.slice(Math.max(0, at - 200), at + 1000)) });
}

// A file stands in the row of one build: one that leaves everything out there runs nowhere.
function findIdle(file) {
	if (process.env.KEYFOB_TEST_EACH_RUNS && file.passed + file.failures.length === 0) file.failures.push({ name: 'nothing of it ran', error: new Error('each of its tests was left out') });
}

function describe(fileName, file, { name, error }) {
	const isFile = name.endsWith(fileName);
	const cause = error?.cause;
	const text = (cause instanceof Error && (cause.stack ?? cause.message)) || inspect(cause ?? error?.message);
	const lines = text.split('\n').filter((line) => !/\(node:|node_modules/.test(line));
	if (isFile) lines.push(...file.said.join('').split('\n').slice(-30));
	const logs = relative(process.cwd(), join(folder, fileName.replace('.test.mjs', '')));
	const title = isFile ? 'the file as a whole' : name;
	return `\n    FAILED ${title}\n${lines.map((line) => `      ${line}`).join('\n')}\n      logs: ${logs}/\n\n`;
}
