// memory.mjs - how much a node needs at most, as the kernel counts it.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

const MiB = 1024 * 1024;

const memory = (pid, field) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

// How much more the node had at most, at any moment of `work`; no more than `bound`, and something else is measured than nothing. What `work`
// has to say of itself stands before it.
export async function withinMemory(t, node, bound, work) {
	const { pid } = node.child;
	writeFileSync(`/proc/${pid}/clear_refs`, '5'); // the peak begins anew
	const before = memory(pid, 'VmRSS');
	assert.ok(before > MiB && Math.abs(memory(pid, 'VmHWM') - before) < MiB, 'the peak is measured anew');
	const said = await work();
	const grown = memory(pid, 'VmHWM') - before;
	t.diagnostic(`${said}; memory ${(before / MiB).toFixed(1)} MiB, at most ${(grown / MiB).toFixed(1)} MiB more`);
	assert.ok(grown < bound, `it grew by ${(grown / MiB).toFixed(1)} MiB`);
}
