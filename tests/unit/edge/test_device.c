/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which devices are edges, over made-up tables. */
#include "edge/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "unit/parsed.h"

enum { PAIR_IFINDEX = 99, ARP_ETHER = 1 };

static struct view *view;

static int make_view(void **state)
{
	const struct addr self = addr("192.168.0.1"), other = addr("192.168.0.2");
	const struct prefix own[3] = { prefix("10.1.0.0/16"), prefix("fd01::/64"), prefix("10.9.0.7") },
			    pods[2] = { prefix("10.2.0.0/16"), prefix("10.9.0.8") };
	const struct view_node nodes[2] = {
		{ .name = "node1", .addresses_count = 1, .addresses = &self, .pods_count = 3, .pods = own },
		{ .name = "node2", .addresses_count = 1, .addresses = &other, .pods_count = 2, .pods = pods },
	};
	char error[VIEW_ERROR_BYTES];

	(void)state;
	return view_create(nodes, 2, NULL, 0, "node1", NULL, &view, error);
}

static int free_view(void **state)
{
	(void)state;
	view_unref(view);
	return 0;
}

/* The view of a cluster whose pods are known one by one: of the range of this node only that it is said to be its own. */
static struct view *view_of_entries(bool has_range)
{
	static const struct {
		const char *prefix;
		enum view_kind kind;
		bool is_self;
	} entries[] = {
		{ "10.9.0.8", VIEW_POD, false },  { "10.244.1.0/24", VIEW_POD_SPACE, true }, { "10.244.1.1", VIEW_NODE, true },
		{ "10.244.1.5", VIEW_POD, true }, { "10.244.1.9", VIEW_POD, false },
	};
	const struct addr self = addr("192.168.0.1"), other = addr("192.168.0.2");
	struct view_node nodes[2] = { { .name = "node1", .addresses_count = 1, .addresses = &self },
		                      { .name = "node2", .addresses_count = 1, .addresses = &other } };
	struct view_edit *e;
	struct view *v;
	uint32_t ids[2];

	assert_int_equal(view_edit_begin(NULL, "node1", &e), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(view_edit_put_node(e, &nodes[i], &ids[i]), 0);
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		struct prefix p = prefix(entries[i].prefix);
		struct view_entry entry = { .kind = entries[i].kind, .node_id = ids[entries[i].is_self ? 0 : 1] };

		if (entry.kind == VIEW_POD_SPACE && !has_range)
			entry.node_id = 0;
		assert_int_equal(view_edit_set(e, &p, &entry), 0);
	}
	assert_int_equal(view_edit_finish(e, &v), 0);
	return v;
}

/* A table that is built up; device 0 is the one that is judged. */
struct made {
	struct device_info devices[8];
	struct device_address addresses[8];
	struct device_route routes[8];
	struct device_table t;
};

static void add_device(struct made *m, const char *kind, bool is_peer_elsewhere)
{
	struct device_info *d;

	m->t.devices = m->devices;
	m->t.addresses = m->addresses;
	m->t.routes = m->routes;
	d = &m->devices[m->t.devices_count++];
	*d = (struct device_info){
		.ifindex = (uint32_t)m->t.devices_count, .arp_type = ARP_ETHER, .is_up = true, .is_peer_elsewhere = is_peer_elsewhere
	};
	snprintf(d->name, sizeof(d->name), "dev%u", d->ifindex);
	snprintf(d->kind, sizeof(d->kind), "%s", kind);
}

static void add_address(struct made *m, const char *text, bool is_link_local)
{
	m->addresses[m->t.addresses_count++] =
		(struct device_address){ .ifindex = (uint32_t)m->t.devices_count, .addr = addr(text), .is_link_local = is_link_local };
}

static void add_route(struct made *m, const char *dest)
{
	m->routes[m->t.routes_count++] = (struct device_route){ .ifindex = (uint32_t)m->t.devices_count, .dest = prefix(dest) };
}

static void expect(const struct made *m, enum device_face face, bool may_face_pods)
{
	struct device_judgement j = device_judge(&m->t, &m->devices[0], PAIR_IFINDEX, view);

	if (j.face != face || j.may_face_pods != may_face_pods)
		fail_msg("face %d, may face pods %d: %s", j.face, j.may_face_pods, j.why);
	assert_true(j.why[0] != '\0');
}

static void hardware_is_an_edge(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "", false);
	expect(&m, DEVICE_FACES_OUTSIDE, false);
	add_address(&m, "192.168.0.1", false);
	add_route(&m, "192.168.0.0/24");
	expect(&m, DEVICE_FACES_OUTSIDE, false);
}

