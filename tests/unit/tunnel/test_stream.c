/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Streams in the moments between two states: what crosses on the wire, what ends while something else begins, what a node does that ends. */
#include "talk.h"

#include "base/log.h"
#include "tunnel/rx_half.h"
#include "tunnel/streams.h"
#include "unit/pki.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1024 * 1024)

static struct pair pair;

static int set_up(void **state)
{
	(void)state;
	pair_init(&pair, 256 * MIB);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pair_done(&pair);
	return 0;
}

/* --- helpers --- */

static bool has_bulk(void *ctx)
{
	struct tunnel *t = side_tunnel(ctx);

	return t && tunnel_has_bulk(t);
}

static bool is_drained(void *ctx)
{
	return ((struct side *)ctx)->is_drained;
}

static void expect_bytes(int fd, size_t total)
{
	char got[65536];

	while (total) {
		ssize_t n;

		assert_true(talk_wait(&pair, fd) > 0);
		n = recv(fd, got, total < sizeof(got) ? total : sizeof(got), 0);
		assert_true(n > 0);
		total -= (size_t)n;
	}
}

static void send_bytes(int fd, size_t len_bytes)
{
	static char bytes[65536];

	while (len_bytes) {
		size_t n = len_bytes < sizeof(bytes) ? len_bytes : sizeof(bytes);

		assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
		len_bytes -= n;
	}
}

static void carry(int from, int to, size_t total)
{
	while (total) {
		size_t n = total < 16384 ? total : 16384;

		send_bytes(from, n);
		expect_bytes(to, n);
		total -= n;
	}
}

static void run_side(int i, int batches)
{
	while (batches--)
		(void)loop_run_once(pair.side[i].loop, 0);
}

