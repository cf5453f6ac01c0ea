/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What arrives for a pod of this node that nobody has named yet: it is told by the node's own routes. */
#include "fixture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Devices with a route each: of a pod, of a pod that nobody has told of, an edge, an edge that may face pods. */
enum { POD_DEVICE = 400, NEW_DEVICE = 402, EDGE_DEVICE = 404, DOUBTFUL_DEVICE = 406 };
enum { NOTHING = CLASS_COUNT };

static struct fixture f;

static void run(const char *command)
{
	if (system(command)) {
		fprintf(stderr, "%s has failed\n", command);
		abort();
	}
}

static void add_device(uint32_t ifindex, const char *const *addresses)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "ip link add d%u index %u type veth peer name p%u && ip link set d%u up && ip link set p%u up",
	               ifindex, ifindex, ifindex, ifindex, ifindex);
	run(line);
	for (; *addresses; addresses++) {
		(void)snprintf(line, sizeof(line), "ip route add %s dev d%u", *addresses, ifindex);
		run(line);
	}
}

/* 10.77.0.0/16 and fd07::/64 are in the pod space, 20.0.0.0/8 is outside. */
static void make_routes(void)
{
	run("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
	add_device(POD_DEVICE, (const char *const[]){ "10.77.0.1", "fd07::1", "20.0.0.1", NULL });
	add_device(NEW_DEVICE, (const char *const[]){ "10.77.0.2", "20.0.0.2", NULL });
	add_device(EDGE_DEVICE, (const char *const[]){ "10.77.0.3", "fd07::3", "20.0.0.3", NULL });
	add_device(DOUBTFUL_DEVICE, (const char *const[]){ "10.77.0.4", "20.0.0.4", NULL });
	run("ip addr add 10.77.0.9/32 dev lo");
	fixture_set_device(&f, POD_DEVICE, (struct device_value){ .role = DEVICE_POD });
	fixture_set_device(&f, EDGE_DEVICE, (struct device_value){ .role = DEVICE_EDGE });
	fixture_set_device(&f, DOUBTFUL_DEVICE, (struct device_value){ .role = DEVICE_EDGE, .flags = DEVICE_MAY_FACE_PODS });
}

static int reset(void **state)
{
	(void)state;
	fixture_reset(&f);
	return 0;
}

static void arrives(const char *source, const char *dest, unsigned flags, int verdict, unsigned class_)
{
	struct packet_buf p = packet_tcp_frame(source, 40000, dest, 80, flags);
	int found = fixture_ingress(&f, &p);

	if (found != verdict || !fixture_counted(&f, class_, EDGE_INGRESS, verdict == SHOT ? EDGE_DROP : EDGE_PASS, p.len_bytes))
		fail_msg("%s to %s: verdict %d, not %d", source, dest, found, verdict);
}

static void plaintext_to_a_pod_that_nobody_named_is_refused(void **state)
{
	static const char *const pods[] = { "10.77.0.1", "10.77.0.2", "10.77.0.4", "20.0.0.1", "20.0.0.2" };

	(void)state;
	for (size_t i = 0; i < sizeof(pods) / sizeof(pods[0]); i++) {
		arrives("10.2.0.5", pods[i], TCP_SYN, SHOT, CLASS_REFUSED);
		arrives("10.2.0.5", pods[i], TCP_ACK, SHOT, CLASS_REFUSED);
		arrives("10.66.0.5", pods[i], TCP_SYN, SHOT, CLASS_UNKNOWN);
	}
	arrives("fd02::5", "fd07::1", TCP_SYN, SHOT, CLASS_REFUSED);
	fixture_set_mode(&f, EDGE_LOCKDOWN);
	arrives("10.2.0.5", "10.77.0.1", TCP_SYN, SHOT, CLASS_REFUSED);
	arrives("192.168.0.2", "10.77.0.1", TCP_SYN, SHOT, CLASS_REFUSED);
}

static void what_may_pass_to_it_is_counted(void **state)
{
	(void)state;
	arrives("192.168.0.2", "10.77.0.1", TCP_SYN, LEAVE, CLASS_HOST);
	arrives("10.3.0.5", "10.77.0.1", TCP_SYN, LEAVE, CLASS_NOT_ENROLLED);
	arrives("10.3.0.5", "20.0.0.2", TCP_SYN, LEAVE, CLASS_NOT_ENROLLED);
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	arrives("10.2.0.5", "10.77.0.1", TCP_SYN, LEAVE, CLASS_PERMISSIVE);
	arrives("10.66.0.5", "10.77.0.2", TCP_SYN, LEAVE, CLASS_UNKNOWN);
}

static void what_only_passes_through_is_left_alone(void **state)
{
	static const char *const others[] = { "10.77.0.3", "20.0.0.3", "20.0.0.4", "10.77.0.9", "10.77.0.200", "20.0.0.200" };

	(void)state;
	for (int mode = EDGE_PERMISSIVE; mode <= EDGE_LOCKDOWN; mode++) {
		fixture_set_mode(&f, (enum edge_mode)mode);
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			arrives("10.2.0.5", others[i], TCP_SYN, LEAVE, NOTHING);
		arrives("fd02::5", "fd07::3", TCP_SYN, LEAVE, NOTHING);
		/* What is no pod's and no node's is not looked after. */
		arrives("8.8.8.8", "10.77.0.1", TCP_SYN, LEAVE, NOTHING);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(plaintext_to_a_pod_that_nobody_named_is_refused, reset),
		cmocka_unit_test_setup(what_may_pass_to_it_is_counted, reset),
		cmocka_unit_test_setup(what_only_passes_through_is_left_alone, reset),
	};
	int result = fixture_load(&f);

	if (result)
		return result;
	make_routes();
	result = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_done(&f);
	return result;
}
