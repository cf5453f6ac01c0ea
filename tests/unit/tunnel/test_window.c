/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel/window.h"

#include <stdlib.h>

enum { KIB = 1024 };

static struct instant at_ms(uint64_t ms)
{
	return (struct instant){ ms * NS_PER_MS };
}

/* --- the sender --- */

static void a_sender_stops_at_its_limit(void **state)
{
	struct window_sender w;

	(void)state;
	window_sender_init(&w, WINDOW_INITIAL_BYTES);
	assert_int_equal(window_sender_room(&w), WINDOW_INITIAL_BYTES);
	window_sender_sent(&w, 1000);
	assert_int_equal(window_sender_room(&w), WINDOW_INITIAL_BYTES - 1000);
	window_sender_sent(&w, WINDOW_INITIAL_BYTES - 1000);
	assert_int_equal(window_sender_room(&w), 0);
	assert_int_equal(window_sender_update(&w, 1000, WINDOW_INITIAL_BYTES + 1000, false), WINDOW_TAKEN);
	assert_int_equal(window_sender_room(&w), 1000);
	assert_int_equal(w.delivered, 1000);
}

static void a_limit_without_ask_never_falls(void **state)
{
	struct window_sender w;

	(void)state;
	window_sender_init(&w, 1000);
	window_sender_sent(&w, 600);
	assert_int_equal(window_sender_update(&w, 500, 2000, false), WINDOW_TAKEN);
	assert_int_equal(window_sender_update(&w, 400, 1500, false), WINDOW_TAKEN); /* old news */
	assert_int_equal(w.limit, 2000);
	assert_int_equal(w.delivered, 500);
	assert_int_equal(window_sender_update(&w, 600, 600, false), WINDOW_TAKEN);
	assert_int_equal(w.limit, 2000);
	assert_int_equal(w.delivered, 600);
}

static void what_can_not_be_is_invalid(void **state)
{
	struct window_sender w, before;

	(void)state;
	window_sender_init(&w, 1000);
	window_sender_sent(&w, 600);
	before = w;
	for (int is_ask = 0; is_ask < 2; is_ask++) {
		assert_int_equal(window_sender_update(&w, 601, 5000, is_ask), WINDOW_INVALID); /* delivered what was never sent */
		assert_int_equal(window_sender_update(&w, UINT64_MAX, UINT64_MAX, is_ask), WINDOW_INVALID);
		assert_int_equal(window_sender_update(&w, 500, 499, is_ask), WINDOW_INVALID); /* a limit behind what was delivered */
		assert_memory_equal(&w, &before, sizeof(w));
	}
	assert_int_equal(window_sender_update(&w, 600, 5000, false), WINDOW_TAKEN);
}

static void an_ask_gives_back_what_was_not_used(void **state)
{
	struct window_sender w;

	(void)state;
	window_sender_init(&w, 100 * KIB);
	window_sender_sent(&w, 10 * KIB);
	assert_int_equal(window_sender_update(&w, 10 * KIB, 26 * KIB, true), WINDOW_ACCEPT);
	assert_int_equal(w.limit, 26 * KIB);
	assert_int_equal(window_sender_room(&w), 16 * KIB);
	/* More was sent meanwhile than is asked to be kept: that much stands. */
	window_sender_sent(&w, 16 * KIB);
	assert_int_equal(window_sender_update(&w, 20 * KIB, 24 * KIB, true), WINDOW_ACCEPT);
	assert_int_equal(w.limit, 26 * KIB);
	assert_int_equal(window_sender_room(&w), 0);
	/* An ASK above the limit is no grant, but it is answered. */
	assert_int_equal(window_sender_update(&w, 20 * KIB, 99 * KIB, true), WINDOW_ACCEPT);
	assert_int_equal(w.limit, 26 * KIB);
	/* And credit grows again. */
	assert_int_equal(window_sender_update(&w, 26 * KIB, 42 * KIB, false), WINDOW_TAKEN);
	assert_int_equal(window_sender_room(&w), 16 * KIB);
}

