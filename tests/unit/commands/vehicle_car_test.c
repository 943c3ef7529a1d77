/* vehicle_car_test.c - what commands and desired states do to the simulated car. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "commands/vehicle/car.h"
#include "tests/suite.h"

#define STARTED_US INT64_C(1769846950123456)

static struct car car;

static void set_up(void)
{
	json_auto_t *factory_state = car_factory_state();
	car_init(&car, factory_state, STARTED_US);
}

static void tear_down(void)
{
	car_done(&car);
}

static void assert_json(const json_t *value, const char *expected)
{
	json_auto_t *wanted = json_loads(expected, JSON_DECODE_ANY, NULL);
	char *text = value == NULL ? NULL : json_canonical(value);
	ck_assert_msg(json_equal(value, wanted), "%s is not %s", text != NULL ? text : "nothing", expected);
	free(text);
}

/* Runs a command without parameters and takes the patch that it made, as text. */
static void assert_executes(const char *name, const char *params, const char *patch)
{
	json_auto_t *given = params == NULL ? NULL : json_loads(params, 0, NULL);
	json_auto_t *made = car_execute(&car, name, given);
	if (patch == NULL)
		ck_assert_ptr_null(made);
	else
		assert_json(made, patch);
}

static char *adopt(const char *text)
{
	json_auto_t *desired = json_loads(text, 0, NULL);
	return car_adopt(&car, desired);
}

START_TEST(unlock_and_lock_tell_what_they_changed)
{
	assert_executes("doors.unlock", "{\"door\":\"all\"}", "{\"doors\":{\"locked\":false}}");
	ck_assert_int_eq(car.version, STARTED_US / 1000 + 1);
	assert_executes("doors.unlock", NULL, NULL);
	ck_assert_int_eq(car.version, STARTED_US / 1000 + 1);
	assert_executes("doors.lock", NULL, "{\"doors\":{\"locked\":true}}");
	ck_assert_int_eq(car.version, STARTED_US / 1000 + 2);
}
END_TEST

START_TEST(params_become_part_of_the_section_that_keeps_them)
{
	assert_executes("climate.start", "{\"temperature_c\":21}", "{\"climate\":{\"on\":true,\"temperature_c\":21}}");
	assert_executes("climate.start", "\"no object\"", NULL);
}
END_TEST

START_TEST(a_param_cannot_forge_what_the_command_sets)
{
	assert_executes("climate.start", "{\"on\":false}", "{\"climate\":{\"on\":true}}");
}
END_TEST

START_TEST(an_unknown_command_changes_nothing)
{
	assert_executes("horn.sound", "{\"seconds\":1}", NULL);
	ck_assert_int_eq(car.version, STARTED_US / 1000);
}
END_TEST

START_TEST(cars_do_not_share_what_they_changed)
{
	struct car other;
	json_auto_t *factory_state = car_factory_state();
	car_init(&other, factory_state, STARTED_US);
	json_auto_t *patch = car_execute(&other, "engine.start", NULL);
	ck_assert_ptr_nonnull(patch);
	assert_json(json_object_get(factory_state, "engine"), "{\"running\":false}");
	car_done(&other);
}
END_TEST

START_TEST(desired_values_are_adopted_and_reported_with_the_whole_state)
{
	char *text = adopt("{\"version\":3,\"feed\":\"07\",\"state\":{\"doors\":{\"locked\":false},\"lights\":null}}");
	ck_assert_ptr_nonnull(text);
	json_auto_t *report = json_loads(text, 0, NULL);
	free(text);
	ck_assert_int_eq(json_integer_value(json_object_get(report, "version")), car.version);
	const json_t *state = json_object_get(report, "state");
	assert_json(json_object_get(state, "doors"), "{\"locked\":false}");
	assert_json(json_object_get(state, "engine"), "{\"running\":false}");
	ck_assert(json_is_null(json_object_get(state, "lights")));
	ck_assert_ptr_null(json_object_get(car.reported, "lights"));
}
END_TEST

START_TEST(a_lower_desired_version_is_ignored_and_an_equal_one_reported_again)
{
	free(adopt("{\"version\":3,\"state\":{\"mode\":\"eco\"}}"));
	ck_assert_ptr_null(adopt("{\"version\":2,\"state\":{\"mode\":\"sport\"}}"));
	assert_json(json_object_get(car.reported, "mode"), "\"eco\"");
	int64_t before = car.version;
	char *again = adopt("{\"version\":3,\"state\":{\"mode\":\"eco\"}}");
	ck_assert_ptr_nonnull(again);
	free(again);
	ck_assert_int_gt(car.version, before);
}
END_TEST

START_TEST(a_malformed_desired_state_is_ignored)
{
	ck_assert_ptr_null(adopt("{\"version\":3,\"state\":[]}"));
	ck_assert_ptr_null(adopt("{\"version\":\"3\",\"state\":{\"mode\":\"eco\"}}"));
	ck_assert_ptr_null(adopt("{\"state\":{\"mode\":\"eco\"}}"));
	ck_assert_ptr_null(adopt("[]"));
	ck_assert_ptr_null(json_object_get(car.reported, "mode"));
}
END_TEST

START_TEST(the_state_does_not_grow_without_bound)
{
	char *long_text = malloc(CAR_STATE_MAX + 1);
	memset(long_text, 'x', CAR_STATE_MAX);
	long_text[CAR_STATE_MAX] = '\0';
	json_auto_t *desired = json_pack("{sis{ss}}", "version", 1, "state", "a", long_text);
	ck_assert_ptr_null(car_adopt(&car, desired));
	ck_assert_ptr_null(json_object_get(car.reported, "a"));
	json_auto_t *params = json_pack("{ss}", "a", long_text);
	ck_assert_ptr_null(car_execute(&car, "climate.start", params));
	free(long_text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("car");
	TCase *tests = tcase_create("car");
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, unlock_and_lock_tell_what_they_changed);
	tcase_add_test(tests, params_become_part_of_the_section_that_keeps_them);
	tcase_add_test(tests, a_param_cannot_forge_what_the_command_sets);
	tcase_add_test(tests, an_unknown_command_changes_nothing);
	tcase_add_test(tests, cars_do_not_share_what_they_changed);
	tcase_add_test(tests, desired_values_are_adopted_and_reported_with_the_whole_state);
	tcase_add_test(tests, a_lower_desired_version_is_ignored_and_an_equal_one_reported_again);
	tcase_add_test(tests, a_malformed_desired_state_is_ignored);
	tcase_add_test(tests, the_state_does_not_grow_without_bound);
	suite_add_tcase(suite, tests);

	return suite_run(suite);
}
