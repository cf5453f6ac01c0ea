/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/api_servers.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static struct api_server_key key_of(const struct endpoint *e)
{
	struct api_server_key key = { .port_be = __builtin_bswap16(e->port) };

	memcpy(key.addr, e->addr.bytes, sizeof(key.addr));
	return key;
}

static bool is_wanted(const struct api_server_key *key, const struct endpoint *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct api_server_key good = key_of(&wanted[i]);

		if (!memcmp(&good, key, sizeof(good)))
			return true;
	}
	return false;
}

/* One that is not wanted; false: there is none. */
static bool find_unwanted(int fd, const struct endpoint *wanted, size_t count, struct api_server_key *ret)
{
	struct api_server_key key, next;
	bool has_key = !bpf_map_get_next_key(fd, NULL, &key);

	while (has_key) {
		if (!is_wanted(&key, wanted, count)) {
			*ret = key;
			return true;
		}
		has_key = !bpf_map_get_next_key(fd, &key, &next);
		key = next;
	}
	return false;
}

int api_servers_write(int fd, const struct endpoint *wanted, size_t count)
{
	const uint32_t one = 1;
	struct api_server_key key;

	for (size_t i = 0; i < count; i++) {
		key = key_of(&wanted[i]);
		if (!bpf_map_update_elem(fd, &key, &one, BPF_ANY))
			continue;
		/* A list that is another altogether may not fit beside the old one. */
		if (errno != E2BIG || !find_unwanted(fd, wanted, count, &key) || bpf_map_delete_elem(fd, &key))
			return -errno;
		i--;
	}
	while (find_unwanted(fd, wanted, count, &key)) {
		if (bpf_map_delete_elem(fd, &key))
			return -errno;
	}
	return 0;
}
