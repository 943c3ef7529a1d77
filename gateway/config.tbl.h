/* SETTING(path, member, type, default as YAML, min, max, rule, reloadable, sentence)
 *
 * A default of NULL: it must be given. Sizes are bytes, durations milliseconds; min and max 0: any.
 * The rows stand in the order in which the manual prints them. ISSUER: the same, of one item of auth.issuers. */
SETTING("namespace", namespace, TEXT, "keyfob", 0, 0, &RULE_NAMESPACE, false,
	"One installation, one namespace: the client ids and the internal topics of all its nodes begin with it.")
SETTING("node.id", node.id, TEXT, "null", 0, 0, &RULE_NODE_ID, false,
	"What this node calls itself in the log and towards the other nodes. By default it makes up a name at each "
	"start.")
SETTING("node.workers", node.workers, INTEGER, "0", 0, 256, NULL, false, "Worker threads; 0 is one for each core.")

SETTING("http.listen", http.listen, ADDRESSES, "[\"127.0.0.1:8080\"]", 0, 0, &RULE_LISTEN, false,
	"Where REST, SSE, the console and `/v1/ws` are served. Port 0 takes any free one.")
SETTING("http.tls.certificate", http.tls.certificate, FILE, "null", 0, 0, NULL, true,
	"The certificate chain (PEM). With it `http.listen` speaks TLS 1.2 and 1.3; without it plain HTTP, for a load "
	"balancer "
	"that ends TLS.")
SETTING("http.tls.key", http.tls.key, FILE, "null", 0, 0, NULL, true, "The certificate's private key (PEM).")
SETTING("http.web_root", http.web_root, FOLDER, "null", 0, 0, NULL, false,
	"The folder of the built console; null serves none.")
SETTING("http.cors_origins", http.cors_origins, TEXTS, "[]", 0, 0, &RULE_ORIGIN, false,
	"The origins whose pages may call the API and open WebSockets, besides its own.")
SETTING("http.trusted_proxies", http.trusted_proxies, TEXTS, "[]", 0, 0, &RULE_PROXY, false,
	"The proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host count.")
SETTING("http.max_connections", http.max_connections, INTEGER, "10000", 1, 1000000, NULL, false,
	"Open connections of this node; past them a newcomer gets 503 or is closed.")
SETTING("http.per_address", http.per_address, INTEGER, "1000", 1, 1000000, NULL, false,
	"Open connections from one address.")

SETTING("console.issuer", console.issuer, TEXT, "null", 0, 0, &RULE_HTTP_URL, false,
	"Where people sign in to the console, by OpenID Connect with PKCE: one of `auth.issuers`. The console of `http.web_root` is told so "
	"in `/config.json`.")
SETTING("console.client_id", console.client_id, TEXT, "keyfob-console", 0, 0, NULL, false,
	"What the console is called there: a public client, whose redirect URI is the console's address with the path `/`.")
SETTING("console.scope", console.scope, TEXT, "openid vehicles:read commands:write", 0, 0, NULL, false,
	"The scopes that it asks for; `offline_access` besides where the issuer gives refresh tokens only so.")
SETTING("console.parameters", console.parameters, PAIRS, "{}", 0, 0, NULL, false,
	"Parameters of the issuer's own in those requests, such as `resource` (RFC 8707) or `audience`.")
SETTING("console.connect_origins", console.connect_origins, TEXTS, "[]", 0, 0, &RULE_ORIGIN, false,
	"Origins that its pages may connect to besides the node's and the issuer's: that of a token endpoint elsewhere.")
SETTING("console.development", console.development, BOOLEAN, "false", 0, 0, NULL, false,
	"Whether the console takes a token from its address, as `./dev run` prints one. Not where people work: who makes somebody open "
	"such an address chooses as whom they act.")

SETTING("websocket.listen", websocket.listen, ADDRESSES, "[]", 0, 0, &RULE_LISTEN, false,
	"A plain port for WebSockets alone, besides the HTTP one: for a load balancer on a trusted network.")
SETTING("websocket.max_message", websocket.max_message, SIZE, "64KiB", KIB(1), MIB(1), NULL, false,
	"The largest message from an app; a larger one closes the socket with 1009.")
SETTING("websocket.ping_interval", websocket.ping_interval_ms, DURATION, "25s", MS(100), M(10), NULL, false,
	"How often a silent socket is asked whether it is still there.")
