/* SPDX-License-Identifier: GPL-3.0-or-later */
/* reflector.h - follows all objects of one kind in the API: list, then watch, and again from the start where that is needed, so that what
 * its owner was told is always what the API said at some moment not long ago. Thread: main. */
#ifndef CULVERT_KUBE_REFLECTOR_H
#define CULVERT_KUBE_REFLECTOR_H

#include "cluster/object.h"
#include "kube/client.h"

struct reflector;

struct reflector_settings {
	enum object_kind kind;
	const char *path;     /* "/api/v1/pods", "/apis/coordination.k8s.io/v1/namespaces/culvert-nodes/leases" */
	const char *selector; /* a query such as "fieldSelector=..." (escaped), or NULL */
	uint32_t page_items;  /* of lists; 0: no pages, from the watch cache (resourceVersion=0) */
	uint64_t seed;        /* of the jitter of its back-off */
};

struct reflector_ops {
	void (*list_began)(void *ctx, enum object_kind kind);
	void (*put)(void *ctx, const struct object *o);                              /* it is there, new or changed */
	void (*gone)(void *ctx, enum object_kind kind, const struct object_meta *m); /* a watch said so */
	void (*list_ended)(void *ctx, enum object_kind kind); /* what was not put since list_began is not there any more */
	void (*state_changed)(void *ctx, enum object_kind kind);
};

int reflector_create(struct loop *loop, struct kube_client *client, const struct reflector_settings *s, const struct reflector_ops *ops,
                     void *ctx, struct reflector **ret);
void reflector_destroy(struct reflector *r); /* NULL is welcome */

/* For the status. */
struct reflector_state {
	bool is_synced;                                  /* a list has been read whole since the start */
	bool is_current;                                 /* and a watch runs now */
	int64_t since_s;                                 /* Unix time since when is_current is as it is */
	uint64_t objects, lists, watches, events, bytes; /* objects: in the last list; the others since the start */
	char error[KUBE_ERROR_BYTES];                    /* of the last try, "" where it was good */
};
void reflector_state(const struct reflector *r, struct reflector_state *ret);

#endif
