/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The judgement of the edge programs: every class, in every mode, at egress and ingress, with its counter. */
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
#include <unistd.h>

#include <cmocka.h>

static struct fixture f;

static int reset(void **state)
{
	(void)state;
	fixture_reset(&f);
	return 0;
}

enum { NOTHING = CLASS_COUNT };

/* One packet and what becomes of it in each mode. class_: where it is counted; NOTHING: untouched. */
struct outcome {
	int verdict; /* LEAVE, SHOT, REDIRECT */
	unsigned class_;
};

struct scenario {
	const char *name;
	const char *source, *dest;
	unsigned source_port, dest_port, flags;
	int from; /* -1: at ingress */
	struct outcome permissive, strict, lockdown;
};

#define INGRESS (-1)

/* clang-format off */
#define PASSES(c)   { LEAVE, c }
#define DROPS(c)    { SHOT, c }
#define DIVERTS     { REDIRECT, CLASS_TUNNEL }
#define RESETS      { REDIRECT, CLASS_REFUSED }
#define UNTOUCHED   { LEAVE, NOTHING }
/* clang-format on */

static bool is_dropped(const struct outcome *o)
{
	return o->verdict == SHOT || (o->verdict == REDIRECT && o->class_ == CLASS_REFUSED);
}

static void check(const struct scenario *s, const struct outcome *o, enum edge_mode mode)
{
	struct packet_buf p = packet_tcp_frame(s->source, s->source_port, s->dest, s->dest_port, s->flags);
	int verdict;

	fixture_reset(&f);
	fixture_set_mode(&f, mode);
	verdict = s->from == INGRESS ? fixture_ingress(&f, &p) : fixture_egress(&f, &p, (uint32_t)s->from);
	if (verdict != o->verdict || !fixture_counted(&f, o->class_, s->from == INGRESS ? EDGE_INGRESS : EDGE_EGRESS,
	                                              is_dropped(o) ? EDGE_DROP : EDGE_PASS, p.len_bytes))
		fail_msg("%s, mode %d: verdict %d, not %d", s->name, mode, verdict, o->verdict);
}

static void run_scenarios(const struct scenario *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		check(&list[i], &list[i].permissive, EDGE_PERMISSIVE);
		check(&list[i], &list[i].strict, EDGE_STRICT);
		check(&list[i], &list[i].lockdown, EDGE_LOCKDOWN);
	}
}

#define RUN(list) run_scenarios(list, sizeof(list) / sizeof((list)[0]))

static void a_syn_that_leaves(void **state)
{
	static const struct scenario list[] = {
		{ "pod to enrolled pod", "10.1.0.5", "10.2.0.5", 40000, 80, TCP_SYN, FROM_POD, DROPS(CLASS_HELD), DIVERTS, DIVERTS },
		{ "the same over IPv6", "fd01::5", "fd02::5", 40000, 80, TCP_SYN, FROM_POD, DROPS(CLASS_HELD), DIVERTS, DIVERTS },
		{ "by a device that nobody knows", "10.1.0.5", "10.2.0.5", 40000, 80, TCP_SYN, FROM_UNKNOWN, DROPS(CLASS_HELD), DIVERTS,
		  DIVERTS },
		{ "a new pod without an owner", "10.99.0.5", "10.2.0.5", 40000, 80, TCP_SYN, FROM_POD, DROPS(CLASS_HELD), DIVERTS,
		  DIVERTS },
		{ "a pod behind an edge", "10.1.0.5", "10.2.0.5", 40000, 80, TCP_SYN, FROM_EDGE, DROPS(CLASS_HELD), DIVERTS, DIVERTS },
		{ "a masqueraded pod", "192.168.0.1", "10.2.0.5", 40000, 80, TCP_SYN, FROM_POD, DROPS(CLASS_HELD), DIVERTS, DIVERTS },
		{ "pod to the tunnel's port of a pod", "10.1.0.5", "10.2.0.5", 40000, TUNNEL_PORT, TCP_SYN, FROM_POD, DROPS(CLASS_HELD),
		  DIVERTS, DIVERTS },
		{ "pod to pod space", "10.1.0.5", "10.77.0.5", 40000, 80, TCP_SYN, FROM_POD, PASSES(CLASS_UNKNOWN), DROPS(CLASS_UNKNOWN),
		  DROPS(CLASS_UNKNOWN) },
		{ "pod to a node not enrolled", "10.1.0.5", "10.3.0.5", 40000, 80, TCP_SYN, FROM_POD, PASSES(CLASS_NOT_ENROLLED),
		  PASSES(CLASS_NOT_ENROLLED), DROPS(CLASS_REFUSED) },
		{ "pod to node", "10.1.0.5", "192.168.0.2", 40000, 30080, TCP_SYN, FROM_POD, PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE),
		  DROPS(CLASS_REFUSED) },
		{ "pod to the tunnel's port of a node", "10.1.0.5", "192.168.0.2", 40000, TUNNEL_PORT, TCP_SYN, FROM_POD,
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE), DROPS(CLASS_REFUSED) },
		{ "pod to the address of a node not enrolled", "10.1.0.5", "192.168.0.3", 40000, 80, TCP_SYN, FROM_POD,
		  PASSES(CLASS_NOT_ENROLLED), PASSES(CLASS_NOT_ENROLLED), DROPS(CLASS_REFUSED) },
		{ "pod to outside", "10.1.0.5", "8.8.8.8", 40000, 443, TCP_SYN, FROM_POD, PASSES(CLASS_OUTSIDE), PASSES(CLASS_OUTSIDE),
		  PASSES(CLASS_OUTSIDE) },
		{ "host to enrolled pod, no tunnel", "192.168.0.1", "10.2.0.5", 40000, 80, TCP_SYN, FROM_HOST, PASSES(CLASS_HOST),
		  PASSES(CLASS_HOST), DIVERTS },
		{ "host by an address in its pod range", "10.1.0.0", "10.2.0.5", 40000, 80, TCP_SYN, FROM_HOST, PASSES(CLASS_HOST),
		  PASSES(CLASS_HOST), DIVERTS },
		{ "host by an address that peers take for a pod's", "10.1.0.1", "10.2.0.5", 40000, 80, TCP_SYN, FROM_HOST,
		  PASSES(CLASS_HOST), DIVERTS, DIVERTS },
		{ "host by an address that no peer knows", "172.16.0.1", "10.2.0.5", 40000, 80, TCP_SYN, FROM_HOST, PASSES(CLASS_HOST),
		  PASSES(CLASS_HOST), DROPS(CLASS_REFUSED) },
		{ "host to a pod not enrolled", "192.168.0.1", "10.3.0.5", 40000, 80, TCP_SYN, FROM_HOST, PASSES(CLASS_NOT_ENROLLED),
		  PASSES(CLASS_NOT_ENROLLED), DROPS(CLASS_REFUSED) },
		{ "host to pod space", "192.168.0.1", "10.77.0.5", 40000, 80, TCP_SYN, FROM_HOST, PASSES(CLASS_HOST), PASSES(CLASS_HOST),
		  DROPS(CLASS_REFUSED) },
		{ "a socket of the host with a pod's address", "10.1.0.5", "10.2.0.5", 40000, 80, TCP_SYN, FROM_HOST, DROPS(CLASS_HELD),
		  DIVERTS, DIVERTS },
		{ "host to node", "192.168.0.1", "192.168.0.2", 40000, 6443, TCP_SYN, FROM_HOST, UNTOUCHED, UNTOUCHED, UNTOUCHED },
		{ "host to outside", "192.168.0.1", "8.8.8.8", 40000, 443, TCP_SYN, FROM_HOST, UNTOUCHED, UNTOUCHED, UNTOUCHED },
		{ "host to its own pod", "192.168.0.1", "10.1.0.5", 40000, 80, TCP_SYN, FROM_HOST, UNTOUCHED, UNTOUCHED, UNTOUCHED },
		{ "pod to own pod", "10.1.0.6", "10.1.0.5", 40000, 80, TCP_SYN, FROM_POD, UNTOUCHED, UNTOUCHED, UNTOUCHED },
		{ "a NodePort's second leg that netfilter does not know", "192.168.0.1", "10.2.0.5", 40000, 80, TCP_SYN, FROM_EDGE,
		  PASSES(CLASS_HOST), PASSES(CLASS_HOST), DROPS(CLASS_REFUSED) },
		{ "forwarded from outside", "8.8.8.8", "10.2.0.5", 40000, 80, TCP_SYN, FROM_EDGE, PASSES(CLASS_OUTSIDE),
		  PASSES(CLASS_OUTSIDE), PASSES(CLASS_OUTSIDE) },
		{ "forwarded for another node's pod", "10.2.0.6", "10.2.0.5", 40000, 80, TCP_SYN, FROM_EDGE, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE) },
		{ "forwarded to outside", "8.8.8.8", "9.9.9.9", 40000, 80, TCP_SYN, FROM_EDGE, UNTOUCHED, UNTOUCHED, UNTOUCHED },
		{ "out of our pair to another node's pod", "10.2.0.6", "10.2.0.5", 40000, 80, TCP_SYN, FROM_OURS, DROPS(CLASS_LOOP),
		  DROPS(CLASS_LOOP), DROPS(CLASS_LOOP) },
		{ "out of our pair to a pod that is gone", "10.2.0.6", "10.1.0.5", 40000, 80, TCP_SYN, FROM_OURS, DROPS(CLASS_LOOP),
		  DROPS(CLASS_LOOP), DROPS(CLASS_LOOP) },
		{ "out of our pair to outside", "10.2.0.6", "8.8.8.8", 40000, 80, TCP_SYN, FROM_OURS, DROPS(CLASS_LOOP), DROPS(CLASS_LOOP),
		  DROPS(CLASS_LOOP) },
	};

	(void)state;
	RUN(list);
}

