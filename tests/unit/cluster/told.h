/* SPDX-License-Identifier: GPL-3.0-or-later */
/* told.h - a registry that a test tells of objects in words, and the view that comes of it. What can not be told fails the test. */
#ifndef CULVERT_TESTS_UNIT_CLUSTER_TOLD_H
#define CULVERT_TESTS_UNIT_CLUSTER_TOLD_H

#include "cluster/registry.h"

#include <stdbool.h>
#include <stdint.h>

/* What a test has told, and the view of it. */
struct told {
	struct registry *registry;
	struct view *view;
	struct instant now;
	unsigned refused; /* lines that were logged */
	char last[512];   /* the last of them */
};

/* Its node is n1, whatever s says; without s, namespaces may opt out. */
void told_begin_with(struct told *t, struct registry_settings s);
void told_begin(struct told *t);
void told_end(struct told *t);
void told_publish(struct told *t);
/* The same later. */
void told_pass(struct told *t, uint64_t ms);

/* Addresses and ranges: texts with spaces between them. Without a uid it is the name. */
struct told_node_words {
	const char *name, *uid, *addresses, *ranges;
	int64_t created_s;
	bool is_unenrolled;
};

void told_node_of(struct told *t, const struct told_node_words *w);

#define told_node(t, ...) told_node_of((t), &(struct told_node_words){ __VA_ARGS__ })

/* It runs where its phase is not said. */
struct told_pod_words {
	const char *name, *node, *addresses, *uid;
	int64_t created_s;
	enum object_phase phase;
	bool is_deleting, is_host_network, is_opted_out, is_culvert;
};

void told_pod_of(struct told *t, const struct told_pod_words *w);

#define told_pod(t, ...) told_pod_of((t), &(struct told_pod_words){ __VA_ARGS__ })

void told_record(struct told *t, const char *node, const char *node_uid);
void told_space(struct told *t, const char *name, bool is_opted_out);
/* n1 (ours) and n2, both enrolled. */
void told_two_nodes(struct told *t);
void told_gone(struct told *t, enum object_kind kind, const char *name);
/* Of "namespace/name" or "name"; good until the fourth call after it. */
struct object_meta told_meta(const char *name);

/* "n2" for a pod's of n2, with "-" ending, "~" leaving, "!" opted out behind it; "=n2" for its own; "?" for the pod space; "" for outside. */
const char *told_whose(const struct told *t, const char *address);
bool told_is_enrolled(const struct told *t, const char *node);

#endif
