/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Nodes that come, go, enrol and say what their addresses are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "told.h"
#include "unit/parsed.h"

#include <string.h>

static void a_node_that_leaves_takes_its_addresses_with_it(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.0.5");
	told_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	told_publish(&t);
	told_gone(&t, OBJECT_POD, "shop/b");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2-");
	told_gone(&t, OBJECT_NODE, "n2");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "");
	assert_string_equal(told_whose(&t, "10.1.0.6"), "");
	assert_int_equal(registry_counts(t.registry).ended, 0);
	/* It comes back as another: not enrolled by the record of the one before. */
	told_node(&t, .name = "n2", .uid = "another", .addresses = "172.30.0.3");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	assert_string_equal(told_whose(&t, "172.30.0.3"), "=n2");
	assert_false(told_is_enrolled(&t, "n2"));
	assert_true(registry_node(t.registry, "n2").has_old_record);
	assert_false(registry_node(t.registry, "n2").has_record);
	told_gone(&t, OBJECT_RECORD, "n2");
	told_record(&t, "n2", "another");
	told_publish(&t);
	assert_true(told_is_enrolled(&t, "n2"));
	told_end(&t);
}

static void a_node_that_is_replaced_in_one_turn_keeps_its_pods(void **state)
{
	struct told t;
	uint32_t id;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.0.5");
	told_publish(&t);
	id = view_node_by_name(t.view, "n2")->id;
	told_gone(&t, OBJECT_NODE, "n2");
	told_node(&t, .name = "n2", .uid = "another", .addresses = "172.30.0.2");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(view_node_by_name(t.view, "n2")->id, id);
	assert_false(told_is_enrolled(&t, "n2"));
	told_end(&t);
}

static void a_record_enrolls_the_node_that_owns_it(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	/* Records may come before their nodes. */
	told_record(&t, "n2", "n2");
	told_node(&t, .name = "n1", .addresses = "172.30.0.1");
	told_node(&t, .name = "n2", .addresses = "172.30.0.2");
	told_publish(&t);
	assert_false(told_is_enrolled(&t, "n1"));
	assert_true(told_is_enrolled(&t, "n2"));
	assert_int_equal(registry_counts(t.registry).nodes, 2);
	assert_int_equal(registry_counts(t.registry).enrolled, 1);
	assert_int_equal(registry_node(t.registry, "n2").record_port, 7117);
	assert_string_equal(registry_node(t.registry, "n2").record_hash, "12ab");
	/* Of another Node object, or of none. */
	told_record(&t, "n1", "somebody");
	told_publish(&t);
	assert_false(told_is_enrolled(&t, "n1"));
	told_record(&t, "n1", "");
	told_publish(&t);
	assert_false(told_is_enrolled(&t, "n1"));
	assert_non_null(strstr(t.last, "record n1: metadata.ownerReferences"));
	told_record(&t, "n1", "n1");
	told_publish(&t);
	assert_true(told_is_enrolled(&t, "n1"));
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	/* The two ways out that leave the Node. */
	told_node(&t, .name = "n1", .addresses = "172.30.0.1", .is_unenrolled = true);
	told_publish(&t);
	assert_false(told_is_enrolled(&t, "n1"));
	assert_true(registry_node(t.registry, "n1").is_unenrolled);
	told_gone(&t, OBJECT_RECORD, "n2");
	told_publish(&t);
	assert_false(told_is_enrolled(&t, "n2"));
	told_end(&t);
}

static void our_own_node_stays_when_it_is_taken_out(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_publish(&t);
	assert_true(told_is_enrolled(&t, "n1"));
	told_gone(&t, OBJECT_NODE, "n1");
	told_publish(&t);
	assert_non_null(view_self(t.view));
	assert_false(told_is_enrolled(&t, "n1"));
	assert_string_equal(told_whose(&t, "172.30.0.1"), "=n1");
	assert_false(registry_node(t.registry, "n1").is_known);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1 fd30::1", .created_s = 10);
	told_publish(&t);
	assert_true(told_is_enrolled(&t, "n1"));
	told_end(&t);
}