/* Side i alone, until it has got so far: what was sent may reach its socket later. */
static bool pump_side(int i, bool (*done)(void *ctx), void *ctx)
{
	for (int batches = 0; batches < 200000 && !done(ctx); batches++)
		run_side(i, 1);
	return done(ctx);
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

/* The only stream of side i. */
static struct stream *stream_of(int i)
{
	struct pool *p = pair.side[i].pool;

	assert_int_equal(p->streams_count, 1);
	return container_of(p->streams.next, struct stream, all);
}

/* One more large read, and the stream is bulk. */
static void nearly_bulk(struct stream *s)
{
	s->tx.delivered = s->tx.sent; /* as a WINDOW would have said */
	s->large_since = pool_now(s->pool);
	s->large_bytes = STREAM_BULK_BYTES - STREAM_LARGE_READ_BYTES;
	s->is_read_small = false; /* as large reads would have left it */
}

/* --- two links --- */

static void an_end_right_behind_a_switch_that_is_due(void **state)
{
	struct stream *s;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100);
	tunnel_want_bulk(side_tunnel(&pair.side[0]));
	assert_true(pair_pump(&pair, has_bulk, &pair.side[0]));
	s = stream_of(0);
	nearly_bulk(s);
	send_bytes(client, STREAM_LARGE_READ_BYTES - 200);
	carry(client, server, 0);
	/* Large read and end in one turn of the loop. */
	expect_bytes(server, STREAM_LARGE_READ_BYTES - 200);
	s->tx.limit += 65536;
	stream_of(1)->rx.limit += 65536;
	nearly_bulk(s);
	send_bytes(client, STREAM_LARGE_READ_BYTES);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	expect_bytes(server, STREAM_LARGE_READ_BYTES);
	assert_int_equal(talk_wait(&pair, server), 0);
	close(server);
	assert_int_equal(talk_wait(&pair, client), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static bool is_on_bulk(void *ctx)
{
	return ((struct stream *)ctx)->tx_link == FRAME_LINK_BULK;
}

struct sent {
	const struct stream *stream;
	uint64_t bytes;
};

static bool has_sent(void *ctx)
{
	const struct sent *wanted = ctx;

	return wanted->stream->tx.sent == wanted->bytes;
}

static void a_switch_overtakes_the_hello_of_the_bulk_link(void **state)
{
	struct tunnel *t;
	struct stream *s;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(server, client, 100);
	t = side_tunnel(&pair.side[0]);
	tunnel_want_bulk(t);
	/* Node 2 has the bulk link and has said HELLO on it; node 1 has not read that yet. */
	assert_true(pair_pump(&pair, has_bulk, &pair.side[1]));
	assert_false(tunnel_has_bulk(t));
	s = stream_of(1);
	nearly_bulk(s);
	s->tx.limit += 65536;
	stream_of(0)->rx.limit += 65536;
	send_bytes(server, STREAM_LARGE_READ_BYTES);
	assert_true(pump_side(1, is_on_bulk, s));
	send_bytes(server, 10000);
	assert_true(pump_side(1, has_sent, &(struct sent){ s, 100 + STREAM_LARGE_READ_BYTES + 10000 }));
	expect_bytes(client, STREAM_LARGE_READ_BYTES + 10000);
	assert_ptr_equal(side_tunnel(&pair.side[0]), t);
	assert_int_equal(t->state, TUNNEL_UP);
	close(client);
	close(server);
}

static bool has_stashed_end(void *ctx)
{
	return ((struct stream *)ctx)->is_stash_ended;
}

/* A stream on a tunnel of two links that has carried 100 bytes and moves over with its next large read; node 2 hears nothing on the light link
 * from now on, until hear_light. */
static void deafen_light(int *ret_client, int *ret_server)
{
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", ret_client, ret_server);
	carry(*ret_client, *ret_server, 100);
	tunnel_want_bulk(side_tunnel(&pair.side[0]));
	assert_true(pair_pump(&pair, has_bulk, &pair.side[0]));
	assert_true(pair_pump(&pair, has_bulk, &pair.side[1]));
	nearly_bulk(stream_of(0));
	stream_of(0)->tx.limit += 65536;
	stream_of(1)->rx.limit += 65536;
	loop_remove(pair.side[1].loop, &side_tunnel(&pair.side[1])->link[FRAME_LINK_LIGHT]->source);
}

static void hear_light(void)
{
	struct link *light = side_tunnel(&pair.side[1])->link[FRAME_LINK_LIGHT];

	assert_int_equal(loop_add(pair.side[1].loop, &light->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET), 0);
}

static void an_end_on_the_new_link_overtakes_data_on_the_old_one(void **state)
{
	struct stream *from, *to;
	int client, server;

	(void)state;
	deafen_light(&client, &server);
	from = stream_of(0);
	to = stream_of(1);
	send_bytes(client, STREAM_LARGE_READ_BYTES);
	assert_true(pair_pump(&pair, is_on_bulk, from));
	send_bytes(client, 1000);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_true(pair_pump(&pair, has_stashed_end, to));
	hear_light();
	expect_bytes(server, STREAM_LARGE_READ_BYTES + 1000);
	assert_int_equal(talk_wait(&pair, server), 0);
	carry(server, client, 100);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static bool holds_no_buffer(void *ctx)
{
	const struct side *side = ctx;

	for (int kind = FRAME_LINK_LIGHT; kind <= FRAME_LINK_BULK; kind++) {
		const struct link *l = side_tunnel(side)->link[kind];

		if (l && (l->rx || l->tx))
			return false;
	}
	return side->pool->stock.free_count > 0;
}

/* Thousands of tunnels may have nothing to say, and a buffer is larger than all else that one of them holds. */
static void a_link_without_anything_to_do_holds_no_buffer(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100000);
	carry(server, client, 100);
	assert_true(pair_pump(&pair, holds_no_buffer, &pair.side[0]));
	assert_true(pair_pump(&pair, holds_no_buffer, &pair.side[1]));
	close(client);
	close(server);
}

/* --- begins --- */

static bool has_open_stream(void *ctx)
{
	const struct pool *p = ((struct side *)ctx)->pool;

	return p->streams_count == 1 && stream_of(((struct side *)ctx)->index)->state == STREAM_OPEN;
}

static bool can_read_100(void *ctx)
{
	int n;

	return ioctl(((struct stream *)ctx)->source.fd, FIONREAD, &n) == 0 && n == 100;
}

static void an_answer_that_is_there_goes_with_opened(void **state)
{
	struct stream *to;
	int client, server;

	(void)state;
	pair.side[1].is_pod_at_once = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	send_bytes(client, 100);
	assert_true(pair_pump(&pair, has_open_stream, &pair.side[1]));
	to = stream_of(1);
	assert_false(to->has_nonce);
	server = side_take_pod(&pair.side[1]);
	send_bytes(server, 100);
	for (int i = 0; i < 100000 && !can_read_100(to); i++)
		usleep(20);
	run_side(1, 1);
	assert_true(to->has_nonce);
	assert_int_equal(to->tx.sent, 100);
	expect_bytes(server, 100);
	expect_bytes(client, 100);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static uint32_t segments_in(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_segs_in;
}

static void last_words_and_the_end_are_one_packet(void **state)
{
	int client, server;
	uint32_t before;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100);
	before = segments_in(server);
	send_bytes(client, 100);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	expect_bytes(server, 100);
	assert_int_equal(talk_wait(&pair, server), 0);
	assert_int_equal(segments_in(server) - before, 1);
	carry(server, client, 100);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void credit_goes_behind_opened(void **state)
{
	const struct pool *p = pair.side[1].pool;
	int client, server;

	(void)state;
	pair.side[1].is_pod_at_once = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	send_bytes(client, WINDOW_INITIAL_BYTES / 2);
	for (int i = 0; i < 200000; i++) {
		pair_run(&pair, 1);
		if (!p->streams_count || stream_of(1)->rx.limit == WINDOW_INITIAL_BYTES)
			continue;
		assert_true(stream_of(1)->has_nonce);
		break;
	}
	assert_int_equal(p->streams_count, 1);
	assert_true(stream_of(1)->has_nonce);
	server = side_take_pod(&pair.side[1]);
	expect_bytes(server, WINDOW_INITIAL_BYTES / 2);
	close(server);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void the_last_words_of_a_pod_that_resets_go_behind_opened(void **state)
{
	const struct pool *p = pair.side[0].pool;
	int client;
	char word[4];

	(void)state;
	pair.side[1].is_pod_at_once = pair.side[1].is_pod_rude = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	send_bytes(client, 100);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(p->counters.closed[REASON_POD_RESET], 1);
	assert_int_equal(p->counters.rx_bytes, 4);
	assert_int_equal(recv(client, word, sizeof(word), 0), 4);
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_UP);
	close(client);
}

static void a_server_that_says_nothing_is_open_all_the_same(void **state)
{
	int client, server;

	(void)state;
	pair.side[1].is_pod_at_once = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, has_open_stream, &pair.side[0]));
	assert_int_equal(stream_of(1)->tx.sent, 0);
	server = side_take_pod(&pair.side[1]);
	carry(server, client, 1000);
	carry(client, server, 1000);
	close(server);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void a_reset_before_opened_is_owed_no_opened(void **state)
{
	struct linger reset = { .l_onoff = 1 };
	int client, server;

	(void)state;
	pair.side[1].is_pod_at_once = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, has_open_stream, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	stream_fail(stream_of(1), REASON_POD_RESET);
	assert_true(list_is_empty(&pair.side[1].pool->openeds));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(setsockopt(server, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(server);
	close(client);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_POD_RESET], 1);
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_UP);
}

/* --- credit --- */

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
	carry(client, server, MIB);
	s = stream_of(1);
	assert_true(s->rx.size > 4 * WINDOW_INITIAL_BYTES);
	pair_run(&pair, 20);
	assert_true(budget_reserve(&pair.side[1].budget, 200 * MIB)); /* memory is short now */
	clock_fake_advance(&pair.side[0].clock, 3 * NS_PER_S);
	run_side(0, 3);
	send_bytes(client, 100000);
	assert_true(pump_side(0, has_sent, &(struct sent){ stream_of(0), MIB + 100000 }));
	/* Node 2 finds the data and the time to ask in the same turn. */
	clock_fake_advance(&pair.side[1].clock, 3 * NS_PER_S);
	expect_bytes(server, 100000);
	pair_run(&pair, 20);
	assert_true(pair_pump(&pair, is_answered, s));
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_UP);
	assert_int_equal(s->rx.asked, 0);
	carry(client, server, 100000);
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
		send_bytes(waiting[i], WINDOW_INITIAL_BYTES);
		judging = (uint32_t)i + 1;
		assert_true(pair_pump(&pair, are_judged, &judging));
	}
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100000);
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

