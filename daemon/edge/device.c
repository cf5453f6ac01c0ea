/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/device.h"

#include "edge/netlink.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	V4_OFFSET_BITS = 96, /* of a prefix in its mapped form */
	DUMP_TRIES = 5,      /* a table that changes so often under way is read as it came */
};

/* What the three dumps fill. */
struct reading {
	struct device_table t;
	size_t devices_cap, addresses_cap, routes_cap;
	int error;
};

/* Room for one more element. False: no memory, remembered in r. */
static bool grow(struct reading *r, void **array, size_t *cap, size_t count, size_t size)
{
	size_t larger = *cap ? *cap * 2 : 16;
	void *moved;

	if (count < *cap)
		return true;
	moved = realloc(*array, larger * size);
	if (!moved) {
		r->error = -ENOMEM;
		return false;
	}
	*array = moved;
	*cap = larger;
	return true;
}

static struct device_info *find_device(const struct device_table *t, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < t->devices_count; i++)
		if (t->devices[i].ifindex == ifindex)
			return &t->devices[i];
	return NULL;
}

static void copy_text(char *dst, const struct nlattr *a)
{
	if (a)
		(void)snprintf(dst, DEVICE_NAME_BYTES, "%s", nla_get_string(a));
}

static void on_link(void *ctx, struct nlmsghdr *h)
{
	struct reading *r = ctx;
	const struct ifinfomsg *head = nlmsg_data(h);
	struct nlattr *info, *a;
	struct device_info *d;

	if (h->nlmsg_type != RTM_NEWLINK || head->ifi_family != AF_UNSPEC)
		return;
	if (!grow(r, (void **)&r->t.devices, &r->devices_cap, r->t.devices_count, sizeof(*r->t.devices)))
		return;
	d = &r->t.devices[r->t.devices_count++];
	memset(d, 0, sizeof(*d));
	d->ifindex = (uint32_t)head->ifi_index;
	d->arp_type = head->ifi_type;
	d->is_up = head->ifi_flags & IFF_UP;
	d->is_loopback = head->ifi_flags & IFF_LOOPBACK;
	copy_text(d->name, nlmsg_find_attr(h, sizeof(*head), IFLA_IFNAME));
	a = nlmsg_find_attr(h, sizeof(*head), IFLA_MASTER);
	d->master = a ? nla_get_u32(a) : 0;
	a = nlmsg_find_attr(h, sizeof(*head), IFLA_MTU);
	d->mtu = a ? nla_get_u32(a) : 0;
	d->is_peer_elsewhere = nlmsg_find_attr(h, sizeof(*head), IFLA_LINK_NETNSID) != NULL;
	info = nlmsg_find_attr(h, sizeof(*head), IFLA_LINKINFO);
	if (info)
		copy_text(d->kind, nla_find(nla_data(info), nla_len(info), IFLA_INFO_KIND));
}

static bool read_addr(const struct nlattr *a, struct addr *ret)
{
	uint32_t v4_be;

	if (!a)
		return false;
	if (nla_len(a) == 4) {
		memcpy(&v4_be, nla_data(a), 4);
		*ret = addr_from_v4_be(v4_be);
		return true;
	}
	if (nla_len(a) != sizeof(ret->bytes))
		return false;
	memcpy(ret->bytes, nla_data(a), sizeof(ret->bytes));
	return true;
}

