/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/docket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void docket_init(struct docket *d)
{
	*d = (struct docket){ 0 };
	list_init(&d->cases);
}

static void case_drop(struct docket *d, struct docket_case *c)
{
	list_remove(&c->link);
	d->count--;
	free(c->refusal);
	free(c);
}

void docket_done(struct docket *d)
{
	while (docket_first(d))
		case_drop(d, docket_first(d));
}

struct docket_case *docket_first(const struct docket *d)
{
	return list_is_empty(&d->cases) ? NULL : container_of(d->cases.next, struct docket_case, link);
}

static struct docket_case *docket_find(const struct docket *d, const char *name)
{
	list_for_each(l, &d->cases) {
		struct docket_case *c = container_of(l, struct docket_case, link);

		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

void docket_remove(struct docket *d, const char *name)
{
	struct docket_case *c = docket_find(d, name);

	if (c)
		case_drop(d, c);
}

void docket_defer(struct docket *d, const char *name)
{
	struct docket_case *c = docket_find(d, name);

	if (!c)
		return;
	list_remove(&c->link);
	list_append(&d->cases, &c->link);
}

static int case_refuse(struct docket_case *c, const struct judge_refusal *refusal)
{
	struct judge_refusal *copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	*copy = *refusal;
	free(c->refusal);
	c->refusal = copy;
	return 0;
}

int docket_put(struct docket *d, const struct judge_settings *s, const char *signer, const struct object_request *r)
{
	struct docket_case *c = docket_find(d, r->meta.name);
	struct judge_refusal refusal;
	bool is_new = !c;
	int error = 0;

	if (strcmp(r->signer, signer) != 0 || r->is_denied || r->is_failed || r->certificate || r->meta.is_deleting ||
	    strlen(r->meta.name) >= sizeof(c->name) || strlen(r->meta.version) >= sizeof(c->version)) {
		if (c)
			case_drop(d, c);
		return 0;
	}
	if (c && strcmp(c->version, r->meta.version) == 0)
		return 0;
	if (is_new && d->count >= DOCKET_MAX) {
		d->is_overflown = true;
		return 0;
	}
	if (is_new) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		snprintf(c->name, sizeof(c->name), "%s", r->meta.name);
		list_append(&d->cases, &c->link);
		d->count++;
	}
	/* The answer that is under way to one that has changed since is refused by the API server, and it comes up again. */
	snprintf(c->version, sizeof(c->version), "%s", r->meta.version);
	c->is_approved = r->is_approved;
	c->lifetime_s = r->lifetime_s;
	c->node[0] = '\0';
	free(c->refusal);
	c->refusal = NULL;
	if (!judge_request(s, r, &c->claim, &refusal))
		error = case_refuse(c, &refusal);
	if (error)
		case_drop(d, c);
	return error;
}

int docket_judge_pod(struct docket_case *c, const struct judge_settings *s, const struct object_pod *pod)
{
	struct judge_refusal refusal;

	if (!judge_pod(s, &c->claim, pod, &refusal))
		return case_refuse(c, &refusal);
	snprintf(c->node, sizeof(c->node), "%s", pod->node);
	return 0;
}
