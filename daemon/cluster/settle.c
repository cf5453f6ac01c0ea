/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/settle.h"

#include "base/hash.h"
#include "cluster/elect.h"
#include "cluster/ranges.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAEMONS_MAX = 4 }; /* of a node: one, and those that it takes the place of */

/* What is judged together, and what is refused by it, has a key. */
enum { KEY_NODE = 2, KEY_ADDRESS = 4 }; /* 1 is that of ranges, 3 of elect */

bool node_is_enrolled(const struct node *n)
{
	return n->is_known && n->has_record && !n->is_unenrolled && strcmp(n->record_uid, n->uid) == 0;
}

void settle_refuse(struct settlement *s, uint64_t key, const char *object, const char *format, ...)
{
	char text[REFUSAL_TEXT_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (refusals_add(&s->refusals, key, object, text) && s->refused)
		s->refused(s->ctx, object, text);
}

static uint64_t key_of_address(const struct addr *a, uint64_t what)
{
	return hash_bytes(a, sizeof(*a)) + what;
}

struct edit {
	struct settlement *s;
	struct view_edit *e;
	struct instant now;
	struct ranged *ranged_before; /* until the edit is finished: a failed one is tried again from there */
	size_t ranged_before_count;
	bool has_ranged_before;
};

static int set(const struct edit *edit, const struct prefix *p, const struct view_entry *entry)
{
	return view_edit_set(edit->e, p, entry);
}

/* --- nodes --- */

/* The node whose own a is; NULL: none's. */
static const struct node *find_own(const struct settlement *s, const struct addr *a)
{
	for (const struct node_address *at = members_node_address(&s->members, a); at; at = node_address_next(at)) {
		if (at->is_owner)
			return at->node;
	}
	return NULL;
}

/* Those that are not ending first, of these the newest: it is the one that new tunnels are made by. */
static bool is_before(const struct pod *a, const struct pod *b)
{
	if (a->is_leaving != b->is_leaving)
		return b->is_leaving;
	return a->created_s != b->created_s ? a->created_s > b->created_s : a->uid_hash < b->uid_hash;
}

static size_t find_daemons(const struct node *n, struct view_daemon ret[DAEMONS_MAX])
{
	const struct pod *found[DAEMONS_MAX];
	size_t count = 0;

	for (const struct pod *p = n->pods; p; p = p->node_next) {
		size_t at = count;

		if (!p->is_culvert)
			continue;
		while (at > 0 && is_before(p, found[at - 1]))
			at--;
		if (at == DAEMONS_MAX)
			continue;
		count += count < DAEMONS_MAX;
		memmove(&found[at + 1], &found[at], (count - at - 1) * sizeof(struct pod *));
		found[at] = p;
	}
	for (size_t i = 0; i < count; i++)
		ret[i] = (struct view_daemon){ found[i]->space->name, pod_name(found[i]), pod_uid(found[i]) };
	return count;
}

static int put_node(const struct edit *edit, struct node *n)
{
	struct addr *own = calloc(n->addresses_count + 1, sizeof(*own));
	struct view_daemon daemons[DAEMONS_MAX];
	struct view_node node = { .is_self = strcmp(n->name, edit->s->self) == 0,
		                  .is_enrolled = node_is_enrolled(n),
		                  .addresses = own,
		                  .daemons = daemons,
		                  .daemons_count = find_daemons(n, daemons) };
	uint64_t key = hash_bytes(n->name, strlen(n->name)) + KEY_NODE;
	char object[REFUSAL_OBJECT_BYTES];
	int r;

	if (!own)
		return -ENOMEM;
	(void)snprintf(node.name, sizeof(node.name), "%s", n->name);
	for (size_t i = 0; i < n->addresses_count; i++) {
		if (n->addresses[i].is_owner)
			own[node.addresses_count++] = n->addresses[i].addr;
	}
	r = view_edit_put_node(edit->e, &node, &n->view_id);
	free(own);
	if (r == -ENOMEM)
		return r;
	n->is_in_view = r == 0;
	refusals_begin(&edit->s->refusals, key);
	if (r < 0) {
		/* It is left out alone; its pods are pods of a node that is not known. */
		(void)snprintf(object, sizeof(object), "node %.120s", n->name);
		settle_refuse(edit->s, key, object, "there is no room for it: %s; at most %d nodes are taken", strerror(-r),
		              VIEW_NODES_MAX);
	}
	refusals_end(&edit->s->refusals, key);
	return 0;
}

static int settle_nodes(const struct edit *edit)
{
	struct settlement *s = edit->s;
	int r = 0;

	for (struct node *n = s->members.dirty_nodes; n; n = n->dirty_next) {
		for (size_t i = 0; i < n->addresses_count; i++)
			elect_node(s, &n->addresses[i].addr);
	}
	/* Those that go first: an address may be another's now. */
	for (struct node *n = s->members.dirty_nodes; n && r == 0; n = n->dirty_next) {
		if (n->is_known || !n->was_in_view)
			continue;
		r = view_edit_remove_node(edit->e, n->name);
		n->is_in_view = false;
	}
	for (struct node *n = s->members.dirty_nodes; n && r == 0; n = n->dirty_next) {
		if (n->is_known)
			r = put_node(edit, n);
	}
	return r;
}

/* --- ranges --- */

static bool is_in_own_range(const struct settlement *s, const struct addr *a, const struct node *node)
{
	if (!s->is_ranges_own)
		return false;
	for (size_t i = 0; i < node->ranges_count; i++) {
		if (prefix_contains(&node->ranges[i], a))
			return true;
	}
	return false;
}

static int settle_address(const struct edit *edit, const struct addr *a, struct node *last_owner);

static int set_ranged(const struct edit *edit, const struct ranged *item, bool is_there)
{
	struct view_entry entry = { .kind = item->kind, .node_id = item->node ? item->node->view_id : 0 };

	/* Pods and what is left of them come before a range's word on a single address. */
	if (item->prefix.len_bits == 128)
		return settle_address(edit, &item->prefix.addr, NULL);
	return set(edit, &item->prefix, is_there ? &entry : NULL);
}

static bool is_same(const struct ranged *a, const struct ranged *b)
{
	return a->kind == b->kind && a->node == b->node;
}

static int settle_ranges(struct edit *edit)
{
	struct settlement *s = edit->s;
	const struct ranged *before = s->ranged;
	size_t before_count = s->ranged_count, count, i = 0, k = 0;
	struct ranged *items;
	int r = ranges_collect(s, &items, &count);

	if (r < 0)
		return r;
	edit->has_ranged_before = true;
	edit->ranged_before = s->ranged;
	edit->ranged_before_count = before_count;
	/* settle_address looks here. */
	s->ranged = items;
	s->ranged_count = count;
	while (r == 0 && (i < before_count || k < count)) {
		int order = i == before_count ? 1 : k == count ? -1 : ranged_compare(&before[i], &items[k]);

		if (order < 0)
			r = set_ranged(edit, &before[i], false);
		else if (order > 0 || !is_same(&before[i], &items[k]))
			r = set_ranged(edit, &items[k], true);
		i += order <= 0;
		k += order >= 0;
	}
	return r;
}

/* --- addresses --- */

static bool is_reserved(const struct settlement *s, const struct addr *a)
{
	for (size_t i = 0; i < s->reserved_count; i++) {
		if (prefix_contains(&s->reserved[i], a))
			return true;
	}
	return false;
}

static void refuse_claim(struct settlement *s, const struct claim *c, const char *why, const char *whose)
{
	const struct pod *p = claim_pod(c);
	char object[REFUSAL_OBJECT_BYTES], text[ADDR_TEXT_BYTES];

	(void)snprintf(object, sizeof(object), "pod %.60s/%.90s", p->space->name, pod_name(p));
	settle_refuse(s, key_of_address(&c->addr, KEY_ADDRESS), object, "%s on node %.100s %s%.150s", addr_print(&c->addr, text),
	              p->node->name, why, whose);
}

static void refuse_losers(struct settlement *s, const struct addr *a, const struct claim *best)
{
	const struct pod *owner = claim_pod(best);
	char whose[REFUSAL_OBJECT_BYTES];

	(void)snprintf(whose, sizeof(whose), "%.50s/%.60s on node %.30s", owner->space->name, pod_name(owner), owner->node->name);
	for (struct claim *c = members_claim(&s->members, a); c; c = claim_next(c)) {
		const struct pod *p = claim_pod(c);

		/* A terminating pod that lost its address is in order, and so are two pods of one node, as far as the view can tell. */
		if (c != best && !p->is_leaving && !owner->is_leaving && p->node != owner->node && p->node->is_known)
			refuse_claim(s, c, "is taken already, by pod ", whose);
	}
}

static bool is_opted_out(const struct settlement *s, const struct pod *p)
{
	return (s->is_pod_opt_out_allowed && p->is_opted_out) || (s->is_space_opt_out_allowed && p->space->is_opted_out);
}

/* Where no pod has a, what else it is. last_owner: the node whose pod had it until now, or NULL. */
static int settle_unclaimed(const struct edit *edit, const struct addr *a, struct node *last_owner, bool is_early)
{
	struct settlement *s = edit->s;
	const struct prefix p = { .addr = *a, .len_bits = 128 };
	struct ghost *g = members_ghost(&s->members, a);
	const struct ranged *range = ranged_find(s, a);
	struct view_entry entry = { .kind = VIEW_POD_SPACE };

	if (!g && last_owner && last_owner->is_in_view && node_is_enrolled(last_owner) && !is_in_own_range(s, a, last_owner)) {
		g = members_add_ghost(&s->members, a, last_owner, instant_add_ms(edit->now, REGISTRY_KEEP_MS));
		if (!g)
			return -ENOMEM;
	}
	if (g && g->node->is_in_view && instant_before(edit->now, g->deadline)) {
		entry = (struct view_entry){ .kind = VIEW_POD, .flags = VIEW_ENTRY_ENDING, .node_id = g->node->view_id };
		return set(edit, &p, &entry);
	}
	/* A pod came before its node: nothing may pass that is refused a moment later. */
	if (is_early)
		return set(edit, &p, &entry);
	if (!range)
		return set(edit, &p, NULL);
	entry = (struct view_entry){ .kind = range->kind, .node_id = range->node ? range->node->view_id : 0 };
	return set(edit, &p, &entry);
}

static int settle_address(const struct edit *edit, const struct addr *a, struct node *last_owner)
{
	struct settlement *s = edit->s;
	const struct prefix p = { .addr = *a, .len_bits = 128 };
	const struct node *own = find_own(s, a);
	uint64_t key = key_of_address(a, KEY_ADDRESS);
	struct claim *best = NULL;
	bool is_early = false;
	struct view_entry entry;
	struct ghost *g;
	int r;

	if (own) {
		/* The node's entry was set with the node. */
		g = members_ghost(&s->members, a);
		if (g)
			members_drop_ghost(&s->members, g);
		refusals_begin(&s->refusals, key);
		for (struct claim *c = members_claim(&s->members, a); c; c = claim_next(c)) {
			c->is_owner = false;
			refuse_claim(s, c, "is an address of node ", own->name);
		}
		refusals_end(&s->refusals, key);
		return 0;
	}
	refusals_begin(&s->refusals, key);
	if (is_reserved(s, a)) {
		for (struct claim *c = members_claim(&s->members, a); c; c = claim_next(c)) {
			c->is_owner = false;
			refuse_claim(s, c, "is a Service's or the API server's", "");
		}
		refusals_end(&s->refusals, key);
		return set(edit, &p, NULL);
	}
	for (struct claim *c = members_claim(&s->members, a); c; c = claim_next(c)) {
		const struct node *n = claim_pod(c)->node;

		if (!n->is_in_view) {
			is_early |= !n->was_known;
			c->is_owner = false;
		} else if (!best || elect_is_better(s, c, best)) {
			best = c;
		}
	}
	if (!best) {
		refusals_end(&s->refusals, key);
		return settle_unclaimed(edit, a, last_owner, is_early);
	}
	refuse_losers(s, a, best);
	refusals_end(&s->refusals, key);
	entry = (struct view_entry){ .kind = VIEW_POD, .node_id = claim_pod(best)->node->view_id };
	entry.flags = (uint8_t)((claim_pod(best)->is_leaving ? VIEW_ENTRY_LEAVING : 0) |
	                        (is_opted_out(s, claim_pod(best)) ? VIEW_ENTRY_OPTED_OUT : 0));
	r = set(edit, &p, &entry);
	if (r < 0)
		return r;
	for (struct claim *c = members_claim(&s->members, a); c; c = claim_next(c))
		c->is_owner = c == best;
	g = members_ghost(&s->members, a);
	if (g)
		members_drop_ghost(&s->members, g);
	return 0;
}

static int settle_pods(const struct edit *edit)
{
	struct settlement *s = edit->s;

	for (struct pod *p = s->members.dirty_pods; p; p = p->dirty_next) {
		for (size_t i = 0; i < p->claims_count; i++) {
			struct node *last_owner = p->is_removed && p->claims[i].is_owner ? p->node : NULL;
			int r = settle_address(edit, &p->claims[i].addr, last_owner);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static bool has_node_left(const struct settlement *s)
{
	for (const struct node *n = s->members.dirty_nodes; n; n = n->dirty_next) {
		if (n->was_in_view && !n->is_in_view)
			return true;
	}
	return false;
}

static bool is_over(const struct edit *edit, const struct ghost *g)
{
	return !instant_before(edit->now, g->deadline) || !g->node->is_in_view;
}

/* Ghosts that are over: their time has come, or their node is not there any more. */
static int settle_ghosts(const struct edit *edit)
{
	bool is_any = has_node_left(edit->s);

	list_for_each_safe(at, &edit->s->members.ghosts) {
		const struct ghost *g = container_of(at, struct ghost, entry);
		const struct addr a = g->addr;
		int r = 0;

		if (is_over(edit, g))
			r = settle_address(edit, &a, NULL);
		else if (!is_any)
			break; /* the others are younger */
		if (r < 0)
			return r;
	}
	return 0;
}

/* The edit became the view: what was kept for another try goes. */
static void commit(struct edit *edit)
{
	struct settlement *s = edit->s;
	bool is_any = has_node_left(s);

	list_for_each_safe(at, &s->members.ghosts) {
		struct ghost *g = container_of(at, struct ghost, entry);

		if (is_over(edit, g))
			members_drop_ghost(&s->members, g);
		else if (!is_any)
			break;
	}
	for (struct node *n = s->members.dirty_nodes; n; n = n->dirty_next)
		n->was_in_view = n->is_in_view;
	free(edit->ranged_before);
	s->is_ranged_dirty = false;
	members_settled(&s->members);
}

static void undo(struct edit *edit)
{
	struct settlement *s = edit->s;

	if (!edit->has_ranged_before)
		return;
	free(s->ranged);
	s->ranged = edit->ranged_before;
	s->ranged_count = edit->ranged_before_count;
}

int settle(struct settlement *s, struct instant now)
{
	struct edit edit = { .s = s, .now = now };
	struct view *fresh;
	int r = view_edit_begin(s->view, s->self, &edit.e);

	if (r < 0)
		return r;
	r = settle_nodes(&edit);
	if (r == 0 && s->is_ranged_dirty)
		r = settle_ranges(&edit);
	if (r == 0)
		r = settle_pods(&edit);
	if (r == 0)
		r = settle_ghosts(&edit);
	if (r < 0)
		view_edit_abort(edit.e);
	else
		r = view_edit_finish(edit.e, &fresh);
	if (r < 0) {
		undo(&edit);
		return r;
	}
	view_unref(s->view);
	s->view = fresh;
	commit(&edit);
	return 0;
}
