/* SPDX-License-Identifier: GPL-3.0-or-later */
/* refusals.h - what a cluster's objects say that can not be taken: a bounded list of what is refused now, for people.
 * Kept by key, such as an object or an address: what was refused under a key before it is judged again, and is not afterwards, goes.
 * Thread: main. */
#ifndef CULVERT_CLUSTER_REFUSALS_H
#define CULVERT_CLUSTER_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	REFUSALS_MAX = 64, /* that are remembered; more are counted: who has so many has one cause */
	REFUSAL_OBJECT_BYTES = 160,
	REFUSAL_TEXT_BYTES = 320,
};

struct refusal {
	char object[REFUSAL_OBJECT_BYTES]; /* "pod shop/cart-7", "node n1" */
	char text[REFUSAL_TEXT_BYTES];     /* one sentence */
	int64_t since_s;                   /* Unix time */
	uint64_t key;
	bool is_stale; /* its key is being judged again, and it was not found again yet */
};

struct refusals {
	struct refusal items[REFUSALS_MAX];
	size_t count;
	uint64_t total; /* that were added since the start */
};

/* Judging a key: begin, add what is refused, end. Keys are not nested. */
void refusals_begin(struct refusals *f, uint64_t key);
/* Whether it is a new one. It is also said to be new where there is no room to remember it: logging is the caller's to limit. */
bool refusals_add(struct refusals *f, uint64_t key, const char *object, const char *text);
void refusals_end(struct refusals *f, uint64_t key);

#endif
