/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

const uint8_t fixture_private_mac[6] = { 0x0a, 1, 2, 3, 4, 5 };
const uint8_t fixture_host_mac[6] = { 0x0a, 9, 8, 7, 6, 5 };

static void must(bool is_good, const char *what)
{
	if (is_good)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	abort();
}

static struct net_key key_of(const char *address, unsigned bits)
{
	struct net_key key = { .prefix_bits = packet_is_v6(address) ? bits : bits + 96 };

	packet_address(address, key.addr);
	return key;
}

static void set_api_server(struct fixture *f, const char *address)
{
	struct api_server_key key = { .port_be = htons(API_PORT) };
	const uint32_t one = 1;

	packet_address(address, key.addr);
	must(!bpf_map_update_elem(bpf_map__fd(f->edge->maps.api_servers), &key, &one, BPF_ANY), "api_servers");
}

void fixture_set_net(struct fixture *f, const char *address, unsigned bits, struct net_value value)
{
	struct net_key key = key_of(address, bits);

	must(!bpf_map_update_elem(bpf_map__fd(f->edge->maps.nets), &key, &value, BPF_ANY), "nets");
}

void fixture_remove_net(struct fixture *f, const char *address, unsigned bits)
{
	struct net_key key = key_of(address, bits);

	must(!bpf_map_delete_elem(bpf_map__fd(f->edge->maps.nets), &key), "nets");
}

void fixture_set_device(struct fixture *f, uint32_t ifindex, struct device_value value)
{
	must(!bpf_map_update_elem(bpf_map__fd(f->edge->maps.devices), &ifindex, &value, BPF_ANY), "devices");
}

void fixture_write_config(struct fixture *f)
{
	uint32_t zero = 0;

	must(!bpf_map_update_elem(bpf_map__fd(f->edge->maps.settings), &zero, &f->config, BPF_ANY), "settings");
}

void fixture_set_mode(struct fixture *f, enum edge_mode mode)
{
	f->config.mode = mode;
	fixture_write_config(f);
}

static void write_peer(struct fixture *f, uint32_t place)
{
	must(!bpf_map_update_elem(bpf_map__fd(f->edge->maps.peers), &place, &f->peers[place], BPF_ANY), "peers");
}

void fixture_set_takers(struct fixture *f, uint32_t place, uint8_t count, const uint8_t *workers)
{
	f->peers[place].turn = 0;
	f->peers[place].takers_count = count;
	memcpy(f->peers[place].takers, workers, count);
	write_peer(f, place);
}

void fixture_set_peer(struct fixture *f, uint32_t place, bool is_up)
{
	static const uint8_t home = HOME;

	fixture_set_takers(f, place, is_up, &home);
}

void fixture_set_pair(struct fixture *f, uint32_t place, uint64_t egress_strict_ns, uint64_t ingress_strict_ns)
{
	f->peers[place].egress_strict_ns = egress_strict_ns;
	f->peers[place].ingress_strict_ns = ingress_strict_ns;
	write_peer(f, place);
}

void fixture_revive(struct fixture *f)
{
	static const int families[2] = { AF_INET, AF_INET6 };

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t key = 2 + i; /* worker 1: not the home of any node, so that the search for another is run too */
		uint64_t value;

		f->listeners[i] = socket(families[i], SOCK_STREAM, 0);
		must(f->listeners[i] >= 0 && !listen(f->listeners[i], 1), "listen");
		value = (uint64_t)f->listeners[i];
		must(!bpf_map_update_elem(bpf_map__fd(f->edge->maps.listeners), &key, &value, BPF_ANY), "listeners");
	}
}

void fixture_kill(struct fixture *f)
{
	for (int i = 0; i < 2; i++) {
		if (f->listeners[i] >= 0)
			close(f->listeners[i]);
		f->listeners[i] = -1;
	}
}

static void empty(const struct bpf_map *m)
{
	uint8_t key[64];

	while (!bpf_map_get_next_key(bpf_map__fd(m), NULL, key))
		must(!bpf_map_delete_elem(bpf_map__fd(m), key), "empty");
}

