// browser.mjs - the console in a real browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createSite } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { atEnd } from './children.mjs';

export const webRoot = fileURLToPath(new URL('../../build/web', import.meta.url));
const PATIENCE_MS = 60_000;

// Chromium's own sandbox wants another user than root.
const launched = chromium.launch({ executablePath: '/usr/bin/chromium-headless-shell', args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
atEnd(async () => (await launched).close());

// What no page may ever do: throw, or want what the policy forbids. A page that is offline says so too, and may.
const wrong = [];
const mayBeSaid = /net::ERR_|WebSocket connection to|Failed to load resource/;
atEnd(async () => assert.deepEqual(wrong, []));

function listen(page) {
	page.on('pageerror', (error) => wrong.push(error.stack));
	page.on('dialog', (dialog) => wrong.push(`a dialog: ${dialog.message()}`) && dialog.dismiss());
	page.on('console', (message) => message.type() === 'error' && !mayBeSaid.test(message.text()) && wrong.push(message.text()));
}

// One context for all pages: a console keeps nothing in it, and what it loads is loaded once. Where cookies are a part of the
// story, `alone` makes another.
let shared;

async function newContext() {
	const context = await (await launched).newContext({ viewport: { width: 1280, height: 800 }, permissions: ['clipboard-read', 'clipboard-write'] });
	context.setDefaultTimeout(PATIENCE_MS);
	return context;
}

// A page until the test `t` ends: whoever stays open follows, and draws, what all the others do.
export async function openPage(t, { colorScheme = 'light', alone = false } = {}) {
	const context = await (alone ? newContext() : (shared ??= newContext()));
	const page = await context.newPage();
	t.after(() => (alone ? context.close() : page.close()));
	listen(page);
	await page.emulateMedia({ colorScheme });
	return page;
}

// Signed in by the address, and online.
export async function openConsole(t, url, token, { path = '/fleet', ...options } = {}) {
	const page = await openPage(t, options);
	await page.goto(`${url}${path}#token=${token}`);
	await page.locator('.link.online').waitFor();
	return page;
}

// What the page's main thread has done meanwhile, in ms of processor time: others on the machine do not count.
export async function workOf(page) {
	const session = await page.context().newCDPSession(page);
	await session.send('Performance.enable');
	const now = async () => {
		const { metrics } = await session.send('Performance.getMetrics');
		return metrics.find(({ name }) => name === 'ThreadTime').value * 1000;
	};
	let before = await now();
	return async () => {
		const at = await now();
		const work = at - before;
		before = at;
		return work;
	};
}

export async function sendFrom(page, title) {
	await page.locator('.choices').getByRole('button', { name: title, exact: true }).click();
	await page.getByRole('button', { name: 'Send', exact: true }).click();
}

// The console's files from another origin, as a CDN serves them, towards `api`.
export async function startSite(port, api) {
	const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
	const policy = `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ${api} ${api.replace('http', 'ws')}`;
	const settings = JSON.stringify({ api, issuer: null, client_id: 'keyfob-console', scope: '', parameters: {}, development: true });
	const site = createSite(({ url }, response) => {
		const { pathname } = new URL(url, api);
		const name = extname(pathname) ? pathname : '/index.html'; // the console's own paths
		const body = name === '/config.json' ? settings : readFileSync(join(webRoot, name));
		response.writeHead(200, { 'Content-Type': types[extname(name)] ?? 'application/json', 'Content-Security-Policy': policy }).end(body);
	}).listen(port, '127.0.0.1');
	await once(site, 'listening');
	atEnd(async () => site.close());
	return `http://127.0.0.1:${port}`;
}
