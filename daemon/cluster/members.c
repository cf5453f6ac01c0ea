/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/members.h"

#include "base/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct pod) + sizeof(struct claim) <= 104, "150,000 pods of one address and a name of 40 bytes stay within 25 MB");

static struct node *node_of(const struct chain *c)
{
	return container_of(c, struct node, chain);
}

static struct node_address *node_address_of(const struct chain *c)
{
	return container_of(c, struct node_address, chain);
}

static struct space *space_of(const struct chain *c)
{
	return container_of(c, struct space, chain);
}

static struct pod *pod_of(const struct chain *c)
{
	return container_of(c, struct pod, chain);
}

static struct claim *claim_of(const struct chain *c)
{
	return container_of(c, struct claim, chain);
}

static struct ghost *ghost_of(const struct chain *c)
{
	return container_of(c, struct ghost, chain);
}

static uint64_t hash_text(const char *text)
{
	return hash_bytes(text, strlen(text));
}

static uint64_t hash_addr(const struct addr *a)
{
	return hash_bytes(a, sizeof(*a));
}

static uint64_t hash_pod_name(const char *name_space, const char *name)
{
	return hash_text(name_space) * 31 + hash_text(name);
}

static uint64_t hash_node(const struct chain *c)
{
	return hash_text(node_of(c)->name);
}

static uint64_t hash_node_address(const struct chain *c)
{
	return hash_addr(&node_address_of(c)->addr);
}

static uint64_t hash_space(const struct chain *c)
{
	return hash_text(space_of(c)->name);
}

static uint64_t hash_pod(const struct chain *c)
{
	return hash_pod_name(pod_of(c)->space->name, pod_name(pod_of(c)));
}

static uint64_t hash_claim(const struct chain *c)
{
	return hash_addr(&claim_of(c)->addr);
}

static uint64_t hash_ghost(const struct chain *c)
{
	return hash_addr(&ghost_of(c)->addr);
}

int members_init(struct members *m)
{
	int r;

	*m = (struct members){ 0 };
	list_init(&m->ghosts);
	r = chains_init(&m->nodes, hash_node);
	if (r == 0)
		r = chains_init(&m->node_addresses, hash_node_address);
	if (r == 0)
		r = chains_init(&m->spaces, hash_space);
	if (r == 0)
		r = chains_init(&m->pods, hash_pod);
	if (r == 0)
		r = chains_init(&m->claims, hash_claim);
	if (r == 0)
		r = chains_init(&m->ghosts_by_address, hash_ghost);
	if (r < 0)
		members_done(m);
	return r;
}

static void free_node(struct node *n)
{
	free(n->addresses);
	free(n->ranges);
	free(n->name);
	free(n);
}

static void free_entries(struct chains *t, void (*free_entry)(struct chain *c))
{
	struct chain *next;

	for (size_t i = 0; t->heads && i <= t->mask; i++) {
		for (struct chain *c = t->heads[i]; c; c = next) {
			next = c->next;
			free_entry(c);
		}
	}
	chains_done(t);
}

static void free_node_entry(struct chain *c)
{
	free_node(node_of(c));
}

static void free_space_entry(struct chain *c)
{
	free(space_of(c)->name);
	free(space_of(c));
}

static void free_pod_entry(struct chain *c)
{
	free(pod_of(c));
}

static void free_ghost_entry(struct chain *c)
{
	free(ghost_of(c));
}

void members_done(struct members *m)
{
	struct pod *next;

	for (struct pod *p = m->dirty_pods; p; p = next) {
		next = p->dirty_next;
		if (p->is_removed)
			free(p);
	}
	chains_done(&m->node_addresses);
	chains_done(&m->claims);
	free_entries(&m->pods, free_pod_entry);
	free_entries(&m->ghosts_by_address, free_ghost_entry);
	free_entries(&m->nodes, free_node_entry);
	free_entries(&m->spaces, free_space_entry);
	*m = (struct members){ 0 };
}

/* --- nodes --- */

struct node *members_node(const struct members *m, const char *name)
{
	for (struct chain *c = chains_of(&m->nodes, hash_text(name)); c; c = c->next) {
		if (strcmp(node_of(c)->name, name) == 0)
			return node_of(c);
	}
	return NULL;
}

struct node *members_need_node(struct members *m, const char *name)
{
	struct node *n = members_node(m, name);

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->name = strdup(name);
	if (!n->name) {
		free(n);
		return NULL;
	}
	chains_add(&m->nodes, &n->chain);
	return n;
}

void members_drop_node(struct members *m, struct node *n)
{
	if (n->is_known || n->has_record || n->pods || n->is_in_view || n->was_in_view || n->is_dirty)
		return;
	/* A ghost belongs to a node that is in the view, and goes with it. */
	chains_remove(&m->nodes, &n->chain);
	members_clear_node(m, n);
	free_node(n);
}

