/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/netns.h"

#include "edge/netlink.h"
#include "net/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <limits.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define HOST_DEVICE    "culvert0"
#define PRIVATE_DEVICE "culvert1"

#define HOST_V4    "169.254.77.1"
#define PRIVATE_V4 "169.254.77.2"
#define HOST_V6    "fe80::77:1"
#define PRIVATE_V6 "fe80::77:2"

enum {
	LOCAL_TABLE = 77, /* holds "local default"; in the table local it would catch what we send too */
	RULE_PREFERENCE = 10,
	MAC_BYTES = 6,
	/* The pods' path MTU is settled before a packet reaches us: at the uplink. The pair must only let through what the uplink would
	 * have carried, so it begins with the usual figure and grows with the largest uplink. Much more would make the private namespace
	 * offer segments that no pod can take. */
	PAIR_MTU = 1500,
	LARGE_PACKET_BYTES = 8 * 65535, /* the kernel's GSO_MAX_SIZE, since 5.19 */
};

/* Newer than the headers that we build with: Linux 6.3. */
#define LINK_GSO_IPV4_MAX_SIZE 63

struct edge_netns {
	int private_fd, host_fd;
	uint32_t host_ifindex, private_ifindex;
	int id;
	uint32_t mtu;
	bool has_v6;
	uint8_t host_mac[MAC_BYTES], private_mac[MAC_BYTES];
	char sysctl_directory[PATH_MAX];
};

/* Work that a thread of its own does in the private namespace, so that the caller's never leaves the node's. */
struct errand {
	int (*run)(struct edge_netns *n, char error[EDGE_ERROR_BYTES]);
	struct edge_netns *n;
	char *error;
	int result;
};

static int fail(char error[EDGE_ERROR_BYTES], int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char error[EDGE_ERROR_BYTES], int code, const char *format, ...)
{
	va_list args;
	size_t used;

	va_start(args, format);
	(void)vsnprintf(error, EDGE_ERROR_BYTES, format, args);
	va_end(args);
	used = strlen(error);
	(void)snprintf(error + used, EDGE_ERROR_BYTES - used, ": %s", strerror(-code));
	return code;
}

static void *errand_thread(void *arg)
{
	struct errand *e = arg;

	if (e->n->private_fd < 0) {
		if (unshare(CLONE_NEWNET)) {
			e->result = fail(e->error, -errno, "a network namespace can not be made (CAP_SYS_ADMIN is needed)");
			return NULL;
		}
		e->n->private_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		if (e->n->private_fd < 0) {
			e->result = fail(e->error, -errno, "/proc/thread-self/ns/net");
			return NULL;
		}
	} else {
		e->result = sock_enter_netns(e->n->private_fd);
		if (e->result) {
			(void)fail(e->error, e->result, "the private network namespace can not be entered");
			return NULL;
		}
	}
	e->result = e->run(e->n, e->error);
	return NULL;
}

/* Runs an errand in the private namespace, which is made where it is not there yet. */
static int run_in_private(struct edge_netns *n, int (*run)(struct edge_netns *n, char error[EDGE_ERROR_BYTES]),
                          char error[EDGE_ERROR_BYTES])
{
	struct errand e = { .run = run, .n = n, .error = error };
	pthread_t thread;
	int code = pthread_create(&thread, NULL, errand_thread, &e);

	if (code)
		return fail(error, -code, "no thread");
	(void)pthread_join(thread, NULL);
	return e.result;
}

/* path is below /proc/sys/net, which shows the namespace of the thread that opens it, wherever it is mounted. */
static int write_sysctl(const struct edge_netns *n, const char *path, const char *value, char error[EDGE_ERROR_BYTES])
{
	char full[PATH_MAX];
	ssize_t written;
	int fd, code;

	if (snprintf(full, sizeof(full), "%s/%s", n->sysctl_directory, path) >= (int)sizeof(full))
		return fail(error, -ENAMETOOLONG, "%s", path);
	fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(error, -errno, "%s", full);
	written = write(fd, value, strlen(value));
	code = written < 0 ? -errno : 0;
	(void)close(fd);
	return code ? fail(error, code, "%s can not be set to %s", full, value) : 0;
}

