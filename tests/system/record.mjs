// record.mjs - everything that somebody saw, in order, and waiting for what is yet to come.
import assert from 'node:assert/strict';

export class Record {
	#waiting = new Set();
	items = [];

	constructor(name) {
		this.name = name;
	}

	push(item) {
		this.items.push(item);
		for (const look of [...this.#waiting]) look();
	}

	// The first item (from `from` on) for which `is` holds, also one that is here already.
	until(is, { ms = 10_000, from = 0, what = is.toString() } = {}) {
		return new Promise((resolve, reject) => {
			let next = from;
			const look = () => {
				while (next < this.items.length) {
					const item = this.items[next++];
					if (!is(item)) continue;
					end();
					return resolve(item);
				}
			};
			const timer = setTimeout(() => {
				end();
				reject(new assert.AssertionError({ message: this.#unmet(what, ms) }));
			}, ms);
			const end = () => {
				clearTimeout(timer);
				this.#waiting.delete(look);
			};
			this.#waiting.add(look);
			look();
		});
	}

	#unmet(what, ms) {
		const last = this.items.slice(-8).map((item) => `  ${JSON.stringify(item)?.slice(0, 400)}`);
		return `${this.name} did not see within ${ms} ms: ${what}\nit saw ${this.items.length}, the last:\n${last.join('\n')}`;
	}
}

// For what nobody tells us: asks until `is` holds for the answer.
export async function poll(ask, is, { ms = 10_000, every = 50, what = is.toString() } = {}) {
	const end = Date.now() + ms;
	for (;;) {
		const answer = await ask();
		if (is(answer)) return answer;
		if (Date.now() > end) assert.fail(`not within ${ms} ms: ${what}\nlast: ${JSON.stringify(answer)?.slice(0, 1500)}`);
		await new Promise((resolve) => setTimeout(resolve, every));
	}
}

// The connection of an mqtt client is over, however it ended: events.once() would take an ECONNRESET for a failure of its own.
export function untilClosed(client) {
	client.on('error', () => {});
	return new Promise((resolve) => client.once('close', resolve));
}
