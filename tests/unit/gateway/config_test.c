/* config_test.c - what a configuration may say, what the environment overrides, and how each mistake is told. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/config.h"
#include "tests/certificate.h"
#include "tests/suite.h"

#define DATABASE "database: { url: \"postgresql://db/keyfob\" }\n"

static char folder[64];
static char file[96];

static void write_file(const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void write_certificate(const char *name, const char *key_name)
{
	char path[128], key_path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	snprintf(key_path, sizeof(key_path), "%s/%s", folder, key_name);
	certificate_write("IP:127.0.0.1", path, key_path);
}

static void set_up(void)
{
	strcpy(folder, "/tmp/keyfob-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/keyfob.yaml", folder);
	write_file("catalog.yaml", "commands: {}\n");
	write_file("jwks.json", "{}\n");
	write_file("password", "s3cret: #\n");
	write_file("empty", "\n");
	write_file("url", "postgresql://secret@db/keyfob\n");
	write_file("bad-url", "mysql://topsecret@db\n");
	write_certificate("cert.pem", "key.pem");
	write_certificate("other.pem", "other-key.pem");
	write_file("no.pem", "x");
}

static void tear_down(void)
{
	static const char *const names[] = { "keyfob.yaml", "catalog.yaml", "jwks.json", "password", "empty", "url",
		"bad-url", "cert.pem", "key.pem", "other.pem", "other-key.pem", "no.pem" };
	char path[160];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

static const struct config *read_with(const char *text, char *const *environment)
{
	struct config_error error = { "" };

	write_file("keyfob.yaml", text);
	const struct config *c = config_read(file, environment, &error);
	ck_assert_msg(c != NULL, "%s", error.line);
	return c;
}

/* The error without the folder: "keyfob.yaml:3: key: …" */
static const char *refused_with(const char *text, char *const *environment)
{
	static struct config_error error;

	write_file("keyfob.yaml", text);
	const struct config *c = config_read(file, environment, &error);
	ck_assert_msg(c == NULL, "was not refused: %s", text);
	ck_assert_ptr_null(strchr(error.line, '\n'));
	size_t len = strlen(folder) + 1;
	return strncmp(error.line, folder, len - 1) == 0 ? error.line + len : error.line;
}

START_TEST(defaults_are_the_manuals)
{
	const struct config *c = read_with(DATABASE, NULL);

	ck_assert_str_eq(c->namespace, "keyfob");
	ck_assert_ptr_null(c->node.id);
	ck_assert_int_eq(c->node.workers, 0);
	ck_assert_uint_eq(c->http.listen.count, 1);
	ck_assert_str_eq(c->http.listen.items[0].host, "127.0.0.1");
	ck_assert_uint_eq(c->http.listen.items[0].port, 8080);
	ck_assert_int_eq(c->http.max_connections, 10000);
	ck_assert_uint_eq(c->websocket.listen.count, 0);
	ck_assert_uint_eq(c->websocket.max_message, 65536);
	ck_assert_int_eq(c->websocket.ping_interval_ms, 25000);
	ck_assert_str_eq(c->admin.listen.items[0].text, "127.0.0.1:9090");
	ck_assert_str_eq(c->database.url, "postgresql://db/keyfob");
	ck_assert(!c->database.synchronous);
	ck_assert_str_eq(c->mqtt.url, "mqtt://127.0.0.1:1883");
	ck_assert_ptr_null(c->mqtt.password);
	ck_assert_str_eq(c->lifecycle.prefix, "$aws/events");
	ck_assert_int_eq(c->lifecycle.verify_delay_ms, 5000);
	ck_assert_int_eq(c->lifecycle.return_delay_ms, 60000);
	ck_assert_uint_eq(c->auth.issuers.count, 0);
	ck_assert_int_eq(c->limits.queue_per_vehicle, 100);
	ck_assert_double_eq(c->limits.per_vehicle, 10);
	ck_assert(c->wake.enabled);
	ck_assert_str_eq(c->wake.text, "KEYFOB WAKE {vehicle_id}");
	ck_assert_uint_eq(c->wake.http.ok_status.count, 3);
	ck_assert_int_eq(c->wake.http.ok_status.items[2], 202);
	ck_assert_int_eq(c->wake.http.method, WAKE_HTTP_POST);
	ck_assert_int_eq(c->retention.commands_ms, 90LL * 24 * 3600 * 1000);
	ck_assert_int_eq(c->log.level, LOG_LEVEL_INFO);
	ck_assert_int_eq(c->log.format, LOG_FORMAT_LOGFMT);
	ck_assert_uint_eq(c->warnings.count, 0);
	config_free(c);
}
END_TEST

