// tokens.mjs - an issuer of its own for each test file: a key, its JWKS in a file, and bearer tokens.
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { folder } from './children.mjs';

export const issuer = 'https://issuer.test';
export const audience = 'keyfob';
export const jwksFile = join(folder, 'jwks.json');
export const secrets = new Set(); // no log may ever hold one of these

const alg = 'ES256';
const kid = 'test-1';
const leeway = 30;
const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
writeFileSync(jwksFile, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }] }));

// `claims` and `header` override; times in `expiresIn` are seconds from now and may be negative.
export async function token({ sub = 'admin', scope = 'vehicles:read commands:write', expiresIn = 3600, claims = {}, header = {}, key = privateKey } = {}) {
	const now = Math.floor(Date.now() / 1000);
	const payload = { iss: issuer, aud: audience, sub, scope, iat: now, exp: now + expiresIn, ...claims };
	const crit = Object.fromEntries((header.crit ?? []).map((name) => [name, true]));
	const text = await new SignJWT(payload).setProtectedHeader({ alg, kid, typ: 'JWT', ...header }).sign(key, { crit });
	secrets.add(text);
	return text;
}

export function adminToken(sub = 'admin') {
	return token({ sub, scope: 'vehicles:read commands:write keyfob:admin' });
}

// A token that looks right and is signed by somebody else.
export async function forgedToken(options = {}) {
	return token({ ...options, key: (await generateKeyPair(alg)).privateKey });
}

// Both signed by the issuer: what no head of a request, and no message, has room for; and what counts though its time is yet to come.
export const hugeToken = (sub) => token({ sub, claims: { filler: 'x'.repeat(48 * 1024) } });
export const earlyToken = (sub) => token({ sub, claims: { nbf: Math.floor(Date.now() / 1000) + leeway - 5 } });

// What attackers of other verifiers got by with: { what: token }.
export async function attackersTokens(sub) {
	const stranger = await generateKeyPair(alg, { extractable: true });
	const theirs = { kid: 'theirs', jwk: await exportJWK(stranger.publicKey) };
	const now = Math.floor(Date.now() / 1000);
	const [head, claims, signature] = (await token({ sub })).split('.');
	const encoded = (header) => Buffer.from(JSON.stringify(header)).toString('base64url');
	const hashed = (secret, text = `${encoded({ alg: 'HS256', kid, typ: 'JWT' })}.${claims}`) => `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
	const pem = await exportSPKI(publicKey);
	return {
		'signed by a stranger': await forgedToken({ sub }),
		'alg none': `${encoded({ alg: 'none', typ: 'JWT' })}.${claims}.`,
		'alg None, with a signature': `${encoded({ alg: 'None', kid, typ: 'JWT' })}.${claims}.${signature}`,
		'HS256 with the public key': hashed(pem),
		'HS256 with the public key in one line': hashed(pem.trim()),
		'HS256 with the key set': hashed(JSON.stringify(await exportJWK(publicKey))),
		"a stranger's key in its head": await token({ sub, header: theirs, key: stranger.privateKey }),
		"a stranger's key under our name": await token({ sub, header: { jwk: theirs.jwk }, key: stranger.privateKey }),
		"where a stranger's keys are": await token({ sub, header: { kid: 'theirs', jku: 'http://127.0.0.1:9/keys', x5u: 'http://127.0.0.1:9/' }, key: stranger.privateKey }),
		'an extension that must be understood': await token({ sub, header: { crit: ['exp2'], exp2: 1 } }),
		'another kind of token': await token({ sub, header: { typ: 'logout+jwt' } }),
		'expired, with the leeway': await token({ sub, expiresIn: -31 }),
		'not valid yet, with the leeway': await token({ sub, claims: { nbf: now + leeway + 60 } }),
		'for another audience': await token({ sub, claims: { aud: 'elsewhere' } }),
		'of another issuer': await token({ sub, claims: { iss: 'https://elsewhere.test' } }),
		'longer than 8 KiB': await token({ sub, claims: { filler: 'x'.repeat(7000) } }),
		'no signature': `${head}.${claims}.`,
		"another's claims": `${head}.${Buffer.from(JSON.stringify({ iss: issuer, aud: audience, sub: 'root', scope: 'keyfob:admin', exp: 4e9 })).toString('base64url')}.${signature}`,
	};
}
