/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A stream that moves to the bulk link of its tunnel: what crosses on the two links, and what they hold. */
#include "bulk.h"
#include "carry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static void an_end_right_behind_a_switch_that_is_due(void **state)
{
	struct stream *s;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, client, server, 100);
	tunnel_want_bulk(side_tunnel(&pair.side[0]));
	assert_true(pair_pump(&pair, bulk_is_up, &pair.side[0]));
	s = talk_stream(&pair.side[0]);
	bulk_is_next(s);
	carry_send(client, STREAM_LARGE_READ_BYTES - 200);
	carry_bytes(&pair, client, server, 0);
	/* Large read and end in one turn of the loop. */
	carry_expect(&pair, server, STREAM_LARGE_READ_BYTES - 200);
	s->tx.limit += 65536;
	talk_stream(&pair.side[1])->rx.limit += 65536;
	bulk_is_next(s);
	carry_send(client, STREAM_LARGE_READ_BYTES);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	carry_expect(&pair, server, STREAM_LARGE_READ_BYTES);
	assert_int_equal(talk_wait(&pair, server), 0);
	close(server);
	assert_int_equal(talk_wait(&pair, client), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void a_switch_overtakes_the_hello_of_the_bulk_link(void **state)
{
	struct tunnel *t;
	struct stream *s;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, server, client, 100);
	t = side_tunnel(&pair.side[0]);
	tunnel_want_bulk(t);
	/* Node 2 has the bulk link and has said HELLO on it; node 1 has not read that yet. */
	assert_true(pair_pump(&pair, bulk_is_up, &pair.side[1]));
	assert_false(tunnel_has_bulk(t));
	s = talk_stream(&pair.side[1]);
	bulk_is_next(s);
	s->tx.limit += 65536;
	talk_stream(&pair.side[0])->rx.limit += 65536;
	carry_send(server, STREAM_LARGE_READ_BYTES);
	assert_true(side_pump(&pair.side[1], bulk_has_stream, s));
	carry_send(server, 10000);
	assert_true(side_pump(&pair.side[1], carry_has_sent, &(struct carry_sent){ s, 100 + STREAM_LARGE_READ_BYTES + 10000 }));
	carry_expect(&pair, client, STREAM_LARGE_READ_BYTES + 10000);
	assert_ptr_equal(side_tunnel(&pair.side[0]), t);
	assert_int_equal(t->state, TUNNEL_UP);
	close(client);
	close(server);
}

static bool has_stashed_end(void *ctx)
{
	return ((struct stream *)ctx)->is_stash_ended;
}

static void an_end_on_the_new_link_overtakes_data_on_the_old_one(void **state)
{
	struct stream *from, *to;
	int client, server;

	(void)state;
	bulk_deafen_light(&pair, &client, &server);
	from = talk_stream(&pair.side[0]);
	to = talk_stream(&pair.side[1]);
	carry_send(client, STREAM_LARGE_READ_BYTES);
	assert_true(pair_pump(&pair, bulk_has_stream, from));
	carry_send(client, 1000);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_true(pair_pump(&pair, has_stashed_end, to));
	bulk_hear_light(&pair);
	carry_expect(&pair, server, STREAM_LARGE_READ_BYTES + 1000);
	assert_int_equal(talk_wait(&pair, server), 0);
	carry_bytes(&pair, server, client, 100);
	talk_end(&pair, client, server);
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
	carry_bytes(&pair, client, server, 100000);
	carry_bytes(&pair, server, client, 100);
	assert_true(pair_pump(&pair, holds_no_buffer, &pair.side[0]));
	assert_true(pair_pump(&pair, holds_no_buffer, &pair.side[1]));
	close(client);
	close(server);
}

static int is_kept_alive(const struct link *l)
{
	int is_on = -1;
	socklen_t len = sizeof(is_on);

	assert_int_equal(getsockopt(l->source.fd, SOL_SOCKET, SO_KEEPALIVE, &is_on, &len), 0);
	return is_on;
}

/* A firewall on the way forgets a connection that is idle, and PING goes by the light link. */
static void a_bulk_link_is_kept_alive(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	tunnel_want_bulk(side_tunnel(&pair.side[0]));
	assert_true(pair_pump(&pair, bulk_is_up, &pair.side[0]));
	assert_true(pair_pump(&pair, bulk_is_up, &pair.side[1]));
	for (int i = 0; i < 2; i++) {
		struct tunnel *t = side_tunnel(&pair.side[i]);

		assert_int_equal(is_kept_alive(t->link[FRAME_LINK_LIGHT]), 0);
		assert_int_equal(is_kept_alive(t->link[FRAME_LINK_BULK]), 1);
		t->is_patient = true; /* the peer was silent, and answers again */
	}
	pair_advance_s(&pair, 1);
	for (int i = 0; i < 2; i++) {
		assert_false(side_tunnel(&pair.side[i])->is_patient);
		assert_int_equal(is_kept_alive(side_tunnel(&pair.side[i])->link[FRAME_LINK_BULK]), 1);
	}
	close(client);
	close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_end_right_behind_a_switch_that_is_due),
		T(a_switch_overtakes_the_hello_of_the_bulk_link),
		T(an_end_on_the_new_link_overtakes_data_on_the_old_one),
		T(a_bulk_link_is_kept_alive),
		T(a_link_without_anything_to_do_holds_no_buffer),
	};

	return PAIR_RUN(tests);
}
