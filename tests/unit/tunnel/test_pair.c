/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What two nodes tell each other of their pair, and what becomes of streams when a node is enrolled, taken out, or leaves. */
#include "talk.h"

#include "tunnel/admission.h"
#include "tunnel/hello.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

enum { NODE1 = 1, NODE2 = 2, BOTH = 3 };

/* The view of a side, made of the one that it has. nodes: which are there, enrolled: which of them are. */
static void set_nodes(int side, unsigned nodes, unsigned enrolled)
{
	static const char *const names[2] = { "node1", "node2" }, *const addresses[2] = { "192.0.2.1", "192.0.2.2" };
	struct side *s = &pair.side[side];
	struct view_edit *edit;
	struct view *v;
	uint32_t id;

	assert_int_equal(view_edit_begin(s->view, names[side], &edit), 0);
	for (int i = 0; i < 2; i++) {
		struct view_node n = { .is_enrolled = enrolled >> i & 1, .addresses_count = 1 };
		struct addr a;

		assert_int_equal(addr_parse(addresses[i], &a), 0);
		n.addresses = &a;
		strcpy(n.name, names[i]);
		if (nodes >> i & 1)
			assert_int_equal(view_edit_put_node(edit, &n, &id), 0);
		else
			assert_int_equal(view_edit_remove_node(edit, names[i]), 0);
	}
	assert_int_equal(view_edit_finish(edit, &v), 0);
	view_unref(s->view);
	s->view = v;
	pool_set_view(s->pool, v);
}

/* One entry of a side's view. owner: a node's name; NULL: it goes. */
static void set_entry(int side, const char *prefix, const char *owner, uint8_t flags)
{
	struct side *s = &pair.side[side];
	struct view_entry entry = { .kind = VIEW_POD, .flags = flags };
	struct view_edit *edit;
	struct prefix p;
	struct view *v;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	if (owner)
		entry.node_id = view_node_by_name(s->view, owner)->id;
	assert_int_equal(view_edit_begin(s->view, side ? "node2" : "node1", &edit), 0);
	assert_int_equal(view_edit_set(edit, &p, owner ? &entry : NULL), 0);
	assert_int_equal(view_edit_finish(edit, &v), 0);
	view_unref(s->view);
	s->view = v;
	pool_set_view(s->pool, v);
}

static int error_of(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK);

	return n < 0 ? -errno : (int)n;
}

static bool is_reset(void *ctx)
{
	return error_of(*(int *)ctx) == -ECONNRESET;
}

/* The pod at a reads what the one at b sends. */
static bool has_read(void *ctx)
{
	return error_of(*(int *)ctx) == 1;
}

static void expect_alive(int client, int server)
{
	char byte = 'x';

	assert_int_equal(send(client, &byte, 1, MSG_NOSIGNAL), 1);
	assert_true(pair_pump(&pair, has_read, &server));
	assert_int_equal(recv(server, &byte, 1, 0), 1);
}

static bool both_have_joined(void *ctx)
{
	(void)ctx;
	return pair.side[0].heard == PAIR_JOINED && pair.side[1].heard == PAIR_JOINED;
}

/* What the two have heard last; -1: anything. */
struct hearing {
	int by_node1, by_node2;
};

static bool have_heard(void *ctx)
{
	const struct hearing *h = ctx;

	return (h->by_node1 < 0 || (int)pair.side[0].heard == h->by_node1) && (h->by_node2 < 0 || (int)pair.side[1].heard == h->by_node2);
}

static void expect_heard(int by_node1, int by_node2)
{
	struct hearing h = { by_node1, by_node2 };

	assert_true(pair_pump(&pair, have_heard, &h));
}

/* What node2 holds of node1's view and settings; it has one peer. */
static const struct peer *peer_of_node2(void)
{
	return container_of(pair.side[1].pool->peers.next, struct peer, entry);
}

static bool node2_heard_a_count(void *ctx)
{
	return peer_of_node2()->heard.enrolled_count == *(uint32_t *)ctx;
}

static bool node2_heard_settings(void *ctx)
{
	return peer_of_node2()->settings_hash == *(uint64_t *)ctx;
}

static bool node2_has_a_stream(void *ctx)
{
	(void)ctx;
	return pair.side[1].pool->streams_count == 1;
}