static void read_counters(struct fixture *f, struct edge_count ret[EDGE_COUNTERS])
{
	int cpus = libbpf_num_possible_cpus();
	struct edge_count *values = calloc((size_t)cpus, sizeof(*values));

	for (uint32_t i = 0; i < EDGE_COUNTERS; i++) {
		ret[i] = (struct edge_count){ 0 };
		must(values && !bpf_map_lookup_elem(bpf_map__fd(f->edge->maps.counters), &i, values), "counters");
		for (int cpu = 0; cpu < cpus; cpu++) {
			ret[i].packets += values[cpu].packets;
			ret[i].bytes += values[cpu].bytes;
		}
	}
	free(values);
}

void fixture_forget_counts(struct fixture *f)
{
	read_counters(f, f->before);
}

void fixture_reset(struct fixture *f)
{
	empty(f->edge->maps.flows);
	empty(f->edge->maps.passed);
	empty(f->edge->maps.waiting);
	empty(f->edge->maps.silenced);
	empty(f->edge->maps.exclude_nets);
	empty(f->edge->maps.exclude_ports);
	fixture_set_peer(f, PEER, false);
	fixture_set_peer(f, OTHER_PEER, false);
	fixture_set_pair(f, PEER, 1, 1);
	fixture_set_pair(f, OTHER_PEER, 0, 0);
	f->config.is_enrolled = 1;
	if (f->listeners[0] < 0)
		fixture_revive(f);
	f->config.learn_until_ns = 0;
	f->config.has_excludes = 0;
	f->config.is_older_reset = 0;
	fixture_set_mode(f, EDGE_STRICT);
	fixture_forget_counts(f);
}

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	r.ifr_flags = IFF_UP;
	must(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &r), "lo");
	close(fd);
}

int fixture_load(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->listeners[0] = f->listeners[1] = -1;
	if (geteuid() != 0 || unshare(CLONE_NEWNET)) {
		printf("skipped: root is needed to load BPF programs\n");
		return 77;
	}
	loopback_up();
	f->edge = edge_bpf__open();
	must(f->edge != NULL, "open");
	if (edge_bpf__load(f->edge)) {
		/* A kernel without conntrack's lookup: only the other half of the egress programs. */
		edge_bpf__destroy(f->edge);
		f->edge = edge_bpf__open();
		must(f->edge != NULL, "open");
		bpf_program__set_autoload(f->edge->progs.edge_egress, false);
		bpf_program__set_autoload(f->edge->progs.edge_egress_l3, false);
		must(!edge_bpf__load(f->edge), "load");
	}
	f->config = (struct edge_config){
		.version = CULVERT_SHARED_VERSION,
		.veth_ifindex = 1,
		.netns_id = -1,
		.tunnel_port_be = htons(TUNNEL_PORT),
		.workers = 4,
	};
	memcpy(f->config.private_mac, fixture_private_mac, 6);
	memcpy(f->config.host_mac, fixture_host_mac, 6);

	fixture_set_net(f, "10.0.0.0", 8, (struct net_value){ .kind = NET_POD_SPACE });
	fixture_set_net(f, "fd00::", 12, (struct net_value){ .kind = NET_POD_SPACE });
	fixture_set_net(f, "10.1.0.0", 16, (struct net_value){ .kind = NET_OWN_POD });
	fixture_set_net(f, "fd01::", 64, (struct net_value){ .kind = NET_OWN_POD });
	fixture_set_net(f, "10.1.0.0", 32, (struct net_value){ .kind = NET_SELF });
	fixture_set_net(f, "10.1.0.1", 32, (struct net_value){ .kind = NET_SELF, .flags = NET_IN_POD_RANGE });
	fixture_set_net(f, "172.16.0.1", 32, (struct net_value){ .kind = NET_SELF, .flags = NET_UNNAMED });
	fixture_set_net(f, "192.168.0.1", 32, (struct net_value){ .kind = NET_SELF });
	fixture_set_net(f, "fdee::1", 128, (struct net_value){ .kind = NET_SELF });
	fixture_set_net(f, "10.2.0.0", 16, (struct net_value){ .kind = NET_POD, .peer = PEER, .worker = HOME });
	fixture_set_net(f, "fd02::", 64, (struct net_value){ .kind = NET_POD, .peer = PEER, .worker = HOME });
	fixture_set_net(f, "192.168.0.2", 32, (struct net_value){ .kind = NET_NODE, .peer = PEER, .worker = HOME });
	fixture_set_net(f, "fdee::2", 128, (struct net_value){ .kind = NET_NODE, .peer = PEER, .worker = HOME });
	fixture_set_net(f, "10.3.0.0", 16, (struct net_value){ .kind = NET_POD, .peer = OTHER_PEER });
	fixture_set_net(f, "fd03::", 64, (struct net_value){ .kind = NET_POD, .peer = OTHER_PEER });
	fixture_set_net(f, "192.168.0.3", 32, (struct net_value){ .kind = NET_NODE, .peer = OTHER_PEER });
	fixture_set_net(f, "fdee::3", 128, (struct net_value){ .kind = NET_NODE, .peer = OTHER_PEER });
	set_api_server(f, "192.168.0.1");
	set_api_server(f, "192.168.0.2");
	set_api_server(f, "fdee::2");
	set_api_server(f, "192.168.0.3");
	set_api_server(f, "10.2.0.5");
	fixture_set_device(f, FROM_POD, (struct device_value){ .role = DEVICE_POD });
	fixture_set_device(f, FROM_EDGE, (struct device_value){ .role = DEVICE_EDGE });
	fixture_set_device(f, FROM_OURS, (struct device_value){ .role = DEVICE_OURS });
	fixture_set_device(f, 1, (struct device_value){ .role = DEVICE_EDGE });
	fixture_reset(f);
	return 0;
}

