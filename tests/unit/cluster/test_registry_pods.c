/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whose an address is: of pods that run, end, move and claim what others have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "told.h"
#include "unit/parsed.h"

#include <stdio.h>
#include <string.h>

static void a_running_pods_addresses_are_its_nodes(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/cart", .node = "n1", .addresses = "10.1.0.5 fd10::5");
	told_pod(&t, .name = "shop/web", .node = "n2", .addresses = "10.1.0.6");
	told_pod(&t, .name = "shop/starts", .node = "n2", .addresses = "10.1.0.7", .phase = OBJECT_PENDING);
	told_pod(&t, .name = "shop/no-node", .addresses = "10.1.0.8");
	told_pod(&t, .name = "shop/no-address", .node = "n2");
	told_pod(&t, .name = "kube-system/proxy", .node = "n2", .addresses = "172.30.0.2", .is_host_network = true);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(told_whose(&t, "fd10::5"), "n1");
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2");
	assert_string_equal(told_whose(&t, "10.1.0.7"), "n2");
	assert_string_equal(told_whose(&t, "10.1.0.8"), "");
	assert_string_equal(told_whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(told_whose(&t, "fd30::1"), "=n1");
	assert_string_equal(told_whose(&t, "192.0.2.1"), "");
	assert_non_null(view_self(t.view));
	assert_string_equal(view_self(t.view)->name, "n1");
	assert_int_equal(registry_counts(t.registry).pods, 3);
	assert_int_equal(t.refused, 0);
	told_end(&t);
}

static void nothing_new_is_the_same_view(void **state)
{
	struct view *before;
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_space(&t, "shop", false);
	told_pod(&t, .name = "shop/cart", .node = "n1", .addresses = "10.1.0.5");
	told_publish(&t);
	before = view_ref(t.view);
	assert_false(registry_is_changed(t.registry));
	told_two_nodes(&t);
	told_space(&t, "shop", false);
	told_pod(&t, .name = "shop/cart", .node = "n1", .addresses = "10.1.0.5");
	assert_false(registry_is_changed(t.registry));
	told_publish(&t);
	assert_ptr_equal(t.view, before);
	view_unref(before);
	told_end(&t);
}

static void of_two_claims_the_older_pods_is_taken_and_the_other_named(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct told t;

		told_begin(&t);
		told_two_nodes(&t);
		for (int i = 0; i < 2; i++) {
			if (i == order)
				told_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
			else
				told_pod(&t, .name = "shop/new", .node = "n2", .addresses = "10.1.0.5", .created_s = 200);
		}
		told_publish(&t);
		assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
		assert_int_equal(t.refused, 1);
		assert_string_equal(t.last, "pod shop/new: 10.1.0.5 on node n2 is taken already, by pod shop/old on node n1");
		assert_int_equal(registry_refusals(t.registry)->count, 1);
		/* Its turn comes, and it is refused no more. */
		told_gone(&t, OBJECT_POD, "shop/old");
		told_publish(&t);
		assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
		assert_int_equal(registry_refusals(t.registry)->count, 0);
		told_end(&t);
	}
}

static void of_two_pods_of_one_age_all_nodes_take_the_same(void **state)
{
	char first[64];
	struct told t;

	(void)state;
	for (int order = 0; order < 2; order++) {
		told_begin(&t);
		told_two_nodes(&t);
		told_pod(&t, .name = order ? "shop/b" : "shop/a", .node = order ? "n2" : "n1", .addresses = "10.1.0.5");
		told_pod(&t, .name = order ? "shop/a" : "shop/b", .node = order ? "n1" : "n2", .addresses = "10.1.0.5");
		told_publish(&t);
		if (order == 0)
			(void)snprintf(first, sizeof(first), "%s", told_whose(&t, "10.1.0.5"));
		else
			assert_string_equal(told_whose(&t, "10.1.0.5"), first);
		told_end(&t);
	}
}

static void an_address_is_not_taken_over_while_its_owner_claims_it(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/bank", .node = "n1", .addresses = "10.1.0.5", .created_s = 200);
	told_pod(&t, .name = "shop/thief", .node = "n2", .addresses = "10.1.0.9", .created_s = 100);
	told_publish(&t);
	/* A node may say of its own pods what it wants; that one of them is older helps it nothing. */
	told_pod(&t, .name = "shop/thief", .node = "n2", .addresses = "10.1.0.5", .created_s = 100);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	assert_non_null(strstr(t.last, "pod shop/thief: 10.1.0.5 on node n2 is taken already"));
	/* Nor does it while the owner itself changes. */
	told_pod(&t, .name = "shop/bank", .node = "n1", .addresses = "10.1.0.5 fd10::5", .created_s = 200);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(told_whose(&t, "fd10::5"), "n1");
	assert_string_equal(told_whose(&t, "10.1.0.9"), "n2-");
	told_end(&t);
}

