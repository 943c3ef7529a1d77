// examples.mjs - the vehicle of docs/examples/vehicle.c, built for this file and run against its broker.
import { join } from 'node:path';
import { atEnd, Child, folder, isSanitized, run } from './children.mjs';
import { root } from './pages.mjs';

const program = join(folder, 'vehicle');
let built;

// Resolves when it runs, not when it is connected.
export async function startExample(broker, id, ...more) {
	built ??= run('cc', ['-Wall', '-Werror', ...(isSanitized ? ['-g', '-fsanitize=address,undefined'] : []), '-o', program, join(root, 'docs/examples/vehicle.c'), '-lmosquitto', '-ljansson']);
	await built;
	const child = new Child(`example-${id}`, program, [id, broker.password, '127.0.0.1', String(broker.port), ...more]);
	atEnd(() => child.kill());
	return child;
}
