/* main.c - keyfobd: reads the command line, does one thing, and ends with an exit code that says how it went. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/access/jwks.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/node.h"
#include "sql/migrate.h"

enum { EXIT_FINE = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_CONFIGURATION = 78 }; /* 78: EX_CONFIG of sysexits.h */

enum action { RUN, CHECK_CONFIG, MIGRATE, NEW_EPOCH, VERSION, HELP };

static const char help[] =
	"keyfobd - a node of the remote-command gateway for connected vehicles\n"
	"\n"
	"  keyfobd --config FILE                  run until SIGTERM; SIGHUP reloads certificate, keys, catalogue and "
	"log level,\n"
	"                                         SIGUSR2 switches debug lines on and off\n"
	"  keyfobd --config FILE --check-config   say whether the configuration is fit to start with\n"
	"  keyfobd --config FILE --migrate        bring the database to this version's schema\n"
	"  keyfobd --config FILE --new-epoch      say that the database's history was not continued (after a restore)\n"
	"  keyfobd --version\n"
	"  keyfobd --help\n"
	"\n"
	"Exit codes: 0 fine, 1 runtime failure, 2 usage, 78 configuration.\n"
	"Every setting can be overridden by the environment: KEYFOB_ and its path in upper case,\n"
	"as in KEYFOB_DATABASE_URL; docs/configuration.md lists them.\n";

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check-config", no_argument, NULL, CHECK_CONFIG },
	{ "migrate", no_argument, NULL, MIGRATE },
	{ "new-epoch", no_argument, NULL, NEW_EPOCH },
	{ "version", no_argument, NULL, VERSION },
	{ "help", no_argument, NULL, HELP },
	{ 0 },
};

static int usage(const char *why)
{
	fprintf(stderr, "keyfobd: %s; try keyfobd --help\n", why);
	return EXIT_USAGE;
}

static int act(enum action action, const struct config *config)
{
	switch (action) {
	case MIGRATE:
		return migrate_run(config->database.url);
	case NEW_EPOCH:
		return migrate_new_epoch(config->database.url);
	case CHECK_CONFIG:
		return EXIT_FINE;
	default:
		node_run(config);
	}
}

/* What other files hold that the configuration names: the catalogue, and the issuers' keys. */

static bool has_catalog(const struct config *config, struct config_error *error)
{
	const struct catalog *catalog = catalog_read(config->commands.catalog, error);

	catalog_free(catalog);
	return catalog;
}

static bool has_keys(const struct config *config, struct config_error *error)
{
	const struct issuers *issuers = &config->auth.issuers;
	char why[256];

	for (size_t i = 0; i < issuers->count; i++) {
		if (!issuers->items[i].jwks_file)
			continue;
		struct jwks *keys = jwks_new(issuers->items[i].jwks_file, why, sizeof(why));
		jwks_free(keys);
		if (!keys) {
			config_refuse_keys(config, i, why, error);
			return false;
		}
	}
	return true;
}

static int with_config(enum action action, const char *file)
{
	struct config_error error = { 0 };
	const struct config *config = config_read(file, environ, &error);

	if (!config) {
		fprintf(stderr, "%s\n", error.line);
		return EXIT_CONFIGURATION;
	}
	log_configure(config->log.level, config->log.format);
	for (size_t i = 0; i < config->warnings.count; i++)
		log_warn("config", config->warnings.items[i]);
	if (!has_catalog(config, &error) || !has_keys(config, &error)) {
		fprintf(stderr, "%s\n", error.line);
		config_free(config);
		return EXIT_CONFIGURATION;
	}
	int code = act(action, config);
	config_free(config);
	return code;
}

int main(int argc, char **argv)
{
	enum action action = RUN;
	const char *file = NULL;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return usage("unknown or incomplete option");
		if (c == 'c')
			file = optarg;
		else if (action != RUN)
			return usage("one action at a time");
		else
			action = (enum action)c;
	}
	if (optind < argc)
		return usage("no arguments are taken");
	if (action == HELP || action == VERSION) {
		fputs(action == HELP ? help : "keyfobd " KEYFOB_VERSION "\n", stdout);
		return EXIT_FINE;
	}
	return file ? with_config(action, file) : usage("--config FILE is required");
}
