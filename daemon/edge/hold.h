/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hold.h - a worker's way to the SYNs that the edge programs took out: they come by a ring, go on into the private namespace, are answered, or go on
 * their way in the clear. Knows nothing of streams. Made and used in the worker's thread, which is in the private namespace. Needs CAP_NET_RAW: what is sent has
 * addresses that are not ours. */
#ifndef CULVERT_EDGE_HOLD_H
#define CULVERT_EDGE_HOLD_H

#include "edge/netns.h"
#include "edge/passing.h"
#include "net/loop.h"
#include "tunnel/syn.h"

struct hold;

/* on_syn is called from the loop for each SYN, also each time that one is sent again. 0, or -errno with a sentence in error; the thread is in
 * the private namespace afterwards. n is borrowed, passing copied. */
int hold_create(struct loop *loop, const struct edge_netns *n, const struct passing *passing,
                void (*on_syn)(void *ctx, const struct syn *s), void *ctx, struct hold **ret, char error[EDGE_ERROR_BYTES]);
void hold_destroy(struct hold *h); /* NULL is welcome */

/* The ring, for capture_set_hold; the hold's own. */
int hold_ring_fd(const struct hold *h);

/* The SYN goes on into the private namespace, where the worker's listener answers it. One that finds no room is lost: the client sends it again. */
void hold_release(struct hold *h, const struct syn *s);
/* The client gets the answer, by way of the node's netfilter, as if it came from the far side. SYN_SILENCE: nothing. SYN_PASS: the SYN leaves the node as it was
 * about to, and the connection passes from then on. */
void hold_answer(struct hold *h, const struct syn *s, const struct syn_answer *answer);

#endif