static void running_goes_before_terminating(void **state)
{
	struct addr a = addr("10.1.0.5");
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
	told_publish(&t);
	told_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100, .is_deleting = true);
	told_publish(&t);
	/* It still serves, and its node speaks for it. */
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1~");
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n1"), false), VIEW_YES);
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n2"), false), VIEW_UNKNOWN);
	told_pod(&t, .name = "shop/new", .node = "n2", .addresses = "10.1.0.5", .created_s = 200);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n1"), false), VIEW_OTHERS);
	told_gone(&t, OBJECT_POD, "shop/old");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(t.refused, 0);
	/* What is gone is nobody's word any more. */
	told_gone(&t, OBJECT_POD, "shop/new");
	told_publish(&t);
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n2"), false), VIEW_UNKNOWN);
	told_end(&t);
}

static void the_address_of_a_pod_that_is_gone_is_kept_for_ten_minutes(void **state)
{
	struct instant deadline;
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/job", .node = "n2", .addresses = "10.1.0.5");
	told_pod(&t, .name = "shop/web", .node = "n2", .addresses = "10.1.0.6");
	told_publish(&t);
	assert_false(registry_deadline(t.registry, &deadline));
	told_pod(&t, .name = "shop/job", .node = "n2", .addresses = "10.1.0.5", .phase = OBJECT_SUCCEEDED);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2-");
	told_pass(&t, 1000);
	told_gone(&t, OBJECT_POD, "shop/web");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2-");
	assert_int_equal(registry_counts(t.registry).ended, 2);
	assert_true(registry_deadline(t.registry, &deadline));
	assert_int_equal(deadline.ns, NS_PER_S + REGISTRY_KEEP_MS * NS_PER_MS);
	/* The API's word that it is gone, later, changes nothing. */
	told_gone(&t, OBJECT_POD, "shop/job");
	told_pass(&t, REGISTRY_KEEP_MS - 1001);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2-");
	told_pass(&t, 1);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "");
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2-");
	told_pass(&t, 1000);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "");
	assert_false(registry_deadline(t.registry, &deadline));
	told_end(&t);
}

static void a_new_owner_has_a_kept_address_at_once(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/job", .node = "n2", .addresses = "10.1.0.5");
	told_publish(&t);
	told_gone(&t, OBJECT_POD, "shop/job");
	told_publish(&t);
	told_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	told_pass(&t, REGISTRY_KEEP_MS);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n1");
	told_end(&t);
}

static void an_address_that_moves_in_one_turn_is_never_nobodys(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_pod(&t, .name = "shop/db-0", .node = "n1", .addresses = "10.1.0.5", .uid = "one");
	told_publish(&t);
	/* A StatefulSet's pod: the same name, another pod, another node, the same address. */
	told_pod(&t, .name = "shop/db-0", .node = "n2", .addresses = "10.1.0.5", .uid = "two");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(registry_counts(t.registry).ended, 0);
	assert_int_equal(registry_counts(t.registry).pods, 1);
	told_end(&t);
}

static void what_no_enrolled_node_had_is_not_kept(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1");
	told_pod(&t, .name = "shop/job", .node = "n1", .addresses = "10.1.0.5");
	told_publish(&t);
	assert_false(told_is_enrolled(&t, "n1"));
	told_gone(&t, OBJECT_POD, "shop/job");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "");
	told_end(&t);
}

static void a_pod_that_comes_before_its_node_is_pod_space(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1");
	told_pod(&t, .name = "shop/early", .node = "n2", .addresses = "10.1.0.5");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "?");
	told_node(&t, .name = "n2", .addresses = "172.30.0.2");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	/* A node that was taken out is another matter: nothing of it is refused. */
	told_gone(&t, OBJECT_NODE, "n2");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "");
	assert_string_equal(told_whose(&t, "172.30.0.2"), "");
	assert_null(view_node_by_name(t.view, "n2"));
	told_gone(&t, OBJECT_POD, "shop/early");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "");
	told_end(&t);
}

static void addresses_that_no_pod_can_have_are_refused(void **state)
{
	static const char *const bad[] = { "127.0.0.9", "::1",     "169.254.1.1", "fe80::5",  "224.0.0.5",
		                           "ff02::5",   "0.0.0.0", "::",          "240.0.0.1" };
	const struct prefix reserved[] = { prefix("10.96.0.0/12"), prefix("172.30.9.9/32") };
	struct told t;

	(void)state;
	told_begin_with(&t, (struct registry_settings){ .reserved = reserved, .reserved_count = 2 });
	told_two_nodes(&t);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char name[32], addresses[64];

		(void)snprintf(name, sizeof(name), "shop/p%zu", i);
		(void)snprintf(addresses, sizeof(addresses), "%s 10.1.0.%zu", bad[i], i);
		told_pod(&t, .name = name, .node = "n2", .addresses = addresses);
		told_publish(&t);
		assert_int_equal(t.refused, i + 1);
		assert_non_null(strstr(t.last, name));
		assert_non_null(strstr(t.last, bad[i]));
		assert_string_equal(told_whose(&t, strchr(addresses, ' ') + 1), "n2");
	}
	told_pod(&t, .name = "shop/service", .node = "n2", .addresses = "10.96.0.1");
	told_pod(&t, .name = "shop/api", .node = "n2", .addresses = "172.30.9.9");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.96.0.1"), "");
	assert_string_equal(told_whose(&t, "172.30.9.9"), "");
	assert_non_null(strstr(t.last, "is a Service's or the API server's"));
	told_end(&t);
}

