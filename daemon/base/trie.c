/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/trie.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ADDR_BITS = 128, V4_HEAD_BITS = 96 };

/* Without a value it is a fork and has both children. A leaf is allocated without room for children. */
struct trie {
	_Atomic uint32_t references;
	uint32_t value : TRIE_VALUE_BITS;
	uint32_t is_inner : 1;
	uint32_t len_bits : 8;
	struct addr key; /* bits behind len_bits are zero */
	struct trie *child[];
};

/* Two allocations a prefix, so every byte counts: malloc rounds to 32 and 48. */
static_assert(sizeof(struct trie) == 24, "a leaf of a trie is too large");

static uint64_t word_at(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return word;
}

/* How many bits from the first on are the same in both, at most max. */
static unsigned common_bits(const struct addr *a, const struct addr *b, unsigned max)
{
	uint64_t high = word_at(a->bytes) ^ word_at(b->bytes), low;
	unsigned same;

	if (high) {
		same = (unsigned)__builtin_clzll(high);
	} else {
		low = word_at(a->bytes + 8) ^ word_at(b->bytes + 8);
		same = 64 + (low ? (unsigned)__builtin_clzll(low) : 64);
	}
	return same < max ? same : max;
}

static unsigned bit_at(const struct addr *a, unsigned index)
{
	return a->bytes[index / 8] >> (7 - index % 8) & 1;
}

static bool covers(const struct trie *n, const struct addr *a)
{
	return common_bits(&n->key, a, n->len_bits) == n->len_bits;
}

/* The child on the way to a, which is longer than n. */
static const struct trie *child_towards(const struct trie *n, const struct addr *a)
{
	return n->is_inner ? n->child[bit_at(a, n->len_bits)] : NULL;
}

static const struct trie *child_of(const struct trie *n, unsigned side)
{
	return n->is_inner ? n->child[side] : NULL;
}

static struct prefix prefix_of(const struct trie *n)
{
	return (struct prefix){ .addr = n->key, .len_bits = (uint8_t)n->len_bits };
}

static struct trie *node_create(const struct addr *a, unsigned len_bits, bool is_inner, uint32_t value)
{
	struct prefix p = { .addr = *a, .len_bits = (uint8_t)len_bits };
	struct trie *n = malloc(sizeof(*n) + (is_inner ? 2 * sizeof(n->child[0]) : 0));

	if (!n)
		return NULL;
	prefix_clear_host(&p);
	atomic_init(&n->references, 1);
	n->value = value & TRIE_VALUE_MAX;
	n->is_inner = is_inner;
	n->len_bits = len_bits & 0xff;
	n->key = p.addr;
	if (is_inner)
		n->child[0] = n->child[1] = NULL;
	return n;
}

struct trie *trie_ref(struct trie *root)
{
	if (root)
		(void)atomic_fetch_add_explicit(&root->references, 1, memory_order_relaxed);
	return root;
}

void trie_unref(struct trie *root)
{
	/* Release: what this thread read is read before another frees or changes it; acquire: the other sees that. */
	while (root && atomic_fetch_sub_explicit(&root->references, 1, memory_order_acq_rel) == 1) {
		struct trie *next = NULL;

		if (root->is_inner) {
			trie_unref(root->child[0]);
			next = root->child[1];
		}
		free(root);
		root = next;
	}
}

/* Makes what is in slot the caller's alone, with room for children where they are wanted. NULL: out of memory, and slot is as it was.
 * slot itself is the caller's alone, so a node with one reference can not get another meanwhile. */
static struct trie *own(struct trie **slot, bool is_inner_wanted)
{
	struct trie *n = *slot, *copy;

	if (atomic_load_explicit(&n->references, memory_order_acquire) == 1 && (n->is_inner || !is_inner_wanted))
		return n;
	copy = node_create(&n->key, n->len_bits, n->is_inner || is_inner_wanted, n->value);
	if (!copy)
		return NULL;
	if (n->is_inner) {
		copy->child[0] = trie_ref(n->child[0]);
		copy->child[1] = trie_ref(n->child[1]);
	}
	trie_unref(n);
	*slot = copy;
	return copy;
}

/* Puts a node above the one in slot, whose first common_bits are p's too. */
static int fork_at(struct trie **slot, const struct prefix *p, unsigned common, uint32_t value)
{
	struct trie *below = *slot, *leaf = NULL;
	struct trie *fork = node_create(&p->addr, common, true, common == p->len_bits ? value : 0);

	if (!fork)
		return -ENOMEM;
	if (common < p->len_bits) {
		leaf = node_create(&p->addr, p->len_bits, false, value);
		if (!leaf) {
			free(fork);
			return -ENOMEM;
		}
		fork->child[bit_at(&p->addr, common)] = leaf;
	}
	fork->child[bit_at(&below->key, common)] = below;
	*slot = fork;
	return 1;
}

static int insert(struct trie **slot, const struct prefix *p, uint32_t value)
{
	while (*slot) {
		struct trie *n = *slot;
		unsigned common = common_bits(&n->key, &p->addr, n->len_bits < p->len_bits ? n->len_bits : p->len_bits);

		if (common < n->len_bits)
			return fork_at(slot, p, common, value);
		n = own(slot, n->len_bits < p->len_bits);
		if (!n)
			return -ENOMEM;
		if (n->len_bits == p->len_bits) {
			n->value = value & TRIE_VALUE_MAX;
			return 1;
		}
		slot = &n->child[bit_at(&p->addr, n->len_bits)];
	}
	*slot = node_create(&p->addr, p->len_bits, false, value);
	return *slot ? 1 : -ENOMEM;
}

