/* SPDX-License-Identifier: GPL-3.0-or-later */
/* admission.h - how a stream begins: a pod's connection was accepted, or a peer asked for one; who is behind its addresses, and the connection to the server pod.
 * Knows the view and the peers, nothing of what the stream carries. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_ADMISSION_H
#define CULVERT_TUNNEL_ADMISSION_H

#include "tunnel/stream.h"

/* A diverted connection that was accepted: takes fd. Errors end in a reset of fd and a counter; nothing to do for the caller. */
void stream_accepted(struct pool *pool, int fd, const struct endpoint *client, const struct endpoint *server);
/* The same for a SYN that is held: no connection is there yet. */
void stream_held(struct pool *pool, struct held *h);
/* An OPEN from a peer. The stream is in the tunnel's table afterwards, closed with a RESET to send where it can not be. 0, or -ENOMEM: nothing was made. */
int stream_requested(struct tunnel *t, uint32_t id, const struct frame_open *open);
/* Is it known now who is behind its addresses? Goes on, or keeps waiting. Called at each change of the view, and for a new stream. */
void stream_judge(struct stream *s);

/* For stream.c: begins the connection to the server pod, once more too; its socket has said something. */
void stream_dial(struct stream *s);
void stream_dial_done(struct stream *s);

#endif
