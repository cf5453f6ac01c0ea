/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A view from all that a nodes file says at once: view_create of view.h, with its checks. */
#include "cluster/version.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What claims holds of a prefix: who, by index in nodes, and the kind in the low bits. Never 0: VIEW_OUTSIDE is not claimed. */
enum { KIND_BITS = 2, KIND_MASK = (1 << KIND_BITS) - 1 };

/* What view_create is about. */
struct build {
	const struct view_node *nodes;
	size_t nodes_count;
	const struct view_node **sorted; /* the same nodes by name */
	uint32_t *ids;                   /* by index in nodes */
	struct trie *claims;
	struct roster *roster;
	struct trie *entries;
	size_t counts[VIEW_KINDS];
	char *error;
	struct view_fault *fault;
};

__attribute__((format(printf, 5, 6))) static int fault_at(struct build *b, enum view_part part, size_t node, size_t item,
                                                          const char *format, ...)
{
	va_list args;

	*b->fault = (struct view_fault){ .part = part, .node = node, .item = item };
	va_start(args, format);
	(void)vsnprintf(b->error, VIEW_ERROR_BYTES, format, args);
	va_end(args);
	return -EINVAL;
}

static struct prefix prefix_of(const struct addr *a)
{
	return (struct prefix){ .addr = *a, .len_bits = 128 };
}

static int check_node(struct build *b, size_t index)
{
	const struct view_node *n = &b->nodes[index];
	char text[PREFIX_TEXT_BYTES], quoted[TEXT_QUOTE_BYTES], why[PREFIX_FAULT_BYTES];
	const char *what;

	if (strnlen(n->name, sizeof(n->name)) == sizeof(n->name))
		return fault_at(b, VIEW_PART_NAME, index, 0, "name is longer than %d bytes", VIEW_NODE_NAME_BYTES - 1);
	if (!text_is_subdomain(n->name))
		return fault_at(b, VIEW_PART_NAME, index, 0,
		                "name %s is not a node's; small letters, digits, and inside them - and . would be right, such as node1",
		                text_quote(n->name, quoted));
	if (n->addresses_count == 0)
		return fault_at(b, VIEW_PART_ADDRESSES, index, 0,
		                "node %s has no address; at least the one where its tunnels are reached would be right", n->name);
	for (size_t i = 0; i < n->addresses_count; i++) {
		struct prefix p = prefix_of(&n->addresses[i]);

		what = view_forbidden(&p);
		if (what)
			return fault_at(b, VIEW_PART_ADDRESS, index, i,
			                "address %s of node %s is one of %s; the address by which other nodes reach it would be right",
			                addr_print(&n->addresses[i], text), n->name, what);
	}
	for (size_t i = 0; i < n->pods_count; i++) {
		struct prefix cleared = n->pods[i];

		prefix_clear_host(&cleared);
		if (!addr_equal(&cleared.addr, &n->pods[i].addr))
			return fault_at(b, VIEW_PART_POD, index, i, "pods' prefix %s of node %s %s", prefix_print(&n->pods[i], text),
			                n->name, prefix_fault(-ERANGE, &n->pods[i], why));
		what = view_forbidden(&n->pods[i]);
		if (what)
			return fault_at(b, VIEW_PART_POD, index, i, "pods' prefix %s of node %s holds %s, which no pod can have",
			                prefix_print(&n->pods[i], text), n->name, what);
	}
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct view_node *const *left = a, *const *right = b;
	int order = strcmp((*left)->name, (*right)->name);

	/* Of two with one name the earlier comes first, so that the later is the one to be named. */
	return order != 0 ? order : (*left > *right) - (*left < *right);
}

static int sort_nodes(struct build *b)
{
	b->sorted = calloc(b->nodes_count + 1, sizeof(*b->sorted));
	b->ids = calloc(b->nodes_count + 1, sizeof(*b->ids));
	if (!b->sorted || !b->ids)
		return -ENOMEM;
	for (size_t i = 0; i < b->nodes_count; i++)
		b->sorted[i] = &b->nodes[i];
	if (b->nodes_count > 0)
		qsort(b->sorted, b->nodes_count, sizeof(const struct view_node *), compare_names);
	for (size_t i = 0; i < b->nodes_count; i++) {
		size_t index = (size_t)(b->sorted[i] - b->nodes);

		if (i > 0 && strcmp(b->sorted[i - 1]->name, b->sorted[i]->name) == 0)
			return fault_at(b, VIEW_PART_NAME, index, 0,
			                "node %s is there twice; once, with all its addresses and pods, would be right",
			                b->nodes[index].name);
	}
	return 0;
}