/* --- the receiver --- */

static void data_beyond_the_limit_is_refused(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 1000, at_ms(1));
	assert_true(window_receiver_data(&w, 0));
	assert_true(window_receiver_data(&w, 999));
	assert_false(window_receiver_data(&w, 2));
	assert_int_equal(w.received, 999);
	assert_true(window_receiver_data(&w, 1));
	assert_false(window_receiver_data(&w, 1));
	assert_false(window_receiver_data(&w, UINT64_MAX));
	assert_int_equal(w.received, 1000);
}

static void an_update_is_due_after_a_quarter(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 64 * KIB, at_ms(1));
	assert_false(window_receiver_is_due(&w));
	assert_true(window_receiver_data(&w, 40 * KIB));
	assert_false(window_receiver_is_due(&w)); /* received is not delivered */
	window_receiver_delivered(&w, 16 * KIB - 1, at_ms(2));
	assert_false(window_receiver_is_due(&w));
	window_receiver_delivered(&w, 1, at_ms(3));
	assert_true(window_receiver_is_due(&w));
	window_receiver_update(&w, w.size, at_ms(3));
	assert_int_equal(w.limit, 80 * KIB);
	assert_int_equal(window_receiver_granted(&w), 64 * KIB);
	assert_false(window_receiver_is_due(&w));
	/* It is due however far behind it is. */
	window_receiver_delivered(&w, 24 * KIB, at_ms(4));
	assert_true(window_receiver_is_due(&w));
}

static void a_window_grows_where_the_round_trip_is_its_limit(void **state)
{
	const uint64_t rtt_ns = 10 * NS_PER_MS;
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 32 * KIB, at_ms(100));
	assert_int_equal(window_receiver_wanted(&w, rtt_ns, at_ms(120)), 64 * KIB);
	assert_int_equal(window_receiver_wanted(&w, rtt_ns, at_ms(121)), 32 * KIB); /* slow enough: it had credit all the time */
	assert_int_equal(window_receiver_wanted(&w, 0, at_ms(101)), 32 * KIB);      /* not measured yet */
	window_receiver_update(&w, 64 * KIB, at_ms(120));
	assert_int_equal(w.limit, 64 * KIB);
	/* The time counts from the last update. */
	assert_int_equal(window_receiver_wanted(&w, rtt_ns, at_ms(140)), 128 * KIB);
	assert_int_equal(window_receiver_wanted(&w, rtt_ns, at_ms(141)), 64 * KIB);
}

static void a_window_follows_larger_ones_while_it_is_used(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 32 * KIB, at_ms(100));
	assert_int_equal(window_receiver_followed(&w, 1024 * KIB, at_ms(100 + WINDOW_FOLLOW_MS)), 64 * KIB);
	assert_int_equal(window_receiver_followed(&w, 1024 * KIB, at_ms(101 + WINDOW_FOLLOW_MS)), 32 * KIB); /* it has little to carry */
	assert_int_equal(window_receiver_followed(&w, 50 * KIB, at_ms(100)), 50 * KIB);
	assert_int_equal(window_receiver_followed(&w, 32 * KIB, at_ms(100)), 32 * KIB);
	assert_int_equal(window_receiver_followed(&w, 0, at_ms(100)), 32 * KIB); /* there is no other */
	w.size = WINDOW_MAX_BYTES - 1;
	assert_int_equal(window_receiver_followed(&w, WINDOW_MAX_BYTES, at_ms(100)), WINDOW_MAX_BYTES);
}

