/* SPDX-License-Identifier: GPL-3.0-or-later */
/* netns.h - the private network namespace where every address is local, and the veth pair that joins it to the node's namespace.
 * Made anew at each start of the daemon (a dead daemon's draining sockets can keep the old one alive for minutes, so its pair is taken
 * away first); gone with the daemon's last descriptor. Nothing is pinned on the host. Thread: main, in the node's namespace. */
#ifndef CULVERT_EDGE_NETNS_H
#define CULVERT_EDGE_NETNS_H

#include <stdint.h>

struct edge_netns;

enum { EDGE_ERROR_BYTES = 256 };

/* Makes namespace, pair (host end: culvert0, made or replaced), addresses, neighbours, rules, routes and sysctls; these in sysctl_directory,
 * /proc/sys/net or where a container sees it writable. It is copied. 0 or -errno with a sentence in error. */
int edge_netns_create(const char *sysctl_directory, struct edge_netns **ret, char error[EDGE_ERROR_BYTES]);
/* Deletes the pair and closes the namespace; NULL is welcome. */
void edge_netns_destroy(struct edge_netns *n);
/* For culvertd --remove: deletes a pair that an earlier daemon left. 0 also where there is none. */
int edge_netns_remove_leftovers(char error[EDGE_ERROR_BYTES]);

/* Lets larger packets through the pair, as large as the largest uplink's; a smaller mtu than now is no change. The pair never shrinks:
 * packets under way would be lost. 0 or -errno with a sentence in error. */
int edge_netns_raise_mtu(struct edge_netns *n, uint32_t mtu, char error[EDGE_ERROR_BYTES]);

int edge_netns_fd(const struct edge_netns *n);                   /* the private namespace */
int edge_netns_host_fd(const struct edge_netns *n);              /* the node's namespace, in which create was called */
uint32_t edge_netns_host_ifindex(const struct edge_netns *n);    /* of the host end */
uint32_t edge_netns_private_ifindex(const struct edge_netns *n); /* of the private end, in its namespace */
int edge_netns_id(const struct edge_netns *n); /* the private namespace's id as seen from the node's (for bpf_skc_lookup_tcp) */
const uint8_t *edge_netns_host_mac(const struct edge_netns *n);    /* 6 bytes */
const uint8_t *edge_netns_private_mac(const struct edge_netns *n); /* 6 bytes */

#endif
