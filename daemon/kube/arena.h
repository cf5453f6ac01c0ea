/* SPDX-License-Identifier: GPL-3.0-or-later */
/* arena.h - the memory of one object at a time: taken piece by piece, given back all at once, and bounded, so that a message that lies
 * about itself costs no more than the bound. Thread: one. */
#ifndef CULVERT_KUBE_ARENA_H
#define CULVERT_KUBE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

/* An object of 2 MiB whose fields are all copied once needs little more than its size; one that is made of empty fields needs 50 times
 * that, and is not honest. */
enum { ARENA_MAX_BYTES = 12 << 20 };

struct arena_block;

/* All zero is an empty one. */
struct arena {
	struct arena_block *blocks; /* the newest first */
	size_t taken_bytes;         /* of all blocks */
	bool is_exhausted;          /* since the last reset something was not given */
	bool is_secret;             /* what was taken is wiped at the next reset, which takes this mark off */
};

/* Aligned for any type; not cleared. NULL where memory or the bound is used up. */
void *arena_take(struct arena *a, size_t len_bytes);
/* The same for count things of size bytes each, cleared. */
void *arena_take_array(struct arena *a, size_t count, size_t size);
/* Everything that was taken is gone. Keeps one block for the next object. */
void arena_reset(struct arena *a);
void arena_done(struct arena *a);

#endif
