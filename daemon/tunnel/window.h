/* SPDX-License-Identifier: GPL-3.0-or-later */
/* window.h - flow control of one stream by absolute offsets, as in QUIC (RFC 9000, 4.1): each direction has a sender that never passes a limit
 * and a receiver that moves it. Pure arithmetic: no I/O, no clock, no memory. docs/protocol.md has the rules.
 *
 * Memory is counted by the window's size, not byte by byte: limit never passes delivered + size, but for an ASK that the sender has not accepted yet. */
#ifndef CULVERT_TUNNEL_WINDOW_H
#define CULVERT_TUNNEL_WINDOW_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	WINDOW_INITIAL_BYTES = 32 *
	                       1024, /* what a stream may send before anybody has asked: a request fits, thousands of streams cost little */
	WINDOW_FLOOR_BYTES = 4 * 1024,       /* what an idle stream keeps */
	WINDOW_MAX_BYTES = 32 * 1024 * 1024, /* about 2 Gbit/s at 100 ms, as plain TCP with Linux's largest receive buffer by default */
	WINDOW_FOLLOW_MS =
		50, /* a quarter used up within it: a window that is smaller than others' grows, to 0.2 s of its stream's rate at most */
	WINDOW_IDLE_MS = 1000, /* nothing delivered for so long: credit may be asked back */
};

struct window_sender {
	uint64_t sent;
	uint64_t limit;     /* sent <= limit */
	uint64_t delivered; /* as the receiver last said */
};

struct window_receiver {
	uint64_t received;  /* delivered <= received <= limit */
	uint64_t delivered; /* taken by the pod's socket */
	uint64_t limit;     /* the last one told to the sender */
	uint64_t asked;     /* below limit: an ASK is under way; else 0 */
	uint32_t size;      /* the window that the limit is kept ahead of delivered */
	uint32_t pad;
	struct instant updated; /* when the last WINDOW was made: tells how fast a window is used up */
	struct instant active;  /* when something was delivered last */
};

void window_sender_init(struct window_sender *w, uint32_t initial_bytes);
static inline uint64_t window_sender_room(const struct window_sender *w)
{
	return w->limit - w->sent;
}
/* len_bytes <= room. */
void window_sender_sent(struct window_sender *w, uint64_t len_bytes);

enum window_answer {
	WINDOW_TAKEN,   /* the limit grew, or was old news */
	WINDOW_ACCEPT,  /* an ASK: answer with a WINDOW frame, flag ACCEPT, delivered = sent and limit = w->limit as it is now */
	WINDOW_INVALID, /* breaks the protocol: delivered beyond sent */
};
/* A WINDOW frame from the receiver; is_ask: flag ASK. */
enum window_answer window_sender_update(struct window_sender *w, uint64_t delivered, uint64_t limit, bool is_ask);

void window_receiver_init(struct window_receiver *w, uint32_t initial_bytes, struct instant now);
/* len_bytes of DATA arrived. false: beyond the limit, the peer breaks the protocol. */
bool window_receiver_data(struct window_receiver *w, uint64_t len_bytes);
void window_receiver_delivered(struct window_receiver *w, uint64_t len_bytes, struct instant now);
/* Granted and not delivered yet: what the peer can make us hold. */
static inline uint64_t window_receiver_granted(const struct window_receiver *w)
{
	return w->limit - w->delivered;
}
/* Is a WINDOW frame due: a quarter of the window was delivered since the last? Not while an ASK is under way. */
bool window_receiver_is_due(const struct window_receiver *w);
/* Should the window grow: it was used up to a quarter within twice rtt_ns? Returns the size that would be right, w->size where it should not. */
uint32_t window_receiver_wanted(const struct window_receiver *w, uint64_t rtt_ns, struct instant now);
/* The same for a stream beside others, whose largest window is others_bytes. Where they fill the way, a window's round trip is longer than rtt_ns
 * by all that they have on it, and rtt_ns alone would leave it as small as it was when they came first. */
uint32_t window_receiver_followed(const struct window_receiver *w, uint32_t others_bytes, struct instant now);
/* Makes an update: size is w->size or a larger one that the budget has allowed. Moves limit to delivered + size, never back. */
void window_receiver_update(struct window_receiver *w, uint32_t size, struct instant now);
/* Begins an ASK for an idle stream: the window shrinks to floor_bytes. false: nothing to gain, or one is under way. The frame: flag ASK, delivered, limit = w->asked. */
bool window_receiver_ask(struct window_receiver *w, uint32_t floor_bytes, struct instant now);
/* The limit of the frame that asks, when it is made: what came since window_receiver_ask is not asked back. */
uint64_t window_receiver_asked(struct window_receiver *w);
/* The sender's ACCEPT: it will not pass limit. false: no ASK was under way, or a limit that can not be: a protocol error. */
bool window_receiver_accepted(struct window_receiver *w, uint64_t limit);

#endif
