/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/keyset.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_wanted(const uint8_t *key, const uint8_t *wanted, size_t key_bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!memcmp(wanted + i * key_bytes, key, key_bytes))
			return true;
	}
	return false;
}

/* Takes out one that is not wanted. 0; -ENOENT: there is none; -errno. */
static int remove_unwanted(int fd, const uint8_t *wanted, size_t key_bytes, size_t count)
{
	uint8_t key[KEYSET_KEY_BYTES_MAX], next[KEYSET_KEY_BYTES_MAX];
	bool has_key = !bpf_map_get_next_key(fd, NULL, key);

	while (has_key) {
		if (!is_wanted(key, wanted, key_bytes, count))
			return bpf_map_delete_elem(fd, key) ? -errno : 0;
		has_key = !bpf_map_get_next_key(fd, key, next);
		memcpy(key, next, key_bytes);
	}
	return -ENOENT;
}

int keyset_write(int fd, const void *wanted, size_t key_bytes, size_t count)
{
	const uint32_t one = 1;
	const uint8_t *keys = wanted;
	int code;

	assert(key_bytes <= KEYSET_KEY_BYTES_MAX);
	for (size_t i = 0; i < count; i++) {
		while (bpf_map_update_elem(fd, keys + i * key_bytes, &one, BPF_ANY)) {
			/* A hash and a trie that are full. */
			code = -errno;
			if ((code != -E2BIG && code != -ENOSPC) || remove_unwanted(fd, keys, key_bytes, count))
				return code;
		}
	}
	do {
		code = remove_unwanted(fd, keys, key_bytes, count);
	} while (!code);
	return code == -ENOENT ? 0 : code;
}
