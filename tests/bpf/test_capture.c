/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The private namespace and the capture module over real devices, in a network and a mount namespace of the test's own. */
#include "edge/capture.h"
#include "edge/memory.h"
#include "edge/netns.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/parsed.h"

#define BPFFS "/sys/fs/bpf"
#define PINS  BPFFS "/culvert/node1"

enum { TCX_INGRESS = 46, TCX_EGRESS = 47, BEFORE = 1 << 3 };

static struct clock test_clock;
static struct loop *loop;
static struct edge_netns *netns;
static struct capture *capture;
static struct capture_settings settings;
static char error[VIEW_ERROR_BYTES];

/* Runs a command line, which must succeed. */
static void sh(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (system(line))
		fail_msg("failed: %s", line);
}

/* node1, which is us, and node2 with the pods given. */
static struct view *make_view(const char *remote_pods)
{
	const struct addr self = addr("192.168.0.1"), other = addr("192.168.0.2");
	const struct prefix own_pods[2] = { prefix("10.1.0.0/16"), prefix("fd01::/64") }, pods = prefix(remote_pods),
			    space = prefix("10.0.0.0/8");
	const struct view_node nodes[2] = {
		{ .name = "node1", .addresses_count = 1, .addresses = &self, .pods_count = 2, .pods = own_pods },
		{ .name = "node2", .addresses_count = 1, .addresses = &other, .pods_count = 1, .pods = &pods },
	};
	struct view *v;

	if (view_create(nodes, 2, &space, 1, "node1", NULL, &v, error))
		fail_msg("%s", error);
	return v;
}

static int set_view(const char *remote_pods)
{
	struct view *v = make_view(remote_pods);
	int code = capture_set_view(capture, v);

	view_unref(v);
	return code;
}

static void start(void)
{
	if (edge_netns_create("/proc/sys/net", &netns, error))
		fail_msg("%s", error);
	if (capture_create(&settings, netns, loop, NULL, NULL, &capture, error))
		fail_msg("%s", error);
	assert_int_equal(set_view("10.2.0.0/16"), 0);
}

static void stop(void)
{
	capture_destroy(capture);
	capture = NULL;
	edge_netns_destroy(netns);
	netns = NULL;
}

static int setup(void **state)
{
	(void)state;
	/* An uplink, and one pod's device. */
	sh("ip netns add wire && ip netns add pod");
	sh("ip link add eth0 type veth peer name eth0 netns wire && ip addr add 192.168.0.1/24 dev eth0 && ip link set eth0 up");
	sh("ip link add cali1 type veth peer name eth0 netns pod && ip link set cali1 up && ip route add 10.1.0.5/32 dev cali1");
	settings = (struct capture_settings){ .mode = CAPTURE_STRICT, .tunnel_port = 7117, .workers = 2, .pin_directory = PINS };
	clock_init_fake(&test_clock, NS_PER_S);
	return loop_create(&test_clock, &loop);
}

static int teardown(void **state)
{
	(void)state;
	stop();
	loop_destroy(loop);
	if (capture_remove(PINS, error))
		print_error("%s\n", error);
	sh("for d in $(ls /sys/class/net | grep -v '^lo$'); do ip link del $d 2>/dev/null; done; ip netns del wire; ip netns del pod");
	return 0;
}

/* The device of that name as the capture sees it. */
static struct capture_device device(const char *name)
{
	struct capture_device list[64];
	size_t count = capture_devices(capture, list, 64);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			return list[i];
	return (struct capture_device){ .ifindex = 0 };
}

static void expect_edge(const char *name, const char *how)
{
	struct capture_device d = device(name);

	if (!d.is_attached || !d.is_first)
		fail_msg("%s: attached %d, first %d: %s", name, d.is_attached, d.is_first, d.detail);
	assert_string_equal(d.how, how);
}

static void expect_no_edge(const char *name)
{
	struct capture_device d = device(name);

	assert_true(d.ifindex != 0);
	assert_false(d.is_attached);
}

static void turn(void)
{
	assert_int_equal(loop_run_once(loop, 0), 0);
}

static size_t count_pins(const char *start_of_name)
{
	DIR *directory = opendir(PINS);
	struct dirent *entry;
	size_t count = 0;

	while (directory && (entry = readdir(directory)))
		if (!strncmp(entry->d_name, start_of_name, strlen(start_of_name)))
			count++;
	if (directory)
		closedir(directory);
	return count;
}

static int open_map(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), PINS "/%s", name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

/* The kind of an address in the pinned map, NET_OUTSIDE where it has none. */
static struct net_value net_of(const char *text)
{
	struct net_value value = { .kind = NET_OUTSIDE };
	struct net_key key = { .prefix_bits = 128 };
	struct addr a = addr(text);
	int fd = open_map("nets");

