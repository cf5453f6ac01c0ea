/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/streams.h"

#include "tunnel/peer.h"
#include "tunnel/pool.h"
#include "tunnel/silence.h"

#include <stdlib.h>

/* Where memory is short it stays as it is: longer chains are slow, not wrong. */
static void table_grow(struct tunnel *t)
{
	uint32_t old_count = t->buckets_count;
	struct stream **old = t->buckets;
	struct stream **wider = calloc((size_t)old_count * 2, sizeof(*wider));

	if (!wider)
		return;
	t->buckets = wider;
	t->buckets_count = old_count * 2;
	for (uint32_t i = 0; i < old_count; i++) {
		for (struct stream *s = old[i], *next; s; s = next) {
			uint32_t b = streams_bucket(t, s->id);

			next = s->hash_next;
			s->hash_next = wider[b];
			wider[b] = s;
		}
	}
	free(old);
}

void streams_insert(struct tunnel *t, struct stream *s)
{
	uint32_t b;

	if (t->streams_count >= t->buckets_count * 2)
		table_grow(t);
	b = streams_bucket(t, s->id);
	s->hash_next = t->buckets[b];
	t->buckets[b] = s;
	s->tunnel = t;
	t->streams_count++;
	if (!streams_is_own_id(t, s->id))
		t->peer_streams_count++;
	t->streams_total++;
	t->peer->streams_total++;
}

void streams_attach(struct tunnel *t, struct stream *s)
{
	s->id = t->next_id;
	t->next_id += 2;
	window_sender_init(&s->tx, t->peer_initial_credit);
	streams_insert(t, s);
	streams_granted(t, s->budgeted_bytes);
	if (t->next_id > TUNNEL_LAST_ID)
		tunnel_drain(t, REASON_IDS_USED_UP);
}

void streams_detach(struct tunnel *t, struct stream *s)
{
	struct stream **at = &t->buckets[streams_bucket(t, s->id)];

	while (*at != s)
		at = &(*at)->hash_next;
	*at = s->hash_next;
	s->hash_next = NULL;
	s->tunnel = NULL;
	s->pending = 0;
	silence_hear(s, false); /* nobody would say that it is over */
	schedule_remove(&s->turn);
	list_remove(&s->control);
	list_remove(&s->last);
	t->budgeted_bytes -= s->budgeted_bytes;
	t->streams_count--;
	if (!streams_is_own_id(t, s->id))
		t->peer_streams_count--;
	if (s->is_reset_owed)
		t->resets_count--;
	t->peer->rx_bytes += s->rx.received;
	t->peer->tx_bytes += s->tx.sent;
	if (!t->streams_count) {
		t->idle_since = pool_now(t->pool);
		if (t->state == TUNNEL_DRAINING)
			tunnel_want_send(t, FRAME_LINK_LIGHT); /* its turn finds that it is over */
	}
}

/* --- the credit that they share --- */

uint64_t streams_credit(const struct tunnel *t)
{
	return t->budgeted_bytes * 2 > TUNNEL_CREDIT_MIN_BYTES ? t->budgeted_bytes * 2 : TUNNEL_CREDIT_MIN_BYTES;
}

bool streams_owe_credit(const struct tunnel *t)
{
	uint64_t credit = streams_credit(t);

	return t->rx_consumed + credit > t->rx_limit && t->rx_consumed + credit - t->rx_limit >= credit / 4;
}

static void tunnel_check_credit(struct tunnel *t)
{
	if (!streams_owe_credit(t))
		return;
	t->pending |= TUNNEL_SEND_CREDIT;
	tunnel_want_send(t, FRAME_LINK_LIGHT);
}

void streams_granted(struct tunnel *t, uint64_t bytes)
{
	t->budgeted_bytes += bytes;
	tunnel_check_credit(t);
}

void streams_consumed(struct tunnel *t, uint64_t len_bytes)
{
	t->rx_consumed += len_bytes;
	tunnel_check_credit(t);
}
