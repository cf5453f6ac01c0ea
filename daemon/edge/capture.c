/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/capture.h"

#include "base/list.h"
#include "base/log.h"
#include "edge/attach.h"
#include "edge/device.h"
#include "edge/netlink.h"
#include "edge/pairs.h"

#include "edge.skel.h"
#include "shared.h"
#include "steer.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_arp.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum {
	/* Changes of routes alone come in bursts, and judging reads the whole table: once in so long is soon enough for a device that has
	 * its programs already. */
	ROUTES_DEBOUNCE_MS = 100,
	/* Nobody tells when a program is taken off a device, or another put before it. */
	PLACES_INTERVAL_MS = 5000,
	PATH_BYTES = 256,
};

/* One entry of nets as it is wanted. */
struct net_entry {
	struct net_key key;
	struct net_value value;
};

struct net_list {
	struct net_entry *entries;
	size_t count, cap;
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

struct capture {
	struct loop *loop;
	struct edge_netns *netns;
	void (*on_want_tunnel)(void *ctx, uint32_t node_id);
	void *ctx;

	char pin_directory[PATH_BYTES];
	struct edge_config config;
	char **device_names; /* NULL: auto */
	size_t device_names_count;

	struct edge_bpf *edge;
	struct steer_bpf *steer;
	struct bpf_link *steer_link;
	enum attach_method method;
	bool has_ct;

	struct view *view;
	struct pairs *pairs;
	struct net_list nets; /* what the map holds, sorted */
	struct edge_device *devices;
	size_t devices_count;

