/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/programs.h"

#include "base/log.h"
#include "edge/fault.h"
#include "edge/pins.h"

#include "edge.skel.h"
#include "steer.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int print_library(enum libbpf_print_level level, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static int print_library(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[256];

	if (level == LIBBPF_DEBUG || !log_enabled(LOG_DEBUG))
		return 0;
	(void)vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	log_debug("libbpf", L_TEXT("text", line));
	return 0;
}

void programs_log_library(void)
{
	(void)libbpf_set_print(print_library);
}

static void choose_programs(struct edge_bpf *e, bool has_ct)
{
	(void)bpf_program__set_autoload(e->progs.edge_egress, has_ct);
	(void)bpf_program__set_autoload(e->progs.edge_egress_l3, has_ct);
	(void)bpf_program__set_autoload(e->progs.edge_egress_noct, !has_ct);
	(void)bpf_program__set_autoload(e->progs.edge_egr_l3_noct, !has_ct);
}

static int load_fault(int code, char error[EDGE_ERROR_BYTES])
{
	if (code == -ENOMEM)
		return edge_fault(
			error, code,
			"there is no room for the BPF maps: they take 26 MB and more, which count towards the memory limit of the "
			"daemon's container or control group");
	if (code == -EPERM)
		return edge_fault(
			error, code,
			"the BPF programs can not be loaded: %s. CAP_SYS_ADMIN is needed, and before Linux 5.11, where BPF maps count as "
			"locked memory, CAP_SYS_RESOURCE or an unlimited RLIMIT_MEMLOCK",
			strerror(EPERM));
	return edge_fault(error, code, "the BPF programs can not be loaded: %s (the log at level debug has the kernel's words)",
	                  strerror(-code));
}

/* Loads the edge programs over the pinned maps or new ones; first with conntrack's lookup, which is not in every kernel. */
static int load_edge(struct programs *p, const char *pin_directory, char error[EDGE_ERROR_BYTES])
{
	int attempt, code = 0;

	for (attempt = 0; attempt < 2; attempt++) {
		p->edge = edge_bpf__open();
		if (!p->edge)
			return edge_fault(error, -errno, "the BPF object can not be opened: %s", strerror(errno));
		p->has_ct = attempt == 0;
		choose_programs(p->edge, p->has_ct);
		code = p->is_reused ? pins_reuse(p->edge->obj, pin_directory) : 0;
		if (!code)
			code = edge_bpf__load(p->edge);
		if (!code)
			return 0;
		edge_bpf__destroy(p->edge);
		p->edge = NULL;
	}
	return load_fault(code, error);
}

int programs_load_edge(struct programs *p, const char *pin_directory, char error[EDGE_ERROR_BYTES])
{
	struct edge_bpf *probe = edge_bpf__open();
	int code;

	if (!probe)
		return edge_fault(error, -errno, "the BPF object can not be opened: %s", strerror(errno));
	p->is_reused = pins_are_usable(probe->obj, pin_directory);
	p->had_maps = pins_are_there(probe->obj, pin_directory);
	edge_bpf__destroy(probe);
	code = load_edge(p, pin_directory, error);
	if (code || p->is_reused)
		return code;
	code = pins_replace(p->edge->obj, pin_directory);
	return code ? edge_fault(error, code, "maps can not be pinned in %s: %s", pin_directory, strerror(-code)) : 0;
}

int programs_load_steer(struct programs *p, const struct edge_netns *n, char error[EDGE_ERROR_BYTES])
{
	struct bpf_map *m, *theirs;
	int code = 0;

	p->steer = steer_bpf__open();
	if (!p->steer)
		return edge_fault(error, -errno, "the BPF object can not be opened: %s", strerror(errno));
	bpf_object__for_each_map(m, p->steer->obj) {
		if (!pins_is_shared_map(m))
			continue;
		theirs = bpf_object__find_map_by_name(p->edge->obj, bpf_map__name(m));
		code = theirs ? bpf_map__reuse_fd(m, bpf_map__fd(theirs)) : -ENOENT;
		if (code)
			break;
	}
	if (!code)
		code = steer_bpf__load(p->steer);
	if (code)
		return edge_fault(error, code, "the program that picks listeners can not be loaded: %s", strerror(-code));
	/* Not pinned: the private namespace ends with the daemon, and the link with the namespace. */
	p->steer_link = bpf_program__attach_netns(p->steer->progs.steer, edge_netns_fd(n));
	if (!p->steer_link)
		return edge_fault(error, -errno, "the program that picks listeners can not be attached: %s", strerror(errno));
	return 0;
}

void programs_done(struct programs *p)
{
	if (p->steer_link)
		(void)bpf_link__destroy(p->steer_link);
	steer_bpf__destroy(p->steer);
	edge_bpf__destroy(p->edge);
	*p = (struct programs){ 0 };
}

int programs_fd(const struct programs *p, enum attach_direction direction, bool is_l3)
{
	const struct edge_bpf *e = p->edge;

	if (direction == ATTACH_INGRESS)
		return bpf_program__fd(is_l3 ? e->progs.edge_ingress_l3 : e->progs.edge_ingress);
	if (p->has_ct)
		return bpf_program__fd(is_l3 ? e->progs.edge_egress_l3 : e->progs.edge_egress);
	return bpf_program__fd(is_l3 ? e->progs.edge_egr_l3_noct : e->progs.edge_egress_noct);
}

uint32_t programs_id(const struct programs *p, enum attach_direction direction, bool is_l3)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(programs_fd(p, direction, is_l3), &info, &size) ? 0 : info.id;
}