static void a_pods_pair_routed(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "veth", true);
	add_address(&m, "fe80::1", true);
	add_route(&m, "fe80::/64");
	add_route(&m, "10.1.0.5");
	expect(&m, DEVICE_FACES_PODS, false);
}

/* The plug-in ptp gives the gateway's address to each pod's host end. */
static void a_pods_pair_with_an_address(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "veth", true);
	add_address(&m, "10.1.0.1", false);
	expect(&m, DEVICE_FACES_OUTSIDE, false);
	add_route(&m, "10.1.0.5");
	expect(&m, DEVICE_FACES_PODS, false);
}

static void a_new_pod_that_nobody_named_yet(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "netkit", true);
	add_route(&m, "172.20.0.5");
	expect(&m, DEVICE_FACES_PODS, false);
}

static void a_pair_whose_other_end_is_here(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "veth", false);
	expect(&m, DEVICE_FACES_OUTSIDE, false);
}

/* A node in a container: its uplink is a pair into another namespace. */
static void a_pair_as_an_uplink(void **state)
{
	struct made with_address = { .t.devices_count = 0 }, with_gateway = { .t.devices_count = 0 }, on_link = { .t.devices_count = 0 },
		    to_one_pod = { .t.devices_count = 0 };

	(void)state;
	add_device(&with_address, "veth", true);
	add_address(&with_address, "192.168.0.1", false);
	expect(&with_address, DEVICE_FACES_OUTSIDE, false);

	add_device(&with_gateway, "veth", true);
	with_gateway.devices[0].has_gateway_route = true;
	expect(&with_gateway, DEVICE_FACES_OUTSIDE, false);

	add_device(&on_link, "veth", true);
	add_route(&on_link, "10.2.0.0/16");
	expect(&on_link, DEVICE_FACES_OUTSIDE, false);

	add_device(&to_one_pod, "veth", true);
	add_route(&to_one_pod, "10.9.0.8");
	expect(&to_one_pod, DEVICE_FACES_OUTSIDE, false);
}

/* Pods and machines in one subnet, as on AWS: the route covers our pods, and says nothing. */
static void an_uplink_whose_subnet_covers_our_pods(void **state)
{
	struct made m = { .t.devices_count = 0 }, second = { .t.devices_count = 0 }, bridge = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "", false);
	add_address(&m, "192.168.0.1", false);
	add_route(&m, "10.0.0.0/8");
	expect(&m, DEVICE_FACES_OUTSIDE, false);

	add_device(&second, "", false);
	add_address(&second, "10.50.0.1", false);
	add_route(&second, "10.0.0.0/8");
	expect(&second, DEVICE_FACES_OUTSIDE, true);

	/* The node's own address is stronger than any route. */
	add_device(&bridge, "bridge", false);
	add_address(&bridge, "192.168.0.1", false);
	add_route(&bridge, "10.1.0.0/16");
	expect(&bridge, DEVICE_FACES_OUTSIDE, false);
}

static void a_bridge_of_pods(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "bridge", false);
	add_address(&m, "10.1.0.1", false);
	add_route(&m, "10.1.0.0/16");
	expect(&m, DEVICE_FACES_PODS, false);
}

/* The plug-in ptp gives every pod's pair the same address of the node, which is its source towards them. */
static void a_pods_pair_with_an_address_of_the_node(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "veth", true);
	add_address(&m, "192.168.0.1", false);
	expect(&m, DEVICE_FACES_OUTSIDE, false);
	add_route(&m, "10.1.0.2/32");
	expect(&m, DEVICE_FACES_PODS, false);
	/* A veth can be a node's uplink, too. */
	add_route(&m, "192.168.0.0/24");
	expect(&m, DEVICE_FACES_OUTSIDE, false);
	m.t.routes_count--;
	m.devices[0].has_gateway_route = true;
	expect(&m, DEVICE_FACES_OUTSIDE, true);
	m.devices[0].has_gateway_route = false;
	m.devices[0].is_peer_elsewhere = false;
	expect(&m, DEVICE_FACES_OUTSIDE, false);
}

/* cni0's address is the node's source towards its pods, and the nodes file may name it. */
static void a_bridge_of_pods_with_an_address_of_the_node(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "bridge", false);
	add_address(&m, "10.1.0.1", false);
	add_route(&m, "10.1.0.0/16");
	expect(&m, DEVICE_FACES_PODS, false);
	add_address(&m, "192.168.0.1", false);
	expect(&m, DEVICE_FACES_OUTSIDE, false);
	add_device(&m, "veth", true);
	m.devices[1].master = 1;
	expect(&m, DEVICE_FACES_PODS, false);
	add_device(&m, "", false);
	m.devices[2].master = 1;
	expect(&m, DEVICE_FACES_OUTSIDE, false);
	m.t.devices_count--;
	expect(&m, DEVICE_FACES_PODS, false);
	/* A subnet of the machines on it. */
	m.routes[m.t.routes_count++] = (struct device_route){ .ifindex = 1, .dest = prefix("192.168.0.0/24") };
	expect(&m, DEVICE_FACES_OUTSIDE, false);
}

