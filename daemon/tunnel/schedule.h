/* SPDX-License-Identifier: GPL-3.0-or-later */
/* schedule.h - whose turn it is to send on a link: deficit round robin (Shreedhar and Varghese, 1995) with a list of fresh entries that
 * goes first, as in FQ-CoDel (RFC 8290, 4.1), so that a stream with little to send does not queue behind those with much.
 * Pure order: knows nothing of streams or bytes' meaning. One thread. */
#ifndef CULVERT_TUNNEL_SCHEDULE_H
#define CULVERT_TUNNEL_SCHEDULE_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct schedule {
	struct list fresh, rest;
};

/* Embedded in what is scheduled. */
struct schedule_entry {
	struct list link;
	int32_t deficit_bytes; /* what it may still send before others have their turn */
};

void schedule_init(struct schedule *s);
void schedule_entry_init(struct schedule_entry *e);
bool schedule_is_empty(const struct schedule *s);
bool schedule_has(const struct schedule_entry *e);

/* Something may be sent for e. Harmless where it is in the schedule. One that has overdrawn waits its turn among the rest. */
void schedule_add(struct schedule *s, struct schedule_entry *e);
/* Nothing more to send, or it is gone. What it has overdrawn stays with it. */
void schedule_remove(struct schedule_entry *e);

/* The entry whose turn it is, with deficit_bytes > 0 to send; it stays in the schedule. NULL: none. quantum_bytes > 0 is what each
 * gets for a round. */
struct schedule_entry *schedule_next(struct schedule *s, int32_t quantum_bytes);
/* e has sent len_bytes. */
void schedule_charge(struct schedule_entry *e, uint32_t len_bytes);

#endif
