/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/memory.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 320 };

struct memory {
	int nets_fd, names_fd;
	struct peer_name name; /* that was given out last */
	char *self;
};

/* Opens the map of that name where it has the layout that we know; else -1. */
static int open_map(const char *pin_directory, const char *name, size_t key_bytes, size_t value_bytes)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	char path[PATH_BYTES];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", pin_directory, name) >= (int)sizeof(path))
		return -1;
	fd = bpf_obj_get(path);
	if (fd >= 0 && (bpf_obj_get_info_by_fd(fd, &info, &size) || info.key_size != key_bytes || info.value_size != value_bytes)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool is_version_known(const char *pin_directory)
{
	int fd = open_map(pin_directory, "settings", sizeof(uint32_t), sizeof(struct edge_config));
	struct edge_config config;
	uint32_t zero = 0;
	bool is_known;

	if (fd < 0)
		return false;
	is_known = !bpf_map_lookup_elem(fd, &zero, &config) && config.version == CULVERT_SHARED_VERSION;
	(void)close(fd);
	return is_known;
}

int memory_open(const char *pin_directory, const char *self, struct memory **ret)
{
	struct memory *m;

	if (!is_version_known(pin_directory))
		return -ENOENT;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->self = strdup(self);
	m->nets_fd = open_map(pin_directory, "nets", sizeof(struct net_key), sizeof(struct net_value));
	m->names_fd = open_map(pin_directory, "peer_names", sizeof(uint32_t), sizeof(struct peer_name));
	if (!m->self || m->nets_fd < 0 || m->names_fd < 0) {
		int code = m->self ? -ENOENT : -ENOMEM;

		memory_close(m);
		return code;
	}
	*ret = m;
	return 0;
}

void memory_close(struct memory *m)
{
	if (!m)
		return;
	if (m->nets_fd >= 0)
		(void)close(m->nets_fd);
	if (m->names_fd >= 0)
		(void)close(m->names_fd);
	free(m->self);
	free(m);
}

const char *memory_owner(struct memory *m, const struct addr *a, bool *ret_is_own)
{
	struct net_key key = { .prefix_bits = 128 };
	struct net_value value;

	memcpy(key.addr, a->bytes, sizeof(key.addr));
	if (bpf_map_lookup_elem(m->nets_fd, &key, &value))
		return NULL;
	switch (value.kind) {
	case NET_OWN_POD:
	case NET_SELF:
		*ret_is_own = value.kind == NET_SELF;
		return m->self;
	case NET_POD:
	case NET_NODE:
		if (value.flags & NET_ENDING || bpf_map_lookup_elem(m->names_fd, &value.peer, &m->name))
			return NULL;
		m->name.text[sizeof(m->name.text) - 1] = '\0';
		*ret_is_own = value.kind == NET_NODE;
		return m->name.text;
	default:
		return NULL;
	}
}
