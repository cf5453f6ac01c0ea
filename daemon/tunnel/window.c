/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/window.h"

#include <assert.h>

static_assert(sizeof(struct window_sender) + sizeof(struct window_receiver) <= 96,
              "a stream's windows stay small: there are thousands of streams");

void window_sender_init(struct window_sender *w, uint32_t initial_bytes)
{
	*w = (struct window_sender){ .limit = initial_bytes };
}

void window_sender_sent(struct window_sender *w, uint64_t len_bytes)
{
	assert(len_bytes <= window_sender_room(w));
	w->sent += len_bytes;
}

enum window_answer window_sender_update(struct window_sender *w, uint64_t delivered, uint64_t limit, bool is_ask)
{
	if (delivered > w->sent || limit < delivered)
		return WINDOW_INVALID;
	/* An older frame says nothing new: both numbers only grow. */
	if (delivered > w->delivered)
		w->delivered = delivered;
	if (!is_ask) {
		if (limit > w->limit)
			w->limit = limit;
		return WINDOW_TAKEN;
	}
	if (limit < w->sent)
		limit = w->sent;
	if (limit < w->limit)
		w->limit = limit;
	return WINDOW_ACCEPT;
}

void window_receiver_init(struct window_receiver *w, uint32_t initial_bytes, struct instant now)
{
	*w = (struct window_receiver){ .limit = initial_bytes, .size = initial_bytes, .updated = now, .active = now };
}

bool window_receiver_data(struct window_receiver *w, uint64_t len_bytes)
{
	if (len_bytes > w->limit - w->received)
		return false;
	w->received += len_bytes;
	return true;
}

void window_receiver_delivered(struct window_receiver *w, uint64_t len_bytes, struct instant now)
{
	assert(len_bytes <= w->received - w->delivered);
	w->delivered += len_bytes;
	w->active = now;
}

bool window_receiver_is_due(const struct window_receiver *w)
{
	if (w->asked)
		return false;
	return w->limit < w->delivered + w->size && w->delivered + w->size - w->limit >= w->size / 4;
}

uint32_t window_receiver_wanted(const struct window_receiver *w, uint64_t rtt_ns, struct instant now)
{
	uint64_t used_ns = instant_elapsed_ns(w->updated, now);

	/* A quarter goes by between two updates. If that took less than two round trips, the sender may have stood still for want of credit;
	 * the window ends at about eight times the product of bandwidth and delay. */
	if (w->size >= WINDOW_MAX_BYTES || used_ns > 2 * rtt_ns)
		return w->size;
	return w->size > WINDOW_MAX_BYTES / 2 ? WINDOW_MAX_BYTES : w->size * 2;
}

uint32_t window_receiver_followed(const struct window_receiver *w, uint32_t others_bytes, struct instant now)
{
	if (w->size >= others_bytes || instant_elapsed_ns(w->updated, now) > WINDOW_FOLLOW_MS * NS_PER_MS)
		return w->size;
	return w->size > others_bytes / 2 ? others_bytes : w->size * 2;
}

void window_receiver_update(struct window_receiver *w, uint32_t size, struct instant now)
{
	w->size = size;
	w->updated = now;
	if (w->delivered + size > w->limit)
		w->limit = w->delivered + size;
}

bool window_receiver_ask(struct window_receiver *w, uint32_t floor_bytes, struct instant now)
{
	uint64_t limit = w->delivered + floor_bytes;

	/* What is received but not delivered is held already: no asking brings it back. */
	if (limit < w->received)
		limit = w->received;
	if (w->asked || instant_elapsed_ns(w->active, now) < WINDOW_IDLE_MS * NS_PER_MS || limit >= w->limit)
		return false;
	w->asked = limit;
	w->size = floor_bytes;
	return true;
}

uint64_t window_receiver_asked(struct window_receiver *w)
{
	if (w->asked < w->received)
		w->asked = w->received;
	return w->asked;
}

bool window_receiver_accepted(struct window_receiver *w, uint64_t limit)
{
	if (!w->asked || limit > w->limit || limit < w->received)
		return false;
	w->limit = limit;
	w->asked = 0;
	return true;
}
