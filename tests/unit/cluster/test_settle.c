/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Settling without memory: whatever allocation fails, the last view stays, and the next try makes all that was not made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __has_feature /* clang's way to say it */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED
#endif

#ifdef IS_SANITIZED

/* The sanitizers have allocators of their own, which can not be stood in for. */
int main(void)
{
	puts("skipped: allocations can not be made to fail under a sanitizer");
	return 77;
}

#else

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);

static unsigned until_failure; /* allocations; 0: none fails */

static bool is_failing(void)
{
	return until_failure > 0 && --until_failure == 0;
}

void *malloc(size_t bytes)
{
	return is_failing() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
	return is_failing() ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *at, size_t bytes)
{
	return is_failing() ? NULL : __libc_realloc(at, bytes);
}

static void put_node(struct registry *r, const char *name, uint32_t address, const char *range)
{
	struct addr a = addr_from_v4_be(__builtin_bswap32(address));
	struct object o = { .kind = OBJECT_NODE }, record = { .kind = OBJECT_RECORD };
	struct prefix p;

	assert_int_equal(prefix_parse(range, &p), 0);
	o.node = (struct object_node){ .meta = { .name_space = "", .name = name, .uid = name, .version = "", .created_s = 1 },
		                       .addresses = &a,
		                       .addresses_count = 1,
		                       .ranges = &p,
		                       .ranges_count = 1 };
	record.record = (struct object_record){ .meta = o.meta, .node_uid = name, .settings_hash = "" };
	assert_int_equal(registry_put(r, &o), 0);
	assert_int_equal(registry_put(r, &record), 0);
}

static int offer_pod(struct registry *r, const char *name, const char *node, const char *address)
{
	struct object o = { .kind = OBJECT_POD };
	struct addr a;

	assert_int_equal(addr_parse(address, &a), 0);
	o.pod = (struct object_pod){ .meta = { .name_space = "shop", .name = name, .uid = name, .version = "", .created_s = 1 },
		                     .node = node,
		                     .addresses = &a,
		                     .addresses_count = 1,
		                     .phase = OBJECT_RUNNING };
	return registry_put(r, &o);
}

static void put_pod(struct registry *r, const char *name, const char *node, const char *address)
{
	assert_int_equal(offer_pod(r, name, node, address), 0);
}

static void forget(struct registry *r, enum object_kind kind, const char *name)
{
	const struct object_meta m = { .name_space = "shop", .name = name, .uid = "", .version = "" };

	registry_gone(r, kind, &m);
}

/* Before the change, and after it: everything that a settling does is among what differs. */
static void tell_first(struct registry *r)
{
	put_node(r, "n1", 0xac1e0001, "10.1.1.0/24");
	put_node(r, "n2", 0xac1e0002, "10.1.2.0/24");
	put_node(r, "n3", 0xac1e0003, "10.1.3.0/24");
	put_pod(r, "a", "n2", "10.1.2.5");
	put_pod(r, "b", "n2", "10.1.2.6");
	put_pod(r, "c", "n3", "10.1.3.5");
}

static void tell_second(struct registry *r)
{
	forget(r, OBJECT_POD, "a");                   /* kept */
	put_pod(r, "b", "n1", "10.1.2.6");            /* moves */
	put_pod(r, "d", "n1", "10.1.2.1");            /* in the place of a gateway */
	forget(r, OBJECT_NODE, "n3");                 /* with all that it has */
	put_node(r, "n2", 0xac1e0009, "10.1.7.0/24"); /* other address, other range */
	put_node(r, "n4", 0xac1e0004, "10.1.4.0/24");
}

static int same(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	char text[PREFIX_TEXT_BYTES];

	(void)ctx;
	fail_msg("%s: %d of %u is %d of %u", prefix_print(p, text), before ? (int)before->kind : -1, before ? before->node_id : 0,
	         after ? (int)after->kind : -1, after ? after->node_id : 0);
	return 0;
}

static void what_failed_is_made_by_the_next_try(void **state)
{
	const struct registry_settings s = { .self = "n1" };
	const struct instant now = { NS_PER_S };
	struct view *expected = NULL;
	unsigned fails = 0;
	int rc = -ENOMEM;

	(void)state;
	/* The first time without a failure, for what must come of it. */
	for (unsigned at = 0; at == 0 || rc == -ENOMEM; at++) {
		struct view *first, *second;
		struct registry *r;

		assert_int_equal(registry_create(&s, NULL, NULL, &r), 0);
		tell_first(r);
		assert_int_equal(registry_publish(r, now, &first), 0);
		tell_second(r);
		until_failure = at;
		rc = registry_publish(r, now, &second);
		until_failure = 0;
		if (rc == -ENOMEM) {
			fails++;
			assert_true(registry_is_changed(r));
			assert_int_equal(registry_publish(r, now, &second), 0);
		} else {
			assert_int_equal(rc, 0);
		}
		assert_false(registry_is_changed(r));
		assert_int_equal(registry_counts(r).ended, 1);
		if (!expected)
			expected = view_ref(second);
		assert_int_equal(view_diff(expected, second, same, NULL), 0);
		assert_int_equal(view_nodes_count(second), 3);
		view_unref(first);
		view_unref(second);
		registry_destroy(r);
		if (at == 0)
			rc = -ENOMEM;
	}
	assert_true(fails > 10);
	view_unref(expected);
}

static int try_node(struct registry *r, const char *name, const char *address)
{
	struct object o = { .kind = OBJECT_NODE };
	struct addr a;

	assert_int_equal(addr_parse(address, &a), 0);
	o.node = (struct object_node){ .meta = { .name_space = "", .name = name, .uid = name, .version = "", .created_s = 1 },
		                       .addresses = &a,
		                       .addresses_count = 1 };
	until_failure = 1;
	return registry_put(r, &o);
}

static int try_pod(struct registry *r, const char *name, const char *node, const char *address)
{
	until_failure = 1;
	return offer_pod(r, name, node, address);
}

/* It was in the list, whatever became of what the list said of it: as gone its pods would be spoken to in the clear. */
static void a_list_without_memory_forgets_nobody(void **state)
{
	const struct registry_settings s = { .self = "n1" };
	struct instant now = { NS_PER_S };
	struct registry *r;
	struct addr a;
	struct view *v;

	(void)state;
	assert_int_equal(registry_create(&s, NULL, NULL, &r), 0);
	tell_first(r);
	registry_list_began(r, OBJECT_NODE);
	put_node(r, "n1", 0xac1e0001, "10.1.1.0/24");
	assert_int_equal(try_node(r, "n2", "172.30.0.9"), -ENOMEM);
	until_failure = 0;
	registry_list_ended(r, OBJECT_NODE);
	registry_list_began(r, OBJECT_POD);
	assert_int_equal(try_pod(r, "a", "n2", "10.1.2.9"), -ENOMEM);
	until_failure = 0;
	registry_list_ended(r, OBJECT_POD);
	assert_int_equal(registry_publish(r, now, &v), 0);
	assert_non_null(view_node_by_name(v, "n2"));
	assert_true(view_node_by_name(v, "n2")->is_enrolled);
	assert_null(view_node_by_name(v, "n3"));
	assert_int_equal(addr_parse("10.1.2.5", &a), 0);
	assert_int_equal(view_lookup(v, &a).kind, VIEW_POD);
	assert_int_equal(addr_parse("10.1.2.6", &a), 0);
	assert_int_not_equal(view_lookup(v, &a).kind, VIEW_POD);
	view_unref(v);
	registry_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_failed_is_made_by_the_next_try),
		cmocka_unit_test(a_list_without_memory_forgets_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
