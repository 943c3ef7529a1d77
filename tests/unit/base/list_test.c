/* list_test.c - the intrusive ring. */
#include <check.h>

#include "base/list.h"
#include "tests/suite.h"

struct item {
	char name;
	struct list node;
};

static struct list head;
static struct item a, b, c;

static void set_up(void)
{
	list_init(&head);
	a.name = 'a', b.name = 'b', c.name = 'c';
	list_init(&a.node), list_init(&b.node), list_init(&c.node);
	list_append(&head, &a.node);
	list_append(&head, &b.node);
	list_append(&head, &c.node);
}

static const char *names_in(struct list *ring)
{
	static char names[8];
	size_t count = 0;
	list_for_each (node, ring) {
		names[count++] = container_of(node, struct item, node)->name;
	}
	names[count] = '\0';
	return names;
}

START_TEST(keeps_the_order_of_appending)
{
	ck_assert_str_eq(names_in(&head), "abc");
}
END_TEST

START_TEST(removes_twice_without_harm)
{
	list_remove(&b.node);
	list_remove(&b.node);
	ck_assert_str_eq(names_in(&head), "ac");
	ck_assert(list_is_empty(&b.node));
}
END_TEST

START_TEST(takes_the_first_until_none_is_left)
{
	ck_assert_ptr_eq(list_take_first(&head), &a.node);
	ck_assert_ptr_eq(list_take_first(&head), &b.node);
	ck_assert_ptr_eq(list_take_first(&head), &c.node);
	ck_assert_ptr_null(list_take_first(&head));
}
END_TEST

START_TEST(moves_all_to_the_end_of_another)
{
	static struct item d = { .name = 'd' };
	struct list other;
	list_init(&other);
	list_append(&other, &d.node);
	list_append_all(&other, &head);
	ck_assert_str_eq(names_in(&other), "dabc");
	ck_assert(list_is_empty(&head));
	list_append_all(&other, &head);
	ck_assert_str_eq(names_in(&other), "dabc");
	list_append_all(&head, &other);
	ck_assert_str_eq(names_in(&head), "dabc");
}
END_TEST

START_TEST(may_be_emptied_while_it_is_walked)
{
	size_t seen = 0;
	list_for_each_safe (node, &head) {
		list_remove(node);
		seen++;
	}
	ck_assert_uint_eq(seen, 3);
	ck_assert(list_is_empty(&head));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("list");
	TCase *tests = tcase_create("list");
	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, keeps_the_order_of_appending);
	tcase_add_test(tests, removes_twice_without_harm);
	tcase_add_test(tests, takes_the_first_until_none_is_left);
	tcase_add_test(tests, moves_all_to_the_end_of_another);
	tcase_add_test(tests, may_be_emptied_while_it_is_walked);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
