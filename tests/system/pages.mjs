// pages.mjs - what stands in grey boxes in docs/, to be run as it stands.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

// The fenced blocks of a page: { language, word, text }. The word after the language says what becomes of it: `run` (it ends well), `stay` (it
// stays until the page is done), a file's name (it is that file); none: it is to be read.
export function blocksOf(page) {
	const text = readFileSync(`${root}${page}`, 'utf8');
	return [...text.matchAll(/^```(\w+) ?(\S*)\n([^]*?)^```$/gm)].map(([, language, word, block]) => ({ language, word, text: block }));
}

// GitHub's names for headings.
const anchorsOf = (text) =>
	[...text.replace(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
		heading
			.toLowerCase()
			.replace(/[^\p{L}\p{N} _-]/gu, '')
			.replaceAll(' ', '-'),
	);

// Links of a page to other files of the repository, and to headings: { target, anchor }.
export function linksOf(page) {
	const text = readFileSync(`${root}${page}`, 'utf8').replace(/^```[^]*?^```$/gm, '');
	return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link).filter((link) => !/^[a-z]+:/.test(link)).map((link) => {
		const [path, anchor] = link.split('#');
		return { path, anchor };
	});
}

export const hasAnchor = (file, anchor) => anchorsOf(readFileSync(file, 'utf8')).includes(anchor);
