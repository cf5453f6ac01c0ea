/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Streams and tunnels end to end: two pools, real TLS, real sockets, a clock that stands still. */
#include "talk.h"

#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static int set_up_small(void **state)
{
	(void)state;
	pair_init(&pair, 4 * MIB);
	return 0;
}

/* --- a byte pattern both ways --- */

struct flow {
	int from, to;
	size_t total, sent, got;
	bool is_bad;
};

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 131 + (at >> 9));
}

static void flow_step(struct flow *f, size_t unit)
{
	uint8_t buf[65536];
	ssize_t n;

	if (f->sent < f->total) {
		size_t len = f->total - f->sent < unit ? f->total - f->sent : unit;

		for (size_t i = 0; i < len; i++)
			buf[i] = pattern(f->sent + i);
		n = send(f->from, buf, len, MSG_NOSIGNAL);
		if (n > 0)
			f->sent += (size_t)n;
	}
	n = recv(f->to, buf, sizeof(buf), 0);
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] != pattern(f->got + (size_t)i))
			f->is_bad = true;
	}
	if (n > 0)
		f->got += (size_t)n;
}

static bool flows_done(void *ctx)
{
	struct flow *f = ctx;
	bool is_done = true;

	for (; f->total; f++) {
		flow_step(f, 65536);
		if (f->got < f->total && !f->is_bad)
			is_done = false;
	}
	return is_done;
}

/* --- tests --- */

static void request_and_answer_with_half_close(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_say(client, "GET");
	talk_expect(&pair, server, "GET");
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_int_equal(talk_wait(&pair, server), 0);
	talk_say(server, "200 OK");
	talk_expect(&pair, client, "200 OK");
	close(server);
	assert_int_equal(talk_wait(&pair, client), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_FINISHED], 1);
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_FINISHED], 1);
}

static void server_speaks_first(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 1, "10.2.0.5:40000", "10.1.0.7:25", &client, &server);
	talk_say(server, "220 ready");
	talk_expect(&pair, client, "220 ready");
	close(server);
	assert_int_equal(talk_wait(&pair, client), 0);
	talk_say(client, "late"); /* the pod's kernel answers with a reset, which must come through */
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	close(client);
}

static void reset_stays_a_reset(void **state)
{
	(void)state;
	for (int from_client = 0; from_client < 2; from_client++) {
		int client, server;

		talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
		talk_say(client, "x");
		talk_expect(&pair, server, "x");
		talk_reset(from_client ? client : server);
		assert_int_equal(talk_wait(&pair, from_client ? server : client), -ECONNRESET);
		close(from_client ? server : client);
		assert_true(pair_pump(&pair, talk_is_over, &pair));
	}
}

static void refused_server_resets_the_client(void **state)
{
	int client;

	(void)state;
	pair.side[1].connect_pod_error = -ECONNREFUSED;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:81");
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_REFUSED], 1);
	close(client);
}

