/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SYNs that wait for the far side (connect: faithful): two pools, real TLS, a clock that stands still. The kernel's part is the test's. */
#include "syns.h"
#include "talk.h"

#include "tunnel/held.h"
#include "tunnel/tx_half.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define CLIENT "10.1.0.5:40000"
#define SERVER "10.2.0.7:80"

static struct side *const near = &pair.side[0], *const far = &pair.side[1];

/* The same where the clock must move until then: not beyond, since what was let in is waited for no longer than HELD_HANDSHAKE_MS, and not for so
 * long that a client that sends nothing again has given up. */
static void expect_released_in_time(int count)
{
	for (int i = 0; i < HELD_SILENCE_MS / 100 && near->released < count; i++)
		pair_advance_ms(&pair, 100);
	syns_expect_released(&pair, count);
}

/* What recv says of a connection that has ended. */
static int ending_of(int fd)
{
	ssize_t n = talk_wait(&pair, fd);
	char byte;

	if (n < 0)
		return (int)-n;
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	return 0;
}

static void expect_let_in(void)
{
	int client, server;

	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_int_equal(near->released, 0);
	syns_expect_released(&pair, 1);
	assert_int_equal(near->last_released.seq, 1000);
	server = side_take_pod(far);
	assert_true(server >= 0);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	talk_say(client, "GET");
	talk_expect(&pair, server, "GET");
	talk_say(server, "200");
	talk_expect(&pair, client, "200");
	close(server);
	assert_int_equal(ending_of(client), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->pool->counters.closed[REASON_FINISHED], 1);
	assert_int_equal(near->pool->counters.syns_held, 1);
	assert_int_equal(near->pool->held.count, 0);
	assert_int_equal(near->answered, 0);
	assert_int_equal(far->pool->counters.requested, 1);
}

static void the_client_is_let_in_when_the_far_side_has_connected(void **state)
{
	(void)state;
	expect_let_in();
}

static void the_client_is_let_in_where_the_far_side_connects_at_once(void **state)
{
	(void)state;
	far->is_pod_at_once = true;
	expect_let_in();
}

static bool has_queued(void *ctx)
{
	size_t *len = ctx;

	list_for_each(at, &near->pool->streams)
		*len = container_of(at, struct stream, all)->queue.len_bytes;
	return *len > 0;
}

/* Its greeting and its end may be here before the client's handshake is through. */
static void a_server_that_speaks_first(void **state)
{
	int client, server;
	size_t len = 0;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	server = side_take_pod(far);
	talk_say(server, "220 ready");
	assert_true(pair_pump(&pair, has_queued, &len));
	close(server);
	pair_run(&pair, 20);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	talk_expect(&pair, client, "220 ready");
	assert_int_equal(ending_of(client), 0);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->pool->counters.closed[REASON_FINISHED], 1);
}

static void the_client_hears_what_the_far_side_heard(void **state)
{
	static const struct {
		int error;
		enum syn_answer_kind answer;
		uint8_t code; /* RFC 792 */
	} cases[] = {
		{ ECONNREFUSED, SYN_RESET, 0 },      { ECONNRESET, SYN_RESET, 0 },    { EHOSTUNREACH, SYN_UNREACHABLE, 1 },
		{ ENETUNREACH, SYN_UNREACHABLE, 0 }, { EACCES, SYN_UNREACHABLE, 13 }, { ETIMEDOUT, SYN_SILENCE, 0 },
		{ EMFILE, SYN_SILENCE, 0 }, /* our own trouble is not the server's word */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		far->connect_pod_error = -cases[i].error;
		near->answered = 0;
		pair_syn(&pair, 0, CLIENT, SERVER, 1000);
		syns_expect_answer(&pair, cases[i].answer);
		assert_int_equal(near->last_answer.code, cases[i].code);
	}
}

