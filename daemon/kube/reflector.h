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
	/* Of lists, which then come from the store; 0: no pages, from the API server's watch cache, which is cheap for it (resourceVersion=0). */
	uint32_t page_items;
	/* The next watch is opened before this one ends, and this one stays where the next is refused: rights that go a moment before what is
	 * followed are no gap. For what seldom changes: the next one must begin where this one is. */
	bool is_seamless;
	uint64_t seed; /* of the jitter: another one on each node and for each kind */
};

enum {
	REFLECTOR_START_SPREAD_MS = 500, /* the first list begins within this */
	REFLECTOR_PAGE_ITEMS = 500,      /* of lists from the store where nothing else is said */
	/* A watch is ended by the server after something between these two: those that began together do not end together. */
	REFLECTOR_WATCH_MIN_S = 300,
	REFLECTOR_WATCH_MAX_S = 600,
	REFLECTOR_WATCH_SILENCE_MS = 150000, /* bookmarks come each minute; two that are missed mean that nobody is there */
	REFLECTOR_LIST_SILENCE_MS = 65000,   /* the API server gives up after a minute */
	REFLECTOR_WATCH_GOOD_MS = 30000,     /* a watch that ran so long ends the row of failures before it */
	REFLECTOR_SEAM_MS = 30000,           /* so long before the end of a seamless watch the next one is begun */
	REFLECTOR_SEAM_AGAIN_MS = 5000,      /* where it can not be had */
	REFLECTOR_WATCH_SHORT_MS = 5000,     /* one that ended within this counts as a failure, however orderly */
	REFLECTOR_FORBIDDEN_MIN_MS = 15000,  /* rights come by hand, so a try every now and then is enough */
	REFLECTOR_FORBIDDEN_MAX_MS = 30000,
	/* When an API server restarts, all daemons may have to list at once. What all of them together fetch is spread to so much a second. */
	REFLECTOR_RELIST_BYTES_MS = 500000,
	REFLECTOR_RELIST_MIN_MS = 1000,
	REFLECTOR_RELIST_MAX_MS = 180000,
};

struct reflector_ops {
	/* Comes again without list_ended where a list broke off and begins anew. */
	void (*list_began)(void *ctx, enum object_kind kind);
	void (*put)(void *ctx, const struct object *o);                              /* it is there, new or changed */
	void (*gone)(void *ctx, enum object_kind kind, const struct object_meta *m); /* a watch said so */
	/* What was neither put nor refused by its name since list_began is not there any more. A list with an object whose name could not be
	 * told ends without it: what is missing may be that one. */
	void (*list_ended)(void *ctx, enum object_kind kind);
	void (*state_changed)(void *ctx, enum object_kind kind);
	/* An object that could not be taken at all (too large, no name, bytes that are none). m: its name, namespace, UID and version; it is there,
	 * and what was known of it stays. NULL: its name could not be told, or is one that nothing is known of. NULL is welcome. */
	void (*refused)(void *ctx, enum object_kind kind, const struct object_meta *m, const char *text);
};

/* loop and client are borrowed, the texts copied; path and selector have less than 1000 bytes together. Callbacks come from the loop only. */
int reflector_create(struct loop *loop, struct kube_client *client, const struct reflector_settings *s, const struct reflector_ops *ops,
                     void *ctx, struct reflector **ret);
void reflector_destroy(struct reflector *r); /* NULL is welcome; before its client, and not from its own callbacks */

/* How many daemons follow the same objects, as far as is known: more of them spread their lists wider when all lost their watch. */
void reflector_set_crowd(struct reflector *r, uint32_t daemons);

/* For the status. */
struct reflector_state {
	bool is_synced;                                  /* a list has been read whole since the start */
	bool is_current;                                 /* and a watch runs now, or is begun again after an orderly end */
	bool is_forbidden;                               /* the last try was answered with 403 (or 401) */
	int64_t since_s;                                 /* Unix time since when is_current is as it is */
	uint64_t objects, lists, watches, events, bytes; /* objects: in the last list; the others since the start */
	uint64_t refused;                                /* objects that could not be taken, since the start */
	char error[KUBE_ERROR_BYTES];                    /* of the last try, "" where it was good */
};
void reflector_state(const struct reflector *r, struct reflector_state *ret);

#endif
