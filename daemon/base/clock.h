/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clock.h - monotonic time as a type of its own, so that it is never added to wall time or to a count.
 * A fake clock stands still until a test moves it. A clock is used by one thread. */
#ifndef CULVERT_BASE_CLOCK_H
#define CULVERT_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct instant {
	uint64_t ns; /* CLOCK_MONOTONIC */
};

struct clock {
	bool is_fake;
	struct instant fake_now;
};

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

void clock_init(struct clock *c);
void clock_init_fake(struct clock *c, uint64_t start_ns);
void clock_fake_advance(struct clock *c, uint64_t ns);
struct instant clock_now(const struct clock *c);
/* The real one, whoever's clock stands still: what the kernel calls bpf_ktime_get_ns. Any thread. */
uint64_t clock_monotonic_ns(void);

static inline struct instant instant_add_ms(struct instant t, uint64_t ms)
{
	return (struct instant){ t.ns + ms * NS_PER_MS };
}
static inline bool instant_before(struct instant a, struct instant b)
{
	return a.ns < b.ns;
}
/* 0 where later is not later. */
static inline uint64_t instant_elapsed_ns(struct instant since, struct instant later)
{
	return later.ns > since.ns ? later.ns - since.ns : 0;
}

#endif
