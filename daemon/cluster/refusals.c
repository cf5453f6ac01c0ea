/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/refusals.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void refusals_begin(struct refusals *f, uint64_t key)
{
	for (size_t i = 0; i < f->count; i++)
		f->items[i].is_stale |= f->items[i].key == key;
}

bool refusals_add(struct refusals *f, uint64_t key, const char *object, const char *text)
{
	struct refusal fresh = { .since_s = time(NULL), .key = key };

	(void)snprintf(fresh.object, sizeof(fresh.object), "%s", object);
	(void)snprintf(fresh.text, sizeof(fresh.text), "%s", text);
	for (size_t i = 0; i < f->count; i++) {
		struct refusal *known = &f->items[i];

		if (known->key == key && strcmp(known->object, fresh.object) == 0 && strcmp(known->text, fresh.text) == 0) {
			known->is_stale = false;
			return false;
		}
	}
	f->total++;
	if (f->count < REFUSALS_MAX)
		f->items[f->count++] = fresh;
	return true;
}

void refusals_end(struct refusals *f, uint64_t key)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++) {
		if (f->items[i].key == key && f->items[i].is_stale)
			continue;
		if (kept != i)
			f->items[kept] = f->items[i];
		kept++;
	}
	f->count = kept;
}