/* --- GOAWAY --- */

/* A tunnel ends before its node has read our OPEN: the stream goes on on another. */
static void reopens_elsewhere(bool is_half_closed)
{
	int first_client, first_server, client, server;

	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &first_client, &first_server);
	client = pair_open(&pair, 1, "10.2.0.5:40000", "10.1.0.7:80");
	if (is_half_closed)
		assert_int_equal(shutdown(client, SHUT_WR), 0);
	run_side(1, 5);
	tunnel_close(side_tunnel(&pair.side[0]), REASON_PROTOCOL, "the test ends it");
	assert_int_equal(talk_wait(&pair, first_client), -ECONNRESET);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[0]));
	server = side_take_pod(&pair.side[0]);
	if (is_half_closed)
		assert_int_equal(talk_wait(&pair, server), 0);
	else
		carry(client, server, 1000);
	carry(server, client, 1000);
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_DRAINING], 0);
	close(first_client);
	close(first_server);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void an_open_that_was_not_taken_goes_elsewhere(void **state)
{
	(void)state;
	reopens_elsewhere(false);
}

static void an_open_with_its_end_that_was_not_taken_goes_elsewhere(void **state)
{
	(void)state;
	reopens_elsewhere(true);
}

static void an_open_that_is_owed_goes_before_goaway(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	pair_run(&pair, 20);
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	tunnel_drain(side_tunnel(&pair.side[0]), REASON_FINISHED); /* as for new certificates */
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	carry(client, server, 1000);
	carry(server, client, 1000);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static bool has_tunnel_up(void *ctx)
{
	struct tunnel *t = side_tunnel(ctx);

	return t && t->state == TUNNEL_UP;
}

static void new_certificates_do_not_touch_a_tunnel_that_the_peer_uses_already(void **state)
{
	const struct pki_node *id = &pki_get()->nodes[0];
	const struct view_node *node2 = view_node_by_name(pair.side[0].view, "node2");
	int client, server;

	(void)state;
	/* Node 2 has node 1's HELLO and gives it a stream; node 1 has not read node 2's. */
	pool_want_peer(pair.side[0].pool, node2->id);
	pair.side[1].connect_node_error = -ECONNREFUSED; /* it has no other */
	client = pair_open(&pair, 1, "10.2.0.5:40000", "10.1.0.7:80");
	assert_true(pair_pump(&pair, has_tunnel_up, &pair.side[1]));
	send_bytes(client, 100);
	run_side(1, 5);
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_CONNECTING);
	pool_set_tls(pair.side[0].pool, id->ctx, id->info.self.not_after_s);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[0]));
	server = side_take_pod(&pair.side[0]);
	expect_bytes(server, 100);
	carry(server, client, 100);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	pair_advance_s(&pair, 5);
	assert_int_equal(side_tunnel(&pair.side[0])->generation, pair.side[0].pool->generation);
}

