/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/capture.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "edge/counters.h"
#include "edge/edges.h"
#include "edge/excludes.h"
#include "edge/fault.h"
#include "edge/flow.h"
#include "edge/keyset.h"
#include "edge/mode.h"
#include "edge/nets.h"
#include "edge/pairs.h"
#include "edge/pins.h"
#include "edge/programs.h"

#include "edge.skel.h"
#include "shared.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { PATH_BYTES = 256 };

struct capture {
	struct loop *loop;
	struct edge_netns *netns;
	void (*on_want_tunnel)(void *ctx, uint32_t node_id);
	void *ctx;

	char pin_directory[PATH_BYTES];
	struct edge_config config;
	uint32_t rings_count; /* workers that have given their ring */
	enum edge_mode mode_wanted;
	struct loop_timer mode_timer; /* while what leaves and what arrives have modes apart */
	struct programs programs;
	struct pairs *pairs;
	struct nets *nets;
	struct edges *edges;
	struct counters *counters;
	struct view *view; /* in force; NULL: none yet */
	struct log_limit view_log;
	char view_fault[EDGE_ERROR_BYTES]; /* "": it is the one that was asked for last */

	struct ring_buffer *ring;
	struct loop_source ring_source;
};

/* settings */

static int write_config(struct capture *c)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(bpf_map__fd(c->programs.edge->maps.settings), &zero, &c->config, BPF_ANY) ? -errno : 0;
}

static const char *mode_text(enum edge_mode mode)
{
	return mode == EDGE_PERMISSIVE ? "permissive" : mode == EDGE_STRICT ? "strict" : "lockdown";
}

static void on_mode_timer(struct loop_timer *t)
{
	struct capture *c = container_of(t, struct capture, mode_timer);
	int code;

	mode_finish(&c->config, c->mode_wanted);
	code = write_config(c);
	if (code) {
		log_error("the mode is not in force for both directions", L_ERRNO(code));
		(void)loop_timer_set(c->loop, t, instant_add_ms(loop_now(c->loop), MODE_APART_MS));
	} else {
		log_info("the mode is in force for what leaves and what arrives", L_TEXT("mode", mode_text(c->mode_wanted)));
	}
}

/* What of the mode is in force at once is written already. */
static void wait_for_rest_of_mode(struct capture *c, bool is_apart)
{
	loop_timer_clear(c->loop, &c->mode_timer);
	if (!is_apart)
		return;
	(void)loop_timer_set(c->loop, &c->mode_timer, instant_add_ms(loop_now(c->loop), MODE_APART_MS));
	log_info("the mode changes: the other direction follows in a minute", L_TEXT("mode", mode_text(c->mode_wanted)),
	         L_TEXT("leaves", mode_text(mode_egress(&c->config))), L_TEXT("arrives", mode_text(mode_ingress(&c->config))));
}

static enum edge_mode mode_of(enum capture_mode mode)
{
	switch (mode) {
	case CAPTURE_PERMISSIVE:
		return EDGE_PERMISSIVE;
	case CAPTURE_LOCKDOWN:
		return EDGE_LOCKDOWN;
	case CAPTURE_STRICT:
	default:
		return EDGE_STRICT;
	}
}

/* Mode, learning and exclusions. */
static int apply_settings(struct capture *c, const struct capture_settings *s)
{
	struct edge_bpf *edge = c->programs.edge;
	struct edge_config before = c->config;
	bool is_apart = mode_begin(&c->config, mode_of(s->mode));
	int code;

	c->config.is_older_reset = s->is_older_reset;
	c->config.is_holding = s->is_faithful;
	if (s->is_older_reset)
		c->config.learn_until_ns = 0;
	c->config.has_excludes = s->exclude_count > 0;
	code = excludes_write(bpf_map__fd(edge->maps.exclude_nets), bpf_map__fd(edge->maps.exclude_ports), s->exclude, s->exclude_count);
	if (!code)
		code = write_config(c);
	if (code) {
		c->config = before;
		return code;
	}
	c->mode_wanted = mode_of(s->mode);
	wait_for_rest_of_mode(c, is_apart);
	return 0;
}

