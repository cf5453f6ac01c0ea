/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hello.h - what we tell other nodes of ourselves: HELLO, and PAIR when what that said of the pair has changed. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_HELLO_H
#define CULVERT_TUNNEL_HELLO_H

#include "cluster/view.h"
#include "tunnel/link.h"

struct peer;
struct pool;

/* Sends the link's HELLO to the peer, before all else on it. Without memory nothing is sent: the other side's deadline ends the link. */
void hello_send(struct pool *pool, struct link *l, const uint8_t tunnel_id[16], struct peer *to);
/* What is so now of the pair that we make with the peer. */
void hello_describe_pair(const struct pool *pool, const struct peer *to, struct frame_pair *ret);
/* How many nodes a view holds enrolled, and the hash over their names. */
void hello_hash_enrolled(const struct view *v, uint32_t *ret_count, uint8_t ret_hash[FRAME_HASH_BYTES]);

#endif