static void the_last_of_a_bulk_link_is_read_behind_the_end_of_the_tunnel(void **state)
{
	const struct pki_node *id = &pki_get()->nodes[0];
	struct link *bulk;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100);
	tunnel_want_bulk(side_tunnel(&pair.side[0]));
	assert_true(pair_pump(&pair, has_bulk, &pair.side[0]));
	pair_run(&pair, 20);
	assert_int_equal(shutdown(server, SHUT_WR), 0);
	assert_int_equal(talk_wait(&pair, client), 0);
	nearly_bulk(stream_of(0));
	stream_of(0)->tx.limit += 65536;
	stream_of(1)->rx.limit += 65536;
	/* Node 2 hears nothing on the bulk link for a while. */
	bulk = side_tunnel(&pair.side[1])->link[FRAME_LINK_BULK];
	loop_remove(pair.side[1].loop, &bulk->source);
	send_bytes(client, STREAM_LARGE_READ_BYTES);
	pair_run(&pair, 20);
	assert_int_equal(stream_of(0)->tx_link, FRAME_LINK_BULK);
	send_bytes(client, 10000);
	close(client);
	pool_set_tls(pair.side[0].pool, id->ctx, id->info.self.not_after_s);
	for (int i = 0; i < 20 && side_tunnel(&pair.side[1])->link[FRAME_LINK_BULK] == bulk; i++)
		pair_advance_s(&pair, 1);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_FINISHED], 1);
	expect_bytes(server, STREAM_LARGE_READ_BYTES + 10000);
	assert_int_equal(talk_wait(&pair, server), 0);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_FINISHED], 1);
}

