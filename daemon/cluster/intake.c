/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/intake.h"

#include "base/hash.h"
#include "cluster/elect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NODE_ADDRESSES_MAX = 16 }; /* a node with two families and an external address has four */

static uint32_t seconds_of(int64_t created_s)
{
	/* Who does not say is the youngest: it takes nothing from anybody. */
	return created_s <= 0 || created_s > UINT32_MAX ? UINT32_MAX : (uint32_t)created_s;
}

static void copy_text(char *to, size_t cap_bytes, const char *from)
{
	(void)snprintf(to, cap_bytes, "%s", from);
}

/* --- nodes --- */

static void mark_pods_of(struct settlement *s, struct node *n)
{
	for (struct pod *p = n->pods; p; p = p->node_next)
		members_mark_pod(&s->members, p);
}

/* Who else says that it has an address of n, be it a node or a pod, is settled again. */
static void mark_rivals(struct settlement *s, const struct node *n)
{
	for (size_t i = 0; i < n->addresses_count; i++) {
		const struct addr *a = &n->addresses[i].addr;

		for (struct node_address *at = members_node_address(&s->members, a); at; at = node_address_next(at))
			members_mark_node(&s->members, at->node);
		members_mark_address(&s->members, a);
	}
}

/* What n says is its own, to look back at when it says something else. */
static size_t copy_addresses(const struct node *n, struct addr ret[NODE_ADDRESSES_MAX])
{
	for (size_t i = 0; i < n->addresses_count; i++)
		ret[i] = n->addresses[i].addr;
	return n->addresses_count;
}

static void forget_addresses(struct settlement *s, const struct addr *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++)
		elect_forget(s, &addresses[i]);
}

static bool has_same_addresses(const struct node *n, const struct addr *addresses, size_t count)
{
	if (n->addresses_count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!addr_equal(&n->addresses[i].addr, &addresses[i]))
			return false;
	}
	return true;
}

static bool has_same_ranges(const struct node *n, const struct prefix *ranges, size_t count)
{
	return n->ranges_count == count && (count == 0 || memcmp(n->ranges, ranges, count * sizeof(*ranges)) == 0);
}

int intake_node(struct settlement *s, const struct object *o, struct judged *j, uint16_t mark)
{
	struct prefix ranges[JUDGED_RANGES_MAX];
	struct addr addresses[NODE_ADDRESSES_MAX];
	size_t addresses_count, ranges_count;
	uint32_t created_s = seconds_of(o->meta.created_s);
	struct node *n;

	if (!judged_is_node_name(j, "metadata.name", o->meta.name))
		return 0;
	memset(ranges, 0, sizeof(ranges));
	addresses_count = judged_addresses(j, "status.addresses", o->node.addresses, o->node.addresses_count, addresses,
	                                   NODE_ADDRESSES_MAX);
	ranges_count = judged_ranges(j, o->node.ranges, o->node.ranges_count, ranges);
	if (addresses_count == 0)
		judged_refuse(j, "status.addresses: none that another node could reach: no tunnel leads there until it has one");
	n = members_need_node(&s->members, o->meta.name);
	if (!n)
		return -ENOMEM;
	if (!n->is_known || !has_same_addresses(n, addresses, addresses_count) || !has_same_ranges(n, ranges, ranges_count) ||
	    n->created_s != created_s) {
		bool has_other_ranges = !n->is_known || !has_same_ranges(n, ranges, ranges_count);
		struct addr before[NODE_ADDRESSES_MAX];
		size_t before_count = copy_addresses(n, before);

		s->told += s->view != NULL;
		mark_rivals(s, n);
		if (members_set_node(&s->members, n, addresses, addresses_count, ranges, ranges_count, s->told) < 0) {
			members_drop_node(&s->members, n);
			return -ENOMEM;
		}
		forget_addresses(s, before, before_count);
		mark_rivals(s, n);
		members_mark_node(&s->members, n);
		s->is_ranged_dirty |= has_other_ranges || n->created_s != created_s;
	}
	if (!n->is_known) {
		mark_pods_of(s, n);
		s->members.nodes_known++;
	}
	if (strcmp(n->uid, o->meta.uid) != 0 || n->is_unenrolled != o->node.is_unenrolled)
		members_mark_node(&s->members, n);
	n->is_known = n->was_known = true;
	n->created_s = created_s;
	n->is_unenrolled = o->node.is_unenrolled;
	n->node_mark = mark;
	copy_text(n->uid, sizeof(n->uid), o->meta.uid);
	return 0;
}

