/* SPDX-License-Identifier: GPL-3.0-or-later */
/* credentials.h - where the API server is, how it is recognised, and who we are to it: a pod's service account or a kubeconfig. Files are
 * read again when they change. Knows nothing of HTTP. Thread: one. */
#ifndef CULVERT_KUBE_CREDENTIALS_H
#define CULVERT_KUBE_CREDENTIALS_H

#include "base/clock.h"
#include "kube/kubeconfig.h"

#include <stdbool.h>

struct credentials;

enum {
	CREDENTIALS_ERROR_BYTES = KUBECONFIG_ERROR_BYTES,
	CREDENTIALS_READ_MS = 60000, /* files are read again after so long, even where they look the same */
};

/* kubeconfig: a file; NULL: the service account in directory (NULL: the usual place) and the environment. 0 or -errno with a sentence. */
int credentials_create(const char *kubeconfig, const char *directory, struct instant now, struct credentials **ret,
                       char error[CREDENTIALS_ERROR_BYTES]);
void credentials_destroy(struct credentials *c); /* NULL is welcome */

/* Reads again what changed, or, forced, all of it. True: something is different from before. What can not be read stays as it was, and
 * credentials_error says so until it can. */
bool credentials_refresh(struct credentials *c, bool is_forced, struct instant now);
const char *credentials_error(const struct credentials *c); /* "": all files could be read */

/* Borrowed until the next refresh. */
const struct kubeconfig *credentials_get(const struct credentials *c);

#endif
