/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spin.h - whether a loop that has nothing to do looks again for some microseconds before it blocks.
 * Blocking lets the processor halt, and waking it again takes 10 to 30 us on virtual machines: the larger part of what a tunnel adds to a short
 * question and its answer. Looking again takes that away where the next event comes within the time, and costs a core where it does not. So it is
 * done only while events come one or two at a time and it has been paying; else one try in 32 finds out whether it would pay now. */
#ifndef CULVERT_NET_SPIN_H
#define CULVERT_NET_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SPIN_NS = 100000,      /* as long as a halted processor and the other node take together to answer, where processors are slow too */
	SPIN_LOOKS_MAX = 4096, /* bounds it where the clock stands still */
	SPIN_SLICE_NS = 1000000, /* who yielded, and was away for longer, shares the processor with one that never rests */
};

/* One thread's; zeroed before its first use. */
struct spin {
	uint32_t events_mean; /* of the last batches, in 1/16 */
	uint8_t score;        /* above 0: it has been paying */
	bool is_crowded;      /* spin_was_away was said last */
	uint16_t passed_over; /* chances since the last try */
};

/* A batch of so many events was found. */
void spin_saw(struct spin *s, int events);
/* Nothing is there: look again for SPIN_NS? Then spin_ended follows. */
bool spin_is_worth_it(struct spin *s);
/* Whether an event came within the time. */
void spin_ended(struct spin *s, bool has_hit);
/* Another used the processor for SPIN_SLICE_NS and more, and events waited for it: who blocks goes before it, who yields behind. The next try is far off. */
void spin_was_away(struct spin *s);

#endif
