/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/view.h"
#include "unit/parsed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 8, ENTRIES = 4 };

/* What a test describes in texts, as view_create takes it. */
struct cluster {
	struct view_node nodes[NODES];
	struct addr addresses[NODES][ENTRIES];
	struct prefix pods[NODES][ENTRIES];
	size_t count;
};

/* addresses and pods: texts with spaces between them. */
static void add_node(struct cluster *c, const char *name, const char *addresses, const char *pods)
{
	struct view_node *n = &c->nodes[c->count];
	char text[256], *save = NULL;

	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	n->addresses = c->addresses[c->count];
	n->pods = c->pods[c->count];
	(void)snprintf(text, sizeof(text), "%s", addresses);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		c->addresses[c->count][n->addresses_count++] = addr(word);
	(void)snprintf(text, sizeof(text), "%s", pods);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		c->pods[c->count][n->pods_count++] = prefix(word);
	c->count++;
}

static struct view *build(const struct cluster *c, const char *self_name, const struct view *before)
{
	char error[VIEW_ERROR_BYTES] = "";
	struct view *v;

	if (view_create(c->nodes, c->count, NULL, 0, self_name, before, &v, error) != 0)
		fail_msg("%s", error);
	return v;
}

static void refuse(const struct cluster *c, const char *self_name, enum view_part part, size_t node, size_t item, const char *message)
{
	char error[VIEW_ERROR_BYTES] = "";
	struct view_fault fault = { 0 };
	struct view *v = NULL;

	assert_int_equal(view_create_located(c->nodes, c->count, NULL, 0, self_name, NULL, &v, error, &fault), -EINVAL);
	assert_string_equal(error, message);
	assert_int_equal(fault.part, part);
	assert_int_equal(fault.node, node);
	assert_int_equal(fault.item, item);
	assert_null(v);
}

static void two_nodes(struct cluster *c)
{
	*c = (struct cluster){ .count = 0 };
	add_node(c, "node2", "172.30.0.2 fd30::2", "10.245.2.0/24 fd45:2::/64");
	add_node(c, "node1", "172.30.0.1 fd30::1", "10.245.1.0/24 fd45:1::/64");
}

static const char *owner_at(const struct view *v, const char *text, enum view_kind kind)
{
	struct addr a = addr(text);
	struct view_answer answer = view_lookup(v, &a);

	assert_int_equal(answer.kind, kind);
	return answer.owner ? answer.owner->name : "";
}

static void addresses_have_their_owners(void **state)
{
	struct cluster c;
	struct view *v;
	struct addr a;

	(void)state;
	two_nodes(&c);
	v = build(&c, "node1", NULL);
	assert_string_equal(owner_at(v, "10.245.1.7", VIEW_POD), "node1");
	assert_string_equal(owner_at(v, "fd45:2::7", VIEW_POD), "node2");
	assert_string_equal(owner_at(v, "172.30.0.2", VIEW_NODE), "node2");
	assert_string_equal(owner_at(v, "fd30::1", VIEW_NODE), "node1");
	assert_string_equal(owner_at(v, "10.245.3.1", VIEW_OUTSIDE), "");
	assert_string_equal(owner_at(v, "8.8.8.8", VIEW_OUTSIDE), "");
	a = addr("172.30.0.2");
	assert_string_equal(view_node_by_address(v, &a)->name, "node2");
	a = addr("10.245.2.1");
	assert_null(view_node_by_address(v, &a));
	view_unref(v);
}

static void nodes_are_found_by_name_and_id(void **state)
{
	struct cluster c;
	struct view *v;

	(void)state;
	two_nodes(&c);
	v = build(&c, "node1", NULL);
	assert_int_equal(view_nodes_count(v), 2);
	assert_string_equal(view_node_at(v, 0)->name, "node1");
	assert_string_equal(view_node_at(v, 1)->name, "node2");
	assert_ptr_equal(view_self(v), view_node_at(v, 0));
	assert_true(view_self(v)->is_self);
	assert_false(view_node_at(v, 1)->is_self);
	assert_ptr_equal(view_node_by_name(v, "node2"), view_node_at(v, 1));
	assert_null(view_node_by_name(v, "node"));
	assert_null(view_node_by_name(v, "node22"));
	assert_null(view_node_by_name(v, ""));
	for (size_t i = 0; i < 2; i++)
		assert_ptr_equal(view_node_by_id(v, view_node_at(v, i)->id), view_node_at(v, i));
	assert_null(view_node_by_id(v, 0));
	assert_null(view_node_by_id(v, 3));
	assert_null(view_node_by_id(v, UINT32_MAX));
	view_unref(v);
}

