/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/chain.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdlib.h>

enum { ITEMS = 5000 };

struct item {
	struct chain chain;
	uint64_t key;
	bool is_seen;
};

static uint64_t hash(const struct chain *entry)
{
	/* Four keys share each hash, so that chains hold more than what is looked for. */
	return container_of(entry, const struct item, chain)->key / 4;
}

static struct item *find(const struct chains *t, uint64_t key)
{
	for (struct chain *c = chains_of(t, key / 4); c; c = c->next) {
		struct item *item = container_of(c, struct item, chain);

		if (item->key == key)
			return item;
	}
	return NULL;
}

/* A table of items with the keys from 0 on, which the caller frees. */
static struct item *fill(struct chains *t)
{
	struct item *items = calloc(ITEMS, sizeof(*items));

	assert_non_null(items);
	assert_int_equal(chains_init(t, hash), 0);
	for (size_t i = 0; i < ITEMS; i++) {
		items[i].key = i;
		chains_add(t, &items[i].chain);
	}
	return items;
}

static void entries_are_found_until_they_are_removed(void **state)
{
	struct chains t;
	struct item *items = fill(&t);

	(void)state;
	assert_int_equal(t.count, ITEMS);
	assert_true(t.mask + 1 >= ITEMS / 2);
	for (size_t i = 0; i < ITEMS; i++)
		assert_ptr_equal(find(&t, i), &items[i]);
	for (size_t i = 0; i < ITEMS; i += 2)
		chains_remove(&t, &items[i].chain);
	for (size_t i = 0; i < ITEMS; i++)
		assert_ptr_equal(find(&t, i), i % 2 ? &items[i] : NULL);
	assert_int_equal(t.count, ITEMS / 2);
	chains_done(&t);
	free(items);
}

static void remove_thirds(void *ctx, struct chain *entry)
{
	struct item *item = container_of(entry, struct item, chain);

	assert_false(item->is_seen);
	item->is_seen = true;
	if (item->key % 3 == 0)
		chains_remove(ctx, entry);
}

static void a_visit_sees_each_once_and_may_remove_it(void **state)
{
	struct chains t;
	struct item *items = fill(&t);

	(void)state;
	chains_visit(&t, remove_thirds, &t);
	for (size_t i = 0; i < ITEMS; i++) {
		assert_true(items[i].is_seen);
		assert_ptr_equal(find(&t, i), i % 3 ? &items[i] : NULL);
	}
	chains_done(&t);
	chains_done(&t);
	free(items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_found_until_they_are_removed),
		cmocka_unit_test(a_visit_sees_each_once_and_may_remove_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