static void a_packet_of_no_flow_that_leaves(void **state)
{
	static const struct scenario list[] = {
		{ "pod to enrolled pod", "10.1.0.5", "10.2.0.5", 40000, 80, TCP_ACK, FROM_POD, PASSES(CLASS_OLDER), RESETS, RESETS },
		{ "the same over IPv6", "fd01::5", "fd02::5", 40000, 80, TCP_ACK, FROM_POD, PASSES(CLASS_OLDER), RESETS, RESETS },
		{ "the answer to a SYN in the clear", "10.1.0.5", "10.2.0.5", 80, 40000, TCP_SYN_ACK, FROM_POD, PASSES(CLASS_OLDER), RESETS,
		  RESETS },
		{ "pod to pod space", "10.1.0.5", "10.77.0.5", 40000, 80, TCP_ACK, FROM_POD, PASSES(CLASS_UNKNOWN), DROPS(CLASS_UNKNOWN),
		  DROPS(CLASS_UNKNOWN) },
		{ "pod to a node not enrolled", "10.1.0.5", "10.3.0.5", 40000, 80, TCP_ACK, FROM_POD, PASSES(CLASS_NOT_ENROLLED),
		  PASSES(CLASS_NOT_ENROLLED), DROPS(CLASS_REFUSED) },
		{ "pod to node: an answer", "10.1.0.5", "192.168.0.2", 80, 40000, TCP_ACK, FROM_POD, PASSES(CLASS_HOST), PASSES(CLASS_HOST),
		  RESETS },
		{ "pod to outside", "10.1.0.5", "8.8.8.8", 40000, 443, TCP_ACK, FROM_POD, PASSES(CLASS_OUTSIDE), PASSES(CLASS_OUTSIDE),
		  PASSES(CLASS_OUTSIDE) },
		{ "host to enrolled pod", "192.168.0.1", "10.2.0.5", 40000, 80, TCP_ACK, FROM_HOST, PASSES(CLASS_HOST), PASSES(CLASS_HOST),
		  RESETS },
		{ "a tunnel's own packet", "192.168.0.1", "192.168.0.2", 40000, TUNNEL_PORT, TCP_ACK, FROM_HOST, PASSES(CLASS_CARRIER),
		  PASSES(CLASS_CARRIER), PASSES(CLASS_CARRIER) },
		{ "a tunnel's answer", "fdee::1", "fdee::2", TUNNEL_PORT, 40000, TCP_ACK, FROM_HOST, PASSES(CLASS_CARRIER),
		  PASSES(CLASS_CARRIER), PASSES(CLASS_CARRIER) },
		{ "a NodePort's answer to a pod", "192.168.0.1", "10.2.0.5", 30080, 40000, TCP_ACK, FROM_OURS, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE) },
		{ "a NodePort's answer to outside", "192.168.0.1", "8.8.8.8", 30080, 40000, TCP_ACK, FROM_OURS, PASSES(CLASS_OUTSIDE),
		  PASSES(CLASS_OUTSIDE), PASSES(CLASS_OUTSIDE) },
		{ "a load balancer's answer to outside", "9.9.9.9", "8.8.8.8", 80, 40000, TCP_ACK, FROM_OURS, PASSES(CLASS_OUTSIDE),
		  PASSES(CLASS_OUTSIDE), PASSES(CLASS_OUTSIDE) },
		{ "payload out of our pair, not translated back", "10.2.0.6", "8.8.8.8", 80, 40000, TCP_ACK, FROM_OURS, DROPS(CLASS_LOOP),
		  DROPS(CLASS_LOOP), DROPS(CLASS_LOOP) },
		{ "payload out of our pair, to a pod that moved", "10.2.0.6", "10.2.0.5", 80, 40000, TCP_ACK, FROM_OURS, DROPS(CLASS_LOOP),
		  DROPS(CLASS_LOOP), DROPS(CLASS_LOOP) },
	};

	(void)state;
	RUN(list);
}