struct sysctl {
	const char *path, *value;
	bool is_v6;
	bool is_optional; /* not in every kernel that we run on */
};

static int write_sysctls(const struct edge_netns *n, const struct sysctl *list, size_t count, char error[EDGE_ERROR_BYTES])
{
	size_t i;
	int code;

	for (i = 0; i < count; i++) {
		if (list[i].is_v6 && !n->has_v6)
			continue;
		code = write_sysctl(n, list[i].path, list[i].value, error);
		if (code && !list[i].is_optional)
			return code;
	}
	return 0;
}

static int put_addr(struct nl_msg *m, int attribute, const char *text)
{
	uint8_t bytes[16];
	bool is_v6 = strchr(text, ':') != NULL;

	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, text, bytes) != 1)
		return -EINVAL;
	return nla_put(m, attribute, is_v6 ? 16 : 4, bytes);
}

/* attribute: a number that it has; 0: none. */
static int change_link(struct nl_sock *s, const struct ifinfomsg *head, int attribute, uint32_t value)
{
	struct nl_msg *m = netlink_message(RTM_NEWLINK, 0, head, sizeof(*head));

	if (m && attribute && nla_put_u32(m, attribute, value)) {
		nlmsg_free(m);
		m = NULL;
	}
	return netlink_request(s, m);
}

static int set_link_up(struct nl_sock *s, uint32_t ifindex)
{
	return change_link(s, &(struct ifinfomsg){ .ifi_index = (int)ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP }, 0, 0);
}

static int set_link(struct nl_sock *s, uint32_t ifindex, int attribute, uint32_t value)
{
	return change_link(s, &(struct ifinfomsg){ .ifi_index = (int)ifindex }, attribute, value);
}

/* Where pods' devices have BIG TCP their packets come larger than 64 KB, and a device that takes none so large has each cut into segments in software
 * on its way to us. This end sends nothing of the node's own, so it may take whatever comes; what goes to pods begins at the other end, which keeps
 * 64 KB, since their devices may not take more. Older kernels refuse, and have no such packets. */
static void take_large_packets(struct nl_sock *s, uint32_t ifindex)
{
	(void)set_link(s, ifindex, IFLA_GSO_MAX_SIZE, LARGE_PACKET_BYTES);
	(void)set_link(s, ifindex, LINK_GSO_IPV4_MAX_SIZE, LARGE_PACKET_BYTES);
}

static int add_address(struct nl_sock *s, uint32_t ifindex, const char *text, uint8_t prefix_bits)
{
	bool is_v6 = strchr(text, ':') != NULL;
	/* Nobody else is on the pair: an address need not be asked for first. */
	struct ifaddrmsg head = { .ifa_family = is_v6 ? AF_INET6 : AF_INET,
		                  .ifa_prefixlen = prefix_bits,
		                  .ifa_scope = RT_SCOPE_LINK,
		                  .ifa_index = ifindex,
		                  .ifa_flags = is_v6 ? IFA_F_NODAD : 0 };
	struct nl_msg *m = netlink_message(RTM_NEWADDR, NETLINK_REPLACE, &head, sizeof(head));

	if (m && (put_addr(m, IFA_LOCAL, text) || put_addr(m, IFA_ADDRESS, text))) {
		nlmsg_free(m);
		m = NULL;
	}
	return netlink_request(s, m);
}

static int add_neighbour(struct nl_sock *s, uint32_t ifindex, const char *text, const uint8_t mac[MAC_BYTES])
{
	struct ndmsg head = { .ndm_family = strchr(text, ':') ? AF_INET6 : AF_INET,
		              .ndm_ifindex = (int)ifindex,
		              .ndm_state = NUD_PERMANENT };
	struct nl_msg *m = netlink_message(RTM_NEWNEIGH, NETLINK_REPLACE, &head, sizeof(head));

	if (m && (put_addr(m, NDA_DST, text) || nla_put(m, NDA_LLADDR, MAC_BYTES, mac))) {
		nlmsg_free(m);
		m = NULL;
	}
	return netlink_request(s, m);
}

