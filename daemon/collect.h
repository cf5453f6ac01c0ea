/* SPDX-License-Identifier: GPL-3.0-or-later */
/* collect.h - what one worker finds when it is asked for its tunnels and streams.
 * Thread: the worker's; the part is handed over to main afterwards. */
#ifndef CULVERT_COLLECT_H
#define CULVERT_COLLECT_H

#include "status/server.h"
#include "tunnel/pool.h"

struct collect_part {
	struct snapshot_peer *peers;
	size_t peers_count;
	struct snapshot_stream *streams; /* at most the query's limit */
	size_t streams_count;
	struct snapshot_ended *ended; /* all that are kept, by reason */
	size_t ended_count;
	uint64_t streams_matching, streams_open, buffered_bytes;
	uint64_t tunnels[TUNNEL_STATE_COUNT], stream_states[STREAM_STATE_COUNT];
	struct pool_counters counters;
	uint64_t busy_us;
	bool is_full;
	bool is_out_of_memory;
};

/* Fills a zeroed part with what q asks for. */
void collect_in_worker(struct pool *pool, struct collect_part *part, const struct status_query *q);
void collect_part_done(struct collect_part *part); /* frees what it holds */

#endif
