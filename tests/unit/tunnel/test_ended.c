/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is kept of streams that ended: on both nodes the same reason, and the same word of whose it was. */
#include "talk.h"

#include "tunnel/ended.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define CLIENT "10.1.0.5:40000"
#define SERVER "10.2.0.7:80"

/* The newest of this reason on side i. */
static const struct ended *newest(int i, enum close_reason reason)
{
	const struct ended *e = ended_at(&pair.side[i].pool->ended, reason, 0);

	assert_non_null(e);
	assert_int_equal(e->reason, reason);
	assert_int_equal(e->is_client_side, i == 0);
	return e;
}

/* Both sides have kept one stream from CLIENT to SERVER, ended for this reason by that one. */
static void expect_ended(enum close_reason reason, enum ended_by there, enum ended_by here)
{
	static const char *const peers[] = { "node2", "node1" };
	enum ended_by by[] = { here, there };
	char text[ENDPOINT_TEXT_BYTES];

	assert_true(pair_pump(&pair, talk_is_over, &pair));
	for (int i = 0; i < 2; i++) {
		const struct ended *e = newest(i, reason);

		assert_null(ended_at(&pair.side[i].pool->ended, reason, 1));
		assert_string_equal(ended_by_text((enum ended_by)e->by), ended_by_text(by[i]));
		assert_string_equal(e->peer, peers[i]);
		assert_string_equal(endpoint_print(&e->client, text), CLIENT);
		assert_string_equal(endpoint_print(&e->server, text), SERVER);
	}
}

static void nothing_is_kept_before_a_stream_has_ended(void **state)
{
	(void)state;
	for (int reason = 0; reason < REASON_COUNT; reason++)
		assert_null(ended_at(&pair.side[0].pool->ended, (enum close_reason)reason, 0));
}

static void an_end_in_order_names_who_ended_first(void **state)
{
	int client, server;

	(void)state;
	for (int is_client_first = 0; is_client_first < 2; is_client_first++) {
		enum ended_by by = is_client_first ? ENDED_BY_CLIENT : ENDED_BY_SERVER;

		talk_open(&pair, 0, CLIENT, SERVER, &client, &server);
		talk_say(client, "question");
		talk_expect(&pair, server, "question");
		talk_say(server, "yes");
		talk_expect(&pair, client, "yes");
		close(is_client_first ? client : server);
		assert_int_equal(talk_wait(&pair, is_client_first ? server : client), 0);
		close(is_client_first ? server : client);
		expect_ended(REASON_FINISHED, by, by);
		assert_int_equal(newest(0, REASON_FINISHED)->sent_bytes, 8);
		assert_int_equal(newest(0, REASON_FINISHED)->received_bytes, 3);
		assert_int_equal(newest(1, REASON_FINISHED)->sent_bytes, 3);
		assert_int_equal(newest(1, REASON_FINISHED)->received_bytes, 8);
		tear_down(NULL);
		set_up(NULL);
	}
}

static void a_reset_names_the_pod_that_sent_it(void **state)
{
	int client, server;

	(void)state;
	for (int is_client = 0; is_client < 2; is_client++) {
		enum ended_by by = is_client ? ENDED_BY_CLIENT : ENDED_BY_SERVER;

		talk_open(&pair, 0, CLIENT, SERVER, &client, &server);
		talk_say(client, "hello");
		talk_expect(&pair, server, "hello");
		talk_reset(is_client ? client : server);
		expect_ended(REASON_POD_RESET, by, by);
		assert_int_equal(newest(0, REASON_POD_RESET)->state, STREAM_OPEN);
		close(is_client ? server : client);
		tear_down(NULL);
		set_up(NULL);
	}
}

static void an_attempt_that_failed_names_the_server_or_the_way_to_it(void **state)
{
	static const struct {
		int error;
		enum close_reason reason;
		enum ended_by by;
	} cases[] = {
		{ -ECONNREFUSED, REASON_REFUSED, ENDED_BY_SERVER },
		{ -ETIMEDOUT, REASON_TIMED_OUT, ENDED_BY_SERVER },
		{ -EHOSTUNREACH, REASON_HOST_UNREACHABLE, ENDED_BY_NETWORK },
		{ -ENETUNREACH, REASON_NET_UNREACHABLE, ENDED_BY_NETWORK },
		{ -EACCES, REASON_PROHIBITED, ENDED_BY_NETWORK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int client = pair_open(&pair, 0, CLIENT, SERVER);

		pair.side[1].connect_pod_error = cases[i].error;
		assert_true(talk_wait(&pair, client) < 0);
		close(client);
		expect_ended(cases[i].reason, cases[i].by, cases[i].by);
		assert_int_equal(newest(0, cases[i].reason)->state, STREAM_OPENING);
		assert_int_equal(newest(1, cases[i].reason)->state, STREAM_JUDGING);
	}
}

static void what_a_node_refuses_is_its_own_word_and_at_the_other_the_peers(void **state)
{
	int client = pair_open(&pair, 0, CLIENT, SERVER);

	(void)state;
	pair.side[1].connect_pod_error = -EMFILE;
	assert_true(talk_wait(&pair, client) < 0);
	close(client);
	expect_ended(REASON_NO_RESOURCES, ENDED_BY_NODE, ENDED_BY_PEER);
}

static void an_end_that_nobody_told_is_each_nodes_own_word(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, CLIENT, SERVER, &client, &server);
	tunnel_close(side_tunnel(&pair.side[0]), REASON_PEER_TIMEOUT, "no answer");
	assert_true(talk_wait(&pair, client) < 0);
	assert_true(talk_wait(&pair, server) < 0);
	close(client);
	close(server);
	assert_int_equal(newest(0, REASON_PEER_TIMEOUT)->by, ENDED_BY_NODE);
	assert_int_equal(newest(1, REASON_TUNNEL_LOST)->by, ENDED_BY_NODE);
}

