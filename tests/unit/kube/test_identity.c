/* SPDX-License-Identifier: GPL-3.0-or-later */
/* When a certificate is renewed. All else needs an API server: tests/kube/test_node_identity.py. */
#include "kube/identity.h"
#include "tls/ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { HOUR_S = 3600 };

static const int64_t issued_s = 1700000000;

static void test_renewal(void **state)
{
	static const int64_t lives_s[] = { 60, 600, 24 * HOUR_S, 90 * 24 * HOUR_S };

	(void)state;
	for (size_t k = 0; k < sizeof(lives_s) / sizeof(lives_s[0]); k++) {
		int64_t life_s = lives_s[k], least_s = INT64_MAX, most_s = 0;

		for (uint64_t random = 0; random < 100000; random++) {
			int64_t at_s = identity_renewal(issued_s - CA_CLOCK_SKEW_S, issued_s + life_s, random * 2654435761u) - issued_s;

			least_s = at_s < least_s ? at_s : least_s;
			most_s = at_s > most_s ? at_s : most_s;
		}
		assert_in_range(least_s, life_s * 61 / 100, life_s * 63 / 100);
		assert_in_range(most_s, life_s * 70 / 100, life_s * 72 / 100);
	}
}

/* What others issue may not be set back, or live for a shorter time than we set back. */
static void test_of_others(void **state)
{
	(void)state;
	assert_in_range(identity_renewal(issued_s, issued_s + 200, 7), issued_s, issued_s + 200);
	assert_int_equal(identity_renewal(issued_s, issued_s, 7), issued_s);
	assert_in_range(identity_renewal(issued_s, issued_s + 5, UINT64_MAX), issued_s, issued_s + 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_renewal), cmocka_unit_test(test_of_others) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
