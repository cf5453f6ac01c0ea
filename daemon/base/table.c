/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 16, ADDR_BITS = 128, LENGTHS = ADDR_BITS + 1 };

struct slot {
	struct addr addr;
	uint32_t value;
	uint8_t len_bits;
	bool is_used;
};

/* The lengths that prefixes of one family have, longest first. */
struct lengths {
	uint8_t count;
	uint8_t bits[LENGTHS];
};

struct prefix_table {
	struct slot *slots; /* a power of two of them, at most half of them used */
	size_t slots_count, used;
	struct lengths v4, v6;
};

static uint64_t mix(uint64_t x)
{
	/* The finaliser of MurmurHash3: every bit of x changes every bit of the result with about even odds. */
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

uint64_t hash_bytes(const void *bytes, size_t len_bytes)
{
	const uint8_t *p = bytes;
	uint64_t hash = len_bytes, word;

	for (; len_bytes >= sizeof(word); p += sizeof(word), len_bytes -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		hash = mix(hash ^ word) + UINT64_C(0x9e3779b97f4a7c15);
	}
	word = 0;
	memcpy(&word, p, len_bytes);
	return mix(hash ^ word);
}

static uint64_t hash_prefix(const struct addr *a, unsigned len_bits)
{
	uint64_t high, low;

	memcpy(&high, a->bytes, sizeof(high));
	memcpy(&low, a->bytes + sizeof(high), sizeof(low));
	return mix(mix(high + len_bits) ^ low);
}

/* The slot that holds the prefix, or the free one where it would go. */
static struct slot *slot_of(const struct prefix_table *t, const struct addr *a, unsigned len_bits)
{
	size_t mask = t->slots_count - 1;

	for (size_t i = hash_prefix(a, len_bits) & mask;; i = (i + 1) & mask) {
		struct slot *s = &t->slots[i];

		if (!s->is_used || (s->len_bits == len_bits && addr_equal(&s->addr, a)))
			return s;
	}
}

static void lengths_add(struct lengths *l, uint8_t len_bits)
{
	uint8_t at = 0;

	while (at < l->count && l->bits[at] > len_bits)
		at++;
	if (at < l->count && l->bits[at] == len_bits)
		return;
	memmove(&l->bits[at + 1], &l->bits[at], (size_t)(l->count - at));
	l->bits[at] = len_bits;
	l->count++;
}

static int grow(struct prefix_table *t)
{
	struct prefix_table bigger = { .slots_count = t->slots_count * 2 };

	bigger.slots = calloc(bigger.slots_count, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->slots_count; i++) {
		const struct slot *s = &t->slots[i];

		if (s->is_used)
			*slot_of(&bigger, &s->addr, s->len_bits) = *s;
	}
	free(t->slots);
	t->slots = bigger.slots;
	t->slots_count = bigger.slots_count;
	return 0;
}

int prefix_table_create(size_t expected, struct prefix_table **ret)
{
	struct prefix_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->slots_count = SLOTS_MIN;
	while (t->slots_count / 2 < expected && t->slots_count < SIZE_MAX / 2)
		t->slots_count *= 2;
	t->slots = calloc(t->slots_count, sizeof(*t->slots));
	if (!t->slots) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void prefix_table_destroy(struct prefix_table *t)
{
	if (!t)
		return;
	free(t->slots);
	free(t);
}

int prefix_table_add(struct prefix_table *t, const struct prefix *p, uint32_t value)
{
	struct slot *s = slot_of(t, &p->addr, p->len_bits);

	if (s->is_used)
		return -EEXIST;
	if (t->used + 1 > t->slots_count / 2) {
		int rc = grow(t);

		if (rc < 0)
			return rc;
		s = slot_of(t, &p->addr, p->len_bits);
	}
	*s = (struct slot){ .addr = p->addr, .len_bits = p->len_bits, .value = value, .is_used = true };
	t->used++;
	lengths_add(addr_is_v4(&p->addr) ? &t->v4 : &t->v6, p->len_bits);
	return 0;
}

bool prefix_table_get(const struct prefix_table *t, const struct prefix *p, uint32_t *ret_value)
{
	const struct slot *s = slot_of(t, &p->addr, p->len_bits);

	if (!s->is_used)
		return false;
	*ret_value = s->value;
	return true;
}

bool prefix_table_find(const struct prefix_table *t, const struct addr *a, unsigned max_len_bits, struct prefix *ret_prefix,
                       uint32_t *ret_value)
{
	const struct lengths *l = addr_is_v4(a) ? &t->v4 : &t->v6;

	for (unsigned i = 0; i < l->count; i++) {
		struct prefix p = { .addr = *a, .len_bits = l->bits[i] };
		const struct slot *s;

		if (p.len_bits > max_len_bits)
			continue;
		prefix_clear_host(&p);
		s = slot_of(t, &p.addr, p.len_bits);
		if (s->is_used) {
			*ret_prefix = p;
			*ret_value = s->value;
			return true;
		}
	}
	return false;
}