static void who_opted_out_is_said(void **state)
{
	struct registry_settings s = { .self = "n1", .is_space_opt_out_allowed = true, .is_pod_opt_out_allowed = true };
	struct told t;

	(void)state;
	told_begin_with(&t, s);
	told_two_nodes(&t);
	told_space(&t, "lab", true);
	told_pod(&t, .name = "lab/a", .node = "n2", .addresses = "10.1.0.5");
	told_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6", .is_opted_out = true);
	told_pod(&t, .name = "shop/c", .node = "n2", .addresses = "10.1.0.7");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2!");
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2!");
	assert_string_equal(told_whose(&t, "10.1.0.7"), "n2");
	told_space(&t, "lab", false);
	told_space(&t, "shop", true);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	assert_string_equal(told_whose(&t, "10.1.0.7"), "n2!");
	told_gone(&t, OBJECT_NAMESPACE, "shop");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.7"), "n2");
	/* Pods' own word no more; then nobody's: lockdown. */
	told_space(&t, "shop", true);
	s.is_pod_opt_out_allowed = false;
	assert_int_equal(registry_apply(t.registry, &s), 0);
	told_space(&t, "shop", false);
	told_space(&t, "lab", true);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2");
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2!");
	s.is_space_opt_out_allowed = false;
	assert_int_equal(registry_apply(t.registry, &s), 0);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	told_end(&t);
}

static void the_pods_of_culvert_itself_are_told(void **state)
{
	const struct view_node *n;
	struct told t;

	(void)state;
	told_begin_with(&t, (struct registry_settings){ .culvert_namespace = "sys" });
	told_two_nodes(&t);
	told_pod(&t, .name = "sys/culvert-a", .uid = "uid-a", .node = "n2", .addresses = "172.30.0.2", .is_host_network = true,
	         .is_culvert = true, .created_s = 100);
	told_pod(&t, .name = "shop/culvert-x", .uid = "uid-x", .node = "n2", .is_host_network = true, .is_culvert = true);
	told_publish(&t);
	n = view_node_by_name(t.view, "n2");
	assert_int_equal(n->daemons_count, 1);
	assert_string_equal(n->daemons[0].name_space, "sys");
	assert_string_equal(n->daemons[0].pod, "culvert-a");
	assert_string_equal(n->daemons[0].pod_uid, "uid-a");
	assert_int_equal(view_node_by_name(t.view, "n1")->daemons_count, 0);
	/* One takes the place of another: the one that stays is the first. */
	told_pod(&t, .name = "sys/culvert-a", .uid = "uid-a", .node = "n2", .is_host_network = true, .is_culvert = true, .created_s = 100,
	         .is_deleting = true);
	told_pod(&t, .name = "sys/culvert-b", .uid = "uid-b", .node = "n2", .is_host_network = true, .is_culvert = true, .created_s = 200);
	told_publish(&t);
	n = view_node_by_name(t.view, "n2");
	assert_int_equal(n->daemons_count, 2);
	assert_string_equal(n->daemons[0].pod_uid, "uid-b");
	assert_string_equal(n->daemons[1].pod_uid, "uid-a");
	told_gone(&t, OBJECT_POD, "sys/culvert-a");
	told_publish(&t);
	n = view_node_by_name(t.view, "n2");
	assert_int_equal(n->daemons_count, 1);
	assert_string_equal(n->daemons[0].pod_uid, "uid-b");
	told_gone(&t, OBJECT_POD, "sys/culvert-b");
	told_publish(&t);
	assert_int_equal(view_node_by_name(t.view, "n2")->daemons_count, 0);
	assert_int_equal(t.refused, 0);
	told_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_running_pods_addresses_are_its_nodes),
		cmocka_unit_test(nothing_new_is_the_same_view),
		cmocka_unit_test(of_two_claims_the_older_pods_is_taken_and_the_other_named),
		cmocka_unit_test(of_two_pods_of_one_age_all_nodes_take_the_same),
		cmocka_unit_test(an_address_is_not_taken_over_while_its_owner_claims_it),
		cmocka_unit_test(running_goes_before_terminating),
		cmocka_unit_test(the_address_of_a_pod_that_is_gone_is_kept_for_ten_minutes),
		cmocka_unit_test(a_new_owner_has_a_kept_address_at_once),
		cmocka_unit_test(an_address_that_moves_in_one_turn_is_never_nobodys),
		cmocka_unit_test(what_no_enrolled_node_had_is_not_kept),
		cmocka_unit_test(a_pod_that_comes_before_its_node_is_pod_space),
		cmocka_unit_test(addresses_that_no_pod_can_have_are_refused),
		cmocka_unit_test(who_opted_out_is_said),
		cmocka_unit_test(the_pods_of_culvert_itself_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
