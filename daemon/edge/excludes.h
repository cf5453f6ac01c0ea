/* SPDX-License-Identifier: GPL-3.0-or-later */
/* excludes.h - what capture.exclude names, in the kernel's maps. Thread: main. */
#ifndef CULVERT_EDGE_EXCLUDES_H
#define CULVERT_EDGE_EXCLUDES_H

#include "edge/capture.h"

/* Brings both maps to what is wanted: that goes in first, what is not wanted any more out afterwards. 0 or -errno. */
int excludes_write(int nets_fd, int ports_fd, const struct capture_exclude *wanted, size_t count);

#endif