static void the_view_holds_copies(void **state)
{
	struct cluster c;
	struct addr second = addr("fd30::1"), pods = addr("10.245.1.0");
	struct view *v;

	(void)state;
	two_nodes(&c);
	v = build(&c, "node1", NULL);
	memset(&c, 0xee, sizeof(c));
	assert_int_equal(view_self(v)->addresses_count, 2);
	assert_true(addr_equal(&view_self(v)->addresses[1], &second));
	assert_int_equal(view_self(v)->pods_count, 2);
	assert_true(addr_equal(&view_self(v)->pods[0].addr, &pods));
	view_unref(v);
}

static void a_nodes_own_ranges_may_lie_in_each_other(void **state)
{
	struct cluster c = { .count = 0 };
	struct view *v;

	(void)state;
	/* The bridge's address lies inside the pods' prefix, and so does a single pod. */
	add_node(&c, "node1", "172.30.0.1 10.245.1.1", "10.245.1.0/24 10.245.1.9");
	v = build(&c, "node1", NULL);
	assert_string_equal(owner_at(v, "10.245.1.1", VIEW_NODE), "node1");
	assert_string_equal(owner_at(v, "10.245.1.9", VIEW_POD), "node1");
	assert_string_equal(owner_at(v, "10.245.1.2", VIEW_POD), "node1");
	view_unref(v);
}

static void the_pod_space_is_what_nobody_owns(void **state)
{
	const struct prefix space[] = { prefix("10.245.0.0/16"), prefix("10.245.1.0/24"), prefix("10.245.0.0/16") };
	char error[VIEW_ERROR_BYTES];
	struct cluster c;
	struct view *v;
	struct view_entry entry;

	(void)state;
	two_nodes(&c);
	assert_int_equal(view_create(c.nodes, c.count, space, 3, "node1", NULL, &v, error), 0);
	assert_string_equal(owner_at(v, "10.245.9.1", VIEW_POD_SPACE), "");
	assert_string_equal(owner_at(v, "10.245.1.1", VIEW_POD), "node1");
	assert_string_equal(owner_at(v, "10.246.0.1", VIEW_OUTSIDE), "");
	assert_int_equal(view_entries_count(v, VIEW_POD_SPACE), 1);
	assert_true(view_get(v, &space[0], &entry));
	assert_int_equal(entry.kind, VIEW_POD_SPACE);
	assert_true(view_get(v, &space[1], &entry));
	assert_int_equal(entry.kind, VIEW_POD);
	view_unref(v);
}

static void who_may_speak_for_an_address(void **state)
{
	struct addr pod1 = addr("10.245.1.7"), pod2 = addr("10.245.2.7"), own1 = addr("172.30.0.1"), nobody = addr("10.245.9.1");
	struct cluster c;
	struct view *v, *later;
	const struct view_node *node1;

	(void)state;
	two_nodes(&c);
	v = build(&c, "node1", NULL);
	node1 = view_node_by_name(v, "node1");
	assert_int_equal(view_judge(v, &pod1, node1, false), VIEW_YES);
	assert_int_equal(view_judge(v, &pod2, node1, false), VIEW_OTHERS);
	assert_int_equal(view_judge(v, &own1, node1, true), VIEW_YES);
	assert_int_equal(view_judge(v, &own1, node1, false), VIEW_UNKNOWN);
	assert_int_equal(view_judge(v, &own1, view_node_by_name(v, "node2"), true), VIEW_OTHERS);
	assert_int_equal(view_judge(v, &nobody, node1, true), VIEW_UNKNOWN);

	/* The answer of a later view about a node of an earlier one. */
	later = build(&c, "node1", v);
	assert_int_equal(view_judge(later, &pod1, node1, false), VIEW_YES);
	assert_int_equal(view_judge(later, &pod2, node1, false), VIEW_OTHERS);
	view_unref(v);
	view_unref(later);
}

