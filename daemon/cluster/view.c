/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/view.h"

#include "base/table.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the table says of a prefix: the node's place in nodes, and the kind in the low bits. */
enum { KIND_BITS = 2, KIND_MASK = (1 << KIND_BITS) - 1 };

struct view {
	_Atomic unsigned references;
	struct view_node *nodes; /* by name */
	size_t nodes_count;
	const struct view_node *self;
	struct addr *addresses; /* of all nodes, one node's after the other's */
	struct prefix *pods;    /* likewise */
	struct prefix *cluster_pods;
	size_t cluster_pods_count;
	const struct view_node **by_id; /* ids_count slots; slot 0 is never used */
	size_t ids_count;
	struct prefix_table *table;
};

/* What view_create is about. */
struct build {
	const struct view_node *nodes;
	size_t nodes_count;
	const struct view_node **sorted; /* the same nodes by name */
	uint32_t *places;                /* place in sorted, by index in nodes */
	struct view *view;
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

struct forbidden {
	const char *prefix;
	const char *what;
};

/* What no packet of a pod or of a tunnel can have as its address. */
static const struct forbidden forbidden[] = {
	{ "0.0.0.0/8", "\"this network\" (RFC 1122)" }, { "224.0.0.0/3", "multicast or reserved addresses" },
	{ "::/128", "the unspecified address" },        { "fe80::/10", "link-local addresses" },
	{ "ff00::/8", "multicast addresses" },
};

static const char *forbidden_what(const struct prefix *p)
{
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		struct prefix f;

		if (prefix_parse(forbidden[i].prefix, &f) == 0 && prefix_overlaps(&f, p))
			return forbidden[i].what;
	}
	return NULL;
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

		what = forbidden_what(&p);
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
		what = forbidden_what(&n->pods[i]);
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
	b->places = calloc(b->nodes_count + 1, sizeof(*b->places));
	if (!b->sorted || !b->places)
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
		b->places[index] = (uint32_t)i;
	}
	return 0;
}

static int copy_nodes(struct build *b, const char *self_name)
{
	struct view *v = b->view;
	size_t addresses = 0, pods = 0;

	for (size_t i = 0; i < b->nodes_count; i++) {
		addresses += b->nodes[i].addresses_count;
		pods += b->nodes[i].pods_count;
	}
	v->nodes = calloc(b->nodes_count + 1, sizeof(*v->nodes));
	v->addresses = calloc(addresses + 1, sizeof(*v->addresses));
	v->pods = calloc(pods + 1, sizeof(*v->pods));
	if (!v->nodes || !v->addresses || !v->pods)
		return -ENOMEM;
	v->nodes_count = b->nodes_count;
	addresses = pods = 0;
	for (size_t i = 0; i < v->nodes_count; i++) {
		const struct view_node *from = b->sorted[i];
		struct view_node *n = &v->nodes[i];

		memcpy(n->name, from->name, strlen(from->name) + 1);
		n->addresses_count = from->addresses_count;
		n->addresses = &v->addresses[addresses];
		for (size_t j = 0; j < from->addresses_count; j++)
			v->addresses[addresses++] = from->addresses[j];
		n->pods_count = from->pods_count;
		n->pods = &v->pods[pods];
		for (size_t j = 0; j < from->pods_count; j++)
			v->pods[pods++] = from->pods[j];
		n->is_self = strcmp(n->name, self_name) == 0;
		if (n->is_self)
			v->self = n;
	}
	return 0;
}

