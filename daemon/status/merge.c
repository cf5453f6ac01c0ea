/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "status/merge.h"

#include <string.h>

/* How much a state says. */
static size_t rank_of(const char *state)
{
	static const char *const states[] = { "none", "connecting", "draining", "suspect", "up" };
	size_t rank = sizeof(states) / sizeof(states[0]);

	while (--rank && strcmp(states[rank], state) != 0)
		;
	return rank;
}

static bool is_better(const struct snapshot_peer *from, const struct snapshot_peer *into)
{
	size_t ours = rank_of(into->state), theirs = rank_of(from->state);

	return theirs > ours || (!theirs && !ours && from->last_error_s >= into->last_error_s);
}

void merge_peer(struct snapshot_peer *into, const struct snapshot_peer *from, uint32_t worker)
{
	const struct snapshot_peer *said = from->settings_said_ns > into->settings_said_ns ? from : into;
	struct snapshot_peer sum = *into;

	if (is_better(from, into)) {
		sum = *from;
		memcpy(sum.name, into->name, sizeof(sum.name));
		sum.addresses_count = into->addresses_count;
		sum.pair = into->pair;
		sum.is_enrolled = into->is_enrolled;
		memcpy(sum.addresses, into->addresses, sizeof(sum.addresses));
	}
	sum.tunnels = into->tunnels + from->tunnels;
	sum.tunnel_workers = into->tunnel_workers | (uint64_t)(from->tunnels > 0) << worker;
	sum.streams_open = into->streams_open + from->streams_open;
	sum.streams_waiting = into->streams_waiting + from->streams_waiting;
	sum.streams_total = into->streams_total + from->streams_total;
	sum.sent_bytes = into->sent_bytes + from->sent_bytes;
	sum.received_bytes = into->received_bytes + from->received_bytes;
	sum.settings_said_ns = said->settings_said_ns;
	sum.has_other_settings = said->has_other_settings;
	*into = sum;
}