void intake_node_gone(struct settlement *s, struct node *n)
{
	struct addr before[NODE_ADDRESSES_MAX];
	size_t before_count;

	members_mark_node(&s->members, n);
	if (strcmp(n->name, s->self) == 0) {
		/* We run on it still. It is enrolled no more, and its addresses stay told apart. */
		n->uid[0] = '\0';
		return;
	}
	before_count = copy_addresses(n, before);
	mark_rivals(s, n);
	mark_pods_of(s, n);
	members_clear_node(&s->members, n);
	forget_addresses(s, before, before_count);
	n->is_known = false;
	n->uid[0] = '\0';
	s->members.nodes_known--;
	s->is_ranged_dirty = true;
}

/* --- records --- */

int intake_record(struct settlement *s, const struct object *o, struct judged *j, uint16_t mark)
{
	const struct object_record *record = &o->record;
	struct node *n;

	if (!judged_is_node_name(j, "metadata.name", o->meta.name))
		return 0;
	if (record->node_uid[0] == '\0')
		judged_refuse(j, "metadata.ownerReferences: no Node owns it, so it enrols nobody");
	if (record->tunnel_port > UINT16_MAX)
		judged_refuse(j, "annotation culvert.dev/port: %u is no port", record->tunnel_port);
	n = members_need_node(&s->members, o->meta.name);
	if (!n)
		return -ENOMEM;
	if (!n->has_record || strcmp(n->record_uid, record->node_uid) != 0)
		members_mark_node(&s->members, n);
	n->has_record = record->node_uid[0] != '\0';
	n->record_mark = mark;
	n->record_port = record->tunnel_port > UINT16_MAX ? 0 : (uint16_t)record->tunnel_port;
	copy_text(n->record_uid, sizeof(n->record_uid), record->node_uid);
	copy_text(n->record_hash, sizeof(n->record_hash), record->settings_hash);
	return 0;
}

void intake_record_gone(struct settlement *s, struct node *n)
{
	members_mark_node(&s->members, n);
	n->has_record = false;
	n->record_uid[0] = n->record_hash[0] = '\0';
	n->record_port = 0;
}

/* --- namespaces --- */

struct marking {
	struct settlement *settlement;
	const struct space *space; /* NULL: all */
};

static void mark_pod_of(void *ctx, struct chain *entry)
{
	const struct marking *m = ctx;
	struct pod *p = container_of(entry, struct pod, chain);

	if (!m->space || p->space == m->space)
		members_mark_pod(&m->settlement->members, p);
}

void intake_mark_pods(struct settlement *s, const struct space *space)
{
	struct marking m = { .settlement = s, .space = space };

	chains_visit(&s->members.pods, mark_pod_of, &m);
}

static void set_opted_out(struct settlement *s, struct space *space, bool is_opted_out)
{
	if (space->is_opted_out == is_opted_out)
		return;
	space->is_opted_out = is_opted_out;
	if (space->pods_count > 0)
		intake_mark_pods(s, space);
}

int intake_space(struct settlement *s, const struct object *o, uint16_t mark)
{
	struct space *space = members_need_space(&s->members, o->meta.name);

	if (!space)
		return -ENOMEM;
	space->is_known = true;
	space->mark = mark;
	set_opted_out(s, space, o->name_space.is_opted_out);
	return 0;
}

