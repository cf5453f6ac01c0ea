/* SPDX-License-Identifier: GPL-3.0-or-later */
/* source.h - the cluster as its API server tells it: reflectors feed the registry, and what comes of it is handed on as views.
 * While the API server is away, or a right is missing, everything known stays in force, and the state says what and since when.
 * Logs nothing. Thread: main. */
#ifndef CULVERT_KUBE_SOURCE_H
#define CULVERT_KUBE_SOURCE_H

#include "cluster/registry.h"
#include "kube/reflector.h"

struct source;

enum {
	SOURCE_KINDS = OBJECT_ENDPOINTS + 1 /* nodes, pods, namespaces, records, endpoints of the API server */,
	SOURCE_TEXT_BYTES = KUBE_ERROR_BYTES + 64
};

struct source_settings {
	struct kube_client_settings client;
	const char *name_space; /* of Culvert itself; "": the account's */
	const char *records_namespace;
	struct registry_settings registry; /* the API server's own address is added to what is reserved */
	uint64_t seed;                     /* of all jitter */
};

struct source_ops {
	/* A view, borrowed for the call: the first when all lists were read and this node is among them; then at most one a turn of the loop. */
	void (*view_changed)(void *ctx, struct view *v);
	/* Something is refused newly. */
	void (*refused)(void *ctx, const char *object, const char *text);
	/* source_api_servers has changed. */
	void (*api_servers_changed)(void *ctx);
	/* source_state has changed in more than its counts. */
	void (*state_changed)(void *ctx);
};

/* Begins to follow. A client that can not be made yet (no credentials) is no error: it is tried again, and the state says why. s is copied.
 * No callback comes from here. 0 or -errno. */
int source_create(struct loop *loop, const struct source_settings *s, const struct source_ops *ops, void *ctx, struct source **ret);
void source_destroy(struct source *s); /* NULL is welcome */
/* Who had an address before: asked until the first view (registry_set_recall). */
void source_set_recall(struct source *s, registry_recall_fn recall, void *ctx);
/* Another mode, other prefixes. 0, or -ENOMEM with the old ones in force. */
int source_apply(struct source *s, const struct registry_settings *settings);

struct source_state {
	bool is_synced;                             /* every list was read whole once */
	bool is_current;                            /* and each is followed now */
	bool is_self_known;                         /* this node is among the nodes */
	bool is_failing;                            /* missing is a fault, not only the way there */
	int64_t since_s;                            /* Unix time since when is_current is as it is */
	const char *missing;                        /* what keeps it from being current, one sentence; "": nothing */
	struct reflector_state kinds[SOURCE_KINDS]; /* zeroed: not begun yet */
};
void source_state(const struct source *s, struct source_state *ret);

struct kube_client *source_client(const struct source *s); /* NULL: not made yet */
const struct registry *source_registry(const struct source *s);
const char *source_namespace(const struct source *s); /* of Culvert itself; "": not known */
/* Where the API server listens behind its Service, as that says itself; none until it was read, which is before the first view. At most
 * OBJECT_ENDPOINTS_MAX; lives until the next change. */
const struct endpoint *source_api_servers(const struct source *s, size_t *ret_count);
/* Is Culvert's own namespace, or the one of the records, gone or being deleted, as far as the API server said? Both say that Culvert is being
 * taken out; a watch that is open hears of it even when the account has lost its rights a moment before. */
bool source_is_ending(const struct source *s);

/* "nodes", ... as the status and messages say it. */
const char *source_kind_text(enum object_kind kind);

#endif
