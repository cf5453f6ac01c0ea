/* SPDX-License-Identifier: GPL-3.0-or-later */
/* flow.h - a connection of a pod of this node, as the kernel's maps of flows know it. */
#ifndef CULVERT_EDGE_FLOW_H
#define CULVERT_EDGE_FLOW_H

#include "base/addr.h"

#include "shared.h"

#include <arpa/inet.h>
#include <string.h>

static inline struct flow_key flow_key_of(const struct endpoint *local, const struct endpoint *remote)
{
	struct flow_key key = { .local_port_be = htons(local->port), .remote_port_be = htons(remote->port) };

	memcpy(key.local, local->addr.bytes, sizeof(key.local));
	memcpy(key.remote, remote->addr.bytes, sizeof(key.remote));
	return key;
}

#endif
