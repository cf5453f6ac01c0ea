/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/registry.h"

#include "cluster/intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct registry {
	struct settlement s;
	uint16_t marks[OBJECT_KINDS]; /* of the list that runs, or ran last */
};

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
	struct judged j = judged_begin(&r->s, o->kind, &o->meta);
	int rc = 0;

	judged_faults(&j, o);
	switch (o->kind) {
	case OBJECT_NODE:
		rc = intake_node(&r->s, o, &j, r->marks[OBJECT_NODE]);
		break;
	case OBJECT_POD:
		rc = intake_pod(&r->s, o, &j, r->marks[OBJECT_POD]);
		break;
	case OBJECT_NAMESPACE:
		rc = intake_space(&r->s, o, r->marks[OBJECT_NAMESPACE]);
		break;
	case OBJECT_RECORD:
		rc = intake_record(&r->s, o, &j, r->marks[OBJECT_RECORD]);
		break;
	case OBJECT_ENDPOINTS: /* nobody's address: no more than what can not be taken of it is kept here */
	case OBJECT_REQUEST:   /* not a registry's */
	case OBJECT_KINDS:
		break;
	}
	judged_end(&j);
	if (rc < 0)
		keep(r, o->kind, &o->meta);
	return rc;
}

void registry_keep(struct registry *r, enum object_kind kind, const struct object_meta *m, const char *why)
{
	struct judged j = judged_begin(&r->s, kind, m);

	judged_refuse(&j, "%s; what was known of it stays in force", why);
	judged_end(&j);
	keep(r, kind, m);
}

void registry_gone(struct registry *r, enum object_kind kind, const struct object_meta *m)
{
	struct judged j = judged_begin(&r->s, kind, m);
	struct node *n = kind == OBJECT_NODE || kind == OBJECT_RECORD ? members_node(&r->s.members, m->name) : NULL;
	struct space *s = kind == OBJECT_NAMESPACE ? members_space(&r->s.members, m->name) : NULL;
	struct pod *p = kind == OBJECT_POD ? members_pod(&r->s.members, m->name_space, m->name) : NULL;

	/* What was refused of it is refused no more. */
	judged_end(&j);
	if (kind == OBJECT_NODE && n && n->is_known)
		intake_node_gone(&r->s, n);
	if (kind == OBJECT_RECORD && n && n->has_record)
		intake_record_gone(&r->s, n);
	if (s && s->is_known)
		intake_space_gone(&r->s, s);
	if (p)
		intake_pod_gone(&r->s, p);
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
		intake_node_gone(&r->s, n);
}

static void sweep_record(void *ctx, struct chain *entry)
{
	struct registry *r = ctx;
	struct node *n = container_of(entry, struct node, chain);

	if (n->has_record && n->record_mark != r->marks[OBJECT_RECORD])
		intake_record_gone(&r->s, n);
}

static void sweep_space(void *ctx, struct chain *entry)
{
	struct registry *r = ctx;
	struct space *s = container_of(entry, struct space, chain);

	if (s->is_known && s->mark != r->marks[OBJECT_NAMESPACE])
		intake_space_gone(&r->s, s);
}

static void sweep_pod(void *ctx, struct chain *entry)
{
	struct registry *r = ctx;
	struct pod *p = container_of(entry, struct pod, chain);

	if (p->mark != r->marks[OBJECT_POD])
		intake_pod_gone(&r->s, p);
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
	intake_mark_pods(&r->s, NULL);
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
