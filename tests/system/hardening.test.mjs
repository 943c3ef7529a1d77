// hardening.test.mjs - how the programs are built, as the ELF files say it; and that docs/security.md names tests that exist.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { build, isSanitized, run } from './children.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const programs = ['bin/keyfobd', 'bin/keyfob', 'bin/keyfob-vehicle', 'lib/keyfob_broker.so'];
const readelf = (option, program) => run('readelf', ['-W', option, join(build, program)]);

for (const program of programs)
	test(`${program} is position independent, its tables are read-only, its stack is no code`, async () => {
		assert.match(await readelf('-h', program), /Type: +DYN/);
		const segments = await readelf('-l', program);
		assert.match(segments, /GNU_RELRO/);
		assert.match(segments, /GNU_STACK.* RW +0x/);
		assert.match(await readelf('-d', program), /FLAGS.*BIND_NOW|FLAGS_1.*NOW/);
		if (program.startsWith('bin/')) assert.match(await readelf('-d', program), /FLAGS_1.*PIE/);
	});

for (const program of programs)
	test(`${program} checks its stack, and the lengths that the compiler knows`, { skip: isSanitized && 'the sanitizer checks them itself' }, async () => {
		const symbols = await readelf('--dyn-syms', program);
		assert.match(symbols, /__stack_chk_fail/);
		assert.match(symbols, /__(snprintf|memcpy|fprintf|vsnprintf|strcpy|strcat|memset|read|recv)_chk/);
	});

// A check that its suite runs, or else something that stands in the code, as a test's title or in a table of it.
function hasTest(file, text, name) {
	const code = text.replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, '');
	if (!file.endsWith('.c') || !/^\w+$/.test(name)) return code.includes(name);
	return code.includes(`START_TEST(${name})`) && code.split(new RegExp(`\\b${name}\\b`)).length > 2;
}

test('every attack in docs/security.md names tests, and they exist', () => {
	const attacks = readFileSync(join(root, 'docs/security.md'), 'utf8').split(/^## /m).find((section) => section.startsWith('Attacks\n'));
	const rows = attacks.split('\n').filter((line) => line.startsWith('| ') && !/^\| (attack|---) \|/.test(line));
	assert.ok(rows.length >= 40, `${rows.length} rows`);
	for (const row of rows) assert.match(row.split('|').at(-2), /`tests\//, row);
	for (const row of rows)
		for (const [, file, names] of row.split('|').at(-2).matchAll(/`(tests\/[^`]+)`(?:: ([^`]*))?/g)) {
			const text = readFileSync(join(root, file), 'utf8');
			for (const name of (names ?? '').split(';').map((one) => one.trim()).filter(Boolean))
				assert.ok(hasTest(file, text, name), `${file} has no test "${name}"`);
		}
});
