/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rx_half.h - the half of a stream that leads from the tunnel to its pod: what the peer sent, until the pod's socket has it.
 * Each function may close the stream. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_RX_HALF_H
#define CULVERT_TUNNEL_RX_HALF_H

#include "tunnel/stream.h"

/* Data in order; the bytes were checked against the window. Parts lie in the link's buffer. is_end_next: stream_on_end is called next, so that the
 * pod gets both in one packet. */
void stream_deliver(struct stream *s, const struct iovec *part, int parts, size_t len_bytes, bool is_end_next);
/* The last byte that was received is urgent: said before it is delivered. */
void stream_on_urgent(struct stream *s);
/* Puts data aside that came before the SWITCH; its last byte may be urgent. false: no memory. */
bool stream_stash(struct stream *s, const void *bytes, size_t len_bytes, bool is_urgent);
/* How much of what was received lies aside. */
static inline size_t stream_stashed(const struct stream *s)
{
	return s->stash ? s->stash->len_bytes : 0;
}
void stream_on_end(struct stream *s); /* rx.received is the final offset */
void stream_on_switch(struct stream *s, enum frame_link link);
void stream_on_window(struct stream *s, uint8_t flags, const struct frame_window *m); /* may fail the tunnel */
/* The pod's socket takes more: hands over what lies here, and the end behind it. */
void stream_flush_queue(struct stream *s);
/* The end that came is passed on where nothing lies here any more, and a connection that has ended both ways goes. */
void stream_pass_end(struct stream *s);
/* Memory is short: an idle stream is asked to give credit back. */
void stream_reclaim(struct stream *s);

#endif
