/* SPDX-License-Identifier: GPL-3.0-or-later */
/* holding.h - what a node that gets its own certificate holds: key, certificate and authorities, as PEM texts and as files of one generation
 * (generation.h) in a folder. Nothing is held that cred would not take. The key is wiped when it goes.
 * tls_init comes first. Thread: any, one at a time on one folder. */
#ifndef CULVERT_TLS_HOLDING_H
#define CULVERT_TLS_HOLDING_H

#include "tls/cred.h"

struct holding {
	char *cert, *key, *ca; /* NUL-terminated; NULL: nothing is held */
	int64_t not_before_s, not_after_s;
};

void holding_done(struct holding *h); /* of one that was filled, or zeroed */

/* What an earlier run left in directory, if it is good for name. 0; or -errno with a sentence in error. */
int holding_load(const char *directory, const struct tls_name *name, struct holding *ret, char error[CRED_ERROR_BYTES]);
/* Judges the three texts of h, and puts them in force; sets h's times. 0; -EINVAL: they are not good; -errno: writing; with a sentence in
 * error and the files as they were. */
int holding_store(const char *directory, const struct tls_name *name, struct holding *h, char error[CRED_ERROR_BYTES]);

#endif
