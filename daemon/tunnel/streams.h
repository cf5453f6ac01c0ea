/* SPDX-License-Identifier: GPL-3.0-or-later */
/* streams.h - the streams of one tunnel: found by their id, counted, and the credit that they share.
 * Knows nothing of what a stream does. Thread: the tunnel's worker. */
#ifndef CULVERT_TUNNEL_STREAMS_H
#define CULVERT_TUNNEL_STREAMS_H

#include "tunnel/tunnel.h"

static inline uint32_t streams_bucket(const struct tunnel *t, uint32_t id)
{
	/* Ids of one side go up by two, so neighbours fall into neighbouring buckets; both sides' share the table. */
	return ((id >> 1) ^ (id << 7)) & (t->buckets_count - 1);
}

/* NULL: none has that id. */
static inline struct stream *streams_find(const struct tunnel *t, uint32_t id)
{
	struct stream *s = t->buckets[streams_bucket(t, id)];

	while (s && s->id != id)
		s = s->hash_next;
	return s;
}

/* Is it one that this side opens streams with? */
static inline bool streams_is_own_id(const struct tunnel *t, uint32_t id)
{
	return (id & 1) == (t->is_initiator ? 1 : 0);
}

/* Gives the stream an id and puts it into the table. May begin the tunnel's end, where ids are used up. */
void streams_attach(struct tunnel *t, struct stream *s);
/* Puts a stream into the table that has its id already. */
void streams_insert(struct tunnel *t, struct stream *s);
/* The stream leaves the table; its id is never used again. */
void streams_detach(struct tunnel *t, struct stream *s);

/* A stream of it may hold so much more: the tunnel's own credit follows, so that streams that stand still never use up that of the others. */
void streams_granted(struct tunnel *t, uint64_t bytes);
/* Bytes of a stream are done with: delivered, or discarded. */
void streams_consumed(struct tunnel *t, uint64_t len_bytes);
/* Is the peer to be told of more credit? */
bool streams_owe_credit(const struct tunnel *t);
/* How many bytes the peer may send beyond those that are done with. */
uint64_t streams_credit(const struct tunnel *t);

#endif
