// failpoints.mjs - arms the places in the code where a node is killed, stopped or made to fail (base/failpoint.h).
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { folder } from './children.mjs';
import { poll } from './record.mjs';

let made = 0;

export class Failpoints {
	constructor() {
		this.folder = join(folder, `failpoints-${++made}`);
		mkdirSync(this.folder, { recursive: true });
	}

	get env() {
		return { KEYFOB_TEST_FAILPOINTS: this.folder };
	}

	// The next that comes to `name`, of all processes that share these, does `action` there: 'kill', 'pause MS' or 'fail'.
	arm(name, action) {
		rmSync(this.#path(`${name}.hit`), { force: true });
		writeFileSync(this.#path(`${name}.new`), action);
		renameSync(this.#path(`${name}.new`), this.#path(name));
	}

	// The process id of whoever came to `name`; undefined: nobody yet.
	hitBy(name) {
		const file = this.#path(`${name}.hit`);
		return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[1]) || undefined : undefined;
	}

	untilHit(name, ms = 20_000) {
		return poll(() => this.hitBy(name), Boolean, { ms, what: `somebody came to ${name}` });
	}

	#path(name) {
		return join(this.folder, name);
	}
}