/* The rule and the route that make every destination local for what comes in by the pair, and the way out again. */
static int add_routes(struct nl_sock *s, uint32_t ifindex, uint32_t lo_ifindex, bool is_v6)
{
	struct fib_rule_hdr rule = { .family = is_v6 ? AF_INET6 : AF_INET, .table = LOCAL_TABLE, .action = FR_ACT_TO_TBL };
	struct rtmsg local = { .rtm_family = is_v6 ? AF_INET6 : AF_INET,
		               .rtm_table = LOCAL_TABLE,
		               .rtm_protocol = RTPROT_STATIC,
		               .rtm_scope = is_v6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_HOST,
		               .rtm_type = RTN_LOCAL };
	struct rtmsg out = { .rtm_family = is_v6 ? AF_INET6 : AF_INET,
		             .rtm_table = RT_TABLE_MAIN,
		             .rtm_protocol = RTPROT_STATIC,
		             .rtm_scope = RT_SCOPE_UNIVERSE,
		             .rtm_type = RTN_UNICAST,
		             .rtm_flags = RTNH_F_ONLINK };
	struct nl_msg *m;
	int code;

	m = netlink_message(RTM_NEWRULE, NETLINK_CREATE, &rule, sizeof(rule));
	if (m && (nla_put_string(m, FRA_IIFNAME, PRIVATE_DEVICE) || nla_put_u32(m, FRA_PRIORITY, RULE_PREFERENCE))) {
		nlmsg_free(m);
		m = NULL;
	}
	code = netlink_request(s, m);
	if (code)
		return code;
	m = netlink_message(RTM_NEWROUTE, NETLINK_REPLACE, &local, sizeof(local));
	if (m && nla_put_u32(m, RTA_OIF, lo_ifindex)) {
		nlmsg_free(m);
		m = NULL;
	}
	code = netlink_request(s, m);
	if (code)
		return code;
	m = netlink_message(RTM_NEWROUTE, NETLINK_REPLACE, &out, sizeof(out));
	if (m && (nla_put_u32(m, RTA_OIF, ifindex) || put_addr(m, RTA_GATEWAY, is_v6 ? HOST_V6 : HOST_V4))) {
		nlmsg_free(m);
		m = NULL;
	}
	return netlink_request(s, m);
}

static int make_nothing(struct edge_netns *n, char error[EDGE_ERROR_BYTES])
{
	(void)n;
	(void)error;
	return 0;
}

static int configure_private(struct edge_netns *n, char error[EDGE_ERROR_BYTES])
{
	static const struct sysctl list[] = {
		{ .path = "ipv4/conf/all/rp_filter", .value = "0" },
		{ .path = "ipv4/conf/" PRIVATE_DEVICE "/rp_filter", .value = "0" },
		{ .path = "ipv4/conf/" PRIVATE_DEVICE "/accept_local", .value = "1" },
		{ .path = "ipv6/conf/all/accept_ra", .value = "0", .is_v6 = true },
		{ .path = "ipv6/conf/" PRIVATE_DEVICE "/disable_ipv6", .value = "0", .is_v6 = true },
		{ .path = "ipv6/conf/" PRIVATE_DEVICE "/accept_ra", .value = "0", .is_v6 = true },
		{ .path = "ipv6/conf/" PRIVATE_DEVICE "/addr_gen_mode", .value = "1", .is_v6 = true },
		/* A local hop loses and reorders nothing, so TIME_WAIT protects nobody there; with it, a pod without TCP timestamps could
		 * not be reached again from the same port. */
		{ .path = "ipv4/tcp_max_tw_buckets", .value = "0" },
		{ .path = "ipv4/tcp_tw_reuse", .value = "1", .is_optional = true },
		/* Clients may have ports below 1024, and we bind theirs. */
		{ .path = "ipv4/ip_unprivileged_port_start", .value = "0" },
		{ .path = "core/somaxconn", .value = "16384" },
		{ .path = "ipv4/tcp_max_syn_backlog", .value = "16384", .is_optional = true },
		/* A flood from one pod must not lock out the others. */
		{ .path = "ipv4/tcp_syncookies", .value = "1", .is_optional = true },
		/* A namespace starts with the kernel's or the host's figures; the bound on what both legs of a stream buffer is ours. */
		{ .path = "ipv4/tcp_rmem", .value = "4096 131072 4194304", .is_optional = true },
		{ .path = "ipv4/tcp_wmem", .value = "4096 65536 4194304", .is_optional = true },
		/* A stream that was idle finds the same empty local hop as before. */
		{ .path = "ipv4/tcp_slow_start_after_idle", .value = "0", .is_optional = true },
		/* A pod that says nothing is asked whether it is there: see tunnel/silence.h. */
		{ .path = "ipv4/tcp_keepalive_time", .value = "20" },
		{ .path = "ipv4/tcp_keepalive_intvl", .value = "5" },
		{ .path = "ipv4/tcp_keepalive_probes", .value = "100" },
	};
	struct nl_sock *s = netlink_open();
	uint32_t ifindex = if_nametoindex(PRIVATE_DEVICE), lo_ifindex = if_nametoindex("lo");
	int code;

	if (!s)
		return fail(error, -ENOMEM, "no netlink socket");
	n->private_ifindex = ifindex;
	code = write_sysctls(n, list, sizeof(list) / sizeof(list[0]), error);
	if (code)
		goto out;
	(void)write_sysctl(n, "ipv4/tcp_congestion_control", sock_congestion_control(), error);

	code = set_link_up(s, lo_ifindex);
	if (!code)
		code = set_link_up(s, ifindex);
	if (!code)
		code = add_address(s, ifindex, PRIVATE_V4, 32);
	if (!code)
		code = add_neighbour(s, ifindex, HOST_V4, n->host_mac);
	if (!code)
		code = add_routes(s, ifindex, lo_ifindex, false);
	if (!code && n->has_v6) {
		code = add_address(s, ifindex, PRIVATE_V6, 64);
		if (!code)
			code = add_neighbour(s, ifindex, HOST_V6, n->host_mac);
		if (!code)
			code = add_routes(s, ifindex, lo_ifindex, true);
	}
	if (code)
		(void)fail(error, code, "the private network namespace can not be set up");
out:
	netlink_close(s);
	return code;
}

