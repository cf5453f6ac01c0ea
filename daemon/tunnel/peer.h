/* SPDX-License-Identifier: GPL-3.0-or-later */
/* peer.h - another node, as one worker sees it: its tunnels, the streams that wait for one, and when to try again.
 * One worker's thread. */
#ifndef CULVERT_TUNNEL_PEER_H
#define CULVERT_TUNNEL_PEER_H

#include "base/log.h"
#include "cluster/view.h"
#include "tunnel/tunnel.h"

enum {
	PEER_RETRY_MIN_MS = 100,
	PEER_RETRY_MAX_MS = 10000, /* a node that is back is found within this, and a quarter of jitter */
	PEER_ERROR_BYTES = 512,
	/* That it may make of one incarnation: cuts and new certificates leave some behind, nobody needs so many. On each worker, since none knows
	 * another: so many tunnels are cheap, and what streams hold is counted over all of them. */
	PEER_TUNNELS_MAX = 64,
};

struct peer {
	struct pool *pool;
	struct list entry; /* in the pool's list */
	char name[VIEW_NODE_NAME_BYTES];
	uint32_t node_id;
	struct list tunnels;
	struct list waiting; /* streams that a tunnel shall take */
	uint32_t waiting_count;
	bool is_wanted;               /* keep a tunnel: it had one or needs one */
	struct pair_reach told_reach; /* what the pool's owner was told last */
	uint32_t next_address;        /* which of its addresses is tried next */
	uint32_t failures;
	struct loop_timer retry;
	uint64_t incarnation;                       /* the last that it showed; 0: none yet */
	uint64_t settings_hash;                     /* as it said it last; 0: not said */
	struct instant settings_said;               /* when */
	struct frame_pair heard;                    /* what it said last of the pair; that holds while it has a tunnel */
	enum pair_state told;                       /* what we said last */
	uint32_t told_news;                         /* pool.news of that time */
	char *last_error;                           /* shorter than PEER_ERROR_BYTES; NULL: none since it was up */
	int64_t last_error_s;                       /* Unix time */
	struct log_limit log;                       /* of failed attempts */
	uint64_t wire_bytes;                        /* of its links, at the last tick: lanes.c */
	uint64_t streams_total, rx_bytes, tx_bytes; /* of streams that have ended */
	struct loop_garbage garbage;
};

/* The peer of a node, made where it is not there yet. NULL: no memory. */
struct peer *peer_get(struct pool *pool, const struct view_node *node);
/* Resets what waits and closes all tunnels. */
void peer_destroy(struct peer *p, enum close_reason reason);
/* A tunnel that takes new streams, or NULL. */
struct tunnel *peer_tunnel(const struct peer *p);
/* A stream wants a tunnel: it gets one now, or waits and a connection is begun. Where the pair is not enrolled none is made: the stream is reset. */
void peer_assign(struct peer *p, struct stream *s);
/* Begins a connection where none is under way or up. */
void peer_connect(struct peer *p);

/* Facts from tunnels. */
void peer_tunnel_up(struct peer *p,
                    struct tunnel *t);    /* HELLO is there: waiting streams get it; another incarnation ends the old tunnels */
void peer_tunnel_changed(struct peer *p); /* suspect, draining, better again */
/* Nobody has needed the tunnel, and it will be closed: where the peer has no other that is up, a new one would lie idle as well. */
void peer_tunnel_idle(struct peer *p, const struct tunnel *idle);
void peer_tunnel_closed(struct peer *p, enum close_reason reason, const char *text, bool was_up);
bool peer_is_up(const struct peer *p);
/* The node has restarted: closes the tunnels of that incarnation. */
void peer_end_incarnation(struct peer *p, uint64_t incarnation);
/* It has said what it holds true of the pair. */
void peer_hear(struct peer *p, const struct frame_pair *said);
/* What we hold true of it may have changed: tells its node where it has. */
void peer_review_pair(struct peer *p);
/* May the peer make one more? */
bool peer_takes_tunnels(const struct peer *p, uint64_t incarnation);

#endif