/* With single addresses in the cluster's view, its ports prove it. */
static void pods_that_are_known_one_by_one(void **state)
{
	struct view *kept = view;

	(void)state;
	for (int has_range = 0; has_range < 2; has_range++) {
		struct made pair = { .t.devices_count = 0 }, bridge = { .t.devices_count = 0 }, stale = { .t.devices_count = 0 };

		view = view_of_entries(has_range);
		/* A route to a pod of ours. */
		add_device(&pair, "veth", false);
		add_route(&pair, "10.244.1.5");
		expect(&pair, DEVICE_FACES_PODS, false);

		/* The range that our pods are given addresses of proves a bridge, also before it has a port; else only its ports do. */
		add_device(&bridge, "bridge", false);
		add_route(&bridge, "10.244.1.0/24");
		expect(&bridge, has_range ? DEVICE_FACES_PODS : DEVICE_FACES_OUTSIDE, !has_range);
		add_device(&bridge, "veth", true);
		bridge.devices[1].master = 1;
		expect(&bridge, DEVICE_FACES_PODS, false);
		add_address(&bridge, "10.244.1.1", false);
		expect(&bridge, has_range ? DEVICE_FACES_PODS : DEVICE_FACES_OUTSIDE, !has_range);

		/* In our range, but another node's pod has it. */
		add_device(&stale, "veth", false);
		add_route(&stale, "10.244.1.9");
		expect(&stale, DEVICE_FACES_OUTSIDE, false);
		view_unref(view);
	}
	view = kept;
}

static void a_bridge_that_its_ports_prove(void **state)
{
	struct made m = { .t.devices_count = 0 };

	(void)state;
	add_device(&m, "bridge", false);
	add_route(&m, "10.9.0.0/24");
	expect(&m, DEVICE_FACES_OUTSIDE, true);
	add_device(&m, "veth", true);
	m.devices[1].master = 1;
	expect(&m, DEVICE_FACES_PODS, false);
	add_device(&m, "", false);
	m.devices[2].master = 1;
	expect(&m, DEVICE_FACES_OUTSIDE, true);
}

static void overlays_are_edges_whatever_is_routed_to_them(void **state)
{
	static const char *const kinds[] = { "vxlan", "geneve", "ipip", "sit", "gre", "wireguard", "vlan", "bond", "dummy", "tun" };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct made m = { .t.devices_count = 0 };

		add_device(&m, kinds[i], false);
		add_address(&m, "10.1.0.0", false);
		expect(&m, DEVICE_FACES_OUTSIDE, false);
		add_route(&m, "10.1.0.0/16");
		expect(&m, DEVICE_FACES_OUTSIDE, true);
	}
}

static void loopback_and_our_pair_are_neither(void **state)
{
	struct made lo = { .t.devices_count = 0 }, pair = { .t.devices_count = 0 };

	(void)state;
	add_device(&lo, "", false);
	lo.devices[0].is_loopback = true;
	expect(&lo, DEVICE_FACES_NOBODY, false);
	add_device(&pair, "veth", true);
	pair.devices[0].ifindex = PAIR_IFINDEX;
	expect(&pair, DEVICE_FACES_NOBODY, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hardware_is_an_edge),
		cmocka_unit_test(a_pods_pair_routed),
		cmocka_unit_test(a_pods_pair_with_an_address),
		cmocka_unit_test(a_new_pod_that_nobody_named_yet),
		cmocka_unit_test(a_pair_whose_other_end_is_here),
		cmocka_unit_test(a_pair_as_an_uplink),
		cmocka_unit_test(an_uplink_whose_subnet_covers_our_pods),
		cmocka_unit_test(a_bridge_of_pods),
		cmocka_unit_test(a_pods_pair_with_an_address_of_the_node),
		cmocka_unit_test(a_bridge_of_pods_with_an_address_of_the_node),
		cmocka_unit_test(pods_that_are_known_one_by_one),
		cmocka_unit_test(a_bridge_that_its_ports_prove),
		cmocka_unit_test(overlays_are_edges_whatever_is_routed_to_them),
		cmocka_unit_test(loopback_and_our_pair_are_neither),
	};

	return cmocka_run_group_tests(tests, make_view, free_view);
}
