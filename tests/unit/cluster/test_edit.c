/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What views are made of is counted, and allocations can be made to fail. */
static _Atomic long blocks_alive;
static long fails_after = -1; /* allocations that still succeed; -1: all */

static bool fails_now(void)
{
	if (fails_after > 0)
		fails_after--;
	else
		return fails_after == 0;
	return false;
}

static void *counted_malloc(size_t bytes)
{
	void *p = fails_now() ? NULL : malloc(bytes);

	blocks_alive += p != NULL;
	return p;
}

static void *counted_calloc(size_t count, size_t bytes)
{
	void *p = fails_now() ? NULL : calloc(count, bytes);

	blocks_alive += p != NULL;
	return p;
}

static void *counted_realloc(void *old, size_t bytes)
{
	void *p = fails_now() ? NULL : realloc(old, bytes);

	blocks_alive += p && !old;
	return p;
}

static void counted_free(void *p)
{
	blocks_alive -= p != NULL;
	free(p);
}

/* The sources themselves, since only so their allocations are ours; what is static in two of them has one name. */
#define malloc    counted_malloc
#define calloc    counted_calloc
#define realloc   counted_realloc
#define free      counted_free
#define prefix_of trie_prefix_of
#include "base/trie.c"
#undef prefix_of
#include "cluster/roster.c"
#include "cluster/view.c"
#define prefix_of edit_prefix_of
#include "cluster/edit.c"
#undef prefix_of
#undef malloc
#undef calloc
#undef realloc
#undef free
#include "unit/dice.h"
#include "unit/parsed.h"

enum { NAMES = 10, POOL = 48, NODE_ADDRESSES = 24, VERSIONS = 5, EDITS = 3000 };

/* The first NODE_ADDRESSES are single addresses, which nodes have too. */
static struct prefix pool[POOL];

struct model_node {
	bool is_there, is_enrolled;
	uint32_t id;
	size_t addresses_count;
	struct addr addresses[3];
};

struct model {
	struct view *view;
	struct model_node nodes[NAMES];
	struct view_entry entries[POOL]; /* VIEW_OUTSIDE: not there */
};

static uint64_t seed = 7;

static int make_pool(void **state)
{
	char text[64];

	(void)state;
	for (unsigned i = 0; i < POOL; i++) {
		if (i < NODE_ADDRESSES)
			(void)snprintf(text, sizeof(text), i % 3 ? "10.1.0.%u" : "fd01::%u", 1 + i);
		else if (i < POOL - 8)
			(void)snprintf(text, sizeof(text), "10.%u.%u.0/24", i % 2, i);
		else
			(void)snprintf(text, sizeof(text), i % 2 ? "10.0.0.0/%u" : "fd00::/%u", 7 + POOL - i);
		pool[i] = prefix(text);
	}
	return 0;
}

static size_t pool_index(const struct prefix *p)
{
	for (size_t i = 0; i < POOL; i++)
		if (pool[i].len_bits == p->len_bits && addr_equal(&pool[i].addr, &p->addr))
			return i;
	fail_msg("a prefix that was never set");
	return 0;
}

static const char *name_of(size_t index)
{
	/* Not in the order of their numbers. */
	static const char *const names[NAMES] = { "n3", "n10", "a", "n1", "z.example", "n2", "b-1", "n0", "m", "n9" };

	return names[index];
}

static size_t name_index(const char *name)
{
	for (size_t i = 0; i < NAMES; i++)
		if (strcmp(name_of(i), name) == 0)
			return i;
	fail_msg("a node that was never put");
	return 0;
}

static bool is_same_entry(const struct view_entry *a, const struct view_entry *b)
{
	return a->kind == b->kind && (a->kind == VIEW_OUTSIDE || (a->flags == b->flags && a->node_id == b->node_id));
}