static void one_tunnel_carries_many_both_ways(void **state)
{
	enum { N = 50 };
	int client[2 * N], server[2 * N];

	(void)state;
	for (int i = 0; i < 2 * N; i++) {
		char from[32], text[32];

		snprintf(from, sizeof(from), "10.%d.0.5:%d", i % 2 + 1, 40000 + i);
		talk_open(&pair, i % 2, from, i % 2 ? "10.1.0.7:80" : "10.2.0.7:80", &client[i], &server[i]);
		snprintf(text, sizeof(text), "stream %d", i);
		talk_say(client[i], text);
		talk_expect(&pair, server[i], text);
	}
	assert_int_equal(pair.side[0].connects + pair.side[1].connects, 1);
	assert_int_equal(side_tunnel(&pair.side[0])->streams_count, 2 * N);
	for (int i = 0; i < 2 * N; i++) {
		close(client[i]);
		close(server[i]);
	}
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void bulk_moves_to_its_own_link_and_arrives_whole(void **state)
{
	struct flow flows[3] = { 0 };
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:5001", &client, &server);
	flows[0] = (struct flow){ .from = client, .to = server, .total = 24 * MIB };
	flows[1] = (struct flow){ .from = server, .to = client, .total = 24 * MIB };
	assert_true(pair_pump(&pair, flows_done, flows));
	assert_false(flows[0].is_bad || flows[1].is_bad);
	assert_int_equal(flows[0].got, flows[0].total);
	assert_int_equal(flows[1].got, flows[1].total);
	assert_true(tunnel_has_bulk(side_tunnel(&pair.side[0])));
	assert_true(side_tunnel(&pair.side[0])->link[FRAME_LINK_BULK]->tx_bytes > MIB);
	shutdown(client, SHUT_WR);
	assert_int_equal(talk_wait(&pair, server), 0);
	close(server);
	assert_int_equal(talk_wait(&pair, client), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void what_load_needed_is_given_back(void **state)
{
	struct flow flows[2] = { { .total = 24 * MIB } };
	const struct pool *pool = pair.side[0].pool;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:5001", &client, &server);
	flows[0].from = client;
	flows[0].to = server;
	assert_true(pair_pump(&pair, flows_done, flows));
	assert_true(pool->stock.free_count > 0);
	assert_int_equal(pool->rest.trimmed_bytes, 0);
	/* The connection stays, and says nothing. Its tunnel is measured once more, and not asked yet whether it lives. */
	pair_advance_s(&pair, 3);
	assert_int_equal(pool->stock.free_count, 0);
	pair_advance_s(&pair, 3);
	assert_int_equal(pool->rest.trimmed_bytes, pool->counters.rx_bytes + pool->counters.tx_bytes);
	close(client);
	close(server);
}

/* Windows follow the round trip, and others' data makes it longer. A tunnel with little to carry is left in peace. */
static void the_round_trip_is_measured_again_under_load(void **state)
{
	struct flow flows[2] = { { .total = 4 * MIB } };
	const struct tunnel *t;
	uint64_t asked;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:5001", &client, &server);
	flows[0].from = client;
	flows[0].to = server;
	t = side_tunnel(&pair.side[1]);
	for (int round = 0; round < 2; round++) {
		asked = t->ping_token;
		flows[0].sent = flows[0].got = 0;
		assert_true(pair_pump(&pair, flows_done, flows));
		pair_advance_s(&pair, 1);
		assert_int_equal(t->ping_token, asked + 1);
		assert_false(t->is_ping_out);
	}
	pair_advance_s(&pair, 2);
	assert_int_equal(t->ping_token, asked + 1);
	close(client);
	close(server);
}

/* More than the answers' room, all in one read; data follows the answer both ways. */
static void a_peer_that_asks_for_new_keys_again_and_again_is_answered(void **state)
{
	struct link *l;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:5001", &client, &server);
	talk_say(client, "before");
	talk_expect(&pair, server, "before");
	l = side_tunnel(&pair.side[0])->link[FRAME_LINK_LIGHT];
	for (int i = 0; i < 16; i++) {
		assert_int_equal(tls_update_keys(l->tls), TLS_OK);
		l->control_len = (uint32_t)tls_take_control(l->tls, l->control, sizeof(l->control));
		assert_int_equal(link_flush(l), 0);
	}
	talk_say(server, "an answer");
	talk_expect(&pair, client, "an answer");
	talk_say(client, "a question");
	talk_expect(&pair, server, "a question");
	close(client);
	close(server);
}

static void a_stuck_pod_stops_only_itself(void **state)
{
	struct flow flows[2] = { 0 };
	int stuck_client, stuck_server, client, server;
	char block[65536] = { 0 };
	size_t taken = 0;
	ssize_t n;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &stuck_client, &stuck_server);
	for (int i = 0; i < 5000; i++) {
		n = send(stuck_client, block, sizeof(block), MSG_NOSIGNAL);
		if (n > 0)
			taken += (size_t)n;
		pair_run(&pair, 1);
	}
	/* Kernel buffers and one window: it must have stopped. */
	n = send(stuck_client, block, sizeof(block), MSG_NOSIGNAL);
	assert_true(n < 0);
	assert_true(budget_granted(&pair.side[1].budget) <= WINDOW_MAX_BYTES);
	talk_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80", &client, &server);
	flows[0] = (struct flow){ .from = client, .to = server, .total = 8 * MIB };
	assert_true(pair_pump(&pair, flows_done, flows));
	assert_false(flows[0].is_bad);
	/* And when it reads again, all of it is there. */
	for (size_t got = 0; got < taken;) {
		n = recv(stuck_server, block, sizeof(block), 0);
		if (n > 0)
			got += (size_t)n;
		else
			pair_run(&pair, 1);
	}
	close(stuck_client);
	close(stuck_server);
	close(client);
	close(server);
}

static void idle_streams_give_credit_back(void **state)
{
	enum { N = 60 };
	int client[N], server[N], fresh_client, fresh_server;
	struct flow flows[2] = { 0 };

	(void)state; /* 4 MiB of budget */
	for (int i = 0; i < N; i++) {
		char from[32];

		snprintf(from, sizeof(from), "10.1.0.5:%d", 40000 + i);
		talk_open(&pair, 0, from, "10.2.0.7:80", &client[i], &server[i]);
		flows[0] = (struct flow){ .from = client[i], .to = server[i], .total = MIB };
		assert_true(pair_pump(&pair, flows_done, flows));
		if (i == 5)
			assert_true(budget_is_tight(&pair.side[1].budget));
		if (i % 10 == 5)
			pair_advance_s(&pair, 3);
	}
	pair_advance_s(&pair, 4);
	assert_false(budget_is_tight(&pair.side[1].budget));
	assert_true(budget_granted(&pair.side[1].budget) <= (uint64_t)N * WINDOW_INITIAL_BYTES);
	talk_open(&pair, 0, "10.1.0.5:50000", "10.2.0.7:80", &fresh_client, &fresh_server);
	flows[0] = (struct flow){ .from = fresh_client, .to = fresh_server, .total = 4 * MIB };
	assert_true(pair_pump(&pair, flows_done, flows));
	/* The old ones go on from their floor. */
	flows[0] = (struct flow){ .from = client[0], .to = server[0], .total = MIB, .sent = 0 };
	assert_true(pair_pump(&pair, flows_done, flows));
	assert_false(flows[0].is_bad);
	for (int i = 0; i < N; i++) {
		close(client[i]);
		close(server[i]);
	}
	close(fresh_client);
	close(fresh_server);
}

static void over_the_budget_new_streams_are_refused(void **state)
{
	enum { N = 4 * MIB / WINDOW_INITIAL_BYTES + 3 };
	int client[N], refused = 0;

	(void)state;
	for (int i = 0; i < N; i++) {
		char from[32];

		snprintf(from, sizeof(from), "10.1.0.5:%d", 40000 + i);
		client[i] = pair_open(&pair, 0, from, "10.2.0.7:80");
	}
	pair_run(&pair, 200);
	for (int i = 0; i < N; i++) {
		char byte;

		if (recv(client[i], &byte, 1, 0) < 0 && errno == ECONNRESET)
			refused++;
		close(client[i]);
	}
	assert_int_equal(refused, 3);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_OVER_BUDGET], 3);
}

