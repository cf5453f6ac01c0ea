/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/turn.h"

#include "net/sock.h"
#include "tunnel/inbound.h"
#include "tunnel/outbound.h"
#include "tunnel/rx_half.h"
#include "tunnel/streams.h"
#include "tunnel/tx_half.h"

#include <sched.h>

enum {
	/* Light traffic within this: bulk goes in small units, others get the core between two turns, and a loop without work spins. */
	RECENT_NS = 2000000,
};

void turn_link_woken(struct pool *p, struct link *l)
{
	if (link_has_input(l) && !list_is_linked(&l->rx_entry))
		list_append(&p->rx[l->kind], &l->rx_entry);
}

static void receive_all(struct pool *p, enum frame_link kind, size_t unit, uint32_t max_links)
{
	struct list batch, *at;

	/* A link that has more comes behind those that wait already, and after the sending. */
	list_init(&batch);
	list_splice(&batch, &p->rx[kind]);
	while (max_links-- && (at = list_pop(&batch))) {
		struct link *l = container_of(at, struct link, rx_entry);

		if (inbound_turn(l->owner, l, unit))
			turn_link_woken(p, l);
	}
	list_splice(&batch, &p->rx[kind]);
	list_splice(&p->rx[kind], &batch);
}

static void send_all(struct pool *p, enum frame_link kind, size_t unit, uint32_t max_links)
{
	struct list batch, *at;

	list_init(&batch);
	list_splice(&batch, &p->tx[kind]);
	while (max_links-- && (at = list_pop(&batch))) {
		struct link *l = container_of(at, struct link, tx_entry);

		if (outbound_turn(l->owner, l, unit) && !list_is_linked(&l->tx_entry))
			list_append(&p->tx[kind], &l->tx_entry);
	}
	list_splice(&batch, &p->tx[kind]);
	list_splice(&p->tx[kind], &batch);
}

void turn_owe_ack(struct pool *p, struct stream *s)
{
	s->is_ack_late = false;
	list_append(&p->acks, &s->owed);
}

/* Data that came together with OPEN or TAKEN, or until now, has taken the ACK along; an end that is known will. */
static void send_acks(struct pool *p)
{
	struct list *at;

	while ((at = list_pop(&p->acks))) {
		struct stream *s = container_of(at, struct stream, owed);

		if (s->rx.delivered == 0 && s->rx_half == HALF_OPEN)
			sock_send_ack(s->source.fd);
	}
}

static void send_openeds(struct pool *p)
{
	while (!list_is_empty(&p->openeds))
		stream_wants_frames(container_of(p->openeds.next, struct stream, owed), STREAM_SEND_OPENED);
}

void turn_owe_end(struct pool *p, struct stream *s)
{
	if (!list_is_linked(&s->ending))
		list_append(&p->ends, &s->ending);
}

static void pass_ends(struct list *ends, const struct tunnel *of)
{
	list_for_each_safe(at, ends) {
		struct stream *s = container_of(at, struct stream, ending);

		if (!of || s->tunnel == of)
			stream_pass_end(s);
	}
}

void turn_pass_ends(struct pool *p, const struct tunnel *t)
{
	pass_ends(&p->ends_due, t);
	pass_ends(&p->ends, t);
}

static bool is_recent(const struct pool *p, struct instant then)
{
	return instant_elapsed_ns(then, pool_now(p)) < RECENT_NS;
}

enum loop_next turn_run(void *ctx)
{
	struct pool *p = ctx;
	bool is_light_recent = is_recent(p, p->light_active);
	size_t unit = is_light_recent ? LINK_UNIT_SMALL_BYTES : LINK_UNIT_BYTES;
	bool has_rx, has_tx, is_more;

	list_splice(&p->ends_due, &p->ends);
	send_openeds(p);
	receive_all(p, FRAME_LINK_LIGHT, LINK_UNIT_BYTES, UINT32_MAX);
	send_acks(p);
	send_all(p, FRAME_LINK_LIGHT, LINK_UNIT_BYTES, UINT32_MAX);
	/* One bulk operation, then the light links again: an answer waits for one unit and never for two. */
	has_rx = !list_is_empty(&p->rx[FRAME_LINK_BULK]);
	has_tx = !list_is_empty(&p->tx[FRAME_LINK_BULK]);
	if (has_tx && (p->is_bulk_tx_next || !has_rx)) {
		send_all(p, FRAME_LINK_BULK, unit, 1);
		p->is_bulk_tx_next = false;
	} else if (has_rx) {
		receive_all(p, FRAME_LINK_BULK, unit, 1);
		p->is_bulk_tx_next = true;
	}
	pass_ends(&p->ends_due, NULL);
	is_more = !list_is_empty(&p->rx[0]) || !list_is_empty(&p->rx[1]) || !list_is_empty(&p->tx[0]) || !list_is_empty(&p->tx[1]) ||
	          !list_is_empty(&p->openeds) || !list_is_empty(&p->acks) || !list_is_empty(&p->ends);
	/* Pods on the same core answer now instead of after the whole batch; without it the two nodes work in step, each idle half the time. */
	if (is_more && is_light_recent)
		sched_yield();
	if (is_more)
		return LOOP_NOW;
	return is_light_recent ? LOOP_SOON : LOOP_BLOCK;
}

/* --- deliveries --- */

void turn_flush_delivery(struct pool *p, bool is_end_next)
{
	struct pool_delivery *d = &p->delivery;
	struct stream *s = d->stream;

	if (!s)
		return;
	d->stream = NULL;
	stream_deliver(s, d->part, d->parts, d->len_bytes, is_end_next);
}

void turn_deliver(struct pool *p, struct stream *s, const uint8_t *bytes, size_t len_bytes)
{
	struct pool_delivery *d = &p->delivery;

	if (d->stream && (d->stream != s || d->parts == LINK_RECORDS_MAX))
		turn_flush_delivery(p, false);
	if (s->state == STREAM_CLOSED) { /* the flush found its pod gone */
		if (s->tunnel)
			streams_consumed(s->tunnel, len_bytes);
		return;
	}
	if (!d->stream) {
		d->stream = s;
		d->parts = 0;
		d->len_bytes = 0;
	}
	d->part[d->parts++] = (struct iovec){ (void *)bytes, len_bytes };
	d->len_bytes += len_bytes;
}

void turn_forget_delivery(struct pool *p, const struct stream *s)
{
	if (p->delivery.stream != s)
		return;
	p->delivery.stream = NULL;
	if (s->tunnel)
		streams_consumed(s->tunnel, p->delivery.len_bytes);
}
