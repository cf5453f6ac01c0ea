/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/registry.h"

#include "base/hash.h"
#include "base/text.h"
#include "cluster/elect.h"
#include "cluster/settle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NODE_ADDRESSES_MAX = 16, /* a node with two families and an external address has four */
	NODE_RANGES_MAX = 8,     /* one a family; some clouds give several */
	/* Nobody's pods of one node fill more: a range this wide is a mistake that would take the rest of the world for pods. */
	RANGE_MIN_BITS_V4 = 8,
	RANGE_MIN_BITS_V6 = 16,
	V4_OFFSET_BITS = 96,
};

struct registry {
	struct settlement s;
	uint16_t marks[OBJECT_KINDS]; /* of the list that runs, or ran last */
};

/* --- what is said of a refused object --- */

static const char *const kind_texts[OBJECT_KINDS] = {
	[OBJECT_NODE] = "node",           [OBJECT_POD] = "pod",         [OBJECT_NAMESPACE] = "namespace", [OBJECT_RECORD] = "record",
	[OBJECT_ENDPOINTS] = "endpoints", [OBJECT_REQUEST] = "request",
};

struct judged {
	struct registry *r;
	uint64_t key;
	char object[REFUSAL_OBJECT_BYTES];
};

static void name_object(enum object_kind kind, const struct object_meta *m, char text[REFUSAL_OBJECT_BYTES])
{
	bool has_space = kind == OBJECT_POD || kind == OBJECT_ENDPOINTS;

	(void)snprintf(text, REFUSAL_OBJECT_BYTES, "%s %.60s%s%.90s", kind_texts[kind], has_space ? m->name_space : "",
	               has_space ? "/" : "", m->name);
}

static struct judged judge_begin(struct registry *r, enum object_kind kind, const struct object_meta *m)
{
	struct judged j = { .r = r };

	name_object(kind, m, j.object);
	j.key = hash_bytes(j.object, strlen(j.object));
	refusals_begin(&r->s.refusals, j.key);
	return j;
}

static void judge_end(struct judged *j)
{
	refusals_end(&j->r->s.refusals, j->key);
}

#define refuse(j, ...) settle_refuse(&(j)->r->s, (j)->key, (j)->object, __VA_ARGS__)

static void refuse_faults(struct judged *j, const struct object *o)
{
	for (size_t i = 0; i < o->faults_count; i++)
		refuse(j, "%s", o->faults[i].text);
}

/* --- forms --- */

/* Why no node and no pod of another node can have it; NULL: it can. */
static const char *fault_of_address(const struct addr *a)
{
	const uint8_t *b = a->bytes;

	if (addr_is_v4(a)) {
		const uint8_t *v4 = b + 12;

		if (v4[0] == 0)
			return "is no host's";
		if (v4[0] == 127)
			return "is a loopback address";
		if (v4[0] == 169 && v4[1] == 254)
			return "is link-local";
		if (v4[0] >= 240)
			return "is reserved";
		return v4[0] >= 224 ? "is multicast" : NULL;
	}
	for (size_t i = 0; i < 15; i++) {
		if (b[i] != 0)
			break;
		if (i == 14)
			return b[15] == 0 ? "is no host's" : b[15] == 1 ? "is a loopback address" : NULL;
	}
	if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
		return "is link-local";
	return b[0] == 0xff ? "is multicast" : NULL;
}

static size_t take_addresses(struct judged *j, const char *field, const struct addr *from, size_t from_count, struct addr *ret, size_t max)
{
	char text[ADDR_TEXT_BYTES];
	size_t count = 0;

	for (size_t i = 0; i < from_count; i++) {
		const char *fault = fault_of_address(&from[i]);
		bool is_twice = false;

		for (size_t k = 0; k < count; k++)
			is_twice |= addr_equal(&ret[k], &from[i]);
		if (fault)
			refuse(j, "%s: %s %s, and can not be reached from another node", field, addr_print(&from[i], text), fault);
		else if (!is_twice && count == max)
			refuse(j, "%s: %s is one too many: at most %zu are taken", field, addr_print(&from[i], text), max);
		else if (!is_twice)
			ret[count++] = from[i];
	}
	return count;
}

