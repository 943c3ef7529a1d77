// package.test.mjs - the Debian packages: built, judged by lintian, and used in a bare Debian 12 from installing to purging.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import { folder, isLong, isSanitized, run } from './children.mjs';

const why = (!isLong && 'it takes minutes: ./dev test --long package') || (isSanitized && 'packages are built one way') || (process.getuid() !== 0 && 'a root of its own is for root to make');
const sources = fileURLToPath(new URL('../..', import.meta.url));
const bare = join(sources, '.keyfob/bookworm'); // made once
const root = join(folder, 'root');
after(() => rmSync(root, { recursive: true, force: true }));

// The packages of a version, in a folder of their own.
async function packages(name, ...options) {
	const made = join(sources, 'build/package');
	const kept = join(folder, name);
	if (existsSync(made)) for (const file of readdirSync(made)) if (file.endsWith('.deb')) rmSync(join(made, file));
	await run(join(sources, 'dev'), ['package', ...options]);
	mkdirSync(kept, { recursive: true });
	for (const file of readdirSync(made)) if (file.endsWith('.deb')) copyFileSync(join(made, file), join(kept, file));
	return readdirSync(kept).map((file) => join(kept, file));
}

// Where this machine's apt has its packages from.
async function bareRoot() {
	if (existsSync(bare)) return;
	const sites = await run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Identifier: Packages']);
	const mirror = sites.split('\n').find((line) => /^http\S+ (bookworm|oldstable|stable)$/.test(line))?.split(' ')[0];
	await run('debootstrap', ['--variant=minbase', 'bookworm', `${bare}.new`, ...(mirror ? [mirror] : [])]);
	renameSync(`${bare}.new`, bare);
}

test('the packages install, serve, upgrade and go without a trace', { skip: why, timeout: 3_600_000 }, async () => {
	const old = await packages('old');
	assert.deepEqual(old.map((file) => file.replace(/.*\/|_.*/g, '')).sort(), ['keyfob', 'mosquitto-keyfob']);
	assert.equal(await run('lintian', ['--allow-root', '--fail-on', 'error,warning', ...old]), '');
	await packages('new', '-D', 'CPACK_PACKAGE_VERSION=99.0');
	await bareRoot();
	await run('cp', ['-a', bare, root]);
	for (const name of ['old', 'new']) cpSync(join(folder, name), join(root, 'packages', name), { recursive: true });
	copyFileSync(join(sources, 'tests/package/in-root'), join(root, 'in-root'));
	rmSync(join(root, 'etc/apt/sources.list'));
	cpSync('/etc/apt', join(root, 'etc/apt'), { recursive: true });
	copyFileSync('/etc/resolv.conf', join(root, 'etc/resolv.conf'));
	const log = join(folder, 'in-root.log');
	const out = openSync(log, 'w');
	const child = spawn('unshare', ['--mount', '--pid', '--fork', '--kill-child', `--mount-proc=${root}/proc`, 'chroot', root, '/in-root'], { stdio: ['ignore', out, out] });
	const code = await new Promise((ended) => child.on('close', ended));
	const said = readFileSync(log, 'utf8');
	assert.equal(code, 0, `see ${log}:\n${said.split('\n').slice(-40).join('\n')}`);
	assert.match(said, /\n99\.0\n99\.0\n/);
	assert.match(said, /\n== over\n$/);
});
