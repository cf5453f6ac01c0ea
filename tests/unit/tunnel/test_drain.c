/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node that ends, and a peer that is gone: which streams still go on, and until when. */
#include "carry.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static bool is_drained(void *ctx)
{
	return ((struct side *)ctx)->is_drained;
}

/* A tunnel's last words are looked at again each second, where the kernel had not yet acknowledged them. */
static bool pump_with_ticks(bool (*done)(void *ctx), void *ctx)
{
	for (int seconds = 0; seconds < 3; seconds++) {
		if (pair_pump(&pair, done, ctx))
			return true;
		pair_advance_s(&pair, 1);
	}
	return done(ctx);
}

static void an_open_that_crosses_a_drain_is_taken(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_end(&pair, client, server);
	/* An idle node is told to end while an OPEN is on its way to it. */
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	carry_send(client, 100);
	side_run(&pair.side[0], 5);
	pool_drain(pair.side[1].pool);
	side_run(&pair.side[1], 1);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	carry_expect(&pair, server, 100);
	carry_bytes(&pair, server, client, 100);
	assert_false(pair.side[1].is_drained);
	close(client);
	close(server);
	assert_true(pump_with_ticks(is_drained, &pair.side[1]));
	assert_int_equal(pair.side[1].drained, 1);
}

static void a_peer_that_does_not_answer_holds_a_drain_up_for_seconds_only(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_end(&pair, client, server);
	pair.side[0].is_cut = true;
	pool_drain(pair.side[1].pool);
	pair_run(&pair, 5);
	assert_false(pair.side[1].is_drained);
	pair_advance_s(&pair, 4);
	assert_true(pair.side[1].is_drained);
	pair.side[0].is_cut = false;
}

static void a_stream_that_waits_for_a_tunnel_has_the_time_of_the_drain(void **state)
{
	int client, server, late;

	(void)state;
	/* One whose tunnel is being made, and one whose node answers only later. */
	pair.side[1].is_cut = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	carry_send(client, 100);
	side_run(&pair.side[0], 5);
	pool_drain(pair.side[0].pool);
	side_run(&pair.side[0], 5);
	pair.side[1].is_cut = false;
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	carry_expect(&pair, server, 100);
	carry_bytes(&pair, server, client, 100);
	assert_false(pair.side[0].is_drained);
	close(client);
	close(server);
	assert_true(pump_with_ticks(is_drained, &pair.side[0]));
	assert_int_equal(pair.side[0].drained, 1);

	side_stop(&pair.side[0]);
	side_start(&pair.side[0]);
	pair.side[0].connect_node_error = -ECONNREFUSED;
	late = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	pair_run(&pair, 5);
	pool_drain(pair.side[0].pool);
	pair_advance_s(&pair, 3);
	assert_false(pair.side[0].is_drained);
	pair.side[0].connect_node_error = 0;
	pair_advance_s(&pair, 5);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	carry_send(late, 100);
	carry_expect(&pair, server, 100);
	close(late);
	close(server);
	assert_true(pump_with_ticks(is_drained, &pair.side[0]));
}

static void a_stream_that_waits_in_vain_is_reset_at_the_end_of_the_drain(void **state)
{
	int client, unknown;

	(void)state;
	pair.side[0].connect_node_error = -ECONNREFUSED;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	unknown = pair_open(&pair, 0, "10.1.0.5:40001", "10.9.0.7:80");
	pool_drain(pair.side[0].pool);
	pair_advance_s(&pair, 29);
	assert_false(pair.side[0].is_drained);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_UNKNOWN_ADDRESS], 1);
	pair_advance_s(&pair, 2);
	assert_true(pair.side[0].is_drained);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_DRAINING], 1);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	close(client);
	close(unknown);
}

static bool is_closing(void *ctx)
{
	return ((struct stream *)ctx)->state == STREAM_CLOSING;
}

/* A pod that does not read keeps its stream in CLOSING. */
static void make_closing(int *ret_client, int *ret_server)
{
	int small = 65536;

	*ret_client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_int_equal(setsockopt(*ret_client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	*ret_server = side_take_pod(&pair.side[1]);
	assert_int_equal(shutdown(*ret_client, SHUT_WR), 0);
	assert_int_equal(talk_wait(&pair, *ret_server), 0);
	carry_send(*ret_server, 300000);
	close(*ret_server);
	*ret_server = -1;
	assert_true(pair_pump(&pair, is_closing, talk_stream(&pair.side[0])));
}

static void drained_is_told_once(void **state)
{
	int client, server;

	(void)state;
	make_closing(&client, &server);
	pool_drain(pair.side[0].pool);
	pair_advance_s(&pair, 20);
	assert_int_equal(pair.side[0].drained, 0);
	pair_advance_s(&pair, 15);
	assert_int_equal(pair.side[0].drained, 1);
	close(client);
}

/* node2 leaves node1's view. */
static void leave_alone(void)
{
	struct view *alone = NULL;
	struct view_node self = { .name = "node1" };
	struct addr address;
	struct prefix pods;
	char error[VIEW_ERROR_BYTES];

	assert_int_equal(addr_parse("192.0.2.1", &address), 0);
	assert_int_equal(prefix_parse("10.1.0.0/16", &pods), 0);
	self.addresses = &address;
	self.addresses_count = 1;
	self.pods = &pods;
	self.pods_count = 1;
	assert_int_equal(view_create(&self, 1, NULL, 0, "node1", NULL, &alone, error), 0);
	pool_set_view(pair.side[0].pool, alone);
	view_unref(alone);
	pair_run(&pair, 5);
	assert_true(list_is_empty(&pair.side[0].pool->peers));
	assert_null(talk_stream(&pair.side[0])->peer);
}

static void a_stream_that_ends_outlives_its_peer(void **state)
{
	int client, server;

	(void)state;
	make_closing(&client, &server);
	leave_alone();
	/* All that was sent still arrives. */
	carry_expect(&pair, client, 300000);
	assert_int_equal(talk_wait(&pair, client), 0);
	pair_advance_s(&pair, 3);
	assert_int_equal(pair.side[0].pool->streams_count, 0);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_FINISHED], 1);
	close(client);
}