static bool is_link_local(const struct addr *a)
{
	if (addr_is_v4(a))
		return a->bytes[12] == 169 && a->bytes[13] == 254;
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

static void on_address(void *ctx, struct nlmsghdr *h)
{
	struct reading *r = ctx;
	const struct ifaddrmsg *head = nlmsg_data(h);
	struct nlattr *local = nlmsg_find_attr(h, sizeof(*head), IFA_LOCAL);
	struct device_address *a;
	struct addr addr;

	if (h->nlmsg_type != RTM_NEWADDR)
		return;
	/* On a point-to-point device IFA_ADDRESS is the other side's. */
	if (!read_addr(local ? local : nlmsg_find_attr(h, sizeof(*head), IFA_ADDRESS), &addr))
		return;
	if (!grow(r, (void **)&r->t.addresses, &r->addresses_cap, r->t.addresses_count, sizeof(*r->t.addresses)))
		return;
	a = &r->t.addresses[r->t.addresses_count++];
	a->ifindex = head->ifa_index;
	a->addr = addr;
	a->is_link_local = is_link_local(&addr);
}

static void add_next_hop(struct reading *r, const struct prefix *dest, uint32_t ifindex, bool has_gateway)
{
	struct device_info *d = find_device(&r->t, ifindex);

	if (!d)
		return;
	if (has_gateway) {
		/* Kept as a mark: a node may have a million of them. */
		d->has_gateway_route = true;
		return;
	}
	if (!grow(r, (void **)&r->t.routes, &r->routes_cap, r->t.routes_count, sizeof(*r->t.routes)))
		return;
	r->t.routes[r->t.routes_count++] = (struct device_route){ .ifindex = ifindex, .dest = *dest };
}

static void on_route(void *ctx, struct nlmsghdr *h)
{
	struct reading *r = ctx;
	const struct rtmsg *head = nlmsg_data(h);
	struct nlattr *a;
	struct prefix dest = { 0 };
	const struct rtnexthop *hop;
	int left;

	if (h->nlmsg_type != RTM_NEWROUTE || head->rtm_type != RTN_UNICAST || (head->rtm_flags & RTM_F_CLONED))
		return;
	if (head->rtm_family != AF_INET && head->rtm_family != AF_INET6)
		return;
	if (!read_addr(nlmsg_find_attr(h, sizeof(*head), RTA_DST), &dest.addr) && head->rtm_family == AF_INET)
		dest.addr = addr_from_v4_be(0);
	dest.len_bits = (uint8_t)(head->rtm_dst_len + (head->rtm_family == AF_INET ? V4_OFFSET_BITS : 0));

	a = nlmsg_find_attr(h, sizeof(*head), RTA_OIF);
	if (a)
		add_next_hop(r, &dest, nla_get_u32(a),
		             nlmsg_find_attr(h, sizeof(*head), RTA_GATEWAY) || nlmsg_find_attr(h, sizeof(*head), RTA_VIA));
	a = nlmsg_find_attr(h, sizeof(*head), RTA_MULTIPATH);
	if (!a)
		return;
	hop = nla_data(a);
	left = nla_len(a);
	while (left >= (int)sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) && hop->rtnh_len <= left) {
		struct nlattr *inner = (struct nlattr *)RTNH_DATA(hop);
		int inner_len = hop->rtnh_len - (int)sizeof(*hop);

		add_next_hop(r, &dest, (uint32_t)hop->rtnh_ifindex,
		             nla_find(inner, inner_len, RTA_GATEWAY) || nla_find(inner, inner_len, RTA_VIA));
		left -= (int)RTNH_ALIGN(hop->rtnh_len);
		hop = RTNH_NEXT(hop);
	}
}

/* One dump, again where the table changed meanwhile; *count is set back to what it was. */
static int dump(struct nl_sock *s, struct reading *r, int type, const void *head, size_t head_bytes,
                void (*on_message)(void *ctx, struct nlmsghdr *h), size_t *count)
{
	size_t before = *count;
	int tries, error = 0;

	for (tries = 0; tries < DUMP_TRIES; tries++) {
		*count = before;
		error = netlink_query(s, netlink_message(type, NLM_F_DUMP, head, head_bytes), on_message, r);
		if (error != -EINTR)
			break;
	}
	return error == -EINTR ? 0 : error;
}

