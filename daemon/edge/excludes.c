/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/excludes.h"

#include "edge/keyset.h"
#include "edge/nets.h"

#include "shared.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static_assert(sizeof(struct net_key) <= KEYSET_KEY_BYTES_MAX, "a prefix is a key");

int excludes_write(int nets_fd, int ports_fd, const struct capture_exclude *wanted, size_t count)
{
	struct net_key *nets = calloc(count + 1, sizeof(*nets));
	uint16_t *ports_be = calloc(count + 1, sizeof(*ports_be));
	size_t nets_count = 0, ports_count = 0;
	int code = -ENOMEM;

	for (size_t i = 0; nets && ports_be && i < count; i++) {
		if (wanted[i].is_port)
			ports_be[ports_count++] = __builtin_bswap16(wanted[i].port);
		else
			nets[nets_count++] = nets_key(&wanted[i].prefix);
	}
	if (nets && ports_be) {
		code = keyset_write(nets_fd, nets, sizeof(*nets), nets_count);
		if (!code)
			code = keyset_write(ports_fd, ports_be, sizeof(*ports_be), ports_count);
	}
	free(nets);
	free(ports_be);
	return code;
}
