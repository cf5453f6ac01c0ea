/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SYNs that may pass (permissive mode): one waits a little for a tunnel, and goes on in the clear where none takes it. */
#include "syns.h"
#include "talk.h"

#include "tunnel/held.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define CLIENT "10.1.0.5:40000"
#define SERVER "10.2.0.7:80"

static struct side *const near = &pair.side[0], *const far = &pair.side[1];

static struct syn take_syn_that_may_pass(const char *client, const char *server, uint32_t seq)
{
	struct syn s = { .seq = seq, .may_pass = true };

	assert_int_equal(endpoint_parse(client, &s.client), 0);
	assert_int_equal(endpoint_parse(server, &s.server), 0);
	pool_take_syn(near->pool, &s);
	return s;
}

static bool has_tunnel(void *ctx)
{
	(void)ctx;
	return peer_tunnel(container_of(near->pool->peers.next, struct peer, entry)) != NULL;
}

static void a_syn_that_may_pass_waits_200_ms_for_a_tunnel(void **state)
{
	(void)state;
	far->is_cut = true;
	take_syn_that_may_pass(CLIENT, SERVER, 1000);
	pair_advance_ms(&pair, STREAM_PASS_MS - 1);
	assert_int_equal(near->answered, 0);
	assert_int_equal(near->pool->held.count, 1);
	pair_advance_ms(&pair, 1);
	syns_expect_answer(&pair, SYN_PASS);
	assert_int_equal(near->pool->counters.closed[REASON_NO_TUNNEL], 1);
	/* A tunnel that comes now has nothing of it. */
	far->is_cut = false;
	pair_advance_s(&pair, 3);
	assert_true(pair_pump(&pair, has_tunnel, NULL));
	assert_int_equal(far->pool->counters.requested, 0);
	assert_int_equal(near->answered, 1);
	/* And has the next. */
	take_syn_that_may_pass("10.1.0.5:40001", SERVER, 1000);
	syns_expect_released(&pair, 1);
	close(pair_open(&pair, 0, "10.1.0.5:40001", SERVER));
	close(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void a_tunnel_in_time_carries_what_may_pass(void **state)
{
	(void)state;
	far->is_cut = true;
	take_syn_that_may_pass(CLIENT, SERVER, 1000);
	pair_advance_ms(&pair, STREAM_PASS_MS - 1);
	far->is_cut = false;
	syns_expect_released(&pair, 1);
	pair_advance_ms(&pair, HELD_HANDSHAKE_MS - 1);
	close(pair_open(&pair, 0, CLIENT, SERVER));
	close(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->answered, 0);
}

/* A tunnel was there: how long the server takes is its own business. */
static void what_a_tunnel_has_taken_does_not_pass_however_late_it_is_opened(void **state)
{
	(void)state;
	take_syn_that_may_pass(CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	close(pair_open(&pair, 0, CLIENT, SERVER));
	close(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	far->is_cut = true;
	take_syn_that_may_pass("10.1.0.5:40001", SERVER, 1000);
	pair_advance_ms(&pair, 5 * STREAM_PASS_MS);
	assert_int_equal(talk_stream(near)->state, STREAM_OPENING);
	assert_int_equal(near->answered, 0);
	far->is_cut = false;
	syns_expect_released(&pair, 2);
	close(pair_open(&pair, 0, "10.1.0.5:40001", SERVER));
	close(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->answered, 0);
	/* And what the server says is what its client hears. */
	far->connect_pod_error = -ECONNREFUSED;
	take_syn_that_may_pass("10.1.0.5:40002", SERVER, 1000);
	assert_true(pair_pump(&pair, syns_are_answered, &(struct syns_count){ near, 1 }));
	assert_int_equal(near->last_answer.kind, SYN_RESET);
	/* Trouble of the far node's own is none of this one's tunnel. */
	far->connect_pod_error = -EMFILE;
	take_syn_that_may_pass("10.1.0.5:40003", SERVER, 1000);
	assert_true(pair_pump(&pair, syns_are_answered, &(struct syns_count){ near, 2 }));
	assert_int_equal(near->pool->counters.closed[REASON_NO_RESOURCES], 1);
	assert_int_equal(near->last_answer.kind, SYN_SILENCE);
}

static void what_may_pass_passes_where_its_tunnel_is_lost(void **state)
{
	(void)state;
	take_syn_that_may_pass(CLIENT, SERVER, 1000);
	assert_true(pair_pump(&pair, talk_is_dialing, far));
	far->is_cut = true; /* it makes no other tunnel */
	near->connect_node_error = -EHOSTUNREACH;
	tunnel_close(side_tunnel(near), REASON_TUNNEL_LOST, "the test's");
	assert_int_equal(near->answered, 0);
	pair_advance_ms(&pair, STREAM_PASS_MS);
	assert_int_equal(near->answered, 1);
	assert_int_equal(near->last_answer.kind, SYN_PASS);
	far->is_cut = false;
}

static void an_address_that_nobody_knows_passes_where_it_may(void **state)
{
	(void)state;
	take_syn_that_may_pass(CLIENT, "10.3.0.1:80", 1000);
	pair_advance_ms(&pair, STREAM_PASS_MS);
	syns_expect_answer(&pair, SYN_PASS);
	assert_int_equal(near->pool->counters.closed[REASON_UNKNOWN_ADDRESS], 1);
}

static void what_can_not_be_held_passes_where_it_may_and_no_tunnel_is_up(void **state)
{
	char client[64];

	(void)state;
	near->connect_node_error = -EHOSTUNREACH;
	for (int i = 0; i < HELD_SOURCE_MAX; i++) {
		snprintf(client, sizeof(client), "10.1.0.5:%d", 40000 + i);
		take_syn_that_may_pass(client, SERVER, 1000);
	}
	assert_int_equal(near->answered, 0);
	take_syn_that_may_pass("10.1.0.5:50000", SERVER, 1000);
	assert_int_equal(near->answered, 1);
	assert_int_equal(near->last_answer.kind, SYN_PASS);
	assert_int_equal(near->released, 0);
	assert_int_equal(near->pool->counters.syns_unheld, 1);
	/* All of them, each once. */
	pair_advance_ms(&pair, STREAM_PASS_MS);
	assert_int_equal(near->answered, HELD_SOURCE_MAX + 1);
	assert_int_equal(near->pool->held.count, 0);
}

/* The mode has changed while it waits: its client sends it again. */
static void a_syn_that_may_pass_now_does_not_wait_for_what_it_waited_for(void **state)
{
	(void)state;
	far->is_cut = true;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	pair_advance_ms(&pair, 1000);
	assert_int_equal(near->answered, 0);
	take_syn_that_may_pass(CLIENT, SERVER, 1000);
	pair_advance_ms(&pair, 0);
	syns_expect_answer(&pair, SYN_PASS);
	far->is_cut = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_syn_that_may_pass_waits_200_ms_for_a_tunnel),
		T(a_tunnel_in_time_carries_what_may_pass),
		T(what_a_tunnel_has_taken_does_not_pass_however_late_it_is_opened),
		T(what_may_pass_passes_where_its_tunnel_is_lost),
		T(an_address_that_nobody_knows_passes_where_it_may),
		T(what_can_not_be_held_passes_where_it_may_and_no_tunnel_is_up),
		T(a_syn_that_may_pass_now_does_not_wait_for_what_it_waited_for),
	};

	return PAIR_RUN(tests);
}
