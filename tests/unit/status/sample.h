/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sample.h - a snapshot of a small healthy node, for the tests of status. */
#ifndef CULVERT_TESTS_STATUS_SAMPLE_H
#define CULVERT_TESTS_STATUS_SAMPLE_H

#include "status/snapshot.h"

enum { SAMPLE_NOW_S = 1800000000, SAMPLE_DAY_S = 86400 };

/* Everything in it may be changed; it points into itself and stays where it is. */
struct sample {
	struct snapshot snapshot;
	struct snapshot_event events[2], tunnels[2], stream_states[2];
	struct snapshot_reload reloads[3];
	struct snapshot_device devices[2];
	struct snapshot_counter counters[4];
	struct snapshot_peer peers[2];
	struct snapshot_stream streams[3];
	struct snapshot_ended ended[3];
};

void sample_init(struct sample *s);

#endif
