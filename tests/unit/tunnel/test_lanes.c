/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tunnels of one peer on several workers: which worker gets a connection that another node made, and when one more tunnel is asked for. */
#include "bulk.h"
#include "talk.h"

#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct pair pair; /* node1's side is its lane 1; node2 accepts on side 1, its lane 0, and the lane 1 is pair.other */

static int set_up(void **state)
{
	(void)state;
	pair_init(&pair, 256 << 20);
	pair_add_worker(&pair);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pair_done(&pair);
	return 0;
}

static bool has_moved(void *ctx)
{
	return ((struct side *)ctx)->moved != NULL;
}

static bool has_tunnel(void *ctx)
{
	const struct tunnel *t = side_tunnel(ctx);

	return t && t->state == TUNNEL_UP;
}

static bool has_none(void *ctx)
{
	return !side_tunnel(ctx);
}

static bool is_open(void *ctx)
{
	const struct pool *p = ((struct side *)ctx)->pool;

	return !list_is_empty(&p->streams) && container_of(p->streams.next, struct stream, all)->state == STREAM_OPEN;
}

/* What each has sent the other has read, and neither has more to say. */
static bool is_quiet(void *ctx)
{
	const struct tunnel *a = side_tunnel(&pair.side[0]), *b = side_tunnel(&pair.other);
	const struct link *x = a->link[FRAME_LINK_LIGHT], *y = b->link[FRAME_LINK_LIGHT];

	(void)ctx;
	return x->tx_bytes == y->rx_bytes && y->tx_bytes == x->rx_bytes && !a->pending && !b->pending && !x->tx && !y->tx;
}

static struct moved_link *take_moved(void)
{
	struct moved_link *m;

	assert_true(pair_pump(&pair, has_moved, &pair.side[1]));
	m = pair.side[1].moved;
	pair.side[1].moved = NULL;
	return m;
}

/* A client's connection, and the server's end on the worker of the lane. */
static void open_on_lane(int *ret_client, int *ret_server)
{
	*ret_client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	pool_take_moved(pair.other.pool, take_moved());
	assert_true(pair_pump(&pair, talk_has_come, &pair.other));
	*ret_server = side_take_pod(&pair.other);
}

static void a_tunnel_goes_to_the_worker_of_its_lane(void **state)
{
	int client, server;

	(void)state;
	open_on_lane(&client, &server);
	assert_null(side_tunnel(&pair.side[1]));
	assert_int_equal(pair.side[1].pool->strangers_count, 0);
	assert_int_equal(pair.other.pool->strangers_count, 0);
	talk_say(client, "over the second");
	talk_expect(&pair, server, "over the second");
	talk_say(server, "and back");
	talk_expect(&pair, client, "and back");
	assert_true(pair_reach_equal(pair.other.reach, (struct pair_reach){ .is_up = true, .is_answering = true }));
	close(client);
	close(server);
}

static void the_bulk_link_meets_its_tunnel(void **state)
{
	int client, server;

	(void)state;
	open_on_lane(&client, &server);
	assert_true(pair_pump(&pair, is_open, &pair.side[0]));
	tunnel_want_bulk(side_tunnel(&pair.side[0]));
	pool_take_moved(pair.other.pool, take_moved());
	assert_true(pair_pump(&pair, bulk_is_up, &pair.side[0]));
	assert_true(tunnel_has_bulk(side_tunnel(&pair.other)));
	assert_int_equal(pair.side[1].moves, 2);
	close(client);
	close(server);
}

static void the_first_lane_stays_where_it_came(void **state)
{
	int client, server;

	(void)state;
	pair.side[0].lane = 0;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	assert_int_equal(pair.side[1].moves, 0);
	close(client);
	close(server);
}

