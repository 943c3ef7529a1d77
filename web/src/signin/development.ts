// development.ts - the sign-in of ./dev run: a token in the address (#token=…), which is taken and removed from there at once.

export function takeToken(): string | null {
	const fragment = new URLSearchParams(location.hash.slice(1));
	const token = fragment.get('token');
	if (location.hash) history.replaceState(null, '', location.pathname + location.search);
	return token;
}