static bool is_same_node(const struct model_node *a, const struct model_node *b)
{
	if (a->is_there != b->is_there)
		return false;
	return !a->is_there || (a->is_enrolled == b->is_enrolled && a->id == b->id && a->addresses_count == b->addresses_count &&
	                        memcmp(a->addresses, b->addresses, a->addresses_count * sizeof(a->addresses[0])) == 0);
}

static bool is_same_model(const struct model *a, const struct model *b)
{
	for (size_t i = 0; i < NAMES; i++)
		if (!is_same_node(&a->nodes[i], &b->nodes[i]))
			return false;
	for (size_t i = 0; i < POOL; i++)
		if (!is_same_entry(&a->entries[i], &b->entries[i]))
			return false;
	return true;
}

/* --- the same change to an edit and to a model --- */

static void put_node(struct view_edit *e, struct model *m, size_t name)
{
	struct model_node *n = &m->nodes[name], old = *n;
	struct view_node wanted = { .addresses = n->addresses };

	n->is_there = true;
	n->is_enrolled = dice(&seed, 2);
	n->addresses_count = dice(&seed, 4);
	for (size_t i = 0; i < n->addresses_count; i++)
		n->addresses[i] = pool[(name * 2 + dice(&seed, 5)) % NODE_ADDRESSES].addr;
	(void)snprintf(wanted.name, sizeof(wanted.name), "%s", name_of(name));
	wanted.is_enrolled = n->is_enrolled;
	wanted.addresses_count = n->addresses_count;
	wanted.id = 77;
	assert_int_equal(view_edit_put_node(e, &wanted, &n->id), 0);
	if (old.is_there)
		assert_int_equal(n->id, old.id);

	for (size_t i = 0; old.is_there && i < old.addresses_count; i++) {
		struct view_entry *entry = &m->entries[pool_index(&(struct prefix){ .addr = old.addresses[i], .len_bits = 128 })];

		if (entry->kind == VIEW_NODE && entry->node_id == n->id && entry->flags == 0)
			entry->kind = VIEW_OUTSIDE;
	}
	for (size_t i = 0; i < n->addresses_count; i++)
		m->entries[pool_index(&(struct prefix){ .addr = n->addresses[i], .len_bits = 128 })] =
			(struct view_entry){ .kind = VIEW_NODE, .node_id = n->id };
}

static void remove_node(struct view_edit *e, struct model *m, size_t name)
{
	assert_int_equal(view_edit_remove_node(e, name_of(name)), 0);
	for (size_t i = 0; m->nodes[name].is_there && i < POOL; i++)
		if (m->entries[i].node_id == m->nodes[name].id)
			m->entries[i] = (struct view_entry){ .kind = VIEW_OUTSIDE };
	m->nodes[name].is_there = false;
}

static void set_entry(struct view_edit *e, struct model *m, size_t index)
{
	const struct model_node *n = &m->nodes[dice(&seed, NAMES)];
	struct view_entry entry = { .kind = VIEW_POD_SPACE, .flags = (uint8_t)dice(&seed, 4) };

	if (dice(&seed, 3) == 0) {
		assert_int_equal(view_edit_set(e, &pool[index], NULL), 0);
		m->entries[index] = (struct view_entry){ .kind = VIEW_OUTSIDE };
		return;
	}
	if (n->is_there && dice(&seed, 5))
		entry.kind = dice(&seed, 4) ? VIEW_POD : VIEW_NODE;
	if (entry.kind != VIEW_POD_SPACE)
		entry.node_id = n->id;
	assert_int_equal(view_edit_set(e, &pool[index], &entry), 0);
	m->entries[index] = entry;
}

/* --- comparing --- */

