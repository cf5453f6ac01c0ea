/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static void hashes_spread(void **state)
{
	unsigned counts[16] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 16000; i++)
		counts[hash_bytes(&i, sizeof(i)) % 16]++;
	for (size_t i = 0; i < 16; i++)
		assert_in_range(counts[i], 800, 1200);
	assert_true(hash_bytes("a", 1) != hash_bytes("a\0", 2));
	assert_true(hash_bytes("12345678a", 9) != hash_bytes("12345678b", 9));
	assert_true(hash_bytes("x2345678a", 9) != hash_bytes("12345678a", 9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