SETTING("websocket.max_queue", websocket.max_queue, SIZE, "1MiB", KIB(1), GIB(1), NULL, false,
	"What may wait for one app; one further behind than this is closed with 4408 and resumes when it can.")

SETTING("admin.listen", admin.listen, ADDRESSES, "[\"127.0.0.1:9090\"]", 0, 0, &RULE_LISTEN, false,
	"Where `/healthz`, `/readyz` and `/metrics` are served. There is no sign-in: keep it on a trusted network.")

SETTING("database.url", database.url, SECRET, NULL, 0, 0, &RULE_DATABASE_URL, false,
	"PostgreSQL, in libpq's form: several hosts, `sslmode`, `sslrootcert` and the like are understood.")
SETTING("database.synchronous", database.synchronous, BOOLEAN, "false", 0, 0, NULL, false,
	"True: a synchronous standby is there, so a failover loses nothing, and losing the standby is 503.")

SETTING("mqtt.url", mqtt.url, TEXT, "\"mqtt://127.0.0.1:1883\"", 0, 0, &RULE_MQTT_URL, false,
	"The broker. Of several hosts of one cluster the next is tried when one cannot be reached, or a connection to it "
	"was lost.")
SETTING("mqtt.username", mqtt.username, TEXT, "null", 0, 0, NULL, false, "The gateway's account at the broker.")
SETTING("mqtt.password", mqtt.password, SECRET, "null", 0, 0, NULL, false, "Its password.")
SETTING("mqtt.tls.ca", mqtt.tls.ca, FILE, "null", 0, 0, NULL, false,
	"Who may have signed the broker's certificate (PEM); null: whom the system trusts.")
SETTING("mqtt.tls.certificate", mqtt.tls.certificate, FILE, "null", 0, 0, NULL, false,
	"The gateway's own certificate, for a broker that asks for one (PEM).")
SETTING("mqtt.tls.key", mqtt.tls.key, FILE, "null", 0, 0, NULL, false, "Its private key (PEM).")

SETTING("lifecycle.source", lifecycle.source, CHOICE, "aws", 0, 0, &RULE_SOURCE, false,
	"Who tells who came and went: `aws` is AWS IoT Core or mosquitto with the plugin, `emqx` is EMQX, `vehicles` any "
	"other broker: the vehicles themselves, by birth and will messages, which are read in each case.")
SETTING("lifecycle.prefix", lifecycle.prefix, TEXT, "$aws/events", 0, 0, &RULE_TOPIC_PREFIX, false,
	"Where the broker tells who came and went: AWS IoT Core's own, and what the mosquitto plugin is set to.")
SETTING("lifecycle.verify_delay", lifecycle.verify_delay_ms, DURATION, "5s", 0, M(10), NULL, false,
	"How long a vehicle that went counts as reachable, so that a short gap wakes nobody.")
SETTING("lifecycle.return_delay", lifecycle.return_delay_ms, DURATION, "1m", 0, M(10), NULL, false,
	"How long vehicles count as reachable which the broker does not know any more, so that a fleet can return to a "
	"broker that was restarted; at least `lifecycle.verify_delay`.")

SETTING("auth.issuers", auth.issuers, GROUPS, "[]", 0, 0, &RULE_ISSUERS, false, "Whose tokens are accepted.")
ISSUER("issuer", issuer, TEXT, NULL, 0, 0, NULL, false, "The token's `iss`.")
ISSUER("audience", audience, TEXT, "keyfob", 0, 0, NULL, false, "What the token's `aud` must name.")
ISSUER("jwks_file", jwks_file, FILE, "null", 0, 0, NULL, true,
	"The issuer's public keys (RFC 7517) in a file; this or `jwks_url`, or neither: then the issuer's OpenID configuration says where they are. "
	"Read again for a key id that is not known.")
ISSUER("jwks_url", jwks_url, TEXT, "null", 0, 0, &RULE_KEYS_URL, true,
	"The issuer's public keys by HTTPS; this or `jwks_file`. Fetched again at least once a day, on SIGHUP, and for "
	"a key id that is not known.")
ISSUER("subject_prefix", subject_prefix, TEXT, "\"\"", 0, 0, NULL, false,
	"Put before each token's `sub`; with several issuers all must differ, so that no two share a subject. A token whose "
	"subject begins with a longer one of another issuer's is refused.")
ISSUER("scopes", scopes, TEXTS, "[\"vehicles:read\", \"commands:write\", \"keyfob:admin\"]", 0, 0, &RULE_SCOPES, false,
	"The scopes that this issuer may grant; others in its tokens do not count.")

