/* metrics_test.c - counting from many threads, and the OpenMetrics text. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "tests/suite.h"

static char *written_by(void (*write)(FILE *))
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	write(out);
	fclose(out);
	return text;
}

static void check_has(void (*write)(FILE *), const char *part)
{
	char *text = written_by(write);
	ck_assert_msg(strstr(text, part) != NULL, "%s is not in\n%s", part, text);
	free(text);
}

START_TEST(writes_counters_and_gauges)
{
	metric_add(METRIC_HTTP_REQUESTS, 3);
	metric_add(METRIC_CONNECTIONS, 5);
	metric_add(METRIC_CONNECTIONS, -2);
	metric_set(METRIC_LEASES_HELD, 8);
	ck_assert_int_eq(metric_value(METRIC_HTTP_REQUESTS), 3);
	check_has(metrics_write, "# TYPE keyfob_http_requests counter\n"
				 "# HELP keyfob_http_requests requests answered on the public listener\n"
				 "keyfob_http_requests_total 3\n");
	check_has(metrics_write, "# TYPE keyfob_connections gauge\n");
	check_has(metrics_write, "\nkeyfob_connections 3\n");
	check_has(metrics_write, "\nkeyfob_leases_held 8\n");
}
END_TEST

START_TEST(writes_histograms_in_seconds)
{
	static const int64_t us[] = { -5, 100, 101, 2000000, 11000000 };
	for (size_t i = 0; i < sizeof us / sizeof *us; i++)
		metric_observe(METRIC_ACCEPT_SECONDS, us[i]);
	ck_assert_int_eq(metric_value(METRIC_ACCEPT_SECONDS), 5);
	check_has(metrics_write, "# TYPE keyfob_accept_seconds histogram\n"
				 "# UNIT keyfob_accept_seconds seconds\n"
				 "# HELP keyfob_accept_seconds from the request to the commit of the accept\n"
				 "keyfob_accept_seconds_bucket{le=\"0.0001\"} 2\n"
				 "keyfob_accept_seconds_bucket{le=\"0.00025\"} 3\n");
	check_has(metrics_write, "keyfob_accept_seconds_bucket{le=\"1.0\"} 3\n"
				 "keyfob_accept_seconds_bucket{le=\"2.5\"} 4\n"
				 "keyfob_accept_seconds_bucket{le=\"5.0\"} 4\n"
				 "keyfob_accept_seconds_bucket{le=\"10.0\"} 4\n"
				 "keyfob_accept_seconds_bucket{le=\"30.0\"} 5\n"
				 "keyfob_accept_seconds_bucket{le=\"60.0\"} 5\n"
				 "keyfob_accept_seconds_bucket{le=\"300.0\"} 5\n"
				 "keyfob_accept_seconds_bucket{le=\"+Inf\"} 5\n"
				 "keyfob_accept_seconds_count 5\n"
				 "keyfob_accept_seconds_sum 13.000201\n");
}
END_TEST

START_TEST(ends_with_eof)
{
	char *text = written_by(metrics_write);
	ck_assert_str_eq(strstr(text, "# EOF"), "# EOF\n");
	free(text);
}
END_TEST

/* Nothing in the table may need escaping, in the exposition or in the manual. */
START_TEST(has_plain_names_and_helps)
{
	char *text = written_by(metrics_write_manual);
	for (char *row = strtok(text, "\n"); row; row = strtok(NULL, "\n")) {
		size_t bars = 0;
		for (const char *c = row; *c; c++) {
			bars += *c == '|';
			ck_assert_msg(*c != '\\' && *c != '"', "%s", row);
		}
		ck_assert_msg(bars == 4, "%s", row);
	}
	free(text);
}
END_TEST

START_TEST(writes_a_row_a_metric_into_the_manual)
{
	char *text = written_by(metrics_write_manual);
	size_t rows = 0;
	for (const char *c = text; *c; c++)
		rows += *c == '\n';
	ck_assert_uint_eq(rows, METRIC_COUNT + 2);
	free(text);
	check_has(metrics_write_manual, "| metric | type | what it tells |\n| --- | --- | --- |\n");
	check_has(metrics_write_manual, "\n| `keyfob_answers_total` | counter | responses from vehicles read |\n");
}
END_TEST

static void *count_a_lot(void *unused)
{
	for (int i = 0; i < 100000; i++) {
		metric_add(METRIC_ANSWERS, 1);
		metric_observe(METRIC_COMMIT_SECONDS, i);
	}
	return unused;
}

START_TEST(loses_nothing_between_threads)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, count_a_lot, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(metric_value(METRIC_ANSWERS), 400000);
	ck_assert_int_eq(metric_value(METRIC_COMMIT_SECONDS), 400000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tests = tcase_create("metrics");
	tcase_add_test(tests, writes_counters_and_gauges);
	tcase_add_test(tests, writes_histograms_in_seconds);
	tcase_add_test(tests, ends_with_eof);
	tcase_add_test(tests, has_plain_names_and_helps);
	tcase_add_test(tests, writes_a_row_a_metric_into_the_manual);
	tcase_add_test(tests, loses_nothing_between_threads);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