void fixture_done(struct fixture *f)
{
	fixture_kill(f);
	edge_bpf__destroy(f->edge);
}

int fixture_run(const struct bpf_program *program, const struct packet_buf *p, uint32_t ingress_ifindex, struct packet_buf *out)
{
	struct packet_buf scratch;
	struct __sk_buff context = { .ingress_ifindex = ingress_ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->bytes, .data_size_in = (uint32_t)p->len_bytes, .ctx_in = &context,
	            .ctx_size_in = sizeof(context), .data_out = scratch.bytes, .data_size_out = sizeof(scratch.bytes));

	must(!bpf_prog_test_run_opts(bpf_program__fd(program), &opts), "test run");
	scratch.len_bytes = opts.data_size_out;
	if (out)
		*out = scratch;
	return (int)opts.retval;
}

static const struct bpf_program *egress_program(const struct fixture *f)
{
	return bpf_program__fd(f->edge->progs.edge_egress) >= 0 ? f->edge->progs.edge_egress : f->edge->progs.edge_egress_noct;
}

int fixture_egress(struct fixture *f, const struct packet_buf *p, uint32_t ingress_ifindex)
{
	return fixture_run(egress_program(f), p, ingress_ifindex, NULL);
}

int fixture_ingress(struct fixture *f, const struct packet_buf *p)
{
	return fixture_run(f->edge->progs.edge_ingress, p, FROM_EDGE, NULL);
}

bool fixture_counted(struct fixture *f, unsigned edge_class, unsigned direction, unsigned verdict, size_t len_bytes)
{
	struct edge_count now[EDGE_COUNTERS];
	bool is_right = true;

	read_counters(f, now);
	for (unsigned i = 0; i < EDGE_COUNTERS; i++) {
		bool is_the_one = edge_class != CLASS_COUNT && i == edge_counter_index(edge_class, direction, verdict);
		uint64_t packets = now[i].packets - f->before[i].packets, bytes = now[i].bytes - f->before[i].bytes;

		if (packets == (is_the_one ? 1 : 0) && bytes == (is_the_one ? len_bytes : 0))
			continue;
		is_right = false;
		printf("class %u, direction %u, verdict %u: %llu packets with %llu bytes\n", i / 4, i / 2 % 2, i % 2,
		       (unsigned long long)packets, (unsigned long long)bytes);
	}
	memcpy(f->before, now, sizeof(now));
	return is_right;
}

struct flow_key fixture_flow(const char *local, unsigned local_port, const char *remote, unsigned remote_port)
{
	struct flow_key key = { .local_port_be = htons((uint16_t)local_port), .remote_port_be = htons((uint16_t)remote_port) };

	packet_address(local, key.local);
	packet_address(remote, key.remote);
	return key;
}
