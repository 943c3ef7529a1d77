// torture.mjs - makes one call of a node fail: which one, of what kind and how, said through a file that the node has mapped
// (tests/torture/torture.c).
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { build, folder, isSanitized } from './children.mjs';

export const kinds = { memory: 1, wire: 2, descriptor: 4, library: 8 };
export const troubles = { interrupted: 0, 'would block': 1, reset: 2, short: 3 };
const at = { armed: 0, trouble: 4, count: 8, failAt: 12, where: 16 };
const size = 64;
let made = 0;

export class Torture {
	constructor() {
		this.path = join(folder, `torture-${++made}`);
		this.file = openSync(this.path, 'w+');
		writeSync(this.file, Buffer.alloc(size), 0, size, 0);
	}

	// For a node. The sanitizer's library has to be first: memory is its own there, and does not fail; all else it asks of ours.
	get env() {
		const ours = join(build, 'tests/libtorture.so');
		return { LD_PRELOAD: isSanitized ? `libasan.so.8:${ours}` : ours, KEYFOB_TEST_TORTURE: this.path };
	}

	// From now on calls of `kind` are counted, and number `failAt` fails (0: none), as `trouble` says where it is on the wire.
	arm(kind, failAt = 0, trouble = 'reset') {
		this.disarm();
		this.#write(at.trouble, troubles[trouble]);
		this.#write(at.count, 0);
		this.#write(at.failAt, failAt);
		writeSync(this.file, Buffer.alloc(size - at.where), 0, size - at.where, at.where);
		this.#write(at.armed, kinds[kind]);
	}

	disarm() {
		this.#write(at.armed, 0);
		return this.count;
	}

	get count() {
		return this.#read(at.count, 4).readUInt32LE();
	}

	// The function whose call failed; '': none has yet.
	get where() {
		const text = this.#read(at.where, size - at.where).toString();
		return text.slice(0, text.indexOf('\0'));
	}

	#write(position, value) {
		const bytes = Buffer.alloc(4);
		bytes.writeUInt32LE(value);
		writeSync(this.file, bytes, 0, 4, position);
	}

	#read(position, length) {
		const bytes = Buffer.alloc(length);
		readSync(this.file, bytes, 0, length, position);
		return bytes;
	}

	close() {
		closeSync(this.file);
	}
}