	struct nl_sock *query; /* requests */
	struct nl_sock *watch; /* notifications */
	struct loop_source watch_source;
	struct loop_timer routes_timer, places_timer;
	struct ring_buffer *ring;
	struct loop_source ring_source;
	struct edge_count *per_cpu; /* one counter of each processor */
	int cpus;
};

static const struct {
	const char *name;
	bool is_clear;
	bool on_pass[EDGE_DIRECTION_COUNT], on_drop[EDGE_DIRECTION_COUNT]; /* egress, ingress: what can occur */
} classes[CLASS_COUNT] = {
	[CLASS_TUNNEL] = { "tunnel", false, { true, false }, { false, false } },
	[CLASS_CARRIER] = { "carrier", false, { true, true }, { false, false } },
	[CLASS_REFUSED] = { "refused", false, { false, false }, { true, true } },
	[CLASS_HELD] = { "held", false, { false, false }, { true, false } },
	[CLASS_OLDER] = { "older", true, { true, true }, { false, false } },
	[CLASS_PERMISSIVE] = { "permissive", true, { true, true }, { false, false } },
	[CLASS_HOST] = { "host", true, { true, true }, { false, false } },
	[CLASS_TO_NODE] = { "to_node", true, { true, true }, { false, false } },
	[CLASS_OUTSIDE] = { "outside", true, { true, true }, { false, false } },
	[CLASS_UNKNOWN] = { "unknown", true, { true, true }, { true, true } },
	[CLASS_NOT_ENROLLED] = { "not_enrolled", true, { true, true }, { false, false } },
	[CLASS_EXCLUDED] = { "excluded", true, { true, true }, { false, false } },
	[CLASS_UDP] = { "udp", true, { true, true }, { false, false } },
	[CLASS_ICMP] = { "icmp", true, { true, true }, { false, false } },
	[CLASS_OTHER] = { "other", true, { true, true }, { false, false } },
	[CLASS_BYPASS] = { "bypass", true, { true, false }, { true, false } },
	[CLASS_LOOP] = { "loop", false, { false, false }, { true, false } },
	[CLASS_UNCLASSIFIABLE] = { "unclassifiable", true, { true, true }, { true, true } },
	[CLASS_JOINING] = { "joining", true, { true, true }, { false, false } },
};

static int fail(char error[EDGE_ERROR_BYTES], int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char error[EDGE_ERROR_BYTES], int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, EDGE_ERROR_BYTES, format, args);
	va_end(args);
	return code;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* pins */

/* Makes directory and what is missing above it, where the nearest existing one is on a bpffs. */
static int make_pin_directory(const char *directory, char error[EDGE_ERROR_BYTES])
{
	char path[PATH_BYTES];
	struct statfs fs;
	char *slash;

	if (strlen(directory) >= sizeof(path) || directory[0] != '/')
		return fail(error, -EINVAL, "%s: not a usable folder for BPF pins", directory);
	(void)snprintf(path, sizeof(path), "%s", directory);
	while (statfs(path, &fs)) {
		slash = strrchr(path, '/');
		/* A bpffs answers EPERM for a name with a dot: told below. */
		if ((errno != ENOENT && errno != EPERM) || !slash || slash == path)
			return fail(error, -errno, "%s: %s", path, strerror(errno));
		*slash = '\0';
	}
	if ((uint32_t)fs.f_type != BPF_FS_MAGIC)
		return fail(error, -ENOTSUP, "%s is not on a BPF file system (mount -t bpf bpf /sys/fs/bpf makes one)", directory);
	if (strchr(directory + strlen(path), '.'))
		return fail(error, -EINVAL, "%s: a BPF file system takes no dot in a name", directory);
	while (strcmp(path, directory)) {
		size_t end = strlen(path) + 1;

		end += strcspn(directory + end, "/");
		(void)snprintf(path, end + 1, "%s", directory);
		if (mkdir(path, 0700) && errno != EEXIST)
			return fail(error, -errno, "%s: %s", path, strerror(errno));
	}
	return 0;
}

static void pin_path(const char *directory, const char *name, char path[ATTACH_PATH_BYTES])
{
	(void)snprintf(path, ATTACH_PATH_BYTES, "%s/%s", directory, name);
}

/* Maps of the compiler's own (.rodata) belong to one load of the object and are not shared. */
static bool is_shared_map(const struct bpf_map *m)
{
	return !strchr(bpf_map__name(m), '.');
}

/* Are the pinned maps all there and of this version's layout? */
static bool has_usable_maps(const struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;
	char path[ATTACH_PATH_BYTES];
	bool is_usable = true;

	bpf_object__for_each_map(m, object) {
		struct bpf_map_info info = { 0 };
		uint32_t size = sizeof(info), zero = 0;
		struct edge_config config;
		int fd;

		if (!is_shared_map(m))
			continue;
		pin_path(directory, bpf_map__name(m), path);
		fd = bpf_obj_get(path);
		if (fd < 0)
			return false;
		is_usable = !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == bpf_map__type(m) &&
		            info.key_size == bpf_map__key_size(m) && info.value_size == bpf_map__value_size(m) &&
		            info.max_entries == bpf_map__max_entries(m);
		if (is_usable && !strcmp(bpf_map__name(m), "settings"))
			is_usable = !bpf_map_lookup_elem(fd, &zero, &config) && config.version == CULVERT_SHARED_VERSION;
		(void)close(fd);
		if (!is_usable)
			return false;
	}
	return true;
}

/* Is any map of ours pinned, of whatever version? */
static bool has_any_map(const struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;
	char path[ATTACH_PATH_BYTES];

	bpf_object__for_each_map(m, object) {
		pin_path(directory, bpf_map__name(m), path);
		if (is_shared_map(m) && !access(path, F_OK))
			return true;
	}
	return false;
}

static int reuse_pinned_maps(struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;
	char path[ATTACH_PATH_BYTES];

	bpf_object__for_each_map(m, object) {
		int fd, error;

		if (!is_shared_map(m))
			continue;
		pin_path(directory, bpf_map__name(m), path);
		fd = bpf_obj_get(path);
		if (fd < 0)
			return -errno;
		error = bpf_map__reuse_fd(m, fd);
		(void)close(fd);
		if (error)
			return error;
	}
	return 0;
}

/* Puts the new maps in the place of those of another version, whose programs go on with them until they are replaced. */
static int pin_maps(struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;
	char path[ATTACH_PATH_BYTES];

	bpf_object__for_each_map(m, object) {
		if (!is_shared_map(m))
			continue;
		pin_path(directory, bpf_map__name(m), path);
		(void)unlink(path);
		if (bpf_obj_pin(bpf_map__fd(m), path))
			return -errno;
	}
	return 0;
}

/* programs */

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

static void choose_programs(struct edge_bpf *e, bool has_ct)
{
	(void)bpf_program__set_autoload(e->progs.edge_egress, has_ct);
	(void)bpf_program__set_autoload(e->progs.edge_egress_l3, has_ct);
	(void)bpf_program__set_autoload(e->progs.edge_egress_noct, !has_ct);
	(void)bpf_program__set_autoload(e->progs.edge_egr_l3_noct, !has_ct);
}

/* Loads the edge programs over the pinned maps or new ones; first with conntrack's lookup, which is not in every kernel. */
static int load_edge(struct capture *c, bool is_reuse, char error[EDGE_ERROR_BYTES])
{
	int attempt, code = 0;

	for (attempt = 0; attempt < 2; attempt++) {
		c->edge = edge_bpf__open();
		if (!c->edge)
			return fail(error, -errno, "the BPF object can not be opened: %s", strerror(errno));
		c->has_ct = attempt == 0;
		choose_programs(c->edge, c->has_ct);
		code = is_reuse ? reuse_pinned_maps(c->edge->obj, c->pin_directory) : 0;
		if (!code)
			code = edge_bpf__load(c->edge);
		if (!code)
			return 0;
		edge_bpf__destroy(c->edge);
		c->edge = NULL;
	}
	return fail(error, code, "the BPF programs can not be loaded: %s (the log at level debug has the kernel's words)", strerror(-code));
}

static int load_steer(struct capture *c, char error[EDGE_ERROR_BYTES])
{
	struct bpf_map *m, *theirs;
	int code = 0;

	c->steer = steer_bpf__open();
	if (!c->steer)
		return fail(error, -errno, "the BPF object can not be opened: %s", strerror(errno));
	bpf_object__for_each_map(m, c->steer->obj) {
		if (!is_shared_map(m))
			continue;
		theirs = bpf_object__find_map_by_name(c->edge->obj, bpf_map__name(m));
		code = theirs ? bpf_map__reuse_fd(m, bpf_map__fd(theirs)) : -ENOENT;
		if (code)
			break;
	}
	if (!code)
		code = steer_bpf__load(c->steer);
	if (code)
		return fail(error, code, "the program that picks listeners can not be loaded: %s", strerror(-code));
	/* Not pinned: the private namespace ends with the daemon, and the link with the namespace. */
	c->steer_link = bpf_program__attach_netns(c->steer->progs.steer, edge_netns_fd(c->netns));
	if (!c->steer_link)
		return fail(error, -errno, "the program that picks listeners can not be attached: %s", strerror(errno));
	return 0;
}

static int program_fd(const struct capture *c, enum attach_direction direction, bool is_l3)
{
	const struct edge_bpf *e = c->edge;

	if (direction == ATTACH_INGRESS)
		return bpf_program__fd(is_l3 ? e->progs.edge_ingress_l3 : e->progs.edge_ingress);
	if (c->has_ct)
		return bpf_program__fd(is_l3 ? e->progs.edge_egress_l3 : e->progs.edge_egress);
	return bpf_program__fd(is_l3 ? e->progs.edge_egr_l3_noct : e->progs.edge_egress_noct);
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

/* settings */

static int write_config(struct capture *c)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(bpf_map__fd(c->edge->maps.settings), &zero, &c->config, BPF_ANY) ? -errno : 0;
}

static struct net_key key_of_prefix(const struct prefix *p)
{
	struct net_key key = { .prefix_bits = p->len_bits };