START_TEST(everything_can_be_said)
{
	char catalog[160];
	const struct config *c = read_with(
		"namespace: fleet-7\n"
		"node: { id: n1, workers: 4 }\n"
		"http:\n"
		"  listen: [\"[::]:8443\", \"0.0.0.0:0\", \"[::ffff:a00:1]:8444\"]\n"
		"  tls: { certificate: cert.pem, key: key.pem }\n"
		"  web_root: .\n"
		"  cors_origins: [\"https://app.example\", \"capacitor://localhost\"]\n"
		"  trusted_proxies: [\"10.0.0.0/8\", \"::1\"]\n"
		"websocket: { max_message: 1MiB, ping_interval: 5m, max_queue: 1048576 }\n"
		"database: { url_file: url, synchronous: true }\n"
		"mqtt: { url: \"mqtts://[::1]:8883\", username: gateway, password_file: password }\n"
		"auth:\n"
		"  issuers:\n"
		"    - { issuer: \"https://a.example\", audience: app, jwks_file: jwks.json, subject_prefix: \"a|\" }\n"
		"    - { issuer: \"https://b.example\", jwks_url: \"https://b.example/keys?x=1\", scopes: "
		"[\"vehicles:read\"] }\n"
		"    - { issuer: \"https://c.example\", subject_prefix: \"c|\" }\n"
		"console: { issuer: \"https://b.example\", parameters: { resource: \"urn:k\" }, development: true }\n"
		"limits: { per_subject: 0, per_address: \"30/m\", per_socket: \"0.5/s\" }\n"
		"wake:\n"
		"  enabled: false\n"
		"  providers: [sns, http]\n"
		"  http: { url: \"https://sms.example/{msisdn}\", method: PUT, headers: { X-Key: \"1\" }, ok_status: "
		"[204] }\n"
		"  sns: { region: eu-central-1, access_key_id: AK, secret_access_key_file: password }\n"
		"log: { level: debug, format: json }\n",
		NULL);

	ck_assert_str_eq(c->namespace, "fleet-7");
	ck_assert_int_eq(c->node.workers, 4);
	ck_assert_str_eq(c->http.listen.items[0].host, "::");
	ck_assert_uint_eq(c->http.listen.items[0].port, 8443);
	ck_assert_uint_eq(c->http.listen.items[1].port, 0);
	ck_assert_str_eq(c->http.listen.items[2].host, "10.0.0.1");
	ck_assert_str_eq(c->http.listen.items[2].text, "[::ffff:a00:1]:8444");
	ck_assert_str_eq(c->http.cors_origins.items[1], "capacitor://localhost");
	ck_assert_uint_eq(c->websocket.max_queue, 1048576);
	ck_assert_int_eq(c->websocket.ping_interval_ms, 300000);
	ck_assert_str_eq(c->database.url, "postgresql://secret@db/keyfob");
	ck_assert(c->database.synchronous);
	ck_assert_str_eq(c->mqtt.password, "s3cret: #");
	ck_assert_uint_eq(c->auth.issuers.count, 3);
	ck_assert(!c->auth.issuers.items[2].jwks_file && !c->auth.issuers.items[2].jwks_url);
	ck_assert_str_eq(c->auth.issuers.items[0].subject_prefix, "a|");
	ck_assert_uint_eq(c->auth.issuers.items[0].scopes.count, 3);
	ck_assert_ptr_null(c->auth.issuers.items[1].jwks_file);
	ck_assert_str_eq(c->auth.issuers.items[1].audience, "keyfob");
	ck_assert_str_eq(c->auth.issuers.items[1].subject_prefix, "");
	ck_assert_uint_eq(c->auth.issuers.items[1].scopes.count, 1);
	ck_assert_str_eq(c->console.issuer, "https://b.example");
	ck_assert_str_eq(c->console.client_id, "keyfob-console");
	ck_assert_str_eq(c->console.parameters.items[0].key, "resource");
	ck_assert(c->console.development);
	ck_assert_double_eq(c->limits.per_subject, 0);
	ck_assert_double_eq(c->limits.per_address, 0.5);
	ck_assert_double_eq(c->limits.per_socket, 0.5);
	ck_assert(!c->wake.enabled);
	ck_assert_int_eq(c->wake.providers.items[0], WAKE_PROVIDER_SNS);
	ck_assert_int_eq(c->wake.providers.items[1], WAKE_PROVIDER_HTTP);
	ck_assert_str_eq(c->wake.http.headers.items[0].key, "X-Key");
	ck_assert_str_eq(c->wake.sns.secret_access_key, "s3cret: #");
	ck_assert_int_eq(c->log.level, LOG_LEVEL_DEBUG);
	snprintf(catalog, sizeof(catalog), "%s/catalog.yaml", folder);
	ck_assert_str_eq(c->commands.catalog, catalog);
	config_free(c);
}
END_TEST

