/* SPDX-License-Identifier: GPL-3.0-or-later */
/* review.h - what a new view means for a worker's peers and streams: nodes that left are cut, streams whose address another node has now are
 * reset, those that wait are judged again, and peers hear of their pair. One pod's change costs what concerns that pod, whatever the number of
 * streams. pool_set_view is here. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_REVIEW_H
#define CULVERT_TUNNEL_REVIEW_H

#include "base/list.h"

struct pool;
struct stream;

enum { REVIEW_BUCKETS = 1024 }; /* a power of two; a changed address costs a walk through one of them */

/* The pool's streams by the address at the other node. */
struct review {
	struct list buckets[REVIEW_BUCKETS];
};

void review_init(struct pool *p);
void review_add(struct pool *p, struct stream *s);
/* Counts and hashes who is enrolled by the view in force. */
void review_enrolled(struct pool *p);

#endif