static void expect_nodes(const struct model *m)
{
	size_t count = 0;

	for (size_t i = 0; i < NAMES; i++) {
		const struct view_node *n = view_node_by_name(m->view, name_of(i));

		count += m->nodes[i].is_there;
		assert_int_equal(n != NULL, m->nodes[i].is_there);
		if (!n)
			continue;
		assert_int_equal(n->id, m->nodes[i].id);
		assert_ptr_equal(view_node_by_id(m->view, n->id), n);
		assert_int_equal(n->is_enrolled, m->nodes[i].is_enrolled);
		assert_int_equal(n->is_self, strcmp(n->name, "n1") == 0);
		assert_int_equal(n->addresses_count, m->nodes[i].addresses_count);
		assert_memory_equal(n->addresses, m->nodes[i].addresses, n->addresses_count * sizeof(n->addresses[0]));
	}
	assert_int_equal(view_nodes_count(m->view), count);
	for (size_t i = 1; i < count; i++)
		assert_true(strcmp(view_node_at(m->view, i - 1)->name, view_node_at(m->view, i)->name) < 0);
	assert_ptr_equal(view_self(m->view), view_node_by_name(m->view, "n1"));
}

static void expect_entries(const struct model *m)
{
	size_t counts[VIEW_KINDS] = { 0 };

	for (size_t i = 0; i < POOL; i++) {
		struct view_entry entry = { .kind = VIEW_OUTSIDE };
		struct view_answer answer;

		assert_int_equal(view_get(m->view, &pool[i], &entry), m->entries[i].kind != VIEW_OUTSIDE);
		assert_true(is_same_entry(&entry, &m->entries[i]));
		counts[m->entries[i].kind]++;
		if (pool[i].len_bits < 128 || entry.kind == VIEW_OUTSIDE)
			continue;
		answer = view_lookup(m->view, &pool[i].addr);
		assert_int_equal(answer.kind, entry.kind);
		assert_int_equal(answer.flags, entry.flags);
		assert_ptr_equal(answer.owner, view_node_by_id(m->view, entry.node_id));
	}
	for (enum view_kind kind = VIEW_POD; kind < VIEW_KINDS; kind++)
		assert_int_equal(view_entries_count(m->view, kind), counts[kind]);
}

struct seen {
	const struct model *before, *after;
	bool is_entry_seen[POOL], is_node_seen[NAMES];
};

static int see_entry(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	static const struct view_entry none = { .kind = VIEW_OUTSIDE };
	struct seen *s = ctx;
	size_t i = pool_index(p);

	assert_false(s->is_entry_seen[i]);
	s->is_entry_seen[i] = true;
	assert_true(is_same_entry(before ? before : &none, &s->before->entries[i]));
	assert_true(is_same_entry(after ? after : &none, &s->after->entries[i]));
	return 0;
}

static int see_node(void *ctx, const struct view_node *before, const struct view_node *after)
{
	struct seen *s = ctx;
	size_t i = name_index(before ? before->name : after->name);

	assert_false(s->is_node_seen[i]);
	s->is_node_seen[i] = true;
	assert_ptr_equal(before, s->before->view ? view_node_by_name(s->before->view, name_of(i)) : NULL);
	assert_ptr_equal(after, view_node_by_name(s->after->view, name_of(i)));
	return 0;
}

static void expect_diff(const struct model *before, const struct model *after)
{
	struct seen s = { .before = before, .after = after };

	assert_int_equal(view_diff(before->view, after->view, see_entry, &s), 0);
	for (size_t i = 0; i < POOL; i++)
		assert_int_equal(s.is_entry_seen[i], !is_same_entry(&before->entries[i], &after->entries[i]));
	assert_int_equal(view_diff_nodes(before->view, after->view, see_node, &s), 0);
	for (size_t i = 0; i < NAMES; i++) {
		/* One that went and came, or changed there and back, may be seen though it is alike. */
		if (!is_same_node(&before->nodes[i], &after->nodes[i]))
			assert_true(s.is_node_seen[i]);
	}
}