static void a_window_ends_at_its_maximum(void **state)
{
	struct window_receiver w;
	uint32_t size = 32 * KIB;
	int steps = 0;

	(void)state;
	window_receiver_init(&w, size, at_ms(1));
	while (w.size < WINDOW_MAX_BYTES) {
		size = window_receiver_wanted(&w, NS_PER_S, at_ms(1));
		assert_int_equal(size, w.size * 2);
		window_receiver_update(&w, size, at_ms(1));
		steps++;
	}
	assert_int_equal(steps, 10);
	assert_int_equal(window_receiver_wanted(&w, NS_PER_S, at_ms(1)), WINDOW_MAX_BYTES);
	/* Also from a size that is no power of two. */
	w.size = WINDOW_MAX_BYTES - 1;
	assert_int_equal(window_receiver_wanted(&w, NS_PER_S, at_ms(1)), WINDOW_MAX_BYTES);
}

/* A way that takes so much and no more; what is on it is in steps of a fortieth of its round trip. */
enum { WAY_STEPS = 40, WAY_ROUND_TRIPS = 60, WAY_COUNTED = 20 };

/* Bytes that are delivered within the last round trips, of each of which a way can carry way_bytes. */
static uint64_t carried_bytes(uint64_t rtt_ns, uint64_t way_bytes)
{
	struct window_sender tx;
	struct window_receiver rx;
	uint64_t data[WAY_STEPS / 2] = { 0 }, delivered[WAY_STEPS / 2] = { 0 }, limit[WAY_STEPS / 2] = { 0 }, before = 0;

	window_sender_init(&tx, WINDOW_INITIAL_BYTES);
	window_receiver_init(&rx, WINDOW_INITIAL_BYTES, at_ms(1));
	for (int step = 0; step < WAY_ROUND_TRIPS * WAY_STEPS; step++) {
		struct instant now = { NS_PER_MS + (uint64_t)step * rtt_ns / WAY_STEPS };
		int at = step % (WAY_STEPS / 2);
		uint64_t n = way_bytes / WAY_STEPS;

		if (step == (WAY_ROUND_TRIPS - WAY_COUNTED) * WAY_STEPS)
			before = rx.delivered;
		assert_true(window_receiver_data(&rx, data[at]));
		window_receiver_delivered(&rx, data[at], now);
		assert_int_equal(window_sender_update(&tx, delivered[at], limit[at], false), WINDOW_TAKEN);
		if (window_receiver_is_due(&rx))
			window_receiver_update(&rx, window_receiver_wanted(&rx, rtt_ns, now), now);
		delivered[at] = rx.delivered;
		limit[at] = rx.limit;
		if (n > window_sender_room(&tx))
			n = window_sender_room(&tx);
		window_sender_sent(&tx, n);
		data[at] = n;
	}
	return rx.delivered - before;
}

static void a_window_carries_what_a_long_way_takes(void **state)
{
	/* What plain TCP reaches with Linux's largest buffers. */
	static const struct {
		uint64_t rtt_ms, way_bytes;
	} ways[] = { { 1, 1500 * KIB }, { 20, 10000 * KIB }, { 100, 22000 * KIB } };

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		assert_true(carried_bytes(ways[i].rtt_ms * NS_PER_MS, ways[i].way_bytes) >= ways[i].way_bytes * WAY_COUNTED / 10 * 8);
}

static void only_an_idle_window_is_asked_back(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 256 * KIB, at_ms(1000));
	assert_true(window_receiver_data(&w, 8 * KIB));
	window_receiver_delivered(&w, 8 * KIB, at_ms(5000));
	assert_false(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(5999)));
	assert_int_equal(w.asked, 0);
	assert_true(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(6000)));
	assert_int_equal(w.asked, 8 * KIB + WINDOW_FLOOR_BYTES);
	assert_int_equal(w.size, WINDOW_FLOOR_BYTES);
	/* What was granted stands until the sender has said that it does without. */
	assert_int_equal(window_receiver_granted(&w), 248 * KIB);
	assert_true(window_receiver_data(&w, 200 * KIB));
	assert_false(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(60000))); /* one at a time */
}

