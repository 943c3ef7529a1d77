// tokens.mjs - an issuer of its own for each test file: a key, its JWKS in a file, and bearer tokens.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { folder } from './children.mjs';

export const issuer = 'https://issuer.test';
export const audience = 'keyfob';
export const jwksFile = join(folder, 'jwks.json');
export const secrets = new Set(); // no log may ever hold one of these

const alg = 'ES256';
const kid = 'test-1';
const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
writeFileSync(jwksFile, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }] }));

// `claims` overrides; times in `expiresIn` are seconds from now and may be negative.
export async function token({ sub = 'admin', scope = 'vehicles:read commands:write', expiresIn = 3600, claims = {}, key = privateKey } = {}) {
	const now = Math.floor(Date.now() / 1000);
	const payload = { iss: issuer, aud: audience, sub, scope, iat: now, exp: now + expiresIn, ...claims };
	const text = await new SignJWT(payload).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(key);
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