static void a_cut_wire_loses_nothing(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_say(client, "before");
	talk_expect(&pair, server, "before");
	pair.side[1].is_cut = true;
	talk_say(client, "during");
	pair_advance_s(&pair, 30);
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_SUSPECT);
	assert_int_equal(pair.side[0].reach.is_up, 0);
	pair.side[1].is_cut = false;
	talk_expect(&pair, server, "during");
	talk_say(server, "after");
	talk_expect(&pair, client, "after");
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_UP);
	assert_true(pair_reach_equal(pair.side[0].reach, (struct pair_reach){ .is_up = true, .is_answering = true }));
	close(client);
	close(server);
}

static void a_peer_silent_for_peer_timeout_is_given_up(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	pair.side[1].is_cut = true;
	pair_advance_s(&pair, 9);
	assert_int_equal(pair.side[0].reach.is_silent, 0);
	pair_advance_s(&pair, 6);
	assert_int_equal(pair.side[0].reach.is_silent, 1); /* pods' kernels may find out */
	assert_int_equal(pair.side[0].reach.is_answering, 0);
	pair_advance_s(&pair, 110);
	assert_int_equal(pair.side[0].reach.is_silent, 0); /* nobody is left to find out */
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_PEER_TIMEOUT], 1);
	pair.side[1].is_cut = false;
	close(client);
	close(server);
}

