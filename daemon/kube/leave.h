/* SPDX-License-Identifier: GPL-3.0-or-later */
/* leave.h - a daemon that is told to end asks why: is Culvert being taken out of the cluster, or of this node, or is it only a restart?
 * Taken out: its DaemonSet, its namespace or that of the records is gone or being deleted, its Node is gone, or the Node is annotated
 * culvert.dev/enrolled: "false". A Node that is being deleted and is still there is asked for again: until it is gone others hold it enrolled.
 * Without an answer it is a restart: then what is pinned stays and refuses. Thread: main. */
#ifndef CULVERT_KUBE_LEAVE_H
#define CULVERT_KUBE_LEAVE_H

#include "kube/source.h"

struct leave;

enum {
	LEAVE_TEXT_BYTES = 640,
	/* Rights may go a moment before the last thing that tells of the end (helm deletes object after object). */
	LEAVE_BOUND_MS = 8000,
	LEAVE_AGAIN_MS = 500,
};

struct leave_settings {
	const char *self;
	const char *daemonset; /* "": it runs without one */
};

/* Called once, from the loop: text says why, or what was not answered. */
typedef void (*leave_fn)(void *ctx, bool is_leaving, const char *text);

/* source is borrowed, s is copied. 0 or -ENOMEM. */
int leave_ask(struct loop *loop, struct source *source, const struct leave_settings *s, leave_fn done, void *ctx, struct leave **ret);
void leave_destroy(struct leave *l); /* NULL is welcome; before done it is not called any more. Not from done */

#endif
