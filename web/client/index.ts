// index.ts - the client, by itself: it knows the gateway and nothing of the console.
export { Client, type ClientOptions, isFinal, isSettled, type LinkState, type Resumed, randomKey } from './client';
export { DisconnectedError, ProblemError, SignedOutError } from './problem';
export { Rest } from './rest';
export type * from './types';
export type { Beginning, Watcher } from './watch';