/* --- the end of a node --- */

static void an_open_that_crosses_a_drain_is_taken(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	/* An idle node is told to end while an OPEN is on its way to it. */
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	send_bytes(client, 100);
	run_side(0, 5);
	pool_drain(pair.side[1].pool);
	run_side(1, 1);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	expect_bytes(server, 100);
	carry(server, client, 100);
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
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
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
	send_bytes(client, 100);
	run_side(0, 5);
	pool_drain(pair.side[0].pool);
	run_side(0, 5);
	pair.side[1].is_cut = false;
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	expect_bytes(server, 100);
	carry(server, client, 100);
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
	send_bytes(late, 100);
	expect_bytes(server, 100);
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
	send_bytes(*ret_server, 300000);
	close(*ret_server);
	*ret_server = -1;
	assert_true(pair_pump(&pair, is_closing, stream_of(0)));
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
	assert_null(stream_of(0)->peer);
}

static void a_stream_that_ends_outlives_its_peer(void **state)
{
	int client, server;

	(void)state;
	make_closing(&client, &server);
	leave_alone();
	/* All that was sent still arrives. */
	expect_bytes(client, 300000);
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
	stream_of(0)->is_write_blocked = true;
	send_bytes(server, 20000);
	close(server);
	assert_true(pair_pump(&pair, is_draining, stream_of(0)));
	assert_int_equal(stream_of(0)->state, STREAM_OPEN);
	tunnel_close(side_tunnel(&pair.side[1]), REASON_PROTOCOL, "the test ends it");
	assert_true(pair_pump(&pair, has_no_tunnel, stream_of(0)));
	/* Nor does it need the peer; and whether its pod answers is nobody's to be told any more. */
	leave_alone();
	pair_advance_s(&pair, 2 * SILENCE_LOOK_MS / 1000);
	stream_of(0)->source.on_event(&stream_of(0)->source, EPOLLOUT);
	expect_bytes(client, 20000);
	assert_int_equal(talk_wait(&pair, client), 0);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_FINISHED], 1);
	close(client);
}

static void a_node_that_ends_takes_no_new_tunnel(void **state)
{
	int client;

	(void)state;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	run_side(1, 3);
	assert_int_equal(pair.side[1].pool->strangers_count, 1);
	pool_drain(pair.side[1].pool);
	assert_int_equal(pair.side[1].pool->strangers_count, 0);
	pair_run(&pair, 200);
	assert_null(side_tunnel(&pair.side[1]));
	close(client);
	pair_run(&pair, 20);
}

