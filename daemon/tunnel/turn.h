/* SPDX-License-Identifier: GPL-3.0-or-later */
/* turn.h - whose turn it is on a worker: the links that have work, and what is delivered to one pod by one call.
 * A turn: receive on light links -> send on light links -> at most one bulk operation, receiving and sending in turns -> pass on the ends that came in the turn
 * before. So an answer never waits behind more than one unit of bulk, nor behind what nobody waits for. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_TURN_H
#define CULVERT_TUNNEL_TURN_H

#include "tunnel/pool.h"

/* The loop's turn hook; ctx is the pool. */
enum loop_next turn_run(void *ctx);
/* The link has input: it gets a turn. */
void turn_link_woken(struct pool *p, struct link *l);
/* A server side's stream, which is open: its pod gets the last step of the handshake (RFC 9293, 3.5) behind the next receiving on light links, by itself
 * where no data has taken it along by then. Once for each stream. */
void turn_owe_ack(struct pool *p, struct stream *s);
/* The pod is told that the other side has ended, or its connection, both of whose halves have, is closed: behind the sending of the next turn, since
 * others' first words and answers are waited for. */
void turn_owe_end(struct pool *p, struct stream *s);
/* Those of the tunnel at once: what comes next must find them passed on. */
void turn_pass_ends(struct pool *p, const struct tunnel *t);

/* Adds data to the delivery in hand, which is flushed first where it is another stream's or full. */
void turn_deliver(struct pool *p, struct stream *s, const uint8_t *bytes, size_t len_bytes);
/* Hands over what is in hand. */
void turn_flush_delivery(struct pool *p, bool is_end_next);
/* Forget a stream that closes. */
void turn_forget_delivery(struct pool *p, const struct stream *s);

#endif
