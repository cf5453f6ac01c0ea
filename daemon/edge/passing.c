/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/passing.h"

#include "base/clock.h"

#include "shared.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

static struct flow_key key_of(const struct syn *s)
{
	struct flow_key key = { .local_port_be = htons(s->client.port), .remote_port_be = htons(s->server.port) };

	memcpy(key.local, s->client.addr.bytes, sizeof(key.local));
	memcpy(key.remote, s->server.addr.bytes, sizeof(key.remote));
	return key;
}

int passing_put(const struct passing *p, const struct syn *s)
{
	struct flow_value value = { .edge_class = CLASS_PERMISSIVE, .syn_seq_be = htonl(s->seq) };
	struct flow_key key = key_of(s);
	struct edge_config config;
	struct timespec now;
	uint32_t zero = 0;

	/* The SYN may have waited through a change of the mode. */
	if (bpf_map_lookup_elem(p->settings_fd, &zero, &config))
		return -errno;
	if (config.mode != EDGE_PERMISSIVE)
		return -EPERM;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	value.since_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	/* In this order: one that comes between the two goes to the ring, and is found by passing_has. The other way round it would be taken for a
	 * new connection. */
	if (bpf_map_update_elem(p->passed_fd, &key, &value, BPF_ANY))
		return -errno;
	if (bpf_map_delete_elem(p->flows_fd, &key) && errno != ENOENT)
		return -errno;
	return 0;
}

bool passing_has(const struct passing *p, const struct syn *s)
{
	struct flow_key key = key_of(s);
	struct flow_value value;

	return s->seq && !bpf_map_lookup_elem(p->passed_fd, &key, &value) && value.edge_class == CLASS_PERMISSIVE &&
	       value.syn_seq_be == htonl(s->seq);
}
