// versions.mjs - an older version of the programs, built from this repository's history.
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './children.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const git = (...args) => run('git', ['-C', root, ...args]);

// What a version's migrations are, { path: hash }.
async function migrationsOf(commit) {
	const lines = await git('ls-tree', commit, 'sql/migrations/');
	return new Map(lines.split('\n').filter(Boolean).map((line) => line.split('\t').reverse()).map(([path, what]) => [path, what.split(' ')[2]]));
}

// The newest version whose migrations are the beginning of ours, none left out, and not all of them; or what KEYFOB_VERSION_BEFORE names.
// null: there is none here.
export async function versionBefore() {
	if (!existsSync(join(root, '.git'))) return null;
	if (process.env.KEYFOB_VERSION_BEFORE) return git('rev-parse', process.env.KEYFOB_VERSION_BEFORE);
	const files = readdirSync(join(root, 'sql/migrations')).sort().map((file) => `sql/migrations/${file}`);
	const hashes = (await git('hash-object', ...files)).split('\n');
	const ours = new Map(files.map((file, i) => [file, hashes[i]]));
	const changes = (await git('log', '--first-parent', '-m', '--format=%H', '--', 'sql/migrations')).split('\n').filter(Boolean);
	for (const [i, commit] of changes.entries()) {
		const theirs = await migrationsOf(commit);
		const isBeginning = theirs.size > 0 && theirs.size < ours.size && [...ours].slice(0, theirs.size).every(([file, hash]) => theirs.get(file) === hash);
		if (isBeginning) return i === 0 ? git('rev-parse', 'HEAD') : git('rev-parse', `${changes[i - 1]}^`);
	}
	return null;
}

// The folder with its bin/; made once.
export async function buildVersion(commit) {
	const folder = join(root, '.keyfob/versions', commit);
	const build = join(folder, 'build');
	if (existsSync(join(build, 'bin/keyfobd'))) return build;
	mkdirSync(folder, { recursive: true });
	const archive = `${folder}.tar`;
	mkdirSync(dirname(archive), { recursive: true });
	await git('archive', '--output', archive, commit);
	await run('tar', ['-xf', archive, '-C', folder]);
	await run('cmake', ['-S', folder, '-B', build, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=RelWithDebInfo']);
	await run('ninja', ['-C', build, 'bin/keyfobd']);
	return build;
}
