/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a stream begins and ends: what goes with OPENED and what behind it, what an end goes with and behind, and a client port that is still in use. */
#include "carry.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static bool has_open_stream(void *ctx)
{
	const struct pool *p = ((struct side *)ctx)->pool;

	return p->streams_count == 1 && talk_stream(ctx)->state == STREAM_OPEN;
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
	carry_send(client, 100);
	assert_true(pair_pump(&pair, has_open_stream, &pair.side[1]));
	to = talk_stream(&pair.side[1]);
	assert_false(to->has_nonce);
	server = side_take_pod(&pair.side[1]);
	carry_send(server, 100);
	for (int i = 0; i < 100000 && !can_read_100(to); i++)
		usleep(20);
	side_run(&pair.side[1], 1);
	assert_true(to->has_nonce);
	assert_int_equal(to->tx.sent, 100);
	carry_expect(&pair, server, 100);
	carry_expect(&pair, client, 100);
	talk_end(&pair, client, server);
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
	carry_bytes(&pair, client, server, 100);
	before = segments_in(server);
	carry_send(client, 100);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	carry_expect(&pair, server, 100);
	assert_int_equal(talk_wait(&pair, server), 0);
	assert_int_equal(segments_in(server) - before, 1);
	carry_bytes(&pair, server, client, 100);
	talk_end(&pair, client, server);
}

static bool knows_the_end(void *ctx)
{
	return ((struct stream *)ctx)->rx_half != HALF_OPEN;
}

static void an_end_alone_waits_one_turn(void **state)
{
	struct stream *to;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, client, server, 100);
	to = talk_stream(&pair.side[1]);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_true(pair_pump(&pair, knows_the_end, to));
	assert_int_equal(to->rx_half, HALF_DRAINING);
	side_run(&pair.side[1], 1);
	assert_int_equal(to->rx_half, HALF_SHUT);
	assert_int_equal(talk_wait(&pair, server), 0);
	carry_bytes(&pair, server, client, 100);
	talk_end(&pair, client, server);
}

static void an_end_is_passed_on_before_the_reset_behind_it(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, server, client, 100);
	assert_int_equal(shutdown(server, SHUT_WR), 0);
	side_run(&pair.side[1], 10);
	talk_reset(server);
	side_run(&pair.side[1], 10);
	assert_int_equal(talk_wait(&pair, client), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void credit_goes_behind_opened(void **state)
{
	const struct pool *p = pair.side[1].pool;
	int client, server;

	(void)state;
	pair.side[1].is_pod_at_once = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	carry_send(client, WINDOW_INITIAL_BYTES / 2);
	for (int i = 0; i < 200000; i++) {
		pair_run(&pair, 1);
		if (!p->streams_count || talk_stream(&pair.side[1])->rx.limit == WINDOW_INITIAL_BYTES)
			continue;
		assert_true(talk_stream(&pair.side[1])->has_nonce);
		break;
	}
	assert_int_equal(p->streams_count, 1);
	assert_true(talk_stream(&pair.side[1])->has_nonce);
	server = side_take_pod(&pair.side[1]);
	carry_expect(&pair, server, WINDOW_INITIAL_BYTES / 2);
	talk_end(&pair, server, client);
}

static void the_last_words_of_a_pod_that_resets_go_behind_opened(void **state)
{
	const struct pool *p = pair.side[0].pool;
	int client;
	char word[4];

	(void)state;
	pair.side[1].is_pod_at_once = pair.side[1].is_pod_rude = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	carry_send(client, 100);
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
	assert_int_equal(talk_stream(&pair.side[1])->tx.sent, 0);
	server = side_take_pod(&pair.side[1]);
	carry_bytes(&pair, server, client, 1000);
	carry_bytes(&pair, client, server, 1000);
	talk_end(&pair, server, client);
}

static void a_reset_before_opened_is_owed_no_opened(void **state)
{
	int client, server;

	(void)state;
	pair.side[1].is_pod_at_once = true;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, has_open_stream, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	stream_fail(talk_stream(&pair.side[1]), REASON_POD_RESET);
	assert_true(list_is_empty(&pair.side[1].pool->openeds));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	talk_reset(server);
	close(client);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_POD_RESET], 1);
	assert_int_equal(side_tunnel(&pair.side[0])->state, TUNNEL_UP);
}

static void a_client_port_that_the_last_connection_still_holds_is_waited_for(void **state)
{
	int client, server;

	(void)state;
	pair.side[1].connect_pod_error = -EADDRNOTAVAIL;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	carry_send(client, 50);
	assert_true(pair_pump(&pair, talk_is_dialing, &pair.side[1]));
	pair.side[1].connect_pod_error = 0;
	clock_fake_advance(&pair.side[1].clock, 10 * NS_PER_MS);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	carry_expect(&pair, server, 50);
	talk_end(&pair, client, server);
}

static void a_client_port_that_stays_in_use_is_refused_in_the_end(void **state)
{
	int client;

	(void)state;
	pair.side[1].connect_pod_error = -EADDRNOTAVAIL;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, talk_is_dialing, &pair.side[1]));
	clock_fake_advance(&pair.side[1].clock, 6 * NS_PER_S);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_NO_RESOURCES], 1);
	close(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_answer_that_is_there_goes_with_opened),
		T(last_words_and_the_end_are_one_packet),
		T(an_end_alone_waits_one_turn),
		T(an_end_is_passed_on_before_the_reset_behind_it),
		T(credit_goes_behind_opened),
		T(the_last_words_of_a_pod_that_resets_go_behind_opened),
		T(a_server_that_says_nothing_is_open_all_the_same),
		T(a_reset_before_opened_is_owed_no_opened),
		T(a_client_port_that_the_last_connection_still_holds_is_waited_for),
		T(a_client_port_that_stays_in_use_is_refused_in_the_end),
	};

	return PAIR_RUN(tests);
}