	memcpy(key.addr, p->addr.bytes, sizeof(key.addr));
	return key;
}

/* What is wanted goes in first, what is not any more out afterwards. */
static int write_excludes(struct capture *c, const struct capture_settings *s)
{
	int nets_fd = bpf_map__fd(c->edge->maps.exclude_nets), ports_fd = bpf_map__fd(c->edge->maps.exclude_ports);
	const uint32_t one = 1;
	struct net_key key, next;
	uint16_t port_be, next_port_be;
	bool has_key;
	size_t i;

	for (i = 0; i < s->exclude_count; i++) {
		const struct capture_exclude *x = &s->exclude[i];

		port_be = (uint16_t)__builtin_bswap16(x->port);
		key = key_of_prefix(&x->prefix);
		if (x->is_port ? bpf_map_update_elem(ports_fd, &port_be, &one, BPF_ANY) : bpf_map_update_elem(nets_fd, &key, &one, BPF_ANY))
			return -errno;
	}
	for (has_key = !bpf_map_get_next_key(nets_fd, NULL, &key); has_key; key = next) {
		has_key = !bpf_map_get_next_key(nets_fd, &key, &next);
		for (i = 0; i < s->exclude_count; i++) {
			struct net_key wanted = key_of_prefix(&s->exclude[i].prefix);

			if (!s->exclude[i].is_port && !memcmp(&wanted, &key, sizeof(key)))
				break;
		}
		if (i == s->exclude_count)
			(void)bpf_map_delete_elem(nets_fd, &key);
	}
	for (has_key = !bpf_map_get_next_key(ports_fd, NULL, &port_be); has_key; port_be = next_port_be) {
		has_key = !bpf_map_get_next_key(ports_fd, &port_be, &next_port_be);
		for (i = 0; i < s->exclude_count; i++)
			if (s->exclude[i].is_port && s->exclude[i].port == __builtin_bswap16(port_be))
				break;
		if (i == s->exclude_count)
			(void)bpf_map_delete_elem(ports_fd, &port_be);
	}
	return 0;
}

static void free_names(char **names, size_t count)
{
	for (size_t i = 0; names && i < count; i++)
		free(names[i]);
	free(names);
}

static int copy_names(const struct capture_settings *s, char ***ret)
{
	char **names;

	*ret = NULL;
	if (!s->devices || !s->devices_count)
		return 0;
	names = calloc(s->devices_count, sizeof(*names));
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < s->devices_count; i++) {
		names[i] = strdup(s->devices[i]);
		if (!names[i]) {
			free_names(names, s->devices_count);
			return -ENOMEM;
		}
	}
	*ret = names;
	return 0;
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

/* Mode, learning, exclusions and the names of devices. */
static int apply_settings(struct capture *c, const struct capture_settings *s)
{
	struct edge_config before = c->config;
	char **names;
	int code = copy_names(s, &names);

	if (code)
		return code;
	c->config.mode = mode_of(s->mode);
	c->config.is_older_reset = s->is_older_reset;
	if (s->is_older_reset)
		c->config.learn_until_ns = 0;
	c->config.has_excludes = s->exclude_count > 0;
	code = write_excludes(c, s);
	if (!code)
		code = write_config(c);
	if (code) {
		c->config = before;
		free_names(names, s->devices_count);
		return code;
	}
	free_names(c->device_names, c->device_names_count);
	c->device_names = names;
	c->device_names_count = names ? s->devices_count : 0;
	return 0;
}

/* the view */

static int compare_keys(const struct net_key *a, const struct net_key *b)
{
	if (a->prefix_bits != b->prefix_bits)
		return a->prefix_bits < b->prefix_bits ? -1 : 1;
	return memcmp(a->addr, b->addr, sizeof(a->addr));
}

/* Of two that claim one address the node's own comes first. */
static int rank(uint8_t kind)
{
	return kind == NET_SELF ? 0 : kind == NET_NODE ? 1 : 2;
}

static int compare_entries(const void *a, const void *b)
{
	const struct net_entry *x = a, *y = b;
	int order = compare_keys(&x->key, &y->key);

	return order ? order : rank(x->value.kind) - rank(y->value.kind);
}

static int net_list_add(struct net_list *l, const struct prefix *p, struct net_value value)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct net_entry *moved = realloc(l->entries, cap * sizeof(*moved));