static bool is_draining(void *ctx)
{
	return ((struct stream *)ctx)->rx_half == HALF_DRAINING;
}

static bool has_no_tunnel(void *ctx)
{
	return !((struct stream *)ctx)->tunnel;
}

static void what_came_whole_is_handed_over_although_the_tunnel_is_lost(void **state)
{
	int client, server, small = 65536;

	(void)state;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_int_equal(talk_wait(&pair, server), 0);
	/* More than the kernel takes for a pod that does not read: the rest lies in the stream's queue. */
	pair_run(&pair, 50);
	talk_stream(&pair.side[0])->is_write_blocked = true;
	carry_send(server, 20000);
	close(server);
	assert_true(pair_pump(&pair, is_draining, talk_stream(&pair.side[0])));
	assert_int_equal(talk_stream(&pair.side[0])->state, STREAM_OPEN);
	tunnel_close(side_tunnel(&pair.side[1]), REASON_PROTOCOL, "the test ends it");
	assert_true(pair_pump(&pair, has_no_tunnel, talk_stream(&pair.side[0])));
	/* Nor does it need the peer; and whether its pod answers is nobody's to be told any more. */
	leave_alone();
	pair_advance_s(&pair, 2 * SILENCE_LOOK_MS / 1000);
	talk_stream(&pair.side[0])->source.on_event(&talk_stream(&pair.side[0])->source, EPOLLOUT);
	carry_expect(&pair, client, 20000);
	assert_int_equal(talk_wait(&pair, client), 0);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_FINISHED], 1);
	close(client);
}

static bool is_peer_draining(void *ctx)
{
	return side_tunnel(ctx)->state == TUNNEL_DRAINING;
}

static void a_peer_that_ends_right_behind_its_last_stream_is_not_lost(void **state)
{
	const struct peer *peer;
	char error[PEER_ERROR_BYTES];
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	peer = side_tunnel(&pair.side[0])->peer;
	pool_drain(pair.side[1].pool);
	assert_true(pair_pump(&pair, is_peer_draining, &pair.side[0]));
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_int_equal(talk_wait(&pair, server), 0);
	/* Meanwhile another tunnel was tried for, in vain. */
	assert_non_null(peer->last_error);
	snprintf(error, sizeof(error), "%s", peer->last_error);
	/* Both come in one batch: the stream's end, which waits a turn, and that of the wire. */
	close(server);
	/* As pump_with_ticks, but with no time for node1: its next attempt would hide what was said of this end. */
	for (int seconds = 0; seconds < 3 && !side_pump(&pair.side[1], is_drained, &pair.side[1]); seconds++)
		clock_fake_advance(&pair.side[1].clock, NS_PER_S);
	assert_true(pair.side[1].is_drained);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	pair_run(&pair, 5);
	assert_null(side_tunnel(&pair.side[0]));
	assert_string_equal(peer->last_error, error);
	assert_int_equal(talk_wait(&pair, client), 0);
	close(client);
}

static void a_node_that_ends_takes_no_new_tunnel(void **state)
{
	int client;

	(void)state;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	side_run(&pair.side[1], 3);
	assert_int_equal(pair.side[1].pool->strangers_count, 1);
	pool_drain(pair.side[1].pool);
	assert_int_equal(pair.side[1].pool->strangers_count, 0);
	pair_run(&pair, 200);
	assert_null(side_tunnel(&pair.side[1]));
	close(client);
	pair_run(&pair, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_open_that_crosses_a_drain_is_taken),
		T(a_peer_that_does_not_answer_holds_a_drain_up_for_seconds_only),
		T(a_stream_that_waits_for_a_tunnel_has_the_time_of_the_drain),
		T(a_stream_that_waits_in_vain_is_reset_at_the_end_of_the_drain),
		T(drained_is_told_once),
		T(a_stream_that_ends_outlives_its_peer),
		T(what_came_whole_is_handed_over_although_the_tunnel_is_lost),
		T(a_peer_that_ends_right_behind_its_last_stream_is_not_lost),
		T(a_node_that_ends_takes_no_new_tunnel),
	};

	return PAIR_RUN(tests);
}