static void what_arrives(void **state)
{
	static const struct scenario list[] = {
		{ "a SYN from an enrolled pod", "10.2.0.5", "10.1.0.5", 40000, 80, TCP_SYN, INGRESS, PASSES(CLASS_PERMISSIVE),
		  DROPS(CLASS_REFUSED), DROPS(CLASS_REFUSED) },
		{ "the same over IPv6", "fd02::5", "fd01::5", 40000, 80, TCP_SYN, INGRESS, PASSES(CLASS_PERMISSIVE), DROPS(CLASS_REFUSED),
		  DROPS(CLASS_REFUSED) },
		{ "payload from an enrolled pod", "10.2.0.5", "10.1.0.5", 40000, 80, TCP_ACK, INGRESS, PASSES(CLASS_OLDER),
		  DROPS(CLASS_REFUSED), DROPS(CLASS_REFUSED) },
		{ "a SYN from the pod space", "10.77.0.5", "10.1.0.5", 40000, 80, TCP_SYN, INGRESS, PASSES(CLASS_UNKNOWN),
		  DROPS(CLASS_UNKNOWN), DROPS(CLASS_UNKNOWN) },
		{ "from a node not enrolled", "10.3.0.5", "10.1.0.5", 40000, 80, TCP_SYN, INGRESS, PASSES(CLASS_NOT_ENROLLED),
		  PASSES(CLASS_NOT_ENROLLED), DROPS(CLASS_REFUSED) },
		{ "from a node itself", "192.168.0.2", "10.1.0.5", 40000, 80, TCP_SYN, INGRESS, PASSES(CLASS_HOST), PASSES(CLASS_HOST),
		  DROPS(CLASS_REFUSED) },
		{ "from the address of a node not enrolled", "192.168.0.3", "10.1.0.5", 40000, 80, TCP_SYN, INGRESS,
		  PASSES(CLASS_NOT_ENROLLED), PASSES(CLASS_NOT_ENROLLED), DROPS(CLASS_REFUSED) },
		{ "a node's answer", "192.168.0.2", "10.1.0.5", 30080, 40000, TCP_ACK, INGRESS, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), DROPS(CLASS_REFUSED) },
		{ "from outside", "8.8.8.8", "10.1.0.5", 40000, 80, TCP_SYN, INGRESS, PASSES(CLASS_OUTSIDE), PASSES(CLASS_OUTSIDE),
		  PASSES(CLASS_OUTSIDE) },
		{ "a pod to this node", "10.2.0.5", "192.168.0.1", 40000, 30080, TCP_SYN, INGRESS, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), DROPS(CLASS_REFUSED) },
		{ "a pod to this node's address in its range", "10.2.0.5", "10.1.0.0", 40000, 80, TCP_SYN, INGRESS, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), DROPS(CLASS_REFUSED) },
		{ "a pod's answer to this node", "10.2.0.5", "192.168.0.1", 80, 40000, TCP_ACK, INGRESS, PASSES(CLASS_HOST),
		  PASSES(CLASS_HOST), DROPS(CLASS_REFUSED) },
		{ "a tunnel's own packet", "192.168.0.2", "192.168.0.1", 40000, TUNNEL_PORT, TCP_ACK, INGRESS, PASSES(CLASS_CARRIER),
		  PASSES(CLASS_CARRIER), PASSES(CLASS_CARRIER) },
		{ "outside to this node", "8.8.8.8", "192.168.0.1", 40000, 22, TCP_SYN, INGRESS, UNTOUCHED, UNTOUCHED, UNTOUCHED },
		{ "node to node", "192.168.0.2", "192.168.0.1", 40000, 6443, TCP_SYN, INGRESS, UNTOUCHED, UNTOUCHED, UNTOUCHED },
		{ "a pod through us to another", "10.2.0.5", "10.3.0.5", 40000, 80, TCP_SYN, INGRESS, UNTOUCHED, UNTOUCHED, UNTOUCHED },
	};

	(void)state;
	RUN(list);
}

static void a_mode_may_come_in_one_direction_first(void **state)
{
	struct packet_buf out = packet_tcp_frame("10.1.0.5", 40000, "192.168.0.2", 30080, TCP_SYN);
	struct packet_buf in = packet_tcp_frame("10.2.0.5", 40000, "192.168.0.1", 30080, TCP_SYN);

	(void)state;
	/* Strict to lockdown, then back. */
	fixture_set_mode(&f, EDGE_LOCKDOWN);
	f.config.ingress_mode = EDGE_STRICT + 1;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), SHOT);
	assert_int_equal(fixture_ingress(&f, &in), LEAVE);
	fixture_set_mode(&f, EDGE_STRICT);
	f.config.ingress_mode = EDGE_LOCKDOWN + 1;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), LEAVE);
	assert_int_equal(fixture_ingress(&f, &in), SHOT);
	/* Permissive comes to what arrives first. */
	f.config.ingress_mode = EDGE_PERMISSIVE + 1;
	fixture_write_config(&f);
	out = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_SYN);
	in = packet_tcp_frame("10.2.0.5", 40000, "10.1.0.5", 80, TCP_SYN);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), REDIRECT);
	assert_int_equal(fixture_ingress(&f, &in), LEAVE);
	f.config.ingress_mode = 0;
	fixture_write_config(&f);
	in = packet_tcp_frame("10.2.0.5", 40001, "10.1.0.5", 80, TCP_SYN);
	assert_int_equal(fixture_ingress(&f, &in), SHOT);
}