/* From behind a NAT main gives it to any worker. */
static void the_first_lane_gets_home_from_any_worker(void **state)
{
	int client, server;

	(void)state;
	pair.side[0].lane = pair.other.lane = 0;
	pair.side[1].lane = 1;
	open_on_lane(&client, &server);
	assert_null(side_tunnel(&pair.side[1]));
	close(client);
	close(server);
}

/* The other node has more workers: lanes are counted round. */
static void a_lane_beyond_the_workers(void **state)
{
	int client, server;

	(void)state;
	pair.side[0].lane = 2;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	assert_int_equal(pair.side[1].moves, 0);
	close(client);
	close(server);
	pair.side[0].lane = FRAME_LANE_MAX;
	side_stop(&pair.side[0]);
	side_start(&pair.side[0]);
	open_on_lane(&client, &server);
	close(client);
	close(server);
}

/* Each tries again, and then finds what is right. */
static void fails_and_comes_again(struct moved_link *m)
{
	pool_take_moved(pair.other.pool, m);
	assert_int_equal(pair.other.pool->strangers_count, 0);
	assert_true(pair_pump(&pair, has_none, &pair.side[0]));
	pair_advance_s(&pair, 1);
}

static void certificates_that_changed_meanwhile_end_it(void **state)
{
	struct tls_ctx *ours = pki_get()->nodes[1].ctx;
	int client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	struct moved_link *m = take_moved();

	(void)state;
	/* Any other context is another generation. */
	pool_set_tls(pair.other.pool, pki_get()->nodes[0].ctx, INT64_MAX);
	fails_and_comes_again(m);
	pool_set_tls(pair.other.pool, ours, INT64_MAX);
	pool_take_moved(pair.other.pool, take_moved());
	assert_true(pair_pump(&pair, has_tunnel, &pair.other));
	close(client);
}

static void a_worker_that_drains_takes_none(void **state)
{
	int client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");

	(void)state;
	pool_drain(pair.other.pool);
	fails_and_comes_again(take_moved());
	moved_link_destroy(take_moved());
	close(client);
}

/* What is posted to a worker that has ended. */
static void one_that_can_not_be_delivered_is_closed(void **state)
{
	int client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");

	(void)state;
	moved_link_destroy(take_moved());
	assert_true(pair_pump(&pair, has_none, &pair.side[0]));
	close(client);
}

static void a_node_that_left_meanwhile_is_refused(void **state)
{
	int client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	struct moved_link *m = take_moved();
	struct addr address = { 0 };
	struct view_node self = { .name = "node2", .addresses = &address, .addresses_count = 1 };
	char error[VIEW_ERROR_BYTES];
	struct view *alone;

	(void)state;
	assert_int_equal(addr_parse("192.0.2.2", &address), 0);
	assert_int_equal(view_create(&self, 1, NULL, 0, "node2", NULL, &alone, error), 0);
	pool_set_view(pair.other.pool, alone);
	view_unref(alone);
	pool_take_moved(pair.other.pool, m);
	assert_int_equal(pair.other.pool->counters.handshakes_refused[REASON_CERTIFICATE], 1);
	assert_int_equal(pair.other.pool->strangers_count, 0);
	close(client);
}

/* What came behind HELLO goes along: here the end of the connection. */
static void one_that_ends_on_its_way_leaves_nothing(void **state)
{
	int client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	struct moved_link *m = take_moved();

	(void)state;
	side_stop(&pair.side[0]);
	pool_take_moved(pair.other.pool, m);
	assert_true(pair_pump(&pair, has_none, &pair.other));
	close(client);
}

static void a_restart_is_told_to_the_other_workers(void **state)
{
	uint64_t before = pair.side[0].settings.incarnation;
	int client, server;

	(void)state;
	open_on_lane(&client, &server);
	pair.side[0].is_cut = true; /* it is gone without a word */
	side_tunnel(&pair.other)->peer->is_wanted = false;
	pool_peer_restarted(pair.other.pool, side_tunnel(&pair.other)->peer->node_id, before + 7);
	assert_non_null(side_tunnel(&pair.other));
	pool_peer_restarted(pair.other.pool, side_tunnel(&pair.other)->peer->node_id, before);
	assert_null(side_tunnel(&pair.other));
	assert_int_equal(pair.other.pool->counters.closed[REASON_PEER_RESTARTED], 1);
	close(client);
	close(server);
}