static void addresses_of_nodes_change(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1");
	told_node(&t, .name = "n2", .addresses = "");
	told_publish(&t);
	assert_non_null(view_node_by_name(t.view, "n2"));
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 0);
	assert_string_equal(t.last,
	                    "node n2: status.addresses: none that another node could reach: no tunnel leads there until it has one");
	told_node(&t, .name = "n2", .addresses = "172.30.0.2 127.0.0.1 fe80::1 fd30::2 172.30.0.2");
	told_publish(&t);
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 2);
	assert_string_equal(told_whose(&t, "fd30::2"), "=n2");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	told_node(&t, .name = "n2", .addresses = "172.30.0.9");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.9"), "=n2");
	assert_string_equal(told_whose(&t, "172.30.0.2"), "");
	assert_string_equal(told_whose(&t, "fd30::2"), "");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	told_end(&t);
}

static void an_address_of_two_nodes_is_the_older_ones(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_node(&t, .name = "n3", .addresses = "172.30.0.3 172.30.0.2", .created_s = 30);
	told_two_nodes(&t);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(told_whose(&t, "172.30.0.3"), "=n3");
	assert_string_equal(t.last, "node n3: status.addresses: 172.30.0.2 is node n2's already");
	/* Who has it keeps it, also against an older one. */
	told_node(&t, .name = "n1", .addresses = "172.30.0.1 172.30.0.2", .created_s = 10);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	/* Until it leaves it. */
	told_node(&t, .name = "n2", .addresses = "172.30.0.8", .created_s = 20);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n1");
	told_gone(&t, OBJECT_NODE, "n3");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n1");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	told_end(&t);
}

static void a_nodes_address_is_no_pods(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_node(&t, .name = "n3", .addresses = "172.30.0.3");
	told_pod(&t, .name = "shop/liar", .node = "n1", .addresses = "172.30.0.2 10.1.0.5");
	told_pod(&t, .name = "shop/early", .node = "n1", .addresses = "172.30.0.3");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(told_whose(&t, "172.30.0.3"), "=n3");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	assert_int_equal(t.refused, 2);
	/* The node leaves it, and it is the pod's. */
	told_node(&t, .name = "n3", .addresses = "172.30.0.4");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.3"), "n1");
	told_gone(&t, OBJECT_POD, "shop/liar");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	told_end(&t);
}

/* What an earlier daemon knew: pairs of an address and its node, "=" before one that is the node's own. */
static const char *recall(void *ctx, const struct addr *a, bool *ret_is_own)
{
	for (const char *const *at = ctx; *at; at += 2) {
		struct addr known = addr(at[0]);

		if (!addr_equal(&known, a))
			continue;
		*ret_is_own = at[1][0] == '=';
		return at[1] + *ret_is_own;
	}
	return NULL;
}

static void claims_that_a_daemon_finds_at_its_start_are_as_the_one_before_knew_them(void **state)
{
	static const char *known[] = { "10.1.0.5", "n1", "10.1.0.6", "n3", "172.30.0.1", "=n1", "172.30.0.3", "=n3", NULL };

	(void)state;
	for (int has_memory = 0; has_memory < 2; has_memory++) {
		struct told t;

		told_begin(&t);
		if (has_memory)
			registry_set_recall(t.registry, recall, (void *)known);
		told_node(&t, .name = "n1", .addresses = "172.30.0.1", .created_s = 10);
		/* It is older than n3, keeps pods that are older, and says that it has what others have. */
		told_node(&t, .name = "n2", .addresses = "172.30.0.2 10.1.0.5 172.30.0.3", .created_s = 5);
		told_node(&t, .name = "n3", .addresses = "172.30.0.3", .created_s = 20);
		told_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
		told_pod(&t, .name = "shop/cart", .node = "n3", .addresses = "10.1.0.6", .created_s = 100);
		told_pod(&t, .name = "evil/old", .node = "n2", .addresses = "10.1.0.6", .created_s = 50);
		told_pod(&t, .name = "evil/node", .node = "n2", .addresses = "172.30.0.1", .created_s = 50);
		told_publish(&t);
		assert_string_equal(told_whose(&t, "10.1.0.5"), has_memory ? "n1" : "=n2");
		assert_string_equal(told_whose(&t, "10.1.0.6"), has_memory ? "n3" : "n2");
		assert_string_equal(told_whose(&t, "172.30.0.3"), has_memory ? "=n3" : "=n2");
		assert_string_equal(told_whose(&t, "172.30.0.1"), "=n1");
		/* From then on who has it keeps it, and what was known before is not asked any more. */
		registry_set_recall(t.registry, recall, (void *)(const char *[]){ "10.1.0.6", "n1", NULL });
		told_pod(&t, .name = "evil/new", .node = "n1", .addresses = "10.1.0.6", .created_s = 1);
		told_publish(&t);
		assert_string_equal(told_whose(&t, "10.1.0.6"), has_memory ? "n3" : "n2");
		told_end(&t);
	}
}