/* Each mistake and the beginning of the line that tells it. */
static const struct mistake {
	const char *text, *line;
} mistakes[] = {
	{ "", "keyfob.yaml:1: database.url: must be given" },
	{ "\n\ndatabase:\n  synchronous: true\n", "keyfob.yaml:4: database.url: must be given" },
	{ "[1]\n", "keyfob.yaml:1: must be a map" },
	{ DATABASE "htpp: {}\n", "keyfob.yaml:2: htpp: is not a known key; is http meant?" },
	{ DATABASE "http:\n  tls:\n    cert: x\n", "keyfob.yaml:4: http.tls.cert: is not a known key" },
	{ DATABASE "limits: { queue_per_vehcile: 5 }\n",
		"keyfob.yaml:2: limits.queue_per_vehcile: is not a known key; is queue_per_vehicle meant?" },
	{ DATABASE "http.listen: []\n", "keyfob.yaml:2: http.listen: is not a known key" },
	{ DATABASE "http: 8080\n", "keyfob.yaml:2: http: must be a map of keys, not a number" },
	{ DATABASE "namespace: [a]\n", "keyfob.yaml:2: namespace: must be 1 to 32 letters" },
	{ DATABASE "namespace: 5\n", "keyfob.yaml:2: namespace: must be 1 to 32 letters" },
	{ DATABASE "namespace: a/b\n", "keyfob.yaml:2: namespace: must be 1 to 32 letters" },
	{ DATABASE "node: { workers: many }\n",
		"keyfob.yaml:2: node.workers: must be a whole number, from 0 to 256, not \"many\"" },
	{ DATABASE "node: { workers: \"4\" }\n", "keyfob.yaml:2: node.workers: must be a whole number" },
	{ DATABASE "node: { workers: -1 }\n",
		"keyfob.yaml:2: node.workers: must be a whole number, from 0 to 256, not -1" },
	{ DATABASE "node: { workers: null }\n",
		"keyfob.yaml:2: node.workers: must be a whole number, from 0 to 256, not null" },
	{ DATABASE "node: { workers: 99999999999999999999 }\n", "keyfob.yaml:2: node.workers: must be" },
	{ DATABASE "http: { listen: \"127.0.0.1:80\" }\n", "keyfob.yaml:2: http.listen: must be a list of addresses" },
	{ DATABASE "http:\n  listen:\n    - \"127.0.0.1:80\"\n    - localhost:80\n",
		"keyfob.yaml:5: http.listen: must be a list" },
	{ DATABASE "http: { listen: [\"1.2.3.4:70000\"] }\n", "keyfob.yaml:2: http.listen: must be" },
	{ DATABASE "http: { listen: [\"::1:80\"] }\n", "keyfob.yaml:2: http.listen: must be" },
	{ DATABASE "http: { listen: [\":80\"] }\n", "keyfob.yaml:2: http.listen: must be" },
	{ DATABASE "http: { listen: [\"127.0.0.1:80\"] }\nadmin: { listen: [\"[::1]:80\", \"127.0.0.1:80\"] }\n",
		"keyfob.yaml:3: admin.listen: has 127.0.0.1:80, where the node listens already" },
	{ DATABASE "http: { listen: [\"[::]:9090\", \"0.0.0.0:9090\"] }\n",
		"keyfob.yaml:1: admin.listen: has 127.0.0.1:9090, where the node listens already" },
	{ DATABASE "admin: { listen: [\"[::1]:80\"] }\nhttp: { listen: [\"0.0.0.0:80\"] }\nwebsocket: { listen: "
		   "[\"127.0.0.1:80\"] }\n",
		"keyfob.yaml:4: websocket.listen: has 127.0.0.1:80" },
	{ DATABASE "websocket: { listen: [\"[::1]:81\", \"[::1]:0\", \"[::1]:0\", \"[::1]:81\"] }\n",
		"keyfob.yaml:2: websocket.listen: has [::1]:81, where the node listens already" },
	{ DATABASE "websocket: { listen: [\"[::1]:81\", \"[0:0::0001]:81\"] }\n",
		"keyfob.yaml:2: websocket.listen: has [0:0::0001]:81, where the node listens already" },
	{ DATABASE "http: { listen: [\"[0::0]:9090\"] }\n",
		"keyfob.yaml:1: admin.listen: has 127.0.0.1:9090, where the node listens already" },
	{ DATABASE "http: { listen: [\"[::ffff:127.0.0.1]:9090\"] }\n",
		"keyfob.yaml:1: admin.listen: has 127.0.0.1:9090, where the node listens already" },
	{ DATABASE "http: { listen: [\"[::FFFF:0:0]:9090\"] }\n",
		"keyfob.yaml:1: admin.listen: has 127.0.0.1:9090, where the node listens already" },
	{ DATABASE "http: { listen: [\"0.0.0.0:81\"] }\nadmin: { listen: [\"[::ffff:7f00:1]:81\"] }\n",
		"keyfob.yaml:3: admin.listen: has [::ffff:7f00:1]:81, where the node listens already" },
	{ DATABASE "websocket: { listen: [\"127.0.0.1:81\", \"[::ffff:127.0.0.1]:81\"] }\n",
		"keyfob.yaml:2: websocket.listen: has [::ffff:127.0.0.1]:81, where the node listens already" },
	{ DATABASE "http: { tls: { certificate: cert.pem } }\n",
		"keyfob.yaml:2: http.tls: certificate and key belong together" },
	{ DATABASE "http:\n  tls: { certificate: cert.pem, key: other-key.pem }\n",
		"keyfob.yaml:3: http.tls: cannot be used: " },
	{ DATABASE "http: { tls: { certificate: no.pem, key: key.pem } }\n",
		"keyfob.yaml:2: http.tls: cannot be used: " },
	{ DATABASE "mqtt: { tls: { certificate: cert.pem, key: no.pem } }\n",
		"keyfob.yaml:2: mqtt.tls: cannot be used: " },
	{ DATABASE "mqtt: { tls: { ca: key.pem } }\n", "keyfob.yaml:2: mqtt.tls.ca: cannot be used: " },
	{ DATABASE "http: { tls: { certificate: none.pem, key: cert.pem } }\n",
		"keyfob.yaml:2: http.tls.certificate: names " },
	{ DATABASE "http: { web_root: cert.pem }\n", "keyfob.yaml:2: http.web_root: names " },
	{ DATABASE "console: { issuer: idp.example }\n", "keyfob.yaml:2: console.issuer: must be an https:// or" },
	{ DATABASE "console: { issuer: \"https://idp.example\" }\n",
		"keyfob.yaml:2: console.issuer: must be one of auth.issuers" },
	{ DATABASE "console: { connect_origins: [\"https://a.example/token\"] }\n",
		"keyfob.yaml:2: console.connect_origins: must be" },
	{ DATABASE "http: { cors_origins: [\"*\"] }\n", "keyfob.yaml:2: http.cors_origins: must be" },
	{ DATABASE "http: { cors_origins: [\"https://a.example/\"] }\n", "keyfob.yaml:2: http.cors_origins: must be" },
	{ DATABASE "http: { trusted_proxies: [\"10.0.0.0/33\"] }\n", "keyfob.yaml:2: http.trusted_proxies: must be" },
	{ DATABASE "websocket: { ping_interval: 25 }\n", "keyfob.yaml:2: websocket.ping_interval: must be a duration" },
	{ DATABASE "websocket: { ping_interval: 1h }\n",
		"keyfob.yaml:2: websocket.ping_interval: must be a duration such as 500ms, 30s, 5m, 24h or 90d, from "
		"100ms to 10m, not \"1h\"" },
	{ DATABASE "websocket: { max_message: 64KB }\n", "keyfob.yaml:2: websocket.max_message: must be a size" },
	{ DATABASE "database: {}\n", "keyfob.yaml:2: database: is there twice" },
	{ "database: { url: \"mysql://u:p@db\" }\n",
		"keyfob.yaml:1: database.url: must be a URL that begins with postgresql://, not a text" },
	{ "database: { url: \"postgresql://a\", url_file: url }\n",
		"keyfob.yaml:1: database.url_file: and database.url are both given; leave one out" },
	{ "database: { url_file: none }\n", "keyfob.yaml:1: database.url_file: names " },
	{ "database: { url_file: empty }\n", "keyfob.yaml:1: database.url_file: names " },
	{ "database: { url_file: bad-url }\n", "keyfob.yaml:1: database.url_file: must be a URL" },
	{ DATABASE "database2: x\n", "keyfob.yaml:2: database2: is not a known key; is database meant?" },
	{ "database: { url: \"postgresql://a\", synchronous: yes }\n",
		"keyfob.yaml:1: database.synchronous: must be true or false, not \"yes\"" },
	{ DATABASE "mqtt: { url: \"http://127.0.0.1:1883\" }\n", "keyfob.yaml:2: mqtt.url: must be mqtt://HOST:PORT" },
	{ DATABASE "mqtt: { url: \"mqtt://u:secret@h:1883\" }\n", "keyfob.yaml:2: mqtt.url: must be" },
	{ DATABASE "mqtt: { url: \"mqtt://h:0\" }\n", "keyfob.yaml:2: mqtt.url: must be" },
	{ DATABASE "mqtt: { url: \"mqtt://a:1883,\" }\n", "keyfob.yaml:2: mqtt.url: must be" },
	{ DATABASE "mqtt: { password: 12345 }\n",
		"keyfob.yaml:2: mqtt.password: must be a secret text, or null, not a number" },
	{ DATABASE "mqtt: { username: 12345 }\n",
		"keyfob.yaml:2: mqtt.username: must be a text, or null, not the bare 12345: put it in quotes" },
	{ DATABASE "lifecycle: { prefix: \"a/#\" }\n", "keyfob.yaml:2: lifecycle.prefix: must be" },
	{ DATABASE "auth: { issuers: {} }\n", "keyfob.yaml:2: auth.issuers: must be a list of maps, not a map" },
	{ DATABASE "auth:\n  issuers:\n    - audience: a\n", "keyfob.yaml:4: auth.issuers[0].issuer: must be given" },
	{ DATABASE "auth:\n  issuers:\n    - issuer: a\n",
		"keyfob.yaml:4: auth.issuers[0]: needs jwks_file or jwks_url" },
	{ DATABASE "auth:\n  issuers:\n    - issuer: \"http://idp.example\"\n",
		"keyfob.yaml:4: auth.issuers[0]: needs jwks_file or jwks_url" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_file: jwks.json, jwks_url: \"https://a/\" }\n",
		"keyfob.yaml:4: auth.issuers[0]: must have at most one" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_url: \"http://idp.example/keys\" }\n",
		"keyfob.yaml:4: auth.issuers[0].jwks_url: must be an https:// URL without a user, or http:// of "
		"127.0.0.1" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_url: \"http://127.0.0.1.idp.example/\" }\n",
		"keyfob.yaml:4: auth.issuers[0].jwks_url: must be" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_url: \"http://127.0.0.1:80@idp.example/\" }\n",
		"keyfob.yaml:4: auth.issuers[0].jwks_url: must be" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_url: \"https://u:p@idp.example/\" }\n",
		"keyfob.yaml:4: auth.issuers[0].jwks_url: must be" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_url: \"file:///etc/keys.json\" }\n",
		"keyfob.yaml:4: auth.issuers[0].jwks_url: must be" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_file: jwks.json }\n    - { issuer: b, jwks_file: "
		   "jwks.json }\n",
		"keyfob.yaml:5: auth.issuers[1]: has the same subject_prefix as auth.issuers[0]" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_file: jwks.json }\n"
		   "    - { issuer: a, jwks_file: jwks.json, subject_prefix: b }\n",
		"keyfob.yaml:5: auth.issuers[1]: has the same issuer as auth.issuers[0]" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_file: jwks.json, scopes: [all] }\n",
		"keyfob.yaml:4: auth.issuers[0].scopes: must be a list of texts, each one of vehicles:read, "
		"commands:write or keyfob:admin" },
	{ DATABASE "auth:\n  issuers:\n    - { issuer: a, jwks_file: jwks.json, alg: RS256 }\n",
		"keyfob.yaml:4: auth.issuers[0].alg: is not a known key" },
	{ DATABASE "limits: { per_subject: \"50\" }\n", "keyfob.yaml:2: limits.per_subject: must be a rate" },
	{ DATABASE "limits: { per_subject: 50 }\n", "keyfob.yaml:2: limits.per_subject: must be a rate" },
	{ DATABASE "limits: { per_subject: \"-5/s\" }\n", "keyfob.yaml:2: limits.per_subject: must be a rate" },
	{ DATABASE "commands: { catalog: other.yaml }\n", "keyfob.yaml:2: commands.catalog: names " },
	{ DATABASE "wake: { providers: [fax] }\n",
		"keyfob.yaml:2: wake.providers: must be a list of smpp, http or sns, not \"fax\"" },
	{ DATABASE "wake: { providers: [smpp, smpp] }\n", "keyfob.yaml:2: wake.providers: has smpp twice" },
	{ DATABASE "wake: { providers: [smpp] }\n",
		"keyfob.yaml:2: wake.smpp.url: must be given, since wake.providers names smpp" },
	{ DATABASE "wake: { smpp: { url: \"smpp://h\" } }\n",
		"keyfob.yaml:2: wake.smpp.url: must be smpp://USER@HOST:PORT" },
	{ DATABASE "wake: { smpp: { url: \"smpp://h:2775\" } }\n",
		"keyfob.yaml:2: wake.smpp.url: must be smpp://USER@HOST:PORT" },
	{ DATABASE "wake: { smpp: { url: \"smpps://user:secret@h:2775\" } }\n",
		"keyfob.yaml:2: wake.smpp.url: must be smpp://USER@HOST:PORT" },
	{ DATABASE "wake: { smpp: { password: secret@89 } }\n",
		"keyfob.yaml:2: wake.smpp.password: must be at most 8 octets long" },
	{ DATABASE "wake: { http: { headers: { \"a b\": c } } }\n",
		"keyfob.yaml:2: wake.http.headers: a b is not fit" },
	{ DATABASE "wake: { http: { hook_secret: \"sh0rt\" } }\n",
		"keyfob.yaml:2: wake.http.hook_secret: must be 16 to 128 letters, digits, -, ., _ or ~, or null, not a "
		"text" },
	{ DATABASE "wake: { http: { ok_status: [2] } }\n",
		"keyfob.yaml:2: wake.http.ok_status: must be a list of whole numbers, from 100 to 599" },
	{ DATABASE "log: { level: loud }\n",
		"keyfob.yaml:2: log.level: must be one of debug, info, warn or error, not \"loud\"" },
	{ DATABASE "a: *b\n", "keyfob.yaml:2: aliases" },
	{ DATABASE "node: !!map {}\n", "keyfob.yaml:2: tags" },
	{ DATABASE "---\nb: 1\n", "keyfob.yaml:2: a second document" },
	{ DATABASE "b: [\n", "keyfob.yaml:3: is not YAML" },
	{ DATABASE "\tb: 1\n", "keyfob.yaml:2: is not YAML" },
	{ DATABASE "b: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n", "keyfob.yaml:2: is nested too deeply" },
	{ DATABASE "namespace: \"a\\0b\"\n", "keyfob.yaml:2: has a NUL" },
	{ DATABASE "namespace: k\nwake:\n  text: \"\xe9\"\n", "keyfob.yaml:4: is not YAML: invalid" },
	{ DATABASE "namespace: k\x01\n", "keyfob.yaml:2: is not YAML: control characters" },
};

