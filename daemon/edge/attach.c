/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/attach.h"

#include "edge/netlink.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libbpf and the system's headers may be older than the kernel: tcx came with 6.6. The numbers are the kernel's interface. */
enum {
	TCX_INGRESS = 46,
	TCX_EGRESS = 47,
	TCX_LINK_TYPE = 11,
	TCX_BEFORE = 1 << 3, /* BPF_F_BEFORE: with no other named, before everybody */
};

/* The head of struct bpf_link_info as a tcx link fills it. */
struct tcx_link_info {
	uint32_t type, id, program_id, pad;
	uint32_t ifindex, attach_type;
	uint8_t rest[128];
};

enum {
	OUR_PREFERENCE = 1,
	OUR_HANDLE = 0xc01,
	PROGRAMS_MAX = 64, /* the kernel's limit on one hook */
};

static enum bpf_attach_type tcx_type(enum attach_direction direction)
{
	return (enum bpf_attach_type)(direction == ATTACH_EGRESS ? TCX_EGRESS : TCX_INGRESS);
}

bool attach_has_tcx(void)
{
	uint32_t count = 0;

	return bpf_prog_query((int)if_nametoindex("lo"), tcx_type(ATTACH_INGRESS), 0, NULL, NULL, &count) == 0;
}

/* bpffs refuses names with a dot, and a pin's name must stay unique. */
static void link_path(const char *pin_directory, const char *name, enum attach_direction direction, char path[ATTACH_PATH_BYTES])
{
	char escaped[IFNAMSIZ * 3 + 1];
	size_t used = 0;

	for (; *name && used + 4 < sizeof(escaped); name++) {
		if (*name == '.' || *name == '%')
			used += (size_t)snprintf(escaped + used, sizeof(escaped) - used, "%%%02x", (unsigned char)*name);
		else
			escaped[used++] = *name;
	}
	escaped[used] = '\0';
	(void)snprintf(path, ATTACH_PATH_BYTES, "%s/link_%s_%s", pin_directory, escaped, direction == ATTACH_EGRESS ? "egress" : "ingress");
}

/* The ifindex of a link, 0 where its device is gone, or -errno. */
static int link_ifindex(int link_fd, uint32_t *ret)
{
	struct tcx_link_info info = { 0 };
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(link_fd, &info, &size))
		return -errno;
	*ret = info.type == TCX_LINK_TYPE ? info.ifindex : 0;
	return 0;
}

static void describe_program(uint32_t id, char detail[ATTACH_DETAIL_BYTES])
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "program %u runs before ours", id);
	else
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "program %s (id %u) runs before ours", info.name, id);
	if (fd >= 0)
		(void)close(fd);
}

/* clsact */

/* What stands on one hook. */
struct filter_scan {
	uint32_t ours_handle; /* 0: none of ours */
	uint32_t ours_program_id;
	uint32_t others; /* filters that are not ours */
	uint32_t before; /* the lowest preference of others that is not behind ours; 0: none */
	char before_name[32];
};

static void on_filter(void *ctx, struct nlmsghdr *h)
{
	struct filter_scan *scan = ctx;
	const struct tcmsg *head = nlmsg_data(h);
	struct nlattr *kind, *options, *name, *id;
	uint32_t preference = TC_H_MAJ(head->tcm_info) >> 16;

	if (h->nlmsg_type != RTM_NEWTFILTER)
		return;
	/* Each preference is announced once without a filter in it. */
	if (!head->tcm_handle)
		return;
	kind = nlmsg_find_attr(h, sizeof(*head), TCA_KIND);
	options = nlmsg_find_attr(h, sizeof(*head), TCA_OPTIONS);
	name = options ? nla_find(nla_data(options), nla_len(options), TCA_BPF_NAME) : NULL;
	if (preference == OUR_PREFERENCE && head->tcm_handle == OUR_HANDLE && kind && !strcmp(nla_get_string(kind), "bpf") && name &&
	    !strncmp(nla_get_string(name), "edge_", 5)) {
		id = nla_find(nla_data(options), nla_len(options), TCA_BPF_ID);
		scan->ours_handle = head->tcm_handle;
		scan->ours_program_id = id ? nla_get_u32(id) : 0;
		return;
	}
	scan->others++;
	if (preference <= OUR_PREFERENCE && !scan->before) {
		scan->before = preference;
		(void)snprintf(scan->before_name, sizeof(scan->before_name), "%s",
		               name   ? nla_get_string(name)
		               : kind ? nla_get_string(kind)
		                      : "?");
	}
}