static void a_syn_that_is_sent_again_is_the_same_attempt(void **state)
{
	(void)state;
	far->is_cut = true;
	for (int i = 0; i < 4; i++) {
		pair_syn(&pair, 0, CLIENT, SERVER, 1000);
		pair_advance_s(&pair, 1);
	}
	assert_int_equal(near->pool->streams_count, 1);
	far->is_cut = false;
	syns_expect_released(&pair, 1);
	/* Let in, but the kernel lost it: once more. */
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_int_equal(near->released, 2);
	assert_int_equal(far->pool->counters.requested, 1);
	close(pair_open(&pair, 0, CLIENT, SERVER));
	close(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void another_connection_from_the_same_port_ends_the_first(void **state)
{
	int first, second, client;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	first = side_take_pod(far);
	pair_syn(&pair, 0, CLIENT, SERVER, 2000);
	syns_expect_released(&pair, 2);
	assert_int_equal(ending_of(first), ECONNRESET);
	close(first);
	second = side_take_pod(far);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	talk_say(client, "x");
	talk_expect(&pair, second, "x");
	assert_int_equal(near->pool->counters.closed[REASON_CLIENT_GONE], 1);
	talk_end(&pair, client, second);
}

/* A kernel that is closed in connect() says nothing: it only sends no more SYNs. */
static void a_client_that_is_silent_has_given_up(void **state)
{
	(void)state;
	far->is_cut = true;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	pair_advance_s(&pair, 1);
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	pair_advance_s(&pair, 3);
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	/* After 3 s comes one after 6 s; it is waited for, and no longer. */
	pair_advance_s(&pair, 7);
	assert_int_equal(near->pool->streams_count, 1);
	pair_advance_s(&pair, 3);
	assert_int_equal(near->pool->streams_count, 0);
	assert_int_equal(near->pool->counters.closed[REASON_CLIENT_GONE], 1);
	assert_int_equal(near->last_answer.kind, SYN_SILENCE);
	far->is_cut = false;
	pair_run(&pair, 200);
	assert_int_equal(far->pods_count, 0); /* no server pod saw anything */
}

static void a_client_that_gave_up_while_the_far_side_connected(void **state)
{
	int server;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	server = side_take_pod(far);
	pair_advance_s(&pair, 5);
	assert_int_equal(ending_of(server), ECONNRESET);
	close(server);
	assert_int_equal(near->pool->held.count, 0);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static bool is_ack_out(void *ctx)
{
	return !((struct stream *)ctx)->is_ack_late;
}

static bool has_no_acks(void *ctx)
{
	return list_is_empty(&((struct pool *)ctx)->acks);
}

static bool holds_opened(void *ctx)
{
	return !list_is_empty(&((struct pool *)ctx)->openeds);
}

static void the_servers_handshake_waits_for_the_clients(void **state)
{
	struct stream *s;
	int client, server;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	assert_true(far->is_ack_late);
	s = talk_stream(far);
	pair_run(&pair, 20);
	assert_true(s->is_ack_late);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	assert_true(pair_pump(&pair, is_ack_out, s));
	assert_true(list_is_empty(&far->pool->acks));
	server = side_take_pod(far);
	talk_say(server, "220 ready");
	talk_expect(&pair, client, "220 ready");
	talk_end(&pair, client, server);
	/* One that was accepted has its client already: only data that comes with OPEN, or right behind it, is waited for. */
	talk_open(&pair, 0, "10.1.0.5:40001", SERVER, &client, &server);
	assert_true(far->is_ack_late);
	assert_true(pair_pump(&pair, is_ack_out, talk_stream(far)));
	assert_true(pair_pump(&pair, has_no_acks, far->pool));
	talk_end(&pair, client, server);
}

static void a_frame_before_opened_does_not_lose_the_servers_ack(void **state)
{
	struct stream *s;
	int client, server;

	(void)state;
	far->is_pod_at_once = true;
	client = pair_open(&pair, 0, "10.1.0.5:40001", SERVER);
	assert_true(pair_pump(&pair, holds_opened, far->pool));
	s = talk_stream(far);
	stream_wants_frames(s, STREAM_SEND_WINDOW);
	assert_false(s->is_ack_late);
	assert_true(list_is_linked(&s->owed));
	assert_true(pair_pump(&pair, has_no_acks, far->pool));
	server = side_take_pod(far);
	talk_say(server, "220 ready");
	talk_expect(&pair, client, "220 ready");
	talk_end(&pair, client, server);
}

static void a_peer_that_does_not_say_when_the_client_is_there(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, CLIENT, SERVER, &client, &server);
	talk_end(&pair, client, server);
	side_tunnel(near)->features &= ~FRAME_FEATURE_TAKEN;
	side_tunnel(far)->features &= ~FRAME_FEATURE_TAKEN;
	pair_syn(&pair, 0, "10.1.0.5:40001", SERVER, 1000);
	syns_expect_released(&pair, 1);
	assert_false(far->is_ack_late);
	client = pair_open(&pair, 0, "10.1.0.5:40001", SERVER);
	server = side_take_pod(far);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	talk_end(&pair, client, server);
	assert_int_equal(near->pool->counters.tunnels_opened, 1);
}

/* Its node stood still for longer than the server's kernel waits: rather a connection that is accepted before the server's than none. */
static void a_client_that_comes_when_it_was_given_up_is_begun_anew(void **state)
{
	int client, server;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	server = side_take_pod(far);
	clock_fake_advance(&near->clock, 2 * HELD_HANDSHAKE_MS * NS_PER_MS);
	assert_int_equal(ending_of(server), ECONNRESET);
	close(server);
	assert_int_equal(near->pool->counters.closed[REASON_CLIENT_GONE], 1);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	assert_true(pair_pump(&pair, talk_has_come, far));
	server = side_take_pod(far);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	talk_end(&pair, client, server);
}

/* It waited in the ring when its connection was accepted. */
static void a_syn_of_a_connection_that_was_accepted_begins_nothing(void **state)
{
	int client, server;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_int_equal(near->pool->held.count, 0);
	assert_int_equal(near->pool->streams_count, 1);
	server = side_take_pod(far);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	talk_end(&pair, client, server);
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_int_equal(near->pool->held.count, 0);
	/* The port is used again. */
	pair_syn(&pair, 0, CLIENT, SERVER, 2000);
	assert_int_equal(near->pool->held.count, 1);
	syns_expect_released(&pair, 2);
	close(pair_open(&pair, 0, CLIENT, SERVER));
	close(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

static void a_reset_before_the_handshake_is_through_is_a_reset(void **state)
{
	int client;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	talk_reset(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->answered, 0); /* it was let in: no second word */
	client = pair_open(&pair, 0, CLIENT, SERVER);
	assert_int_equal(ending_of(client), ECONNRESET);
	close(client);
	assert_int_equal(far->pool->counters.requested, 1);
	assert_int_equal(near->pool->held.count, 0);
}

static void more_than_a_source_may_hold_are_let_in_at_once(void **state)
{
	char client[64];

	(void)state;
	far->is_cut = true;
	for (int i = 0; i < HELD_SOURCE_MAX + 10; i++) {
		snprintf(client, sizeof(client), "10.1.0.5:%d", 40000 + i);
		pair_syn(&pair, 0, client, SERVER, 1000);
	}
	assert_int_equal(near->pool->held.count, HELD_SOURCE_MAX);
	assert_int_equal(near->pool->counters.syns_unheld, 10);
	assert_int_equal(near->released, 10);
	/* Another pod is held as ever. */
	pair_syn(&pair, 0, "10.1.0.6:40000", SERVER, 1000);
	assert_int_equal(near->pool->held.count, HELD_SOURCE_MAX + 1);
	assert_int_equal(near->released, 10);
	far->is_cut = false;
}

/* From addresses of its neighbour and of its own making. */
static void who_forges_addresses_uses_up_no_place_of_others(void **state)
{
	enum { FORGER = 7, NEIGHBOUR = 8, THIRD = 9 };
	char client[64];
	uint64_t unheld;

	(void)state;
	far->is_cut = true;
	for (int i = 0; i < HELD_SOURCE_MAX + 10; i++) {
		snprintf(client, sizeof(client), "10.1.0.6:%d", 30000 + i);
		pair_syn_by(&pair, 0, FORGER, client, SERVER, 1000);
	}
	assert_int_equal(near->pool->held.count, HELD_SOURCE_MAX);
	assert_int_equal(near->pool->counters.syns_unheld, 10);
	pair_syn_by(&pair, 0, NEIGHBOUR, "10.1.0.6:40000", SERVER, 1000);
	assert_int_equal(near->pool->held.count, HELD_SOURCE_MAX + 1);
	for (int i = 0; i < HELD_MAX; i++) {
		snprintf(client, sizeof(client), "10.1.%d.%d:%d", 1 + i / 250, 1 + i % 250, 30000);
		pair_syn_by(&pair, 0, FORGER, client, SERVER, 1000);
	}
	assert_int_equal(near->pool->held.count, HELD_MAX / 2 + 1);
	unheld = near->pool->counters.syns_unheld;
	/* Two of its kind leave room too. */
	for (int i = 0; i < HELD_MAX; i++) {
		snprintf(client, sizeof(client), "10.1.%d.%d:%d", 1 + i / 250, 1 + i % 250, 30001);
		pair_syn_by(&pair, 0, THIRD, client, SERVER, 1000);
	}
	assert_true(near->pool->counters.syns_unheld > unheld);
	unheld = near->pool->counters.syns_unheld;
	for (int i = 1; i < HELD_SOURCE_MAX; i++) {
		snprintf(client, sizeof(client), "10.1.0.6:%d", 40000 + i);
		pair_syn_by(&pair, 0, NEIGHBOUR, client, SERVER, 1000);
	}
	assert_int_equal(near->pool->counters.syns_unheld, unheld);
	far->is_cut = false;
}

static void an_address_that_nobody_knows_is_silence(void **state)
{
	struct view *v = pair_view(0, "10.1.0.0/16", NULL);

	(void)state;
	pool_set_view(near->pool, v);
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_int_equal(near->pool->streams_count, 1);
	for (int i = 0; near->pool->streams_count; i++) {
		assert_true(i < 2 * STREAM_JUDGE_MS / 1000);
		pair_advance_s(&pair, 1);
		if (near->pool->streams_count)
			pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	}
	assert_int_equal(near->last_answer.kind, SYN_SILENCE);
	assert_int_equal(near->pool->counters.closed[REASON_UNKNOWN_ADDRESS], 1);
	/* Known now: what comes next goes on. */
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	pool_set_view(near->pool, near->view);
	syns_expect_released(&pair, 1);
	close(pair_open(&pair, 0, CLIENT, SERVER));
	close(side_take_pod(far));
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	view_unref(v);
}

static void a_node_that_left_is_unreachable(void **state)
{
	struct view *v;
	char error[VIEW_ERROR_BYTES];
	struct addr address;
	struct prefix pods;
	struct view_node self = { .name = "node1", .addresses = &address, .addresses_count = 1, .pods = &pods, .pods_count = 1 };

	(void)state;
	assert_int_equal(addr_parse("192.0.2.1", &address), 0);
	assert_int_equal(prefix_parse("10.1.0.0/16", &pods), 0);
	assert_int_equal(view_create(&self, 1, NULL, 0, "node1", near->view, &v, error), 0);
	far->is_cut = true;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	pair_run(&pair, 10);
	pool_set_view(near->pool, v);
	assert_int_equal(near->answered, 1);
	assert_int_equal(near->last_answer.kind, SYN_UNREACHABLE);
	assert_int_equal(near->last_answer.code, 1);
	far->is_cut = false;
	view_unref(v);
}

static void an_attempt_outlives_its_tunnel(void **state)
{
	int client, server;

	(void)state;
	/* A tunnel is there. */
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	server = side_take_pod(far);
	/* It is lost while the next attempt is on its way. */
	far->is_cut = true;
	pair_syn(&pair, 0, "10.1.0.5:40001", SERVER, 1000);
	pair_run(&pair, 10);
	far->is_cut = false;
	side_stop(far);
	side_start(far);
	assert_int_equal(ending_of(client), ECONNRESET);
	expect_released_in_time(2);
	close(client);
	close(server);
	client = pair_open(&pair, 0, "10.1.0.5:40001", SERVER);
	server = side_take_pod(far);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	talk_end(&pair, client, server);
	assert_int_equal(near->answered, 0);
}

static bool has_second_tunnel(void *ctx)
{
	(void)ctx;
	return near->pool->counters.tunnels_opened == 2;
}

/* Its OPEN lies in a connection that says nothing any more, while the peer answers on another. */
static void an_attempt_goes_to_a_tunnel_that_answers(void **state)
{
	struct loop_source *stuck;
	struct tunnel *t;
	int client, server;

	(void)state;
	talk_open(&pair, 0, CLIENT, SERVER, &client, &server);
	talk_end(&pair, client, server);
	pair_run(&pair, 20);
	t = side_tunnel(near);
	stuck = &side_tunnel(far)->link[FRAME_LINK_LIGHT]->source;
	loop_remove(far->loop, stuck);
	/* Only this side's clock moves: the other would ask, and be heard. */
	for (int i = 0; t->state == TUNNEL_UP; i++) {
		assert_true(i < 60);
		pair_syn(&pair, 0, "10.1.0.5:40001", SERVER, 1000);
		clock_fake_advance(&near->clock, NS_PER_S);
		pair_run(&pair, 10);
	}
	assert_true(pair_pump(&pair, has_second_tunnel, NULL));
	syns_expect_released(&pair, 1);
	assert_int_equal(t->state, TUNNEL_SUSPECT);
	assert_int_equal(near->pool->counters.closed[REASON_PEER_TIMEOUT], 1);
	client = pair_open(&pair, 0, "10.1.0.5:40001", SERVER);
	server = side_take_pod(far);
	talk_say(client, "x");
	talk_expect(&pair, server, "x");
	close(client);
	close(server);
	/* What comes late is an attempt that has ended. */
	assert_int_equal(loop_add(far->loop, stuck, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET), 0);
	assert_true(pair_pump(&pair, talk_has_come, far));
	server = side_take_pod(far);
	assert_int_equal(ending_of(server), ECONNRESET);
	close(server);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	assert_int_equal(near->pool->counters.syns_held, 1);
	assert_int_equal(near->answered, 0);
}

static bool are_accepted(void *ctx)
{
	return near->pool->counters.accepted >= *(uint64_t *)ctx;
}

/* This node stood still: whose connections wait to be accepted has not given up, though they are more than are accepted at once. */
static void a_worker_that_is_late_gives_up_nobody(void **state)
{
	enum { N = 100 };
	uint64_t all = N;
	struct view *views[2] = { pair_view(0, "127.0.1.0/24", "127.0.2.0/24"), pair_view(1, "127.0.1.0/24", "127.0.2.0/24") };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(0x7f000207) } };
	socklen_t len = sizeof(at);
	int clients[N], listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)state;
	pool_set_view(near->pool, views[0]);
	pool_set_view(far->pool, views[1]);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(listener, N), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(pool_add_listener(near->pool, listener), 0);
	for (int i = 0; i < N; i++) {
		struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = { htonl(0x7f000105) } };
		char client[32], server[32];

		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(clients[i], (struct sockaddr *)&from, len), 0);
		assert_int_equal(getsockname(clients[i], (struct sockaddr *)&from, &len), 0);
		snprintf(client, sizeof(client), "127.0.1.5:%d", ntohs(from.sin_port));
		snprintf(server, sizeof(server), "127.0.2.7:%d", ntohs(at.sin_port));
		pair_syn(&pair, 0, client, server, 1000);
	}
	syns_expect_released(&pair, N);
	for (int i = 0; i < N; i++)
		assert_int_equal(connect(clients[i], (struct sockaddr *)&at, len), 0);
	clock_fake_advance(&near->clock, 2 * HELD_HANDSHAKE_MS * NS_PER_MS);
	assert_true(pair_pump(&pair, are_accepted, &all));
	assert_int_equal(near->pool->counters.closed[REASON_CLIENT_GONE], 0);
	assert_int_equal(near->pool->held.count, 0);
	assert_int_equal(far->pool->counters.requested, N); /* each once */
	for (int i = 0; i < N; i++) {
		close(clients[i]);
		close(side_take_pod(far));
	}
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	view_unref(views[0]);
	view_unref(views[1]);
}

