// reference.js - docs/openapi.yaml and docs/asyncapi.yaml as one page to read: no script, nothing from elsewhere.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { load } from 'js-yaml';

const read = (name) => load(readFileSync(fileURLToPath(new URL(`../docs/${name}`, import.meta.url)), 'utf8'));
const openapi = read('openapi.yaml');
const asyncapi = read('asyncapi.yaml');

function follow(value, from = openapi) {
	if (!value?.$ref) return value;
	const [file, pointer] = value.$ref.split('#');
	const root = file ? openapi : from;
	return follow(
		pointer
			.slice(1)
			.split('/')
			.reduce((at, part) => at[part.replaceAll('~1', '/').replaceAll('~0', '~')], root),
		root,
	);
}

// ---- text

const escaped = (text) => String(text).replace(/[&<>"]/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[character]);
const code = (text) => `<code>${escaped(text)}</code>`;
const inline = (text) =>
	escaped(text)
		.replace(/`([^`]+)`/g, '<code>$1</code>')
		.replace(/\*\*([^*]+)\*\*/g, '<strong>$1</strong>');
const rowsOf = (lines) => lines.map((line) => line.split('|').slice(1, -1));
const cells = (row) => `<tr>${row.map((cell) => `<td>${inline(cell.trim())}</td>`).join('')}</tr>`;

// What the descriptions use of Markdown: paragraphs and tables.
function prose(text = '') {
	const block = (lines) => (lines[0].startsWith('|') ? table([], rowsOf(lines.slice(2)).map(cells)) : `<p>${inline(lines.join(' '))}</p>`);
	return text
		.trim()
		.split(/\n\n+/)
		.filter(Boolean)
		.map((paragraph) => block(paragraph.split('\n')))
		.join('');
}

const table = (heads, rows) =>
	rows.length === 0 ? '' : `<table>${heads.length ? `<tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr>` : ''}${rows.join('')}</table>`;
const example = (value) => `<pre tabindex="0">${escaped(typeof value === 'string' ? value : JSON.stringify(value, null, 2))}</pre>`;

// ---- schemas

const nameOf = ({ $ref }) => $ref.split('/').pop();

function limits(schema) {
	const words = [];
	if (schema.minimum !== undefined) words.push(`from ${schema.minimum}`);
	if (schema.maximum !== undefined) words.push(`to ${schema.maximum}`);
	if (schema.maxLength !== undefined) words.push(`at most ${schema.maxLength} characters`);
	if (schema.default !== undefined) words.push(`default ${schema.default}`);
	if (schema.pattern) words.push(code(schema.pattern));
	return words.length ? ` <small>${words.join(', ')}</small>` : '';
}

// In a few words; an object that has no name comes as a table.
function type(schema) {
	if (schema.$ref) return `<a href="#schema-${nameOf(schema)}">${nameOf(schema)}</a>`;
	if (schema.const !== undefined) return code(JSON.stringify(schema.const));
	if (schema.enum) return schema.enum.map((value) => code(value)).join(' ');
	if (schema.oneOf) return schema.oneOf.map(type).join(' or ');
	if (schema.allOf && !schema.properties) return schema.allOf.map(type).join(' and ');
	if (schema.items) return `list of ${type(schema.items)}${limits(schema)}`;
	if (schema.properties) return fields(schema);
	if (typeof schema.additionalProperties === 'object') return `object of ${type(schema.additionalProperties)}`;
	return `${[schema.type ?? 'anything'].flat().join(' or ')}${limits(schema)}`;
}

function fields(schema) {
	const needed = new Set(schema.required ?? []);
	const rows = Object.entries(schema.properties ?? {}).map(
		([name, of]) =>
			`<tr><td>${code(name)}${needed.has(name) ? '' : ' <small>optional</small>'}</td><td>${type(of)}</td><td>${inline(of.description ?? '')}</td></tr>`,
	);
	const base = (schema.allOf ?? []).map((of) => `<p>All of ${type(of)}</p>`).join('');
	return base + table([], rows);
}

const isTable = (schema) => schema.properties || schema.oneOf?.some((one) => one.properties);

function schemaSection([name, schema]) {
	const body = isTable(schema)
		? (schema.oneOf ?? [schema]).map((one) => prose(one === schema ? '' : one.description) + type(one)).join('')
		: `<p>${type(schema)}</p>`;
	return `<section id="schema-${name}"><h3>${name}</h3>${prose(schema.description)}${body}</section>`;
}

// ---- REST

function media(content = {}) {
	return Object.entries(content)
		.map(([kind, { schema, examples }]) => {
			const shown = Object.values(examples ?? {}).map(
				(one) => (follow(one).summary ? `<p>${inline(follow(one).summary)}</p>` : '') + example(follow(one).value),
			);
			return `<p>${code(kind)} ${type(schema)}</p>${shown.join('')}`;
		})
		.join('');
}

function parameterRow(parameter) {
	const { name, in: place, required, schema, description = '' } = follow(parameter);
	return `<tr><td>${code(name)} <small>${place}${required ? '' : ', optional'}</small></td><td>${type(schema)}</td><td>${inline(description)}</td></tr>`;
}

function headerRow([name, header]) {
	const { schema, description = '' } = follow(header);
	return `<tr><td>${code(name)}</td><td>${type(schema)}</td><td>${inline(description)}</td></tr>`;
}

function problems(content) {
	const shown = content?.['application/problem+json']?.examples;
	return (
		shown &&
		Object.keys(shown)
			.map((name) => `<a href="#problem-${name}">${name}</a>`)
			.join(' ')
	);
}

function answer([status, described]) {
	const { description, headers = {}, content } = follow(described);
	const named = problems(content);
	if (named) return `<p><b>${status}</b> ${inline(description)} ${named}</p>`;
	return `<h4>${status}</h4>${prose(description)}${table([], Object.entries(headers).map(headerRow))}${media(content)}`;
}

function scopes(security = []) {
	const named = security.map(({ token }) => token && (token.length ? token.map(code).join(' ') : 'any token'));
	return `<p>${named.every((one) => !one) ? 'No token.' : `Token: ${named.map((one) => one ?? 'none').join(' or ')}`}</p>`;
}

function operationSection(path, method, item) {
	const { operationId, summary, description, security, parameters = [], requestBody, responses } = item[method];
	const all = [...(item.parameters ?? []), ...parameters];
	const body = requestBody ? `<h4>Body</h4>${prose(requestBody.description)}${media(requestBody.content)}` : '';
	return `<details id="${operationId}"><summary><b class="${method}">${method.toUpperCase()}</b> <code>${escaped(path)}</code> ${inline(summary)}</summary>
${prose(description)}${scopes(security)}${table([], all.map(parameterRow))}${body}${Object.entries(responses).map(answer).join('')}</details>`;
}

function tagSection({ name, description }) {
	const sections = Object.entries(openapi.paths).flatMap(([path, item]) =>
		['get', 'put', 'post', 'patch', 'delete'].filter((method) => item[method]?.tags.includes(name)).map((method) => operationSection(path, method, item)),
	);
	return `<section id="tag-${name.replaceAll(' ', '-')}"><h2>${name}</h2>${prose(description)}${sections.join('')}</section>`;
}

function problemSection() {
	const names = new Set(Object.values(openapi.components.responses).flatMap(({ content }) => Object.keys(content['application/problem+json'].examples)));
	const rows = [...names].map((name) => {
		const { status, title, retriable, may_have_executed } = openapi.components.examples[name].value;
		const said = [retriable && 'may be tried again', may_have_executed && 'may have had its effect'].filter(Boolean).join(', ');
		return `<tr id="problem-${name}"><td>${status}</td><td>${code(name)}</td><td>${inline(title)}</td><td>${said}</td></tr>`;
	});
	return `<section id="problems"><h2>Problems</h2>${table(['status', 'name', 'what', ''], rows)}</section>`;
}

// ---- WebSocket and MQTT

function messageBlock(reference) {
	const { name, summary, payload, examples } = follow(follow(reference, asyncapi), asyncapi);
	return `<h4>${escaped(name)}</h4>${prose(summary)}<p>${type(payload)}</p>${examples.map((one) => example(one.payload)).join('')}`;
}

function messageSection([name, { action, channel, summary, description, messages, reply }]) {
	const { address, description: ofChannel } = follow(channel, asyncapi);
	const isSocket = channel.$ref.endsWith('/websocket');
	const place = isSocket ? code(name) : `<b>${action === 'send' ? 'to' : 'from'}</b> ${code(address)}`;
	const answers = (reply?.messages ?? []).filter(({ $ref }) => !$ref.endsWith('/error'));
	return `<details id="async-${name}"><summary>${place} ${inline(summary)}</summary>${prose(description)}${isSocket ? '' : prose(ofChannel)}${[...messages, ...answers].map(messageBlock).join('')}</details>`;
}

function asyncSections() {
	const all = Object.entries(asyncapi.operations);
	const isSocket = ([, { channel }]) => channel.$ref.endsWith('/websocket');
	const { description } = asyncapi.channels.websocket;
	return `<section id="json-rpc"><h2>WebSocket</h2>${prose(description)}${all.filter(isSocket).map(messageSection).join('')}</section>
<section id="mqtt"><h2>MQTT</h2>${prose(asyncapi.servers.broker.description)}${all
		.filter((one) => !isSocket(one))
		.map(messageSection)
		.join('')}</section>`;
}

// ---- the page

const links = [
	...openapi.tags.map(({ name }) => [`tag-${name.replaceAll(' ', '-')}`, name]),
	['json-rpc', 'WebSocket'],
	['mqtt', 'MQTT'],
	['problems', 'Problems'],
	['schemas', 'Schemas'],
];

export const referenceFiles = ['openapi.yaml', 'asyncapi.yaml'].map((name) => fileURLToPath(new URL(`../docs/${name}`, import.meta.url)));

export function referencePage(stylesheet) {
	const { title, version, description } = openapi.info;
	const schemas = Object.entries({ ...openapi.components.schemas, ...asyncapi.components.schemas }).map(schemaSection);
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} ${version}: reference</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="${stylesheet}">
</head>
<body>
<nav aria-label="Contents"><b>${title} ${version}</b>${links.map(([id, name]) => `<a href="#${id}">${name}</a>`).join('')}<a href="/v1/openapi.json">openapi.json</a></nav>
<main><h1>Reference</h1>${prose(description)}
${openapi.tags.map(tagSection).join('\n')}
${asyncSections()}
${problemSection()}
<section id="schemas"><h2>Schemas</h2>${schemas.join('\n')}</section>
</main>
</body>
</html>
`;
}
