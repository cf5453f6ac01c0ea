/* SPDX-License-Identifier: GPL-3.0-or-later */
/* chain.h - an intrusive hash table: entries carry their link, so that adding never fails and costs no memory but the heads.
 * Knows nothing of keys: who looks something up walks the chain of its hash and compares. The hash has no secret (see table.h).
 * Thread: one. */
#ifndef CULVERT_BASE_CHAIN_H
#define CULVERT_BASE_CHAIN_H

#include <stddef.h>
#include <stdint.h>

struct chain {
	struct chain *next;
};

struct chains {
	struct chain **heads;
	size_t mask, count;
	uint64_t (*hash)(const struct chain *entry);
};

/* hash must give the same for an entry as long as it is in the table. 0 or -ENOMEM. */
int chains_init(struct chains *t, uint64_t (*hash)(const struct chain *entry));
void chains_done(struct chains *t); /* the entries are their owners'; a zeroed one is welcome */

/* Grows as needed; without memory for it chains get longer, and nothing else happens. */
void chains_add(struct chains *t, struct chain *entry);
void chains_remove(struct chains *t, struct chain *entry); /* it must be there */

/* The chain in which entries of this hash are, among others. */
static inline struct chain *chains_of(const struct chains *t, uint64_t hash)
{
	return t->heads[hash & t->mask];
}

/* Calls visit for every entry, in no order; visit may remove (and free) the entry that it was given, and no other. */
void chains_visit(struct chains *t, void (*visit)(void *ctx, struct chain *entry), void *ctx);

#endif
