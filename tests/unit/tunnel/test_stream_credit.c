/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a stream and its tunnel may send: credit that is asked back, kept back, or used up. */
#include "carry.h"

#include "tunnel/streams.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static bool is_answered(void *ctx)
{
	return !((struct stream *)ctx)->rx.asked;
}

static void credit_is_asked_back_while_data_is_on_its_way(void **state)
{
	struct stream *s;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, client, server, MIB);
	s = talk_stream(&pair.side[1]);
	assert_true(s->rx.size > 4 * WINDOW_INITIAL_BYTES);
	pair_run(&pair, 20);
	assert_true(budget_reserve(&pair.side[1].budget, 200 * MIB)); /* memory is short now */
	clock_fake_advance(&pair.side[0].clock, 3 * NS_PER_S);
	side_run(&pair.side[0], 3);
	carry_send(client, 100000);
	assert_true(side_pump(&pair.side[0], carry_has_sent, &(struct carry_sent){ talk_stream(&pair.side[0]), MIB + 100000 }));
	/* Node 2 finds the data and the time to ask in the same turn. */
	clock_fake_advance(&pair.side[1].clock, 3 * NS_PER_S);
	carry_expect(&pair, server, 100000);
	pair_run(&pair, 20);
	assert_true(pair_pump(&pair, is_answered, s));
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_UP);
	assert_int_equal(s->rx.asked, 0);
	carry_bytes(&pair, client, server, 100000);
	budget_release(&pair.side[1].budget, 200 * MIB);
	close(client);
	close(server);
}

static bool are_judged(void *ctx)
{
	const struct tunnel *t = side_tunnel(&pair.side[1]);

	return t && t->judging_count == *(uint32_t *)ctx;
}

static void streams_that_wait_do_not_use_up_the_tunnels_credit(void **state)
{
	/* node2 does not know yet whose 10.1.128.0/17 is: streams from there wait, with what they have sent. */
	struct view *v = pair_view(1, "10.1.0.0/17", "10.2.0.0/16");
	enum { N = 2 * TUNNEL_CREDIT_MIN_BYTES / WINDOW_INITIAL_BYTES };
	int waiting[N], client, server;
	uint32_t judging;

	(void)state;
	pool_set_view(pair.side[1].pool, v);
	for (int i = 0; i < N; i++) {
		char from[32];

		snprintf(from, sizeof(from), "10.1.200.5:%d", 20000 + i);
		waiting[i] = pair_open(&pair, 0, from, "10.2.0.7:80");
		carry_send(waiting[i], WINDOW_INITIAL_BYTES);
		judging = (uint32_t)i + 1;
		assert_true(pair_pump(&pair, are_judged, &judging));
	}
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, client, server, 100000);
	for (int i = 0; i < N; i++)
		close(waiting[i]);
	close(client);
	close(server);
	pair_advance_s(&pair, PAIR_JUDGED_S);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(side_tunnel(&pair.side[1])->budgeted_bytes, 0);
	view_unref(v);
}

static void a_tunnels_credit_never_goes_back(void **state)
{
	struct tunnel *t;
	uint64_t told;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	t = side_tunnel(&pair.side[1]);
	t->budgeted_bytes += 64 * MIB; /* as many streams would have it */
	streams_consumed(t, 0);
	pair_run(&pair, 20);
	told = t->rx_limit;
	assert_int_equal(side_tunnel(&pair.side[0])->tx_limit, told);
	assert_true(told >= 128 * MIB);
	/* They are gone, and a frame is still owed. */
	t->pending |= TUNNEL_SEND_CREDIT;
	t->budgeted_bytes -= 64 * MIB;
	tunnel_want_send(t, FRAME_LINK_LIGHT);
	pair_run(&pair, 20);
	assert_true(t->rx_limit >= told);
	close(client);
	close(server);
}

static void a_reset_is_passed_on_although_the_far_pod_does_not_read(void **state)
{
	char block[65536] = { 0 };
	int client, server, idle = 0;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	while (idle < 200) {
		idle = send(client, block, sizeof(block), MSG_NOSIGNAL) > 0 ? 0 : idle + 1;
		pair_run(&pair, 1);
	}
	talk_reset(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	while (recv(server, block, sizeof(block), 0) > 0)
		;
	assert_int_equal(errno, ECONNRESET);
	close(server);
}

static void a_reset_behind_data_is_passed_on_once_the_window_is_full(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, client, server, 100);
	pair.side[1].is_cut = true; /* no credit comes */
	carry_send(client, 2 * WINDOW_INITIAL_BYTES);
	talk_reset(client);
	pair_run(&pair, 20);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_POD_RESET], 1);
	pair.side[1].is_cut = false;
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	close(server);
}

/* Uses the window of the stream to server up, as a way that is full would let it: slowly, beside the round trip that was measured. */
static uint32_t window_after(struct stream *s, int client, int server, uint64_t apart_ms)
{
	for (int i = 0; i < 16; i++) {
		pair_advance_ms(&pair, apart_ms);
		s->tunnel->rtt_us = 1;
		carry_bytes(&pair, client, server, s->rx.size / 4);
	}
	pair_run(&pair, 10);
	return s->rx.size;
}

static void a_stream_that_comes_later_gets_its_share(void **state)
{
	int client, server, slow;
	struct stream *s;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	s = talk_stream(&pair.side[1]);
	assert_int_equal(window_after(s, client, server, WINDOW_FOLLOW_MS - 1), WINDOW_INITIAL_BYTES); /* it is alone */
	for (slow = 0; slow < 2; slow++) {
		s->tunnel->window_largest[0] = s->tunnel->window_largest[1] = 128 * 1024; /* another one has that */
		if (slow)
			s->rx.size = WINDOW_INITIAL_BYTES;
		assert_int_equal(window_after(s, client, server, slow ? WINDOW_FOLLOW_MS + 1 : WINDOW_FOLLOW_MS - 1),
		                 slow ? WINDOW_INITIAL_BYTES : 128 * 1024);
	}
	close(client);
	close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_stream_that_comes_later_gets_its_share),
		T(credit_is_asked_back_while_data_is_on_its_way),
		T(streams_that_wait_do_not_use_up_the_tunnels_credit),
		T(a_tunnels_credit_never_goes_back),
		T(a_reset_is_passed_on_although_the_far_pod_does_not_read),
		T(a_reset_behind_data_is_passed_on_once_the_window_is_full),
	};

	return PAIR_RUN(tests);
}
