// session.ts - who is signed in, and the token that says so; it is held here and nowhere else.
import { signal } from '@preact/signals';
import { SignedOutError } from '../client';
import { type Config, readConfig } from './config';
import { takeToken } from './signin/development';
import { beginSignIn, finishSignIn, isReturn, type Session } from './signin/oidc';
import { texts } from './texts';

const RENEW_AT = 0.75; // of a token's life
const RETRY_MS = 10_000;

// 'starting' until /config.json is read and a return from the issuer is dealt with.
export type SignIn = { step: 'starting' } | { step: 'out'; reason?: string } | { step: 'in' };

export const signIn = signal<SignIn>({ step: 'starting' });

let config: Config | undefined;
let session: Session | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let onRenewed: (token: string) => void = () => {};

export function configuration(): Config {
	if (!config) throw new Error('nothing is configured yet');
	return config;
}

// `renewed` is called with each new token, for the connection that is open.
export async function startSession(renewed: (token: string) => void): Promise<void> {
	onRenewed = renewed;
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
	schedule(next);
}

function schedule(current: Session): void {
	clearTimeout(timer);
	if (current.renew && current.expiresAt) timer = setTimeout(renewQuietly, RENEW_AT * (current.expiresAt - Date.now()));
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
	if (!session?.renew) throw new SignedOutError();
	try {
		session = await session.renew();
		schedule(session);
		onRenewed(session.token);
	} catch (error) {
		if (error instanceof SignedOutError) throw error;
		timer = setTimeout(renewQuietly, RETRY_MS); // the issuer is away, perhaps we are
	}
}

// Where the issuer refuses, the token that is there is used to its end.
const renewQuietly = () => void renew().catch(() => {});

export async function currentToken(fresh = false): Promise<string> {
	if (!session) throw new SignedOutError();
	if (fresh) await renew();
	return session.token;
}

// The token is forgotten; the issuer may remember the person.
export function signOut(reason?: string): void {
	clearTimeout(timer);
	session = undefined;
	signIn.value = { step: 'out', reason };
}

export function goAndSignIn(maxAge?: number): Promise<void> {
	return beginSignIn(configuration(), location.pathname, maxAge);
}
