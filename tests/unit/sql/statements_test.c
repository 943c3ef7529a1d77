/* statements_test.c - the schema and the statements as they are shipped: each statement fits the schema. */
#include <check.h>
#include <uv.h>

#include "base/loop.h"
#include "sql/migrate.h"
#include "sql/statements.h"
#include "tests/servers.h"

static void on_up(void *owner, struct db *db)
{
	(void)db;
	*(bool *)owner = true;
}

static void on_closed(void *owner)
{
	*(bool *)owner = false;
}

/* A statement that does not fit keeps the link down, and the log says which. */
START_TEST(every_statement_prepares)
{
	bool is_up = false;
	struct test_postgres pg;
	test_postgres_start(&pg);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	ck_assert_int_eq(migrate_new_epoch(pg.url), 0);
	struct loop *loop = loop_new();
	struct db *db = db_new(
		loop, &(struct db_options){ .url = pg.url, .owner = &is_up, .on_up = on_up }, SQL_ALL, SQL_COUNT);
	db_start(db);
	while (!is_up)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	db_close(db, on_closed);
	while (is_up)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	loop_free(loop);
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
