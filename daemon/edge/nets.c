/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/nets.h"

#include "edge/fault.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One entry of the map, as an earlier daemon left it. */
struct entry {
	struct net_key key;
	struct net_value value;
};

/* From what an entry of the map follows. Without a view: from what was left. */
struct basis {
	struct view *view;
	struct addr *addresses; /* sorted, each once */
	size_t addresses_count;
};

struct nets {
	int fd;
	uint32_t workers, entries_max;
	const struct pairs *pairs;
	struct basis basis; /* what the map is written by */
	struct entry *left; /* sorted; none any more once a view is in force */
	size_t left_count;
};

struct net_key nets_key(const struct prefix *p)
{
	struct net_key key = { .prefix_bits = p->len_bits };

	memcpy(key.addr, p->addr.bytes, sizeof(key.addr));
	return key;
}

static int compare_entries(const void *a, const void *b)
{
	const struct net_key *x = a, *y = b; /* the first member */
	int order = memcmp(x->addr, y->addr, sizeof(x->addr));

	return order ? order : (x->prefix_bits > y->prefix_bits) - (x->prefix_bits < y->prefix_bits);
}

static int compare_addresses(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static struct prefix prefix_of_addr(const struct addr *a)
{
	return (struct prefix){ .addr = *a, .len_bits = 128 };
}

/* --- what is wanted --- */

static struct net_value value_of_entry(const struct nets *n, const struct view *v, const struct view_entry *entry)
{
	const struct view_node *node = entry->kind == VIEW_POD_SPACE ? NULL : view_node_by_id(v, entry->node_id);
	struct net_value value = { .kind = NET_POD_SPACE };

	if (!node)
		return value;
	if (entry->kind == VIEW_POD)
		value.kind = node->is_self ? NET_OWN_POD : NET_POD;
	else
		value.kind = node->is_self ? NET_SELF : NET_NODE;
	if (entry->kind == VIEW_POD && entry->flags & VIEW_ENTRY_OPTED_OUT)
		value.flags |= NET_OPTED_OUT;
	if (value.kind == NET_POD && entry->flags & VIEW_ENTRY_ENDING)
		value.flags |= NET_ENDING;
	value.peer = pairs_place(n->pairs, node);
	value.worker = (uint16_t)view_home_worker(node->name, n->workers);
	return value;
}

static bool has_address(const struct basis *b, const struct addr *a)
{
	return b->addresses_count > 0 && bsearch(a, b->addresses, b->addresses_count, sizeof(*a), compare_addresses);
}

/* An address that a device of this node has. False: the cluster gives it to another node, and it does not become ours because somebody set
 * it here. */
static bool value_of_own(const struct view *v, const struct addr *a, struct net_value *ret)
{
	struct view_answer answer = view_lookup(v, a);

	if (answer.owner && !answer.owner->is_self)
		return false;
	/* What peers make of it. */
	*ret = (struct net_value){ .kind = NET_SELF,
		                   .flags = !answer.owner             ? NET_UNNAMED
		                            : answer.kind == VIEW_POD ? NET_IN_POD_RANGE
		                                                      : 0 };
	return true;
}

static const struct entry *find_left(const struct nets *n, const struct prefix *p)
{
	struct net_key key = nets_key(p);

	return n->left_count ? bsearch(&key, n->left, n->left_count, sizeof(*n->left), compare_entries) : NULL;
}

static bool wanted_of(const struct nets *n, const struct basis *b, const struct prefix *p, struct net_value *ret)
{
	const struct entry *left;
	struct view_entry entry;

	if (!b->view) {
		left = find_left(n, p);
		if (left)
			*ret = left->value;
		return left != NULL;
	}
	if (p->len_bits == 128 && has_address(b, &p->addr) && value_of_own(b->view, &p->addr, ret))
		return true;
	if (!view_get(b->view, p, &entry))
		return false;
	*ret = value_of_entry(n, b->view, &entry);
	return true;
}

/* --- writing --- */

/* What comes is written first and what goes afterwards, each by looking at all that differs: an address that moves from a range to an entry
 * of its own is never nobody's. */
struct step {
	const struct nets *nets;
	const struct basis *from, *to;
	bool is_removing;
};

static int write_one(const struct step *s, const struct prefix *p)
{
	struct net_key key = nets_key(p);
	struct net_value have, wanted;
	bool is_there = wanted_of(s->nets, s->from, p, &have), is_wanted = wanted_of(s->nets, s->to, p, &wanted);

	if (is_wanted && !s->is_removing && !(is_there && memcmp(&have, &wanted, sizeof(have)) == 0))
		return bpf_map_update_elem(s->nets->fd, &key, &wanted, BPF_ANY) ? -errno : 0;
	if (!is_wanted && s->is_removing && bpf_map_delete_elem(s->nets->fd, &key) && errno != ENOENT)
		return -errno;
	return 0;
}

/* The addresses of a basis that lie in p: what peers make of them follows from it. */
static int write_addresses_in(const struct step *s, const struct basis *b, const struct prefix *p)
{
	size_t low = 0, high = b->addresses_count;
	int code = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (addr_compare(&b->addresses[middle], &p->addr) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < b->addresses_count && prefix_contains(p, &b->addresses[low]) && !code; low++) {
		struct prefix own = prefix_of_addr(&b->addresses[low]);

		code = write_one(s, &own);
	}
	return code;
}

static int write_entry(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	const struct step *s = ctx;
	int code = write_one(s, p);

	(void)before;
	(void)after;
	return code || p->len_bits == 128 ? code : write_addresses_in(s, s->to, p);
}

static int write_pass(const struct step *s)
{
	const struct view *before = s->from->view, *after = s->to->view;
	struct step ctx = *s;
	int code = 0;

	/* The step back to what was left has no view to go to: the differences are those of the way there. */
	if (before != after)
		code = after ? view_diff(before, after, write_entry, &ctx) : view_diff(after, before, write_entry, &ctx);
	for (size_t i = 0; i < s->from->addresses_count && !code; i++) {
		struct prefix p = prefix_of_addr(&s->from->addresses[i]);

		if (!before || !after || !has_address(s->to, &p.addr))
			code = write_one(s, &p);
	}
	for (size_t i = 0; i < s->to->addresses_count && !code; i++) {
		struct prefix p = prefix_of_addr(&s->to->addresses[i]);

		if (!before || !after || !has_address(s->from, &p.addr))
			code = write_one(s, &p);
	}
	/* What was left is taken out, or put back. */
	for (size_t i = 0; (!before || !after) && i < s->nets->left_count && !code; i++) {
		const struct entry *left = &s->nets->left[i];
		struct prefix p = { .len_bits = (uint8_t)left->key.prefix_bits };

		memcpy(p.addr.bytes, left->key.addr, sizeof(p.addr.bytes));
		code = write_one(s, &p);
	}
	return code;
}

static int write_step(const struct nets *n, const struct basis *from, const struct basis *to)
{
	struct step coming = { .nets = n, .from = from, .to = to }, going = { .nets = n, .from = from, .to = to, .is_removing = true };
	int code = write_pass(&coming);

	/* Old and new together do not fit, the new ones alone may. */
	if (code == -ENOSPC) {
		code = write_pass(&going);
		if (!code)
			code = write_pass(&coming);
	}
	return code ? code : write_pass(&going);
}

/* How many entries follow from b at most. */
static size_t count_most(const struct basis *b)
{
	size_t count = b->addresses_count;

	for (enum view_kind kind = VIEW_POD; kind < VIEW_KINDS; kind++)
		count += view_entries_count(b->view, kind);
	return count;
}

/* And exactly. */
static size_t count_wanted(const struct basis *b)
{
	size_t count = count_most(b);
	struct view_entry entry;

	for (size_t i = 0; i < b->addresses_count; i++) {
		struct prefix p = prefix_of_addr(&b->addresses[i]);

		count -= view_get(b->view, &p, &entry);
	}
	return count;
}

static int bring_to(const struct nets *n, const struct basis *to, char error[EDGE_ERROR_BYTES])
{
	size_t count = count_most(to);
	int code;

	if (count > n->entries_max)
		count = count_wanted(to);
	if (count > n->entries_max)
		return edge_fault(error, -E2BIG,
		                  "%zu addresses and prefixes; the kernel's map takes %u, so what it held before stays in force", count,
		                  n->entries_max);
	code = write_step(n, &n->basis, to);
	if (!code)
		return 0;
	(void)edge_fault(error, code, "the kernel's map of addresses can not be written: %s; what it held before stays in force",
	                 strerror(-code));
	/* What came is taken out first, so that there is room for what went. */
	if (write_step(n, to, &n->basis) < 0)
		(void)edge_fault(error, code, "the kernel's map of addresses can not be written: %s; it is neither as before nor as wanted",
		                 strerror(-code));
	return code;
}

/* --- public --- */

/* What an earlier daemon left. */
static int read_left(struct nets *n)
{
	struct net_key *at = NULL, key;
	size_t slots = 0;

	while (!bpf_map_get_next_key(n->fd, at, &key)) {
		struct entry *e;

		if (n->left_count == slots) {
			struct entry *moved;

			slots = slots ? slots * 2 : 64;
			moved = realloc(n->left, slots * sizeof(*moved));
			if (!moved)
				return -ENOMEM;
			n->left = moved;
		}
		e = &n->left[n->left_count];
		e->key = key;
		if (!bpf_map_lookup_elem(n->fd, &e->key, &e->value))
			n->left_count++;
		at = &key;
	}
	if (n->left_count)
		qsort(n->left, n->left_count, sizeof(*n->left), compare_entries);
	return 0;
}

int nets_create(int fd, uint32_t workers, const struct pairs *pairs, struct nets **ret)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	struct nets *n;
	int code;

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->fd = fd;
	n->workers = workers;
	n->entries_max = info.max_entries;
	n->pairs = pairs;
	code = read_left(n);
	if (code) {
		nets_destroy(n);
		return code;
	}
	*ret = n;
	return 0;
}