static void nothing_is_asked_where_nothing_is_to_gain(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, WINDOW_FLOOR_BYTES, at_ms(0));
	assert_false(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(5000)));
	/* A stuck pod: all credit is used, and what is received is held whatever is asked. */
	window_receiver_init(&w, 256 * KIB, at_ms(0));
	assert_true(window_receiver_data(&w, 256 * KIB));
	assert_false(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(5000)));
	assert_int_equal(w.size, 256 * KIB);
	/* Half of it used: the other half comes back. */
	window_receiver_init(&w, 256 * KIB, at_ms(0));
	assert_true(window_receiver_data(&w, 128 * KIB));
	assert_true(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(5000)));
	assert_int_equal(w.asked, 128 * KIB);
}

static void no_update_goes_out_while_an_ask_is_under_way(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 64 * KIB, at_ms(0));
	assert_true(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(2000)));
	assert_true(window_receiver_data(&w, 64 * KIB)); /* it crossed the ASK */
	window_receiver_delivered(&w, 64 * KIB, at_ms(2001));
	assert_false(window_receiver_is_due(&w));
	assert_true(window_receiver_accepted(&w, 64 * KIB));
	assert_true(window_receiver_is_due(&w));
	window_receiver_update(&w, w.size, at_ms(2002));
	assert_int_equal(w.limit, 64 * KIB + WINDOW_FLOOR_BYTES);
}

static void what_came_since_is_not_asked_back(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 64 * KIB, at_ms(0));
	assert_true(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(2000)));
	assert_int_equal(window_receiver_asked(&w), WINDOW_FLOOR_BYTES);
	assert_true(window_receiver_data(&w, 40 * KIB));
	window_receiver_delivered(&w, 30 * KIB, at_ms(2001));
	assert_int_equal(window_receiver_asked(&w), 40 * KIB); /* a limit below what is delivered would be no WINDOW frame */
	assert_true(window_receiver_accepted(&w, 40 * KIB));
	assert_int_equal(w.limit, 40 * KIB);
}

static void an_accept_must_fit(void **state)
{
	struct window_receiver w;

	(void)state;
	window_receiver_init(&w, 64 * KIB, at_ms(0));
	assert_false(window_receiver_accepted(&w, 64 * KIB)); /* nobody asked */
	assert_true(window_receiver_data(&w, 20 * KIB));
	assert_true(window_receiver_ask(&w, WINDOW_FLOOR_BYTES, at_ms(2000)));
	assert_false(window_receiver_accepted(&w, 64 * KIB + 1)); /* more than was granted */
	assert_false(window_receiver_accepted(&w, 20 * KIB - 1)); /* less than was sent */
	assert_int_equal(w.limit, 64 * KIB);
	assert_true(window_receiver_accepted(&w, 24 * KIB));
	assert_int_equal(w.limit, 24 * KIB);
	assert_false(window_receiver_accepted(&w, 24 * KIB)); /* once */
	assert_false(window_receiver_data(&w, 4 * KIB + 1));
	assert_true(window_receiver_data(&w, 4 * KIB));
}

/* --- two ends over a channel that keeps the order and loses nothing --- */

enum { FIFO_MAX = 4096, STEPS = 200000 };

struct item {
	uint64_t data;             /* bytes of DATA; 0: a WINDOW */
	uint64_t delivered, limit; /* of a WINDOW */
	bool is_ask, is_accept;
};

struct fifo {
	struct item items[FIFO_MAX];
	unsigned head, count;
};

/* DATA has a link of its own, so that an ACCEPT can overtake it, as with the bulk link; or all goes one way. */
struct model {
	struct window_sender tx;
	struct window_receiver rx;
	struct fifo data, to_receiver, to_sender;
	bool is_one_link;
	bool is_ask_due; /* begun, but its frame is not made yet: the link was full */
	uint64_t now_ms, seed, held_max;
	unsigned asked, accepted, grown, updates;
};