static int scan_filters(struct nl_sock *s, uint32_t ifindex, enum attach_direction direction, struct filter_scan *ret)
{
	struct tcmsg head = { .tcm_family = AF_UNSPEC,
		              .tcm_ifindex = (int)ifindex,
		              .tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction == ATTACH_EGRESS ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS) };
	int error, tries;

	for (tries = 0; tries < 5; tries++) {
		memset(ret, 0, sizeof(*ret));
		error = netlink_query(s, netlink_message(RTM_GETTFILTER, NLM_F_DUMP, &head, sizeof(head)), on_filter, ret);
		if (error != -EINTR)
			break;
	}
	/* No clsact there. */
	return error == -EINVAL || error == -ENOENT ? 0 : error;
}

static int clsact_attach(uint32_t ifindex, enum attach_direction direction, int program_fd, char detail[ATTACH_DETAIL_BYTES])
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
	            .attach_point = direction == ATTACH_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = OUR_HANDLE, .priority = OUR_PREFERENCE, .prog_fd = program_fd, .flags = BPF_TC_F_REPLACE);
	struct filter_scan scan;
	struct nl_sock *s;
	int error;

	error = bpf_tc_hook_create(&hook);
	if (error && error != -EEXIST) {
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "no clsact: %s", strerror(-error));
		return error;
	}
	s = netlink_open();
	error = s ? scan_filters(s, ifindex, direction, &scan) : -ENOMEM;
	netlink_close(s);
	if (!error && scan.before) {
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "filter %s holds preference %u of clsact, before ours", scan.before_name,
		               scan.before);
		return -EBUSY;
	}
	if (!error)
		error = bpf_tc_attach(&hook, &opts);
	if (error)
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "no filter: %s", strerror(-error));
	return error;
}

/* Takes our filter off one hook; with both hooks empty then, the clsact too. */
static void clsact_remove(struct nl_sock *s, uint32_t ifindex, enum attach_direction direction)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
	            .attach_point = direction == ATTACH_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_hook, whole, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = OUR_HANDLE, .priority = OUR_PREFERENCE);
	struct filter_scan here, there;

	if (scan_filters(s, ifindex, direction, &here) || !here.ours_handle)
		return;
	if (bpf_tc_detach(&hook, &opts))
		return;
	if (!scan_filters(s, ifindex, ATTACH_INGRESS, &here) && !scan_filters(s, ifindex, ATTACH_EGRESS, &there) && !here.others &&
	    !here.ours_handle && !there.others && !there.ours_handle)
		(void)bpf_tc_hook_destroy(&whole);
}

/* tcx */

static int tcx_attach(const char *path, uint32_t ifindex, enum attach_direction direction, int program_fd, char detail[ATTACH_DETAIL_BYTES])
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = TCX_BEFORE);
	uint32_t pinned_ifindex = 0;
	int fd, error;

	fd = bpf_obj_get(path);
	if (fd >= 0) {
		if (!link_ifindex(fd, &pinned_ifindex) && pinned_ifindex == ifindex) {
			error = bpf_link_update(fd, program_fd, NULL) ? -errno : 0;
			(void)close(fd);
			if (error)
				(void)snprintf(detail, ATTACH_DETAIL_BYTES, "the program can not be replaced: %s", strerror(-error));
			return error;
		}
		/* An earlier device of this name. */
		(void)close(fd);
		(void)unlink(path);
	}
	fd = bpf_link_create(program_fd, (int)ifindex, tcx_type(direction), &opts);
	if (fd < 0) {
		error = -errno;
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "no link: %s", strerror(-error));
		return error;
	}
	error = bpf_obj_pin(fd, path) ? -errno : 0;
	if (error) {
		/* Not pinned it would let everything pass as soon as we end. */
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "the link can not be pinned: %s", strerror(-error));
		(void)bpf_link_detach(fd);
	}
	(void)close(fd);
	return error;
}

static void tcx_remove(const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return;
	(void)bpf_link_detach(fd);
	(void)close(fd);
	(void)unlink(path);
}

