/* SPDX-License-Identifier: GPL-3.0-or-later */
/* kubernetes.h - the daemon in a cluster: its views come from the API server, its node enrols itself, and when it is told to end it asks
 * whether Culvert is being taken out. Thread: main. */
#ifndef CULVERT_KUBERNETES_H
#define CULVERT_KUBERNETES_H

#include "daemon.h"
#include "kube/enrol.h"
#include "kube/identity.h"
#include "status/snapshot.h"

/* Begins to follow the API server; nothing that is missing there is an error. 0 or -errno, logged. */
int kubernetes_start(struct daemon *d);
void kubernetes_stop(struct daemon *d); /* not started too */

/* What the kernel is to know of the API server goes there: once the capture is made; later by itself. Without a cluster there is none. */
void kubernetes_set_api_servers(struct daemon *d);

/* For the status; what it points to lives until the next turn of the loop, and as long as peers, which is what the workers know of them. */
void kubernetes_snapshot(const struct daemon *d, const struct snapshot_peer *peers, size_t peers_count, struct snapshot_cluster *ret);

/* The settings in force changed. */
void kubernetes_apply(struct daemon *d);

/* What is missing before this node can carry anything, or (where that is all there) before it is enrolled: one sentence in text. False:
 * nothing is. */
bool kubernetes_is_missing(const struct daemon *d, char text[EDGE_ERROR_BYTES]);

/* How the daemon's own asking for a certificate goes. False: it does not ask, files are mounted, or it has not begun yet. */
bool kubernetes_identity(const struct daemon *d, struct identity_state *ret);

/* TERM: asks why, then calls done once: is Culvert taken out of this node? False where it can not be asked: done was not called. */
bool kubernetes_ask_why(struct daemon *d, void (*done)(struct daemon *d, bool is_leaving));
/* Taken out: the view in force, and every one from now on, has this node as one that is not enrolled. */
void kubernetes_unenrol(struct daemon *d);

#endif
