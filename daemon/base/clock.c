/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

#include <time.h>

void clock_init(struct clock *c)
{
	*c = (struct clock){ 0 };
}

void clock_init_fake(struct clock *c, uint64_t start_ns)
{
	*c = (struct clock){ .is_fake = true, .fake_now = { start_ns } };
}

void clock_fake_advance(struct clock *c, uint64_t ns)
{
	c->fake_now.ns += ns;
}

uint64_t clock_monotonic_ns(void)
{
	struct timespec ts;

	/* Can not fail: the clock is always there, and ts is ours. */
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

struct instant clock_now(const struct clock *c)
{
	return c->is_fake ? c->fake_now : (struct instant){ clock_monotonic_ns() };
}
