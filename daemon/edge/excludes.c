/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/excludes.h"

#include "edge/nets.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

int excludes_write(int nets_fd, int ports_fd, const struct capture_exclude *wanted, size_t count)
{
	const uint32_t one = 1;
	struct net_key key, next;
	uint16_t port_be, next_port_be;
	bool has_key;
	size_t i;

	for (i = 0; i < count; i++) {
		const struct capture_exclude *x = &wanted[i];

		port_be = (uint16_t)__builtin_bswap16(x->port);
		key = nets_key(&x->prefix);
		if (x->is_port ? bpf_map_update_elem(ports_fd, &port_be, &one, BPF_ANY) : bpf_map_update_elem(nets_fd, &key, &one, BPF_ANY))
			return -errno;
	}
	for (has_key = !bpf_map_get_next_key(nets_fd, NULL, &key); has_key; key = next) {
		has_key = !bpf_map_get_next_key(nets_fd, &key, &next);
		for (i = 0; i < count; i++) {
			struct net_key excluded = nets_key(&wanted[i].prefix);

			if (!wanted[i].is_port && !memcmp(&excluded, &key, sizeof(key)))
				break;
		}
		if (i == count)
			(void)bpf_map_delete_elem(nets_fd, &key);
	}
	for (has_key = !bpf_map_get_next_key(ports_fd, NULL, &port_be); has_key; port_be = next_port_be) {
		has_key = !bpf_map_get_next_key(ports_fd, &port_be, &next_port_be);
		for (i = 0; i < count; i++)
			if (wanted[i].is_port && wanted[i].port == __builtin_bswap16(port_be))
				break;
		if (i == count)
			(void)bpf_map_delete_elem(ports_fd, &port_be);
	}
	return 0;
}