/* the view */

/* Is this node itself enrolled? Also what an earlier daemon left is in force until a view says otherwise. */
static int write_enrolled(struct capture *c, const struct view *v)
{
	const struct view_node *self = view_self(v);
	uint8_t is_enrolled = self && self->is_enrolled;

	if (c->config.is_enrolled == is_enrolled)
		return 0;
	c->config.is_enrolled = is_enrolled;
	return write_config(c);
}

/* What the view says goes into the maps. */
static int write_view(struct capture *c, struct view *v, char error[EDGE_ERROR_BYTES])
{
	int code = pairs_begin_view(c->pairs, c->view, v);

	if (code)
		return edge_fault(error, code, "the kernel's map of nodes can not be written: %s", strerror(-code));
	code = nets_set_view(c->nets, v, error);
	if (code)
		return code;
	code = write_enrolled(c, v);
	if (code)
		return edge_fault(error, code, "the BPF maps can not be written: %s", strerror(-code));
	pairs_end_view(c->pairs);
	return 0;
}

/* The addresses of our devices, as they were read last. */
static int write_addresses(struct capture *c, char error[EDGE_ERROR_BYTES])
{
	const struct device_table *t = edges_table(c->edges);
	struct addr *addresses = calloc(t->addresses_count + 1, sizeof(*addresses));
	size_t count = 0;
	int code;

	if (!addresses)
		return edge_fault(error, -ENOMEM, "no memory");
	for (size_t i = 0; i < t->addresses_count; i++)
		if (!t->addresses[i].is_link_local && t->addresses[i].ifindex != edge_netns_host_ifindex(c->netns))
			addresses[count++] = t->addresses[i].addr;
	code = nets_set_addresses(c->nets, addresses, count, error);
	free(addresses);
	return code;
}

/* Devices, addresses or routes changed: reads them anew, and does what follows. */
static void refresh(struct capture *c)
{
	char error[EDGE_ERROR_BYTES];
	int code = c->view ? edges_read(c->edges, true) : 0;

	if (code)
		log_error("devices not read", L_ERRNO(code));
	if (code || !c->view)
		return;
	/* Attached only with the nets in the map. */
	if (write_addresses(c, error))
		log_error("the addresses of this node's devices are not in force", L_TEXT("reason", error));
	else if (edges_judge(c->edges, c->view))
		log_error("devices not judged", L_ERRNO(-ENOMEM));
}

static void on_devices(void *ctx)
{
	refresh(ctx);
}

/* events */

static int on_ring_event(void *ctx, void *data, size_t len_bytes)
{
	struct capture *c = ctx;
	const struct edge_event *e = data;

	if (len_bytes >= sizeof(*e) && e->type == EDGE_EVENT_WANT_TUNNEL && c->on_want_tunnel)
		c->on_want_tunnel(c->ctx, pairs_node_id(c->pairs, e->peer));
	return 0;
}

static void on_ring(struct loop_source *src, uint32_t events)
{
	struct capture *c = container_of(src, struct capture, ring_source);

	(void)events;
	(void)ring_buffer__consume(c->ring);
}

static int start_ring(struct capture *c)
{
	c->ring = ring_buffer__new(bpf_map__fd(c->programs.edge->maps.events), on_ring_event, c, NULL);
	if (!c->ring)
		return -errno;
	c->ring_source = (struct loop_source){ .fd = ring_buffer__epoll_fd(c->ring), .on_event = on_ring };
	return loop_add(c->loop, &c->ring_source, EPOLLIN);
}

/* public */

/* Those of an earlier daemon: nobody reads them, and a SYN that went into one would be lost. */
static void forget_rings(struct capture *c)
{
	for (uint32_t worker = 0; worker < EDGE_WORKERS_MAX; worker++)
		(void)bpf_map_delete_elem(bpf_map__fd(c->programs.edge->maps.held), &worker);
}

