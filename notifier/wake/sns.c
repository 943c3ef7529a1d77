/* sns.c - an SMS as one Publish request to Amazon SNS. */
#include "notifier/wake/sns.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_client.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/template.h"

#define TIMEOUT_MS 10000
#define ANSWER_MAX (16 * 1024)

/* Transactional: SNS favours reliability over cost. */
#define FORM                                                                                                           \
	"Action=Publish&Version=2010-03-31&PhoneNumber={msisdn}&Message={text}"                                        \
	"&MessageAttributes.entry.1.Name=AWS.SNS.SMS.SMSType&MessageAttributes.entry.1.Value.DataType=String"          \
	"&MessageAttributes.entry.1.Value.StringValue=Transactional"

struct sns {
	struct sms_provider table;
	struct http_client *client;
	struct http_signature signature;
	char *url, *token_header;
	void (*on_closed)(void *owner);
	void *owner;
};

struct sns_message {
	struct sns *sns;
	struct sms_submission *submission;
	struct http_call call;
	const char *headers[3];
	struct text body;
};

static void submit(void *self, const struct sms *sms, struct sms_submission *submission);
static void on_done(struct http_call *call, const struct http_answer *answer);
static void provider_close(void *self, void (*on_closed)(void *owner), void *owner);

static char *url_of(const struct sns_options *options)
{
	struct text url = { 0 };

	if (!options->endpoint)
		text_addf(&url, "https://sns.%s.amazonaws.com/", options->region);
	else
		text_addf(
			&url, "%s%s", options->endpoint, strchr(strstr(options->endpoint, "://") + 3, '/') ? "" : "/");
	return text_take(&url);
}

struct sms_provider *sns_new(struct loop *loop, const struct sns_options *options)
{
	struct sns *s = memory_new(sizeof(*s));
	struct text token = { 0 };

	s->client = http_client_new(loop);
	s->signature = (struct http_signature){ .region = options->region,
		.service = "sns",
		.access_key_id = options->access_key_id,
		.secret_access_key = options->secret_access_key };
	s->url = url_of(options);
	if (options->session_token) {
		text_addf(&token, "X-Amz-Security-Token: %s", options->session_token);
		s->token_header = text_take(&token);
	}
	s->table = (struct sms_provider){ .name = "sns", .self = s, .submit = submit, .close = provider_close };
	return &s->table;
}

static void submit(void *self, const struct sms *sms, struct sms_submission *submission)
{
	struct sns *s = self;
	struct sns_message *m = memory_new(sizeof(*m));

	m->sns = s;
	m->submission = submission;
	submission->provider_private = m;
	template_fill(FORM, TEMPLATE_PERCENT, sms, &m->body);
	m->headers[0] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";
	m->headers[1] = s->token_header;
	m->call = (struct http_call){
		.method = "POST",
		.url = s->url,
		.headers = m->headers,
		.body = m->body.data,
		.body_len = m->body.len,
		.timeout_ms = TIMEOUT_MS,
		.answer_max = ANSWER_MAX,
		.signature = &s->signature,
		.on_done = on_done,
	};
	http_client_call(s->client, &m->call);
}

/* The text of the first element of that name; false when there is none of fewer than `size` bytes, all of them graphic ASCII. The answers of
 * SNS have no attributes there and no nesting. */
static bool read_element(const char *xml, const char *name, char *ret, size_t size)
{
	char open[64];

	snprintf(open, sizeof(open), "<%s>", name);
	const char *begin = strstr(xml, open), *end = begin ? strchr(begin + 1, '<') : NULL;
	if (!end)
		return false;
	begin += strlen(open);
	if (end <= begin || (size_t)(end - begin) >= size)
		return false;
	for (const char *at = begin; at < end; at++)
		if (*at <= ' ' || *at > '~')
			return false;
	memcpy(ret, begin, (size_t)(end - begin));
	ret[end - begin] = '\0';
	return true;
}

/* The codes that say that this message will never be taken (Publish, "Errors"). */
static bool is_final(const char *code)
{
	static const char *const codes[] = { "InvalidParameter", "InvalidParameterValue", "OptedOut",
		"ValidationError" };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(code, codes[i]) == 0)
			return true;
	return false;
}

/* Apps see it: an error's name, and nothing that was in the request. */
static bool is_name(const char *code)
{
	if (!isalpha((unsigned char)*code))
		return false;
	while (isalnum((unsigned char)*code) || *code == '.')
		code++;
	return *code == '\0';
}

static void judge_refusal(const struct http_answer *answer, struct sms_outcome *ret, char code[64])
{
	if (!read_element(answer->body, "Code", code, 64) || !is_name(code))
		snprintf(code, 64, "HTTP_%d", answer->status);
	ret->verdict = is_final(code) ? SMS_REFUSED : SMS_FAILED;
	ret->reason = strcmp(code, "Throttling") == 0 || strcmp(code, "ThrottlingException") == 0 ? "THROTTLED" : code;
}

static void on_done(struct http_call *call, const struct http_answer *answer)
{
	struct sns_message *m = container_of(call, struct sns_message, call);
	struct sms_submission *submission = m->submission;
	struct sms_outcome outcome = { 0 };
	char text[64];

	if (answer->end == HTTP_ANSWERED && answer->status == 200) {
		outcome.verdict = SMS_TAKEN;
		outcome.message_id = read_element(answer->body, "MessageId", text, sizeof(text)) ? text : NULL;
	} else if (answer->end == HTTP_ANSWERED) {
		judge_refusal(answer, &outcome, text);
	} else {
		outcome.verdict = answer->end == HTTP_NOT_SENT ? SMS_FAILED : SMS_UNKNOWN;
		outcome.reason = answer->end == HTTP_NOT_SENT ? "UNREACHABLE" : "NO_ANSWER";
		log_debug("wake", "the provider did not answer", LOG_TEXT("provider", "sns"),
			LOG_TEXT("why", answer->why));
	}
	submission->on_done(submission, &outcome);
	text_free(&m->body);
	free(m);
}

static void on_client_closed(void *owner)
{
	struct sns *s = owner;
	void (*on_closed)(void *) = s->on_closed;
	void *whose = s->owner;

	free(s->url);
	free(s->token_header);
	free(s);
	on_closed(whose);
}

static void provider_close(void *self, void (*on_closed)(void *owner), void *owner)
{
	struct sns *s = self;

	s->on_closed = on_closed;
	s->owner = owner;
	http_client_close(s->client, on_client_closed, s);
}
