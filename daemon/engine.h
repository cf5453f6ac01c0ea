/* SPDX-License-Identifier: GPL-3.0-or-later */
/* engine.h - the workers as one: starts them in the private namespace, hands them what changes, and asks them questions.
 * Thread: main, except where a function says otherwise. */
#ifndef CULVERT_ENGINE_H
#define CULVERT_ENGINE_H

#include "edge/netns.h"
#include "edge/passing.h"
#include "tunnel/pool.h"

struct engine;

enum { ENGINE_WORKERS_MAX = 8 };

struct engine_settings {
	uint32_t workers;               /* 1..ENGINE_WORKERS_MAX */
	const struct edge_netns *netns; /* borrowed */
	struct passing passing;         /* its maps are borrowed */
	bool is_holding;                /* connect: faithful; a worker that can not hold SYNs does not start */
	struct pool_settings pool;      /* copied; its budget and the number of workers are the engine's */
	uint64_t memory_bytes;
};

struct engine_ops {
	/* In a worker's thread, as are the next three: pool_ops. */
	void (*peer_reach)(void *ctx, const char *node, uint32_t worker, struct pair_reach reach);
	enum pair_state (*hear_peer)(void *ctx, const char *node, enum pair_state said);
	int (*silence_flow)(void *ctx, const char *node, const struct endpoint *local, const struct endpoint *remote, bool is_silent);
	void (*set_full)(void *ctx, uint32_t worker, bool is_full);
	/* In main's: the worker that is to make one more tunnel to the node, of so many lanes, is *ret. false: none is. */
	bool (*next_lane)(void *ctx, const char *node, uint32_t home, uint32_t lanes, uint32_t *ret);
	void (*drained)(void *ctx); /* every worker has drained */
};

/* Starts the workers. view and tls: references are taken. 0 or -errno; errors are logged with what was wrong. */
int engine_create(struct loop *loop, const struct engine_settings *settings, const struct engine_ops *ops, void *ctx, struct view *view,
                  struct tls_ctx *tls, int64_t certificate_end_s, struct engine **ret);
/* Ends the workers; what streams are left are reset. NULL is welcome. */
void engine_destroy(struct engine *e);

uint32_t engine_workers(const struct engine *e); /* NULL: not started yet, 0 */
/* The listener for diverted connections; family AF_INET or AF_INET6. It is the worker's: only for the SOCKMAP. */
int engine_listener_fd(const struct engine *e, uint32_t worker, int family);
/* The ring for the SYNs that this worker holds, or -1: it can not. */
int engine_hold_fd(const struct engine *e, uint32_t worker);
const struct budget *engine_budget(const struct engine *e); /* NULL: an empty one */

/* May be called hundreds of times a second. A view that no worker reads any more is freed by a later call, in this thread. */
void engine_set_view(struct engine *e, struct view *view);
void engine_set_tls(struct engine *e, struct tls_ctx *tls, int64_t certificate_end_s);
/* A connection that another node made: goes to that node's home worker, and from there to the one that its HELLO asks for. Takes fd. */
void engine_accept(struct engine *e, int fd, const struct endpoint *from);
void engine_want_peer(struct engine *e, uint32_t node_id);
/* Of the settings that nodes must agree on, as they are now: other nodes are told. */
void engine_set_settings_hash(struct engine *e, uint64_t settings_hash);
void engine_drain(struct engine *e);

/* Asks every worker: in_worker runs in each worker's thread with a part of its own of part_bytes, zeroed; then done in main's, with all
 * parts, in the order of workers. done frees what in_worker put into the parts. An engine that is NULL has no workers: done comes at once.
 * -ENOMEM: nothing was asked. */
int engine_ask(struct engine *e, size_t part_bytes, void (*in_worker)(struct pool *pool, void *part, void *ctx),
               void (*done)(void *ctx, void *const *parts, uint32_t parts_count), void *ctx);

#endif
