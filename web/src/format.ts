// format.ts - times, durations and values as a person reads them.
import type { Json, JsonObject } from '../client/index';
import { texts } from './texts';

export function ago(time: string, now: number): string {
	const s = Math.max(0, Math.floor((now - Date.parse(time)) / 1000));
	if (s < 1) return texts.ago.now;
	if (s < 60) return texts.ago.seconds(s);
	if (s < 3600) return texts.ago.minutes(Math.floor(s / 60));
	if (s < 86_400) return texts.ago.hours(Math.floor(s / 3600));
	return texts.ago.days(Math.floor(s / 86_400));
}

const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const fullFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

const hourFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

export const hour = (time: number): string => hourFormat.format(new Date(time));
export const clock = (time: string | number): string => clockFormat.format(new Date(time));
export const full = (time: string): string => fullFormat.format(new Date(time));

// The time of day; with the day where it is not today's.
export function moment(time: string | number): string {
	const date = new Date(time);
	return date.toDateString() === new Date().toDateString() ? clock(time) : dayFormat.format(date);
}

export function duration(ms: number): string {
	if (ms < 10) return `${ms.toFixed(1)} ms`;
	if (ms < 1000) return `${Math.round(ms)} ms`;
	if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
	if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
	return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`;
}

export function bytes(n: number): string {
	return n < 1e9 ? `${Math.round(n / 1e6)} MB` : `${(n / 1e9).toFixed(1)} GB`;
}

export function money(amount: number, currency: string): string {
	return new Intl.NumberFormat('en', { style: 'currency', currency }).format(amount);
}

// RFC 3339 with microseconds, as milliseconds with a fraction; Date knows whole ones.
export function preciseMs(time: string): number {
	const fraction = /\.(\d+)/.exec(time)?.[1] ?? '';
	return Math.floor(Date.parse(time) / 1000) * 1000 + Number(`0.${fraction || 0}`) * 1000;
}

// One value on one line.
export function inline(value: Json | undefined): string {
	if (value === null || value === undefined) return '–';
	return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

// "door=all, count=2"
export function pairs(value: Json | undefined | null): string {
	if (typeof value !== 'object' || value === null || Array.isArray(value)) return value === null || value === undefined ? '' : inline(value);
	return Object.entries(value)
		.filter(([, v]) => v !== null)
		.map(([key, v]) => `${key}=${inline(v)}`)
		.join('  ');
}

// "doors.front.locked" → true
export function* leaves(value: JsonObject, path = ''): Generator<[string, Json]> {
	for (const [key, inner] of Object.entries(value)) {
		const name = path ? `${path}.${key}` : key;
		if (typeof inner === 'object' && inner !== null && !Array.isArray(inner) && Object.keys(inner).length > 0) yield* leaves(inner, name);
		else yield [name, inner];
	}
}
