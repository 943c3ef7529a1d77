// certificates.mjs - an authority of a test's own, and certificates by it, by openssl's command line.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { folder } from './children.mjs';

const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];

function openssl(...args) {
	execFileSync('openssl', ['req', '-x509', ...fresh, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
}

// { certificate, ca, issue(CN, file, names) }; paths, but for `ca` and what `issue` returns beside them: `options` for a client.
export function makeAuthority(name) {
	const path = join(folder, name);
	mkdirSync(path, { recursive: true });
	const certificate = join(path, 'ca.crt');
	const key = join(path, 'ca.key');
	openssl('-subj', `/CN=${name}`, '-keyout', key, '-out', certificate);
	const ca = readFileSync(certificate);
	const issue = (cn, file = cn, names = 'DNS:localhost,IP:127.0.0.1') => {
		const issued = { certificate: join(path, `${file}.crt`), key: join(path, `${file}.key`) };
		openssl(
			'-CA', certificate, '-CAkey', key, '-subj', `/CN=${cn}`, '-addext', 'basicConstraints=critical,CA:FALSE',
			'-addext', `subjectAltName=${names}`, '-keyout', issued.key, '-out', issued.certificate,
		);
		return { ...issued, options: { ca, cert: readFileSync(issued.certificate), key: readFileSync(issued.key) } };
	};
	return { certificate, ca, issue };
}
