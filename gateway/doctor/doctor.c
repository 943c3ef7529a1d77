/* doctor.c - one check after the other, and the report that they fill. */
#include "gateway/doctor/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "gateway/access/jwks.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/doctor/doctor_internal.h"

struct report {
	struct finding *items;
	size_t count;
};

static const struct config *check_configuration(struct report *report, const char *file);

static void (*const checks[])(struct patient *) = { check_secrets, check_certificate, check_descriptors, check_kernel,
	check_node, check_ports, check_issuers, check_database, check_broker };

struct report *doctor_examine(const char *file)
{
	struct report *report = memory_new(sizeof(*report));
	struct patient patient = { .report = report };

	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT); /* what is to be said stands in the report */
	patient.config = check_configuration(report, file);
	for (size_t i = 0; patient.config && i < sizeof(checks) / sizeof(*checks); i++)
		checks[i](&patient);
	config_free(patient.config);
	return report;
}

void report_free(struct report *report)
{
	if (report)
		free(report->items);
	free(report);
}

size_t report_count(const struct report *report)
{
	return report->count;
}

const struct finding *report_at(const struct report *report, size_t i)
{
	return &report->items[i];
}

enum verdict report_worst(const struct report *report)
{
	enum verdict worst = VERDICT_OK;

	for (size_t i = 0; i < report->count; i++) {
		if (report->items[i].verdict > worst)
			worst = report->items[i].verdict;
	}
	return worst;
}

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {
		[VERDICT_OK] = "ok", [VERDICT_WARNING] = "warning", [VERDICT_FAILED] = "failed"
	};

	return names[verdict];
}

void find(struct report *report, const char *check, enum verdict verdict, const char *advice, const char *format, ...)
{
	report->items = memory_resize(report->items, report->count + 1, sizeof(*report->items));
	struct finding *f = &report->items[report->count++];
	va_list args;

	f->check = check;
	f->verdict = verdict;
	snprintf(f->advice, sizeof(f->advice), "%s", advice);
	va_start(args, format);
	vsnprintf(f->said, sizeof(f->said), format, args);
	va_end(args);
	for (char *c = f->said; *c; c++) /* libpq says some things in two lines */
		*c = *c == '\n' || *c == '\t' ? ' ' : *c;
}

static const char *keys_refused(const struct config *config, struct config_error *error)
{
	char why[256];

	for (size_t i = 0; i < config->auth.issuers.count; i++) {
		const char *file = config->auth.issuers.items[i].jwks_file;
		struct jwks *keys = file ? jwks_new(file, why, sizeof(why)) : NULL;
		if (file && !keys) {
			config_refuse_keys(config, i, why, error);
			return error->line;
		}
		jwks_free(keys);
	}
	return NULL;
}

static const char *advice_on(const char *file)
{
	return access(file, R_OK) == 0
		       ? "mend that line; keyfob.yaml(5) has every setting"
		       : "--config FILE says where it is; its user may read it: sudo -u keyfob keyfob doctor";
}

/* What `keyfobd --check-config` looks at. NULL: nothing else can be looked at. */
static const struct config *check_configuration(struct report *report, const char *file)
{
	struct config_error error = { 0 };
	const struct config *config = config_read(file, environ, &error);
	const struct catalog *catalog = config ? catalog_read(config->commands.catalog, &error) : NULL;
	const char *why = catalog ? keys_refused(config, &error) : error.line;

	catalog_free(catalog);
	for (size_t i = 0; config && i < config->warnings.count; i++)
		find(report, "configuration", VERDICT_WARNING, "take it out, or spell it as docs/configuration.md does",
			"%s", config->warnings.items[i]);
	if (why)
		find(report, "configuration", VERDICT_FAILED, advice_on(file), "%s", why);
	else
		find(report, "configuration", VERDICT_OK, "", "%s", file);
	if (!why)
		return config;
	config_free(config);
	return NULL;
}
