/* SPDX-License-Identifier: GPL-3.0-or-later */
/* roster.h - the nodes of a view, by name and by id: a counted set that all views share while no node changes.
 * Knows nothing of pods' addresses. An id belongs to one name for as long as any roster of the same chain has it, also an older one that
 * some thread still reads: the kernel's maps and the workers know nodes by their ids alone.
 * Thread: a roster that is being changed belongs to one; a finished one may be read and dropped by any that has a reference. The lock
 * inside is for births and deaths of nodes, and no reader ever takes it. */
#ifndef CULVERT_CLUSTER_ROSTER_H
#define CULVERT_CLUSTER_ROSTER_H

#include "cluster/view.h"

struct roster;

/* A copy of before that can be changed, or an empty one of a new chain where that is NULL. 0 or -ENOMEM. */
int roster_create(const struct roster *before, const char *self_name, struct roster **ret);
struct roster *roster_ref(struct roster *r);
void roster_unref(struct roster *r); /* NULL is welcome */

/* Adds n or puts it in the place of the one with its name, by copies; its id and is_self are not read. 1, or 0 where it was there just so;
 * -ENOSPC: there are VIEW_NODES_MAX, or no id is free; -ENOMEM. On an error r is as it was. */
int roster_put(struct roster *r, const struct view_node *n);
void roster_remove(struct roster *r, const char *name); /* which may not be there */
/* Is n, but for its id and is_self, what r has under its name? */
bool roster_holds(const struct roster *r, const struct view_node *n);

size_t roster_count(const struct roster *r);
const struct view_node *roster_self(const struct roster *r);             /* NULL: none */
const struct view_node *roster_at(const struct roster *r, size_t index); /* by name order */
const struct view_node *roster_by_name(const struct roster *r, const char *name);
const struct view_node *roster_by_id(const struct roster *r, uint32_t id);

/* Are the nodes of both the very same, or alike in everything? */
bool roster_equal(const struct roster *a, const struct roster *b);

#endif