static int check_self(struct build *b, const char *self_name)
{
	char quoted[TEXT_QUOTE_BYTES];
	const char **names, *near;

	for (size_t i = 0; i < b->nodes_count; i++)
		if (strcmp(b->nodes[i].name, self_name) == 0)
			return 0;
	names = calloc(b->nodes_count + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < b->nodes_count; i++)
		names[i] = b->nodes[i].name;
	near = text_nearest(self_name, names, b->nodes_count);
	free(names);
	return fault_at(b, VIEW_PART_NONE, 0, 0, "this node, %s, is not among the %zu nodes%s%s%s", text_quote(self_name, quoted),
	                b->nodes_count, near ? "; is " : "", near ? near : "", near ? " meant?" : "");
}

static uint32_t claim_of(size_t node, enum view_kind kind)
{
	return (uint32_t)node << KIND_BITS | (uint32_t)kind;
}

static enum view_kind kind_of(uint32_t claim)
{
	return (enum view_kind)(claim & KIND_MASK);
}

static const struct view_node *claimant_of(const struct build *b, uint32_t claim)
{
	return &b->nodes[claim >> KIND_BITS];
}

/* "address 10.0.0.1" or "pods' prefix 10.245.1.0/24" */
static const char *describe(const struct prefix *p, enum view_kind kind, char text[PREFIX_TEXT_BYTES + 16])
{
	char part[PREFIX_TEXT_BYTES];

	if (kind == VIEW_NODE)
		(void)snprintf(text, PREFIX_TEXT_BYTES + 16, "address %s", addr_print(&p->addr, part));
	else
		(void)snprintf(text, PREFIX_TEXT_BYTES + 16, "pods' prefix %s", prefix_print(p, part));
	return text;
}

static int add_owned(struct build *b, size_t node, size_t item, const struct prefix *p, enum view_kind kind)
{
	char text[PREFIX_TEXT_BYTES + 16];
	uint32_t claim = trie_get(b->claims, p), before;
	int rc;

	if (!claim) {
		rc = trie_set(&b->claims, p, claim_of(node, kind), &before);
		return rc < 0 ? rc : 0;
	}
	if (claimant_of(b, claim) == &b->nodes[node])
		return fault_at(b, kind == VIEW_NODE ? VIEW_PART_ADDRESS : VIEW_PART_POD, node, item,
		                "%s of node %s is there twice; once would be right", describe(p, kind, text), b->nodes[node].name);
	return fault_at(b, kind == VIEW_NODE ? VIEW_PART_ADDRESS : VIEW_PART_POD, node, item,
	                "%s of node %s is also %s of node %s; one owner would be right", describe(p, kind, text), b->nodes[node].name,
	                kind_of(claim) == VIEW_NODE ? "an address" : "a pods' prefix", claimant_of(b, claim)->name);
}

/* An outer prefix of the same node's is checked by itself, so the nearest one is enough. */
static int check_overlap(struct build *b, size_t node, size_t item, const struct prefix *p, enum view_kind kind)
{
	char text[PREFIX_TEXT_BYTES + 16], outer_text[PREFIX_TEXT_BYTES + 16];
	struct prefix outer;
	uint32_t claim;

	if (p->len_bits == 0)
		return 0;
	claim = trie_find(b->claims, &p->addr, p->len_bits - 1U, &outer);
	if (!claim || claimant_of(b, claim) == &b->nodes[node])
		return 0;
	return fault_at(b, kind == VIEW_NODE ? VIEW_PART_ADDRESS : VIEW_PART_POD, node, item,
	                "%s of node %s lies inside %s of node %s; one owner would be right", describe(p, kind, text), b->nodes[node].name,
	                describe(&outer, kind_of(claim), outer_text), claimant_of(b, claim)->name);
}

static int each_owned(struct build *b, int (*fn)(struct build *b, size_t node, size_t item, const struct prefix *p, enum view_kind kind))
{
	int rc = 0;

	for (size_t i = 0; i < b->nodes_count && rc == 0; i++) {
		const struct view_node *n = &b->nodes[i];

		for (size_t j = 0; j < n->addresses_count && rc == 0; j++) {
			struct prefix p = prefix_of(&n->addresses[j]);

			rc = fn(b, i, j, &p, VIEW_NODE);
		}
		for (size_t j = 0; j < n->pods_count && rc == 0; j++)
			rc = fn(b, i, j, &n->pods[j], VIEW_POD);
	}
	return rc;
}

static int add_space(struct build *b, const struct prefix *cluster_pods, size_t cluster_pods_count)
{
	int rc = 0;

	for (size_t i = 0; i < cluster_pods_count && rc >= 0; i++) {
		struct prefix around;
		uint32_t before, claim = trie_find(b->claims, &cluster_pods[i].addr, cluster_pods[i].len_bits, &around);

		/* Where a node owns this prefix, or one around it, its ownership says more. */
		if (!claim || kind_of(claim) == VIEW_POD_SPACE)
			rc = trie_set(&b->claims, &cluster_pods[i], claim_of(0, VIEW_POD_SPACE), &before);
	}
	return rc < 0 ? rc : 0;
}