int attach_program(const char *pin_directory, uint32_t ifindex, const char *name, enum attach_direction direction,
                   enum attach_method method, int program_fd, char detail[ATTACH_DETAIL_BYTES])
{
	char path[ATTACH_PATH_BYTES];
	struct nl_sock *s;
	int error;

	link_path(pin_directory, name, direction, path);
	if (method == ATTACH_TCX) {
		error = tcx_attach(path, ifindex, direction, program_fd, detail);
		if (error)
			return error;
		s = netlink_open();
		if (s)
			clsact_remove(s, ifindex, direction);
		netlink_close(s);
		return 0;
	}
	error = clsact_attach(ifindex, direction, program_fd, detail);
	if (!error)
		tcx_remove(path);
	return error;
}

void attach_remove(const char *pin_directory, uint32_t ifindex, const char *name, enum attach_direction direction)
{
	struct nl_sock *s = netlink_open();
	char path[ATTACH_PATH_BYTES];

	link_path(pin_directory, name, direction, path);
	tcx_remove(path);
	if (s)
		clsact_remove(s, ifindex, direction);
	netlink_close(s);
}

enum attach_place attach_find(uint32_t ifindex, enum attach_direction direction, enum attach_method method, uint32_t program_id,
                              char detail[ATTACH_DETAIL_BYTES])
{
	uint32_t ids[PROGRAMS_MAX] = { 0 }, count = PROGRAMS_MAX;
	struct filter_scan scan;
	struct nl_sock *s;
	int error;

	if (bpf_prog_query((int)ifindex, tcx_type(direction), 0, NULL, ids, &count))
		count = 0;
	if (method == ATTACH_TCX) {
		if (count && ids[0] == program_id)
			return ATTACH_FIRST;
		for (uint32_t i = 1; i < count && i < PROGRAMS_MAX; i++) {
			if (ids[i] == program_id) {
				describe_program(ids[0], detail);
				return ATTACH_BEHIND;
			}
		}
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "our program is gone from the device");
		return ATTACH_GONE;
	}
	s = netlink_open();
	error = s ? scan_filters(s, ifindex, direction, &scan) : -ENOMEM;
	netlink_close(s);
	if (error) {
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "the filters can not be read: %s", strerror(-error));
		return ATTACH_UNREAD;
	}
	if (!scan.ours_handle || scan.ours_program_id != program_id) {
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "our program is gone from the device");
		return ATTACH_GONE;
	}
	/* The kernel runs tcx before clsact. */
	if (count) {
		describe_program(ids[0], detail);
		return ATTACH_BEHIND;
	}
	if (scan.before) {
		(void)snprintf(detail, ATTACH_DETAIL_BYTES, "filter %s at preference %u may run before ours", scan.before_name,
		               scan.before);
		return ATTACH_BEHIND;
	}
	return ATTACH_FIRST;
}

void attach_sweep(const char *pin_directory, bool (*is_kept)(void *ctx, uint32_t ifindex), void *ctx)
{
	char path[ATTACH_PATH_BYTES];
	DIR *directory = opendir(pin_directory);
	struct dirent *entry;
	uint32_t ifindex;
	int fd;

	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		if (strncmp(entry->d_name, "link_", 5))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", pin_directory, entry->d_name) >= (int)sizeof(path))
			continue;
		fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		if (!link_ifindex(fd, &ifindex) && (!ifindex || !is_kept(ctx, ifindex))) {
			(void)bpf_link_detach(fd);
			(void)unlink(path);
		}
		(void)close(fd);
	}
	(void)closedir(directory);
}

static bool keep_none(void *ctx, uint32_t ifindex)
{
	(void)ctx;
	(void)ifindex;
	return false;
}

void attach_remove_all(const char *pin_directory)
{
	struct if_nameindex *names = if_nameindex();
	struct nl_sock *s = netlink_open();

	attach_sweep(pin_directory, keep_none, NULL);
	for (struct if_nameindex *n = names; s && n && n->if_index; n++) {
		clsact_remove(s, n->if_index, ATTACH_INGRESS);
		clsact_remove(s, n->if_index, ATTACH_EGRESS);
	}
	netlink_close(s);
	if (names)
		if_freenameindex(names);
}