/* It had nothing to say for 30 s; that it owes an answer is a second old. */
static void an_idle_tunnel_that_is_asked_is_not_silent_yet(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_end(&pair, client, server);
	pair_run(&pair, 20);
	pair.side[1].is_cut = true;
	for (int i = 0; !side_tunnel(&pair.side[0])->is_ping_out; i++) {
		assert_true(i <= TUNNEL_PING_IDLE_MS / 1000);
		pair_advance_s(&pair, 1);
	}
	assert_int_equal(pair.side[0].reach.is_silent, 0);
	/* A stream begins: what goes to it must not be lost while the answer is on its way. */
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	pair_advance_s(&pair, 2);
	assert_int_equal(pair.side[0].reach.is_silent, 0);
	pair_advance_s(&pair, TUNNEL_SUSPECT_MS / 1000);
	assert_int_equal(pair.side[0].reach.is_silent, 1);
	pair.side[1].is_cut = false;
	close(client);
}

static void a_restarted_peer_resets_and_comes_back(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	side_stop(&pair.side[1]);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(talk_wait(&pair, server), -ECONNRESET);
	close(client);
	close(server);
	side_start(&pair.side[1]);
	pair_advance_s(&pair, 2); /* the first attempt may come before it is back: the next is a back-off later */
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_say(client, "again");
	talk_expect(&pair, server, "again");
	close(client);
	close(server);
}

static void a_client_waits_for_a_peer_that_is_not_there_yet(void **state)
{
	int client, server;

	(void)state;
	pair.side[0].connect_node_error = -EHOSTUNREACH;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	talk_say(client, "patience");
	pair_advance_s(&pair, 20);
	pair.side[0].connect_node_error = 0;
	pair_advance_s(&pair, 13);
	assert_true(talk_has_come(&pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	talk_expect(&pair, server, "patience");
	close(client);
	close(server);
}

static void an_unknown_source_waits_for_the_view(void **state)
{
	struct view *narrow = pair_view(1, NULL, "10.2.0.0/16"), *wide = pair_view(1, "10.1.0.0/16", "10.2.0.0/16");
	int client, server;

	(void)state;
	pool_set_view(pair.side[1].pool, narrow);
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	talk_say(client, "hello");
	pair_advance_s(&pair, PAIR_LATE_S);
	assert_false(talk_has_come(&pair.side[1]));
	pool_set_view(pair.side[1].pool, wide);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	talk_expect(&pair, server, "hello");
	close(client);
	close(server);
	/* And refused where the view never says so. */
	pool_set_view(pair.side[1].pool, narrow);
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	pair_advance_s(&pair, PAIR_JUDGED_S);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_UNKNOWN_ADDRESS], 1);
	close(client);
	view_unref(narrow);
	view_unref(wide);
}

static bool is_judged_there(void *ctx)
{
	(void)ctx;
	return pair.side[1].pool->streams_count > 0;
}

static void a_foreign_source_is_refused_and_counted(void **state)
{
	/* node2 holds that 10.1.0.0/16 is its own; node1 claims it. */
	struct view *v = pair_view(1, "10.9.0.0/16", "10.0.0.0/14");
	int client;

	(void)state;
	pool_set_view(pair.side[1].pool, v);
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, is_judged_there, NULL)); /* its tunnel is made */
	pair_advance_s(&pair, PAIR_JUDGED_S);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(pair.side[1].pool->counters.foreign_claims, 1);
	assert_int_equal(pair.side[1].pods_count, 0);
	close(client);
	view_unref(v);
}

static void a_moved_address_resets_running_streams(void **state)
{
	struct view *v = pair_view(0, "10.0.0.0/14", NULL);
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	pool_set_view(pair.side[0].pool, v);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(talk_wait(&pair, server), -ECONNRESET);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_MOVED], 1);
	close(client);
	close(server);
	view_unref(v);
}

