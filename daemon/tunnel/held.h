/* SPDX-License-Identifier: GPL-3.0-or-later */
/* held.h - clients' SYNs that wait for the far side (connect: faithful): found again when they are sent again, and when the connection is
 * accepted; bounded for each source, each device and in all; given up when the client has. Knows a stream only as what a SYN stands for.
 * Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_HELD_H
#define CULVERT_TUNNEL_HELD_H

#include "base/list.h"
#include "net/loop.h"
#include "tunnel/frame.h"
#include "tunnel/reason.h"
#include "tunnel/syn.h"

#include <stdbool.h>

struct pool;
struct stream;

enum {
	HELD_BUCKETS = 1024,
	HELD_MAX =
		4096, /* in all: 5 MB with their streams. Of one device as many as are still free, so that there is always room for others */
	HELD_SOURCE_MAX = 256,  /* of one address behind one device; what is more than one of these is let in at once */
	HELD_SILENCE_MS = 2500, /* beyond twice the time between its last two SYNs: the client has given up */
	/* From our SYN-ACK to the client's answer, which comes from its kernel, on this node. Shorter than the 200 ms for which the far side's kernel
	 * keeps its own answer back, by a round trip between the nodes: so the server pod has not seen a client that is not there. */
	HELD_HANDSHAKE_MS = 100,
	HELD_TAKEN_MAX = 1024, /* connections that were accepted last; a SYN of one of these waits in the ring for a batch or two */
	HELD_OVER_MS = 3000,   /* the far side has ended it since: what is accepted so late all the same is reset */
};

/* Of the pool. */
struct held_table {
	struct list buckets[HELD_BUCKETS], sources[HELD_BUCKETS];
	struct list all;
	uint32_t count;
	uint64_t salt;                  /* pods choose their ports */
	uint64_t taken[HELD_TAKEN_MAX]; /* hashes of endpoints and sequence number, each at its own place */
};

/* A pod by its device and its address: where the network lets it send under a neighbour's, it does so from a device of its own, but for a bridge.
 * And each device as a whole: an address of all zeros. */
struct held_source {
	struct list entry;
	struct addr addr;
	uint32_t device;
	uint32_t count;
};

struct held {
	struct list entry, all;
	struct loop_garbage garbage;
	struct stream *stream; /* NULL: it ended after the SYN was let in, so what is accepted is reset */
	struct held_source *source, *device;
	struct instant seen, released; /* the SYN came last; it was let in */
	uint32_t gap_ms;               /* between its last two times */
	bool is_released;
	struct syn syn;
};

void held_init(struct pool *p);
void held_done(struct pool *p); /* streams are gone already */

/* A SYN from the kernel: a new stream, or one that is there already. */
void pool_take_syn(struct pool *p, const struct syn *s);
/* The far side has connected: the client may. */
void held_release(struct pool *p, struct held *h);
/* The tunnel that took it does not answer: once more, from the beginning. */
void held_begin_anew(struct pool *p, struct held *h, enum close_reason reason);
/* The stream ends before the client's connection was accepted: it is told, if that is the far side's word; where no tunnel took it, and it may
 * pass, it does. cause: the ICMP error that said so; NULL: none. */
void held_end(struct pool *p, struct held *h, enum close_reason reason, const struct frame_cause *cause);

enum held_found { HELD_NONE, HELD_STREAM, HELD_OVER };
/* A connection was accepted: is it one that was held? It is no more. HELD_STREAM: *ret is its stream. HELD_OVER: it must be reset. */
enum held_found held_accept(struct pool *p, const struct endpoint *client, const struct endpoint *server, struct stream **ret);

/* Are we who is late to accept what was let in? */
bool held_is_late(const struct pool *p);

void held_tick(struct pool *p);
/* The daemon ends: what was not let in is forgotten in silence, and the next daemon gets the client's next SYN. */
void held_drain(struct pool *p);

#endif
