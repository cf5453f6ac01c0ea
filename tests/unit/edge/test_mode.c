/* SPDX-License-Identifier: GPL-3.0-or-later */
/* In which direction another mode comes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/mode.h"

static struct edge_config config;

static void begins(enum edge_mode wanted, enum edge_mode egress, enum edge_mode ingress)
{
	assert_int_equal(mode_begin(&config, wanted), egress != wanted || ingress != wanted);
	assert_int_equal(mode_egress(&config), egress);
	assert_int_equal(mode_ingress(&config), ingress);
}

static void ends(enum edge_mode wanted)
{
	mode_finish(&config, wanted);
	assert_int_equal(mode_egress(&config), wanted);
	assert_int_equal(mode_ingress(&config), wanted);
	assert_int_equal(config.ingress_mode, 0); /* as an earlier version writes it */
}

static void the_same_mode_is_no_change(void **state)
{
	(void)state;
	for (int mode = EDGE_PERMISSIVE; mode <= EDGE_LOCKDOWN; mode++) {
		ends((enum edge_mode)mode);
		begins((enum edge_mode)mode, (enum edge_mode)mode, (enum edge_mode)mode);
	}
}

static void what_tightens_is_taken_by_what_leaves_first(void **state)
{
	(void)state;
	ends(EDGE_PERMISSIVE);
	begins(EDGE_STRICT, EDGE_STRICT, EDGE_PERMISSIVE);
	ends(EDGE_STRICT);
	begins(EDGE_LOCKDOWN, EDGE_LOCKDOWN, EDGE_STRICT);
	ends(EDGE_LOCKDOWN);
}

static void what_loosens_is_taken_by_what_arrives_first(void **state)
{
	(void)state;
	ends(EDGE_LOCKDOWN);
	begins(EDGE_STRICT, EDGE_LOCKDOWN, EDGE_STRICT);
	ends(EDGE_STRICT);
	begins(EDGE_PERMISSIVE, EDGE_STRICT, EDGE_PERMISSIVE);
	ends(EDGE_PERMISSIVE);
}

static void another_change_before_the_first_is_over(void **state)
{
	(void)state;
	ends(EDGE_STRICT);
	begins(EDGE_PERMISSIVE, EDGE_STRICT, EDGE_PERMISSIVE);
	/* Back: what still arrives of those that have not heard of it is taken for another minute. */
	begins(EDGE_STRICT, EDGE_STRICT, EDGE_PERMISSIVE);
	begins(EDGE_LOCKDOWN, EDGE_LOCKDOWN, EDGE_PERMISSIVE);
	/* Also after a restart in between: what was left is gone on from. */
	begins(EDGE_LOCKDOWN, EDGE_LOCKDOWN, EDGE_PERMISSIVE);
	ends(EDGE_LOCKDOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_mode_is_no_change),
		cmocka_unit_test(what_tightens_is_taken_by_what_leaves_first),
		cmocka_unit_test(what_loosens_is_taken_by_what_arrives_first),
		cmocka_unit_test(another_change_before_the_first_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
