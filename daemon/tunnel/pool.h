/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pool.h - all of one worker's tunnels and streams: what they share, and what changes for all of them.
 * Built by the engine for each worker; no pool knows another. What a turn does is in turn.h. Thread: the worker's, except where a function says otherwise. */
#ifndef CULVERT_TUNNEL_POOL_H
#define CULVERT_TUNNEL_POOL_H

#include "base/log.h"
#include "cluster/name.h"
#include "cluster/view.h"
#include "net/loop.h"
#include "net/sock.h"
#include "tls/tls.h"
#include "tunnel/budget.h"
#include "tunnel/ended.h"
#include "tunnel/held.h"
#include "tunnel/lanes.h"
#include "tunnel/link.h"
#include "tunnel/listener.h"
#include "tunnel/peer.h"
#include "tunnel/reason.h"
#include "tunnel/review.h"
#include "tunnel/silence.h"

#include <sys/uio.h>

struct moved_link;

/* What the pool needs from outside; called in the worker's thread. */
struct pool_ops {
	/* A socket that connects to another node, in the node's namespace. Descriptor, *ret_pending, or -errno. */
	int (*connect_node)(void *ctx, const struct endpoint *dst, bool *ret_pending);
	/* A socket that connects to a pod of this node under the client's address, in the private namespace. Descriptor, *ret_pending, or -errno. */
	int (*connect_pod)(void *ctx, const struct endpoint *client, const struct endpoint *server, bool is_ack_late, bool *ret_pending);
	/* A SYN that was held: lets it go on to the listener; answers it in the place of the far side. */
	void (*release_syn)(void *ctx, const struct syn *s);
	void (*answer_syn)(void *ctx, const struct syn *s, const struct syn_answer *answer);
	/* The first tunnel to a node is up, or the last is gone; the first is answered, or none is any more. */
	void (*peer_reach)(void *ctx, const char *node, struct pair_reach reach);
	/* The node has said what it holds true of the pair (PAIR_NOT_ENROLLED: nothing; also asked again and again). What holds now here. */
	enum pair_state (*hear_peer)(void *ctx, const char *node, enum pair_state said);
	/* A pod of the node does not answer on a connection of a pod here (local), or does again: what local sends on it is dropped meanwhile.
	 * 0 or -errno: nothing has changed. */
	int (*silence_flow)(void *ctx, const char *node, const struct endpoint *local, const struct endpoint *remote, bool is_silent);
	/* Does a pod answer, by what the kernel knows of its connection? 0 or -errno. */
	int (*ask_pod)(void *ctx, int fd, struct sock_answers *ret);
	/* After pool_drain: the last stream has ended, or the time is over and the rest was reset. */
	void (*drained)(void *ctx);

	/* The others are called only where there are several workers. */

	/* Which lane of the node this worker is (tunnel/lanes.h): 0..workers-1. */
	uint32_t (*lane_of)(void *ctx, const char *node);
	/* A connection of the node belongs to its lane of that number, which is another worker's. Takes m, for pool_take_moved there. */
	void (*move_link)(void *ctx, const char *node, uint32_t lane, struct moved_link *m);
	/* This worker is full now, or no longer. */
	void (*set_full)(void *ctx, bool is_full);
	/* It is full, and much of that is the node's traffic: another worker's tunnel to it would be good to have. Said again and again. */
	void (*want_lane)(void *ctx, uint32_t node_id);
	/* The node has restarted: what tunnels other workers have of that incarnation are dead. */
	void (*peer_restarted)(void *ctx, uint32_t node_id, uint64_t incarnation);
};

struct pool_settings {
	char node[VIEW_NODE_NAME_BYTES];
	uint64_t incarnation; /* random, not 0 */
	uint16_t tunnel_port;
	struct name_template name;
	struct budget *budget; /* shared by all pools */
	uint32_t peer_timeout_ms, idle_timeout_ms, drain_timeout_ms;
	uint64_t settings_hash;    /* to begin with */
	uint32_t workers;          /* how many pools the node has; 0 is 1 */
	uint32_t tunnels_per_peer; /* lanes that we make; 0 is 1 */
};

/* Successive data of one stream, handed to its pod with one call. */
struct pool_delivery {
	struct stream *stream;
	struct iovec part[LINK_RECORDS_MAX];
	int parts;
	size_t len_bytes;
};

struct pool_counters {
	uint64_t closed[REASON_COUNT]; /* streams by reason */
	uint64_t accepted, requested;
	uint64_t tunnels_opened;
	uint64_t tunnels_failed[REASON_COUNT], handshakes_refused[REASON_COUNT]; /* made by us; by others */
	uint64_t accept_pauses;
	uint64_t syns_held, syns_unheld;        /* unheld: let in at once, since too many were held */
	uint64_t pods_silent, flows_unsilenced; /* pods that did not answer, stream by stream; found no room in the kernel's map */
	uint64_t foreign_claims;                /* security: a node spoke for another node's pod */
	uint64_t rx_bytes, tx_bytes;            /* of all streams, payload */
};

