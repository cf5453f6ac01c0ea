/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/ranges.h"

#include "cluster/elect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	GATEWAYS = 2,   /* addresses at the start of a range: overlay device and bridge */
	KEY_RANGES = 1, /* of what is refused here */
};

static int compare_prefix(const struct prefix *a, const struct prefix *b)
{
	int r = addr_compare(&a->addr, &b->addr);

	return r ? r : (int)a->len_bits - (int)b->len_bits;
}

int ranged_compare(const struct ranged *a, const struct ranged *b)
{
	return compare_prefix(&a->prefix, &b->prefix);
}

static int compare_items(const void *a, const void *b)
{
	const struct ranged *x = a, *y = b;
	int r = compare_prefix(&x->prefix, &y->prefix);

	if (r)
		return r;
	/* Who wins stands first. */
	if (x->kind != y->kind)
		return x->kind == VIEW_POD_SPACE ? 1 : -1;
	if (!x->node || !y->node)
		return !x->node - !y->node;
	return node_is_older(x->node, y->node) ? -1 : node_is_older(y->node, x->node) ? 1 : 0;
}

static struct addr addr_plus(const struct addr *a, unsigned n)
{
	struct addr sum = *a;

	sum.bytes[15] = (uint8_t)(sum.bytes[15] + n);
	return sum;
}

struct collecting {
	struct ranged *items;
	size_t count, cap;
	struct settlement *s;
};

static void count_ranges(void *ctx, struct chain *entry)
{
	struct collecting *c = ctx;

	c->cap += container_of(entry, struct node, chain)->ranges_count * (1 + GATEWAYS);
}

static void collect_ranges(void *ctx, struct chain *entry)
{
	struct collecting *c = ctx;
	struct node *n = container_of(entry, struct node, chain);

	for (size_t i = 0; i < n->ranges_count && n->is_in_view; i++) {
		const struct prefix *range = &n->ranges[i];

		c->items[c->count++] =
			(struct ranged){ .prefix = *range, .kind = c->s->is_ranges_own ? VIEW_POD : VIEW_POD_SPACE, .node = n };
		/* A range of a few addresses has no room for a bridge. */
		for (unsigned k = 0; k < GATEWAYS && range->len_bits <= 126; k++)
			c->items[c->count++] = (struct ranged){ .prefix = { .addr = addr_plus(&range->addr, k), .len_bits = 128 },
				                                .kind = VIEW_NODE,
				                                .node = n };
	}
}

static void refuse_range(struct settlement *s, const struct ranged *loser, const struct ranged *winner)
{
	char text[PREFIX_TEXT_BYTES], other[PREFIX_TEXT_BYTES], object[REFUSAL_OBJECT_BYTES];

	(void)snprintf(object, sizeof(object), "node %.120s", loser->node->name);
	settle_refuse(s, KEY_RANGES, object, "spec.podCIDRs: %s overlaps %s of node %.120s, which had it first",
	              prefix_print(&loser->prefix, text), prefix_print(&winner->prefix, other), winner->node->name);
}

/* Takes out of sorted items what stands twice, and of ranges that are owned and overlap the newer. */
static size_t thin_out(struct settlement *s, struct ranged *items, size_t count)
{
	size_t kept = 0, owned = SIZE_MAX; /* the last owned range that was kept */

	for (size_t i = 0; i < count; i++) {
		struct ranged *item = &items[i];

		if (kept > 0 && compare_prefix(&items[kept - 1].prefix, &item->prefix) == 0) {
			if (item->kind == VIEW_POD && items[kept - 1].kind == VIEW_POD && item->node != items[kept - 1].node)
				refuse_range(s, item, &items[kept - 1]);
			continue;
		}
		if (item->kind == VIEW_NODE && owned != SIZE_MAX && items[owned].node != item->node &&
		    prefix_contains(&items[owned].prefix, &item->prefix.addr))
			continue; /* of a range that was refused */
		if (item->kind == VIEW_POD && owned != SIZE_MAX && items[owned].node != item->node &&
		    prefix_overlaps(&items[owned].prefix, &item->prefix)) {
			if (node_is_older(items[owned].node, item->node)) {
				refuse_range(s, item, &items[owned]);
				continue;
			}
			/* The wider one goes: it stays in its place as part of the pod space, which is true of it all the same. */
			refuse_range(s, &items[owned], item);
			items[owned].kind = VIEW_POD_SPACE;
			items[owned].node = NULL;
		}
		items[kept] = *item;
		if (item->kind == VIEW_POD)
			owned = kept;
		kept++;
	}
	return kept;
}

int ranges_collect(struct settlement *s, struct ranged **ret, size_t *ret_count)
{
	struct collecting c = { .cap = s->pod_space_count, .s = s };
	char text[PREFIX_TEXT_BYTES];

	chains_visit(&s->members.nodes, count_ranges, &c);
	c.items = calloc(c.cap + 1, sizeof(*c.items));
	if (!c.items)
		return -ENOMEM;
	chains_visit(&s->members.nodes, collect_ranges, &c);
	refusals_begin(&s->refusals, KEY_RANGES);
	for (size_t p = 0; p < s->pod_space_count; p++) {
		const char *forbidden = view_forbidden(&s->pod_space[p]);

		if (forbidden)
			settle_refuse(s, KEY_RANGES, "settings", "capture.cluster_pods: %s holds %s; narrower ones would be right",
			              prefix_print(&s->pod_space[p], text), forbidden);
		else
			c.items[c.count++] = (struct ranged){ .prefix = s->pod_space[p], .kind = VIEW_POD_SPACE };
	}
	qsort(c.items, c.count, sizeof(*c.items), compare_items);
	c.count = thin_out(s, c.items, c.count);
	refusals_end(&s->refusals, KEY_RANGES);
	*ret = c.items;
	*ret_count = c.count;
	return 0;
}

const struct ranged *ranged_find(const struct settlement *s, const struct addr *a)
{
	struct ranged key = { .prefix = { .addr = *a, .len_bits = 128 } };
	size_t low = 0, high = s->ranged_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = compare_prefix(&s->ranged[middle].prefix, &key.prefix);

		if (r == 0)
			return &s->ranged[middle];
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
