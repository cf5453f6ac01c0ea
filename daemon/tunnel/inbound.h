/* SPDX-License-Identifier: GPL-3.0-or-later */
/* inbound.h - what comes on a tunnel's links: each frame is judged by the rules of docs/protocol.md and told to whom it concerns.
 * Thread: the tunnel's worker. */
#ifndef CULVERT_TUNNEL_INBOUND_H
#define CULVERT_TUNNEL_INBOUND_H

#include "tunnel/tunnel.h"

/* One turn of a link: takes in what is there, at most max_bytes and a bounded number of deliveries. Returns whether the link has more of it. The tunnel may be
 * gone afterwards. */
bool inbound_turn(struct tunnel *t, struct link *l, size_t max_bytes);

#endif
