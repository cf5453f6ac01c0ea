/* SPDX-License-Identifier: GPL-3.0-or-later */
/* version.h - what a view is made of; for view.c, edit.c and whole.c alone. */
#ifndef CULVERT_CLUSTER_VERSION_H
#define CULVERT_CLUSTER_VERSION_H

#include "base/trie.h"
#include "cluster/roster.h"
#include "cluster/view.h"

#include <assert.h>
#include <stdatomic.h>

struct view {
	_Atomic unsigned references;
	struct trie *entries; /* values: version_pack */
	struct roster *roster;
	size_t counts[VIEW_KINDS]; /* entries by kind */
};

/* A view of these parts, whose references it takes over also where it fails. 0 or -ENOMEM. */
int version_create(struct trie *entries, struct roster *roster, const size_t counts[VIEW_KINDS], struct view **ret);

/* What the trie holds of an entry: kind, flags and node in 2, 5 and 16 bits. 0 is no entry, since nobody stores VIEW_OUTSIDE. */
enum { VERSION_FLAGS_SHIFT = 2, VERSION_NODE_SHIFT = 7 };
static_assert(VIEW_KINDS <= 1 << VERSION_FLAGS_SHIFT, "kinds of entries need more bits");
static_assert(VIEW_ENTRY_FLAGS_MAX < 1 << (VERSION_NODE_SHIFT - VERSION_FLAGS_SHIFT), "flags of entries need more bits");
static_assert(VIEW_IDS_MAX <= 1 << (TRIE_VALUE_BITS - VERSION_NODE_SHIFT), "ids of nodes need more bits");

static inline uint32_t version_pack(const struct view_entry *e)
{
	return e->node_id << VERSION_NODE_SHIFT | (uint32_t)e->flags << VERSION_FLAGS_SHIFT | (uint32_t)e->kind;
}

static inline enum view_kind version_kind(uint32_t value)
{
	return (enum view_kind)(value & ((1U << VERSION_FLAGS_SHIFT) - 1));
}

static inline struct view_entry version_unpack(uint32_t value)
{
	return (struct view_entry){
		.kind = version_kind(value),
		.flags = (uint8_t)(value >> VERSION_FLAGS_SHIFT & VIEW_ENTRY_FLAGS_MAX),
		.node_id = value >> VERSION_NODE_SHIFT,
	};
}

#endif