void members_clear_node(struct members *m, struct node *n)
{
	for (size_t i = 0; i < n->addresses_count; i++)
		chains_remove(&m->node_addresses, &n->addresses[i].chain);
	free(n->addresses);
	free(n->ranges);
	n->addresses = NULL;
	n->ranges = NULL;
	n->addresses_count = n->ranges_count = 0;
}

/* As it was before, with what was settled of it; NULL: it is new. */
static const struct node_address *find_address(const struct node *n, const struct addr *a)
{
	for (size_t i = 0; i < n->addresses_count; i++) {
		if (addr_equal(&n->addresses[i].addr, a))
			return &n->addresses[i];
	}
	return NULL;
}

int members_set_node(struct members *m, struct node *n, const struct addr *addresses, size_t addresses_count, const struct prefix *ranges,
                     size_t ranges_count, uint32_t told)
{
	struct node_address *copies = calloc(addresses_count + 1, sizeof(*copies));
	struct prefix *range_copies = calloc(ranges_count + 1, sizeof(*range_copies));

	if (!copies || !range_copies) {
		free(copies);
		free(range_copies);
		return -ENOMEM;
	}
	for (size_t i = 0; i < addresses_count; i++) {
		const struct node_address *before = find_address(n, &addresses[i]);

		copies[i] = (struct node_address){
			.addr = addresses[i], .node = n, .since = before ? before->since : told, .is_owner = before && before->is_owner
		};
	}
	if (ranges_count > 0)
		memcpy(range_copies, ranges, ranges_count * sizeof(*ranges));
	if (n->ranges_count != ranges_count || (ranges_count > 0 && memcmp(n->ranges, ranges, ranges_count * sizeof(*ranges)) != 0))
		n->ranges_since = told;
	members_clear_node(m, n);
	n->addresses = copies;
	n->addresses_count = addresses_count;
	n->ranges = range_copies;
	n->ranges_count = ranges_count;
	for (size_t i = 0; i < addresses_count; i++)
		chains_add(&m->node_addresses, &copies[i].chain);
	return 0;
}

/* --- namespaces --- */

struct space *members_space(const struct members *m, const char *name)
{
	for (struct chain *c = chains_of(&m->spaces, hash_text(name)); c; c = c->next) {
		if (strcmp(space_of(c)->name, name) == 0)
			return space_of(c);
	}
	return NULL;
}

struct space *members_need_space(struct members *m, const char *name)
{
	struct space *s = members_space(m, name);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->name = strdup(name);
	if (!s->name) {
		free(s);
		return NULL;
	}
	chains_add(&m->spaces, &s->chain);
	return s;
}

void members_drop_space(struct members *m, struct space *s)
{
	if (s->is_known || s->pods_count > 0)
		return;
	chains_remove(&m->spaces, &s->chain);
	free(s->name);
	free(s);
}

/* --- pods --- */

const char *pod_name(const struct pod *p)
{
	return (const char *)&p->claims[p->claims_count];
}

const char *pod_uid(const struct pod *p)
{
	return p->is_culvert ? pod_name(p) + strlen(pod_name(p)) + 1 : "";
}

struct pod *members_pod(const struct members *m, const char *name_space, const char *name)
{
	for (struct chain *c = chains_of(&m->pods, hash_pod_name(name_space, name)); c; c = c->next) {
		if (strcmp(pod_name(pod_of(c)), name) == 0 && strcmp(pod_of(c)->space->name, name_space) == 0)
			return pod_of(c);
	}
	return NULL;
}

struct pod *members_add_pod(struct members *m, const char *name_space, const char *name, const char *uid, const char *node, bool is_culvert,
                            const struct addr *addresses, size_t addresses_count)
{
	size_t name_bytes = strlen(name) + 1, uid_bytes = is_culvert ? strlen(uid) + 1 : 0;
	struct pod *p = calloc(1, sizeof(*p) + addresses_count * sizeof(struct claim) + name_bytes + uid_bytes);
	struct space *s = members_need_space(m, name_space);
	struct node *n = members_need_node(m, node);
	char *at;

	assert(addresses_count <= MEMBER_ADDRESSES_MAX);
	if (!p || !s || !n) {
		free(p);
		if (s)
			members_drop_space(m, s);
		if (n)
			members_drop_node(m, n);
		return NULL;
	}
	p->claims_count = (uint8_t)addresses_count;
	p->is_culvert = is_culvert;
	p->uid_hash = hash_text(uid);
	p->space = s;
	p->node = n;
	at = (char *)&p->claims[addresses_count];
	memcpy(at, name, name_bytes);
	if (is_culvert)
		memcpy(at + name_bytes, uid, uid_bytes);
	s->pods_count++;
	p->node_next = n->pods;
	n->pods = p;
	for (size_t i = 0; i < addresses_count; i++) {
		p->claims[i].addr = addresses[i];
		p->claims[i].index = (uint8_t)i;
		chains_add(&m->claims, &p->claims[i].chain);
	}
	chains_add(&m->pods, &p->chain);
	members_mark_pod(m, p);
	return p;
}

