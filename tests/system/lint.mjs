// lint.mjs - docs/openapi.yaml and docs/asyncapi.yaml by the tools of their makers; prints what they find and ends with 1.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Parser } from '@asyncapi/parser';
import { createConfig, lint } from '@redocly/openapi-core';

const file = (name) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));

async function openapiFindings(name) {
	const rules = {
		'info-license': 'off',
		'no-unused-components': 'off', // descriptions.test.mjs looks at both files
		'operation-2xx-response': 'off', // a WebSocket's is 101
		'operation-4xx-response': 'off', // the admin listener knows none
	};
	const config = await createConfig({ extends: ['recommended-strict'], rules });
	return (await lint({ ref: file(name), config })).map(({ location, ruleId, message }) => `${name}${location[0].pointer}: ${message} (${ruleId})`);
}

async function asyncapiFindings(name) {
	const parser = new Parser({ ruleset: { core: true, recommended: true } });
	const { diagnostics } = await parser.parse(readFileSync(file(name), 'utf8'), { source: file(name) });
	return diagnostics
		.filter(({ code }) => code !== 'asyncapi-latest-version')
		.map(({ path, code, message }) => `${name}#/${path.join('/')}: ${message} (${code})`);
}

const findings = [...(await openapiFindings('openapi.yaml')), ...(await asyncapiFindings('asyncapi.yaml'))];
for (const finding of findings) console.log(finding);
process.exit(findings.length > 0 ? 1 : 0);
