/* ws_test.c - the WebSocket room as an app meets it: a file of ws/ for each thing that an app does. */

#include "tests/suite.h"
#include "tests/unit/gateway/ws/ground.h"

int main(void)
{
	Suite *suite = suite_create("gateway/ws");

	add_coming_in(suite);
	add_messages(suite);
	add_watching(suite);
	add_ending(suite);
	return suite_run(suite);
}
