/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A change of a view: view_edit_* of view.h. */
#include "cluster/version.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct view_edit {
	struct view *before;   /* NULL: none */
	struct trie *entries;  /* shares with before what is not changed yet */
	struct roster *roster; /* before's until a node changes */
	bool is_roster_own;
	int failure; /* -ENOMEM: something was not done, so that the whole is not */
	size_t counts[VIEW_KINDS];
	char self_name[VIEW_NODE_NAME_BYTES];
};

int view_edit_begin(struct view *before, const char *self_name, struct view_edit **ret)
{
	struct view_edit *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	(void)strncpy(e->self_name, self_name, sizeof(e->self_name) - 1);
	if (before) {
		e->before = view_ref(before);
		e->entries = trie_ref(before->entries);
		e->roster = roster_ref(before->roster);
		memcpy(e->counts, before->counts, sizeof(e->counts));
	} else {
		if (roster_create(NULL, e->self_name, &e->roster) < 0) {
			free(e);
			return -ENOMEM;
		}
		e->is_roster_own = true;
	}
	*ret = e;
	return 0;
}

void view_edit_abort(struct view_edit *e)
{
	if (!e)
		return;
	trie_unref(e->entries);
	roster_unref(e->roster);
	view_unref(e->before);
	free(e);
}

static int failed(struct view_edit *e, int rc)
{
	if (rc == -ENOMEM)
		e->failure = rc;
	return rc;
}

/* value 0: out. */
static int set_value(struct view_edit *e, const struct prefix *p, uint32_t value)
{
	uint32_t before;
	int rc = trie_set(&e->entries, p, value, &before);

	if (rc <= 0)
		return failed(e, rc);
	if (before)
		e->counts[version_kind(before)]--;
	if (value)
		e->counts[version_kind(value)]++;
	return 0;
}

/* Makes the roster the edit's alone. */
static int own_roster(struct view_edit *e)
{
	struct roster *copy;
	int rc;

	if (e->is_roster_own)
		return 0;
	rc = roster_create(e->roster, e->self_name, &copy);
	if (rc < 0)
		return failed(e, rc);
	roster_unref(e->roster);
	e->roster = copy;
	e->is_roster_own = true;
	return 0;
}

static struct prefix prefix_of(const struct addr *a)
{
	return (struct prefix){ .addr = *a, .len_bits = 128 };
}

static bool has_address(const struct view_node *n, const struct addr *a)
{
	for (size_t i = 0; i < n->addresses_count; i++)
		if (addr_equal(&n->addresses[i], a))
			return true;
	return false;
}

/* Takes out the addresses of old that n has not, where they still are its own. */
static int drop_addresses(struct view_edit *e, const struct view_node *old, const struct view_node *n)
{
	const uint32_t own = version_pack(&(struct view_entry){ .kind = VIEW_NODE, .node_id = old->id });
	int rc = 0;

	for (size_t i = 0; i < old->addresses_count && rc == 0; i++) {
		struct prefix p = prefix_of(&old->addresses[i]);

		if (!has_address(n, &p.addr) && trie_get(e->entries, &p) == own)
			rc = set_value(e, &p, 0);
	}
	return rc;
}

int view_edit_put_node(struct view_edit *e, const struct view_node *n, uint32_t *ret_id)
{
	const struct view_node *old;
	struct view_node wanted;
	struct view_entry own = { .kind = VIEW_NODE };
	int rc = 0;

	if (strnlen(n->name, sizeof(n->name)) == sizeof(n->name) || !text_is_subdomain(n->name))
		return -EINVAL;
	for (size_t i = 0; i < n->addresses_count; i++) {
		struct prefix p = prefix_of(&n->addresses[i]);

		if (view_forbidden(&p))
			return -EADDRNOTAVAIL;
	}
	wanted = *n;
	wanted.pods = NULL;
	wanted.pods_count = 0;
	if (!roster_holds(e->roster, &wanted)) {
		rc = own_roster(e);
		old = rc == 0 ? roster_by_name(e->roster, n->name) : NULL;
		if (old)
			rc = drop_addresses(e, old, n);
		if (rc == 0)
			rc = roster_put(e->roster, &wanted);
		if (rc < 0)
			return failed(e, rc);
	}
	own.node_id = roster_by_name(e->roster, n->name)->id;
	rc = 0;
	for (size_t i = 0; i < n->addresses_count && rc == 0; i++) {
		struct prefix p = prefix_of(&n->addresses[i]);

		rc = set_value(e, &p, version_pack(&own));
	}
	if (rc == 0)
		*ret_id = own.node_id;
	return rc;
}

