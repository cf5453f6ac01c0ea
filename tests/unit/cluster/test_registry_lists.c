/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a list has, lacks, or has in a form that can not be taken, and the list of refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "told.h"
#include "unit/parsed.h"

#include <stdio.h>

static void what_a_list_does_not_have_is_gone(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_space(&t, "lab", true);
	told_pod(&t, .name = "lab/a", .node = "n2", .addresses = "10.1.0.5");
	told_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	told_publish(&t);
	/* A list that breaks off takes nothing away, and neither does the view between. */
	registry_list_began(t.registry, OBJECT_POD);
	told_pod(&t, .name = "lab/a", .node = "n2", .addresses = "10.1.0.5");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2");
	registry_list_began(t.registry, OBJECT_POD);
	told_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	told_pod(&t, .name = "shop/c", .node = "n1", .addresses = "10.1.0.7");
	registry_list_ended(t.registry, OBJECT_POD);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2-");
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2");
	assert_string_equal(told_whose(&t, "10.1.0.7"), "n1");

	registry_list_began(t.registry, OBJECT_NAMESPACE);
	registry_list_ended(t.registry, OBJECT_NAMESPACE);
	assert_int_equal(registry_counts(t.registry).namespaces, 0);
	registry_list_began(t.registry, OBJECT_RECORD);
	told_record(&t, "n1", "n1");
	registry_list_ended(t.registry, OBJECT_RECORD);
	told_publish(&t);
	assert_true(told_is_enrolled(&t, "n1"));
	assert_false(told_is_enrolled(&t, "n2"));
	registry_list_began(t.registry, OBJECT_NODE);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1");
	registry_list_ended(t.registry, OBJECT_NODE);
	told_publish(&t);
	assert_int_equal(view_nodes_count(t.view), 1);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "");
	told_end(&t);
}

static void what_a_list_has_and_can_not_be_taken_stays_as_it_was(void **state)
{
	const struct object_meta pod = { .name_space = "shop", .name = "b" }, node = { .name = "n2" }, space = { .name = "lab" };
	const struct object_meta fresh = { .name_space = "shop", .name = "new" };
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	told_space(&t, "lab", true);
	told_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	told_publish(&t);
	for (int kind = OBJECT_NODE; kind <= OBJECT_RECORD; kind++)
		registry_list_began(t.registry, (enum object_kind)kind);
	told_node(&t, .name = "n1", .addresses = "172.30.0.1");
	told_record(&t, "n1", "n1");
	registry_keep(t.registry, OBJECT_NODE, &node, "9 bytes that are no Node");
	registry_keep(t.registry, OBJECT_RECORD, &node, "9 bytes that are no Lease");
	registry_keep(t.registry, OBJECT_NAMESPACE, &space, "9 bytes that are no Namespace");
	registry_keep(t.registry, OBJECT_POD, &pod, "9 bytes that are no Pod");
	assert_string_equal(t.last, "pod shop/b: 9 bytes that are no Pod; what was known of it stays in force");
	for (int kind = OBJECT_NODE; kind <= OBJECT_RECORD; kind++)
		registry_list_ended(t.registry, (enum object_kind)kind);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "n2");
	assert_true(told_is_enrolled(&t, "n2"));
	assert_int_equal(registry_counts(t.registry).namespaces, 1);
	assert_int_equal(registry_refusals(t.registry)->count, 4);
	/* Until it can be taken again, or is gone. */
	told_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	registry_gone(t.registry, OBJECT_NAMESPACE, &space);
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	/* One that nothing is known of is no more than named. */
	registry_keep(t.registry, OBJECT_POD, &fresh, "9 bytes that are no Pod");
	assert_int_equal(registry_counts(t.registry).pods, 1);
	told_end(&t);
}

static void a_faulty_field_is_named_and_the_rest_is_taken(void **state)
{
	const struct object_fault fault = { "status.podIPs[1].ip: \"10.1.2\" is no address" };
	struct object o = { .kind = OBJECT_POD, .faults = &fault, .faults_count = 1 };
	struct addr a = addr("10.1.0.5");
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	o.pod = (struct object_pod){
		.meta = told_meta("shop/a"), .node = "n2", .addresses = &a, .addresses_count = 1, .phase = OBJECT_RUNNING
	};
	assert_int_equal(registry_put(t.registry, &o), 0);
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.5"), "n2");
	assert_string_equal(t.last, "pod shop/a: status.podIPs[1].ip: \"10.1.2\" is no address");
	/* Said once, and listed until it is mended. */
	assert_int_equal(registry_put(t.registry, &o), 0);
	assert_int_equal(t.refused, 1);
	assert_int_equal(registry_refusals(t.registry)->count, 1);
	o.faults_count = 0;
	assert_int_equal(registry_put(t.registry, &o), 0);
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	told_pod(&t, .name = "shop/b", .node = "not a name", .addresses = "10.1.0.6");
	told_node(&t, .name = "Not-A-Name", .addresses = "172.30.0.9");
	told_publish(&t);
	assert_string_equal(told_whose(&t, "10.1.0.6"), "");
	assert_string_equal(told_whose(&t, "172.30.0.9"), "");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	assert_int_equal(registry_refusals(t.registry)->total, 3);
	told_end(&t);
}

static void the_list_of_refusals_has_an_end(void **state)
{
	struct told t;

	(void)state;
	told_begin(&t);
	told_two_nodes(&t);
	for (int i = 0; i < 2 * REFUSALS_MAX; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "shop/p%d", i);
		told_pod(&t, .name = name, .node = "n2", .addresses = "127.0.0.1");
	}
	assert_int_equal(registry_refusals(t.registry)->count, REFUSALS_MAX);
	assert_int_equal(registry_refusals(t.registry)->total, 2 * REFUSALS_MAX);
	told_gone(&t, OBJECT_POD, "shop/p3");
	assert_int_equal(registry_refusals(t.registry)->count, REFUSALS_MAX - 1);
	told_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_list_does_not_have_is_gone),
		cmocka_unit_test(what_a_list_has_and_can_not_be_taken_stays_as_it_was),
		cmocka_unit_test(a_faulty_field_is_named_and_the_rest_is_taken),
		cmocka_unit_test(the_list_of_refusals_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
