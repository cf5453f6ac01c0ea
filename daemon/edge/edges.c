/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/edges.h"

#include "base/list.h"
#include "base/log.h"
#include "edge/attach.h"
#include "edge/fault.h"
#include "edge/netlink.h"
#include "edge/watch.h"

#include "edge.skel.h"
#include "shared.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* Nobody tells when a program is taken off a device, or another put before it. */
	PLACES_INTERVAL_MS = 5000,
};

/* A device that is there, and what we did with it. */
struct edge_device {
	uint32_t ifindex;
	char name[DEVICE_NAME_BYTES];
	uint16_t arp_type;
	struct device_judgement judgement;
	bool is_wanted; /* an edge, and named by the setting where it names some */
	bool is_attached[ATTACH_DIRECTIONS];
	char failure[ATTACH_DETAIL_BYTES]; /* why not, or who is before us; logged */
};

struct edges {
	struct loop *loop;
	struct edge_netns *netns;
	const struct programs *programs;
	const char *pin_directory;
	int roles_fd;
	enum attach_method method;
	char **names; /* NULL: auto */
	size_t names_count;

	struct device_table table; /* as read last */
	bool has_table;
	struct edge_device *devices;
	size_t devices_count;

	struct nl_sock *query;
	struct watch *watch;
	struct loop_timer places_timer;
};

static void free_names(char **names, size_t count)
{
	for (size_t i = 0; names && i < count; i++)
		free(names[i]);
	free(names);
}

static int copy_names(const char *const *from, size_t count, char ***ret)
{
	char **names;

	*ret = NULL;
	if (!from || !count)
		return 0;
	names = calloc(count, sizeof(*names));
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		names[i] = strdup(from[i]);
		if (!names[i]) {
			free_names(names, count);
			return -ENOMEM;
		}
	}
	*ret = names;
	return 0;
}

int edges_set_names(struct edges *e, const char *const *names, size_t count)
{
	char **copy;
	int code = copy_names(names, count, &copy);

	if (code)
		return code;
	free_names(e->names, e->names_count);
	e->names = copy;
	e->names_count = copy ? count : 0;
	return 0;
}

static bool is_named(const struct edges *e, const char *name)
{
	if (!e->names)
		return true;
	for (size_t i = 0; i < e->names_count; i++)
		if (!strcmp(e->names[i], name))
			return true;
	return false;
}

static struct edge_device *find_edge_device(const struct edges *e, uint32_t ifindex)
{
	for (size_t i = 0; i < e->devices_count; i++)
		if (e->devices[i].ifindex == ifindex)
			return &e->devices[i];
	return NULL;
}

static bool is_edge_wanted(void *ctx, uint32_t ifindex)
{
	const struct edge_device *d = find_edge_device(ctx, ifindex);

	return d && d->is_wanted;
}

static void write_roles(struct edges *e)
{
	int fd = e->roles_fd;
	struct device_value value;
	uint32_t ifindex, next;
	bool has_key;

	for (size_t i = 0; i < e->devices_count; i++) {
		const struct edge_device *d = &e->devices[i];

		value = (struct device_value){ 0 };
		if (d->ifindex == edge_netns_host_ifindex(e->netns))
			value.role = DEVICE_OURS;
		else if (d->judgement.face == DEVICE_FACES_OUTSIDE || d->judgement.face == DEVICE_FACES_NOBODY)
			value.role = DEVICE_EDGE;
		else
			value.role = DEVICE_POD;
		value.flags = d->judgement.may_face_pods ? DEVICE_MAY_FACE_PODS : 0;
		(void)bpf_map_update_elem(fd, &d->ifindex, &value, BPF_ANY);
	}
	for (has_key = !bpf_map_get_next_key(fd, NULL, &ifindex); has_key; ifindex = next) {
		has_key = !bpf_map_get_next_key(fd, &ifindex, &next);
		if (!find_edge_device(e, ifindex))
			(void)bpf_map_delete_elem(fd, &ifindex);
	}
}

static enum attach_place place_of(const struct edges *e, const struct edge_device *d, enum attach_direction direction,
                                  char detail[ATTACH_DETAIL_BYTES])
{
	return attach_find(d->ifindex, direction, e->method, programs_id(e->programs, direction, d->arp_type != ARPHRD_ETHER), detail);
}

