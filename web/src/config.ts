// config.ts - what /config.json says: where the gateway is, and how people sign in.

export interface Config {
	api: string; // the gateway's origin; "": the page's own
	issuer: string | null; // OpenID Connect
	client_id: string;
	scope: string;
	parameters: Record<string, string>; // besides, in the requests to the issuer
	development: boolean; // a token may stand in the address
}

export async function readConfig(): Promise<Config> {
	const answer = await fetch('/config.json', { cache: 'no-store' });
	if (!answer.ok) throw new Error(`/config.json: ${answer.status}`);
	return answer.json();
}

export function socketUrl(config: Config): string {
	const url = new URL('/v1/ws', config.api || location.origin);
	url.protocol = url.protocol.replace('http', 'ws');
	return url.href;
}
