/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/table.c"
#include "ctl/text.c"
#include "printed.h"

static void columns_are_aligned(void **state)
{
	struct table *t = table_create("PEER ROUND_TRIP> NOTE");
	char *text;

	(void)state;
	table_add(t, "node1");
	table_add(t, "312 us");
	table_add(t, "first");
	table_add(t, "a-long-name");
	table_add(t, "");
	table_add(t, "x");
	table_add(t, "n\xc3\xb6"
	             "de");
	table_add(t, "1.5 ms");
	table_add(t, "");
	assert_int_equal(table_rows(t), 3);
	PRINTED(text, out, table_print(t, out));
	assert_string_equal(text, "PEER         ROUND TRIP  NOTE\n"
	                          "node1            312 us  first\n"
	                          "a-long-name           -  x\n"
	                          "n\xc3\xb6"
	                          "de             1.5 ms  -\n");
	free(text);
	table_destroy(t);
}

static void an_empty_column_is_left_out(void **state)
{
	struct table *t = table_create("A B C");
	char *text;

	(void)state;
	for (int i = 0; i < 2; i++) {
		table_add(t, "1");
		table_add(t, i ? NULL : "2");
		table_add(t, "");
	}
	PRINTED(text, out, table_print(t, out));
	assert_string_equal(text, "A  B\n1  2\n1  -\n"); /* and no blanks at the end of a line */
	free(text);
	table_destroy(t);
}

static void no_rows(void **state)
{
	struct table *t = table_create("A B>");
	char *text;

	(void)state;
	assert_int_equal(table_rows(t), 0);
	PRINTED(text, out, table_print(t, out));
	assert_string_equal(text, "A  B\n");
	free(text);
	table_destroy(t);
	table_destroy(NULL);
}

static void control_bytes_do_not_reach_the_terminal(void **state)
{
	struct table *t = table_create("A");
	char *text;

	(void)state;
	table_add(t, "\x1b[2Jx\n\x7f");
	PRINTED(text, out, table_print(t, out));
	assert_string_equal(text, "A\n?[2Jx??\n");
	free(text);
	table_destroy(t);
}

static void many_rows(void **state)
{
	struct table *t = table_create("A B");
	char *text;

	(void)state;
	for (int i = 0; i < 2001; i++)
		table_add(t, "x"); /* the last row is not whole */
	assert_int_equal(table_rows(t), 1001);
	PRINTED(text, out, table_print(t, out));
	assert_int_equal(strlen(text), 1002 * strlen("x  x\n"));
	assert_string_equal(text + strlen(text) - 5, "x  -\n");
	free(text);
	table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_aligned),
		cmocka_unit_test(an_empty_column_is_left_out),
		cmocka_unit_test(no_rows),
		cmocka_unit_test(control_bytes_do_not_reach_the_terminal),
		cmocka_unit_test(many_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
