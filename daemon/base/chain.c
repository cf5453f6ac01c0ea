/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/chain.h"

#include <errno.h>
#include <stdlib.h>

enum { HEADS_FIRST = 64 };

int chains_init(struct chains *t, uint64_t (*hash)(const struct chain *entry))
{
	*t = (struct chains){ .heads = calloc(HEADS_FIRST, sizeof(*t->heads)), .mask = HEADS_FIRST - 1, .hash = hash };
	return t->heads ? 0 : -ENOMEM;
}

void chains_done(struct chains *t)
{
	free(t->heads);
	*t = (struct chains){ 0 };
}

static void grow(struct chains *t)
{
	size_t mask = 2 * t->mask + 1;
	struct chain **heads = calloc(mask + 1, sizeof(*heads)), *next;

	if (!heads)
		return;
	for (size_t i = 0; i <= t->mask; i++) {
		for (struct chain *entry = t->heads[i]; entry; entry = next) {
			struct chain **head = &heads[t->hash(entry) & mask];

			next = entry->next;
			entry->next = *head;
			*head = entry;
		}
	}
	free(t->heads);
	t->heads = heads;
	t->mask = mask;
}

void chains_add(struct chains *t, struct chain *entry)
{
	struct chain **head;

	if (t->count > t->mask)
		grow(t);
	head = &t->heads[t->hash(entry) & t->mask];
	entry->next = *head;
	*head = entry;
	t->count++;
}

void chains_remove(struct chains *t, struct chain *entry)
{
	struct chain **at = &t->heads[t->hash(entry) & t->mask];

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	t->count--;
}

void chains_visit(struct chains *t, void (*visit)(void *ctx, struct chain *entry), void *ctx)
{
	struct chain *next;

	for (size_t i = 0; i <= t->mask; i++) {
		for (struct chain *entry = t->heads[i]; entry; entry = next) {
			next = entry->next;
			visit(ctx, entry);
		}
	}
}