static uint64_t draw(struct model *m, uint64_t below)
{
	/* xorshift64*: the same numbers in every run */
	m->seed ^= m->seed >> 12;
	m->seed ^= m->seed << 25;
	m->seed ^= m->seed >> 27;
	return (m->seed * UINT64_C(2685821657736338717) >> 20) % below;
}

static void push(struct fifo *f, struct item i)
{
	assert_true(f->count < FIFO_MAX);
	f->items[(f->head + f->count++) % FIFO_MAX] = i;
}

static bool pop(struct fifo *f, struct item *ret)
{
	if (!f->count)
		return false;
	*ret = f->items[f->head];
	f->head = (f->head + 1) % FIFO_MAX;
	f->count--;
	return true;
}

static void check(struct model *m)
{
	assert_true(m->rx.delivered <= m->rx.received && m->rx.received <= m->rx.limit);
	assert_true(m->tx.sent <= m->tx.limit);
	assert_true(m->rx.received <= m->tx.sent);
	assert_true(m->tx.delivered <= m->rx.delivered);
	/* The sender never believes in more than was granted: else its data would be a protocol error. */
	assert_true(m->tx.limit <= m->rx.limit);
	/* What is held is within what the receiver counted when it granted it. */
	assert_true(window_receiver_granted(&m->rx) <= m->held_max);
}

static void send_some(struct model *m)
{
	uint64_t room = window_sender_room(&m->tx), n;
	struct fifo *link = m->is_one_link ? &m->to_receiver : &m->data;

	if (!room || link->count > FIFO_MAX / 2)
		return;
	n = draw(m, 4) ? 1 + draw(m, room < 20000 ? room : 20000) : room;
	window_sender_sent(&m->tx, n);
	push(link, (struct item){ .data = n });
}

static void receive_one(struct model *m, struct fifo *link)
{
	struct item i;

	if (!pop(link, &i))
		return;
	if (i.data) {
		assert_true(window_receiver_data(&m->rx, i.data));
		return;
	}
	assert_true(i.is_accept);
	assert_true(window_receiver_accepted(&m->rx, i.limit));
	m->accepted++;
}

static void sender_hears_one(struct model *m)
{
	struct item i;

	if (!pop(&m->to_sender, &i))
		return;
	switch (window_sender_update(&m->tx, i.delivered, i.limit, i.is_ask)) {
	case WINDOW_TAKEN:
		assert_false(i.is_ask);
		return;
	case WINDOW_ACCEPT:
		assert_true(i.is_ask);
		push(&m->to_receiver, (struct item){ .delivered = m->tx.sent, .limit = m->tx.limit, .is_accept = true });
		return;
	case WINDOW_INVALID:
		fail_msg("an honest receiver was not believed: delivered %llu of %llu", (unsigned long long)i.delivered,
		         (unsigned long long)m->tx.sent);
	}
}

static void update_if_due(struct model *m)
{
	struct instant now = at_ms(m->now_ms);
	uint32_t size;

	if (!window_receiver_is_due(&m->rx))
		return;
	size = window_receiver_wanted(&m->rx, 5 * NS_PER_MS, now);
	if (size > m->rx.size && draw(m, 4) == 0)
		size = m->rx.size; /* the budget said no */
	if (size > m->rx.size)
		m->grown++;
	if (size > m->held_max)
		m->held_max = size;
	window_receiver_update(&m->rx, size, now);
	m->updates++;
	push(&m->to_sender, (struct item){ .delivered = m->rx.delivered, .limit = m->rx.limit });
}

static void deliver_some(struct model *m)
{
	uint64_t held = m->rx.received - m->rx.delivered;

	if (!held)
		return;
	window_receiver_delivered(&m->rx, draw(m, 3) ? 1 + draw(m, held) : held, at_ms(m->now_ms));
	update_if_due(m);
}

static void ask_back(struct model *m)
{
	m->now_ms += WINDOW_IDLE_MS * draw(m, 2);
	if (!window_receiver_ask(&m->rx, WINDOW_FLOOR_BYTES, at_ms(m->now_ms)))
		return;
	m->asked++;
	m->is_ask_due = true;
}

