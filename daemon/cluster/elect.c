/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/elect.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>

enum { KEY_NODE_ADDRESS = 3 }; /* what is refused of node addresses has a key of its own */

/* What an earlier daemon knew. Asked for at the first settling alone: later what is known here is newer. */
struct memory {
	const char *node; /* NULL: nothing */
	bool is_own;      /* the node's own address, else a pod's */
};

static struct memory recall(const struct settlement *s, const struct addr *a)
{
	struct memory m = { 0 };

	if (!s->view && s->recall)
		m.node = s->recall(s->recall_ctx, a, &m.is_own);
	return m;
}

bool node_is_older(const struct node *a, const struct node *b)
{
	return a->created_s != b->created_s ? a->created_s < b->created_s : strcmp(a->uid, b->uid) < 0;
}

static bool is_in_range_of(const struct node *n, const struct addr *a)
{
	for (size_t i = 0; i < n->ranges_count; i++) {
		if (prefix_contains(&n->ranges[i], a))
			return true;
	}
	return false;
}

/* Was a in the range of another node before at's node said that it is its own? */
static bool is_later_than_range(const struct node_address *at, const struct node *other)
{
	if (!is_in_range_of(other, &at->addr))
		return false;
	return other->ranges_since != at->since ? other->ranges_since < at->since : node_is_older(other, at->node);
}

/* The pod that has the address rather than at's node; NULL: none. */
static const struct pod *find_holder(const struct settlement *s, const struct node_address *at, const struct memory *before)
{
	if (before->node && before->is_own && strcmp(before->node, at->node->name) == 0)
		return NULL;
	for (const struct claim *c = members_claim(&s->members, &at->addr); c; c = claim_next(c)) {
		const struct pod *p = claim_pod(c);

		if (!p->node->is_known || p->node == at->node)
			continue;
		if (c->is_owner && !at->is_owner)
			return p;
		if (p->is_leaving)
			continue;
		if (before->node ? !before->is_own && strcmp(before->node, p->node->name) == 0 : is_later_than_range(at, p->node))
			return p;
	}
	return NULL;
}

static bool is_better_node(const struct node_address *a, const struct node_address *b, const struct memory *before)
{
	if (before->node && before->is_own) {
		bool was_a = strcmp(before->node, a->node->name) == 0;

		if (was_a != (strcmp(before->node, b->node->name) == 0))
			return was_a;
	}
	return a->is_owner != b->is_owner ? a->is_owner : node_is_older(a->node, b->node);
}

static uint64_t key_of(const struct addr *a)
{
	return hash_bytes(a, sizeof(*a)) + KEY_NODE_ADDRESS;
}

void elect_node(struct settlement *s, const struct addr *a)
{
	const struct memory before = recall(s, a);
	uint64_t key = key_of(a);
	char text[ADDR_TEXT_BYTES], object[REFUSAL_OBJECT_BYTES];
	struct node_address *best = NULL;

	for (struct node_address *at = members_node_address(&s->members, a); at; at = node_address_next(at)) {
		if (!find_holder(s, at, &before) && (!best || is_better_node(at, best, &before)))
			best = at;
	}
	refusals_begin(&s->refusals, key);
	for (struct node_address *at = members_node_address(&s->members, a); at; at = node_address_next(at)) {
		const struct pod *holder = best ? NULL : find_holder(s, at, &before); /* of none, all have one */

		if (at == best)
			continue;
		(void)snprintf(object, sizeof(object), "node %.120s", at->node->name);
		if (holder)
			settle_refuse(s, key, object, "status.addresses: %s is taken already, by pod %.50s/%.60s on node %.120s",
			              addr_print(a, text), holder->space->name, pod_name(holder), holder->node->name);
		else
			settle_refuse(s, key, object, "status.addresses: %s is node %.120s's already", addr_print(a, text),
			              best->node->name);
	}
	refusals_end(&s->refusals, key);
	for (struct node_address *at = members_node_address(&s->members, a); at; at = node_address_next(at))
		at->is_owner = at == best;
}

void elect_forget(struct settlement *s, const struct addr *a)
{
	if (members_node_address(&s->members, a))
		return;
	refusals_begin(&s->refusals, key_of(a));
	refusals_end(&s->refusals, key_of(a));
}

bool elect_is_better(const struct settlement *s, const struct claim *a, const struct claim *b)
{
	const struct pod *x = claim_pod(a), *y = claim_pod(b);
	struct memory before;

	if (x->is_leaving != y->is_leaving)
		return y->is_leaving;
	if (a->is_owner != b->is_owner)
		return a->is_owner;
	before = recall(s, &a->addr);
	if (before.node && x->node != y->node) {
		if (strcmp(before.node, x->node->name) == 0)
			return true;
		if (strcmp(before.node, y->node->name) == 0)
			return false;
	}
	return x->created_s != y->created_s ? x->created_s < y->created_s : x->uid_hash < y->uid_hash;
}
