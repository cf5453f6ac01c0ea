/* SPDX-License-Identifier: GPL-3.0-or-later */
/* backoff.h - how long to wait before the next try, so that many who lost the same server do not come back to it together.
 * Plain data; one thread. */
#ifndef CULVERT_KUBE_BACKOFF_H
#define CULVERT_KUBE_BACKOFF_H

#include <stdint.h>

enum {
	BACKOFF_FIRST_MS = 1000,
	BACKOFF_MAX_MS = 30000, /* an API server that is back is found within this */
};

struct backoff {
	uint64_t random; /* state of the generator; seeded by the owner, differently on each node */
	unsigned failures;
};

/* Uniform, from least_ms to most_ms, both included. */
uint32_t backoff_between(struct backoff *b, uint32_t least_ms, uint32_t most_ms);
/* One more failure: anything from 0 to a bound that doubles with each ("full jitter": the widest spread). */
uint32_t backoff_failed(struct backoff *b);
void backoff_good(struct backoff *b); /* the next failure is the first again */

#endif
