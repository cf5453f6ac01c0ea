/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void a_real_clock_never_goes_back(void **state)
{
	struct instant first, second;
	struct clock c;

	(void)state;
	clock_init(&c);
	first = clock_now(&c);
	second = clock_now(&c);
	assert_true(first.ns > 0);
	assert_false(instant_before(second, first));
}

static void a_fake_clock_stands_until_it_is_moved(void **state)
{
	struct clock c;

	(void)state;
	clock_init_fake(&c, 5 * NS_PER_S);
	assert_int_equal(clock_now(&c).ns, 5 * NS_PER_S);
	assert_int_equal(clock_now(&c).ns, 5 * NS_PER_S);
	clock_fake_advance(&c, 3 * NS_PER_MS);
	assert_int_equal(clock_now(&c).ns, 5 * NS_PER_S + 3 * NS_PER_MS);
}

static void instants_are_counted(void **state)
{
	struct instant t = { NS_PER_S }, later = instant_add_ms(t, 250);

	(void)state;
	assert_int_equal(instant_elapsed_ns(t, later), 250 * NS_PER_MS);
	assert_int_equal(instant_elapsed_ns(later, t), 0);
	assert_true(instant_before(t, later));
	assert_false(instant_before(t, t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_real_clock_never_goes_back),
		cmocka_unit_test(a_fake_clock_stands_until_it_is_moved),
		cmocka_unit_test(instants_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