START_TEST(a_mistake_is_told_with_file_line_and_key)
{
	const struct mistake *m = &mistakes[_i];
	const char *line = refused_with(m->text, NULL);

	ck_assert_msg(strncmp(line, m->line, strlen(m->line)) == 0, "expected: %s\n     got: %s", m->line, line);
	ck_assert_ptr_null(strstr(line, "secret@"));
}
END_TEST

START_TEST(a_missing_file_is_told)
{
	struct config_error error;

	ck_assert_ptr_null(config_read("/nowhere/keyfob.yaml", NULL, &error));
	ck_assert_str_eq(error.line, "/nowhere/keyfob.yaml: cannot be read: No such file or directory");
}
END_TEST

START_TEST(the_default_catalogue_must_be_there)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/catalog.yaml", folder);
	unlink(path);
	const char *line = refused_with(DATABASE, NULL);
	ck_assert_msg(strstr(line, "commands.catalog: names ") != NULL, "%s", line);
}
END_TEST

START_TEST(the_environment_overrides)
{
	char *environment[] = {
		"PATH=/bin",
		"KEYFOB_URL=http://x",
		"KEYFOB_TOKEN=t",
		"KEYFOB_DATABASE_URL=postgresql://env/keyfob",
		"KEYFOB_HTTP_LISTEN=[\"[::1]:1\", \"127.0.0.1:2\"]",
		"KEYFOB_HTTP_TLS_KEY=key.pem",
		"KEYFOB_HTTP_TLS={\"certificate\": \"cert.pem\"}",
		"KEYFOB_MQTT_USERNAME=1234",
		"KEYFOB_MQTT_PASSWORD=null",
		"KEYFOB_NODE_WORKERS=3",
		"KEYFOB_NODE_ID=",
		"KEYFOB_LIMITS_PER_VEHICLE=7/s",
		"KEYFOB_LIFECYCLE_VERIFY_DELAY=750ms",
		"KEYFOB_WAKE_ENABLED=false",
		"KEYFOB_AUTH_ISSUERS=[{\"issuer\": \"i\", \"jwks_file\": \"jwks.json\"}]",
		"KEYFOB_DATABSE_URL=x",
		NULL,
	};
	const struct config *c = read_with("database: { url_file: none }\n"
					   "http: { listen: [\"127.0.0.1:9\"] }\n"
					   "node: { id: a, workers: 1 }\n"
					   "mqtt: { password_file: password }\n",
		environment);

	ck_assert_str_eq(c->database.url, "postgresql://env/keyfob");
	ck_assert_uint_eq(c->http.listen.count, 2);
	ck_assert_uint_eq(c->http.listen.items[1].port, 2);
	ck_assert_ptr_nonnull(c->http.tls.certificate);
	ck_assert_ptr_nonnull(c->http.tls.key);
	ck_assert_str_eq(c->mqtt.username, "1234");
	ck_assert_str_eq(c->mqtt.password, "null");
	ck_assert_int_eq(c->node.workers, 3);
	ck_assert_ptr_null(c->node.id);
	ck_assert_double_eq(c->limits.per_vehicle, 7);
	ck_assert_int_eq(c->lifecycle.verify_delay_ms, 750);
	ck_assert(!c->wake.enabled);
	ck_assert_str_eq(c->auth.issuers.items[0].issuer, "i");
	ck_assert_uint_eq(c->warnings.count, 1);
	ck_assert_str_eq(c->warnings.items[0], "KEYFOB_DATABSE_URL names no setting and is ignored");
	config_free(c);
}
END_TEST