int device_table_read(struct nl_sock *s, struct device_table *ret)
{
	struct reading r = { 0 };
	const struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	const struct ifaddrmsg address = { .ifa_family = AF_UNSPEC };
	const struct rtmsg route4 = { .rtm_family = AF_INET }, route6 = { .rtm_family = AF_INET6 };
	int error;

	error = dump(s, &r, RTM_GETLINK, &link, sizeof(link), on_link, &r.t.devices_count);
	if (!error)
		error = dump(s, &r, RTM_GETADDR, &address, sizeof(address), on_address, &r.t.addresses_count);
	if (!error)
		error = dump(s, &r, RTM_GETROUTE, &route4, sizeof(route4), on_route, &r.t.routes_count);
	if (!error) {
		error = dump(s, &r, RTM_GETROUTE, &route6, sizeof(route6), on_route, &r.t.routes_count);
		/* A kernel without IPv6. */
		if (error == -EOPNOTSUPP || error == -EAFNOSUPPORT)
			error = 0;
	}
	if (!error)
		error = r.error;
	if (error) {
		device_table_done(&r.t);
		return error;
	}
	*ret = r.t;
	return 0;
}

void device_table_done(struct device_table *t)
{
	free(t->devices);
	free(t->addresses);
	free(t->routes);
	memset(t, 0, sizeof(*t));
}

static bool is_pair(const struct device_info *d)
{
	return !strcmp(d->kind, "veth") || !strcmp(d->kind, "netkit");
}

static const struct addr *global_address(const struct device_table *t, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < t->addresses_count; i++)
		if (t->addresses[i].ifindex == ifindex && !t->addresses[i].is_link_local)
			return &t->addresses[i].addr;
	return NULL;
}

/* An address of the device by which the nodes' tunnels reach us. */
static const struct addr *node_address(const struct device_table *t, uint32_t ifindex, const struct view *v)
{
	const struct view_node *owner;
	size_t i;

	for (i = 0; i < t->addresses_count; i++) {
		if (t->addresses[i].ifindex != ifindex)
			continue;
		owner = view_node_by_address(v, &t->addresses[i].addr);
		if (owner && owner->is_self)
			return &t->addresses[i].addr;
	}
	return NULL;
}

/* A pod of this node, or the range that is said to be its pods'. */
static bool is_own(const struct view_entry *entry, const struct view *v)
{
	return (entry->kind == VIEW_POD || entry->kind == VIEW_POD_SPACE) && entry->node_id == view_self(v)->id;
}

/* Is the whole of p this node's pods'? */
static bool is_own_pods(const struct prefix *p, const struct view *v)
{
	struct prefix outer = { .len_bits = 0 };
	struct view_entry entry;

	/* From the nearest outwards: an address of the node may lie in its pods' prefix. */
	for (unsigned max = p->len_bits; view_find(v, &p->addr, max, &outer, &entry); max = outer.len_bits - 1U) {
		if (is_own(&entry, v))
			return true;
		/* Somebody else's, whatever is said of the range around it. */
		if (outer.len_bits == 0 || (entry.kind != VIEW_POD_SPACE && entry.node_id != view_self(v)->id))
			break;
	}
	return false;
}

static int stop_at_own(void *ctx, const struct prefix *p, const struct view_entry *entry)
{
	const struct view *const *v = ctx;

	(void)p;
	return is_own(entry, *v) ? -ECANCELED : 0;
}

static bool overlaps_own_pods(const struct prefix *p, const struct view *v)
{
	return is_own_pods(p, v) || view_walk(v, p, stop_at_own, &v) == -ECANCELED;
}

static bool leads_to_own_pods(const struct device_table *t, uint32_t ifindex, const struct view *v, bool is_whole)
{
	size_t i;

	for (i = 0; i < t->routes_count; i++) {
		if (t->routes[i].ifindex != ifindex || is_link_local(&t->routes[i].dest.addr))
			continue;
		if (is_whole ? is_own_pods(&t->routes[i].dest, v) : overlaps_own_pods(&t->routes[i].dest, v))
			return true;
	}
	return false;
}