static void attach_device(struct edges *e, struct edge_device *d)
{
	bool is_l3 = d->arp_type != ARPHRD_ETHER;
	char detail[ATTACH_DETAIL_BYTES] = "";
	int code = 0;

	/* Ingress first: while only that is there, more is refused and nothing more passes. */
	for (int direction = ATTACH_INGRESS; direction < ATTACH_DIRECTIONS; direction++) {
		if (d->is_attached[direction])
			continue;
		code = attach_program(e->pin_directory, d->ifindex, d->name, (enum attach_direction)direction, e->method,
		                      programs_fd(e->programs, (enum attach_direction)direction, is_l3), detail);
		if (code)
			break;
		d->is_attached[direction] = true;
	}
	if (!code) {
		d->failure[0] = '\0';
		log_info("device attached", L_TEXT("device", d->name), L_TEXT("how", e->method == ATTACH_TCX ? "tcx" : "clsact"),
		         L_TEXT("why", d->judgement.why));
		return;
	}
	if (code == -ENODEV)
		return;
	if (strcmp(d->failure, detail)) {
		(void)snprintf(d->failure, sizeof(d->failure), "%s", detail);
		log_error("device not attached", L_TEXT("device", d->name), L_TEXT("reason", detail));
	}
}

static void detach_device(struct edges *e, struct edge_device *d)
{
	for (int direction = ATTACH_EGRESS; direction >= ATTACH_INGRESS; direction--) {
		attach_remove(e->pin_directory, d->ifindex, d->name, (enum attach_direction)direction);
		d->is_attached[direction] = false;
	}
	log_info("device released", L_TEXT("device", d->name), L_TEXT("why", d->judgement.why));
}

/* Nothing can pass a pair that is down, and a pod's passes through our namespace while it is made. */
static bool is_unfinished(const struct device_info *d)
{
	return !d->is_up && !d->is_peer_elsewhere && (!strcmp(d->kind, "veth") || !strcmp(d->kind, "netkit"));
}

/* All that leaves by a port of a bond has met our programs on the bond, and would only be counted twice. */
static bool is_bond_port(const struct device_table *t, const struct device_info *d)
{
	for (size_t i = 0; d->master && i < t->devices_count; i++)
		if (t->devices[i].ifindex == d->master)
			return !strcmp(t->devices[i].kind, "bond") || !strcmp(t->devices[i].kind, "team");
	return false;
}

int edges_judge(struct edges *e, const struct view *v)
{
	const struct device_table *t = &e->table;
	struct edge_device *devices = calloc(t->devices_count + 1, sizeof(*devices)), *old_devices = e->devices;
	size_t old_count = e->devices_count;
	char error[EDGE_ERROR_BYTES];
	uint32_t mtu = 0;

	if (!devices)
		return -ENOMEM;
	for (size_t i = 0; i < t->devices_count; i++) {
		const struct device_info *info = &t->devices[i];
		struct edge_device *d = &devices[i];
		const struct edge_device *before = find_edge_device(e, info->ifindex);

		/* A renamed device keeps its programs, but its pins have the old name: begun anew. */
		if (before && !strcmp(before->name, info->name) && before->arp_type == info->arp_type)
			*d = *before;
		d->ifindex = info->ifindex;
		d->arp_type = info->arp_type;
		memcpy(d->name, info->name, sizeof(d->name));
		d->judgement = device_judge(t, info, edge_netns_host_ifindex(e->netns), v);
		d->is_wanted = d->judgement.face == DEVICE_FACES_OUTSIDE && is_named(e, d->name) && !is_bond_port(t, info) &&
		               (!is_unfinished(info) || d->is_attached[ATTACH_INGRESS] || d->is_attached[ATTACH_EGRESS]);
		if (d->is_wanted && info->mtu > mtu && info->mtu <= 65535)
			mtu = info->mtu;
	}
	e->devices = devices;
	e->devices_count = t->devices_count;
	for (size_t i = 0; i < old_count; i++) {
		const struct edge_device *now = find_edge_device(e, old_devices[i].ifindex);

		if (!now)
			log_info("device gone", L_TEXT("device", old_devices[i].name));
		else if (strcmp(now->name, old_devices[i].name) && (old_devices[i].is_attached[0] || old_devices[i].is_attached[1]))
			detach_device(e, &old_devices[i]);
	}
	free(old_devices);

	write_roles(e);
	for (size_t i = 0; i < e->devices_count; i++) {
		struct edge_device *d = &e->devices[i];

		if (d->is_wanted && (!d->is_attached[ATTACH_INGRESS] || !d->is_attached[ATTACH_EGRESS]))
			attach_device(e, d);
		else if (!d->is_wanted && (d->is_attached[ATTACH_INGRESS] || d->is_attached[ATTACH_EGRESS]))
			detach_device(e, d);
	}
	attach_sweep(e->pin_directory, is_edge_wanted, e);
	if (edge_netns_raise_mtu(e->netns, mtu, error))
		log_error("the pair can not grow with the uplinks", L_U64("mtu", mtu), L_TEXT("reason", error));
	return 0;
}