/* Among all views that are alive a name has one id, and an id one name. */
static void expect_ids_are_names(const struct model *versions)
{
	const char *names[VIEW_IDS_MAX] = { NULL };
	uint32_t ids[NAMES] = { 0 };

	for (size_t v = 0; v < VERSIONS; v++) {
		for (size_t i = 0; i < NAMES; i++) {
			uint32_t id = versions[v].nodes[i].id;

			if (!versions[v].view || !versions[v].nodes[i].is_there)
				continue;
			assert_in_range(id, 1, 4 * NAMES);
			assert_true(!names[id] || names[id] == name_of(i));
			assert_true(!ids[i] || ids[i] == id);
			names[id] = name_of(i);
			ids[i] = id;
		}
	}
}

static void edits_are_as_in_a_naive_model(void **state)
{
	static struct model versions[VERSIONS], empty;
	struct view_edit *e;

	(void)state;
	assert_int_equal(view_edit_begin(NULL, "n1", &e), 0);
	assert_int_equal(view_edit_finish(e, &versions[0].view), 0);
	assert_null(view_self(versions[0].view));
	for (size_t i = 1; i < VERSIONS; i++)
		versions[i].view = view_ref(versions[0].view);

	for (unsigned edit = 0; edit < EDITS; edit++) {
		struct model *from = &versions[dice(&seed, VERSIONS)], *to = &versions[dice(&seed, VERSIONS)], next = *from;

		assert_int_equal(view_edit_begin(from->view, "n1", &e), 0);
		for (unsigned changes = dice(&seed, 5); changes > 0; changes--) {
			unsigned what = dice(&seed, 10);

			if (what < 2)
				put_node(e, &next, dice(&seed, NAMES));
			else if (what < 3)
				remove_node(e, &next, dice(&seed, NAMES));
			else
				set_entry(e, &next, dice(&seed, POOL));
		}
		if (dice(&seed, 20) == 0) {
			view_edit_abort(e);
			continue;
		}
		assert_int_equal(view_edit_finish(e, &next.view), 0);
		assert_int_equal(next.view == from->view, is_same_model(from, &next));
		expect_nodes(&next);
		expect_entries(&next);
		expect_nodes(from);
		expect_entries(from);
		expect_diff(from, &next);
		expect_diff(&empty, &next);
		view_unref(to->view);
		*to = next;
		expect_ids_are_names(versions);
		expect_diff(&versions[dice(&seed, VERSIONS)], to);
	}
	for (size_t i = 0; i < VERSIONS; i++)
		view_unref(versions[i].view);
	assert_int_equal(blocks_alive, 0);
}

/* A view with this node and another, each with one address. */
static struct view *two_nodes(void)
{
	const struct addr addresses[2] = { prefix("172.30.0.1").addr, prefix("172.30.0.2").addr };
	struct view_edit *e;
	struct view *v;
	uint32_t id;

	assert_int_equal(view_edit_begin(NULL, "node1", &e), 0);
	for (size_t i = 0; i < 2; i++) {
		struct view_node n = { .is_enrolled = true, .addresses_count = 1, .addresses = &addresses[i] };

		(void)snprintf(n.name, sizeof(n.name), "node%zu", i + 1);
		assert_int_equal(view_edit_put_node(e, &n, &id), 0);
	}
	assert_int_equal(view_edit_finish(e, &v), 0);
	return v;
}

static void set(struct view **v, const char *text, const struct view_entry *entry)
{
	struct prefix p = prefix(text);
	struct view_edit *e;
	struct view *next;

	assert_int_equal(view_edit_begin(*v, "node1", &e), 0);
	assert_int_equal(view_edit_set(e, &p, entry), 0);
	assert_int_equal(view_edit_finish(e, &next), 0);
	view_unref(*v);
	*v = next;
}