/* A pod may send SYNs under any address: what they stand for is granted no credit before a tunnel takes it. */
static void what_waits_takes_nothing_from_the_budget(void **state)
{
	uint64_t left;
	int client;

	(void)state;
	near->connect_node_error = -EHOSTUNREACH;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	pair_syn(&pair, 0, "10.1.0.5:40001", "10.3.0.1:80", 1000);
	assert_int_equal(near->pool->streams_count, 2);
	assert_int_equal(budget_granted(&near->budget), 0);
	near->connect_node_error = 0;
	expect_released_in_time(1);
	assert_int_equal(budget_granted(&near->budget), WINDOW_INITIAL_BYTES);
	client = pair_open(&pair, 0, CLIENT, SERVER);
	/* No room for one more. */
	left = 256 * MIB - budget_granted(&near->budget);
	assert_true(budget_reserve(&near->budget, left));
	pair_syn(&pair, 0, "10.1.0.5:40002", SERVER, 1000);
	assert_int_equal(near->pool->counters.closed[REASON_OVER_BUDGET], 1);
	assert_int_equal(near->last_answer.kind, SYN_SILENCE);
	budget_release(&near->budget, left);
	pair_syn(&pair, 0, "10.1.0.5:40002", SERVER, 1000);
	syns_expect_released(&pair, 2);
	close(client);
	close(side_take_pod(far));
}

