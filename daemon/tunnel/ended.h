/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ended.h - the last streams that ended: why, who said so, and what they had carried.
 * A ring for each reason, so that a storm of one pushes out none of another. Memory is fixed, and is touched only for reasons that occur. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_ENDED_H
#define CULVERT_TUNNEL_ENDED_H

#include "base/addr.h"
#include "base/clock.h"
#include "cluster/view.h"
#include "tunnel/frame.h"
#include "tunnel/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

enum {
	ENDED_KEPT = 32, /* of each reason: enough to see who and where; how many there were, the counters say */
	ENDED_CAUSE_BYTES = 64,
};

/* Whose word the end was. */
enum ended_by {
	ENDED_BY_CLIENT,  /* the client pod, or its silence */
	ENDED_BY_SERVER,  /* the server pod, or its silence */
	ENDED_BY_NETWORK, /* on the way between a node and its pod: a router, a policy, the kernel's routes */
	ENDED_BY_NODE,    /* this node's daemon */
	ENDED_BY_PEER,    /* the other node's */
	ENDED_BY_COUNT
};

struct ended {
	struct endpoint client, server;
	char peer[VIEW_NODE_NAME_BYTES]; /* "": it was not known yet */
	uint32_t id;
	bool is_client_side;
	uint8_t state;            /* enum stream_state, before the end */
	uint8_t reason;           /* enum close_reason */
	uint8_t by;               /* enum ended_by */
	struct frame_cause cause; /* type 0: no ICMP error */
	struct instant created, ended;
	uint64_t sent_bytes, received_bytes; /* to the peer; from it, and handed to the pod */
};

struct ended_log {
	struct ended kept[REASON_COUNT][ENDED_KEPT];
	uint64_t total[REASON_COUNT]; /* that were noted; the newest stands at (total - 1) % ENDED_KEPT */
};

/* A stream ends in this state, at that time. Returns what was noted, which stands until ENDED_KEPT more of its reason have ended. */
const struct ended *ended_note(struct ended_log *l, const struct stream *s, uint8_t state, struct instant now);
/* The newest of a reason is 0. NULL: no more are kept. */
const struct ended *ended_at(const struct ended_log *l, enum close_reason reason, size_t i);
/* "client", "server", "network", "node", "peer". */
const char *ended_by_text(enum ended_by by);
/* "ICMP 3/1 from 10.0.0.1", or "" without an ICMP error. Returns text. */
const char *ended_cause_print(const struct frame_cause *cause, char text[ENDED_CAUSE_BYTES]);

#endif
