/* wake.c - from the configuration to the SMS providers: a row a provider. */
#include "gateway/wake.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/config.h"
#include "notifier/wake/http_sms.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/smpp/smpp.h"
#include "notifier/wake/sns.h"

#define KINDS 3

struct sms_setup {
	const struct config *config;
	const char *names[KINDS];
	int kinds[KINDS]; /* enum wake_provider */
	size_t count;
	struct http_sms_header *headers;
	struct http_sms_options http;
	struct sns_options sns;
	struct smpp_options smpp;
};

static struct sms_provider *make_smpp(
	const struct sms_setup *setup, struct loop *loop, const struct sms_receipts *receipts)
{
	return smpp_new(loop, &setup->smpp, receipts);
}

static struct sms_provider *make_http(
	const struct sms_setup *setup, struct loop *loop, const struct sms_receipts *receipts)
{
	(void)receipts; /* its callbacks come by the front door, to any worker */
	return http_sms_new(loop, &setup->http);
}

static struct sms_provider *make_sns(
	const struct sms_setup *setup, struct loop *loop, const struct sms_receipts *receipts)
{
	(void)receipts; /* it gives none */
	return sns_new(loop, &setup->sns);
}

/* The table of providers. */
static const struct {
	const char *name;
	struct sms_provider *(*make)(const struct sms_setup *, struct loop *, const struct sms_receipts *);
} makers[KINDS] = {
	[WAKE_PROVIDER_SMPP] = { "smpp", make_smpp },
	[WAKE_PROVIDER_HTTP] = { "http", make_http },
	[WAKE_PROVIDER_SNS] = { "sns", make_sns },
};

static void set_up_http(struct sms_setup *s)
{
	static const char *const methods[] = {
		[WAKE_HTTP_GET] = "GET", [WAKE_HTTP_POST] = "POST", [WAKE_HTTP_PUT] = "PUT"
	};
	const struct config *c = s->config;

	s->headers = memory_new((c->wake.http.headers.count + 1) * sizeof(*s->headers));
	for (size_t i = 0; i < c->wake.http.headers.count; i++)
		s->headers[i] = (struct http_sms_header){ c->wake.http.headers.items[i].key,
			c->wake.http.headers.items[i].value };
	s->http = (struct http_sms_options){
		.url = c->wake.http.url,
		.method = methods[c->wake.http.method],
		.headers = s->headers,
		.header_count = c->wake.http.headers.count,
		.body = c->wake.http.body,
		.ok_status = c->wake.http.ok_status.items,
		.ok_status_count = c->wake.http.ok_status.count,
		.message_id = c->wake.http.message_id,
		.gives_receipts = c->wake.http.hook_secret != NULL,
	};
}

struct sms_setup *sms_setup_new(const struct config *config)
{
	struct sms_setup *s = memory_new(sizeof(*s));

	s->config = config;
	set_up_http(s);
	s->sns = (struct sns_options){
		.region = config->wake.sns.region,
		.endpoint = config->wake.sns.endpoint,
		.access_key_id = config->wake.sns.access_key_id,
		.secret_access_key = config->wake.sns.secret_access_key,
		.session_token = config->wake.sns.session_token,
	};
	s->smpp = (struct smpp_options){
		.url = config->wake.smpp.url,
		.password = config->wake.smpp.password,
		.ca = config->wake.smpp.ca,
		.source = config->wake.smpp.source,
		.registered_delivery = config->wake.smpp.registered_delivery,
	};
	for (size_t i = 0; i < config->wake.providers.count; i++) {
		int kind = config->wake.providers.items[i];
		s->kinds[s->count] = kind;
		s->names[s->count++] = makers[kind].name;
	}
	return s;
}

size_t sms_setup_names(const struct sms_setup *s, const char *const **ret_names)
{
	*ret_names = s->names;
	return s->count;
}

bool sms_setup_is_sole(const struct sms_setup *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->kinds[i] == WAKE_PROVIDER_SMPP)
			return s->config->wake.smpp.single_bind;
	return false;
}

void sms_setup_make(
	const struct sms_setup *s, struct loop *loop, const struct sms_receipts *receipts, struct sms_provider **ret)
{
	for (size_t i = 0; i < s->count; i++)
		ret[i] = makers[s->kinds[i]].make(s, loop, receipts);
}
