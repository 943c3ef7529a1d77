// problem.ts - what can go wrong with a call, and what each means for whoever asked.
import type { Problem } from './types.js';

/** The gateway refused; its problem says why, and what to tell a person. */
export class ProblemError extends Error {
	constructor(readonly problem: Problem) {
		super(problem.user_message ?? problem.detail ?? problem.title);
	}

	/** "vehicle-not-found" */
	override get name(): string {
		return this.problem.type.replace('urn:keyfob:problem:', '');
	}

	/** Of `step-up-required` alone: how old the sign-in may be, in seconds. */
	get maxAge(): number | undefined {
		return this.name === 'step-up-required' ? Number(/max_age=(\d+)/.exec(this.problem.detail ?? '')?.[1] ?? 0) : undefined;
	}

	/** The gateway or its database is away, or we asked too often: the same again is safe, and worth it. */
	get isPassing(): boolean {
		return this.problem.retriable === true && this.name !== 'queue-full';
	}
}

/** The connection went while the call was under way: nobody here knows whether it was done. */
export class DisconnectedError extends Error {
	constructor() {
		super('the connection was lost');
	}
}

/** There was no answer in the time that the call had. `mayHaveExecuted`: it left once, so it may have been done. */
export class UnansweredError extends Error {
	constructor(readonly mayHaveExecuted: boolean) {
		super(mayHaveExecuted ? 'the gateway did not answer; it may have been done' : 'the gateway could not be reached; nothing was sent');
	}
}

/** Whoever signed in is not let in any more; another sign-in is needed. */
export class SignedOutError extends Error {}

/** The right to see the vehicle or the fleet is over. */
export class AccessEndedError extends Error {
	constructor() {
		super('the access has ended');
	}
}

/** Client.stop() was called meanwhile. */
export class StoppedError extends Error {
	constructor() {
		super('the client was stopped');
	}
}

/** What came was not taken for too long, and was given up. */
export class BehindError extends Error {
	constructor() {
		super('too many events wait to be taken');
	}
}