static int check_self(struct build *b, const char *self_name)
{
	char quoted[TEXT_QUOTE_BYTES];
	const char **names, *near;

	if (b->view->self)
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

static uint32_t value_of(uint32_t place, enum view_kind kind)
{
	return place << KIND_BITS | (uint32_t)kind;
}

static enum view_kind kind_of(uint32_t value)
{
	return (enum view_kind)(value & KIND_MASK);
}

static const struct view_node *owner_of(const struct view *v, uint32_t value)
{
	return kind_of(value) == VIEW_POD_SPACE ? NULL : &v->nodes[value >> KIND_BITS];
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
	struct view *v = b->view;
	char text[PREFIX_TEXT_BYTES + 16];
	uint32_t value;
	int rc = prefix_table_add(v->table, p, value_of(b->places[node], kind));

	if (rc != -EEXIST)
		return rc;
	(void)prefix_table_get(v->table, p, &value);
	if (owner_of(v, value) == &v->nodes[b->places[node]])
		return fault_at(b, kind == VIEW_NODE ? VIEW_PART_ADDRESS : VIEW_PART_POD, node, item,
		                "%s of node %s is there twice; once would be right", describe(p, kind, text), b->nodes[node].name);
	return fault_at(b, kind == VIEW_NODE ? VIEW_PART_ADDRESS : VIEW_PART_POD, node, item,
	                "%s of node %s is also %s of node %s; one owner would be right", describe(p, kind, text), b->nodes[node].name,
	                kind_of(value) == VIEW_NODE ? "an address" : "a pods' prefix", owner_of(v, value)->name);
}

/* An outer prefix of the same node's is checked by itself, so the nearest one is enough. */
static int check_overlap(struct build *b, size_t node, size_t item, const struct prefix *p, enum view_kind kind)
{
	struct view *v = b->view;
	char text[PREFIX_TEXT_BYTES + 16], outer_text[PREFIX_TEXT_BYTES + 16];
	struct prefix outer;
	uint32_t value;

	if (p->len_bits == 0 || !prefix_table_find(v->table, &p->addr, p->len_bits - 1U, &outer, &value) ||
	    owner_of(v, value) == &v->nodes[b->places[node]])
		return 0;
	return fault_at(b, kind == VIEW_NODE ? VIEW_PART_ADDRESS : VIEW_PART_POD, node, item,
	                "%s of node %s lies inside %s of node %s; one owner would be right", describe(p, kind, text), b->nodes[node].name,
	                describe(&outer, kind_of(value), outer_text), owner_of(v, value)->name);
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

static int fill_table(struct build *b, const struct prefix *cluster_pods, size_t cluster_pods_count)
{
	struct view *v = b->view;
	size_t expected = cluster_pods_count;
	int rc;

	for (size_t i = 0; i < b->nodes_count; i++)
		expected += b->nodes[i].addresses_count + b->nodes[i].pods_count;
	rc = prefix_table_create(expected, &v->table);
	if (rc == 0)
		rc = each_owned(b, add_owned);
	if (rc == 0)
		rc = each_owned(b, check_overlap);
	if (rc < 0)
		return rc;

	v->cluster_pods = calloc(cluster_pods_count + 1, sizeof(*v->cluster_pods));
	if (!v->cluster_pods)
		return -ENOMEM;
	v->cluster_pods_count = cluster_pods_count;
	for (size_t i = 0; i < cluster_pods_count; i++) {
		v->cluster_pods[i] = cluster_pods[i];
		/* Where a node owns exactly this prefix, its ownership says more. */
		rc = prefix_table_add(v->table, &cluster_pods[i], value_of(0, VIEW_POD_SPACE));
		if (rc < 0 && rc != -EEXIST)
			return rc;
	}
	return 0;
}

/* A node that was there keeps its id. A new one gets the smallest that is free in both views: in the maps of the kernel the two exist side
 * by side for a moment, and an id must never mean two nodes. */
static int give_ids(struct build *b, const struct view *before)
{
	struct view *v = b->view;
	size_t slots = 1 + v->nodes_count + (before ? before->ids_count : 0);
	uint32_t next = 1;

	v->by_id = calloc(slots, sizeof(*v->by_id));
	if (!v->by_id)
		return -ENOMEM;
	v->ids_count = 1;
	for (size_t i = 0; before && i < v->nodes_count; i++) {
		const struct view_node *old = view_node_by_name(before, v->nodes[i].name);

		if (old) {
			v->nodes[i].id = old->id;
			v->by_id[old->id] = &v->nodes[i];
		}
	}
	for (size_t i = 0; i < v->nodes_count; i++) {
		struct view_node *n = &v->nodes[i];

		if (n->id == 0) {
			while (v->by_id[next] || (before && view_node_by_id(before, next)))
				next++;
			n->id = next;
			v->by_id[next] = n;
		}
		if (n->id >= v->ids_count)
			v->ids_count = n->id + 1;
	}
	return 0;
}

static int build_view(struct build *b, const struct prefix *cluster_pods, size_t cluster_pods_count, const char *self_name,
                      const struct view *before)
{
	int rc = 0;

	if (b->nodes_count > VIEW_NODES_MAX)
		return fault_at(b, VIEW_PART_NONE, 0, 0, "%zu nodes; at most %d would be right", b->nodes_count, VIEW_NODES_MAX);
	for (size_t i = 0; i < b->nodes_count && rc == 0; i++)
		rc = check_node(b, i);
	if (rc == 0)
		rc = sort_nodes(b);
	if (rc == 0)
		rc = copy_nodes(b, self_name);
	if (rc == 0)
		rc = check_self(b, self_name);
	if (rc == 0)
		rc = fill_table(b, cluster_pods, cluster_pods_count);
	if (rc == 0)
		rc = give_ids(b, before);
	return rc;
}

static void view_free(struct view *v)
{
	prefix_table_destroy(v->table);
	free(v->by_id);
	free(v->cluster_pods);
	free(v->pods);
	free(v->addresses);
	free(v->nodes);
	free(v);
}

int view_create_located(const struct view_node *nodes, size_t nodes_count, const struct prefix *cluster_pods, size_t cluster_pods_count,
                        const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES],
                        struct view_fault *ret_fault)
{
	struct build b = { .nodes = nodes, .nodes_count = nodes_count, .error = error, .fault = ret_fault };
	int rc = -ENOMEM;

	b.view = calloc(1, sizeof(*b.view));
	if (b.view) {
		atomic_init(&b.view->references, 1);
		rc = build_view(&b, cluster_pods, cluster_pods_count, self_name, before);
	}
	free(b.sorted);
	free(b.places);
	if (rc < 0) {
		if (b.view)
			view_free(b.view);
		if (rc == -ENOMEM)
			(void)snprintf(error, VIEW_ERROR_BYTES, "out of memory");
		return rc;
	}
	*ret = b.view;
	return 0;
}

int view_create(const struct view_node *nodes, size_t nodes_count, const struct prefix *cluster_pods, size_t cluster_pods_count,
                const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES])
{
	struct view_fault fault;

	return view_create_located(nodes, nodes_count, cluster_pods, cluster_pods_count, self_name, before, ret, error, &fault);
}

