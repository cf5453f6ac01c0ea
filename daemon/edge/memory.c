/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/memory.h"

#include "edge/pins.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct memory {
	int nets_fd, names_fd;
	struct peer_name name; /* that was given out last */
	char *self;
};

int memory_open(const char *pin_directory, const char *self, struct memory **ret)
{
	struct memory *m;

	if (!pins_is_version_known(pin_directory))
		return -ENOENT;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->self = strdup(self);
	m->nets_fd = pins_open(pin_directory, "nets", sizeof(struct net_key), sizeof(struct net_value));
	m->names_fd = pins_open(pin_directory, "peer_names", sizeof(uint32_t), sizeof(struct peer_name));
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