static void ids_last_and_are_not_given_to_another_at_once(void **state)
{
	struct cluster c;
	struct view *first, *second, *third;
	uint32_t id1, id2, id3, id4;

	(void)state;
	two_nodes(&c);
	first = build(&c, "node1", NULL);
	id1 = view_node_by_name(first, "node1")->id;
	id2 = view_node_by_name(first, "node2")->id;
	assert_true(id1 > 0 && id2 > 0 && id1 <= 2 && id2 <= 2 && id1 != id2);

	/* node2 leaves, a new one comes whose name sorts first: node1 stays what it was, and the id of node2 rests. */
	c = (struct cluster){ .count = 0 };
	add_node(&c, "a3", "172.30.0.3", "");
	add_node(&c, "node1", "172.30.0.1", "");
	second = build(&c, "node1", first);
	id3 = view_node_by_name(second, "a3")->id;
	assert_int_equal(view_node_by_name(second, "node1")->id, id1);
	assert_int_equal(id3, 3);
	assert_null(view_node_by_id(second, id2));

	/* Somebody still reads the view that calls node2 so: it rests on, and node2 itself would have it again. */
	add_node(&c, "node2", "172.30.0.2", "");
	third = build(&c, "node1", second);
	assert_int_equal(view_node_by_name(third, "node2")->id, id2);
	view_unref(third);

	/* Now it is free. */
	view_unref(first);
	c.count--;
	add_node(&c, "node4", "172.30.0.4", "");
	third = build(&c, "node1", second);
	id4 = view_node_by_name(third, "node4")->id;
	assert_int_equal(id4, id2);
	assert_int_equal(view_node_by_name(third, "a3")->id, id3);
	assert_int_equal(view_node_by_name(third, "node1")->id, id1);
	view_unref(second);
	view_unref(third);
}

static void faulty_nodes_are_refused(void **state)
{
	struct cluster c;

	(void)state;
	two_nodes(&c);
	refuse(&c, "node3", VIEW_PART_NONE, 0, 0, "this node, \"node3\", is not among the 2 nodes; is node2 meant?");
	refuse(&c, "elsewhere", VIEW_PART_NONE, 0, 0, "this node, \"elsewhere\", is not among the 2 nodes");

	add_node(&c, "node2", "172.30.0.3", "");
	refuse(&c, "node1", VIEW_PART_NAME, 2, 0, "node node2 is there twice; once, with all its addresses and pods, would be right");

	two_nodes(&c);
	add_node(&c, "Node_3", "172.30.0.3", "");
	refuse(&c, "node1", VIEW_PART_NAME, 2, 0,
	       "name \"Node_3\" is not a node's; small letters, digits, and inside them - and . would be right, such as node1");
	memset(c.nodes[2].name, 'a', sizeof(c.nodes[2].name));
	refuse(&c, "node1", VIEW_PART_NAME, 2, 0, "name is longer than 253 bytes");

	two_nodes(&c);
	add_node(&c, "node3", "", "10.245.3.0/24");
	refuse(&c, "node1", VIEW_PART_ADDRESSES, 2, 0,
	       "node node3 has no address; at least the one where its tunnels are reached would be right");

	c = (struct cluster){ .count = 0 };
	refuse(&c, "node1", VIEW_PART_NONE, 0, 0, "this node, \"node1\", is not among the 0 nodes");
}

