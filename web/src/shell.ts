// shell.ts - what the console shows, as a command for a terminal. Texts come from vehicles and other people: whatever is not
// plainly harmless is quoted, and what no quoting makes plain (control characters) is left to curl, whose JSON escapes it.
import type { Json, JsonObject, VehicleEvent } from '../client/index';

// POSIX shell: within single quotes nothing means anything, but the quote itself.
export const quote = (text: string): string => (/^[A-Za-z0-9@%+=:,./_-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);

// JSON with nothing in it but printable ASCII.
const ascii = (value: unknown): string => JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

const isPrintable = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

const authorized = '-H "Authorization: Bearer $KEYFOB_TOKEN"';
const urlOf = (base: string, vehicleId: string, rest: string): string => quote(`${base}/v1/vehicles/${encodeURIComponent(vehicleId)}${rest}`);

// Sends the same command again, or reads the event from the log. null: what was sealed is its
// sender's alone to say.
export function asCurl(base: string, event: VehicleEvent): string | null {
	if (event.type !== 'command.updated') return `curl ${authorized} ${urlOf(base, event.vehicle_id, `/events?after=${event.seq - 1}&limit=1`)}`;
	const { name, params, sealed_params } = event.data;
	if (sealed_params !== undefined) return null;
	const body = ascii({ name, params: params ?? undefined });
	return `curl ${authorized} -H 'Content-Type: application/json' -d ${quote(body)} ${urlOf(base, event.vehicle_id, '/commands')}`;
}

const isJson = (text: string): boolean => {
	try {
		JSON.parse(text);
		return true;
	} catch {
		return false;
	}
};

// As `keyfob send` reads it (gateway/cli/params.c): JSON where it is a scalar, else a text. null: it reads no such value.
function wordOf(value: Json): string | null {
	if (typeof value === 'object') return null;
	return typeof value === 'string' && !isJson(value) ? value : JSON.stringify(value);
}

// null: it cannot be said so.
export function asKeyfob(event: VehicleEvent): string | null {
	if (event.type !== 'command.updated') return `keyfob watch ${quote(event.vehicle_id)}`;
	const { name, params, sealed_params } = event.data;
	const given = Object.entries((params ?? {}) as JsonObject).map(([key, value]) => [key, wordOf(value)]);
	if (sealed_params !== undefined || given.some(([, word]) => word === null)) return null;
	const words = given.map((pair) => pair.join('='));
	return words.every(isPrintable) ? ['keyfob', 'send', event.vehicle_id, name, ...words].map(quote).join(' ') : null;
}