/* --- the pod --- */

static void a_reset_is_passed_on_although_the_far_pod_does_not_read(void **state)
{
	struct linger reset = { 1, 0 };
	char block[65536] = { 0 };
	int client, server, idle = 0;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	while (idle < 200) {
		idle = send(client, block, sizeof(block), MSG_NOSIGNAL) > 0 ? 0 : idle + 1;
		pair_run(&pair, 1);
	}
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	while (recv(server, block, sizeof(block), 0) > 0)
		;
	assert_int_equal(errno, ECONNRESET);
	close(server);
}

static void a_reset_behind_data_is_passed_on_once_the_window_is_full(void **state)
{
	struct linger reset = { 1, 0 };
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100);
	pair.side[1].is_cut = true; /* no credit comes */
	send_bytes(client, 2 * WINDOW_INITIAL_BYTES);
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(client);
	pair_run(&pair, 20);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_POD_RESET], 1);
	pair.side[1].is_cut = false;
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	close(server);
}

/* --- urgent data --- */

/* Side i has got so many bytes of its only stream. */
struct received {
	int side;
	uint64_t bytes;
};

static bool has_received(void *ctx)
{
	const struct received *wanted = ctx;

	return pair.side[wanted->side].pool->streams_count == 1 && stream_of(wanted->side)->rx.received == wanted->bytes;
}

static bool polls(int fd, short event)
{
	struct pollfd p = { .fd = fd, .events = event };

	return poll(&p, 1, 0) == 1 && p.revents & event;
}

/* ctx: the descriptor. */
static bool has_urgent(void *ctx)
{
	return polls(*(int *)ctx, POLLPRI);
}

static bool has_end(void *ctx)
{
	return polls(*(int *)ctx, POLLRDHUP);
}

static bool takes_more(void *ctx)
{
	return polls(*(int *)ctx, POLLOUT);
}

static void send_urgent(int fd, char byte)
{
	assert_int_equal(send(fd, &byte, 1, MSG_OOB | MSG_NOSIGNAL), 1);
}

/* Reads so many bytes, then stands at the mark of this urgent byte. Reading takes nothing beyond it, and skips it. */
static void expect_urgent(int fd, size_t before, char byte)
{
	char got = 0;
	int is_at_mark = 0;

	expect_bytes(fd, before);
	assert_true(pair_pump(&pair, has_urgent, &fd));
	assert_int_equal(ioctl(fd, SIOCATMARK, &is_at_mark), 0);
	assert_true(is_at_mark);
	assert_int_equal(recv(fd, &got, 1, MSG_OOB), 1);
	assert_int_equal(got, byte);
}

static void an_urgent_byte_keeps_its_mark(void **state)
{
	int end[2];

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &end[0], &end[1]);
	carry(end[0], end[1], 100);
	for (int from = 0; from < 2; from++) {
		send_bytes(end[from], 50);
		send_urgent(end[from], '!');
		send_bytes(end[from], 70);
		expect_urgent(end[!from], 50, '!');
		expect_bytes(end[!from], 70);
		carry(end[from], end[!from], 100);
		assert_false(stream_of(from)->is_read_urgent);
		assert_int_equal(stream_of(!from)->urgent_end, 0);
	}
	close(end[0]);
	close(end[1]);
}