	memcpy(key.addr, a.bytes, 16);
	(void)bpf_map_lookup_elem(fd, &key, &value);
	close(fd);
	return value;
}

static struct edge_config read_config(void)
{
	struct edge_config config;
	uint32_t zero = 0;
	int fd = open_map("settings");

	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &config), 0);
	close(fd);
	return config;
}

/* The first program of a tcx hook. */
static uint32_t first_program(const char *name, int type)
{
	uint32_t ids[64] = { 0 }, count = 64;

	assert_int_equal(bpf_prog_query((int)if_nametoindex(name), (enum bpf_attach_type)type, 0, NULL, ids, &count), 0);
	return count ? ids[0] : 0;
}

/* Somebody else's program, which lets all pass. */
static int load_foreign(void)
{
	const struct bpf_insn code[2] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 }, { .code = BPF_JMP | BPF_EXIT } };
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "stranger", "GPL", code, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

static int attach_foreign(const char *name, int type)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = BEFORE);
	int program_fd = load_foreign(), link_fd;

	link_fd = bpf_link_create(program_fd, (int)if_nametoindex(name), (enum bpf_attach_type)type, &opts);
	assert_true(link_fd >= 0);
	close(program_fd);
	return link_fd;
}

/* The same as a filter of clsact. */
static void add_foreign_filter(const char *name, uint32_t preference)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(name), .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 7, .priority = preference, .prog_fd = load_foreign());
	int code = bpf_tc_hook_create(&hook);

	assert_true(code == 0 || code == -EEXIST);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	close(opts.prog_fd);
}

static bool has_tcx(void)
{
	uint32_t count = 0;

	return bpf_prog_query((int)if_nametoindex("lo"), (enum bpf_attach_type)TCX_EGRESS, 0, NULL, NULL, &count) == 0;
}

static const char *best_method(void)
{
	return has_tcx() ? "tcx" : "clsact";
}

static void the_pair_is_set_up_and_taken_away(void **state)
{
	(void)state;
	assert_int_equal(edge_netns_create("/proc/sys/net", &netns, error), 0);
	assert_true(edge_netns_id(netns) >= 0);
	assert_int_equal(edge_netns_host_ifindex(netns), if_nametoindex("culvert0"));
	sh("ip addr show dev culvert0 | grep -q 'inet 169.254.77.1/32'");
	sh("ip addr show dev culvert0 | grep -q 'inet6 fe80::77:1/64'");
	sh("test $(cat /proc/sys/net/ipv4/conf/culvert0/rp_filter) = 2 && test $(cat /proc/sys/net/ipv4/conf/culvert0/forwarding) = 1");
	sh("nsenter --net=/proc/%d/fd/%d sh -c 'ip rule | grep -q \"iif culvert1 lookup 77\" && "
	   "ip route show table 77 | grep -q \"local default dev lo\" && ip -6 route show table 77 | grep -q \"local default dev lo\" && "
	   "ip route | grep -q \"default via 169.254.77.1 dev culvert1\" && "
	   "ip neigh | grep -q \"169.254.77.1 dev culvert1 lladdr .* PERMANENT\" && test $(cat /proc/sys/net/ipv4/tcp_max_tw_buckets) = 0'",
	   getpid(), edge_netns_fd(netns));
	/* No way into it is left, whoever still holds the namespace. */
	edge_netns_destroy(netns);
	netns = NULL;
	assert_int_equal(if_nametoindex("culvert0"), 0);
	assert_int_equal(edge_netns_remove_leftovers(error), 0);
}

static void an_earlier_daemons_pair_is_replaced(void **state)
{
	struct edge_netns *earlier;
	uint32_t ifindex;

	(void)state;
	assert_int_equal(edge_netns_create("/proc/sys/net", &earlier, error), 0);
	ifindex = if_nametoindex("culvert0");
	assert_int_equal(edge_netns_create("/proc/sys/net", &netns, error), 0);
	assert_true(if_nametoindex("culvert0") != ifindex);
	/* The earlier one's end takes nothing of ours with it but the name's device, as a dead daemon's never would. */
	edge_netns_destroy(netns);
	netns = NULL;
	edge_netns_destroy(earlier);

	sh("ip link add culvert0 type bridge");
	assert_int_equal(edge_netns_create("/proc/sys/net", &netns, error), -EEXIST);
	assert_non_null(strstr(error, "culvert0"));
	assert_int_equal(edge_netns_remove_leftovers(error), -EEXIST);
	sh("ip link del culvert0");
}

