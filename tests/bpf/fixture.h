/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fixture.h - the edge programs loaded over a small made-up cluster, and one way to run a packet through them.
 *
 *   own pods       10.1.0.0/16  fd01::/64     this node's own addresses in it: 10.1.0.0, and 10.1.0.1 that no view names
 *   node 2's pods  10.2.0.0/16  fd02::/64     192.168.0.2 fdee::2
 *   node 3's pods  10.3.0.0/16  fd03::/64     192.168.0.3 fdee::3, not enrolled
 *   pod space      10.0.0.0/8   fd00::/12     without an owner
 *   this node      192.168.0.1  fdee::1       and 172.16.0.1, which no view names
 *   API servers    port 6443 of the three nodes' first addresses, and of 10.2.0.5, a pod */
#ifndef CULVERT_TEST_FIXTURE_H
#define CULVERT_TEST_FIXTURE_H

#include "packet.h"
#include "shared.h"

#include "edge.skel.h"

enum { FROM_HOST = 0, FROM_POD = 100, FROM_UNKNOWN = 101, FROM_EDGE = 200, FROM_OURS = 300 };
enum { LEAVE = -1, SHOT = 2, REDIRECT = 7 };
enum { TUNNEL_PORT = 7117, API_PORT = 6443, PEER = 2, OTHER_PEER = 3, HOME = 3 /* the worker of PEER */ };

extern const uint8_t fixture_private_mac[6], fixture_host_mac[6];

struct fixture {
	struct edge_bpf *edge;
	struct edge_config config;
	struct peer_value peers[4]; /* by place */
	int listeners[2];           /* IPv4, IPv6 */
	struct edge_count before[EDGE_COUNTERS];
};

/* Loads in a network namespace of its own. 0, or 77 with the reason printed: the test is skipped. */
int fixture_load(struct fixture *f);
void fixture_done(struct fixture *f);
/* Empties every map of flows, sets the peers down and their pairs as above, strict mode, the listeners in. */
void fixture_reset(struct fixture *f);
void fixture_set_mode(struct fixture *f, enum edge_mode mode);
void fixture_write_config(struct fixture *f);
void fixture_set_peer(struct fixture *f, uint32_t place, bool is_up); /* at its home */
void fixture_set_takers(struct fixture *f, uint32_t place, uint8_t count, const uint8_t *workers);
/* From these times on; 0: not enrolled. */
void fixture_set_pair(struct fixture *f, uint32_t place, uint64_t egress_strict_ns, uint64_t ingress_strict_ns);
void fixture_set_net(struct fixture *f, const char *address, unsigned bits, struct net_value value);
void fixture_remove_net(struct fixture *f, const char *address, unsigned bits);
void fixture_set_device(struct fixture *f, uint32_t ifindex, struct device_value value);
/* The daemon dies, and comes back. */
void fixture_kill(struct fixture *f);
void fixture_revive(struct fixture *f);

/* Runs a packet through a program; its return value. out (may be NULL) gets the packet as it came out. */
int fixture_run(const struct bpf_program *program, const struct packet_buf *p, uint32_t ingress_ifindex, struct packet_buf *out);
/* The egress and ingress program for Ethernet. */
int fixture_egress(struct fixture *f, const struct packet_buf *p, uint32_t ingress_ifindex);
int fixture_ingress(struct fixture *f, const struct packet_buf *p);

/* Since the last call: exactly one packet of len_bytes was counted, there; or none, with edge_class CLASS_COUNT. Says by name what was
 * counted. */
bool fixture_counted(struct fixture *f, unsigned edge_class, unsigned direction, unsigned verdict, size_t len_bytes);

/* Begins to count anew. */
void fixture_forget_counts(struct fixture *f);

/* The flow of a packet, with "local" as the first. */
struct flow_key fixture_flow(const char *local, unsigned local_port, const char *remote, unsigned remote_port);

#endif
