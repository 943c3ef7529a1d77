// package-long.test.mjs - the Debian packages: built, judged by lintian, and used from installing to purging in a Debian 12 of their own that
// systemd boots, as docs/operations.md says.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import { Child, folder, isLong, isSanitized, run } from './children.mjs';
import { blocksOf } from './pages.mjs';

const why = (!isLong && 'it takes minutes: ./dev test --long package') || (isSanitized && 'packages are built one way') || (process.getuid() !== 0 && 'a root of its own is for root to make');
const sources = fileURLToPath(new URL('../..', import.meta.url));
const bare = join(sources, '.keyfob/bookworm-systemd'); // made once
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

// With what every such machine has, or what the packages are for. From where this machine's apt has its packages.
const ground = ['systemd-sysv', 'dbus', 'sudo', 'man-db', 'curl', 'postgresql-15', 'mosquitto'];
async function bareRoot() {
	if (existsSync(bare)) return;
	const sites = await run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Identifier: Packages']);
	const mirror = sites.split('\n').find((line) => /^http\S+ (bookworm|oldstable|stable)$/.test(line))?.split(' ')[0];
	await run('debootstrap', ['--variant=minbase', `--include=${ground}`, 'bookworm', `${bare}.new`, ...(mirror ? [mirror] : [])]);
	renameSync(`${bare}.new`, bare);
}

// in-root, below a systemd with processes, network, and users of its own. With the exit code of the unit it ends.
const unit = `[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=exec
ExecStart=/bin/bash -c 'exec /in-root life >/in-root.log 2>&1'
[Install]
WantedBy=multi-user.target
`;

// What it leaves of itself in /run where that is on a disk is its own mistake: it is given one in memory.
function boot() {
	const nspawn = ['systemd-nspawn', '--quiet', '--register=no', '--keep-unit', '--private-network', '--resolv-conf=off', '--timezone=off', '--machine=keyfob', '--console=read-only', '--boot', `--directory=${root}`];
	return new Child('boot', 'unshare', ['--mount', '--', 'sh', '-c', 'mount -t tmpfs tmpfs /run && exec "$@"', 'sh', ...nspawn]);
}

test('the packages install, serve, stand still and come back, upgrade and go without a trace', { skip: why, timeout: 3_600_000 }, async () => {
	const old = await packages('old');
	assert.deepEqual(old.map((file) => file.replace(/.*\/|_.*/g, '')).sort(), ['keyfob', 'mosquitto-keyfob']);
	assert.equal(await run('lintian', ['--allow-root', '--fail-on', 'error,warning', ...old]), '');
	await packages('new', '-D', 'CPACK_PACKAGE_VERSION=99.0');
	await bareRoot();
	await run('cp', ['-a', bare, root]);
	for (const name of ['old', 'new']) cpSync(join(folder, name), join(root, 'packages', name), { recursive: true });
	mkdirSync(join(root, 'steps'));
	for (const { word, text } of blocksOf('docs/operations.md').filter(({ word }) => word)) writeFileSync(join(root, 'steps', word), text);
	copyFileSync(join(sources, 'tests/package/in-root'), join(root, 'in-root'));
	rmSync(join(root, 'etc/apt/sources.list'));
	cpSync('/etc/apt', join(root, 'etc/apt'), { recursive: true });
	copyFileSync('/etc/resolv.conf', join(root, 'etc/resolv.conf'));
	await run('unshare', ['--mount', '--pid', '--fork', '--kill-child', `--mount-proc=${root}/proc`, 'chroot', root, '/in-root', 'ground']);

	writeFileSync(join(root, 'etc/systemd/system/in-root.service'), unit);
	symlinkSync('../in-root.service', join(root, 'etc/systemd/system/multi-user.target.wants/in-root.service'));
	const machine = boot();
	machine.isExpectedToEnd = true;
	const { code } = await machine.exited;
	const log = join(folder, 'in-root.log');
	copyFileSync(join(root, 'in-root.log'), log);
	if (existsSync(join(root, 'root/journal.log'))) copyFileSync(join(root, 'root/journal.log'), join(folder, 'journal.log'));
	const said = readFileSync(log, 'utf8');
	assert.equal(code, 0, `see ${log}:\n${said.split('\n').slice(-40).join('\n')}`);
	assert.match(said, /\n99\.0\n99\.0\n/);
	assert.match(said, /\n== over\n$/);
});
