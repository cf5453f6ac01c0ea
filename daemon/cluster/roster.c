/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/roster.h"

#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 16 };

/* A name and its id, while any version of the node is left. Counted under the chain's lock. */
struct identity {
	unsigned references;
	uint32_t id;
	char name[VIEW_NODE_NAME_BYTES];
};

/* What all rosters that come from one another have in common: which ids are taken. */
struct chain {
	pthread_mutex_t lock;
	unsigned references; /* rosters and identities */
	uint32_t taken;
	uint32_t lowest; /* no id below it is free */
	struct identity *by_id[VIEW_IDS_MAX];
	uint32_t hashes[VIEW_IDS_MAX]; /* of the names, where by_id is set */
};

/* One version of a node. */
struct member {
	_Atomic unsigned references;
	struct chain *chain;
	struct identity *identity;
	struct view_node node;
	/* addresses, then pods */
};

struct roster {
	_Atomic unsigned references;
	struct chain *chain;
	char self_name[VIEW_NODE_NAME_BYTES];
	const struct view_node *self;
	struct member **by_name; /* slots of them */
	size_t count, slots;
	struct member **by_id; /* VIEW_IDS_MAX at most */
	uint32_t ids;
};

/* --- ids --- */

static struct chain *chain_create(void)
{
	struct chain *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	if (pthread_mutex_init(&c->lock, NULL)) {
		free(c);
		return NULL;
	}
	c->references = 1;
	c->lowest = 1;
	return c;
}

static void chain_ref(struct chain *c)
{
	(void)pthread_mutex_lock(&c->lock);
	c->references++;
	(void)pthread_mutex_unlock(&c->lock);
}

/* Holding the lock; ends it. */
static void chain_unlock_unref(struct chain *c)
{
	bool is_last = --c->references == 0;

	(void)pthread_mutex_unlock(&c->lock);
	if (is_last) {
		(void)pthread_mutex_destroy(&c->lock);
		free(c);
	}
}

static void chain_unref(struct chain *c)
{
	(void)pthread_mutex_lock(&c->lock);
	chain_unlock_unref(c);
}

/* The identity of a name that is not in the roster at hand, but in another of the chain. */
static struct identity *chain_find(const struct chain *c, const char *name, uint32_t hash)
{
	for (uint32_t id = 1; id < VIEW_IDS_MAX; id++)
		if (c->hashes[id] == hash && c->by_id[id] && strcmp(c->by_id[id]->name, name) == 0)
			return c->by_id[id];
	return NULL;
}

/* A reference of the name's identity. in_roster: how many the roster at hand has, none of them this. 0, -ENOSPC or -ENOMEM. */
static int chain_take(struct chain *c, const char *name, size_t in_roster, struct identity **ret)
{
	uint32_t hash = (uint32_t)hash_bytes(name, strlen(name)), id;
	struct identity *i = NULL;
	int rc = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (c->taken > in_roster)
		i = chain_find(c, name, hash);
	if (i) {
		i->references++;
		goto out;
	}
	for (id = c->lowest; id < VIEW_IDS_MAX && c->by_id[id]; id++)
		;
	c->lowest = id;
	i = id < VIEW_IDS_MAX ? calloc(1, sizeof(*i)) : NULL;
	if (!i) {
		rc = id < VIEW_IDS_MAX ? -ENOMEM : -ENOSPC;
		goto out;
	}
	i->references = 1;
	i->id = id;
	memcpy(i->name, name, strlen(name) + 1);
	c->by_id[id] = i;
	c->hashes[id] = hash;
	c->lowest = id + 1;
	c->taken++;
	c->references++;
out:
	(void)pthread_mutex_unlock(&c->lock);
	if (rc == 0)
		*ret = i;
	return rc;
}

static void identity_ref(struct chain *c, struct identity *i)
{
	(void)pthread_mutex_lock(&c->lock);
	i->references++;
	(void)pthread_mutex_unlock(&c->lock);
}

static void identity_unref(struct chain *c, struct identity *i)
{
	(void)pthread_mutex_lock(&c->lock);
	if (--i->references > 0) {
		(void)pthread_mutex_unlock(&c->lock);
		return;
	}
	c->by_id[i->id] = NULL;
	if (i->id < c->lowest)
		c->lowest = i->id;
	c->taken--;
	free(i);
	chain_unlock_unref(c);
}

/* --- one node --- */