static int set_private_mtu(struct edge_netns *n, char error[EDGE_ERROR_BYTES])
{
	struct nl_sock *s = netlink_open();
	int code = s ? set_link(s, if_nametoindex(PRIVATE_DEVICE), IFLA_MTU, n->mtu) : -ENOMEM;

	netlink_close(s);
	return code ? fail(error, code, PRIVATE_DEVICE " can not have the MTU %u", n->mtu) : 0;
}

static int configure_host(struct nl_sock *s, struct edge_netns *n, char error[EDGE_ERROR_BYTES])
{
	static const struct sysctl list[] = {
		/* Packets come out of the pair with every pod's address as their source. Loose, and it wins over a strict "all" (the
		 * larger counts). */
		{ .path = "ipv4/conf/" HOST_DEVICE "/rp_filter", .value = "2" },
		{ .path = "ipv4/conf/" HOST_DEVICE "/forwarding", .value = "1" },
		{ .path = "ipv4/conf/" HOST_DEVICE "/send_redirects", .value = "0" },
		{ .path = "ipv6/conf/" HOST_DEVICE "/disable_ipv6", .value = "0", .is_v6 = true },
		{ .path = "ipv6/conf/" HOST_DEVICE "/accept_ra", .value = "0", .is_v6 = true },
		{ .path = "ipv6/conf/" HOST_DEVICE "/addr_gen_mode", .value = "1", .is_v6 = true },
		{ .path = "ipv6/conf/" HOST_DEVICE "/forwarding", .value = "1", .is_v6 = true },
	};
	int code = write_sysctls(n, list, sizeof(list) / sizeof(list[0]), error);

	if (code)
		return code;
	take_large_packets(s, n->host_ifindex);
	code = set_link_up(s, n->host_ifindex);
	/* Without an IPv4 address even loose reverse-path filtering drops all that comes out of the pair. */
	if (!code)
		code = add_address(s, n->host_ifindex, HOST_V4, 32);
	if (!code && n->has_v6)
		code = add_address(s, n->host_ifindex, HOST_V6, 64);
	return code ? fail(error, code, HOST_DEVICE " can not be set up") : 0;
}

