// problem.ts - a call that the gateway refused, or that never reached it.
import type { Problem } from './types';

export class ProblemError extends Error {
	constructor(readonly problem: Problem) {
		super(problem.user_message ?? problem.detail ?? problem.title);
	}

	// "vehicle-not-found"
	get name(): string {
		return this.problem.type.replace('urn:keyfob:problem:', '');
	}
}

// The connection went while the call was under way: nobody here knows whether it was done.
export class DisconnectedError extends Error {
	constructor() {
		super('the connection was lost');
	}
}

// Whoever signed in is not let in any more; another sign-in is needed.
export class SignedOutError extends Error {}
