/* statements_test.c - the schema and the statements as they are shipped: each statement fits the schema. */
#include <check.h>
#include <libpq-fe.h>

#include "sql/migrate.h"
#include "sql/statements.h"
#include "tests/servers.h"

START_TEST(every_statement_prepares)
{
	struct test_postgres pg;
	test_postgres_start(&pg);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	ck_assert_int_eq(migrate_new_epoch(pg.url), 0);
	PGconn *conn = PQconnectdb(pg.url);
	ck_assert_int_eq(PQstatus(conn), CONNECTION_OK);
	ck_assert_uint_gt(SQL_COUNT, 100);
	for (size_t i = 0; i < SQL_COUNT; i++) {
		PGresult *result = PQprepare(conn, SQL_ALL[i]->name, SQL_ALL[i]->text, 0, NULL);
		ck_assert_msg(PQresultStatus(result) == PGRES_COMMAND_OK, "%s: %s", SQL_ALL[i]->name,
			PQresultErrorMessage(result));
		PQclear(result);
	}
	PQfinish(conn);
	test_postgres_end(&pg);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sql/statements");
	TCase *tcase = tcase_create("shipped");
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, every_statement_prepares);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