static void who_finds_a_restart_says_so(void **state)
{
	uint64_t before = pair.side[0].settings.incarnation;
	int client[2], server;

	(void)state;
	pair.side[0].lane = 0;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client[0], &server);
	assert_int_equal(pair.side[1].restarts, 0);
	side_stop(&pair.side[0]);
	side_start(&pair.side[0]);
	client[1] = pair_open(&pair, 0, "10.1.0.6:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	assert_int_equal(pair.side[1].restarts, 1);
	assert_true(pair.side[1].restarted == before);
	close(client[0]);
	close(client[1]);
	close(server);
}

/* The fake clock stands still while a loop waits: it never waits, so each worker is full from its first second on. */
static void a_full_worker_asks_for_a_lane_to_who_fills_it(void **state)
{
	int client, server, wanted;

	(void)state;
	pair_advance_s(&pair, 2);
	assert_int_equal(pair.side[0].full_told, 1);
	assert_true(pair.side[0].is_full);
	assert_int_equal(pair.side[0].lanes_wanted, 0); /* nobody has traffic */
	open_on_lane(&client, &server);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	pair_advance_s(&pair, 1);
	assert_true(pair.side[0].lanes_wanted >= 1);
	assert_true(pair.other.lanes_wanted >= 1);
	/* And nobody where nothing goes on: the next PING comes after 3 s. */
	pair_run(&pair, 100);
	assert_true(pair_pump(&pair, is_quiet, NULL));
	pair_advance_s(&pair, 1);
	wanted = pair.side[0].lanes_wanted;
	pair_advance_s(&pair, 1);
	assert_int_equal(pair.side[0].lanes_wanted, wanted);
	assert_int_equal(pair.side[0].full_told, 1);
	close(client);
	close(server);
}

static void for_a_node_that_is_taken_out_none_is_asked_for(void **state)
{
	struct view_edit *edit;
	struct addr address;
	struct view_node node2 = { .name = "node2", .addresses = &address, .addresses_count = 1 };
	struct view *v;
	uint32_t id;
	int client, server;

	(void)state;
	open_on_lane(&client, &server);
	assert_int_equal(addr_parse("192.0.2.2", &address), 0);
	assert_int_equal(view_edit_begin(pair.side[0].view, "node1", &edit), 0);
	assert_int_equal(view_edit_put_node(edit, &node2, &id), 0);
	assert_int_equal(view_edit_finish(edit, &v), 0);
	pool_set_view(pair.side[0].pool, v);
	view_unref(v);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	pair_advance_s(&pair, 1);
	assert_true(pair.side[0].is_full);
	assert_int_equal(pair.side[0].lanes_wanted, 0);
	assert_true(pair.other.lanes_wanted >= 1);
	close(client);
	close(server);
}

static void where_one_tunnel_is_all_none_is_asked_for(void **state)
{
	int client, server;

	(void)state;
	pair.side[0].settings.tunnels_per_peer = 1;
	pair.other.settings.workers = 1; /* a node with one worker asks for nothing and is never full */
	pair.side[0].lane = 0;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	pair_advance_s(&pair, 2);
	assert_true(pair.side[0].is_full);
	assert_int_equal(pair.side[0].lanes_wanted, 0);
	assert_int_equal(pair.other.full_told, 0);
	close(client);
	close(server);
}