SETTING("limits.queue_per_vehicle", limits.queue_per_vehicle, INTEGER, "100", 1, 100000, NULL, false,
	"Unsent commands of one vehicle; past them 429 `queue-full`.")
SETTING("limits.per_subject", limits.per_subject, RATE, "\"50/s\"", 0, 0, NULL, false,
	"Requests of one subject to this node, by REST and WebSocket. Every rate allows a burst of two seconds; past "
	"it 429 "
	"`rate-limited`.")
SETTING("limits.per_vehicle", limits.per_vehicle, RATE, "\"10/s\"", 0, 0, NULL, false,
	"New commands for one vehicle, whoever sends them.")
SETTING("limits.per_address", limits.per_address, RATE, "\"200/s\"", 0, 0, NULL, false,
	"Requests from one address (of IPv6 a /64), also those that are refused.")
SETTING("limits.per_socket", limits.per_socket, RATE, "\"50/s\"", 0, 0, NULL, false,
	"Messages on one WebSocket; past them it is closed with 4429.")

SETTING("detection.window", detection.window_ms, DURATION, "5m", S(1), H(24), NULL, false,
	"What is counted below is counted anew after so long, and alerted of once in it. It bounds what the audit table is told of refused "
	"reads, too: each object once in it, and 32 of a subject.")
SETTING("detection.refusals", detection.refusals, INTEGER, "30", 0, 1000000, NULL, false,
	"Refused calls of one subject, or from one address, that raise an alert. 0: none does; likewise below.")
SETTING("detection.forged_answers", detection.forged_answers, INTEGER, "5", 0, 1000000, NULL, false,
	"Responses of one vehicle to requests that it was not sent.")
SETTING("detection.commands", detection.commands, INTEGER, "100", 0, 1000000, NULL, false,
	"Commands for one vehicle, whoever sends them.")
SETTING("detection.subject_commands", detection.subject_commands, INTEGER, "10000", 0, 1000000, NULL, false,
	"Commands of one subject, for whichever vehicles. A platform that sends for tens of thousands of them needs more; batches have a "
	"rate of their own, and are not counted.")
SETTING("detection.refused_connects", detection.refused_connects, INTEGER, "3", 0, 1000000, NULL, false,
	"Connects under one vehicle's client id by somebody who is another, as the certificate or the username says.")

SETTING("commands.catalog", commands.catalog, FILE, "catalog.yaml", 0, 0, NULL, true,
	"The catalogue: which commands there are.")

SETTING("wake.enabled", wake.enabled, BOOLEAN, "true", 0, 0, NULL, true, "The switch that stops every SMS.")
SETTING("wake.providers", wake.providers, CHOICES, "[]", 0, 0, &RULE_PROVIDERS, false,
	"Who sends the SMS, in order: the next when one fails or gives no receipt in `receipt_timeout`. None: nobody "
	"is woken.")
SETTING("wake.receipt_timeout", wake.receipt_timeout_ms, DURATION, "20s", MS(100), H(1), NULL, false,
	"How long a provider that gives receipts may take for one.")
SETTING("wake.min_interval", wake.min_interval_ms, DURATION, "30s", 0, D(1), NULL, false,
	"The least time between two wake-ups of one vehicle.")
SETTING("wake.max_attempts", wake.max_attempts, INTEGER, "3", 1, 100, NULL, false,
	"Wake-ups for one absence of a vehicle.")
SETTING("wake.daily_budget", wake.daily_budget, INTEGER, "20", 0, 10000, NULL, false, "SMS to one vehicle in 24 hours.")
SETTING("wake.validity", wake.validity_ms, DURATION, "10m", S(1), D(2), NULL, false,
	"How long the SMS centre keeps trying; at most what is left of the longest waiting command.")
SETTING("wake.text", wake.text, TEXT, "KEYFOB WAKE {vehicle_id}", 0, 0, NULL, false, "The SMS.")
SETTING("wake.smpp.url", wake.smpp.url, TEXT, "null", 0, 0, &RULE_SMPP_URL, false, "The SMS centre (SMPP 3.4).")
SETTING("wake.smpp.password", wake.smpp.password, SECRET, "null", 0, 0, &RULE_SMPP_PASSWORD, false, "Its password.")
SETTING("wake.smpp.ca", wake.smpp.ca, FILE, "null", 0, 0, NULL, false,
	"smpps://: who may have signed the centre's certificate (PEM); null: whom the system trusts.")