static int compare_name_with_sorted(const void *name, const void *node)
{
	const struct view_node *const *n = node;

	return strcmp(name, (*n)->name);
}

/* Brings the roster from before's to what was given. */
static int fill_roster(struct build *b, const char *self_name, const struct view *before)
{
	int rc = roster_create(before ? before->roster : NULL, self_name, &b->roster);

	for (size_t i = 0; rc == 0 && before && i < roster_count(before->roster); i++) {
		const char *name = roster_at(before->roster, i)->name;

		if (!bsearch(name, b->sorted, b->nodes_count, sizeof(*b->sorted), compare_name_with_sorted))
			roster_remove(b->roster, name);
	}
	for (size_t i = 0; i < b->nodes_count && rc >= 0; i++) {
		struct view_node n = *b->sorted[i];

		n.is_enrolled = true;
		rc = roster_put(b->roster, &n);
		if (rc >= 0)
			b->ids[b->sorted[i] - b->nodes] = roster_by_name(b->roster, n.name)->id;
	}
	if (rc == -ENOSPC)
		return fault_at(b, VIEW_PART_NONE, 0, 0,
		                "%zu nodes, of which too many are new at once; a part of them first would be right", b->nodes_count);
	return rc < 0 ? rc : 0;
}

static int set_entry(void *ctx, const struct prefix *p, uint32_t claim)
{
	struct build *b = ctx;
	struct view_entry entry = { .kind = kind_of(claim) };
	uint32_t before;

	if (entry.kind != VIEW_POD_SPACE)
		entry.node_id = b->ids[claim >> KIND_BITS];
	b->counts[entry.kind]++;
	return trie_set(&b->entries, p, version_pack(&entry), &before);
}

static int drop_unclaimed(void *ctx, const struct prefix *p, uint32_t value)
{
	struct build *b = ctx;
	uint32_t before;

	(void)value;
	return trie_get(b->claims, p) ? 0 : trie_set(&b->entries, p, 0, &before);
}

/* Brings the entries from before's to what is claimed. */
static int fill_entries(struct build *b, const struct view *before)
{
	int rc = 0;

	b->entries = before ? trie_ref(before->entries) : NULL;
	if (before)
		rc = trie_walk(before->entries, NULL, drop_unclaimed, b);
	return rc < 0 ? rc : trie_walk(b->claims, NULL, set_entry, b);
}

static int check_all(struct build *b, const struct prefix *cluster_pods, size_t cluster_pods_count, const char *self_name)
{
	int rc = 0;

	if (b->nodes_count > VIEW_NODES_MAX)
		return fault_at(b, VIEW_PART_NONE, 0, 0, "%zu nodes; at most %d would be right", b->nodes_count, VIEW_NODES_MAX);
	for (size_t i = 0; i < b->nodes_count && rc == 0; i++)
		rc = check_node(b, i);
	if (rc == 0)
		rc = sort_nodes(b);
	if (rc == 0)
		rc = check_self(b, self_name);
	if (rc == 0)
		rc = each_owned(b, add_owned);
	if (rc == 0)
		rc = each_owned(b, check_overlap);
	return rc == 0 ? add_space(b, cluster_pods, cluster_pods_count) : rc;
}

int view_create_located(const struct view_node *nodes, size_t nodes_count, const struct prefix *cluster_pods, size_t cluster_pods_count,
                        const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES],
                        struct view_fault *ret_fault)
{
	struct build b = { .nodes = nodes, .nodes_count = nodes_count, .error = error, .fault = ret_fault };
	int rc = check_all(&b, cluster_pods, cluster_pods_count, self_name);

	if (rc == 0)
		rc = fill_roster(&b, self_name, before);
	if (rc == 0)
		rc = fill_entries(&b, before);
	if (rc == 0) {
		if (before && roster_equal(before->roster, b.roster)) {
			roster_unref(b.roster);
			b.roster = roster_ref(before->roster);
		}
		rc = version_create(b.entries, b.roster, b.counts, ret);
		b.entries = NULL;
		b.roster = NULL;
	}
	trie_unref(b.entries);
	roster_unref(b.roster);
	trie_unref(b.claims);
	free(b.sorted);
	free(b.ids);
	if (rc == -ENOMEM)
		(void)snprintf(error, VIEW_ERROR_BYTES, "out of memory");
	return rc;
}

int view_create(const struct view_node *nodes, size_t nodes_count, const struct prefix *cluster_pods, size_t cluster_pods_count,
                const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES])
{
	struct view_fault fault;

	return view_create_located(nodes, nodes_count, cluster_pods, cluster_pods_count, self_name, before, ret, error, &fault);
}
