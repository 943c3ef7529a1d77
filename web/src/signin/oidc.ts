// oidc.ts - sign-in at any OpenID Connect issuer: authorization code with PKCE, tokens in memory alone.
//
//   begin ─ the issuer's pages ─ back with ?code ─ finish ─ tokens ─ refreshed in time, as long as the issuer lets us
// What must outlive the way to the issuer (the verifier, where to return to) lies in sessionStorage and is taken from there.
import { SignedOutError } from '../../client/index';
import type { Config } from '../config';
import { challengeOf, randomText } from './pkce';

const KEPT = 'keyfob.sign-in';

interface Metadata {
	issuer: string;
	authorization_endpoint: string;
	token_endpoint: string;
}

interface Kept {
	state: string;
	nonce: string;
	verifier: string;
	path: string;
}

interface Tokens {
	access_token: string;
	refresh_token?: string;
	id_token?: string;
	expires_in?: number;
	error?: string;
	error_description?: string;
}

export interface Session {
	token: string;
	expiresAt: number | null; // milliseconds; null: unknown
	// A new one in place of this; null: the issuer gave nothing to renew it by.
	renew: (() => Promise<Session>) | null;
}

async function discover(config: Config): Promise<Metadata> {
	const answer = await fetch(`${(config.issuer ?? '').replace(/\/$/, '')}/.well-known/openid-configuration`);
	const metadata: Metadata = await answer.json();
	if (metadata.issuer !== config.issuer) throw new Error(`${config.issuer} calls itself ${metadata.issuer}`); // OpenID Connect Discovery 1.0 §4.3
	return metadata;
}

const redirectUri = () => `${location.origin}/`;

// Leaves the page. `maxAge`: seconds since the person last proved who they are, at most.
export async function beginSignIn(config: Config, path: string, maxAge?: number): Promise<void> {
	const { authorization_endpoint } = await discover(config);
	const kept: Kept = { state: randomText(), nonce: randomText(), verifier: randomText(), path };
	sessionStorage.setItem(KEPT, JSON.stringify(kept));
	const url = new URL(authorization_endpoint);
	const asked: Record<string, string> = {
		response_type: 'code',
		client_id: config.client_id,
		redirect_uri: redirectUri(),
		scope: config.scope,
		state: kept.state,
		nonce: kept.nonce,
		code_challenge: await challengeOf(kept.verifier),
		code_challenge_method: 'S256',
		...(maxAge !== undefined && { max_age: String(maxAge) }),
		...config.parameters,
	};
	for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
	location.assign(url.href);
}

// Whether this page was opened by the issuer sending somebody back.
export function isReturn(search: URLSearchParams): boolean {
	return search.has('state') && (search.has('code') || search.has('error'));
}

// Rejects with what the issuer said. Resolves with the session and where the person was.
export async function finishSignIn(config: Config, search: URLSearchParams): Promise<{ session: Session; path: string }> {
	const kept: Kept | null = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');
	sessionStorage.removeItem(KEPT);
	if (!kept || kept.state !== search.get('state')) throw new Error('this answer belongs to no sign-in of this page');
	const error = search.get('error');
	if (error) throw new Error(search.get('error_description') ?? error);
	const metadata = await discover(config);
	if (search.has('iss') && search.get('iss') !== metadata.issuer) throw new Error('the answer comes from another issuer'); // RFC 9207 §2.4
	const tokens = await ask(config, metadata, {
		grant_type: 'authorization_code',
		code: search.get('code') ?? '',
		redirect_uri: redirectUri(),
		code_verifier: kept.verifier,
	});
	if (tokens.id_token && claimsOf(tokens.id_token).nonce !== kept.nonce) throw new Error('the answer belongs to another sign-in');
	return { session: sessionOf(config, metadata, tokens), path: kept.path };
}

async function ask(config: Config, { token_endpoint }: Metadata, fields: Record<string, string>): Promise<Tokens> {
	const body = new URLSearchParams({ ...fields, client_id: config.client_id, ...config.parameters });
	const answer = await fetch(token_endpoint, { method: 'POST', body });
	const tokens: Tokens = await answer.json();
	if (answer.ok && tokens.access_token) return tokens;
	const why = tokens.error_description ?? tokens.error ?? String(answer.status);
	const refused = answer.ok || (answer.status < 500 && answer.status !== 429 && tokens.error); // RFC 6749 §5.2, whatever the status; the rest may pass
	throw refused ? new SignedOutError(why) : new Error(why);
}

// Read, not verified: it came from the token endpoint itself (OpenID Connect Core 1.0 §3.1.3.7, 6).
function claimsOf(token: string): { nonce?: string } {
	return JSON.parse(atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/')));
}

function sessionOf(config: Config, metadata: Metadata, tokens: Tokens): Session {
	const { refresh_token } = tokens;
	const renew = async () => {
		const fresh = await ask(config, metadata, { grant_type: 'refresh_token', refresh_token: refresh_token ?? '' });
		return sessionOf(config, metadata, { refresh_token, ...fresh });
	};
	return {
		token: tokens.access_token,
		expiresAt: tokens.expires_in ? Date.now() + 1000 * tokens.expires_in : null,
		renew: refresh_token ? renew : null,
	};
}