static void pins_need_a_bpf_file_system(void **state)
{
	(void)state;
	assert_int_equal(edge_netns_create("/proc/sys/net", &netns, error), 0);
	settings.pin_directory = "/tmp/culvert";
	assert_int_equal(capture_create(&settings, netns, loop, NULL, NULL, &capture, error), -ENOTSUP);
	assert_non_null(strstr(error, "mount -t bpf bpf"));
	settings.pin_directory = BPFFS "/culvert.node1";
	assert_int_equal(capture_create(&settings, netns, loop, NULL, NULL, &capture, error), -EINVAL);
	settings.pin_directory = PINS;
	settings.workers = 0;
	assert_int_equal(capture_create(&settings, netns, loop, NULL, NULL, &capture, error), -EINVAL);
	capture = NULL;
}

static void edges_are_found_and_programs_are_first(void **state)
{
	int foreign;

	(void)state;
	if (has_tcx()) {
		foreign = attach_foreign("eth0", TCX_EGRESS);
		start();
		close(foreign);
	} else {
		start();
	}
	expect_edge("eth0", best_method());
	expect_no_edge("cali1");
	expect_no_edge("lo");
	expect_no_edge("culvert0");
	if (!capture_is_healthy(capture, error))
		fail_msg("%s", error);
}

static void a_program_before_ours_is_named(void **state)
{
	int foreign;

	(void)state;
	if (!has_tcx())
		skip();
	start();
	for (int type = TCX_INGRESS; type <= TCX_EGRESS; type++) {
		foreign = attach_foreign("eth0", type);
		assert_false(capture_is_healthy(capture, error));
		assert_non_null(strstr(error, "eth0"));
		assert_non_null(strstr(error, "stranger"));
		assert_true(device("eth0").is_attached);
		assert_false(device("eth0").is_first);
		close(foreign);
		assert_true(capture_is_healthy(capture, error));
	}
}

/* Lets the time pass until places are read back. */
static void wait_for_check(void)
{
	clock_fake_advance(&test_clock, 6 * NS_PER_S);
	turn();
}

static void what_somebody_takes_off_is_put_back(void **state)
{
	(void)state;
	for (int method = 0; method < 2; method++) {
		if (method == 0 && !has_tcx())
			continue;
		settings.is_clsact_forced = method == 1;
		start();
		if (method == 0)
			sh("bpftool link detach pinned " PINS "/link_eth0_egress");
		else
			sh("tc filter del dev eth0 egress pref 1");
		assert_false(capture_is_healthy(capture, error));
		assert_non_null(strstr(error, "gone"));
		wait_for_check();
		if (!capture_is_healthy(capture, error))
			fail_msg("%s", error);
		expect_edge("eth0", method == 0 ? "tcx" : "clsact");
		stop();
		assert_int_equal(capture_remove(PINS, error), 0);
	}
}

static void without_tcx_clsact_is_used(void **state)
{
	int foreign;

	(void)state;
	settings.is_clsact_forced = true;
	add_foreign_filter("eth0", 2);
	start();
	expect_edge("eth0", "clsact");
	sh("tc filter show dev eth0 egress | grep -q 'pref 1 bpf.*edge_egress'");
	sh("tc filter show dev eth0 ingress | grep -q 'pref 1 bpf.*edge_ingress'");
	assert_int_equal(count_pins("link_"), 0);
	if (has_tcx()) {
		/* The kernel runs it before all of clsact. */
		foreign = attach_foreign("eth0", TCX_EGRESS);
		assert_false(capture_is_healthy(capture, error));
		assert_non_null(strstr(error, "stranger"));
		close(foreign);
	}
	assert_true(capture_is_healthy(capture, error));
	sh("tc filter del dev eth0 egress pref 1");
	assert_false(capture_is_healthy(capture, error));
	/* A restart goes on with what is left. */
	stop();
	start();
	assert_true(capture_is_healthy(capture, error));
	stop();
	assert_int_equal(capture_remove(PINS, error), 0);
	sh("tc filter show dev eth0 egress | grep -q stranger && ! tc filter show dev eth0 | grep -q edge_");
}

static void an_occupied_first_place_of_clsact_is_refused(void **state)
{
	(void)state;
	settings.is_clsact_forced = true;
	add_foreign_filter("eth0", 1);
	start();
	assert_false(device("eth0").is_attached);
	assert_false(capture_is_healthy(capture, error));
	assert_non_null(strstr(error, "stranger"));
	/* Gone again: the next change of any device tries anew. */
	sh("tc filter del dev eth0 egress pref 1 && ip link set eth0 mtu 1499");
	turn();
	expect_edge("eth0", "clsact");
	assert_true(capture_is_healthy(capture, error));
}

