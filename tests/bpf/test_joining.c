/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the edge programs do between two nodes that are not both enrolled, that join, and that are joined; and what becomes of flows on the
 * way from one to the other. */
#include "fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define NEVER (UINT64_MAX)

static struct fixture f;
static struct ring_buffer *ring;
static struct edge_event event;

static int keep_event(void *ctx, void *data, size_t len_bytes)
{
	(void)ctx;
	assert_int_equal(len_bytes, sizeof(event));
	memcpy(&event, data, sizeof(event));
	return 0;
}

static int reset(void **state)
{
	(void)state;
	fixture_reset(&f);
	(void)ring_buffer__consume(ring);
	return 0;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void join(void)
{
	fixture_set_pair(&f, PEER, 1, 1);
}

static void begin_joining(void)
{
	fixture_set_pair(&f, PEER, NEVER, NEVER);
}

static void unenroll(void)
{
	fixture_set_pair(&f, PEER, 0, 0);
}

/* fail_msg would name this place: the caller's line is what matters. */
static void check(struct packet_buf p, bool is_out, int verdict, unsigned class_, bool is_dropped, int line)
{
	int got = is_out ? fixture_egress(&f, &p, FROM_POD) : fixture_ingress(&f, &p);

	if (got != verdict ||
	    !fixture_counted(&f, class_, is_out ? EDGE_EGRESS : EDGE_INGRESS, is_dropped ? EDGE_DROP : EDGE_PASS, p.len_bytes))
		fail_msg("line %d: verdict %d, not %d", line, got, verdict);
}

#define PASSES_OUT(packet, class_) check(packet, true, LEAVE, class_, false, __LINE__)
#define PASSES_IN(packet, class_)  check(packet, false, LEAVE, class_, false, __LINE__)
#define DROPS_OUT(packet, class_)  check(packet, true, SHOT, class_, true, __LINE__)
#define DROPS_IN(packet, class_)   check(packet, false, SHOT, class_, true, __LINE__)
#define DIVERTS_OUT(packet)        check(packet, true, REDIRECT, CLASS_TUNNEL, false, __LINE__)
#define RESETS_OUT(packet)         check(packet, true, REDIRECT, CLASS_REFUSED, true, __LINE__)

/* A connection of a pod of ours to one of node 2's, and one the other way. */
struct flow {
	struct packet_buf out_syn, out, in;
	struct packet_buf in_syn, in_syn_answer;
};

static struct flow flow(unsigned port)
{
	return (struct flow){
		.out_syn = packet_tcp_frame("10.1.0.5", port, "10.2.0.5", 80, TCP_SYN),
		.out = packet_tcp_frame("10.1.0.5", port, "10.2.0.5", 80, TCP_ACK),
		.in = packet_tcp_frame("10.2.0.5", 80, "10.1.0.5", port, TCP_ACK),
		.in_syn = packet_tcp_frame("10.2.0.5", port, "10.1.0.5", 90, TCP_SYN),
		.in_syn_answer = packet_tcp_frame("10.1.0.5", 90, "10.2.0.5", port, TCP_SYN_ACK),
	};
}

static void a_pair_that_joins_passes_and_asks_for_a_tunnel(void **state)
{
	(void)state;
	for (int mode = EDGE_PERMISSIVE; mode <= EDGE_STRICT; mode++) {
		struct flow a = flow(40000), b = flow(40001);

		fixture_reset(&f);
		fixture_set_mode(&f, (enum edge_mode)mode);
		begin_joining();
		f.peers[PEER].wanted_ns = 0;
		memset(&event, 0, sizeof(event));
		PASSES_OUT(a.out_syn, CLASS_JOINING);
		assert_int_equal(ring_buffer__consume(ring), 1);
		assert_int_equal(event.type, EDGE_EVENT_WANT_TUNNEL);
		assert_int_equal(event.peer, PEER);
		/* A flood of connections does not become a flood of questions. */
		PASSES_OUT(b.out_syn, CLASS_JOINING);
		assert_int_equal(ring_buffer__consume(ring), 0);
		PASSES_IN(a.in, CLASS_JOINING);
		PASSES_OUT(a.out, CLASS_JOINING);
		PASSES_IN(a.in_syn, CLASS_JOINING);
		PASSES_OUT(a.in_syn_answer, CLASS_JOINING);
	}
}

static void lockdown_refuses_a_pair_that_joins(void **state)
{
	struct flow a = flow(40000);

	(void)state;
	begin_joining();
	fixture_set_mode(&f, EDGE_LOCKDOWN);
	DROPS_OUT(a.out_syn, CLASS_REFUSED);
	assert_int_equal(ring_buffer__consume(ring), 1);
	DROPS_OUT(a.out, CLASS_REFUSED);
	DROPS_IN(a.in_syn, CLASS_REFUSED);
	DROPS_IN(a.in, CLASS_REFUSED);
	/* What it asked for is taken when it is there. */
	fixture_set_peer(&f, PEER, true);
	DIVERTS_OUT(a.out_syn);
}

static void a_tunnel_that_is_up_is_taken_while_a_pair_joins(void **state)
{
	struct flow a = flow(40000), b = flow(40001);

	(void)state;
	begin_joining();
	fixture_set_peer(&f, PEER, true);
	DIVERTS_OUT(a.out_syn);
	DIVERTS_OUT(a.out);
	assert_int_equal(ring_buffer__consume(ring), 0);
	/* Nobody would take it from the pair: it passes. */
	fixture_kill(&f);
	PASSES_OUT(b.out_syn, CLASS_JOINING);
	/* But what was diverted once never goes out. */
	DIVERTS_OUT(a.out);
}

static void each_direction_has_its_time(void **state)
{
	struct flow a = flow(40000), b = flow(40001);

	(void)state;
	fixture_set_pair(&f, PEER, monotonic_ns(), NEVER);
	DIVERTS_OUT(a.out_syn);
	PASSES_IN(a.in_syn, CLASS_JOINING);
	/* Its answers are not those of a new connection. */
	PASSES_OUT(a.in_syn_answer, CLASS_OLDER);
	fixture_set_pair(&f, PEER, NEVER, monotonic_ns());
	PASSES_OUT(b.out_syn, CLASS_JOINING);
	DROPS_IN(b.in_syn, CLASS_REFUSED);
	PASSES_IN(b.in, CLASS_OLDER);
	fixture_set_pair(&f, PEER, monotonic_ns(), monotonic_ns());
	DIVERTS_OUT(flow(40002).out_syn);
	DROPS_IN(flow(40002).in_syn, CLASS_REFUSED);
}

static void flows_from_before_a_pair_joined_live_on(void **state)
{
	(void)state;
	/* Of each: begun at its SYN, known only from its middle; ours and theirs. */
	for (int is_joining = 0; is_joining < 2; is_joining++) {
		unsigned class_ = is_joining ? CLASS_JOINING : CLASS_NOT_ENROLLED;
		struct flow begun = flow(40000), out = flow(40001), in = flow(40002), late = flow(40003);

		fixture_reset(&f);
		if (is_joining)
			begin_joining();
		else
			unenroll();
		PASSES_OUT(begun.out_syn, class_);
		PASSES_IN(begun.in_syn, class_);
		/* Of one that begins while a pair joins the SYN is seen: these began before. */
		PASSES_OUT(out.out, is_joining ? CLASS_OLDER : class_);
		PASSES_IN(in.in, is_joining ? CLASS_OLDER : class_);
		begin_joining();
		PASSES_OUT(begun.out, is_joining ? CLASS_JOINING : CLASS_OLDER);
		PASSES_IN(out.in, CLASS_OLDER);
		join();
		for (int i = 0; i < 3; i++) {
			struct flow *x = i == 0 ? &begun : i == 1 ? &out : &in;

			PASSES_OUT(x->out, CLASS_OLDER);
			PASSES_IN(x->in, CLASS_OLDER);
		}
		PASSES_OUT(begun.in_syn_answer, CLASS_OLDER);
		/* What nobody has seen before is not older. */
		RESETS_OUT(late.out);
		DROPS_IN(late.in, CLASS_REFUSED);

		f.config.is_older_reset = 1;
		fixture_write_config(&f);
		RESETS_OUT(begun.out);
		DROPS_IN(in.in, CLASS_REFUSED);
		f.config.is_older_reset = 0;
		fixture_set_mode(&f, EDGE_LOCKDOWN);
		RESETS_OUT(begun.out);
		DROPS_IN(in.in, CLASS_REFUSED);
	}
}

static bool is_recorded(unsigned port)
{
	struct flow_key key = fixture_flow("10.1.0.5", port, "10.2.0.5", 80);
	struct flow_value value;

	return !bpf_map_lookup_elem(bpf_map__fd(f.edge->maps.passed), &key, &value);
}

static void flows_that_have_ended_are_forgotten(void **state)
{
	struct flow a = flow(40000), b = flow(40001);
	struct packet_buf out_fin = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_FIN | TCP_ACK);
	struct packet_buf in_fin = packet_tcp_frame("10.2.0.5", 80, "10.1.0.5", 40000, TCP_FIN | TCP_ACK);
	struct packet_buf rst = packet_tcp_frame("10.2.0.5", 80, "10.1.0.5", 40001, TCP_RST);

	(void)state;
	unenroll();
	PASSES_OUT(a.out_syn, CLASS_NOT_ENROLLED);
	PASSES_OUT(b.out_syn, CLASS_NOT_ENROLLED);
	/* One way is not both: the other half may go on for hours. */
	PASSES_OUT(out_fin, CLASS_NOT_ENROLLED);
	PASSES_OUT(out_fin, CLASS_NOT_ENROLLED);
	PASSES_IN(a.in, CLASS_NOT_ENROLLED);
	PASSES_OUT(a.out, CLASS_NOT_ENROLLED);
	assert_true(is_recorded(40000));
	PASSES_IN(in_fin, CLASS_NOT_ENROLLED);
	assert_true(is_recorded(40000));
	PASSES_OUT(a.out, CLASS_NOT_ENROLLED);
	assert_false(is_recorded(40000));
	PASSES_IN(rst, CLASS_NOT_ENROLLED);
	assert_false(is_recorded(40001));
	PASSES_IN(rst, CLASS_NOT_ENROLLED);
	assert_false(is_recorded(40001));
}