static bool node2_has_a_foreign_claim(void *ctx)
{
	(void)ctx;
	return pair.side[1].pool->counters.foreign_claims == 1;
}

static bool has_tunnel(void *ctx)
{
	const struct tunnel *t = side_tunnel(ctx);

	return t && t->state == TUNNEL_UP;
}

static void a_pair_joins_by_hello_and_by_word(void **state)
{
	(void)state;
	pair.side[0].pair_state = pair.side[1].pair_state = PAIR_JOINING;
	pool_want_peer(pair.side[0].pool, view_node_by_name(pair.side[0].view, "node2")->id);
	assert_true(pair_pump(&pair, both_have_joined, NULL));
	assert_int_equal(pair.side[0].pair_state, PAIR_JOINED);
	assert_int_equal(pair.side[1].pair_state, PAIR_JOINED);
}

static void a_change_is_told_in_a_running_tunnel(void **state)
{
	int client, server;

	(void)state;
	pair.side[0].pair_state = PAIR_NOT_ENROLLED;
	pair.side[1].pair_state = PAIR_JOINING;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	expect_heard(PAIR_JOINING, PAIR_NOT_ENROLLED);
	assert_int_equal(pair.side[1].pair_state, PAIR_JOINING);
	/* Its view has found both enrolled; any change of nodes is looked at. */
	pair.side[0].pair_state = PAIR_JOINING;
	set_nodes(0, BOTH, NODE1);
	set_nodes(0, BOTH, BOTH);
	assert_true(pair_pump(&pair, both_have_joined, NULL));
	expect_alive(client, server);
	/* And back. */
	pair.side[0].pair_state = PAIR_NOT_ENROLLED;
	set_nodes(0, BOTH, NODE1);
	expect_heard(-1, PAIR_NOT_ENROLLED);
	assert_int_equal(pair.side[1].pair_state, PAIR_JOINED);
	expect_alive(client, server);
	close(client);
	close(server);
}

static void the_end_of_its_time_is_told(void **state)
{
	int client, server;

	(void)state;
	pair.side[0].pair_state = PAIR_JOINING;
	pair.side[1].pair_state = PAIR_NOT_ENROLLED;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	expect_heard(-1, PAIR_JOINING);
	pair.side[0].pair_state = PAIR_JOINED;
	pair_advance_s(&pair, 2);
	expect_heard(-1, PAIR_JOINED);
	assert_int_equal(pair.side[1].pair_state, PAIR_NOT_ENROLLED);
	close(client);
	close(server);
}

static void what_was_heard_goes_with_the_last_tunnel(void **state)
{
	(void)state;
	pool_want_peer(pair.side[0].pool, view_node_by_name(pair.side[0].view, "node2")->id);
	assert_true(pair_pump(&pair, both_have_joined, NULL));
	assert_true(pair_pump(&pair, has_tunnel, &pair.side[0]));
	pair.side[1].is_cut = true;
	tunnel_close(side_tunnel(&pair.side[0]), REASON_TUNNEL_LOST, "for a test");
	assert_int_equal(container_of(pair.side[0].pool->peers.next, struct peer, entry)->heard.state, PAIR_NOT_ENROLLED);
	pair.side[1].is_cut = false;
}

static void who_is_enrolled_is_counted_and_hashed(void **state)
{
	static const uint8_t both[FRAME_HASH_BYTES] = { 0x42, 0xa4, 0xd7, 0x37, 0xcf, 0xdc, 0x89, 0x9b,
		                                        0x1b, 0xf6, 0xd4, 0x26, 0x2c, 0x93, 0x93, 0x52 },
			     first[FRAME_HASH_BYTES] = { 0xa7, 0x91, 0xac, 0x90, 0xc4, 0x3c, 0x64, 0xbf,
		                                         0x6e, 0xf0, 0xe9, 0x77, 0xa2, 0xf3, 0x1c, 0xd4 },
			     none[FRAME_HASH_BYTES] = { 0x6c, 0x62, 0x27, 0x2e, 0x07, 0xbb, 0x01, 0x42,
		                                        0x62, 0xb8, 0x21, 0x75, 0x62, 0x95, 0xc5, 0x8d };
	const struct peer *peer;
	uint8_t hash[FRAME_HASH_BYTES];
	uint32_t count;
	int client, server;

	(void)state;
	hello_hash_enrolled(pair.side[0].view, &count, hash);
	assert_int_equal(count, 2);
	assert_memory_equal(hash, both, sizeof(hash));
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	peer = peer_of_node2();
	assert_int_equal(peer->heard.enrolled_count, 2);
	assert_memory_equal(peer->heard.enrolled_hash, both, sizeof(both));
	/* Told anew, although the pair is as it was. */
	set_nodes(0, BOTH, NODE1);
	count = 1;
	assert_true(pair_pump(&pair, node2_heard_a_count, &count));
	assert_memory_equal(peer->heard.enrolled_hash, first, sizeof(first));
	set_nodes(0, BOTH, 0);
	count = 0;
	assert_true(pair_pump(&pair, node2_heard_a_count, &count));
	assert_memory_equal(peer->heard.enrolled_hash, none, sizeof(none));
	close(client);
	close(server);
}