struct owned {
	uint32_t node_id;
	struct prefix *prefixes;
	size_t count, slots;
};

static int collect_owned(void *ctx, const struct prefix *p, uint32_t value)
{
	struct owned *o = ctx;

	if (version_unpack(value).node_id != o->node_id)
		return 0;
	if (o->count == o->slots) {
		size_t slots = o->slots ? o->slots * 2 : 64;
		struct prefix *moved = realloc(o->prefixes, slots * sizeof(*moved));

		if (!moved)
			return -ENOMEM;
		o->prefixes = moved;
		o->slots = slots;
	}
	o->prefixes[o->count++] = *p;
	return 0;
}

int view_edit_remove_node(struct view_edit *e, const char *name)
{
	const struct view_node *n = roster_by_name(e->roster, name);
	struct owned o = { 0 };
	int rc;

	if (!n)
		return 0;
	o.node_id = n->id;
	/* A walk over all: nodes seldom leave, and an index by node would cost every pod's change. */
	rc = failed(e, trie_walk(e->entries, NULL, collect_owned, &o));
	for (size_t i = 0; i < o.count && rc == 0; i++)
		rc = set_value(e, &o.prefixes[i], 0);
	free(o.prefixes);
	if (rc == 0)
		rc = own_roster(e);
	if (rc == 0)
		roster_remove(e->roster, name);
	return rc;
}

int view_edit_set(struct view_edit *e, const struct prefix *p, const struct view_entry *entry)
{
	struct prefix cleared = *p;

	if (p->len_bits > 128)
		return -EINVAL;
	prefix_clear_host(&cleared);
	if (!addr_equal(&cleared.addr, &p->addr))
		return -EINVAL;
	if (!entry)
		return set_value(e, p, 0);
	if (entry->kind <= VIEW_OUTSIDE || entry->kind >= VIEW_KINDS || entry->flags > VIEW_ENTRY_FLAGS_MAX)
		return -EINVAL;
	if (entry->node_id ? !roster_by_id(e->roster, entry->node_id) : entry->kind != VIEW_POD_SPACE)
		return -EINVAL;
	if (view_forbidden(p))
		return -EADDRNOTAVAIL;
	return set_value(e, p, version_pack(entry));
}

static int stop_at_first(void *ctx, const struct prefix *p, uint32_t before, uint32_t after)
{
	(void)ctx;
	(void)p;
	(void)before;
	(void)after;
	return -ECANCELED;
}

/* What was changed and changed back is no change; the diff looks only at what was touched. */
static bool is_as_before(const struct view_edit *e)
{
	return e->before && roster_equal(e->before->roster, e->roster) &&
	       trie_diff(e->before->entries, e->entries, stop_at_first, NULL) == 0;
}

int view_edit_finish(struct view_edit *e, struct view **ret)
{
	struct view *v;
	int rc = e->failure;

	if (rc == 0 && is_as_before(e)) {
		v = view_ref(e->before);
	} else if (rc == 0) {
		if (e->before && roster_equal(e->before->roster, e->roster)) {
			roster_unref(e->roster);
			e->roster = roster_ref(e->before->roster);
		}
		rc = version_create(e->entries, e->roster, e->counts, &v);
		e->entries = NULL;
		e->roster = NULL;
	}
	view_edit_abort(e);
	if (rc == 0)
		*ret = v;
	return rc;
}
