/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pods that do not answer: what a node finds out of its own, tells the other, and what that does. What the kernel says of a pod is the test's. */
#include "talk.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB    (1024 * 1024)
#define CLIENT "10.1.0.5:40000"
#define SERVER "10.2.0.7:80"

enum { LOOKED_S = SILENCE_LOOK_MS / 1000 + 1, AGAIN_S = SILENCE_LOOK_AGAIN_MS / 1000 + 1, FULL_BYTES = 256 * 1024 };

static struct pair pair;
static struct side *const near = &pair.side[0], *const far = &pair.side[1];
static int client, server;

static int set_up(void **state)
{
	(void)state;
	pair_init(&pair, 256 * MIB);
	talk_open(&pair, 0, CLIENT, SERVER, &client, &server);
	talk_say(client, "hello");
	talk_expect(&pair, server, "hello");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(client);
	close(server);
	pair_done(&pair);
	assert_int_equal(near->silenced, 0);
	assert_int_equal(far->silenced, 0);
	return 0;
}

static void silent(struct side *s, uint8_t tries)
{
	s->answers = (struct sock_answers){ .tries = tries, .quiet_ms = UINT32_MAX };
}

/* Its pods acknowledge everything at once. */
static void answers(struct side *s)
{
	s->answers = (struct sock_answers){ 0 };
}

static bool is(const struct endpoint *e, const char *text)
{
	struct endpoint wanted;

	assert_int_equal(endpoint_parse(text, &wanted), 0);
	return e->port == wanted.port && !memcmp(&e->addr, &wanted.addr, sizeof(wanted.addr));
}

static void a_server_pod_that_is_silent_silences_its_client(void **state)
{
	(void)state;
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_true(near->silenced == 1 && far->silenced == 0);
	assert_true(is(&near->silenced_local, CLIENT) && is(&near->silenced_remote, SERVER));
	assert_true(far->pool->counters.pods_silent == 1 && near->pool->counters.pods_silent == 0);
	answers(far);
	pair_advance_s(&pair, AGAIN_S);
	assert_int_equal(near->silenced, 0);
	talk_say(client, "on");
	talk_expect(&pair, server, "on");
}

static void a_client_pod_that_is_silent_silences_its_server(void **state)
{
	(void)state;
	silent(near, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_true(near->silenced == 0 && far->silenced == 1);
	assert_true(is(&far->silenced_local, SERVER) && is(&far->silenced_remote, CLIENT));
	answers(near);
	pair_advance_s(&pair, AGAIN_S);
	assert_int_equal(far->silenced, 0);
}

static void ordinary_loss_silences_nobody(void **state)
{
	(void)state;
	silent(far, SILENCE_TRIES - 1);
	pair_advance_s(&pair, 2 * LOOKED_S);
	assert_int_equal(near->silenced, 0);
	assert_int_equal(far->pool->counters.pods_silent, 0);
}

/* The kernel counts its probes in eight bits; and a pod may speak that does not hear. */
static void half_an_answer_is_none(void **state)
{
	(void)state;
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	silent(far, 0);
	pair_advance_s(&pair, AGAIN_S);
	assert_int_equal(near->silenced, 1);
	far->answers = (struct sock_answers){ .tries = SILENCE_TRIES };
	pair_advance_s(&pair, AGAIN_S);
	assert_int_equal(near->silenced, 1);
	answers(far);
	pair_advance_s(&pair, AGAIN_S);
	assert_int_equal(near->silenced, 0);
}

static void a_stream_that_ends_leaves_nothing(void **state)
{
	(void)state;
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_int_equal(near->silenced, 1);
	talk_reset(client);
	client = -1;
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->silenced, 0);
	assert_int_equal(talk_wait(&pair, server), -ECONNRESET);
}

static void a_tunnel_that_is_lost_silences_nobody(void **state)
{
	(void)state;
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_int_equal(near->silenced, 1);
	side_stop(far);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->silenced, 0);
}

/* Each node would drop what its own pod answers to the other's question. */
static void of_two_silent_pods_none_is_silenced(void **state)
{
	(void)state;
	silent(near, SILENCE_TRIES);
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_true(near->silenced == 0 && far->silenced == 0);
	assert_true(near->pool->counters.pods_silent == 1 && far->pool->counters.pods_silent == 1);
	/* One is back. */
	answers(near);
	pair_advance_s(&pair, AGAIN_S);
	assert_true(near->silenced == 1 && far->silenced == 0);
}

static void two_silent_pods_are_not_waited_for_for_ever(void **state)
{
	(void)state;
	silent(near, SILENCE_TRIES);
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, SILENCE_BOTH_MS / 1000);
	assert_int_equal(near->pool->streams_count, 1);
	pair_advance_s(&pair, LOOKED_S + AGAIN_S);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->pool->counters.closed[REASON_TIMED_OUT] + far->pool->counters.closed[REASON_TIMED_OUT], 2);
}