static void other_settings_are_told_in_the_life_of_a_tunnel(void **state)
{
	const struct peer *peer;
	uint64_t hash = 4711;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	peer = peer_of_node2();
	assert_int_equal(peer->settings_hash, pair.side[0].pool->settings->settings_hash);
	pair_advance_s(&pair, 1);
	pool_set_settings_hash(pair.side[0].pool, hash);
	assert_true(pair_pump(&pair, node2_heard_settings, &hash));
	assert_true(peer->settings_said.ns == pool_now(pair.side[1].pool).ns);
	assert_int_equal(peer->heard.enrolled_count, 2);
	/* And in the HELLO of the next tunnel. */
	tunnel_close(side_tunnel(&pair.side[0]), REASON_TUNNEL_LOST, "for a test");
	pool_want_peer(pair.side[1].pool, view_node_by_name(pair.side[1].view, "node1")->id);
	assert_true(pair_pump(&pair, has_tunnel, &pair.side[1]));
	assert_true(pair_pump(&pair, node2_heard_settings, &hash));
	close(client);
	close(server);
}

static void a_node_that_is_taken_out_keeps_its_streams(void **state)
{
	int client, server, other;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	set_nodes(0, BOTH, NODE1);
	set_nodes(1, BOTH, NODE1);
	expect_alive(client, server);
	expect_alive(server, client);
	/* A tunnel that is there is still taken; none is made: the next connection passes in the clear, the sooner the better. */
	other = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	close(side_take_pod(&pair.side[1]));
	close(other);
	tunnel_close(side_tunnel(&pair.side[0]), REASON_TUNNEL_LOST, "for a test");
	assert_true(pair_pump(&pair, is_reset, &client));
	other = pair_open(&pair, 0, "10.1.0.5:40002", "10.2.0.7:80");
	assert_true(pair_pump(&pair, is_reset, &other));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_NO_TUNNEL], 1);
	pair_advance_s(&pair, 30);
	assert_null(side_tunnel(&pair.side[0]));
	assert_int_equal(pair.side[0].connects, 1);
	close(other);
	close(client);
	close(server);
}

static bool both_have_two(void *ctx)
{
	(void)ctx;
	for (int i = 0; i < 2; i++) {
		const struct tunnel *t = side_tunnel(&pair.side[i]);

		if (!t || t->state != TUNNEL_UP || t->entry.next == &t->peer->tunnels ||
		    container_of(t->entry.next, struct tunnel, entry)->state != TUNNEL_UP)
			return false;
	}
	return true;
}

static bool both_have_one(void *ctx)
{
	(void)ctx;
	for (int i = 0; i < 2; i++) {
		const struct tunnel *t = side_tunnel(&pair.side[i]);

		if (!t || t->entry.next != &t->peer->tunnels)
			return false;
	}
	return true;
}

/* Both nodes made one at the same time. */
static void a_second_tunnel_that_lies_idle_ends_and_the_first_is_kept_up(void **state)
{
	int client, server;

	(void)state;
	for (int i = 0; i < 2; i++)
		pool_want_peer(pair.side[i].pool, view_node_by_name(pair.side[i].view, i ? "node1" : "node2")->id);
	assert_true(pair_pump(&pair, both_have_two, NULL));
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	pair.side[1].settings.idle_timeout_ms = 5000;
	pair_advance_s(&pair, 10);
	assert_true(pair_pump(&pair, both_have_one, NULL));
	for (int i = 0; i < 2; i++)
		assert_true(side_tunnel(&pair.side[i])->peer->is_wanted);
	/* It is made anew where it is lost, without anybody's asking. */
	tunnel_close(side_tunnel(&pair.side[0]), REASON_TUNNEL_LOST, "for a test");
	pair_advance_s(&pair, 1);
	assert_true(pair_pump(&pair, has_tunnel, &pair.side[0]));
	close(client);
	close(server);
}

