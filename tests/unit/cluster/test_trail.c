/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/trail.h"

#include <stdio.h>

/* A node of that name alone; its id tells whether an earlier view is still there, since an id rests while any view knows it. */
static struct view *with_node(struct view *before, const char *name)
{
	struct view_edit *e;
	struct view *v;
	uint32_t id;
	struct view_node n = { .addresses_count = 0 };

	assert_int_equal(view_edit_begin(before, "node1", &e), 0);
	for (size_t i = before ? view_nodes_count(before) : 0; i > 0; i--)
		assert_int_equal(view_edit_remove_node(e, view_node_at(before, i - 1)->name), 0);
	(void)snprintf(n.name, sizeof(n.name), "%s", name);
	assert_int_equal(view_edit_put_node(e, &n, &id), 0);
	assert_int_equal(view_edit_finish(e, &v), 0);
	return v;
}

static uint32_t id_of(const struct view *v)
{
	return view_node_at(v, 0)->id;
}

static void a_view_is_kept_until_nobody_reads_it(void **state)
{
	struct trail trail;
	struct view *first, *second, *third, *fourth;
	uint64_t number;

	(void)state;
	trail_init(&trail);
	first = with_node(NULL, "a");
	assert_int_equal(trail_add(&trail, first), 1);
	second = with_node(first, "b");
	assert_int_equal(trail_add(&trail, second), 2);
	assert_int_equal(id_of(first), 1);
	assert_int_equal(id_of(second), 2);
	view_unref(first);

	/* Somebody reads the first one. */
	trail_let_go(&trail, 1);
	third = with_node(second, "c");
	number = trail_add(&trail, third);
	assert_int_equal(number, 3);
	assert_int_equal(id_of(third), 3);
	view_unref(second);

	/* Nobody any more; the second is read. */
	trail_let_go(&trail, 2);
	fourth = with_node(third, "d");
	assert_int_equal(id_of(fourth), 1);
	view_unref(fourth);

	trail_let_go(&trail, number);
	fourth = with_node(third, "e");
	assert_int_equal(id_of(fourth), 1);
	view_unref(fourth);
	fourth = with_node(third, "f");
	assert_int_equal(trail_add(&trail, fourth), 4);
	view_unref(third);
	view_unref(fourth);
	trail_done(&trail);
	assert_true(list_is_empty(&trail.steps));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_view_is_kept_until_nobody_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
