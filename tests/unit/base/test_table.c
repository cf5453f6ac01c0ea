/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct prefix prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
}

static struct prefix_table *table_with(const char *const *texts, size_t count)
{
	struct prefix_table *t;

	assert_int_equal(prefix_table_create(0, &t), 0);
	for (size_t i = 0; i < count; i++) {
		struct prefix p = prefix(texts[i]);

		assert_int_equal(prefix_table_add(t, &p, (uint32_t)i), 0);
	}
	return t;
}

static void the_longest_prefix_wins(void **state)
{
	static const char *const texts[] = {
		"10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1", "fd00::/8", "fd00:1::/64", "0.0.0.0/0"
	};
	static const struct {
		const char *addr;
		uint32_t value;
	} cases[] = {
		{ "10.1.1.1", 3 }, { "10.1.1.2", 2 },  { "10.1.2.1", 1 }, { "10.2.0.0", 0 },
		{ "11.0.0.0", 6 }, { "fd00:1::9", 5 }, { "fd12::1", 4 },
	};
	struct prefix_table *t = table_with(texts, sizeof(texts) / sizeof(texts[0]));
	struct addr outside = addr("2001:db8::1");
	struct prefix found;
	uint32_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct addr a = addr(cases[i].addr);
		struct prefix expected = prefix(texts[cases[i].value]);

		assert_true(prefix_table_find(t, &a, 128, &found, &value));
		assert_int_equal(value, cases[i].value);
		assert_int_equal(found.len_bits, expected.len_bits);
		assert_true(addr_equal(&found.addr, &expected.addr));
	}
	assert_false(prefix_table_find(t, &outside, 128, &found, &value));
	prefix_table_destroy(t);
}

static void a_bound_on_the_length_finds_the_outer_one(void **state)
{
	static const char *const texts[] = { "10.0.0.0/8", "10.1.0.0/16" };
	struct prefix_table *t = table_with(texts, 2);
	struct prefix inner = prefix(texts[1]), found;
	uint32_t value;

	(void)state;
	assert_true(prefix_table_find(t, &inner.addr, inner.len_bits, &found, &value));
	assert_int_equal(value, 1);
	assert_true(prefix_table_find(t, &inner.addr, inner.len_bits - 1U, &found, &value));
	assert_int_equal(value, 0);
	assert_false(prefix_table_find(t, &inner.addr, found.len_bits - 1U, &found, &value));
	prefix_table_destroy(t);
}

static void a_prefix_is_there_once(void **state)
{
	static const char *const texts[] = { "10.0.0.0/8", "10.0.0.0/9" };
	struct prefix_table *t = table_with(texts, 2);
	struct prefix p = prefix("10.0.0.0/8"), absent = prefix("10.0.0.0/10");
	uint32_t value = 77;

	(void)state;
	assert_int_equal(prefix_table_add(t, &p, 5), -EEXIST);
	assert_true(prefix_table_get(t, &p, &value));
	assert_int_equal(value, 0);
	assert_false(prefix_table_get(t, &absent, &value));
	assert_int_equal(value, 0);
	prefix_table_destroy(t);
}

/* Against the slow way, with many prefixes of all lengths. */
static void it_agrees_with_a_search_of_all(void **state)
{
	enum { COUNT = 3000, LOOKUPS = 3000 };
	struct prefix *all = calloc(COUNT, sizeof(*all));
	struct prefix_table *t;
	uint32_t seed = 1;
	size_t count = 0;

	(void)state;
	assert_non_null(all);
	assert_int_equal(prefix_table_create(0, &t), 0);
	for (size_t i = 0; i < COUNT; i++) {
		struct prefix p;

		seed = seed * 1664525 + 1013904223;
		p.addr = addr_from_v4_be(htonl(0x0a000000 | (seed >> 8 & 0xffff)));
		p.len_bits = (uint8_t)(96 + 15 + (seed >> 24) % 18);
		prefix_clear_host(&p);
		if (prefix_table_add(t, &p, (uint32_t)count) == 0)
			all[count++] = p;
	}
	assert_true(count > COUNT / 3);
	for (size_t i = 0; i < LOOKUPS; i++) {
		struct addr a;
		struct prefix found;
		uint32_t value;
		const struct prefix *best = NULL;

		seed = seed * 1664525 + 1013904223;
		a = addr_from_v4_be(htonl(0x0a000000 | (seed >> 8 & 0x1ffff)));
		for (size_t j = 0; j < count; j++) {
			if (prefix_contains(&all[j], &a) && (!best || all[j].len_bits > best->len_bits))
				best = &all[j];
		}
		assert_int_equal(prefix_table_find(t, &a, 128, &found, &value), best != NULL);
		if (best)
			assert_ptr_equal(&all[value], best);
	}
	prefix_table_destroy(t);
	free(all);
}

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
		cmocka_unit_test(the_longest_prefix_wins), cmocka_unit_test(a_bound_on_the_length_finds_the_outer_one),
		cmocka_unit_test(a_prefix_is_there_once),  cmocka_unit_test(it_agrees_with_a_search_of_all),
		cmocka_unit_test(hashes_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