/* It is enrolled when it has shown that it reaches another one. */
static void a_node_that_is_not_enrolled_yet_makes_a_tunnel(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		set_nodes(i, BOTH, NODE2);
	pool_want_peer(pair.side[0].pool, view_node_by_name(pair.side[0].view, "node2")->id);
	assert_true(pair_pump(&pair, has_tunnel, &pair.side[0]));
	assert_true(pair.side[0].reach.is_up);
}

static void streams_that_wait_for_a_node_that_is_taken_out_are_reset(void **state)
{
	int client;

	(void)state;
	pair.side[0].connect_node_error = -ECONNREFUSED;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	pair_advance_s(&pair, 2);
	assert_int_equal(error_of(client), -EAGAIN);
	set_nodes(0, BOTH, NODE1);
	assert_true(pair_pump(&pair, is_reset, &client));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_NO_TUNNEL], 1);
	close(client);
}

static void a_node_that_left_is_cut_at_once(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	set_nodes(0, NODE1, NODE1);
	assert_int_equal(pair.side[0].pool->streams_count, 0);
	assert_null(side_tunnel(&pair.side[0]));
	assert_true(pair_pump(&pair, is_reset, &client));
	assert_true(pair_pump(&pair, is_reset, &server));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_PEER_REMOVED], 1);
	close(client);
	close(server);
}

static void a_node_without_an_address_is_not_called(void **state)
{
	struct view_node n = { .name = "node2", .is_enrolled = true };
	struct view_edit *edit;
	struct view *v;
	uint32_t id;
	int client;

	(void)state;
	assert_int_equal(view_edit_begin(pair.side[0].view, "node1", &edit), 0);
	assert_int_equal(view_edit_put_node(edit, &n, &id), 0);
	assert_int_equal(view_edit_finish(edit, &v), 0);
	view_unref(pair.side[0].view);
	pair.side[0].view = v;
	pool_set_view(pair.side[0].pool, v);
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	pair_advance_s(&pair, 3);
	assert_int_equal(pair.side[0].connects, 0);
	set_nodes(0, BOTH, BOTH);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	close(side_take_pod(&pair.side[1]));
	close(client);
}

static void an_address_whose_pod_has_ended_waits(void **state)
{
	int client, server;

	(void)state;
	/* Seen by the client's node: until its view names the next owner. */
	set_entry(0, "10.2.0.7/32", "node2", VIEW_ENTRY_ENDING);
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	pair_advance_s(&pair, 3);
	assert_false(talk_has_come(&pair.side[1]));
	set_entry(0, "10.2.0.7/32", "node2", 0);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	expect_alive(client, server);
	/* It ends while a stream runs: nobody else has it, so the stream goes on. */
	set_entry(0, "10.2.0.7/32", "node2", VIEW_ENTRY_ENDING);
	expect_alive(client, server);
	set_entry(0, "10.2.0.7/32", "node1", VIEW_ENTRY_ENDING);
	expect_alive(client, server);
	set_entry(0, "10.2.0.7/32", "node2", VIEW_ENTRY_ENDING);
	close(client);
	close(server);
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	pair_advance_s(&pair, PAIR_LATE_S);
	assert_int_equal(error_of(client), -EAGAIN);
	pair_advance_s(&pair, PAIR_JUDGED_S - PAIR_LATE_S);
	assert_true(pair_pump(&pair, is_reset, &client));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_UNKNOWN_ADDRESS], 1);
	assert_false(talk_has_come(&pair.side[1]));
	close(client);
}