START_TEST(opentelemetrys_variables_stand_for_the_settings_of_tracing)
{
	char *environment[] = {
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.example:4318//",
		"OTEL_EXPORTER_OTLP_HEADERS= api-key = a%20b%2Cc ,x-empty=,x=%zz",
		"OTEL_EXPORTER_OTLP_TIMEOUT=2500",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_BSP_SCHEDULE_DELAY=100",
		"OTEL_SERVICE_NAME=cars",
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test,team=a=b",
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio",
		"OTEL_TRACES_SAMPLER_ARG=0.25",
		"OTEL_TRACES_EXPORTER=otlp",
		"OTEL_SDK_DISABLED=",
		"OTEL_WHATEVER=x",
		"KEYFOB_TRACING_TIMEOUT=3s",
		NULL,
	};
	const struct config *c = read_with(DATABASE "tracing: { endpoint: \"http://file/\", ratio: 1 }\n", environment);

	ck_assert_str_eq(c->tracing.endpoint, "https://collector.example:4318/v1/traces");
	ck_assert_uint_eq(c->tracing.headers.count, 3);
	ck_assert_str_eq(c->tracing.headers.items[0].key, "api-key");
	ck_assert_str_eq(c->tracing.headers.items[0].value, "a b,c");
	ck_assert_str_eq(c->tracing.headers.items[2].value, "%zz");
	ck_assert_int_eq(c->tracing.timeout_ms, 3000);
	ck_assert_int_eq(c->tracing.delay_ms, 100);
	ck_assert_str_eq(c->tracing.service_name, "cars");
	ck_assert_str_eq(c->tracing.resource.items[1].value, "a=b");
	ck_assert_int_eq(c->tracing.sampler, 5);
	ck_assert_double_eq(c->tracing.ratio, 0.25);
	ck_assert_uint_eq(c->warnings.count, 1);
	ck_assert_str_eq(
		c->warnings.items[0], "OTEL_EXPORTER_OTLP_PROTOCOL is not http/json, which is all that is spoken here");
	config_free(c);
}
END_TEST