static const char *fault_of_range(const struct settlement *s, const struct prefix *p)
{
	bool is_v4 = addr_is_v4(&p->addr) && p->len_bits >= V4_OFFSET_BITS;
	struct addr first = p->addr;

	if (p->len_bits < (is_v4 ? V4_OFFSET_BITS + RANGE_MIN_BITS_V4 : RANGE_MIN_BITS_V6))
		return "is wider than any node's pods";
	first.bytes[15] |= p->len_bits < 128; /* 10.0.0.0 is no host's, and is where 10.0.0.0/8 begins */
	if (fault_of_address(&first))
		return "has addresses that no pod can have";
	for (size_t i = 0; i < s->reserved_count; i++) {
		if (prefix_overlaps(p, &s->reserved[i]))
			return "has addresses of Services or of the API server";
	}
	return NULL;
}

static size_t take_ranges(struct judged *j, const struct prefix *from, size_t from_count, struct prefix *ret)
{
	char text[PREFIX_TEXT_BYTES];
	size_t count = 0;

	for (size_t i = 0; i < from_count; i++) {
		const char *fault = fault_of_range(&j->r->s, &from[i]);

		if (fault)
			refuse(j, "spec.podCIDRs: %s %s", prefix_print(&from[i], text), fault);
		else if (count == NODE_RANGES_MAX)
			refuse(j, "spec.podCIDRs: %s is one too many: at most %d are taken", prefix_print(&from[i], text), NODE_RANGES_MAX);
		else
			ret[count++] = from[i];
	}
	return count;
}

static bool is_name_good(struct judged *j, const char *what, const char *name)
{
	char quoted[TEXT_QUOTE_BYTES];

	if (strlen(name) < VIEW_NODE_NAME_BYTES && text_is_subdomain(name))
		return true;
	refuse(j, "%s %s is no node's name", what, text_quote(name, quoted));
	return false;
}

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

static void mark_pods_of(struct registry *r, struct node *n)
{
	for (struct pod *p = n->pods; p; p = p->node_next)
		members_mark_pod(&r->s.members, p);
}

/* Who else says that it has an address of n, be it a node or a pod, is settled again. */
static void mark_rivals(struct registry *r, const struct node *n)
{
	for (size_t i = 0; i < n->addresses_count; i++) {
		const struct addr *a = &n->addresses[i].addr;

		for (struct node_address *at = members_node_address(&r->s.members, a); at; at = node_address_next(at))
			members_mark_node(&r->s.members, at->node);
		members_mark_address(&r->s.members, a);
	}
}

/* What n says is its own, to look back at when it says something else. */
static size_t copy_addresses(const struct node *n, struct addr ret[NODE_ADDRESSES_MAX])
{
	for (size_t i = 0; i < n->addresses_count; i++)
		ret[i] = n->addresses[i].addr;
	return n->addresses_count;
}

static void forget_addresses(struct registry *r, const struct addr *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++)
		elect_forget(&r->s, &addresses[i]);
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

static int put_node(struct registry *r, const struct object *o, struct judged *j)
{
	struct prefix ranges[NODE_RANGES_MAX];
	struct addr addresses[NODE_ADDRESSES_MAX];
	size_t addresses_count, ranges_count;
	uint32_t created_s = seconds_of(o->meta.created_s);
	struct node *n;

	if (!is_name_good(j, "metadata.name", o->meta.name))
		return 0;
	memset(ranges, 0, sizeof(ranges));
	addresses_count = take_addresses(j, "status.addresses", o->node.addresses, o->node.addresses_count, addresses, NODE_ADDRESSES_MAX);
	ranges_count = take_ranges(j, o->node.ranges, o->node.ranges_count, ranges);
	if (addresses_count == 0)
		refuse(j, "status.addresses: none that another node could reach: no tunnel leads there until it has one");
	n = members_need_node(&r->s.members, o->meta.name);
	if (!n)
		return -ENOMEM;
	if (!n->is_known || !has_same_addresses(n, addresses, addresses_count) || !has_same_ranges(n, ranges, ranges_count) ||
	    n->created_s != created_s) {
		bool has_other_ranges = !n->is_known || !has_same_ranges(n, ranges, ranges_count);
		struct addr before[NODE_ADDRESSES_MAX];
		size_t before_count = copy_addresses(n, before);

		r->s.told += r->s.view != NULL;
		mark_rivals(r, n);
		if (members_set_node(&r->s.members, n, addresses, addresses_count, ranges, ranges_count, r->s.told) < 0) {
			members_drop_node(&r->s.members, n);
			return -ENOMEM;
		}
		forget_addresses(r, before, before_count);
		mark_rivals(r, n);
		members_mark_node(&r->s.members, n);
		r->s.is_ranged_dirty |= has_other_ranges || n->created_s != created_s;
	}
	if (!n->is_known) {
		mark_pods_of(r, n);
		r->s.members.nodes_known++;
	}
	if (strcmp(n->uid, o->meta.uid) != 0 || n->is_unenrolled != o->node.is_unenrolled)
		members_mark_node(&r->s.members, n);
	n->is_known = n->was_known = true;
	n->created_s = created_s;
	n->is_unenrolled = o->node.is_unenrolled;
	n->node_mark = r->marks[OBJECT_NODE];
	copy_text(n->uid, sizeof(n->uid), o->meta.uid);
	return 0;
}