static void a_change_of_method_leaves_nothing_of_the_other(void **state)
{
	(void)state;
	if (!has_tcx())
		skip();
	start();
	assert_int_equal(count_pins("link_"), 2);
	stop();
	settings.is_clsact_forced = true;
	start();
	expect_edge("eth0", "clsact");
	assert_int_equal(count_pins("link_"), 0);
	assert_int_equal(first_program("eth0", TCX_EGRESS), 0);
	stop();
	settings.is_clsact_forced = false;
	start();
	expect_edge("eth0", "tcx");
	sh("! tc qdisc show dev eth0 | grep -q clsact");
}

static void devices_come_and_go(void **state)
{
	(void)state;
	start();
	/* An uplink whose name bpffs would not take. */
	sh("ip link add eth1.5 type veth peer name eth1 netns wire && ip addr add 172.16.0.1/24 dev eth1.5 && ip link set eth1.5 up");
	turn();
	expect_edge("eth1.5", best_method());
	/* A layer-3 device. */
	sh("ip tuntap add dev tun7 mode tun && ip link set tun7 up");
	turn();
	expect_edge("tun7", best_method());
	/* One more pod. */
	sh("ip link add cali2 type veth peer name eth1 netns pod && ip link set cali2 up");
	turn();
	expect_no_edge("cali2");
	/* A VXLAN as Flannel makes it, with an address in our own range. */
	sh("ip link add flannel.1 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning");
	sh("ip addr add 10.1.0.0/32 dev flannel.1 && ip link set flannel.1 up");
	turn();
	expect_edge("flannel.1", best_method());
	assert_int_equal(net_of("10.1.0.0").kind, NET_SELF);
	assert_int_equal(net_of("10.1.0.1").kind, NET_OWN_POD);
	assert_int_equal(net_of("10.1.0.0").flags, NET_IN_POD_RANGE);
	assert_int_equal(net_of("172.16.0.1").kind, NET_SELF);
	assert_int_equal(net_of("172.16.0.1").flags, NET_UNNAMED);
	assert_int_equal(net_of("192.168.0.1").flags, 0);
	assert_true(capture_is_healthy(capture, error));
	if (has_tcx())
		assert_int_equal(count_pins("link_"), 8);

	sh("ip link set eth1.5 down && ip link set eth1.5 name eth9 && ip link set eth9 up");
	turn();
	expect_edge("eth9", best_method());
	assert_true(capture_is_healthy(capture, error));
	if (has_tcx())
		assert_int_equal(count_pins("link_eth1"), 0);

	sh("ip link del eth9 && ip link del tun7 && ip link del flannel.1");
	turn();
	assert_int_equal(device("eth9").ifindex, 0);
	assert_int_equal(net_of("172.16.0.1").kind, NET_OUTSIDE);
	assert_int_equal(net_of("10.1.0.0").kind, NET_OWN_POD);
	if (has_tcx())
		assert_int_equal(count_pins("link_"), 2);
	assert_true(capture_is_healthy(capture, error));
}

static void a_device_changes_its_face(void **state)
{
	(void)state;
	start();
	expect_no_edge("cali1");
	sh("ip route add 10.9.0.0/16 via inet6 fe80::1 dev cali1");
	sh("ip link set cali1 alias again"); /* a change of routes alone waits a moment */
	turn();
	expect_edge("cali1", best_method());
	sh("ip route del 10.9.0.0/16 && ip link set cali1 alias more");
	turn();
	expect_no_edge("cali1");
	if (has_tcx())
		assert_int_equal(count_pins("link_cali1"), 0);

	/* A bridge with an address, of pods' ends alone; then the wire becomes one of its ports. */
	sh("ip link add cni0 type bridge && ip addr add 10.1.1.1/24 dev cni0 && ip link set cni0 up && ip link set cali1 master cni0");
	turn();
	expect_no_edge("cni0");
	expect_no_edge("cali1");
}

static void only_named_devices_where_some_are_named(void **state)
{
	static const char *const names[] = { "eth5" };

	(void)state;
	settings.devices = names;
	settings.devices_count = 1;
	start();
	expect_no_edge("eth0");
	assert_false(capture_is_healthy(capture, error));
	assert_non_null(strstr(error, "eth5"));
	sh("ip link add eth5 type veth peer name eth5 netns wire && ip link set eth5 up && ip addr add 172.16.0.1/24 dev eth5");
	turn();
	expect_edge("eth5", best_method());
	assert_true(capture_is_healthy(capture, error));
	/* And back to all of them, at a reload. */
	settings.devices = NULL;
	settings.devices_count = 0;
	assert_int_equal(capture_apply(capture, &settings, error), 0);
	expect_edge("eth0", best_method());
}