static void the_far_node_waits_for_an_ended_owner_too(void **state)
{
	int client, server;

	(void)state;
	/* The source was a pod of another node's that has ended: no claim of a foreign address, it may have moved. */
	set_entry(1, "10.1.0.5/32", "node2", VIEW_ENTRY_ENDING);
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, node2_has_a_stream, NULL));
	pair_advance_s(&pair, PAIR_LATE_S);
	assert_false(talk_has_come(&pair.side[1]));
	set_entry(1, "10.1.0.5/32", "node1", 0);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	expect_alive(client, server);
	talk_end(&pair, client, server);
	set_entry(1, "10.1.0.5/32", "node2", VIEW_ENTRY_ENDING);
	client = pair_open(&pair, 0, "10.1.0.5:40001", "10.2.0.7:80");
	assert_true(pair_pump(&pair, node2_has_a_stream, NULL));
	pair_advance_s(&pair, PAIR_JUDGED_S);
	assert_true(pair_pump(&pair, is_reset, &client));
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_UNKNOWN_ADDRESS], 1);
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_UNKNOWN_ADDRESS], 1);
	assert_int_equal(pair.side[1].pool->counters.foreign_claims, 0);
	close(client);
	/* Of a pod that runs elsewhere it is one. */
	set_entry(1, "10.1.0.5/32", "node2", 0);
	client = pair_open(&pair, 0, "10.1.0.5:40002", "10.2.0.7:80");
	assert_true(pair_pump(&pair, node2_has_a_stream, NULL));
	pair_advance_s(&pair, PAIR_JUDGED_S);
	assert_true(pair_pump(&pair, node2_has_a_foreign_claim, NULL));
	close(client);
}

static void one_pods_change_concerns_that_pod(void **state)
{
	int moved, moved_server, stays, stays_server, waits;
	struct view_edit *edit;
	struct view *v;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &moved, &moved_server);
	talk_open(&pair, 0, "10.1.0.5:40001", "10.2.0.150:80", &stays, &stays_server);
	waits = pair_open(&pair, 0, "10.1.0.5:40002", "10.9.0.9:80");
	pair_run(&pair, 20);
	set_entry(0, "10.2.0.7/32", "node1", 0);
	assert_true(pair_pump(&pair, is_reset, &moved));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_MOVED], 1);
	expect_alive(stays, stays_server);
	assert_int_equal(error_of(waits), -EAGAIN);
	set_entry(0, "10.9.0.9/32", "node2", 0);
	set_entry(1, "10.9.0.9/32", "node2", 0);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	close(side_take_pod(&pair.side[1]));
	close(waits);

	/* Many at once. */
	assert_int_equal(view_edit_begin(pair.side[0].view, "node1", &edit), 0);
	for (int i = 0; i < 200; i++) {
		struct view_entry entry = { .kind = VIEW_POD, .node_id = view_node_by_name(pair.side[0].view, "node1")->id };
		struct prefix p;
		char text[32];

		snprintf(text, sizeof(text), "10.2.0.%d/32", i);
		assert_int_equal(prefix_parse(text, &p), 0);
		assert_int_equal(view_edit_set(edit, &p, &entry), 0);
	}
	assert_int_equal(view_edit_finish(edit, &v), 0);
	view_unref(pair.side[0].view);
	pair.side[0].view = v;
	pool_set_view(pair.side[0].pool, v);
	assert_true(pair_pump(&pair, is_reset, &stays));
	assert_int_equal(pair.side[0].pool->counters.closed[REASON_MOVED], 2);
	close(moved);
	close(moved_server);
	close(stays);
	close(stays_server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_pair_joins_by_hello_and_by_word),
		T(a_change_is_told_in_a_running_tunnel),
		T(the_end_of_its_time_is_told),
		T(what_was_heard_goes_with_the_last_tunnel),
		T(who_is_enrolled_is_counted_and_hashed),
		T(other_settings_are_told_in_the_life_of_a_tunnel),
		T(a_node_that_is_taken_out_keeps_its_streams),
		T(a_second_tunnel_that_lies_idle_ends_and_the_first_is_kept_up),
		T(a_node_that_is_not_enrolled_yet_makes_a_tunnel),
		T(streams_that_wait_for_a_node_that_is_taken_out_are_reset),
		T(a_node_that_left_is_cut_at_once),
		T(a_node_without_an_address_is_not_called),
		T(an_address_whose_pod_has_ended_waits),
		T(the_far_node_waits_for_an_ended_owner_too),
		T(one_pods_change_concerns_that_pod),
	};

	return PAIR_RUN(tests);
}