/* Reads back where our programs stand, and puts back what somebody took off. */
static void check_places(struct edges *e)
{
	char detail[ATTACH_DETAIL_BYTES];

	for (size_t i = 0; i < e->devices_count; i++) {
		struct edge_device *d = &e->devices[i];
		enum attach_place worst = ATTACH_FIRST;

		for (int direction = 0; direction < ATTACH_DIRECTIONS; direction++) {
			enum attach_place place;

			if (!d->is_wanted || !d->is_attached[direction])
				continue;
			place = place_of(e, d, (enum attach_direction)direction, detail);
			if (place == ATTACH_GONE) {
				log_error("program taken off a device", L_TEXT("device", d->name));
				d->is_attached[direction] = false;
			}
			if (place > worst)
				worst = place;
		}
		if (worst == ATTACH_BEHIND && strcmp(d->failure, detail)) {
			(void)snprintf(d->failure, sizeof(d->failure), "%s", detail);
			log_error("not first on a device", L_TEXT("device", d->name), L_TEXT("reason", detail));
		}
		if (d->is_wanted && (!d->is_attached[ATTACH_INGRESS] || !d->is_attached[ATTACH_EGRESS]))
			attach_device(e, d);
		else if (d->is_wanted && worst == ATTACH_FIRST)
			d->failure[0] = '\0';
	}
}

static void on_places_timer(struct loop_timer *timer)
{
	struct edges *e = container_of(timer, struct edges, places_timer);

	check_places(e);
	(void)loop_timer_set(e->loop, timer, instant_add_ms(loop_now(e->loop), PLACES_INTERVAL_MS));
}

int edges_create(const struct edges_settings *s, struct edges **ret, char error[EDGE_ERROR_BYTES])
{
	struct device_value ours = { .role = DEVICE_OURS };
	uint32_t ifindex = edge_netns_host_ifindex(s->netns);
	struct edges *e = calloc(1, sizeof(*e));
	int code;

	if (!e)
		return edge_fault(error, -ENOMEM, "no memory");
	e->loop = s->loop;
	e->netns = s->netns;
	e->programs = s->programs;
	e->pin_directory = s->pin_directory;
	e->roles_fd = bpf_map__fd(s->programs->edge->maps.devices);
	e->places_timer.on_expire = on_places_timer;
	e->method = !s->is_clsact_forced && !getenv("CULVERT_CLSACT") && attach_has_tcx() ? ATTACH_TCX : ATTACH_CLSACT;
	if (bpf_map_update_elem(e->roles_fd, &ifindex, &ours, BPF_ANY)) {
		code = edge_fault(error, -errno, "the BPF maps can not be written: %s", strerror(errno));
		goto undo;
	}
	e->query = netlink_open();
	code = e->query ? watch_create(e->loop, s->on_change, s->ctx, &e->watch) : -ENOMEM;
	if (!code)
		code = loop_timer_set(e->loop, &e->places_timer, instant_add_ms(loop_now(e->loop), PLACES_INTERVAL_MS));
	if (code) {
		(void)edge_fault(error, code, "devices can not be watched: %s", strerror(-code));
		goto undo;
	}
	*ret = e;
	return 0;
undo:
	edges_destroy(e);
	return code;
}