static void a_pod_that_ends_is_nobody_elses(void **state)
{
	struct view *v = two_nodes();
	const struct view_node *node1, *node2;
	struct addr a = prefix("10.1.0.7").addr;
	uint32_t id1 = view_node_by_name(v, "node1")->id, id2 = view_node_by_name(v, "node2")->id;

	(void)state;
	set(&v, "10.1.0.7", &(struct view_entry){ .kind = VIEW_POD, .node_id = id2 });
	node1 = view_node_by_name(v, "node1");
	node2 = view_node_by_name(v, "node2");
	assert_int_equal(view_judge(v, &a, node2, false), VIEW_YES);
	assert_int_equal(view_judge(v, &a, node1, false), VIEW_OTHERS);

	/* Judged as unknown, whoever asks, and still known as a pod of its node. */
	set(&v, "10.1.0.7", &(struct view_entry){ .kind = VIEW_POD, .flags = VIEW_ENTRY_ENDING, .node_id = id2 });
	node1 = view_node_by_name(v, "node1");
	node2 = view_node_by_name(v, "node2");
	assert_int_equal(view_judge(v, &a, node2, false), VIEW_UNKNOWN);
	assert_int_equal(view_judge(v, &a, node1, false), VIEW_UNKNOWN);
	assert_int_equal(view_lookup(v, &a).kind, VIEW_POD);
	assert_ptr_equal(view_lookup(v, &a).owner, node2);
	assert_int_equal(view_lookup(v, &a).flags, VIEW_ENTRY_ENDING);

	/* Its address is another's now. */
	set(&v, "10.1.0.7", &(struct view_entry){ .kind = VIEW_POD, .node_id = id1 });
	assert_int_equal(view_judge(v, &a, view_node_by_name(v, "node2"), false), VIEW_OTHERS);
	set(&v, "10.1.0.7", NULL);
	assert_int_equal(view_lookup(v, &a).kind, VIEW_OUTSIDE);
	view_unref(v);
	assert_int_equal(blocks_alive, 0);
}

static void a_range_has_no_owner(void **state)
{
	struct view *v = two_nodes();
	struct addr a = prefix("10.1.0.7").addr;
	struct view_entry entry;

	(void)state;
	set(&v, "10.1.0.0/24", &(struct view_entry){ .kind = VIEW_POD_SPACE, .node_id = view_self(v)->id });
	assert_int_equal(view_lookup(v, &a).kind, VIEW_POD_SPACE);
	assert_null(view_lookup(v, &a).owner);
	assert_int_equal(view_judge(v, &a, view_self(v), true), VIEW_UNKNOWN);
	assert_true(view_find(v, &a, 128, NULL, &entry));
	assert_int_equal(entry.node_id, view_self(v)->id);
	view_unref(v);
}

static void what_can_not_be_is_refused_and_the_edit_goes_on(void **state)
{
	struct view *v = two_nodes(), *next;
	struct view_edit *e;
	struct prefix p = prefix("10.1.0.0/16");
	struct addr multicast = prefix("224.0.0.5").addr;
	struct view_node n = { .name = "Node_3", .addresses_count = 1, .addresses = &multicast };
	uint32_t id = 99;

	(void)state;
	assert_int_equal(view_edit_begin(v, "node1", &e), 0);
	assert_int_equal(view_edit_put_node(e, &n, &id), -EINVAL);
	memset(n.name, 'a', sizeof(n.name));
	assert_int_equal(view_edit_put_node(e, &n, &id), -EINVAL);
	(void)snprintf(n.name, sizeof(n.name), "node3");
	assert_int_equal(view_edit_put_node(e, &n, &id), -EADDRNOTAVAIL);
	assert_int_equal(id, 99);
	assert_int_equal(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = 3 }), -EINVAL);
	assert_int_equal(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD }), -EINVAL);
	assert_int_equal(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_OUTSIDE, .node_id = 1 }), -EINVAL);
	assert_int_equal(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_KINDS, .node_id = 1 }), -EINVAL);
	p.addr.bytes[15] = 1;
	assert_int_equal(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = 1 }), -EINVAL);
	assert_int_equal(view_edit_set(e, &p, NULL), -EINVAL);
	p = prefix("fe80::/64");
	assert_int_equal(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = 1 }), -EADDRNOTAVAIL);
	assert_string_equal(view_forbidden(&p), "link-local addresses");
	assert_int_equal(view_edit_remove_node(e, "node4"), 0);
	assert_int_equal(view_edit_finish(e, &next), 0);
	assert_ptr_equal(next, v);
	view_unref(next);
	view_unref(v);
	assert_int_equal(blocks_alive, 0);
}

