/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ranges of nodes, and the pod space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "told.h"
#include "unit/parsed.h"

#include <stdio.h>
#include <string.h>

/* Pods get the addresses of their node's range one after the other: a kubelet that says they are its node's would have them before. */
static void a_free_address_of_another_nodes_range_is_its_pods_when_one_has_it(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.9.1.0/24", .created_s = 20);
	told_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.9.2.0/24", .created_s = 10);
	told_publish(&t);
	told_node(&t, .name = "n2", .addresses = "172.30.0.2 10.9.1.7 10.9.3.7", .ranges = "10.9.2.0/24", .created_s = 10);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.9.1.7"), "=n2");
	told_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.9.1.7");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.9.1.7"), "n1");
	assert_string_equal(t.last, "node n2: status.addresses: 10.9.1.7 is taken already, by pod shop/web on node n1");
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 2);
	/* Not a pod of any other node, and not in a range that came to a node later. */
	told_pod(&t, .name = "shop/far", .node = "n1", .addresses = "10.9.3.7");
	told_node(&t, .name = "n3", .addresses = "172.30.0.3", .ranges = "10.9.3.0/24 172.30.0.0/24", .created_s = 30);
	told_pod(&t, .name = "evil/node", .node = "n3", .addresses = "172.30.0.1");
	told_pod(&t, .name = "evil/late", .node = "n3", .addresses = "10.9.3.7");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.9.3.7"), "=n2");
	assert_string_equal(told_whose(&t, "172.30.0.1"), "=n1");
	/* Nobody's again, until the next pod has it. */
	told_gone(&t, OBJECT_POD, "shop/web");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.9.1.7"), "=n2");
	told_pod(&t, .name = "shop/next", .node = "n1", .addresses = "10.9.1.7");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.9.1.7"), "n1");
	told_end(&t);
}

static void a_range_counts_at_a_daemons_start_where_its_node_is_the_older(void **state)
{
	(void)state;
	for (int is_older = 0; is_older < 2; is_older++) {
		struct told t;

		told_begin(&t);
		told_node(&t, .name = "n2", .addresses = "172.30.0.2 10.9.1.7", .created_s = 10);
		told_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.9.1.0/24", .created_s = is_older ? 5 : 20);
		told_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.9.1.7", .created_s = 100);
		told_publish(&t);
		assert_string_equal(told_whose(&t, "10.9.1.7"), is_older ? "n1" : "=n2");
		told_end(&t);
	}
}

static void ranges_mark_the_pod_space(void **state)
{
	const struct prefix more[] = { prefix("10.9.0.0/16") }, marked = prefix("10.1.1.0/24");
	struct view_entry entry;
	struct told t;

	(void)state;
	told_begin_with(&t, (struct registry_settings){ .pod_space = more, .pod_space_count = 1 });
	told_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.1.0/24 fd10:1::/64");
	told_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.1.2.0/24");
	/* Its CNI has ranges of its own. */
	told_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.1.77");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.1.50"), "?");
	assert_string_equal(told_whose(&t, "fd10:1::50"), "?");
	assert_string_equal(told_whose(&t, "10.9.1.1"), "?");
	/* Which node's range it is said to be is known: what faces its new pods is told by it. */
	assert_true(view_get(t.view, &marked, &entry));
	assert_int_equal(entry.node_id, view_node_by_name(t.view, "n1")->id);
	assert_string_equal(told_whose(&t, "10.1.3.1"), "");
	assert_string_equal(told_whose(&t, "10.1.1.77"), "n2");
	/* Bridge and overlay devices have the first two. */
	assert_string_equal(told_whose(&t, "10.1.1.0"), "=n1");
	assert_string_equal(told_whose(&t, "10.1.1.1"), "=n1");
	assert_string_equal(told_whose(&t, "fd10:1::1"), "=n1");
	assert_string_equal(told_whose(&t, "10.1.2.1"), "=n2");
	assert_string_equal(told_whose(&t, "10.1.2.2"), "?");
	/* But where a pod has it, it is the pod's. */
	told_pod(&t, .name = "shop/b", .node = "n1", .addresses = "10.1.2.1");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.2.1"), "n1");
	told_gone(&t, OBJECT_POD, "shop/b");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.2.1"), "=n2");
	/* The range goes with its node. */
	told_gone(&t, OBJECT_NODE, "n2");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.2.50"), "");
	assert_string_equal(told_whose(&t, "10.1.2.1"), "");
	assert_string_equal(told_whose(&t, "10.1.1.50"), "?");
	told_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.7.0/24");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.1.50"), "");
	assert_string_equal(told_whose(&t, "10.1.7.50"), "?");
	assert_int_equal(t.refused, 0);
	told_end(&t);
}

