// histories.mjs - what a vehicle truly did, made from a seed, and what a broker's events make of it on their way.
//
// A history is a row of sessions: connects, subscriptions (also late, taken back and made again), ends of every kind
// (told, by a take-over, with a broker that was killed and tells nothing), gaps of seconds to hours. Two kinds of brokers
// tell it: `plugin` has one clock and versions that rise for ever; `aws` has clocks that differ by up to four minutes, and
// versions that begin at 0 again after an hour offline.
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

// mulberry32: small, seeded, good enough to shuffle with.
export function randomFrom(seed) {
	let state = seed >>> 0;
	const next = () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let x = Math.imul(state ^ (state >>> 15), state | 1);
		x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
		return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
	};
	return {
		next,
		between: (low, high) => Math.floor(low + next() * (high - low + 1)),
		chance: (probability) => next() < probability,
		pick: (choices) => choices[Math.floor(next() * choices.length)],
	};
}

const begin = Date.UTC(2026, 0, 1);

// { sessions: [{ name, version, from, to (null: lasts), ending, there: [[from, to]…] }], events, end }
export function makeHistory(seed) {
	const random = randomFrom(seed);
	const broker = random.pick(['plugin', 'aws']);
	const history = { seed, broker, random, sessions: [], events: [] };
	const count = random.chance(0.1) ? random.between(7, 12) : random.between(1, 5);
	let at = begin;
	let version = broker === 'aws' ? random.between(0, 3) : at * 1000;
	for (let k = 0; k < count; k++) {
		const session = { name: `${seed.toString(36)}-${k}`, version, from: at, to: null, there: [] };
		history.sessions.push(session);
		const length = random.pick([random.between(20, 900), random.between(1, 30) * second, random.between(1, 20) * minute, random.between(1, 9) * hour]);
		const lasts = k === count - 1 && random.chance(0.6);
		const endings = ['told', 'told', 'taken over', ...(broker === 'plugin' ? ['broker killed'] : [])];
		session.ending = lasts ? null : random.pick(k === count - 1 ? ['told', ...(broker === 'plugin' ? ['broker killed'] : [])] : endings);
		session.to = lasts ? null : at + length;
		fillSession(history, session, at + length);
		const offline = gapAfter(random, session);
		at = Math.max(at + 1, session.to + offline);
		if (broker === 'aws') version = offline >= hour ? 0 : version + 1;
		else version = at * 1000 + k;
	}
	history.end = Math.max(...history.events.map((event) => event.at), ...history.sessions.map((one) => one.to ?? one.from));
	return history;
}

// Below an hour a version rises; an AWS reset is past doubt from an hour and eight minutes on (the hour, and the clocks twice).
function gapAfter(random, { ending }) {
	if (ending === 'taken over') return -random.between(1, 15);
	return random.pick([random.between(10, 900), random.between(1, 20) * second, random.between(1, 50) * minute, random.between(69, 600) * minute]);
}

function fillSession(history, session, to) {
	const { random, events } = history;
	// One session is told by one clock: its connection is with one part of the broker.
	const skew = history.broker === 'aws' ? random.between(-2 * minute, 2 * minute) : 0;
	const tell = (kind, at, more = {}) => events.push({ kind, session: session.name, version: session.version, at, ms: at + skew, ...more });
	tell('connected', session.from);
	let at = Math.min(to, session.from + random.pick([0, random.between(1, 400), random.between(1, 400)]));
	let since = at;
	tell('subscribed', at);
	while (random.chance(0.12) && to - at > 200) {
		session.there.push([since, (at = random.between(at + 2, to - 100))]);
		tell('unsubscribed', at);
		since = null;
		if (random.chance(0.3)) break;
		tell('subscribed', (at = since = random.between(at + 2, to)));
	}
	if (since !== null) session.there.push([since, session.to]);
	if (session.ending === 'told') tell('disconnected', to, { reason: random.pick(['UNKNOWN', 'CLIENT_INITIATED_DISCONNECT', 'MQTT_KEEP_ALIVE_TIMEOUT']) });
	// The take-over is told after the taker's connect, some milliseconds before which the next session begins.
	if (session.ending === 'taken over') tell('disconnected', to, { reason: 'DUPLICATE_CLIENTID' });
}

// Whether the vehicle was there at a moment, and since when; { session, since } or null.
export function truthAt({ sessions }, at) {
	for (const session of sessions.slice().reverse())
		for (const [since, to] of session.there) if (since <= at && (to === null || at < to)) return { session: session.name, since };
	return null;
}

// How events arrive: `prompt` each within `delay`, `late` each within minutes, `shuffled` in any order whatever. Some come
// twice or thrice; with `losses` some never. In the order of arrival.
export function deliver(history, { manner, delay, losses = 0 }) {
	const { random, events, end } = history;
	const arrival = {
		prompt: (at) => at + random.between(0, delay),
		late: (at) => at + random.pick([random.between(0, delay), random.between(0, 10 * minute)]),
		shuffled: () => end + random.between(0, hour),
	}[manner];
	const arrived = [];
	for (const event of events) {
		if (random.chance(losses)) continue;
		const copies = random.pick([1, 1, 1, 2, 3]);
		for (let copy = 0; copy < copies; copy++) arrived.push({ ...event, arrives: arrival(event.at) });
	}
	return arrived.sort((a, b) => a.arrives - b.arrives);
}

// What reveals everything that was lost: the broker names who is there (a resync), between two moments.
export function namesAfter(history, at) {
	const truth = truthAt(history, at);
	const session = history.sessions.find(({ name }) => name === truth?.session);
	const last = history.sessions.at(-1);
	const connected = session ?? (last.to === null ? last : null);
	if (!connected) return [];
	const event = (kind) => ({ kind, session: connected.name, version: connected.version, at, ms: at, arrives: at });
	return truth ? [event('connected'), event('subscribed')] : [event('connected')];
}

// One session more, as AWS IoT Core would tell it from `at` on, whatever was before: later by so much (the clocks, twice)
// that timestamps put it behind all else. Nothing else can, where a lost connect took its version along.
export function nextSession(history, at) {
	const { random, sessions } = history;
	const before = sessions.at(-1);
	const start = at + random.between(9, 60) * minute;
	const version = before.version + 1;
	const session = { name: `${history.seed.toString(36)}-more`, version, from: start, to: random.chance(0.5) ? start + minute : null, there: [] };
	if (before.to === null) {
		before.to = start;
		const last = before.there.at(-1);
		if (last?.[1] === null) last[1] = start;
	}
	session.there.push([start + 100, session.to]);
	sessions.push(session);
	const event = (kind, when, more = {}) => ({ kind, session: session.name, version, at: when, ms: when, ...more });
	const ends = session.to === null ? [] : [event('disconnected', session.to, { reason: 'UNKNOWN' })];
	return [event('connected', start), event('subscribed', start + 100), ...ends];
}
