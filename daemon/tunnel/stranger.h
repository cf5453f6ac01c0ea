/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stranger.h - links that other nodes make to us, until their HELLO has said what they are: the light link of a new tunnel, or the bulk link of one that is
 * there. One whose lane is another worker's moves there, whole: nothing was sent on it yet, and who connected says nothing before our HELLO.
 * pool_accept_link and pool_take_moved are here. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_STRANGER_H
#define CULVERT_TUNNEL_STRANGER_H

#include "tunnel/frame.h"

struct link;
struct pool;

/* On its way from one worker to another: it is in nobody's loop. What was read behind its HELLO goes along. */
struct moved_link {
	struct link *link;
	struct frame_hello hello;
};
void moved_link_destroy(struct moved_link *m); /* any thread; NULL is welcome */

/* Closes them all; who connected tries again. */
void strangers_close(struct pool *p);

#endif