START_TEST(opentelemetrys_variables_can_name_the_traces_alone_and_turn_them_off)
{
	char *named[] = { "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a/b", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c",
		"OTEL_EXPORTER_OTLP_HEADERS=a=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=b=2",
		"OTEL_TRACES_SAMPLER=jaeger_remote", NULL };
	const struct config *c = read_with(DATABASE, named);
	ck_assert_str_eq(c->tracing.endpoint, "http://a/b");
	ck_assert_uint_eq(c->tracing.headers.count, 1);
	ck_assert_str_eq(c->tracing.headers.items[0].key, "b");
	ck_assert_int_eq(c->tracing.sampler, 3);
	ck_assert_uint_eq(c->warnings.count, 1);
	config_free(c);

	static char *const off[] = { "OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none" };
	for (size_t i = 0; i < 2; i++) {
		char *environment[] = { "OTEL_EXPORTER_OTLP_ENDPOINT=http://c", off[i], NULL };
		c = read_with(DATABASE, environment);
		ck_assert_ptr_null(c->tracing.endpoint);
		config_free(c);
	}
}
END_TEST

static const struct variable_mistake {
	char *variable;
	const char *line;
} variable_mistakes[] = {
	{ "KEYFOB_NODE_WORKERS=many", "KEYFOB_NODE_WORKERS: node.workers: must be a whole number" },
	{ "KEYFOB_HTTP_LISTEN=127.0.0.1:80", "KEYFOB_HTTP_LISTEN: is not JSON" },
	{ "KEYFOB_HTTP_LISTEN=[80]", "KEYFOB_HTTP_LISTEN: http.listen: must be a list of addresses" },
	{ "KEYFOB_HTTP={\"a\":1}", "KEYFOB_HTTP: http.a: is not a known key" },
	{ "KEYFOB_DATABASE_URL=mysql://topsecret@h", "KEYFOB_DATABASE_URL: database.url: must be a URL" },
	{ "KEYFOB_DATABASE_URL=", "KEYFOB_DATABASE_URL: database.url: must be a URL" },
	{ "KEYFOB_WAKE_ENABLED=", "KEYFOB_WAKE_ENABLED: wake.enabled: must be true or false" },
	{ "OTEL_EXPORTER_OTLP_HEADERS=api-key=a,topsecret", "OTEL_EXPORTER_OTLP_HEADERS: must be key=value" },
	{ "OTEL_EXPORTER_OTLP_HEADERS==topsecret", "OTEL_EXPORTER_OTLP_HEADERS: must be key=value" },
	{ "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317", "OTEL_EXPORTER_OTLP_ENDPOINT: tracing.endpoint: must be " },
	{ "OTEL_EXPORTER_OTLP_TIMEOUT=10s", "OTEL_EXPORTER_OTLP_TIMEOUT: tracing.timeout: must be a duration" },
	{ "OTEL_TRACES_SAMPLER_ARG=1.5", "OTEL_TRACES_SAMPLER_ARG: tracing.ratio: must be a number from 0 to 1" },
	{ "KEYFOB_TRACING_RATIO=nan", "KEYFOB_TRACING_RATIO: tracing.ratio: must be a number from 0 to 1" },
	{ "KEYFOB_MQTT_PASSWORD_FILE=none", "KEYFOB_MQTT_PASSWORD_FILE: mqtt.password_file: names " },
};

