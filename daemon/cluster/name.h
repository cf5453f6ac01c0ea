/* SPDX-License-Identifier: GPL-3.0-or-later */
/* name.h - the name that a node's certificate must have, from a template, and back.
 * Templates: "URI:spiffe://cluster.local/ns/culvert/node/{node}", "DNS:{node}", or "shared". In Kubernetes also with {pod_uid}, {pod} and
 * {namespace}: the node's name is then that of the Culvert pod which the API says runs there. Names are compared whole, byte for byte. Plain
 * data; any thread. */
#ifndef CULVERT_CLUSTER_NAME_H
#define CULVERT_CLUSTER_NAME_H

#include "cluster/view.h"
#include "tls/tls.h" /* struct tls_name only: plain data */

struct name_template {
	bool is_shared; /* one certificate for all: peers are only members */
	bool is_of_pod; /* it has a word of a pod */
	enum tls_name_type type;
	char before[TLS_NAME_BYTES]; /* the text before {node}; is_of_pod: all of it */
	char after[TLS_NAME_BYTES];  /* and after it */
};

enum { NAME_ERROR_BYTES = 256 };

/* 0, or -EINVAL with error set. Exactly one {node} must be there; URI templates need a scheme. */
int name_template_parse(const char *text, struct name_template *ret, char error[NAME_ERROR_BYTES]);
/* Where the nodes come from Kubernetes: also with the words of a pod, each once, and at least one that tells nodes apart. */
int name_template_parse_kubernetes(const char *text, struct name_template *ret, char error[NAME_ERROR_BYTES]);
/* The name of node. 0, -ENAMETOOLONG, -ENOENT where a pod must be known for it, or -EINVAL for shared. */
int name_of_node(const struct name_template *t, const char *node_name, struct tls_name *ret);
/* The name that node has by its daemon of that index; a template of {node} alone needs none. 0, -ENAMETOOLONG, -ENOENT: it has none of that
 * index; or -EINVAL for shared. */
int name_of_daemon(const struct name_template *t, const struct view_node *node, size_t index, struct tls_name *ret);
/* Does peer have the name of node: exactly one subject alternative name of the template's type, equal to the expected one, or to one of them
 * while a daemon takes the place of another? shared: always. */
bool name_is_node(const struct name_template *t, const struct tls_peer *peer, const struct view_node *node);
/* The node of the view that peer is, or NULL with a sentence in error (name found, what would be right). Not for shared. */
const struct view_node *name_find_node(const struct name_template *t, const struct tls_peer *peer, const struct view *v,
                                       char error[NAME_ERROR_BYTES]);

#endif