/* Only this node knows that: else the client's connection, which is on its way, would be begun once more. */
static void a_peer_that_says_that_the_client_has_given_up(void **state)
{
	int client;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	stream_fail(talk_stream(far), REASON_CLIENT_GONE);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
	client = pair_open(&pair, 0, CLIENT, SERVER);
	assert_int_equal(ending_of(client), ECONNRESET);
	close(client);
	close(side_take_pod(far));
	assert_int_equal(far->pool->counters.requested, 1);
	assert_int_equal(near->pool->counters.closed[REASON_CLIENT_GONE], 0);
}

/* It would lower the client's MTU towards the server. */
static void a_peer_that_says_that_a_syn_was_too_long(void **state)
{
	struct stream *s;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_true(pair_pump(&pair, talk_is_dialing, far));
	s = talk_stream(far);
	s->cause = (struct frame_cause){ .type = 3, .code = 4, .from = s->server.addr };
	stream_fail(s, REASON_REFUSED);
	syns_expect_answer(&pair, SYN_RESET);
}

static void an_icmp_error_of_a_tunnel_that_was_lost_before_the_reset(void **state)
{
	struct stream *s;

	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_true(pair_pump(&pair, talk_is_dialing, far));
	s = talk_stream(near);
	assert_int_equal(s->state, STREAM_OPENING);
	s->cause = (struct frame_cause){ .type = 3, .code = 1, .from = s->server.addr };
	far->is_cut = true; /* it makes no other tunnel */
	near->connect_node_error = -EHOSTUNREACH;
	tunnel_close(side_tunnel(near), REASON_TUNNEL_LOST, "the test's");
	assert_int_equal(s->state, STREAM_WAITING);
	pair_advance_s(&pair, 6);
	assert_int_equal(near->pool->counters.closed[REASON_CLIENT_GONE], 1);
	assert_int_equal(near->answered, 1);
	assert_int_equal(near->last_answer.kind, SYN_SILENCE);
	far->is_cut = false;
}

