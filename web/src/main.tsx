// main.tsx - the console's frame: sign-in, navigation, the state of the connection, and the page that the address names.
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import './styles.css';
import { AccessPage } from './pages/access';
import { AlertsPage } from './pages/alerts';
import { FleetPage } from './pages/fleet';
import { LivePage } from './pages/live';
import { NodesPage } from './pages/nodes';
import { VehiclePage } from './pages/vehicle';
import { WakeupsPage } from './pages/wakeups';
import { WebhookPage } from './pages/webhook';
import { WebhooksPage } from './pages/webhooks';
import { overseen } from './parts/oversight';
import { type PlainPage, type Route, route } from './route';
import { configuration, goAndSignIn, signIn, signOut, startSession } from './session';
import { close, comeback, isAdmin, isAway, link, listing, me, open, retryListing, rows } from './store';
import { texts } from './texts';

function Console() {
	const state = signIn.value;
	if (state.step === 'in') return <Frame />;
	return <SignIn reason={state.step === 'out' ? state.reason : undefined} isStarting={state.step === 'starting'} />;
}

function SignIn({ reason, isStarting }: { reason?: string; isStarting: boolean }) {
	return (
		<main class="sign-in">
			<img src="/icon.svg" alt="" width="40" height="40" />
			<h1>{texts.signIn.title}</h1>
			{isStarting ? <p role="status">{texts.signIn.starting}</p> : <Ways />}
			{reason && (
				<p class="notice bad" role="alert">
					{reason}
				</p>
			)}
		</main>
	);
}

// Where /config.json could not be read there is no way.
function Ways() {
	let config: ReturnType<typeof configuration>;
	try {
		config = configuration();
	} catch {
		return null;
	}
	if (config.issuer)
		return (
			<button type="button" class="primary" onClick={() => void goAndSignIn().catch((error: Error) => signOut(texts.signIn.failed(error.message)))}>
				{texts.signIn.button}
			</button>
		);
	return <p>{config.development ? texts.signIn.development : texts.signIn.nowhere}</p>;
}

function Frame() {
	const current = route.value;
	return (
		<>
			<a class="skip" href="#content">
				{texts.skip}
			</a>
			<header class="top">
				<a class="brand" href="/fleet">
					<img src="/icon.svg" alt="" width="24" height="24" />
					{texts.name}
				</a>
				<nav aria-label={texts.nav.label}>
					{pages().map((page) => (
						<a key={page} href={`/${page}`} aria-current={sectionOf(current) === page ? 'page' : undefined}>
							{texts.nav[page]}
						</a>
					))}
				</nav>
				<Link />
				<span class="who" title={texts.signedInAs(me.value?.subject ?? '')}>
					{me.value?.subject}
				</span>
				<button
					type="button"
					class="quiet"
					onClick={() => {
						close();
						signOut();
					}}
				>
					{texts.signOut}
				</button>
			</header>
			<Comeback current={current} />
			<Failure />
			<main id="content" tabIndex={-1}>
				<Page current={current} />
			</main>
		</>
	);
}

// What the person may look at.
function pages(): PlainPage[] {
	return [
		'fleet',
		'live',
		...(overseen().length > 0 ? (['wakeups', 'alerts'] as const) : []),
		'webhooks',
		...(isAdmin() ? (['nodes'] as const) : []),
		'access',
	];
}

const sectionOf = ({ page }: Route): Route['page'] => (page === 'vehicle' ? 'fleet' : page === 'webhook' ? 'webhooks' : page);

function Link() {
	const state = link.value === 'signed-out' ? 'waiting' : link.value;
	return <span class={`link ${state}`}>{state === 'waiting' ? texts.link.connecting : texts.link[state]}</span>;
}

// What the last interruption means for what is seen on this page.
function Comeback({ current }: { current: Route }) {
	const resumed = comeback.value;
	const isWhole = resumed && (current.page === 'vehicle' ? resumed.reloaded === 0 : resumed.reloaded + resumed.fleets === 0);
	const text = isAway.value ? texts.link.waiting : resumed ? (isWhole ? texts.link.recovered : texts.link.reloaded) : '';
	return (
		<p class={`comeback ${text ? '' : 'unseen'} ${isAway.value ? 'bad' : ''}`} role="status">
			{text}
		</p>
	);
}

// Of what every page needs: who the person is, the catalogue and the list of vehicles.
function Failure() {
	const { state, why } = listing.value;
	if (state !== 'failed') return null;
	return (
		<p class="comeback bad" role="alert">
			{texts.beginning(why ?? '')}{' '}
			<button type="button" onClick={retryListing}>
				{texts.retry}
			</button>
		</p>
	);
}

function titleOf(current: Route): string {
	if (current.page === 'vehicle') return rows.get(current.vehicleId)?.name ?? current.vehicleId;
	return current.page === 'none' ? texts.none.title : texts[current.page === 'webhook' ? 'webhooks' : current.page].title;
}

// Which one of its kind a page shows.
const subjectOf = (current: Route): string => (current.page === 'vehicle' ? current.vehicleId : current.page === 'webhook' ? current.webhookId : '');

function Page({ current }: { current: Route }) {
	const title = titleOf(current);
	useEffect(() => {
		document.title = `${title} · ${texts.name}`;
	}, [title]);
	useEffect(() => document.getElementById('title')?.focus({ preventScroll: true }), [current.page, subjectOf(current)]);
	if (current.page === 'fleet') return <FleetPage />;
	if (current.page === 'live') return <LivePage />;
	if (current.page === 'wakeups') return <WakeupsPage />;
	if (current.page === 'alerts') return <AlertsPage />;
	if (current.page === 'webhooks') return <WebhooksPage />;
	if (current.page === 'webhook') return <WebhookPage key={current.webhookId} webhookId={current.webhookId} />;
	if (current.page === 'nodes') return <NodesPage />;
	if (current.page === 'access') return <AccessPage />;
	if (current.page === 'vehicle') return <VehiclePage key={current.vehicleId} vehicleId={current.vehicleId} tab={current.tab} />;
	return (
		<section class="page" aria-labelledby="title">
			<h1 id="title" tabIndex={-1}>
				{texts.none.title}
			</h1>
			<p>
				<a href="/fleet">{texts.none.back}</a>
			</p>
		</section>
	);
}

const root = document.getElementById('console');
if (root) {
	// Before any page is drawn: pages ask the gateway as soon as they are.
	signIn.subscribe(({ step }) => {
		if (step === 'in') open();
	});
	render(<Console />, root);
	void startSession();
}
