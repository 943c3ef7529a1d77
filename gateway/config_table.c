/* config_table.c - the rows of config.tbl.h as a table. */
#include "gateway/config_table.h"

#include "gateway/config.h"
#include "gateway/config_syntax.h"

#define KIB(n) ((int64_t)(n) << 10)
#define MIB(n) ((int64_t)(n) << 20)
#define GIB(n) ((int64_t)(n) << 30)
#define MS(n) ((int64_t)(n))
#define S(n) ((int64_t)(n)*1000)
#define M(n) (S(n) * 60)
#define H(n) (M(n) * 60)
#define D(n) (H(n) * 24)

/* the names stand in the order of their enums */
static const char *const providers[] = { "smpp", "http", "sns", NULL };
static const char *const methods[] = { "GET", "POST", "PUT", NULL };
static const char *const sources[] = { "aws", "emqx", "vehicles", NULL };
static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const samplers[] = { "always_on", "always_off", "traceidratio", "parentbased_always_on",
	"parentbased_always_off", "parentbased_traceidratio", NULL };
static const char *const formats[] = { "logfmt", "json", NULL };
static const char *const scopes[] = { "vehicles:read", "commands:write", "keyfob:admin", NULL };

static const struct setting_rule RULE_PROVIDERS = { .names = providers };
static const struct setting_rule RULE_METHOD = { .names = methods };
static const struct setting_rule RULE_SOURCE = { .names = sources };
static const struct setting_rule RULE_LEVEL = { .names = levels };
static const struct setting_rule RULE_FORMAT = { .names = formats };
static const struct setting_rule RULE_SAMPLER = { .names = samplers };
static const struct setting_rule RULE_SCOPES = { .what = ", each one of ", .names = scopes };
static const struct setting_rule RULE_ISSUERS = { .table = &CONFIG_ISSUER_TABLE };

#define ROW(path, structure, member, type, initial, min, max, rule, reloadable, sentence)                              \
	{ path, SETTING_##type, offsetof(structure, member), initial, min, max, rule, reloadable, sentence },

static const struct setting rows[] = {
#define SETTING(path, ...) ROW(path, struct config, __VA_ARGS__)
#define ISSUER(path, ...)
#include "gateway/config.tbl.h"
#undef SETTING
#undef ISSUER
};

static const struct setting issuer_rows[] = {
#define SETTING(path, ...)
#define ISSUER(path, ...) ROW(path, struct issuer, __VA_ARGS__)
#include "gateway/config.tbl.h"
#undef SETTING
#undef ISSUER
};

const struct setting_table CONFIG_TABLE = { rows, sizeof(rows) / sizeof(*rows), sizeof(struct config) };
const struct setting_table CONFIG_ISSUER_TABLE = { issuer_rows, sizeof(issuer_rows) / sizeof(*issuer_rows),
	sizeof(struct issuer) };
