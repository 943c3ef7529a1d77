// clock.mjs - a wall clock of a process's own (libfaketime), which can be set while it runs; what is monotonic stays as it is.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { folder } from './children.mjs';

const library = readdirSync('/usr/lib')
	.map((machine) => `/usr/lib/${machine}/faketime/libfaketimeMT.so.1`)
	.find(existsSync);

export const hasFakeClocks = library !== undefined;

// Right at first. `env` is for the process; set('+3600') is heard at once, or, where `everyS` is given, after so many seconds: to look each time
// that the clock is read is dear.
export function fakeClock(name, { everyS } = {}) {
	const file = join(folder, `${name}.clock`);
	const set = (offset) => writeFileSync(file, `${offset}\n`);
	const looks = everyS ? { FAKETIME_CACHE_DURATION: String(everyS) } : { FAKETIME_NO_CACHE: '1' };
	set('+0');
	return { set, env: { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1', NO_FAKE_STAT: '1', ...looks } };
}
