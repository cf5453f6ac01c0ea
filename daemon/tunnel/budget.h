/* SPDX-License-Identifier: GPL-3.0-or-later */
/* budget.h - the memory that peers may make this daemon hold: the sum of the credit GRANTED to streams, over all workers.
 * Credit once granted stands, so granted is what counts, not what is in use. Any thread; one atomic, touched where credit changes and never
 * for each packet. */
#ifndef CULVERT_TUNNEL_BUDGET_H
#define CULVERT_TUNNEL_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
	uint64_t limit_bytes; /* fixed before the workers start */
	_Atomic uint64_t granted_bytes;
};

static inline void budget_init(struct budget *b, uint64_t limit_bytes)
{
	b->limit_bytes = limit_bytes;
	atomic_init(&b->granted_bytes, 0);
}
static inline bool budget_take(struct budget *b, uint64_t bytes, uint64_t limit_bytes)
{
	uint64_t now = atomic_load_explicit(&b->granted_bytes, memory_order_relaxed);

	do {
		if (now > limit_bytes || bytes > limit_bytes - now)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&b->granted_bytes, &now, now + bytes, memory_order_relaxed, memory_order_relaxed));
	return true;
}
/* For a stream that begins. All of it or nothing. */
static inline bool budget_reserve(struct budget *b, uint64_t bytes)
{
	return budget_take(b, bytes, b->limit_bytes);
}
/* For a window that grows: the last quarter is kept for streams that begin. */
static inline bool budget_reserve_growth(struct budget *b, uint64_t bytes)
{
	return budget_take(b, bytes, b->limit_bytes / 4 * 3);
}
static inline void budget_release(struct budget *b, uint64_t bytes)
{
	atomic_fetch_sub_explicit(&b->granted_bytes, bytes, memory_order_relaxed);
}
static inline uint64_t budget_granted(const struct budget *b)
{
	return atomic_load_explicit(&b->granted_bytes, memory_order_relaxed);
}
/* Above it idle streams are asked to give credit back, so that there is something left for one that begins. */
static inline bool budget_is_tight(const struct budget *b)
{
	return budget_granted(b) > b->limit_bytes / 2;
}

#endif