void members_remove_pod(struct members *m, struct pod *p)
{
	struct pod **at = &p->node->pods;

	/* A node has some hundred pods at most. */
	while (*at != p)
		at = &(*at)->node_next;
	*at = p->node_next;
	chains_remove(&m->pods, &p->chain);
	for (size_t i = 0; i < p->claims_count; i++)
		chains_remove(&m->claims, &p->claims[i].chain);
	p->is_removed = true;
	members_mark_pod(m, p);
}

/* --- what is to be settled --- */

void members_mark_node(struct members *m, struct node *n)
{
	if (n->is_dirty)
		return;
	n->is_dirty = true;
	n->dirty_next = m->dirty_nodes;
	m->dirty_nodes = n;
}

void members_mark_pod(struct members *m, struct pod *p)
{
	if (p->is_dirty)
		return;
	p->is_dirty = true;
	p->dirty_next = m->dirty_pods;
	m->dirty_pods = p;
	/* What it leaves may be a node's. */
	for (size_t i = 0; i < p->claims_count; i++) {
		for (struct node_address *at = members_node_address(m, &p->claims[i].addr); at; at = node_address_next(at))
			members_mark_node(m, at->node);
	}
}

void members_mark_address(struct members *m, const struct addr *a)
{
	for (struct claim *c = members_claim(m, a); c; c = claim_next(c))
		members_mark_pod(m, claim_pod(c));
}

bool members_is_dirty(const struct members *m)
{
	return m->dirty_nodes || m->dirty_pods;
}

void members_settled(struct members *m)
{
	struct pod *next_pod;
	struct node *next_node;

	for (struct pod *p = m->dirty_pods; p; p = next_pod) {
		next_pod = p->dirty_next;
		p->is_dirty = false;
		p->dirty_next = NULL;
		if (!p->is_removed)
			continue;
		p->space->pods_count--;
		members_drop_space(m, p->space);
		/* Its node may have nothing else. */
		members_mark_node(m, p->node);
		free(p);
	}
	m->dirty_pods = NULL;
	for (struct node *n = m->dirty_nodes; n; n = next_node) {
		next_node = n->dirty_next;
		n->is_dirty = false;
		n->dirty_next = NULL;
		members_drop_node(m, n);
	}
	m->dirty_nodes = NULL;
}

/* --- by address --- */

static struct claim *claim_from(struct chain *c, const struct addr *a)
{
	for (; c; c = c->next) {
		if (addr_equal(&claim_of(c)->addr, a))
			return claim_of(c);
	}
	return NULL;
}

struct claim *members_claim(const struct members *m, const struct addr *a)
{
	return claim_from(chains_of(&m->claims, hash_addr(a)), a);
}

struct claim *claim_next(const struct claim *c)
{
	return claim_from(c->chain.next, &c->addr);
}

struct pod *claim_pod(const struct claim *c)
{
	const struct claim *first = c - c->index;

	return container_of(first, struct pod, claims);
}

static struct node_address *node_address_from(struct chain *c, const struct addr *a)
{
	for (; c; c = c->next) {
		if (addr_equal(&node_address_of(c)->addr, a))
			return node_address_of(c);
	}
	return NULL;
}

struct node_address *members_node_address(const struct members *m, const struct addr *a)
{
	return node_address_from(chains_of(&m->node_addresses, hash_addr(a)), a);
}

struct node_address *node_address_next(const struct node_address *a)
{
	return node_address_from(a->chain.next, &a->addr);
}

struct ghost *members_ghost(const struct members *m, const struct addr *a)
{
	for (struct chain *c = chains_of(&m->ghosts_by_address, hash_addr(a)); c; c = c->next) {
		if (addr_equal(&ghost_of(c)->addr, a))
			return ghost_of(c);
	}
	return NULL;
}

struct ghost *members_add_ghost(struct members *m, const struct addr *a, struct node *n, struct instant deadline)
{
	struct ghost *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->addr = *a;
	g->node = n;
	g->deadline = deadline;
	list_append(&m->ghosts, &g->entry);
	chains_add(&m->ghosts_by_address, &g->chain);
	return g;
}

void members_drop_ghost(struct members *m, struct ghost *g)
{
	list_remove(&g->entry);
	chains_remove(&m->ghosts_by_address, &g->chain);
	free(g);
}