void intake_space_gone(struct settlement *s, struct space *space)
{
	set_opted_out(s, space, false);
	space->is_known = false;
	members_drop_space(&s->members, space);
}

/* --- pods --- */

static bool has_same_claims(const struct pod *p, const struct addr *addresses, size_t count)
{
	if (p->claims_count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!addr_equal(&p->claims[i].addr, &addresses[i]))
			return false;
	}
	return true;
}

/* The same pod with other addresses is still the owner of those that it kept. */
static void inherit_claims(struct pod *p, const struct pod *before)
{
	for (size_t i = 0; i < p->claims_count; i++) {
		for (size_t k = 0; k < before->claims_count; k++) {
			if (addr_equal(&p->claims[i].addr, &before->claims[k].addr))
				p->claims[i].is_owner = before->claims[k].is_owner;
		}
	}
}

/* The node's view has the names of Culvert's own pods. */
static void mark_daemons_node(struct settlement *s, const struct pod *p)
{
	if (p->is_culvert)
		members_mark_node(&s->members, p->node);
}

void intake_pod_gone(struct settlement *s, struct pod *p)
{
	mark_daemons_node(s, p);
	members_remove_pod(&s->members, p);
}

static void update_pod(struct settlement *s, struct pod *p, const struct object *o, uint16_t mark)
{
	if (p->is_leaving != o->meta.is_deleting)
		mark_daemons_node(s, p);
	if (p->is_leaving != o->meta.is_deleting || p->is_opted_out != o->pod.is_opted_out)
		members_mark_pod(&s->members, p);
	p->is_leaving = o->meta.is_deleting;
	p->is_opted_out = o->pod.is_opted_out;
	p->created_s = seconds_of(o->meta.created_s);
	p->mark = mark;
}

int intake_pod(struct settlement *s, const struct object *o, struct judged *j, uint16_t mark)
{
	struct pod *before = members_pod(&s->members, o->meta.name_space, o->meta.name), *p;
	const struct object_pod *pod = &o->pod;
	struct addr addresses[MEMBER_ADDRESSES_MAX];
	bool is_over = pod->phase == OBJECT_SUCCEEDED || pod->phase == OBJECT_FAILED;
	/* Whoever may make pods in some namespace can give them any label. */
	bool is_culvert = pod->is_culvert && strcmp(o->meta.name_space, s->culvert_namespace) == 0;
	uint64_t uid_hash = hash_bytes(o->meta.uid, strlen(o->meta.uid));
	size_t count = 0;

	/* A finished pod has left its address, whatever its status still says. */
	if (is_over || pod->node[0] == '\0' || !judged_is_node_name(j, "spec.nodeName", pod->node)) {
		if (before)
			intake_pod_gone(s, before);
		return 0;
	}
	/* On the host's network its addresses are its node's. */
	if (!pod->is_host_network)
		count = judged_addresses(j, "status.podIPs", pod->addresses, pod->addresses_count, addresses, MEMBER_ADDRESSES_MAX);
	if (count == 0 && !is_culvert) {
		if (before)
			intake_pod_gone(s, before);
		return 0;
	}
	if (before && before->uid_hash == uid_hash && before->is_culvert == is_culvert && strcmp(before->node->name, pod->node) == 0 &&
	    has_same_claims(before, addresses, count)) {
		update_pod(s, before, o, mark);
		return 0;
	}
	p = members_add_pod(&s->members, o->meta.name_space, o->meta.name, o->meta.uid, pod->node, is_culvert, addresses, count);
	if (!p)
		return -ENOMEM;
	update_pod(s, p, o, mark);
	mark_daemons_node(s, p);
	if (before) {
		if (before->uid_hash == uid_hash && before->node == p->node)
			inherit_claims(p, before);
		intake_pod_gone(s, before);
	}
	return 0;
}
