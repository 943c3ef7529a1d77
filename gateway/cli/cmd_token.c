/* cmd_token.c - keyfob token: plays the identity provider for development. A key pair in a folder, and tokens by it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/json.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"
#include "gateway/cli/signing_key.h"

#define SCOPES "vehicles:read commands:write" /* a token of none is good for nothing */

static char *path_in(const struct invocation *inv, const char *name)
{
	struct text path = { 0 };
	text_addf(&path, "%s/%s", option_text(inv, "--dir", "."), name);
	return text_take(&path);
}

static int fail(const char *why)
{
	fprintf(stderr, "keyfob: %s\n", why);
	return CLI_FAILED;
}

/* ---- token init ---- */

static bool folder_make(const char *folder)
{
	return mkdir(folder, 0700) == 0 || errno == EEXIST;
}

/* A key that is there is kept: tokens made with it stay good, and `init` may run at every start. */
static struct signing_key *key_keep_or_make(const struct invocation *inv, const char *file, char *why, size_t why_size)
{
	if (!option_is_given(inv, "--force") && access(file, F_OK) == 0)
		return signing_key_read(file, why, why_size);
	struct signing_key *key = signing_key_make(option_text(inv, "--alg", "ES256"));
	if (signing_key_write(key, file, why, why_size))
		return key;
	signing_key_free(key);
	return NULL;
}

/* Renamed into place: a node that reads the set again never finds half of it. */
static bool set_write(const struct signing_key *key, const char *file)
{
	json_auto_t *set = signing_key_set(key);
	struct text beside = { 0 };
	text_addf(&beside, "%s.new", file);
	bool fine = json_dump_file(set, beside.data, JSON_INDENT(2)) == 0 && rename(beside.data, file) == 0;
	text_free(&beside);
	return fine;
}

static int init_in(const struct invocation *inv, bool as_json, const char *key_file, const char *set_file)
{
	char why[320] = "";
	struct signing_key *key = key_keep_or_make(inv, key_file, why, sizeof(why));
	if (!key)
		return fail(why);
	bool written = set_write(key, set_file);
	json_auto_t *result =
		json_pack("{ss ss ss}", "alg", signing_key_alg(key), "key_file", key_file, "jwks_file", set_file);
	signing_key_free(key);
	if (!written)
		return fail("jwks.json could not be written");
	if (as_json)
		print_json(result);
	else
		printf("private key  %s\npublic keys  %s\n", key_file, set_file);
	return CLI_FINE;
}

static int run_init(struct cli *cli, const struct invocation *inv)
{
	const char *folder = option_text(inv, "--dir", "."), *alg = option_text(inv, "--alg", "ES256");
	if (!signing_alg_is_known(alg)) {
		fprintf(stderr, "keyfob: --alg is ES256 or RS256, not %.32s\n", alg);
		return CLI_USAGE;
	}
	if (!folder_make(folder)) {
		fprintf(stderr, "keyfob: %s: %s\n", folder, strerror(errno));
		return CLI_FAILED;
	}
	char *key_file = path_in(inv, "key.pem"), *set_file = path_in(inv, "jwks.json");
	int code = init_in(inv, cli->json, key_file, set_file);
	free(key_file);
	free(set_file);
	return code;
}

/* ---- token mint ---- */

/* --auth-time: when the person last signed in; "now", or seconds since 1970. */
static bool auth_time_add(json_t *claims, const struct invocation *inv, int64_t now_s)
{
	const char *text = option_text(inv, "--auth-time", NULL);
	char *end = NULL;
	if (!text)
		return true;
	int64_t at = strcmp(text, "now") == 0 ? now_s : strtoll(text, &end, 10);
	json_object_set_new(claims, "auth_time", json_integer(at));
	return !end || (end != text && *end == '\0');
}

