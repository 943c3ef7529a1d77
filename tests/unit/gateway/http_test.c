/* http_test.c - the door and REST against raw sockets: a file of http/ for each subject, all of it twice, plain and through TLS that the
 * door ends. */
#include "tests/suite.h"
#include "tests/unit/gateway/http/ground.h"

static void add_case(Suite *suite, const char *name, bool tls)
{
	TCase *tc = case_new(name, tls);

	add_requests(tc);
	add_framing(tc);
	add_limits(tc);
	add_streams(tc);
	add_browsers(tc);
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("gateway/http");

	add_case(suite, "plain", false);
	add_case(suite, "tls", true);
	return suite_run(suite);
}