/* A route without a gateway to more than single hosts that are nobody else's: so an uplink without an address looks. */
static bool leads_elsewhere(const struct device_table *t, uint32_t ifindex, const struct view *v)
{
	size_t i;

	for (i = 0; i < t->routes_count; i++) {
		const struct prefix *dest = &t->routes[i].dest;
		struct view_answer answer;

		if (t->routes[i].ifindex != ifindex || is_link_local(&dest->addr) || dest->addr.bytes[0] == 0xff || is_own_pods(dest, v))
			continue;
		if (dest->len_bits < 128)
			return true;
		answer = view_lookup(v, &dest->addr);
		if (answer.owner && !answer.owner->is_self)
			return true;
	}
	return false;
}

/* The end of a pair whose other end is a pod's. */
static bool is_pod_end(const struct device_table *t, const struct device_info *d, const struct view *v)
{
	return is_pair(d) && d->is_peer_elsewhere && !d->has_gateway_route && !global_address(t, d->ifindex) &&
	       !leads_elsewhere(t, d->ifindex, v);
}

static bool is_bridge(const struct device_info *d)
{
	return !strcmp(d->kind, "bridge");
}

/* A bridge that leads nowhere but to pods' ends. */
static bool has_only_pod_ends(const struct device_table *t, const struct device_info *d, const struct view *v)
{
	size_t i, ports = 0;

	for (i = 0; i < t->devices_count; i++) {
		if (t->devices[i].master != d->ifindex)
			continue;
		if (!is_pod_end(t, &t->devices[i], v))
			return false;
		ports++;
	}
	return ports > 0;
}

struct device_judgement device_judge(const struct device_table *t, const struct device_info *d, uint32_t own_ifindex, const struct view *v)
{
	struct device_judgement j = { .face = DEVICE_FACES_OUTSIDE };
	const struct addr *address;
	char text[ADDR_TEXT_BYTES];

	if (d->is_loopback || d->ifindex == own_ifindex) {
		j.face = DEVICE_FACES_NOBODY;
		(void)snprintf(j.why, sizeof(j.why), "%s", d->is_loopback ? "the loopback device" : "our own pair");
		return j;
	}
	address = node_address(t, d->ifindex, v);
	/* What faces pods may have the address that is the node's source towards them: a bridge one for all, or each pod's pair the same one
	 * (the plug-in ptp). Then routes must prove it, and a bridge's ports too: an uplink can be a port of a bridge as well. */
	if (address && !(leads_to_own_pods(t, d->ifindex, v, true) && !leads_elsewhere(t, d->ifindex, v) &&
	                 (is_bridge(d) ? has_only_pod_ends(t, d, v) : is_pair(d) && d->is_peer_elsewhere))) {
		(void)snprintf(j.why, sizeof(j.why), "has the node's address %s", addr_print(address, text));
		return j;
	}
	j.may_face_pods = leads_to_own_pods(t, d->ifindex, v, false);
	if (d->has_gateway_route) {
		(void)snprintf(j.why, sizeof(j.why), "has a route with a gateway");
		return j;
	}
	if ((is_pair(d) || is_bridge(d)) && leads_to_own_pods(t, d->ifindex, v, true)) {
		j.face = DEVICE_FACES_PODS;
		(void)snprintf(j.why, sizeof(j.why), "routes lead through it to this node's pods");
	} else if (is_pod_end(t, d, v)) {
		j.face = DEVICE_FACES_PODS;
		(void)snprintf(j.why, sizeof(j.why), "a %s into another namespace without an address", d->kind);
	} else if (is_bridge(d) && j.may_face_pods && has_only_pod_ends(t, d, v)) {
		j.face = DEVICE_FACES_PODS;
		(void)snprintf(j.why, sizeof(j.why), "a bridge of pods' devices alone");
	} else {
		(void)snprintf(j.why, sizeof(j.why), "not proven to face pods");
		return j;
	}
	j.may_face_pods = false;
	return j;
}