static void a_restart_replaces_the_programs_under_their_links(void **state)
{
	struct edge_config before, after;
	uint32_t ids[2], zero = 0;
	int fd;

	(void)state;
	start();
	before = read_config();
	assert_true(before.learn_until_ns > 0);
	assert_int_equal(net_of("10.2.0.5").kind, NET_POD);
	if (has_tcx()) {
		ids[0] = first_program("eth0", TCX_INGRESS);
		ids[1] = first_program("eth0", TCX_EGRESS);
	}
	stop();
	/* Nobody is there: all stands as it was. */
	if (has_tcx()) {
		assert_int_equal(first_program("eth0", TCX_INGRESS), ids[0]);
		assert_int_equal(first_program("eth0", TCX_EGRESS), ids[1]);
	}
	assert_int_equal(net_of("10.2.0.5").kind, NET_POD);
	/* While it was away a device went, and the cluster changed. */
	start();
	assert_int_equal(set_view("10.3.0.0/16"), 0);
	after = read_config();
	assert_true(after.learn_until_ns == before.learn_until_ns);
	assert_true(after.veth_ifindex != before.veth_ifindex);
	assert_int_equal(net_of("10.2.0.5").kind, NET_POD_SPACE);
	assert_int_equal(net_of("10.3.0.5").kind, NET_POD);
	if (has_tcx()) {
		assert_true(first_program("eth0", TCX_INGRESS) != ids[0]);
		assert_true(first_program("eth0", TCX_EGRESS) != ids[1]);
		assert_int_equal(count_pins("link_"), 2);
	}
	assert_true(capture_is_healthy(capture, error));

	/* Maps of another version: new ones in their place, and nothing is learned. */
	stop();
	fd = open_map("settings");
	after.version = CULVERT_SHARED_VERSION + 1;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &after, BPF_ANY), 0);
	close(fd);
	start();
	after = read_config();
	assert_int_equal(after.version, CULVERT_SHARED_VERSION);
	assert_true(after.learn_until_ns == 0);
	assert_true(capture_is_healthy(capture, error));
}

static void the_first_start_learns_unless_told_otherwise(void **state)
{
	struct edge_config config;
	struct timespec now;

	(void)state;
	settings.is_older_reset = true;
	start();
	config = read_config();
	assert_true(config.learn_until_ns == 0);
	assert_int_equal(config.is_older_reset, 1);
	stop();
	assert_int_equal(capture_remove(PINS, error), 0);

	settings.is_older_reset = false;
	start();
	config = read_config();
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	assert_true(config.learn_until_ns > (uint64_t)now.tv_sec * 1000000000u);
}

static void settings_are_applied_at_a_reload(void **state)
{
	const struct capture_exclude exclude[2] = { { .prefix = prefix("10.2.9.0/24") }, { .is_port = true, .port = 9100 } };
	struct net_key key = { .prefix_bits = 120 };
	uint16_t port_be = 0;
	uint32_t value;
	int nets_fd, ports_fd;

	(void)state;
	start();
	memcpy(key.addr, exclude[0].prefix.addr.bytes, 16);
	((uint8_t *)&port_be)[0] = 9100 >> 8;
	((uint8_t *)&port_be)[1] = 9100 & 0xff;
	settings.mode = CAPTURE_LOCKDOWN;
	settings.exclude = exclude;
	settings.exclude_count = 2;
	assert_int_equal(capture_apply(capture, &settings, error), 0);
	assert_int_equal(read_config().mode, EDGE_LOCKDOWN);
	assert_int_equal(read_config().ingress_mode, EDGE_STRICT + 1);
	assert_int_equal(read_config().has_excludes, 1);
	nets_fd = open_map("exclude_nets");
	ports_fd = open_map("exclude_ports");
	assert_int_equal(bpf_map_lookup_elem(nets_fd, &key, &value), 0);
	assert_int_equal(bpf_map_lookup_elem(ports_fd, &port_be, &value), 0);

	settings.mode = CAPTURE_PERMISSIVE;
	settings.exclude_count = 1;
	assert_int_equal(capture_apply(capture, &settings, error), 0);
	/* What loosens is taken by what arrives, and by what leaves a minute later, also where the daemon is another one meanwhile. */
	for (int round = 0; round < 2; round++) {
		assert_int_equal(read_config().mode, EDGE_LOCKDOWN);
		assert_int_equal(read_config().ingress_mode, EDGE_PERMISSIVE + 1);
		if (round == 0) {
			stop();
			start();
		}
	}
	clock_fake_advance(&test_clock, 60 * NS_PER_S);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(read_config().mode, EDGE_PERMISSIVE);
	assert_int_equal(read_config().ingress_mode, 0);
	assert_int_equal(bpf_map_lookup_elem(nets_fd, &key, &value), 0);
	assert_int_equal(bpf_map_lookup_elem(ports_fd, &port_be, &value), -ENOENT);
	settings.exclude_count = 0;
	assert_int_equal(capture_apply(capture, &settings, error), 0);
	assert_int_equal(bpf_map_lookup_elem(nets_fd, &key, &value), -ENOENT);
	assert_int_equal(read_config().has_excludes, 0);
	close(nets_fd);
	close(ports_fd);
}

