/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kube/backoff.h"

#include <stdbool.h>

enum { TRIES = 2000 };

static void test_bounds_are_kept_and_reached(void **state)
{
	struct backoff b = { .random = 7 };
	bool has_least = false, has_most = false;

	(void)state;
	for (int i = 0; i < TRIES; i++) {
		uint32_t ms = backoff_between(&b, 10, 14);

		assert_in_range(ms, 10, 14);
		has_least = has_least || ms == 10;
		has_most = has_most || ms == 14;
	}
	assert_true(has_least && has_most);
	assert_int_equal(backoff_between(&b, 5, 5), 5);
	assert_in_range(backoff_between(&b, 0, UINT32_MAX), 0, UINT32_MAX);
}

static void test_the_bound_doubles_up_to_a_limit(void **state)
{
	(void)state;
	for (unsigned failures = 0; failures < 40; failures++) {
		uint64_t bound = failures < 5 ? (uint64_t)BACKOFF_FIRST_MS << failures : BACKOFF_MAX_MS;
		uint32_t longest = 0, shortest = UINT32_MAX;

		for (int i = 0; i < TRIES; i++) {
			struct backoff b = { .random = (uint64_t)i * 977, .failures = failures };
			uint32_t ms = backoff_failed(&b);

			assert_int_equal(b.failures, failures + 1);
			longest = ms > longest ? ms : longest;
			shortest = ms < shortest ? ms : shortest;
		}
		/* All of it is used: that is what spreads. */
		assert_true(longest <= bound && longest > bound * 9 / 10);
		assert_true(shortest < bound / 10);
	}
}

static void test_a_success_begins_anew(void **state)
{
	struct backoff b = { .random = 1 };

	(void)state;
	for (int i = 0; i < 10; i++)
		(void)backoff_failed(&b);
	backoff_good(&b);
	assert_true(backoff_failed(&b) <= BACKOFF_FIRST_MS);
}

static void test_seeds_differ(void **state)
{
	struct backoff a = { .random = 1 }, b = { .random = 2 };
	int equal = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		equal += backoff_between(&a, 0, 1000000) == backoff_between(&b, 0, 1000000);
	assert_true(equal < 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds_are_kept_and_reached),
		cmocka_unit_test(test_the_bound_doubles_up_to_a_limit),
		cmocka_unit_test(test_a_success_begins_anew),
		cmocka_unit_test(test_seeds_differ),
	};

	return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
