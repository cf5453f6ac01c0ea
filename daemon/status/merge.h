/* SPDX-License-Identifier: GPL-3.0-or-later */
/* merge.h - what several workers know of one peer, in one line. Thread: any. */
#ifndef CULVERT_STATUS_MERGE_H
#define CULVERT_STATUS_MERGE_H

#include "status/snapshot.h"

/* Adds what that worker knows. into: to begin with only what the view says, with the state "none". Counts are summed; of the rest the worker with the best
 * tunnel is believed, and of settings the one that the peer has told last: others may have had no tunnel since. */
void merge_peer(struct snapshot_peer *into, const struct snapshot_peer *from, uint32_t worker);

#endif