static void a_range_of_two_nodes_stays_while_one_has_it(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.0.0/16", .created_s = 10);
	told_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.1.0.0/16", .created_s = 20);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.3.3"), "?");
	assert_string_equal(told_whose(&t, "10.1.0.1"), "=n1");
	told_node(&t, .name = "n1", .addresses = "172.30.0.1", .created_s = 10);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.3.3"), "?");
	assert_string_equal(told_whose(&t, "10.1.0.1"), "=n2");
	told_gone(&t, OBJECT_NODE, "n2");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.3.3"), "");
	told_end(&t);
}

static void ranges_are_ownership_where_they_are_told_to_be(void **state)
{
	struct told t;

	(void)state;
	told_begin_with(&t, (struct registry_settings){ .is_ranges_own = true });
	told_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.1.0/24", .created_s = 10);
	told_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.1.2.0/24", .created_s = 20);
	told_node(&t, .name = "n3", .addresses = "172.30.0.3", .ranges = "10.1.2.128/25 10.1.3.0/24", .created_s = 30);
	told_node(&t, .name = "n4", .addresses = "172.30.0.4", .ranges = "10.1.0.0/16", .created_s = 40);
	told_record(&t, "n2", "n2");
	told_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.2.9");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.1.50"), "n1");
	assert_string_equal(told_whose(&t, "10.1.2.50"), "n2");
	assert_string_equal(told_whose(&t, "10.1.2.200"), "n2");
	assert_string_equal(told_whose(&t, "10.1.3.50"), "n3");
	assert_string_equal(told_whose(&t, "10.1.9.9"), "?");
	assert_string_equal(told_whose(&t, "10.1.2.1"), "=n2");
	assert_int_equal(t.refused, 2);
	/* What is left of a pod is its node's all the same. */
	told_gone(&t, OBJECT_POD, "shop/a");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.2.9"), "n2");
	told_gone(&t, OBJECT_NODE, "n2");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.2.50"), "?");
	assert_string_equal(told_whose(&t, "10.1.2.200"), "n3");
	told_end(&t);
}

static void ranges_that_can_not_be_are_refused(void **state)
{
	static const char *const bad[] = { "0.0.0.0/0",   "10.0.0.0/7", "127.0.0.0/24", "169.254.0.0/16",
		                           "224.0.0.0/8", "fd00::/8",   "10.96.0.0/16" };
	const struct prefix reserved[] = { prefix("10.96.0.1/32") };
	struct told t;

	(void)state;
	told_begin_with(&t, (struct registry_settings){ .reserved = reserved, .reserved_count = 1 });
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char ranges[64];

		(void)snprintf(ranges, sizeof(ranges), "%s 10.1.1.0/24", bad[i]);
		told_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = ranges);
		told_publish(&t);
		assert_int_equal(t.refused, i + 1);
		assert_non_null(strstr(t.last, bad[i]));
		assert_int_equal(registry_refusals(t.registry)->count, 1);
		assert_string_equal(told_whose(&t, "10.1.1.50"), "?");
		assert_string_equal(told_whose(&t, "10.96.3.3"), "");
		assert_string_equal(told_whose(&t, "192.0.2.1"), "");
	}
	told_end(&t);
}

/* capture.cluster_pods is what somebody wrote. */
static void a_pod_space_that_can_not_be_stops_nothing(void **state)
{
	struct prefix spaces[] = { prefix("0.0.0.0/0"), prefix("10.3.0.0/16") };
	struct told t;

	(void)state;
	told_begin_with(&t, (struct registry_settings){ .pod_space = spaces, .pod_space_count = 2 });
	told_two_nodes(&t);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(told_whose(&t, "10.3.1.9"), "?");
	assert_string_equal(told_whose(&t, "8.8.8.8"), "");
	assert_int_equal(t.refused, 1);
	assert_non_null(strstr(t.last, "cluster_pods: 0.0.0.0/0"));
	told_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_free_address_of_another_nodes_range_is_its_pods_when_one_has_it),
		cmocka_unit_test(a_range_counts_at_a_daemons_start_where_its_node_is_the_older),
		cmocka_unit_test(ranges_mark_the_pod_space),
		cmocka_unit_test(a_range_of_two_nodes_stays_while_one_has_it),
		cmocka_unit_test(ranges_are_ownership_where_they_are_told_to_be),
		cmocka_unit_test(ranges_that_can_not_be_are_refused),
		cmocka_unit_test(a_pod_space_that_can_not_be_stops_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
