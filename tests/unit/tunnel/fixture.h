/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fixture.h - a new pair for each case of a program. For one test program. Include it behind cmocka.h. */
#ifndef CULVERT_TESTS_UNIT_TUNNEL_FIXTURE_H
#define CULVERT_TESTS_UNIT_TUNNEL_FIXTURE_H

#include "pair.h"

#define MIB (1024 * 1024)

static struct pair pair;

static int set_up(void **state)
{
	(void)state;
	pair_init(&pair, 256 * MIB);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pair_done(&pair);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