static void node_gone(struct registry *r, struct node *n)
{
	struct addr before[NODE_ADDRESSES_MAX];
	size_t before_count;

	members_mark_node(&r->s.members, n);
	if (strcmp(n->name, r->s.self) == 0) {
		/* We run on it still. It is enrolled no more, and its addresses stay told apart. */
		n->uid[0] = '\0';
		return;
	}
	before_count = copy_addresses(n, before);
	mark_rivals(r, n);
	mark_pods_of(r, n);
	members_clear_node(&r->s.members, n);
	forget_addresses(r, before, before_count);
	n->is_known = false;
	n->uid[0] = '\0';
	r->s.members.nodes_known--;
	r->s.is_ranged_dirty = true;
}

/* --- records --- */

static int put_record(struct registry *r, const struct object *o, struct judged *j)
{
	const struct object_record *record = &o->record;
	struct node *n;

	if (!is_name_good(j, "metadata.name", o->meta.name))
		return 0;
	if (record->node_uid[0] == '\0')
		refuse(j, "metadata.ownerReferences: no Node owns it, so it enrols nobody");
	if (record->tunnel_port > UINT16_MAX)
		refuse(j, "annotation culvert.dev/port: %u is no port", record->tunnel_port);
	n = members_need_node(&r->s.members, o->meta.name);
	if (!n)
		return -ENOMEM;
	if (!n->has_record || strcmp(n->record_uid, record->node_uid) != 0)
		members_mark_node(&r->s.members, n);
	n->has_record = record->node_uid[0] != '\0';
	n->record_mark = r->marks[OBJECT_RECORD];
	n->record_port = record->tunnel_port > UINT16_MAX ? 0 : (uint16_t)record->tunnel_port;
	copy_text(n->record_uid, sizeof(n->record_uid), record->node_uid);
	copy_text(n->record_hash, sizeof(n->record_hash), record->settings_hash);
	return 0;
}

static void record_gone(struct registry *r, struct node *n)
{
	members_mark_node(&r->s.members, n);
	n->has_record = false;
	n->record_uid[0] = n->record_hash[0] = '\0';
	n->record_port = 0;
}

/* --- namespaces --- */

struct marking {
	struct registry *r;
	const struct space *space; /* NULL: all */
};

static void mark_pod_of(void *ctx, struct chain *entry)
{
	const struct marking *m = ctx;
	struct pod *p = container_of(entry, struct pod, chain);

	if (!m->space || p->space == m->space)
		members_mark_pod(&m->r->s.members, p);
}

static void mark_pods_in(struct registry *r, const struct space *space)
{
	struct marking m = { .r = r, .space = space };

	chains_visit(&r->s.members.pods, mark_pod_of, &m);
}

static void set_opted_out(struct registry *r, struct space *s, bool is_opted_out)
{
	if (s->is_opted_out == is_opted_out)
		return;
	s->is_opted_out = is_opted_out;
	if (s->pods_count > 0)
		mark_pods_in(r, s);
}

static int put_space(struct registry *r, const struct object *o)
{
	struct space *s = members_need_space(&r->s.members, o->meta.name);

	if (!s)
		return -ENOMEM;
	s->is_known = true;
	s->mark = r->marks[OBJECT_NAMESPACE];
	set_opted_out(r, s, o->name_space.is_opted_out);
	return 0;
}