static int load(struct capture *c, const struct capture_settings *s, char error[EDGE_ERROR_BYTES])
{
	struct edge_config pinned = { 0 };
	uint32_t zero = 0;
	int code = programs_load_edge(&c->programs, c->pin_directory, error);
	struct edge_bpf *edge = c->programs.edge;

	if (code)
		return code;
	if (c->programs.is_reused)
		(void)bpf_map_lookup_elem(bpf_map__fd(edge->maps.settings), &zero, &pinned);
	forget_rings(c);

	c->config = (struct edge_config){
		.version = CULVERT_SHARED_VERSION,
		.veth_ifindex = edge_netns_host_ifindex(c->netns),
		.netns_id = edge_netns_id(c->netns),
		.tunnel_port_be = (uint16_t)__builtin_bswap16(s->tunnel_port),
		.workers = (uint16_t)s->workers,
	};
	memcpy(c->config.host_mac, edge_netns_host_mac(c->netns), sizeof(c->config.host_mac));
	memcpy(c->config.private_mac, edge_netns_private_mac(c->netns), sizeof(c->config.private_mac));
	/* Learned once, at the very first load. Later, and also where another version's maps were found, an unknown flow may be one that
	 * a dead daemon carried: in the clear the rest of it would leak. */
	if (c->programs.is_reused) {
		c->config.learn_until_ns = pinned.learn_until_ns;
		c->config.is_enrolled = pinned.is_enrolled;
		/* The mode that is in force, from which to go to the one that is wanted. */
		c->config.mode = pinned.mode;
		c->config.ingress_mode = pinned.ingress_mode;
	} else {
		mode_finish(&c->config, mode_of(s->mode));
		if (!c->programs.had_maps)
			c->config.learn_until_ns = clock_monotonic_ns() + EDGE_LEARN_NS;
	}

	code = pairs_create(bpf_map__fd(edge->maps.peers), bpf_map__fd(edge->maps.peer_names), !c->programs.is_reused, s->has_records,
	                    &c->pairs);
	if (code)
		return edge_fault(error, code, "the BPF maps can not be read: %s", strerror(-code));
	/* The connections of an earlier daemon are over: their pods shall hear it. */
	code = keyset_write(bpf_map__fd(edge->maps.silenced), NULL, sizeof(struct flow_key), 0);
	if (code)
		return edge_fault(error, code, "the BPF maps can not be written: %s", strerror(-code));
	code = programs_load_steer(&c->programs, c->netns, error);
	if (code)
		return code;
	code = apply_settings(c, s);
	if (!code)
		code = nets_create(bpf_map__fd(edge->maps.nets), s->workers, c->pairs, &c->nets);
	return code ? edge_fault(error, code, "the BPF maps can not be written: %s", strerror(-code)) : 0;
}

int capture_create(const struct capture_settings *s, struct edge_netns *n, struct loop *loop,
                   void (*on_want_tunnel)(void *ctx, uint32_t node_id), void *ctx, struct capture **ret, char error[EDGE_ERROR_BYTES])
{
	struct edges_settings edges = { .loop = loop, .netns = n, .on_change = on_devices, .is_clsact_forced = s->is_clsact_forced };
	struct capture *c;
	int code;

	if (!s->workers || s->workers > EDGE_WORKERS_MAX)
		return edge_fault(error, -EINVAL, "%u workers: 1 to %d would be right", s->workers, EDGE_WORKERS_MAX);
	programs_log_library();
	code = pins_make_directory(s->pin_directory, error);
	if (code)
		return code;
	c = calloc(1, sizeof(*c));
	if (!c)
		return edge_fault(error, -ENOMEM, "no memory");
	c->loop = loop;
	c->netns = n;
	c->on_want_tunnel = on_want_tunnel;
	c->ctx = ctx;
	c->ring_source.fd = -1;
	c->mode_timer.on_expire = on_mode_timer;
	c->view_log = (struct log_limit){ .interval_ns = 60 * NS_PER_S, .burst = 5 };
	(void)snprintf(c->pin_directory, sizeof(c->pin_directory), "%s", s->pin_directory);
	code = load(c, s, error);
	if (code)
		goto undo;
	code = counters_create(bpf_map__fd(c->programs.edge->maps.counters), &c->counters);
	if (code) {
		(void)edge_fault(error, code, "no memory");
		goto undo;
	}
	code = start_ring(c);
	if (code) {
		(void)edge_fault(error, code, "events of the programs can not be read: %s", strerror(-code));
		goto undo;
	}
	edges.ctx = c;
	edges.programs = &c->programs;
	edges.pin_directory = c->pin_directory;
	code = edges_create(&edges, &c->edges, error);
	if (code)
		goto undo;
	code = edges_set_names(c->edges, s->devices, s->devices_count);
	if (code) {
		(void)edge_fault(error, code, "no memory");
		goto undo;
	}
	*ret = c;
	return 0;
undo:
	capture_destroy(c);
	return code;
}