SETTING("wake.smpp.source", wake.smpp.source, TEXT, "Keyfob", 0, 0, &RULE_SENDER, false,
	"The sender that the SMS shows.")
SETTING("wake.smpp.single_bind", wake.smpp.single_bind, BOOLEAN, "false", 0, 0, NULL, false,
	"Whether the account allows one session at a time. Then one node of all has it, and sends every SMS; another takes over "
	"when that one ends or dies. The same on every node.")
SETTING("wake.smpp.registered_delivery", wake.smpp.registered_delivery, BOOLEAN, "true", 0, 0, NULL, false,
	"Whether to ask for delivery receipts.")
SETTING("wake.smpp.price", wake.smpp.price, TEXT, "null", 0, 0, &RULE_PRICE, false,
	"What an SMS costs, such as `\"0.045\"`: `/v1/stats` and the console then show what was spent. null: they count SMS.")
SETTING("wake.http.url", wake.http.url, TEXT, "null", 0, 0, &RULE_HTTP_URL, false,
	"A provider with an HTTP API. URL, headers and body may hold `{msisdn}` (`{msisdn_digits}`: without the plus), "
	"`{iccid}`, `{text}`, `{vehicle_id}`, `{validity_seconds}`, `{validity_minutes}` and `{wakeup_id}`. "
	"docs/wake-up.md has "
	"presets.")
SETTING("wake.http.method", wake.http.method, CHOICE, "POST", 0, 0, &RULE_METHOD, false, "The request's method.")
SETTING("wake.http.headers", wake.http.headers, PAIRS, "{}", 0, 0, &RULE_HEADER, false, "The request's headers.")
SETTING("wake.http.body", wake.http.body, TEXT, "null", 0, 0, NULL, false, "The request's body.")
SETTING("wake.http.ok_status", wake.http.ok_status, NUMBERS, "[200, 201, 202]", 100, 599, NULL, false,
	"The status codes that say that the SMS was taken.")
SETTING("wake.http.message_id", wake.http.message_id, TEXT, "null", 0, 0, NULL, false,
	"Where the provider's JSON answer names the message, for its callbacks: members and indices, joined by dots, "
	"such as `messages.0.message-id`. null: its callbacks bring the `{wakeup_id}` that was put into the request.")
SETTING("wake.http.hook_secret", wake.http.hook_secret, SECRET, "null", 0, 0, &RULE_HOOK_SECRET, false,
	"The provider calls back at `/v1/hooks/sms/http/SECRET` with delivery receipts. null: it does not.")
SETTING("wake.http.callback.id", wake.http.callback.id, TEXT, "id", 0, 0, NULL, false,
	"The callback's field (of its query, form or JSON) that names the message.")
SETTING("wake.http.callback.status", wake.http.callback.status, TEXT, "status", 0, 0, NULL, false,
	"The callback's field that has the message's status.")
SETTING("wake.http.callback.delivered", wake.http.callback.delivered, TEXTS, "[delivered]", 0, 0, NULL, false,
	"The statuses that say that it was delivered.")
SETTING("wake.http.callback.failed", wake.http.callback.failed, TEXTS,
	"[failed, undelivered, undeliverable, rejected, expired]", 0, 0, NULL, false,
	"The statuses that say that it will not be. Others say nothing yet.")
SETTING("wake.http.price", wake.http.price, TEXT, "null", 0, 0, &RULE_PRICE, false, "What an SMS costs there.")
SETTING("wake.sns.region", wake.sns.region, TEXT, "null", 0, 0, &RULE_REGION, false, "Amazon SNS: its region.")
SETTING("wake.sns.endpoint", wake.sns.endpoint, TEXT, "null", 0, 0, &RULE_HTTP_URL, false,
	"Another address than the region's own.")
SETTING("wake.sns.access_key_id", wake.sns.access_key_id, TEXT, "null", 0, 0, NULL, false,
	"The key that signs the requests: its id.")
SETTING("wake.sns.secret_access_key", wake.sns.secret_access_key, SECRET, "null", 0, 0, NULL, false, "The key itself.")
SETTING("wake.sns.session_token", wake.sns.session_token, SECRET, "null", 0, 0, NULL, false,
	"The session token of temporary credentials.")