static void an_api_server_on_a_node_is_reached_in_every_mode(void **state)
{
	static const struct scenario list[] = {
		{ "a SYN to it", "10.1.0.5", "192.168.0.2", 40000, API_PORT, TCP_SYN, FROM_POD, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE) },
		{ "the same over IPv6", "fd01::5", "fdee::2", 40000, API_PORT, TCP_SYN, FROM_POD, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE) },
		{ "a masqueraded one", "192.168.0.1", "192.168.0.2", 40000, API_PORT, TCP_SYN, FROM_POD, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE) },
		{ "on a node not enrolled", "10.1.0.5", "192.168.0.3", 40000, API_PORT, TCP_SYN, FROM_POD, PASSES(CLASS_NOT_ENROLLED),
		  PASSES(CLASS_NOT_ENROLLED), PASSES(CLASS_NOT_ENROLLED) },
		{ "another port", "10.1.0.5", "192.168.0.2", 40000, API_PORT + 1, TCP_SYN, FROM_POD, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), DROPS(CLASS_REFUSED) },
		{ "another address", "fd01::5", "fdee::3", 40000, API_PORT, TCP_SYN, FROM_POD, PASSES(CLASS_NOT_ENROLLED),
		  PASSES(CLASS_NOT_ENROLLED), DROPS(CLASS_REFUSED) },
		{ "payload from the port to a pod: no answer", "10.1.0.5", "192.168.0.2", API_PORT, 40000, TCP_ACK, FROM_POD,
		  PASSES(CLASS_HOST), PASSES(CLASS_HOST), RESETS },
		{ "a pod that is named as one", "10.1.0.5", "10.2.0.5", 40000, API_PORT, TCP_SYN, FROM_POD, DROPS(CLASS_HELD), DIVERTS,
		  DIVERTS },
		{ "plaintext of a pod that is named as one", "10.2.0.5", "10.1.0.5", API_PORT, 40000, TCP_ACK, INGRESS, PASSES(CLASS_OLDER),
		  DROPS(CLASS_REFUSED), DROPS(CLASS_REFUSED) },
		{ "its answer leaves", "192.168.0.1", "10.2.0.5", API_PORT, 40000, TCP_SYN_ACK, FROM_HOST, PASSES(CLASS_HOST),
		  PASSES(CLASS_HOST), PASSES(CLASS_TO_NODE) },
		{ "its own connection is another thing", "192.168.0.1", "10.2.0.5", API_PORT, 40000, TCP_SYN, FROM_HOST, PASSES(CLASS_HOST),
		  PASSES(CLASS_HOST), DIVERTS },
		{ "the SYN arrives", "10.2.0.5", "192.168.0.1", 40000, API_PORT, TCP_SYN, INGRESS, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE) },
		{ "at another port", "10.2.0.5", "192.168.0.1", 40000, API_PORT + 1, TCP_SYN, INGRESS, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), DROPS(CLASS_REFUSED) },
		{ "its answer arrives", "192.168.0.2", "10.1.0.5", API_PORT, 40000, TCP_SYN_ACK, INGRESS, PASSES(CLASS_TO_NODE),
		  PASSES(CLASS_TO_NODE), PASSES(CLASS_TO_NODE) },
		{ "from a node not enrolled", "192.168.0.3", "10.1.0.5", API_PORT, 40000, TCP_SYN_ACK, INGRESS, PASSES(CLASS_NOT_ENROLLED),
		  PASSES(CLASS_NOT_ENROLLED), PASSES(CLASS_NOT_ENROLLED) },
		{ "a SYN from its port", "192.168.0.2", "10.1.0.5", API_PORT, 80, TCP_SYN, INGRESS, PASSES(CLASS_HOST), PASSES(CLASS_HOST),
		  DROPS(CLASS_REFUSED) },
	};

	(void)state;
	RUN(list);
}

static void the_hosts_traffic_is_diverted_while_its_tunnel_is_up(void **state)
{
	struct packet_buf syn = packet_tcp_frame("192.168.0.1", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf ack = packet_tcp_frame("192.168.0.1", 40000, "10.2.0.5", 80, TCP_ACK);

	(void)state;
	for (int mode = EDGE_PERMISSIVE; mode <= EDGE_LOCKDOWN; mode++) {
		fixture_reset(&f);
		fixture_set_mode(&f, (enum edge_mode)mode);
		fixture_set_peer(&f, PEER, true);
		assert_int_equal(fixture_egress(&f, &syn, FROM_HOST), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, syn.len_bytes));
		assert_int_equal(fixture_egress(&f, &ack, FROM_HOST), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, ack.len_bytes));
	}
}

/* The kernel's own answer to the class of each packet of one connection in the clear, both ways. */
static void a_connection_in_the_clear_keeps_its_class(void **state)
{
	struct packet_buf to_node[4] = {
		packet_tcp_frame("10.1.0.5", 40000, "192.168.0.2", 30080, TCP_SYN),
		packet_tcp_frame("192.168.0.2", 30080, "10.1.0.5", 40000, TCP_SYN_ACK),
		packet_tcp_frame("10.1.0.5", 40000, "192.168.0.2", 30080, TCP_ACK),
		packet_tcp_frame("192.168.0.2", 30080, "10.1.0.5", 40000, TCP_ACK),
	};
	struct packet_buf from_node[4] = {
		packet_tcp_frame("192.168.0.2", 40000, "10.1.0.5", 80, TCP_SYN),
		packet_tcp_frame("10.1.0.5", 80, "192.168.0.2", 40000, TCP_SYN_ACK),
		packet_tcp_frame("192.168.0.2", 40000, "10.1.0.5", 80, TCP_ACK),
		packet_tcp_frame("10.1.0.5", 80, "192.168.0.2", 40000, TCP_ACK),
	};

	(void)state;
	for (int i = 0; i < 4; i++) {
		bool is_out = i % 2 == 0;

		assert_int_equal(is_out ? fixture_egress(&f, &to_node[i], FROM_POD) : fixture_ingress(&f, &to_node[i]), LEAVE);
		assert_true(fixture_counted(&f, CLASS_TO_NODE, is_out ? EDGE_EGRESS : EDGE_INGRESS, EDGE_PASS, to_node[i].len_bytes));
		is_out = !is_out;
		assert_int_equal(is_out ? fixture_egress(&f, &from_node[i], FROM_POD) : fixture_ingress(&f, &from_node[i]), LEAVE);
		assert_true(fixture_counted(&f, CLASS_HOST, is_out ? EDGE_EGRESS : EDGE_INGRESS, EDGE_PASS, from_node[i].len_bytes));
	}
}

