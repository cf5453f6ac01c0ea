/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hello.h - what our HELLO says. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_HELLO_H
#define CULVERT_TUNNEL_HELLO_H

#include "tunnel/link.h"

struct pool;

/* Sends the link's HELLO, before all else on it. Without memory nothing is sent: the other side's deadline ends the link. */
void hello_send(struct pool *pool, struct link *l, const uint8_t tunnel_id[16], bool is_peer_enrolled);

#endif