		if (!moved)
			return -ENOMEM;
		l->entries = moved;
		l->cap = cap;
	}
	l->entries[l->count++] = (struct net_entry){ .key = key_of_prefix(p), .value = value };
	return 0;
}

static void net_list_sort(struct net_list *l)
{
	size_t i, kept = 0;

	if (!l->count)
		return;
	qsort(l->entries, l->count, sizeof(*l->entries), compare_entries);
	for (i = 1; i < l->count; i++)
		if (compare_keys(&l->entries[kept].key, &l->entries[i].key))
			l->entries[++kept] = l->entries[i];
	l->count = kept + 1;
}

static struct prefix prefix_of_addr(const struct addr *a)
{
	return (struct prefix){ .addr = *a, .len_bits = 128 };
}

/* What peers make of an address that a device of ours has. */
static uint8_t self_flags(const struct view_answer *answer)
{
	if (!answer->owner)
		return NET_UNNAMED;
	return answer->kind == VIEW_POD ? NET_IN_POD_RANGE : 0;
}

struct listing {
	const struct capture *capture;
	const struct view *view;
	struct net_list *nets;
};

static int list_entry(void *ctx, const struct prefix *p, const struct view_entry *entry)
{
	const struct listing *l = ctx;
	const struct view_node *n = view_node_by_id(l->view, entry->node_id);
	struct net_value value = { .kind = NET_POD_SPACE };

	if (entry->kind != VIEW_POD_SPACE) {
		value.peer = pairs_place(l->capture->pairs, n);
		value.worker = (uint16_t)view_home_worker(n->name, l->capture->config.workers);
		value.flags = (entry->flags & VIEW_ENTRY_ENDING ? NET_ENDING : 0) |
		              (entry->flags & VIEW_ENTRY_OPTED_OUT ? NET_OPTED_OUT : 0);
		if (entry->kind == VIEW_POD)
			value.kind = n->is_self ? NET_OWN_POD : NET_POD;
		else
			value.kind = n->is_self ? NET_SELF : NET_NODE;
	}
	return net_list_add(l->nets, p, value);
}

/* The nets of a view, with the addresses that the node's devices have. */
static int list_nets(const struct capture *c, const struct view *v, const struct device_table *t, struct net_list *ret)
{
	struct listing listing = { .capture = c, .view = v, .nets = ret };
	struct prefix p;
	int code = view_walk(v, NULL, list_entry, &listing);
	size_t i;

	for (i = 0; i < t->addresses_count && !code; i++) {
		const struct device_address *a = &t->addresses[i];
		struct view_answer answer = view_lookup(v, &a->addr);

		if (a->is_link_local || a->ifindex == edge_netns_host_ifindex(c->netns))
			continue;
		/* An address that the cluster gives to another node does not become ours because somebody set it here. */
		if (answer.owner && !answer.owner->is_self)
			continue;
		p = prefix_of_addr(&a->addr);
		code = net_list_add(ret, &p, (struct net_value){ .kind = NET_SELF, .flags = self_flags(&answer) });
	}
	if (!code)
		net_list_sort(ret);
	return code;
}

/* Brings the map from c->nets to wanted, which takes its place. */
static int write_nets(struct capture *c, struct net_list *wanted)
{
	int fd = bpf_map__fd(c->edge->maps.nets);
	struct net_list *have = &c->nets;
	size_t i, k;
	int order;

	for (i = 0, k = 0; i < wanted->count; i++) {
		while (k < have->count && compare_keys(&have->entries[k].key, &wanted->entries[i].key) < 0)
			k++;
		if (k < have->count && !compare_keys(&have->entries[k].key, &wanted->entries[i].key) &&
		    !memcmp(&have->entries[k].value, &wanted->entries[i].value, sizeof(struct net_value)))
			continue;
		if (bpf_map_update_elem(fd, &wanted->entries[i].key, &wanted->entries[i].value, BPF_ANY))
			return -errno;
	}
	for (i = 0, k = 0; k < have->count; k++) {
		while (i < wanted->count && compare_keys(&wanted->entries[i].key, &have->entries[k].key) < 0)
			i++;
		order = i < wanted->count ? compare_keys(&wanted->entries[i].key, &have->entries[k].key) : 1;
		if (order)
			(void)bpf_map_delete_elem(fd, &have->entries[k].key);
	}
	free(have->entries);
	*have = *wanted;
	*wanted = (struct net_list){ 0 };
	return 0;
}

/* What an earlier daemon left in the map, so that the first view takes it out where it no longer holds. */
static int read_nets(struct capture *c)
{
	int fd = bpf_map__fd(c->edge->maps.nets);
	struct net_key key, *at = NULL;
	struct net_value value;
	int code = 0;

	while (!code && !bpf_map_get_next_key(fd, at, &key)) {
		struct prefix p = { .len_bits = (uint8_t)key.prefix_bits };

		memcpy(p.addr.bytes, key.addr, sizeof(key.addr));
		if (!bpf_map_lookup_elem(fd, &key, &value))
			code = net_list_add(&c->nets, &p, value);
		at = &key;
	}
	if (!code)
		net_list_sort(&c->nets);
	return code;
}

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

