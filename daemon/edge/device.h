/* SPDX-License-Identifier: GPL-3.0-or-later */
/* device.h - the devices of the node's namespace with their addresses and routes, and which of them are edges.
 * A device faces pods only where that is proven; all else is an edge. To take a pod's device for an edge costs a little, the other way
 * round leaks. Reading uses a netlink socket; judging is over plain data. Thread: main. */
#ifndef CULVERT_EDGE_DEVICE_H
#define CULVERT_EDGE_DEVICE_H

#include "base/addr.h"
#include "cluster/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_sock;

enum { DEVICE_NAME_BYTES = 16, DEVICE_WHY_BYTES = 96 };

struct device_info {
	uint32_t ifindex;
	uint32_t master; /* ifindex of the bridge or bond that it is a port of; 0: none */
	uint32_t mtu;
	uint16_t arp_type; /* ARPHRD_...: without Ethernet's head where it is not ARPHRD_ETHER */
	char name[DEVICE_NAME_BYTES];
	char kind[DEVICE_NAME_BYTES]; /* "veth", "bridge", "vxlan", ...; "" for hardware */
	bool is_up;
	bool is_loopback;
	bool is_peer_elsewhere; /* veth, netkit: the other end is in another namespace */
	bool has_gateway_route;
};

struct device_address {
	uint32_t ifindex;
	struct addr addr;
	bool is_link_local;
};

/* A unicast route without a gateway. */
struct device_route {
	uint32_t ifindex;
	struct prefix dest;
};

struct device_table {
	struct device_info *devices;
	size_t devices_count;
	struct device_address *addresses;
	size_t addresses_count;
	struct device_route *routes;
	size_t routes_count;
};

/* Reads everything. 0 and *ret to be ended with device_table_done, or -errno with *ret untouched. */
int device_table_read(struct nl_sock *s, struct device_table *ret);
void device_table_done(struct device_table *t); /* a zeroed table is welcome */

enum device_face {
	DEVICE_FACES_NOBODY, /* lo and our own pair */
	DEVICE_FACES_PODS,
	DEVICE_FACES_OUTSIDE, /* an edge */
};

struct device_judgement {
	enum device_face face;
	bool may_face_pods; /* an edge, but pods of this node could be behind it */
	char why[DEVICE_WHY_BYTES];
};

/* own_ifindex: the host end of our pair. v: whose pods are where. */
struct device_judgement device_judge(const struct device_table *t, const struct device_info *d, uint32_t own_ifindex, const struct view *v);

#endif
