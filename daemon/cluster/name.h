/* SPDX-License-Identifier: GPL-3.0-or-later */
/* name.h - the name that a node's certificate must have, from a template, and back.
 * Templates: "URI:spiffe://cluster.local/ns/culvert/node/{node}", "DNS:{node}", or "shared". {pod}, {pod_uid} and {namespace} are known
 * words that the nodes file can not fill: refused with a message that says so. Names are compared whole, byte for byte. Plain data; any
 * thread. */
#ifndef CULVERT_CLUSTER_NAME_H
#define CULVERT_CLUSTER_NAME_H

#include "cluster/view.h"
#include "tls/tls.h" /* struct tls_name only: plain data */

struct name_template {
	bool is_shared; /* one certificate for all: peers are only members */
	enum tls_name_type type;
	char before[TLS_NAME_BYTES]; /* the text before {node} */
	char after[TLS_NAME_BYTES];  /* and after it */
};

enum { NAME_ERROR_BYTES = 256 };

/* 0, or -EINVAL with error set. Exactly one {node} must be there; URI templates need a scheme. */
int name_template_parse(const char *text, struct name_template *ret, char error[NAME_ERROR_BYTES]);
/* The name of node. 0, or -ENAMETOOLONG, or -EINVAL for shared. */
int name_of_node(const struct name_template *t, const char *node_name, struct tls_name *ret);
/* Does peer have the name of node_name: exactly one subject alternative name of the template's type, equal to the expected one? shared:
 * always. */
bool name_is_node(const struct name_template *t, const struct tls_peer *peer, const char *node_name);
/* The node of the view that peer is, or NULL with a sentence in error (name found, what would be right). Not for shared. */
const struct view_node *name_find_node(const struct name_template *t, const struct tls_peer *peer, const struct view *v,
                                       char error[NAME_ERROR_BYTES]);

#endif
