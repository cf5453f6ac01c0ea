/* SPDX-License-Identifier: GPL-3.0-or-later */
/* counters.h - what the kernel counted, by class, direction and verdict. Thread: main. */
#ifndef CULVERT_EDGE_COUNTERS_H
#define CULVERT_EDGE_COUNTERS_H

#include "edge/capture.h"

struct counters;

/* fd is borrowed. 0 or -ENOMEM. */
int counters_create(int fd, struct counters **ret);
void counters_destroy(struct counters *c); /* NULL is welcome */
/* As capture_counters. */
size_t counters_read(const struct counters *c, struct capture_counter *ret, size_t max);

#endif