static void a_syn_sent_again_follows_its_flow(void **state)
{
	struct flow a = flow(40000);
	struct packet_buf other = packet_with_sequence(a.out_syn, 77), other_in = packet_with_sequence(a.in_syn, 77);

	(void)state;
	/* It was let pass, and the server may have answered: it goes on. A new connection from the same port does not. */
	begin_joining();
	PASSES_OUT(a.out_syn, CLASS_JOINING);
	PASSES_IN(a.in_syn, CLASS_JOINING);
	fixture_set_peer(&f, PEER, true);
	PASSES_OUT(a.out_syn, CLASS_JOINING);
	join();
	PASSES_OUT(a.out_syn, CLASS_OLDER);
	PASSES_IN(a.in_syn, CLASS_OLDER);
	DROPS_IN(other_in, CLASS_REFUSED);
	DIVERTS_OUT(other);
	DIVERTS_OUT(a.out);

	/* It was diverted, and our listener may have answered: it goes there, whatever became of the pair. */
	unenroll();
	DIVERTS_OUT(other);
	fixture_kill(&f);
	PASSES_OUT(other, CLASS_NOT_ENROLLED);
	fixture_revive(&f);
	PASSES_OUT(a.out_syn, CLASS_NOT_ENROLLED);
	PASSES_OUT(a.out, CLASS_NOT_ENROLLED);
}