static void a_diverted_flow_stays_diverted(void **state)
{
	static const char *const remotes[] = { "10.2.0.5", "fd02::5" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		const char *pod = i ? "fd01::5" : "10.1.0.5", *net = i ? "fd02::" : "10.2.0.0";
		unsigned bits = i ? 64 : 16;
		struct packet_buf syn = packet_tcp_frame(pod, 40000, remotes[i], 80, TCP_SYN);
		struct packet_buf ack = packet_tcp_frame(pod, 40000, remotes[i], 80, TCP_ACK);
		struct packet_buf other = packet_tcp_frame(pod, 40001, remotes[i], 80, TCP_ACK);

		assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
		assert_int_equal(fixture_egress(&f, &ack, FROM_POD), REDIRECT);
		/* The daemon dies: the rest goes into its dead pair. */
		fixture_kill(&f);
		assert_int_equal(fixture_egress(&f, &ack, FROM_POD), REDIRECT);
		/* The address leaves the view, in the most forgiving mode. */
		fixture_set_mode(&f, EDGE_PERMISSIVE);
		fixture_remove_net(&f, net, bits);
		fixture_forget_counts(&f);
		assert_int_equal(fixture_egress(&f, &ack, FROM_POD), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, ack.len_bytes));
		assert_int_equal(fixture_egress(&f, &other, FROM_POD), LEAVE);
		fixture_set_net(&f, net, bits, (struct net_value){ .kind = NET_POD, .peer = PEER, .worker = 3 });
		fixture_reset(&f);
	}
}

static void without_a_daemon(void **state)
{
	struct packet_buf pod = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf host = packet_tcp_frame("192.168.0.1", 40000, "10.2.0.5", 80, TCP_SYN);

	(void)state;
	fixture_kill(&f);
	fixture_set_peer(&f, PEER, true);
	assert_int_equal(fixture_egress(&f, &pod, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_REFUSED, EDGE_EGRESS, EDGE_DROP, pod.len_bytes));
	assert_int_equal(fixture_egress(&f, &host, FROM_HOST), LEAVE);
	assert_true(fixture_counted(&f, CLASS_HOST, EDGE_EGRESS, EDGE_PASS, host.len_bytes));

	fixture_set_mode(&f, EDGE_LOCKDOWN);
	assert_int_equal(fixture_egress(&f, &pod, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_REFUSED, EDGE_EGRESS, EDGE_DROP, pod.len_bytes));
	assert_int_equal(fixture_egress(&f, &host, FROM_HOST), SHOT);
	assert_true(fixture_counted(&f, CLASS_REFUSED, EDGE_EGRESS, EDGE_DROP, host.len_bytes));

	fixture_set_mode(&f, EDGE_PERMISSIVE);
	assert_int_equal(fixture_egress(&f, &pod, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, pod.len_bytes));

	/* The listeners of one family do not answer for the other. */
	fixture_reset(&f);
	close(f.listeners[1]);
	f.listeners[1] = -1;
	assert_int_equal(fixture_egress(&f, &pod, FROM_POD), REDIRECT);
	pod = packet_tcp_frame("fd01::5", 40000, "fd02::5", 80, TCP_SYN);
	assert_int_equal(fixture_egress(&f, &pod, FROM_POD), SHOT);
	fixture_kill(&f);
}

static int keep_event(void *ctx, void *data, size_t len_bytes)
{
	if (len_bytes == sizeof(struct edge_event))
		memcpy(ctx, data, len_bytes);
	return 0;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Moves the record of a held SYN into the past, as if the client had waited. */
static void age_held_syn(const struct flow_key *key, uint64_t age_ns)
{
	struct flow_value value = { .since_ns = monotonic_ns() - age_ns };

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.waiting), key, &value, BPF_EXIST), 0);
}

static void permissive_holds_a_syn_once(void **state)
{
	struct packet_buf syn = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf ack = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_ACK);
	struct packet_buf answer = packet_tcp_frame("10.2.0.5", 80, "10.1.0.5", 40000, TCP_SYN_ACK);
	struct flow_key key = fixture_flow("10.1.0.5", 40000, "10.2.0.5", 80);
	struct edge_event event = { 0 };
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(f.edge->maps.events), keep_event, &event, NULL);

	(void)state;
	assert_non_null(ring);
	(void)ring_buffer__consume(ring);
	memset(&event, 0, sizeof(event));
	fixture_set_mode(&f, EDGE_PERMISSIVE);

	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_HELD, EDGE_EGRESS, EDGE_DROP, syn.len_bytes));
	assert_int_equal(ring_buffer__consume(ring), 1);
	assert_int_equal(event.type, EDGE_EVENT_WANT_TUNNEL);
	assert_int_equal(event.peer, PEER);

	/* Too early a second one waits on, without another event. */
	age_held_syn(&key, EDGE_HOLD_NS / 2);
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_HELD, EDGE_EGRESS, EDGE_DROP, syn.len_bytes));
	assert_int_equal(ring_buffer__consume(ring), 0);

	/* The retransmission passes, and the whole connection after it. */
	age_held_syn(&key, EDGE_HOLD_NS);
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, syn.len_bytes));
	assert_int_equal(fixture_ingress(&f, &answer), LEAVE);
	assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_INGRESS, EDGE_PASS, answer.len_bytes));
	fixture_set_peer(&f, PEER, true);
	assert_int_equal(fixture_egress(&f, &ack, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, ack.len_bytes));

	/* So does its SYN, sent once more: the server may have answered. The next connection from that port finds the tunnel. */
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, syn.len_bytes));
	syn = packet_with_sequence(syn, 2);
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
	assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, syn.len_bytes));
	assert_int_equal(fixture_egress(&f, &ack, FROM_POD), REDIRECT);
	assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, ack.len_bytes));

	/* And a much later one, with the tunnel down again, is held anew. */
	fixture_set_peer(&f, PEER, false);
	syn = packet_with_sequence(syn, 3);
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), SHOT);
	age_held_syn(&key, EDGE_HOLD_FORGET_NS);
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), SHOT);
	ring_buffer__free(ring);
}