static void an_urgent_byte_may_be_the_first_and_the_last(void **state)
{
	int client, server;
	char byte;

	(void)state;
	/* The server is not connected yet. */
	pair.side[1].connect_pod_error = -EADDRNOTAVAIL;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	send_urgent(client, '1');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 1 }));
	pair.side[1].connect_pod_error = 0;
	clock_fake_advance(&pair.side[1].clock, 10 * NS_PER_MS);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	expect_urgent(server, 0, '1');
	send_urgent(client, '2');
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	expect_urgent(server, 0, '2');
	assert_true(pair_pump(&pair, has_end, &server));
	assert_int_equal(recv(server, &byte, 1, 0), 0);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void an_urgent_byte_waits_for_a_pod_that_does_not_read(void **state)
{
	char block[65536] = { 0 };
	size_t before = 0;
	int client, server, idle = 0;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	while (idle < 200) {
		ssize_t n = send(client, block, sizeof(block), MSG_NOSIGNAL);

		before += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
		pair_run(&pair, 1);
	}
	assert_true(stream_of(1)->is_write_blocked);
	expect_bytes(server, before / 2);
	assert_true(pair_pump(&pair, takes_more, &client));
	send_urgent(client, '!');
	send_bytes(client, 1000);
	expect_urgent(server, before - before / 2, '!');
	expect_bytes(server, 1000);
	close(client);
	close(server);
}

static void an_urgent_byte_lies_in_the_queue_of_a_blocked_pod(void **state)
{
	struct stream *to;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100);
	to = stream_of(1);
	to->is_write_blocked = true; /* as by a pod that takes nothing */
	send_bytes(client, 300);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 400 }));
	send_urgent(client, 'a');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 401 }));
	send_bytes(client, 5000);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5401 }));
	assert_int_equal(to->urgent_end, 401);
	assert_int_equal(to->queue.len_bytes, 5301);
	to->is_write_blocked = false;
	stream_flush_queue(to);
	assert_int_equal(to->urgent_end, 0);
	expect_urgent(server, 300, 'a');
	expect_bytes(server, 5000);
	/* A later one takes the place of one that still waits: its byte is one among the others then. */
	to->is_write_blocked = true;
	send_urgent(client, 'b');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5402 }));
	send_bytes(client, 10);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5412 }));
	send_urgent(client, 'c');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5413 }));
	to->is_write_blocked = false;
	stream_flush_queue(to);
	expect_urgent(server, 11, 'c');
	carry(client, server, 100);
	close(client);
	close(server);
}

static void an_urgent_byte_on_the_new_link_overtakes_data_on_the_old_one(void **state)
{
	struct stream *from, *to;
	int client, server;

	(void)state;
	deafen_light(&client, &server);
	from = stream_of(0);
	to = stream_of(1);
	send_bytes(client, STREAM_LARGE_READ_BYTES);
	assert_true(pair_pump(&pair, is_on_bulk, from));
	send_bytes(client, 1000);
	send_urgent(client, '!');
	send_bytes(client, 500);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 100 + 1501 }));
	assert_int_equal(to->stash_urgent, 1001);
	assert_int_equal(to->urgent_end, 0);
	hear_light();
	expect_urgent(server, STREAM_LARGE_READ_BYTES + 1000, '!');
	expect_bytes(server, 500);
	carry(client, server, 100);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void an_urgent_byte_on_the_old_link_is_overtaken_by_data_on_the_new_one(void **state)
{
	struct stream *from, *to;
	int client, server;

	(void)state;
	deafen_light(&client, &server);
	from = stream_of(0);
	to = stream_of(1);
	send_bytes(client, 100);
	send_urgent(client, '!');
	assert_true(pair_pump(&pair, has_sent, &(struct sent){ from, 100 + 101 }));
	nearly_bulk(from);
	send_bytes(client, STREAM_LARGE_READ_BYTES);
	assert_true(pair_pump(&pair, is_on_bulk, from));
	send_bytes(client, 1000);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 100 + 1000 }));
	assert_int_equal(to->stash_urgent, 0);
	hear_light();
	expect_urgent(server, 100, '!');
	expect_bytes(server, STREAM_LARGE_READ_BYTES + 1000);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void an_urgent_byte_for_a_pod_that_takes_nothing_any_more_is_dropped(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry(client, server, 100);
	stream_of(1)->is_write_blocked = true;
	send_bytes(client, 100);
	send_urgent(client, '!');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 201 }));
	talk_reset(server);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static bool is_dialing(void *ctx)
{
	struct side *s = ctx;

	return s->pool->streams_count && stream_of(s->index)->state == STREAM_DIALING;
}

