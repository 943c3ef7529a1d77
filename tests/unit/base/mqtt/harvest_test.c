/* harvest_test.c - a message of which libmosquitto had no memory for a part is not taken for one without it. */
#include "base/mqtt/harvest.h"
#include "tests/suite.h"

#include <check.h>
#include <mosquitto.h>
#include <signal.h>
#include <string.h>

static const char *correlation; /* NULL: there is no memory for it */

/* In the place of the library's, which says how long it is before it allocates. */
const mosquitto_property *mosquitto_property_read_binary(
	const mosquitto_property *properties, int identifier, void **value, uint16_t *len, bool skip_first)
{
	(void)identifier;
	(void)skip_first;
	*len = 36;
	*value = correlation ? strdup(correlation) : NULL;
	return *value ? properties : NULL;
}

static void add(struct harvest *harvest)
{
	static char topic[] = "vehicles/WKF1/commands/response/31", payload[] = "{}";
	struct mosquitto_message message = { .topic = topic, .payload = payload, .payloadlen = 2 };

	harvest_add(harvest, &message, NULL);
}

START_TEST(correlation_data_is_copied)
{
	struct harvest harvest = { 0 };

	correlation = "01a21c66-e5ff-72e4-9c85-6c9db8c498f5";
	add(&harvest);
	ck_assert_uint_eq(harvest.messages[0].correlation_len, 36);
	ck_assert_int_eq(memcmp(harvest.messages[0].correlation, correlation, 36), 0);
	harvest_free(&harvest);
}
END_TEST

START_TEST(without_memory_it_aborts)
{
	struct harvest harvest = { 0 };

	correlation = NULL;
	add(&harvest);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("harvest");
	TCase *tests = tcase_create("harvest");
	tcase_add_test(tests, correlation_data_is_copied);
	tcase_add_test_raise_signal(tests, without_memory_it_aborts, SIGABRT);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