void capture_destroy(struct capture *c)
{
	if (!c)
		return;
	loop_timer_clear(c->loop, &c->mode_timer);
	edges_destroy(c->edges);
	if (c->ring_source.fd >= 0)
		loop_remove(c->loop, &c->ring_source);
	ring_buffer__free(c->ring);
	counters_destroy(c->counters);
	nets_destroy(c->nets);
	pairs_destroy(c->pairs);
	programs_done(&c->programs);
	view_unref(c->view);
	free(c);
}

int capture_remove(const char *pin_directory, char error[EDGE_ERROR_BYTES])
{
	programs_log_library();
	return pins_remove(pin_directory, error);
}

int capture_set_listener(struct capture *c, uint32_t worker, int family, int fd)
{
	uint32_t key = worker * 2 + (family == AF_INET6);
	uint64_t value = (uint64_t)fd;

	if (worker >= c->config.workers)
		return -ERANGE;
	return bpf_map_update_elem(bpf_map__fd(c->programs.edge->maps.listeners), &key, &value, BPF_ANY) ? -errno : 0;
}

int capture_set_hold(struct capture *c, uint32_t worker, int ring_fd)
{
	if (worker >= c->config.workers)
		return -ERANGE;
	if (bpf_map_update_elem(bpf_map__fd(c->programs.edge->maps.held), &worker, &ring_fd, BPF_ANY))
		return -errno;
	c->rings_count++;
	return 0;
}

struct passing capture_passing(const struct capture *c)
{
	struct edge_bpf *edge = c->programs.edge;

	return (struct passing){ .flows_fd = bpf_map__fd(edge->maps.flows),
		                 .passed_fd = bpf_map__fd(edge->maps.passed),
		                 .settings_fd = bpf_map__fd(edge->maps.settings) };
}

static int set_view(struct capture *c, struct view *v, char error[EDGE_ERROR_BYTES])
{
	struct view *before = c->view;
	bool is_touched;
	int code;

	if (!view_self(v))
		return edge_fault(error, -EINVAL, "this node is not among its nodes");
	/* A device that came meanwhile is judged by the view in force first, as if its notification had been read a moment earlier. */
	edges_poll(c->edges);
	if (!before) {
		code = edges_read(c->edges, true);
		if (code)
			return edge_fault(error, code, "the devices can not be read: %s", strerror(-code));
		code = write_addresses(c, error);
		if (code)
			return code;
	}
	code = write_view(c, v, error);
	if (code)
		return code;
	is_touched = edges_are_touched(c->edges, before, v);
	c->view = view_ref(v);
	view_unref(before);
	/* Attached only now: with the nets in the map. */
	if (is_touched && edges_judge(c->edges, v))
		log_error("devices not judged", L_ERRNO(-ENOMEM));
	return 0;
}