static void flows_from_before_us_are_learned_for_a_while(void **state)
{
	struct packet_buf out = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_ACK);
	struct packet_buf in = packet_tcp_frame("10.2.0.5", 80, "10.1.0.5", 40000, TCP_ACK);
	struct packet_buf other_in = packet_tcp_frame("10.2.0.5", 50000, "10.1.0.5", 90, TCP_ACK);
	struct packet_buf other_out = packet_tcp_frame("10.1.0.5", 90, "10.2.0.5", 50000, TCP_ACK);
	struct packet_buf late = packet_tcp_frame("10.1.0.5", 40001, "10.2.0.5", 80, TCP_ACK);
	struct packet_buf syn = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf forged_syn = packet_tcp_frame("10.2.0.5", 50000, "10.1.0.5", 90, TCP_SYN);

	(void)state;
	f.config.learn_until_ns = monotonic_ns() + 3600000000000u;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_OLDER, EDGE_EGRESS, EDGE_PASS, out.len_bytes));
	assert_int_equal(fixture_ingress(&f, &other_in), LEAVE);
	assert_true(fixture_counted(&f, CLASS_OLDER, EDGE_INGRESS, EDGE_PASS, other_in.len_bytes));
	/* A SYN is new, whatever the time. */
	assert_int_equal(fixture_ingress(&f, &forged_syn), SHOT);
	assert_true(fixture_counted(&f, CLASS_REFUSED, EDGE_INGRESS, EDGE_DROP, forged_syn.len_bytes));

	f.config.learn_until_ns = 1;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), LEAVE);
	assert_int_equal(fixture_ingress(&f, &in), LEAVE);
	assert_int_equal(fixture_egress(&f, &other_out, FROM_POD), LEAVE);
	assert_int_equal(fixture_ingress(&f, &other_in), LEAVE);
	assert_int_equal(fixture_egress(&f, &late, FROM_POD), REDIRECT);
	fixture_set_mode(&f, EDGE_LOCKDOWN);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), REDIRECT);
	assert_int_equal(fixture_ingress(&f, &in), SHOT);
	fixture_set_mode(&f, EDGE_STRICT);

	/* older_flows: reset. */
	f.config.is_older_reset = 1;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), REDIRECT);
	assert_int_equal(fixture_ingress(&f, &in), SHOT);
	f.config.is_older_reset = 0;
	fixture_write_config(&f);

	/* A new connection from the same port is no older one. */
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
	fixture_forget_counts(&f);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), REDIRECT);
	assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, out.len_bytes));
	assert_int_equal(fixture_ingress(&f, &in), SHOT);
}

/* While learning, the payload of a flow that a dead daemon carried must not be taken for an older flow's. */
static void a_diverted_flow_is_not_learned(void **state)
{
	struct packet_buf syn = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf out = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_ACK);
	struct packet_buf in = packet_tcp_frame("10.2.0.5", 80, "10.1.0.5", 40000, TCP_ACK);

	(void)state;
	f.config.learn_until_ns = monotonic_ns() + 3600000000000u;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
	assert_int_equal(fixture_ingress(&f, &in), SHOT);
	assert_int_equal(fixture_egress(&f, &out, FROM_POD), REDIRECT);
}

static void excluded_traffic_is_left_alone(void **state)
{
	const uint32_t one = 1;
	const uint16_t wanted_be = htons(9100);
	struct net_key key = { .prefix_bits = 128 };
	struct packet_buf to_net = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.9", 80, TCP_SYN);
	struct packet_buf to_port = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 9100, TCP_SYN);
	struct packet_buf answer = packet_tcp_frame("10.1.0.5", 9100, "10.2.0.5", 40000, TCP_SYN_ACK);
	struct packet_buf from_port = packet_tcp_frame("10.1.0.5", 9100, "10.2.0.5", 80, TCP_SYN);
	struct packet_buf in = packet_tcp_frame("10.2.0.5", 40000, "10.1.0.5", 9100, TCP_SYN);
	struct packet_buf to_node = packet_tcp_frame("10.1.0.5", 40000, "192.168.0.2", 9100, TCP_SYN);

	(void)state;
	packet_address("10.2.0.9", key.addr);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.exclude_nets), &key, &one, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.exclude_ports), &wanted_be, &one, BPF_ANY), 0);
	f.config.has_excludes = 1;

	for (int mode = EDGE_STRICT; mode <= EDGE_LOCKDOWN; mode++) {
		fixture_set_mode(&f, (enum edge_mode)mode);
		assert_int_equal(fixture_egress(&f, &to_net, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_EXCLUDED, EDGE_EGRESS, EDGE_PASS, to_net.len_bytes));
		assert_int_equal(fixture_egress(&f, &to_port, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_EXCLUDED, EDGE_EGRESS, EDGE_PASS, to_port.len_bytes));
		assert_int_equal(fixture_egress(&f, &answer, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_EXCLUDED, EDGE_EGRESS, EDGE_PASS, answer.len_bytes));
		assert_int_equal(fixture_ingress(&f, &in), LEAVE);
		assert_true(fixture_counted(&f, CLASS_EXCLUDED, EDGE_INGRESS, EDGE_PASS, in.len_bytes));
		assert_int_equal(fixture_egress(&f, &to_node, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_EXCLUDED, EDGE_EGRESS, EDGE_PASS, to_node.len_bytes));
		/* A client that happens to have the port is none of its servers. */
		assert_int_equal(fixture_egress(&f, &from_port, FROM_POD), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, from_port.len_bytes));
	}
}

static void other_protocols_pass_and_are_counted(void **state)
{
	static const struct {
		unsigned proto4, proto6, class_;
	} list[] = { { 17, 17, CLASS_UDP }, { 1, 58, CLASS_ICMP }, { 132, 132, CLASS_OTHER }, { 50, 50, CLASS_OTHER } };

	(void)state;
	for (int mode = EDGE_PERMISSIVE; mode <= EDGE_LOCKDOWN; mode++) {
		for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
			for (int is_v6 = 0; is_v6 < 2; is_v6++) {
				unsigned proto = is_v6 ? list[i].proto6 : list[i].proto4;
				const char *pod = is_v6 ? "fd01::5" : "10.1.0.5", *remote = is_v6 ? "fd02::5" : "10.2.0.5";
				struct packet_buf out = packet_proto_frame(pod, remote, proto), in = packet_proto_frame(remote, pod, proto);
				struct packet_buf host = packet_proto_frame(is_v6 ? "fdee::1" : "192.168.0.1", remote, proto);
				struct packet_buf outside = packet_proto_frame(pod, is_v6 ? "2001::1" : "8.8.8.8", proto);

				fixture_set_mode(&f, (enum edge_mode)mode);
				assert_int_equal(fixture_egress(&f, &out, FROM_POD), LEAVE);
				assert_true(fixture_counted(&f, list[i].class_, EDGE_EGRESS, EDGE_PASS, out.len_bytes));
				assert_int_equal(fixture_ingress(&f, &in), LEAVE);
				assert_true(fixture_counted(&f, list[i].class_, EDGE_INGRESS, EDGE_PASS, in.len_bytes));
				assert_int_equal(fixture_egress(&f, &host, FROM_HOST), LEAVE);
				assert_int_equal(fixture_egress(&f, &outside, FROM_POD), LEAVE);
				assert_true(fixture_counted(&f, NOTHING, 0, 0, 0));
			}
		}
	}
}

/* An ICMP error whose quoted packet is quoted_source -> quoted_dest. */
static struct packet_buf icmp_error(const char *source, const char *dest, unsigned type, const char *quoted_source,
                                    unsigned quoted_source_port, const char *quoted_dest, unsigned quoted_dest_port)
{
	struct packet_buf p = packet_proto_frame(source, dest, packet_is_v6(source) ? 58 : 1);

	p.bytes[p.len_bytes - 8] = (uint8_t)type;
	if (packet_is_v6(source))
		packet_ipv6(&p, quoted_source, quoted_dest, 6);
	else
		packet_ipv4(&p, quoted_source, quoted_dest, 6, 0, 0);
	packet_put_u16(&p, quoted_source_port);
	packet_put_u16(&p, quoted_dest_port);
	packet_put_u16(&p, 0);
	packet_put_u16(&p, 1);
	return p;
}