static void drain_lets_streams_finish(void **state)
{
	int client, server, late;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	pool_drain(pair.side[1].pool);
	pair_run(&pair, 50);
	assert_false(pair.side[1].is_drained);
	talk_say(client, "still here");
	talk_expect(&pair, server, "still here");
	late = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	pair_run(&pair, 50);
	assert_int_equal(pair.side[1].pods_count, 1); /* it waits for a tunnel, none takes it */
	shutdown(client, SHUT_WR);
	assert_int_equal(talk_wait(&pair, server), 0);
	close(server);
	assert_int_equal(talk_wait(&pair, client), 0);
	pair_run(&pair, 200);
	assert_true(pair.side[1].is_drained);
	close(client);
	close(late);
}

/* Node 1's OPEN and node 2's GOAWAY are on their way for longer than a daemon that ends would wait. */
static void a_stream_that_crosses_a_goaway_is_not_lost(void **state)
{
	const struct pki_node *id = &pki_get()->nodes[1];
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_end(&pair, client, server);
	pair_run(&pair, 50);
	pair.side[0].is_cut = true;
	pool_set_tls(pair.side[1].pool, id->ctx, id->info.self.not_after_s);
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	talk_say(client, "on its way");
	pair_advance_s(&pair, 5);
	pair.side[0].is_cut = false;
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	talk_expect(&pair, server, "on its way");
	close(client);
	close(server);
}

static void drain_timeout_resets_the_rest(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	pool_drain(pair.side[1].pool);
	pair_advance_s(&pair, 31);
	assert_true(pair.side[1].is_drained);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(talk_wait(&pair, server), -ECONNRESET);
	close(client);
	close(server);
}

static void an_idle_tunnel_is_closed(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	talk_end(&pair, client, server);
	pair_advance_s(&pair, 590);
	assert_non_null(side_tunnel(&pair.side[0]));
	pair_advance_s(&pair, 20);
	assert_null(side_tunnel(&pair.side[0]));
	assert_null(side_tunnel(&pair.side[1]));
	assert_int_equal(pair.side[0].reach.is_up, 0);
}

static void many_short_connections_leave_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 500; i++) {
		int client, server;

		talk_open(&pair, i % 2, i % 2 ? "10.2.0.5:40000" : "10.1.0.5:40000", i % 2 ? "10.1.0.7:80" : "10.2.0.7:80", &client,
		          &server);
		talk_say(client, "q");
		talk_expect(&pair, server, "q");
		if (i % 3)
			close(server);
		close(client);
		if (i % 3 == 0)
			close(server);
	}
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(side_tunnel(&pair.side[0])->budgeted_bytes, 0);
	assert_int_equal(side_tunnel(&pair.side[1])->budgeted_bytes, 0);
	assert_int_equal(side_tunnel(&pair.side[1])->rx_consumed, side_tunnel(&pair.side[1])->rx_received);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(request_and_answer_with_half_close),
		T(server_speaks_first),
		T(reset_stays_a_reset),
		T(refused_server_resets_the_client),
		T(one_tunnel_carries_many_both_ways),
		T(bulk_moves_to_its_own_link_and_arrives_whole),
		T(what_load_needed_is_given_back),
		T(the_round_trip_is_measured_again_under_load),
		T(a_peer_that_asks_for_new_keys_again_and_again_is_answered),
		T(a_stuck_pod_stops_only_itself),
		cmocka_unit_test_setup_teardown(idle_streams_give_credit_back, set_up_small, tear_down),
		cmocka_unit_test_setup_teardown(over_the_budget_new_streams_are_refused, set_up_small, tear_down),
		T(a_cut_wire_loses_nothing),
		T(a_peer_silent_for_peer_timeout_is_given_up),
		T(an_idle_tunnel_that_is_asked_is_not_silent_yet),
		T(a_restarted_peer_resets_and_comes_back),
		T(a_client_waits_for_a_peer_that_is_not_there_yet),
		T(an_unknown_source_waits_for_the_view),
		T(a_foreign_source_is_refused_and_counted),
		T(a_moved_address_resets_running_streams),
		T(drain_lets_streams_finish),
		T(a_stream_that_crosses_a_goaway_is_not_lost),
		T(drain_timeout_resets_the_rest),
		T(an_idle_tunnel_is_closed),
		T(many_short_connections_leave_nothing),
	};

	return PAIR_RUN(tests);
}