int capture_set_view(struct capture *c, struct view *v)
{
	uint32_t kept_back;
	int code;

	c->view_fault[0] = '\0';
	code = set_view(c, v, c->view_fault);
	/* What is wrong with one view is so with the next, a moment later. */
	if (code && log_limit_allow(&c->view_log, loop_now(c->loop).ns, &kept_back))
		log_error("a view of the cluster is not in force in the kernel", L_TEXT("reason", c->view_fault),
		          L_U64("kept_back", kept_back));
	return code;
}

const char *capture_view_fault(const struct capture *c)
{
	return c->view_fault;
}

int capture_set_reach(struct capture *c, const char *node, uint32_t worker, struct pair_reach reach)
{
	return pairs_set_reach(c->pairs, node, worker, reach);
}

int capture_set_full(struct capture *c, uint32_t worker, bool is_full)
{
	return pairs_set_full(c->pairs, worker, is_full);
}

bool capture_next_lane(struct capture *c, const char *node, const struct pairs_lanes *lanes, uint32_t *ret_worker)
{
	return pairs_next_lane(c->pairs, node, lanes, ret_worker);
}

int capture_silence_flow(struct capture *c, const char *node, const struct endpoint *local, const struct endpoint *remote, bool is_silent)
{
	int fd = bpf_map__fd(c->programs.edge->maps.silenced), code;
	struct flow_key key = flow_key_of(local, remote);
	const uint32_t one = 1;

	if (!is_silent) {
		if (bpf_map_delete_elem(fd, &key))
			return -errno;
		(void)pairs_count_silent_flow(c->pairs, node, false);
		return 0;
	}
	if (bpf_map_update_elem(fd, &key, &one, BPF_NOEXIST))
		return -errno;
	code = pairs_count_silent_flow(c->pairs, node, true);
	if (code)
		(void)bpf_map_delete_elem(fd, &key);
	return code;
}

bool capture_is_peer_up(const struct capture *c, const char *node)
{
	return pairs_is_up(c->pairs, node);
}

enum pair_state capture_hear_peer(struct capture *c, const char *node, enum pair_state said)
{
	return pairs_hear(c->pairs, node, said);
}

_Static_assert((int)CAPTURE_API_SERVERS_MAX <= (int)EDGE_API_SERVERS_MAX, "they fit into the map");

int capture_set_api_servers(struct capture *c, const struct endpoint *endpoints, size_t count)
{
	struct api_server_key keys[CAPTURE_API_SERVERS_MAX] = { 0 };
	int code;

	for (size_t i = 0; i < count; i++) {
		memcpy(keys[i].addr, endpoints[i].addr.bytes, sizeof(keys[i].addr));
		keys[i].port_be = __builtin_bswap16(endpoints[i].port);
	}
	code = keyset_write(bpf_map__fd(c->programs.edge->maps.api_servers), keys, sizeof(keys[0]), count);
	if (code)
		log_error("the API servers' addresses are not in force in the kernel", L_ERRNO(code));
	return code;
}

int capture_apply(struct capture *c, const struct capture_settings *s, char error[EDGE_ERROR_BYTES])
{
	int code;

	if (s->is_faithful && c->rings_count < c->config.workers)
		return edge_fault(error, -EPERM,
		                  "capture.connect: faithful, but this daemon got no packet sockets at its start (CAP_NET_RAW is needed): "
		                  "optimistic would be right");
	code = edges_set_names(c->edges, s->devices, s->devices_count);
	if (code)
		return edge_fault(error, code, "no memory");
	code = apply_settings(c, s);
	if (code)
		return edge_fault(error, code, "the BPF maps can not be written: %s", strerror(-code));
	refresh(c);
	return 0;
}

size_t capture_counters(const struct capture *c, struct capture_counter *ret, size_t max)
{
	return counters_read(c->counters, ret, max);
}

size_t capture_devices(const struct capture *c, struct capture_device *ret, size_t max)
{
	return edges_list(c->edges, ret, max);
}

bool capture_is_healthy(const struct capture *c, char error[EDGE_ERROR_BYTES])
{
	if (c->view)
		return edges_is_healthy(c->edges, error);
	(void)edge_fault(error, 0, "nothing is attached yet: no view of the cluster");
	return false;
}