SETTING("wake.sns.price", wake.sns.price, TEXT, "null", 0, 0, &RULE_PRICE, false, "What an SMS costs there.")
SETTING("wake.currency", wake.currency, TEXT, "EUR", 0, 0, &RULE_CURRENCY, false, "The currency of the prices.")

SETTING("webhooks.anywhere", webhooks.anywhere, BOOLEAN, "false", 0, 0, NULL, false,
	"Whether webhooks may go by plain HTTP, and to private addresses. For development and tests: who may make a webhook then reaches "
	"whatever the node reaches.")
SETTING("webhooks.per_subject", webhooks.per_subject, INTEGER, "20", 0, 10000, NULL, false, "Webhooks that one subject may have.")
SETTING("webhooks.timeout", webhooks.timeout_ms, DURATION, "15s", MS(100), M(1), NULL, false,
	"How long a webhook's server has to answer.")
SETTING("webhooks.retry_first", webhooks.retry_first_ms, DURATION, "5s", MS(10), H(1), NULL, false,
	"The pause after the first attempt that failed. It trebles with each further one, a fifth more or less.")
SETTING("webhooks.retry_max", webhooks.retry_max_ms, DURATION, "12h", MS(10), D(7), NULL, false, "The longest pause.")
SETTING("webhooks.retry_for", webhooks.retry_for_ms, DURATION, "3d", MS(100), D(30), NULL, false,
	"How long after its first attempt a delivery is tried. A webhook that fails so long is disabled.")
SETTING("webhooks.secret_overlap", webhooks.secret_overlap_ms, DURATION, "24h", 0, D(30), NULL, false,
	"How long the secret before still signs besides, after a rotation that does not say it.")
SETTING("webhooks.key", webhooks.key, SECRET, "null", 0, 0, &RULE_SEALING_KEY, false,
	"What the secrets of webhooks are sealed with in the database (`openssl rand -base64 32`), the same on all nodes. null: they lie there in clear.")
SETTING("webhooks.old_key", webhooks.old_key, SECRET, "null", 0, 0, &RULE_SEALING_KEY, false,
	"The key before: what it has sealed is still read, and sealed anew.")

SETTING("retention.commands", retention.commands_ms, DURATION, "90d", H(1), D(3650), NULL, false,
	"How long commands and their timelines are kept.")
SETTING("retention.events", retention.events_ms, DURATION, "30d", H(1), D(3650), NULL, false,
	"How long events are kept, and so how far back an app can resume.")
SETTING("retention.deliveries", retention.deliveries_ms, DURATION, "30d", H(1), D(3650), NULL, false,
	"How long the deliveries of webhooks are kept.")

SETTING("tracing.endpoint", tracing.endpoint, TEXT, "null", 0, 0, &RULE_HTTP_URL, false,
	"Where the spans of commands' journeys go by OTLP/HTTP in JSON, such as `http://127.0.0.1:4318/v1/traces`; null: nothing is traced. "
	"OpenTelemetry's own variables stand for these settings as well (docs/observability.md).")
SETTING("tracing.headers", tracing.headers, PAIRS, "{}", 0, 0, &RULE_HEADER, false, "Headers of these requests.")
SETTING("tracing.timeout", tracing.timeout_ms, DURATION, "10s", MS(1), M(10), NULL, false, "How long such a request may take.")
SETTING("tracing.delay", tracing.delay_ms, DURATION, "5s", 0, M(10), NULL, false, "How long spans gather before they are sent.")
SETTING("tracing.service_name", tracing.service_name, TEXT, "null", 0, 0, NULL, false,
	"The resource's `service.name`; null: what `tracing.resource` says, or `keyfob`.")
SETTING("tracing.resource", tracing.resource, PAIRS, "{}", 0, 0, NULL, false, "Attributes of the resource.")
SETTING("tracing.sampler", tracing.sampler, CHOICE, "parentbased_always_on", 0, 0, &RULE_SAMPLER, false,
	"Which journeys are recorded; `parentbased_…`: those that the caller records, and of the others as it says.")
SETTING("tracing.ratio", tracing.ratio, FRACTION, "1", 0, 0, NULL, false, "Of `traceidratio`: how many of them.")

SETTING("log.level", log.level, CHOICE, "info", 0, 0, &RULE_LEVEL, true, "The least that is logged. SIGUSR2 switches to `debug`, and back.")
SETTING("log.format", log.format, CHOICE, "logfmt", 0, 0, &RULE_FORMAT, false, "For people, or for a collector.")
