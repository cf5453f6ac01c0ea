/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Histories at random, and a large cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "told.h"
#include "unit/dice.h"

#include <malloc.h>
#include <stdio.h>

enum { R_NODES = 6, R_PODS = 40, R_ADDRESSES = 64, R_ROUNDS = 3000 };

struct model {
	struct {
		bool is_there, is_leaving;
		unsigned node, address;
	} pods[R_PODS];
	struct {
		bool is_there, has_record, has_range;
	} nodes[R_NODES];
	bool is_opted_out[3]; /* namespaces */
};

static void tell_pod(struct told *t, const struct model *m, unsigned i)
{
	char name[32], node[16], address[32];

	(void)snprintf(name, sizeof(name), "s%u/p%u", i % 3, i);
	(void)snprintf(node, sizeof(node), "n%u", m->pods[i].node + 1);
	(void)snprintf(address, sizeof(address), "10.1.7.%u", m->pods[i].address);
	if (m->pods[i].is_there)
		told_pod(t, .name = name, .node = node, .addresses = address, .is_deleting = m->pods[i].is_leaving);
	else
		told_gone(t, OBJECT_POD, name);
}

static void tell_node(struct told *t, const struct model *m, unsigned i)
{
	char name[16], address[32], range[32];

	(void)snprintf(name, sizeof(name), "n%u", i + 1);
	(void)snprintf(address, sizeof(address), "172.30.0.%u", i + 1);
	(void)snprintf(range, sizeof(range), "10.1.%u.0/24", i + 5);
	if (m->nodes[i].is_there)
		told_node(t, .name = name, .addresses = address, .ranges = m->nodes[i].has_range ? range : "");
	else
		told_gone(t, OBJECT_NODE, name);
	if (m->nodes[i].has_record)
		told_record(t, name, name);
	else
		told_gone(t, OBJECT_RECORD, name);
}

static void tell_space(struct told *t, const struct model *m, unsigned i)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "s%u", i);
	told_space(t, name, m->is_opted_out[i]);
}

static void tell_all(struct told *t, const struct model *m)
{
	for (int kind = 0; kind <= OBJECT_RECORD; kind++)
		registry_list_began(t->registry, (enum object_kind)kind);
	for (unsigned i = 0; i < R_NODES; i++)
		tell_node(t, m, i);
	for (unsigned i = 0; i < 3; i++)
		tell_space(t, m, i);
	for (unsigned i = 0; i < R_PODS; i++) {
		if (m->pods[i].is_there)
			tell_pod(t, m, i);
	}
	for (int kind = 0; kind <= OBJECT_RECORD; kind++)
		registry_list_ended(t->registry, (enum object_kind)kind);
}

static bool is_taken(const struct model *m, unsigned address)
{
	for (unsigned i = 0; i < R_PODS; i++) {
		if (m->pods[i].is_there && m->pods[i].address == address)
			return true;
	}
	return false;
}

static void change(struct told *t, struct model *m, uint64_t *seed)
{
	unsigned i = dice(seed, R_PODS), n = 1 + dice(seed, R_NODES - 1), address = dice(seed, R_ADDRESSES);

	switch (dice(seed, 12)) {
	case 0:
		m->nodes[n].is_there = !m->nodes[n].is_there;
		tell_node(t, m, n);
		break;
	case 1:
		m->nodes[n].has_record = !m->nodes[n].has_record;
		tell_node(t, m, n);
		break;
	case 2:
		m->nodes[n].has_range = !m->nodes[n].has_range;
		tell_node(t, m, n);
		break;
	case 3:
		m->is_opted_out[i % 3] = !m->is_opted_out[i % 3];
		tell_space(t, m, i % 3);
		break;
	case 4:
		tell_all(t, m);
		break;
	case 5:
		m->pods[i].is_there = false;
		tell_pod(t, m, i);
		break;
	case 6:
		m->pods[i].is_leaving = !m->pods[i].is_leaving;
		tell_pod(t, m, i);
		break;
	default:
		if (is_taken(m, address))
			break;
		/* A new pod, or one that was there, under this address, perhaps on another node. */
		m->pods[i].is_there = true;
		m->pods[i].address = address;
		m->pods[i].node = dice(seed, R_NODES);
		tell_pod(t, m, i);
		break;
	}
}