static bool has_ring(int held_fd, uint32_t worker)
{
	uint32_t id;

	return bpf_map_lookup_elem(held_fd, &worker, &id) == 0;
}

/* Nobody reads the rings that a dead daemon has left. */
static void connections_are_held_only_where_every_worker_has_a_ring(void **state)
{
	int held_fd, rings[2];

	(void)state;
	settings.is_faithful = true;
	start();
	held_fd = open_map("held");
	for (uint32_t worker = 0; worker < 2; worker++) {
		assert_false(has_ring(held_fd, worker));
		rings[worker] = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, EDGE_HELD_BYTES, NULL);
		assert_int_equal(capture_set_hold(capture, worker, rings[worker]), 0);
		assert_true(has_ring(held_fd, worker));
	}
	assert_int_equal(capture_set_hold(capture, 2, rings[0]), -ERANGE);
	assert_int_equal(read_config().is_holding, 1);
	assert_int_equal(capture_apply(capture, &settings, error), 0);
	stop();

	settings.is_faithful = false;
	start();
	assert_int_equal(read_config().is_holding, 0);
	for (uint32_t worker = 0; worker < 2; worker++)
		assert_false(has_ring(held_fd, worker));
	settings.is_faithful = true;
	assert_int_equal(capture_apply(capture, &settings, error), -EPERM);
	assert_non_null(strstr(error, "CAP_NET_RAW"));
	assert_int_equal(capture_set_hold(capture, 0, rings[0]), 0);
	assert_int_equal(capture_apply(capture, &settings, error), -EPERM);
	assert_int_equal(read_config().is_holding, 0);
	assert_int_equal(capture_set_hold(capture, 1, rings[1]), 0);
	assert_int_equal(capture_apply(capture, &settings, error), 0);
	assert_int_equal(read_config().is_holding, 1);
	close(held_fd);
	close(rings[0]);
	close(rings[1]);
}

static size_t count_keys(int fd)
{
	struct api_server_key key, next;
	size_t count = 0;

	for (int r = bpf_map_get_next_key(fd, NULL, &key); r == 0; r = bpf_map_get_next_key(fd, &key, &next), key = next)
		count++;
	return count;
}

static const char *owner_of(struct memory *m, const char *text, bool *ret_is_own)
{
	struct addr a = addr(text);

	return memory_owner(m, &a, ret_is_own);
}

static void what_a_daemon_knew_is_remembered(void **state)
{
	struct view *v = make_view("10.2.0.0/16");
	struct memory *m;
	bool is_own;

	(void)state;
	assert_int_equal(memory_open(PINS, "node1", &m), -ENOENT);
	start();
	assert_int_equal(capture_set_view(capture, v), 0);
	stop();
	assert_int_equal(memory_open(PINS, "node1", &m), 0);
	assert_string_equal(owner_of(m, "10.2.0.5", &is_own), "node2");
	assert_false(is_own);
	assert_string_equal(owner_of(m, "10.1.0.5", &is_own), "node1");
	assert_false(is_own);
	assert_string_equal(owner_of(m, "192.168.0.2", &is_own), "node2");
	assert_true(is_own);
	assert_string_equal(owner_of(m, "192.168.0.1", &is_own), "node1");
	assert_true(is_own);
	assert_null(owner_of(m, "10.9.0.1", &is_own)); /* the pod space */
	assert_null(owner_of(m, "8.8.8.8", &is_own));
	memory_close(m);
	view_unref(v);
}

