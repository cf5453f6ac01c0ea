/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/view.h"

#include "base/hash.h"
#include "cluster/version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int version_create(struct trie *entries, struct roster *roster, const size_t counts[VIEW_KINDS], struct view **ret)
{
	struct view *v = calloc(1, sizeof(*v));

	if (!v) {
		trie_unref(entries);
		roster_unref(roster);
		return -ENOMEM;
	}
	atomic_init(&v->references, 1);
	v->entries = entries;
	v->roster = roster;
	memcpy(v->counts, counts, sizeof(v->counts));
	*ret = v;
	return 0;
}

struct view *view_ref(struct view *v)
{
	(void)atomic_fetch_add_explicit(&v->references, 1, memory_order_relaxed);
	return v;
}

void view_unref(struct view *v)
{
	/* Release: what this thread read of v is read before another frees it; acquire: the other sees that. */
	if (!v || atomic_fetch_sub_explicit(&v->references, 1, memory_order_acq_rel) != 1)
		return;
	trie_unref(v->entries);
	roster_unref(v->roster);
	free(v);
}

const char *view_forbidden(const struct prefix *p)
{
	static const struct {
		struct prefix prefix;
		const char *what;
	} forbidden[] = {
		{ { .addr.bytes = { [10] = 0xff, [11] = 0xff }, .len_bits = 96 + 8 }, "\"this network\" (RFC 1122)" },
		{ { .addr.bytes = { [10] = 0xff, [11] = 0xff, [12] = 224 }, .len_bits = 96 + 3 }, "multicast or reserved addresses" },
		{ { .len_bits = 128 }, "the unspecified address" },
		{ { .addr.bytes = { 0xfe, 0x80 }, .len_bits = 10 }, "link-local addresses" },
		{ { .addr.bytes = { 0xff }, .len_bits = 8 }, "multicast addresses" },
	};

	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		if (prefix_overlaps(&forbidden[i].prefix, p))
			return forbidden[i].what;
	return NULL;
}

const struct view_node *view_self(const struct view *v)
{
	return roster_self(v->roster);
}

size_t view_nodes_count(const struct view *v)
{
	return roster_count(v->roster);
}

const struct view_node *view_node_at(const struct view *v, size_t index)
{
	return roster_at(v->roster, index);
}

const struct view_node *view_node_by_name(const struct view *v, const char *name)
{
	return roster_by_name(v->roster, name);
}

const struct view_node *view_node_by_id(const struct view *v, uint32_t id)
{
	return roster_by_id(v->roster, id);
}

const struct view_node *view_node_by_address(const struct view *v, const struct addr *a)
{
	struct view_answer answer = view_lookup(v, a);

	return answer.kind == VIEW_NODE ? answer.owner : NULL;
}

size_t view_entries_count(const struct view *v, enum view_kind kind)
{
	return v->counts[kind];
}

bool view_get(const struct view *v, const struct prefix *p, struct view_entry *ret)
{
	uint32_t value = trie_get(v->entries, p);

	if (value)
		*ret = version_unpack(value);
	return value != 0;
}

bool view_find(const struct view *v, const struct addr *a, unsigned max_len_bits, struct prefix *ret_prefix, struct view_entry *ret)
{
	uint32_t value = trie_find(v->entries, a, max_len_bits, ret_prefix);

	if (value)
		*ret = version_unpack(value);
	return value != 0;
}

struct walking {
	int (*each)(void *ctx, const struct prefix *p, const struct view_entry *entry);
	void *ctx;
};

static int walk_entry(void *ctx, const struct prefix *p, uint32_t value)
{
	const struct walking *w = ctx;
	struct view_entry entry = version_unpack(value);

	return w->each(w->ctx, p, &entry);
}

int view_walk(const struct view *v, const struct prefix *within,
              int (*each)(void *ctx, const struct prefix *p, const struct view_entry *entry), void *ctx)
{
	struct walking w = { .each = each, .ctx = ctx };

	return trie_walk(v->entries, within, walk_entry, &w);
}

struct comparing {
	int (*changed)(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after);
	void *ctx;
};

static int compare_entry(void *ctx, const struct prefix *p, uint32_t before, uint32_t after)
{
	const struct comparing *c = ctx;
	struct view_entry old = version_unpack(before), new = version_unpack(after);

	return c->changed(c->ctx, p, before ? &old : NULL, after ? &new : NULL);
}

int view_diff(const struct view *before, const struct view *after,
              int (*changed)(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after), void *ctx)
{
	struct comparing c = { .changed = changed, .ctx = ctx };

	return trie_diff(before ? before->entries : NULL, after->entries, compare_entry, &c);
}

int view_diff_nodes(const struct view *before, const struct view *after,
                    int (*changed)(void *ctx, const struct view_node *before, const struct view_node *after), void *ctx)
{
	size_t old_count = before ? roster_count(before->roster) : 0, new_count = roster_count(after->roster), i = 0, k = 0;
	int rc = 0;

	if (before && before->roster == after->roster)
		return 0;
	while (rc >= 0 && (i < old_count || k < new_count)) {
		const struct view_node *old = i < old_count ? roster_at(before->roster, i) : NULL;
		const struct view_node *new = k < new_count ? roster_at(after->roster, k) : NULL;
		int order = !old ? 1 : !new ? -1 : strcmp(old->name, new->name);

		i += order <= 0;
		k += order >= 0;
		/* What is the same shares its memory. */
		if (old != new)
			rc = changed(ctx, order <= 0 ? old : NULL, order >= 0 ? new : NULL);
	}
	return rc < 0 ? rc : 0;
}

struct view_answer view_lookup(const struct view *v, const struct addr *a)
{
	struct view_entry entry;

	if (!view_find(v, a, 128, NULL, &entry))
		return (struct view_answer){ .kind = VIEW_OUTSIDE };
	return (struct view_answer){
		.kind = entry.kind,
		.flags = entry.flags,
		.owner = entry.kind == VIEW_POD_SPACE ? NULL : roster_by_id(v->roster, entry.node_id),
	};
}

enum view_verdict view_judge(const struct view *v, const struct addr *a, const struct view_node *node, bool is_own_allowed)
{
	struct view_answer answer = view_lookup(v, a);

	if (!answer.owner || (answer.flags & VIEW_ENTRY_ENDING))
		return VIEW_UNKNOWN;
	if (answer.owner != node && strcmp(answer.owner->name, node->name) != 0)
		return answer.flags & VIEW_ENTRY_LEAVING ? VIEW_UNKNOWN : VIEW_OTHERS;
	return answer.kind == VIEW_POD || is_own_allowed ? VIEW_YES : VIEW_UNKNOWN;
}

uint32_t view_home_worker(const char *node_name, uint32_t workers)
{
	return workers > 1 ? (uint32_t)(hash_bytes(node_name, strlen(node_name)) % workers) : 0;
}
