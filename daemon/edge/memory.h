/* SPDX-License-Identifier: GPL-3.0-or-later */
/* memory.h - what an earlier daemon knew of who is where: it is in the kernel's maps until the next view is written. Thread: main. */
#ifndef CULVERT_EDGE_MEMORY_H
#define CULVERT_EDGE_MEMORY_H

#include "base/addr.h"

#include <stdbool.h>

struct memory;

/* self: the name of this node. 0; -ENOENT: nothing is there, or of another layout; -ENOMEM. */
int memory_open(const char *pin_directory, const char *self, struct memory **ret);
void memory_close(struct memory *m); /* NULL is welcome */
/* The node that had the address, *ret_is_own: itself, else by a pod. Lives until the next call. NULL: nothing is known of it, or its pod had
 * ended. */
const char *memory_owner(struct memory *m, const struct addr *a, bool *ret_is_own);

#endif
