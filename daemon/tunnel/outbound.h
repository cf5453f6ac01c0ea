/* SPDX-License-Identifier: GPL-3.0-or-later */
/* outbound.h - what goes out on a tunnel's links: control frames first, then the streams in their turns.
 * Thread: the tunnel's worker. */
#ifndef CULVERT_TUNNEL_OUTBOUND_H
#define CULVERT_TUNNEL_OUTBOUND_H

#include "tunnel/tunnel.h"

/* One turn of a link: sends what wants to be sent, at most max_bytes of data. Returns whether the link has more of it. The tunnel may be gone afterwards. */
bool outbound_turn(struct tunnel *t, struct link *l, size_t max_bytes);

#endif