START_TEST(a_variables_mistake_is_told_with_its_name)
{
	const struct variable_mistake *m = &variable_mistakes[_i];
	char *environment[] = { m->variable, NULL };
	const char *line = refused_with(DATABASE, environment);

	ck_assert_msg(strncmp(line, m->line, strlen(m->line)) == 0, "expected: %s\n     got: %s", m->line, line);
	ck_assert_ptr_null(strstr(line, "topsecret"));
}
END_TEST

START_TEST(a_section_that_is_a_scalar_cannot_be_overridden_inside)
{
	char *environment[] = { "KEYFOB_NODE_ID=a", NULL };

	ck_assert_str_eq(refused_with(DATABASE "node: 5\n", environment),
		"KEYFOB_NODE_ID: node.id: the file has something else than a map of keys above it");
}
END_TEST

START_TEST(an_empty_section_is_all_defaults)
{
	const struct config *c = read_with(DATABASE "http:\nnode: ~\n", NULL);

	ck_assert_int_eq(c->http.per_address, 1000);
	config_free(c);
}
END_TEST

/* Whoever reads them at SIGHUP says what is wrong with them, and keeps the old. */
START_TEST(read_again_it_names_files_and_does_not_look)
{
	struct config_error error = { "" };

	write_file("keyfob.yaml", "database: { url_file: none }\n"
				  "http: { web_root: none, tls: { certificate: none.pem, key: no.pem } }\n"
				  "mqtt: { tls: { ca: none.pem } }\n"
				  "auth: { issuers: [{ issuer: a, jwks_file: none }] }\n"
				  "wake: { enabled: false, providers: [sns], sns: { region: x, access_key_id: k, "
				  "secret_access_key_file: none } }\n"
				  "commands: { catalog: none.yaml }\n"
				  "log: { level: debug }\n");
	ck_assert_ptr_null(config_read(file, NULL, &error));
	const struct config *c = config_read_again(file, NULL, &error);
	ck_assert_msg(c != NULL, "%s", error.line);
	ck_assert_ptr_null(c->database.url);
	ck_assert(!c->wake.enabled);
	ck_assert_int_eq(c->log.level, LOG_LEVEL_DEBUG);
	const char *catalog = strrchr(c->commands.catalog, '/');
	ck_assert_str_eq(catalog, "/none.yaml");
	config_free(c);

	write_file("keyfob.yaml", DATABASE "log: { level: loud }\n");
	ck_assert_ptr_null(config_read_again(file, NULL, &error));
	write_file("keyfob.yaml", DATABASE "http: { tls: { certificate: none.pem } }\n");
	ck_assert_ptr_null(config_read_again(file, NULL, &error));
}
END_TEST

