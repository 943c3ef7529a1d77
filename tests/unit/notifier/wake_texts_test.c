/* wake_texts_test.c - what an SMS becomes in templates, and what providers call back. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "notifier/wake/http_sms.h"
#include "notifier/wake/json_place.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/template.h"
#include "tests/suite.h"

static const struct sms sms = { .msisdn = "+4915550000001",
	.iccid = NULL,
	.vehicle_id = "CAR:1",
	.text = "say \"hé\"\n& go",
	.validity_s = 90,
	.id = "0192f3c8-0000-7000-8000-000000000001" };

static const struct {
	const char *template;
	enum template_form form;
	const char *filled; /* NULL: refused */
} fills[] = {
	{ "KEYFOB WAKE {vehicle_id}", TEMPLATE_PLAIN, "KEYFOB WAKE CAR:1" },
	{ "http://h/?to={msisdn}&t={text}&v={validity_seconds}", TEMPLATE_PERCENT,
		"http://h/?to=%2B4915550000001&t=say%20%22h%C3%A9%22%0A%26%20go&v=90" },
	{ "{\"to\":\"{msisdn_digits}\",\"text\":\"{text}\",\"id\":\"{wakeup_id}\"}", TEMPLATE_JSON,
		"{\"to\":\"4915550000001\",\"text\":\"say \\\"hé\\\"\\n& "
		"go\",\"id\":\"0192f3c8-0000-7000-8000-000000000001\"}" },
	{ "X {msisdn}", TEMPLATE_LINE, "X +4915550000001" },
	{ "X {text}", TEMPLATE_LINE, NULL },
	{ "{iccid}", TEMPLATE_PERCENT, NULL },
	{ "{validity_minutes}", TEMPLATE_PERCENT, "1" },
	{ "{nothing} {} {{vehicle_id}}", TEMPLATE_PLAIN, "{nothing} {} {CAR:1}" },
	{ "", TEMPLATE_PLAIN, "" },
};

START_TEST(a_template_is_filled_in_its_own_form)
{
	struct text out = { 0 };
	bool filled = template_fill(fills[_i].template, fills[_i].form, &sms, &out);

	ck_assert_int_eq(filled, fills[_i].filled != NULL);
	if (filled)
		ck_assert_str_eq(out.data ? out.data : "", fills[_i].filled);
	text_free(&out);
}
END_TEST

static const struct {
	const char *json, *place, *value; /* NULL: none */
} values[] = {
	{ "{\"sid\":\"SM1\"}", "sid", "SM1" },
	{ "{\"messages\":[{\"message-id\":\"0A\"}]}", "messages.0.message-id", "0A" },
	{ "{\"id\":17}", "id", "17" },
	{ "{\"id\":1.5}", "id", NULL },
	{ "{\"a\":{}}", "a.b.c", NULL },
	{ "[\"x\"]", "0", "x" },
	{ "[\"x\"]", "1", NULL },
	{ "[\"x\"]", "", NULL },
};

START_TEST(a_value_is_found_in_foreign_json)
{
	json_auto_t *json = json_read(values[_i].json, strlen(values[_i].json));
	char *value = json_place_text(json, values[_i].place);

	ck_assert_ptr_nonnull(json);
	ck_assert_pstr_eq(value, values[_i].value);
	free(value);
	ck_assert_ptr_null(json_place_text(NULL, values[_i].place));
}
END_TEST

static const char *const delivered[] = { "delivered", "1" };
static const char *const failed[] = { "failed", "undelivered", "2" };
static const struct sms_callback_form twilio = { "MessageSid", "MessageStatus", delivered, 2, failed, 3 };
static const struct sms_callback_form kannel = { "id", "status", delivered, 2, failed, 3 };

static const struct {
	const struct sms_callback_form *form;
	const char *query, *type, *body;
	enum sms_callback is;
	const char *id;
	bool is_delivered;
	const char *reason;
} callbacks[] = {
	{ &twilio, "", "application/x-www-form-urlencoded", "MessageSid=SM1&MessageStatus=delivered&To=%2B49",
		CALLBACK_NEWS, "SM1", true, NULL },
	{ &twilio, "", "application/x-www-form-urlencoded", "MessageSid=SM1&MessageStatus=undelivered", CALLBACK_NEWS,
		"SM1", false, "UNDELIVERED" },
	{ &twilio, "", "application/x-www-form-urlencoded", "MessageSid=SM1&MessageStatus=sent", CALLBACK_NO_NEWS, NULL,
		false, NULL },
	{ &twilio, "", "application/x-www-form-urlencoded", "MessageStatus=delivered", CALLBACK_MALFORMED, NULL, false,
		NULL },
	{ &twilio, "", "application/x-www-form-urlencoded", "MessageSid=&MessageStatus=delivered", CALLBACK_MALFORMED,
		NULL, false, NULL },
	{ &kannel, "id=abc%2D1&status=1", NULL, "", CALLBACK_NEWS, "abc-1", true, NULL },
	{ &kannel, "id=abc&status=2", NULL, "", CALLBACK_NEWS, "abc", false, "2" },
	{ &kannel, "id=abc", "application/json; charset=utf-8", "{\"status\":\"DELIVERED\"}", CALLBACK_NEWS, "abc",
		true, NULL },
	{ &kannel, "", "application/json", "{\"id\":\"a\",\"status\":2}", CALLBACK_NEWS, "a", false, "2" },
	{ &kannel, "id=abc&status=1", "application/json", "{", CALLBACK_MALFORMED, NULL, false, NULL },
	{ &kannel, "id=%&status=1", NULL, "", CALLBACK_NEWS, "%", true, NULL },
};

START_TEST(a_callback_is_read_wherever_its_fields_are)
{
	struct sms_callback_text text;
	struct sms_receipt receipt = { 0 };

	ck_assert_int_eq(sms_callback_read(callbacks[_i].form, callbacks[_i].query, callbacks[_i].type,
				 callbacks[_i].body, strlen(callbacks[_i].body), &text, &receipt),
		callbacks[_i].is);
	if (callbacks[_i].is != CALLBACK_NEWS)
		return;
	ck_assert_str_eq(receipt.message_id, callbacks[_i].id);
	ck_assert_int_eq(receipt.delivered, callbacks[_i].is_delivered);
	ck_assert_pstr_eq(receipt.reason, callbacks[_i].reason);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wake/texts");
	TCase *tc = tcase_create("texts");

	tcase_add_loop_test(tc, a_template_is_filled_in_its_own_form, 0, sizeof(fills) / sizeof(fills[0]));
	tcase_add_loop_test(tc, a_value_is_found_in_foreign_json, 0, sizeof(values) / sizeof(values[0]));
	tcase_add_loop_test(
		tc, a_callback_is_read_wherever_its_fields_are, 0, sizeof(callbacks) / sizeof(callbacks[0]));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