struct view *view_ref(struct view *v)
{
	(void)atomic_fetch_add_explicit(&v->references, 1, memory_order_relaxed);
	return v;
}

void view_unref(struct view *v)
{
	/* Release: what this thread read of v is read before another frees it; acquire: the other sees that. */
	if (v && atomic_fetch_sub_explicit(&v->references, 1, memory_order_acq_rel) == 1)
		view_free(v);
}

const struct view_node *view_self(const struct view *v)
{
	return v->self;
}

size_t view_nodes_count(const struct view *v)
{
	return v->nodes_count;
}

const struct view_node *view_node_at(const struct view *v, size_t index)
{
	return &v->nodes[index];
}

static int compare_name_with_node(const void *name, const void *node)
{
	const struct view_node *n = node;

	return strcmp(name, n->name);
}

const struct view_node *view_node_by_name(const struct view *v, const char *name)
{
	return bsearch(name, v->nodes, v->nodes_count, sizeof(*v->nodes), compare_name_with_node);
}

const struct view_node *view_node_by_id(const struct view *v, uint32_t id)
{
	return id < v->ids_count ? v->by_id[id] : NULL;
}

const struct view_node *view_node_by_address(const struct view *v, const struct addr *a)
{
	struct view_answer answer = view_lookup(v, a);

	return answer.kind == VIEW_NODE ? answer.owner : NULL;
}

const struct prefix *view_cluster_pods(const struct view *v, size_t *ret_count)
{
	*ret_count = v->cluster_pods_count;
	return v->cluster_pods;
}

struct view_answer view_lookup(const struct view *v, const struct addr *a)
{
	struct prefix found;
	uint32_t value;

	if (!prefix_table_find(v->table, a, 128, &found, &value))
		return (struct view_answer){ .kind = VIEW_OUTSIDE };
	return (struct view_answer){ .kind = kind_of(value), .owner = owner_of(v, value) };
}

enum view_verdict view_judge(const struct view *v, const struct addr *a, const struct view_node *node, bool is_own_allowed)
{
	struct view_answer answer = view_lookup(v, a);

	if (!answer.owner)
		return VIEW_UNKNOWN;
	if (answer.owner != node && strcmp(answer.owner->name, node->name) != 0)
		return VIEW_OTHERS;
	return answer.kind == VIEW_POD || is_own_allowed ? VIEW_YES : VIEW_UNKNOWN;
}

uint32_t view_home_worker(const char *node_name, uint32_t workers)
{
	return workers > 1 ? (uint32_t)(hash_bytes(node_name, strlen(node_name)) % workers) : 0;
}
