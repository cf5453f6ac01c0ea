/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stranger.h - links that other nodes make to us, until their HELLO has said what they are: the light link of a new tunnel, or the bulk link of one that is
 * there. pool_accept_link is here. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_STRANGER_H
#define CULVERT_TUNNEL_STRANGER_H

struct pool;

/* Closes them all; who connected tries again. */
void strangers_close(struct pool *p);

#endif
