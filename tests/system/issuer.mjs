// issuer.mjs - an OpenID Connect issuer that we did not write: the npm package oidc-provider, with one public client.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';
import { atEnd, freePort } from './children.mjs';

// `lifetime`: of its access tokens, in seconds. `granted` collects the grant types that its token endpoint was asked by.
export async function startIssuer({ clientId, redirectUri, resource, audience, lifetime }) {
	const port = await freePort();
	const url = `http://127.0.0.1:${port}`;
	const { privateKey } = await generateKeyPair('RS256', { extractable: true });
	const provider = new Provider(url, {
		clients: [{ client_id: clientId, token_endpoint_auth_method: 'none', redirect_uris: [redirectUri], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] }],
		jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'issuer-1', alg: 'RS256', use: 'sig' }] },
		cookies: { keys: ['a key of this test alone'] },
		clientBasedCORS: () => true,
		pkce: { required: () => true },
		issueRefreshToken: async () => true,
		ttl: { AccessToken: lifetime },
		features: {
			resourceIndicators: {
				enabled: true,
				useGrantedResource: async () => true,
				getResourceServerInfo: async () => ({ scope: 'vehicles:read commands:write keyfob:admin', audience, accessTokenFormat: 'jwt', accessTokenTTL: lifetime }),
			},
		},
	});
	const granted = [];
	provider.on('grant.success', ({ oidc }) => granted.push(oidc.params.grant_type));
	const server = createServer(provider.callback()).listen(port, '127.0.0.1');
	await once(server, 'listening');
	atEnd(async () => server.close() && server.closeAllConnections());
	return { url, resource, granted };
}