void edges_destroy(struct edges *e)
{
	if (!e)
		return;
	loop_timer_clear(e->loop, &e->places_timer);
	watch_destroy(e->watch);
	netlink_close(e->query);
	device_table_done(&e->table);
	free_names(e->names, e->names_count);
	free(e->devices);
	free(e);
}

int edges_read(struct edges *e, bool is_anew)
{
	struct device_table t = { 0 };
	int code;

	if (e->has_table && !is_anew)
		return 0;
	code = device_table_read(e->query, &t);
	if (code)
		return code;
	device_table_done(&e->table);
	e->table = t;
	e->has_table = true;
	return 0;
}

void edges_poll(struct edges *e)
{
	watch_poll(e->watch);
}

const struct device_table *edges_table(const struct edges *e)
{
	return &e->table;
}

struct touch {
	const struct edges *edges;
	uint32_t self_id;
};

/* Devices are judged by what is this node's, and by whose the host is that a route leads to. */
static int touch(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	const struct touch *t = ctx;
	const struct device_table *table = &t->edges->table;

	if ((before && before->node_id == t->self_id) || (after && after->node_id == t->self_id))
		return -ECANCELED;
	for (size_t i = 0; i < table->routes_count; i++)
		if (table->routes[i].dest.len_bits == 128 && prefix_contains(p, &table->routes[i].dest.addr))
			return -ECANCELED;
	return 0;
}

bool edges_are_touched(const struct edges *e, const struct view *before, const struct view *v)
{
	struct touch t = { .edges = e, .self_id = view_self(v)->id };

	return !before || !view_self(before) || view_self(before)->id != t.self_id || view_diff(before, v, touch, &t) != 0;
}

/* Are both our programs first on d? */
static bool is_device_first(const struct edges *e, const struct edge_device *d, char detail[ATTACH_DETAIL_BYTES])
{
	for (int direction = 0; direction < ATTACH_DIRECTIONS; direction++)
		if (place_of(e, d, (enum attach_direction)direction, detail) != ATTACH_FIRST)
			return false;
	return true;
}

size_t edges_list(const struct edges *e, struct capture_device *ret, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < e->devices_count && count < max; i++) {
		const struct edge_device *d = &e->devices[i];
		struct capture_device *x = &ret[count++];

		*x = (struct capture_device){ .ifindex = d->ifindex, .how = "" };
		memcpy(x->name, d->name, sizeof(x->name));
		x->is_attached = d->is_attached[ATTACH_INGRESS] && d->is_attached[ATTACH_EGRESS];
		if (x->is_attached) {
			x->how = e->method == ATTACH_TCX ? "tcx" : "clsact";
			(void)snprintf(x->detail, sizeof(x->detail), "%s", d->judgement.why);
			x->is_first = is_device_first(e, d, x->detail);
		} else if (d->is_wanted) {
			(void)snprintf(x->detail, sizeof(x->detail), "%s", d->failure);
		} else if (d->judgement.face == DEVICE_FACES_OUTSIDE) {
			(void)snprintf(x->detail, sizeof(x->detail), "%s",
			               is_named(e, d->name) ? "not up yet, or a port of a bond" : "not named by capture.devices");
		} else {
			(void)snprintf(x->detail, sizeof(x->detail), "%s", d->judgement.why);
		}
	}
	return count;
}

bool edges_is_healthy(const struct edges *e, char error[EDGE_ERROR_BYTES])
{
	char detail[ATTACH_DETAIL_BYTES];
	size_t i, k;

	for (i = 0; i < e->devices_count; i++) {
		const struct edge_device *d = &e->devices[i];

		if (!d->is_wanted)
			continue;
		if (!d->is_attached[ATTACH_INGRESS] || !d->is_attached[ATTACH_EGRESS]) {
			(void)edge_fault(error, 0, "%s: our programs are not on it: %s", d->name, d->failure);
			return false;
		}
		if (!is_device_first(e, d, detail)) {
			(void)edge_fault(error, 0, "%s: %s", d->name, detail);
			return false;
		}
	}
	for (k = 0; k < e->names_count; k++) {
		for (i = 0; i < e->devices_count && strcmp(e->devices[i].name, e->names[k]); i++)
			;
		if (i == e->devices_count) {
			(void)edge_fault(error, 0, "%s: capture.devices names it, but there is no such device", e->names[k]);
			return false;
		}
	}
	return true;
}
