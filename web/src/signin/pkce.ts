// pkce.ts - the secrets of one sign-in: RFC 7636.

export function encode(bytes: Uint8Array): string {
	return btoa(String.fromCharCode(...bytes))
		.replace(/\+/g, '-')
		.replace(/\//g, '_')
		.replace(/=+$/, '');
}

export const randomText = (): string => encode(crypto.getRandomValues(new Uint8Array(32)));

// RFC 7636 §4.2, S256.
export async function challengeOf(verifier: string): Promise<string> {
	return encode(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))));
}