/* When a worker that has worked rests, and what it had done when it last looked. */
struct pool_rest {
	uint64_t bytes, streams;
	uint64_t trimmed_bytes, trimmed_streams; /* when the heap's free pages went back to the kernel */
	uint32_t ticks;                          /* without work */
};

struct pool {
	struct loop *loop;
	const struct pool_settings *settings;
	const struct pool_ops *ops;
	void *ctx;
	struct view *view;
	struct tls_ctx *tls;
	uint64_t generation; /* of tls: counts contexts */
	int64_t certificate_end_s;
	uint32_t enrolled_count; /* in view */
	uint8_t enrolled_hash[FRAME_HASH_BYTES];
	uint64_t settings_hash;
	uint32_t news; /* how often one of these three has changed: every peer is told them */
	struct link_stock stock;
	struct list streams, unknown, peers;
	struct review review;
	struct silence silence;
	struct held_table held;
	struct peer **peers_by_id; /* by view_node.id; NULL where a node has no peer */
	uint32_t peers_by_id_count;
	struct list strangers; /* accepted links that have not said HELLO */
	uint32_t streams_count, strangers_count;
	struct list rx[2], tx[2]; /* links with work, by enum frame_link */
	bool is_bulk_tx_next;
	struct instant light_active; /* when light data moved last */
	struct list acks;            /* streams whose server pods are owed the last step of their handshakes: turn_owe_ack */
	struct list openeds; /* streams whose OPENED waits one turn, and goes with an answer of the server pod if one is there by then */
	struct list ends, ends_due; /* streams whose ends wait one turn, and whose have: turn_owe_end */
	struct pool_delivery delivery;
	struct loop_timer tick, accept_pause, drain_deadline;
	struct log_limit accept_log, end_log;
	struct instant accept_behind; /* of the last batch that left connections in a listener's queue */
	struct pool_listener listeners[2];
	int listeners_count;
	bool is_draining, is_drained;
	uint8_t random[4096];
	size_t random_left;
	struct lanes lanes;
	struct pool_counters counters;
	struct pool_rest rest;
	struct ended_log ended;
};

/* Borrows settings, ops and ctx for its life; takes references of view and tls. 0 or -errno. */
int pool_create(struct loop *loop, const struct pool_settings *settings, const struct pool_ops *ops, void *ctx, struct view *view,
                struct tls_ctx *tls, int64_t certificate_end_s, struct pool **ret);
/* Resets what is left, closes all. */
void pool_destroy(struct pool *p);

/* Diverted connections come from this listener; the pool owns fd from now on. At most two. 0 or -errno. */
int pool_add_listener(struct pool *p, int fd);
/* A connection that another node made to us; takes fd. */
void pool_accept_link(struct pool *p, int fd);
/* One that another worker took, and whose HELLO names a lane that is this worker's. Takes m. */
void pool_take_moved(struct pool *p, struct moved_link *m);
/* A new view, a new context: each takes its own reference. Streams whose addresses moved are reset, tunnels of nodes that left are closed; tunnels with old certificates
 * are drained. */
void pool_set_view(struct pool *p, struct view *v);
void pool_set_tls(struct pool *p, struct tls_ctx *tls, int64_t certificate_end_s);
/* Of the settings that nodes must agree on: tells the other nodes. */
void pool_set_settings_hash(struct pool *p, uint64_t settings_hash);
/* A tunnel to that node would be good to have: a SYN waits in permissive mode, another worker is full of its traffic, or this node can not be
 * enrolled before it has reached another. So this does not ask whether the pair is. */
void pool_want_peer(struct pool *p, uint32_t node_id);
/* Another worker has found that the node has restarted: closes the tunnels of its earlier incarnation. */
void pool_peer_restarted(struct pool *p, uint32_t node_id, uint64_t incarnation);
/* No new streams; those that wait for a tunnel still get one. ops->drained when the old ones are done or drain_timeout is over. */
void pool_drain(struct pool *p);

/* --- for stream, tunnel and peer --- */
static inline struct instant pool_now(const struct pool *p)
{
	return loop_now(p->loop);
}
/* By the view, both this node and that one are. node: NULL is not. */
bool pool_is_pair_enrolled(const struct pool *p, const struct view_node *node);
int pool_reserve_peer_id(struct pool *p, uint32_t node_id); /* peers_by_id has room for it: 0 or -ENOMEM */
/* Random bytes for names, from the kernel, many at a time. */
void pool_random(struct pool *p, uint8_t *dst, size_t len_bytes);
/* Its socket is closed, which it was not in the state old: counts, notes and logs it. Then, once nothing is owed to its peer either, it is gone. */
void pool_stream_closed(struct pool *p, struct stream *s, enum stream_state old);
void pool_stream_gone(struct pool *p);
/* Something that holds up a drain is gone. */
void pool_check_drained(struct pool *p);

#endif
