/* SPDX-License-Identifier: GPL-3.0-or-later */
/* judged.h - one object of a cluster while it is judged: what can be taken of its fields, and one clear line for each that can not.
 * Judging an object ends what was refused of it before. Thread: main. */
#ifndef CULVERT_CLUSTER_JUDGED_H
#define CULVERT_CLUSTER_JUDGED_H

#include "cluster/object.h"
#include "cluster/settle.h"

enum { JUDGED_RANGES_MAX = 8 }; /* of a node: one a family; some clouds give several */

struct judged {
	struct settlement *settlement;
	uint64_t key;
	char object[REFUSAL_OBJECT_BYTES]; /* "pod shop/cart-0" */
};

/* judged_end must follow, and no other object be judged before it. */
struct judged judged_begin(struct settlement *s, enum object_kind kind, const struct object_meta *m);
void judged_end(struct judged *j);

#define judged_refuse(j, ...) settle_refuse((j)->settlement, (j)->key, (j)->object, __VA_ARGS__)

/* Refuses what could not be read of o. */
void judged_faults(struct judged *j, const struct object *o);
/* The addresses among from that another node could reach, each once, at most max of them. Returns how many; the others are refused. */
size_t judged_addresses(struct judged *j, const char *field, const struct addr *from, size_t from_count, struct addr *ret, size_t max);
/* The ranges among from that can be one node's pods'. Returns how many, at most JUDGED_RANGES_MAX; the others are refused. */
size_t judged_ranges(struct judged *j, const struct prefix *from, size_t from_count, struct prefix *ret);
/* Can it be a node's? Else it is refused; what names the field. */
bool judged_is_node_name(struct judged *j, const char *what, const char *name);

#endif
