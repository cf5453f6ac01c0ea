/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pair.h - what a node knows of the pair that it makes with another one. The numbers are those of the frame PAIR (docs/protocol.md). Any thread. */
#ifndef CULVERT_CLUSTER_PAIR_H
#define CULVERT_CLUSTER_PAIR_H

#include <stdbool.h>

enum pair_state {
	PAIR_NOT_ENROLLED, /* not both are: their pods' connections pass in the clear */
	PAIR_JOINING,      /* both are: connections take a tunnel that is up, and still pass where there is none */
	PAIR_JOINED,       /* no new connection leaves in the clear */
	PAIR_STATE_COUNT
};

static inline const char *pair_state_text(enum pair_state state)
{
	return state == PAIR_JOINED ? "joined" : state == PAIR_JOINING ? "joining" : "not enrolled";
}

/* How one worker reaches a node now. */
struct pair_reach {
	bool is_up;        /* a tunnel to it takes streams */
	bool is_answering; /* a tunnel to it gets answers */
	bool is_silent;    /* there are some, and none gets any */
};

static inline bool pair_reach_equal(struct pair_reach a, struct pair_reach b)
{
	return a.is_up == b.is_up && a.is_answering == b.is_answering && a.is_silent == b.is_silent;
}

#endif