static void make_ask(struct model *m)
{
	if (!m->is_ask_due)
		return;
	m->is_ask_due = false;
	push(&m->to_sender, (struct item){ .delivered = m->rx.delivered, .limit = window_receiver_asked(&m->rx), .is_ask = true });
}

/* Everything under way arrives and is delivered. */
static void settle(struct model *m)
{
	do {
		while (m->data.count)
			receive_one(m, &m->data);
		while (m->to_receiver.count)
			receive_one(m, &m->to_receiver);
		if (m->rx.received > m->rx.delivered)
			window_receiver_delivered(&m->rx, m->rx.received - m->rx.delivered, at_ms(m->now_ms));
		update_if_due(m);
		make_ask(m);
		while (m->to_sender.count)
			sender_hears_one(m);
		check(m);
	} while (m->data.count || m->to_receiver.count || m->to_sender.count);
	assert_int_equal(m->rx.asked, 0);
	assert_true(m->tx.limit == m->rx.limit);
	assert_true(m->tx.sent == m->rx.delivered);
	/* Or the stream would stand still for ever. */
	assert_true(window_sender_room(&m->tx) > 0);
	/* And what it may send now is what its window says. */
	assert_true(window_receiver_granted(&m->rx) <= m->rx.size);
}

static void run_model(uint64_t seed, bool is_one_link)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->seed = seed;
	m->is_one_link = is_one_link;
	m->now_ms = 1000;
	m->held_max = WINDOW_INITIAL_BYTES;
	window_sender_init(&m->tx, WINDOW_INITIAL_BYTES);
	window_receiver_init(&m->rx, WINDOW_INITIAL_BYTES, at_ms(m->now_ms));
	for (int step = 0; step < STEPS; step++) {
		uint64_t what = draw(m, 1000);

		m->now_ms += draw(m, 4) == 0;
		if (what < 300)
			send_some(m);
		else if (what < 500)
			receive_one(m, is_one_link ? &m->to_receiver : &m->data);
		else if (what < 600)
			receive_one(m, &m->to_receiver);
		else if (what < 800)
			deliver_some(m);
		else if (what < 980)
			sender_hears_one(m);
		else if (what < 985)
			make_ask(m);
		else if (what < 998)
			ask_back(m);
		else
			settle(m);
		check(m);
	}
	settle(m);
	/* The run meant something. */
	assert_true(m->asked > 100 && m->asked == m->accepted && m->grown > 100 && m->updates > 1000 && m->tx.sent > 100 * 1000 * 1000);
	free(m);
}

static void two_ends_never_disagree(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		run_model(seed * UINT64_C(0x9e3779b97f4a7c15), true);
		run_model(seed * UINT64_C(0x9e3779b97f4a7c15), false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sender_stops_at_its_limit),
		cmocka_unit_test(a_limit_without_ask_never_falls),
		cmocka_unit_test(what_can_not_be_is_invalid),
		cmocka_unit_test(an_ask_gives_back_what_was_not_used),
		cmocka_unit_test(data_beyond_the_limit_is_refused),
		cmocka_unit_test(an_update_is_due_after_a_quarter),
		cmocka_unit_test(a_window_grows_where_the_round_trip_is_its_limit),
		cmocka_unit_test(a_window_follows_larger_ones_while_it_is_used),
		cmocka_unit_test(a_window_ends_at_its_maximum),
		cmocka_unit_test(a_window_carries_what_a_long_way_takes),
		cmocka_unit_test(only_an_idle_window_is_asked_back),
		cmocka_unit_test(nothing_is_asked_where_nothing_is_to_gain),
		cmocka_unit_test(no_update_goes_out_while_an_ask_is_under_way),
		cmocka_unit_test(what_came_since_is_not_asked_back),
		cmocka_unit_test(an_accept_must_fit),
		cmocka_unit_test(two_ends_never_disagree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
