// vite.config.js - builds the console into build/web: hashed files, each with its compressed twins beside it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';
import { referenceFiles, referencePage } from './reference.js';

const outDir = '../build/web';

// What the gateway sends to whoever accepts it.
function precompress() {
	return {
		name: 'precompress',
		closeBundle() {
			for (const entry of readdirSync(outDir, { recursive: true })) {
				if (!/\.(html|js|css|svg)$/.test(entry)) continue;
				const bytes = readFileSync(join(outDir, entry));
				writeFileSync(join(outDir, `${entry}.br`), brotliCompressSync(bytes));
				writeFileSync(join(outDir, `${entry}.gz`), gzipSync(bytes, { level: 9 }));
			}
		},
	};
}

// /reference.html: the API to read.
function reference() {
	return {
		name: 'reference',
		buildStart() {
			for (const file of referenceFiles) this.addWatchFile(file);
		},
		generateBundle() {
			const style = this.emitFile({ type: 'asset', name: 'reference.css', source: readFileSync('reference.css', 'utf8') });
			this.emitFile({ type: 'asset', fileName: 'reference.html', source: referencePage(`/${this.getFileName(style)}`) });
		},
	};
}

export default defineConfig({
	plugins: [reference(), precompress()],
	esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
	build: {
		outDir,
		emptyOutDir: true,
		target: 'es2022',
		assetsInlineLimit: 0, // nothing inline: the policy allows it not
		modulePreload: { polyfill: false },
		reportCompressedSize: false,
	},
	server: { proxy: { '/v1': { target: 'http://127.0.0.1:8080', ws: true }, '/config.json': 'http://127.0.0.1:8080' } },
});
