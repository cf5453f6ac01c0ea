/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker.h - one thread with one loop and one mailbox.
 * What a worker does is its owner's business: the three callbacks run in the worker's thread. */
#ifndef CULVERT_NET_WORKER_H
#define CULVERT_NET_WORKER_H

#include "net/loop.h"
#include "net/mailbox.h"

struct worker;

struct worker_ops {
	/* First in the thread; a negative errno ends it and is what worker_start returns, and stop is not called. */
	int (*start)(void *ctx, struct worker *w);
	void (*message)(void *ctx, struct message *m); /* owns m */
	void (*stop)(void *ctx);                       /* last in the thread, with the loop still there */
};

/* Starts the thread, named name (at most 15 bytes), with all signals blocked, and waits for its start callback. 0 or -errno. */
int worker_start(const char *name, const struct worker_ops *ops, void *ctx, struct worker **ret);
struct loop *worker_loop(struct worker *w);            /* for the worker's own thread */
void worker_post(struct worker *w, struct message *m); /* any thread; takes m */
/* Asks the loop to end after the messages posted so far, joins the thread, destroys what was posted later, frees. NULL is welcome.
 * No other thread may post to w any more: end or silence whoever does first. */
void worker_stop(struct worker *w);

#endif
