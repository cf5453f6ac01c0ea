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

/* How a node is reached now. */
struct pair_reach {
	bool is_up;     /* a tunnel to it takes streams */
	bool is_silent; /* its tunnels get no answer */
};

#endif