/* A quoted packet came out of the private namespace, from the remote address to the pod. */
static void icmp_errors_that_answer_our_sockets_are_diverted(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		const char *pod = is_v6 ? "fd01::5" : "10.1.0.5", *remote = is_v6 ? "fd02::5" : "10.2.0.5",
			   *host = is_v6 ? "fdee::1" : "192.168.0.1";
		unsigned unreachable = is_v6 ? 1 : 3, too_big = is_v6 ? 2 : 3, echo = is_v6 ? 128 : 8;
		struct packet_buf syn = packet_tcp_frame(pod, 40000, remote, 80, TCP_SYN);
		struct packet_buf ours = icmp_error(pod, remote, unreachable, remote, 80, pod, 40000);
		struct packet_buf from_host = icmp_error(host, remote, too_big, remote, 80, pod, 40000);
		struct packet_buf other_flow = icmp_error(pod, remote, unreachable, remote, 80, pod, 40001);
		struct packet_buf no_error = icmp_error(pod, remote, echo, remote, 80, pod, 40000);

		assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
		fixture_forget_counts(&f);
		assert_int_equal(fixture_egress(&f, &ours, FROM_POD), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, ours.len_bytes));
		assert_int_equal(fixture_egress(&f, &from_host, FROM_HOST), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, from_host.len_bytes));
		assert_int_equal(fixture_egress(&f, &other_flow, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_ICMP, EDGE_EGRESS, EDGE_PASS, other_flow.len_bytes));
		assert_int_equal(fixture_egress(&f, &no_error, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_ICMP, EDGE_EGRESS, EDGE_PASS, no_error.len_bytes));
	}
}

enum wrap { WRAP_VXLAN, WRAP_FLANNEL, WRAP_GENEVE, WRAP_GENEVE_IP, WRAP_IPIP, WRAP_GRE, WRAP_GRE_TEB, WRAP_GRE_KEY, WRAP_COUNT };

/* The frame inner in an encapsulation from this node to node 2; inner has an Ethernet head, which some leave out. */
static struct packet_buf wrapped(enum wrap wrap, const struct packet_buf *inner)
{
	struct packet_buf p = { .len_bytes = 0 };
	bool is_v6 = inner->bytes[12] == 0x86;
	unsigned type = is_v6 ? 0x86dd : 0x0800, proto = 17;

	packet_ethernet(&p, 0x0800, 0);
	if (wrap == WRAP_IPIP)
		proto = is_v6 ? 41 : 4;
	else if (wrap >= WRAP_GRE)
		proto = 47;
	packet_ipv4(&p, "192.168.0.1", "192.168.0.2", proto, 0, 0);
	switch (wrap) {
	case WRAP_VXLAN:
	case WRAP_FLANNEL:
		packet_udp(&p, 55555, wrap == WRAP_VXLAN ? 4789 : 8472);
		packet_put_u16(&p, 0x0800);
		for (int i = 0; i < 3; i++)
			packet_put_u16(&p, 0);
		break;
	case WRAP_GENEVE:
	case WRAP_GENEVE_IP:
		packet_udp(&p, 55555, 6081);
		packet_put_u8(&p, 2); /* 8 bytes of options */
		packet_put_u8(&p, 0);
		packet_put_u16(&p, wrap == WRAP_GENEVE ? 0x6558 : type);
		for (int i = 0; i < 6; i++)
			packet_put_u16(&p, 0);
		break;
	case WRAP_GRE:
	case WRAP_GRE_TEB:
	case WRAP_GRE_KEY:
		packet_put_u16(&p, wrap == WRAP_GRE_KEY ? 0x2000 : 0);
		packet_put_u16(&p, wrap == WRAP_GRE_TEB ? 0x6558 : type);
		if (wrap == WRAP_GRE_KEY) {
			packet_put_u16(&p, 0);
			packet_put_u16(&p, 7);
		}
		break;
	default:
		break;
	}
	if (wrap == WRAP_VXLAN || wrap == WRAP_FLANNEL || wrap == WRAP_GENEVE || wrap == WRAP_GRE_TEB)
		packet_put(&p, inner->bytes, inner->len_bytes);
	else
		packet_put(&p, inner->bytes + 14, inner->len_bytes - 14);
	return p;
}

static void pods_inside_an_encapsulation_are_found(void **state)
{
	(void)state;
	for (int wrap = 0; wrap < WRAP_COUNT; wrap++) {
		for (int is_v6 = 0; is_v6 < 2; is_v6++) {
			const char *pod = is_v6 ? "fd01::5" : "10.1.0.5", *remote = is_v6 ? "fd02::5" : "10.2.0.5";
			struct packet_buf inner = packet_tcp_frame(pod, 40000, remote, 80, TCP_ACK), p = wrapped((enum wrap)wrap, &inner);
			struct packet_buf inner_udp = packet_proto_frame(pod, remote, 17), udp = wrapped((enum wrap)wrap, &inner_udp);
			struct packet_buf inner_host = packet_tcp_frame(is_v6 ? "fdee::1" : "10.1.0.0", 40000, remote, 80, TCP_SYN);
			struct packet_buf host = wrapped((enum wrap)wrap, &inner_host);
			struct flow_key key = fixture_flow(pod, 40000, remote, 80);
			struct flow_value older = { .edge_class = CLASS_OLDER };

			fixture_reset(&f);
			assert_int_equal(fixture_egress(&f, &p, FROM_HOST), SHOT);
			assert_true(fixture_counted(&f, CLASS_BYPASS, EDGE_EGRESS, EDGE_DROP, p.len_bytes));
			assert_int_equal(fixture_egress(&f, &udp, FROM_HOST), LEAVE);
			assert_int_equal(fixture_egress(&f, &host, FROM_HOST), LEAVE);
			assert_true(fixture_counted(&f, NOTHING, 0, 0, 0));
			fixture_set_mode(&f, EDGE_PERMISSIVE);
			assert_int_equal(fixture_egress(&f, &p, FROM_HOST), LEAVE);
			assert_true(fixture_counted(&f, CLASS_BYPASS, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
			fixture_set_mode(&f, EDGE_STRICT);
			/* What our program on the inner device let pass. */
			assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.passed), &key, &older, BPF_ANY), 0);
			assert_int_equal(fixture_egress(&f, &p, FROM_HOST), LEAVE);
			assert_true(fixture_counted(&f, NOTHING, 0, 0, 0));
		}
	}
}