static void ownership_is_one_nodes(void **state)
{
	static const struct {
		const char *addresses, *pods;
		enum view_part part;
		size_t item;
		const char *message;
	} cases[] = {
		{ "172.30.0.3 172.30.0.1", "", VIEW_PART_ADDRESS, 1,
		  "address 172.30.0.1 of node node3 is also an address of node node1; one owner would be right" },
		{ "172.30.0.3 172.30.0.3", "", VIEW_PART_ADDRESS, 1,
		  "address 172.30.0.3 of node node3 is there twice; once would be right" },
		{ "172.30.0.3", "10.3.0.0/16 10.245.1.0/24", VIEW_PART_POD, 1,
		  "pods' prefix 10.245.1.0/24 of node node3 is also a pods' prefix of node node1; one owner would be right" },
		{ "172.30.0.3", "10.3.0.0/16 10.3.0.0/16", VIEW_PART_POD, 1,
		  "pods' prefix 10.3.0.0/16 of node node3 is there twice; once would be right" },
		{ "172.30.0.3", "10.245.1.128/25", VIEW_PART_POD, 0,
		  "pods' prefix 10.245.1.128/25 of node node3 lies inside pods' prefix 10.245.1.0/24 of node node1; one owner would be right" },
		{ "172.30.0.3", "10.3.0.0/16 172.30.0.2/32", VIEW_PART_POD, 1,
		  "pods' prefix 172.30.0.2/32 of node node3 is also an address of node node2; one owner would be right" },
		{ "10.245.1.1", "", VIEW_PART_ADDRESS, 0,
		  "address 10.245.1.1 of node node3 lies inside pods' prefix 10.245.1.0/24 of node node1; one owner would be right" },
	};
	struct cluster c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		two_nodes(&c);
		add_node(&c, "node3", cases[i].addresses, cases[i].pods);
		refuse(&c, "node1", cases[i].part, 2, cases[i].item, cases[i].message);
	}
	/* The outer one comes later: the inner one is still what is named. */
	two_nodes(&c);
	add_node(&c, "node3", "172.30.0.3", "10.245.0.0/16");
	refuse(&c, "node1", VIEW_PART_POD, 0, 0,
	       "pods' prefix 10.245.2.0/24 of node node2 lies inside pods' prefix 10.245.0.0/16 of node node3; one owner would be right");
	two_nodes(&c);
	add_node(&c, "node3", "172.30.0.3", "172.30.0.0/24");
	refuse(&c, "node1", VIEW_PART_ADDRESS, 0, 0,
	       "address 172.30.0.2 of node node2 lies inside pods' prefix 172.30.0.0/24 of node node3; one owner would be right");
}

static void addresses_that_nobody_can_have_are_refused(void **state)
{
	struct cluster c;

	(void)state;
	two_nodes(&c);
	add_node(&c, "node3", "172.30.0.3 224.0.0.1", "");
	refuse(&c, "node1", VIEW_PART_ADDRESS, 2, 1,
	       "address 224.0.0.1 of node node3 is one of multicast or reserved addresses; the address by which other nodes reach it would be right");
	two_nodes(&c);
	add_node(&c, "node3", "fe80::1", "");
	refuse(&c, "node1", VIEW_PART_ADDRESS, 2, 0,
	       "address fe80::1 of node node3 is one of link-local addresses; the address by which other nodes reach it would be right");
	two_nodes(&c);
	add_node(&c, "node3", "172.30.0.3", "0.0.0.0/0");
	refuse(&c, "node1", VIEW_PART_POD, 2, 0,
	       "pods' prefix 0.0.0.0/0 of node node3 holds \"this network\" (RFC 1122), which no pod can have");
	two_nodes(&c);
	add_node(&c, "node3", "172.30.0.3", "10.3.0.0/16");
	c.pods[2][0].addr = addr("10.3.4.5");
	refuse(&c, "node1", VIEW_PART_POD, 2, 0,
	       "pods' prefix 10.3.4.5/16 of node node3 has bits set behind its length; 10.3.0.0/16 would be right");
}

static void more_nodes_than_the_most_are_refused(void **state)
{
	struct view_node *nodes = calloc(VIEW_NODES_MAX + 1, sizeof(*nodes));
	char error[VIEW_ERROR_BYTES] = "";
	struct view *v;

	(void)state;
	assert_non_null(nodes);
	assert_int_equal(view_create(nodes, VIEW_NODES_MAX + 1, NULL, 0, "node1", NULL, &v, error), -EINVAL);
	assert_string_equal(error, "5001 nodes; at most 5000 would be right");
	free(nodes);
}