static void a_full_house_takes_no_more_nodes(void **state)
{
	struct view_node n = { .addresses_count = 0 };
	struct view *v, *next;
	struct view_edit *e;
	uint32_t id, ids = VIEW_IDS_MAX - 1;

	(void)state;
	assert_int_equal(view_edit_begin(NULL, "n1", &e), 0);
	for (unsigned i = 0; i < VIEW_NODES_MAX; i++) {
		(void)snprintf(n.name, sizeof(n.name), "n%u", i);
		assert_int_equal(view_edit_put_node(e, &n, &id), 0);
	}
	(void)snprintf(n.name, sizeof(n.name), "one-more");
	assert_int_equal(view_edit_put_node(e, &n, &id), -ENOSPC);
	assert_int_equal(view_edit_finish(e, &v), 0);
	assert_int_equal(view_nodes_count(v), VIEW_NODES_MAX);

	/* All others at once: there are not so many ids, while somebody has the first. */
	assert_int_equal(view_edit_begin(v, "n1", &e), 0);
	for (unsigned i = 0; i < VIEW_NODES_MAX; i++) {
		(void)snprintf(n.name, sizeof(n.name), "n%u", i);
		assert_int_equal(view_edit_remove_node(e, n.name), 0);
	}
	for (unsigned i = 0; i < VIEW_NODES_MAX; i++) {
		(void)snprintf(n.name, sizeof(n.name), "m%u", i);
		assert_int_equal(view_edit_put_node(e, &n, &id), i < ids - VIEW_NODES_MAX ? 0 : -ENOSPC);
	}
	assert_int_equal(view_edit_finish(e, &next), 0);
	assert_int_equal(view_nodes_count(next), ids - VIEW_NODES_MAX);
	view_unref(v);
	assert_int_equal(view_edit_begin(next, "n1", &e), 0);
	assert_int_equal(view_edit_put_node(e, &n, &id), 0);
	assert_int_equal(view_edit_finish(e, &v), 0);
	view_unref(v);
	view_unref(next);
	assert_int_equal(blocks_alive, 0);
}

/* A change of everything that can be changed. */
static int change_much(struct view *v, struct view **ret)
{
	const struct addr addresses[2] = { prefix("172.30.0.3").addr, prefix("172.30.0.9").addr };
	struct view_node n = { .name = "node2", .addresses_count = 1, .addresses = &addresses[1] };
	struct prefix p = prefix("10.1.0.7"), q = prefix("10.1.0.0/24");
	struct view_edit *e;
	uint32_t id = 0;
	int rc = view_edit_begin(v, "node1", &e);

	if (rc < 0)
		return rc;
	(void)view_edit_put_node(e, &n, &id);
	(void)view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = view_self(v)->id });
	(void)view_edit_set(e, &q, NULL);
	(void)snprintf(n.name, sizeof(n.name), "node3");
	n.addresses = &addresses[0];
	(void)view_edit_put_node(e, &n, &id);
	(void)view_edit_remove_node(e, "node2");
	return view_edit_finish(e, ret);
}

static void an_edit_without_memory_is_none(void **state)
{
	struct view *v = two_nodes(), *next;
	struct addr pod = prefix("10.1.0.7").addr, gone = prefix("172.30.0.9").addr;
	long alive;
	int rc;

	(void)state;
	set(&v, "10.1.0.0/24", &(struct view_entry){ .kind = VIEW_POD, .node_id = view_node_by_name(v, "node2")->id });
	set(&v, "10.1.0.9", &(struct view_entry){ .kind = VIEW_POD, .node_id = view_node_by_name(v, "node2")->id });
	alive = blocks_alive;
	/* One allocation later each time, until there are enough. */
	for (long k = 0;; k++) {
		fails_after = k;
		rc = change_much(v, &next);
		fails_after = -1;
		if (rc == 0)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(blocks_alive, alive);
		assert_string_equal(view_lookup(v, &pod).owner->name, "node2");
		assert_int_equal(view_nodes_count(v), 2);
	}
	assert_string_equal(view_lookup(next, &pod).owner->name, "node1");
	assert_int_equal(view_lookup(next, &gone).kind, VIEW_OUTSIDE);
	assert_null(view_node_by_name(next, "node2"));
	assert_int_equal(view_nodes_count(next), 2);
	view_unref(v);
	view_unref(next);
	assert_int_equal(blocks_alive, 0);
}

