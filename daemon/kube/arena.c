/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/arena.h"

#include <stdlib.h>
#include <string.h>

/* The first holds nearly every object; the others hold what is large, and go with it. */
enum { FIRST_BLOCK_BYTES = 64 << 10, BLOCK_BYTES = 256 << 10 };

struct arena_block {
	struct arena_block *next;
	size_t used, cap;
	max_align_t bytes[];
};

static struct arena_block *add_block(struct arena *a, size_t len_bytes)
{
	size_t cap = a->blocks ? BLOCK_BYTES : FIRST_BLOCK_BYTES;
	struct arena_block *b;

	if (cap < len_bytes)
		cap = len_bytes;
	if (cap > ARENA_MAX_BYTES - a->taken_bytes)
		return NULL;
	b = malloc(sizeof(*b) + cap);
	if (!b)
		return NULL;
	*b = (struct arena_block){ .next = a->blocks, .cap = cap };
	a->blocks = b;
	a->taken_bytes += cap;
	return b;
}

void *arena_take(struct arena *a, size_t len_bytes)
{
	struct arena_block *b = a->blocks;
	void *ret;

	if (len_bytes > ARENA_MAX_BYTES) {
		a->is_exhausted = true;
		return NULL;
	}
	len_bytes = (len_bytes + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	if (!b || b->cap - b->used < len_bytes)
		b = add_block(a, len_bytes);
	if (!b) {
		a->is_exhausted = true;
		return NULL;
	}
	ret = (char *)b->bytes + b->used;
	b->used += len_bytes;
	return ret;
}

void *arena_take_array(struct arena *a, size_t count, size_t size)
{
	void *ret;

	if (count > ARENA_MAX_BYTES / size) {
		a->is_exhausted = true;
		return NULL;
	}
	ret = arena_take(a, count * size);
	if (ret)
		memset(ret, 0, count * size);
	return ret;
}

static void wipe(struct arena *a)
{
	for (struct arena_block *b = a->is_secret ? a->blocks : NULL; b; b = b->next)
		explicit_bzero(b->bytes, b->used);
	a->is_secret = false;
}

void arena_reset(struct arena *a)
{
	wipe(a);
	a->is_exhausted = false;
	while (a->blocks && (a->blocks->next || a->blocks->cap > FIRST_BLOCK_BYTES)) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		a->taken_bytes -= b->cap;
		free(b);
	}
	if (a->blocks)
		a->blocks->used = 0;
}

void arena_done(struct arena *a)
{
	wipe(a);
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	a->taken_bytes = 0;
}