/* devices */

static bool is_named(const struct capture *c, const char *name)
{
	if (!c->device_names)
		return true;
	for (size_t i = 0; i < c->device_names_count; i++)
		if (!strcmp(c->device_names[i], name))
			return true;
	return false;
}

static struct edge_device *find_edge_device(const struct capture *c, uint32_t ifindex)
{
	for (size_t i = 0; i < c->devices_count; i++)
		if (c->devices[i].ifindex == ifindex)
			return &c->devices[i];
	return NULL;
}

static bool is_edge_wanted(void *ctx, uint32_t ifindex)
{
	const struct edge_device *d = find_edge_device(ctx, ifindex);

	return d && d->is_wanted;
}

static void write_roles(struct capture *c)
{
	int fd = bpf_map__fd(c->edge->maps.devices);
	struct device_value value;
	uint32_t ifindex, next;
	bool has_key;

	for (size_t i = 0; i < c->devices_count; i++) {
		const struct edge_device *d = &c->devices[i];

		value = (struct device_value){ 0 };
		if (d->ifindex == edge_netns_host_ifindex(c->netns))
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
		if (!find_edge_device(c, ifindex))
			(void)bpf_map_delete_elem(fd, &ifindex);
	}
}

static enum attach_place place_of(const struct capture *c, const struct edge_device *d, enum attach_direction direction,
                                  char detail[ATTACH_DETAIL_BYTES])
{
	return attach_find(d->ifindex, direction, c->method, program_id(program_fd(c, direction, d->arp_type != ARPHRD_ETHER)), detail);
}

