/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct entry {
	int number;
	struct list link;
};

static struct entry entries[4];
static struct list head;

static int set_up(void **state)
{
	(void)state;
	list_init(&head);
	for (int i = 0; i < 4; i++) {
		entries[i].number = i;
		list_init(&entries[i].link);
	}
	return 0;
}

/* The numbers of the entries in order, as decimal digits. */
static int digits_of(struct list *l)
{
	int digits = 0;

	list_for_each(pos, l)
		digits = digits * 10 + container_of(pos, struct entry, link)->number;
	return digits;
}

static void entries_stand_in_order(void **state)
{
	(void)state;
	assert_true(list_is_empty(&head));
	list_append(&head, &entries[2].link);
	list_append(&head, &entries[3].link);
	list_prepend(&head, &entries[1].link);
	assert_int_equal(digits_of(&head), 123);
	assert_true(list_is_linked(&entries[2].link));
	list_remove(&entries[2].link);
	list_remove(&entries[2].link);
	assert_false(list_is_linked(&entries[2].link));
	assert_int_equal(digits_of(&head), 13);
}

static void pop_gives_the_first_until_none_is_left(void **state)
{
	(void)state;
	list_append(&head, &entries[1].link);
	list_append(&head, &entries[2].link);
	assert_ptr_equal(list_pop(&head), &entries[1].link);
	assert_ptr_equal(list_pop(&head), &entries[2].link);
	assert_null(list_pop(&head));
}

static void splice_moves_all(void **state)
{
	struct list other;

	(void)state;
	list_init(&other);
	list_append(&head, &entries[1].link);
	list_append(&other, &entries[2].link);
	list_append(&other, &entries[3].link);
	list_splice(&head, &other);
	assert_int_equal(digits_of(&head), 123);
	assert_true(list_is_empty(&other));
	list_splice(&head, &other);
	assert_int_equal(digits_of(&head), 123);
	list_splice(&other, &head);
	assert_int_equal(digits_of(&other), 123);
	assert_true(list_is_empty(&head));
}

static void a_walk_bears_removal(void **state)
{
	(void)state;
	for (int i = 1; i < 4; i++)
		list_append(&head, &entries[i].link);
	list_for_each_safe(pos, &head) {
		if (container_of(pos, struct entry, link)->number != 2)
			list_remove(pos);
	}
	assert_int_equal(digits_of(&head), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(entries_stand_in_order, set_up),
		cmocka_unit_test_setup(pop_gives_the_first_until_none_is_left, set_up),
		cmocka_unit_test_setup(splice_moves_all, set_up),
		cmocka_unit_test_setup(a_walk_bears_removal, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