static json_t *claims_of(const struct invocation *inv)
{
	int64_t now_s = (int64_t)time(NULL);
	char id[UUID_TEXT_SIZE];
	uuid7_make(now_s * 1000000, id);
	json_t *claims =
		json_pack("{ss ss ss sI sI ss}", "iss", option_text(inv, "--issuer", "https://keyfob.localhost"), "aud",
			option_text(inv, "--audience", "keyfob"), "sub", option_text(inv, "--subject", ""), "iat",
			(json_int_t)now_s, "exp", (json_int_t)(now_s + option_number(inv, "--ttl", 86400)), "jti", id);
	if (!claims)
		return NULL;
	json_object_set_new(claims, "scope", json_string(option_text(inv, "--scope", SCOPES)));
	if (auth_time_add(claims, inv, now_s))
		return claims;
	json_decref(claims);
	return NULL;
}

static int mint(const struct invocation *inv, const struct signing_key *key, bool as_json)
{
	json_auto_t *claims = claims_of(inv);
	if (!claims) {
		fprintf(stderr, "keyfob: a value is no UTF-8, or --auth-time no time\n");
		return CLI_USAGE;
	}
	char *token = signing_key_sign(key, claims);
	if (!token)
		return fail("the token could not be signed");
	json_auto_t *result = json_pack("{ss sO}", "token", token, "claims", claims);
	if (as_json)
		print_json(result);
	else
		puts(token);
	free(token);
	return CLI_FINE;
}

static int run_mint(struct cli *cli, const struct invocation *inv)
{
	char why[320];
	if (!option_is_given(inv, "--subject")) {
		fprintf(stderr, "keyfob: --subject says whose token it is, and must be given\n");
		return CLI_USAGE;
	}
	char *file = path_in(inv, "key.pem");
	struct signing_key *key = signing_key_read(file, why, sizeof(why));
	int code = key ? mint(inv, key, cli->json) : fail(why);
	if (!key)
		fprintf(stderr, "keyfob: `keyfob token init` makes a key, and --dir says where one is\n");
	signing_key_free(key);
	free(file);
	return code;
}

static const struct option init_options[] = {
	{ "--dir", OPTION_TEXT, "DIR", "where key.pem and jwks.json are kept (this folder)" },
	{ "--alg", OPTION_TEXT, "ALG", "ES256 (the default) or RS256" },
	{ "--force", OPTION_FLAG, NULL, "make a new key although there is one" },
	{ 0 },
};

const struct cli_command CMD_TOKEN_INIT = {
	.name = "token init",
	.arguments = "",
	.summary = "make a development issuer's key and JWKS",
	.help = "DIR/key.pem is the private key (readable to you alone), DIR/jwks.json what the node's\n"
		"auth.issuers[].jwks_file names. A key that is there is kept. For development: whoever has key.pem "
		"can\n"
		"be anybody.\n",
	.options = init_options,
	.is_local = true,
	.run = run_init,
};

static const struct option mint_options[] = {
	{ "--dir", OPTION_TEXT, "DIR", "where `token init` has put the key (this folder)" },
	{ "--subject", OPTION_TEXT, "SUBJECT", "whose token it is" },
	{ "--scope", OPTION_TEXT, "SCOPES",
		"vehicles:read, commands:write, keyfob:admin, parted by spaces (" SCOPES ")" },
	{ "--ttl", OPTION_DURATION, "TIME", "how long it is good (24h)" },
	{ "--issuer", OPTION_TEXT, "URL", "the configured issuer (https://keyfob.localhost)" },
	{ "--audience", OPTION_TEXT, "NAME", "the configured audience (keyfob)" },
	{ "--auth-time", OPTION_TEXT, "now|SECONDS", "when the person last signed in, for commands that ask for it" },
	{ 0 },
};

const struct cli_command CMD_TOKEN_MINT = {
	.name = "token mint",
	.arguments = "--subject SUBJECT",
	.summary = "print a development token",
	.help = "  export KEYFOB_TOKEN=$(keyfob token mint --dir auth --subject alice --scope \"vehicles:read "
		"commands:write\")\n",
	.options = mint_options,
	.is_local = true,
	.run = run_mint,
};
