/* SPDX-License-Identifier: GPL-3.0-or-later */
/* syns.h - what becomes of the SYNs of node1's pods in tests: let in, or answered. What does not come fails the test. */
#ifndef CULVERT_TESTS_UNIT_TUNNEL_SYNS_H
#define CULVERT_TESTS_UNIT_TUNNEL_SYNS_H

#include "pair.h"

/* A condition for pair_pump, ctx is this: so many were answered. */
struct syns_count {
	const struct side *side;
	int count;
};

bool syns_are_answered(void *ctx);

/* So many are let in, and no more. */
void syns_expect_released(struct pair *p, int count);
/* The only one is answered so, and nothing is left of it. */
void syns_expect_answer(struct pair *p, enum syn_answer_kind answer);

#endif
