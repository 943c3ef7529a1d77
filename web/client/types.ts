// types.ts - what the gateway says, as its contract has it.

export type Status = 'accepted' | 'waiting' | 'sent' | 'in_progress' | 'timed_out' | 'succeeded' | 'failed' | 'rejected' | 'expired' | 'canceled';

export interface Connectivity {
	state: 'connected' | 'disconnected';
	since: string | null;
	verifying?: boolean;
	unstable?: boolean;
	reason?: string | null;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Vehicle {
	vehicle_id: string;
	display_name: string | null;
	msisdn: string | null;
	iccid: string | null;
	fleet_id: string | null;
	tags: string[];
	vehicle_protocol: 'keyfob' | 'aws-commands';
	connectivity: Connectivity;
	state: { reported: JsonObject; desired: JsonObject; delta: JsonObject; reported_version: number | null; desired_version: number };
	seq: number;
	epoch: string;
	created_at: string;
	updated_at: string;
}

export interface Reason {
	code?: string;
	description?: string | null;
	by?: string | null;
}

export interface TimelineItem {
	time: string;
	step: string;
	detail?: JsonObject | null;
}

export interface Command {
	id: string;
	vehicle_id: string;
	name: string;
	params: JsonObject | null;
	sealed_params?: string; // in place of params: what only the vehicle can read
	sealed_result?: string;
	traceparent?: string;
	status: Status;
	reason: Reason | null;
	result: Json;
	late: boolean;
	may_have_executed: boolean;
	issued_by: string;
	attempts: number;
	timeout_seconds: number;
	created_at: string;
	expires_at: string;
	updated_at: string;
	sent_at: string | null;
	finished_at: string | null;
	timeline?: TimelineItem[];
}

export interface Wakeup {
	id: string;
	status: 'submitted' | 'delivered' | 'failed' | 'refused' | 'answered';
	provider: string | null;
	attempt: number;
	reason: string | null;
	created_at?: string;
	updated_at?: string;
	vehicle_id?: string; // in a fleet's list
	fleet_id?: string | null;
}

export interface Alert {
	vehicle_id: string;
	fleet_id: string | null;
	time: string;
	seq: number;
	kind: string;
	count: number;
	window_seconds: number;
	subject: string | null;
}

export interface Block {
	vehicle_id: string;
	fleet_id: string | null;
	display_name: string | null;
	blocked_at: string;
	confirmed: boolean; // the broker has taken it
}

export interface NodeItem {
	node: string;
	state: 'ready' | 'not_ready' | 'draining' | 'gone';
	checks: { database?: string; broker?: string; feeds?: string; issuers?: string; node?: string };
	version: string;
	started_at: string;
	seen_at: string;
	workers: number;
	leases: string[];
	load: { connections: number; websockets: number; subscriptions: number; commands_per_minute: number; cpu_percent: number; memory_bytes: number };
}

/** What one sends to make or change a webhook: the whole of it. */
export interface WebhookBody {
	url: string;
	description: string;
	vehicle_ids: string[];
	fleet_ids: string[]; // "*": all vehicles
	types: string[]; // none: all
	enabled: boolean;
}

export interface Webhook extends WebhookBody {
	id: string;
	subject: string;
	disabled_at: string | null;
	disabled_reason: 'paused' | 'gone' | 'exhausted' | null;
	held_until: string | null; // its server asked not to be called before
	old_secret_until: string | null;
	created_at: string;
	updated_at: string;
}

/** The one time that the secret is told. */
export interface WebhookMade extends Webhook {
	secret: string;
}

export interface Delivery {
	id: string;
	webhook_id: string;
	vehicle_id: string;
	seq: number;
	type: string;
	event_time: string;
	status: 'pending' | 'delivered' | 'failed' | 'dropped';
	attempts: number;
	response_status: number | null;
	error: string | null;
	last_attempt_at: string | null;
	next_attempt_at: string | null;
	finished_at: string | null;
	event?: JsonObject | null; // of one alone: what is sent; null: it may not be seen any more
}

export interface StageStats {
	stage: 'delivered' | 'answered' | 'whole';
	count: number;
	p50_ms: number;
	p95_ms: number;
	p99_ms: number;
}

export interface WakeupStats {
	provider: string | null;
	submitted: number;
	delivered: number;
	answered: number;
	failed: number;
	refused: number;
	cost: number | null; // null: the node knows no price
}

export interface StatsPoint {
	time: string;
	accepted: number;
	succeeded: number;
	unsuccessful: number;
	wakeups: number;
	p50_ms: number | null;
	p95_ms: number | null;
	p99_ms: number | null;
}

export interface Stats {
	from: string;
	counted_until: string;
	step_seconds: number;
	commands: { [status: string]: number };
	stages: StageStats[];
	wakeups: WakeupStats[];
	currency: string;
	points: StatsPoint[];
}

export interface AccessChange {
	subject: string;
	role: string | null; // null: it has ended
	expires_at: string | null;
}

interface EventOf<Type extends string, Data> {
	vehicle_id: string;
	seq: number;
	type: Type;
	time: string;
	data: Data;
}

/** Something happened too often. */
export interface SecurityAlert {
	kind: string;
	count: number;
	window_seconds: number;
	subject?: string;
}

/** There may be more in time: what you do not know, leave. */
export type VehicleEvent =
	| EventOf<'command.updated', Command>
	| EventOf<'connectivity.changed', Connectivity>
	| EventOf<'state.reported', { patch: JsonObject; version: number | null }>
	| EventOf<'state.desired', { patch: JsonObject; version: number }>
	| EventOf<'wakeup.updated', Wakeup>
	| EventOf<'notice.published', { name: string; expires_at: string | null }>
	| EventOf<'notice.withdrawn', { name: string }>
	| EventOf<'access.changed', AccessChange>
	| EventOf<'security.alert', SecurityAlert>
	| EventOf<'vehicle.moved', { fleet_id: string | null }>
	| EventOf<'webhook.disabled', { webhook_id: string; subject: string; reason: 'gone' | 'exhausted' }>
	| EventOf<'vehicle.blocked' | 'vehicle.unblocked' | 'vehicle.retired' | 'skipped', Record<string, never>>;

interface FleetEventOf<Type extends string, Data> {
	fleet_id: string;
	vehicle_id?: undefined;
	seq?: undefined;
	type: Type;
	time: string;
	data: Data;
}

/** Of a fleet itself: a grant was made, changed or ended, or something was tried too often. It is in no log. */
export type FleetEvent = FleetEventOf<'access.changed', AccessChange> | FleetEventOf<'security.alert', SecurityAlert>;

/** The right to follow a vehicle is over, and with it the subscription. It is in no log. */
export interface SubscriptionEnd {
	vehicle_id: string;
	seq?: undefined;
	type: 'access.changed';
	time: string;
	data: AccessChange;
}

export type AnyEvent = VehicleEvent | FleetEvent | SubscriptionEnd;

export interface Grant {
	subject: string;
	role: string;
	expires_at: string | null;
	granted_by: string | null;
	created_at: string;
}

export interface AuditItem {
	id: number;
	time: string;
	subject: string;
	action: string;
	allowed: boolean;
	detail: JsonObject | null;
}

export interface Fleet {
	fleet_id: string;
	title: string | null;
}

export interface Me {
	subject: string;
	scopes: string[];
	grants: { vehicle_id?: string; fleet_id?: string; role: string; expires_at: string | null }[];
}

/** What is needed of a WebSocket: the browser's, Node's or the package `ws`. Their events differ in all that we do not look at. */
export interface WebSocketLike {
	// biome-ignore-start lint/suspicious/noExplicitAny: see above
	onopen: ((event: any) => void) | null;
	onmessage: ((event: any) => void) | null;
	onclose: ((event: any) => void) | null;
	onerror: ((event: any) => void) | null;
	// biome-ignore-end lint/suspicious/noExplicitAny: see above
	send(text: string): void;
	close(): void;
}

// biome-ignore lint/suspicious/noExplicitAny: WebSocket classes differ in what they take besides
export type WebSocketClass = new (url: string, protocols: string[], ...more: any[]) => WebSocketLike;

/** What is needed of an AbortSignal. */
export interface Signal {
	readonly aborted: boolean;
	readonly reason: unknown;
	addEventListener(type: 'abort', listener: () => void): void;
	removeEventListener(type: 'abort', listener: () => void): void;
}

/** JSON Schema, as far as the catalogue uses it. */
export interface ParamSchema {
	type: 'string' | 'integer' | 'number' | 'boolean';
	enum?: string[];
	maxLength?: number;
	pattern?: string;
	minimum?: number;
	maximum?: number;
	default?: Json;
}

export interface CatalogCommand {
	title: string;
	role: string;
	ttl_seconds: number;
	max_ttl_seconds: number;
	timeout_seconds: number;
	wake: boolean;
	redelivery: string;
	supersedes: string[];
	step_up_seconds: number | null;
	params: { properties?: { [name: string]: ParamSchema }; required?: string[] };
}

export interface Catalog {
	commands: { [name: string]: CatalogCommand };
}

export interface Page<T> {
	items: T[];
	next_cursor: string | null;
}

/** RFC 9457, with the gateway's own members. */
export interface Problem {
	type: string;
	title: string;
	status: number;
	detail?: string;
	instance?: string;
	retriable?: boolean; // the same request may succeed later, and asking again is safe
	may_have_executed?: boolean;
	user_message?: string; // for a person
	retry_after_seconds?: number;
}

export interface Draft {
	name: string;
	params?: JsonObject;
	sealed_params?: string;
	ttl_seconds?: number;
	timeout_seconds?: number;
	wake?: boolean;
}
