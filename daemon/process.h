/* SPDX-License-Identifier: GPL-3.0-or-later */
/* process.h - what the kernel says of the daemon's own process. Plain function; any thread. */
#ifndef CULVERT_PROCESS_H
#define CULVERT_PROCESS_H

#include "status/snapshot.h"

/* What can not be read is 0. */
void process_fill(struct snapshot_process *ret);

#endif
