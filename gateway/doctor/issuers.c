/* issuers.c - whether the keys of each issuer can be had. */
#include "gateway/access/token.h"
#include "gateway/config.h"
#include "gateway/doctor/doctor_internal.h"

#define KEYS_MS 5000 /* as long as a node waits for them when it starts */

static void check_issuer(struct patient *p, const struct issuer *from)
{
	struct token_issuer issuer = { .issuer = from->issuer,
		.audience = from->audience,
		.jwks_file = from->jwks_file,
		.jwks_url = from->jwks_url,
		.subject_prefix = from->subject_prefix };
	char why[512];
	struct token_trust *trust = token_trust_new(&issuer, 1, why, sizeof(why));

	if (trust && token_trust_wait(trust, KEYS_MS))
		find(p->report, "issuers", VERDICT_OK, "", "the keys of %s can be had", from->issuer);
	else
		find(p->report, "issuers", VERDICT_FAILED,
			"fetch them with curl from here: name, proxy, certificate; its tokens are refused meanwhile",
			"the keys of %s cannot be had from %s", from->issuer,
			from->jwks_url ? from->jwks_url : "its OpenID configuration");
	token_trust_free(trust);
}

void check_issuers(struct patient *p)
{
	const struct issuers *issuers = &p->config->auth.issuers;

	if (issuers->count == 0)
		find(p->report, "issuers", VERDICT_WARNING, "name one in auth.issuers",
			"no token is good: auth.issuers is empty");
	for (size_t i = 0; i < issuers->count; i++)
		check_issuer(p, &issuers->items[i]);
}
