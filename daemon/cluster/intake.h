/* SPDX-License-Identifier: GPL-3.0-or-later */
/* intake.h - what one object of a cluster says goes into its members, and what that may change is marked to be settled.
 * Nothing that an object says again is marked, so that a status that moves costs a lookup. mark is that of the list that the object stands in
 * (cluster/registry). Functions that take return 0 or -ENOMEM, and then nothing was taken. Thread: main. */
#ifndef CULVERT_CLUSTER_INTAKE_H
#define CULVERT_CLUSTER_INTAKE_H

#include "cluster/judged.h"

int intake_node(struct settlement *s, const struct object *o, struct judged *j, uint16_t mark);
/* The API has it no more: n is known. */
void intake_node_gone(struct settlement *s, struct node *n);

int intake_record(struct settlement *s, const struct object *o, struct judged *j, uint16_t mark);
void intake_record_gone(struct settlement *s, struct node *n);

int intake_space(struct settlement *s, const struct object *o, uint16_t mark);
void intake_space_gone(struct settlement *s, struct space *space);

/* A pod that is over, or has neither a node nor an address, is taken out. */
int intake_pod(struct settlement *s, const struct object *o, struct judged *j, uint16_t mark);
void intake_pod_gone(struct settlement *s, struct pod *p);

/* All pods of a namespace are settled anew; of all where it is NULL. */
void intake_mark_pods(struct settlement *s, const struct space *space);

#endif
