// index.ts - the client, by itself: it knows the gateway and nothing of the console.
export { Client, type ClientOptions, type FleetSight, type FleetWatcher, type Resumed, type Sight, type WatchOptions } from './client.js';
export type { LinkState } from './link.js';
export { AccessEndedError, BehindError, DisconnectedError, ProblemError, SignedOutError, StoppedError, UnansweredError } from './problem.js';
export { Rest } from './rest.js';
export { type CallOptions, isFinal, isSettled, randomKey, type Sending, type SendOptions } from './send.js';
export type * from './types.js';
export type { Beginning, Watcher } from './watch.js';