static void what_our_own_node_drops_is_not_held_against_a_pod(void **state)
{
	(void)state;
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_int_equal(near->silenced, 1);
	silent(near, 10); /* its answers were dropped */
	pair_advance_s(&pair, AGAIN_S);
	answers(far);
	pair_advance_s(&pair, LOOKED_S);
	assert_true(near->silenced == 0 && near->pool->counters.pods_silent == 0);
	silent(near, 10 + SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_int_equal(near->pool->counters.pods_silent, 1);
	assert_int_equal(far->silenced, 1);
}

static void a_full_map_is_counted_and_drops_nothing(void **state)
{
	(void)state;
	near->silence_error = -E2BIG;
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, 3 * LOOKED_S);
	assert_int_equal(near->silenced, 0);
	assert_int_equal(near->pool->counters.flows_unsilenced, 1);
	talk_say(client, "on");
	talk_expect(&pair, server, "on");
}

/* What comes from the far pod all the same must be acknowledged by ours. */
static void data_lifts_it_until_it_is_acknowledged(void **state)
{
	(void)state;
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_int_equal(near->silenced, 1);
	talk_say(server, "late");
	talk_expect(&pair, client, "late");
	assert_int_equal(near->silenced, 0);
	pair_advance_s(&pair, AGAIN_S);
	assert_int_equal(near->silenced, 1);
	shutdown(server, SHUT_WR);
	assert_int_equal(talk_wait(&pair, client), 0);
	assert_int_equal(near->silenced, 0);
}

static bool is_stuck(void *ctx)
{
	static char bytes[FULL_BYTES];

	(void)ctx;
	return send(server, bytes, sizeof(bytes), MSG_DONTWAIT) < 0 && near->pool->streams.next != &near->pool->streams &&
	       container_of(near->pool->streams.next, struct stream, all)->is_write_blocked;
}

static bool is_read_up(void *ctx)
{
	static char bytes[FULL_BYTES];

	(void)ctx;
	while (recv(client, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	return !container_of(near->pool->streams.next, struct stream, all)->queue.len_bytes;
}

static void a_pod_that_has_something_to_acknowledge_is_not_silenced(void **state)
{
	(void)state;
	assert_true(pair_pump(&pair, is_stuck, NULL));
	silent(far, SILENCE_TRIES);
	pair_advance_s(&pair, 2 * LOOKED_S);
	assert_int_equal(far->pool->counters.pods_silent, 1);
	assert_int_equal(near->silenced, 0);
	assert_true(pair_pump(&pair, is_read_up, NULL));
	pair_advance_s(&pair, AGAIN_S);
	assert_true(pair_pump(&pair, is_read_up, NULL));
	pair_advance_s(&pair, AGAIN_S);
	assert_int_equal(near->silenced, 1);
}

static bool is_full(void *ctx)
{
	static char bytes[8192];
	const struct stream *s = ctx;

	if (!s->is_write_blocked)
		(void)send(server, bytes, sizeof(bytes), MSG_DONTWAIT);
	pair_run(&pair, 4);
	return s->is_write_blocked;
}

static bool is_draining(void *ctx)
{
	return ((struct stream *)ctx)->rx_half == HALF_DRAINING;
}

static unsigned user_timeout_ms(const struct stream *s)
{
	unsigned ms = 1;
	socklen_t len = sizeof(ms);

	assert_int_equal(getsockopt(s->source.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len), 0);
	return ms;
}

/* It may be gone, and what it never acknowledges must not wait for weeks. */
static void a_silent_pod_is_not_waited_for_behind_its_tunnel(void **state)
{
	struct stream *s = container_of(near->pool->streams.next, struct stream, all);

	(void)state;
	shutdown(client, SHUT_WR);
	assert_int_equal(talk_wait(&pair, server), 0);
	silent(near, SILENCE_TRIES);
	pair_advance_s(&pair, LOOKED_S);
	assert_true(user_timeout_ms(s) > 0);
	assert_true(pair_pump(&pair, is_full, s));
	shutdown(server, SHUT_WR);
	assert_true(pair_pump(&pair, is_draining, s));
	tunnel_close(side_tunnel(near), REASON_TUNNEL_LOST, "the test ends it");
	assert_int_equal(near->pool->streams_count, 1);
	assert_int_equal(user_timeout_ms(s), 0);
}

static void a_short_stream_is_not_looked_at(void **state)
{
	(void)state;
	talk_reset(client);
	client = -1;
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	pair_advance_s(&pair, 2 * LOOKED_S);
	assert_true(near->asked == 0 && far->asked == 0);
}

static void a_long_stream_is_looked_at_now_and_then(void **state)
{
	(void)state;
	pair_advance_s(&pair, 10 * SILENCE_LOOK_MS / 1000);
	assert_in_range(near->asked, 5, 10);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_server_pod_that_is_silent_silences_its_client),
		T(a_client_pod_that_is_silent_silences_its_server),
		T(ordinary_loss_silences_nobody),
		T(half_an_answer_is_none),
		T(a_stream_that_ends_leaves_nothing),
		T(a_tunnel_that_is_lost_silences_nobody),
		T(of_two_silent_pods_none_is_silenced),
		T(two_silent_pods_are_not_waited_for_for_ever),
		T(what_our_own_node_drops_is_not_held_against_a_pod),
		T(a_full_map_is_counted_and_drops_nothing),
		T(data_lifts_it_until_it_is_acknowledged),
		T(a_pod_that_has_something_to_acknowledge_is_not_silenced),
		T(a_silent_pod_is_not_waited_for_behind_its_tunnel),
		T(a_short_stream_is_not_looked_at),
		T(a_long_stream_is_looked_at_now_and_then),
	};

	return PAIR_RUN(tests);
}