static void a_pair_that_is_taken_apart(void **state)
{
	struct flow a = flow(40000), b = flow(40001);

	(void)state;
	fixture_set_peer(&f, PEER, true);
	DIVERTS_OUT(a.out_syn);
	unenroll();
	/* Running streams stay streams, new connections are plain. */
	DIVERTS_OUT(a.out);
	PASSES_OUT(b.out_syn, CLASS_NOT_ENROLLED);
	PASSES_IN(b.in_syn, CLASS_NOT_ENROLLED);
	assert_int_equal(ring_buffer__consume(ring), 0);
}

static void the_hosts_traffic_while_a_pair_joins(void **state)
{
	struct packet_buf host = packet_tcp_frame("192.168.0.1", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf as_pod = packet_tcp_frame("10.1.0.1", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf to_node = packet_tcp_frame("10.1.0.5", 40000, "192.168.0.2", 80, TCP_SYN);

	(void)state;
	begin_joining();
	assert_int_equal(fixture_egress(&f, &host, FROM_HOST), LEAVE);
	assert_true(fixture_counted(&f, CLASS_HOST, EDGE_EGRESS, EDGE_PASS, host.len_bytes));
	assert_int_equal(fixture_egress(&f, &as_pod, FROM_HOST), LEAVE);
	assert_true(fixture_counted(&f, CLASS_HOST, EDGE_EGRESS, EDGE_PASS, as_pod.len_bytes));
	PASSES_OUT(to_node, CLASS_TO_NODE);
	fixture_set_peer(&f, PEER, true);
	/* Sent again it follows its flow; a new one takes the tunnel. */
	assert_int_equal(fixture_egress(&f, &host, FROM_HOST), LEAVE);
	host = packet_with_sequence(host, 77);
	assert_int_equal(fixture_egress(&f, &host, FROM_HOST), REDIRECT);
	unenroll();
	host = packet_with_sequence(host, 78);
	fixture_forget_counts(&f);
	assert_int_equal(fixture_egress(&f, &host, FROM_HOST), LEAVE);
	assert_true(fixture_counted(&f, CLASS_NOT_ENROLLED, EDGE_EGRESS, EDGE_PASS, host.len_bytes));
}

static void a_node_that_is_not_enrolled_refuses_no_unknown_address(void **state)
{
	struct packet_buf syn = packet_tcp_frame("10.1.0.5", 40000, "10.77.0.5", 80, TCP_SYN);
	struct packet_buf out = packet_tcp_frame("10.1.0.5", 40000, "10.77.0.5", 80, TCP_ACK);
	struct packet_buf in_syn = packet_tcp_frame("10.77.0.5", 40000, "10.1.0.5", 90, TCP_SYN);
	struct packet_buf in = packet_tcp_frame("10.77.0.5", 80, "10.1.0.5", 40000, TCP_ACK);

	(void)state;
	f.config.is_enrolled = 0;
	fixture_write_config(&f);
	PASSES_OUT(syn, CLASS_UNKNOWN);
	PASSES_IN(in_syn, CLASS_UNKNOWN);
	PASSES_IN(in, CLASS_UNKNOWN);
	f.config.is_enrolled = 1;
	fixture_write_config(&f);
	PASSES_OUT(out, CLASS_UNKNOWN);
	PASSES_IN(in, CLASS_UNKNOWN);
	DROPS_OUT(packet_with_sequence(syn, 77), CLASS_UNKNOWN);
	DROPS_IN(packet_with_sequence(in_syn, 77), CLASS_UNKNOWN);
}

static void an_address_whose_pod_has_ended_is_unknown(void **state)
{
	struct net_value ending = { .kind = NET_POD, .flags = NET_ENDING, .peer = PEER, .worker = 3 };
	struct flow a = flow(40000), b = flow(40001), c = flow(40002);

	(void)state;
	unenroll();
	PASSES_OUT(a.out_syn, CLASS_NOT_ENROLLED);
	join();
	DIVERTS_OUT(b.out_syn);
	fixture_set_net(&f, "10.2.0.5", 32, ending);
	/* In silence: the client's kernel asks again, and finds the next owner. */
	DROPS_OUT(c.out_syn, CLASS_UNKNOWN);
	DROPS_OUT(c.out, CLASS_UNKNOWN);
	DROPS_IN(c.in_syn, CLASS_UNKNOWN);
	PASSES_OUT(a.out, CLASS_OLDER);
	DIVERTS_OUT(b.out);
	/* Its node's enrolment still counts. */
	unenroll();
	PASSES_OUT(c.out_syn, CLASS_NOT_ENROLLED);
	begin_joining();
	fixture_set_peer(&f, PEER, true);
	PASSES_OUT(packet_with_sequence(c.out_syn, 77), CLASS_JOINING);
	join();
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	PASSES_OUT(packet_with_sequence(c.out_syn, 78), CLASS_UNKNOWN);
	fixture_remove_net(&f, "10.2.0.5", 32);
}

static void a_flow_begun_while_its_address_was_unknown_is_reset(void **state)
{
	struct packet_buf syn = packet_tcp_frame("10.1.0.5", 40000, "172.20.0.9", 80, TCP_SYN);
	struct packet_buf out = packet_tcp_frame("10.1.0.5", 40000, "172.20.0.9", 80, TCP_ACK);
	struct packet_buf in_syn = packet_tcp_frame("172.20.0.9", 40000, "10.1.0.5", 90, TCP_SYN);
	struct packet_buf in = packet_tcp_frame("172.20.0.9", 40000, "10.1.0.5", 90, TCP_ACK);
	struct packet_buf before = packet_tcp_frame("10.1.0.5", 40001, "172.20.0.9", 80, TCP_ACK);

	(void)state;
	/* Also at the time when flows from before us are learned: of this one the beginning was seen. */
	for (int is_learning = 0; is_learning < 2; is_learning++) {
		fixture_reset(&f);
		f.config.learn_until_ns = is_learning ? NEVER : 0;
		fixture_write_config(&f);
		PASSES_OUT(syn, CLASS_OUTSIDE);
		PASSES_OUT(out, CLASS_OUTSIDE);
		PASSES_IN(in_syn, CLASS_OUTSIDE);
		fixture_set_net(&f, "172.20.0.9", 32, (struct net_value){ .kind = NET_POD, .peer = PEER, .worker = 3 });
		RESETS_OUT(out);
		DROPS_IN(in, CLASS_REFUSED);
		if (is_learning)
			PASSES_OUT(before, CLASS_OLDER);
		else
			RESETS_OUT(before);
		/* Not where it may be in the clear: there it becomes one from before. */
		unenroll();
		PASSES_OUT(out, CLASS_NOT_ENROLLED);
		join();
		PASSES_OUT(out, CLASS_OLDER);
		fixture_remove_net(&f, "172.20.0.9", 32);
	}
}

static void a_pod_that_opted_out_is_left_alone(void **state)
{
	struct net_value own = { .kind = NET_OWN_POD, .flags = NET_OPTED_OUT },
			 other = { .kind = NET_POD, .flags = NET_OPTED_OUT, .peer = PEER };
	struct packet_buf to = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.9", 80, TCP_SYN);
	struct packet_buf from = packet_tcp_frame("10.1.0.9", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf in = packet_tcp_frame("10.2.0.5", 40000, "10.1.0.9", 80, TCP_SYN);

	(void)state;
	fixture_set_net(&f, "10.2.0.9", 32, other);
	fixture_set_net(&f, "10.1.0.9", 32, own);
	PASSES_OUT(to, CLASS_EXCLUDED);
	PASSES_OUT(from, CLASS_EXCLUDED);
	PASSES_IN(in, CLASS_EXCLUDED);
	fixture_set_mode(&f, EDGE_LOCKDOWN);
	DIVERTS_OUT(to);
	DIVERTS_OUT(from);
	DROPS_IN(in, CLASS_REFUSED);
	fixture_remove_net(&f, "10.2.0.9", 32);
	fixture_remove_net(&f, "10.1.0.9", 32);
}

static void fragments_pass_while_a_pair_joins(void **state)
{
	struct packet_buf p = { 0 };

	(void)state;
	packet_ethernet(&p, 0x0800, 0);
	packet_ipv4(&p, "10.1.0.5", "10.2.0.5", 6, 0, 0x0010);
	packet_put_u16(&p, 0);
	DROPS_OUT(p, CLASS_UNCLASSIFIABLE);
	begin_joining();
	PASSES_OUT(p, CLASS_UNCLASSIFIABLE);
	fixture_set_mode(&f, EDGE_LOCKDOWN);
	DROPS_OUT(p, CLASS_UNCLASSIFIABLE);
	unenroll();
	fixture_set_mode(&f, EDGE_STRICT);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_COUNT, 0, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_pair_that_joins_passes_and_asks_for_a_tunnel, reset),
		cmocka_unit_test_setup(lockdown_refuses_a_pair_that_joins, reset),
		cmocka_unit_test_setup(a_tunnel_that_is_up_is_taken_while_a_pair_joins, reset),
		cmocka_unit_test_setup(each_direction_has_its_time, reset),
		cmocka_unit_test_setup(flows_from_before_a_pair_joined_live_on, reset),
		cmocka_unit_test_setup(flows_that_have_ended_are_forgotten, reset),
		cmocka_unit_test_setup(a_syn_sent_again_follows_its_flow, reset),
		cmocka_unit_test_setup(a_pair_that_is_taken_apart, reset),
		cmocka_unit_test_setup(the_hosts_traffic_while_a_pair_joins, reset),
		cmocka_unit_test_setup(a_node_that_is_not_enrolled_refuses_no_unknown_address, reset),
		cmocka_unit_test_setup(an_address_whose_pod_has_ended_is_unknown, reset),
		cmocka_unit_test_setup(a_flow_begun_while_its_address_was_unknown_is_reset, reset),
		cmocka_unit_test_setup(a_pod_that_opted_out_is_left_alone, reset),
		cmocka_unit_test_setup(fragments_pass_while_a_pair_joins, reset),
	};
	int result = fixture_load(&f);

	if (result)
		return result;
	ring = ring_buffer__new(bpf_map__fd(f.edge->maps.events), keep_event, NULL, NULL);
	if (!ring)
		return 1;
	result = cmocka_run_group_tests(tests, NULL, NULL);
	ring_buffer__free(ring);
	fixture_done(&f);
	return result;
}