static void its_age_is_that_of_the_stream(void **state)
{
	int client, server;
	const struct ended *e;

	(void)state;
	talk_open(&pair, 0, CLIENT, SERVER, &client, &server);
	pair_advance_s(&pair, 7);
	talk_reset(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	pair_advance_s(&pair, 3);
	close(server);
	e = newest(0, REASON_POD_RESET);
	assert_int_equal(instant_elapsed_ns(e->created, e->ended) / NS_PER_S, 7);
	assert_int_equal(instant_elapsed_ns(e->ended, pool_now(pair.side[0].pool)) / NS_PER_S, 3);
}

/* --- the ring itself --- */

static void each_reason_keeps_its_own(void **state)
{
	struct ended_log *l = calloc(1, sizeof(*l));
	struct stream s = { .role = STREAM_SERVER_SIDE, .reason = REASON_OVER_BUDGET, .id = 1 };

	(void)state;
	assert_non_null(l);
	(void)ended_note(l, &s, STREAM_JUDGING, (struct instant){ 5 });
	s.reason = REASON_POD_RESET;
	for (s.id = 1; s.id <= 3 * ENDED_KEPT + 1; s.id++) {
		const struct ended *e = ended_note(l, &s, STREAM_OPEN, (struct instant){ s.id });

		assert_int_equal(e->id, s.id);
		assert_ptr_equal(e, ended_at(l, REASON_POD_RESET, 0));
	}
	for (size_t i = 0; i < ENDED_KEPT; i++) {
		assert_int_equal(ended_at(l, REASON_POD_RESET, i)->id, 3 * ENDED_KEPT + 1 - i);
		assert_string_equal(ended_at(l, REASON_POD_RESET, i)->peer, "");
	}
	assert_null(ended_at(l, REASON_POD_RESET, ENDED_KEPT));
	assert_int_equal(ended_at(l, REASON_OVER_BUDGET, 0)->ended.ns, 5);
	assert_null(ended_at(l, REASON_OVER_BUDGET, 1));
	free(l);
}

static void the_icmp_error_is_told_with_its_sender(void **state)
{
	struct frame_cause cause = { 0 };
	char text[ENDED_CAUSE_BYTES] = "before";

	(void)state;
	assert_string_equal(ended_cause_print(&cause, text), "");
	cause = (struct frame_cause){ .type = 3, .code = 13 };
	assert_int_equal(addr_parse("10.0.0.1", &cause.from), 0);
	assert_string_equal(ended_cause_print(&cause, text), "ICMP 3/13 from 10.0.0.1");
	cause = (struct frame_cause){ .type = 255, .code = 255 };
	assert_int_equal(addr_parse("fd00:1111:2222:3333:4444:5555:6666:7777", &cause.from), 0);
	assert_string_equal(ended_cause_print(&cause, text), "ICMP 255/255 from fd00:1111:2222:3333:4444:5555:6666:7777");
}

static void every_word_is_another(void **state)
{
	(void)state;
	for (int i = 0; i < ENDED_BY_COUNT; i++) {
		for (int j = 0; j < i; j++)
			assert_string_not_equal(ended_by_text((enum ended_by)i), ended_by_text((enum ended_by)j));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_is_kept_before_a_stream_has_ended),
		T(an_end_in_order_names_who_ended_first),
		T(a_reset_names_the_pod_that_sent_it),
		T(an_attempt_that_failed_names_the_server_or_the_way_to_it),
		T(what_a_node_refuses_is_its_own_word_and_at_the_other_the_peers),
		T(an_end_that_nobody_told_is_each_nodes_own_word),
		T(its_age_is_that_of_the_stream),
		cmocka_unit_test(each_reason_keeps_its_own),
		cmocka_unit_test(the_icmp_error_is_told_with_its_sender),
		cmocka_unit_test(every_word_is_another),
	};

	return PAIR_RUN(tests);
}