/* A pod of a node that is not there: whether it is early or late depends on history. */
static bool is_stray(const struct model *m, unsigned address)
{
	for (unsigned i = 0; i < R_PODS; i++) {
		if (m->pods[i].is_there && m->pods[i].address == address)
			return !m->nodes[m->pods[i].node].is_there;
	}
	return false;
}

static void compare(struct told *t, const struct model *m)
{
	struct told fresh;

	/* What is kept of pods that are gone is not known to one that begins now. */
	told_publish(t);
	told_pass(t, REGISTRY_KEEP_MS);
	told_begin(&fresh);
	tell_all(&fresh, m);
	told_publish(&fresh);
	for (unsigned a = 0; a < 256; a++) {
		for (unsigned c = 4; c < 12; c++) {
			char address[32];

			(void)snprintf(address, sizeof(address), "10.1.%u.%u", c, a);
			if (c != 7 || !is_stray(m, a))
				assert_string_equal(told_whose(t, address), told_whose(&fresh, address));
		}
	}
	for (unsigned i = 0; i < R_NODES; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%u", i + 1);
		assert_int_equal(!!view_node_by_name(t->view, name), m->nodes[i].is_there);
		assert_int_equal(told_is_enrolled(t, name), m->nodes[i].is_there && m->nodes[i].has_record);
	}
	assert_int_equal(registry_counts(t->registry).pods, registry_counts(fresh.registry).pods);
	assert_int_equal(registry_counts(t->registry).nodes, registry_counts(fresh.registry).nodes);
	told_end(&fresh);
}

static void any_history_ends_in_what_is_there(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct model m = { .nodes[0] = { true, true, true } };
		uint64_t random = seed;
		struct told t;

		told_begin(&t);
		tell_all(&t, &m);
		for (unsigned round = 1; round <= R_ROUNDS; round++) {
			change(&t, &m, &random);
			if (dice(&random, 3) == 0)
				told_publish(&t);
			if (round % 100 == 0)
				compare(&t, &m);
		}
		told_end(&t);
	}
}

static int count_change(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	(void)p;
	(void)before;
	(void)after;
	++*(unsigned *)ctx;
	return 0;
}

/* Of what the registry itself holds for a pod with one address and a name of Deployments' length. */
enum { S_NODES = 1000, S_PODS_EACH = 30, POD_BYTES_MAX = 180 };

static void a_large_cluster_costs_little_and_a_change_one_entry(void **state)
{
	size_t before_bytes, bytes;
	char name[96], node[16], text[32];
	struct view *before;
	unsigned changes = 0;
	struct told t;

	(void)state;
	told_begin(&t);
	for (unsigned n = 1; n <= S_NODES; n++) {
		(void)snprintf(node, sizeof(node), "n%u", n);
		(void)snprintf(text, sizeof(text), "172.30.%u.%u", n / 250, n % 250 + 1);
		told_node(&t, .name = node, .addresses = text);
		told_record(&t, node, node);
	}
	told_publish(&t);
	before_bytes = mallinfo2().uordblks;
	for (unsigned n = 1; n <= S_NODES; n++) {
		for (unsigned k = 0; k < S_PODS_EACH; k++) {
			(void)snprintf(name, sizeof(name), "shop/deployment-66b6c48dd5-%06u%02u", n, k);
			(void)snprintf(node, sizeof(node), "n%u", n);
			(void)snprintf(text, sizeof(text), "10.%u.%u.%u", n / 250 + 1, n % 250, k + 2);
			told_pod(&t, .name = name, .node = node, .addresses = text);
		}
	}
	bytes = mallinfo2().uordblks - before_bytes;
	assert_true(bytes / (S_NODES * S_PODS_EACH) <= POD_BYTES_MAX);
	told_publish(&t);
	assert_int_equal(view_entries_count(t.view, VIEW_POD), S_NODES * S_PODS_EACH);
	before = view_ref(t.view);
	told_pod(&t, .name = name, .node = "n1", .addresses = text, .is_deleting = true);
	told_publish(&t);
	assert_int_equal(view_diff(before, t.view, count_change, &changes), 0);
	assert_int_equal(changes, 1);
	view_unref(before);
	told_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_history_ends_in_what_is_there),
		cmocka_unit_test(a_large_cluster_costs_little_and_a_change_one_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