/* Readers take the newest view, while nodes and pods come and go. */
struct shelf {
	pthread_mutex_t lock;
	struct view *newest;
	bool is_over;
};

static void *read_views(void *arg)
{
	struct shelf *shelf = arg;
	const struct addr pod = { .bytes = { 0xfd, 0x01, [15] = 1 } };
	bool is_over;

	do {
		const struct view_node *owner;
		struct view *mine;

		(void)pthread_mutex_lock(&shelf->lock);
		is_over = shelf->is_over;
		mine = view_ref(shelf->newest);
		(void)pthread_mutex_unlock(&shelf->lock);
		/* The pod moves from node to node, and who has it is always there. */
		owner = view_lookup(mine, &pod).owner;
		if (!owner || view_node_by_name(mine, owner->name) != owner || view_judge(mine, &pod, owner, false) != VIEW_YES)
			abort();
		view_unref(mine);
	} while (!is_over);
	return NULL;
}

static void readers_never_wait_nor_see_a_change(void **state)
{
	struct shelf shelf = { .lock = PTHREAD_MUTEX_INITIALIZER, .newest = two_nodes() };
	const struct addr address = prefix("172.30.0.3").addr;
	pthread_t threads[3];

	(void)state;
	set(&shelf.newest, "fd01::1", &(struct view_entry){ .kind = VIEW_POD, .node_id = view_self(shelf.newest)->id });
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_views, &shelf), 0);
	for (unsigned round = 0; round < 500; round++) {
		struct view_node n = { .addresses_count = 1, .addresses = &address };
		struct prefix p = prefix("fd01::1");
		struct view_entry entry = { .kind = VIEW_POD };
		struct view *next, *old;
		struct view_edit *e;

		assert_int_equal(view_edit_begin(shelf.newest, "node1", &e), 0);
		(void)snprintf(n.name, sizeof(n.name), "node-%u", round);
		assert_int_equal(view_edit_put_node(e, &n, &entry.node_id), 0);
		assert_int_equal(view_edit_set(e, &p, &entry), 0);
		(void)snprintf(n.name, sizeof(n.name), "node-%u", round - 1);
		assert_int_equal(view_edit_remove_node(e, n.name), 0);
		assert_int_equal(view_edit_finish(e, &next), 0);
		(void)pthread_mutex_lock(&shelf.lock);
		old = shelf.newest;
		shelf.newest = next;
		(void)pthread_mutex_unlock(&shelf.lock);
		view_unref(old);
	}
	(void)pthread_mutex_lock(&shelf.lock);
	shelf.is_over = true;
	(void)pthread_mutex_unlock(&shelf.lock);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	view_unref(shelf.newest);
	assert_int_equal(blocks_alive, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edits_are_as_in_a_naive_model),
		cmocka_unit_test(a_pod_that_ends_is_nobody_elses),
		cmocka_unit_test(a_range_has_no_owner),
		cmocka_unit_test(what_can_not_be_is_refused_and_the_edit_goes_on),
		cmocka_unit_test(a_full_house_takes_no_more_nodes),
		cmocka_unit_test(an_edit_without_memory_is_none),
		cmocka_unit_test(readers_never_wait_nor_see_a_change),
	};

	return cmocka_run_group_tests(tests, make_pool, NULL);
}
