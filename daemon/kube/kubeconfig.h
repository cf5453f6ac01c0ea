/* SPDX-License-Identifier: GPL-3.0-or-later */
/* kubeconfig.h - the file by which a program outside of the cluster finds the API server: its current context's cluster and user.
 * What would need another program, weaken TLS or is not done here is refused with a sentence. Thread: one at a time. */
#ifndef CULVERT_KUBE_KUBECONFIG_H
#define CULVERT_KUBE_KUBECONFIG_H

#include "kube/secret.h"

enum { KUBECONFIG_ERROR_BYTES = 512 };

/* Owned by who read it: kubeconfig_done. */
struct kubeconfig {
	char *server;                   /* "https://10.0.0.1:6443", without a slash at its end */
	char *tls_name;                 /* the name in the server's certificate; NULL: the one in server */
	char *name_space;               /* of the context; NULL */
	struct secret authority;        /* bytes NULL: those of the system */
	struct secret certificate, key; /* bytes NULL: none */
	struct secret token;            /* bytes NULL: none */
};

/* 0; or -EINVAL, -ENOMEM or the errno of reading a file, with a sentence that names file, line and key. */
int kubeconfig_load(const char *path, struct kubeconfig *ret, char error[KUBECONFIG_ERROR_BYTES]);
/* The same from memory; path names the source in messages, and its folder is where paths in it count from. */
int kubeconfig_parse(const char *path, const char *text, size_t len_bytes, struct kubeconfig *ret, char error[KUBECONFIG_ERROR_BYTES]);
void kubeconfig_done(struct kubeconfig *k);

#endif