void nets_destroy(struct nets *n)
{
	if (!n)
		return;
	view_unref(n->basis.view);
	free(n->basis.addresses);
	free(n->left);
	free(n);
}

int nets_set_view(struct nets *n, struct view *v, char error[EDGE_ERROR_BYTES])
{
	struct basis to = n->basis;
	int code;

	to.view = v;
	code = bring_to(n, &to, error);
	if (code)
		return code;
	view_ref(v);
	view_unref(n->basis.view);
	n->basis.view = v;
	free(n->left);
	n->left = NULL;
	n->left_count = 0;
	return 0;
}

int nets_set_addresses(struct nets *n, const struct addr *addresses, size_t count, char error[EDGE_ERROR_BYTES])
{
	struct basis to = { .view = n->basis.view, .addresses = calloc(count + 1, sizeof(*addresses)) };
	int code = 0;

	if (!to.addresses)
		return edge_fault(error, -ENOMEM, "no memory");
	if (count) {
		memcpy(to.addresses, addresses, count * sizeof(*addresses));
		qsort(to.addresses, count, sizeof(*addresses), compare_addresses);
		to.addresses_count = 1;
	}
	for (size_t i = 1; i < count; i++)
		if (!addr_equal(&to.addresses[to.addresses_count - 1], &to.addresses[i]))
			to.addresses[to.addresses_count++] = to.addresses[i];
	if (to.view)
		code = bring_to(n, &to, error);
	if (code) {
		free(to.addresses);
		return code;
	}
	free(n->basis.addresses);
	n->basis.addresses = to.addresses;
	n->basis.addresses_count = to.addresses_count;
	return 0;
}