static int add_pair(struct nl_sock *s, struct edge_netns *n, char error[EDGE_ERROR_BYTES])
{
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC };
	struct nl_msg *m;
	struct nlattr *info, *data, *peer;
	int code;

	/* Set and not random to the kernel: else the policy of systemd's default.link changes the address of the host end after we read
	 * it. */
	if (getrandom(n->host_mac, MAC_BYTES, 0) != MAC_BYTES || getrandom(n->private_mac, MAC_BYTES, 0) != MAC_BYTES)
		return fail(error, -EIO, "no random bytes");
	n->host_mac[0] = n->private_mac[0] = 0x0a;

	m = netlink_message(RTM_NEWLINK, NETLINK_CREATE, &head, sizeof(head));
	if (!m)
		return fail(error, -ENOMEM, "no memory");
	nla_put_string(m, IFLA_IFNAME, HOST_DEVICE);
	nla_put(m, IFLA_ADDRESS, MAC_BYTES, n->host_mac);
	nla_put_u32(m, IFLA_MTU, PAIR_MTU);
	info = nla_nest_start(m, IFLA_LINKINFO);
	nla_put_string(m, IFLA_INFO_KIND, "veth");
	data = nla_nest_start(m, IFLA_INFO_DATA);
	peer = nla_nest_start(m, VETH_INFO_PEER);
	nlmsg_append(m, &head, sizeof(head), NLMSG_ALIGNTO);
	nla_put_string(m, IFLA_IFNAME, PRIVATE_DEVICE);
	nla_put(m, IFLA_ADDRESS, MAC_BYTES, n->private_mac);
	nla_put_u32(m, IFLA_MTU, PAIR_MTU);
	nla_put_u32(m, IFLA_NET_NS_FD, (uint32_t)n->private_fd);
	nla_nest_end(m, peer);
	nla_nest_end(m, data);
	nla_nest_end(m, info);
	code = netlink_request(s, m);
	if (code)
		return fail(error, code, "the pair " HOST_DEVICE " can not be made");
	n->mtu = PAIR_MTU;
	n->host_ifindex = if_nametoindex(HOST_DEVICE);
	return n->host_ifindex ? 0 : fail(error, -ENODEV, HOST_DEVICE " vanished");
}

static void on_namespace_id(void *ctx, struct nlmsghdr *h)
{
	struct nlattr *id = nlmsg_find_attr(h, sizeof(struct rtgenmsg), NETNSA_NSID);

	if (h->nlmsg_type == RTM_NEWNSID && id)
		*(int *)ctx = (int)nla_get_u32(id);
}

/* The kernel gave the namespace an id when the pair was made across the border. */
static int get_namespace_id(struct nl_sock *s, struct edge_netns *n, char error[EDGE_ERROR_BYTES])
{
	struct rtgenmsg head = { .rtgen_family = AF_UNSPEC };
	struct nl_msg *m = netlink_message(RTM_GETNSID, 0, &head, sizeof(head));
	int code;

	if (m && nla_put_u32(m, NETNSA_FD, (uint32_t)n->private_fd)) {
		nlmsg_free(m);
		m = NULL;
	}
	code = netlink_query(s, m, on_namespace_id, &n->id);
	if (!code && n->id < 0)
		code = -ENOENT;
	return code ? fail(error, code, "the private network namespace has no id") : 0;
}

struct found_link {
	bool is_veth;
};

static void on_found_link(void *ctx, struct nlmsghdr *h)
{
	struct found_link *found = ctx;
	struct nlattr *info = nlmsg_find_attr(h, sizeof(struct ifinfomsg), IFLA_LINKINFO), *kind;

	kind = info ? nla_find(nla_data(info), nla_len(info), IFLA_INFO_KIND) : NULL;
	found->is_veth = kind && !strcmp(nla_get_string(kind), "veth");
}

static int remove_pair(struct nl_sock *s, char error[EDGE_ERROR_BYTES])
{
	struct found_link found = { 0 };
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC };
	struct nl_msg *m;
	int code;

	head.ifi_index = (int)if_nametoindex(HOST_DEVICE);
	if (!head.ifi_index)
		return 0;
	code = netlink_query(s, netlink_message(RTM_GETLINK, 0, &head, sizeof(head)), on_found_link, &found);
	if (code == -ENODEV)
		return 0;
	if (code)
		return fail(error, code, HOST_DEVICE);
	if (!found.is_veth)
		return fail(error, -EEXIST, "a device named " HOST_DEVICE " is there that is no veth pair; culvert needs the name");
	m = netlink_message(RTM_DELLINK, 0, &head, sizeof(head));
	code = netlink_request(s, m);
	return code && code != -ENODEV ? fail(error, code, HOST_DEVICE " can not be deleted") : 0;
}