static size_t texts_bytes(const struct view_node *n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n->daemons_count; i++)
		bytes += strlen(n->daemons[i].name_space) + strlen(n->daemons[i].pod) + strlen(n->daemons[i].pod_uid) + 3;
	return bytes;
}

/* Into the room that *at leads to, which moves on behind it. */
static const char *copy_text(char **at, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = *at;

	memcpy(copy, text, bytes);
	*at += bytes;
	return copy;
}

/* Takes over the reference of identity. */
static struct member *member_create(struct chain *c, struct identity *identity, const struct view_node *from)
{
	size_t addresses_bytes = from->addresses_count * sizeof(struct addr), pods_bytes = from->pods_count * sizeof(struct prefix);
	size_t daemons_bytes = from->daemons_count * sizeof(struct view_daemon);
	struct member *m = calloc(1, sizeof(*m) + daemons_bytes + addresses_bytes + pods_bytes + texts_bytes(from));
	struct view_daemon *daemons;
	struct addr *addresses;
	struct prefix *pods;
	char *texts;

	if (!m)
		return NULL;
	daemons = (struct view_daemon *)(m + 1);
	addresses = (struct addr *)(daemons + from->daemons_count);
	pods = (struct prefix *)(addresses + from->addresses_count);
	texts = (char *)(pods + from->pods_count);
	for (size_t i = 0; i < from->daemons_count; i++) {
		daemons[i].name_space = copy_text(&texts, from->daemons[i].name_space);
		daemons[i].pod = copy_text(&texts, from->daemons[i].pod);
		daemons[i].pod_uid = copy_text(&texts, from->daemons[i].pod_uid);
	}
	if (addresses_bytes)
		memcpy(addresses, from->addresses, addresses_bytes);
	if (pods_bytes)
		memcpy(pods, from->pods, pods_bytes);
	atomic_init(&m->references, 1);
	m->chain = c;
	m->identity = identity;
	m->node = *from;
	m->node.id = identity->id;
	m->node.daemons = daemons;
	m->node.addresses = addresses;
	m->node.pods = pods;
	return m;
}

static void member_unref(struct member *m)
{
	if (m && atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) == 1) {
		identity_unref(m->chain, m->identity);
		free(m);
	}
}

static bool is_alike(const struct view_node *a, const struct view_node *b)
{
	if (strcmp(a->name, b->name) != 0 || a->is_self != b->is_self || a->is_enrolled != b->is_enrolled ||
	    a->addresses_count != b->addresses_count || a->pods_count != b->pods_count || a->daemons_count != b->daemons_count)
		return false;
	for (size_t i = 0; i < a->daemons_count; i++)
		if (strcmp(a->daemons[i].pod_uid, b->daemons[i].pod_uid) != 0 || strcmp(a->daemons[i].pod, b->daemons[i].pod) != 0 ||
		    strcmp(a->daemons[i].name_space, b->daemons[i].name_space) != 0)
			return false;
	for (size_t i = 0; i < a->addresses_count; i++)
		if (!addr_equal(&a->addresses[i], &b->addresses[i]))
			return false;
	for (size_t i = 0; i < a->pods_count; i++)
		if (a->pods[i].len_bits != b->pods[i].len_bits || !addr_equal(&a->pods[i].addr, &b->pods[i].addr))
			return false;
	return true;
}

/* --- the set --- */

static int reserve(struct roster *r, size_t count, uint32_t ids)
{
	size_t slots = r->slots ? r->slots : SLOTS_MIN, ids_slots = r->ids ? r->ids : SLOTS_MIN;
	struct member **moved;

	while (slots < count)
		slots *= 2;
	while (ids_slots < ids)
		ids_slots *= 2;
	if (slots > r->slots) {
		moved = realloc(r->by_name, slots * sizeof(struct member *));
		if (!moved)
			return -ENOMEM;
		r->by_name = moved;
		r->slots = slots;
	}
	if (ids_slots > r->ids) {
		moved = realloc(r->by_id, ids_slots * sizeof(struct member *));
		if (!moved)
			return -ENOMEM;
		memset(moved + r->ids, 0, (ids_slots - r->ids) * sizeof(struct member *));
		r->by_id = moved;
		r->ids = (uint32_t)ids_slots;
	}
	return 0;
}

