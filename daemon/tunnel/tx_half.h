/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tx_half.h - the half of a stream that leads from its pod to the tunnel: what is read, and every frame that the stream sends.
 * Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_TX_HALF_H
#define CULVERT_TUNNEL_TX_HALF_H

#include "tunnel/stream.h"

/* The stream has these frames to send (enum stream_pending). Without a tunnel they are only noted. */
void stream_wants_frames(struct stream *s, uint16_t pending);
/* Does it want a turn to send data? Puts it into its link's schedule, or takes it out. */
void stream_update_turn(struct stream *s);
/* It is read though no event said that there is something; so an urgent byte may be there that was not announced either. */
void stream_read_unannounced(struct stream *s);
/* Reads from the pod into DATA frames on l, at most max_bytes. Returns what was read; sets whether the stream wants another turn. */
size_t stream_send_data(struct stream *s, struct link *l, size_t max_bytes);
/* Puts the frames that are pending on l: END or RESET where is_last, else all others. false: the link has no room. May end the stream. */
bool stream_send_frames(struct stream *s, struct link *l, bool is_last);
/* Takes the error that the pod's socket announced. */
void stream_pod_failed(struct stream *s);

#endif