/* As lost as on the wire, so that the pod's own kernel finds out. */
static void a_node_that_does_not_answer_silences_its_flows(void **state)
{
	struct packet_buf syn = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.7", 80, TCP_SYN);
	struct packet_buf ack = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.7", 80, TCP_ACK);
	struct packet_buf rst = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.7", 80, TCP_RST);

	(void)state;
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
	f.peers[PEER].is_silent = 1;
	fixture_set_peer(&f, PEER, true);
	fixture_forget_counts(&f);
	assert_int_equal(fixture_egress(&f, &ack, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_SILENT, EDGE_EGRESS, EDGE_DROP, ack.len_bytes));
	assert_int_equal(fixture_egress(&f, &rst, FROM_POD), REDIRECT);
	assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, rst.len_bytes));
	/* A new connection is the daemon's business. */
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
	f.peers[PEER].is_silent = 0;
	fixture_set_peer(&f, PEER, true);
	assert_int_equal(fixture_egress(&f, &ack, FROM_POD), REDIRECT);
}

/* The same of one pod: only that connection's packets are lost. */
static void a_pod_that_does_not_answer_silences_its_flow(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		const char *pod = is_v6 ? "fd01::5" : "10.1.0.5", *remote = is_v6 ? "fd02::7" : "10.2.0.7";
		struct packet_buf syn = packet_tcp_frame(pod, 40000, remote, 80, TCP_SYN);
		struct packet_buf ack = packet_tcp_frame(pod, 40000, remote, 80, TCP_ACK);
		struct packet_buf rst = packet_tcp_frame(pod, 40000, remote, 80, TCP_RST);
		struct packet_buf other_syn = packet_tcp_frame(pod, 40001, remote, 80, TCP_SYN);
		struct packet_buf other = packet_tcp_frame(pod, 40001, remote, 80, TCP_ACK);
		struct flow_key key = fixture_flow(pod, 40000, remote, 80);
		int fd = bpf_map__fd(f.edge->maps.silenced);
		uint32_t one = 1;

		fixture_reset(&f);
		assert_int_equal(fixture_egress(&f, &syn, FROM_POD), REDIRECT);
		assert_int_equal(fixture_egress(&f, &other_syn, FROM_POD), REDIRECT);
		assert_int_equal(bpf_map_update_elem(fd, &key, &one, BPF_ANY), 0);
		f.peers[PEER].has_silent_flows = 1;
		fixture_set_peer(&f, PEER, true);
		fixture_forget_counts(&f);
		assert_int_equal(fixture_egress(&f, &ack, FROM_POD), SHOT);
		assert_true(fixture_counted(&f, CLASS_SILENT, EDGE_EGRESS, EDGE_DROP, ack.len_bytes));
		assert_int_equal(fixture_egress(&f, &other, FROM_POD), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, other.len_bytes));
		/* Its last word. */
		assert_int_equal(fixture_egress(&f, &rst, FROM_POD), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, rst.len_bytes));
		assert_int_equal(bpf_map_delete_elem(fd, &key), 0);
		assert_int_equal(fixture_egress(&f, &ack, FROM_POD), REDIRECT);
		f.peers[PEER].has_silent_flows = 0;
	}
}

static void a_pods_device_that_looks_like_an_edge(void **state)
{
	struct packet_buf syn = packet_tcp_frame("10.2.0.5", 40000, "10.1.0.5", 80, TCP_SYN);
	struct device_value value = { .role = DEVICE_EDGE, .flags = DEVICE_MAY_FACE_PODS };
	uint32_t lo = 1;
	int fd = bpf_map__fd(f.edge->maps.devices);

	(void)state;
	assert_int_equal(bpf_map_update_elem(fd, &lo, &value, BPF_ANY), 0);
	assert_int_equal(fixture_egress(&f, &syn, FROM_OURS), LEAVE);
	assert_true(fixture_counted(&f, NOTHING, 0, 0, 0));
	value.flags = 0;
	assert_int_equal(bpf_map_update_elem(fd, &lo, &value, BPF_ANY), 0);
	assert_int_equal(fixture_egress(&f, &syn, FROM_OURS), SHOT);
}

static void settings_of_another_version_are_left_alone(void **state)
{
	struct packet_buf syn = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_SYN);

	(void)state;
	f.config.version = CULVERT_SHARED_VERSION + 1;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &syn, FROM_POD), LEAVE);
	assert_int_equal(fixture_ingress(&f, &syn), LEAVE);
	assert_true(fixture_counted(&f, NOTHING, 0, 0, 0));
	f.config.version = CULVERT_SHARED_VERSION;
	fixture_write_config(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_syn_that_leaves, reset),
		cmocka_unit_test_setup(a_packet_of_no_flow_that_leaves, reset),
		cmocka_unit_test_setup(what_arrives, reset),
		cmocka_unit_test_setup(a_mode_may_come_in_one_direction_first, reset),
		cmocka_unit_test_setup(an_api_server_on_a_node_is_reached_in_every_mode, reset),
		cmocka_unit_test_setup(the_hosts_traffic_is_diverted_while_its_tunnel_is_up, reset),
		cmocka_unit_test_setup(a_connection_in_the_clear_keeps_its_class, reset),
		cmocka_unit_test_setup(a_diverted_flow_stays_diverted, reset),
		cmocka_unit_test_setup(without_a_daemon, reset),
		cmocka_unit_test_setup(permissive_holds_a_syn_once, reset),
		cmocka_unit_test_setup(flows_from_before_us_are_learned_for_a_while, reset),
		cmocka_unit_test_setup(a_diverted_flow_is_not_learned, reset),
		cmocka_unit_test_setup(excluded_traffic_is_left_alone, reset),
		cmocka_unit_test_setup(other_protocols_pass_and_are_counted, reset),
		cmocka_unit_test_setup(icmp_errors_that_answer_our_sockets_are_diverted, reset),
		cmocka_unit_test_setup(pods_inside_an_encapsulation_are_found, reset),
		cmocka_unit_test_setup(a_node_that_does_not_answer_silences_its_flows, reset),
		cmocka_unit_test_setup(a_pod_that_does_not_answer_silences_its_flow, reset),
		cmocka_unit_test_setup(a_pods_device_that_looks_like_an_edge, reset),
		cmocka_unit_test_setup(settings_of_another_version_are_left_alone, reset),
	};
	int result = fixture_load(&f);

	if (result)
		return result;
	result = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_done(&f);
	return result;
}