int roster_create(const struct roster *before, const char *self_name, struct roster **ret)
{
	struct roster *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	atomic_init(&r->references, 1);
	(void)strncpy(r->self_name, self_name, sizeof(r->self_name) - 1);
	if (before)
		chain_ref(before->chain);
	r->chain = before ? before->chain : chain_create();
	if (!r->chain) {
		free(r);
		return -ENOMEM;
	}
	if (before && reserve(r, before->count, before->ids) < 0) {
		roster_unref(r);
		return -ENOMEM;
	}
	for (size_t i = 0; before && i < before->count; i++) {
		struct member *m = before->by_name[i];

		(void)atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed);
		r->by_name[r->count++] = m;
		r->by_id[m->node.id] = m;
	}
	r->self = before ? roster_by_name(r, r->self_name) : NULL;
	*ret = r;
	return 0;
}

struct roster *roster_ref(struct roster *r)
{
	(void)atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
	return r;
}

void roster_unref(struct roster *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < r->count; i++)
		member_unref(r->by_name[i]);
	free(r->by_name);
	free(r->by_id);
	chain_unref(r->chain);
	free(r);
}

/* Where name is, or would go. */
static size_t place_of(const struct roster *r, const char *name, bool *ret_is_there)
{
	size_t low = 0, high = r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, r->by_name[middle]->node.name);

		if (order == 0) {
			*ret_is_there = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	*ret_is_there = false;
	return low;
}

int roster_put(struct roster *r, const struct view_node *n)
{
	bool is_there;
	size_t at = place_of(r, n->name, &is_there);
	struct member *old = is_there ? r->by_name[at] : NULL, *m;
	struct identity *identity;
	struct view_node wanted = *n;
	int rc;

	wanted.is_self = strcmp(n->name, r->self_name) == 0;
	if (old && is_alike(&old->node, &wanted))
		return 0;
	if (!old && r->count == VIEW_NODES_MAX)
		return -ENOSPC;
	if (old) {
		identity = old->identity;
		identity_ref(r->chain, identity);
	} else {
		rc = chain_take(r->chain, n->name, r->count, &identity);
		if (rc < 0)
			return rc;
	}
	m = reserve(r, r->count + 1, identity->id + 1) == 0 ? member_create(r->chain, identity, &wanted) : NULL;
	if (!m) {
		identity_unref(r->chain, identity);
		return -ENOMEM;
	}
	if (!old) {
		memmove(&r->by_name[at + 1], &r->by_name[at], (r->count - at) * sizeof(r->by_name[0]));
		r->count++;
	}
	r->by_name[at] = m;
	r->by_id[m->node.id] = m;
	if (wanted.is_self)
		r->self = &m->node;
	member_unref(old);
	return 1;
}

void roster_remove(struct roster *r, const char *name)
{
	bool is_there;
	size_t at = place_of(r, name, &is_there);
	struct member *m;

	if (!is_there)
		return;
	m = r->by_name[at];
	r->count--;
	memmove(&r->by_name[at], &r->by_name[at + 1], (r->count - at) * sizeof(r->by_name[0]));
	r->by_id[m->node.id] = NULL;
	if (r->self == &m->node)
		r->self = NULL;
	member_unref(m);
}

bool roster_holds(const struct roster *r, const struct view_node *n)
{
	const struct view_node *have = roster_by_name(r, n->name);
	struct view_node wanted = *n;

	wanted.is_self = strcmp(n->name, r->self_name) == 0;
	return have && is_alike(have, &wanted);
}

size_t roster_count(const struct roster *r)
{
	return r->count;
}

const struct view_node *roster_self(const struct roster *r)
{
	return r->self;
}

const struct view_node *roster_at(const struct roster *r, size_t index)
{
	return &r->by_name[index]->node;
}

const struct view_node *roster_by_name(const struct roster *r, const char *name)
{
	bool is_there;
	size_t at = place_of(r, name, &is_there);

	return is_there ? &r->by_name[at]->node : NULL;
}

const struct view_node *roster_by_id(const struct roster *r, uint32_t id)
{
	return id < r->ids && r->by_id[id] ? &r->by_id[id]->node : NULL;
}

bool roster_equal(const struct roster *a, const struct roster *b)
{
	if (a == b)
		return true;
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct member *x = a->by_name[i], *y = b->by_name[i];

		if (x != y && (x->identity != y->identity || !is_alike(&x->node, &y->node)))
			return false;
	}
	return true;
}