static void attach_device(struct capture *c, struct edge_device *d)
{
	bool is_l3 = d->arp_type != ARPHRD_ETHER;
	char detail[ATTACH_DETAIL_BYTES] = "";
	int code = 0;

	/* Ingress first: while only that is there, more is refused and nothing more passes. */
	for (int direction = ATTACH_INGRESS; direction < ATTACH_DIRECTIONS; direction++) {
		if (d->is_attached[direction])
			continue;
		code = attach_program(c->pin_directory, d->ifindex, d->name, (enum attach_direction)direction, c->method,
		                      program_fd(c, (enum attach_direction)direction, is_l3), detail);
		if (code)
			break;
		d->is_attached[direction] = true;
	}
	if (!code) {
		d->failure[0] = '\0';
		log_info("device attached", L_TEXT("device", d->name), L_TEXT("how", c->method == ATTACH_TCX ? "tcx" : "clsact"),
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

static void detach_device(struct capture *c, struct edge_device *d)
{
	for (int direction = ATTACH_EGRESS; direction >= ATTACH_INGRESS; direction--) {
		attach_remove(c->pin_directory, d->ifindex, d->name, (enum attach_direction)direction);
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

/* Judges all devices anew by the view in force, and attaches or releases what changed. */
static int judge_devices(struct capture *c, const struct device_table *t)
{
	struct edge_device *devices = calloc(t->devices_count + 1, sizeof(*devices)), *old_devices = c->devices;
	size_t old_count = c->devices_count;
	char error[EDGE_ERROR_BYTES];
	uint32_t mtu = 0;

	if (!devices)
		return -ENOMEM;
	for (size_t i = 0; i < t->devices_count; i++) {
		const struct device_info *info = &t->devices[i];
		struct edge_device *d = &devices[i];
		const struct edge_device *before = find_edge_device(c, info->ifindex);

		/* A renamed device keeps its programs, but its pins have the old name: begun anew. */
		if (before && !strcmp(before->name, info->name) && before->arp_type == info->arp_type)
			*d = *before;
		d->ifindex = info->ifindex;
		d->arp_type = info->arp_type;
		memcpy(d->name, info->name, sizeof(d->name));
		d->judgement = device_judge(t, info, edge_netns_host_ifindex(c->netns), c->view);
		d->is_wanted = d->judgement.face == DEVICE_FACES_OUTSIDE && is_named(c, d->name) && !is_bond_port(t, info) &&
		               (!is_unfinished(info) || d->is_attached[ATTACH_INGRESS] || d->is_attached[ATTACH_EGRESS]);
		if (d->is_wanted && info->mtu > mtu && info->mtu <= 65535)
			mtu = info->mtu;
	}
	c->devices = devices;
	c->devices_count = t->devices_count;
	for (size_t i = 0; i < old_count; i++) {
		const struct edge_device *now = find_edge_device(c, old_devices[i].ifindex);

		if (!now)
			log_info("device gone", L_TEXT("device", old_devices[i].name));
		else if (strcmp(now->name, old_devices[i].name) && (old_devices[i].is_attached[0] || old_devices[i].is_attached[1]))
			detach_device(c, &old_devices[i]);
	}
	free(old_devices);

	write_roles(c);
	for (size_t i = 0; i < c->devices_count; i++) {
		struct edge_device *d = &c->devices[i];

		if (d->is_wanted && (!d->is_attached[ATTACH_INGRESS] || !d->is_attached[ATTACH_EGRESS]))
			attach_device(c, d);
		else if (!d->is_wanted && (d->is_attached[ATTACH_INGRESS] || d->is_attached[ATTACH_EGRESS]))
			detach_device(c, d);
	}
	attach_sweep(c->pin_directory, is_edge_wanted, c);
	if (edge_netns_raise_mtu(c->netns, mtu, error))
		log_error("the pair can not grow with the uplinks", L_U64("mtu", mtu), L_TEXT("reason", error));
	return 0;
}

/* Reads devices and addresses and writes what follows from them and v. */
static int apply_view(struct capture *c, struct view *v)
{
	struct net_list wanted = { 0 };
	struct device_table t = { 0 };
	struct view *before = c->view;
	int code = device_table_read(c->query, &t);

	if (!code)
		code = pairs_begin_view(c->pairs, before, v);
	if (!code)
		code = list_nets(c, v, &t, &wanted);
	if (!code)
		code = write_nets(c, &wanted);
	if (!code)
		code = write_enrolled(c, v);
	if (!code) {
		pairs_end_view(c->pairs);
		/* Attached only now: with the nets in the map. */
		c->view = v;
		code = judge_devices(c, &t);
		if (code)
			c->view = before;
	}
	free(wanted.entries);
	device_table_done(&t);
	return code;
}

static void refresh(struct capture *c)
{
	int code = c->view ? apply_view(c, c->view) : 0;

	if (code)
		log_error("devices not read", L_ERRNO(code));
}

/* Reads back where our programs stand, and puts back what somebody took off. */
static void check_places(struct capture *c)
{
	char detail[ATTACH_DETAIL_BYTES];

	for (size_t i = 0; i < c->devices_count; i++) {
		struct edge_device *d = &c->devices[i];
		enum attach_place worst = ATTACH_FIRST;

		for (int direction = 0; direction < ATTACH_DIRECTIONS; direction++) {
			enum attach_place place;

			if (!d->is_wanted || !d->is_attached[direction])
				continue;
			place = place_of(c, d, (enum attach_direction)direction, detail);
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
			attach_device(c, d);
		else if (d->is_wanted && worst == ATTACH_FIRST)
			d->failure[0] = '\0';
	}
}

static void on_places_timer(struct loop_timer *timer)
{
	struct capture *c = container_of(timer, struct capture, places_timer);

	check_places(c);
	(void)loop_timer_set(c->loop, timer, instant_add_ms(loop_now(c->loop), PLACES_INTERVAL_MS));
}

static void on_routes_timer(struct loop_timer *timer)
{
	refresh(container_of(timer, struct capture, routes_timer));
}

static void on_watch(struct loop_source *src, uint32_t events)
{
	struct capture *c = container_of(src, struct capture, watch_source);
	char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool is_urgent = false, has_routes = false;
	struct nlmsghdr *h;
	ssize_t got;
	int left;

	(void)events;
	for (;;) {
		got = recv(src->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			/* Too much at once: what was lost is read from the tables. */
			if (errno == ENOBUFS) {
				is_urgent = true;
				continue;
			}
			break;
		}
		left = (int)got;
		for (h = (struct nlmsghdr *)buffer; nlmsg_ok(h, left); h = nlmsg_next(h, &left)) {
			if (h->nlmsg_type == RTM_NEWROUTE || h->nlmsg_type == RTM_DELROUTE)
				has_routes = true;
			else
				is_urgent = true;
		}
	}
	if (is_urgent) {
		loop_timer_clear(c->loop, &c->routes_timer);
		refresh(c);
	} else if (has_routes && !c->routes_timer.heap_index) {
		if (loop_timer_set(c->loop, &c->routes_timer, instant_add_ms(loop_now(c->loop), ROUTES_DEBOUNCE_MS)))
			refresh(c);
	}
}

static int start_watch(struct capture *c)
{
	static const int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE };

	c->query = netlink_open();
	c->watch = netlink_open();
	if (!c->query || !c->watch)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (nl_socket_add_membership(c->watch, groups[i]))
			return -EIO;
	(void)nl_socket_set_buffer_size(c->watch, 1 << 20, 0);
	c->watch_source = (struct loop_source){ .fd = nl_socket_get_fd(c->watch), .on_event = on_watch };
	c->routes_timer = (struct loop_timer){ .on_expire = on_routes_timer };
	c->places_timer = (struct loop_timer){ .on_expire = on_places_timer };
	if (loop_timer_set(c->loop, &c->places_timer, instant_add_ms(loop_now(c->loop), PLACES_INTERVAL_MS)))
		return -ENOMEM;
	return loop_add(c->loop, &c->watch_source, EPOLLIN);
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
	c->ring = ring_buffer__new(bpf_map__fd(c->edge->maps.events), on_ring_event, c, NULL);
	if (!c->ring)
		return -errno;
	c->ring_source = (struct loop_source){ .fd = ring_buffer__epoll_fd(c->ring), .on_event = on_ring };
	return loop_add(c->loop, &c->ring_source, EPOLLIN);
}

/* public */

static int load(struct capture *c, const struct capture_settings *s, char error[EDGE_ERROR_BYTES])
{
	struct edge_bpf *probe = edge_bpf__open();
	struct edge_config pinned = { 0 };
	uint32_t zero = 0;
	bool is_reuse, has_any;
	int code;

	if (!probe)
		return fail(error, -errno, "the BPF object can not be opened: %s", strerror(errno));
	is_reuse = has_usable_maps(probe->obj, c->pin_directory);
	has_any = has_any_map(probe->obj, c->pin_directory);
	edge_bpf__destroy(probe);

	code = load_edge(c, is_reuse, error);
	if (code)
		return code;
	if (is_reuse)
		(void)bpf_map_lookup_elem(bpf_map__fd(c->edge->maps.settings), &zero, &pinned);
	else if ((code = pin_maps(c->edge->obj, c->pin_directory)))
		return fail(error, code, "maps can not be pinned in %s: %s", c->pin_directory, strerror(-code));

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
	if (is_reuse) {
		c->config.learn_until_ns = pinned.learn_until_ns;
		c->config.is_enrolled = pinned.is_enrolled;
	} else if (!has_any) {
		c->config.learn_until_ns = monotonic_ns() + EDGE_LEARN_NS;
	}

	code = pairs_create(bpf_map__fd(c->edge->maps.peers), bpf_map__fd(c->edge->maps.peer_names), !is_reuse, s->has_records, &c->pairs);
	if (code)
		return fail(error, code, "the BPF maps can not be read: %s", strerror(-code));
	code = load_steer(c, error);
	if (code)
		return code;
	code = apply_settings(c, s);
	if (!code)
		code = read_nets(c);
	return code ? fail(error, code, "the BPF maps can not be written: %s", strerror(-code)) : 0;
}

int capture_create(const struct capture_settings *s, struct edge_netns *n, struct loop *loop,
                   void (*on_want_tunnel)(void *ctx, uint32_t node_id), void *ctx, struct capture **ret, char error[EDGE_ERROR_BYTES])
{
	struct device_value ours = { .role = DEVICE_OURS };
	struct capture *c;
	uint32_t ifindex;
	int code;

	if (!s->workers || s->workers > EDGE_WORKERS_MAX)
		return fail(error, -EINVAL, "%u workers: 1 to %d would be right", s->workers, EDGE_WORKERS_MAX);
	(void)libbpf_set_print(print_library);
	code = make_pin_directory(s->pin_directory, error);
	if (code)
		return code;
	c = calloc(1, sizeof(*c));
	if (!c)
		return fail(error, -ENOMEM, "no memory");
	c->loop = loop;
	c->netns = n;
	c->on_want_tunnel = on_want_tunnel;
	c->ctx = ctx;
	c->watch_source.fd = c->ring_source.fd = -1;
	(void)snprintf(c->pin_directory, sizeof(c->pin_directory), "%s", s->pin_directory);
	c->method = !s->is_clsact_forced && !getenv("CULVERT_CLSACT") && attach_has_tcx() ? ATTACH_TCX : ATTACH_CLSACT;
	c->cpus = libbpf_num_possible_cpus();
	c->per_cpu = c->cpus > 0 ? calloc((size_t)c->cpus, sizeof(*c->per_cpu)) : NULL;
	if (!c->per_cpu) {
		code = fail(error, -ENOMEM, "no memory");
		goto undo;
	}
	code = load(c, s, error);
	if (code)
		goto undo;
	ifindex = edge_netns_host_ifindex(n);
	if (bpf_map_update_elem(bpf_map__fd(c->edge->maps.devices), &ifindex, &ours, BPF_ANY)) {
		code = fail(error, -errno, "the BPF maps can not be written: %s", strerror(errno));
		goto undo;
	}
	code = start_ring(c);
	if (!code)
		code = start_watch(c);
	if (code) {
		(void)fail(error, code, "devices can not be watched: %s", strerror(-code));
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
	loop_timer_clear(c->loop, &c->routes_timer);
	loop_timer_clear(c->loop, &c->places_timer);
	if (c->watch_source.fd >= 0)
		loop_remove(c->loop, &c->watch_source);
	if (c->ring_source.fd >= 0)
		loop_remove(c->loop, &c->ring_source);
	netlink_close(c->watch);
	netlink_close(c->query);
	ring_buffer__free(c->ring);
	if (c->steer_link)
		(void)bpf_link__destroy(c->steer_link);
	steer_bpf__destroy(c->steer);
	edge_bpf__destroy(c->edge);
	pairs_destroy(c->pairs);
	view_unref(c->view);
	free_names(c->device_names, c->device_names_count);
	free(c->nets.entries);
	free(c->devices);
	free(c->per_cpu);
	free(c);
}

int capture_remove(const char *pin_directory, char error[EDGE_ERROR_BYTES])
{
	char path[ATTACH_PATH_BYTES];
	struct dirent *entry;
	DIR *directory;

	(void)libbpf_set_print(print_library);
	attach_remove_all(pin_directory);
	directory = opendir(pin_directory);
	if (!directory)
		return errno == ENOENT ? 0 : fail(error, -errno, "%s: %s", pin_directory, strerror(errno));
	while ((entry = readdir(directory))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", pin_directory, entry->d_name) < (int)sizeof(path))
			(void)unlink(path);
	}
	(void)closedir(directory);
	if (rmdir(pin_directory))
		return fail(error, -errno, "%s: %s", pin_directory, strerror(errno));
	return 0;
}

int capture_set_listener(struct capture *c, uint32_t worker, int family, int fd)
{
	uint32_t key = worker * 2 + (family == AF_INET6);
	uint64_t value = (uint64_t)fd;

	if (worker >= c->config.workers)
		return -ERANGE;
	return bpf_map_update_elem(bpf_map__fd(c->edge->maps.listeners), &key, &value, BPF_ANY) ? -errno : 0;
}

int capture_set_view(struct capture *c, struct view *v)
{
	struct view *before = c->view;
	int code;

	if (!view_self(v))
		return -EINVAL;
	code = apply_view(c, v);
	if (code)
		return code;
	c->view = view_ref(v);
	view_unref(before);
	return 0;
}

int capture_set_peer_up(struct capture *c, const char *node, bool is_up)
{
	return pairs_set_up(c->pairs, node, is_up);
}

bool capture_is_peer_up(const struct capture *c, const char *node)
{
	return pairs_is_up(c->pairs, node);
}

enum pair_state capture_hear_peer(struct capture *c, const char *node, enum pair_state said)
{
	return pairs_hear(c->pairs, node, said);
}

int capture_apply(struct capture *c, const struct capture_settings *s, char error[EDGE_ERROR_BYTES])
{
	int code = apply_settings(c, s);

	if (code)
		return fail(error, code, "the BPF maps can not be written: %s", strerror(-code));
	refresh(c);
	return 0;
}

size_t capture_counters(const struct capture *c, struct capture_counter *ret, size_t max)
{
	int fd = bpf_map__fd(c->edge->maps.counters);
	size_t count = 0;

	for (int class = 0; class < CLASS_COUNT; class ++) {
		for (int direction = 0; direction < EDGE_DIRECTION_COUNT; direction++) {
			for (int verdict = 0; verdict < EDGE_VERDICT_COUNT; verdict++) {
				uint32_t index = (uint32_t)edge_counter_index(class, direction, verdict);
				struct capture_counter *x = &ret[count];

				if (verdict == EDGE_PASS ? !classes[class].on_pass[direction] : !classes[class].on_drop[direction])
					continue;
				if (count == max || bpf_map_lookup_elem(fd, &index, c->per_cpu))
					return count;
				*x = (struct capture_counter){
					.name = classes[class].name,
					.is_ingress = direction == EDGE_INGRESS,
					.is_clear = verdict == EDGE_PASS && classes[class].is_clear,
					.is_refused = verdict == EDGE_DROP,
				};
				for (int cpu = 0; cpu < c->cpus; cpu++) {
					x->packets += c->per_cpu[cpu].packets;
					x->bytes += c->per_cpu[cpu].bytes;
				}
				count++;
			}
		}
	}
	return count;
}

/* Are both our programs first on d? */
static bool is_device_first(const struct capture *c, const struct edge_device *d, char detail[ATTACH_DETAIL_BYTES])
{
	for (int direction = 0; direction < ATTACH_DIRECTIONS; direction++)
		if (place_of(c, d, (enum attach_direction)direction, detail) != ATTACH_FIRST)
			return false;
	return true;
}

size_t capture_devices(const struct capture *c, struct capture_device *ret, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < c->devices_count && count < max; i++) {
		const struct edge_device *d = &c->devices[i];
		struct capture_device *x = &ret[count++];

		*x = (struct capture_device){ .ifindex = d->ifindex, .how = "" };
		memcpy(x->name, d->name, sizeof(x->name));
		x->is_attached = d->is_attached[ATTACH_INGRESS] && d->is_attached[ATTACH_EGRESS];
		if (x->is_attached) {
			x->how = c->method == ATTACH_TCX ? "tcx" : "clsact";
			(void)snprintf(x->detail, sizeof(x->detail), "%s", d->judgement.why);
			x->is_first = is_device_first(c, d, x->detail);
		} else if (d->is_wanted) {
			(void)snprintf(x->detail, sizeof(x->detail), "%s", d->failure);
		} else if (d->judgement.face == DEVICE_FACES_OUTSIDE) {
			(void)snprintf(x->detail, sizeof(x->detail), "%s",
			               is_named(c, d->name) ? "not up yet, or a port of a bond" : "not named by capture.devices");
		} else {
			(void)snprintf(x->detail, sizeof(x->detail), "%s", d->judgement.why);
		}
	}
	return count;
}

bool capture_is_healthy(const struct capture *c, char error[EDGE_ERROR_BYTES])
{
	char detail[ATTACH_DETAIL_BYTES];
	size_t i, k;

	if (!c->view) {
		(void)fail(error, 0, "nothing is attached yet: no view of the cluster");
		return false;
	}
	for (i = 0; i < c->devices_count; i++) {
		const struct edge_device *d = &c->devices[i];

		if (!d->is_wanted)
			continue;
		if (!d->is_attached[ATTACH_INGRESS] || !d->is_attached[ATTACH_EGRESS]) {
			(void)fail(error, 0, "%s: our programs are not on it: %s", d->name, d->failure);
			return false;
		}
		if (!is_device_first(c, d, detail)) {
			(void)fail(error, 0, "%s: %s", d->name, detail);
			return false;
		}
	}
	for (k = 0; k < c->device_names_count; k++) {
		for (i = 0; i < c->devices_count && strcmp(c->devices[i].name, c->device_names[k]); i++)
			;
		if (i == c->devices_count) {
			(void)fail(error, 0, "%s: capture.devices names it, but there is no such device", c->device_names[k]);
			return false;
		}
	}
	return true;
}
