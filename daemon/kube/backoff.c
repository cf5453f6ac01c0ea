/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/backoff.h"

/* splitmix64: good enough to spread, and the same in each run of a test. */
static uint64_t next(struct backoff *b)
{
	uint64_t z = b->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t backoff_between(struct backoff *b, uint32_t least_ms, uint32_t most_ms)
{
	return least_ms + (uint32_t)(next(b) % ((uint64_t)most_ms - least_ms + 1));
}

uint32_t backoff_failed(struct backoff *b)
{
	unsigned doublings = b->failures < 16 ? b->failures : 16;
	uint64_t bound = (uint64_t)BACKOFF_FIRST_MS << doublings;

	b->failures++;
	return backoff_between(b, 0, bound < BACKOFF_MAX_MS ? (uint32_t)bound : BACKOFF_MAX_MS);
}

void backoff_good(struct backoff *b)
{
	b->failures = 0;
}
