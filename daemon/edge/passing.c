/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/passing.h"

#include "base/clock.h"
#include "edge/flow.h"

#include <bpf/bpf.h>
#include <errno.h>

int passing_put(const struct passing *p, const struct syn *s)
{
	struct flow_value value = { .edge_class = CLASS_PERMISSIVE, .syn_seq_be = htonl(s->seq) };
	struct flow_key key = flow_key_of(&s->client, &s->server);
	struct edge_config config;
	uint32_t zero = 0;

	/* The SYN may have waited through a change of the mode. */
	if (bpf_map_lookup_elem(p->settings_fd, &zero, &config))
		return -errno;
	if (config.mode != EDGE_PERMISSIVE)
		return -EPERM;
	value.since_ns = clock_monotonic_ns();
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
	struct flow_key key = flow_key_of(&s->client, &s->server);
	struct flow_value value;

	return s->seq && !bpf_map_lookup_elem(p->passed_fd, &key, &value) && value.edge_class == CLASS_PERMISSIVE &&
	       value.syn_seq_be == htonl(s->seq);
}
