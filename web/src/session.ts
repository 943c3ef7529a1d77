// session.ts - who is signed in, and the token that says so; it is held here and nowhere else.
import { signal } from '@preact/signals';
import { SignedOutError } from '../client/index';
import { type Config, readConfig } from './config';
import { takeToken } from './signin/development';
import { beginSignIn, finishSignIn, isReturn, type Session } from './signin/oidc';
import { texts } from './texts';

// 'starting' until /config.json is read and a return from the issuer is dealt with.
export type SignIn = { step: 'starting' } | { step: 'out'; reason?: string } | { step: 'in' };

export const signIn = signal<SignIn>({ step: 'starting' });

let config: Config | undefined;
let session: Session | undefined;

export function configuration(): Config {
	if (!config) throw new Error('nothing is configured yet');
	return config;
}

export async function startSession(): Promise<void> {
	try {
		const fromAddress = takeToken();
		config = await readConfig();
		if (config.development && fromAddress) begin({ token: fromAddress, expiresAt: null, renew: null });
		else if (isReturn(new URLSearchParams(location.search))) await comeBack(config);
		else signIn.value = { step: 'out' };
	} catch (error) {
		signIn.value = { step: 'out', reason: texts.signIn.failed((error as Error).message) };
	}
}

async function comeBack(known: Config): Promise<void> {
	const search = new URLSearchParams(location.search);
	history.replaceState(null, '', '/');
	const { session: signedIn, path } = await finishSignIn(known, search);
	history.replaceState(null, '', path);
	begin(signedIn);
}

function begin(next: Session): void {
	session = next;
	signIn.value = { step: 'in' };
}

let renewing: Promise<void> | undefined;

// Once, however many ask.
function renew(): Promise<void> {
	renewing ??= renewOnce().finally(() => {
		renewing = undefined;
	});
	return renewing;
}

async function renewOnce(): Promise<void> {
	const old = session;
	if (!old?.renew) throw new SignedOutError();
	const next = await old.renew();
	if (session === old) session = next;
}

// The client asks for a fresh one in time (web/client). Where the issuer refuses, the token that is there is used to its end.
export async function currentToken(fresh = false): Promise<string> {
	if (fresh) await renew();
	else if (session?.renew && session.expiresAt && session.expiresAt < Date.now()) await renew().catch(() => {});
	if (!session) throw new SignedOutError();
	return session.token;
}

// The token is forgotten; the issuer may remember the person.
export function signOut(reason?: string): void {
	session = undefined;
	signIn.value = { step: 'out', reason };
}

export function goAndSignIn(maxAge?: number): Promise<void> {
	return beginSignIn(configuration(), location.pathname, maxAge);
}
