/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/schedule.h"

#include <stddef.h>

void schedule_init(struct schedule *s)
{
	list_init(&s->fresh);
	list_init(&s->rest);
}

void schedule_entry_init(struct schedule_entry *e)
{
	list_init(&e->link);
	e->deficit_bytes = 0;
}

bool schedule_is_empty(const struct schedule *s)
{
	return list_is_empty(&s->fresh) && list_is_empty(&s->rest);
}

bool schedule_has(const struct schedule_entry *e)
{
	return list_is_linked(&e->link);
}

void schedule_add(struct schedule *s, struct schedule_entry *e)
{
	if (schedule_has(e))
		return;
	/* One that comes back again and again with a little each time pays for it out of one quantum; only then it queues. */
	list_append(e->deficit_bytes >= 0 ? &s->fresh : &s->rest, &e->link);
}

void schedule_remove(struct schedule_entry *e)
{
	list_remove(&e->link);
}

struct schedule_entry *schedule_next(struct schedule *s, int32_t quantum_bytes)
{
	for (;;) {
		struct list *head = list_is_empty(&s->fresh) ? &s->rest : &s->fresh;
		struct list *first = head->next;
		struct schedule_entry *e;

		if (first == head)
			return NULL;
		e = container_of(first, struct schedule_entry, link);
		if (e->deficit_bytes > 0)
			return e;
		/* A fresh one begins with its quantum and stays in front; one that has used it up goes behind the others. */
		if (head == &s->fresh && e->deficit_bytes == 0) {
			e->deficit_bytes = quantum_bytes;
			return e;
		}
		e->deficit_bytes += quantum_bytes;
		list_remove(first);
		list_append(&s->rest, first);
	}
}

void schedule_charge(struct schedule_entry *e, uint32_t len_bytes)
{
	/* -1 at least: a fresh entry with 0 would be given a new quantum in front of all others. */
	e->deficit_bytes -= (int32_t)len_bytes;
	if (e->deficit_bytes == 0)
		e->deficit_bytes = -1;
}