START_TEST(an_issuer_without_keys_is_told_with_its_line)
{
	struct config_error error = { "" };
	const struct config *c =
		read_with(DATABASE "auth:\n  issuers:\n"
				   "    - { issuer: a, jwks_url: \"https://a/\" }\n"
				   "    - issuer: b\n      subject_prefix: b\n      jwks_file: jwks.json\n",
			NULL);

	config_refuse_keys(c, 1, "it has none", &error);
	ck_assert_ptr_nonnull(strstr(error.line, "/keyfob.yaml:7: auth.issuers[1].jwks_file: names "));
	ck_assert_ptr_nonnull(strstr(error.line, "/jwks.json, which cannot be used: it has none"));
	config_free(c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tests = tcase_create("config");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, defaults_are_the_manuals);
	tcase_add_test(tests, everything_can_be_said);
	tcase_add_loop_test(tests, a_mistake_is_told_with_file_line_and_key, 0, sizeof(mistakes) / sizeof(*mistakes));
	tcase_add_test(tests, a_missing_file_is_told);
	tcase_add_test(tests, the_default_catalogue_must_be_there);
	tcase_add_test(tests, the_environment_overrides);
	tcase_add_test(tests, opentelemetrys_variables_stand_for_the_settings_of_tracing);
	tcase_add_test(tests, opentelemetrys_variables_can_name_the_traces_alone_and_turn_them_off);
	tcase_add_loop_test(tests, a_variables_mistake_is_told_with_its_name, 0,
		sizeof(variable_mistakes) / sizeof(*variable_mistakes));
	tcase_add_test(tests, a_section_that_is_a_scalar_cannot_be_overridden_inside);
	tcase_add_test(tests, an_empty_section_is_all_defaults);
	tcase_add_test(tests, read_again_it_names_files_and_does_not_look);
	tcase_add_test(tests, an_issuer_without_keys_is_told_with_its_line);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
