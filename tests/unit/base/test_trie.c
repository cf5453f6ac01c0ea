/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/dice.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the trie allocates is counted, and can be made to fail. */
static _Atomic long nodes_alive;
static long nodes_made;
static long fails_after = -1; /* allocations that still succeed; -1: all */

static void *counted_malloc(size_t bytes)
{
	void *p;

	if (fails_after == 0)
		return NULL;
	if (fails_after > 0)
		fails_after--;
	p = malloc(bytes);
	if (p) {
		nodes_alive++;
		nodes_made++;
	}
	return p;
}

static void counted_free(void *p)
{
	nodes_alive--;
	free(p);
}

#define malloc counted_malloc
#define free   counted_free
#include "base/trie.c"
#undef malloc
#undef free

enum { POOL = 300, VERSIONS = 6, EDITS = 2000 };

/* Prefixes that often lie in each other, of both families. */
static struct prefix pool[POOL];

struct model {
	struct trie *root;
	uint32_t values[POOL];
};

static uint64_t seed = 1;

static struct addr random_addr(void)
{
	struct addr a = { .bytes = { [10] = 0xff, [11] = 0xff, [12] = 10 } };

	if (dice(&seed, 3) == 0)
		a = (struct addr){ .bytes = { 0xfd } };
	for (unsigned i = 13; i < 16; i++)
		a.bytes[i] = (uint8_t)(dice(&seed, 4) << dice(&seed, 7));
	return a;
}

static int make_pool(void **state)
{
	(void)state;
	for (size_t i = 0; i < POOL; i++) {
		bool is_new;

		do {
			pool[i].addr = random_addr();
			pool[i].len_bits = (uint8_t)(dice(&seed, 2) ? 128 : (addr_is_v4(&pool[i].addr) ? 96 : 90) + dice(&seed, 32));
			prefix_clear_host(&pool[i]);
			is_new = true;
			for (size_t k = 0; k < i; k++)
				is_new &= pool[k].len_bits != pool[i].len_bits || !addr_equal(&pool[k].addr, &pool[i].addr);
		} while (!is_new);
	}
	return 0;
}

static size_t pool_index(const struct prefix *p)
{
	for (size_t i = 0; i < POOL; i++)
		if (pool[i].len_bits == p->len_bits && addr_equal(&pool[i].addr, &p->addr))
			return i;
	fail_msg("a prefix that was never put in");
	return 0;
}

/* The longest of the pool that contains a, by looking at all. */
static uint32_t model_find(const struct model *m, const struct addr *a, unsigned max_len_bits, size_t *ret_index)
{
	uint32_t best = 0;

	for (size_t i = 0; i < POOL; i++) {
		if (!m->values[i] || pool[i].len_bits > max_len_bits || !prefix_contains(&pool[i], a) ||
		    addr_is_v4(a) != (pool[i].len_bits >= 96 && addr_is_v4(&pool[i].addr)))
			continue;
		if (!best || pool[i].len_bits > pool[*ret_index].len_bits) {
			best = m->values[i];
			*ret_index = i;
		}
	}
	return best;
}

struct seen {
	uint32_t before[POOL], after[POOL];
	bool is_seen[POOL];
	struct prefix last;
	bool has_last, is_in_order;
};

static int see_entry(void *ctx, const struct prefix *p, uint32_t value)
{
	struct seen *s = ctx;
	size_t i = pool_index(p);
	int order = s->has_last ? memcmp(s->last.addr.bytes, p->addr.bytes, sizeof(p->addr.bytes)) : -1;

	assert_false(s->is_seen[i]);
	s->is_seen[i] = true;
	s->after[i] = value;
	s->is_in_order &= order < 0 || (order == 0 && s->last.len_bits < p->len_bits);
	s->last = *p;
	s->has_last = true;
	return 0;
}

static int see_change(void *ctx, const struct prefix *p, uint32_t before, uint32_t after)
{
	struct seen *s = ctx;
	size_t i = pool_index(p);

	assert_false(s->is_seen[i]);
	s->is_seen[i] = true;
	s->before[i] = before;
	s->after[i] = after;
	return 0;
}

static void expect_walk(const struct model *m, const struct prefix *within)
{
	struct seen s = { .is_in_order = true };

	assert_int_equal(trie_walk(m->root, within, see_entry, &s), 0);
	assert_true(s.is_in_order);
	for (size_t i = 0; i < POOL; i++) {
		bool is_inside = !within || (pool[i].len_bits >= within->len_bits && prefix_contains(within, &pool[i].addr));

		assert_int_equal(s.is_seen[i], is_inside && m->values[i] != 0);
		assert_int_equal(s.after[i], is_inside ? m->values[i] : 0);
	}
}