static void a_daemon_that_ends_leaves_the_client_to_the_next(void **state)
{
	(void)state;
	far->is_cut = true;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	pool_drain(near->pool);
	assert_int_equal(near->pool->streams_count, 0);
	assert_int_equal(near->last_answer.kind, SYN_SILENCE);
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	assert_int_equal(near->pool->streams_count, 0);
	assert_int_equal(near->released, 0);
	far->is_cut = false;
}

/* Nothing that is held may keep a pool from ending. */
static void a_pool_ends_with_syns_in_every_state(void **state)
{
	(void)state;
	pair_syn(&pair, 0, CLIENT, SERVER, 1000);
	syns_expect_released(&pair, 1);
	close(side_take_pod(far));
	far->is_cut = true;
	pair_syn(&pair, 0, "10.1.0.5:40001", SERVER, 1000);
	pair_syn(&pair, 0, "10.1.0.5:40002", "10.3.0.1:80", 1000);
	side_stop(near);
	side_start(near);
	far->is_cut = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_client_is_let_in_when_the_far_side_has_connected),
		T(the_client_is_let_in_where_the_far_side_connects_at_once),
		T(a_server_that_speaks_first),
		T(the_client_hears_what_the_far_side_heard),
		T(a_syn_that_is_sent_again_is_the_same_attempt),
		T(another_connection_from_the_same_port_ends_the_first),
		T(a_client_that_is_silent_has_given_up),
		T(a_client_that_gave_up_while_the_far_side_connected),
		T(a_reset_before_the_handshake_is_through_is_a_reset),
		T(more_than_a_source_may_hold_are_let_in_at_once),
		T(who_forges_addresses_uses_up_no_place_of_others),
		T(the_servers_handshake_waits_for_the_clients),
		T(a_frame_before_opened_does_not_lose_the_servers_ack),
		T(a_peer_that_does_not_say_when_the_client_is_there),
		T(a_client_that_comes_when_it_was_given_up_is_begun_anew),
		T(an_address_that_nobody_knows_is_silence),
		T(a_node_that_left_is_unreachable),
		T(a_syn_of_a_connection_that_was_accepted_begins_nothing),
		T(an_attempt_outlives_its_tunnel),
		T(an_attempt_goes_to_a_tunnel_that_answers),
		T(a_worker_that_is_late_gives_up_nobody),
		T(what_waits_takes_nothing_from_the_budget),
		T(a_peer_that_says_that_the_client_has_given_up),
		T(a_peer_that_says_that_a_syn_was_too_long),
		T(an_icmp_error_of_a_tunnel_that_was_lost_before_the_reset),
		T(a_daemon_that_ends_leaves_the_client_to_the_next),
		T(a_pool_ends_with_syns_in_every_state),
	};

	return PAIR_RUN(tests);
}