/* The scale that is promised: 5,000 nodes with 30 pods each, by single address. */
static void a_large_cluster_is_answered(void **state)
{
	enum { COUNT = VIEW_NODES_MAX, PODS = 30 };
	struct view_node *nodes = calloc(COUNT, sizeof(*nodes));
	struct addr *addresses = calloc(COUNT, sizeof(*addresses));
	struct prefix *pods = calloc(COUNT * PODS, sizeof(*pods));
	char error[VIEW_ERROR_BYTES] = "";
	struct view *v, *again;

	(void)state;
	assert_true(nodes && addresses && pods);
	for (uint32_t i = 0; i < COUNT; i++) {
		(void)snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
		addresses[i] = addr_from_v4_be(htonl(0xac100000 + i));
		nodes[i].addresses = &addresses[i];
		nodes[i].addresses_count = 1;
		nodes[i].pods = &pods[i * PODS];
		nodes[i].pods_count = PODS;
		for (uint32_t j = 0; j < PODS; j++)
			pods[i * PODS + j] = (struct prefix){ .addr = addr_from_v4_be(htonl(0x0a000000 + j * COUNT + i)), .len_bits = 128 };
	}
	assert_int_equal(view_create(nodes, COUNT, NULL, 0, "n7", NULL, &v, error), 0);
	assert_int_equal(view_create(nodes, COUNT, NULL, 0, "n7", v, &again, error), 0);
	for (uint32_t i = 0; i < COUNT * PODS; i += 7) {
		struct addr a = addr_from_v4_be(htonl(0x0a000000 + i));
		struct view_answer answer = view_lookup(again, &a);

		assert_int_equal(answer.kind, VIEW_POD);
		assert_string_equal(answer.owner->name, nodes[i % COUNT].name);
	}
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(view_node_at(again, i)->id, view_node_at(v, i)->id);
	view_unref(v);
	view_unref(again);
	free(pods);
	free(addresses);
	free(nodes);
}

static void *use_and_leave(void *arg)
{
	struct view *v = arg;
	struct addr a = { .bytes = { 0xfd, 0x45, 0, 1 } };

	for (int i = 0; i < 2000; i++) {
		struct view *mine = view_ref(v);

		if (view_lookup(mine, &a).owner != view_self(mine))
			abort();
		view_unref(mine);
	}
	view_unref(v);
	return NULL;
}

static void readers_share_a_view(void **state)
{
	struct cluster c;
	struct view *v;
	pthread_t threads[4];

	(void)state;
	two_nodes(&c);
	v = build(&c, "node1", NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_and_leave, view_ref(v)), 0);
	/* Whoever is last frees it. */
	view_unref(v);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	view_unref(NULL);
}

static void homes_are_spread_and_last(void **state)
{
	unsigned counts[8] = { 0 };
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 800; i++) {
		uint32_t home;

		(void)snprintf(name, sizeof(name), "node%u", i);
		home = view_home_worker(name, 8);
		assert_in_range(home, 0, 7);
		assert_int_equal(view_home_worker(name, 8), home);
		counts[home]++;
	}
	for (size_t i = 0; i < 8; i++)
		assert_in_range(counts[i], 50, 150);
	assert_int_equal(view_home_worker("node1", 1), 0);
	assert_int_equal(view_home_worker("node1", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_have_their_owners),
		cmocka_unit_test(nodes_are_found_by_name_and_id),
		cmocka_unit_test(the_view_holds_copies),
		cmocka_unit_test(a_nodes_own_ranges_may_lie_in_each_other),
		cmocka_unit_test(the_pod_space_is_what_nobody_owns),
		cmocka_unit_test(who_may_speak_for_an_address),
		cmocka_unit_test(ids_last_and_are_not_given_to_another_at_once),
		cmocka_unit_test(faulty_nodes_are_refused),
		cmocka_unit_test(ownership_is_one_nodes),
		cmocka_unit_test(addresses_that_nobody_can_have_are_refused),
		cmocka_unit_test(more_nodes_than_the_most_are_refused),
		cmocka_unit_test(a_large_cluster_is_answered),
		cmocka_unit_test(readers_share_a_view),
		cmocka_unit_test(homes_are_spread_and_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