static void the_api_servers_are_those_that_were_said_last(void **state)
{
	struct endpoint list[CAPTURE_API_SERVERS_MAX];
	struct api_server_key key = { 0 };
	uint32_t value;
	int fd;

	(void)state;
	start();
	fd = open_map("api_servers");
	list[0] = (struct endpoint){ .addr = addr("192.168.0.2"), .port = 6443 };
	list[1] = (struct endpoint){ .addr = addr("fdee::2"), .port = 443 };
	assert_int_equal(capture_set_api_servers(capture, list, 2), 0);
	assert_int_equal(count_keys(fd), 2);
	memcpy(key.addr, list[1].addr.bytes, sizeof(key.addr));
	((uint8_t *)&key.port_be)[0] = 443 >> 8;
	((uint8_t *)&key.port_be)[1] = 443 & 0xff;
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
	/* They outlive the daemon. */
	stop();
	start();
	assert_int_equal(count_keys(fd), 2);
	/* A whole map of others in their place, and another one of others. */
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < CAPTURE_API_SERVERS_MAX; i++)
			list[i] = (struct endpoint){ .addr = addr("192.168.0.3"), .port = (uint16_t)(1000 * (round + 1) + i) };
		assert_int_equal(capture_set_api_servers(capture, list, CAPTURE_API_SERVERS_MAX), 0);
		assert_int_equal(count_keys(fd), CAPTURE_API_SERVERS_MAX);
		assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), -ENOENT);
	}
	assert_int_equal(capture_set_api_servers(capture, NULL, 0), 0);
	assert_int_equal(count_keys(fd), 0);
	close(fd);
}

static void silenced_connections_do_not_outlive_the_daemon(void **state)
{
	struct endpoint local = { .addr = addr("10.1.0.5"), .port = 40000 }, remote = { .addr = addr("10.2.0.7"), .port = 80 };
	struct flow_key key = { 0 };
	uint32_t value;
	int fd;

	(void)state;
	start();
	fd = open_map("silenced");
	assert_int_equal(capture_silence_flow(capture, "node2", &local, &remote, true), 0);
	assert_int_equal(count_keys(fd), 1);
	memcpy(key.local, local.addr.bytes, sizeof(key.local));
	memcpy(key.remote, remote.addr.bytes, sizeof(key.remote));
	((uint8_t *)&key.local_port_be)[0] = 40000 >> 8;
	((uint8_t *)&key.local_port_be)[1] = 40000 & 0xff;
	((uint8_t *)&key.remote_port_be)[1] = 80;
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
	assert_int_equal(capture_silence_flow(capture, "node2", &local, &remote, true), -EEXIST);
	assert_int_equal(capture_silence_flow(capture, "node2", &local, &remote, false), 0);
	assert_int_equal(capture_silence_flow(capture, "node2", &local, &remote, false), -ENOENT);
	assert_int_equal(count_keys(fd), 0);
	assert_int_equal(capture_silence_flow(capture, "node9", &local, &remote, true), -ENOENT);
	assert_int_equal(count_keys(fd), 0);
	for (size_t i = 0; i < EDGE_SILENCED_MAX; i++) {
		remote.port = (uint16_t)(i + 1);
		assert_int_equal(capture_silence_flow(capture, "node2", &local, &remote, true), 0);
	}
	remote.port = EDGE_SILENCED_MAX + 1;
	assert_int_equal(capture_silence_flow(capture, "node2", &local, &remote, true), -E2BIG);
	stop();
	start();
	assert_int_equal(count_keys(fd), 0);
	close(fd);
}

static void a_view_says_who_is_where(void **state)
{
	struct net_value value;

	(void)state;
	start();
	value = net_of("10.2.3.4");
	assert_int_equal(value.kind, NET_POD);
	assert_int_equal(value.worker, view_home_worker("node2", 2));
	assert_true(value.peer > 0);
	assert_int_equal(net_of("192.168.0.2").kind, NET_NODE);
	assert_int_equal(net_of("192.168.0.2").peer, value.peer);
	assert_int_equal(net_of("192.168.0.1").kind, NET_SELF);
	assert_int_equal(net_of("fd01::1").kind, NET_OWN_POD);
	assert_int_equal(net_of("10.200.0.1").kind, NET_POD_SPACE);
	assert_int_equal(net_of("8.8.8.8").kind, NET_OUTSIDE);
	assert_int_equal(set_view("10.2.3.0/24"), 0);
	assert_int_equal(net_of("10.2.3.4").kind, NET_POD);
	assert_int_equal(net_of("10.2.4.4").kind, NET_POD_SPACE);
	/* An address of another node that somebody sets here stays the other's. */
	sh("ip addr add 192.168.0.2/32 dev lo");
	turn();
	assert_int_equal(net_of("192.168.0.2").kind, NET_NODE);
	sh("ip addr del 192.168.0.2/32 dev lo");
	assert_int_equal(capture_set_reach(capture, "node2", 0, (struct pair_reach){ .is_up = true }), 0);
	assert_int_equal(capture_set_reach(capture, "node9", 0, (struct pair_reach){ .is_up = true }), 0);
}