static void expect_diff(const struct model *a, const struct model *b)
{
	struct seen s = { 0 };

	assert_int_equal(trie_diff(a->root, b->root, see_change, &s), 0);
	for (size_t i = 0; i < POOL; i++) {
		assert_int_equal(s.is_seen[i], a->values[i] != b->values[i]);
		if (s.is_seen[i]) {
			assert_int_equal(s.before[i], a->values[i]);
			assert_int_equal(s.after[i], b->values[i]);
		}
	}
}

static void expect_lookups(const struct model *m, unsigned count)
{
	for (unsigned k = 0; k < count; k++) {
		struct addr a = dice(&seed, 2) ? random_addr() : pool[dice(&seed, POOL)].addr;
		unsigned max_len_bits = dice(&seed, 2) ? 128 : 90 + dice(&seed, 39);
		struct prefix found = { .len_bits = 0 };
		size_t index = 0;
		uint32_t value = model_find(m, &a, max_len_bits, &index);

		assert_int_equal(trie_find(m->root, &a, max_len_bits, &found), value);
		if (value)
			assert_int_equal(pool_index(&found), index);
	}
}

static void everything_is_as_in_a_naive_model(void **state)
{
	static struct model versions[VERSIONS];

	(void)state;
	for (unsigned edit = 0; edit < EDITS; edit++) {
		struct model *from = &versions[dice(&seed, VERSIONS)], *to = &versions[dice(&seed, VERSIONS)];
		unsigned changes = 1 + dice(&seed, 4);

		/* Sometimes in place, most often beside the version that it comes from. */
		if (to != from) {
			struct trie *old = to->root;

			*to = *from;
			to->root = trie_ref(from->root);
			trie_unref(old);
		}
		while (changes-- > 0) {
			size_t i = dice(&seed, POOL);
			uint32_t value = dice(&seed, 3) ? 1 + dice(&seed, TRIE_VALUE_MAX) : 0, before;
			int rc = trie_set(&to->root, &pool[i], value, &before);

			assert_int_equal(rc, value != to->values[i]);
			assert_int_equal(before, to->values[i]);
			to->values[i] = value;
			assert_int_equal(trie_get(to->root, &pool[i]), value);
		}
		expect_lookups(to, 8);
		expect_diff(from, to);
		if (edit % 64 == 0) {
			const struct model *any = &versions[dice(&seed, VERSIONS)];
			struct model empty = { .root = NULL };

			expect_walk(any, NULL);
			expect_walk(any, &pool[dice(&seed, POOL)]);
			expect_diff(any, to);
			expect_diff(&empty, any);
			expect_diff(any, &empty);
			for (size_t i = 0; i < POOL; i++)
				assert_int_equal(trie_get(any->root, &pool[i]), any->values[i]);
		}
	}
	/* Taken out one by one, nothing is left. */
	for (size_t i = 0; i < POOL; i++) {
		uint32_t before;

		assert_true(trie_set(&versions[0].root, &pool[i], 0, &before) >= 0);
	}
	assert_null(versions[0].root);
	for (size_t i = 1; i < VERSIONS; i++)
		trie_unref(versions[i].root);
	assert_int_equal(nodes_alive, 0);
}

static struct prefix host(uint32_t index)
{
	return (struct prefix){ .addr.bytes = { [10] = 0xff,
		                                [11] = 0xff,
		                                [12] = 10,
		                                [13] = (uint8_t)(index >> 16),
		                                [14] = (uint8_t)(index >> 8),
		                                [15] = (uint8_t)index },
		                .len_bits = 128 };
}

static int count_change(void *ctx, const struct prefix *p, uint32_t before, uint32_t after)
{
	(void)p;
	(void)before;
	(void)after;
	return ++*(int *)ctx;
}

static void a_change_copies_only_the_way_to_it(void **state)
{
	enum { COUNT = 1 << 14, DEPTH = 14 };
	struct trie *first = NULL, *second;
	struct prefix p;
	uint32_t before;
	long made;
	int changes = 0;

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++) {
		p = host(i);
		assert_int_equal(trie_set(&first, &p, 1 + i, &before), 1);
	}
	/* A leaf each, and forks above them; nothing of it was made twice. */
	assert_int_equal(nodes_alive, 2 * COUNT - 1);
	assert_int_equal(nodes_made, nodes_alive);

	second = trie_ref(first);
	made = nodes_made;
	p = host(4711);
	assert_int_equal(trie_set(&second, &p, 7, &before), 1);
	assert_int_equal(nodes_made - made, DEPTH + 1);
	assert_int_equal(trie_get(first, &p), 4712);
	assert_int_equal(trie_get(second, &p), 7);
	assert_int_equal(trie_diff(first, second, count_change, &changes), 0);
	assert_int_equal(changes, 1);

	/* What is set to what it is costs nothing. */
	made = nodes_made;
	assert_int_equal(trie_set(&second, &p, 7, &before), 0);
	assert_int_equal(nodes_made, made);

	trie_unref(first);
	assert_int_equal(nodes_alive, 2 * COUNT - 1);
	trie_unref(second);
	assert_int_equal(nodes_alive, 0);
}