int edge_netns_create(const char *sysctl_directory, struct edge_netns **ret, char error[EDGE_ERROR_BYTES])
{
	struct edge_netns *n = calloc(1, sizeof(*n));
	struct nl_sock *s = NULL;
	int code;

	if (!n)
		return fail(error, -ENOMEM, "no memory");
	n->private_fd = n->host_fd = n->id = -1;
	if (snprintf(n->sysctl_directory, sizeof(n->sysctl_directory), "%s", sysctl_directory) >= (int)sizeof(n->sysctl_directory)) {
		code = fail(error, -ENAMETOOLONG, "%.100s", sysctl_directory);
		goto undo;
	}
	n->has_v6 = access("/proc/sys/net/ipv6/conf", F_OK) == 0;
	n->host_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (n->host_fd < 0) {
		code = fail(error, -errno, "/proc/thread-self/ns/net");
		goto undo;
	}
	s = netlink_open();
	if (!s) {
		code = fail(error, -ENOMEM, "no netlink socket");
		goto undo;
	}
	code = remove_pair(s, error);
	if (!code)
		code = run_in_private(n, make_nothing, error);
	if (!code)
		code = add_pair(s, n, error);
	if (!code)
		code = run_in_private(n, configure_private, error);
	if (!code)
		code = configure_host(s, n, error);
	if (!code)
		code = get_namespace_id(s, n, error);
	if (code)
		goto undo;
	netlink_close(s);
	*ret = n;
	return 0;
undo:
	netlink_close(s);
	edge_netns_destroy(n);
	return code;
}

void edge_netns_destroy(struct edge_netns *n)
{
	char ignored[EDGE_ERROR_BYTES];
	struct nl_sock *s;

	if (!n)
		return;
	if (n->host_ifindex) {
		/* Sockets that still drain keep the namespace, but no longer a way into it. */
		s = netlink_open();
		if (s)
			(void)remove_pair(s, ignored);
		netlink_close(s);
	}
	if (n->private_fd >= 0)
		(void)close(n->private_fd);
	if (n->host_fd >= 0)
		(void)close(n->host_fd);
	free(n);
}

int edge_netns_remove_leftovers(char error[EDGE_ERROR_BYTES])
{
	struct nl_sock *s = netlink_open();
	int code;

	if (!s)
		return fail(error, -ENOMEM, "no netlink socket");
	code = remove_pair(s, error);
	netlink_close(s);
	return code;
}

int edge_netns_raise_mtu(struct edge_netns *n, uint32_t mtu, char error[EDGE_ERROR_BYTES])
{
	uint32_t before = n->mtu;
	struct nl_sock *s;
	int code;

	if (mtu <= n->mtu)
		return 0;
	s = netlink_open();
	if (!s)
		return fail(error, -ENOMEM, "no netlink socket");
	n->mtu = mtu;
	/* The receiving end first: it drops what is larger than itself. */
	code = run_in_private(n, set_private_mtu, error);
	if (!code) {
		code = set_link(s, n->host_ifindex, IFLA_MTU, mtu);
		if (code)
			(void)fail(error, code, HOST_DEVICE " can not have the MTU %u", mtu);
	}
	netlink_close(s);
	if (code)
		n->mtu = before;
	return code;
}

int edge_netns_fd(const struct edge_netns *n)
{
	return n->private_fd;
}

int edge_netns_host_fd(const struct edge_netns *n)
{
	return n->host_fd;
}

uint32_t edge_netns_host_ifindex(const struct edge_netns *n)
{
	return n->host_ifindex;
}

uint32_t edge_netns_private_ifindex(const struct edge_netns *n)
{
	return n->private_ifindex;
}

int edge_netns_id(const struct edge_netns *n)
{
	return n->id;
}

const uint8_t *edge_netns_host_mac(const struct edge_netns *n)
{
	return n->host_mac;
}

const uint8_t *edge_netns_private_mac(const struct edge_netns *n)
{
	return n->private_mac;
}