/* p is there. */
static int take_out(struct trie **slot, const struct prefix *p)
{
	struct trie **above = NULL, *n, *only;

	while ((n = *slot)->len_bits != p->len_bits) {
		n = own(slot, true);
		if (!n)
			return -ENOMEM;
		above = slot;
		slot = &n->child[bit_at(&p->addr, n->len_bits)];
	}
	if (n->is_inner && n->child[0] && n->child[1]) {
		n = own(slot, true);
		if (!n)
			return -ENOMEM;
		n->value = 0;
		return 1;
	}
	only = n->is_inner ? n->child[n->child[1] != NULL] : NULL;
	*slot = trie_ref(only);
	trie_unref(n);
	if (!only && above && !(*above)->value) {
		/* A fork with one way left. It is ours alone, and its child's reference goes to the place above. */
		n = *above;
		*above = n->child[n->child[1] != NULL];
		free(n);
	}
	return 1;
}

int trie_set(struct trie **root, const struct prefix *p, uint32_t value, uint32_t *ret_before)
{
	uint32_t before = trie_get(*root, p);
	int rc = before == value ? 0 : value ? insert(root, p, value) : take_out(root, p);

	if (rc >= 0)
		*ret_before = before;
	return rc;
}

uint32_t trie_get(const struct trie *root, const struct prefix *p)
{
	const struct trie *n = root;

	while (n && n->len_bits < p->len_bits && covers(n, &p->addr))
		n = child_towards(n, &p->addr);
	return n && n->len_bits == p->len_bits && addr_equal(&n->key, &p->addr) ? n->value : 0;
}

uint32_t trie_find(const struct trie *root, const struct addr *a, unsigned max_len_bits, struct prefix *ret)
{
	unsigned min_len_bits = addr_is_v4(a) ? V4_HEAD_BITS : 0;
	const struct trie *best = NULL;

	for (const struct trie *n = root; n && n->len_bits <= max_len_bits && covers(n, a); n = child_towards(n, a))
		if (n->value && n->len_bits >= min_len_bits)
			best = n;
	if (!best)
		return 0;
	if (ret)
		*ret = prefix_of(best);
	return best->value;
}

static int walk(const struct trie *n, int (*each)(void *ctx, const struct prefix *p, uint32_t value), void *ctx)
{
	int rc = 0;

	while (n && rc >= 0) {
		struct prefix p = prefix_of(n);

		if (n->value)
			rc = each(ctx, &p, n->value);
		if (rc >= 0)
			rc = walk(child_of(n, 0), each, ctx);
		n = child_of(n, 1);
	}
	return rc < 0 ? rc : 0;
}

int trie_walk(const struct trie *root, const struct prefix *within, int (*each)(void *ctx, const struct prefix *p, uint32_t value),
              void *ctx)
{
	const struct trie *n = root;

	if (!within)
		return walk(n, each, ctx);
	while (n && n->len_bits < within->len_bits && covers(n, &within->addr))
		n = child_towards(n, &within->addr);
	return n && n->len_bits >= within->len_bits && prefix_contains(within, &n->key) ? walk(n, each, ctx) : 0;
}

struct diff {
	int (*changed)(void *ctx, const struct prefix *p, uint32_t before, uint32_t after);
	void *ctx;
};

static int gone(void *ctx, const struct prefix *p, uint32_t value)
{
	const struct diff *d = ctx;

	return d->changed(d->ctx, p, value, 0);
}

static int come(void *ctx, const struct prefix *p, uint32_t value)
{
	const struct diff *d = ctx;

	return d->changed(d->ctx, p, 0, value);
}

static int diff(struct diff *d, const struct trie *before, const struct trie *after);

/* outer is shorter and covers inner; the two stand at the same place of the two versions. */
static int diff_nested(struct diff *d, const struct trie *outer, const struct trie *inner, bool is_outer_before)
{
	struct prefix p = prefix_of(outer);
	unsigned towards = bit_at(&inner->key, outer->len_bits);
	int rc = outer->value ? (is_outer_before ? gone : come)(d, &p, outer->value) : 0;

	for (unsigned side = 0; side < 2 && rc >= 0; side++) {
		const struct trie *child = child_of(outer, side), *other = side == towards ? inner : NULL;

		rc = is_outer_before ? diff(d, child, other) : diff(d, other, child);
	}
	return rc;
}

static int diff(struct diff *d, const struct trie *before, const struct trie *after)
{
	struct prefix p;
	int rc = 0;

	if (before == after)
		return 0;
	if (!after)
		return walk(before, gone, d);
	if (!before)
		return walk(after, come, d);
	if (before->len_bits < after->len_bits && covers(before, &after->key))
		return diff_nested(d, before, after, true);
	if (after->len_bits < before->len_bits && covers(after, &before->key))
		return diff_nested(d, after, before, false);
	if (before->len_bits != after->len_bits || !addr_equal(&before->key, &after->key)) {
		rc = walk(before, gone, d);
		return rc < 0 ? rc : walk(after, come, d);
	}
	p = prefix_of(before);
	if (before->value != after->value)
		rc = d->changed(d->ctx, &p, before->value, after->value);
	for (unsigned side = 0; side < 2 && rc >= 0; side++)
		rc = diff(d, child_of(before, side), child_of(after, side));
	return rc;
}

int trie_diff(const struct trie *before, const struct trie *after,
              int (*changed)(void *ctx, const struct prefix *p, uint32_t before, uint32_t after), void *ctx)
{
	struct diff d = { .changed = changed, .ctx = ctx };
	int rc = diff(&d, before, after);

	return rc < 0 ? rc : 0;
}