static void a_client_port_that_the_last_connection_still_holds_is_waited_for(void **state)
{
	int client, server;

	(void)state;
	pair.side[1].connect_pod_error = -EADDRNOTAVAIL;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	send_bytes(client, 50);
	assert_true(pair_pump(&pair, is_dialing, &pair.side[1]));
	pair.side[1].connect_pod_error = 0;
	clock_fake_advance(&pair.side[1].clock, 10 * NS_PER_MS);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	expect_bytes(server, 50);
	close(client);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void a_client_port_that_stays_in_use_is_refused_in_the_end(void **state)
{
	int client;

	(void)state;
	pair.side[1].connect_pod_error = -EADDRNOTAVAIL;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, is_dialing, &pair.side[1]));
	clock_fake_advance(&pair.side[1].clock, 6 * NS_PER_S);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_NO_RESOURCES], 1);
	close(client);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_end_right_behind_a_switch_that_is_due),
		T(a_switch_overtakes_the_hello_of_the_bulk_link),
		T(an_end_on_the_new_link_overtakes_data_on_the_old_one),
		T(a_link_without_anything_to_do_holds_no_buffer),
		T(an_answer_that_is_there_goes_with_opened),
		T(last_words_and_the_end_are_one_packet),
		T(credit_goes_behind_opened),
		T(the_last_words_of_a_pod_that_resets_go_behind_opened),
		T(a_server_that_says_nothing_is_open_all_the_same),
		T(a_reset_before_opened_is_owed_no_opened),
		T(credit_is_asked_back_while_data_is_on_its_way),
		T(streams_that_wait_do_not_use_up_the_tunnels_credit),
		T(a_tunnels_credit_never_goes_back),
		T(an_open_that_was_not_taken_goes_elsewhere),
		T(an_open_with_its_end_that_was_not_taken_goes_elsewhere),
		T(an_open_that_is_owed_goes_before_goaway),
		T(new_certificates_do_not_touch_a_tunnel_that_the_peer_uses_already),
		T(the_last_of_a_bulk_link_is_read_behind_the_end_of_the_tunnel),
		T(an_open_that_crosses_a_drain_is_taken),
		T(a_peer_that_does_not_answer_holds_a_drain_up_for_seconds_only),
		T(a_stream_that_waits_for_a_tunnel_has_the_time_of_the_drain),
		T(a_stream_that_waits_in_vain_is_reset_at_the_end_of_the_drain),
		T(drained_is_told_once),
		T(a_stream_that_ends_outlives_its_peer),
		T(what_came_whole_is_handed_over_although_the_tunnel_is_lost),
		T(a_node_that_ends_takes_no_new_tunnel),
		T(a_reset_is_passed_on_although_the_far_pod_does_not_read),
		T(a_reset_behind_data_is_passed_on_once_the_window_is_full),
		T(an_urgent_byte_keeps_its_mark),
		T(an_urgent_byte_may_be_the_first_and_the_last),
		T(an_urgent_byte_waits_for_a_pod_that_does_not_read),
		T(an_urgent_byte_lies_in_the_queue_of_a_blocked_pod),
		T(an_urgent_byte_on_the_new_link_overtakes_data_on_the_old_one),
		T(an_urgent_byte_on_the_old_link_is_overtaken_by_data_on_the_new_one),
		T(an_urgent_byte_for_a_pod_that_takes_nothing_any_more_is_dropped),
		T(a_client_port_that_the_last_connection_still_holds_is_waited_for),
		T(a_client_port_that_stays_in_use_is_refused_in_the_end),
	};

	log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR);
	if (tls_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