static void one_below_the_other_to_the_last_bit(void **state)
{
	struct trie *root = NULL;
	struct addr a = { .bytes = { 0xfd } };
	uint32_t before;

	(void)state;
	memset(a.bytes + 1, 0x5a, sizeof(a.bytes) - 1);
	for (unsigned len = 0; len <= 128; len++) {
		struct prefix p = { .addr = a, .len_bits = (uint8_t)len };

		prefix_clear_host(&p);
		assert_int_equal(trie_set(&root, &p, len + 1, &before), 1);
	}
	for (unsigned len = 0; len <= 128; len++)
		assert_int_equal(trie_find(root, &a, len, NULL), len + 1);
	assert_int_equal(nodes_alive, 129);
	trie_unref(root);
	assert_int_equal(nodes_alive, 0);
}

static void out_of_memory_leaves_every_prefix_as_it_was(void **state)
{
	struct model m = { .root = NULL };
	struct trie *kept;
	uint32_t before;

	(void)state;
	for (size_t i = 0; i < POOL; i += 2) {
		m.values[i] = (uint32_t)i + 1;
		assert_int_equal(trie_set(&m.root, &pool[i], m.values[i], &before), 1);
	}
	kept = trie_ref(m.root);
	for (size_t i = 0; i < POOL; i++) {
		uint32_t value = dice(&seed, 3) ? 1 + dice(&seed, TRIE_VALUE_MAX) : 0;
		int rc;

		/* One allocation later each time, until the change succeeds. */
		for (long k = 0;; k++) {
			fails_after = k;
			rc = trie_set(&m.root, &pool[i], value, &before);
			fails_after = -1;
			if (rc != -ENOMEM)
				break;
			expect_lookups(&m, 4);
			expect_walk(&m, NULL);
		}
		assert_int_equal(rc, value != m.values[i]);
		m.values[i] = value;
		if (i % 16 == 0) {
			/* Shared anew. */
			trie_unref(kept);
			kept = trie_ref(m.root);
		}
	}
	trie_unref(kept);
	expect_walk(&m, NULL);
	trie_unref(m.root);
	assert_int_equal(nodes_alive, 0);
}

/* Each reader takes the newest version there is, looks at it and drops it, while the writer goes on from it. */
struct shelf {
	pthread_mutex_t lock;
	struct trie *newest;
	bool is_over;
};

static void *read_versions(void *arg)
{
	struct shelf *shelf = arg;
	struct prefix p = host(9), q = host(200);
	bool is_over;

	do {
		struct trie *mine;

		(void)pthread_mutex_lock(&shelf->lock);
		is_over = shelf->is_over;
		mine = trie_ref(shelf->newest);
		(void)pthread_mutex_unlock(&shelf->lock);
		/* Both are always written together. */
		if (trie_get(mine, &p) != trie_get(mine, &q) || trie_find(mine, &p.addr, 128, NULL) == 0)
			abort();
		trie_unref(mine);
	} while (!is_over);
	return NULL;
}

static void readers_never_see_a_change(void **state)
{
	struct shelf shelf = { .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t threads[3];
	uint32_t before;

	(void)state;
	for (uint32_t i = 0; i < 256; i++) {
		struct prefix p = host(i);

		assert_int_equal(trie_set(&shelf.newest, &p, 1, &before), 1);
	}
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_versions, &shelf), 0);
	for (uint32_t round = 2; round < 600; round++) {
		struct prefix p = host(9), q = host(200), other = host(round % 256);
		struct trie *next, *old;

		next = trie_ref(shelf.newest);
		assert_int_equal(trie_set(&next, &p, round, &before), 1);
		assert_int_equal(trie_set(&next, &q, round, &before), 1);
		if (round % 256 != 9 && round % 256 != 200)
			assert_true(trie_set(&next, &other, round % 2 ? 0 : round, &before) >= 0);
		(void)pthread_mutex_lock(&shelf.lock);
		old = shelf.newest;
		shelf.newest = next;
		(void)pthread_mutex_unlock(&shelf.lock);
		trie_unref(old);
	}
	(void)pthread_mutex_lock(&shelf.lock);
	shelf.is_over = true;
	(void)pthread_mutex_unlock(&shelf.lock);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	trie_unref(shelf.newest);
	assert_int_equal(nodes_alive, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_copies_only_the_way_to_it),  cmocka_unit_test(everything_is_as_in_a_naive_model),
		cmocka_unit_test(one_below_the_other_to_the_last_bit), cmocka_unit_test(out_of_memory_leaves_every_prefix_as_it_was),
		cmocka_unit_test(readers_never_see_a_change),
	};

	return cmocka_run_group_tests(tests, make_pool, NULL);
}