static void what_is_remembered_is_no_claim(void **state)
{
	static const char *known[] = { "10.1.0.5", "n3", "172.30.0.2", "=n9", NULL };
	struct told t;

	(void)state;
	told_begin(&t);
	registry_set_recall(t.registry, recall, (void *)known);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
	told_pod(&t, .name = "shop/new", .node = "n2", .addresses = "10.1.0.5", .created_s = 200);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	told_end(&t);
}

/* A kubelet says what its node's addresses are: with another's pod among them it would get what is sent to that. */
static void a_node_does_not_take_a_pods_address(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5 fd10::5");
	told_publish(&t);
	told_node(&t, .name = "n2", .addresses = "172.30.0.2 fd30::2 10.1.0.5 fd10::5", .created_s = 20);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(told_whose(&t, "fd10::5"), "n1");
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 2);
	assert_string_equal(t.last, "node n2: status.addresses: fd10::5 is taken already, by pod shop/web on node n1");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	/* What a node does not say any more is not refused any more. */
	told_node(&t, .name = "n2", .addresses = "172.30.0.2 fd30::2 10.1.0.5", .created_s = 20);
	told_publish(&t);
	assert_int_equal(registry_refusals(t.registry)->count, 1);
	/* Not while it is terminating either, nor because the node says it again. */
	told_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5 fd10::5", .is_deleting = true);
	told_node(&t, .name = "n2", .addresses = "172.30.0.2 10.1.0.5 fd10::5", .created_s = 20);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1~");
	/* Its turn comes, and it stays its own against what a pod says later. */
	told_gone(&t, OBJECT_POD, "shop/web");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "=n2");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	told_pod(&t, .name = "shop/late", .node = "n1", .addresses = "10.1.0.5");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "=n2");
	/* A node that is gone has no pods any more. */
	told_pod(&t, .name = "shop/other", .node = "n2", .addresses = "10.1.0.6");
	told_publish(&t);
	told_gone(&t, OBJECT_NODE, "n2");
	told_node(&t, .name = "n1", .addresses = "172.30.0.1 10.1.0.6", .created_s = 10);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "=n1");
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	told_end(&t);
}

static void a_kept_address_that_becomes_a_nodes_stays_the_nodes(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.0.5");
	told_publish(&t);
	told_gone(&t, OBJECT_POD, "shop/a");
	told_publish(&t);
	told_node(&t, .name = "n3", .addresses = "10.1.0.5");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "=n3");
	told_pass(&t, REGISTRY_KEEP_MS);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "=n3");
	told_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_that_leaves_takes_its_addresses_with_it),
		cmocka_unit_test(a_node_that_is_replaced_in_one_turn_keeps_its_pods),
		cmocka_unit_test(a_record_enrolls_the_node_that_owns_it),
		cmocka_unit_test(our_own_node_stays_when_it_is_taken_out),
		cmocka_unit_test(addresses_of_nodes_change),
		cmocka_unit_test(an_address_of_two_nodes_is_the_older_ones),
		cmocka_unit_test(a_nodes_address_is_no_pods),
		cmocka_unit_test(claims_that_a_daemon_finds_at_its_start_are_as_the_one_before_knew_them),
		cmocka_unit_test(what_is_remembered_is_no_claim),
		cmocka_unit_test(a_node_does_not_take_a_pods_address),
		cmocka_unit_test(a_kept_address_that_becomes_a_nodes_stays_the_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
