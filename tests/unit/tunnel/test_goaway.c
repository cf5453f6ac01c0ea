/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A tunnel that ends while its node goes on: what was not taken goes elsewhere, and what is on its way arrives. */
#include "bulk.h"
#include "carry.h"

#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

/* A tunnel ends before its node has read our OPEN: the stream goes on on another. */
static void reopens_elsewhere(bool is_half_closed)
{
	int first_client, first_server, client, server;

	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &first_client, &first_server);
	client = pair_open(&pair, 1, "10.2.0.5:40000", "10.1.0.7:80");
	if (is_half_closed)
		assert_int_equal(shutdown(client, SHUT_WR), 0);
	side_run(&pair.side[1], 5);
	tunnel_close(side_tunnel(&pair.side[0]), REASON_PROTOCOL, "the test ends it");
	assert_int_equal(talk_wait(&pair, first_client), -ECONNRESET);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[0]));
	server = side_take_pod(&pair.side[0]);
	if (is_half_closed)
		assert_int_equal(talk_wait(&pair, server), 0);
	else
		carry_bytes(&pair, client, server, 1000);
	carry_bytes(&pair, server, client, 1000);
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_DRAINING], 0);
	close(first_client);
	close(first_server);
	talk_end(&pair, client, server);
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
	talk_end(&pair, client, server);
	pair_run(&pair, 20);
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	tunnel_drain(side_tunnel(&pair.side[0]), REASON_FINISHED); /* as for new certificates */
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	carry_bytes(&pair, client, server, 1000);
	carry_bytes(&pair, server, client, 1000);
	talk_end(&pair, client, server);
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
	carry_send(client, 100);
	side_run(&pair.side[1], 5);
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_CONNECTING);
	pool_set_tls(pair.side[0].pool, id->ctx, id->info.self.not_after_s);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[0]));
	server = side_take_pod(&pair.side[0]);
	carry_expect(&pair, server, 100);
	carry_bytes(&pair, server, client, 100);
	talk_end(&pair, client, server);
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
	carry_bytes(&pair, client, server, 100);
	tunnel_want_bulk(side_tunnel(&pair.side[0]));
	assert_true(pair_pump(&pair, bulk_is_up, &pair.side[0]));
	pair_run(&pair, 20);
	assert_int_equal(shutdown(server, SHUT_WR), 0);
	assert_int_equal(talk_wait(&pair, client), 0);
	bulk_is_next(talk_stream(&pair.side[0]));
	talk_stream(&pair.side[0])->tx.limit += 65536;
	talk_stream(&pair.side[1])->rx.limit += 65536;
	/* Node 2 hears nothing on the bulk link for a while. */
	bulk = side_tunnel(&pair.side[1])->link[FRAME_LINK_BULK];
	loop_remove(pair.side[1].loop, &bulk->source);
	carry_send(client, STREAM_LARGE_READ_BYTES);
	pair_run(&pair, 20);
	assert_int_equal(talk_stream(&pair.side[0])->tx_link, FRAME_LINK_BULK);
	carry_send(client, 10000);
	close(client);
	pool_set_tls(pair.side[0].pool, id->ctx, id->info.self.not_after_s);
	for (int i = 0; i < 20 && side_tunnel(&pair.side[1])->link[FRAME_LINK_BULK] == bulk; i++)
		pair_advance_s(&pair, 1);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_FINISHED], 1);
	carry_expect(&pair, server, STREAM_LARGE_READ_BYTES + 10000);
	assert_int_equal(talk_wait(&pair, server), 0);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_FINISHED], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_open_that_was_not_taken_goes_elsewhere),
		T(an_open_with_its_end_that_was_not_taken_goes_elsewhere),
		T(an_open_that_is_owed_goes_before_goaway),
		T(new_certificates_do_not_touch_a_tunnel_that_the_peer_uses_already),
		T(the_last_of_a_bulk_link_is_read_behind_the_end_of_the_tunnel),
	};

	return PAIR_RUN(tests);
}