/* A lane that was not needed is closed by one side, and the other does not make it anew. */
static void an_idle_lane_stays_closed(void **state)
{
	int client, server, connects;

	(void)state;
	pair.other.settings.idle_timeout_ms = 5000;
	open_on_lane(&client, &server);
	talk_end(&pair, client, server);
	connects = pair.side[0].connects;
	pair_advance_s(&pair, 20);
	assert_null(side_tunnel(&pair.side[0]));
	assert_null(side_tunnel(&pair.other));
	assert_int_equal(pair.side[0].connects, connects);
}

enum {
	TRIES_S = 60,   /* the back-off is at its longest by then */
	LONGEST_S = 14, /* ... which is 10 s, and a quarter of jitter */
};

/* Works again: the next try comes to the worker of its lane. */
static void can_be_made(void)
{
	pair.side[0].connect_node_error = 0;
	for (int i = 0; i < LONGEST_S && !pair.side[1].moved; i++)
		pair_advance_s(&pair, 1);
	pool_take_moved(pair.other.pool, take_moved());
	assert_true(pair_pump(&pair, has_tunnel, &pair.side[0]));
}

static uint64_t failed_tries(void)
{
	return pair.side[0].pool->counters.tunnels_failed[REASON_HOST_UNREACHABLE];
}

static uint32_t node2_id(void)
{
	return view_node_by_name(pair.side[0].view, "node2")->id;
}

static void a_lane_that_can_not_be_made_is_given_up(void **state)
{
	uint64_t tries;

	(void)state;
	pair.side[0].connect_node_error = -EHOSTUNREACH;
	pool_want_peer(pair.side[0].pool, node2_id());
	pair_advance_s(&pair, TRIES_S);
	tries = failed_tries();
	assert_true(tries > 1);
	pair_advance_s(&pair, TRIES_S);
	assert_true(failed_tries() == tries);
	/* Until it is asked for again; however often, the back-off holds. */
	for (int i = 0; i < 5; i++)
		pool_want_peer(pair.side[0].pool, node2_id());
	assert_true(failed_tries() == tries + 1);
	can_be_made();
}

static void who_waits_for_a_lane_gets_it_however_late(void **state)
{
	int client;

	(void)state;
	pair.side[0].connect_node_error = -EHOSTUNREACH;
	pool_want_peer(pair.side[0].pool, node2_id());
	pair_advance_s(&pair, TRIES_S);
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	pair_advance_s(&pair, TRIES_S);
	can_be_made();
	assert_true(pair_pump(&pair, talk_has_come, &pair.other));
	close(client);
}

static void the_first_lane_is_never_given_up(void **state)
{
	uint64_t tries;

	(void)state;
	pair.side[0].lane = 0;
	pair.side[0].connect_node_error = -EHOSTUNREACH;
	pool_want_peer(pair.side[0].pool, node2_id());
	pair_advance_s(&pair, TRIES_S);
	tries = failed_tries();
	pair_advance_s(&pair, LONGEST_S);
	assert_true(failed_tries() > tries);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_tunnel_goes_to_the_worker_of_its_lane),
		T(the_bulk_link_meets_its_tunnel),
		T(the_first_lane_stays_where_it_came),
		T(the_first_lane_gets_home_from_any_worker),
		T(a_lane_beyond_the_workers),
		T(certificates_that_changed_meanwhile_end_it),
		T(a_worker_that_drains_takes_none),
		T(one_that_can_not_be_delivered_is_closed),
		T(a_node_that_left_meanwhile_is_refused),
		T(one_that_ends_on_its_way_leaves_nothing),
		T(a_restart_is_told_to_the_other_workers),
		T(who_finds_a_restart_says_so),
		T(a_full_worker_asks_for_a_lane_to_who_fills_it),
		T(for_a_node_that_is_taken_out_none_is_asked_for),
		T(where_one_tunnel_is_all_none_is_asked_for),
		T(an_idle_lane_stays_closed),
		T(a_lane_that_can_not_be_made_is_given_up),
		T(who_waits_for_a_lane_gets_it_however_late),
		T(the_first_lane_is_never_given_up),
	};

	return PAIR_RUN(tests);
}