static void space_gone(struct registry *r, struct space *s)
{
	set_opted_out(r, s, false);
	s->is_known = false;
	members_drop_space(&r->s.members, s);
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
static void mark_daemons_node(struct registry *r, const struct pod *p)
{
	if (p->is_culvert)
		members_mark_node(&r->s.members, p->node);
}

static void remove_pod(struct registry *r, struct pod *p)
{
	mark_daemons_node(r, p);
	members_remove_pod(&r->s.members, p);
}

static void update_pod(struct registry *r, struct pod *p, const struct object *o)
{
	if (p->is_leaving != o->meta.is_deleting)
		mark_daemons_node(r, p);
	if (p->is_leaving != o->meta.is_deleting || p->is_opted_out != o->pod.is_opted_out)
		members_mark_pod(&r->s.members, p);
	p->is_leaving = o->meta.is_deleting;
	p->is_opted_out = o->pod.is_opted_out;
	p->created_s = seconds_of(o->meta.created_s);
	p->mark = r->marks[OBJECT_POD];
}

static int put_pod(struct registry *r, const struct object *o, struct judged *j)
{
	struct pod *before = members_pod(&r->s.members, o->meta.name_space, o->meta.name), *p;
	const struct object_pod *pod = &o->pod;
	struct addr addresses[MEMBER_ADDRESSES_MAX];
	bool is_over = pod->phase == OBJECT_SUCCEEDED || pod->phase == OBJECT_FAILED;
	/* Whoever may make pods in some namespace can give them any label. */
	bool is_culvert = pod->is_culvert && strcmp(o->meta.name_space, r->s.culvert_namespace) == 0;
	uint64_t uid_hash = hash_bytes(o->meta.uid, strlen(o->meta.uid));
	size_t count = 0;

	/* A finished pod has left its address, whatever its status still says. */
	if (is_over || pod->node[0] == '\0' || !is_name_good(j, "spec.nodeName", pod->node)) {
		if (before)
			remove_pod(r, before);
		return 0;
	}
	/* On the host's network its addresses are its node's. */
	if (!pod->is_host_network)
		count = take_addresses(j, "status.podIPs", pod->addresses, pod->addresses_count, addresses, MEMBER_ADDRESSES_MAX);
	if (count == 0 && !is_culvert) {
		if (before)
			remove_pod(r, before);
		return 0;
	}
	if (before && before->uid_hash == uid_hash && before->is_culvert == is_culvert && strcmp(before->node->name, pod->node) == 0 &&
	    has_same_claims(before, addresses, count)) {
		update_pod(r, before, o);
		return 0;
	}
	p = members_add_pod(&r->s.members, o->meta.name_space, o->meta.name, o->meta.uid, pod->node, is_culvert, addresses, count);
	if (!p)
		return -ENOMEM;
	update_pod(r, p, o);
	mark_daemons_node(r, p);
	if (before) {
		if (before->uid_hash == uid_hash && before->node == p->node)
			inherit_claims(p, before);
		remove_pod(r, before);
	}
	return 0;
}

/* --- the whole --- */

/* What the list has is there, whatever could not be taken of it: the end of the list must not take it for gone. */
static void keep(struct registry *r, enum object_kind kind, const struct object_meta *m)
{
	struct node *n = kind == OBJECT_NODE || kind == OBJECT_RECORD ? members_node(&r->s.members, m->name) : NULL;
	struct space *s = kind == OBJECT_NAMESPACE ? members_space(&r->s.members, m->name) : NULL;
	struct pod *p = kind == OBJECT_POD ? members_pod(&r->s.members, m->name_space, m->name) : NULL;

	if (n && kind == OBJECT_NODE)
		n->node_mark = r->marks[OBJECT_NODE];
	else if (n)
		n->record_mark = r->marks[OBJECT_RECORD];
	if (s)
		s->mark = r->marks[OBJECT_NAMESPACE];
	if (p)
		p->mark = r->marks[OBJECT_POD];
}

int registry_put(struct registry *r, const struct object *o)
{
	struct judged j = judge_begin(r, o->kind, &o->meta);
	int rc = 0;

	refuse_faults(&j, o);
	switch (o->kind) {
	case OBJECT_NODE:
		rc = put_node(r, o, &j);
		break;
	case OBJECT_POD:
		rc = put_pod(r, o, &j);
		break;
	case OBJECT_NAMESPACE:
		rc = put_space(r, o);
		break;
	case OBJECT_RECORD:
		rc = put_record(r, o, &j);
		break;
	case OBJECT_ENDPOINTS: /* nobody's address: no more than what can not be taken of it is kept here */
	case OBJECT_REQUEST:   /* not a registry's */
	case OBJECT_KINDS:
		break;
	}
	judge_end(&j);
	if (rc < 0)
		keep(r, o->kind, &o->meta);
	return rc;
}

void registry_keep(struct registry *r, enum object_kind kind, const struct object_meta *m, const char *why)
{
	struct judged j = judge_begin(r, kind, m);

	refuse(&j, "%s; what was known of it stays in force", why);
	judge_end(&j);
	keep(r, kind, m);
}

void registry_gone(struct registry *r, enum object_kind kind, const struct object_meta *m)
{
	struct judged j = judge_begin(r, kind, m);
	struct node *n = kind == OBJECT_NODE || kind == OBJECT_RECORD ? members_node(&r->s.members, m->name) : NULL;
	struct space *s = kind == OBJECT_NAMESPACE ? members_space(&r->s.members, m->name) : NULL;
	struct pod *p = kind == OBJECT_POD ? members_pod(&r->s.members, m->name_space, m->name) : NULL;

	/* What was refused of it is refused no more. */
	judge_end(&j);
	if (kind == OBJECT_NODE && n && n->is_known)
		node_gone(r, n);
	if (kind == OBJECT_RECORD && n && n->has_record)
		record_gone(r, n);
	if (s && s->is_known)
		space_gone(r, s);
	if (p)
		remove_pod(r, p);
}

void registry_list_began(struct registry *r, enum object_kind kind)
{
	r->marks[kind]++;
}

static void sweep_node(void *ctx, struct chain *entry)
{
	struct registry *r = ctx;
	struct node *n = container_of(entry, struct node, chain);

	if (n->is_known && n->node_mark != r->marks[OBJECT_NODE])
		node_gone(r, n);
}

static void sweep_record(void *ctx, struct chain *entry)
{
	struct registry *r = ctx;
	struct node *n = container_of(entry, struct node, chain);

	if (n->has_record && n->record_mark != r->marks[OBJECT_RECORD])
		record_gone(r, n);
}

static void sweep_space(void *ctx, struct chain *entry)
{
	struct registry *r = ctx;
	struct space *s = container_of(entry, struct space, chain);

	if (s->is_known && s->mark != r->marks[OBJECT_NAMESPACE])
		space_gone(r, s);
}

static void sweep_pod(void *ctx, struct chain *entry)
{
	struct registry *r = ctx;
	struct pod *p = container_of(entry, struct pod, chain);

	if (p->mark != r->marks[OBJECT_POD])
		remove_pod(r, p);
}

void registry_list_ended(struct registry *r, enum object_kind kind)
{
	switch (kind) {
	case OBJECT_NODE:
		chains_visit(&r->s.members.nodes, sweep_node, r);
		break;
	case OBJECT_POD:
		chains_visit(&r->s.members.pods, sweep_pod, r);
		break;
	case OBJECT_NAMESPACE:
		chains_visit(&r->s.members.spaces, sweep_space, r);
		break;
	case OBJECT_RECORD:
		chains_visit(&r->s.members.nodes, sweep_record, r);
		break;
	case OBJECT_ENDPOINTS: /* nobody's address: no more than what can not be taken of it is kept here */
	case OBJECT_REQUEST:   /* not a registry's */
	case OBJECT_KINDS:
		break;
	}
}

bool registry_is_changed(const struct registry *r)
{
	return members_is_dirty(&r->s.members) || r->s.is_ranged_dirty;
}

bool registry_deadline(const struct registry *r, struct instant *ret)
{
	const struct list *ghosts = &r->s.members.ghosts;

	if (list_is_empty(ghosts))
		return false;
	*ret = container_of(ghosts->next, struct ghost, entry)->deadline;
	return true;
}

int registry_publish(struct registry *r, struct instant now, struct view **ret)
{
	struct instant deadline;
	int rc = 0;

	if (!r->s.view || registry_is_changed(r) || (registry_deadline(r, &deadline) && !instant_before(now, deadline)))
		rc = settle(&r->s, now);
	if (rc == 0)
		*ret = view_ref(r->s.view);
	return rc;
}

struct registry_node registry_node(const struct registry *r, const char *name)
{
	const struct node *n = members_node(&r->s.members, name);
	bool is_current;

	if (!n)
		return (struct registry_node){ .uid = "", .record_hash = "" };
	is_current = n->has_record && n->uid[0] != '\0' && strcmp(n->record_uid, n->uid) == 0;
	return (struct registry_node){
		.is_known = n->is_known && n->uid[0] != '\0',
		.is_enrolled = node_is_enrolled(n),
		.is_unenrolled = n->is_unenrolled,
		.has_record = is_current,
		.has_old_record = n->has_record && !is_current,
		.record_port = n->record_port,
		.uid = n->uid,
		.record_hash = n->record_hash,
	};
}

static void count_node(void *ctx, struct chain *entry)
{
	struct registry_counts *c = ctx;
	const struct node *n = container_of(entry, const struct node, chain);

	c->nodes += n->is_known && n->uid[0] != '\0';
	c->enrolled += node_is_enrolled(n);
}

static void count_space(void *ctx, struct chain *entry)
{
	struct registry_counts *c = ctx;

	c->namespaces += container_of(entry, const struct space, chain)->is_known;
}

struct registry_counts registry_counts(const struct registry *r)
{
	/* Visiting takes tables that may be changed; these visitors change nothing. */
	struct chains nodes = r->s.members.nodes, spaces = r->s.members.spaces;
	struct registry_counts c = { .pods = r->s.members.pods.count, .ended = r->s.members.ghosts_by_address.count };

	chains_visit(&nodes, count_node, &c);
	chains_visit(&spaces, count_space, &c);
	return c;
}

const struct refusals *registry_refusals(const struct registry *r)
{
	return &r->s.refusals;
}

/* --- settings --- */

static int copy_prefixes(const struct prefix *from, size_t count, struct prefix **ret)
{
	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	if (count > 0)
		memcpy(*ret, from, count * sizeof(*from));
	return 0;
}

int registry_apply(struct registry *r, const struct registry_settings *s)
{
	struct prefix *pod_space = NULL, *reserved = NULL;
	char *name_space = strdup(s->culvert_namespace ? s->culvert_namespace : "");

	if (!name_space || copy_prefixes(s->pod_space, s->pod_space_count, &pod_space) ||
	    copy_prefixes(s->reserved, s->reserved_count, &reserved)) {
		free(name_space);
		free(pod_space);
		free(reserved);
		return -ENOMEM;
	}
	free(r->s.culvert_namespace);
	r->s.culvert_namespace = name_space;
	free(r->s.pod_space);
	free(r->s.reserved);
	r->s.pod_space = pod_space;
	r->s.pod_space_count = s->pod_space_count;
	r->s.reserved = reserved;
	r->s.reserved_count = s->reserved_count;
	r->s.is_ranges_own = s->is_ranges_own;
	r->s.is_space_opt_out_allowed = s->is_space_opt_out_allowed;
	r->s.is_pod_opt_out_allowed = s->is_pod_opt_out_allowed;
	r->s.is_ranged_dirty = true;
	mark_pods_in(r, NULL);
	return 0;
}

void registry_set_recall(struct registry *r, registry_recall_fn recall, void *ctx)
{
	r->s.recall = recall;
	r->s.recall_ctx = ctx;
}

int registry_set_namespace(struct registry *r, const char *culvert_namespace)
{
	char *copy = strdup(culvert_namespace);

	if (!copy)
		return -ENOMEM;
	free(r->s.culvert_namespace);
	r->s.culvert_namespace = copy;
	return 0;
}

int registry_create(const struct registry_settings *s, void (*refused)(void *ctx, const char *object, const char *text), void *ctx,
                    struct registry **ret)
{
	struct registry *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->s.refused = refused;
	r->s.ctx = ctx;
	r->s.self = strdup(s->self);
	rc = r->s.self ? members_init(&r->s.members) : -ENOMEM;
	if (rc == 0)
		rc = registry_apply(r, s);
	if (rc < 0) {
		registry_destroy(r);
		return rc;
	}
	*ret = r;
	return 0;
}

void registry_destroy(struct registry *r)
{
	if (!r)
		return;
	view_unref(r->s.view);
	if (r->s.members.nodes.heads)
		members_done(&r->s.members);
	free(r->s.ranged);
	free(r->s.pod_space);
	free(r->s.reserved);
	free(r->s.culvert_namespace);
	free(r->s.self);
	free(r);
}