static void the_pair_grows_with_the_uplinks(void **state)
{
	(void)state;
	start();
	sh("test $(cat /sys/class/net/culvert0/mtu) = 1500");
	sh("ip link set eth0 mtu 9000");
	turn();
	sh("ip -o link show culvert0 | grep -q 'mtu 9000'");
	sh("nsenter --net=/proc/%d/fd/%d ip -o link show culvert1 | grep -q 'mtu 9000'", getpid(), edge_netns_fd(netns));
	sh("ip link set eth0 mtu 1400");
	turn();
	sh("ip -o link show culvert0 | grep -q 'mtu 9000'");
}

static void listeners_belong_to_workers(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	start();
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(capture_set_listener(capture, 0, AF_INET, fd), 0);
	assert_int_equal(capture_set_listener(capture, 1, AF_INET, fd), 0);
	assert_int_equal(capture_set_listener(capture, 2, AF_INET, fd), -ERANGE);
	close(fd);
}

static void counters_have_names(void **state)
{
	struct capture_counter list[128];
	size_t count;
	bool has_refused = false, has_tunnel = false, has_udp = false;

	(void)state;
	start();
	count = capture_counters(capture, list, 128);
	assert_true(count > 30 && count < 128);
	for (size_t i = 0; i < count; i++) {
		assert_true(list[i].name && list[i].name[0]);
		assert_true(list[i].packets == 0 && list[i].bytes == 0);
		has_refused |= !strcmp(list[i].name, "refused") && list[i].is_refused && !list[i].is_clear && list[i].is_ingress;
		has_tunnel |= !strcmp(list[i].name, "tunnel") && !list[i].is_refused && !list[i].is_clear && !list[i].is_ingress;
		has_udp |= !strcmp(list[i].name, "udp") && list[i].is_clear;
	}
	assert_true(has_refused && has_tunnel && has_udp);
	assert_int_equal(capture_counters(capture, list, 3), 3);
}

static void removal_leaves_nothing(void **state)
{
	(void)state;
	for (int method = 0; method < 2; method++) {
		settings.is_clsact_forced = method == 1;
		start();
		sh("ip link add flannel.1 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 && ip link set flannel.1 up");
		turn();
		stop();
		assert_int_equal(capture_remove(PINS, error), 0);
		assert_int_equal(access(PINS, F_OK), -1);
		sh("! tc qdisc show | grep -q clsact");
		if (has_tcx()) {
			assert_int_equal(first_program("eth0", TCX_EGRESS), 0);
			assert_int_equal(first_program("flannel.1", TCX_INGRESS), 0);
		}
		sh("ip link del flannel.1");
		assert_int_equal(capture_remove(PINS, error), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_pair_is_set_up_and_taken_away, setup, teardown),
		cmocka_unit_test_setup_teardown(an_earlier_daemons_pair_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(pins_need_a_bpf_file_system, setup, teardown),
		cmocka_unit_test_setup_teardown(edges_are_found_and_programs_are_first, setup, teardown),
		cmocka_unit_test_setup_teardown(a_program_before_ours_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(what_somebody_takes_off_is_put_back, setup, teardown),
		cmocka_unit_test_setup_teardown(without_tcx_clsact_is_used, setup, teardown),
		cmocka_unit_test_setup_teardown(an_occupied_first_place_of_clsact_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_of_method_leaves_nothing_of_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(devices_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_changes_its_face, setup, teardown),
		cmocka_unit_test_setup_teardown(only_named_devices_where_some_are_named, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_replaces_the_programs_under_their_links, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_start_learns_unless_told_otherwise, setup, teardown),
		cmocka_unit_test_setup_teardown(settings_are_applied_at_a_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_are_held_only_where_every_worker_has_a_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_daemon_knew_is_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(the_api_servers_are_those_that_were_said_last, setup, teardown),
		cmocka_unit_test_setup_teardown(silenced_connections_do_not_outlive_the_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(a_view_says_who_is_where, setup, teardown),
		cmocka_unit_test_setup_teardown(the_pair_grows_with_the_uplinks, setup, teardown),
		cmocka_unit_test_setup_teardown(listeners_belong_to_workers, setup, teardown),
		cmocka_unit_test_setup_teardown(counters_have_names, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_leaves_nothing, setup, teardown),
	};

	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS)) {
		printf("skipped: root is needed to make namespaces and load BPF programs\n");
		return 77;
	}
	unsetenv("CULVERT_CLSACT");
	/* Mounts, names of namespaces and pins are this test's own, and end with it. */
	(void)mkdir("/run/netns", 0755);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", "/run/netns", "tmpfs", 0, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL) || mount("bpf", BPFFS, "bpf", 0, NULL)) {
		perror("mount");
		return 1;
	}
	if (system("ip link set lo up"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
